//! One question to the name servers: sent, answered, its aliases followed.
//!
//! For `Resolver`. Most questions have their answer in one datagram of the first server (`datagram`). For all else hickory carries the packets: it checks id, port and question of what comes back, asks again over TCP what was
//! truncated (RFC 7766, 5), and goes on to the next server. What an answer *means* is decided here, not in hickory's own resolver,
//! because that one loses the AD bit when it follows an alias and takes records of the additional section for answers.
//!
//! Only records of the answer section count that have the type asked for and the name asked for, or the name at the end of the
//! chain of CNAMEs that begins there (RFC 1034, 3.6.2). A chain may have [`MAX_ALIASES`] links; a longer one, or a loop, is a
//! failure, never "not there".

use std::time::Duration;

use futures_util::StreamExt;
use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::DnsHandle;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Message, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::Dnssec;
use super::datagram::{Answer, Datagrams};
use super::memory::Reply;
use super::wire::NotThere;

/// More links than any sane zone has; BIND and Unbound stop at 16 and 11.
const MAX_ALIASES: usize = 12;

/// A question is sent twice: servers lose packets, and hickory's own retry is for one server only.
const TRIES: usize = 2;

/// The servers, and how they are asked.
pub(super) struct Servers {
    pool: NameServerPool<TokioRuntimeProvider>,
    datagrams: Option<Datagrams>,
    timeout: Duration,
    trust_ad: bool,
}

impl Servers {
    pub(super) fn new(
        servers: ResolverConfig,
        options: ResolverOpts,
        trust_ad: bool,
    ) -> Result<Self, NetError> {
        let timeout = options.timeout;
        let datagrams = Datagrams::to_first(servers.name_servers());
        let context = PoolContext::new(options, TlsConfig::new()?);
        let pool = NameServerPool::from_config(
            servers.name_servers().iter().cloned(),
            std::sync::Arc::new(context),
            TokioRuntimeProvider::default(),
        );
        Ok(Self { pool, datagrams, timeout, trust_ad })
    }

    /// Asks, and follows aliases to the end.
    pub(super) async fn ask(&self, asked: &Name, kind: RecordType) -> Reply {
        let mut name = asked.clone();
        let mut dnssec = if self.trust_ad { Dnssec::Secure } else { Dnssec::Unknown };
        let mut ttl = u32::MAX;
        let mut aliases = 0;
        loop {
            let response = match self.exchange(&name, kind).await {
                Ok(Answer::Response(response)) => response,
                Ok(Answer::NotThere(NotThere { exists, ttl: negative })) => {
                    // A name with an alias exists, whether the alias's target does or not (RFC 6604, 3).
                    return Reply::empty(exists || aliases > 0, negative.map(|negative| negative.min(ttl)));
                }
                Err(error) => return failed(&error, ttl, aliases > 0),
            };
            if !response.authentic_data {
                dnssec = Dnssec::Unknown;
            }
            let before = aliases;
            loop {
                let mut records = Vec::new();
                let mut alias = None;
                for record in response.answers.iter().filter(|record| record.name == name) {
                    if record.record_type() == kind {
                        ttl = ttl.min(record.ttl);
                        records.push(record.data.clone());
                    } else if let RData::CNAME(target) = &record.data {
                        ttl = ttl.min(record.ttl);
                        alias = Some(target.0.clone());
                    }
                }
                if !records.is_empty() {
                    return Reply::found(records, dnssec, ttl);
                }
                let Some(target) = alias else { break };
                aliases += 1;
                if aliases > MAX_ALIASES {
                    return Reply::failed("its chain of aliases does not end".to_owned());
                }
                name = target;
            }
            if aliases == before || response.response_code == ResponseCode::NXDomain {
                let absent = response.response_code == ResponseCode::NXDomain && aliases == 0;
                return Reply::empty(!absent, response.negative_ttl().map(|negative| negative.min(ttl)));
            }
        }
    }

    async fn exchange(&self, name: &Name, kind: RecordType) -> Result<Answer, NetError> {
        let mut last = NetError::Timeout;
        let mut left = TRIES;
        if let Some(datagrams) = self.datagrams.as_ref().filter(|datagrams| !datagrams.rests()) {
            if let Some(answer) = datagrams.ask(name, kind, self.trust_ad, self.timeout).await {
                return Ok(answer);
            }
            left -= 1;
        }
        for _ in 0..left {
            // Twice the timeout: the same question again over TCP is a part of one try.
            let answer = tokio::time::timeout(self.timeout * 2, self.send(name, kind)).await;
            match answer.unwrap_or(Err(NetError::Timeout)) {
                Ok(response) => return Ok(Answer::Response(response)),
                Err(error @ NetError::Dns(DnsError::NoRecordsFound(_))) => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn send(&self, name: &Name, kind: RecordType) -> Result<DnsResponse, NetError> {
        let options = DnsRequestOptions::default();
        let mut request = DnsRequest::from_query(Query::query(name.clone(), kind), options);
        if self.trust_ad {
            // RFC 6840, 5.7: asks for the AD bit without asking for signatures.
            let mut message: Message = (*request).clone();
            message.metadata.authentic_data = true;
            request = DnsRequest::new(message, options);
        }
        let mut answers = self.pool.send(request);
        answers.next().await.unwrap_or(Err(NetError::NoConnections))
    }
}

fn failed(error: &NetError, ttl: u32, aliased: bool) -> Reply {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            // A name with an alias exists, whether the alias's target does or not (RFC 6604, 3).
            let exists = aliased || none.response_code == ResponseCode::NoError;
            Reply::empty(exists, none.negative_ttl.map(|negative| negative.min(ttl)))
        }
        other => Reply::failed(other.to_string()),
    }
}
