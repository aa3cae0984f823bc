//! What the milter counts: messages by direction and action, how long deciding took, what DNS could not answer.
//!
//! For `service`. Labels are words of ours only, never of a message, so their number is bounded.

use gatepost::telemetry::Metrics as Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

/// The metrics of the process.
#[derive(Clone)]
pub struct Metrics {
    messages: Family<Labels, Counter>,
    seconds: Histogram,
    dns_failures: Counter,
    signatures: Counter,
    seals: Family<SealLabels, Counter>,
    dmarc: Family<DmarcLabels, Counter>,
    observations_dropped: Counter,
    events_dropped: Counter,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    direction: &'static str,
    action: &'static str,
}

/// Words of RFC 8601 and RFC 9990, and `tempfail`; `reason` is empty where the domain's policy was followed.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DmarcLabels {
    result: &'static str,
    disposition: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct SealLabels {
    validation: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn new(registry: &Registry) -> Self {
        let metrics = Self {
            messages: Family::default(),
            seconds: Histogram::new(BOUNDS),
            dns_failures: Counter::default(),
            signatures: Counter::default(),
            seals: Family::default(),
            dmarc: Family::default(),
            observations_dropped: Counter::default(),
            events_dropped: Counter::default(),
        };
        registry.register(|registry| {
            registry.register(
                "messages",
                "Messages decided, by direction and action",
                metrics.messages.clone(),
            );
            registry.register(
                "decision_seconds",
                "From the end of a message to its decision",
                metrics.seconds.clone(),
            );
            registry.register(
                "dns_failures",
                "Checks that DNS could not answer",
                metrics.dns_failures.clone(),
            );
            registry.register("arc_seals", "ARC sets made, by what they say of the chain", metrics.seals.clone());
            registry.register("signatures", "DKIM signatures made", metrics.signatures.clone());
            registry.register(
                "dmarc",
                "Messages from outside, by DMARC result, what was done, and why that is not the domain's policy",
                metrics.dmarc.clone(),
            );
            registry.register(
                "dmarc_observations_dropped",
                "Messages that aggregate reports will not count, because collecting could not keep up",
                metrics.observations_dropped.clone(),
            );
            registry.register(
                "correspondence_dropped",
                "Messages whose correspondents, score or quarantine was not written down, because writing could not keep up",
                metrics.events_dropped.clone(),
            );
        });
        metrics
    }

    /// One message was decided.
    pub fn decided(&self, direction: &'static str, action: &'static str, seconds: f64) {
        self.messages.get_or_create(&Labels { direction, action }).inc();
        self.seconds.observe(seconds);
    }

    /// DMARC was checked, and this was done.
    pub fn dmarc(&self, result: &'static str, disposition: &'static str, reason: &'static str) {
        self.dmarc.get_or_create(&DmarcLabels { result, disposition, reason }).inc();
    }

    /// An observation had no place to go.
    pub fn observation_dropped(&self) {
        self.observations_dropped.inc();
    }

    /// Something to remember had no place to go.
    pub fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// So many checks had no answer.
    pub fn dns_failures(&self, number: u64) {
        self.dns_failures.inc_by(number);
    }

    /// An ARC set was made, if the chain had not ended.
    pub fn sealed(&self, validation: &'static str, made: bool) {
        if made {
            self.seals.get_or_create(&SealLabels { validation }).inc();
        }
    }

    /// So many signatures were made.
    pub fn signed(&self, number: usize) {
        self.signatures.inc_by(number as u64);
    }
}

/// From a cached decision (a millisecond) to the DNS deadline (8 s) and beyond.
const BOUNDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
