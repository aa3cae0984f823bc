//! Questions to DNS that are not part of a verification library: one resolver for the process, [`Lookup`] as the only kind of answer.
//!
//! For whoever asks for a record by name: the keys that DNS shows, where reports go, block lists, transport policies. Servers and
//! timeout come from section `[dns]`. A server that does not answer, or says SERVFAIL or REFUSED, is [`Lookup::Unavailable`], never
//! [`Lookup::None`]: only NXDOMAIN and an empty answer are "not there" (RFC 2308, 2).
//!
//! Refuses names from `/etc/hosts`: what a mail says must not be answered from there.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup as Records;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::config;
use crate::directory::Lookup;

/// The resolver. Cheap to clone; clones share its connections and its memory.
#[derive(Clone)]
pub struct Resolver(TokioResolver);

/// The resolver could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up DNS: {0}; name the servers in `servers` of section [dns]")]
pub struct SetupError(pub String);

/// How hickory is set up for section `[dns]`; for a library that builds its resolver itself.
///
/// # Errors
/// No servers are named, and `/etc/resolv.conf` cannot be read.
pub fn setup(config: &config::Dns) -> Result<(ResolverConfig, ResolverOpts), SetupError> {
    let (servers, mut options) = if config.servers.is_empty() {
        hickory_resolver::system_conf::read_system_conf().map_err(|error| SetupError(error.to_string()))?
    } else {
        let servers = config.servers.iter().map(name_server).collect();
        (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
    };
    options.timeout = config.timeout.0;
    // A question is tried twice: the first time, and `attempts` more.
    options.attempts = 1;
    options.cache_size = config.cache_entries;
    options.use_hosts_file = ResolveHosts::Never;
    Ok((servers, options))
}

impl Resolver {
    /// Sets up a resolver; no packet is sent yet.
    ///
    /// # Errors
    /// As [`setup`].
    pub fn new(config: &config::Dns) -> Result<Self, SetupError> {
        let (servers, options) = setup(config)?;
        TokioResolver::builder_with_config(servers, TokioRuntimeProvider::default())
            .with_options(options)
            .build()
            .map(Self)
            .map_err(|error| SetupError(error.to_string()))
    }

    /// A resolver that a library has built already, so that the process has one.
    pub fn shared(resolver: TokioResolver) -> Self {
        Self(resolver)
    }

    /// hickory's own, for record types that have no method here.
    pub fn hickory(&self) -> &TokioResolver {
        &self.0
    }

    /// The TXT records of a name, the strings of each joined (RFC 7208, 3.3; RFC 6376, 3.6.2.2). Bytes that are no UTF-8 are replaced.
    pub async fn txt(&self, name: &str) -> Lookup<Vec<String>> {
        self.ask(name, RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        })
        .await
    }

    /// The mail exchangers of a domain as (preference, host), the lowest preference first; the host has no dot at the end, and is
    /// empty where the domain takes no mail (RFC 7505).
    pub async fn mx(&self, domain: &str) -> Lookup<Vec<(u16, String)>> {
        let found = self
            .ask(domain, RecordType::MX, |data| match data {
                RData::MX(mx) => Some((mx.preference, host(&mx.exchange))),
                _ => None,
            })
            .await;
        found.map(|mut exchangers| {
            exchangers.sort();
            exchangers
        })
    }

    /// The addresses of a host, IPv4 first. A family that cannot be asked now makes the whole unavailable only if the other has none.
    pub async fn addresses(&self, host: &str) -> Lookup<Vec<IpAddr>> {
        let address = |data: &RData| match data {
            RData::A(address) => Some(IpAddr::V4(address.0)),
            RData::AAAA(address) => Some(IpAddr::V6(address.0)),
            _ => None,
        };
        let (four, six) =
            tokio::join!(self.ask(host, RecordType::A, address), self.ask(host, RecordType::AAAA, address));
        match (four, six) {
            (Lookup::Found(mut four), Lookup::Found(six)) => {
                four.extend(six);
                Lookup::Found(four)
            }
            (Lookup::Found(one), _) | (_, Lookup::Found(one)) => Lookup::Found(one),
            (Lookup::None, other) | (other, _) => other,
        }
    }

    /// The IPv4 addresses of a name, for lists that answer with one (RFC 5782).
    pub async fn ipv4(&self, name: &str) -> Lookup<Vec<Ipv4Addr>> {
        self.ask(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The names of an address.
    pub async fn names(&self, address: IpAddr) -> Lookup<Vec<String>> {
        let name = Name::from(address).to_ascii();
        self.ask(&name, RecordType::PTR, |data| match data {
            RData::PTR(name) => Some(host(&name.0)),
            _ => None,
        })
        .await
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Lookup<Vec<T>> {
        let Ok(mut asked) = Name::from_str_relaxed(name) else {
            // A name that DNS cannot hold has no records.
            return Lookup::None;
        };
        // Never with the search domains of resolv.conf.
        asked.set_fqdn(true);
        match self.0.lookup(asked, kind).await {
            Ok(records) => match picked(&records, pick) {
                found if found.is_empty() => Lookup::None,
                found => Lookup::Found(found),
            },
            Err(error) => failed(name, &error),
        }
    }
}

fn picked<T>(records: &Records, pick: impl Fn(&RData) -> Option<T>) -> Vec<T> {
    records.answers().iter().filter_map(|record| pick(&record.data)).collect()
}

fn failed<T>(name: &str, error: &NetError) -> Lookup<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            Lookup::None
        }
        other => Lookup::Unavailable(format!("DNS does not answer for {name}: {other}")),
    }
}

fn host(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.trim_end_matches('.').to_owned()
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}
