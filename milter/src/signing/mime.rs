//! The parts of a message and where they lie, byte by byte (RFC 2045, RFC 2046).
//!
//! For `mending`. The walk is one pass over the lines, without recursion: a delimiter counts for the innermost boundary that it
//! fits, and then for those around it, so a part without an end ends with what contains it. It decodes nothing.
//!
//! Parts that must stay as they are come out as [`Kind::Sealed`] and are not looked into: signed and encrypted ones
//! (`multipart/signed`, `multipart/encrypted`, S/MIME, PGP), an attached message with a DKIM signature of its own, whatever is
//! ambiguous (two `Content-Type` fields, a header block that is none), and what is nested deeper than [`MAX_DEPTH`].

mod fields;

use std::ops::Range;

use fields::{ContentType, ENCODING, HeaderBlock};

/// Deeper nesting than Postfix looks into (`mime_nesting_limit`).
const MAX_DEPTH: usize = 100;

/// More parts than any mail has; the rest stays as it is.
const MAX_PARTS: usize = 10_000;

/// `Content-Transfer-Encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// None is said, so 7-bit (RFC 2045, 6.1).
    Unsaid,
    /// `7bit`.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`, or a word that we do not know.
    Other,
    /// `binary`, which smtp(8) converts as it does 8-bit text.
    Binary,
}

/// What can be done with a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its content may be encoded.
    Leaf,
    /// It contains parts.
    Container,
    /// Its content must stay as it is.
    Sealed,
}

/// Where the `Content-Transfer-Encoding` of a part stands in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Label {
    /// In the header block of the message.
    Message,
    /// The field, with its line end.
    Field(Range<usize>),
    /// Nowhere; it may be put here.
    Missing(usize),
}

/// One part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) kind: Kind,
    pub(super) encoding: Encoding,
    pub(super) label: Label,
    /// The content, without the line end that belongs to the delimiter after it.
    pub(super) content: Range<usize>,
}

/// The parts in the order in which they begin. `fields` are those of the message; a value may have folds.
pub(super) fn parts<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>, body: &[u8]) -> Vec<Part> {
    let mut header = HeaderBlock::default();
    for (name, value) in fields {
        header.take(name, value);
    }
    let mut walk = Walk { body, parts: Vec::new(), open: Vec::new(), levels: Vec::new() };
    let mut state = walk.enter(&header, Label::Message, 0, false);
    let mut at = 0;
    while at < body.len() {
        let end = line_end(body, at);
        let line = &body[at..end];
        if line.starts_with(b"--")
            && let Some((level, closes)) = walk.delimiter(line)
        {
            walk.close(level, at);
            state = if closes {
                walk.levels.truncate(level);
                State::Content
            } else if walk.parts.len() < MAX_PARTS {
                State::Header(Box::new(Block::new(end, walk.levels[level].digest)))
            } else {
                State::Content
            };
        } else if let State::Header(block) = &mut state {
            match block.take(body, at, end) {
                Taken::More => {}
                Taken::End => {
                    let (label, digest) = (block.label(at), block.digest);
                    let header = std::mem::take(&mut block.header);
                    state = walk.enter(&header, label, end, digest);
                }
                Taken::NoHeader => {
                    walk.push(Kind::Sealed, Encoding::Unsaid, Label::Missing(at), block.start);
                    state = State::Content;
                }
            }
        }
        at = end;
    }
    if let State::Header(block) = &state {
        walk.push(Kind::Sealed, Encoding::Unsaid, Label::Missing(body.len()), block.start.min(body.len()));
    }
    for part in std::mem::take(&mut walk.open) {
        walk.parts[part].content.end = body.len();
    }
    walk.parts
}

enum State {
    Content,
    Header(Box<Block>),
}

struct Walk<'a> {
    body: &'a [u8],
    parts: Vec<Part>,
    /// The parts that have no end yet, the outermost first.
    open: Vec<usize>,
    levels: Vec<Level>,
}

/// A multipart that is open.
struct Level {
    boundary: Vec<u8>,
    /// How many parts are open with it.
    open: usize,
    digest: bool,
}

impl Walk<'_> {
    /// A part begins: what it is, and what the next line belongs to.
    fn enter(&mut self, header: &HeaderBlock, label: Label, at: usize, digest: bool) -> State {
        let default: &[u8] = if digest { b"message/rfc822" } else { b"text/plain" };
        let content_type = ContentType::parse(header.content_type.as_deref().unwrap_or(default));
        let encoding = header.encoding();
        let identity = !matches!(encoding, Encoding::QuotedPrintable | Encoding::Other);
        let nested = self.levels.len() + self.open.len() >= 2 * MAX_DEPTH;
        let sealed = header.ambiguous || nested || content_type.as_ref().is_none_or(ContentType::is_sealed);
        let Some(content_type) = content_type.filter(|_| !sealed) else {
            self.push(Kind::Sealed, encoding, label, at);
            return State::Content;
        };
        match (content_type.kind(), content_type.boundary.clone()) {
            ("multipart", Some(boundary)) if identity => {
                self.push(Kind::Container, encoding, label, at);
                let digest = content_type.name == "multipart/digest";
                self.levels.push(Level { boundary, open: self.open.len(), digest });
                State::Content
            }
            ("message", _) if content_type.name == "message/rfc822" && identity => {
                // A signature of somebody else inside holds only if nothing is changed.
                if attached_is_signed(self.body, at) {
                    self.push(Kind::Sealed, encoding, label, at);
                    return State::Content;
                }
                self.push(Kind::Container, encoding, label, at);
                State::Header(Box::new(Block::new(at, false)))
            }
            ("multipart" | "message", _) => {
                self.push(Kind::Sealed, encoding, label, at);
                State::Content
            }
            _ => {
                self.push(Kind::Leaf, encoding, label, at);
                State::Content
            }
        }
    }

    fn push(&mut self, kind: Kind, encoding: Encoding, label: Label, at: usize) {
        self.open.push(self.parts.len());
        self.parts.push(Part { kind, encoding, label, content: at..at });
    }

    /// Which boundary the line is a delimiter of, and whether it is the last one (RFC 2046, 5.1.1: white space may follow).
    fn delimiter(&self, line: &[u8]) -> Option<(usize, bool)> {
        let text = line[2..].trim_ascii_end();
        self.levels.iter().enumerate().rev().find_map(|(number, level)| {
            match text.strip_prefix(level.boundary.as_slice())? {
                b"" => Some((number, false)),
                b"--" => Some((number, true)),
                _ => None,
            }
        })
    }

    /// Ends every part inside of that level before a delimiter.
    fn close(&mut self, level: usize, at: usize) {
        let keep = self.levels[level].open;
        let end = if self.body[..at].ends_with(b"\r\n") { at - 2 } else { at };
        for part in self.open.drain(keep..) {
            let content = &mut self.parts[part].content;
            content.end = end.max(content.start);
        }
        self.levels.truncate(level + 1);
    }
}

/// The header block of a part while it is read.
struct Block {
    start: usize,
    /// The field under way.
    field: Range<usize>,
    header: HeaderBlock,
    encoding: Option<Range<usize>>,
    digest: bool,
}

enum Taken {
    More,
    End,
    NoHeader,
}

impl Block {
    fn new(start: usize, digest: bool) -> Self {
        Self { start, field: start..start, header: HeaderBlock::default(), encoding: None, digest }
    }

    fn take(&mut self, body: &[u8], at: usize, end: usize) -> Taken {
        let line = &body[at..end];
        match line {
            [b' ' | b'\t', ..] if !self.field.is_empty() => {
                self.field.end = end;
                return Taken::More;
            }
            _ => self.end_field(body),
        }
        if matches!(line, b"\r\n" | b"\n") {
            return Taken::End;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(0);
        if colon == 0 || !line[..colon].trim_ascii_end().iter().all(u8::is_ascii_graphic) {
            return Taken::NoHeader;
        }
        self.field = at..end;
        Taken::More
    }

    fn end_field(&mut self, body: &[u8]) {
        let field = std::mem::replace(&mut self.field, 0..0);
        let Some(colon) = body[field.clone()].iter().position(|byte| *byte == b':') else { return };
        let (name, value) =
            (&body[field.start..field.start + colon], &body[field.start + colon + 1..field.end]);
        if name.trim_ascii_end().eq_ignore_ascii_case(ENCODING) {
            self.encoding = Some(field.clone());
        }
        self.header.take(name, value);
    }

    fn label(&self, end: usize) -> Label {
        self.encoding.clone().map_or(Label::Missing(end), Label::Field)
    }
}

/// Whether the header block that begins there has a signature of DKIM or ARC.
fn attached_is_signed(body: &[u8], start: usize) -> bool {
    let mut at = start;
    while at < body.len() {
        let end = line_end(body, at);
        let line = &body[at..end];
        if matches!(line, b"\r\n" | b"\n") {
            return false;
        }
        let begins = |name: &[u8]| line.len() > name.len() && line[..name.len()].eq_ignore_ascii_case(name);
        if begins(b"DKIM-Signature:") || begins(b"ARC-Message-Signature:") {
            return true;
        }
        at = end;
    }
    false
}

/// Where the line that begins there ends, its line end included.
fn line_end(body: &[u8], at: usize) -> usize {
    body[at..].iter().position(|byte| *byte == b'\n').map_or(body.len(), |length| at + length + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::message::Message;

    fn walked(text: &str) -> Vec<(Kind, Encoding, String)> {
        let message = Message::from_eml(text.as_bytes());
        let fields = message.headers.iter().map(|header| (header.name.as_slice(), header.value.as_slice()));
        parts(fields, &message.body)
            .into_iter()
            .map(|part| {
                let content = String::from_utf8_lossy(&message.body[part.content]).replace("\r\n", "|");
                (part.kind, part.encoding, content)
            })
            .collect()
    }

    fn kinds(text: &str) -> Vec<Kind> {
        walked(text).into_iter().map(|part| part.0).collect()
    }

    use Kind::{Container, Leaf, Sealed};

    #[test]
    fn a_message_without_mime_is_one_leaf() {
        assert_eq!(walked("Subject: x\n\nhello\n"), [(Leaf, Encoding::Unsaid, "hello|".to_owned())]);
        assert_eq!(
            walked("Content-Transfer-Encoding: (c) 8BIT\n\n"),
            [(Leaf, Encoding::EightBit, String::new())]
        );
    }

    #[test]
    fn parts_lie_where_their_delimiters_say() {
        let text = "Content-Type: Multipart/Mixed; charset=x; (c) boundary=\"a b\"\n\npreamble\n--a b \nContent-Type: text/plain\n\
                    Content-Transfer-Encoding:\n 8bit\n\none\n\n--a b\n\ntwo\n--a bc\n--a b--\nepilogue\n";
        assert_eq!(
            walked(text).into_iter().skip(1).collect::<Vec<_>>(),
            [
                (Leaf, Encoding::EightBit, "one|".to_owned()),
                (Leaf, Encoding::Unsaid, "two|--a bc".to_owned()),
            ]
        );
    }

    #[test]
    fn a_part_without_an_end_ends_with_what_contains_it() {
        let text = "Content-Type: multipart/mixed; boundary=out\n\n--out\nContent-Type: multipart/alternative; boundary=in\n\n\
                    --in\n\none\n--out\n\ntwo\n";
        let parts = walked(text);
        assert_eq!(parts.iter().map(|part| part.0).collect::<Vec<_>>(), [Container, Container, Leaf, Leaf]);
        assert_eq!((parts[2].2.as_str(), parts[3].2.as_str()), ("one", "two|"));
    }

    #[test]
    fn signed_and_encrypted_parts_are_not_looked_into() {
        for content_type in [
            "multipart/signed; boundary=s; protocol=\"application/pgp-signature\"",
            "multipart/encrypted; boundary=s",
            "application/pkcs7-mime; name=smime.p7m",
        ] {
            let text = format!("Content-Type: {content_type}\n\n--s\n\nsigned\n--s--\n");
            assert_eq!(kinds(&text), [Sealed], "{content_type}");
            let text = format!(
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: {content_type}\n\n--s\n\nsigned\n--s--\n--o\n\nfooter\n--o--\n"
            );
            assert_eq!(kinds(&text), [Container, Sealed, Leaf], "{content_type}");
        }
    }

    #[test]
    fn attached_messages_are_looked_into_unless_they_are_signed() {
        let text = |field: &str| {
            format!(
                "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\n\n{field}Subject: x\n\nbody\n--o--\n"
            )
        };
        assert_eq!(walked(&text(""))[2], (Leaf, Encoding::Unsaid, "body".to_owned()));
        assert_eq!(kinds(&text("DKIM-Signature: v=1\n")), [Container, Sealed]);
        let digest = "Content-Type: multipart/digest; boundary=o\n\n--o\n\nSubject: x\n\nbody\n--o--\n";
        assert_eq!(kinds(digest), [Container, Container, Leaf]);
    }

    #[test]
    fn what_is_ambiguous_or_broken_stays_as_it_is() {
        for text in [
            "Content-Type: text/plain\nContent-Type: text/html\n\nx\n",
            "Content-Type: multipart/mixed\n\n--o\n\nx\n",
            "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\nx\n",
            "Content-Type: rubbish\n\nx\n",
            "Content-Type: multipart/mixed; boundary=o\nContent-Transfer-Encoding: base64\n\n--o\n\nx\n",
            "Content-Type: message/partial; id=x\n\nx\n",
        ] {
            assert_eq!(kinds(text), [Sealed], "{text}");
        }
        let no_header =
            "Content-Type: multipart/mixed; boundary=o\n\n--o\nno header at all\n\nx\n--o\nA: b\n";
        assert_eq!(kinds(no_header), [Container, Sealed, Sealed]);
    }

    #[test]
    fn nesting_without_end_is_bounded() {
        let mut text = String::from("Content-Type: multipart/mixed; boundary=b0\n\n");
        for depth in 0..1000 {
            text.push_str(&format!("--b{depth}\nContent-Type: multipart/mixed; boundary=b{}\n\n", depth + 1));
        }
        text.push_str("--b1000\n\ndeep\n");
        let parts = walked(&text);
        assert!(parts.len() <= MAX_DEPTH + 1 && parts.last().unwrap().0 == Sealed, "{}", parts.len());
        let many = format!("Content-Type: multipart/mixed; boundary=o\n\n{}", "--o\n\nx\n".repeat(20_000));
        assert_eq!(walked(&many).len(), MAX_PARTS);
    }

    proptest::proptest! {
        #[test]
        fn parts_never_overlap_or_leave_the_body(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "--a\r\n", "--a--\r\n", "--b\r\n", "--b--\r\n", "\r\n", "text\r\n", "Content-Type: multipart/mixed; boundary=b\r\n",
                "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: 8bit\r\n", " fold\r\n", "x", "\n", "\r", ":\r\n", "--",
            ]), 0..40)
        ) {
            let body = pieces.concat().into_bytes();
            let fields = [(&b"Content-Type"[..], &b" multipart/mixed; boundary=a"[..])];
            let found = parts(fields.into_iter(), &body);
            for part in &found {
                proptest::prop_assert!(part.content.start <= part.content.end && part.content.end <= body.len());
            }
            // Leaves follow one another.
            let mut end = 0;
            for part in found.iter().filter(|part| part.kind != Container) {
                proptest::prop_assert!(part.content.start >= end);
                end = part.content.end;
            }
        }
    }
}
