//! DANE for SMTP (RFC 7672): whether the hosts that take mail for a domain publish TLSA records that DNSSEC vouches for.
//!
//! For `tls`. What the records demand is verified by Postfix itself, which asks DNS again; here it is only decided whether
//! DANE applies, because then MTA-STS must not be asked (RFC 8461, 2).
//!
//! | MX of the domain | TLSA of its hosts | answer |
//! |---|---|---|
//! | not secure | | [`Dane::No`] |
//! | secure | usable for all | [`Dane::All`] |
//! | secure | usable for some, or DNS does not say now | [`Dane::Some`]: Postfix looks host by host, and defers for a host of which it cannot know |
//! | secure | none | [`Dane::No`] |
//!
//! A host whose own addresses are not secure has no TLSA (RFC 7672, 2.2.2). A domain without MX is its own host (RFC 5321, 5.1).

use futures_util::future::join_all;
use gatepost::directory::Lookup;
use gatepost::dns::{Answer, Dnssec, Resolver, Tlsa};
use gatepost::mail::Domain;

/// Whether DANE applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dane {
    /// To every host.
    All,
    /// To some, or nobody can say for some.
    Some,
    /// To none.
    No,
}

/// Whether DANE applies to mail for a domain, by its MX.
pub(super) async fn of_domain(resolver: &Resolver, domain: &Domain) -> Lookup<Dane> {
    let exchangers = match resolver.mx_answer(domain.as_str()).await {
        Lookup::Found(answer) => answer,
        Lookup::None => return Lookup::Found(of_host(resolver, domain.as_str(), 25).await),
        Lookup::Unavailable(why) => return Lookup::Unavailable(why),
        Lookup::Misconfigured(why) => return Lookup::Misconfigured(why),
    };
    if exchangers.dnssec != Dnssec::Secure {
        return Lookup::Found(Dane::No);
    }
    let mut hosts = exchangers.records;
    hosts.sort();
    hosts.dedup();
    // The null MX (RFC 7505) takes no mail, encrypted or not.
    hosts.retain(|(_, host)| !host.is_empty());
    hosts.truncate(MAX_HOSTS);
    let found = join_all(hosts.iter().map(|(_, host)| of_host(resolver, host, 25))).await;
    let all = !found.is_empty() && found.iter().all(|dane| *dane == Dane::All);
    let any = found.iter().any(|dane| *dane != Dane::No);
    Lookup::Found(match (all, any) {
        (true, _) => Dane::All,
        (false, true) => Dane::Some,
        (false, false) => Dane::No,
    })
}

/// Whether DANE applies to one host: [`Dane::Some`] where DNS cannot say now.
pub(super) async fn of_host(resolver: &Resolver, host: &str, port: u16) -> Dane {
    match is_host_secure(resolver, host).await {
        Lookup::Found(true) => {}
        Lookup::Found(false) | Lookup::None => return Dane::No,
        Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return Dane::Some,
    }
    match resolver.tlsa(&format!("_{port}._tcp.{host}")).await {
        Lookup::Found(Answer { dnssec: Dnssec::Secure, records }) if records.iter().any(Tlsa::is_usable) => {
            Dane::All
        }
        // Records of which none is usable demand encryption without authentication (RFC 7672, 2.2): Postfix's affair too.
        Lookup::Found(Answer { dnssec: Dnssec::Secure, .. }) => Dane::Some,
        Lookup::Found(_) | Lookup::None => Dane::No,
        Lookup::Unavailable(_) | Lookup::Misconfigured(_) => Dane::Some,
    }
}

/// Whether the host's addresses are secure; those of one family are enough, the other may be missing.
async fn is_host_secure(resolver: &Resolver, host: &str) -> Lookup<bool> {
    let (four, six) = tokio::join!(resolver.ipv4(host), resolver.ipv6(host));
    let four = four.map(|answer| answer.dnssec == Dnssec::Secure);
    let six = six.map(|answer| answer.dnssec == Dnssec::Secure);
    match (four, six) {
        (Lookup::Found(four), Lookup::Found(six)) => Lookup::Found(four && six),
        (Lookup::Found(one), _) | (_, Lookup::Found(one)) => Lookup::Found(one),
        (Lookup::None, other) | (other, _) => other,
    }
}

/// Postfix tries as many hosts at the most (`smtp_mx_address_limit` is 5 addresses).
const MAX_HOSTS: usize = 20;
