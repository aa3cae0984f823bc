//! A message of ours on its way out, as it will leave: fields removed, completed, changed; and what the MTA must be told for that.
//!
//! For `service`, which makes the edits of it, and `signing`, which signs the fields that it has in the end. Each field remembers
//! which one of its name it was when it came, because that is how an edit names it.

use std::collections::HashMap;

use super::folding;
use super::settings::Privacy;
use crate::message::{Direction, Envelope, Header, Message};

/// The fields of a message that is about to leave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    fields: Vec<Field>,
    /// Fields that came and go, by name and number, in the order in which they came.
    removed: Vec<(Vec<u8>, u32)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    header: Header,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It came as the so-manieth of its name, from 1, and leaves as it came.
    Came(u32),
    /// It came so, and has another value now.
    Changed(u32),
    /// It is ours.
    Added,
}

/// One thing to tell the MTA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The so-manieth field of that name, from 1, gets a value; an empty one deletes it.
    Set(Vec<u8>, u32, Vec<u8>),
    /// A field goes to the end of the header block.
    Append(Header),
}

impl Draft {
    /// The fields of a message without those that `foreign` says are only ours to write and, for submitted mail, without those
    /// that tell about the sender's devices.
    pub fn new(
        message: &Message,
        envelope: &Envelope,
        privacy: &Privacy,
        foreign: impl Fn(&Header) -> bool,
    ) -> Self {
        let submitted = envelope.direction == Direction::Submitted;
        let mut draft = Self::default();
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::with_capacity(message.headers.len());
        for header in &message.headers {
            let number = numbers.entry(header.name.to_ascii_lowercase()).or_default();
            *number += 1;
            let private = || privacy.remove.iter().any(|name| header.is(name.as_str()));
            if submitted && (foreign(header) || private()) {
                draft.removed.push((header.name.clone(), *number));
                continue;
            }
            let mut field = Field { header: header.clone(), origin: Origin::Came(*number) };
            if submitted && privacy.bare_mime_version && names_its_maker(header) {
                field =
                    Field { header: Header::new("MIME-Version", " 1.0"), origin: Origin::Changed(*number) };
            }
            draft.fields.push(field);
        }
        draft
    }

    /// The fields of a message as it came, for an MTA that lets us change none.
    pub fn of(message: &Message) -> Self {
        // Numbers are for changes, of which there will be none.
        let came = |header: &Header| Field { header: header.clone(), origin: Origin::Came(1) };
        Self { fields: message.headers.iter().map(came).collect(), removed: Vec::new() }
    }

    /// The fields as they leave.
    pub fn headers(&self) -> impl DoubleEndedIterator<Item = &Header> + Clone {
        self.fields.iter().map(|field| &field.header)
    }

    /// Adds the fields that are missing: those that a submission server adds (RFC 6409, 8), as Postfix itself does for some of its
    /// clients only. `From` is who logged in, or the sender of the envelope.
    pub fn complete(&mut self, envelope: &Envelope, host: &str) {
        let now = time::OffsetDateTime::now_utc();
        let has = |draft: &Self, name: &str| draft.headers().any(|header| header.is(name));
        let sender = envelope.sender.as_ref().or(envelope.login.as_ref());
        if !has(self, "From")
            && !has(self, "Resent-From")
            && let Some(sender) = sender
        {
            self.append(Header::new("From", format!(" {}", sender.written())));
        }
        if !has(self, "Date")
            && let Ok(date) = now.format(&time::format_description::well_known::Rfc2822)
        {
            self.append(Header::new("Date", format!(" {date}")));
        }
        if !has(self, "Message-ID") {
            // As Postfix builds it: the time and the queue id, unique on this host.
            let unique = envelope.queue_id.as_deref().unwrap_or("noqueue");
            let id = format!(" <{}.{unique}@{host}>", now.unix_timestamp_nanos());
            self.append(Header::new("Message-ID", id));
        }
    }

    /// Folds what smtp(8) would break.
    pub(super) fn fold(&mut self) {
        for field in &mut self.fields {
            if let Some(value) = folding::folded(&field.header) {
                field.set(value);
            }
        }
    }

    /// Gives a field a value: the one that is there, or a new one.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        match self.fields.iter_mut().find(|field| field.header.is(name)) {
            Some(field) => field.set(value.into()),
            None => self.append(Header::new(name, value)),
        }
    }

    /// Whether there is a field of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.headers().any(|header| header.is(name))
    }

    fn append(&mut self, header: Header) {
        self.fields.push(Field { header, origin: Origin::Added });
    }

    /// What the MTA must be told. Numbers are those of the fields as they came, so values are set first and deletions go from
    /// the last to the first.
    pub fn changes(&self) -> Vec<Change> {
        let set = self.fields.iter().filter_map(|field| match field.origin {
            Origin::Changed(number) => {
                Some(Change::Set(field.header.name.clone(), number, field.header.value.clone()))
            }
            _ => None,
        });
        let removed =
            self.removed.iter().rev().map(|(name, number)| Change::Set(name.clone(), *number, Vec::new()));
        let added = self.fields.iter().filter(|field| field.origin == Origin::Added);
        set.chain(removed).chain(added.map(|field| Change::Append(field.header.clone()))).collect()
    }
}

impl Field {
    fn set(&mut self, value: Vec<u8>) {
        self.header.value = value;
        if let Origin::Came(number) = self.origin {
            self.origin = Origin::Changed(number);
        }
    }
}

/// `1.0 (Mac OS X Mail 16.0)`: the comment says nothing about the message (RFC 2045, 4).
fn names_its_maker(header: &Header) -> bool {
    header.is("MIME-Version")
        && header
            .value
            .trim_ascii()
            .strip_prefix(b"1.0")
            .is_some_and(|rest| rest.trim_ascii().starts_with(b"("))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use gatepost::mail::Address;

    fn draft(text: &str, direction: Direction) -> Draft {
        let message = Message::from_eml(text.as_bytes());
        Draft::new(&message, &Envelope::new(direction), &Privacy::default(), |header| header.is("X-Spam"))
    }

    fn told(draft: &Draft) -> Vec<String> {
        draft
            .changes()
            .into_iter()
            .map(|change| match change {
                Change::Set(name, number, value) => {
                    format!("{} {number}{}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value))
                }
                Change::Append(header) => {
                    format!("+{}", String::from_utf8_lossy(&[header.name, header.value].join(&b':')))
                }
            })
            .collect()
    }

    const TEXT: &str = "Received: from laptop\nX-Mailer: m\nX-Spam: no\nreceived: from phone\nX-MAILER: n\n\
                        Mime-Version: 1.0 (Mac OS X Mail 16.0)\nFrom: a@b.test\n\n";

    #[test]
    fn what_tells_about_the_sender_goes_from_submitted_mail_only() {
        assert_eq!(
            told(&draft(TEXT, Direction::Submitted)),
            ["MIME-Version 1 1.0", "X-MAILER 2", "received 2", "X-Spam 1", "X-Mailer 1", "Received 1"]
        );
        assert_eq!(draft(TEXT, Direction::Submitted).headers().count(), 2);
        assert!(told(&draft(TEXT, Direction::Local)).is_empty());
        let nothing = Privacy { remove: Vec::new(), bare_mime_version: false };
        let message = Message::from_eml(TEXT.as_bytes());
        let kept = Draft::new(&message, &Envelope::new(Direction::Submitted), &nothing, |_| false);
        assert!(kept.changes().is_empty() && kept.headers().eq(&message.headers));
    }

    #[test]
    fn completes_what_is_missing_and_nothing_else() {
        let envelope = Envelope {
            queue_id: Some("4bQ1".into()),
            login: Some(Address::parse("alice@b.test").unwrap()),
            ..Envelope::new(Direction::Submitted)
        };
        let mut bare = draft("Subject: x\n\n", Direction::Submitted);
        bare.complete(&envelope, "mx.test");
        let told = told(&bare);
        assert_eq!(told.len(), 3);
        assert_eq!(told[0], "+From: alice@b.test");
        assert!(told[1].starts_with("+Date:") && told[1].ends_with(" +0000"));
        assert!(told[2].starts_with("+Message-ID: <") && told[2].ends_with(".4bQ1@mx.test>"));
        let mut complete = draft("FROM: a@b.test\ndate: x\nMESSAGE-id: <y>\n\n", Direction::Submitted);
        complete.complete(&envelope, "mx.test");
        assert!(complete.changes().is_empty());
        // The sender of the envelope before the login, and nobody where neither is known.
        let sender = Some(Address::parse("boss@b.test").unwrap());
        let mut sent = draft("Subject: x\n\n", Direction::Submitted);
        sent.complete(&Envelope { sender, ..envelope }, "mx.test");
        assert!(sent.headers().any(|header| header.value == b" boss@b.test"));
        let spaced = Address::parse("\"big, boss\"@b.test").ok();
        let mut quoted = draft("Subject: x\n\n", Direction::Submitted);
        quoted.complete(&Envelope { sender: spaced, ..Envelope::new(Direction::Submitted) }, "mx.test");
        assert!(quoted.headers().any(|header| header.value == b" \"big, boss\"@b.test"), "one author");
        let mut local = draft("Subject: x\n\n", Direction::Local);
        local.complete(&Envelope::new(Direction::Local), "mx.test");
        assert!(!local.has("From") && local.has("Date"));
    }

    #[test]
    fn changes_name_fields_as_they_came() {
        let long = format!("X-Mailer: gone\nX-Long: short\nX-Long: {}\n\n", "word ".repeat(300).trim_end());
        let mut draft = draft(&long, Direction::Submitted);
        draft.fold();
        draft.set("Content-Transfer-Encoding", " 7bit");
        draft.set("x-long", " new");
        let told = told(&draft);
        assert_eq!(told[0], "X-Long 1 new");
        assert!(told[1].starts_with("X-Long 2 word") && told[1].contains("\n word"));
        assert_eq!(told[2..], ["X-Mailer 1", "+Content-Transfer-Encoding: 7bit"]);
    }
}
