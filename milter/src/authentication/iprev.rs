//! iprev (RFC 8601, 3): whether the client's address and its name confirm each other.
//!
//! For `verifier`. At most [`MAX_NAMES`] names of an address are looked at, so that nobody's reverse zone costs us more.

use std::net::IpAddr;

use gatepost::directory::Lookup;
use gatepost::dns::Resolver;

/// The result of iprev (RFC 8601, 2.7.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IprevResult {
    /// The address's name leads back to the address.
    Pass,
    /// It has names, but none leads back.
    Fail,
    /// DNS could not answer now.
    TempError,
    /// It has no name.
    PermError,
}

/// The iprev check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IprevOutcome {
    /// What came out.
    pub result: IprevResult,
    /// The name that leads back; without one, the first name of the address, if it has any.
    pub name: Option<String>,
}

impl IprevResult {
    /// The word in `Authentication-Results` (RFC 8601, 2.7.3).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Asks for the names of an address, and for the addresses of these names.
pub(super) async fn check(resolver: &Resolver, client: IpAddr) -> IprevOutcome {
    let client = client.to_canonical();
    let names = match resolver.names(client).await {
        Lookup::Found(names) => names,
        Lookup::None => return IprevOutcome { result: IprevResult::PermError, name: None },
        Lookup::Unavailable(_) | Lookup::Misconfigured(_) => {
            return IprevOutcome { result: IprevResult::TempError, name: None };
        }
    };
    let mut result = IprevResult::Fail;
    for name in names.iter().take(MAX_NAMES) {
        match resolver.addresses_like(name, client).await {
            Lookup::Found(answer) if answer.records.contains(&client) => {
                return IprevOutcome { result: IprevResult::Pass, name: Some(name.clone()) };
            }
            Lookup::Found(_) | Lookup::None => {}
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => result = IprevResult::TempError,
        }
    }
    IprevOutcome { result, name: names.into_iter().next() }
}

/// RFC 8601, 3, asks for a limit; RFC 7208, 4.6.4, has that one for the same question.
const MAX_NAMES: usize = 10;
