//! Reports out of what they come in: XML, gzip, zip, or the whole mail with such an attachment.
//!
//! Told apart by their first bytes, never by name or declared type: senders declare anything. Bounds, because a report is a stranger's
//! file:
//!
//! | what | bound |
//! |---|---|
//! | a file | [`MAX_FILE`] |
//! | a report's XML, unpacked | [`MAX_XML`]: at deflate's best ratio (1:1032) 31 KiB packed can become that |
//! | all reports of one file | [`MAX_TOTAL`] |
//! | a zip file | [`MAX_ZIP`] (its directory takes memory), [`MAX_ENTRIES`] entries |
//! | the parts of a mail | [`MAX_PARTS`], nested messages [`MAX_DEPTH`] deep |
//!
//! An archive within an archive is not opened: no report is packed twice, and every "zip bomb" of that kind ends here.

use std::io::{Cursor, Read};

use flate2::read::MultiGzDecoder;
use mail_parser::MessageParser;

/// The largest file that is looked at: the largest mail that usual servers take.
pub const MAX_FILE: u64 = 64 << 20;
/// The largest report: 40,000 records.
pub const MAX_XML: u64 = 32 << 20;
/// All reports of one mail or archive together.
pub const MAX_TOTAL: u64 = 64 << 20;
/// The largest zip file.
pub const MAX_ZIP: usize = 8 << 20;
/// The most files in one zip.
pub const MAX_ENTRIES: usize = 100;
const MAX_PARTS: usize = 200;
const MAX_DEPTH: usize = 5;

/// One report, still XML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The attachment's or the archive member's name, if there was one.
    pub name: Option<String>,
    /// The XML.
    pub xml: Vec<u8>,
}

/// Why there is no report in a file.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Longer than [`MAX_FILE`].
    #[error("larger than {} MiB, which no report is", MAX_FILE >> 20)]
    File,
    /// Nothing in it.
    #[error("empty")]
    Empty,
    /// Compressed data that is damaged or cut off.
    #[error("damaged {kind} data: {reason}")]
    Damaged {
        /// `gzip` or `zip`.
        kind: &'static str,
        /// The library's words.
        reason: String,
    },
    /// It unpacks to more than a report can be.
    #[error("unpacks to more than {0} MiB, which no report does")]
    Bomb(u64),
    /// A zip file beyond the bounds, or one that cannot be read.
    #[error("{0}")]
    Zip(String),
    /// A file of another kind.
    #[error("neither XML, gzip, zip nor a mail: it begins with \"{0}\"")]
    Unknown(String),
    /// Packed twice.
    #[error("an archive inside an archive, which no report is")]
    Nested,
    /// A mail without a report.
    #[error("a mail without a report; its parts: {0}")]
    NoReport(String),
    /// JSON.
    #[error("JSON, such as a TLS report (RFC 8460) is; DMARC reports are XML")]
    Json,
}

/// Every report in a file; at least one.
///
/// # Errors
/// [`UnpackError`].
pub fn unpack(bytes: &[u8]) -> Result<Vec<Unpacked>, UnpackError> {
    if bytes.len() as u64 > MAX_FILE {
        return Err(UnpackError::File);
    }
    let mut total = MAX_TOTAL;
    match Kind::of(bytes) {
        Kind::Empty => Err(UnpackError::Empty),
        Kind::Mail => mail(bytes, &mut total),
        kind => packed(kind, None, bytes, &mut total),
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Empty,
    Gzip,
    Zip,
    Xml,
    Json,
    Mail,
    Unknown,
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        match bytes {
            [] => return Self::Empty,
            [0x1f, 0x8b, ..] => return Self::Gzip,
            // The second: an empty archive.
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => return Self::Zip,
            // UTF-16
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Self::Xml,
            _ => {}
        }
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
        match text.first() {
            None => Self::Empty,
            Some(b'<') => Self::Xml,
            Some(b'{' | b'[') => Self::Json,
            Some(_) if is_mail(text) => Self::Mail,
            Some(_) => Self::Unknown,
        }
    }
}

/// Whether the first line is a header field (RFC 5322, 2.2), or the `From ` of an mbox file.
fn is_mail(text: &[u8]) -> bool {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let name = line.split(|byte| *byte == b':').next().unwrap_or_default().trim_ascii_end();
    line.starts_with(b"From ")
        || (name.len() < line.trim_ascii_end().len()
            && !name.is_empty()
            && name.iter().all(u8::is_ascii_graphic))
}

fn packed(
    kind: Kind,
    name: Option<String>,
    bytes: &[u8],
    total: &mut u64,
) -> Result<Vec<Unpacked>, UnpackError> {
    match kind {
        Kind::Xml => {
            let xml = bounded(bytes, "plain", total)?;
            Ok(vec![Unpacked { name, xml }])
        }
        Kind::Gzip => {
            let xml = bounded(MultiGzDecoder::new(bytes), "gzip", total)?;
            plain(&xml)?;
            Ok(vec![Unpacked { name, xml }])
        }
        Kind::Zip => zip(bytes, total),
        Kind::Json => Err(UnpackError::Json),
        Kind::Empty => Err(UnpackError::Empty),
        Kind::Mail | Kind::Unknown => Err(UnpackError::Unknown(beginning(bytes))),
    }
}

fn zip(bytes: &[u8], total: &mut u64) -> Result<Vec<Unpacked>, UnpackError> {
    if bytes.len() > MAX_ZIP {
        return Err(UnpackError::Zip(format!(
            "a zip file larger than {} MiB, which no report needs",
            MAX_ZIP >> 20
        )));
    }
    let damaged =
        |error: zip::result::ZipError| UnpackError::Damaged { kind: "zip", reason: error.to_string() };
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(damaged)?;
    if archive.len() > MAX_ENTRIES {
        return Err(UnpackError::Zip(format!(
            "a zip file with {} entries, of which a report needs one",
            archive.len()
        )));
    }
    let mut found = Vec::new();
    for number in 0..archive.len() {
        let entry = archive.by_index(number).map_err(damaged)?;
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if entry.is_dir() || is_litter(&name) {
            continue;
        }
        if entry.encrypted() {
            return Err(UnpackError::Zip(format!("\"{}\" in it is encrypted", printable(&name))));
        }
        let xml = bounded(entry, "zip", total)?;
        plain(&xml)?;
        found.push(Unpacked { name: Some(name), xml });
    }
    if found.is_empty() {
        return Err(UnpackError::Zip("a zip file with nothing in it".to_owned()));
    }
    Ok(found)
}

/// What Apple's archiver puts beside every file.
fn is_litter(name: &str) -> bool {
    name.starts_with("__MACOSX/") || name.ends_with(".DS_Store")
}

/// What came out of an archive must be XML.
fn plain(bytes: &[u8]) -> Result<(), UnpackError> {
    match Kind::of(bytes) {
        Kind::Xml => Ok(()),
        Kind::Gzip | Kind::Zip => Err(UnpackError::Nested),
        Kind::Empty => Err(UnpackError::Empty),
        Kind::Json => Err(UnpackError::Json),
        Kind::Mail | Kind::Unknown => Err(UnpackError::Unknown(beginning(bytes))),
    }
}

/// Reads to the end, but no further than a report and `total` go.
fn bounded(source: impl Read, kind: &'static str, total: &mut u64) -> Result<Vec<u8>, UnpackError> {
    let most = MAX_XML.min(*total);
    let mut out = Vec::new();
    source
        .take(most + 1)
        .read_to_end(&mut out)
        .map_err(|error| UnpackError::Damaged { kind, reason: error.to_string() })?;
    let length = out.len() as u64;
    if length > most {
        return Err(UnpackError::Bomb(most >> 20));
    }
    *total -= length;
    Ok(out)
}

fn mail(bytes: &[u8], total: &mut u64) -> Result<Vec<Unpacked>, UnpackError> {
    // The `From ` line of an mbox file is no header field.
    let text = bytes.trim_ascii_start();
    let text = match text.strip_prefix(b"From ") {
        Some(rest) => rest.splitn(2, |byte| *byte == b'\n').nth(1).unwrap_or_default(),
        None => text,
    };
    let parser = MessageParser::new().max_depth(MAX_DEPTH).max_parts(MAX_PARTS);
    let Some(message) = parser.parse(text) else { return Err(UnpackError::NoReport("none".to_owned())) };
    let (mut found, mut parts, mut problem) = (Vec::new(), Vec::new(), None);
    for part in message.parts().filter(|part| !part.is_multipart() && !part.is_message()).take(MAX_PARTS) {
        let kind = part.content_type().map_or_else(
            || "text/plain".to_owned(),
            |kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()),
        );
        let name = part.attachment_name().map(str::to_owned);
        let content = part.decoded();
        match Kind::of(&content) {
            // An HTML text is no report.
            Kind::Xml if is_report(&content) => {}
            Kind::Gzip | Kind::Zip => {}
            _ => {
                parts.push(printable(&kind));
                continue;
            }
        }
        match packed(Kind::of(&content), name, &content, total) {
            Ok(more) => found.extend(more),
            // Another part may hold a good one; what is wrong with this is said if none does.
            Err(error) => problem = problem.or(Some(error)),
        }
    }
    match problem {
        _ if !found.is_empty() => Ok(found),
        Some(problem) => Err(problem),
        None if parts.is_empty() => Err(UnpackError::NoReport("none".to_owned())),
        None => Err(UnpackError::NoReport(parts.join(", "))),
    }
}

/// Whether XML looks like a report: its root is `feedback`, in any namespace.
fn is_report(xml: &[u8]) -> bool {
    let head = &xml[..xml.len().min(4096)];
    if head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff") {
        return true;
    }
    String::from_utf8_lossy(head).contains("feedback")
}

fn beginning(bytes: &[u8]) -> String {
    crate::telemetry::printable(&bytes[..bytes.len().min(40)], 40)
}

fn printable(text: &str) -> String {
    crate::telemetry::printable(text.as_bytes(), 80)
}
