//! The training log: messages that people called spam or ham, in order, and the messages as they were judged.
//!
//! For the milter, which appends and follows, and for `gatepost learn` and `gatepost model`. The log is the truth: a model is a function of
//! its rows in their order, so every host that has read the same rows has the same model. Rows are never changed; taking rows away
//! begins a new epoch, in which every model is made anew.

use std::fmt;
use std::time::Duration;

use time::OffsetDateTime;

use super::Store;
use crate::directory::{Class, Lookup};
use crate::mail::Address;

/// Which message a sample is of: chosen at random when it is judged, or a hash of a message that never was.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageKey([u8; 16]);

impl MessageKey {
    /// A key from its bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// A key as it stands in a header: 32 hexadecimal digits. None for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
        u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MessageKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Debug for MessageKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Who says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A mailbox owner, by moving the message.
    Move,
    /// The operator, with `gatepost learn`.
    Tool,
    /// Another server's log, with `gatepost model import`.
    Import,
    /// A mailbox owner, by answering the message.
    Reply,
    /// A mailbox owner, by having written to its author.
    Correspondent,
    /// A mailbox owner, by having read it and left it in the Inbox.
    Read,
}

impl Source {
    /// As it stands in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Move => "move",
            Self::Tool => "tool",
            Self::Import => "import",
            Self::Reply => "reply",
            Self::Correspondent => "correspondent",
            Self::Read => "read",
        }
    }
}

/// One word on one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lesson {
    /// Whether it is spam.
    pub spam: bool,
    /// In whose mailbox; none for the operator, who speaks for all.
    pub owner: Option<Address>,
    /// Who says so.
    pub source: Source,
    /// Of which message.
    pub message: MessageKey,
    /// The message, packed ([`crate::training::pack`]).
    pub sample: Vec<u8>,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// Its place; places grow and may have gaps.
    pub position: i64,
    /// Whether it is spam.
    pub spam: bool,
    /// In whose mailbox, in lower case.
    pub owner: Option<String>,
    /// Whether the same owner said the opposite of this message before.
    pub corrects: bool,
    /// The message, packed.
    pub sample: Vec<u8>,
}

/// A message as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its key.
    pub key: MessageKey,
    /// The message, packed.
    pub sample: Vec<u8>,
    /// Its Message-ID with brackets; none where nobody will ask for it.
    pub message_id: Option<String>,
    /// The mailboxes that it went to, in lower case; empty where nobody will ask for them.
    pub mailboxes: Vec<String>,
}

/// How far a model is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelState {
    /// The epoch of the log.
    pub epoch: i64,
    /// The last row it has learned.
    pub position: i64,
    /// Samples of spam and of ham.
    pub shown: [u64; 2],
    /// Of them, how many were judged wrong before they were learned.
    pub missed: [u64; 2],
    /// SHA-256 of its checkpoint.
    pub digest: [u8; 32],
    /// How many words it knew before its first sample.
    pub words: u32,
}

impl Store {
    /// Appends to the log; found is whether it was news.
    pub async fn teach(&self, lesson: &Lesson) -> Lookup<bool> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (bool,)>(include_str!("queries/teach.sql"))
            .bind(if lesson.spam { "spam" } else { "ham" })
            .bind(lesson.owner.as_ref().map(|owner| owner.to_string().to_lowercase()))
            .bind(lesson.source.as_str())
            .bind(lesson.message.0.to_vec())
            .bind(lesson.sample.clone());
        Lookup::from(database.ask(query.fetch_one(database.pool())).await.map(Some)).map(|(news,)| news)
    }

    /// Appends that a message is wanted, unless its owner has said something of it himself; found is whether it was news.
    pub async fn teach_wanted(
        &self,
        owner: &Address,
        source: Source,
        message: MessageKey,
        sample: &[u8],
    ) -> Lookup<bool> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (bool,)>(include_str!("queries/teach_wanted.sql"))
            .bind(owner.to_string().to_lowercase())
            .bind(source.as_str())
            .bind(message.0.to_vec())
            .bind(sample.to_vec());
        Lookup::from(database.ask(query.fetch_one(database.pool())).await.map(Some)).map(|(news,)| news)
    }

    /// The judged messages that have one of these Message-IDs and went to that mailbox, packed.
    pub async fn judged_by_id(
        &self,
        message_ids: &[String],
        mailbox: &Address,
    ) -> Lookup<Vec<(MessageKey, Vec<u8>)>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (Vec<u8>, Vec<u8>)>(include_str!("queries/judged_by_id.sql"))
            .bind(message_ids)
            .bind(mailbox.to_string().to_lowercase());
        Lookup::from(database.ask(query.fetch_all(database.pool())).await.map(Some)).map(|rows| {
            let row = |(key, sample): (Vec<u8>, Vec<u8>)| Some((MessageKey(key.try_into().ok()?), sample));
            rows.into_iter().filter_map(row).collect()
        })
    }

    /// The rows of the log behind a position, at most `limit`; found and empty at its end. The epoch comes with them, read in the
    /// same snapshot.
    pub async fn training_after(&self, position: i64, limit: i64) -> Lookup<(i64, Vec<Logged>)> {
        type Row = (i64, Option<i64>, Option<String>, Option<String>, Option<bool>, Option<Vec<u8>>);
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, Row>(include_str!("queries/training_after.sql")).bind(position).bind(limit);
        Lookup::from(database.ask(query.fetch_all(database.pool())).await.map(Some)).map(|rows| {
            let epoch = rows.first().map_or(0, |row| row.0);
            let logged = rows.into_iter().filter_map(|(_, position, label, owner, corrects, sample)| {
                Some(Logged {
                    position: position?,
                    spam: label? == "spam",
                    owner,
                    corrects: corrects.unwrap_or_default(),
                    sample: sample.unwrap_or_default(),
                })
            });
            (epoch, logged.collect())
        })
    }

    /// How many rows of the log there are up to a position.
    pub async fn training_rows(&self, position: i64) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/training_rows.sql")).bind(position);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(rows,)| rows.unsigned_abs())
    }

    /// Waits until the log may have grown, as far as that is announced. For one follower in the process.
    pub async fn training_changed(&self) {
        self.0.freshness.changed(Class::Training).await;
    }

    /// Keeps judged messages, in one round trip.
    pub async fn keep_judged(&self, judged: &[Judged]) -> Lookup<()> {
        let keys: Vec<Vec<u8>> = judged.iter().map(|one| one.key.0.to_vec()).collect();
        let samples: Vec<&[u8]> = judged.iter().map(|one| one.sample.as_slice()).collect();
        let ids: Vec<Option<&str>> = judged.iter().map(|one| one.message_id.as_deref()).collect();
        // An array in SQL has no rows of different lengths.
        let mailboxes: Vec<String> = judged.iter().map(|one| one.mailboxes.join("\n")).collect();
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/keep_judged.sql"))
            .bind(keys)
            .bind(samples)
            .bind(ids)
            .bind(mailboxes);
        Lookup::from(database.ask(query.execute(database.pool())).await.map(Some)).map(|_| ())
    }

    /// A message as it was judged, packed.
    pub async fn judged(&self, message: MessageKey) -> Lookup<Vec<u8>> {
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, (Vec<u8>,)>(include_str!("queries/judged.sql")).bind(message.0.to_vec());
        Lookup::from(database.ask(query.fetch_optional(database.pool())).await).map(|(sample,)| sample)
    }

    /// Writes down how far this host's model is, for `gatepost model status`.
    pub async fn note_model(&self, host: &str, model: &ModelState) -> Lookup<()> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let ([spam, ham], [missed_spam, missed_ham]) = (model.shown.map(number), model.missed.map(number));
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/note_model.sql"))
            .bind(host.to_owned())
            .bind(model.epoch)
            .bind(model.position)
            .bind(spam)
            .bind(ham)
            .bind(missed_spam)
            .bind(missed_ham)
            .bind(model.digest.to_vec())
            .bind(i32::try_from(model.words).unwrap_or(i32::MAX));
        Lookup::from(database.ask(query.execute(database.pool())).await.map(Some)).map(|_| ())
    }

    /// Forgets judged messages older than `keep`, and rows of the log older than `retention`; found is how many rows of the log.
    pub async fn forget_old(&self, keep: Duration, retention: Duration) -> Lookup<i64> {
        let now = OffsetDateTime::now_utc();
        let database = &self.0.database;
        let judged = sqlx::query(include_str!("queries/forget_judged.sql")).bind(now - keep);
        if let Err(trouble) = database.ask(judged.execute(database.pool())).await {
            return Lookup::from(Err(trouble));
        }
        let query =
            sqlx::query_as::<_, (i64,)>(include_str!("queries/forget_training.sql")).bind(now - retention);
        Lookup::from(database.ask(query.fetch_one(database.pool())).await.map(Some)).map(|(gone,)| gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_a_header_is_32_hexadecimal_digits() {
        let key = MessageKey::new([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        assert_eq!(key.to_string(), "000102030405060708090a0b0c0d0eff");
        assert_eq!(MessageKey::parse(&format!(" {key}\r\n")), Some(key));
        for wrong in ["", "0", "+00102030405060708090a0b0c0d0eff", "000102030405060708090a0b0c0d0effff"] {
            assert_eq!(MessageKey::parse(wrong), None, "{wrong}");
        }
    }
}
