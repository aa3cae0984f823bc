//! `recipient`: is there a mailbox behind this recipient, and room in it? After aliases, extensions and all: what counts is where the mail
//! would go. Dovecot's quota-status looks at the address as it came, and bounces mail to aliases later, when it cannot be refused any more.
//!
//! Belongs into `smtpd_recipient_restrictions` behind `reject_unauth_destination`; judges recipients in hosted domains in the state RCPT, with the
//! size that MAIL declared, and in DATA and END-OF-MESSAGE where Postfix names the recipient because there is only one. How full a
//! mailbox is stands in `gatepost.quota`, as Dovecot's quota_clone tells it; without a row, or a limit, there is room.

use gatepost::config::ByteSize;
use gatepost::directory::{Lookup, Recipient, Trace};
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::Quota;
use serde::Deserialize;

use super::spf::Consequence;
use super::{CannotSay, Check, Circumstances, Opinion};
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const RECIPIENT: Check = Check {
    name: "recipient",
    restrictions: "smtpd_recipient_restrictions",
    summary: "the mailbox behind a recipient exists and has room, aliases followed",
    cannot_say: CannotSay::Defer,
    judge,
};

/// `[postfix-policy.recipient]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// What becomes of a recipient that does not exist: `reject` (550 5.1.1), `defer` or `pass`.
    pub unknown: Consequence,
    /// What becomes of mail for a full mailbox: `defer` (452 4.2.2, the sender's server tries for days), `reject` (552 5.2.2) or `pass`.
    pub full: Consequence,
    /// How much a mailbox may hold whose limit nobody has told; no limit if not given.
    pub default_quota: Option<ByteSize>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { unknown: Consequence::Reject, full: Consequence::Defer, default_quota: None }
    }
}

impl Settings {
    /// Whether a mailbox has no room for a message of `size` bytes.
    fn is_full(&self, quota: &Quota, size: u64) -> bool {
        let bytes = quota.limit_bytes.or(self.default_quota.map(|size| size.0));
        // A limit of 0 is none, as in Dovecot's quota rules.
        let beyond = |limit: Option<u64>, wanted: u64| limit.is_some_and(|limit| limit > 0 && wanted > limit);
        beyond(bytes, quota.bytes.saturating_add(size.max(1)))
            || beyond(quota.limit_messages, quota.messages.saturating_add(1))
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(look(circumstances, request))
}

async fn look(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let (settings, sources) = (&circumstances.config.recipient, circumstances.sources);
    if !matches!(request.state, State::Rcpt | State::Data | State::EndOfMessage) {
        return Lookup::None;
    }
    // Empty at DATA with several recipients: each was judged at RCPT.
    let Ok(recipient) = Address::parse(&request.recipient) else { return Lookup::None };
    match sources.directory.hosts(recipient.domain()).await.settled() {
        Ok(Some(())) => {}
        Ok(None) => return Lookup::None,
        Err(failure) => return failure,
    }
    let mailboxes = match behind(circumstances, &request.recipient).await.settled() {
        Ok(found) => found,
        Err(failure) => return failure,
    };
    let Some(mailboxes) = mailboxes else {
        let text = format!("User unknown: {recipient}");
        let action = settings.unknown.action((550, "5.1.1"), "4.1.1", text);
        return action.map_or(Lookup::None, Lookup::Found);
    };
    if settings.full == Consequence::Pass {
        return Lookup::None;
    }
    for mailbox in &mailboxes {
        match sources.store.quota(mailbox).await.settled() {
            Ok(Some(quota)) if settings.is_full(&quota, request.size) => {
                return Lookup::Found(refuse_full(settings.full, &recipient));
            }
            Ok(_) => {}
            Err(failure) => return failure,
        }
    }
    Lookup::None
}

/// The mailboxes that mail for a recipient ends in; none of them where an alias leads outside only.
pub(super) async fn behind(circumstances: Circumstances<'_>, recipient: &str) -> Lookup<Vec<Address>> {
    let directory = &circumstances.sources.directory;
    let Some(recipient) = Recipient::parse(recipient) else { return Lookup::None };
    let extensions = circumstances.config.addresses.extensions(directory);
    let route = directory.route(&recipient, extensions, &mut Trace::default()).await;
    route.map(|route| route.mailboxes().cloned().collect())
}

/// RFC 5321, 4.2.3: 452 insufficient system storage, 552 exceeded storage allocation.
fn refuse_full(full: Consequence, recipient: &Address) -> Action {
    let text = format!("The mailbox of {recipient} is full");
    match full {
        Consequence::Reject => Action::Refuse(SmtpReply::new(552, "5.2.2", text)),
        Consequence::Defer | Consequence::Pass => Action::Refuse(SmtpReply::new(452, "4.2.2", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mailbox_is_full_when_the_message_does_not_fit() {
        let settings = Settings::default();
        let quota = Quota { bytes: 90, messages: 1, limit_bytes: Some(100), limit_messages: None };
        assert!(!settings.is_full(&quota, 10));
        assert!(settings.is_full(&quota, 11));
        let exactly = Quota { bytes: 100, ..quota };
        assert!(settings.is_full(&exactly, 0), "no message has no bytes");
        assert!(!settings.is_full(&Quota { limit_bytes: Some(0), ..quota }, 1 << 40), "0 is no limit");
        assert!(!settings.is_full(&Quota { limit_bytes: None, ..quota }, 1 << 40));
        let many = Quota { limit_messages: Some(1), limit_bytes: None, ..quota };
        assert!(settings.is_full(&many, 1));
        let bounded = Settings { default_quota: Some(ByteSize(95)), ..Settings::default() };
        assert!(bounded.is_full(&Quota { limit_bytes: None, ..quota }, 10));
        assert!(!bounded.is_full(&quota, 10), "the mailbox's own limit counts before the default");
    }
}
