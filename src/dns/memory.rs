//! The memory of DNS answers: one for the resolver, bounded, each answer kept as long as DNS says and we allow.
//!
//! For `Resolver`. "Found" and "not there" are kept (RFC 2308); a failure is kept for some seconds only, so that a dead server
//! costs one wait and not one for each message, and it stays a failure.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::proto::rr::{RData, RecordType};

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

/// The memory: what was asked for lately, and what was before. A name that is asked for again moves to the former, and when that is
/// half of all, it becomes the latter, which is forgotten. So what is asked for often stays, and nothing is kept in order.
///
/// In parts with a lock each, held for one look: threads do not wait for each other.
pub(super) struct Memory {
    parts: [Mutex<Part>; PARTS],
    /// What each half of a part may weigh; 0 where nothing is to be kept.
    half: u64,
}

/// Threads that look at the same time seldom meet.
const PARTS: usize = 16;

#[derive(Default)]
struct Part {
    lately: HashMap<Key, Reply>,
    before: HashMap<Key, Reply>,
    /// What `lately` weighs.
    weight: u64,
}

impl Memory {
    pub(super) fn new(entries: u64) -> Self {
        let half = entries.div_ceil(2 * PARTS as u64);
        Self { parts: Default::default(), half }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Content> {
        let mut part = self.part(key);
        let part = &mut *part;
        let now = Instant::now();
        if let Some(reply) = part.lately.get(key) {
            return (reply.until > now).then(|| reply.content.clone());
        }
        let (key, reply) = part.before.remove_entry(key)?;
        if reply.until <= now {
            return None;
        }
        let content = reply.content.clone();
        part.keep(key, reply, self.half);
        Some(content)
    }

    pub(super) fn put(&self, key: Key, reply: Reply) -> Content {
        let content = reply.content.clone();
        if self.half > 0 {
            let mut part = self.part(&key);
            part.before.remove(&key);
            part.keep(key, reply, self.half);
        }
        content
    }

    fn part(&self, key: &Key) -> MutexGuard<'_, Part> {
        // Names of one zone, too, are spread well enough by this.
        let sum = key.0.bytes().fold(0u8, u8::wrapping_add);
        self.parts[usize::from(sum) % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    fn keep(&mut self, key: Key, reply: Reply, half: u64) {
        let weight = u64::from(reply.weight());
        if self.weight.saturating_add(weight) > half {
            std::mem::swap(&mut self.lately, &mut self.before);
            self.lately.clear();
            self.weight = 0;
        }
        if let Some(old) = self.lately.insert(key, reply) {
            self.weight = self.weight.saturating_sub(old.weight().into());
        }
        self.weight += weight;
    }
}

pub(super) fn key(name: &str, kind: RecordType) -> Key {
    (name.trim_end_matches('.').to_ascii_lowercase().into_boxed_str(), u16::from(kind))
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
    fn without_room_nothing_is_kept() {
        let memory = Memory::new(0);
        memory.put(key("example.test", RecordType::TXT), Reply::empty(true, Some(60)));
        assert!(memory.get(&key("example.test", RecordType::TXT)).is_none());
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let memory = Memory::new(320);
        let name = |number: usize| key(&format!("n{number}.test"), RecordType::A);
        memory.put(key("often.test", RecordType::A), Reply::empty(false, Some(60)));
        for number in 0..10_000 {
            memory.put(name(number), Reply::empty(false, Some(60)));
            assert!(memory.get(&key("often.test", RecordType::A)).is_some(), "after {number}");
        }
        let kept = (0..10_000).filter(|number| memory.get(&name(*number)).is_some()).count();
        assert!((100..=320).contains(&kept), "{kept}");
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
