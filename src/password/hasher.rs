//! The bounded pool on which hashes are verified.
//!
//! Bounds: threads, memory (argon2 asks for what its hash says, 64 MiB by PHP's default), and how many may wait how long; [`queue`] says
//! who comes next, [`threads`] does it. A permit belongs to the work, not to whoever asked: a client that goes away frees nothing before the work is done.
//! What was right a moment ago ([`verified`]) and what costs next to nothing is answered without the pool.
//!
//! [`queue`]: super::queue
//! [`threads`]: super::threads
//! [`verified`]: super::verified

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::queue::{Client, Queue};
use super::threads::Threads;
use super::verified::Verified;
use super::workspace::Workspace;
use super::{Cost, HashError, Scheme, StoredHash};
use crate::config::Secret;

/// How much hashing may go on at once, and what may be hashed.
#[derive(Clone, Debug)]
pub struct HasherLimits {
    /// Verifications at once; at least 1.
    pub threads: usize,
    /// Bytes for all of them together.
    pub memory: u64,
    /// How many may wait; further ones are told "busy" at once.
    pub queue: usize,
    /// How long one may wait; well under the 10 s after which Postfix gives up.
    pub wait: Duration,
    /// How long a password that was right is believed without hashing; zero for not at all.
    pub remember: Duration,
    /// How many such passwords are remembered.
    pub remembered: u64,
    /// The weak schemes that may be used all the same.
    pub weak: Vec<&'static Scheme>,
}

impl Default for HasherLimits {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            threads,
            memory: 256 << 20,
            queue: 128,
            wait: Duration::from_secs(6),
            remember: Duration::ZERO,
            remembered: 0,
            weak: Vec::new(),
        }
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

/// The pool, as one login or nobody in particular sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Hasher {
    inner: Arc<Inner>,
    login: Arc<Login>,
}

#[derive(Debug)]
struct Inner {
    queue: Arc<Queue>,
    threads: Threads,
    verified: Verified,
    weak: Vec<&'static Scheme>,
    /// A hash of the usual cost, spent on users who are not there.
    usual: Mutex<StoredHash>,
}

/// For whom is hashed.
#[derive(Debug, Default)]
struct Login {
    client: Client,
    name: String,
    matched: Mutex<Option<StoredHash>>,
}

impl Hasher {
    /// A pool with these limits.
    pub fn new(limits: HasherLimits) -> Self {
        let HasherLimits { threads, memory, queue, wait, remember, remembered, weak } = limits;
        let memory = usize::try_from(memory >> 10).unwrap_or(usize::MAX >> 1);
        let most = threads.clamp(1, 1024);
        let inner = Inner {
            queue: Queue::new(most, memory, queue, wait),
            threads: Threads::new(most),
            verified: Verified::new(remember, remembered),
            weak,
            usual: Mutex::new(StoredHash::parse(USUAL.to_owned())),
        };
        Self { inner: Arc::new(inner), login: Arc::default() }
    }

    /// The same pool for one attempt of a login from an address: it waits in that address' line, and what was right for it is remembered.
    #[must_use]
    pub fn for_login(&self, address: &str, name: &str) -> Self {
        let login =
            Login { client: Client::parse(address), name: name.to_owned(), matched: Mutex::default() };
        Self { inner: Arc::clone(&self.inner), login: Arc::new(login) }
    }

    /// The hash that this attempt's password was last found to belong to.
    pub fn matched(&self) -> Option<StoredHash> {
        self.login.matched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the password belongs to the hash.
    pub async fn verify(&self, hash: &StoredHash, password: Secret) -> Verification {
        self.verify_noting(hash, password, || {}).await
    }

    /// The same; `hashes` is called where that is not known already, before it is hashed.
    pub async fn verify_noting(
        &self,
        hash: &StoredHash,
        password: Secret,
        hashes: impl FnOnce(),
    ) -> Verification {
        let cost = match self.may_cost(hash) {
            Ok(cost) => cost,
            Err(error) => return Verification::Unusable(error),
        };
        if password.expose().len() > LONGEST {
            hashes();
            return self.spend(password).await;
        }
        // What costs next to nothing is not worth remembering.
        let mark =
            if cost.is_light() { None } else { self.inner.verified.mark(&self.login.name, hash, &password) };
        let known = mark.as_ref().is_some_and(|mark| self.inner.verified.holds(mark));
        let verification = if known {
            Verification::Match
        } else {
            hashes();
            // What takes no time takes no place for the time of waiting either.
            match self.answer_now(hash, cost, &password) {
                Some(verification) => verification,
                None => Box::pin(self.run(hash, cost, password)).await,
            }
        };
        if verification == Verification::Match {
            if let Some(mark) = mark.filter(|_| !known) {
                self.inner.verified.keep(mark);
            }
            *self.login.matched.lock().unwrap_or_else(PoisonError::into_inner) = Some(hash.clone());
        }
        if !known && matches!(verification, Verification::Match | Verification::Mismatch) {
            *self.inner.usual.lock().unwrap_or_else(PoisonError::into_inner) = hash.clone();
        }
        verification
    }

    /// Spends what a verification usually costs here (the cost of the last one), for a user who is not there or has no password, so
    /// that the time tells nothing. [`Verification::Busy`] as for anybody else, otherwise [`Verification::Mismatch`].
    pub async fn spend(&self, password: Secret) -> Verification {
        let usual = self.inner.usual.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Ok(cost) = self.may_cost(&usual) else { return Verification::Mismatch };
        // As long as a password may be, no longer: some schemes take the square of its length.
        let end = password.expose().floor_char_boundary(LONGEST);
        let password = Secret::new(password.expose()[..end].to_owned());
        match self.run(&usual, cost, password).await {
            Verification::Busy => Verification::Busy,
            _ => Verification::Mismatch,
        }
    }

    /// Does other work of this kind, which takes so many KiB; `None` where there is too much to do.
    pub async fn work<T: Send + 'static>(
        &self,
        memory: u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let memory = memory.try_into().unwrap_or(usize::MAX);
        if memory > self.inner.queue.memory() {
            return None;
        }
        let permit = self.inner.queue.turn(self.login.client, memory).await?;
        let work = move || {
            let done = work();
            drop(permit);
            done
        };
        self.inner.threads.run(work).await
    }

    /// How many wait at this moment.
    pub fn waiting(&self) -> usize {
        self.inner.queue.waiting()
    }

    /// Forgets which passwords were right; returns how many those were.
    pub fn forget(&self) -> u64 {
        self.inner.verified.flush()
    }

    /// What a hash costs, if it may be verified at all.
    fn may_cost(&self, hash: &StoredHash) -> Result<Cost, HashError> {
        let scheme = hash.scheme().ok_or(HashError::UnknownScheme)?;
        if scheme.weak && !self.inner.weak.contains(&scheme) {
            return Err(HashError::NotAllowed(scheme));
        }
        let cost = hash.cost()?;
        if cost.memory as usize > self.inner.queue.memory() {
            return Err(HashError::TooDear { scheme, memory: cost.memory });
        }
        Ok(cost)
    }

    fn answer_now(&self, hash: &StoredHash, cost: Cost, password: &Secret) -> Option<Verification> {
        cost.is_light().then(|| answered(hash.verify_in(password, &mut Workspace::default())))
    }

    async fn run(&self, hash: &StoredHash, cost: Cost, password: Secret) -> Verification {
        if let Some(verification) = self.answer_now(hash, cost, &password) {
            return verification;
        }
        let queue = &self.inner.queue;
        let Some(mut permit) = queue.turn(self.login.client, cost.memory as usize).await else {
            return Verification::Busy;
        };
        let hash = hash.clone();
        let work = move || {
            let answer = hash.verify_in(&password, &mut permit.workspace);
            drop(permit);
            answer
        };
        match self.inner.threads.run(work).await {
            Some(answer) => answered(answer),
            None => Verification::Busy,
        }
    }
}

fn answered(answer: Result<bool, HashError>) -> Verification {
    match answer {
        Ok(true) => Verification::Match,
        Ok(false) => Verification::Mismatch,
        Err(HashError::NoMemory(_)) => Verification::Busy,
        Err(error) => Verification::Unusable(error),
    }
}

/// Bytes; a longer password is wrong. Nextcloud allows 469; with SHA-crypt 12 KiB would cost as much as a thousand logins.
const LONGEST: usize = 1024;
/// A hash of PHP's default cost whose password nobody knows.
const USUAL: &str =
    "$argon2id$v=19$m=65536,t=4,p=1$Z2F0ZXBvc3RnYXRlcG9zdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const ALICE: &str = "$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";
    /// A bcrypt hash that is no password's; some milliseconds.
    const SLOW: &str = "$2y$08$abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a";

    fn secret(text: &str) -> Secret {
        Secret::new(text.into())
    }

    fn stored(text: &str) -> StoredHash {
        StoredHash::parse(text.into())
    }

    #[tokio::test]
    async fn a_verification_says_what_became_of_it() {
        let hasher = Hasher::new(HasherLimits::default());
        let alice = stored(ALICE);
        assert_eq!(hasher.verify(&alice, secret("alice123")).await, Verification::Match);
        assert_eq!(hasher.verify(&alice, secret("wrong")).await, Verification::Mismatch);
        assert_eq!(hasher.spend(secret("alice123")).await, Verification::Mismatch);
        assert_eq!(
            hasher.verify(&stored("x"), secret("x")).await,
            Verification::Unusable(HashError::UnknownScheme)
        );
        let dear = stored("$argon2id$v=19$m=1048576,t=1,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg");
        assert!(matches!(
            hasher.verify(&dear, secret("x")).await,
            Verification::Unusable(HashError::TooDear { memory: 1_048_576, .. })
        ));
        assert_eq!(hasher.waiting(), 0);
    }

    #[tokio::test]
    async fn a_password_that_is_too_long_is_wrong_whatever_the_scheme_makes_of_it() {
        let plain = Scheme::named("PLAIN").unwrap();
        let hasher = Hasher::new(HasherLimits { weak: vec![plain], ..HasherLimits::default() });
        // What is spent on it instead.
        assert_eq!(hasher.verify(&stored(ALICE), secret("wrong")).await, Verification::Mismatch);
        for (length, expected) in [(1024, Verification::Match), (1025, Verification::Mismatch)] {
            let long = "x".repeat(length);
            assert_eq!(hasher.verify(&stored(&format!("{{PLAIN}}{long}")), secret(&long)).await, expected);
        }
        // bcrypt looks at 72 bytes alone.
        let hash = bcrypt::hash("x".repeat(72), 4).unwrap();
        assert_eq!(hasher.verify(&stored(&hash), secret(&"x".repeat(2000))).await, Verification::Mismatch);
        assert_eq!(hasher.spend(secret(&"\u{e4}".repeat(3000))).await, Verification::Mismatch);
    }

    #[tokio::test]
    async fn a_weak_scheme_must_be_named() {
        let plain = stored("{PLAIN}x");
        let hasher = Hasher::new(HasherLimits::default());
        let refused = hasher.verify(&plain, secret("x")).await;
        let Verification::Unusable(HashError::NotAllowed(scheme)) = refused else { panic!("{refused:?}") };
        let hasher = Hasher::new(HasherLimits { weak: vec![scheme], ..HasherLimits::default() });
        assert_eq!(hasher.verify(&plain, secret("x")).await, Verification::Match);
        assert!(matches!(
            hasher.verify(&stored("{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="), secret("secret")).await,
            Verification::Unusable(_)
        ));
    }

    #[tokio::test]
    async fn what_was_right_is_believed_for_that_login_hash_and_password_alone() {
        // No memory at all for more: whoever is answered was remembered.
        let limits =
            HasherLimits { remember: Duration::from_secs(60), remembered: 10, ..HasherLimits::default() };
        let hasher = Hasher::new(limits);
        let (hash, other) =
            (stored("$2y$05$C1EwSoje4r2kIUIk4eygDOZd25qxXAQupAwsZREXphVA/iXSeRZE6"), stored(SLOW));
        let alice = hasher.for_login("192.0.2.1", "alice@example.com");
        assert!(alice.matched().is_none());
        assert_eq!(alice.verify(&hash, secret("secret")).await, Verification::Match);
        assert_eq!(alice.matched().unwrap().text().expose(), hash.text().expose());
        let holds = |hasher: &Hasher, hash, password| {
            let mark = hasher.inner.verified.mark(&hasher.login.name, hash, &secret(password)).unwrap();
            hasher.inner.verified.holds(&mark)
        };
        assert!(holds(&hasher.for_login("203.0.113.9", "alice@example.com"), &hash, "secret"));
        assert!(!holds(&alice, &hash, "secret "));
        assert!(!holds(&alice, &other, "secret"));
        assert!(!holds(&hasher.for_login("192.0.2.1", "bob@example.com"), &hash, "secret"));
        assert_eq!(alice.verify(&hash, secret("wrong")).await, Verification::Mismatch);
        assert!(!holds(&alice, &hash, "wrong"));
        assert_eq!(hasher.forget(), 1);
        assert!(!holds(&alice, &hash, "secret"));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn beyond_the_queue_the_answer_is_busy() {
        let limits = HasherLimits {
            threads: 1,
            memory: 64 << 10,
            queue: 2,
            wait: Duration::from_secs(20),
            ..HasherLimits::default()
        };
        let hasher = Hasher::new(limits);
        let asked: Vec<_> = (0..12)
            .map(|_| {
                let hasher = hasher.clone();
                tokio::spawn(async move { hasher.verify(&stored(SLOW), secret("x")).await })
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
