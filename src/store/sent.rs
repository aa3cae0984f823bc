//! What each login has sent lately: `gatepost.sent`, shared by all hosts, for the outgoing rate limit.

use std::time::Duration;

use super::Store;
use crate::directory::Lookup;
use crate::mail::Address;

/// What a login has sent within a window, this message included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Messages.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
}

impl Store {
    /// Counts one message of a login, once per `instance` (Postfix's name for a message in its policy requests), and returns what
    /// the login has sent within `window`. One round trip.
    pub async fn count_sent(
        &self,
        login: &Address,
        window: Duration,
        recipients: u32,
        instance: &str,
    ) -> Lookup<Sent> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i64, i64)>(include_str!("queries/count_sent.sql"))
            .bind(login.to_string())
            .bind(instance.to_owned())
            .bind(i32::try_from(recipients).unwrap_or(i32::MAX))
            .bind(window.as_secs_f64());
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(messages, recipients)| Sent {
            messages: messages.unsigned_abs(),
            recipients: recipients.unsigned_abs(),
        })
    }

    /// Takes one message back that was counted and then refused, so that a client that tries again does not lock itself out.
    pub async fn uncount_sent(&self, login: &Address, instance: &str) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/uncount_sent.sql"))
            .bind(login.to_string())
            .bind(instance.to_owned());
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }

    /// Forgets what was sent longer ago than `window`; returns how many rows went. Call it now and then.
    pub async fn forget_sent(&self, window: Duration) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/forget_sent.sql")).bind(window.as_secs_f64());
        Lookup::from(
            database.ask(query.execute(database.pool())).await.map(|done| Some(done.rows_affected())),
        )
    }
}
