//! A message and its envelope, as a milter sees them: the words that the rules, the verdict and the signer share.
//!
//! For everybody in this crate. It holds bytes and refuses to understand them: no MIME, no decoding, no address parsing of
//! header fields. What a header means is the business of `facts`.
//!
//! What Postfix shows is the content of its queue file (bare LF already CRLF, its own `Received:` hidden, `Return-Path`, `Bcc`
//! and `Content-Length` gone). Header values keep every byte after the colon, the leading space too, because DKIM's `simple`
//! canonicalization (RFC 6376, 3.4.1) needs it; folds are `"\n"` and the original white space, as Postfix sends them.

use std::net::IpAddr;

use gatepost::mail::Address;

/// One header field, unparsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The field name as sent, without the colon.
    pub name: Vec<u8>,
    /// Every byte after the colon, folds as `"\n"` + white space, no line end at the end.
    pub value: Vec<u8>,
}

impl Header {
    /// A header from its two parts.
    pub fn new(name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// Whether this is the field of that name; names compare without case (RFC 5322, 1.2.2), and without the white space that the
    /// obsolete syntax allows before the colon (4.5).
    pub fn is(&self, name: &str) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name.as_bytes())
    }

    /// Appends `name:value` CRLF, each fold as CRLF: the line as Postfix will deliver it.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.name);
        out.push(b':');
        let mut rest = Some(self.value.as_slice());
        while let Some(here) = rest {
            let end = memchr::memchr(b'\n', here);
            let line = &here[..end.unwrap_or(here.len())];
            out.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            out.extend_from_slice(b"\r\n");
            rest = end.map(|end| &here[end + 1..]);
        }
    }
}

/// A message: its header fields in order, and its body as far as it was kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The header fields from top to bottom.
    pub headers: Vec<Header>,
    /// The body with CRLF line ends; at most the configured number of bytes, so maybe only its beginning.
    pub body: Vec<u8>,
    /// The size of the whole body in bytes; larger than `body.len()` when the body was cut.
    pub body_size: u64,
}

impl Message {
    /// Reads a message file: LF or CRLF line ends, an optional mbox `From ` line, header block, empty line, body.
    ///
    /// Never fails: as Postfix does, the first line that is no header field ends the header block, and all that follows is body.
    pub fn from_eml(raw: &[u8]) -> Self {
        let mut rest = raw;
        if rest.starts_with(b"From ") {
            rest = split_line(rest).1;
        }
        let mut headers: Vec<Header> = Vec::new();
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            if line.is_empty() {
                rest = after;
                break;
            }
            match (line.first(), headers.last_mut()) {
                (Some(b' ' | b'\t'), Some(header)) => {
                    header.value.push(b'\n');
                    header.value.extend_from_slice(line);
                }
                _ => match split_field(line) {
                    Some((name, value)) => headers.push(Header::new(name, value)),
                    None => break,
                },
            }
            rest = after;
        }
        let body = with_crlf(rest);
        let body_size = body.len() as u64;
        Self { headers, body, body_size }
    }

    /// The message as RFC 5322 bytes: `name:value` CRLF lines, an empty line, the body.
    pub fn to_rfc5322(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 64 * self.headers.len());
        for header in &self.headers {
            header.write_to(&mut out);
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// The values of every field of that name, from top to bottom.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |header| header.is(name)).map(|header| header.value.as_slice())
    }

    /// The value of the first field of that name.
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.is(name)).map(|header| header.value.as_slice())
    }

    /// Whether the body is only the beginning of what was sent.
    pub fn is_cut(&self) -> bool {
        self.body_size > self.body.len() as u64
    }
}

/// Where a message comes from, hence what is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From a stranger over SMTP: verified and judged.
    Inbound,
    /// From a login of ours over SMTP: signed, never judged as spam.
    Submitted,
    /// From a program on this host, not over SMTP: signed, never rejected.
    Local,
}

impl Direction {
    /// The word for logs, metrics and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Submitted => "submitted",
            Self::Local => "local",
        }
    }
}

/// What the SMTP dialogue said around a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Where the message comes from.
    pub direction: Direction,
    /// The client's address; none for mail that did not come over the network.
    pub client_address: Option<IpAddr>,
    /// The client's verified host name; none when unknown or unverified.
    pub client_name: Option<String>,
    /// The argument of HELO or EHLO as typed.
    pub helo: Option<String>,
    /// The sender; none for the null sender `<>` and for one that is no address.
    pub sender: Option<Address>,
    /// MAIL FROM as the client gave it, without brackets, cut and printable; empty for the null sender. For SPF, which looks at its
    /// domain and local part even where they are no address of ours to understand.
    pub reverse_path: String,
    /// The recipients that Postfix accepted.
    pub recipients: Vec<Address>,
    /// Who logged in, for submitted mail.
    pub login: Option<Address>,
    /// Postfix's queue id.
    pub queue_id: Option<String>,
    /// Whether the SMTP session was encrypted.
    pub tls: bool,
}

impl Envelope {
    /// An envelope of which only the direction is known.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            client_address: None,
            client_name: None,
            helo: None,
            sender: None,
            reverse_path: String::new(),
            recipients: Vec::new(),
            login: None,
            queue_id: None,
            tls: false,
        }
    }
}

/// The first line without its end, and what follows.
fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &bytes[bytes.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

/// Name and value of a header line: a name of printable ASCII without colon (RFC 5322, 3.6.8), white space before the colon
/// dropped as Postfix drops it.
fn split_field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    let printable = !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic());
    printable.then(|| (name, &line[colon + 1..]))
}

/// Every line end as CRLF, also at the end of a last line that has none.
fn with_crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + bytes.len() / 32);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = split_line(rest);
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_lf_and_crlf_files_alike() {
        let lf = Message::from_eml(b"From: a@b.test\nSubject: one\n two\n\nbody\nend");
        let crlf = Message::from_eml(b"From: a@b.test\r\nSubject: one\r\n two\r\n\r\nbody\r\nend\r\n");
        assert_eq!(lf, crlf);
        assert_eq!(lf.first("subject"), Some(&b" one\n two"[..]));
        assert_eq!(lf.body, b"body\r\nend\r\n");
        assert_eq!(lf.to_rfc5322(), b"From: a@b.test\r\nSubject: one\r\n two\r\n\r\nbody\r\nend\r\n");
    }

    #[test]
    fn a_line_that_is_no_header_starts_the_body() {
        let message = Message::from_eml(b"From x@y Sat Nov 21\nA: 1\nnot a header\nB: 2\n");
        assert_eq!(message.headers.len(), 1);
        assert_eq!(message.body, b"not a header\r\nB: 2\r\n");
    }

    #[test]
    fn keeps_eight_bit_values_and_an_empty_file() {
        let message = Message::from_eml(b"Subject:\xff\xfe\n\n");
        assert_eq!(message.first("Subject"), Some(&b"\xff\xfe"[..]));
        assert!(message.body.is_empty());
        assert_eq!(Message::from_eml(b""), Message::default());
        assert_eq!(Message::from_eml(b"Subject : x\n").first("subject"), Some(&b" x"[..]));
    }

    proptest::proptest! {
        #[test]
        fn writing_and_reading_again_changes_nothing(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec!["A: b", "X:", " fold", "\t", "\n", "\r\n", "\n\n", "no header", "\u{e4}", ": x", "From "]),
                0..20,
            )
        ) {
            let message = Message::from_eml(pieces.concat().as_bytes());
            proptest::prop_assert_eq!(Message::from_eml(&message.to_rfc5322()), message);
        }
    }
}
