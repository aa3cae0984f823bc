//! DMARC (RFC 9989): what others do with mail in the domain's name that is not from us.

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report, cut, mailto, tag, txt};

pub(super) const PART: Part = Part {
    name: "dmarc",
    about: "DMARC (RFC 9989): what others do with forgeries; begin with p=none, then quarantine, then reject",
    checked: true,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    let text = format!("v=DMARC1; p={}; rua={}", plan.policy, mailto(&plan.reports));
    vec![txt(format!("_dmarc.{}", plan.domain), &text)]
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    let records = match &answers.dmarc {
        Lookup::Found(records) => records.as_slice(),
        Lookup::None => &[],
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("DMARC of {domain}: {why}"));
        }
    };
    let records: Vec<&String> = records.iter().filter(|text| is_dmarc(text)).collect();
    let record = match records.as_slice() {
        [] => {
            return report.warn(&format!("{domain} has no DMARC record: anybody may write in its name, and large receivers ask for one; `gatepost domain dns {domain}`"));
        }
        [one] => one.as_str(),
        more => {
            return report.fail(&format!(
                "{domain} has {} DMARC records, so that none counts (RFC 9989, 4.10); leave one",
                more.len()
            ));
        }
    };
    let shown = cut(record);
    let silent =
        if tag(record, "rua").is_none() { "; nobody reports to you: add rua=mailto:…" } else { "" };
    match tag(record, "p").map(str::to_ascii_lowercase).as_deref() {
        Some(policy @ ("quarantine" | "reject")) => {
            report.ok(&format!("DMARC of {domain} asks for {policy} ({shown}){silent}"));
        }
        Some("none") => report.warn(&format!(
            "DMARC of {domain} asks for nothing ({shown}){silent}; when its reports are good (`gatepost dmarc read`), make it quarantine, then reject"
        )),
        _ => report.fail(&format!("DMARC of {domain} has no p=none, quarantine or reject ({shown}); `gatepost domain dns {domain}`")),
    }
}

/// RFC 9989, 4.7: the version is the first tag, in this very spelling.
fn is_dmarc(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(name, value)| name.trim() == "v" && value.trim() == "DMARC1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    #[test]
    fn policies_and_what_is_none() {
        for (records, expected) in [
            (
                &["v=DMARC1; p=reject; rua=mailto:a@example.com"][..],
                "ok DMARC of example.com asks for reject (v=DMARC1; p=reject; rua=mailto:a@example.com)",
            ),
            (
                &["v=DMARC1; p=quarantine"][..],
                "ok DMARC of example.com asks for quarantine (v=DMARC1; p=quarantine); nobody reports to you",
            ),
            (&["v=DMARC1;p=none;rua=mailto:a@b.test"][..], "warn DMARC of example.com asks for nothing"),
            (&["v=DMARC1; sp=reject"][..], "fail DMARC of example.com has no p="),
            (&["v=DMARC1; p=none", "v=DMARC1; p=reject"][..], "fail example.com has 2 DMARC records"),
            (&["v=DMARC10; p=reject", "p=reject; v=DMARC1"][..], "warn example.com has no DMARC record"),
        ] {
            let mut answers = Answers::nothing();
            answers.dmarc = Lookup::Found(records.iter().map(|text| (*text).to_owned()).collect());
            let lines = said(&PART, &plan(), &answers);
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}, expected {expected}");
        }
    }
}
