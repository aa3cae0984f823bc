//! Passwords that were right a moment ago: for programs that log in at every click, so that each click does not cost a hash.
//!
//! What is kept is a MAC of login, stored hash and password under a key that only this process has and that dies with it. The stored hash is
//! the present one of the directory each time, so an entry dies with the change of a hash, without anybody having to remove it. Only what
//! was right is kept: a wrong password always costs its hash.

use std::time::Duration;

use aws_lc_rs::hmac;

use super::StoredHash;
use super::stack::wiped;
use crate::config::Secret;

/// The cache. Bounded by time and by entries.
pub(super) struct Verified {
    key: hmac::Key,
    entries: moka::sync::Cache<Mark, ()>,
    on: bool,
}

/// Login, hash and password, as nobody else can write them.
pub(super) type Mark = [u8; 32];

impl Verified {
    /// Keeps up to `most` for `ttl`; none if either is zero.
    pub(super) fn new(ttl: Duration, most: u64) -> Self {
        let mut key = zeroize::Zeroizing::new([0; 32]);
        rand::fill(key.as_mut_slice());
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_slice()),
            entries: moka::sync::Cache::builder()
                .max_capacity(most)
                .time_to_live(ttl.max(Duration::from_millis(1)))
                .build(),
            on: most > 0 && ttl > Duration::ZERO,
        }
    }

    /// The mark of these three; `None` where nothing is kept.
    pub(super) fn mark(&self, login: &str, hash: &StoredHash, password: &Secret) -> Option<Mark> {
        if !self.on {
            return None;
        }
        wiped(|| {
            let mut context = hmac::Context::with_key(&self.key);
            for part in [login, hash.text().expose(), password.expose()] {
                // With its length before it, no part can pass for the beginning of the next.
                context.update(&(part.len() as u64).to_le_bytes());
                context.update(part.as_bytes());
            }
            context.sign().as_ref().try_into().ok()
        })
    }

    /// Whether this was right, not too long ago.
    pub(super) fn holds(&self, mark: &Mark) -> bool {
        self.entries.contains_key(mark)
    }

    /// It is right.
    pub(super) fn keep(&self, mark: Mark) {
        self.entries.insert(mark, ());
    }

    /// Forgets all; returns how many.
    pub(super) fn flush(&self) -> u64 {
        self.entries.run_pending_tasks();
        let count = self.entries.entry_count();
        self.entries.invalidate_all();
        count
    }
}

impl std::fmt::Debug for Verified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verified({})", self.entries.entry_count())
    }
}
