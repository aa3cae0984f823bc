//! Who really sent a message: the outcomes of SPF, DKIM, ARC, DMARC and iprev, in our own words.
//!
//! For `facts` (which reads them), `results` (which writes `Authentication-Results`) and `session` (which asks). The types here
//! hold what was found and refuse to judge it: that a failed SPF check costs points is a rule, not an outcome.
//!
//! Two words are kept apart everywhere: a check that said *no* (`Fail`) and a check that could not be made (`TempError`, or the
//! name in [`Authentication::missing`]). DNS being away never turns the second into the first (RFC 7208, 2.6.6; RFC 8601, 2.7).

pub mod arc;
pub mod dkim;
pub mod dmarc;
pub mod iprev;
pub mod results;

mod authors;
mod keys;
mod unsettled;
mod verifier;

pub use arc::{ArcHop, ArcOutcome, ArcRecorded, ArcResult};
pub use dkim::{DkimOutcome, DkimResult};
pub use dmarc::{
    Aligned, AlignmentMode, DmarcOutcome, DmarcPolicy, DmarcRecord, DmarcResult, PolicyTag, Psd,
};
pub use gatepost::spf::{SpfOutcome, SpfResult, SpfScope};
pub use iprev::{IprevOutcome, IprevResult};
pub use unsettled::Unsettled;
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
