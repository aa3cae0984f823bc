//! Watching whether DNS shows our signing keys: at the start, when keys change, and every `[dkim] check-every`.
//!
//! For `lib`, as one task beside the serving. A key signs only while DNS shows it, so this task decides what [`Store::signing_keys`] gives:
//!
//! | DNS | active key | new key |
//! |---|---|---|
//! | shows it | signs | becomes published, by the database's trigger |
//! | has no record, or another | signs no more: error in the log, metric; asked every minute, signs again by itself | waits; asked every five |
//! | cannot say | as it last said, also before a restart; asked every minute | waits |
//!
//! Several hosts may do this at once: each writes what it sees, and the last one is right. A change of the row that is only the answer
//! of another host, or of `gatepost dkim check`, makes a host ask again only where it takes away what this host saw; so two hosts whose
//! resolvers disagree do not wake each other for ever, and a lost record is noticed everywhere at once.
//!
//! Asks a resolver of its own that keeps no answers: a record that was published or taken away a moment ago must be seen as the next
//! resolver sees it, and one question an hour and key is no load.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use gatepost::config;
use gatepost::daemon::Parts;
use gatepost::directory::Lookup;
use gatepost::dkim::{self, Finding};
use gatepost::dns::{Resolver, SetupError};
use gatepost::mail::Domain;
use gatepost::store::{DnsAnswer, KeyState, Store, WatchedKey};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

/// The watch of the process.
pub struct KeyWatch {
    store: Store,
    settings: ArcSwap<Settings>,
    reloaded: Notify,
    metrics: Metrics,
}

/// What a reload replaces.
struct Settings {
    resolver: Resolver,
    every: Duration,
}

/// What this process knows of a key's checks.
struct Check {
    /// The key that was asked about; another one, or another state, is asked about at once.
    public_key: String,
    state: KeyState,
    /// When it was last asked about.
    asked: Instant,
    /// What DNS said then; none if it could not say.
    saw: Option<DnsAnswer>,
    /// What was last said in the log, and when.
    said: Option<(String, Instant)>,
}

type Checks = HashMap<(Domain, String), Check>;

impl KeyWatch {
    /// A watch that has asked nothing yet.
    pub fn new(dns: &config::Dns, dkim: &config::Dkim, parts: &Parts) -> Result<Self, SetupError> {
        Ok(Self {
            store: parts.store.clone(),
            settings: ArcSwap::from_pointee(Settings::new(dns, dkim)?),
            reloaded: Notify::new(),
            metrics: Metrics::new(&parts.metrics),
        })
    }

    /// Takes over a new configuration, and asks about every key anew.
    pub fn reload(&self, dns: &config::Dns, dkim: &config::Dkim) -> Result<(), SetupError> {
        self.settings.store(Arc::new(Settings::new(dns, dkim)?));
        self.reloaded.notify_one();
        Ok(())
    }

    /// Watches until the process ends.
    pub async fn run(&self) {
        let mut keys: Vec<WatchedKey> = Vec::new();
        let mut checks = Checks::new();
        loop {
            let listed = self.store.watched_keys().await;
            let mut pause = if self.store.is_notified() { LONGEST_PAUSE } else { POLL };
            match listed {
                Lookup::Found(found) => keys = found,
                Lookup::None => keys.clear(),
                // The keys that are known are watched on; the signing of mail says what is wrong with the database.
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                    debug!("cannot read which keys to watch: {why}");
                    pause = POLL;
                }
            }
            checks.retain(|(domain, selector), _| {
                keys.iter().any(|key| key.domain == *domain && key.selector == *selector)
            });
            self.check_due(&mut keys, &mut checks).await;
            self.metrics.count(&keys);
            let settings = self.settings.load_full();
            let due =
                keys.iter().filter_map(|key| checks.get(&name(key)).map(|check| check.due(key, &settings)));
            let next = due.min().map(|due| due.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = self.store.keys_changed() => {}
                () = self.reloaded.notified() => checks.clear(),
                () = tokio::time::sleep(next.unwrap_or(pause).min(pause)) => {}
            }
        }
    }

    /// Asks about every key whose time has come.
    async fn check_due(&self, keys: &mut [WatchedKey], checks: &mut Checks) {
        let settings = self.settings.load_full();
        let now = Instant::now();
        let due: Vec<(usize, WatchedKey)> = keys
            .iter()
            .enumerate()
            .filter(|(_, key)| checks.get(&name(key)).is_none_or(|check| check.due(key, &settings) <= now))
            .map(|(at, key)| (at, key.clone()))
            .collect();
        let asked = due.into_iter().map(|(at, key)| {
            let resolver = &settings.resolver;
            async move {
                let found =
                    dkim::look(resolver, &key.domain, &key.selector, key.algorithm, &key.public_key).await;
                (at, key, found)
            }
        });
        let mut answers = futures_util::stream::iter(asked).buffer_unordered(AT_ONCE);
        while let Some((at, key, found)) = answers.next().await {
            let check = checks.entry(name(&key)).or_insert_with(|| Check {
                public_key: String::new(),
                state: key.state,
                asked: now,
                saw: None,
                said: None,
            });
            check.public_key.clone_from(&key.public_key);
            check.state = key.state;
            check.asked = Instant::now();
            check.saw = None;
            match found {
                Lookup::Found(finding) => {
                    self.metrics.checked(finding.answer);
                    self.take_over(&key, &finding, check).await;
                    check.saw = Some(finding.answer);
                    keys[at].dns = finding.answer;
                }
                Lookup::None => {}
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                    self.metrics.checked(DnsAnswer::Unknown);
                    check.say(format!("{why}; what it last said counts ({})", key.dns), |what| {
                        warn!(domain = %key.domain, selector = %key.selector, state = %key.state, "{what}");
                    });
                }
            }
        }
    }

    /// What DNS says counts from now on, and is said once in the log.
    async fn take_over(&self, key: &WatchedKey, finding: &Finding, check: &mut Check) {
        match self.store.record_dns(key, finding.answer, &finding.detail).await {
            Lookup::Found(()) | Lookup::None => {}
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                debug!(domain = %key.domain, selector = %key.selector, "what DNS says of this key counts on this host only: {why}");
            }
        }
        let (domain, selector) = (&key.domain, &key.selector);
        match (key.state, finding.is_shown()) {
            (KeyState::Active, false) => {
                let what = format!(
                    "DNS does not show this key ({}): mail of {domain} is not signed with it; publish what `gatepost dkim dns {domain} {selector}` prints",
                    finding.detail
                );
                check.say(what, |what| error!(%domain, %selector, "{what}"));
            }
            (KeyState::Active, true) if key.dns != DnsAnswer::Shown => {
                check.said = None;
                info!(%domain, %selector, "DNS shows this key: it signs");
            }
            (KeyState::New, true) => info!(
                %domain,
                %selector,
                "DNS shows this new key: published; `gatepost dkim activate {domain} {selector}` lets it sign"
            ),
            _ => {}
        }
        if finding.is_shown() && !finding.warnings.is_empty() {
            check.say(
                finding.warnings.join("; "),
                |what| warn!(%domain, %selector, "the DNS record of this key: {what}"),
            );
        }
    }
}

impl Settings {
    fn new(dns: &config::Dns, dkim: &config::Dkim) -> Result<Self, SetupError> {
        let resolver = Resolver::new(&config::Dns { cache_entries: 0, ..dns.clone() })?;
        Ok(Self { resolver, every: dkim.check_every.0 })
    }
}

impl Check {
    /// When the key is asked about again.
    fn due(&self, key: &WatchedKey, settings: &Settings) -> Instant {
        let active = key.state == KeyState::Active;
        let another = self.public_key != key.public_key || (active && self.state != key.state);
        // Somebody else saw the record gone after we saw it there.
        let lost = active && key.dns != DnsAnswer::Shown && self.saw == Some(DnsAnswer::Shown);
        if another || lost {
            return self.asked;
        }
        self.asked
            + match (self.saw, key.dns) {
                (Some(_), DnsAnswer::Shown) => settings.every,
                (Some(_), _) if !active => settings.every.min(NEW_RETRY),
                _ => settings.every.min(ACTIVE_RETRY),
            }
    }

    /// Says a thing once an hour, or when it is another thing than the last time.
    fn say(&mut self, what: String, say: impl FnOnce(&str)) {
        if self.said.as_ref().is_none_or(|(said, when)| *said != what || when.elapsed() >= SAID_AGAIN) {
            say(&what);
            self.said = Some((what, Instant::now()));
        }
    }
}

fn name(key: &WatchedKey) -> (Domain, String) {
    (key.domain.clone(), key.selector.clone())
}

/// What is counted.
struct Metrics {
    keys: Family<State, Gauge>,
    checks: Family<Answer, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    answer: &'static str,
}

impl Metrics {
    fn new(registry: &gatepost::telemetry::Metrics) -> Self {
        let metrics = Self { keys: Family::default(), checks: Family::default() };
        registry.register(|registry| {
            registry.register(
                "signing_keys",
                "Signing keys: active ones that sign, active ones withheld because DNS does not show them, and those that wait",
                metrics.keys.clone(),
            );
            registry.register(
                "signing_key_checks",
                "Questions to DNS about signing keys, by answer",
                metrics.checks.clone(),
            );
        });
        metrics
    }

    fn count(&self, keys: &[WatchedKey]) {
        let state = |key: &WatchedKey| match (key.state, key.dns) {
            (KeyState::Active, DnsAnswer::Shown) => "signing",
            (KeyState::Active, _) => "withheld",
            _ => "waiting",
        };
        for one in ["signing", "withheld", "waiting"] {
            let number = keys.iter().filter(|key| state(key) == one).count();
            self.keys.get_or_create(&State { state: one }).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }

    fn checked(&self, answer: DnsAnswer) {
        let answer = match answer {
            DnsAnswer::Unknown => "unavailable",
            DnsAnswer::Shown => "shown",
            DnsAnswer::Missing => "missing",
            DnsAnswer::Different => "different",
        };
        self.checks.get_or_create(&Answer { answer }).inc();
    }
}

/// How many questions are under way at once.
const AT_ONCE: usize = 8;
/// How soon an active key that does not sign, or of which DNS cannot say, is asked about again: its mail leaves unsigned meanwhile.
const ACTIVE_RETRY: Duration = Duration::from_secs(60);
/// The same for a key that waits to be published.
const NEW_RETRY: Duration = Duration::from_secs(300);
/// How often the table is read where changes are not announced.
const POLL: Duration = Duration::from_secs(5);
/// Never longer, whatever is due.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// How often the same trouble is said again.
const SAID_AGAIN: Duration = Duration::from_secs(3600);
