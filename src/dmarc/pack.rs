//! A report as it travels: its id, the name of its file, gzip, and the mail around it (RFC 9990, "Email").
//!
//! The same report is packed the same way each time: id and file name follow from receiver, policy domain and period, so that a
//! consumer who gets it twice knows. One mail for all destinations; what it says is public in DNS anyway.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use mail_builder::MessageBuilder;
use mail_builder::headers::raw::Raw;

use super::report::{Metadata, Report};

/// Who sends a mail with a report.
#[derive(Clone, Debug)]
pub struct Sender<'a> {
    /// The organisation, as `org_name` has it.
    pub organization: &'a str,
    /// The address in From and MAIL FROM.
    pub address: &'a str,
    /// Its domain: the "receiver" and "submitter" of the RFC.
    pub domain: &'a str,
}

/// A report ready to be sent.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The attachment's name.
    pub file: String,
    /// The whole mail, lines ending in CRLF, none longer than 78 characters but those that cannot be folded.
    pub mail: Vec<u8>,
}

/// The id of the report of a day: `dot-atom "@" dot-atom` (RFC 9990, "Report-ID"), the same whoever writes it.
pub fn id(begin: i64, policy_domain: &str, receiver: &str) -> String {
    format!("{policy_domain}.{begin}@{receiver}")
}

/// The attachment's name, by the RFC's grammar. Without a "unique-id": there is one report a day and domain.
pub fn file_name(metadata: &Metadata, policy_domain: &str, receiver: &str) -> String {
    format!("{receiver}!{policy_domain}!{}!{}.xml.gz", metadata.begin, metadata.end)
}

/// Compresses the XML and builds the mail.
///
/// # Errors
/// The compressor's; it writes to memory, so there is none in practice.
pub fn pack(
    report: &Report,
    xml: &str,
    sender: &Sender<'_>,
    to: &[String],
    now: i64,
) -> std::io::Result<Packed> {
    let metadata = &report.metadata;
    let domain = &report.policy.domain;
    let file = file_name(metadata, domain, sender.domain);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(xml.as_bytes())?;
    let attachment = gzip.finish()?;
    let messages: u64 = report.records.iter().map(|record| record.count).fold(0, u64::saturating_add);
    let text = format!(
        "This is a DMARC aggregate report (RFC 9990) from {receiver}.\r\n\r\n\
         Domain:    {domain}\r\n\
         Period:    {begin} to {end} (seconds since 1970, UTC)\r\n\
         Report-ID: {id}\r\n\
         Messages:  {messages}, in {records} records\r\n\r\n\
         It was asked for by the tag rua of the record _dmarc.{domain}.\r\n\
         Questions: {contact}\r\n",
        receiver = sender.domain,
        begin = metadata.begin,
        end = metadata.end,
        id = metadata.id,
        records = report.records.len(),
        contact = metadata.extra_contact.as_deref().unwrap_or(&metadata.email),
    );
    let mail = MessageBuilder::new()
        .date(now)
        .from((sender.organization, sender.address))
        .to(to.iter().map(String::as_str).collect::<Vec<_>>())
        // Raw: the RFC's grammar knows no encoded words, into which a line of this length would be put.
        .header(
            "Subject",
            Raw::new(format!(
                "Report Domain: {domain} Submitter: {} Report-ID: <{}>",
                sender.domain, metadata.id
            )),
        )
        .message_id(metadata.id.as_str())
        .header("Auto-Submitted", Raw::new("auto-generated"))
        .text_body(text)
        .attachment("application/gzip", file.clone(), attachment)
        .write_to_vec()?;
    Ok(Packed { file, mail })
}
