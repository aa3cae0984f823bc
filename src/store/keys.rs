//! DKIM signing keys as the milter uses them: `gatepost.dkim_keys`, whose private half only role `gatepost_milter` reads.
//!
//! A key signs only while it is active *and* the last known answer of DNS is that it shows the key. The answer stands in the row, so that
//! it outlives a restart and all hosts share it; whoever looked last is right. Where it cannot be written (a read replica, a database
//! that is away), this process keeps it, until the row tells of a newer one. What the tool does with keys is [`super::key_life`].

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use time::OffsetDateTime;

use super::Store;
use crate::config::Secret;
use crate::directory::{Class, Lookup};
use crate::mail::Domain;

/// An active signing key that DNS shows.
#[derive(Clone, Debug)]
pub struct SigningKey {
    /// The domain it signs for (the `d=` tag).
    pub domain: Domain,
    /// Its selector (the `s=` tag).
    pub selector: String,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// The private key as it is stored: PKCS#8 in PEM, or encrypted.
    pub private_key: Secret,
}

/// A key that DNS must be asked about, without its private half.
#[derive(Clone, Debug)]
pub struct WatchedKey {
    /// Its domain.
    pub domain: Domain,
    /// Its selector.
    pub selector: String,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// The base64 of `p=`.
    pub public_key: String,
    /// New, published or active.
    pub state: KeyState,
    /// The last known answer of DNS.
    pub dns: DnsAnswer,
    /// When that was given, by the database's clock; only ever compared with itself.
    dns_at: Option<OffsetDateTime>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// Made, not yet in DNS.
    New,
    /// DNS shows it.
    Published,
    /// It signs while DNS shows it.
    Active,
    /// It signs no more.
    Retired,
    /// Its record may go; its private half is gone.
    Removed,
}

/// What DNS said of a key the last time it could say anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DnsAnswer {
    /// It never said anything.
    Unknown,
    /// It shows the key.
    Shown,
    /// It has no record.
    Missing,
    /// It has something else there.
    Different,
}

/// A row as it is cached.
pub(super) struct ActiveKey {
    key: SigningKey,
    public_key: String,
    dns: DnsAnswer,
    dns_at: Option<OffsetDateTime>,
}

/// Answers of DNS that could not be written down, by domain and selector.
#[derive(Default)]
pub(super) struct Unwritten(RwLock<HashMap<(Domain, String), UnwrittenAnswer>>);

struct UnwrittenAnswer {
    public_key: String,
    answer: DnsAnswer,
    /// The row's `dns_at` then: a row that has another one knows better.
    instead_of: Option<OffsetDateTime>,
}

impl Store {
    /// The keys of exactly this domain that may sign now, newest first; an empty list if it has none. They are active, and DNS showed
    /// them when it was last asked.
    pub async fn signing_keys(&self, domain: &Domain) -> Lookup<Vec<SigningKey>> {
        let database = &self.0.database;
        let question = async {
            let query =
                sqlx::query_as::<_, (String, String, String, String, String, Option<OffsetDateTime>)>(
                    include_str!("queries/signing_keys.sql"),
                )
                .bind(domain.as_str().to_owned());
            let rows = database.ask(query.fetch_all(database.pool())).await?;
            let keys =
                rows.into_iter().filter_map(|(selector, algorithm, private_key, public_key, dns, dns_at)| {
                    // The table's checks allow no other texts; a newer schema might.
                    let (algorithm, dns) = (algorithm.parse().ok()?, dns.parse().ok()?);
                    let private_key = Secret::new(private_key);
                    let key = SigningKey { domain: domain.clone(), selector, algorithm, private_key };
                    Some(ActiveKey { key, public_key, dns, dns_at })
                });
            Ok(Some(Arc::new(keys.collect::<Vec<_>>())))
        };
        let active = self.0.signing_keys.ask(domain.clone(), question).await;
        active.map(|keys| {
            let shown = |one: &&ActiveKey| {
                let known =
                    self.0.unwritten.of(&one.key.domain, &one.key.selector, &one.public_key, one.dns_at);
                known.unwrap_or(one.dns) == DnsAnswer::Shown
            };
            keys.iter().filter(shown).map(|one| one.key.clone()).collect()
        })
    }

    /// The keys that DNS must be asked about: new, published and active ones of all domains. Never cached.
    pub async fn watched_keys(&self) -> Lookup<Vec<WatchedKey>> {
        let database = &self.0.database;
        let query = sqlx::query_as::<
            _,
            (String, String, String, String, String, String, Option<OffsetDateTime>),
        >(include_str!("queries/watched_keys.sql"));
        let rows = match database.ask(query.fetch_all(database.pool())).await {
            Ok(rows) => rows,
            Err(trouble) => return trouble.into(),
        };
        let keys =
            rows.into_iter().filter_map(|(domain, selector, algorithm, public_key, state, dns, dns_at)| {
                let domain = Domain::parse(&domain).ok()?;
                let recorded: DnsAnswer = dns.parse().ok()?;
                let dns = self.0.unwritten.of(&domain, &selector, &public_key, dns_at).unwrap_or(recorded);
                let (algorithm, state) = (algorithm.parse().ok()?, state.parse().ok()?);
                Some(WatchedKey { domain, selector, algorithm, public_key, state, dns, dns_at })
            });
        Lookup::Found(keys.collect())
    }

    /// Takes over what DNS says of a key: it counts at once, and is written down for restarts and other hosts. [`Lookup::None`] if the
    /// key is gone or another one; where it cannot be written, it counts in this process all the same.
    pub async fn record_dns(&self, key: &WatchedKey, answer: DnsAnswer, detail: &str) -> Lookup<()> {
        let database = &self.0.database;
        let query = sqlx::query(include_str!("queries/record_dns.sql"))
            .bind(key.domain.as_str().to_owned())
            .bind(key.selector.clone())
            .bind(key.public_key.clone())
            .bind(answer.to_string())
            .bind(detail.to_owned());
        let written = database.ask(query.fetch_optional(database.pool())).await;
        match written {
            Ok(row) => {
                self.0.unwritten.forget(key);
                self.0.freshness.outdate(Class::Keys);
                row.map_or(Lookup::None, |_| Lookup::Found(()))
            }
            Err(trouble) => {
                self.0.unwritten.set(key, answer);
                trouble.into()
            }
        }
    }

    /// Waits until keys may have changed, as far as changes are announced. For one follower in the process.
    pub async fn keys_changed(&self) {
        self.0.freshness.changed(Class::Keys).await;
    }

    /// Whether changes of keys are announced at this moment.
    pub fn is_notified(&self) -> bool {
        self.0.freshness.is_notified()
    }
}

impl Unwritten {
    fn of(
        &self,
        domain: &Domain,
        selector: &str,
        public_key: &str,
        dns_at: Option<OffsetDateTime>,
    ) -> Option<DnsAnswer> {
        let unwritten = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if unwritten.is_empty() {
            return None;
        }
        let found = unwritten.get(&(domain.clone(), selector.to_owned()))?;
        (found.public_key == public_key && found.instead_of == dns_at).then_some(found.answer)
    }

    fn set(&self, key: &WatchedKey, answer: DnsAnswer) {
        let one = UnwrittenAnswer { public_key: key.public_key.clone(), answer, instead_of: key.dns_at };
        let mut unwritten = self.0.write().unwrap_or_else(PoisonError::into_inner);
        unwritten.insert((key.domain.clone(), key.selector.clone()), one);
    }

    fn forget(&self, key: &WatchedKey) {
        let mut unwritten = self.0.write().unwrap_or_else(PoisonError::into_inner);
        unwritten.remove(&(key.domain.clone(), key.selector.clone()));
    }
}

impl KeyState {
    /// Every state, in the order of a life.
    pub const ALL: [Self; 5] = [Self::New, Self::Published, Self::Active, Self::Retired, Self::Removed];

    /// Whether that step is open; the database's trigger `dkim_key_life` knows the same.
    pub fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::New, Self::Published | Self::Removed)
                | (Self::Published, Self::Active | Self::Removed)
                | (Self::Active, Self::Retired)
                | (Self::Retired, Self::Active | Self::Removed)
        )
    }
}

/// The words of the database for an enum, both ways.
macro_rules! words {
    ($type:ident, $what:literal, $($variant:ident => $word:literal),+) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self { $(Self::$variant => $word),+ })
            }
        }

        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(concat!("unknown ", $what, " \"{}\", expected one of ", $($word, " "),+), text)),
                }
            }
        }
    };
}

words!(KeyAlgorithm, "algorithm", RsaSha256 => "rsa-sha256", Ed25519Sha256 => "ed25519-sha256");
words!(KeyState, "state", New => "new", Published => "published", Active => "active", Retired => "retired", Removed => "removed");
words!(DnsAnswer, "answer of DNS", Unknown => "unknown", Shown => "shown", Missing => "missing", Different => "different");
