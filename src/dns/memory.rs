//! The memory of DNS answers: one for the resolver, bounded, each answer kept as long as DNS says and we allow.
//!
//! For `Resolver`. "Found" and "not there" are kept (RFC 2308); a failure is kept for some seconds only, so that a dead server
//! costs one wait and not one for each message, and it stays a failure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{RData, RecordType};
use moka::Expiry;
use moka::sync::Cache;

use super::Dnssec;

/// What came of a question.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) content: Content,
    until: Instant,
}

/// What DNS said.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// These records.
    Found(Arc<[RData]>, Dnssec),
    /// No such records; whether the name exists nevertheless (RFC 8020).
    Empty { exists: bool },
    /// Nothing that answers the question; why.
    Failed(Arc<str>),
}

impl Reply {
    pub(super) fn found(records: Vec<RData>, dnssec: Dnssec, ttl: u32) -> Self {
        Self::until(Content::Found(records.into(), dnssec), seconds(ttl).clamp(SHORTEST, LONGEST))
    }

    /// Without a SOA record nobody says how long "no" holds (RFC 2308, 5); it is kept as shortly as a failure.
    pub(super) fn empty(exists: bool, ttl: Option<u32>) -> Self {
        let ttl = ttl.map_or(FAILURE, |ttl| seconds(ttl).clamp(SHORTEST, LONGEST_NEGATIVE));
        Self::until(Content::Empty { exists }, ttl)
    }

    pub(super) fn failed(why: String) -> Self {
        Self::until(Content::Failed(why.into()), FAILURE)
    }

    fn until(content: Content, lifetime: Duration) -> Self {
        Self { content, until: Instant::now() + lifetime }
    }

    /// In KiB, so that a few huge answers do not take the place of thousands.
    fn weight(&self) -> u32 {
        let bytes: usize = match &self.content {
            Content::Found(records, _) => records.iter().map(size).sum(),
            Content::Empty { .. } | Content::Failed(_) => 0,
        };
        u32::try_from(1 + bytes / 1024).unwrap_or(u32::MAX)
    }
}

fn size(record: &RData) -> usize {
    match record {
        RData::TXT(text) => text.txt_data.iter().map(|string| string.len()).sum(),
        // A name or an address.
        _ => 64,
    }
}

fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl.into())
}

/// A TTL of 0 would ask the same question again within one message, where the same record is looked at several times.
const SHORTEST: Duration = Duration::from_secs(5);

/// However long a TTL is, an answer is asked for again after a day: a key that was revoked must not live for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// RFC 2308, 5, takes one to three hours for sensible.
const LONGEST_NEGATIVE: Duration = Duration::from_secs(3600);

/// How long an unanswered question is not asked again. Shorter than any client's retry (RFC 5321, 4.5.4.1: minutes).
const FAILURE: Duration = Duration::from_secs(10);

/// Name (lower case, no dot at the end) and type.
pub(super) type Key = (Box<str>, u16);

/// The memory.
pub(super) struct Memory(Cache<Key, Reply>);

impl Memory {
    pub(super) fn new(entries: u64) -> Self {
        let weigh = |_: &Key, reply: &Reply| reply.weight();
        Self(Cache::builder().max_capacity(entries).weigher(weigh).expire_after(ByTtl).build())
    }

    pub(super) fn get(&self, key: &Key) -> Option<Content> {
        let reply = self.0.get(key)?;
        (reply.until > Instant::now()).then_some(reply.content)
    }

    pub(super) fn put(&self, key: Key, reply: Reply) -> Content {
        let content = reply.content.clone();
        self.0.insert(key, reply);
        content
    }
}

pub(super) fn key(name: &str, kind: RecordType) -> Key {
    (name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str(), u16::from(kind))
}

/// Each entry lives until the instant stored with it.
struct ByTtl;

impl Expiry<Key, Reply> for ByTtl {
    fn expire_after_create(&self, _: &Key, reply: &Reply, now: Instant) -> Option<Duration> {
        Some(reply.until.saturating_duration_since(now))
    }

    fn expire_after_update(
        &self,
        _: &Key,
        reply: &Reply,
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(reply.until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn lifetime(reply: &Reply) -> u64 {
        (reply.until.saturating_duration_since(Instant::now()) + Duration::from_millis(500)).as_secs()
    }

    #[test]
    fn lifetimes_are_bounded_at_both_ends() {
        assert_eq!(lifetime(&Reply::found(Vec::new(), Dnssec::Unknown, 0)), 5);
        assert_eq!(lifetime(&Reply::found(Vec::new(), Dnssec::Unknown, 300)), 300);
        assert_eq!(lifetime(&Reply::found(Vec::new(), Dnssec::Unknown, u32::MAX)), 86_400);
        assert_eq!(lifetime(&Reply::empty(true, Some(86_400))), 3600);
        assert_eq!(lifetime(&Reply::empty(true, None)), 10);
        assert_eq!(lifetime(&Reply::failed("x".into())), 10);
    }

    #[test]
    fn an_expired_answer_is_no_answer() {
        let memory = Memory::new(10);
        let mut reply = Reply::empty(true, Some(60));
        memory.put(key("Example.TEST.", RecordType::TXT), reply.clone());
        assert!(memory.get(&key("example.test", RecordType::TXT)).is_some());
        assert!(memory.get(&key("example.test", RecordType::A)).is_none());
        reply.until = Instant::now();
        memory.put(key("example.test", RecordType::TXT), reply);
        assert!(memory.get(&key("example.test", RecordType::TXT)).is_none());
    }

    #[test]
    fn a_failure_stays_a_failure() {
        let memory = Memory::new(10);
        memory.put(key("example.test", RecordType::TXT), Reply::failed("no answer".into()));
        assert!(matches!(memory.get(&key("example.test", RecordType::TXT)), Some(Content::Failed(_))));
    }

    #[test]
    fn a_huge_answer_weighs_what_it_is() {
        let text = hickory_resolver::proto::rr::rdata::TXT::new(vec!["x".repeat(250); 250]);
        assert_eq!(Reply::found(vec![RData::TXT(text)], Dnssec::Unknown, 1).weight(), 1 + 250 * 250 / 1024);
    }
}
