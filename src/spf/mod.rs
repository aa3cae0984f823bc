//! SPF (RFC 7208): whether a client may send for a domain.
//!
//! For whoever receives mail: the milter, which sees the whole message, and the policy service, which is asked before it. [`record`]
//! reads what a domain published, [`macros`] expands what depends on the message, [`check`] asks DNS and comes to a result, [`received`]
//! writes it into a header. An evaluator of our own, because that of `mail-auth` does not tell what matched, asks through a
//! resolver of its own, and loses the DNSSEC status. It refuses to judge: what a fail is worth is the business of those who ask.

mod check;
mod macros;
mod received;
mod record;

use std::net::IpAddr;

pub use check::{Client, helo, mail_from};
pub use received::received_spf;

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
    /// The mechanism that matched, `default` when none did; none without a record that could be evaluated.
    pub mechanism: Option<&'static str>,
    /// Why it is a temperror or permerror, for the log; may quote the record, cut and printable.
    pub problem: Option<String>,
    /// What the domain's owner has to say about a fail (`exp=`, RFC 7208, 6.2): printable ASCII of a stranger, at most 400 bytes.
    pub explanation: Option<String>,
    /// Whether DNSSEC vouches for every answer that the result rests on.
    pub secure: bool,
}

impl SpfOutcome {
    /// A result of which nothing else is known.
    pub fn new(result: SpfResult, domain: &str, scope: SpfScope) -> Self {
        Self {
            result,
            domain: domain.to_owned(),
            scope,
            mechanism: None,
            problem: None,
            explanation: None,
            secure: false,
        }
    }
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

/// Whether that name could have an SPF record: two labels or more, none empty or too long (RFC 7208, 4.3), no address.
pub fn is_domain(name: &str) -> bool {
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    labels
        && name.contains('.')
        && name.len() <= 253
        && !name.starts_with('[')
        && name.parse::<IpAddr>().is_err()
}
