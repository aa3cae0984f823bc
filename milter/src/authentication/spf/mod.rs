//! SPF (RFC 7208): the outcome in our words, and how it comes from the crate's.
//!
//! For `verifier`. It refuses to judge: that a failed check costs points is a rule.

use std::net::IpAddr;

use mail_auth::SpfOutput;

/// The result of an SPF check (RFC 7208, 2.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// The client may send for the domain.
    Pass,
    /// The client may not.
    Fail,
    /// Probably not.
    SoftFail,
    /// The domain says nothing about this client.
    Neutral,
    /// No record.
    None,
    /// DNS could not answer now.
    TempError,
    /// The record is broken.
    PermError,
}

/// Which identity SPF looked at (RFC 7208, 2.3 and 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpfScope {
    /// The domain of MAIL FROM.
    MailFrom,
    /// The name in HELO.
    Helo,
}

/// One SPF check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpfOutcome {
    /// What came out.
    pub result: SpfResult,
    /// The domain that was asked.
    pub domain: String,
    /// Which identity it is.
    pub scope: SpfScope,
}

impl SpfResult {
    /// The word in `Authentication-Results` (RFC 8601, 2.7.2).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::Neutral => "neutral",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Whether a HELO name could have an SPF record: no address literal, and at least one dot (RFC 7208, 2.3 and 4.3).
pub(super) fn is_domain(helo: &str) -> bool {
    !helo.starts_with('[') && mail_auth::dns::has_valid_labels(helo) && helo.parse::<IpAddr>().is_err()
}

pub(super) fn outcome(output: &SpfOutput, scope: SpfScope) -> SpfOutcome {
    let result = match output.result() {
        mail_auth::SpfResult::Pass => SpfResult::Pass,
        mail_auth::SpfResult::Fail => SpfResult::Fail,
        mail_auth::SpfResult::SoftFail => SpfResult::SoftFail,
        mail_auth::SpfResult::Neutral => SpfResult::Neutral,
        mail_auth::SpfResult::None => SpfResult::None,
        mail_auth::SpfResult::TempError => SpfResult::TempError,
        mail_auth::SpfResult::PermError => SpfResult::PermError,
    };
    SpfOutcome { result, domain: output.domain().to_owned(), scope }
}
