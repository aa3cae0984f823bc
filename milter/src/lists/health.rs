//! Which lists are believed. One state for each list in the process; a reload keeps it.
//!
//! A list is tried (RFC 5782, 5) before its first answer counts, and once an hour after that, beside the questions about a message. One that
//! refuses to answer this resolver, or that lists what nothing may list, is off: it is not asked, its answers do not count, the operator is
//! told, and after [`REST`] it is tried again. A list that does not answer keeps the state it has.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::dns::lists::Condition;
use gatepost::telemetry::Metrics as Registry;
use tracing::{debug, info, warn};

use super::counts::{Counts, Tally};
use super::presets::List;

/// What is known of the lists.
#[derive(Debug, Default)]
pub struct Health {
    states: Mutex<HashMap<&'static str, State>>,
    counts: Counts,
}

#[derive(Debug)]
struct State {
    standing: Standing,
    until: Instant,
    said: Option<&'static str>,
}

/// What becomes of a list for one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is believed.
    Well,
    /// It must be tried first.
    Due,
    /// It is not asked.
    Off,
}

impl Health {
    /// Nothing is known yet; what is counted is shown among the metrics of the process.
    pub fn counted(registry: &Registry) -> Self {
        Self { counts: Counts::registered(registry), ..Self::default() }
    }

    /// Nothing is known any more, because another resolver may be served otherwise; what is counted goes on.
    #[must_use]
    pub fn forgotten(&self) -> Self {
        for name in self.states.lock().unwrap_or_else(PoisonError::into_inner).keys() {
            self.counts.set_off(name, false);
        }
        Self { counts: self.counts.clone(), ..Self::default() }
    }

    /// The counters of a list.
    pub fn tally(&self, list: &List) -> Tally {
        self.counts.of(list)
    }

    /// Whether a list may be asked now.
    pub fn standing(&self, list: &List) -> Standing {
        let states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        match states.get(list.name) {
            Some(state) if state.until > Instant::now() => state.standing,
            _ => Standing::Due,
        }
    }

    /// Takes note of a trial, and says in the log what is new; whether the list is believed.
    pub fn tried(&self, list: &List, condition: Condition) -> bool {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        let before = states.remove(list.name);
        let said = before.as_ref().and_then(|state| state.said);
        let (standing, pause, what) = match condition {
            Condition::Well => (Standing::Well, TRIAL, None),
            Condition::LacksEntry => (
                Standing::Well,
                TRIAL,
                Some(
                    "the list does not hold its test entry; is it still there, and does this resolver reach it?",
                ),
            ),
            Condition::Refuses => (Standing::Off, REST, Some(REFUSES)),
            Condition::ListsEverything => (
                Standing::Off,
                REST,
                Some(
                    "the list holds what no list may hold, so it lists everything; it is off and tried again in an hour",
                ),
            ),
            Condition::Silent => {
                let standing = before.as_ref().map_or(Standing::Due, |state| state.standing);
                debug!(list = list.name, "a list cannot be tried now");
                (standing, PATIENCE, said)
            }
        };
        match what {
            Some(what) if said != Some(what) => warn!(list = list.name, "{what}"),
            None if said.is_some() => info!(list = list.name, "the list is well again"),
            _ => {}
        }
        self.counts.set_off(list.name, standing == Standing::Off);
        states.insert(list.name, State { standing, until: Instant::now() + pause, said: what });
        standing == Standing::Well
    }
}

const REFUSES: &str = "the list refuses to answer this resolver: a public one, or too many questions; it is off and tried again in an hour. \
    Use a resolver of your own in [dns], get a key, or name the list in milter.lists.off";

/// How often a list that is well is tried.
const TRIAL: Duration = Duration::from_secs(3600);
/// How long a list is left alone.
const REST: Duration = Duration::from_secs(3600);
/// After how long a list that did not answer is tried again.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::lists::presets::SURBL;

    #[test]
    fn a_list_is_tried_switched_off_and_back() {
        let health = Health::default();
        assert_eq!(health.standing(&SURBL), Standing::Due);
        assert!(!health.tried(&SURBL, Condition::Silent), "not believed before it was seen");
        assert_eq!(health.standing(&SURBL), Standing::Due);
        assert!(health.tried(&SURBL, Condition::Well));
        assert_eq!(health.standing(&SURBL), Standing::Well);
        assert!(health.tried(&SURBL, Condition::Silent), "silence changes nothing");
        assert!(!health.tried(&SURBL, Condition::ListsEverything));
        assert_eq!(health.standing(&SURBL), Standing::Off);
        assert!(!health.tried(&SURBL, Condition::Silent));
        assert_eq!(health.standing(&SURBL), Standing::Off);
        assert!(!health.tried(&SURBL, Condition::Refuses));
        assert!(health.tried(&SURBL, Condition::LacksEntry), "a missing entry is said, and no more");
    }
}
