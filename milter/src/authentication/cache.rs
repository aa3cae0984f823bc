//! The memory of DNS answers: one for the process, bounded in entries, each kept as long as its TTL says.
//!
//! For `verifier`. Positive and negative answers (RFC 2308) are kept; a server that does not answer is remembered for a few
//! seconds only, so that a dead resolver costs one wait and not one for each message, and never becomes a "no".

use std::borrow::Borrow;
use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mail_auth::{DnsCache, DnsError, Error, Mx, Negative, RecordSet, ResolverCache, TxtRecord};
use moka::Expiry;
use moka::sync::Cache;

/// Entries of each record type. A TXT entry is a parsed record of some hundred bytes, so the whole stays below about 20 MiB.
const ENTRIES: u64 = 10_000;

/// However long a TTL is, an answer is asked for again after a day: a key that was revoked must not live for ever.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// How long an unanswered question is not asked again. Shorter than any client's retry (RFC 5321, 4.5.4.1: minutes).
const FAILURE: Duration = Duration::from_secs(10);

type Answer<T> = Result<RecordSet<T>, Negative>;

/// One cache for one record type.
pub(super) struct Timed<K, V>(Cache<K, (V, Instant)>)
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static;

/// All caches of the process.
pub(super) struct Caches {
    txt: Timed<Box<str>, TxtRecord>,
    mx: Timed<Box<str>, Answer<Mx>>,
    ipv4: Timed<Box<str>, Answer<Ipv4Addr>>,
    ipv6: Timed<Box<str>, Answer<Ipv6Addr>>,
    ptr: Timed<IpAddr, Answer<Box<str>>>,
}

impl Caches {
    pub(super) fn new() -> Self {
        Self {
            txt: Timed::new(),
            mx: Timed::new(),
            ipv4: Timed::new(),
            ipv6: Timed::new(),
            ptr: Timed::new(),
        }
    }

    /// The TXT record of that name could not be had: not asked again for [`FAILURE`].
    pub(super) fn txt_unanswered(&self, name: &str) {
        let name = mail_auth::dns::ToFqdn::to_fqdn(&name).into_owned().into_boxed_str();
        let failure =
            TxtRecord::Error(Error::Dns(DnsError::Resolver("no answer a few seconds ago".to_owned())));
        self.txt.insert(name, failure, Instant::now() + FAILURE);
    }
}

impl<K, V> Timed<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn new() -> Self {
        Self(Cache::builder().max_capacity(ENTRIES).expire_after(ByTtl).build())
    }
}

/// Each entry lives until the instant stored with it.
struct ByTtl;

impl<K, V> Expiry<K, (V, Instant)> for ByTtl {
    fn expire_after_create(&self, _: &K, value: &(V, Instant), now: Instant) -> Option<Duration> {
        Some(value.1.saturating_duration_since(now).min(LONGEST))
    }

    fn expire_after_update(
        &self,
        _: &K,
        value: &(V, Instant),
        now: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.1.saturating_duration_since(now).min(LONGEST))
    }
}

impl<K, V> ResolverCache<K, V> for Timed<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    fn get<Q>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (value, until) = self.0.get(name)?;
        (until > Instant::now()).then_some(value)
    }

    fn remove<Q>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.remove(name).map(|(value, _)| value)
    }

    fn insert(&self, key: K, value: V, valid_until: Instant) {
        self.0.insert(key, (value, valid_until));
    }
}

impl DnsCache for Caches {
    type Txt = Timed<Box<str>, TxtRecord>;
    type Mx = Timed<Box<str>, Answer<Mx>>;
    type Ipv4 = Timed<Box<str>, Answer<Ipv4Addr>>;
    type Ipv6 = Timed<Box<str>, Answer<Ipv6Addr>>;
    type Ptr = Timed<IpAddr, Answer<Box<str>>>;

    fn txt(&self) -> Option<&Self::Txt> {
        Some(&self.txt)
    }

    fn mx(&self) -> Option<&Self::Mx> {
        Some(&self.mx)
    }

    fn ipv4(&self) -> Option<&Self::Ipv4> {
        Some(&self.ipv4)
    }

    fn ipv6(&self) -> Option<&Self::Ipv6> {
        Some(&self.ipv6)
    }

    fn ptr(&self) -> Option<&Self::Ptr> {
        Some(&self.ptr)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_expired_answer_is_no_answer() {
        let cache = Timed::<IpAddr, u8>::new();
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        cache.insert(address, 1, Instant::now() + Duration::from_secs(60));
        assert_eq!(cache.get(&address), Some(1));
        cache.insert(address, 2, Instant::now());
        assert_eq!(cache.get(&address), None);
    }

    #[test]
    fn a_failure_stays_a_failure_and_no_answer_at_all() {
        let caches = Caches::new();
        caches.txt_unanswered("Example.test");
        let kept = caches.txt.get::<str>("example.test.").unwrap();
        assert!(matches!(kept, TxtRecord::Error(Error::Dns(DnsError::Resolver(_)))));
    }
}
