//! How mail must be encrypted on its way out: DANE (RFC 7672) before MTA-STS (RFC 8461), for Postfix's `smtp_tls_policy_maps`.
//!
//! For the maps `tls` and `tls-tlsrpt`. The answer to one domain is remembered for [`MEMORY`]; below that lie the resolver's own
//! memory, which follows the TTLs of DNS, and the policies kept in SQL, which follow their `max_age` and are shared by all hosts.
//! Many questions about one domain at once lead to one search.
//!
//! | what fails | what is answered |
//! |---|---|
//! | DNS, for the MX | unavailable: the mail could not go anywhere anyway |
//! | DNS, for a TLSA record of a signed domain | `dane`: Postfix asks itself, and defers for that host |
//! | DNS, for the MTA-STS record; the record is gone; HTTPS | the policy that is kept, until it expires; without one, none (RFC 8461, 5.1) |
//! | PostgreSQL | policies live in this process's memory alone |
//!
//! Security: without DNSSEC the first contact is trusted (RFC 8461, 10); afterwards a policy that is kept cannot be taken away by
//! whoever controls the network before it expires.

mod dane;

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use gatepost::store::Store;
use moka::sync::Cache;
use serde::Deserialize;
use tokio::sync::OnceCell;

pub use dane::Dane;
pub use gatepost::mta_sts::{
    Elsewhere, FetchError, Fetcher, Mode, MxPattern, PolicyError, StsPolicy, record_id,
};

/// `[postfix-policy.tls]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether DANE is looked for. It needs a resolver that validates DNSSEC and that `[dns] dnssec` trusts, and in main.cf
    /// `smtp_dns_support_level = dnssec`.
    pub dane: bool,
    /// Whether MTA-STS is looked for.
    pub mta_sts: bool,
    /// How long fetching a policy may take. Postfix waits 100 s for a socketmap.
    pub fetch_timeout: Seconds,
}

impl Default for Settings {
    fn default() -> Self {
        Self { dane: true, mta_sts: true, fetch_timeout: Seconds::new(10) }
    }
}

impl Settings {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.fetch_timeout.0.is_zero() || self.fetch_timeout.0 > LONGEST_FETCH {
            return Err(
                "`tls.fetch-timeout` must be more than 0s and at most 60s; Postfix waits 100 s".to_owned()
            );
        }
        Ok(())
    }
}

/// What a domain demands of those who deliver to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Policy {
    /// DANE, for all its hosts or for some.
    Dane(Dane),
    /// MTA-STS, to be enforced.
    Sts {
        /// The domain that published it.
        domain: Domain,
        /// The policy.
        policy: Arc<StsPolicy>,
        /// How much longer it counts.
        ttl: Duration,
    },
}

/// The next hop as Postfix writes it in the key of `smtp_tls_policy_maps`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum NextHop {
    /// A domain whose MX are asked for.
    Domain(Domain),
    /// A host in brackets, or with a port: its MX are not asked for, so MTA-STS does not apply (RFC 8461, 3.4 speaks of MX alone).
    Host(Domain, u16),
}

impl NextHop {
    /// `example.org`, `example.org:25`, `[mx.example.org]`, `[mx.example.org]:587`; none for an address, a parent domain
    /// (`.example.org`) and what is no name.
    pub fn parse(key: &str) -> Option<Self> {
        let (name, bracketed, port) = match key.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']')?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':')?),
                };
                (name, true, port)
            }
            None => match key.split_once(':') {
                Some((name, port)) => (name, false, Some(port)),
                None => (key, false, None),
            },
        };
        let port: u16 = port.map_or(Some(SMTP), |port| port.parse().ok())?;
        let is_address = name.parse::<std::net::IpAddr>().is_ok() || name.starts_with("IPv6:");
        let name = Domain::parse(name).ok().filter(|_| !is_address)?;
        // Postfix asks for the MX of a domain whatever the port; the default port is no difference at all.
        Some(if bracketed || port != SMTP { Self::Host(name, port) } else { Self::Domain(name) })
    }
}

/// The search for policies, with its memory.
pub struct Policies {
    resolver: Resolver,
    store: Store,
    fetcher: Option<Fetcher>,
    settings: Settings,
    answers: Cache<NextHop, Arc<OnceCell<Answered>>>,
    kept: Cache<Domain, Kept>,
}

/// What is remembered of one next hop.
struct Answered {
    answer: Lookup<Policy>,
    until: Instant,
}

/// A policy in this process's memory.
#[derive(Clone)]
struct Kept {
    id: String,
    policy: Arc<StsPolicy>,
    expires: Instant,
    checked: Instant,
}

impl Policies {
    /// A search that knows nothing yet. Without authorities on this host MTA-STS is off, loudly.
    pub fn new(resolver: Resolver, store: Store, settings: Settings) -> Self {
        Self::with(resolver, store, settings, &Elsewhere::default())
    }

    /// The same with policies from elsewhere.
    pub fn with(resolver: Resolver, store: Store, settings: Settings, elsewhere: &Elsewhere) -> Self {
        let fetcher = settings
            .mta_sts
            .then(|| Fetcher::new(resolver.clone(), settings.fetch_timeout.0, elsewhere))
            .and_then(|fetcher| {
                fetcher
                    .inspect_err(|error| {
                        tracing::error!(%error, "MTA-STS is off: TLS cannot be set up; install ca-certificates");
                    })
                    .ok()
            });
        Self {
            resolver,
            store,
            fetcher,
            settings,
            answers: Cache::builder().max_capacity(ENTRIES).time_to_idle(MEMORY * 10).build(),
            kept: Cache::new(ENTRIES),
        }
    }

    /// What a next hop demands; none if nothing.
    pub async fn policy(&self, hop: &NextHop) -> Lookup<Policy> {
        loop {
            let cell = self.answers.get_with(hop.clone(), Arc::default);
            let answered = cell.get_or_init(|| self.search(hop)).await;
            if answered.until > Instant::now() {
                return answered.answer.clone();
            }
            // Whoever finds it too old first puts an empty one in its place; the others then wait for that one's search.
            if self.answers.get(hop).is_some_and(|current| Arc::ptr_eq(&current, &cell)) {
                self.answers.insert(hop.clone(), Arc::default());
            }
        }
    }

    async fn search(&self, hop: &NextHop) -> Answered {
        let answer = match hop {
            NextHop::Host(..) if !self.settings.dane => Lookup::None,
            NextHop::Host(host, port) => match dane::of_host(&self.resolver, host.as_str(), *port).await {
                Dane::No => Lookup::None,
                dane => Lookup::Found(Policy::Dane(dane)),
            },
            NextHop::Domain(domain) => self.search_domain(domain).await,
        };
        let memory = if matches!(answer, Lookup::Unavailable(_)) { FAILURE } else { MEMORY };
        Answered { answer, until: Instant::now() + memory }
    }

    async fn search_domain(&self, domain: &Domain) -> Lookup<Policy> {
        let dane = if self.settings.dane {
            dane::of_domain(&self.resolver, domain).await
        } else {
            Lookup::Found(Dane::No)
        };
        match dane.settled() {
            Ok(Some(dane @ (Dane::All | Dane::Some))) => return Lookup::Found(Policy::Dane(dane)),
            Ok(_) => {}
            Err(failure) => return failure,
        }
        let Some(fetcher) = &self.fetcher else { return Lookup::None };
        let kept = self.kept_or_fetched(fetcher, domain).await;
        match kept.filter(|kept| kept.policy.mode == Mode::Enforce) {
            Some(kept) => Lookup::Found(Policy::Sts {
                domain: domain.clone(),
                policy: kept.policy,
                ttl: kept.expires.saturating_duration_since(Instant::now()),
            }),
            None => Lookup::None,
        }
    }

    /// The policy of a domain: the one that is kept, looked after if it was not lately, or the one that is published now.
    async fn kept_or_fetched(&self, fetcher: &Fetcher, domain: &Domain) -> Option<Kept> {
        let kept = self.kept(domain).await;
        if kept.as_ref().is_some_and(|kept| kept.checked.elapsed() < RECHECK) {
            return kept;
        }
        self.look_after(fetcher, domain, kept).await
    }

    /// Asks DNS whether there is a newer policy, and fetches it if so; what cannot be had leaves the one that is kept.
    async fn look_after(&self, fetcher: &Fetcher, domain: &Domain, kept: Option<Kept>) -> Option<Kept> {
        let records = match self.resolver.txt(&format!("_mta-sts.{domain}")).await {
            Lookup::Found(records) => records,
            Lookup::None | Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return kept,
        };
        let Some(id) = record_id(&records) else { return kept };
        if let Some(mut known) = kept.clone().filter(|kept| kept.id == id && !is_short(kept)) {
            known.checked = Instant::now();
            self.kept.insert(domain.clone(), known.clone());
            let _ = self.store.checked_mta_sts(domain).await;
            return Some(known);
        }
        match fetcher.fetch(domain).await {
            Ok(policy) => {
                tracing::info!(%domain, mode = policy.mode.as_str(), id, "MTA-STS policy fetched");
                let _ = self.store.keep_mta_sts(domain, id, &policy.to_string(), policy.max_age).await;
                let now = Instant::now();
                let expires = now + policy.max_age;
                let fresh = Kept { id: id.to_owned(), policy: Arc::new(policy), expires, checked: now };
                self.kept.insert(domain.clone(), fresh.clone());
                Some(fresh)
            }
            Err(error) => {
                let kept_on = kept.is_some();
                tracing::info!(%domain, kept_on, "MTA-STS policy {error}");
                kept
            }
        }
    }

    /// The policy in memory or in SQL that has not expired.
    async fn kept(&self, domain: &Domain) -> Option<Kept> {
        if let Some(kept) = self.kept.get(domain) {
            if kept.expires > Instant::now() {
                return Some(kept);
            }
            self.kept.invalidate(domain);
        }
        let stored = self.store.mta_sts(domain).await.found()?;
        let policy = StsPolicy::parse(&stored.text)
            .inspect_err(
                |error| tracing::error!(%domain, "gatepost.mta_sts holds a policy that is none: {error}"),
            )
            .ok()?;
        let now = Instant::now();
        let kept = Kept {
            id: stored.id,
            policy: Arc::new(policy),
            expires: now + stored.expires_in,
            checked: now.checked_sub(stored.checked).unwrap_or(now),
        };
        self.kept.insert(domain.clone(), kept.clone());
        Some(kept)
    }

    /// Looks after the policies that are in use before they expire (RFC 8461, 3.3), for as long as the process lives. Each is looked
    /// after by one host only.
    pub async fn look_after_all(&self) {
        let Some(fetcher) = self.fetcher.clone() else { return std::future::pending().await };
        loop {
            tokio::time::sleep(ROUND).await;
            self.round(&fetcher).await;
        }
    }

    /// One round of [`Policies::look_after_all`]; returns how many policies were looked after.
    pub async fn round(&self, fetcher: &Fetcher) -> usize {
        let _ = self.store.forget_mta_sts().await;
        let due = self.store.claim_mta_sts(DAILY, USED, PER_ROUND).await.found().unwrap_or_default();
        for domain in &due {
            // Another host may have fetched a newer one.
            self.kept.invalidate(domain);
            let kept = self.kept(domain).await;
            self.look_after(fetcher, domain, kept).await;
        }
        due.len()
    }
}

/// Whether a policy has used up half of its time: then it is fetched again though its id is the same, so that it never runs out.
fn is_short(kept: &Kept) -> bool {
    kept.expires.saturating_duration_since(Instant::now()) < kept.policy.max_age / 2
}

/// RFC 5321, 4.5.4.2.
const SMTP: u16 = 25;

/// More next hops than a host of this kind delivers to within an hour; an entry takes some hundred bytes.
const ENTRIES: u64 = 10_000;

/// How long an answer is given without asking the resolver's memory again.
const MEMORY: Duration = Duration::from_secs(60);

/// How long a failure is remembered.
const FAILURE: Duration = Duration::from_secs(5);

/// How often DNS is asked whether there is a newer policy, while mail goes to the domain.
const RECHECK: Duration = Duration::from_secs(300);

/// How often policies are looked after that no mail goes to (RFC 8461, 3.3 suggests daily).
const DAILY: Duration = Duration::from_secs(24 * 3600);

/// A policy that nobody wanted for so long is left to expire.
const USED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often that is done, and for how many at the most, so that one host does not spend its day on it.
const ROUND: Duration = Duration::from_secs(600);
const PER_ROUND: i64 = 200;

/// Postfix's patience is 100 s (`dict_sockmap.c`), and DNS needs its part.
const LONGEST_FETCH: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn next_hops_as_postfix_writes_them() {
        let domain = |name: &str| Some(NextHop::Domain(Domain::parse(name).unwrap()));
        let host = |name: &str, port| Some(NextHop::Host(Domain::parse(name).unwrap(), port));
        for (key, hop) in [
            ("Example.org", domain("example.org")),
            ("example.org:25", domain("example.org")),
            ("example.org:587", host("example.org", 587)),
            ("[mx.example.org]", host("mx.example.org", 25)),
            ("[mx.example.org]:2525", host("mx.example.org", 2525)),
            ("bücher.example", domain("xn--bcher-kva.example")),
            (".example.org", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1]:25", None),
            ("[IPv6:2001:db8::1]", None),
            ("192.0.2.1", None),
            ("[mx.example.org", None),
            ("[mx.example.org]25", None),
            ("example.org:smtp", None),
            ("example.org:70000", None),
            ("", None),
            ("*", None),
        ] {
            assert_eq!(NextHop::parse(key), hop, "{key}");
        }
    }
}
