//! DANE (RFC 7672): the public key of the certificate that Postfix shows.

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report};

pub(super) const PART: Part = Part {
    name: "tlsa",
    about: "DANE (RFC 7672): only where the zone is signed with DNSSEC; keep the old record until an hour after a new key is in use",
    checked: false,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    match &plan.public_key {
        Some(digest) => {
            let hosts = plan.hosts.iter();
            hosts
                .map(|(_, host)| Line::Record(format!("_25._tcp.{host}"), "TLSA", format!("3 1 1 {digest}")))
                .collect()
        }
        None => vec![Line::Comment("give --certificate FILE for the TLSA records".to_owned())],
    }
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let Some(wanted) = &plan.public_key else { return };
    for (host, answer) in &answers.tlsa {
        match answer {
            Lookup::Found(records) => {
                let hex = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                let fits = |record: &gatepost::dns::Tlsa| {
                    (record.usage, record.selector, record.matching) == (3, 1, 1)
                        && hex(&record.data) == *wanted
                };
                match records.iter().any(fits) {
                    true => report.ok(&format!("TLSA of {host} has the certificate's key")),
                    false => report.fail(&format!("TLSA of {host} has another key than the certificate: whoever checks DANE does not deliver; publish the record above")),
                }
            }
            Lookup::None => report
                .warn(&format!("{host} has no TLSA record; publish it if the zone is signed with DNSSEC")),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                report.warn(&format!("TLSA of {host}: {why}"))
            }
        }
    }
}
