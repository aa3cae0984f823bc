//! Group `policies`: what SPF, DKIM and DMARC say. Where a check could not be made nothing hits, except the symbols that say just that.
//!
//! The points are small on purpose, as Rspamd's: a pass proves who it was, not that he is honest; a fail may be a forwarder's fault.
//! Whether DMARC's `p=reject` is obeyed at once is the session's decision, not the score's.

use super::{Check, Evidence, Group, Rule};
use crate::authentication::{DkimResult, DmarcPolicy, DmarcResult, SpfResult};
use crate::facts::Facts;

/// The group's table.
pub const RULES: &[Rule] = &[
    R_SPF_ALLOW,
    R_SPF_FAIL,
    R_SPF_SOFTFAIL,
    R_SPF_NEUTRAL,
    R_SPF_NA,
    R_SPF_DNSFAIL,
    R_SPF_PERMFAIL,
    R_DKIM_ALLOW,
    R_DKIM_REJECT,
    R_DKIM_TEMPFAIL,
    R_DKIM_PERMFAIL,
    R_DKIM_NA,
    DMARC_POLICY_ALLOW,
    DMARC_POLICY_REJECT,
    DMARC_POLICY_QUARANTINE,
    DMARC_POLICY_SOFTFAIL,
    DMARC_NA,
    DMARC_BAD_POLICY,
    DMARC_DNSFAIL,
];

/// SPF passed.
pub const R_SPF_ALLOW: Rule = Rule {
    symbol: "R_SPF_ALLOW",
    group: Group::Policies,
    weight: -0.2,
    summary: "SPF passed",
    why: "RFC 7208, 2.6.3: the domain of the envelope sender is accountable for this client",
    check: Check::Facts(|facts| spf(facts, SpfResult::Pass)),
};

/// SPF failed.
pub const R_SPF_FAIL: Rule = Rule {
    symbol: "R_SPF_FAIL",
    group: Group::Policies,
    weight: 1.0,
    summary: "SPF failed",
    why: "RFC 7208, 2.6.4: the domain says that this client may not send for it; forwarders fail as well",
    check: Check::Facts(|facts| spf(facts, SpfResult::Fail)),
};

/// SPF soft-failed.
pub const R_SPF_SOFTFAIL: Rule = Rule {
    symbol: "R_SPF_SOFTFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "SPF soft-failed",
    why: "RFC 7208, 2.6.5: the domain does not quite say that this client may not send for it",
    check: Check::Facts(|facts| spf(facts, SpfResult::SoftFail)),
};

/// SPF neutral.
pub const R_SPF_NEUTRAL: Rule = Rule {
    symbol: "R_SPF_NEUTRAL",
    group: Group::Policies,
    weight: 0.0,
    summary: "SPF is neutral",
    why: "RFC 7208, 2.6.2: the domain says nothing about this client",
    check: Check::Facts(|facts| spf(facts, SpfResult::Neutral)),
};

/// No SPF record.
pub const R_SPF_NA: Rule = Rule {
    symbol: "R_SPF_NA",
    group: Group::Policies,
    weight: 0.0,
    summary: "the sender's domain has no SPF record",
    why: "RFC 7208, 2.6.1: nothing is published, so nothing is known; a part of AUTH_NA",
    check: Check::Facts(|facts| spf(facts, SpfResult::None)),
};

/// SPF without answer.
pub const R_SPF_DNSFAIL: Rule = Rule {
    symbol: "R_SPF_DNSFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "DNS did not answer the question for SPF",
    why: "RFC 7208, 2.6.6: a temporary error says nothing about the sender",
    check: Check::Facts(|facts| spf(facts, SpfResult::TempError)),
};

/// Broken SPF record.
pub const R_SPF_PERMFAIL: Rule = Rule {
    symbol: "R_SPF_PERMFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "the SPF record is broken",
    why: "RFC 7208, 2.6.7: a broken record is its administrator's mistake, seen at honest domains",
    check: Check::Facts(|facts| spf(facts, SpfResult::PermError)),
};

/// A DKIM signature holds.
pub const R_DKIM_ALLOW: Rule = Rule {
    symbol: "R_DKIM_ALLOW",
    group: Group::Policies,
    weight: -0.2,
    summary: "a DKIM signature holds",
    why: "RFC 6376, 6.3: the signing domain takes responsibility for this message",
    check: Check::Facts(|facts| dkim(facts, DkimResult::Pass)),
};

/// A DKIM signature fails and none holds.
pub const R_DKIM_REJECT: Rule = Rule {
    symbol: "R_DKIM_REJECT",
    group: Group::Policies,
    weight: 1.0,
    summary: "a DKIM signature does not hold, and no other one does",
    why: "RFC 8601, 2.7.1: changed on the way or forged; mailing lists change mail as well",
    check: Check::Facts(|facts| dkim(facts, DkimResult::Fail)),
};

/// DKIM without answer.
pub const R_DKIM_TEMPFAIL: Rule = Rule {
    symbol: "R_DKIM_TEMPFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "DNS did not answer the question for the DKIM key",
    why: "RFC 6376, 6.1.2: a temporary error says nothing about the sender",
    check: Check::Facts(|facts| dkim(facts, DkimResult::TempError)),
};

/// No usable DKIM key.
pub const R_DKIM_PERMFAIL: Rule = Rule {
    symbol: "R_DKIM_PERMFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "the DKIM key is missing, revoked or broken",
    why: "RFC 6376, 6.1.2: to be treated as if unsigned",
    check: Check::Facts(|facts| dkim(facts, DkimResult::PermError)),
};

/// No DKIM signature.
pub const R_DKIM_NA: Rule = Rule {
    symbol: "R_DKIM_NA",
    group: Group::Policies,
    weight: 0.0,
    summary: "no DKIM signature",
    why: "RFC 6376, 6.3: unsigned mail is not suspect by itself; a part of AUTH_NA",
    check: Check::Facts(|facts| {
        let asked = !facts.authentication.missing.contains(&"dkim");
        super::when(asked && facts.authentication.dkim.is_empty())
    }),
};

/// DMARC passed.
pub const DMARC_POLICY_ALLOW: Rule = Rule {
    symbol: "DMARC_POLICY_ALLOW",
    group: Group::Policies,
    weight: -0.5,
    summary: "DMARC passed",
    why: "RFC 9989, 4: the domain in From is really the author's",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::Pass, None)),
};

/// DMARC failed, policy reject.
pub const DMARC_POLICY_REJECT: Rule = Rule {
    symbol: "DMARC_POLICY_REJECT",
    group: Group::Policies,
    weight: 2.0,
    summary: "DMARC failed and the domain asks to refuse such mail",
    why: "RFC 9989, 4.7: p=reject; mailing lists break it for honest authors",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::Fail, Some(DmarcPolicy::Reject))),
};

/// DMARC failed, policy quarantine.
pub const DMARC_POLICY_QUARANTINE: Rule = Rule {
    symbol: "DMARC_POLICY_QUARANTINE",
    group: Group::Policies,
    weight: 1.5,
    summary: "DMARC failed and the domain asks to treat such mail as suspicious",
    why: "RFC 9989, 4.7: p=quarantine",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::Fail, Some(DmarcPolicy::Quarantine))),
};

/// DMARC failed, policy none.
pub const DMARC_POLICY_SOFTFAIL: Rule = Rule {
    symbol: "DMARC_POLICY_SOFTFAIL",
    group: Group::Policies,
    weight: 0.1,
    summary: "DMARC failed and the domain asks for nothing",
    why: "RFC 9989, 4.7: p=none; the domain is still watching its own mail",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::Fail, Some(DmarcPolicy::None))),
};

/// No DMARC record.
pub const DMARC_NA: Rule = Rule {
    symbol: "DMARC_NA",
    group: Group::Policies,
    weight: 0.0,
    summary: "the domain in From has no DMARC record",
    why: "RFC 9989, 4.10: nothing is published, so nothing is known; a part of AUTH_NA",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::None, None)),
};

/// Broken DMARC record.
pub const DMARC_BAD_POLICY: Rule = Rule {
    symbol: "DMARC_BAD_POLICY",
    group: Group::Policies,
    weight: 0.5,
    summary: "the DMARC record is broken, or From names no single domain",
    why: "RFC 9989, 4.10: the record cannot be applied",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::PermError, None)),
};

/// DMARC without answer.
pub const DMARC_DNSFAIL: Rule = Rule {
    symbol: "DMARC_DNSFAIL",
    group: Group::Policies,
    weight: 0.0,
    summary: "DNS did not answer the question for DMARC",
    why: "RFC 9989, 4.10: a temporary error says nothing about the sender",
    check: Check::Facts(|facts| dmarc(facts, DmarcResult::TempError, None)),
};

fn spf(facts: &Facts, wanted: SpfResult) -> Option<Evidence> {
    facts.authentication.spf.as_ref().filter(|spf| spf.result == wanted).map(|spf| Evidence::new(&spf.domain))
}

/// The best result decides, in this order: one signature that holds is enough (RFC 6376, 6.1).
fn dkim(facts: &Facts, wanted: DkimResult) -> Option<Evidence> {
    let order = [DkimResult::Pass, DkimResult::TempError, DkimResult::Fail, DkimResult::PermError];
    let results = &facts.authentication.dkim;
    let best = order.into_iter().find_map(|result| results.iter().find(|dkim| dkim.result == result))?;
    (best.result == wanted).then(|| Evidence::new(format_args!("{}:s={}", best.domain, best.selector)))
}

fn dmarc(facts: &Facts, result: DmarcResult, policy: Option<DmarcPolicy>) -> Option<Evidence> {
    let found = facts.authentication.dmarc.as_ref().filter(|dmarc| dmarc.result == result)?;
    policy.is_none_or(|policy| found.policy == policy).then(|| Evidence::new(&found.domain))
}
