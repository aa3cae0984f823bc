//! CAA (RFC 8659): who may give out certificates for the domain and all below it, the mail host's and mta-sts's included.

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report, cut, mailto};

pub(super) const PART: Part = Part {
    name: "caa",
    about: "CAA (RFC 8659): who may give out certificates for it and all below it, and whom others tell of attempts; --authority for another",
    checked: false,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    let name = plan.domain.to_string();
    vec![
        Line::Record(name.clone(), "CAA", format!("0 issue \"{}\"", plan.authority)),
        Line::Record(name, "CAA", format!("0 iodef \"{}\"", mailto(&plan.reports))),
    ]
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let (domain, wanted) = (&plan.domain, &plan.authority);
    match &answers.caa {
        Lookup::Found((name, records)) => {
            // What follows a semicolon are the authority's own parameters (RFC 8659, 4.2).
            let issuers: Vec<&str> = records
                .iter()
                .filter(|(tag, _)| tag == "issue")
                .map(|(_, value)| value.split(';').next().unwrap_or_default().trim())
                .collect();
            if issuers.is_empty() {
                report.warn(&format!("CAA of {name} names nobody with issue: any authority may give out certificates for {domain}; `gatepost domain dns {domain}`"));
            } else if issuers.iter().any(|issuer| issuer.eq_ignore_ascii_case(wanted)) {
                report.ok(&format!("CAA of {name}: {}", issuers.join(", ")));
            } else {
                report.fail(&format!("CAA of {name} lets {} give out certificates for {domain}, and not {wanted}; if that is where yours come from, they cannot be renewed", cut(&issuers.join(", "))));
            }
        }
        Lookup::None => report.warn(&format!("{domain} has no CAA record: any authority may give out certificates for it; `gatepost domain dns {domain}`")),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => report.warn(&format!("CAA of {domain}: {why}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    #[test]
    fn the_authority_must_be_among_the_issuers() {
        let lines = |records: &[(&str, &str)]| {
            let mut answers = Answers::nothing();
            let records =
                records.iter().map(|(tag, value)| ((*tag).to_owned(), (*value).to_owned())).collect();
            answers.caa = Lookup::Found(("example.com".to_owned(), records));
            said(&PART, &plan(), &answers)
        };
        assert_eq!(
            lines(&[("issue", "other.test"), ("issue", "letsencrypt.org; accounturi=x")]),
            ["ok CAA of example.com: other.test, letsencrypt.org"]
        );
        assert!(lines(&[("issue", ";")])[0].starts_with("fail CAA of example.com"));
        assert!(lines(&[("iodef", "mailto:a@b")])[0].starts_with("warn CAA of example.com names nobody"));
    }
}
