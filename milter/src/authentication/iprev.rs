//! iprev (RFC 8601, 3): the outcome in our words, and how it comes from the crate's.
//!
//! For `verifier`.

/// The result of iprev (RFC 8601, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IprevResult {
    /// The address's name leads back to the address.
    Pass,
    /// It has names, but none leads back.
    Fail,
    /// DNS could not answer now.
    TempError,
    /// It has no name, or its name has no address.
    PermError,
}

/// The iprev check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IprevOutcome {
    /// What came out.
    pub result: IprevResult,
    /// The first name of the address, if it has one.
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

/// What the crate found; none when it was not asked because it failed a moment ago.
pub(super) fn outcome(found: Option<mail_auth::IprevOutput>) -> IprevOutcome {
    let Some(found) = found else {
        return IprevOutcome { result: IprevResult::TempError, name: None };
    };
    let result = match found.result() {
        mail_auth::IprevResult::Pass => IprevResult::Pass,
        mail_auth::IprevResult::Fail(_) => IprevResult::Fail,
        mail_auth::IprevResult::TempError(_) => IprevResult::TempError,
        mail_auth::IprevResult::PermError(_) | mail_auth::IprevResult::None => IprevResult::PermError,
    };
    let name =
        found.ptr.as_ref().and_then(|names| names.first()).map(|name| name.trim_end_matches('.').to_owned());
    IprevOutcome { result, name }
}
