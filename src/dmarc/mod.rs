//! DMARC (RFC 9989) as the milter, the tool and the store share it: what may be asked, what is excepted, what is observed.
//!
//! For the milter, which decides; for `gatepost dmarc`, which keeps the exceptions; for the aggregate reports (RFC 9990), which
//! are made of [`Observation`]s. Plain data and parsing; it asks neither DNS nor SQL, and decides nothing.

mod exceptions;
mod observation;

pub use exceptions::{Forwarder, ForwarderKind, KnownBy, Overrides};
pub use observation::{DkimSeen, Observation, Published, SpfSeen};

use std::fmt;
use std::str::FromStr;

/// What is to be done with mail that fails: what a domain asks for (RFC 9989, 4.7: `p`, `sp`, `np`), or what was done. The milder
/// is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing.
    None,
    /// Treat it as suspicious: into Junk.
    Quarantine,
    /// Refuse it.
    Reject,
}

/// Why what was done differs from what the domain asks for (RFC 9990, 3.1.6, `PolicyOverrideType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReasonKind {
    /// Our own decision.
    LocalPolicy,
    /// It came by a mailing list.
    MailingList,
    /// Anything else; the comment says what.
    Other,
    /// The record says `t=y`.
    PolicyTestMode,
    /// It came by somebody who is known to forward.
    TrustedForwarder,
}

/// One such reason.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// Its kind.
    pub kind: ReasonKind,
    /// What more is to be said, to the domain's owner too; printable ASCII, may be empty.
    pub comment: String,
}

impl Policy {
    /// The word of the record, of SQL and of reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    /// One level milder (RFC 9989, 4.7, `t`).
    pub fn lowered(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "quarantine" => Ok(Self::Quarantine),
            "reject" => Ok(Self::Reject),
            _ => Err(format!("unknown policy \"{text}\", expected none, quarantine or reject")),
        }
    }
}

impl ReasonKind {
    /// The word in a report.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LocalPolicy => "local_policy",
            Self::MailingList => "mailing_list",
            Self::Other => "other",
            Self::PolicyTestMode => "policy_test_mode",
            Self::TrustedForwarder => "trusted_forwarder",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " ({})", self.comment) }
    }
}
