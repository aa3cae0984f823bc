//! What one message showed, for the aggregate report of the domain that asked for it (RFC 9990).
//!
//! For the milter, which makes it once the message's fate is decided, and for whoever collects. Texts come from strangers' mail and
//! records: domains are A-labels in lower case where they are domains at all, the rest is what the sender wrote, and bounded.

use std::net::IpAddr;

use super::{Policy, Reason};

/// One message as a report counts it. Two that are equal are one row with a count of two.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observation {
    /// The SMTP client.
    pub source: IpAddr,
    /// The Author Domain: that of the From header.
    pub header_from: String,
    /// The domain of MAIL FROM; none for the null sender.
    pub envelope_from: Option<String>,
    /// The record that applied.
    pub published: Published,
    /// What became of the message by DMARC (what a spam filter did besides does not count).
    pub disposition: Policy,
    /// Why that is not what the record asks for.
    pub reasons: Vec<Reason>,
    /// Whether a signature passed whose domain is aligned.
    pub dkim_aligned: bool,
    /// Whether SPF passed for an aligned domain.
    pub spf_aligned: bool,
    /// The signatures, those that help most first (RFC 9990, 3.1.3), bounded by the verifier's `limits.signatures`.
    pub dkim: Vec<DkimSeen>,
    /// SPF of MAIL FROM, or of HELO for the null sender.
    pub spf: Option<SpfSeen>,
}

/// A policy record as it was published; an absent tag has its default.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Published {
    /// The policy domain: where the record was found.
    pub domain: String,
    /// `p`.
    pub p: Policy,
    /// `sp`, if it is there.
    pub sp: Option<Policy>,
    /// `np`, if it is there.
    pub np: Option<Policy>,
    /// `adkim`: `r` or `s`.
    pub adkim: char,
    /// `aspf`: `r` or `s`.
    pub aspf: char,
    /// `fo`.
    pub fo: String,
    /// `t`: whether the owner is only testing.
    pub testing: bool,
    /// The addresses of `rua` without `mailto:`, in order; at least one, or nobody asked for a report.
    pub rua: Vec<String>,
}

/// One DKIM signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DkimSeen {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// A word of RFC 8601, 2.7.1.
    pub result: String,
    /// Whether `d=` is aligned with the Author Domain.
    pub aligned: bool,
}

/// One SPF check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpfSeen {
    /// The domain that was asked.
    pub domain: String,
    /// Whether that was the HELO name, for want of a sender; reports know MAIL FROM only (RFC 9990, 3.1.1.12).
    pub helo: bool,
    /// A word of RFC 8601, 2.7.2.
    pub result: String,
}
