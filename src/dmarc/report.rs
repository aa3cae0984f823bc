//! A DMARC aggregate report as types: what RFC 9990 writes in XML, and what RFC 7489 wrote before it.
//!
//! For `write` (ours to others), `read` (others' to us) and the tool that sums them. Words of the wire stand in one place: each enum's
//! `as_str`. The types hold what reports of real senders hold: what RFC 9990 allows once and RFC 7489 allowed often (SPF results) is a
//! list; what it requires and some leave out is an option. They refuse to judge.

use std::net::IpAddr;

/// A report: who reports, on which domain's policy, and one [`Record`] for each kind of message seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Who reports and when.
    pub metadata: Metadata,
    /// The policy that was found.
    pub policy: PublishedPolicy,
    /// What was seen.
    pub records: Vec<Record>,
}

/// `report_metadata`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The reporting organisation.
    pub organization: String,
    /// Whom to write to.
    pub email: String,
    /// Further contact details.
    pub extra_contact: Option<String>,
    /// Unique among the reports to one domain.
    pub id: String,
    /// The first second of the period, since 1970 in UTC.
    pub begin: i64,
    /// Its last second.
    pub end: i64,
    /// What was wrong with the record, or with this report. RFC 9990 allows one.
    pub errors: Vec<String>,
    /// The program that wrote the report.
    pub generator: Option<String>,
}

/// `policy_published`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishedPolicy {
    /// The domain at which the record was found.
    pub domain: String,
    /// `p`.
    pub p: Option<Disposition>,
    /// `sp`.
    pub sp: Option<Disposition>,
    /// `np`.
    pub np: Option<Disposition>,
    /// `adkim`.
    pub adkim: Option<Alignment>,
    /// `aspf`.
    pub aspf: Option<Alignment>,
    /// How the record was found.
    pub discovery: Option<Discovery>,
    /// `fo`.
    pub fo: Option<String>,
    /// `t`.
    pub testing: Option<bool>,
}

/// `record`: messages alike in everything that a report tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The client that sent them.
    pub source: IpAddr,
    /// How many.
    pub count: u64,
    /// What became of them, as far as DMARC decides.
    pub disposition: Disposition,
    /// Whether an aligned DKIM signature passed.
    pub dkim: Alignedness,
    /// Whether an aligned SPF identity passed.
    pub spf: Alignedness,
    /// Why the disposition is not the policy's.
    pub reasons: Vec<Reason>,
    /// The domain of the From header.
    pub header_from: String,
    /// The domain of MAIL FROM; empty for the null sender, none if not told.
    pub envelope_from: Option<String>,
    /// The domain of the recipient, if told. We never tell.
    pub envelope_to: Option<String>,
    /// Every DKIM signature that was looked at.
    pub dkim_results: Vec<DkimResult>,
    /// SPF. RFC 9990 allows one.
    pub spf_results: Vec<SpfResult>,
}

/// `auth_results/dkim`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimResult {
    /// `d=`.
    pub domain: String,
    /// `s=`; RFC 7489 did not require it.
    pub selector: String,
    /// What came out; none where the word is none that we know.
    pub result: Option<AuthResult>,
    /// More for a person.
    pub human_result: Option<String>,
}

/// `auth_results/spf`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpfResult {
    /// The domain that was asked.
    pub domain: String,
    /// Where that domain came from: `mfrom`, or `helo` before RFC 9990.
    pub scope: Option<String>,
    /// What came out; none where the word is none that we know.
    pub result: Option<AuthResult>,
}

/// `reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The kind.
    pub kind: Override,
    /// More for a person.
    pub comment: Option<String>,
}

/// A policy (`none`, `quarantine`, `reject`) or what became of a message, where `pass` is there too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Disposition {
    /// Nothing was done, and the policy asked for nothing.
    None,
    /// The message passed DMARC under a policy that would have asked for something.
    Pass,
    /// Treated as suspicious.
    Quarantine,
    /// Refused.
    Reject,
}

/// Whether a method gave DMARC an aligned pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alignedness {
    /// It did.
    Pass,
    /// It did not.
    Fail,
}

/// `adkim` and `aspf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alignment {
    /// The organisational domains must be equal.
    Relaxed,
    /// The domains must be equal.
    Strict,
}

/// How the record was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Discovery {
    /// With a public suffix list (RFC 7489).
    PublicSuffixList,
    /// By the walk up the tree (RFC 9989).
    TreeWalk,
}

/// The results of DKIM and SPF (RFC 8601, 2.7.1 and 2.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthResult {
    /// `none`
    None,
    /// `pass`
    Pass,
    /// `fail`
    Fail,
    /// `softfail`: SPF only.
    SoftFail,
    /// `policy`
    Policy,
    /// `neutral`
    Neutral,
    /// `temperror`
    TempError,
    /// `permerror`
    PermError,
}

/// Why a disposition is not what the policy asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Override {
    /// The receiver's own rules.
    LocalPolicy,
    /// It came through a mailing list.
    MailingList,
    /// Something else.
    Other,
    /// The record has `t=y`.
    PolicyTestMode,
    /// A forwarder that the receiver trusts, by list or by ARC.
    TrustedForwarder,
    /// RFC 7489: it looked forwarded.
    Forwarded,
    /// RFC 7489: `pct` left it out.
    SampledOut,
}

impl Record {
    /// Whether DMARC passed.
    pub fn passed(&self) -> bool {
        self.dkim == Alignedness::Pass || self.spf == Alignedness::Pass
    }
}

/// Gives an enum its words on the wire, both ways. Words of real senders in another spelling are read, never written.
macro_rules! words {
    ($type:ident { $($variant:ident = $word:literal $(| $also:literal)*),+ $(,)? }) => {
        impl $type {
            /// The word in a report.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads a word, in any case.
            pub fn parse(word: &str) -> Option<Self> {
                match word.trim().to_ascii_lowercase().as_str() {
                    $($word $(| $also)* => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    };
}

words!(Disposition { None = "none", Pass = "pass", Quarantine = "quarantine", Reject = "reject" });
words!(Alignedness { Pass = "pass", Fail = "fail" });
words!(Alignment { Relaxed = "r" | "relaxed", Strict = "s" | "strict" });
words!(Discovery { PublicSuffixList = "psl", TreeWalk = "treewalk" });
// "unknown", "error" and "hardfail" are what older senders write (RFC 7489, appendix C, says so of the first two).
words!(AuthResult {
    None = "none",
    Pass = "pass",
    Fail = "fail" | "hardfail",
    SoftFail = "softfail",
    Policy = "policy",
    Neutral = "neutral",
    TempError = "temperror" | "unknown",
    PermError = "permerror" | "error",
});
words!(Override {
    LocalPolicy = "local_policy",
    MailingList = "mailing_list",
    Other = "other",
    PolicyTestMode = "policy_test_mode",
    TrustedForwarder = "trusted_forwarder",
    Forwarded = "forwarded",
    SampledOut = "sampled_out",
});
