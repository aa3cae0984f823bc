//! What is usual for a login, which logins are locked, and what the postmaster was told: for the notice of a stolen password.

use std::time::Duration;

use super::{Sending, Store};
use crate::directory::Lookup;
use crate::mail::Address;

/// What is known of a login after one more message of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Habits {
    /// For how many days it is known.
    pub days: f64,
    /// Recipients of today (UTC).
    pub today: u64,
    /// Recipients of an average day before.
    pub average: f64,
    /// Recipients within about an hour that were unknown or bounced.
    pub failed: u64,
    /// Networks within the last hour from which it never sent before.
    pub new_networks: u64,
    /// Countries within the last hour from which it never sent before.
    pub new_countries: u64,
}

impl Store {
    /// Learns from one message, once per instance, and says how usual it is. One round trip.
    pub async fn note_sending(
        &self,
        sending: Sending<'_>,
        network: Option<String>,
        country: Option<String>,
    ) -> Lookup<Habits> {
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, (f64, i64, f64, i32, i32, i32)>(include_str!("queries/note_sending.sql"))
                .bind(sending.login.to_string())
                .bind(sending.instance.to_owned())
                .bind(i32::try_from(sending.recipients).unwrap_or(i32::MAX))
                .bind(network)
                .bind(country);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(days, today, average, failed, networks, countries)| Habits {
            days,
            today: today.unsigned_abs(),
            average,
            failed: failed.unsigned_abs().into(),
            new_networks: networks.unsigned_abs().into(),
            new_countries: countries.unsigned_abs().into(),
        })
    }

    /// Counts one recipient of a login that was unknown or bounced.
    pub async fn note_failed(&self, login: &Address) -> Lookup<()> {
        self.change(sqlx::query(include_str!("queries/note_failed.sql")).bind(login.to_string())).await
    }

    /// Locks a login until the operator unlocks it, and announces it.
    pub async fn lock_login(&self, login: &Address, reason: &str) -> Lookup<()> {
        let query = sqlx::query(include_str!("queries/lock_login.sql"));
        self.change(query.bind(login.to_string()).bind(reason.to_owned())).await
    }

    /// Whether it is on this daemon to tell the postmaster of an event: once within `span`, for all hosts together.
    pub async fn claim_notice(&self, kind: &str, key: &str, span: Duration) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/claim_notice.sql"))
            .bind(kind.to_owned())
            .bind(key.to_owned())
            .bind(span.as_secs_f64());
        let answer = database.ask(query.fetch_optional(database.pool())).await;
        Lookup::from(answer).map(|_| ())
    }

    /// Gives a claim back whose mail could not be sent.
    pub async fn release_notice(&self, kind: &str, key: &str) -> Lookup<()> {
        let query = sqlx::query(include_str!("queries/release_notice.sql"));
        self.change(query.bind(kind.to_owned()).bind(key.to_owned())).await
    }

    /// Forgets places and logins of long ago. Call it now and then.
    pub async fn forget_habits(&self) -> Lookup<()> {
        self.change(sqlx::query(include_str!("queries/forget_places.sql"))).await
    }

    async fn change(
        &self,
        query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    ) -> Lookup<()> {
        let database = &self.0.database;
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }
}
