//! SPF (RFC 7208): who may send in the domain's name.

use gatepost::directory::Lookup;
use gatepost::spf::SpfResult;

use super::{Answers, Line, Part, Plan, Report, cut, txt};

pub(super) const PART: Part = Part {
    name: "spf",
    about: "SPF (RFC 7208): who may send in its name; mx are the hosts above",
    checked: true,
    lines,
    judge,
};

const RECORD: &str = "v=spf1 mx -all";

fn lines(plan: &Plan) -> Vec<Line> {
    vec![txt(plan.domain.to_string(), RECORD)]
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    let advice = format!("`gatepost domain dns {domain}`");
    let records = match &answers.txt {
        Lookup::Found(records) => records.as_slice(),
        Lookup::None => &[],
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("SPF of {domain}: {why}"));
        }
    };
    let records: Vec<&String> = records.iter().filter(|text| is_spf(text)).collect();
    let record = match records.as_slice() {
        [] => {
            return report
                .fail(&format!("{domain} has no SPF record: large receivers refuse its mail; {advice}"));
        }
        [one] => cut(one),
        more => {
            return report.fail(&format!(
                "{domain} has {} SPF records, so that none counts (RFC 7208, 4.5); leave one",
                more.len()
            ));
        }
    };
    if let Some(nobody) = &answers.spf_of_nobody {
        match nobody.result {
            SpfResult::Pass => {
                return report
                    .fail(&format!("SPF of {domain} lets everybody send in its name ({record}); {advice}"));
            }
            SpfResult::PermError => {
                let why = nobody.problem.as_deref().unwrap_or("it is broken");
                return report.fail(&format!("SPF of {domain}: {why} ({record})"));
            }
            SpfResult::TempError => {
                let why = nobody.problem.as_deref().unwrap_or("DNS does not answer");
                return report.warn(&format!("SPF of {domain} cannot be judged now: {why}"));
            }
            _ => {}
        }
    }
    let refused: Vec<_> =
        answers.spf.iter().filter(|(_, outcome)| outcome.result != SpfResult::Pass).collect();
    for (address, outcome) in &refused {
        let result = outcome.result.as_str();
        report.fail(&format!("mail of {domain} from {address}, an address of this host, gets {result} from its SPF record ({record}); {advice}"));
    }
    if refused.is_empty() {
        let passing: Vec<String> = answers.spf.iter().map(|(address, _)| address.to_string()).collect();
        let passes =
            if passing.is_empty() { String::new() } else { format!(", passes for {}", passing.join(", ")) };
        report.ok(&format!("SPF of {domain}{passes} ({record})"));
    }
}

/// RFC 7208, 4.5.
fn is_spf(text: &str) -> bool {
    let head = text.get(..6).unwrap_or_default();
    head.eq_ignore_ascii_case("v=spf1")
        && text.get(6..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::spf::{SpfOutcome, SpfScope};

    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    fn with(records: &[&str], nobody: SpfResult, us: SpfResult) -> Answers {
        let outcome = |result| SpfOutcome::new(result, "example.com", SpfScope::MailFrom);
        let mut answers = Answers::nothing();
        answers.txt = Lookup::Found(records.iter().map(|text| (*text).to_owned()).collect());
        answers.spf = vec![("203.0.113.9".parse().unwrap(), outcome(us))];
        answers.spf_of_nobody = Some(outcome(nobody));
        answers
    }

    #[test]
    fn a_record_is_judged_by_what_it_does() {
        use SpfResult::{Fail, Pass, PermError, SoftFail, TempError};
        for (records, nobody, us, expected) in [
            (
                &["v=spf1 mx -all", "other"][..],
                Fail,
                Pass,
                "ok SPF of example.com, passes for 203.0.113.9 (v=spf1 mx -all)",
            ),
            (&["other", "v=spf10 mx"][..], Fail, Pass, "fail example.com has no SPF record"),
            (&["v=spf1 -all", "V=SPF1 mx"][..], PermError, PermError, "fail example.com has 2 SPF records"),
            (&["v=spf1 +all"][..], Pass, Pass, "fail SPF of example.com lets everybody send"),
            (&["v=spf1 nonsense"][..], PermError, PermError, "fail SPF of example.com: it is broken"),
            (
                &["v=spf1 include:x ~all"][..],
                TempError,
                TempError,
                "warn SPF of example.com cannot be judged now",
            ),
            (
                &["v=spf1 ip4:192.0.2.77 ~all"][..],
                SoftFail,
                SoftFail,
                "fail mail of example.com from 203.0.113.9, an address of this host, gets softfail",
            ),
        ] {
            let lines = said(&PART, &plan(), &with(records, nobody, us));
            assert!(lines.len() == 1 && lines[0].starts_with(expected), "{lines:?}, expected {expected}");
        }
    }
}
