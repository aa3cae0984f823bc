//! The certificates that Postfix and Dovecot show: until when they are good, and for which names.
//!
//! Read are the files, not what is served: a server that was not reloaded after a renewal still shows the old one.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;

use super::dovecot::Dovecot;
use super::postfix::Postfix;

/// A file with a certificate.
#[derive(Clone, Debug)]
pub(in crate::ctl::check) struct Certificate {
    /// Who shows it, such as `Postfix (smtpd_tls_cert_file)`.
    pub(in crate::ctl::check) shown_by: String,
    pub(in crate::ctl::check) path: PathBuf,
    pub(in crate::ctl::check) content: Result<Validity, String>,
}

/// What it says.
#[derive(Clone, Debug)]
pub(in crate::ctl::check) struct Validity {
    pub(in crate::ctl::check) from: OffsetDateTime,
    pub(in crate::ctl::check) until: OffsetDateTime,
    /// Its DNS names, in lower case.
    pub(in crate::ctl::check) names: Vec<String>,
}

pub(super) fn gather(postfix: Option<&Postfix>, dovecot: Option<&Dovecot>) -> Vec<Certificate> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for name in ["smtpd_tls_cert_file", "smtpd_tls_eccert_file", "smtpd_tls_chain_files"] {
        for (_, value) in postfix.into_iter().flat_map(|postfix| postfix.everywhere(name)) {
            let words = value.split([',', ' ']).filter(|word| word.starts_with('/'));
            files.extend(words.map(|word| (format!("Postfix ({name})"), word.into())));
        }
    }
    for (way, value) in dovecot.into_iter().flat_map(Dovecot::settings) {
        let name = way.rsplit('/').next().unwrap_or(way);
        // 2.3: ssl_cert = </path; 2.4: ssl_server_cert_file = /path.
        if matches!(name, "ssl_cert" | "ssl_alt_cert" | "ssl_server_cert_file" | "ssl_server_alt_cert_file") {
            let path = value.trim_start_matches('<').trim();
            if path.starts_with('/') {
                files.push((format!("Dovecot ({name})"), path.into()));
            }
        }
    }
    files.sort();
    files.dedup();
    files.into_iter().map(|(shown_by, path)| Certificate { shown_by, content: read(&path), path }).collect()
}

/// The first certificate of a file: the host's own; the chain follows.
fn read(path: &Path) -> Result<Validity, String> {
    let certificate = CertificateDer::pem_file_iter(path)
        .map_err(|reason| reason.to_string())?
        .next()
        .ok_or("there is no certificate in PEM in it")?
        .map_err(|reason| reason.to_string())?;
    let parsed = webpki::EndEntityCert::try_from(&certificate).map_err(|reason| reason.to_string())?;
    let names = parsed.valid_dns_names().map(str::to_ascii_lowercase).collect();
    let (from, until) = validity(&certificate).ok_or("its dates cannot be read")?;
    Ok(Validity { from, until, names })
}

/// `notBefore` and `notAfter` (RFC 5280, 4.1): Certificate, tbsCertificate, and in it after an optional version [0] the serial number,
/// the algorithm and the issuer. A parser of X.509 would be ten more crates for two dates.
fn validity(certificate: &[u8]) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let mut outer = Der(certificate).expect(SEQUENCE)?;
    let mut tbs = outer.expect(SEQUENCE)?;
    if tbs.0.first() == Some(&VERSION) {
        tbs.next()?;
    }
    tbs.expect(INTEGER)?;
    tbs.expect(SEQUENCE)?;
    tbs.expect(SEQUENCE)?;
    let mut dates = tbs.expect(SEQUENCE)?;
    Some((date(dates.next()?)?, date(dates.next()?)?))
}

/// What is left of an encoding (X.690).
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            short if short < 0x80 => (usize::from(short), rest),
            // Nothing here is longer than two octets can say.
            0x81 | 0x82 => {
                let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (octets.iter().fold(0, |sum, octet| sum << 8 | usize::from(*octet)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<Self> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| Self(content))
    }
}

/// UTCTime `YYMMDDHHMMSSZ` until 2049, GeneralizedTime `YYYYMMDDHHMMSSZ` after (RFC 5280, 4.1.2.5).
fn date((tag, content): (u8, &[u8])) -> Option<OffsetDateTime> {
    let text = std::str::from_utf8(content).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let short: i32 = text.get(..2)?.parse().ok()?;
            (if short < 50 { 2000 + short } else { 1900 + short }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    let part = |at: usize| rest.get(at..at + 2)?.parse::<u8>().ok();
    let day = time::Date::from_calendar_date(year, part(0)?.try_into().ok()?, part(2)?).ok()?;
    let hour = time::Time::from_hms(part(4)?, part(6)?, part(8)?).ok()?;
    Some(day.with_time(hour).assume_utc())
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn dates_in_both_spellings() {
        let said = |tag, text: &str| date((tag, text.as_bytes())).map(|date| date.to_string());
        assert_eq!(said(UTC_TIME, "261129030405Z").unwrap(), "2026-11-29 3:04:05.0 +00:00:00");
        assert_eq!(said(UTC_TIME, "991231235959Z").unwrap(), "1999-12-31 23:59:59.0 +00:00:00");
        assert_eq!(said(GENERALIZED_TIME, "20500101000000Z").unwrap(), "2050-01-01 0:00:00.0 +00:00:00");
        for bad in ["", "Z", "261329030405Z", "2611290304", "26112903040xZ", "+61129030405Z"] {
            assert_eq!(said(UTC_TIME, bad), None, "{bad}");
        }
    }

    #[test]
    fn a_length_beyond_its_octets_is_no_certificate() {
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x05, 0x30],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 0x82, 0x01],
        ] {
            assert_eq!(validity(bad), None);
        }
    }

    #[test]
    fn what_openssl_made_says_its_dates_and_names() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cert.pem");
        let done = std::process::Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/CN=x",
            ])
            .args([
                "-addext",
                "subjectAltName=DNS:mail.Example.com,DNS:*.example.org",
                "-keyout",
                "/dev/null",
                "-out",
            ])
            .arg(&file)
            .output()
            .unwrap();
        assert!(done.status.success());
        let read = read(&file).unwrap();
        assert_eq!(read.names, ["mail.example.com", "*.example.org"]);
        assert_eq!(read.until - read.from, time::Duration::days(30));
    }
}
