//! A message as the model sees it: three sets of hashed features.
//!
//! For [`Model`](super::Model). A feature is an index into the model's table; which text is behind it is not kept.
//!
//! | view | features | of what |
//! |---|---|---|
//! | header | byte 5-grams | the first [`HEADER_BYTES`] of the header fields, in order, unfolded |
//! | body | byte 5-grams | the first [`BODY_BYTES`] that a reader sees: text parts decoded, HTML without its markup |
//! | words | words and pairs of words | header values by field, names and order of the fields, body text, tags and attributes of HTML, MIME types and file names |
//!
//! Header and body are apart because the information is: in mail of today the header alone is many kilobytes, and one budget for
//! both would never see a body. The views hash into one table with seeds of their own.
//!
//! What is *not* seen is what a filter or a mailbox wrote: a verdict of another filter would be learned instead of the message, and a
//! field that only mail in a mailbox has would make judging and learning see different messages ([`is_seen`]). Of a signature only the
//! tags that name the signer are seen: hashes are noise that costs budget.
//!
//! Charsets are not converted: bytes are compared with bytes, so the same words in two charsets are two words. The work is bounded by the
//! constants here, whatever the size of the message.

use std::borrow::Cow;

use gatepost::training;
use mail_parser::PartKind;

use super::kind::Kind;
use super::owners::Owner;
use super::words::{self, Context, Key, Source, Words};
use crate::facts;
use crate::facts::parts::MAX_PARTS;
use crate::message::{Header, Message};

/// Header text seen by the view `header`. Tried on the development set: 4,000, 8,000, 16,000.
pub const HEADER_BYTES: usize = 8_000;
/// Body text seen by the view `body`. Tried there: 4,000, 8,000.
pub const BODY_BYTES: usize = 4_000;
/// The length of a gram. Tried there: 4, 5, 6.
const GRAM: u32 = 5;
/// Features are numbers below two to this power; the size of the model's table.
pub const TABLE_BITS: u32 = 22;

/// Header fields read; as many as `facts` keeps would cost more than they tell.
const MAX_FIELDS: usize = 400;
/// Bytes of one header value that are cut into words.
const MAX_VALUE: usize = 2_000;
/// Words of one header value, and of each part's text.
const MAX_HEADER_WORDS: usize = 60;
const MAX_BODY_WORDS: usize = 2_000;
/// Encoded bytes of a plain text part, and of an HTML part, that are decoded: a multiple of base64's line and quantum.
const MAX_TEXT: usize = 20_064;
const MAX_HTML: usize = 40_128;
/// All text parts together.
const MAX_DECODED: usize = 4 * MAX_HTML;

/// The three views of a message. Each holds a feature at most once, in the order of the message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Features {
    /// 5-grams of the header.
    pub header: Vec<u32>,
    /// 5-grams of the visible body.
    pub body: Vec<u32>,
    /// Words and pairs.
    pub words: Vec<u32>,
    /// What kind of mail it is.
    pub kind: Kind,
}

impl Features {
    /// How many features there are.
    pub(super) fn count(&self) -> usize {
        self.header.len() + self.body.len() + self.words.len()
    }
}

/// A message as it was read: its features, and the texts that the words of its body were cut from, for the evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Portrait {
    /// What the model looks at.
    pub features: Features,
    /// Where its words stand.
    words: Words,
    texts: Vec<Text>,
    /// The header fields as they were read, where they are not those of the message.
    fields: Option<Vec<Header>>,
}

/// One MIME part as far as it is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Text {
    /// `type/subtype` and file name; not of the message itself.
    kind: Option<String>,
    name: Option<String>,
    /// The markup of HTML.
    html: Option<Vec<u8>>,
    /// What a reader sees; none where the part is no text.
    visible: Option<Vec<u8>>,
}

impl Portrait {
    /// The text behind some features of the view `words`, sorted, for the evidence of a verdict: each as it stands first in the message,
    /// which is the one that was read.
    pub fn texts(&self, message: &Message, wanted: &[u32]) -> Vec<(u32, String)> {
        self.words.texts(wanted, |source| self.source(message, source))
    }

    /// The keys of the view `words`, for a list of words: what each feature is.
    pub fn keys(&self, message: &Message) -> Vec<Key> {
        self.words.keys(|source| self.source(message, source))
    }

    fn source<'a>(&'a self, message: &'a Message, source: Source) -> Option<(&'a [u8], Cow<'a, [u8]>)> {
        let fields = self.fields.as_ref().unwrap_or(&message.headers);
        let nameless = |text| Some((b"".as_slice(), Cow::Borrowed(text)));
        match source {
            Source::Field(number) => {
                let field = fields.get(number)?;
                Some((field.name.as_slice(), Cow::Owned(value(field))))
            }
            Source::Kind(number) => nameless(self.texts.get(number)?.kind.as_ref()?.as_bytes()),
            Source::Name(number) => nameless(self.texts.get(number)?.name.as_ref()?.as_bytes()),
            Source::Tag(number, at) => nameless(self.texts.get(number)?.html.as_ref()?.get(at..)?),
            Source::Visible(number) => nameless(self.texts.get(number)?.visible.as_ref()?),
        }
    }
}

/// Reads features; holds half a mebibyte to tell what a message has shown already, so one is kept for many messages.
#[derive(Debug)]
pub struct Extractor {
    seen: Vec<u64>,
}

impl Default for Extractor {
    fn default() -> Self {
        Self { seen: vec![0; (1 << TABLE_BITS) / 64] }
    }
}

impl Extractor {
    /// Reads a message. Never fails, whatever the bytes; an empty message has next to no features.
    pub fn read(&mut self, message: &Message) -> Portrait {
        let raw = message.to_rfc5322();
        self.read_parsed(message, &raw, &facts::parse(&raw))
    }

    /// The same where the message is written out and parsed already. What is longer than a sample is read as its sample will be: what is
    /// judged and what is learned later are the same bytes.
    pub fn read_parsed(
        &mut self,
        message: &Message,
        raw: &[u8],
        parsed: &mail_parser::Message<'_>,
    ) -> Portrait {
        let header = raw.len().saturating_sub(message.body.len());
        if message.body.len() <= training::MAX_BODY && header <= training::MAX_HEADER {
            return self.portray(message, parsed);
        }
        let kept = Message::from_eml(&training::cut(raw));
        let raw = kept.to_rfc5322();
        let portrait = self.portray(&kept, &facts::parse(&raw));
        Portrait { fields: Some(kept.headers), ..portrait }
    }

    fn portray(&mut self, message: &Message, parsed: &mail_parser::Message<'_>) -> Portrait {
        let mut words = Words::default();
        let header = header(message, &mut words);
        let texts = texts(parsed);
        let body = body(&texts, &mut words);
        let features = Features {
            header: self.grams(&header, Seed::Header),
            body: self.grams(&body, Seed::Body),
            words: self.unique(words.features()),
            kind: Kind::of(message),
        };
        Portrait { features, words, texts, fields: None }
    }

    fn grams(&mut self, text: &[u8], seed: Seed) -> Vec<u32> {
        let mut window = 0u64;
        let mask = (1u64 << (8 * GRAM)) - 1;
        let hashes = text.iter().map(move |&byte| {
            window = ((window << 8) | u64::from(byte)) & mask;
            index(window ^ seed as u64)
        });
        self.unique(hashes.skip(GRAM as usize - 1))
    }

    fn unique(&mut self, features: impl Iterator<Item = u32>) -> Vec<u32> {
        let mut kept = Vec::with_capacity(features.size_hint().0);
        for feature in features {
            // Indices are below 2^TABLE_BITS, so the word is always there.
            if let Some(word) = self.seen.get_mut(feature as usize / 64) {
                let bit = 1u64 << (feature % 64);
                if *word & bit == 0 {
                    *word |= bit;
                    kept.push(feature);
                }
            }
        }
        for feature in &kept {
            if let Some(word) = self.seen.get_mut(*feature as usize / 64) {
                *word = 0;
            }
        }
        kept
    }
}

/// What sets equal text of different views apart. Above the 40 bits of a gram.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Seed {
    Header = 1 << 40,
    Body = 2 << 40,
    Words = 3 << 40,
}

/// The feature of a hash of the view `words`.
pub(super) fn feature(hash: u64) -> u32 {
    index(hash ^ Seed::Words as u64)
}

/// A hash to an index: Fibonacci hashing, whose upper bits are the well mixed ones.
fn index(hash: u64) -> u32 {
    (hash.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - TABLE_BITS)) as u32
}

/// The words of a message as one owner's own features.
pub(super) fn of_owner(words: &[u32], owner: Owner) -> impl ExactSizeIterator<Item = u32> {
    words.iter().map(move |&word| index((u64::from(word) ^ owner.0).wrapping_mul(0xff51_afd7_ed55_8ccd)))
}

/// Names of fields that mail filters and mailboxes add. A name that ends in `-` stands for all that begin so.
const UNSEEN: &[&str] = &[
    "apparently-to",
    "arc-",
    "authentication-results",
    "content-length",
    "delivered-to",
    "envelope-to",
    "lines",
    "received-spf",
    "return-path",
    "status",
    "x-amavis-",
    "x-barracuda-",
    "x-bogosity",
    "x-gatepost-",
    "x-greylist",
    "x-keywords",
    "x-mailman-approved-at",
    "x-mozilla-",
    "x-ms-exchange-",
    "x-original-to",
    "x-rspamd-",
    "x-sieve",
    "x-spam",
    "x-spam-",
    "x-spamd-",
    "x-status",
    "x-uid",
    "x-uidl",
    "x-virus-",
];

/// Whether the model may see a field.
fn is_seen(header: &Header) -> bool {
    let name = header.name.as_slice();
    !UNSEEN.iter().any(|unseen| {
        let unseen = unseen.as_bytes();
        match unseen.ends_with(b"-") {
            true => name.get(..unseen.len()).is_some_and(|start| start.eq_ignore_ascii_case(unseen)),
            false => name.eq_ignore_ascii_case(unseen),
        }
    })
}

/// The text of the view `header`, and the words of every field.
fn header(message: &Message, words: &mut Words) -> Vec<u8> {
    let mut text = Vec::with_capacity(HEADER_BYTES + MAX_VALUE);
    let mut order = Context::ORDER;
    let fields = message.headers.iter().enumerate().take(MAX_FIELDS);
    for (number, field) in fields.filter(|(_, field)| is_seen(field)) {
        let name = field.name.to_ascii_lowercase();
        let value = value(field);
        words.name(number, &field.name, &name, &mut order);
        words.text(Context::field(&name), &value, MAX_HEADER_WORDS);
        if text.len() < HEADER_BYTES {
            text.extend_from_slice(&field.name);
            text.push(b':');
            text.extend_from_slice(&value);
            text.push(b'\n');
        }
    }
    text.truncate(HEADER_BYTES);
    text
}

/// What is read of a field's value.
fn value(field: &Header) -> Vec<u8> {
    let value = unfolded(&field.value);
    let is = |name: &[u8]| field.name.eq_ignore_ascii_case(name);
    match is(b"dkim-signature") || is(b"domainkey-signature") {
        true => signer(&value),
        false => value,
    }
}

/// A value in one line: each fold is one blank, so that a fold made on the way changes nothing.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len().min(MAX_VALUE));
    for line in value.split(|&byte| byte == b'\n') {
        if out.len() >= MAX_VALUE {
            break;
        }
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(line.trim_ascii());
    }
    out.truncate(MAX_VALUE);
    out
}

/// The tags of a signature without `b=`, `bh=` and the times (RFC 6376, 3.5).
fn signer(value: &[u8]) -> Vec<u8> {
    let noise: [&[u8]; 4] = [b"b=", b"bh=", b"t=", b"x="];
    let mut out = Vec::with_capacity(value.len());
    for tag in value.split(|&byte| byte == b';') {
        if !noise.iter().any(|name| tag.trim_ascii().starts_with(name)) {
            out.extend_from_slice(tag);
            out.push(b';');
        }
    }
    out
}

/// What is read of the parts. Encoded text is decoded within the bounds, however much there is.
fn texts(parsed: &mail_parser::Message<'_>) -> Vec<Text> {
    let mut budget = MAX_DECODED;
    let mut texts = Vec::new();
    for (number, part) in parsed.parts().take(MAX_PARTS).enumerate() {
        let mut text = Text::default();
        if number > 0 {
            let kind = part.content_type();
            text.kind = kind.map(|kind| format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or_default()));
            text.name = part.attachment_name().map(str::to_owned);
        }
        let limit = match part.kind() {
            PartKind::Text => MAX_TEXT,
            PartKind::Html => MAX_HTML,
            _ => 0,
        };
        if limit > 0 {
            let encoded = part.raw_body();
            let encoded = &encoded[..encoded.len().min(limit).min(budget)];
            budget -= encoded.len();
            let decoded = part.encoding().decode(encoded).into_owned();
            if matches!(part.kind(), PartKind::Html) {
                text.visible = Some(words::visible(&decoded));
                text.html = Some(decoded);
            } else {
                text.visible = Some(decoded);
            }
        }
        texts.push(text);
    }
    texts
}

/// The text of the view `body`, and the words of every part.
fn body(texts: &[Text], words: &mut Words) -> Vec<u8> {
    let mut body = Vec::with_capacity(BODY_BYTES + 1_024);
    for (number, text) in texts.iter().enumerate() {
        if let Some(kind) = &text.kind {
            words.source(Source::Kind(number), Context::MIME, kind.as_bytes(), 2);
        }
        if let Some(name) = &text.name {
            words.source(Source::Name(number), Context::FILE, name.as_bytes(), 10);
        }
        if let Some(html) = &text.html {
            words.tags(number, html);
        }
        let Some(visible) = &text.visible else { continue };
        words.source(Source::Visible(number), Context::BODY, visible, MAX_BODY_WORDS);
        if body.len() < BODY_BYTES {
            body.extend_from_slice(&visible[..visible.len().min(BODY_BYTES)]);
            body.push(b'\n');
        }
    }
    body.truncate(BODY_BYTES);
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(eml: &str) -> Features {
        Extractor::default().read(&Message::from_eml(eml.as_bytes())).features
    }

    const PLAIN: &str = "From: Ann <ann@example.org>\nSubject: lunch on Friday\n\nShall we meet at noon?\n";

    #[test]
    fn the_same_message_has_the_same_features_whoever_read_before() {
        let mut extractor = Extractor::default();
        let message = Message::from_eml(PLAIN.as_bytes());
        let first = extractor.read(&message);
        extractor.read(&Message::from_eml(b"Subject: other\n\nother\n"));
        assert_eq!(extractor.read(&message), first);
        let first = first.features;
        assert!(!first.header.is_empty() && !first.body.is_empty() && !first.words.is_empty());
    }

    #[test]
    fn what_a_filter_or_a_mailbox_adds_is_not_seen() {
        for added in [
            "Return-Path: <ann@example.org>\n",
            "Delivered-To: me@example.com\n",
            "Authentication-Results: mx.example.com; spf=pass\n",
            "X-Spam: Yes\n",
            "X-Spamd-Result: default: True [20.00 / 15.00];\n\tBAYES_SPAM(5.00)[100%]\n",
            "x-gatepost-queue-id: 4Xq\n",
        ] {
            assert_eq!(read(&format!("{added}{PLAIN}")), read(PLAIN), "{added}");
        }
        assert_ne!(read(&format!("X-Mailer: Bulk 1.0\n{PLAIN}")), read(PLAIN));
    }

    #[test]
    fn folds_line_ends_and_transfer_encodings_change_nothing_that_counts() {
        assert_eq!(read(&PLAIN.replace("on Friday", "on\n\tFriday")), read(PLAIN));
        assert_eq!(read(&PLAIN.replace('\n', "\r\n")), read(PLAIN));
        let encoded = "Subject: x\nContent-Transfer-Encoding: base64\n\nU2hhbGwgd2UgbWVldCBhdCBub29uPwo=\n";
        let quoted =
            "Subject: x\nContent-Transfer-Encoding: quoted-printable\n\nShall we meet =\nat noon=3F\n";
        assert_eq!(read(encoded).body[..10], read(quoted).body[..10]);
    }

    #[test]
    fn only_the_signer_of_a_signature_is_seen() {
        let signed =
            |b: &str| read(&format!("DKIM-Signature: v=1; d=example.org; s=k;\n\tbh={b}; b={b}{b}\n{PLAIN}"));
        assert_eq!(signed("abc"), signed("xyz"));
    }

    #[test]
    fn huge_empty_and_broken_messages_cost_little() {
        let mut huge = Message::from_eml(PLAIN.as_bytes());
        huge.body = b"word ".repeat(10 << 20);
        let features = Extractor::default().read(&huge).features;
        assert!(features.body.len() <= BODY_BYTES && features.words.len() < 10_000);
        let nothing = Extractor::default().read(&Message::default()).features;
        assert_eq!(nothing, Features::default());
        let garbage: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let features = Extractor::default().read(&Message::from_eml(&garbage)).features;
        assert!(features.header.len() <= HEADER_BYTES && features.words.len() < 20_000);
    }

    #[test]
    fn what_is_longer_than_a_sample_is_judged_as_it_will_be_learned() {
        let mut extractor = Extractor::default();
        let text = "Content-Type: text/plain\n\n".to_owned() + &"some words in a line\n".repeat(100);
        let parts = |count: usize| format!("--x\n{text}").repeat(count) + "--x--\n";
        let multipart = |count| {
            format!("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=x\n{PLAIN}\n{}", parts(count))
        };
        let long_header = format!("{}{PLAIN}", "X-Long: some words\n".repeat(5_000));
        for eml in [multipart(5), multipart(60), long_header, format!("{PLAIN}{}", "z".repeat(70_000))] {
            let message = Message::from_eml(eml.as_bytes());
            let judged = extractor.read(&message);
            let sample = training::unpack(&training::pack(&message.to_rfc5322())).unwrap();
            let learned = extractor.read(&Message::from_eml(&sample));
            assert_eq!(learned.features, judged.features, "{} bytes", eml.len());
            assert!(learned.words == judged.words && learned.texts == judged.texts, "{} bytes", eml.len());
        }
    }

    #[test]
    fn evidence_has_the_words_that_the_view_has() {
        let message = Message::from_eml(PLAIN.as_bytes());
        let portrait = Extractor::default().read(&message);
        let features = &portrait.features;
        let mut wanted = features.words.clone();
        wanted.sort_unstable();
        let explained = portrait.texts(&message, &wanted);
        assert!(features.words.iter().all(|feature| explained.iter().any(|(known, _)| known == feature)));
        assert!(explained.iter().any(|(_, text)| text == "subject:friday"));
        assert!(explained.iter().any(|(_, text)| text == "noon"));
    }
}
