//! MTA-STS (RFC 8461): that mail to the domain must come encrypted, to the hosts that are named.

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::directory::Lookup;
use gatepost::mail::Domain;
use gatepost::mta_sts::{Mode, StsPolicy, record_id};

use super::{Answers, Line, Part, Plan, Report, txt};

pub(super) const PART: Part = Part {
    name: "mta-sts",
    about: "MTA-STS (RFC 8461): that mail to it comes encrypted",
    checked: true,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    let (domain, policy) = (&plan.domain, policy(plan));
    let mut lines = vec![Line::Comment(format!(
        "a certificate for mta-sts.{domain}, and at https://mta-sts.{domain}/.well-known/mta-sts.txt as text/plain:"
    ))];
    lines.extend(policy.lines().map(|line| Line::Comment(format!("  {line}"))));
    lines.push(txt(format!("_mta-sts.{domain}"), &format!("v=STSv1; id={}", id(&policy))));
    lines
}

/// RFC 8461, 3.2.
fn policy(plan: &Plan) -> String {
    let hosts: String = plan.hosts.iter().map(|(_, host)| format!("mx: {host}\n")).collect();
    format!("version: STSv1\nmode: {}\n{hosts}max_age: {}\n", plan.mode.as_str(), plan.max_age)
}

/// The same for the same policy, another for another (RFC 8461, 3.1: up to 32 letters and digits).
fn id(policy: &str) -> String {
    digest(&SHA256, policy.as_bytes()).as_ref()[..10].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    let records = match &answers.sts {
        Lookup::Found(records) => records.as_slice(),
        Lookup::None => &[],
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("MTA-STS of {domain}: {why}"));
        }
    };
    if record_id(records).is_none() {
        let there = records.iter().any(|record| record.starts_with("v=STSv1"));
        return match there {
            true => report.fail(&format!("the MTA-STS record of {domain} is there twice or malformed, so that it does not count (RFC 8461, 3.1); `gatepost domain dns {domain}`")),
            false => report.warn(&format!("{domain} has no MTA-STS: others may be made to deliver to it unencrypted; `gatepost domain dns {domain}`")),
        };
    }
    match &answers.sts_policy {
        None => report.ok(&format!("MTA-STS record of {domain}; its policy was not fetched")),
        Some(Err(why)) => report.fail(&format!("{domain} has an MTA-STS record, but its policy at https://mta-sts.{domain}/.well-known/mta-sts.txt {why}")),
        Some(Ok(policy)) => published(plan, answers, policy, report),
    }
}

/// A policy that can be read.
fn published(plan: &Plan, answers: &Answers, policy: &StsPolicy, report: &mut Report) {
    let domain = &plan.domain;
    let mode = policy.mode.as_str();
    let Lookup::Found(mx) = &answers.mx else {
        return report.ok(&format!("MTA-STS of {domain}: {mode}"));
    };
    let named = |host: &str| {
        Domain::parse(host).is_ok_and(|host| policy.mx.iter().any(|pattern| pattern.matches(&host)))
    };
    let missing: Vec<&str> = mx.iter().map(|(_, host)| host.as_str()).filter(|host| !named(host)).collect();
    match (missing.is_empty(), policy.mode) {
        (_, Mode::None) => report.warn(&format!("MTA-STS of {domain} is taken back (mode none); take its record away too, or begin again with testing")),
        (true, Mode::Enforce) => report.ok(&format!("MTA-STS of {domain}: enforce, and names every MX")),
        (true, Mode::Testing) => report.ok(&format!("MTA-STS of {domain}: testing, and names every MX; make it enforce when TLSRPT shows no trouble")),
        (false, Mode::Enforce) => report.fail(&format!("the MTA-STS policy of {domain} does not name its MX {}: mail does not get there; name it, and change the record's id", missing.join(", "))),
        (false, Mode::Testing) => report.warn(&format!("the MTA-STS policy of {domain} does not name its MX {}; name it before it enforces", missing.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    fn with(records: &[&str], policy: Option<Result<&str, &str>>) -> Answers {
        let mut answers = Answers::nothing();
        answers.mx = Lookup::Found(vec![(10, "mail.example.com".to_owned())]);
        answers.sts = Lookup::Found(records.iter().map(|text| (*text).to_owned()).collect());
        answers.sts_policy =
            policy.map(|policy| policy.map(|text| StsPolicy::parse(text).unwrap()).map_err(str::to_owned));
        answers
    }

    #[test]
    fn what_is_printed_is_a_policy() {
        let parsed = StsPolicy::parse(&policy(&plan())).unwrap();
        assert!(parsed.mx[0].matches(&Domain::parse("mail.example.com").unwrap()));
        let mut enforced = plan();
        enforced.mode = Mode::Enforce;
        assert_ne!(id(&policy(&plan())), id(&policy(&enforced)));
    }

    #[test]
    fn a_policy_must_name_the_mx() {
        let record = &["v=STSv1; id=1"][..];
        let text =
            |mode: &str, host: &str| format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n");
        for (records, policy, expected) in [
            (record, Some(Ok(text("enforce", "*.example.com"))), "ok MTA-STS of example.com: enforce"),
            (record, Some(Ok(text("testing", "mail.example.com"))), "ok MTA-STS of example.com: testing"),
            (
                record,
                Some(Ok(text("enforce", "mx.example.net"))),
                "fail the MTA-STS policy of example.com does not name its MX mail.example.com",
            ),
            (
                record,
                Some(Ok(text("testing", "mx.example.net"))),
                "warn the MTA-STS policy of example.com does not name",
            ),
            (
                record,
                Some(Err("cannot be fetched: HTTP status 404".to_owned())),
                "fail example.com has an MTA-STS record, but its policy at https://mta-sts.example.com/.well-known/mta-sts.txt cannot be fetched",
            ),
            (record, None, "ok MTA-STS record of example.com; its policy was not fetched"),
            (
                &["v=STSv1; id=1", "v=STSv1; id=2"][..],
                None,
                "fail the MTA-STS record of example.com is there twice",
            ),
            (&["other"][..], None, "warn example.com has no MTA-STS"),
        ] {
            let policy = policy.as_ref().map(|policy| policy.as_deref().map_err(String::as_str));
            let lines = said(&PART, &plan(), &with(records, policy));
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}, expected {expected}");
        }
    }
}
