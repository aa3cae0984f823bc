//! The daemon's metrics. Every series of a known label is made at start, so that a scraper sees it from the beginning.

use std::sync::Arc;

use gatepost::directory::Lookup;
use gatepost::directory::account::cost;
use gatepost::password::{Hasher, StoredHash};
use gatepost::telemetry::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::dicts::DICTS;
use crate::guard::Guard;
use crate::verdict;

/// What was hashed, by cost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work(Family<[(&'static str, String); 1], Counter>);

impl Work {
    /// One verification of this hash.
    pub(crate) fn count(&self, hash: &StoredHash) {
        self.0.get_or_create(&[("cost", cost(hash).to_owned())]).inc();
    }

    /// One of whatever cost is usual, for nobody's hash.
    pub(crate) fn count_usual(&self) {
        self.0.get_or_create(&[("cost", "usual".to_owned())]).inc();
    }
}

/// Every counter.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) work: Work,
    logins: Family<[(&'static str, &'static str); 2], Counter>,
    lookups: Family<[(&'static str, &'static str); 2], Counter>,
}

impl Counters {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics, hasher: &Hasher, guard: &Arc<Guard>) -> Self {
        let counters = Self { work: Work::default(), logins: Family::default(), lookups: Family::default() };
        for service in SERVICES {
            for result in verdict::WORDS {
                drop(counters.logins.get_or_create(&[("service", service), ("result", result)]));
            }
        }
        for question in ["user", "pass", "list"].into_iter().chain(DICTS.iter().map(|dict| dict.name)) {
            for result in RESULTS {
                drop(counters.lookups.get_or_create(&[("question", question), ("result", result)]));
            }
        }
        metrics.register(|registry| {
            registry.register("logins", "Logins by service and result", counters.logins.clone());
            registry.register(
                "lookups",
                "Lookups by question or dictionary, and result",
                counters.lookups.clone(),
            );
            registry.register(
                "hashes",
                "Password hashes that were computed, by their cost",
                counters.work.0.clone(),
            );
            registry.register_collector(Box::new(Queue(hasher.clone())));
            registry.register_collector(Box::new(Guarded(Arc::clone(guard))));
        });
        counters
    }

    /// One login; the client's word for the service is one of [`SERVICES`] or `other`.
    pub(crate) fn login(&self, service: &str, result: &'static str) {
        let service = SERVICES.into_iter().find(|known| *known == service).unwrap_or(OTHER);
        self.logins.get_or_create(&[("service", service), ("result", result)]).inc();
    }

    /// One lookup.
    pub(crate) fn lookup<T>(&self, question: &'static str, answer: &Lookup<T>) {
        let result = match answer {
            Lookup::Found(_) => 0,
            Lookup::None => 1,
            Lookup::Unavailable(_) => 2,
            Lookup::Misconfigured(_) => 3,
        };
        self.lookups.get_or_create(&[("question", question), ("result", RESULTS[result])]).inc();
    }

    /// One question that must not be asked.
    pub(crate) fn refused(&self, question: &'static str) {
        self.lookups.get_or_create(&[("question", question), ("result", RESULTS[4])]).inc();
    }
}

/// How many logins wait for the hasher, asked when somebody looks.
#[derive(Debug)]
struct Queue(Hasher);

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let waiting = ConstGauge::new(i64::try_from(self.0.waiting()).unwrap_or(i64::MAX));
        let encoder = encoder.encode_descriptor(
            "logins_waiting",
            "Logins that wait for a free place to be hashed",
            None,
            waiting.metric_type(),
        )?;
        waiting.encode(encoder)
    }
}

/// What is remembered of wrong passwords, and what waits to be written down, asked when somebody looks.
struct Guarded(Arc<Guard>);

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guarded")
    }
}

impl Collector for Guarded {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let (guesses, unwritten) = self.0.figures();
        for (name, help, count) in [
            ("guesses", "Different wrong passwords that are remembered", guesses),
            ("unwritten", "Logins and wrong passwords that wait to be written down", unwritten),
        ] {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            let encoder = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(encoder)?;
        }
        Ok(())
    }
}

/// What Dovecot and Postfix call their services; `ask` is ours.
const SERVICES: [&str; 9] = ["imap", "pop3", "sieve", "submission", "smtp", "lmtp", "doveadm", "ask", OTHER];
const OTHER: &str = "other";
/// In the order of [`Lookup`], then what is refused.
const RESULTS: [&str; 5] = ["found", "none", "unavailable", "misconfigured", "refused"];
