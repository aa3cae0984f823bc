//! Who has tried to send what to whom: `gatepost.greylist` and its automatic allow-list, shared by all hosts. One round trip a decision.

use std::time::Duration;

use super::Store;
use crate::directory::Lookup;

/// One attempt. Every text is folded and bounded by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who sends: a verified domain, or a network.
    pub client: String,
    /// The sender as far as it stays the same from one attempt to the next.
    pub sender: String,
    /// The recipient.
    pub recipient: String,
    /// The sender's whole address, to look for among the recipient's correspondents.
    pub correspondent: String,
    /// The recipient's whole address, without its extension.
    pub mailbox: String,
    /// The client's network, to look for among the scores that the milter keeps.
    pub network: String,
    /// Whether something speaks against the client; if not, only its score may.
    pub suspected: bool,
}

/// How long is waited, and for whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// How long after the first attempt another one passes.
    pub delay: Duration,
    /// How long after the first attempt it may come.
    pub window: Duration,
    /// How long what has passed is remembered after it was last seen.
    pub expiry: Duration,
    /// After how many passes a client is let through at once; 0 never.
    pub passes: u32,
    /// From which score of its network on a client is suspect.
    pub score: f64,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Greylisted {
    /// The client is on the automatic allow-list.
    KnownClient,
    /// The recipient has written to this sender.
    Correspondent,
    /// Nothing speaks against the client.
    Unsuspected,
    /// It came back in time.
    Passed {
        /// How long after the first attempt.
        after: Duration,
        /// For the first time.
        first: bool,
    },
    /// Too early.
    Wait {
        /// For how long still.
        left: Duration,
        /// It is the first attempt.
        new: bool,
    },
}

impl Store {
    /// Notes one attempt, and says whether it passes. One round trip.
    pub async fn greylist(&self, attempt: &Attempt, patience: &Patience) -> Lookup<Greylisted> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, f64, f64, i32)>(include_str!("queries/greylist.sql"))
            .bind(&attempt.client)
            .bind(&attempt.sender)
            .bind(&attempt.recipient)
            .bind(&attempt.correspondent)
            .bind(&attempt.mailbox)
            .bind(&attempt.network)
            .bind(patience.delay.as_secs_f64())
            .bind(patience.window.as_secs_f64())
            .bind(patience.expiry.as_secs_f64())
            // "Never" is more passes than a row can count.
            .bind(match patience.passes {
                0 => i32::MAX,
                passes => i32::try_from(passes).unwrap_or(i32::MAX),
            })
            .bind(attempt.suspected)
            .bind(patience.score);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(verdict, age, wait, passes)| {
            let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
            match verdict.as_str() {
                "known-client" => Greylisted::KnownClient,
                "correspondent" => Greylisted::Correspondent,
                "unsuspected" => Greylisted::Unsuspected,
                "passed" => Greylisted::Passed { after: seconds(age), first: passes == 1 },
                verdict => Greylisted::Wait { left: seconds(wait), new: verdict == "new" },
            }
        })
    }

    /// Forgets what nobody came back for, what has not been seen for `expiry`, and the oldest attempts beyond `entries`; returns how many
    /// rows went, at most some thousands at once. Call it now and then.
    pub async fn forget_greylist(&self, patience: &Patience, entries: u64) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/forget_greylist.sql"))
            .bind(patience.window.as_secs_f64())
            .bind(patience.expiry.as_secs_f64())
            .bind(i64::try_from(entries).unwrap_or(i64::MAX))
            .bind(AT_ONCE);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(rows,)| rows.unsigned_abs())
    }
}

/// Some tenths of a second's work, far below the deadline of a question.
const AT_ONCE: i64 = 20_000;
