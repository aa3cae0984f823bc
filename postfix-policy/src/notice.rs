//! A sentence for the operator that is said when its cause appears, not at every request that meets it.
//!
//! For `service` and `checks`. Postfix asks thousands of times a minute; a missing table must not fill the log with one line each.

use std::sync::{Mutex, PoisonError};

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

#[cfg(test)]
mod tests {
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
}
