//! `rate-limit`: how much may one login send within a span of time? So that a stolen password cannot empty a spammer's list over
//! this server before somebody notices.
//!
//! Belongs into `smtpd_data_restrictions` (or `smtpd_end_of_data_restrictions`): only there Postfix tells the number of recipients. In
//! another state, and without a login, it has no opinion. A message is counted once, by its `instance`, however often and
//! from however many lists Postfix asks about it; the count stands in schema `gatepost` and is shared by all hosts. A message that is refused
//! is not counted, so that a client which tries again does not lock itself out.
//!
//! The first limit is one login's within a sliding window; `more` are leaky buckets of a login, a domain or a client address, which
//! cost the same however much was sent. All are counted in one round trip, and two messages of one login wait for one another. Limits of
//! single logins, domains and clients stand in `gatepost.sending_limits` (`gatepost limits set`). Refuses to judge what is sent without
//! a login.

use std::time::Duration;

use gatepost::config::Seconds;
use gatepost::database::NO_SCHEMA;
use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::{Exceeded, Limit, Scope, Sending};
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::{CannotSay, Check, Circumstances, Opinion};
use crate::config::Mode;
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const RATE_LIMIT: Check = Check {
    name: "rate-limit",
    restrictions: "smtpd_data_restrictions",
    summary: "messages and recipients per login, domain and client within spans of time, counted for all hosts together",
    cannot_say: CannotSay::Defer,
    judge,
};

/// `[postfix-policy.rate-limit]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
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
    /// Further limits: `[[postfix-policy.rate-limit.more]]`.
    pub more: Vec<More>,
}

/// One of `[[postfix-policy.rate-limit.more]]`: a limit that fills with what is sent and empties evenly.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct More {
    /// Whose messages are counted together: `login`, `domain` or `client` (the address they come from).
    pub per: Scope,
    /// How many messages within `window`, in the long run.
    pub messages: u64,
    /// How many recipients.
    pub recipients: u64,
    /// The span of time.
    pub window: Seconds,
    /// How many of the messages may come at once, and the same part of the recipients; all if not given.
    pub burst: Option<u64>,
}

impl More {
    fn limit(&self) -> Limit {
        #[allow(clippy::cast_precision_loss, reason = "a ratio of two counts")]
        let burst = self.burst.map_or(1.0, |burst| burst as f64 / self.messages.max(1) as f64);
        Limit {
            scope: self.per,
            span: self.window.0,
            messages: self.messages,
            recipients: self.recipients,
            burst: burst.min(1.0),
        }
    }
}

impl Default for Limits {
    /// Enough for a person and a small newsletter, far below what makes a stolen password worth using.
    fn default() -> Self {
        Self {
            messages: 100,
            recipients: 500,
            window: Seconds::new(3600),
            action: Beyond::Defer,
            more: Vec::new(),
        }
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
        for (number, more) in (1..).zip(&self.more) {
            if more.window.0 < SHORTEST_WINDOW || more.window.0 > LONGEST_WINDOW {
                return Err(format!(
                    "window = \"{}\" of rate-limit.more number {number} is out of range, expected 1s to 31d",
                    more.window
                ));
            }
            if self.more.iter().filter(|other| (other.per, other.window) == (more.per, more.window)).count()
                > 1
            {
                return Err(format!(
                    "rate-limit.more has two limits per {} within {}; give them different windows",
                    more.per.word(),
                    more.window
                ));
            }
        }
        Ok(())
    }
}

/// What stands in the way, said for the client: of others' mail no more than that there is much.
fn sentence(exceeded: &Exceeded) -> String {
    match exceeded {
        Exceeded::Locked => "Sending is locked for this login; ask your postmaster".to_owned(),
        Exceeded::Limit { scope, recipients, number, span } => {
            let whose = match scope {
                Scope::Login => "",
                Scope::Domain => " of this domain",
                Scope::Client => " of this address",
            };
            let what = if *recipients { "recipients" } else { "messages" };
            format!("Sending limit{whose} reached: {number} {what} in {}", Seconds(*span))
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
    let Circumstances { sources, config, mode, memory } = circumstances;
    let Some((login, recipients)) = sending(memory, request) else { return Lookup::None };
    let limits = &config.rate_limit;
    let window = Limit {
        scope: Scope::Login,
        span: limits.window.0,
        messages: limits.messages,
        recipients: limits.recipients,
        burst: 1.0,
    };
    let more: Vec<Limit> = limits.more.iter().map(More::limit).collect();
    let message =
        Sending { login: &login, client: request.client_address, instance: &request.instance, recipients };
    let counted = sources.store.count_sending(message, window, &more, mode == Mode::LogOnly).await;
    let sent = match counted.settled() {
        Ok(Some(sent)) => sent,
        Ok(None) => return Lookup::None,
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
    tracing::info!(
        queue_id = %printable(request.queue_id.as_bytes(), 40), %login, recipients, sent_messages = sent.messages, sent_recipients = sent.recipients,
        window = %limits.window, within = sent.exceeded.is_none(), "sending counted"
    );
    match sent.exceeded {
        Some(exceeded) => Lookup::Found(limits.action.action(sentence(&exceeded))),
        None => Lookup::None,
    }
}

/// Whose message a request is about, and to how many recipients, if Postfix tells so in this state.
pub(super) fn sending(memory: &super::Memory, request: &Request) -> Option<(Address, u32)> {
    if !matches!(request.state, State::Data | State::EndOfMessage) || request.login.is_empty() {
        return None;
    }
    let Ok(login) = Address::parse(&request.login) else {
        if memory.odd_login.is_new(&request.login) {
            tracing::warn!(login = %printable(request.login.as_bytes(), 100), "login is no address; not counted");
        }
        return None;
    };
    // Postfix sends the count in both states; whatever sends none has at least one recipient.
    Some((login, request.recipient_count.max(1)))
}

/// Forgets rows that no window needs. Rows of the last day stay for the operator to look at.
async fn clear_away(circumstances: Circumstances<'_>) {
    let keep = circumstances.config.rate_limit.window.0.max(KEPT_AT_LEAST);
    match circumstances.sources.store.forget_sent(keep).await {
        Lookup::Found(rows) => tracing::debug!(rows, "old counts cleared away"),
        Lookup::None => {}
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            tracing::warn!(%why, "old counts not cleared away")
        }
    }
}

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
    fn the_client_hears_whose_limit_and_how_much() {
        let limit = |scope, recipients| {
            sentence(&Exceeded::Limit { scope, recipients, number: 2, span: Duration::from_secs(3600) })
        };
        assert_eq!(limit(Scope::Login, false), "Sending limit reached: 2 messages in 1h");
        assert_eq!(limit(Scope::Domain, true), "Sending limit of this domain reached: 2 recipients in 1h");
        assert_eq!(limit(Scope::Client, true), "Sending limit of this address reached: 2 recipients in 1h");
    }

    #[test]
    fn a_burst_is_a_part_of_the_limit() {
        let more = |messages, burst| More {
            per: Scope::Domain,
            messages,
            recipients: 10,
            window: Seconds::new(60),
            burst,
        };
        assert!((more(100, Some(20)).limit().burst - 0.2).abs() < 1e-9);
        assert!((more(100, None).limit().burst - 1.0).abs() < 1e-9);
        assert!((more(10, Some(20)).limit().burst - 1.0).abs() < 1e-9);
        assert!(more(0, Some(0)).limit().burst.abs() < 1e-9);
    }

    #[test]
    fn the_action_is_the_configured_one() {
        assert_eq!(Beyond::Defer.action("x".into()).text(), "DEFER_IF_PERMIT 4.7.1 x");
        assert_eq!(Beyond::Reject.action("x".into()).text(), "554 5.7.1 x");
    }
}
