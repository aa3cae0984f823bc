//! MTA-STS policies of other domains, as they were fetched: `gatepost.mta_sts`, shared by all hosts (RFC 8461, 3.3: a policy is kept
//! for its `max_age`, whatever DNS or HTTPS say meanwhile).

use std::time::Duration;

use super::Store;
use crate::directory::Lookup;
use crate::mail::Domain;

/// A policy that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPolicy {
    /// The `id` of the DNS record that it was fetched for.
    pub id: String,
    /// Its text.
    pub text: String,
    /// How much longer it counts.
    pub expires_in: Duration,
    /// How long ago DNS was asked whether there is a newer one.
    pub checked: Duration,
}

impl Store {
    /// The policy of a domain that is kept and has not expired.
    pub async fn mta_sts(&self, domain: &Domain) -> Lookup<KeptPolicy> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, String, f64, f64)>(include_str!("queries/mta_sts.sql"))
            .bind(domain.as_str().to_owned());
        let row = database.ask(query.fetch_optional(database.pool())).await;
        Lookup::from(row).map(|(id, text, expires, checked)| KeptPolicy {
            id,
            text,
            expires_in: seconds(expires),
            checked: seconds(checked),
        })
    }

    /// Keeps a policy that was fetched just now, for so long.
    pub async fn keep_mta_sts(&self, domain: &Domain, id: &str, text: &str, max_age: Duration) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/keep_mta_sts.sql"))
            .bind(domain.as_str().to_owned())
            .bind(id.to_owned())
            .bind(text.to_owned())
            .bind(max_age.as_secs_f64());
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }

    /// Notes that DNS named the kept policy just now.
    pub async fn checked_mta_sts(&self, domain: &Domain) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/checked_mta_sts.sql")).bind(domain.as_str().to_owned());
        Lookup::from(database.ask(query.execute(database.pool())).await.map(|_| Some(())))
    }

    /// Up to `most` domains whose policies DNS was last asked about longer than `after` ago and that were wanted within `used`;
    /// they are this host's to look at.
    pub async fn claim_mta_sts(&self, after: Duration, used: Duration, most: i64) -> Lookup<Vec<Domain>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String,)>(include_str!("queries/claim_mta_sts.sql"))
            .bind(after.as_secs_f64())
            .bind(used.as_secs_f64())
            .bind(most);
        let rows = database.ask(query.fetch_all(database.pool())).await;
        Lookup::from(rows.map(Some))
            .map(|rows| rows.iter().filter_map(|(domain,)| Domain::parse(domain).ok()).collect())
    }

    /// Forgets what has expired; returns how many rows went. Call it now and then.
    pub async fn forget_mta_sts(&self) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/forget_mta_sts.sql"));
        Lookup::from(
            database.ask(query.execute(database.pool())).await.map(|done| Some(done.rows_affected())),
        )
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or_default()
}
