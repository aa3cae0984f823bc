//! What was decided about each message: `gatepost.history_messages` and `gatepost.history_recipients`, written by the milters of all
//! hosts, read by the tool.
//!
//! A batch is one statement. A record carries its own id, so that a batch whose answer was lost is written again and counts once. The
//! milter's role can add and delete, and read nothing but id and time: whoever breaks into it learns nothing of mail that has passed.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Store;
use crate::directory::Lookup;

/// One message. Texts may come from strangers; [`Store::remember`] cuts them and takes what PostgreSQL cannot hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record {
    /// A UUID; see [`Record::name`].
    pub id: String,
    /// Seconds since 1970.
    pub at: f64,
    /// Postfix's `myhostname`.
    pub host: String,
    /// Postfix's queue id.
    pub queue_id: Option<String>,
    /// Without its angle brackets.
    pub message_id: Option<String>,
    /// `inbound`, `submitted` or `local`.
    pub direction: &'static str,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// Its verified name.
    pub client_name: Option<String>,
    /// What it called itself.
    pub helo: Option<String>,
    /// Whether the SMTP session was encrypted.
    pub tls: bool,
    /// The envelope sender; empty for the null sender.
    pub sender: String,
    /// To whom it goes.
    pub recipients: Vec<Recipient>,
    /// How many further recipients it has.
    pub omitted: u32,
    /// Who logged in.
    pub login: Option<String>,
    /// The field From.
    pub header_from: Option<String>,
    /// The subject, if it is to be kept.
    pub subject: Option<String>,
    /// The message's bytes.
    pub size: u64,
    /// `Authentication-Results`.
    pub authentication: Option<String>,
    /// What was done.
    pub action: String,
    /// What the client was told, where that is not "go on".
    pub reply: Option<String>,
    /// The sum of the points, if it was judged.
    pub score: Option<f64>,
    /// From how many points on mail was marked then.
    pub add_header: Option<f64>,
    /// From how many points on it was refused.
    pub reject: Option<f64>,
    /// Every rule that hit.
    pub symbols: Vec<Symbol>,
    /// The facts that could not be had.
    pub missing: Vec<String>,
    /// What else the log says of the decision.
    pub note: Option<String>,
    /// How long the decision took.
    pub milliseconds: u32,
}

/// A recipient of a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Recipient {
    /// The address.
    pub recipient: String,
    /// What was done for him, if that is not what was done with the message.
    pub action: Option<String>,
    /// His own score, likewise.
    pub score: Option<f64>,
}

/// A rule that hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Symbol {
    /// Its name.
    pub symbol: String,
    /// The points it gave.
    pub points: f64,
    /// What it saw.
    pub evidence: String,
}

impl Record {
    /// An id for a message decided at that time: UUID version 7 (RFC 9562, 5.7).
    pub fn name(at: SystemTime) -> String {
        let milliseconds =
            at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis()) & 0xffff_ffff_ffff;
        let random: u128 = rand::random();
        let bits = (milliseconds << 80) | (random & ((1 << 80) - 1));
        // Version 7 in bits 48 to 51, variant 10 in bits 64 and 65.
        let bits = (bits & !(0xf << 76)) | (0x7 << 76);
        let bits = (bits & !(0x3 << 62)) | (0x2 << 62);
        let hex = format!("{bits:032x}");
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>()
            + [&self.queue_id, &self.message_id, &self.client_name, &self.helo, &self.login]
                .map(text)
                .iter()
                .sum::<usize>()
            + [&self.header_from, &self.subject, &self.authentication, &self.reply, &self.note]
                .map(text)
                .iter()
                .sum::<usize>()
            + self.recipients.iter().map(|one| size_of::<Recipient>() + one.recipient.len()).sum::<usize>()
            + self
                .symbols
                .iter()
                .map(|one| size_of::<Symbol>() + one.symbol.len() + one.evidence.len())
                .sum::<usize>()
    }

    /// Without what PostgreSQL cannot hold, and each text within its bound.
    fn storable(mut self) -> Self {
        for (text, most) in
            [(&mut self.host, MAX_NAME), (&mut self.sender, MAX_ADDRESS), (&mut self.action, MAX_NAME)]
        {
            clean(text, most);
        }
        for (text, most) in [
            (&mut self.queue_id, MAX_NAME),
            (&mut self.message_id, MAX_LINE),
            (&mut self.client_name, MAX_NAME),
            (&mut self.helo, MAX_NAME),
            (&mut self.login, MAX_ADDRESS),
            (&mut self.header_from, MAX_LINE),
            (&mut self.subject, MAX_LINE),
            (&mut self.authentication, MAX_TEXT),
            (&mut self.reply, MAX_LINE),
            (&mut self.note, MAX_LINE),
        ] {
            if let Some(text) = text {
                clean(text, most);
            }
        }
        let known = self.recipients.len();
        self.recipients.truncate(MAX_RECIPIENTS);
        self.omitted =
            self.omitted.saturating_add(u32::try_from(known - self.recipients.len()).unwrap_or(u32::MAX));
        // PostgreSQL's integer.
        self.omitted = self.omitted.min(i32::MAX.unsigned_abs());
        self.milliseconds = self.milliseconds.min(i32::MAX.unsigned_abs());
        for recipient in &mut self.recipients {
            clean(&mut recipient.recipient, MAX_ADDRESS);
        }
        for symbol in &mut self.symbols {
            clean(&mut symbol.evidence, MAX_LINE);
        }
        self
    }
}

impl Store {
    /// Writes records down, at most [`MAX_BATCH`] at once; those that are there already stay as they are.
    pub async fn remember(&self, records: Vec<Record>) -> Lookup<()> {
        let records: Vec<Record> = records.into_iter().take(MAX_BATCH).map(Record::storable).collect();
        let json = match serde_json::to_string(&records) {
            Ok(json) => json,
            Err(error) => return Lookup::Misconfigured(format!("history has no JSON form: {error}")),
        };
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/add_history.sql")).bind(json);
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }

    /// Forgets at most `most` messages older than `keep`; returns how many.
    pub async fn forget_history(&self, keep: Duration, most: u32) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/forget_history.sql"))
            .bind(keep.as_secs_f64())
            .bind(i64::from(most));
        let done = database.ask(query.execute(database.pool())).await;
        Lookup::from(done.map(|done| Some(done.rows_affected())))
    }
}

/// No control characters (a tab is a blank), at most so many bytes.
fn clean(text: &mut String, most: usize) {
    // Most texts are as they should be.
    if text.len() <= most && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return;
    }
    let mut out = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let c = if matches!(c, '\t' | '\n') { ' ' } else { c };
        if out.len() + c.len_utf8() > most {
            break;
        }
        if !c.is_control() {
            out.push(c);
        }
    }
    *text = out;
}

/// Records in one statement.
pub const MAX_BATCH: usize = 200;

/// Recipients of one message: Postfix's `smtpd_recipient_limit`.
pub const MAX_RECIPIENTS: usize = 1000;

/// RFC 1035, 2.3.4.
const MAX_NAME: usize = 255;
/// RFC 5321, 4.5.3.1: 64 and 255, with room for what is no address.
const MAX_ADDRESS: usize = 330;
/// RFC 5322, 2.1.1. An index entry of PostgreSQL has at most 2,700 bytes.
const MAX_LINE: usize = 998;
const MAX_TEXT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_of_version_7_and_grow_with_time() {
        let at = |seconds| Record::name(UNIX_EPOCH + Duration::from_secs(seconds));
        let (early, late) = (at(1_700_000_000), at(1_700_000_001));
        assert!(early < late, "{early} {late}");
        assert_ne!(at(1), at(1));
        for name in [early, late] {
            let groups: Vec<&str> = name.split('-').collect();
            assert_eq!(groups.iter().map(|group| group.len()).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
            assert!(groups[2].starts_with('7') && groups[3].starts_with(['8', '9', 'a', 'b']), "{name}");
        }
    }

    #[test]
    fn texts_are_cut_and_hold_nothing_that_sql_does_not() {
        for (text, expected) in
            [("a\0b\r\n\tc\u{e4}d", "ab  c\u{e4}"), ("plain", "plain"), ("too long", "too lon")]
        {
            let mut text = text.to_owned();
            clean(&mut text, 7);
            assert_eq!(text, expected);
        }
    }
}
