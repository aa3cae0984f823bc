//! How many different wrong passwords were tried: for each login, from each address, from each network (/24, /64), within a window.
//!
//! The fast view of this process; `guard` shares it with the other hosts. A guess is a MAC of login and password under a key that only this
//! process has (SipHash-1-3, std's `RandomState`): the same wrong password again is the same guess, and nobody who reads the numbers can
//! test a password with them. Keys of all tables are such numbers too.
//!
//! A guess counts from the moment it is tried, so that many at once do not slip through, until it is settled: [`Guesses::confirm`],
//! [`Guesses::take_back`] or [`Guesses::was_right`]. Right passwords leave nothing behind.
//! Refuses to grow without bound: beyond 65,536 guesses the oldest are forgotten.

mod state;
mod tally;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::config::{Network, Secret};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use state::{Record, State, Whom};

/// How many different wrong passwords are too many; 0 for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For one login.
    pub user: u32,
    /// From one address.
    pub address: u32,
    /// From one network.
    pub network: u32,
    /// Within which time.
    pub window: Duration,
}

/// The view.
#[derive(Debug, Default)]
pub struct Guesses {
    key: RandomState,
    state: Mutex<State>,
    /// An attempt was settled.
    settled: Notify,
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    record: Record,
    /// Whether the login has logged in from this address, and from this network, before; `None` where that is not known here.
    known: [Option<bool>; 2],
    /// In which of its tables it was not before, a bit for each.
    new: u8,
    /// Whether it stands there with the time of this attempt.
    dated: bool,
    /// How close the limits are, with all that is under way.
    pub shares: Shares,
    /// How close they are if all that is under way but this turns out right.
    pub certain: Shares,
}

/// How close an attempt is to the limits: 1.0 is at the limit; above, it is too much.
#[derive(Clone, Copy, Debug, Default)]
pub struct Shares {
    /// Counted for this login, from everywhere.
    pub user: f64,
    /// Counted for this address or its network, whichever is closer to its limit; 0 for a trusted one.
    pub place: f64,
    /// Counted for this login from this address only: what strangers do does not matter.
    pub own_address: f64,
    /// The same for this login from this network.
    pub own_network: f64,
}

impl Attempt {
    /// Whether this password was not tried for this login before.
    pub fn is_new(&self) -> bool {
        self.new & USER != 0
    }

    /// Whether the login has logged in from this address, and from this network, before; `None` where that is not known here.
    pub fn known(&self) -> [Option<bool>; 2] {
        self.known
    }

    /// The closest limit of all.
    pub fn share(&self) -> f64 {
        self.shares.user.max(self.shares.place)
    }
}

/// Where a login logs in from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// It has logged in from this address before (an IPv6 address is its /64).
    pub address: bool,
    /// From this network.
    pub network: bool,
}

impl Guesses {
    /// The MAC of a login and a password.
    pub fn guess(&self, login: &str, password: &Secret) -> u64 {
        self.key.hash_one(("guess", login, password.expose()))
    }

    /// Counts an attempt before it is decided. An address that is not counted is trusted.
    pub fn attempt(
        &self,
        login: &str,
        address: Option<IpAddr>,
        trusted: bool,
        guess: u64,
        limits: Limits,
    ) -> Attempt {
        let now = Instant::now();
        let record = Record { at: now, guess, whom: self.whom(login, address, trusted) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(now, limits.window);
        let (new, dated) = state.add(record, true);
        let known = [record.whom.own_address, record.whom.own_network]
            .map(|place| place.and_then(|place| state.known_at(place)));
        let (shares, certain) = state.shares(&record, limits);
        Attempt { record, known, new, dated, shares, certain }
    }

    /// Waits until an attempt is settled that was not when this was called. Not lost if it is settled before this is polled.
    pub fn settled(&self) -> Notified<'_> {
        self.settled.notified()
    }

    /// The attempt was wrong, or nobody waited for the end of it: it counts, even if somebody who tried the same at that time took it back.
    pub fn confirm(&self, attempt: &Attempt) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.settle(&attempt.record) || attempt.dated {
                state.order.push_back(attempt.record);
            }
        }
        self.settled.notify_waiters();
    }

    /// Nobody looked at the attempt, or nobody could say: it does not count. One that was wrong before still does.
    pub fn take_back(&self, attempt: &Attempt) {
        self.withdraw(attempt);
        self.settled.notify_waiters();
    }

    /// The same, of one that will be tried again: nobody who waits is told.
    pub fn withdraw(&self, attempt: &Attempt) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.withdraw(&attempt.record);
        if attempt.dated && attempt.new != attempt.record.whom.bits() {
            state.order.push_back(attempt.record);
        }
    }

    /// The attempt was right, whatever was thought of the same password before (it may have been changed to it).
    pub fn was_right(&self, attempt: &Attempt) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.remove(&attempt.record);
        }
        self.settled.notify_waiters();
    }

    /// A guess that another process has heard.
    pub fn heard(&self, login: &str, address: Option<IpAddr>, trusted: bool, guess: u64, ago: Duration) {
        let Some(at) = Instant::now().checked_sub(ago) else { return };
        let record = Record { at, guess, whom: self.whom(login, address, trusted) };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, dated) = state.add(record, false);
        if state.settle(&record) || dated {
            state.order.push_back(record);
        }
    }

    /// Forgets the guesses for a login, from an address, or from a network.
    pub fn forget(&self, key: &str) -> usize {
        let wanted = match (key.parse::<IpAddr>(), key.parse::<Network>()) {
            (Ok(address), _) => self.number("address", address.to_canonical()),
            (_, Ok(network)) => self.number("network", network),
            _ => self.number("user", key),
        };
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<Record> = state
            .order
            .iter()
            .filter(|record| {
                let Whom { user, address, network, .. } = record.whom;
                user == wanted || address == Some(wanted) || network == Some(wanted)
            })
            .copied()
            .collect();
        found.iter().for_each(|record| state.remove(record));
        found.len()
    }

    /// Notes whether a login has logged in from each of these networks before. What is news, which once in an hour it is again, stays in the list.
    pub fn note_known(&self, login: &str, networks: &mut Vec<(Network, bool)>) {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        networks.retain(|(network, is_known)| state.note_known(self.number(login, network), now, *is_known));
    }

    /// How many guesses are remembered.
    pub fn len(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).order.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn whom(&self, login: &str, address: Option<IpAddr>, trusted: bool) -> Whom {
        let places = address.map(places);
        let counted = places.filter(|_| !trusted);
        Whom {
            user: self.number("user", login),
            address: counted.and(address).map(|address| self.number("address", address.to_canonical())),
            network: counted.map(|places| self.number("network", places[1])),
            own_address: places.map(|places| self.number(login, places[0])),
            own_network: places.map(|places| self.number(login, places[1])),
        }
    }

    fn number(&self, kind: &str, key: impl Hash) -> u64 {
        self.key.hash_one((kind, key))
    }
}

/// What counts as one place of a user: the IPv4 address or the /64, and the network around it.
pub fn places(address: IpAddr) -> [Network; 2] {
    let near = Network::neighbourhood(address);
    match address.to_canonical() {
        IpAddr::V4(_) => [Network::around(address, 32), near],
        IpAddr::V6(_) => [near, near],
    }
}

/// The bit of the first of [`Whom::all`].
const USER: u8 = 1;
#[cfg(test)]
mod tests;
