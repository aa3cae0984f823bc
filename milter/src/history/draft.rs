//! The record of a message: what is known when it is complete, and what is added when it has been decided.

use std::time::{SystemTime, UNIX_EPOCH};

use gatepost::store::history::{MAX_RECIPIENTS, Recipient, Record, Symbol};

use super::settings::Settings;
use crate::judgement;
use crate::message::{Envelope, Message};
use crate::recipients::Delivery;
use crate::verdict::Verdict;

/// A record without its decision. Subject and From stand there as sent, unfolded.
pub fn draft(message: &Message, envelope: &Envelope, host: &str, settings: Settings) -> Record {
    let now = SystemTime::now();
    let field = |name: &str| message.first(name).map(unfolded).filter(|value| !value.is_empty());
    let header: usize = message.headers.iter().map(|header| header.name.len() + header.value.len() + 3).sum();
    let recipients = envelope.recipients.iter().take(MAX_RECIPIENTS);
    Record {
        id: Record::name(now),
        at: now.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        host: host.to_owned(),
        queue_id: envelope.queue_id.clone(),
        message_id: field("Message-ID").map(|id| bare(&id).to_owned()),
        direction: envelope.direction.as_str(),
        client: envelope.client_address,
        client_name: envelope.client_name.clone(),
        helo: envelope.helo.clone(),
        tls: envelope.tls,
        sender: envelope.sender.as_ref().map_or_else(|| envelope.reverse_path.clone(), ToString::to_string),
        recipients: recipients
            .map(|recipient| Recipient { recipient: recipient.to_string(), ..Recipient::default() })
            .collect(),
        omitted: u32::try_from(envelope.recipients.len().saturating_sub(MAX_RECIPIENTS)).unwrap_or(u32::MAX),
        login: envelope.login.as_ref().map(ToString::to_string),
        header_from: field("From"),
        subject: field("Subject").filter(|_| settings.subject),
        size: header as u64 + 2 + message.body_size,
        authentication: None,
        action: String::new(),
        reply: None,
        score: None,
        add_header: None,
        reject: None,
        symbols: Vec::new(),
        missing: Vec::new(),
        note: None,
        milliseconds: 0,
    }
}

/// What the rules and DMARC said of a message.
#[derive(Debug, Clone, Default)]
pub struct Judgement {
    symbols: Vec<Symbol>,
    missing: Vec<String>,
    thresholds: Option<[f64; 2]>,
    authentication: String,
    /// What is done for whom, where it is not what is done with the message: address, action, score.
    each: Vec<(String, &'static str, f64)>,
}

impl Judgement {
    /// From a verdict and the `Authentication-Results` of the same message.
    pub fn new(verdict: &Verdict, authentication: &str) -> Self {
        let symbol = |hit: &crate::verdict::Hit| Symbol {
            symbol: hit.symbol.to_owned(),
            points: hit.weight,
            evidence: hit.evidence.clone(),
        };
        Self {
            symbols: verdict.symbols.iter().map(symbol).collect(),
            missing: verdict.missing.iter().map(|fact| (*fact).to_owned()).collect(),
            thresholds: Some([verdict.thresholds.add_header, verdict.thresholds.reject]),
            authentication: authentication.split_whitespace().collect::<Vec<_>>().join(" "),
            each: Vec::new(),
        }
    }

    /// With the verdict of each recipient whose own is another than that of the message.
    #[must_use]
    pub fn for_each(mut self, judged: &judgement::Judgement, deliveries: &[Delivery]) -> Self {
        if judged.each.len() > 1 {
            self.each = deliveries
                .iter()
                .filter_map(|delivery| {
                    let own = judged.each.iter().find(|each| each.mailboxes.contains(&delivery.mailbox))?;
                    let verdict = &own.verdict;
                    let differs =
                        (&verdict.action, verdict.score) != (&judged.verdict.action, judged.verdict.score);
                    differs.then(|| (delivery.recipient.to_string(), verdict.action.as_str(), verdict.score))
                })
                .collect();
        }
        self
    }

    /// Completes the record of its message.
    pub fn complete(self, record: &mut Record) {
        for (address, action, score) in self.each {
            if let Some(own) = record.recipients.iter_mut().find(|own| own.recipient == address) {
                own.action = Some(action.to_owned());
                own.score = Some(score);
            }
        }
        record.symbols = self.symbols;
        record.missing = self.missing;
        record.add_header =
            self.thresholds.map(|[add_header, _]| add_header).filter(|add_header| add_header.is_finite());
        // What is never done has no number.
        record.reject = self.thresholds.map(|[_, reject]| reject).filter(|reject| reject.is_finite());
        record.authentication = Some(self.authentication).filter(|text| !text.is_empty());
    }
}

/// A field's value in one line, at most [`MAX_FIELD`] bytes of it.
fn unfolded(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(&value[..value.len().min(MAX_FIELD)]);
    text.split(['\r', '\n']).map(|line| line.trim_end_matches('\r')).collect::<String>().trim().to_owned()
}

/// A Message-ID without brackets and comments.
fn bare(id: &str) -> &str {
    let inner = id.split_once('<').map_or(id, |(_, rest)| rest);
    inner.split_once('>').map_or(inner, |(id, _)| id).trim()
}

/// Subjects in encoded words are about three times as long as what they say; 998 bytes of that are kept.
const MAX_FIELD: usize = 3000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::message::Direction;

    #[test]
    fn a_record_tells_who_wrote_what() {
        let message = Message::from_eml(
            b"From: A <a@b.test>\nSubject: one\n two\nMessage-ID:\n <x@y.test> (c)\n\nbody\n",
        );
        let record = draft(&message, &Envelope::new(Direction::Local), "mx.test", Settings::default());
        assert_eq!(record.subject.as_deref(), Some("one two"));
        assert_eq!(record.message_id.as_deref(), Some("x@y.test"));
        assert_eq!((record.direction, record.sender.as_str()), ("local", ""));
        let quiet = Settings { subject: false, ..Settings::default() };
        assert_eq!(draft(&message, &Envelope::new(Direction::Local), "mx.test", quiet).subject, None);
    }
}
