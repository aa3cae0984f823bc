//! The header block: its fields as text, the date, the Message-ID, the way the message came.
//!
//! For the rules of the groups `headers` and `lists`. It keeps values undecoded and unfolded, cut at [`MAX_VALUE`]; who stands in
//! the address fields is the business of `mailboxes`, what the subject says of `subject`.

use std::net::IpAddr;

use mail_parser::{DateTime, HeaderForm, HeaderName, Host, Protocol};

use super::text::lossy;
use crate::message::Message;

/// Real mail has 20 to 80 fields; Postfix's own bound is on bytes (`header_size_limit`).
pub const MAX_FIELDS: usize = 1_000;

/// No rule looks at more of one value.
pub const MAX_VALUE: usize = 4_096;

/// No rule looks at more hops; Postfix bounces mail with more than 50 (`hopcount_limit`).
const MAX_HOPS: usize = 50;

/// What the header block says about itself.
#[derive(Debug, Clone, Default)]
pub struct HeaderFacts {
    /// The fields from top to bottom.
    pub fields: Vec<Field>,
    /// The `Date` field (RFC 5322, 3.6.1).
    pub date: Date,
    /// The `Message-ID` field (RFC 5322, 3.6.4).
    pub message_id: Option<MessageId>,
    /// The hops, newest first.
    pub received: Vec<Hop>,
    /// The shapes of the names: rules ask for a hundred fields of which a message has few.
    shapes: Shapes,
}

/// A bit for each shape of a name that is there.
#[derive(Debug, Clone, Copy, Default)]
struct Shapes([u64; 4]);

impl Shapes {
    fn of(fields: &[Field]) -> Self {
        let mut shapes = Self::default();
        for (at, bit) in fields.iter().map(|field| Self::place(&field.name)) {
            shapes.0[at] |= bit;
        }
        shapes
    }

    /// Whether a field of that name may be there.
    fn may_have(&self, name: &str) -> bool {
        let (at, bit) = Self::place(name);
        self.0[at] & bit != 0
    }

    fn place(name: &str) -> (usize, u64) {
        let byte = |at: usize| name.as_bytes().get(at).copied().map_or(0, usize::from);
        let shape = name.len() + 7 * byte(name.len() / 2) + 31 * byte(name.len().wrapping_sub(1)) + byte(2);
        (shape / 64 % 4, 1 << (shape % 64))
    }
}

/// One field.
#[derive(Debug, Clone, Default)]
pub struct Field {
    /// The name in lower case.
    pub name: String,
    /// Whether the name is written as most write it, such as `X-Mailer`.
    pub spelling: String,
    /// The value, unfolded and trimmed, with whatever is no UTF-8 replaced.
    pub value: String,
    /// Whether the raw value has bytes beyond ASCII.
    pub eight_bit: bool,
    /// Whether the raw value is no UTF-8.
    pub broken_utf8: bool,
    /// Whether the raw value has control characters other than tab and fold.
    pub control: bool,
}

/// The `Date` field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Date {
    /// There is none.
    #[default]
    Missing,
    /// It is no date.
    Invalid,
    /// Seconds since 1970.
    At(i64),
}

/// A Message-ID in its pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageId {
    /// The value as written.
    pub text: String,
    /// What stands left of the `@`.
    pub left: String,
    /// What stands right of it, in lower case.
    pub right: String,
    /// Whether it is in angle brackets.
    pub brackets: bool,
}

/// One `Received` field (RFC 5321, 4.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hop {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The client's HELO, or the name it is given.
    pub from: Option<String>,
    /// Who received it.
    pub by: Option<String>,
    /// When, in seconds since 1970.
    pub date: Option<i64>,
    /// Whether the client had logged in (RFC 3848: ESMTPA, ESMTPSA).
    pub login: bool,
}

impl HeaderFacts {
    pub(super) fn read(
        message: &Message,
        parsed: &mail_parser::Message<'_>,
        missing: &mut Vec<&'static str>,
    ) -> Self {
        if message.headers.len() > MAX_FIELDS {
            missing.push("headers");
        }
        let fields: Vec<Field> = message
            .headers
            .iter()
            .take(MAX_FIELDS)
            .map(|header| Field::read(&header.name, &header.value))
            .collect();
        let date = match message.first("date") {
            None => Date::Missing,
            Some(value) => parse_date(value).map_or(Date::Invalid, Date::At),
        };
        let message_id = fields
            .iter()
            .find(|field| field.name == "message-id")
            .map(|field| MessageId::parse(&field.value));
        let received = parsed.all_received().take(MAX_HOPS).map(|hop| Hop::read(&hop)).collect();
        Self { shapes: Shapes::of(&fields), fields, date, message_id, received }
    }

    /// How many fields of that name (in lower case) there are.
    pub fn count(&self, name: &str) -> usize {
        if !self.shapes.may_have(name) {
            return 0;
        }
        self.fields.iter().filter(|field| field.name == name).count()
    }

    /// Whether there is a field of that name (in lower case).
    pub fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// The first field of that name (in lower case).
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.shapes.may_have(name).then(|| self.fields.iter().find(|field| field.name == name))?
    }

    /// The value of the first field of that name; empty when there is none.
    pub fn value(&self, name: &str) -> &str {
        self.field(name).map_or("", |field| field.value.as_str())
    }

    /// The program that wrote the message, by its own word.
    pub fn mailer(&self) -> &str {
        match self.value("x-mailer") {
            "" => self.value("user-agent"),
            mailer => mailer,
        }
    }
}

impl Field {
    fn read(name: &[u8], value: &[u8]) -> Self {
        let spelling = lossy(&name[..name.len().min(128)]).into_owned();
        let value = value.trim_ascii();
        let mut end = value.len().min(MAX_VALUE);
        while end < value.len() && end > 0 && value[end] & 0xC0 == 0x80 {
            end -= 1;
        }
        let text = lossy(&value[..end]);
        let unfolded = match memchr::memchr3(b'\n', b'\r', b'\t', text.as_bytes()) {
            Some(_) => unfold(&text),
            None => text.into_owned(),
        };
        let eight_bit = !value.is_ascii();
        let is_control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0x7F;
        Self {
            name: spelling.to_ascii_lowercase(),
            spelling,
            value: unfolded,
            eight_bit,
            broken_utf8: eight_bit && std::str::from_utf8(value).is_err(),
            // To the end in any case, which takes many bytes at a time.
            control: value.iter().fold(false, |found, &byte| found | is_control(byte)),
        }
    }
}

/// The lines of a value, one blank between them.
fn unfold(text: &str) -> String {
    let mut unfolded = String::with_capacity(text.len());
    let mut rest = Some(text);
    while let Some(here) = rest {
        let end = memchr::memchr2(b'\n', b'\r', here.as_bytes());
        let line = here[..end.unwrap_or(here.len())].trim();
        if !line.is_empty() {
            if !unfolded.is_empty() {
                unfolded.push(' ');
            }
            unfolded.push_str(line);
        }
        rest = end.map(|end| &here[end + 1..]);
    }
    unfolded
}

impl MessageId {
    /// Takes a Message-ID apart; whatever stands there, in doubt all of it is left of the `@`.
    pub fn parse(text: &str) -> Self {
        let trimmed = text.trim();
        let inner = trimmed.strip_prefix('<').and_then(|rest| rest.split_once('>')).map(|(inner, _)| inner);
        let (left, right) =
            inner.unwrap_or(trimmed).rsplit_once('@').unwrap_or((inner.unwrap_or(trimmed), ""));
        Self {
            text: trimmed.to_owned(),
            left: left.to_owned(),
            right: right.to_ascii_lowercase(),
            brackets: inner.is_some(),
        }
    }
}

impl Hop {
    fn read(received: &mail_parser::Received<'_>) -> Self {
        let name = |host: Option<Host<'_>>| host.map(|host| host.to_string().to_ascii_lowercase());
        Self {
            address: received.from_ip(),
            from: name(received.helo()).or_else(|| name(received.from())),
            by: name(received.by()),
            date: received.date().and_then(timestamp),
            login: received.with().is_some_and(|with| {
                matches!(with, Protocol::ESMTPA | Protocol::ESMTPSA | Protocol::LMTPA | Protocol::LMTPSA)
            }),
        }
    }
}

/// The first field that is a list identifier (RFC 2919), a mailing list's own sign.
pub fn is_list(headers: &HeaderFacts) -> bool {
    ["list-id", "list-post", "x-mailing-list", "mailing-list", "x-mailman-version", "x-beenthere"]
        .iter()
        .any(|name| headers.has(name))
}

/// Whether it answers something, by what it says itself.
pub fn is_answer(headers: &HeaderFacts) -> bool {
    ["in-reply-to", "references"].iter().any(|name| headers.value(name).contains('@'))
}

/// Whether two of the fields that list programs write are there: `List-Id` (RFC 2919) alone is in many newsletters.
pub fn is_by_list_program(has: impl Fn(&str) -> bool) -> bool {
    LIST_PROGRAM.iter().filter(|name| has(name)).count() >= 2
}

const LIST_PROGRAM: &[&str] = &[
    "list-id",
    "list-post",
    "x-mailman-version",
    "x-beenthere",
    "list-help",
    "mailing-list",
    "x-mailing-list",
];

fn parse_date(value: &[u8]) -> Option<i64> {
    HeaderForm::Date.parse(value).value().as_datetime().and_then(timestamp)
}

/// Zones reach from -12 to +14 hours; mail is younger than 1980, and whoever writes a year beyond 2100 lies.
fn timestamp(date: DateTime) -> Option<i64> {
    let minutes = u32::from(date.tz_hour) * 60 + u32::from(date.tz_minute);
    let zone = minutes <= if date.tz_before_gmt { 12 * 60 } else { 14 * 60 };
    (date.is_valid() && zone && (1980..=2100).contains(&date.year)).then(|| date.to_timestamp())
}

/// Whether a MIME field is there although the parser made nothing of it.
pub(super) fn is_unreadable(part: &mail_parser::MessagePart<'_>) -> bool {
    part.content_type().is_none() && part.headers().contains(HeaderName::ContentType)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_field_is_found_by_its_name_and_unfolded() {
        let eml = "Subject: a\r\n \r\n\tb\nX-Mailer: \u{b}c\nx-mailer: d\n\nbody\n";
        let message = Message::from_eml(eml.as_bytes());
        let raw = message.to_rfc5322();
        let facts = HeaderFacts::read(&message, &crate::facts::parse(&raw), &mut Vec::new());
        assert_eq!(facts.count("x-mailer"), 2);
        assert!(facts.field("subject").is_some() && facts.field("subjecu").is_none());
        assert_eq!((facts.count("x-mailes"), facts.has("")), (0, false));
    }

    proptest::proptest! {
        #[test]
        fn unfolding_is_the_lines_with_blanks_between(text in "[a \n\r\t\u{b}\u{e4}]{0,30}") {
            let lines: Vec<&str> =
                text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect();
            proptest::prop_assert_eq!(unfold(&text), lines.join(" "));
        }
    }
}
