//! MX (RFC 5321, 5.1): the hosts that take the domain's mail.

use std::net::IpAddr;

use gatepost::directory::Lookup;

use super::{Answers, Line, Part, Plan, Report};

pub(super) const PART: Part = Part {
    name: "mx",
    about: "MX (RFC 5321, 5.1): the hosts that take the mail",
    checked: true,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    let hosts = plan.hosts.iter();
    hosts.map(|(rank, host)| Line::Record(plan.domain.to_string(), "MX", format!("{rank} {host}."))).collect()
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    let domain = &plan.domain;
    let found = match &answers.mx {
        Lookup::Found(found) => found,
        Lookup::None => {
            return report.fail(&format!("{domain} has no MX: its mail goes to whatever address {domain} has, or nowhere; `gatepost domain dns {domain}`"));
        }
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("MX of {domain}: {why}"));
        }
    };
    if found.iter().any(|(_, host)| host.is_empty()) {
        return report.fail(&format!(
            "DNS says that {domain} takes no mail (RFC 7505); publish its MX: `gatepost domain dns {domain}`"
        ));
    }
    let before = report.lines_left();
    for (_, host) in found {
        if host.parse::<IpAddr>().is_ok() {
            report.fail(&format!(
                "MX {host} of {domain} is an address; an MX must name a host (RFC 5321, 5.1)"
            ));
        }
    }
    for (host, addresses) in &answers.mx_addresses {
        match addresses {
            Lookup::None if host.parse::<IpAddr>().is_err() => {
                report.fail(&format!(
                    "MX {host} of {domain} has no address; publish an A or AAAA record for it"
                ));
            }
            Lookup::Unavailable(why) => report.warn(&format!("MX {host} of {domain}: {why}")),
            _ => {}
        }
    }
    let names: Vec<&str> = found.iter().map(|(_, host)| host.as_str()).collect();
    let shown = names.join(", ");
    if plan.named {
        for (_, host) in plan.hosts.iter().filter(|(_, host)| !names.contains(&host.as_str())) {
            report.fail(&format!("MX of {domain} are {shown}; {host} is not among them"));
        }
        for name in names.iter().filter(|name| !plan.hosts.iter().any(|(_, host)| host.as_str() == **name)) {
            report.warn(&format!("{domain} has another MX in DNS, {name}; is it yours?"));
        }
    } else if !leads_here(plan, answers, &names) {
        report.warn(&format!(
            "mail for {domain} goes to {shown}, and not to this host{}; change its MX, or let it be if another host of yours takes it",
            plan.our_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default()
        ));
    }
    if report.lines_left() == before {
        report.ok(&format!("MX of {domain}: {shown}"));
    }
}

/// By name or address; yes where nothing is known of this host.
fn leads_here(plan: &Plan, answers: &Answers, names: &[&str]) -> bool {
    let Some(our_name) = &plan.our_name else { return true };
    let ours = |addresses: &Lookup<Vec<IpAddr>>| matches!(addresses, Lookup::Found(found) if found.iter().any(|one| plan.our_addresses.contains(one)));
    names.contains(&our_name.as_str()) || answers.mx_addresses.iter().any(|(_, addresses)| ours(addresses))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::ctl::zone::tests::{plan, said};

    fn with(hosts: &[(u16, &str, &[&str])]) -> Answers {
        let mut answers = Answers::nothing();
        answers.mx = Lookup::Found(hosts.iter().map(|(rank, host, _)| (*rank, (*host).to_owned())).collect());
        for (_, host, addresses) in hosts {
            let found: Vec<IpAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
            let found = if found.is_empty() { Lookup::None } else { Lookup::Found(found) };
            answers.mx_addresses.push(((*host).to_owned(), found));
        }
        answers
    }

    #[test]
    fn an_mx_leads_here_by_name_or_address() {
        let good = ["ok MX of example.com: mail.example.com"];
        assert_eq!(said(&PART, &plan(), &with(&[(10, "mail.example.com", &["203.0.113.9"])])), good);
        let other = with(&[(10, "mx.example.net", &["203.0.113.9"])]);
        assert_eq!(said(&PART, &plan(), &other), ["ok MX of example.com: mx.example.net"]);
        let elsewhere = with(&[(10, "mx.example.net", &["198.51.100.1"])]);
        let lines = said(&PART, &plan(), &elsewhere);
        assert!(
            lines[0].starts_with(
                "warn mail for example.com goes to mx.example.net, and not to this host (mail.example.com)"
            ),
            "{lines:?}"
        );
    }

    #[test]
    fn what_loses_mail_fails() {
        for (answers, expected) in [
            (Answers::nothing(), "fail example.com has no MX"),
            (with(&[(0, "", &[])]), "fail DNS says that example.com takes no mail"),
            (
                with(&[(10, "mail.example.com", &[])]),
                "fail MX mail.example.com of example.com has no address",
            ),
            (with(&[(10, "203.0.113.9", &[])]), "fail MX 203.0.113.9 of example.com is an address"),
        ] {
            let lines = said(&PART, &plan(), &answers);
            assert!(lines[0].starts_with(expected), "{lines:?}");
        }
    }

    #[test]
    fn hosts_that_were_named_must_be_there() {
        let mut plan = plan();
        plan.named = true;
        let lines = said(&PART, &plan, &with(&[(10, "mx.example.net", &["203.0.113.9"])]));
        assert!(
            lines[0].starts_with("fail MX of example.com are mx.example.net; mail.example.com is not among"),
            "{lines:?}"
        );
        assert!(lines[1].starts_with("warn example.com has another MX in DNS, mx.example.net"), "{lines:?}");
    }
}
