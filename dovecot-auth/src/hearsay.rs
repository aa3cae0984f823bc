//! What another auth service tells of its logins, and the advice it gets: for a Dovecot that keeps its own auth process and asks us by
//! `auth_policy_server_url` (`session::policy`).
//!
//! Wrong passwords are counted, each different one once, by login and place and by place alone; a place is an IPv4 address or an IPv6 /64. So
//! strangers lock nobody out, and a mail program with an old password is none that guesses. Kept in this process, bounded, for [`WINDOW`].
//! Refuses to know passwords: Dovecot sends 12 bits of a hash, which is enough to tell two apart.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One login somewhere else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// The login, folded.
    pub login: String,
    /// From where.
    pub remote: IpAddr,
    /// What tells the password from others.
    pub guess: String,
}

/// What to do with a login before its password is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Look at it.
    Allow,
    /// Do not.
    Refuse,
}

/// The memory.
#[derive(Debug, Default)]
pub struct Hearsay(Mutex<Heard>);

#[derive(Debug, Default)]
struct Heard {
    order: VecDeque<(Instant, Key)>,
    guesses: HashSet<Key>,
    by_login: HashMap<(String, IpAddr), usize>,
    by_place: HashMap<IpAddr, usize>,
}

type Key = (String, IpAddr, String);

impl Hearsay {
    /// Whether a password should be looked at.
    pub fn advise(&self, attempt: &Attempt) -> Advice {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.forget(Instant::now());
        let place = place(attempt.remote);
        let count = |count: Option<&usize>| count.copied().unwrap_or_default();
        let of_login = count(heard.by_login.get(&(attempt.login.clone(), place)));
        let of_place = count(heard.by_place.get(&place));
        if of_login >= MOST_OF_LOGIN || of_place >= MOST_OF_PLACE { Advice::Refuse } else { Advice::Allow }
    }

    /// A password was wrong.
    pub fn was_wrong(&self, attempt: &Attempt) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        heard.forget(now);
        let place = place(attempt.remote);
        let key = (attempt.login.clone(), place, attempt.guess.clone());
        if !heard.guesses.insert(key.clone()) {
            return;
        }
        heard.order.push_back((now, key));
        *heard.by_login.entry((attempt.login.clone(), place)).or_default() += 1;
        *heard.by_place.entry(place).or_default() += 1;
    }
}

impl Heard {
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front() {
            if self.order.len() <= MOST && now.duration_since(*at) <= WINDOW {
                return;
            }
            let Some((_, key)) = self.order.pop_front() else { return };
            self.guesses.remove(&key);
            let (login, place, _) = key;
            less(&mut self.by_login, &(login, place));
            less(&mut self.by_place, &place);
        }
    }
}

fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

/// Who has one IPv6 address has a /64 of them.
fn place(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
        address => address,
    }
}

/// How long a wrong password counts.
const WINDOW: Duration = Duration::from_secs(600);
/// Different wrong passwords of one login from one place.
const MOST_OF_LOGIN: usize = 10;
/// Different wrong passwords of all logins from one place: many people may be behind one address.
const MOST_OF_PLACE: usize = 50;
/// How many are remembered, some 200 bytes each.
const MOST: usize = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn attempt(login: &str, remote: &str, guess: usize) -> Attempt {
        Attempt { login: login.into(), remote: remote.parse().unwrap(), guess: guess.to_string() }
    }

    #[test]
    fn different_passwords_count_the_same_one_again_does_not() {
        let heard = Hearsay::default();
        for _ in 0..100 {
            heard.was_wrong(&attempt("a@b.test", "192.0.2.1", 7));
        }
        assert_eq!(heard.advise(&attempt("a@b.test", "192.0.2.1", 1)), Advice::Allow);
        for guess in 0..10 {
            heard.was_wrong(&attempt("a@b.test", "192.0.2.1", guess));
        }
        assert_eq!(heard.advise(&attempt("a@b.test", "192.0.2.1", 1)), Advice::Refuse);
        // From elsewhere the right password still counts, and others from there do.
        assert_eq!(heard.advise(&attempt("a@b.test", "192.0.2.2", 1)), Advice::Allow);
        assert_eq!(heard.advise(&attempt("c@b.test", "192.0.2.1", 1)), Advice::Allow);
    }

    #[test]
    fn a_place_that_tries_many_logins_is_refused_however_it_spells_itself() {
        let heard = Hearsay::default();
        for login in 0..50 {
            heard.was_wrong(&attempt(&format!("{login}@b.test"), &format!("2001:db8::{login:x}"), 1));
        }
        assert_eq!(heard.advise(&attempt("new@b.test", "2001:db8::ffff", 1)), Advice::Refuse);
        assert_eq!(heard.advise(&attempt("new@b.test", "2001:db8:0:1::1", 1)), Advice::Allow);
        let later = Instant::now() + WINDOW + Duration::from_secs(1);
        heard.0.lock().unwrap().forget(later);
        let heard = heard.0.lock().unwrap();
        assert!(heard.order.is_empty() && heard.by_place.is_empty() && heard.by_login.is_empty());
    }
}
