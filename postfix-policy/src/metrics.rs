//! The daemon's counters, all made at start, so that a scraper sees every series from the beginning and a lookup only adds one.

use gatepost::directory::Lookup;
use gatepost::telemetry::Metrics;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::checks::CHECKS;
use crate::maps::MAPS;
use crate::protocol::policy::Action;

/// Every counter.
#[derive(Debug)]
pub(crate) struct Counters {
    lookups: Vec<[Counter; RESULTS.len()]>,
    unknown_map: Counter,
    requests: Family<[(&'static str, &'static str); 2], Counter>,
}

impl Counters {
    /// Registers them.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let lookups = Family::<[(&'static str, &'static str); 2], Counter>::default();
        let of = |map, result| lookups.get_or_create(&[("map", map), ("result", result)]).clone();
        let counters = Self {
            lookups: MAPS.iter().map(|map| RESULTS.map(|result| of(map.name, result))).collect(),
            unknown_map: of("unknown", "misconfigured"),
            requests: Family::default(),
        };
        for check in CHECKS {
            for action in Action::WORDS.into_iter().chain(["unavailable", "misconfigured"]) {
                let _ = counters.requests.get_or_create(&[("check", check.name), ("action", action)]);
            }
        }
        metrics.register(|registry| {
            registry.register("lookups", "Socketmap lookups by map and result", lookups);
            registry.register(
                "requests",
                "Policy requests by check and action; a check in mode log-only counts too",
                counters.requests.clone(),
            );
        });
        counters
    }

    /// One lookup in the map at that place of [`MAPS`].
    pub(crate) fn lookup<T>(&self, map: usize, answer: &Lookup<T>) {
        let result = match answer {
            Lookup::Found(_) => 0,
            Lookup::None => 1,
            Lookup::Unavailable(_) => 2,
            Lookup::Misconfigured(_) => 3,
        };
        if let Some(counters) = self.lookups.get(map) {
            counters[result].inc();
        }
    }

    /// One lookup in a map that does not exist.
    pub(crate) fn unknown_map(&self) {
        self.unknown_map.inc();
    }

    /// One opinion of a check.
    pub(crate) fn request(&self, check: &'static str, action: &'static str) {
        self.requests.get_or_create(&[("check", check), ("action", action)]).inc();
    }
}

/// The label's values, in the order of [`Lookup`].
const RESULTS: [&str; 4] = ["found", "none", "unavailable", "misconfigured"];
