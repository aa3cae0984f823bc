//! Which guesses count where: a tally for each login, address and network, and what was wrong in the order of time, for expiry.
//!
//! Numbers only: what they stand for is [`Guesses`](super::Guesses)' affair, and so is the lock.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use super::tally::{Numbers, Tally};
use super::{Limits, Shares};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) tallies: Numbers<Tally>,
    /// What was wrong, by time, for expiry; a guess that is repeated stands here once a minute at the most.
    pub(super) order: VecDeque<Record>,
    /// Where logins have, or have not, logged in before.
    known: Numbers<(Instant, bool)>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) at: Instant,
    pub(super) guess: u64,
    pub(super) whom: Whom,
}

/// The tables that a guess counts in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whom {
    pub(super) user: u64,
    pub(super) address: Option<u64>,
    pub(super) network: Option<u64>,
    pub(super) own_address: Option<u64>,
    pub(super) own_network: Option<u64>,
}

impl State {
    /// Whether a login has logged in from somewhere; `None` where that is not known here.
    pub(super) fn known_at(&self, place: u64) -> Option<bool> {
        // That it has not may change any moment, on another host.
        let counts = |(at, known): &&(Instant, bool)| *known || at.elapsed() < UNKNOWN_FOR;
        self.known.get(&place).filter(counts).map(|(_, known)| *known)
    }

    /// Notes it; whether that is news.
    pub(super) fn note_known(&mut self, place: u64, now: Instant, is_known: bool) -> bool {
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
    pub(super) fn add(&mut self, record: Record, under_way: bool) -> (u8, bool) {
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
    pub(super) fn settle(&mut self, record: &Record) -> bool {
        let mut is_added = false;
        for (_, whom) in record.whom.all() {
            let tally = self.tallies.entry(whom).or_default();
            is_added |= tally.get(record.guess).is_none();
            tally.settle(record.guess, record.at);
        }
        is_added
    }

    /// How close the limits are: with all that is under way, and with nothing of it but this attempt.
    pub(super) fn shares(&self, record: &Record, limits: Limits) -> (Shares, Shares) {
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
    pub(super) fn withdraw(&mut self, record: &Record) {
        for (_, whom) in record.whom.all() {
            self.remove_from(whom, |tally| tally.is_under_way(record.guess), record.guess);
        }
    }

    pub(super) fn remove(&mut self, record: &Record) {
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

    pub(super) fn expire(&mut self, now: Instant, window: Duration) {
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
    pub(super) fn bits(self) -> u8 {
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

pub(super) fn ratio(count: usize, limit: u32) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / f64::from(limit)
}

/// About 400 bytes each.
pub(super) const MOST: usize = 65_536;
/// A guess that is repeated is recorded once in this time.
const REPEAT: Duration = Duration::from_secs(60);
/// How often it is written down that a login still comes from where it is known (`note_networks.sql` has the same).
const NEWS: Duration = Duration::from_secs(3600);
/// How long it is believed that a login has never logged in from somewhere.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
