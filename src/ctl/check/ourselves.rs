//! This host as others see it: the name that it greets with, the addresses of that name, and theirs names in return.

use std::net::IpAddr;

use futures_util::future::join_all;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::Domain;

use super::facts::postfix::Postfix;
use super::report::Report;

/// What is known of it.
pub(in crate::ctl) struct Ourselves {
    /// Postfix's `smtp_helo_name`, by default `myhostname`; none without Postfix, or without a dot in it.
    pub(in crate::ctl) name: Option<Domain>,
    /// What DNS says of the name.
    addresses: Lookup<Vec<IpAddr>>,
    /// Whence mail leaves: `smtp_bind_address` and its kin where they are set, else the addresses of the name; those that the world
    /// can see only.
    outgoing: Vec<IpAddr>,
    /// For each of them, its names.
    names: Vec<(IpAddr, Lookup<Vec<String>>)>,
}

impl Ourselves {
    pub(in crate::ctl) async fn find(resolver: &Resolver, postfix: Option<&Postfix>) -> Self {
        let said = postfix
            .and_then(|postfix| postfix.value("smtp_helo_name").or_else(|| postfix.value("myhostname")));
        let name = said.filter(|name| name.contains('.')).and_then(|name| Domain::parse(name).ok());
        let addresses = match &name {
            Some(name) => resolver.addresses(name.as_str()).await,
            None => Lookup::None,
        };
        let bound: Vec<IpAddr> = ["smtp_bind_address", "smtp_bind_address6"]
            .iter()
            .filter_map(|name| postfix?.value(name)?.trim_matches(['[', ']']).parse().ok())
            .filter(|address| is_public(*address))
            .collect();
        let outgoing = match (&addresses, bound.is_empty()) {
            (Lookup::Found(found), true) => {
                found.iter().copied().filter(|address| is_public(*address)).collect()
            }
            _ => bound,
        };
        let names = join_all(outgoing.iter().map(async |address| (*address, resolver.names(*address).await)));
        Self { name, addresses, names: names.await, outgoing }
    }

    /// Whence mail leaves.
    pub(in crate::ctl) fn outgoing(&self) -> &[IpAddr] {
        &self.outgoing
    }
}

/// The name must lead to the address and the address to the name (RFC 1912, 2.1; RFC 5321, 4.1.4): who does not is taken for a bot.
pub(super) fn judge(ourselves: &Ourselves, report: &mut Report) {
    let Some(name) = &ourselves.name else {
        return report.warn("Postfix says no full name of this host (myhostname): names and addresses cannot be compared; `postconf -e myhostname=mail.example.com`");
    };
    match &ourselves.addresses {
        Lookup::Found(found) if ourselves.outgoing.is_empty() => {
            let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
            return report.fail(&format!("{name}, by which Postfix greets, has only addresses that the world does not see ({}); publish its public ones", shown.join(", ")));
        }
        Lookup::Found(_) => {}
        Lookup::None => {
            return report.fail(&format!("{name}, by which Postfix greets, has no address in DNS: others refuse its mail; publish an A or AAAA record, or `postconf -e smtp_helo_name=…`"));
        }
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("{name}: {why}"));
        }
    }
    for (address, names) in &ourselves.names {
        match names {
            Lookup::Found(names) if names.iter().any(|one| one == name.as_str()) => {
                report.ok(&format!("{address} is {name}, and {name} is {address}"));
            }
            Lookup::Found(names) => report.warn(&format!(
                "{address} is called {} (PTR), and Postfix greets as {name}; let whoever gave you the address call it {name}",
                super::super::zone::cut(&names.join(", "))
            )),
            Lookup::None => report.fail(&format!(
                "{address} has no name (PTR): large receivers refuse its mail; let whoever gave you the address call it {name}"
            )),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => report.warn(&format!("{address}: {why}")),
        }
    }
}

/// Whether the world can reach it (RFC 6890). Addresses of documentation count: tests have no others.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(four) => {
            let shared = four.octets()[0] == 100 && four.octets()[1] & 0xc0 == 64;
            !(four.is_private()
                || four.is_loopback()
                || four.is_link_local()
                || four.is_unspecified()
                || shared)
        }
        IpAddr::V6(six) => {
            !(six.is_loopback()
                || six.is_unspecified()
                || six.is_unique_local()
                || six.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn said(addresses: Lookup<Vec<&str>>, names: &[(&str, Lookup<Vec<String>>)]) -> Vec<String> {
        let parsed =
            addresses.map(|found| found.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>());
        let outgoing =
            parsed.clone().found().unwrap_or_default().into_iter().filter(|one| is_public(*one)).collect();
        let names = names.iter().map(|(address, names)| (address.parse().unwrap(), names.clone())).collect();
        let ourselves =
            Ourselves { name: Domain::parse("mail.example.com").ok(), addresses: parsed, outgoing, names };
        let mut report = Report::default();
        judge(&ourselves, &mut report);
        report.lines()
    }

    #[test]
    fn name_and_address_lead_to_each_other() {
        let called = |name: &str| Lookup::Found(vec![name.to_owned()]);
        let address = "203.0.113.9";
        let here = || Lookup::Found(vec![address]);
        assert_eq!(
            said(here(), &[(address, called("mail.example.com"))]),
            ["ok 203.0.113.9 is mail.example.com, and mail.example.com is 203.0.113.9"]
        );
        assert!(
            said(here(), &[(address, called("host9.isp.test"))])[0]
                .starts_with("warn 203.0.113.9 is called host9.isp.test (PTR)")
        );
        assert!(said(here(), &[(address, Lookup::None)])[0].starts_with("fail 203.0.113.9 has no name"));
        assert!(
            said(Lookup::None, &[])[0]
                .starts_with("fail mail.example.com, by which Postfix greets, has no address")
        );
        assert!(
            said(Lookup::Found(vec!["10.0.0.7", "fd00::1", "100.64.0.1"]), &[])[0]
                .contains("does not see (10.0.0.7, fd00::1, 100.64.0.1)")
        );
        assert!(
            said(Lookup::Unavailable("DNS is away".into()), &[])[0]
                .starts_with("warn mail.example.com: DNS is away")
        );
    }
}
