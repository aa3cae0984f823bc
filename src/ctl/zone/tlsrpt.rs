//! TLSRPT (RFC 8460): where others report on encryption.

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report, cut, mailto, tag, txt};

pub(super) const PART: Part = Part {
    name: "tlsrpt",
    about: "TLSRPT (RFC 8460): where others report on encryption",
    checked: true,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    vec![txt(format!("_smtp._tls.{}", plan.domain), &format!("v=TLSRPTv1; rua={}", mailto(&plan.reports)))]
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    let records = match &answers.tlsrpt {
        Lookup::Found(records) => records.as_slice(),
        Lookup::None => &[],
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("TLSRPT of {domain}: {why}"));
        }
    };
    // RFC 8460, 3: other records do not count; more than one, and there is none.
    let records: Vec<&String> = records.iter().filter(|text| text.starts_with("v=TLSRPTv1;")).collect();
    match records.as_slice() {
        [] => report.warn(&format!("{domain} has no TLSRPT record: nobody tells you when encryption fails; `gatepost domain dns {domain}`")),
        [one] => match tag(one, "rua") {
            Some(rua) if rua.starts_with("mailto:") || rua.starts_with("https:") => {
                report.ok(&format!("TLSRPT of {domain} goes to {}", cut(rua)));
            }
            _ => report.fail(&format!("the TLSRPT record of {domain} has no rua=mailto: or https: ({}); `gatepost domain dns {domain}`", cut(one))),
        },
        more => report.fail(&format!("{domain} has {} TLSRPT records, so that none counts (RFC 8460, 3); leave one", more.len())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    #[test]
    fn exactly_one_record_with_an_address() {
        for (records, expected) in [
            (
                &["v=TLSRPTv1; rua=mailto:tls@example.com"][..],
                "ok TLSRPT of example.com goes to mailto:tls@example.com",
            ),
            (&["v=TLSRPTv1; rua=tls@example.com"][..], "fail the TLSRPT record"),
            (
                &["v=TLSRPTv1; rua=mailto:a@b", "v=TLSRPTv1; rua=mailto:c@d"][..],
                "fail example.com has 2 TLSRPT records",
            ),
            (&["x"][..], "warn example.com has no TLSRPT record"),
        ] {
            let mut answers = Answers::nothing();
            answers.tlsrpt = Lookup::Found(records.iter().map(|text| (*text).to_owned()).collect());
            let lines = said(&PART, &plan(), &answers);
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}, expected {expected}");
        }
    }
}
