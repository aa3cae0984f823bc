//! `[milter.history]`.

use gatepost::config::Seconds;
use serde::Deserialize;

/// `[milter.history]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether decisions are recorded in the database, for `gatepost history`, `why` and `stats`.
    pub record: bool,
    /// How long they are kept.
    pub keep: Seconds,
    /// Whether the subject is recorded too: without it fewer questions of users can be answered, and less is known of their mail.
    pub subject: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { record: true, keep: Seconds::new(30 * 86_400), subject: true }
    }
}

impl Settings {
    /// What is out of bounds, for `Section::validate`.
    pub fn validate(&self) -> Result<(), String> {
        if self.keep.0 < Seconds::new(3600).0 {
            return Err(
                "`history.keep` must be at least 1h; `history.record = false` keeps nothing".to_owned()
            );
        }
        Ok(())
    }
}
