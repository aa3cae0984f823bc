//! What is known about one message: read once, in bounded work, before any rule looks.
//!
//! For `rules`, which are pure functions of [`Facts`], and for `score`. It asks nobody: DNS and SQL have answered before
//! ([`Authentication`]), and here is only the processor's work. It judges nothing: that a part is named `invoice.pdf.exe` is a
//! fact, that this costs points is a rule.
//!
//! Everything a stranger can make big has a bound, and reaching one is itself recorded ([`Facts::missing`]), so that the report
//! says what was not looked at:
//!
//! | what | bound | missing |
//! |---|---|---|
//! | header fields kept | [`headers::MAX_FIELDS`] of [`headers::MAX_VALUE`] bytes | `headers` |
//! | body parsed | what the session kept | `body` |
//! | MIME parts, depth | [`parts::MAX_PARTS`], [`parts::MAX_DEPTH`] | `parts` |
//! | text decoded, all parts together | [`text::MAX_DECODED`] | `text` |
//! | text kept for the phrases | [`text::MAX_VISIBLE`] | – |
//! | URLs | [`urls::MAX_URLS`] | `urls` |
//! | mail addresses in the text | [`addresses::MAX_ADDRESSES`] | – |
//! | archive members | [`archives::MAX_MEMBERS`] | `archives` |
//! | archives in archives | [`archives::MAX_DEPTH`] levels, [`archives::MAX_INFLATED`] bytes | `archives` |

pub mod addresses;
pub mod archives;
pub mod brands;
pub mod colours;
mod elements;
pub mod handover;
pub mod headers;
pub mod hosts;
pub mod html;
pub mod kinds;
pub mod mailboxes;
mod markup;
pub mod parts;
pub mod phrases;
pub mod scripts;
pub mod subject;
pub mod text;
mod themes;
pub mod urls;

use std::time::{SystemTime, UNIX_EPOCH};

use mail_parser::MessageParser;

use crate::authentication::Authentication;
use crate::lists::Listed;
use crate::message::{Envelope, Message};
use handover::Client;
use headers::HeaderFacts;
use html::Html;
use mailboxes::Correspondents;
use parts::Part;
use subject::Subject;
use text::Text;
use urls::{Finder, Url};

/// The model's word on a message (`learning`).
#[derive(Debug, Clone, PartialEq)]
pub struct Learned {
    /// The probability that it is spam, 0 to 1.
    pub probability: f64,
    /// Whether it is from a mailing list and answers nothing.
    pub list_post: bool,
    /// The words that spoke most for it.
    pub evidence: String,
}

/// Everything the rules may look at.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What the SMTP dialogue said.
    pub envelope: Envelope,
    /// What SPF, DKIM, DMARC and iprev said.
    pub authentication: Authentication,
    /// The header fields of the message.
    pub headers: HeaderFacts,
    /// Who writes to whom, by the header.
    pub people: Correspondents,
    /// The subject.
    pub subject: Subject,
    /// The MIME parts in the order of the message; the first is the message itself.
    pub parts: Vec<Part>,
    /// What a reader of all HTML parts sees, and what is hidden from him.
    pub html: Html,
    /// What a reader of all text sees.
    pub text: Text,
    /// The addresses that the message links to or mentions.
    pub urls: Vec<Url>,
    /// The mail addresses in its text and links, in lower case.
    pub addresses: Vec<String>,
    /// Who handed it over to the first server that is not the sender's, as `Received` has it; only where the SMTP dialogue does not say it.
    pub handover: Option<Client>,
    /// When the message came in, in seconds since 1970: now for mail in transit, the newest `Received` for a file.
    pub arrival: Option<i64>,
    /// The size of the whole message in bytes.
    pub size: u64,
    /// What the model that people have taught thinks; none where there is no such model.
    pub learned: Option<Learned>,
    /// What lists in DNS say of it.
    pub listed: Listed,
    /// The name of the virus that the antivirus found.
    pub infection: Option<String>,
    /// The names of the facts that could not be had, or not completely.
    pub missing: Vec<&'static str>,
}

impl Facts {
    /// Reads a message once, and adds what DNS said of its sender.
    ///
    /// Never fails and never panics, whatever the bytes; what cannot be understood is not there.
    pub fn gather(message: &Message, envelope: &Envelope, authentication: &Authentication) -> Self {
        Self::read(message, envelope).with(authentication.clone())
    }

    /// Adds what DNS said of the sender.
    #[must_use]
    pub fn with(mut self, authentication: Authentication) -> Self {
        self.missing.splice(0..0, authentication.missing.iter().copied());
        self.authentication = authentication;
        self
    }

    /// Reads a message once; nothing is known of its sender yet.
    pub fn read(message: &Message, envelope: &Envelope) -> Self {
        let raw = message.to_rfc5322();
        Self::of(message, envelope, &raw, &parse(&raw))
    }

    /// The same where the message is written out and parsed already ([`Message::to_rfc5322`], [`parse`]): whoever else reads it shares both.
    pub fn of(message: &Message, envelope: &Envelope, raw: &[u8], parsed: &mail_parser::Message<'_>) -> Self {
        let mut missing = Vec::new();
        if message.is_cut() {
            missing.push("body");
        }
        let headers = HeaderFacts::read(message, parsed, &mut missing);
        let people = Correspondents::read(parsed);
        let subject = Subject::read(message, parsed, &people);
        let arrival = arrival(envelope, &headers);
        // Of a message in transit the dialogue says it, unless the client is a relay of one's own.
        let told = envelope.client_address.map_or(envelope.queue_id.is_some(), hosts::is_public);
        let handover = if told { None } else { handover::find(&headers.fields) };

        let mut finder = Finder::default();
        finder.subject(&subject.text);
        let mut html = Html::default();
        let mut text = Text::default();
        let parts = parts::read(parsed, &mut text, &mut html, &mut finder, &mut missing);
        text.finish(&mut html, &mut finder, &mut missing);
        let (urls, addresses) = finder.finish(&mut missing);

        Self {
            envelope: envelope.clone(),
            authentication: Authentication::default(),
            headers,
            people,
            subject,
            parts,
            html,
            text,
            urls,
            addresses,
            handover,
            arrival,
            listed: Listed::default(),
            infection: None,
            size: (raw.len() as u64 - message.body.len() as u64)
                + message.body_size.max(message.body.len() as u64),
            learned: None,
            missing,
        }
    }

    /// The same with what the model thinks.
    #[must_use]
    pub fn with_learned(mut self, learned: Option<Learned>) -> Self {
        self.learned = learned;
        self
    }

    /// Whether the message came from the network: only then do HELO and client name say something about its sender.
    pub fn is_inbound(&self) -> bool {
        self.envelope.direction == crate::message::Direction::Inbound
    }
}

/// The MIME structure of a written message, within the bounds of all who read it here.
pub fn parse(raw: &[u8]) -> mail_parser::Message<'_> {
    MessageParser::new()
        .max_parts(parts::MAX_PARTS)
        .max_depth(parts::MAX_DEPTH)
        .parse(raw)
        .unwrap_or_default()
}

/// A message in transit (it has a queue id) arrives now. A file may be years old, and its clock is the newest `Received`.
fn arrival(envelope: &Envelope, headers: &HeaderFacts) -> Option<i64> {
    if envelope.queue_id.is_none() {
        return headers.received.first().and_then(|hop| hop.date);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(now.as_secs()).ok()
}
