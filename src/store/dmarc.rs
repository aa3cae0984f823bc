//! What the operator excepts from DMARC: `gatepost.dmarc_overrides` and `gatepost.forwarders`.
//!
//! Both are asked for whole and kept whole: they are short, and only mail that fails is held against them. A row that cannot be
//! understood makes the whole answer "misconfigured": what it was to except must not be refused meanwhile.

use std::fmt::Display;
use std::sync::Arc;

use super::Store;
use crate::database::Trouble;
use crate::directory::Lookup;
use crate::dmarc::{Forwarder, KnownBy, Overrides};
use crate::mail::Domain;

impl Store {
    /// The policies that the operator has set; an empty list if none.
    pub async fn dmarc_overrides(&self) -> Lookup<Arc<Overrides>> {
        let database = &self.0.database;
        let question = async {
            let query = sqlx::query_as::<_, (String, String)>(include_str!("queries/dmarc_overrides.sql"))
                .bind(MAX_ROWS + 1);
            let rows = bounded(database.ask(query.fetch_all(database.pool())).await?, "dmarc_overrides")?;
            let mut parsed = Vec::with_capacity(rows.len());
            for (domain, policy) in rows {
                let row = |reason: &dyn Display| {
                    Trouble::Misconfigured(format!(
                        "gatepost.dmarc_overrides, row {domain}: {reason}; `gatepost dmarc policy list`"
                    ))
                };
                let policy = match policy.as_str() {
                    DEFAULT => None,
                    word => Some(word.parse().map_err(|reason: String| row(&reason))?),
                };
                parsed.push((Domain::parse(&domain).map_err(|reason| row(&reason))?, policy));
            }
            Ok(Some(Arc::new(Overrides::new(parsed))))
        };
        self.0.dmarc_overrides.ask((), question).await
    }

    /// Who forwards to us; an empty list if nobody.
    pub async fn forwarders(&self) -> Lookup<Arc<Vec<Forwarder>>> {
        let database = &self.0.database;
        let question = async {
            let query = sqlx::query_as::<_, (String, String, String)>(include_str!("queries/forwarders.sql"))
                .bind(MAX_ROWS + 1);
            let rows = bounded(database.ask(query.fetch_all(database.pool())).await?, "forwarders")?;
            let mut parsed = Vec::with_capacity(rows.len());
            for (kind, value, recipients) in rows {
                let row = |reason: String| {
                    Trouble::Misconfigured(format!(
                        "gatepost.forwarders, row {kind} {value}: {reason}; `gatepost dmarc forwarder list`"
                    ))
                };
                let by = kind.parse().and_then(|kind| KnownBy::parse(kind, &value)).map_err(row)?;
                let recipients = match recipients.as_str() {
                    ALL => None,
                    domain => Some(Domain::parse(domain).map_err(|reason| row(reason.to_string()))?),
                };
                parsed.push(Forwarder { by, recipients });
            }
            Ok(Some(Arc::new(parsed)))
        };
        self.0.forwarders.ask((), question).await
    }
}

fn bounded<T>(rows: Vec<T>, table: &str) -> Result<Vec<T>, Trouble> {
    if rows.len() > MAX_ROWS as usize {
        return Err(Trouble::Misconfigured(format!(
            "gatepost.{table} has more than {MAX_ROWS} rows, which is no list of exceptions"
        )));
    }
    Ok(rows)
}

/// An override that says: as the record does.
const DEFAULT: &str = "default";

/// A forwarder for all of our domains.
const ALL: &str = "*";

/// Far more than anybody keeps by hand; each takes about 100 bytes.
const MAX_ROWS: i64 = 10_000;
