//! `rate-limit`: how much may one login send within a span of time? So that a stolen password cannot empty a spammer's list over
//! this server before somebody notices.
//!
//! Belongs into `smtpd_data_restrictions` (or `smtpd_end_of_data_restrictions`): only there Postfix tells the number of recipients. In
//! another state, and without a login, it has no opinion. A message is counted once, by its `instance`, however often and
//! from however many lists Postfix asks about it; the count stands in `gatepost.sent` and is shared by all hosts. A message that is refused
//! is taken back from the count, so that a client which tries again does not lock itself out.
//!
//! Limits: two messages at the same instant do not see each other, so a login may pass a limit by as many messages as it sends at
//! once. Refuses to judge what is sent without a login.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use gatepost::config::Seconds;
use gatepost::database::NO_SCHEMA;
use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::Sent;
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::{Check, Circumstances, Opinion};
use crate::config::Mode;
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const RATE_LIMIT: Check = Check {
    name: "rate-limit",
    restrictions: "smtpd_data_restrictions",
    summary: "messages and recipients per login within a span of time, counted for all hosts together",
    judge,
};

/// `[postfix-policy.rate-limit]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// How many messages a login may send within `window`.
    pub messages: u64,
    /// How many recipients these may have together.
    pub recipients: u64,
    /// The span of time; it slides. The same on all hosts that share a database.
    pub window: Seconds,
    /// What happens beyond a limit: `defer` (450, the client may try again later) or `reject` (554).
    pub action: Beyond,
}

impl Default for Limits {
    /// Enough for a person and a small newsletter, far below what makes a stolen password worth using.
    fn default() -> Self {
        Self { messages: 100, recipients: 500, window: Seconds::new(3600), action: Beyond::Defer }
    }
}

/// What happens beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beyond {
    /// Refused for now.
    Defer,
    /// Refused for good.
    Reject,
}

impl Limits {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.window.0 < SHORTEST_WINDOW || self.window.0 > LONGEST_WINDOW {
            return Err(format!(
                "rate-limit.window = \"{}\" is out of range, expected 1s to 31d",
                self.window
            ));
        }
        Ok(())
    }

    /// The limit that `sent` is beyond, said for the client.
    fn exceeded(&self, sent: Sent) -> Option<String> {
        let Self { messages, recipients, window, .. } = self;
        if sent.messages > *messages {
            Some(format!("Sending limit reached: {messages} messages in {window}"))
        } else if sent.recipients > *recipients {
            Some(format!("Sending limit reached: {recipients} recipients in {window}"))
        } else {
            None
        }
    }
}

impl Beyond {
    fn action(self, text: String) -> Action {
        match self {
            Self::Defer => Action::DeferIfPermit(SmtpReply::new(450, "4.7.1", text)),
            Self::Reject => Action::Refuse(SmtpReply::new(554, "5.7.1", text)),
        }
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(count(circumstances, request))
}

async fn count(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let Circumstances { store, config, mode, memory } = circumstances;
    if !matches!(request.state, State::Data | State::EndOfMessage) || request.login.is_empty() {
        return Lookup::None;
    }
    let Ok(login) = Address::parse(&request.login) else {
        if memory.odd_login.is_new(&request.login) {
            tracing::warn!(login = %printable(request.login.as_bytes(), 100), "login is no address; not counted");
        }
        return Lookup::None;
    };
    let limits = &config.rate_limit;
    // Postfix sends the count in both states; whatever sends none has at least one recipient.
    let recipients = request.recipient_count.max(1);
    let sent = match store.count_sent(&login, limits.window.0, recipients, &request.instance).await.settled()
    {
        Ok(sent) => sent.unwrap_or_default(),
        Err(Lookup::Misconfigured(why)) if why == NO_SCHEMA => {
            if memory.rate_limit_off.is_new(&why) {
                tracing::warn!(check = RATE_LIMIT.name, %why, "check is off");
            }
            return Lookup::None;
        }
        Err(failure) => return failure,
    };
    if memory.rate_limit_off.clear() {
        tracing::info!(check = RATE_LIMIT.name, "check is on");
    }
    if memory.cleared.is_due() {
        clear_away(circumstances).await;
    }
    let exceeded = limits.exceeded(sent);
    tracing::info!(
        queue_id = %printable(request.queue_id.as_bytes(), 40), %login, recipients, sent_messages = sent.messages, sent_recipients = sent.recipients,
        window = %limits.window, within = exceeded.is_none(), "sending counted"
    );
    let Some(text) = exceeded else { return Lookup::None };
    if mode == Mode::Enforce
        && let Lookup::Unavailable(why) | Lookup::Misconfigured(why) =
            store.uncount_sent(&login, &request.instance).await
    {
        tracing::warn!(%login, %why, "a refused message stays counted");
    }
    Lookup::Found(limits.action.action(text))
}

/// Forgets rows that no window needs. Rows of the last day stay for the operator to look at.
async fn clear_away(circumstances: Circumstances<'_>) {
    let keep = circumstances.config.rate_limit.window.0.max(KEPT_AT_LEAST);
    match circumstances.store.forget_sent(keep).await {
        Lookup::Found(rows) => tracing::debug!(rows, "old counts cleared away"),
        Lookup::None => {}
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            tracing::warn!(%why, "old counts not cleared away")
        }
    }
}

/// When old rows were last cleared away by this process.
#[derive(Debug, Default)]
pub struct Clearing(Mutex<Option<Instant>>);

impl Clearing {
    /// Whether it is time; whoever hears so does it. Several hosts do it several times, which costs one look at an index.
    fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= CLEARING);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// How often old rows are cleared away: some hundred rows each time on a busy host.
const CLEARING: Duration = Duration::from_secs(600);
/// How long a row stays at the least.
const KEPT_AT_LEAST: Duration = Duration::from_secs(86_400);
/// Below a second nothing is a rate.
const SHORTEST_WINDOW: Duration = Duration::from_secs(1);
/// A month's count; each count sums over all rows of the login in it.
const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 86_400);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_limit_is_the_last_that_passes() {
        let limits = Limits { messages: 2, recipients: 5, ..Limits::default() };
        let exceeded = |messages, recipients| limits.exceeded(Sent { messages, recipients });
        assert_eq!(exceeded(2, 5), None);
        assert_eq!(exceeded(3, 3).as_deref(), Some("Sending limit reached: 2 messages in 1h"));
        assert_eq!(exceeded(1, 6).as_deref(), Some("Sending limit reached: 5 recipients in 1h"));
        let none = Limits { messages: 0, ..limits.clone() };
        assert!(none.exceeded(Sent { messages: 1, recipients: 1 }).is_some());
    }

    #[test]
    fn the_action_is_the_configured_one() {
        assert_eq!(Beyond::Defer.action("x".into()).text(), "DEFER_IF_PERMIT 4.7.1 x");
        assert_eq!(Beyond::Reject.action("x".into()).text(), "554 5.7.1 x");
    }

    #[test]
    fn clearing_is_due_at_first_and_then_not_for_a_while() {
        let clearing = Clearing::default();
        assert!(clearing.is_due());
        assert!(!clearing.is_due());
    }
}
