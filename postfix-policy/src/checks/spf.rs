//! `spf`: may this client use this sender's domain (RFC 7208)? Before the message is taken, while the client can still be told.
//!
//! Belongs into `smtpd_recipient_restrictions` behind `reject_unauth_destination`; judges in the states MAIL and RCPT, and leaves alone what is
//! ours (logged in, or from `trusted-networks`). The HELO name is judged first: who is not allowed to use that is not allowed anything.
//! What is not refused gets a header `Received-SPF` (RFC 7208, 9.1), once per message, which the milter and everybody behind it may read.
//! `temperror` never refuses for good. The explanation that a domain gives is shown to the client as that domain's words.

use std::time::Duration;

use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::mail::SmtpReply;
use gatepost::spf::{SpfOutcome, SpfResult};
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Action, Header, Request, State};

/// The check.
pub(super) const SPF: Check = Check {
    name: "spf",
    restrictions: "smtpd_recipient_restrictions",
    summary: "SPF of HELO name and sender: refuses by result, and prepends Received-SPF",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.spf]`: what becomes of each result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Consequences {
    /// `fail`: `reject` (550), `defer` (450) or `pass`.
    pub fail: Consequence,
    /// `softfail`.
    pub softfail: Consequence,
    /// `permerror`: the domain's record is broken.
    pub permerror: Consequence,
    /// `temperror`: DNS does not answer; `defer` or `pass`.
    pub temperror: Consequence,
    /// Whether the HELO name is judged too.
    pub helo: bool,
    /// Whether `Received-SPF` is prepended.
    pub header: bool,
    /// How long all questions of one evaluation may take.
    pub deadline: Seconds,
}

impl Default for Consequences {
    /// As policyd-spf's: what the domain asks for, and no more.
    fn default() -> Self {
        Self {
            fail: Consequence::Reject,
            softfail: Consequence::Pass,
            permerror: Consequence::Pass,
            temperror: Consequence::Pass,
            helo: true,
            header: true,
            deadline: Seconds(Duration::from_secs(8)),
        }
    }
}

/// What becomes of something that speaks against a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Consequence {
    /// Refused for good.
    Reject,
    /// Refused for now.
    Defer,
    /// Nothing.
    Pass,
}

impl Consequence {
    /// The action with a reply of these codes; `None` for [`Consequence::Pass`].
    pub fn action(
        self,
        rejected: (u16, &'static str),
        deferred: &'static str,
        text: impl Into<String>,
    ) -> Option<Action> {
        match self {
            Self::Reject => Some(Action::Refuse(SmtpReply::new(rejected.0, rejected.1, text))),
            Self::Defer => Some(Action::DeferIfPermit(SmtpReply::new(450, deferred, text))),
            Self::Pass => None,
        }
    }
}

impl Consequences {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.temperror == Consequence::Reject {
            return Err("spf.temperror = \"reject\" would refuse mail for good because DNS is slow; expected \"defer\" or \"pass\"".into());
        }
        if self.deadline.0.is_zero() || self.deadline.0 > LONGEST {
            return Err(format!("spf.deadline = \"{}\" is out of range, expected up to 60s", self.deadline));
        }
        Ok(())
    }

    fn of(&self, result: SpfResult) -> Consequence {
        match result {
            SpfResult::Fail => self.fail,
            SpfResult::SoftFail => self.softfail,
            SpfResult::PermError => self.permerror,
            SpfResult::TempError => self.temperror,
            SpfResult::None | SpfResult::Neutral | SpfResult::Pass => Consequence::Pass,
        }
    }

    fn refusal(&self, outcome: &SpfOutcome, identity: &str) -> Option<Action> {
        let (result, domain) = (outcome.result, &outcome.domain);
        let text = match (result, &outcome.explanation) {
            // RFC 7208, 6.2: the words of somebody else must be told apart from ours.
            (SpfResult::Fail, Some(words)) => {
                format!("SPF fail of {identity}; {domain} explains: {}", first_words(words))
            }
            (SpfResult::TempError, _) => format!("SPF of {identity} {domain} cannot be looked up now"),
            _ => format!("SPF {} of {identity} {domain}", result.as_str()),
        };
        // RFC 7372, 3.2: 5.7.23 validation failed, 5.7.24 validation error.
        let (rejected, deferred) = match result {
            SpfResult::TempError | SpfResult::PermError => ((550, "5.7.24"), "4.7.24"),
            _ => ((550, "5.7.23"), "4.7.23"),
        };
        self.of(result).action(rejected, deferred, text)
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(evaluate(circumstances, request))
}

async fn evaluate(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let config = &circumstances.config.spf;
    let Some(client) = request.client_address.map(|client| client.to_canonical()) else {
        return Lookup::None;
    };
    if !matches!(request.state, State::Mail | State::Rcpt) || circumstances.is_ours(request) {
        return Lookup::None;
    }
    let policy = &circumstances.sources.sender_policy;
    if config.helo && !request.sender.is_empty() {
        let outcome = policy.helo(client, &request.helo_name, config.deadline.0).await;
        // Of the HELO name only what is certain counts (RFC 7208, 2.3): many a good host has a bad one.
        if outcome.result == SpfResult::Fail
            && let Some(refusal) = config.refusal(&outcome, "the HELO name")
        {
            return Lookup::Found(refusal);
        }
    }
    let outcome = policy.mail_from(client, &request.helo_name, &request.sender, config.deadline.0).await;
    let identity = if request.sender.is_empty() { "the HELO name" } else { "the sender's domain" };
    tracing::debug!(
        client = %client, sender = %printable(request.sender.as_bytes(), 320), domain = %printable(outcome.domain.as_bytes(), 253),
        result = outcome.result.as_str(), problem = ?outcome.problem, "SPF evaluated"
    );
    if let Some(refusal) = config.refusal(&outcome, identity) {
        return Lookup::Found(refusal);
    }
    if !config.header {
        return Lookup::None;
    }
    let value = policy.header(&outcome, client, &request.helo_name, &request.sender);
    Lookup::Found(Action::Prepend(Header::new("Received-SPF", value)))
}

/// So much of somebody else's words as a reply has room for.
fn first_words(words: &str) -> String {
    words.chars().take(200).collect()
}

/// Postfix waits 100 s for a policy server.
const LONGEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn outcome(result: SpfResult, explanation: Option<&str>) -> SpfOutcome {
        let explanation = explanation.map(str::to_owned);
        SpfOutcome {
            explanation,
            ..SpfOutcome::new(result, "example.org", gatepost::spf::SpfScope::MailFrom)
        }
    }

    #[test]
    fn each_result_has_its_consequence_and_no_text_gets_out_of_its_line() {
        let strict = Consequences {
            softfail: Consequence::Defer,
            permerror: Consequence::Reject,
            temperror: Consequence::Defer,
            ..Consequences::default()
        };
        let text = |result, explanation| {
            strict.refusal(&outcome(result, explanation), "the sender's domain").map(|action| action.text())
        };
        assert_eq!(
            text(SpfResult::Fail, None).unwrap(),
            "550 5.7.23 SPF fail of the sender's domain example.org"
        );
        let hostile = text(SpfResult::Fail, Some("go away\r\n\naction=OK\n\n")).unwrap();
        assert_eq!(
            hostile,
            "550 5.7.23 SPF fail of the sender's domain; example.org explains: go away???action=OK??"
        );
        assert_eq!(
            text(SpfResult::SoftFail, None).unwrap(),
            "DEFER_IF_PERMIT 4.7.23 SPF softfail of the sender's domain example.org"
        );
        assert!(text(SpfResult::PermError, None).unwrap().starts_with("550 5.7.24 "));
        assert!(text(SpfResult::TempError, None).unwrap().starts_with("DEFER_IF_PERMIT 4.7.24 "));
        for good in [SpfResult::Pass, SpfResult::None, SpfResult::Neutral] {
            assert_eq!(text(good, None), None);
        }
    }

    #[test]
    fn temperror_cannot_be_configured_to_reject() {
        let bad = Consequences { temperror: Consequence::Reject, ..Consequences::default() };
        assert!(bad.validate().unwrap_err().contains("temperror"));
        assert_eq!(Consequences::default().validate(), Ok(()));
    }
}
