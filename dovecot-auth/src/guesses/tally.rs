//! The guesses for one key.
//!
//! Which of them are under way stands with each of them, so that, however attempts with the same password overtake each other, there are never
//! more under way than there are.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Instant;

/// The guesses for one key. While nobody guesses it is one at most, the attempt under way, and takes no memory of its own.
#[derive(Debug, Default)]
pub(super) struct Tally {
    one: Option<(u64, Guess)>,
    more: Numbers<Guess>,
    /// How many of them are under way.
    under_way: usize,
}

#[derive(Clone, Copy, Debug)]
struct Guess {
    /// When it was tried last.
    at: Instant,
    /// It may yet turn out right.
    under_way: bool,
}

/// Under numbers that are hashes already, by a key that nobody else has.
pub(super) type Numbers<V> = HashMap<u64, V, BuildHasherDefault<Number>>;

#[derive(Debug, Default)]
pub(super) struct Number(u64);

impl Hasher for Number {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Tally {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.one.is_some()) + self.more.len()
    }

    /// How many there are that are settled, and this one.
    pub(super) fn certain(&self, guess: u64) -> usize {
        self.len() + usize::from(self.is_under_way(guess)) - self.under_way
    }

    /// Whether it is there, and under way.
    pub(super) fn is_under_way(&self, guess: u64) -> bool {
        self.find(guess).is_some_and(|guess| guess.under_way)
    }

    /// When it was tried last.
    pub(super) fn get(&self, guess: u64) -> Option<Instant> {
        self.find(guess).map(|guess| guess.at)
    }

    /// Adds one that is not there.
    pub(super) fn add(&mut self, guess: u64, at: Instant, under_way: bool) {
        self.remove(guess);
        self.under_way += usize::from(under_way);
        let new = Guess { at, under_way };
        match self.one {
            None => self.one = Some((guess, new)),
            Some(_) => _ = self.more.insert(guess, new),
        }
    }

    /// One that is there was tried again.
    pub(super) fn date(&mut self, guess: u64, at: Instant) {
        if let Some(known) = self.find_mut(guess) {
            known.at = at;
        }
    }

    /// It counts, whatever becomes of who tries it now: from that time on if it was not there.
    pub(super) fn settle(&mut self, guess: u64, at: Instant) {
        match self.find_mut(guess) {
            Some(known) => {
                let was_under_way = std::mem::take(&mut known.under_way);
                self.under_way -= usize::from(was_under_way);
            }
            None => self.add(guess, at, false),
        }
    }

    pub(super) fn remove(&mut self, guess: u64) {
        let removed = match self.one {
            Some((number, known)) if number == guess => {
                self.one = None;
                Some(known)
            }
            _ => self.more.remove(&guess),
        };
        self.under_way -= usize::from(removed.is_some_and(|guess| guess.under_way));
    }

    fn find(&self, guess: u64) -> Option<&Guess> {
        match &self.one {
            Some((number, known)) if *number == guess => Some(known),
            _ => self.more.get(&guess),
        }
    }

    fn find_mut(&mut self, guess: u64) -> Option<&mut Guess> {
        match &mut self.one {
            Some((number, known)) if *number == guess => Some(known),
            _ => self.more.get_mut(&guess),
        }
    }
}
