//! Lists in DNS that list us: our addresses, and our domains.
//!
//! Each list is tried first (RFC 5782, 5), so that one that refuses our resolver, or lists the world, is not believed. These are lists
//! that large receivers ask; being on one is a reason to look for a stolen login before asking to be taken off.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::future::join_all;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::dns::lists::{Condition, is_listing, is_refusal, reversed, try_list};
use gatepost::mail::Domain;

use super::report::Report;

/// A list.
struct List {
    zone: &'static str,
    holds: Holds,
    /// Where one is taken off.
    page: &'static str,
}

/// What stands on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// IPv4 addresses.
    Four,
    /// Both families.
    Addresses,
    /// Domains; the name that always stands on it.
    Domains(&'static str),
}

const LISTS: &[List] = &[
    List { zone: "zen.spamhaus.org", holds: Holds::Addresses, page: "https://check.spamhaus.org" },
    List { zone: "bl.spamcop.net", holds: Holds::Four, page: "https://www.spamcop.net/bl.shtml" },
    List {
        zone: "b.barracudacentral.org",
        holds: Holds::Four,
        page: "https://www.barracudacentral.org/rbl/removal-request",
    },
    List { zone: "bl.mailspike.net", holds: Holds::Four, page: "https://mailspike.io/ip_verify" },
    List { zone: "psbl.surriel.com", holds: Holds::Four, page: "https://psbl.org" },
    List { zone: "bl.blocklist.de", holds: Holds::Four, page: "https://www.blocklist.de/en/delist.html" },
    List {
        zone: "dbl.spamhaus.org",
        holds: Holds::Domains("dbltest.com"),
        page: "https://check.spamhaus.org",
    },
    List {
        zone: "multi.surbl.org",
        holds: Holds::Domains("test.surbl.org"),
        page: "https://surbl.org/surbl-analysis",
    },
    List {
        zone: "multi.uribl.com",
        holds: Holds::Domains("test.uribl.com"),
        page: "https://admin.uribl.com",
    },
];

pub(super) async fn check(
    resolver: &Resolver,
    addresses: &[IpAddr],
    domains: &[Domain],
    report: &mut Report,
) {
    let domains = &domains[..domains.len().min(MAX_DOMAINS)];
    for (list, (condition, listed)) in
        LISTS.iter().zip(join_all(LISTS.iter().map(|list| ask(resolver, list, addresses, domains))).await)
    {
        let zone = list.zone;
        match condition {
            Condition::Well if listed.is_empty() => report.ok(&format!("{zone} lists none of ours")),
            Condition::Well => {
                for (what, answer) in listed {
                    report.fail(&format!("{zone} lists {what} ({answer}): look for a stolen login (`gatepost limits show`, `gatepost stats`), then {}", list.page));
                }
            }
            Condition::Refuses => report.warn(&format!(
                "{zone} does not answer this resolver; name one of your own in [dns] servers"
            )),
            Condition::ListsEverything | Condition::LacksEntry => report.warn(&format!(
                "{zone} answers nonsense, so that it cannot be asked; is the resolver honest?"
            )),
            Condition::Silent => report.warn(&format!("{zone} does not answer now")),
        }
    }
}

async fn ask(
    resolver: &Resolver,
    list: &List,
    addresses: &[IpAddr],
    domains: &[Domain],
) -> (Condition, Vec<(String, Ipv4Addr)>) {
    let names: Vec<(String, String)> = match list.holds {
        Holds::Domains(_) => {
            domains.iter().map(|domain| (domain.to_string(), format!("{domain}.{}", list.zone))).collect()
        }
        holds => addresses
            .iter()
            .filter(|address| holds == Holds::Addresses || address.is_ipv4())
            .map(|address| (address.to_string(), reversed(*address, list.zone)))
            .collect(),
    };
    let (listed, unlisted) = match list.holds {
        Holds::Domains(entry) => (format!("{entry}.{}", list.zone), format!("invalid.{}", list.zone)),
        _ => (reversed(LISTED, list.zone), reversed(UNLISTED, list.zone)),
    };
    // 127.0.0.1 is how SURBL and URIBL say that they do not answer.
    let refuses = |answer: Ipv4Addr| is_refusal(answer) || answer == Ipv4Addr::LOCALHOST;
    let condition = try_list(resolver, Some(&listed), &unlisted, refuses).await;
    if condition != Condition::Well {
        return (condition, Vec::new());
    }
    let asked = names.into_iter().map(async |(what, name)| (what, resolver.ipv4(&name).await));
    let answers = join_all(asked).await.into_iter().filter_map(|(what, answer)| match answer {
        Lookup::Found(found) => {
            let listing = found.records.into_iter().find(|one| is_listing(*one) && !refuses(*one))?;
            Some((what, listing))
        }
        _ => None,
    });
    (condition, answers.collect())
}

/// RFC 5782, 5: always and never listed.
const LISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
const UNLISTED: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1));

/// Lists are free for who asks little.
const MAX_DOMAINS: usize = 50;
