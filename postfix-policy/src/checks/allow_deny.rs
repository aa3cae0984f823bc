//! `allow-deny`: the operator's lists in `gatepost.access_rules`, the same that the milter reads (`gatepost allow|deny …`).
//!
//! Belongs to the front of a list in `smtpd_recipient_restrictions`; judges in every state by what Postfix tells there. The narrowest scope
//! decides (an address, a domain, everybody), allow before deny within one. *Allow* lets the checks that follow on this endpoint be skipped;
//! it never answers `OK`, which would open the relay, and the milter decides for itself. Names count as far as they are proven here: a
//! sender is what the client says, so deny by sender and allow by network or by confirmed name.

use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::access::{Access, Known};
use gatepost::telemetry::printable;

use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const ALLOW_DENY: Check = Check {
    name: "allow-deny",
    restrictions: "smtpd_recipient_restrictions",
    summary: "the lists of gatepost.access_rules: allow ends the list of checks, deny and defer refuse",
    cannot_say: CannotSay::Defer,
    judge,
};

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        if request.state == State::Other {
            return Lookup::None;
        }
        let store = &circumstances.sources.store;
        let rules = match store.access_rules().await.settled() {
            Ok(Some(rules)) => rules,
            Ok(None) => return Lookup::None,
            Err(failure) => return failure,
        };
        if rules.is_empty() {
            return Lookup::None;
        }
        let delimiters = circumstances.sources.directory.extension_delimiters();
        let sender = Address::parse(&request.sender).ok();
        let recipient = Address::parse(&request.recipient).ok();
        let recipient =
            recipient.map(|whole| whole.strip_extension(delimiters).map_or(whole, |(base, _)| base));
        let known = Known {
            client: request.client_address,
            client_name: &request.client_name,
            helo: &request.helo_name,
            sender: sender.as_ref(),
            recipient: recipient.as_ref(),
            login: &request.login,
        };
        let Some((rule, what)) = rules.matching(&known, &[Access::Allow, Access::Deny, Access::Defer]) else {
            return Lookup::None;
        };
        tracing::info!(
            queue_id = %printable(request.queue_id.as_bytes(), 40), rule = ?rule.access, what = %printable(what.as_bytes(), 320), scope = %rule.scope,
            "access rule"
        );
        // Why stands in the log; the client learns only that it is a decision, and whom to ask.
        let text = "Access denied by a rule of this site; ask its postmaster";
        Lookup::Found(match rule.access {
            Access::Allow | Access::NoGreylist => Action::Pass,
            Access::Deny => Action::Refuse(SmtpReply::new(554, "5.7.1", text)),
            Access::Defer => Action::DeferIfPermit(SmtpReply::new(450, "4.7.1", text)),
        })
    })
}
