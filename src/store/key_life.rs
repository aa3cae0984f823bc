//! DKIM signing keys as the admin's tool handles them: every column, and the steps of a key's life.
//!
//! Over the tool's own connection, as the database's owner. The steps that are open and their dates are the database's to judge (trigger
//! `dkim_key_life`), so that nobody can leave the path; here they are asked for.

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use super::{DnsAnswer, KeyAlgorithm, KeyState};
use crate::config::Secret;
use crate::mail::Domain;

/// One row of `gatepost.dkim_keys`.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its domain.
    pub domain: Domain,
    /// Its selector.
    pub selector: String,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// As it is stored: PEM, encrypted, or empty once it is removed.
    pub private_key: Secret,
    /// The base64 of `p=`.
    pub public_key: String,
    /// Where in its life it is.
    pub state: KeyState,
    /// When it was made or imported.
    pub created_at: OffsetDateTime,
    /// When DNS was first seen to show it.
    pub published_at: Option<OffsetDateTime>,
    /// When it was last let sign.
    pub activated_at: Option<OffsetDateTime>,
    /// When it was last retired.
    pub retired_at: Option<OffsetDateTime>,
    /// When it was removed.
    pub removed_at: Option<OffsetDateTime>,
    /// The last known answer of DNS.
    pub dns: DnsAnswer,
    /// The same in words, where it does not show the key.
    pub dns_detail: String,
    /// When DNS last answered.
    pub dns_at: Option<OffsetDateTime>,
    /// When DNS last showed the key.
    pub seen_at: Option<OffsetDateTime>,
}

impl Key {
    /// Whether it signs as far as anybody knows.
    pub fn signs(&self) -> bool {
        self.state == KeyState::Active && self.dns == DnsAnswer::Shown
    }

    /// Whether it waits for its turn.
    pub fn waits(&self) -> bool {
        matches!(self.state, KeyState::New | KeyState::Published)
    }
}

/// All keys, or those of one domain, in the order in which they were made.
///
/// # Errors
/// What the database says.
pub async fn keys(connection: &mut PgConnection, domain: Option<&Domain>) -> Result<Vec<Key>, sqlx::Error> {
    let rows = sqlx::query(include_str!("queries/keys.sql"))
        .bind(domain.map(|domain| domain.as_str().to_owned()))
        .fetch_all(connection)
        .await?;
    rows.iter().map(key).collect()
}

fn key(row: &sqlx::postgres::PgRow) -> Result<Key, sqlx::Error> {
    let word = |column: &str| row.try_get::<String, _>(column);
    let bad = |error: String| sqlx::Error::Decode(error.into());
    Ok(Key {
        domain: Domain::parse(&word("domain")?).map_err(|error| bad(error.to_string()))?,
        selector: word("selector")?,
        algorithm: word("algorithm")?.parse().map_err(bad)?,
        private_key: Secret::new(word("private_key")?),
        public_key: word("public_key")?,
        state: word("state")?.parse().map_err(bad)?,
        created_at: row.try_get("created_at")?,
        published_at: row.try_get("published_at")?,
        activated_at: row.try_get("activated_at")?,
        retired_at: row.try_get("retired_at")?,
        removed_at: row.try_get("removed_at")?,
        dns: word("dns")?.parse().map_err(bad)?,
        dns_detail: word("dns_detail")?,
        dns_at: row.try_get("dns_at")?,
        seen_at: row.try_get("seen_at")?,
    })
}

/// Adds a new key; `stored` is its private half as it is to be stored.
///
/// # Errors
/// What the database says: 23505 if the selector is taken, 23514 if it is none.
pub async fn add(
    connection: &mut PgConnection,
    domain: &Domain,
    selector: &str,
    algorithm: KeyAlgorithm,
    public_key: &str,
    stored: &Secret,
) -> Result<(), sqlx::Error> {
    sqlx::query(include_str!("queries/add_key.sql"))
        .bind(domain.as_str().to_owned())
        .bind(selector.to_owned())
        .bind(algorithm.to_string())
        .bind(stored.expose().to_owned())
        .bind(public_key.to_owned())
        .execute(connection)
        .await
        .map(drop)
}

/// Writes down what DNS says; a new key that it shows becomes published. The key as it is then is changed in place.
///
/// # Errors
/// What the database says.
pub async fn record_dns(
    connection: &mut PgConnection,
    key: &mut Key,
    answer: DnsAnswer,
    detail: &str,
) -> Result<(), sqlx::Error> {
    let row = sqlx::query(include_str!("queries/record_dns.sql"))
        .bind(key.domain.as_str().to_owned())
        .bind(key.selector.clone())
        .bind(key.public_key.clone())
        .bind(answer.to_string())
        .bind(detail.to_owned())
        .fetch_optional(connection)
        .await?;
    if let Some(row) = row {
        key.dns = answer;
        detail.clone_into(&mut key.dns_detail);
        key.dns_at = row.try_get(0)?;
        if answer == DnsAnswer::Shown {
            key.seen_at = key.dns_at;
            if key.state == KeyState::New {
                key.state = KeyState::Published;
                key.published_at = key.dns_at;
            }
        }
    }
    Ok(())
}

/// Lets a key take a step; false if it is not in that state any more.
///
/// # Errors
/// What the database says: 23514 if the step is not open, or DNS does not show a key that is to become active.
pub async fn step(connection: &mut PgConnection, key: &Key, next: KeyState) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(include_str!("queries/change_key.sql"))
        .bind(key.domain.as_str().to_owned())
        .bind(key.selector.clone())
        .bind(key.state.to_string())
        .bind(next.to_string())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}

/// Replaces the stored form of a private key; false if it has changed meanwhile.
///
/// # Errors
/// What the database says.
pub async fn reseal(connection: &mut PgConnection, key: &Key, stored: &Secret) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(include_str!("queries/reseal_key.sql"))
        .bind(key.domain.as_str().to_owned())
        .bind(key.selector.clone())
        .bind(key.private_key.expose().to_owned())
        .bind(stored.expose().to_owned())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() == 1)
}
