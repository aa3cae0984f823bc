//! The bounded pool on which hashes are verified.
//!
//! Three bounds: threads, memory (argon2 asks for what its hash says, 64 MiB by PHP's default), and how many may wait how long. A
//! permit belongs to the work, not to whoever asked: a client that goes away frees nothing before the work is done.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{HashError, StoredHash};
use crate::config::Secret;

/// How much hashing may go on at once.
#[derive(Clone, Copy, Debug)]
pub struct HasherLimits {
    /// Verifications at once; at least 1.
    pub threads: usize,
    /// Bytes for all of them together.
    pub memory: u64,
    /// How many may wait; further ones are told "busy" at once.
    pub queue: usize,
    /// How long one may wait; well under the 10 s after which Postfix gives up.
    pub wait: Duration,
}

impl Default for HasherLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self { threads, memory: 256 << 20, queue: 128, wait: Duration::from_secs(6) }
    }
}

/// What became of a verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verification {
    /// The password is right.
    Match,
    /// It is wrong.
    Mismatch,
    /// Too much to do: try later.
    Busy,
    /// No password can match; the operator should know why.
    Unusable(HashError),
}

/// The pool. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hasher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limits: HasherLimits,
    threads: Arc<Semaphore>,
    /// In KiB.
    memory: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// A hash of the usual cost, spent on users who are not there.
    usual: Mutex<StoredHash>,
}

impl Hasher {
    /// A pool with these limits.
    pub fn new(limits: HasherLimits) -> Self {
        let threads = Arc::new(Semaphore::new(limits.threads.clamp(1, 1024)));
        let memory = Arc::new(Semaphore::new(memory_permits(limits.memory)));
        let usual = Mutex::new(StoredHash::parse(USUAL.to_owned()));
        Self(Arc::new(Inner { limits, threads, memory, waiting: AtomicUsize::new(0), usual }))
    }

    /// Whether the password belongs to the hash.
    pub async fn verify(&self, hash: &StoredHash, password: Secret) -> Verification {
        let verification = self.run(hash.clone(), password).await;
        if matches!(verification, Verification::Match | Verification::Mismatch) {
            *self.0.usual.lock().unwrap_or_else(PoisonError::into_inner) = hash.clone();
        }
        verification
    }

    /// Spends what a verification usually costs here (the cost of the last one), for a user who is not there or has no password, so
    /// that the time tells nothing. [`Verification::Busy`] as for anybody else, otherwise [`Verification::Mismatch`].
    pub async fn spend(&self, password: Secret) -> Verification {
        let usual = self.0.usual.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.run(usual, password).await {
            Verification::Busy => Verification::Busy,
            _ => Verification::Mismatch,
        }
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    async fn run(&self, hash: StoredHash, password: Secret) -> Verification {
        let inner = &self.0;
        let memory = hash.memory();
        if memory as usize > memory_permits(inner.limits.memory) {
            return Verification::Unusable(HashError::TooDear { scheme: hash.scheme(), memory });
        }
        let Some(waiting) = Waiting::enter(inner) else { return Verification::Busy };
        let permits = async {
            let thread = Arc::clone(&inner.threads).acquire_owned().await.ok()?;
            let memory = Arc::clone(&inner.memory).acquire_many_owned(memory).await.ok()?;
            Some((thread, memory))
        };
        let Ok(Some(permits)) = tokio::time::timeout(inner.limits.wait, permits).await else {
            return Verification::Busy;
        };
        drop(waiting);
        let work = tokio::task::spawn_blocking(move || {
            let answer = hash.verify(&password);
            drop(permits);
            answer
        });
        match work.await {
            Ok(Ok(true)) => Verification::Match,
            Ok(Ok(false)) => Verification::Mismatch,
            Ok(Err(error)) => Verification::Unusable(error),
            // The runtime is going down.
            Err(_) => Verification::Busy,
        }
    }
}

/// One place in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(inner: &'a Inner) -> Option<Self> {
        let place = Self(&inner.waiting);
        // On refusal `place` is dropped, which gives it back.
        (inner.waiting.fetch_add(1, Ordering::AcqRel) < inner.limits.queue.max(1)).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn memory_permits(bytes: u64) -> usize {
    usize::try_from(bytes >> 10).unwrap_or(Semaphore::MAX_PERMITS).clamp(8, u32::MAX as usize >> 1)
}

/// A hash of PHP's default cost whose password nobody knows.
const USUAL: &str =
    "$argon2id$v=19$m=65536,t=4,p=1$Z2F0ZXBvc3RnYXRlcG9zdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const ALICE: &str = "$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    #[tokio::test]
    async fn a_verification_says_what_became_of_it() {
        let hasher = Hasher::new(HasherLimits::default());
        let alice = StoredHash::parse(ALICE.into());
        assert_eq!(hasher.verify(&alice, secret("alice123")).await, Verification::Match);
        assert_eq!(hasher.verify(&alice, secret("wrong")).await, Verification::Mismatch);
        assert_eq!(hasher.spend(secret("alice123")).await, Verification::Mismatch);
        let plain = StoredHash::parse("{PLAIN}x".into());
        assert_eq!(
            hasher.verify(&plain, secret("x")).await,
            Verification::Unusable(HashError::UnknownScheme)
        );
        let dear = StoredHash::parse(
            "$argon2id$v=19$m=4194304,t=1,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg".into(),
        );
        assert!(matches!(
            hasher.verify(&dear, secret("x")).await,
            Verification::Unusable(HashError::TooDear { .. })
        ));
        assert_eq!(hasher.waiting(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn beyond_the_queue_the_answer_is_busy() {
        let limits = HasherLimits { threads: 1, memory: 64 << 10, queue: 2, wait: Duration::from_secs(20) };
        let hasher = Hasher::new(limits);
        let slow = StoredHash::parse("$2y$10$abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a".into());
        let asked: Vec<_> = (0..12)
            .map(|_| {
                let (hasher, slow) = (hasher.clone(), slow.clone());
                tokio::spawn(async move { hasher.verify(&slow, secret("x")).await })
            })
            .collect();
        let mut answers = Vec::new();
        for task in asked {
            answers.push(task.await.unwrap());
        }
        let busy = answers.iter().filter(|answer| **answer == Verification::Busy).count();
        assert!(busy >= 6, "{answers:?}");
        assert!(busy <= 11, "{answers:?}");
        assert_eq!(hasher.waiting(), 0);
    }
}
