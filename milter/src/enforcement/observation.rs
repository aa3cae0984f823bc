//! What a decided message showed, for the aggregate report of its author's domain (RFC 9990).
//!
//! For `service`. Pure; whoever collects counts equal ones together.

use gatepost::dmarc::{DkimSeen, Observation, Published, SpfSeen};

use super::Enforcement;
use super::evidence::{is_or_below, policy};
use crate::authentication::{
    Aligned, AlignmentMode, Authentication, DkimOutcome, DkimResult, DmarcOutcome, DmarcPolicy, DmarcRecord,
    SpfScope,
};
use crate::message::Envelope;

/// The observation; none where nobody asked for a report, where the message has no client, and while its fate is open: then it comes
/// again, and counts then.
pub fn observation(
    found: &Authentication,
    envelope: &Envelope,
    enforcement: &Enforcement,
) -> Option<Observation> {
    let dmarc = found.dmarc.as_ref()?;
    let record = dmarc.record.as_ref().filter(|record| !record.rua.is_empty())?;
    Some(Observation {
        source: envelope.client_address?,
        header_from: dmarc.domain.clone(),
        envelope_from: envelope.sender.as_ref().map(|sender| sender.domain().to_string()),
        published: published(record),
        disposition: enforcement.disposition()?,
        reasons: enforcement.reasons.clone(),
        dkim_aligned: dmarc.dkim == Aligned::Pass,
        spf_aligned: dmarc.spf == Aligned::Pass,
        dkim: signatures(&found.dkim, dmarc),
        spf: found.spf.as_ref().filter(|spf| !spf.domain.is_empty()).map(|spf| SpfSeen {
            domain: spf.domain.clone(),
            helo: spf.scope == SpfScope::Helo,
            result: spf.result.as_str().to_owned(),
        }),
    })
}

fn published(record: &DmarcRecord) -> Published {
    Published {
        domain: record.domain.clone(),
        p: policy(record.p.unwrap_or(DmarcPolicy::None)),
        sp: record.sp.map(policy),
        np: record.np.map(policy),
        adkim: mode(record.adkim),
        aspf: mode(record.aspf),
        fo: record.fo.clone(),
        testing: record.t,
        rua: record.rua.clone(),
    }
}

fn mode(mode: AlignmentMode) -> char {
    match mode {
        AlignmentMode::Relaxed => 'r',
        AlignmentMode::Strict => 's',
    }
}

/// In the order of RFC 9990, 3.1.3: passed and the author's own domain, passed and aligned, passed, the others. A signature without a
/// domain (it could not be parsed) has no place in a report.
fn signatures(dkim: &[DkimOutcome], dmarc: &DmarcOutcome) -> Vec<DkimSeen> {
    let rank = |signature: &DkimOutcome| match signature.result {
        DkimResult::Pass if signature.domain.eq_ignore_ascii_case(&dmarc.domain) => 0,
        DkimResult::Pass if is_aligned(&signature.domain, dmarc) => 1,
        DkimResult::Pass => 2,
        _ => 3,
    };
    let mut signatures: Vec<&DkimOutcome> =
        dkim.iter().filter(|signature| !signature.domain.is_empty()).collect();
    signatures.sort_by_key(|signature| rank(signature));
    signatures
        .into_iter()
        .map(|signature| DkimSeen {
            domain: signature.domain.to_ascii_lowercase(),
            selector: signature.selector.clone(),
            result: signature.result.as_str().to_owned(),
            aligned: is_aligned(&signature.domain, dmarc),
        })
        .collect()
}

/// Whether a signing domain is aligned with the author's (RFC 9989, 4.4.1). Relaxed alignment is read off the author's Organizational
/// Domain; a domain below it that is an organization of its own (`psd=n`) is taken for aligned here, which orders the rows and decides
/// nothing.
fn is_aligned(domain: &str, dmarc: &DmarcOutcome) -> bool {
    let domain = domain.to_ascii_lowercase();
    let strict = dmarc.record.as_ref().is_some_and(|record| record.adkim == AlignmentMode::Strict);
    domain == dmarc.domain || (!strict && is_or_below(&domain, &dmarc.organizational_domain))
}
