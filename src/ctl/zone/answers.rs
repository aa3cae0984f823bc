//! What DNS, and the web for MTA-STS, say of one domain: everything is asked at once, nothing is judged.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use gatepost::directory::Lookup;
use gatepost::dkim::{self, Finding};
use gatepost::dns::{Resolver, Tlsa};
use gatepost::mta_sts::{Fetcher, StsPolicy, record_id};
use gatepost::spf::{self, Client, SpfOutcome};
use gatepost::store::KeyState;

use super::Plan;
use super::services;

/// A service's servers.
pub(in crate::ctl) type Servers = Lookup<Vec<(u16, u16, u16, String)>>;

/// All of it.
#[derive(Clone, Debug)]
pub(in crate::ctl) struct Answers {
    pub(in crate::ctl) mx: Lookup<Vec<(u16, String)>>,
    /// The addresses of each MX.
    pub(in crate::ctl) mx_addresses: Vec<(String, Lookup<Vec<IpAddr>>)>,
    /// All TXT records of the domain itself.
    pub(in crate::ctl) txt: Lookup<Vec<String>>,
    /// What SPF comes to for each address from which our mail leaves, and for one that is nobody's.
    pub(in crate::ctl) spf: Vec<(IpAddr, SpfOutcome)>,
    pub(in crate::ctl) spf_of_nobody: Option<SpfOutcome>,
    /// For each key of the plan.
    pub(in crate::ctl) keys: Vec<Lookup<Finding>>,
    pub(in crate::ctl) dmarc: Lookup<Vec<String>>,
    /// The nearest name that has CAA records, with them.
    pub(in crate::ctl) caa: Lookup<(String, Vec<(String, String)>)>,
    pub(in crate::ctl) sts: Lookup<Vec<String>>,
    /// None where there is no record, or the web is not asked.
    pub(in crate::ctl) sts_policy: Option<Result<StsPolicy, String>>,
    pub(in crate::ctl) tlsrpt: Lookup<Vec<String>>,
    /// For each host of the plan, if TLSA records are wanted.
    pub(in crate::ctl) tlsa: Vec<(String, Lookup<Vec<Tlsa>>)>,
    /// By the service's name, such as `_imaps._tcp`; if services are asked for.
    pub(in crate::ctl) services: Vec<(String, Servers)>,
}

/// What is asked beside what always is.
pub(in crate::ctl) struct Extent<'a> {
    /// Fetches MTA-STS policies; none: the web is not asked.
    pub(in crate::ctl) web: Option<&'a Fetcher>,
    /// CAA, TLSA and SRV records too.
    pub(in crate::ctl) everything: bool,
}

impl Answers {
    pub(in crate::ctl) async fn ask(resolver: &Resolver, plan: &Plan, extent: Extent<'_>) -> Self {
        let domain = plan.domain.as_str();
        let (mail, policies, others) = tokio::join!(
            async {
                tokio::join!(
                    exchangers(resolver, domain),
                    resolver.txt(domain),
                    senders(resolver, plan),
                    keys(resolver, plan)
                )
            },
            async {
                let (dmarc, tlsrpt) = (format!("_dmarc.{domain}"), format!("_smtp._tls.{domain}"));
                tokio::join!(
                    resolver.txt(&dmarc),
                    resolver.txt(&tlsrpt),
                    transport(resolver, plan, extent.web)
                )
            },
            async {
                if extent.everything {
                    tokio::join!(authorities(resolver, domain), tlsa(resolver, plan), offered(resolver, plan))
                } else {
                    (Lookup::None, Vec::new(), Vec::new())
                }
            }
        );
        let ((mx, mx_addresses), txt, (spf, spf_of_nobody), keys) = mail;
        let (dmarc, tlsrpt, (sts, sts_policy)) = policies;
        let (caa, tlsa, services) = others;
        Self {
            mx,
            mx_addresses,
            txt,
            spf,
            spf_of_nobody,
            keys,
            dmarc,
            caa,
            sts,
            sts_policy,
            tlsrpt,
            tlsa,
            services,
        }
    }

    /// A domain of which DNS knows nothing.
    #[cfg(test)]
    pub(in crate::ctl) fn nothing() -> Self {
        Self {
            mx: Lookup::None,
            mx_addresses: Vec::new(),
            txt: Lookup::None,
            spf: Vec::new(),
            spf_of_nobody: None,
            keys: Vec::new(),
            dmarc: Lookup::None,
            caa: Lookup::None,
            sts: Lookup::None,
            sts_policy: None,
            tlsrpt: Lookup::None,
            tlsa: Vec::new(),
            services: Vec::new(),
        }
    }
}

type Exchangers = (Lookup<Vec<(u16, String)>>, Vec<(String, Lookup<Vec<IpAddr>>)>);

async fn exchangers(resolver: &Resolver, domain: &str) -> Exchangers {
    let found = resolver.mx(domain).await;
    let Lookup::Found(hosts) = &found else { return (found, Vec::new()) };
    let asked = hosts
        .iter()
        .filter(|(_, host)| !host.is_empty())
        .take(MAX_HOSTS)
        .map(async |(_, host)| (host.clone(), resolver.addresses(host).await));
    let addresses = join_all(asked).await;
    (found, addresses)
}

/// SPF for each address of ours, and for 192.0.2.1, which is nobody's (RFC 5737): what passes there passes everywhere.
async fn senders(resolver: &Resolver, plan: &Plan) -> (Vec<(IpAddr, SpfOutcome)>, Option<SpfOutcome>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let helo = plan.our_name.as_ref().unwrap_or(&plan.domain).as_str();
    let sender = format!("postmaster@{}", plan.domain);
    let ask = async |address: IpAddr| {
        let client = Client { address, helo, host: helo, now };
        spf::mail_from(resolver, client, &sender).await
    };
    let ours = join_all(plan.our_addresses.iter().map(async |address| (*address, ask(*address).await)));
    let (ours, nobody) = tokio::join!(ours, ask(NOBODY));
    (ours, Some(nobody))
}

async fn keys(resolver: &Resolver, plan: &Plan) -> Vec<Lookup<Finding>> {
    let asked = plan.keys.iter().map(async |key| match key.state {
        KeyState::Removed => Lookup::None,
        _ => dkim::look(resolver, &key.domain, &key.selector, key.algorithm, &key.public_key).await,
    });
    join_all(asked).await
}

async fn transport(
    resolver: &Resolver,
    plan: &Plan,
    web: Option<&Fetcher>,
) -> (Lookup<Vec<String>>, Option<Result<StsPolicy, String>>) {
    let found = resolver.txt(&format!("_mta-sts.{}", plan.domain)).await;
    let there = matches!(&found, Lookup::Found(records) if record_id(records).is_some());
    let policy = match web {
        Some(web) if there => Some(web.fetch(&plan.domain).await.map_err(|error| error.to_string())),
        _ => None,
    };
    (found, policy)
}

/// RFC 8659, 3: the nearest name at or above the domain that has records.
async fn authorities(resolver: &Resolver, domain: &str) -> Lookup<(String, Vec<(String, String)>)> {
    let mut name = domain;
    loop {
        match resolver.caa(name).await {
            Lookup::None => {}
            other => return other.map(|records| (name.to_owned(), records)),
        }
        match name.split_once('.') {
            Some((_, parent)) if parent.contains('.') => name = parent,
            _ => return Lookup::None,
        }
    }
}

async fn tlsa(resolver: &Resolver, plan: &Plan) -> Vec<(String, Lookup<Vec<Tlsa>>)> {
    if plan.public_key.is_none() {
        return Vec::new();
    }
    let asked = plan.hosts.iter().map(async |(_, host)| {
        (host.to_string(), resolver.tlsa(&format!("_25._tcp.{host}")).await.map(|answer| answer.records))
    });
    join_all(asked).await
}

async fn offered(resolver: &Resolver, plan: &Plan) -> Vec<(String, Servers)> {
    let asked = services::offers(plan).into_iter().map(async |offer| {
        let servers = resolver.srv(&format!("{}.{}", offer.service, plan.domain)).await;
        (offer.service.to_owned(), servers)
    });
    join_all(asked).await
}

/// More than any domain has; a zone of nonsense must not keep us busy.
const MAX_HOSTS: usize = 20;

const NOBODY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
