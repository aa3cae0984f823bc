//! The policy checks: what Postfix may delegate a decision about.
//!
//! A check is one file with one const, and one line in [`CHECKS`]. It judges one request and says what it thinks as a `Lookup` of an
//! action: found = this action, none = no opinion, unavailable and misconfigured = it cannot say, which the session turns into
//! `DEFER_IF_PERMIT` for all checks alike.

pub mod rate_limit;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use gatepost::directory::Lookup;
use gatepost::store::Store;

use crate::config::{Mode, Settings};
use crate::notice::Notice;
use crate::protocol::policy::{Action, Request};

/// One check.
pub struct Check {
    /// Its name in `checks = [...]`, and of its section of the configuration.
    pub name: &'static str,
    /// The restriction list of main.cf that its `check_policy_service` belongs into.
    pub restrictions: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its opinion about one request.
    pub judge: Judge,
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.name, f)
    }
}

/// A question to a check.
pub type Judge = for<'a> fn(Circumstances<'a>, &'a Request) -> Opinion<'a>;

/// What a check will have decided.
pub type Opinion<'a> = Pin<Box<dyn Future<Output = Lookup<Action>> + Send + 'a>>;

/// What a check may look at beside the request.
#[derive(Clone, Copy)]
pub struct Circumstances<'a> {
    /// The tables of schema `gatepost`.
    pub store: &'a Store,
    /// The section of the configuration.
    pub config: &'a Settings,
    /// Whether the opinion counts.
    pub mode: Mode,
    /// What this check remembers between requests.
    pub memory: &'a Memory,
}

/// What a check remembers between requests, in this process only.
#[derive(Debug, Default)]
pub struct Memory {
    /// Said once while `rate-limit` is off.
    pub rate_limit_off: Notice,
    /// Said once for a login that is no address.
    pub odd_login: Notice,
    /// When old rows were last cleared away.
    pub cleared: rate_limit::Clearing,
}

/// Every check there is.
pub static CHECKS: &[Check] = &[rate_limit::RATE_LIMIT];
