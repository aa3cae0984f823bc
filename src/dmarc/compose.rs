//! The report on a day's observations: pure, so that the tool shows exactly what the milter sends.

use time::Date;

use super::report::{
    Alignedness, Alignment, AuthResult, Discovery, Disposition, DkimResult, Metadata, Override,
    PublishedPolicy, Reason, Record, Report, SpfResult,
};
use super::settings::Reports;
use super::{Observation, Policy, Published, ReasonKind, Seen, Tally, pack};
use crate::mail::Address;

/// The report on what was seen, from that address; none where nothing was.
pub fn compose(seen: &Seen, settings: &Reports, from: &Address) -> Option<Report> {
    if seen.tallies.is_empty() {
        return None;
    }
    let (begin, end) = period(seen.day);
    let domain = &seen.published.domain;
    let errors = match seen.omitted {
        0 => Vec::new(),
        omitted => vec![format!("{omitted} messages of rare kinds are in no record")],
    };
    Some(Report {
        metadata: Metadata {
            organization: settings.organization(from),
            email: from.to_string(),
            extra_contact: settings.extra_contact.clone(),
            id: pack::id(begin, domain, from.domain().as_str()),
            begin,
            end,
            errors,
            generator: Some(concat!("Gatepost ", env!("CARGO_PKG_VERSION")).to_owned()),
        },
        policy: policy(&seen.published),
        records: seen.tallies.iter().map(record).collect(),
    })
}

/// A day's first and last second, since 1970.
pub fn period(day: Date) -> (i64, i64) {
    let begin = day.midnight().assume_utc().unix_timestamp();
    (begin, begin + 86_399)
}

fn policy(published: &Published) -> PublishedPolicy {
    let mode = |mode| if mode == 's' { Alignment::Strict } else { Alignment::Relaxed };
    PublishedPolicy {
        domain: published.domain.clone(),
        p: Some(disposition(published.p)),
        sp: published.sp.map(disposition),
        np: published.np.map(disposition),
        adkim: Some(mode(published.adkim)),
        aspf: Some(mode(published.aspf)),
        discovery: Some(Discovery::TreeWalk),
        fo: Some(published.fo.clone()).filter(|fo| !fo.is_empty()),
        testing: Some(published.testing),
    }
}

fn record(tally: &Tally) -> Record {
    let seen = &tally.observation;
    let alignedness = |aligned| if aligned { Alignedness::Pass } else { Alignedness::Fail };
    Record {
        source: seen.source,
        count: tally.messages,
        disposition: evaluated(seen),
        dkim: alignedness(seen.dkim_aligned),
        spf: alignedness(seen.spf_aligned),
        reasons: seen.reasons.iter().map(reason).collect(),
        header_from: seen.header_from.clone(),
        // "MAY be existing but empty if the message had a null reverse-path".
        envelope_from: Some(seen.envelope_from.clone().unwrap_or_default()),
        envelope_to: None,
        dkim_results: seen
            .dkim
            .iter()
            .map(|dkim| DkimResult {
                domain: dkim.domain.clone(),
                selector: dkim.selector.clone(),
                result: AuthResult::parse(&dkim.result),
                human_result: None,
            })
            .collect(),
        spf_results: seen
            .spf
            .iter()
            .map(|spf| SpfResult {
                domain: spf.domain.clone(),
                scope: Some("mfrom".to_owned()),
                result: AuthResult::parse(&spf.result),
            })
            .collect(),
    }
}

/// "pass" is "no action, passing DMARC with an enforcing policy"; under a policy of none nothing was to be done either way.
fn evaluated(seen: &Observation) -> Disposition {
    let published = &seen.published;
    let asked =
        if seen.header_from == published.domain { published.p } else { published.sp.unwrap_or(published.p) };
    match seen.disposition {
        Policy::None if (seen.dkim_aligned || seen.spf_aligned) && asked != Policy::None => Disposition::Pass,
        other => disposition(other),
    }
}

fn disposition(policy: Policy) -> Disposition {
    match policy {
        Policy::None => Disposition::None,
        Policy::Quarantine => Disposition::Quarantine,
        Policy::Reject => Disposition::Reject,
    }
}

fn reason(reason: &super::Reason) -> Reason {
    let kind = match reason.kind {
        ReasonKind::LocalPolicy => Override::LocalPolicy,
        ReasonKind::MailingList => Override::MailingList,
        ReasonKind::Other => Override::Other,
        ReasonKind::PolicyTestMode => Override::PolicyTestMode,
        ReasonKind::TrustedForwarder => Override::TrustedForwarder,
    };
    Reason { kind, comment: Some(reason.comment.clone()).filter(|comment| !comment.is_empty()) }
}
