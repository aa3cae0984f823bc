//! DMARC (RFC 9989): what the check of the From header's domain came to, with everything that acting on it and reporting it need.
//!
//! For the rules, for whoever enforces a policy, and for the aggregate reports (RFC 9990): plain data. [`record`] reads what a domain
//! published, [`evaluate`] asks DNS and comes to a result. Nothing here decides what becomes of a message.

mod evaluate;
mod record;

pub(super) use evaluate::{Identifier, discover, evaluate};

/// The DMARC check of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcOutcome {
    /// What came out.
    pub result: DmarcResult,
    /// What the domain's owner asks for if the message fails: the value of [`Self::policy_tag`], one step milder if
    /// [`Self::lowered`]. [`DmarcPolicy::None`] without a record.
    pub policy: DmarcPolicy,
    /// The Author Domain: that of the From header, in lower case and A-labels. When From names several, the one that failed with
    /// the strictest policy; empty when none failed, or From names none.
    pub domain: String,
    /// The Organizational Domain of the Author Domain (RFC 9989, 4.10.2); the Author Domain itself when the walk found no record.
    pub organizational_domain: String,
    /// The record that applied; none without one, and none when DNS could not say.
    pub record: Option<DmarcRecord>,
    /// The tag whose value applied; none without a record.
    pub policy_tag: Option<PolicyTag>,
    /// Whether `t=y` made [`Self::policy`] one step milder than what is published.
    pub lowered: bool,
    /// What DKIM gives: whether a signature passed whose domain is aligned with the Author Domain.
    pub dkim: Aligned,
    /// What SPF gives: whether MAIL FROM (HELO for the null sender) passed with an aligned domain.
    pub spf: Aligned,
    /// Whether DNSSEC vouches for the record that applied.
    pub secure: bool,
}

impl DmarcOutcome {
    /// An outcome for a domain without anything else known: no record, nothing aligned.
    pub fn new(result: DmarcResult, policy: DmarcPolicy, domain: &str) -> Self {
        Self {
            result,
            policy,
            domain: domain.to_owned(),
            organizational_domain: domain.to_owned(),
            record: None,
            policy_tag: None,
            lowered: false,
            dkim: Aligned::Fail,
            spf: Aligned::Fail,
            secure: false,
        }
    }
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

/// What the domain owner asks of those who receive mail that fails (RFC 9989, `p=`); the milder is the lesser.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DmarcPolicy {
    /// Nothing.
    None,
    /// Treat it as suspicious.
    Quarantine,
    /// Refuse it.
    Reject,
}

/// The tag of a record that a policy was taken from (RFC 9989, 4.10.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyTag {
    /// `p`: the record is the Author Domain's own, or says nothing else about subdomains.
    P,
    /// `sp`: the Author Domain exists below the record's domain.
    Sp,
    /// `np`: the Author Domain does not exist, below the record's domain.
    Np,
}

/// What one of the two mechanisms gives DMARC (RFC 9989, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aligned {
    /// It passed, for an aligned domain.
    Pass,
    /// It did not pass, or for a domain that is not aligned.
    Fail,
    /// DNS could not answer for an aligned domain, or whether it is aligned.
    TempError,
}

/// A DMARC Policy Record as published (RFC 9989, 4.7). A tag that is absent or not valid has its default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DmarcRecord {
    /// The domain that published it, without `_dmarc.`: the policy domain.
    pub domain: String,
    /// `p`; none when absent or not valid, which counts as `none` (RFC 9989, 4.10.1).
    pub p: Option<DmarcPolicy>,
    /// `sp`; none when absent.
    pub sp: Option<DmarcPolicy>,
    /// `np`; none when absent.
    pub np: Option<DmarcPolicy>,
    /// `adkim`.
    pub adkim: AlignmentMode,
    /// `aspf`.
    pub aspf: AlignmentMode,
    /// `t`: whether the owner is only testing.
    pub t: bool,
    /// `psd`.
    pub psd: Psd,
    /// `fo` as published, at most some characters; `0` when absent or not valid.
    pub fo: String,
    /// The mail addresses of `rua`, in order, without `mailto:` and without a size; other kinds of URI are left out.
    pub rua: Vec<String>,
    /// The mail addresses of `ruf`, alike.
    pub ruf: Vec<String>,
}

/// `adkim` and `aspf` (RFC 9989, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlignmentMode {
    /// `r`: the same Organizational Domain is enough.
    Relaxed,
    /// `s`: the same domain.
    Strict,
}

/// `psd` (RFC 9989, 4.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Psd {
    /// `y`: a Public Suffix Domain; organizations are one label below.
    Yes,
    /// `n`: an Organizational Domain.
    No,
    /// `u`, the default: the tree walk tells.
    Unknown,
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

impl PolicyTag {
    /// The tag's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::P => "p",
            Self::Sp => "sp",
            Self::Np => "np",
        }
    }
}

impl Aligned {
    /// The word in a report (RFC 9990, `DMARCResultType`), which knows two: what could not be found out is not a pass.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail | Self::TempError => "fail",
        }
    }
}

impl AlignmentMode {
    /// The value of the tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Relaxed => "r",
            Self::Strict => "s",
        }
    }
}

impl Psd {
    /// The value of the tag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "y",
            Self::No => "n",
            Self::Unknown => "u",
        }
    }
}
