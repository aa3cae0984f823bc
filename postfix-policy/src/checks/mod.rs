//! The policy checks: what Postfix may delegate a decision about.
//!
//! A check is one file with one const, and one line in [`CHECKS`]. It judges one request and says what it thinks as a `Lookup` of an
//! action: found = this action, none = no opinion, unavailable and misconfigured = it cannot say. What the latter two come to is a
//! property of each check ([`CannotSay`]): `DEFER_IF_PERMIT` for one that protects somebody, no opinion for one that only helps against spam.
//!
//! A check has no opinion in a state of the SMTP conversation that tells it too little; each file says which those are.

pub mod allow_deny;
pub mod country;
pub mod dnsbl;
pub mod greylist;
pub mod helo;
pub mod rate_limit;
pub mod recipient;
pub mod sender_login;
pub mod spf;
pub mod stolen_login;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::directory::{Directory, Lookup};
use gatepost::dns::Resolver;
use gatepost::store::{Greylist, Store};

use crate::config::{Mode, Settings};
use crate::mailer::Mailer;
use crate::notice::Notice;
use crate::places::Places;
use crate::protocol::policy::{Action, Request};
use crate::sender_policy::SenderPolicy;

/// One check.
pub struct Check {
    /// Its name in `checks = [...]`, and of its section of the configuration.
    pub name: &'static str,
    /// The restriction list of main.cf that its `check_policy_service` belongs into.
    pub restrictions: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// What its silence comes to.
    pub cannot_say: CannotSay,
    /// Its opinion about one request.
    pub judge: Judge,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name, f)
    }
}

/// What becomes of a request about which a check cannot say anything now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotSay {
    /// The client is to come again.
    Defer,
    /// The next check is asked, as if there were no opinion.
    Pass,
}

/// A question to a check.
pub type Judge = for<'a> fn(Circumstances<'a>, &'a Request) -> Opinion<'a>;

/// What a check will have decided.
pub type Opinion<'a> = Pin<Box<dyn Future<Output = Lookup<Action>> + Send + 'a>>;

/// What a check may look at beside the request.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// Whom a check may ask.
    pub sources: &'a Sources,
    /// The section of the configuration.
    pub config: &'a Settings,
    /// Whether the opinion counts.
    pub mode: Mode,
    /// What the checks remember between requests.
    pub memory: &'a Memory,
}

impl Circumstances<'_> {
    /// Whether the client is one of ours: it has logged in, or comes from one of `trusted-networks`. What is said of strangers does not
    /// concern it.
    pub fn is_ours(&self, request: &Request) -> bool {
        !request.login.is_empty()
            || request.client_address.is_some_and(|client| {
                self.config.trusted_networks.iter().any(|network| network.contains(client))
            })
    }
}

/// Whom the checks may ask. Everything in it is shared with whoever holds a clone.
#[derive(Clone)]
pub struct Sources {
    /// The tutorial's tables.
    pub directory: Directory,
    /// The tables of schema `gatepost`.
    pub store: Store,
    /// The greylist.
    pub greylist: Greylist,
    /// DNS; its memory is the one for all checks.
    pub resolver: Resolver,
    /// SPF, over the same resolver.
    pub sender_policy: Arc<SenderPolicy>,
    /// Where addresses are in the world.
    pub places: Arc<Places>,
    /// Mail to the postmaster.
    pub mailer: Mailer,
}

/// What the checks remember between requests, in this process only.
#[derive(Debug, Default)]
pub struct Memory {
    /// Said once while `rate-limit` is off.
    pub rate_limit_off: Notice,
    /// Said once for a login that is no address.
    pub odd_login: Notice,
    /// When old counts were last cleared away.
    pub cleared: Clearing,
    /// When the greylist was last cleared away.
    pub cleared_greylist: Clearing,
    /// What the greylist decided lately.
    pub greylist: greylist::Lately,
    /// When old habits were last cleared away.
    pub cleared_habits: Clearing,
    /// What block lists said, and which of them cannot be believed.
    pub dnsbl: Arc<dnsbl::Experience>,
}

impl Memory {
    /// Forgets what was answered lately, so that what has changed elsewhere counts at once.
    pub(crate) fn forget(&self) {
        self.greylist.clear();
        self.dnsbl.clear();
    }
}

/// When something was last cleared away by this process.
#[derive(Debug, Default)]
pub struct Clearing(Mutex<Option<Instant>>);

impl Clearing {
    /// Whether it is time; whoever hears so does it. Several hosts do it several times, which costs little.
    pub(crate) fn is_due(&self) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = last.is_none_or(|last| last.elapsed() >= CLEARING);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// How often old rows are cleared away.
const CLEARING: Duration = Duration::from_secs(600);

/// Every check there is, in an order that suits a list of all that concern strangers: cheap ones and those that let through first.
pub static CHECKS: &[Check] = &[
    allow_deny::ALLOW_DENY,
    sender_login::SENDER_LOGIN,
    recipient::RECIPIENT,
    country::COUNTRY,
    helo::HELO,
    dnsbl::DNSBL,
    spf::SPF,
    greylist::GREYLIST,
    rate_limit::RATE_LIMIT,
    stolen_login::STOLEN_LOGIN,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clearing_is_due_at_first_and_then_not_for_a_while() {
        let clearing = Clearing::default();
        assert!(clearing.is_due());
        assert!(!clearing.is_due());
    }

    #[test]
    fn names_are_there_once() {
        let mut names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
