//! Canonical forms (RFC 6376, 3.4) of header fields and bodies, and the hash of a body.
//!
//! ```text
//! simple    header as it is                       body without empty lines at its end, at least one CRLF
//! relaxed   name in lower case, unfolded,         runs of white space as one space, none at the ends of lines,
//!           runs of white space as one space      no empty lines at the end; an empty body stays empty
//! ```

use aws_lc_rs::digest::{Context, SHA256};

use super::fields::{self, Field};

/// The two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Canonicalization {
    /// Nothing is changed.
    Simple,
    /// White space and case of names do not count.
    Relaxed,
}

/// A message as fields and body.
pub struct Parts<'a> {
    /// The header fields, from top to bottom.
    pub fields: Vec<Field<'a>>,
    /// The body with CRLF line ends.
    pub body: &'a [u8],
}

/// The hash of a canonical body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyDigest {
    /// SHA-256.
    pub hash: [u8; 32],
    /// How many bytes of the canonical body it covers.
    pub covered: u64,
    /// How many bytes the canonical body has.
    pub total: u64,
}

impl<'a> Parts<'a> {
    /// The parts of a message in RFC 5322 form.
    pub fn of(raw: &'a [u8]) -> Self {
        let (fields, body) = fields::split(raw);
        Self { fields, body }
    }
}

impl Canonicalization {
    /// Its word in `c=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Relaxed => "relaxed",
        }
    }

    /// Appends a field with its line end.
    pub fn header(self, field: &Field<'_>, out: &mut Vec<u8>) {
        self.header_without_end(field.name, field.value, out);
        out.extend_from_slice(b"\r\n");
    }

    /// Appends a signature's own field: `b=` with nothing in it, no line end (RFC 6376, 3.7).
    pub fn signature_header(self, field: &Field<'_>, out: &mut Vec<u8>) {
        self.header_without_end(field.name, &without_signature(field.value), out);
    }

    fn header_without_end(self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        if self == Self::Simple {
            out.extend_from_slice(name);
            out.push(b':');
            out.extend_from_slice(value);
            return;
        }
        out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
        out.push(b':');
        let mut space = false;
        let mut empty = true;
        for &byte in value {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => space = !empty,
                other => {
                    if std::mem::take(&mut space) {
                        out.push(b' ');
                    }
                    empty = false;
                    out.push(other);
                }
            }
        }
    }

    /// The hash of a body; of its first `limit` canonical bytes only, where a signature says so (`l=`).
    pub fn body(self, body: &[u8], limit: Option<u64>) -> BodyDigest {
        let mut sink = Sink::new(limit);
        match self {
            Self::Simple => simple_body(body, &mut sink),
            Self::Relaxed => relaxed_body(body, &mut sink),
        }
        sink.finish()
    }
}

/// Everything but empty lines at the end, then one line end (RFC 6376, 3.4.3).
fn simple_body(body: &[u8], sink: &mut Sink) {
    let mut end = body;
    while let Some(shorter) = end.strip_suffix(b"\r\n") {
        end = shorter;
    }
    sink.feed(end);
    sink.feed(b"\r\n");
}

/// Line by line (RFC 6376, 3.4.4). Lines that are empty once their white space is gone count only when something follows. Most lines are
/// in canonical form already; rows of such lines are hashed where they lie, in one piece.
fn relaxed_body(body: &[u8], sink: &mut Sink) {
    // Bytes not hashed yet that are as they must be, the empty lines behind them, and whether those are nothing but line ends.
    let (mut start, mut end, mut empty_lines, mut plain) = (0, 0, 0_u64, true);
    let mut at = 0;
    while at < body.len() {
        let (line, rest) = crlf_line(&body[at..]);
        let next = body.len() - rest.len();
        let text = line.trim_suffix_space();
        if text.is_empty() {
            empty_lines += 1;
            plain &= line.is_empty();
            at = next;
            continue;
        }
        let as_it_is = text.len() == line.len() && next - at == line.len() + 2 && !has_odd_space(line);
        if as_it_is && plain {
            empty_lines = 0;
            end = next;
        } else {
            sink.feed(&body[start..end]);
            for _ in 0..std::mem::take(&mut empty_lines) {
                sink.feed(b"\r\n");
            }
            (start, end, plain) = (if as_it_is { at } else { next }, next, true);
            if !as_it_is {
                words(text, sink);
                sink.feed(b"\r\n");
            }
        }
        at = next;
    }
    sink.feed(&body[start..end]);
}

/// Whether relaxing would change white space inside of a line. Without a way out, so that it is done many bytes at a time.
fn has_odd_space(line: &[u8]) -> bool {
    let pairs = line.iter().zip(line.iter().skip(1));
    pairs.fold(line.last() == Some(&b'\t'), |odd, (&one, &next)| {
        odd | (one == b'\t') | ((one == b' ') & (next == b' '))
    })
}

/// The first line without its CRLF, and what follows. A bare CR or LF is text.
fn crlf_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\n', &bytes[from..]) {
        let end = from + at;
        if end > 0 && bytes[end - 1] == b'\r' {
            return (&bytes[..end - 1], &bytes[end + 1..]);
        }
        from = end + 1;
    }
    (bytes, &bytes[bytes.len()..])
}

/// A line with each run of white space as one space; in pieces as long as they are in the message.
fn words(line: &[u8], sink: &mut Sink) {
    let mut start = 0;
    let mut at = 0;
    while at < line.len() {
        if !matches!(line[at], b' ' | b'\t') {
            at += 1;
            continue;
        }
        let run = line[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if run == 1 && line[at] == b' ' {
            at += 1;
            continue;
        }
        sink.feed(&line[start..at]);
        sink.feed(b" ");
        at += run;
        start = at;
    }
    sink.feed(&line[start..]);
}

trait TrimSpace {
    fn trim_suffix_space(&self) -> &Self;
}

impl TrimSpace for [u8] {
    fn trim_suffix_space(&self) -> &Self {
        let end = self.iter().rposition(|byte| !matches!(byte, b' ' | b'\t')).map_or(0, |at| at + 1);
        &self[..end]
    }
}

/// A value with `b=` emptied, "including all surrounding white space" (RFC 6376, 3.7).
fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (number, spec) in value.split(|&byte| byte == b';').enumerate() {
        if number > 0 {
            out.push(b';');
        }
        let name = spec.iter().position(|&byte| byte == b'=').filter(|&at| spec[..at].trim_ascii() == b"b");
        out.extend_from_slice(&spec[..name.map_or(spec.len(), |at| at + 1)]);
    }
    out
}

/// The hash, fed in pieces of at least [`SCRATCH`] bytes: a call for each word would cost more than the hash itself.
struct Sink {
    context: Context,
    scratch: Vec<u8>,
    limit: u64,
    covered: u64,
    total: u64,
}

const SCRATCH: usize = 8 * 1024;

impl Sink {
    fn new(limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(u64::MAX);
        Self { context: Context::new(&SHA256), scratch: Vec::new(), limit, covered: 0, total: 0 }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let wanted = usize::try_from(self.limit - self.covered).unwrap_or(usize::MAX).min(bytes.len());
        self.covered += wanted as u64;
        let bytes = &bytes[..wanted];
        if self.scratch.is_empty() && bytes.len() >= SCRATCH {
            self.context.update(bytes);
            return;
        }
        self.scratch.extend_from_slice(bytes);
        if self.scratch.len() >= SCRATCH {
            self.context.update(&self.scratch);
            self.scratch.clear();
        }
    }

    fn finish(mut self) -> BodyDigest {
        self.context.update(&self.scratch);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.context.finish().as_ref());
        BodyDigest { hash, covered: self.covered, total: self.total }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::signing::BodyHash;
    use proptest::prelude::*;

    fn plain(canonical: &[u8]) -> [u8; 32] {
        aws_lc_rs::digest::digest(&SHA256, canonical).as_ref().try_into().unwrap()
    }

    fn header(form: Canonicalization, name: &[u8], value: &[u8]) -> String {
        let mut out = Vec::new();
        form.header(&Field { name, value }, &mut out);
        out.escape_ascii().to_string()
    }

    /// RFC 6376, 3.4.5.
    #[test]
    fn the_examples_of_the_rfc() {
        assert_eq!(header(Canonicalization::Relaxed, b"A", b" X"), "a:X\\r\\n");
        assert_eq!(header(Canonicalization::Relaxed, b"B ", b" Y\t\r\n\tZ  "), "b:Y Z\\r\\n");
        assert_eq!(header(Canonicalization::Simple, b"B ", b" Y\t\r\n\tZ  "), "B : Y\\t\\r\\n\\tZ  \\r\\n");
        let body = b" C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(Canonicalization::Relaxed.body(body, None).hash, plain(b" C\r\nD E\r\n"));
        assert_eq!(Canonicalization::Simple.body(body, None).hash, plain(b" C \r\nD \t E\r\n"));
        // 3.4.3 and 3.4.4: the empty body.
        assert_eq!(Canonicalization::Simple.body(b"", None).hash, plain(b"\r\n"));
        assert_eq!(Canonicalization::Relaxed.body(b"", None).hash, plain(b""));
    }

    #[test]
    fn the_end_of_a_body() {
        for (body, relaxed, simple) in [
            (&b"x"[..], &b"x\r\n"[..], &b"x\r\n"[..]),
            (b"\r\n\r\n", b"", b"\r\n"),
            (b" \r\n\t\r\n", b"", b" \r\n\t\r\n"),
            // The defect of older libraries: lines of white space only at the end.
            (b"</html>\r\n    \r\n", b"</html>\r\n", b"</html>\r\n    \r\n"),
            (b"</html>\r\n \t\r\n\r\n  ", b"</html>\r\n", b"</html>\r\n \t\r\n\r\n  \r\n"),
            (b"a\r\n \r\nb\r\n", b"a\r\n\r\nb\r\n", b"a\r\n \r\nb\r\n"),
            (b"a\rb\nc \n\r\n", b"a\rb\nc \n\r\n", b"a\rb\nc \n\r\n"),
        ] {
            let name = body.escape_ascii();
            assert_eq!(Canonicalization::Relaxed.body(body, None).hash, plain(relaxed), "{name}");
            assert_eq!(Canonicalization::Simple.body(body, None).hash, plain(simple), "{name}");
        }
    }

    #[test]
    fn a_limit_covers_the_beginning_and_knows_the_rest() {
        let digest = Canonicalization::Relaxed.body(b"ab  cd \r\n\r\n", Some(4));
        assert_eq!((digest.hash, digest.covered, digest.total), (plain(b"ab c"), 4, 7));
        let digest = Canonicalization::Simple.body(b"ab\r\n", Some(9));
        assert_eq!((digest.covered, digest.total), (4, 4));
    }

    #[test]
    fn only_b_is_emptied() {
        for (value, without) in [
            (" bh=AA; b=QQ==; d=b", " bh=AA; b=; d=b"),
            (" b = \r\n\tQ Q\r\n\t;x=1", " b =;x=1"),
            (" bb=1; xb=2; b=3", " bb=1; xb=2; b="),
        ] {
            assert_eq!(without_signature(value.as_bytes()).escape_ascii().to_string(), without);
        }
    }

    proptest! {
        /// Two ways to the same hash: this one, and the one that hashes outgoing mail while it arrives.
        #[test]
        fn agrees_with_the_signers_hash(
            words in proptest::collection::vec(prop_oneof![
                Just(&b"\r\n"[..]), Just(&b" "[..]), Just(&b"\t"[..]), Just(&b"x"[..]), Just(&b"word"[..]), Just(&b"\n"[..]),
                Just(&b"\r"[..]), Just(&b"\xff"[..])
            ], 0..60),
        ) {
            let body = words.concat();
            let mut signer = BodyHash::new();
            signer.update(&body);
            prop_assert_eq!(Canonicalization::Relaxed.body(&body, None).hash, signer.finish());
        }
    }
}
