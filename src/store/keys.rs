//! DKIM signing keys: `gatepost.dkim_keys`, whose private half only role `gatepost_milter` reads.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Store;
use crate::config::Secret;
use crate::directory::Lookup;
use crate::mail::Domain;

/// An active signing key.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The domain it signs for (the `d=` tag).
    pub domain: Domain,
    /// Its selector (the `s=` tag).
    pub selector: String,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// The private key, PKCS#8 in PEM.
    pub private_key: Secret,
}

/// The signature algorithms of RFC 6376 §3.3.1 and RFC 8463.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// `rsa-sha256`.
    RsaSha256,
    /// `ed25519-sha256`.
    Ed25519Sha256,
}

/// A key's life: new → published (DNS shows it) → active (signs) → retired (DNS still shows it, for mail under way) → removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Made, not yet in DNS.
    New,
    /// DNS shows it.
    Published,
    /// It signs.
    Active,
    /// It signs no more.
    Retired,
    /// Its record may go.
    Removed,
}

impl Store {
    /// The active keys of exactly this domain, newest first; an empty list if it has none.
    pub async fn signing_keys(&self, domain: &Domain) -> Lookup<Vec<SigningKey>> {
        let database = &self.0.database;
        let question = async {
            let query =
                sqlx::query_as::<_, (String, String, String)>(include_str!("queries/signing_keys.sql"))
                    .bind(domain.as_str().to_owned());
            let rows = database.ask(query.fetch_all(database.pool())).await?;
            let keys = rows.into_iter().filter_map(|(selector, algorithm, private_key)| {
                // The table's check allows no other text; a newer schema might.
                let algorithm = algorithm.parse().ok()?;
                Some(SigningKey {
                    domain: domain.clone(),
                    selector,
                    algorithm,
                    private_key: Secret::new(private_key),
                })
            });
            Ok(Some(Arc::new(keys.collect())))
        };
        self.0
            .signing_keys
            .ask(domain.clone(), question)
            .await
            .map(|keys: Arc<Vec<SigningKey>>| keys.to_vec())
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        })
    }
}

impl FromStr for KeyAlgorithm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            _ => Err(format!("unknown algorithm \"{text}\", expected rsa-sha256 or ed25519-sha256")),
        }
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
        })
    }
}
