//! Logins that succeeded and whose mail process has not asked yet: from `OK` on a login socket to `REQUEST` on the master socket.
//!
//! The login process hands its client over to a mail process, which proves by the login process' number, the number of the AUTH and the
//! connection's cookie that it was sent by it. Each login is given out once, and only for a while. Refuses to grow without bound: a
//! login process that floods it loses its oldest logins, nobody else's right to log in.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::mail::Address;
use subtle::ConstantTimeEq;

/// The secret of one connection: 32 hex digits.
#[derive(Clone)]
pub struct Cookie([u8; 32]);

impl Cookie {
    /// A new one.
    pub fn new() -> Self {
        let mut digits = [0; 32];
        for (digit, half) in
            digits.iter_mut().zip(rand::random::<[u8; 16]>().iter().flat_map(|byte| [byte >> 4, byte & 15]))
        {
            *digit = DIGITS[usize::from(half)];
        }
        Self(digits)
    }

    /// The digits; for the peer it belongs to.
    pub fn expose(&self) -> &str {
        // Digits are text.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Cookie {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cookie(…)")
    }
}

/// Which login is meant: the login process and the number of its AUTH.
pub type Key = (u32, u32);

/// The table.
#[derive(Debug)]
pub struct Logins {
    entries: Mutex<Entries>,
    lifetime: Duration,
    most: usize,
}

#[derive(Debug, Default)]
struct Entries {
    /// Two login processes in different containers may have the same number: then the cookie decides.
    logins: HashMap<Key, Vec<Entry>>,
    /// In the order of arrival, for expiry; consumed ones stay until they are old.
    order: VecDeque<(Instant, Key)>,
}

#[derive(Debug)]
struct Entry {
    cookie: Cookie,
    login: Address,
    at: Instant,
}

impl Default for Logins {
    fn default() -> Self {
        Self::new(LIFETIME, MOST)
    }
}

impl Logins {
    /// A table whose logins count for `lifetime`, at most `most` of them.
    pub fn new(lifetime: Duration, most: usize) -> Self {
        Self { entries: Mutex::default(), lifetime, most: most.max(1) }
    }

    /// A login succeeded.
    pub fn add(&self, key: Key, cookie: Cookie, login: Address) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while let Some((at, old)) = entries.order.front().copied() {
            if entries.order.len() < self.most && now.duration_since(at) <= self.lifetime {
                break;
            }
            entries.order.pop_front();
            entries.forget(old, |entry| entry.at <= at);
        }
        entries.order.push_back((now, key));
        // One as good as always.
        entries.logins.entry(key).or_insert_with(|| Vec::with_capacity(1)).push(Entry {
            cookie,
            login,
            at: now,
        });
    }

    /// Who logged in there; once.
    pub fn take(&self, key: Key, cookie: &[u8]) -> Option<Address> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let known = entries.logins.get_mut(&key)?;
        let place = known.iter().position(|entry| entry.cookie.0.as_slice().ct_eq(cookie).into())?;
        let entry = known.swap_remove(place);
        if known.is_empty() {
            entries.logins.remove(&key);
        }
        (entry.at.elapsed() <= self.lifetime).then_some(entry.login)
    }

    /// Waits until nothing has waited to be asked for during [`QUIET`]: the daemon ends, and no other process knows these logins.
    pub async fn settled(&self) {
        let mut quiet_since = Instant::now();
        while quiet_since.elapsed() < QUIET {
            tokio::time::sleep(QUIET / 10).await;
            if self.is_awaited() {
                quiet_since = Instant::now();
            }
        }
    }

    /// Whether a mail process may be about to ask. Some logins nobody ever asks for, such as those of `doveadm auth test`.
    fn is_awaited(&self) -> bool {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.logins.values().flatten().any(|entry| entry.at.elapsed() < HANDOVER)
    }

    /// How many wait to be asked for.
    pub fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).logins.len()
    }

    /// Whether none does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entries {
    fn forget(&mut self, key: Key, old: impl Fn(&Entry) -> bool) {
        if let Some(known) = self.logins.get_mut(&key) {
            known.retain(|entry| !old(entry));
            if known.is_empty() {
                self.logins.remove(&key);
            }
        }
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Login processes let a request live for up to 150 s (AUTH_REQUEST_TIMEOUT_SECS); a little more, so that ours is never the shorter.
const LIFETIME: Duration = Duration::from_secs(165);
/// Longer than a login process takes to hand its client over, and than a hash of the usual cost that was under way.
const QUIET: Duration = Duration::from_millis(500);
/// After this nobody asks any more; handing over takes milliseconds, a second on a machine that is overloaded.
const HANDOVER: Duration = Duration::from_secs(2);
/// 100 logins a second that nobody asks for, over the lifetime; some 200 bytes each.
const MOST: usize = 16_384;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn alice() -> Address {
        Address::parse("alice@example.com").unwrap()
    }

    #[test]
    fn a_login_is_given_out_once_and_only_for_its_cookie() {
        let logins = Logins::default();
        let (mine, other) = (Cookie::new(), Cookie::new());
        assert_eq!(mine.expose().len(), 32);
        assert_ne!(mine.expose(), other.expose());
        logins.add((1, 2), mine.clone(), alice());
        assert_eq!(logins.take((1, 2), other.expose().as_bytes()), None);
        assert_eq!(logins.take((1, 2), b""), None);
        assert_eq!(logins.take((2, 1), mine.expose().as_bytes()), None);
        assert_eq!(logins.take((1, 2), mine.expose().as_bytes()), Some(alice()));
        assert_eq!(logins.take((1, 2), mine.expose().as_bytes()), None);
        assert!(logins.is_empty());
        assert_eq!(format!("{mine:?}"), "Cookie(…)");
    }

    #[test]
    fn two_processes_of_the_same_number_do_not_meet() {
        let logins = Logins::default();
        let (first, second) = (Cookie::new(), Cookie::new());
        let bob = Address::parse("bob@example.com").unwrap();
        logins.add((1, 1), first.clone(), alice());
        logins.add((1, 1), second.clone(), bob.clone());
        assert_eq!(logins.take((1, 1), first.expose().as_bytes()), Some(alice()));
        assert_eq!(logins.take((1, 1), second.expose().as_bytes()), Some(bob));
    }

    #[test]
    fn an_old_login_does_not_count() {
        let logins = Logins::new(Duration::ZERO, 10);
        let cookie = Cookie::new();
        logins.add((1, 1), cookie.clone(), alice());
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(logins.take((1, 1), cookie.expose().as_bytes()), None);
        logins.add((1, 2), cookie.clone(), alice());
        std::thread::sleep(Duration::from_millis(2));
        logins.add((1, 3), cookie, alice());
        assert_eq!(logins.len(), 1);
    }

    #[test]
    fn beyond_the_bound_the_oldest_goes() {
        let logins = Logins::new(Duration::from_secs(60), 3);
        let cookie = Cookie::new();
        for id in 0..10 {
            logins.add((1, id), cookie.clone(), alice());
        }
        assert_eq!(logins.len(), 3);
        assert_eq!(logins.take((1, 6), cookie.expose().as_bytes()), None);
        assert_eq!(logins.take((1, 9), cookie.expose().as_bytes()), Some(alice()));
    }
}
