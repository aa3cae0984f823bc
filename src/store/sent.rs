//! What each login sends: the outgoing limits, counted for all hosts together in one round trip per message.
//!
//! The count of one login within one sliding window stands in `gatepost.sent`, a row per message; every other limit is a leaky
//! bucket in `gatepost.sending_levels`, a row per limit. Limits of single logins, domains and clients (`gatepost.sending_limits`) take
//! the place of those that the caller brings.

use std::net::IpAddr;
use std::time::Duration;

use super::Store;
use crate::directory::Lookup;
use crate::mail::Address;

/// One message about to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Sending<'a> {
    /// Whose.
    pub login: &'a Address,
    /// From where.
    pub client: Option<IpAddr>,
    /// Postfix's name for the message in its policy requests; it is counted once.
    pub instance: &'a str,
    /// To how many.
    pub recipients: u32,
}

/// Whose messages a limit counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// One login.
    Login,
    /// All logins of a domain.
    Domain,
    /// All logins from one address.
    Client,
}

/// How much may be sent within a span of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    /// Whose messages are counted together.
    pub scope: Scope,
    /// The span.
    pub span: Duration,
    /// How many messages.
    pub messages: u64,
    /// How many recipients.
    pub recipients: u64,
    /// Which part of both may come at once; 1.0 is all.
    pub burst: f64,
}

/// What was counted, this message included, and the limit that it would pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Messages of the login within the first limit's window.
    pub messages: u64,
    /// Their recipients.
    pub recipients: u64,
    /// The limit that is passed.
    pub exceeded: Option<Exceeded>,
}

/// What stands in the way of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The login is locked (`gatepost.login_locks`).
    Locked,
    /// A limit.
    Limit {
        /// Whose.
        scope: Scope,
        /// Whether it is recipients that are too many, or messages.
        recipients: bool,
        /// How many may be.
        number: u64,
        /// Within which span.
        span: Duration,
    },
}

impl Scope {
    /// Its word in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Domain => "domain",
            Self::Client => "client",
        }
    }

    fn of(word: &str) -> Self {
        match word {
            "domain" => Self::Domain,
            "client" => Self::Client,
            _ => Self::Login,
        }
    }
}

type CountRow = (i64, i64, Option<String>, Option<String>, Option<i64>, Option<i32>);

impl Store {
    /// Counts one message, once per `instance`, within `window` (whose scope is taken as the login, and whose burst as 1.0) and all of
    /// `others`. What passes a limit is not counted, unless `keep`.
    pub async fn count_sending(
        &self,
        sending: Sending<'_>,
        window: Limit,
        others: &[Limit],
        keep: bool,
    ) -> Lookup<Sent> {
        let database = &self.0.database;
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let span = |limit: &Limit| i32::try_from(limit.span.as_secs().max(1)).unwrap_or(i32::MAX);
        let query = sqlx::query_as::<_, CountRow>(include_str!("queries/count_sending.sql"))
            .bind(sending.login.to_string())
            .bind(sending.login.domain().to_string())
            .bind(sending.client.map(|client| client.to_canonical().to_string()))
            .bind(sending.instance.to_owned())
            .bind(i32::try_from(sending.recipients).unwrap_or(i32::MAX))
            .bind(keep)
            .bind(span(&window))
            .bind(count(window.messages))
            .bind(count(window.recipients))
            .bind(others.iter().map(|limit| limit.scope.word().to_owned()).collect::<Vec<_>>())
            .bind(others.iter().map(span).collect::<Vec<_>>())
            .bind(others.iter().map(|limit| count(limit.messages)).collect::<Vec<_>>())
            .bind(others.iter().map(|limit| count(limit.recipients)).collect::<Vec<_>>())
            .bind(others.iter().map(|limit| limit.burst).collect::<Vec<_>>());
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(messages, recipients, exceeded, scope, number, span)| {
            let exceeded = exceeded.map(|what| match what.as_str() {
                "locked" => Exceeded::Locked,
                what => Exceeded::Limit {
                    scope: Scope::of(&scope.unwrap_or_default()),
                    recipients: what == "recipients",
                    number: number.unwrap_or_default().unsigned_abs(),
                    span: Duration::from_secs(span.unwrap_or_default().unsigned_abs().into()),
                },
            });
            Sent { messages: messages.unsigned_abs(), recipients: recipients.unsigned_abs(), exceeded }
        })
    }

    /// Forgets what was sent longer ago than `window`, and limits that are empty; returns how many messages went. Call it now and then.
    pub async fn forget_sent(&self, window: Duration) -> Lookup<u64> {
        let database = &self.0.database;
        let levels = sqlx::query(include_str!("queries/forget_levels.sql"));
        if let Err(trouble) = database.ask(levels.execute(database.pool())).await {
            return trouble.into();
        }
        let query = sqlx::query(include_str!("queries/forget_sent.sql")).bind(window.as_secs_f64());
        Lookup::from(
            database.ask(query.execute(database.pool())).await.map(|done| Some(done.rows_affected())),
        )
    }
}
