//! `sender-login`: who has logged in sends only as what is his, as Postfix's `reject_sender_login_mismatch` with the map `senders`.
//!
//! Belongs into `smtpd_sender_restrictions`; judges in the states MAIL to END-OF-MESSAGE. The null sender is everybody's, since whoever
//! answers automatically needs it. Without a login it has no opinion unless `unauthenticated` asks for it: then nobody from outside may send
//! as an address that is hosted here, which refuses lists and forwarders that keep the sender.

use gatepost::directory::{Lookup, Recipient, Trace};
use gatepost::mail::{Address, SmtpReply};
use serde::Deserialize;

use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const SENDER_LOGIN: Check = Check {
    name: "sender-login",
    restrictions: "smtpd_sender_restrictions",
    summary: "who has logged in sends only as what is his",
    cannot_say: CannotSay::Defer,
    judge,
};

/// `[postfix-policy.sender-login]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether an address that is hosted here may only be used after a login.
    pub unauthenticated: bool,
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        let known = matches!(request.state, State::Mail | State::Rcpt | State::Data | State::EndOfMessage);
        if !known || request.sender.is_empty() {
            return Lookup::None;
        }
        let without = request.login.is_empty();
        if without && (!circumstances.config.sender_login.unauthenticated || circumstances.is_ours(request)) {
            return Lookup::None;
        }
        let Some(sender) = Recipient::parse(&request.sender) else {
            // "alice" without a domain: Postfix completes it after this question, and nobody owns what is no address.
            return if without { Lookup::None } else { Lookup::Found(refuse("not owned by user", request)) };
        };
        // The same as the map `senders` asks, by the same settings.
        let directory = &circumstances.sources.directory;
        let settings = &circumstances.config.addresses;
        let (extensions, shared) = (settings.extensions(directory), settings.shared_mailboxes_may_send);
        let owners = directory.may_send(&sender, extensions, shared, &mut Trace::default()).await;
        if without {
            return match owners {
                Lookup::Found(_) => Lookup::Found(refuse("not logged in", request)),
                other => other.map(|_| Action::Dunno),
            };
        }
        let login = Address::parse(&request.login).ok();
        match owners {
            Lookup::Found(owners) if login.is_some_and(|login| owners.contains(&login)) => Lookup::None,
            Lookup::Found(_) | Lookup::None => Lookup::Found(refuse("not owned by user", request)),
            Lookup::Unavailable(why) => Lookup::Unavailable(why),
            Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
        }
    })
}

/// Postfix's own words for the same (smtpd_check.c, reject_auth_sender_login_mismatch).
fn refuse(what: &str, request: &Request) -> Action {
    let login = if request.login.is_empty() { String::new() } else { format!(" {}", request.login) };
    Action::Refuse(SmtpReply::new(553, "5.7.1", format!("Sender address rejected: {what}{login}")))
}
