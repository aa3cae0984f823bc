//! For whom a message is, as far as the operator's lists care.
//!
//! For [`Lists`](super::Lists), which holds thousands of rows about a sender, most of them of other people.

use std::collections::HashSet;

use super::{Kind, ListRule, Scope};
use crate::mail::Address;

/// For whom a message is: rows about others match nothing, and take no room from those about these.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    scopes: HashSet<Scope>,
    /// Addresses, and domains as `@example.com`.
    recipients: HashSet<String>,
}

impl Audience {
    /// Adds mail that came for `recipient` and goes to `mailbox`.
    pub fn add(&mut self, recipient: &Address, mailbox: &Address) {
        self.scopes.insert(Scope::Domain(mailbox.domain().as_str().to_owned()));
        self.scopes.insert(Scope::Mailbox(mailbox.to_string()));
        self.recipients.insert(format!("@{}", recipient.domain()));
        self.recipients.extend([recipient.to_string(), mailbox.to_string()]);
    }

    /// Whether a row may count for one of them.
    pub(super) fn concerns(&self, rule: &ListRule) -> bool {
        (rule.scope == Scope::All || self.scopes.contains(&rule.scope))
            && (rule.kind != Kind::Recipient || self.recipients.contains(&rule.value))
    }

    /// How many mailboxes and domains of them there are.
    pub(super) fn scopes(&self) -> usize {
        self.scopes.len()
    }
}
