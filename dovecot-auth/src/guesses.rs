//! How many different wrong passwords were tried: for each login, from each address, from each network (/24, /64), within a window.
//!
//! The fast view of this process; `guard` shares it with the other hosts. A guess is a MAC of login and password under a key that only this
//! process has (SipHash-1-3, std's `RandomState`): the same wrong password again is the same guess, and nobody who reads the numbers can
//! test a password with them. Keys of all tables are such numbers too.
//!
//! A guess counts from the moment it is tried, so that many at once do not slip through, until it is settled: [`Guesses::confirm`],
//! [`Guesses::take_back`] or [`Guesses::was_right`]. Right passwords leave nothing behind.
//! Refuses to grow without bound: beyond [`MOST`] guesses the oldest are forgotten.

mod tally;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::config::{Network, Secret};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use tally::{Numbers, Tally};

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

#[derive(Debug, Default)]
struct State {
    tallies: Numbers<Tally>,
    /// What was wrong, by time, for expiry; a guess that is repeated stands here once a minute at the most.
    order: VecDeque<Record>,
    /// Where logins have, or have not, logged in before.
    known: Numbers<(Instant, bool)>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    at: Instant,
    guess: u64,
    whom: Whom,
}

/// The tables that a guess counts in.
#[derive(Clone, Copy, Debug)]
struct Whom {
    user: u64,
    address: Option<u64>,
    network: Option<u64>,
    own_address: Option<u64>,
    own_network: Option<u64>,
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

    /// Notes whether a login has logged in from each of these networks before. What is news, which once in [`NEWS`] it is again, stays in the list.
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

impl State {
    /// Whether a login has logged in from somewhere; `None` where that is not known here.
    fn known_at(&self, place: u64) -> Option<bool> {
        // That it has not may change any moment, on another host.
        let counts = |(at, known): &&(Instant, bool)| *known || at.elapsed() < UNKNOWN_FOR;
        self.known.get(&place).filter(counts).map(|(_, known)| *known)
    }

    /// Notes it; whether that is news.
    fn note_known(&mut self, place: u64, now: Instant, is_known: bool) -> bool {
        if let Some((at, true)) = self.known.get(&place)
            && is_known
            && now.saturating_duration_since(*at) < NEWS
        {
            return false;
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(place, (now, is_known));
        true
    }

    /// In which of its tables it is new, and whether it stands there with its time now: what is repeated within a minute changes nothing.
    /// One that is under way is to [`State::settle`] or to [`State::remove`].
    fn add(&mut self, record: Record, under_way: bool) -> (u8, bool) {
        let (mut new, mut is_old) = (0, false);
        for (bit, whom) in record.whom.all() {
            let tally = self.tallies.entry(whom).or_default();
            match tally.get(record.guess) {
                None => {
                    new |= bit;
                    tally.add(record.guess, record.at, under_way);
                }
                Some(at) => is_old |= record.at.saturating_duration_since(at) > REPEAT,
            }
        }
        let dated = new != 0 || is_old;
        if dated && new != record.whom.bits() {
            for (_, whom) in record.whom.all() {
                self.tallies.entry(whom).or_default().date(record.guess, record.at);
            }
        }
        (new, dated)
    }

    /// What was under way counts now; whether it had to be added to some table because somebody has taken it out.
    fn settle(&mut self, record: &Record) -> bool {
        let mut is_added = false;
        for (_, whom) in record.whom.all() {
            let tally = self.tallies.entry(whom).or_default();
            is_added |= tally.get(record.guess).is_none();
            tally.settle(record.guess, record.at);
        }
        is_added
    }

    /// How close the limits are: with all that is under way, and with nothing of it but this attempt.
    fn shares(&self, record: &Record, limits: Limits) -> (Shares, Shares) {
        let share = |place: usize, limit: u32, certain: bool| {
            let tally =
                record.whom.table(place).filter(|_| limit > 0).and_then(|whom| self.tallies.get(&whom));
            tally.map_or(0.0, |tally| {
                ratio(if certain { tally.certain(record.guess) } else { tally.len() }, limit)
            })
        };
        let shares = |certain| Shares {
            user: share(0, limits.user, certain),
            place: share(1, limits.address, certain).max(share(2, limits.network, certain)),
            own_address: share(3, limits.user, certain),
            own_network: share(4, limits.user, certain),
        };
        (shares(false), shares(true))
    }

    /// What is under way is no more, and does not count.
    fn withdraw(&mut self, record: &Record) {
        for (_, whom) in record.whom.all() {
            self.remove_from(whom, |tally| tally.is_under_way(record.guess), record.guess);
        }
    }

    fn remove(&mut self, record: &Record) {
        for (_, whom) in record.whom.all() {
            self.remove_from(whom, |_| true, record.guess);
        }
    }

    /// Takes a guess out of a tally that it fits.
    fn remove_from(&mut self, whom: u64, fits: impl FnOnce(&Tally) -> bool, guess: u64) {
        if let Entry::Occupied(mut tally) = self.tallies.entry(whom)
            && fits(tally.get())
        {
            tally.get_mut().remove(guess);
            if tally.get().len() == 0 {
                tally.remove();
            }
        }
    }

    fn expire(&mut self, now: Instant, window: Duration) {
        while let Some(record) = self.order.front().copied() {
            if self.order.len() <= MOST && now.saturating_duration_since(record.at) <= window {
                break;
            }
            self.order.pop_front();
            for (_, whom) in record.whom.all() {
                // One that was repeated has a later record.
                let fits = |tally: &Tally| tally.get(record.guess).is_some_and(|at| at <= record.at);
                self.remove_from(whom, fits, record.guess);
            }
        }
    }
}

impl Whom {
    fn bits(self) -> u8 {
        self.all().fold(0, |bits, (bit, _)| bits | bit)
    }

    fn tables(self) -> [Option<u64>; 5] {
        [Some(self.user), self.address, self.network, self.own_address, self.own_network]
    }

    fn table(self, place: usize) -> Option<u64> {
        self.tables().get(place).copied().flatten()
    }

    /// Each once, with a bit of its own: an IPv6 address is its network.
    fn all(self) -> impl Iterator<Item = (u8, u64)> + use<> {
        let once =
            Self { own_network: self.own_network.filter(|_| self.own_network != self.own_address), ..self };
        once.tables().into_iter().enumerate().filter_map(|(place, whom)| whom.map(|whom| (1 << place, whom)))
    }
}

fn ratio(count: usize, limit: u32) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(limit)
}

/// The bit of the first of [`Whom::all`].
const USER: u8 = 1;
/// About 400 bytes each.
const MOST: usize = 65_536;
/// A guess that is repeated is recorded once in this time.
const REPEAT: Duration = Duration::from_secs(60);
/// How often it is written down that a login still comes from where it is known (`note_networks.sql` has the same).
const NEWS: Duration = Duration::from_secs(3600);
/// How long it is believed that a login has never logged in from somewhere.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const LIMITS: Limits = Limits { user: 3, address: 5, network: 8, window: Duration::from_secs(3600) };

    struct Scene(Guesses);

    impl Scene {
        fn try_it(&self, login: &str, address: &str, password: &str) -> Attempt {
            let attempt = self.begin(login, address, password);
            self.0.confirm(&attempt);
            attempt
        }

        fn begin(&self, login: &str, address: &str, password: &str) -> Attempt {
            let guess = self.0.guess(login, &Secret::new(password.to_owned()));
            self.0.attempt(login, address.parse().ok(), false, guess, LIMITS)
        }
    }

    #[test]
    fn the_same_wrong_password_counts_once() {
        let scene = Scene(Guesses::default());
        for _ in 0..50 {
            assert!(scene.try_it("alice", "192.0.2.1", "old").share() < 0.5);
        }
        assert_eq!(scene.0.len(), 1);
        scene.try_it("alice", "192.0.2.1", "a");
        assert!(scene.try_it("alice", "192.0.2.1", "b").share() <= 1.0);
        assert!(scene.try_it("alice", "192.0.2.1", "c").share() > 1.0);
        // Elsewhere and for others nothing has happened.
        assert!(scene.try_it("bob", "198.51.100.1", "c").share() < 0.5);
    }

    #[test]
    fn one_password_for_many_users_counts_for_the_address_and_its_network() {
        let scene = Scene(Guesses::default());
        let shares: Vec<bool> =
            (0..6).map(|n| scene.try_it(&format!("user{n}"), "192.0.2.1", "spring").share() > 1.0).collect();
        assert_eq!(shares, [false, false, false, false, false, true]);
        let shares: Vec<bool> = (0..3)
            .map(|n| {
                scene.try_it(&format!("other{n}"), &format!("192.0.2.{}", n + 10), "spring").share() > 1.0
            })
            .collect();
        assert_eq!(shares, [false, false, true]);
        assert!(scene.try_it("x", "192.0.3.1", "spring").share() <= 1.0);
    }

    #[test]
    fn what_strangers_do_does_not_count_as_ones_own() {
        let scene = Scene(Guesses::default());
        for n in 0..20 {
            scene.try_it("alice", &format!("203.0.113.{n}"), &format!("guess{n}"));
        }
        let mine = scene.try_it("alice", "192.0.2.1", "alice123");
        assert!(mine.share() > 1.0 && mine.shares.own_address < 0.5 && mine.shares.own_network < 0.5);
        let six = scene.try_it("alice", "2001:db8::1", "alice123");
        let again = scene.try_it("alice", "2001:db8::2", "alice124");
        assert!(six.shares.own_address < 0.5 && again.shares.own_address > 0.5);
    }

    #[test]
    fn what_was_right_or_not_decided_does_not_count() {
        let scene = Scene(Guesses::default());
        for n in 0..20 {
            let attempt = scene.begin("alice", "192.0.2.1", &format!("{n}"));
            assert!(attempt.share() < 0.5);
            if n % 2 == 0 { scene.0.take_back(&attempt) } else { scene.0.was_right(&attempt) }
        }
        assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (0, 0));
        let wrong = scene.try_it("alice", "192.0.2.1", "wrong");
        let again = scene.begin("alice", "192.0.2.1", "wrong");
        // It was wrong before; that nobody could say this time changes nothing.
        scene.0.take_back(&again);
        assert!(scene.try_it("alice", "192.0.2.1", "other").share() > 0.5);
        scene.0.was_right(&wrong);
        assert!(scene.try_it("alice", "192.0.2.1", "other").share() < 0.5);
        // Nor does it wipe out what was wrong elsewhere.
        scene.try_it("bob", "192.0.2.1", "wrong");
        scene.0.take_back(&scene.begin("bob", "198.51.100.1", "wrong"));
        assert!(scene.try_it("bob", "203.0.113.1", "other").share() > 0.5);
    }

    #[test]
    fn what_is_under_way_is_told_from_what_was_wrong() {
        let scene = Scene(Guesses::default());
        let certain = |attempt: &Attempt| (attempt.certain.user, attempt.certain.place);
        let under_way: Vec<Attempt> =
            (0..LIMITS.address).map(|n| scene.begin(&format!("user{n}"), "192.0.2.1", "right")).collect();
        let one_more = scene.begin("alice", "192.0.2.1", "right");
        assert!(one_more.share() > 1.0 && one_more.certain.place < 0.5);
        for attempt in &under_way {
            scene.0.was_right(attempt);
        }
        scene.0.take_back(&one_more);
        assert_eq!(scene.0.state.lock().unwrap().tallies.len(), 0);
        // Tried twice at once, it is one guess; wrong ones are certain.
        let (first, second) =
            (scene.begin("bob", "192.0.2.1", "wrong"), scene.begin("bob", "192.0.2.1", "wrong"));
        assert_eq!((certain(&first), certain(&second)), ((1.0 / 3.0, 0.2), (1.0 / 3.0, 0.2)));
        scene.0.confirm(&second);
        scene.0.confirm(&first);
        let other = scene.begin("bob", "192.0.2.1", "other");
        assert_eq!(certain(&other), (2.0 / 3.0, 0.4));
        // What is right is right for all who try it now.
        let same = scene.begin("bob", "192.0.2.1", "other");
        scene.0.was_right(&same);
        scene.0.was_right(&other);
        assert_eq!(certain(&scene.begin("bob", "192.0.2.1", "last")), (2.0 / 3.0, 0.4));
    }

    #[test]
    fn attempts_with_one_password_may_overtake_each_other() {
        let scene = Scene(Guesses::default());
        let begin = |password| scene.begin("alice", "192.0.2.1", password);
        let [first, second, other] = [begin("right"), begin("right"), begin("other")];
        // What the second has taken out of the tables, the first is not under way in any more.
        scene.0.was_right(&second);
        let third = begin("third");
        assert_eq!((third.shares.user, third.certain.user), (2.0 / 3.0, 1.0 / 3.0));
        for attempt in [&first, &other, &third] {
            scene.0.was_right(attempt);
        }
        assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (0, 0));
        // What one of them waits with is wrong all the same if another finds it so, before or after.
        for is_before in [true, false] {
            let (waits, goes_on) = (begin("wrong"), begin("wrong"));
            if is_before {
                scene.0.withdraw(&waits);
            }
            scene.0.confirm(&goes_on);
            if !is_before {
                scene.0.withdraw(&waits);
            }
            assert_eq!(begin("wrong").certain.user, 1.0 / 3.0);
            assert_eq!(scene.0.forget("alice"), 1, "{is_before}");
        }
        // Nor is what another host has heard taken back.
        let here = begin("wrong");
        scene.0.heard("alice", "192.0.2.1".parse().ok(), false, here.record.guess, Duration::ZERO);
        scene.0.take_back(&here);
        assert!(!begin("wrong").is_new());
    }

    proptest::proptest! {
        /// Whatever overtakes what: shares are never more than what was tried, never less than what is certain, and nothing stays that
        /// was right or not decided.
        #[test]
        fn whatever_is_settled_in_whatever_order(
            steps in proptest::collection::vec((0_u8..5, 0_usize..2, 0_usize..3, 0_usize..3), 1..60),
        ) {
            let (scene, mut under_way) = (Scene(Guesses::default()), Vec::new());
            let mut wrong = std::collections::HashSet::new();
            for (step, login, address, password) in steps {
                if step < 2 || under_way.is_empty() {
                    let login = ["alice", "bob"][login];
                    let address = ["192.0.2.1", "192.0.2.2", "2001:db8::1"][address];
                    let attempt = scene.begin(login, address, ["a", "b", "c"][password]);
                    let all = [(attempt.shares, attempt.certain)].map(|(all, certain)| {
                        [(all.user, certain.user), (all.own_address, certain.own_address), (all.own_network, certain.own_network)]
                    });
                    for (all, certain) in all.into_iter().flatten() {
                        proptest::prop_assert!((1.0 / 3.0..=1.0).contains(&certain) && (certain..=1.0).contains(&all));
                    }
                    under_way.push(((login, password), attempt));
                } else {
                    let (what, attempt) = under_way.remove((address * 3 + password) % under_way.len());
                    match step {
                        2 => scene.0.withdraw(&attempt),
                        3 => {
                            scene.0.was_right(&attempt);
                            wrong.remove(&what);
                        }
                        _ => {
                            scene.0.confirm(&attempt);
                            wrong.insert(what);
                        }
                    }
                }
            }
            for (_, attempt) in &under_way {
                scene.0.withdraw(attempt);
            }
            for login in ["alice", "bob"] {
                let next = scene.begin(login, "203.0.113.1", "next");
                let certain = wrong.iter().filter(|what| what.0 == login).count();
                proptest::prop_assert_eq!(next.shares.user, ratio(certain + 1, 3));
                proptest::prop_assert_eq!(next.certain.user, next.shares.user);
            }
        }
    }

    #[test]
    fn guesses_are_forgotten_in_time_and_on_command() {
        let scene = Scene(Guesses::default());
        let soon = Limits { window: Duration::from_millis(1), ..LIMITS };
        let guess = scene.0.guess("alice", &Secret::new("x".into()));
        scene.0.heard("alice", None, false, guess, Duration::from_secs(120));
        scene.0.confirm(&scene.0.attempt("bob", None, false, guess, soon));
        assert_eq!((scene.0.len(), scene.0.state.lock().unwrap().tallies.len()), (1, 1));
        for (key, remaining) in
            [("alice", false), ("192.0.2.1", false), ("192.0.2.0/24", false), ("192.0.2.2", true)]
        {
            for n in 0..4 {
                scene.try_it("alice", "192.0.2.1", &format!("{n}"));
            }
            scene.0.forget(key);
            assert_eq!(scene.try_it("alice", "192.0.2.1", "new").share() > 1.0, remaining, "{key}");
            scene.0.forget("alice");
        }
    }

    #[test]
    fn a_trusted_address_is_not_counted_but_its_users_are() {
        let scene = Scene(Guesses::default());
        let local = "127.0.0.1".parse().ok();
        let shares: Vec<f64> =
            (0..20).map(|n| scene.0.attempt(&format!("user{n}"), local, true, n, LIMITS).share()).collect();
        assert!(shares.iter().all(|share| *share < 0.5));
        let shares: Vec<f64> =
            (0..4).map(|n| scene.0.attempt("alice", local, true, n, LIMITS).share()).collect();
        assert!(shares[2] <= 1.0 && shares[3] > 1.0);
    }

    #[test]
    fn the_memory_is_bounded() {
        let scene = Scene(Guesses::default());
        for n in 0..(MOST as u64 + 5_000) {
            scene.0.confirm(&scene.0.attempt(&format!("user{n}"), None, false, n, LIMITS));
        }
        assert!(scene.0.len() <= MOST + 1);
        assert!(scene.0.state.lock().unwrap().tallies.len() <= MOST + 1);
    }
}
