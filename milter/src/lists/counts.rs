//! What is counted of each list: questions, listings, failures, and whether it is off now. For `health`, which is the process's.
//!
//! The labels are the names of the lists, so their number is bounded. Trials (RFC 5782, 5) are not counted: they say nothing of mail.

use gatepost::telemetry::Metrics as Registry;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::presets::List;

/// The metrics of all lists. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    asked: Family<Label, Counter>,
    listed: Family<Label, Counter>,
    failed: Family<Label, Counter>,
    off: Family<Label, Gauge>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Label {
    list: &'static str,
}

/// The counters of one list, looked up once.
#[derive(Clone, Debug)]
pub struct Tally {
    /// Questions about mail.
    pub asked: Counter,
    /// Those whose answer was a finding.
    pub listed: Counter,
    /// Those without an answer, or without one in time.
    pub failed: Counter,
}

impl Counts {
    /// Counts that the process shows.
    pub fn registered(registry: &Registry) -> Self {
        let counts = Self::default();
        registry.register(|registry| {
            registry.register("list_questions", "Questions to each list in DNS", counts.asked.clone());
            registry.register("list_findings", "Those that found something listed", counts.listed.clone());
            registry.register("list_failures", "Those that were not answered in time", counts.failed.clone());
            registry.register(
                "list_off",
                "1 while a list is off because it refuses this resolver or lists everything",
                counts.off.clone(),
            );
        });
        counts
    }

    /// The counters of a list; from here on they are shown, with 0 at first.
    pub fn of(&self, list: &List) -> Tally {
        let label = Label { list: list.name };
        // Shown as 0 from the first.
        let _ = self.off.get_or_create(&label);
        Tally {
            asked: self.asked.get_or_create(&label).clone(),
            listed: self.listed.get_or_create(&label).clone(),
            failed: self.failed.get_or_create(&label).clone(),
        }
    }

    /// Takes note of whether a list is off.
    pub fn set_off(&self, name: &'static str, off: bool) {
        self.off.get_or_create(&Label { list: name }).set(i64::from(off));
    }
}
