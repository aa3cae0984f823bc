//! `gatepost dkim`: signing keys in `gatepost.dkim_keys`, and the DNS records that go with them.

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Subcommand, ValueEnum};
use gatepost::mail::Domain;
use gatepost::store::{KeyAlgorithm, KeyState};
use sqlx::PgConnection;
use zeroize::Zeroizing;

use super::connection::{explain, require_schema, violates};
use super::{domain, terminal};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a key. It signs once it is activated: publish its record first
    Generate {
        /// The domain, which must be hosted here
        domain: Domain,
        /// The selector; today's date if not given
        #[arg(long)]
        selector: Option<String>,
        /// The kind of key
        #[arg(long, value_enum, default_value_t = Kind::Rsa2048)]
        kind: Kind,
        /// Let it sign at once, because its record is in DNS in a moment
        #[arg(long)]
        activate: bool,
    },
    /// Let a key sign; its record must be in DNS
    Activate {
        /// The domain
        domain: Domain,
        /// The selector
        selector: String,
    },
    /// Let a key sign no more; leave its record in DNS for a week, for mail under way
    Retire {
        /// The domain
        domain: Domain,
        /// The selector
        selector: String,
    },
    /// List keys
    List {
        /// Only those of one domain
        domain: Option<Domain>,
    },
    /// Print the TXT records to publish, as a zone file takes them
    Dns {
        /// The domain
        domain: Domain,
        /// One key; all that are not removed if not given
        selector: Option<String>,
    },
}

/// The kinds of keys that can be made.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    /// RSA, 2048 bits: understood by every receiver
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA, 3072 bits
    #[value(name = "rsa-3072")]
    Rsa3072,
    /// RSA, 4096 bits: its record is too long for some name servers
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// Ed25519 (RFC 8463): short, not understood everywhere; add it beside an RSA key
    #[value(name = "ed25519")]
    Ed25519,
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Generate { domain, selector, kind, activate } => {
            generate(connection, &domain, selector, kind, activate).await
        }
        Verb::Activate { domain, selector } => change(connection, &domain, &selector, KeyState::Active).await,
        Verb::Retire { domain, selector } => change(connection, &domain, &selector, KeyState::Retired).await,
        Verb::List { domain } => list(connection, domain.as_ref()).await,
        Verb::Dns { domain, selector } => dns(connection, &domain, selector.as_deref()).await,
    }
}

async fn generate(
    connection: &mut PgConnection,
    domain: &Domain,
    selector: Option<String>,
    kind: Kind,
    activate: bool,
) -> anyhow::Result<()> {
    domain::require(connection, domain).await?;
    let selector = match selector {
        Some(selector) => selector,
        None => today()?,
    };
    let key = NewKey::generate(kind)?;
    let state = if activate { KeyState::Active } else { KeyState::New };
    sqlx::query(
        "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, activated_at)
         VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $6 = 'active' THEN now() END)",
    )
    .bind(domain.as_str().to_owned())
    .bind(&selector)
    .bind(key.algorithm.to_string())
    .bind(key.private_pem.as_str())
    .bind(&key.public)
    .bind(state.to_string())
    .execute(&mut *connection)
    .await
    .map_err(|error| match () {
        () if violates(&error, "23505") => anyhow!("{domain} has a key with selector {selector} already; choose another with --selector"),
        () if violates(&error, "23514") => anyhow!("bad selector \"{selector}\", expected letters, digits, dots and hyphens, such as {}", today().unwrap_or_default()),
        () => explain(error),
    })?;
    println!("key {selector} of {domain} made ({}, {state}). Publish this record:\n", key.algorithm);
    println!("{}", record(domain, &selector, key.algorithm, &key.public));
    if !activate {
        println!(
            "\nWhen DNS shows it (`dig +short TXT {selector}._domainkey.{domain}`): gatepost dkim activate {domain} {selector}"
        );
    }
    Ok(())
}

async fn change(
    connection: &mut PgConnection,
    domain: &Domain,
    selector: &str,
    state: KeyState,
) -> anyhow::Result<()> {
    let done = sqlx::query(
        "UPDATE gatepost.dkim_keys SET state = $3,
                activated_at = CASE WHEN $3 = 'active' THEN now() ELSE activated_at END,
                retired_at = CASE WHEN $3 = 'retired' THEN now() END
         WHERE domain = $1 AND selector = $2",
    )
    .bind(domain.as_str().to_owned())
    .bind(selector.to_owned())
    .bind(state.to_string())
    .execute(connection)
    .await
    .map_err(explain)?;
    if done.rows_affected() == 0 {
        bail!("{domain} has no key with selector {selector}; `gatepost dkim list {domain}`");
    }
    println!("key {selector} of {domain} is {state}");
    Ok(())
}

async fn list(connection: &mut PgConnection, domain: Option<&Domain>) -> anyhow::Result<()> {
    let rows: Vec<(String, String, String, String, time::OffsetDateTime)> =
        sqlx::query_as("SELECT domain, selector, algorithm, state, created_at FROM gatepost.dkim_keys WHERE $1::text IS NULL OR domain = $1 ORDER BY domain, created_at")
            .bind(domain.map(|domain| domain.as_str().to_owned()))
            .fetch_all(connection)
            .await
            .map_err(explain)?;
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(domain, selector, algorithm, state, created)| {
            [domain, selector, algorithm, state, created.date().to_string()]
        })
        .collect();
    terminal::table(["DOMAIN", "SELECTOR", "ALGORITHM", "STATE", "MADE"], &rows);
    Ok(())
}

async fn dns(connection: &mut PgConnection, domain: &Domain, selector: Option<&str>) -> anyhow::Result<()> {
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT selector, algorithm, public_key FROM gatepost.dkim_keys
         WHERE domain = $1 AND ($2::text IS NULL OR selector = $2) AND state <> 'removed' ORDER BY created_at",
    )
    .bind(domain.as_str().to_owned())
    .bind(selector.map(str::to_owned))
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    if rows.is_empty() {
        bail!("{domain} has no such key; `gatepost dkim generate {domain}`");
    }
    for (selector, algorithm, public) in rows {
        let algorithm: KeyAlgorithm = algorithm.parse().map_err(|error: String| anyhow!(error))?;
        println!("{}", record(domain, &selector, algorithm, &public));
    }
    Ok(())
}

/// One TXT record in master file format (RFC 1035 §5), its text cut into strings of at most 255 octets.
fn record(domain: &Domain, selector: &str, algorithm: KeyAlgorithm, public: &str) -> String {
    let kind = match algorithm {
        KeyAlgorithm::RsaSha256 => "rsa",
        KeyAlgorithm::Ed25519Sha256 => "ed25519",
    };
    let text = format!("v=DKIM1; k={kind}; p={public}");
    // Base64 and tags are ASCII, so bytes are characters.
    let strings: Vec<String> = text
        .as_bytes()
        .chunks(MAX_STRING)
        .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
        .collect();
    format!("{selector}._domainkey.{domain}. 3600 IN TXT ( {} )", strings.join(" "))
}

struct NewKey {
    algorithm: KeyAlgorithm,
    private_pem: Zeroizing<String>,
    /// Base64 of the `p=` tag: SubjectPublicKeyInfo for RSA (RFC 6376 §3.6.1), the bare 32 octets for Ed25519 (RFC 8463 §3).
    public: String,
}

impl NewKey {
    fn generate(kind: Kind) -> anyhow::Result<Self> {
        let size = match kind {
            Kind::Rsa2048 => KeySize::Rsa2048,
            Kind::Rsa3072 => KeySize::Rsa3072,
            Kind::Rsa4096 => KeySize::Rsa4096,
            Kind::Ed25519 => {
                let key = Ed25519KeyPair::generate().map_err(|_| anyhow!("cannot make a key"))?;
                let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| anyhow!("cannot encode the key"))?;
                return Ok(Self {
                    algorithm: KeyAlgorithm::Ed25519Sha256,
                    private_pem: pem(private.as_ref()),
                    public: STANDARD.encode(key.public_key().as_ref()),
                });
            }
        };
        let key = RsaKeyPair::generate(size).map_err(|_| anyhow!("cannot make a key"))?;
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| anyhow!("cannot encode the key"))?;
        let public: PublicKeyX509Der<'_> =
            key.public_key().as_der().map_err(|_| anyhow!("cannot encode the public key"))?;
        Ok(Self {
            algorithm: KeyAlgorithm::RsaSha256,
            private_pem: pem(private.as_ref()),
            public: STANDARD.encode(public.as_ref()),
        })
    }
}

/// PKCS#8 in PEM (RFC 7468 §10).
fn pem(der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let mut text = Zeroizing::new(String::with_capacity(encoded.len() + encoded.len() / 64 + 64));
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.push_str(&String::from_utf8_lossy(line));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    text
}

/// The tutorial's kind of selector, such as `20260120`.
fn today() -> anyhow::Result<String> {
    time::OffsetDateTime::now_utc()
        .format(time::macros::format_description!("[year][month][day]"))
        .context("cannot format today's date")
}

/// RFC 1035 §3.3: a character-string.
const MAX_STRING: usize = 255;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_record_is_cut_into_strings_of_255_octets() {
        let key = NewKey::generate(Kind::Rsa2048).unwrap();
        let record = record(&Domain::parse("example.com").unwrap(), "20260120", key.algorithm, &key.public);
        assert!(
            record.starts_with("20260120._domainkey.example.com. 3600 IN TXT ( \"v=DKIM1; k=rsa; p=MII"),
            "{record}"
        );
        let strings: Vec<&str> = record.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.len(), 2);
        assert_eq!(strings[0].len(), 255);
        assert_eq!(strings.concat(), format!("v=DKIM1; k=rsa; p={}", key.public));
        assert_eq!(STANDARD.decode(&key.public).unwrap().len(), 294);
    }

    #[test]
    fn an_ed25519_record_has_the_bare_key() {
        let key = NewKey::generate(Kind::Ed25519).unwrap();
        assert_eq!(STANDARD.decode(&key.public).unwrap().len(), 32);
        assert!(key.private_pem.starts_with("-----BEGIN PRIVATE KEY-----\nMC"));
    }
}
