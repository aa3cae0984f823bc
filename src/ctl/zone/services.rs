//! SRV records (RFC 6186, RFC 8314; ManageSieve: RFC 5804): how mail programs find IMAP and submission by an address alone.
//!
//! Encrypted from the first byte is what is offered (RFC 8314, 3); that the others are not is said by a "." (RFC 6186, 3.4).

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report};

pub(super) const PART: Part = Part {
    name: "srv",
    about: "SRV (RFC 6186, RFC 8314, RFC 5804): how mail programs find the services; \".\" says that there is none",
    checked: false,
    lines,
    judge,
};

/// One service; no port: it is not offered.
pub(super) struct Offer {
    pub(super) service: &'static str,
    priority: u16,
    port: Option<u16>,
}

const fn offer(service: &'static str, priority: u16, port: Option<u16>) -> Offer {
    Offer { service, priority, port }
}

pub(super) fn offers(plan: &Plan) -> Vec<Offer> {
    let mut offers = vec![
        offer("_submissions._tcp", 0, Some(465)),
        offer("_submission._tcp", 10, Some(587)),
        offer("_imaps._tcp", 0, Some(993)),
        offer("_imap._tcp", 0, None),
        offer("_pop3s._tcp", 0, plan.pop3.then_some(995)),
        offer("_pop3._tcp", 0, None),
        offer("_sieve._tcp", 0, Some(4190)),
    ];
    if plan.autoconfig.is_some() {
        offers.push(offer("_autodiscover._tcp", 0, Some(443)));
    }
    offers
}

impl Offer {
    fn host(&self, plan: &Plan) -> String {
        let host = match self.service {
            "_autodiscover._tcp" => plan.autoconfig.as_ref(),
            _ => plan.first_host(),
        };
        host.map(ToString::to_string).unwrap_or_default()
    }
}

fn lines(plan: &Plan) -> Vec<Line> {
    let domain = &plan.domain;
    let mut lines: Vec<Line> = offers(plan)
        .iter()
        .map(|offer| {
            let data = match offer.port {
                Some(port) => format!("{} 1 {port} {}.", offer.priority, offer.host(plan)),
                None => "0 0 0 .".to_owned(),
            };
            Line::Record(format!("{}.{domain}", offer.service), "SRV", data)
        })
        .collect();
    match &plan.autoconfig {
        Some(host) => lines.push(Line::Record(format!("autoconfig.{domain}"), "CNAME", format!("{host}."))),
        None => lines.push(Line::Comment("a web server that tells mail programs their settings (autoconfig, autodiscover): --autoconfig HOST".to_owned())),
    }
    lines
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    for offer in offers(plan) {
        let name = format!("{}.{domain}", offer.service);
        let Some((_, answer)) = answers.services.iter().find(|(service, _)| service == offer.service) else {
            continue;
        };
        match (answer, offer.port) {
            (Lookup::Found(found), Some(port)) => {
                let host = offer.host(plan);
                match found.iter().find(|(.., there, target)| *there == port && *target == host) {
                    Some(_) => report.ok(&format!("{name}: {host} port {port}")),
                    None => {
                        report.warn(&format!("{name} leads to {}, not to {host} port {port}", shown(found)))
                    }
                }
            }
            (Lookup::Found(found), None) if found.iter().any(|(.., target)| !target.is_empty()) => {
                report.warn(&format!(
                    "{name} leads to {}: programs may log in there before they encrypt (RFC 8314, 4)",
                    shown(found)
                ));
            }
            (Lookup::Found(_), None) => report.ok(&format!("{name}: not offered")),
            (Lookup::None, Some(_)) => {
                report.warn(&format!("{name} is not there: mail programs have to guess or be told"))
            }
            (Lookup::None, None) => report.ok(&format!("{name}: not offered")),
            (Lookup::Unavailable(why) | Lookup::Misconfigured(why), _) => {
                report.warn(&format!("{name}: {why}"))
            }
        }
    }
}

fn shown(found: &[(u16, u16, u16, String)]) -> String {
    let all: Vec<String> = found.iter().map(|(.., port, host)| format!("{host} port {port}")).collect();
    super::cut(&all.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    #[test]
    fn services_are_where_they_are_said_to_be() {
        let lines: Vec<String> = lines(&plan()).iter().map(ToString::to_string).collect();
        assert!(
            lines.contains(&"_imaps._tcp.example.com. 3600 IN SRV 0 1 993 mail.example.com.".to_owned()),
            "{lines:?}"
        );
        assert!(lines.contains(&"_pop3s._tcp.example.com. 3600 IN SRV 0 0 0 .".to_owned()), "{lines:?}");
        let mut answers = Answers::nothing();
        let server = |port, host: &str| Lookup::Found(vec![(0, 1, port, host.to_owned())]);
        answers.services = vec![
            ("_imaps._tcp".into(), server(993, "mail.example.com")),
            ("_submissions._tcp".into(), server(465, "old.example.com")),
            ("_imap._tcp".into(), server(143, "mail.example.com")),
            ("_pop3._tcp".into(), server(0, "")),
            ("_sieve._tcp".into(), Lookup::None),
        ];
        assert_eq!(
            said(&PART, &plan(), &answers),
            [
                "warn _submissions._tcp.example.com leads to old.example.com port 465, not to mail.example.com port 465",
                "ok _imaps._tcp.example.com: mail.example.com port 993",
                "warn _imap._tcp.example.com leads to mail.example.com port 143: programs may log in there before they encrypt (RFC 8314, 4)",
                "ok _pop3._tcp.example.com: not offered",
                "warn _sieve._tcp.example.com is not there: mail programs have to guess or be told",
            ]
        );
    }
}
