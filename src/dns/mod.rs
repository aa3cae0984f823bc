//! The one resolver of a process: questions to DNS by name, [`Lookup`] as the only kind of answer.
//!
//! For whoever asks for a record: SPF, DKIM and DMARC, the keys that DNS shows, where reports go, block lists, transport policies.
//! Servers, timeout and memory come from section `[dns]`. A server that does not answer, or says SERVFAIL or REFUSED, is
//! [`Lookup::Unavailable`], never [`Lookup::None`]: only NXDOMAIN and an empty answer are "not there" (RFC 2308, 2); where the
//! difference between these two matters, [`Resolver::exists`] tells it.
//!
//! DNSSEC: this is a stub resolver and validates nothing itself. It asks for the AD bit and believes it where the way to the
//! validating resolver is safe (RFC 6840, 5.8): with `dnssec = "auto"` if all servers are on this host's loopback, always with
//! `"trust-ad"`, never with `"off"`. [`Answer::dnssec`] keeps the status beside the records, in the memory too.
//!
//! Refuses names from `/etc/hosts` and the search list: what a mail says must not be answered from there.

mod asking;
mod datagram;
pub mod lists;
mod memory;
mod question;
mod tlsa;
mod wire;

pub use tlsa::Tlsa;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use self::asking::{Asking, Turn};
use self::memory::{Content, Key, Memory, key};
use self::question::Servers;
use crate::config;
use crate::config::DnssecTrust;
use crate::directory::Lookup;

/// The resolver. Cheap to clone; clones share its servers and its memory.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
    /// How many questions may still be asked; none: as many as you like.
    left: Option<Arc<AtomicU32>>,
}

struct Shared {
    servers: Servers,
    memory: Memory,
    asking: Asking,
}

/// Records, and whether DNSSEC vouches for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer<T> {
    /// The records, in the order of the answer; never empty.
    pub records: Vec<T>,
    /// The status of the whole answer, aliases included.
    pub dnssec: Dnssec,
}

/// What is known of an answer's DNSSEC status. A bogus answer never gets here: a validating resolver says SERVFAIL instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dnssec {
    /// A resolver that we trust has validated it.
    Secure,
    /// Not signed, not validated, or not to be believed.
    Unknown,
}

impl<T> Answer<T> {
    fn into_records<U: From<T>>(self) -> Answer<U> {
        Answer { records: self.records.into_iter().map(U::from).collect(), dnssec: self.dnssec }
    }
}

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
    // 1232 bytes pass every network unfragmented (DNS flag day 2020); what is longer comes over TCP.
    options.edns_payload_len = 1232;
    // Ours is in front.
    options.cache_size = 32;
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
        let trust_ad = match config.dnssec {
            DnssecTrust::TrustAd => true,
            DnssecTrust::Off => false,
            DnssecTrust::Auto => {
                let servers = servers.name_servers();
                !servers.is_empty() && servers.iter().all(|server| server.ip.to_canonical().is_loopback())
            }
        };
        let servers =
            Servers::new(servers, options, trust_ad).map_err(|error| SetupError(error.to_string()))?;
        let memory = Memory::new(config.cache_entries);
        let shared = Shared { servers, memory, asking: Asking::default() };
        Ok(Self { shared: Arc::new(shared), left: None })
    }

    /// The same resolver for one piece of work that may ask at most so many questions, answers from memory included; beyond them,
    /// every answer is [`Lookup::Unavailable`]. Clones of what is returned share the number.
    #[must_use]
    pub fn limited(&self, questions: u32) -> Self {
        Self { shared: Arc::clone(&self.shared), left: Some(Arc::new(AtomicU32::new(questions))) }
    }

    /// The TXT records of a name, the strings of each joined (RFC 7208, 3.3; RFC 6376, 3.6.2.2). Bytes that are no UTF-8 are replaced.
    pub async fn txt(&self, name: &str) -> Lookup<Vec<String>> {
        let found = self.txt_bytes(name).await;
        found.map(|answer| {
            answer.records.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
        })
    }

    /// The TXT records of a name as they are, the strings of each joined.
    pub async fn txt_bytes(&self, name: &str) -> Lookup<Answer<Vec<u8>>> {
        self.records(name, RecordType::TXT, |data| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// The mail exchangers of a domain as (preference, host), the lowest preference first; the host has no dot at the end, and is
    /// empty where the domain takes no mail (RFC 7505).
    pub async fn mx(&self, domain: &str) -> Lookup<Vec<(u16, String)>> {
        self.mx_answer(domain).await.map(|answer| answer.records)
    }

    /// The same, with the DNSSEC status.
    pub async fn mx_answer(&self, domain: &str) -> Lookup<Answer<(u16, String)>> {
        let found = self
            .records(domain, RecordType::MX, |data| match data {
                RData::MX(mx) => Some((mx.preference, host(&mx.exchange))),
                _ => None,
            })
            .await;
        found.map(|mut answer| {
            answer.records.sort();
            answer
        })
    }

    /// The servers of a service (RFC 2782) as (priority, weight, port, host), in the order of the answer; the host has no dot at the
    /// end, and is empty where the service is not offered.
    pub async fn srv(&self, name: &str) -> Lookup<Vec<(u16, u16, u16, String)>> {
        let found = self
            .records(name, RecordType::SRV, |data| match data {
                RData::SRV(srv) => Some((srv.priority, srv.weight, srv.port, host(&srv.target))),
                _ => None,
            })
            .await;
        found.map(|answer| answer.records)
    }

    /// Who may give out certificates (RFC 8659), as (tag, value); the records of this very name.
    pub async fn caa(&self, name: &str) -> Lookup<Vec<(String, String)>> {
        let found = self
            .records(name, RecordType::CAA, |data| match data {
                RData::CAA(caa) => {
                    Some((caa.tag.to_ascii_lowercase(), String::from_utf8_lossy(&caa.value).into_owned()))
                }
                _ => None,
            })
            .await;
        found.map(|answer| answer.records)
    }

    /// The IPv4 addresses of a host.
    pub async fn ipv4(&self, host: &str) -> Lookup<Answer<Ipv4Addr>> {
        self.records(host, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The IPv4 addresses of a host, if the memory has them or knows that there are none: without waiting. Counts as a question then, and
    /// does not otherwise.
    pub fn ipv4_known(&self, host: &str) -> Option<Lookup<Answer<Ipv4Addr>>> {
        let content = self.known(&key(host, RecordType::A))?;
        Some(picked(host, content, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        }))
    }

    /// The IPv6 addresses of a host.
    pub async fn ipv6(&self, host: &str) -> Lookup<Answer<Ipv6Addr>> {
        self.records(host, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The addresses of a host, of the family of `like` alone.
    pub async fn addresses_like(&self, host: &str, like: IpAddr) -> Lookup<Answer<IpAddr>> {
        match like {
            IpAddr::V4(_) => self.ipv4(host).await.map(Answer::into_records),
            IpAddr::V6(_) => self.ipv6(host).await.map(Answer::into_records),
        }
    }

    /// The addresses of a host, IPv4 first. A family that cannot be asked now makes the whole unavailable only if the other has none.
    pub async fn addresses(&self, host: &str) -> Lookup<Vec<IpAddr>> {
        let (four, six) = tokio::join!(
            self.addresses_like(host, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            self.addresses_like(host, IpAddr::V6(Ipv6Addr::UNSPECIFIED))
        );
        match (four, six) {
            (Lookup::Found(mut four), Lookup::Found(six)) => {
                four.records.extend(six.records);
                Lookup::Found(four.records)
            }
            (Lookup::Found(one), _) | (_, Lookup::Found(one)) => Lookup::Found(one.records),
            (Lookup::None, other) | (other, _) => other.map(|answer| answer.records),
        }
    }

    /// The names of an address.
    pub async fn names(&self, address: IpAddr) -> Lookup<Vec<String>> {
        self.names_answer(address).await.map(|answer| answer.records)
    }

    /// The names of an address, with their DNSSEC status.
    pub async fn names_answer(&self, address: IpAddr) -> Lookup<Answer<String>> {
        let name = host(&Name::from(address));
        self.records(&name, RecordType::PTR, |data| match data {
            RData::PTR(name) => Some(host(&name.0)),
            _ => None,
        })
        .await
    }

    /// Whether a name exists at all, with records of whatever type or with names below it (RFC 8020): none for NXDOMAIN alone.
    pub async fn exists(&self, name: &str) -> Lookup<()> {
        match self.content(name, RecordType::A).await {
            Content::Found(..) | Content::Empty { exists: true } => Lookup::Found(()),
            Content::Empty { exists: false } => Lookup::None,
            Content::Failed(why) => unavailable(name, &why),
        }
    }

    async fn records<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Lookup<Answer<T>> {
        picked(name, self.content(name, kind).await, pick)
    }

    /// What the memory knows.
    fn known(&self, key: &Key) -> Option<Content> {
        let content = self.shared.memory.get(key)?;
        Some(if self.counts() { content } else { too_many() })
    }

    async fn content(&self, name: &str, kind: RecordType) -> Content {
        let key = key(name, kind);
        // Most names are known: only one that must be asked for is brought into the form of the wire.
        if let Some(content) = self.known(&key) {
            return content;
        }
        match wire_name(name) {
            // A name that DNS cannot hold does not exist.
            None => Content::Empty { exists: false },
            Some(_) if !self.counts() => too_many(),
            Some(wire) => self.asked(key, &wire, kind).await,
        }
    }

    /// Counts a question; whether it may be asked.
    fn counts(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.left
            .as_ref()
            .is_none_or(|left| left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok())
    }

    /// What DNS says of a name that is not known, asked once for all who want to know at the same time.
    async fn asked(&self, key: Key, wire: &Name, kind: RecordType) -> Content {
        loop {
            match self.shared.asking.turn(&key) {
                Turn::Mine(asker) => {
                    // Few questions get here, but each future that may ask has room for this one.
                    let reply = Box::pin(self.shared.servers.ask(wire, kind)).await;
                    let content = self.shared.memory.put(key, reply);
                    asker.tell(&content);
                    return content;
                }
                Turn::Theirs(theirs) => {
                    if let Some(content) = theirs.answer().await {
                        return content;
                    }
                }
            }
        }
    }
}

/// The records of one kind in what DNS said.
fn picked<T>(name: &str, content: Content, pick: impl Fn(&RData) -> Option<T>) -> Lookup<Answer<T>> {
    match content {
        Content::Found(records, dnssec) => match records.iter().filter_map(pick).collect::<Vec<_>>() {
            records if records.is_empty() => Lookup::None,
            records => Lookup::Found(Answer { records, dnssec }),
        },
        Content::Empty { .. } => Lookup::None,
        Content::Failed(why) => unavailable(name, &why),
    }
}

fn too_many() -> Content {
    Content::Failed("too many questions for one message".into())
}

fn unavailable<T>(name: &str, why: &str) -> Lookup<T> {
    let name: String = name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect();
    Lookup::Unavailable(format!("DNS does not answer for {name}: {why}"))
}

/// The name on the wire: any bytes but dots in a label, U-labels as A-labels (RFC 5890); none where a label or the whole is empty
/// or too long (RFC 1035, 2.3.4).
fn wire_name(name: &str) -> Option<Name> {
    let ascii;
    let name = if name.is_ascii() {
        name
    } else {
        ascii = idna::domain_to_ascii(name).ok()?;
        &ascii
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > MAX_NAME {
        return None;
    }
    let mut wire = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    // Never with the search domains of resolv.conf.
    wire.set_fqdn(true);
    Some(wire)
}

/// The longest name as text, without the dot at its end.
const MAX_NAME: usize = 253;

/// The name as text in lower case, without the dot at its end: the inverse of [`wire_name`]. A label with a dot in it, or with
/// anything but printable ASCII, is shown escaped, which leads nowhere.
fn host(name: &Name) -> String {
    let plain = |label: &[u8]| label.iter().all(|byte| (b' '..=b'~').contains(byte) && *byte != b'.');
    let labels: Vec<String> = name
        .iter()
        .map(|label| match plain(label) {
            true => String::from_utf8_lossy(label).to_ascii_lowercase(),
            false => label.escape_ascii().to_string().replace('.', "\\."),
        })
        .collect();
    labels.join(".")
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    for connection in &mut server.connections {
        connection.port = address.port();
    }
    server
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_that_dns_can_hold() {
        for name in [
            "example.org",
            "example.org.",
            "foo:bar/baz.example.com",
            "a  b%20c.test",
            "bücher.test",
            "_dmarc.test",
        ] {
            assert!(wire_name(name).is_some(), "{name}");
        }
        let long = "a".repeat(64);
        for name in ["", ".", "a..b", ".a", "a..", &format!("{long}.test"), &"a.".repeat(200)] {
            assert!(wire_name(name).is_none(), "{name}");
        }
        for name in ["foo:bar/baz.example.com", "a  b%20c.test", ""] {
            assert_eq!(host(&wire_name(name).unwrap_or_default()), name);
        }
        assert_eq!(wire_name("BÜCHER.test").unwrap().to_ascii(), "xn--bcher-kva.test.");
    }
}
