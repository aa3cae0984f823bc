//! Who really sent a message: the outcomes of SPF, DKIM, ARC, DMARC and iprev, in our own words.
//!
//! For `facts` (which reads them), `results` (which writes `Authentication-Results`) and `session` (which asks). The types here
//! hold what was found and refuse to judge it: that a failed SPF check costs points is a rule, not an outcome.
//!
//! Two words are kept apart everywhere: a check that said *no* (`Fail`) and a check that could not be made (`TempError`, or the
//! name in [`Authentication::missing`]). DNS being away never turns the second into the first (RFC 7208, 2.6.6; RFC 8601, 2.7).

pub mod arc;
pub mod results;

mod cache;
mod verifier;

pub use arc::{ArcHop, ArcOutcome, ArcRecorded, ArcResult};
pub use verifier::{Question, Verification, Verifier};

/// Everything that was found out about one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Authentication {
    /// SPF (RFC 7208) of the MAIL FROM domain or, for the null sender, of the HELO name.
    pub spf: Option<SpfOutcome>,
    /// SPF of the HELO name (RFC 7208, 2.3), where it was checked besides MAIL FROM.
    pub spf_helo: Option<SpfOutcome>,
    /// One entry for each DKIM signature (RFC 6376), in the order of the message; empty when there is none.
    pub dkim: Vec<DkimOutcome>,
    /// The ARC chain (RFC 8617); none when it was not asked, an outcome of [`ArcResult::None`] when there is no chain.
    pub arc: Option<ArcOutcome>,
    /// DMARC (RFC 9989) of the From header's domain.
    pub dmarc: Option<DmarcOutcome>,
    /// Whether the client's address and name confirm each other (RFC 8601, 3).
    pub iprev: Option<IprevOutcome>,
    /// The names of the facts that could not be had: `"spf"`, `"dkim"`, `"dmarc"`, `"iprev"`.
    pub missing: Vec<&'static str>,
}

impl Authentication {
    /// Nothing was asked, so nothing is known: for mail judged without network.
    pub fn not_asked() -> Self {
        Self { missing: vec!["spf", "dkim", "dmarc", "iprev"], ..Self::default() }
    }
}

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

/// The result of one DKIM signature (RFC 8601, 2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// The signature holds.
    Pass,
    /// The signature does not hold: the signed headers or the body were changed, or it was never good.
    Fail,
    /// The signature cannot be judged: malformed, expired, unsupported, or limited by `l=`.
    Neutral,
    /// The key could not be fetched now.
    TempError,
    /// The key does not exist, is broken or revoked.
    PermError,
}

/// One DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimOutcome {
    /// What came out.
    pub result: DkimResult,
    /// The signing domain, `d=`; empty when the header could not be parsed.
    pub domain: String,
    /// The selector, `s=`.
    pub selector: String,
    /// The algorithm, `a=`.
    pub algorithm: &'static str,
    /// The identity, `i=`; empty when absent.
    pub identity: String,
    /// The first eight characters of `b=`, which tell signatures of one domain apart (RFC 6008).
    pub signature: String,
    /// Why it is not a pass, in a few words; empty for a pass.
    pub reason: String,
}

/// The result of DMARC (RFC 9989; RFC 8601, 2.7.1 for the words).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// SPF or DKIM passed for a domain aligned with the From header's.
    Pass,
    /// Neither did.
    Fail,
    /// The domain has no DMARC record.
    None,
    /// DNS could not answer now.
    TempError,
    /// The record is broken, or the From header does not name one domain.
    PermError,
}

/// What the domain owner asks of those who receive mail that fails (RFC 9989, `p=`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DmarcPolicy {
    /// Nothing.
    None,
    /// Treat it as suspicious.
    Quarantine,
    /// Refuse it.
    Reject,
}

/// The DMARC check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcOutcome {
    /// What came out.
    pub result: DmarcResult,
    /// The policy that applies to this domain.
    pub policy: DmarcPolicy,
    /// The domain of the From header.
    pub domain: String,
}

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

impl DkimResult {
    /// The word in `Authentication-Results` (RFC 8601, 2.7.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl DmarcResult {
    /// The word in `Authentication-Results` (RFC 7489, 11.2; kept by RFC 9989).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::None => "none",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl DmarcPolicy {
    /// The word of `p=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
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
