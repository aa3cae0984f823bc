//! A sentence for the operator that is said when its cause appears, not at every request that meets it.
//!
//! For `service` and `checks`. Postfix asks thousands of times a minute; a missing table must not fill the log with one line each.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Remembers what was said last.
#[derive(Debug, Default)]
pub struct Notice(Mutex<Option<String>>);

impl Notice {
    /// Whether to say `text` now: it is not what was said last.
    pub fn is_new(&self, text: &str) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.as_deref() == Some(text) {
            return false;
        }
        *said = Some(text.to_owned());
        true
    }

    /// The cause has gone; the next time counts as new. Says whether there was one.
    pub fn clear(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

/// Sentences about peers, each said at most once a minute: ten thousand connections of one fault are one line, and how many came since is
/// in the next.
#[derive(Debug, Default)]
pub(crate) struct Seldom(Mutex<Vec<Said>>);

#[derive(Debug)]
struct Said {
    text: String,
    at: Instant,
    since: u64,
}

impl Seldom {
    /// How many times `text` was kept back since it was last said, if it may be said now.
    pub(crate) fn may_say(&self, text: &str) -> Option<u64> {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = said.iter_mut().find(|known| known.text == text) {
            if known.at.elapsed() < MINUTE {
                known.since += 1;
                return None;
            }
            known.at = Instant::now();
            return Some(std::mem::take(&mut known.since));
        }
        if said.len() >= MAX_SENTENCES {
            said.remove(0);
        }
        said.push(Said { text: text.to_owned(), at: Instant::now(), since: 0 });
        Some(0)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
/// Faults are of few kinds; more sentences than this are a mistake of ours, and then the oldest is forgotten.
const MAX_SENTENCES: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_sentence_is_said_once_until_its_cause_has_gone() {
        let notice = Notice::default();
        assert!(notice.is_new("no table"));
        assert!(!notice.is_new("no table"));
        assert!(notice.is_new("no role"));
        assert!(notice.clear());
        assert!(!notice.clear());
        assert!(notice.is_new("no role"));
    }

    #[test]
    fn a_fault_of_many_peers_is_one_line() {
        let seldom = Seldom::default();
        assert_eq!(seldom.may_say("bad netstring"), Some(0));
        assert_eq!(seldom.may_say("bad netstring"), None);
        assert_eq!(seldom.may_say("too long"), Some(0));
        for number in 0..100 {
            assert_eq!(seldom.may_say(&number.to_string()), Some(0));
        }
        assert_eq!(seldom.0.lock().unwrap().len(), MAX_SENTENCES);
    }
}
