//! The samples that were judged wrong last, kept to be shown again: what was hard once is learned again and again, while it is new.
//!
//! For [`Model`](super::Model). With each sample that is judged wrong, [`AGAIN`] of those kept are judged and learned once more. That makes a
//! tenth fewer errors than one look at each, on every stream of the development set. Where much is judged wrong it is fewer: over time no more
//! than one for each sample that there was, so that learning takes at most twice as long. What is kept is a function of the samples and
//! their order, as the weights are, and stands in the checkpoint, so that every host shows itself the same samples.
//!
//! A correction takes out what its owner said before. Samples that are taken out of the log change its epoch, and with it all is made anew.

use std::collections::VecDeque;

use super::{Features, Label, Owner};

/// How far a probability must be from the truth for a sample to be kept. Tried: 0.05, 0.3.
pub(super) const HARD: f64 = 0.1;
/// How many are kept, and how many features of them all together: 4 MiB. Tried: 128 and 256 samples.
pub(super) const MOST: usize = 64;
pub(super) const MOST_FEATURES: usize = 1 << 20;
/// How many are shown again with each new one. Tried: 1 to 64; 8 gain less, 64 little more.
const AGAIN: usize = 16;

/// How many may be shown again at once: each sample allows one more, up to this.
pub(super) const SAVED: u32 = 64;

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sample {
    pub(super) owner: Option<Owner>,
    pub(super) label: Label,
    pub(super) features: Features,
}

/// The samples that are kept, the oldest first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Errors {
    pub(super) samples: VecDeque<Sample>,
    /// How many there ever were.
    pub(super) ever: u64,
    /// How many may be shown again.
    pub(super) saved: u32,
}

impl Default for Errors {
    fn default() -> Self {
        Self { samples: VecDeque::new(), ever: 0, saved: SAVED }
    }
}

impl Errors {
    /// Keeps a sample, and forgets the oldest beyond the bounds.
    pub(super) fn keep(&mut self, owner: Option<Owner>, label: Label, features: &Features) {
        self.ever = self.ever.wrapping_add(1);
        self.samples.push_back(Sample { owner, label, features: features.clone() });
        let mut all: usize = self.samples.iter().map(|sample| sample.features.count()).sum();
        while self.samples.len() > MOST || all > MOST_FEATURES {
            let Some(oldest) = self.samples.pop_front() else { break };
            all -= oldest.features.count();
        }
    }

    /// Forgets what an owner said of a message.
    pub(super) fn forget(&mut self, owner: Option<Owner>, features: &Features) {
        self.samples.retain(|sample| sample.owner != owner || sample.features != *features);
    }

    /// One more sample, right or wrong.
    pub(super) fn save(&mut self) {
        self.saved = (self.saved + 1).min(SAVED);
    }

    /// The samples to be shown again now: scattered, and the same on every host.
    pub(super) fn again(&mut self) -> impl Iterator<Item = &Sample> {
        let count = self.saved.min(AGAIN as u32);
        self.saved -= count;
        let first = self.ever.wrapping_mul(AGAIN as u64);
        let samples = &self.samples;
        let all = samples.len().max(1) as u64;
        (0..u64::from(count)).filter_map(move |number| {
            // Fibonacci hashing, whose upper bits are the well mixed ones.
            let scattered = first.wrapping_add(number).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            samples.get((scattered % all) as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(number: u32) -> Features {
        Features { words: vec![number], ..Features::default() }
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut errors = Errors::default();
        for number in 0..100 {
            errors.keep(None, Label::Spam, &features(number));
        }
        let kept: Vec<u32> = errors.samples.iter().flat_map(|sample| sample.features.words.clone()).collect();
        assert_eq!(kept, (36..100).collect::<Vec<u32>>());
    }

    #[test]
    fn long_messages_leave_room_for_fewer() {
        let mut errors = Errors::default();
        for _ in 0..10 {
            let long = Features { body: (0..300_000).collect(), ..Features::default() };
            errors.keep(None, Label::Spam, &long);
        }
        assert_eq!(errors.samples.len(), 3);
    }

    #[test]
    fn many_different_ones_are_shown_again() {
        let mut errors = Errors::default();
        assert_eq!(errors.again().count(), 0, "nothing is kept");
        let mut shown = std::collections::BTreeSet::new();
        for number in 0..128 {
            errors.keep(None, Label::Ham, &features(number));
            errors.saved = SAVED;
            let again: Vec<u32> = errors.again().flat_map(|sample| sample.features.words.clone()).collect();
            assert_eq!(again.len(), AGAIN);
            shown.extend(again);
        }
        assert!(shown.len() > 120, "{} of 128", shown.len());
    }

    #[test]
    fn over_time_no_more_are_shown_again_than_there_were() {
        let mut errors = Errors::default();
        let mut again = 0;
        for number in 0..1_000 {
            errors.save();
            errors.keep(None, Label::Ham, &features(number));
            again += errors.again().count();
        }
        assert!((1_000..=1_000 + SAVED as usize).contains(&again), "{again}");
    }

    #[test]
    fn what_an_owner_said_is_taken_back_and_nothing_else() {
        let (ann, bob) = (Some(Owner::new("ann@example.org")), Some(Owner::new("bob@example.org")));
        let mut errors = Errors::default();
        for (owner, number) in [(ann, 1), (bob, 1), (ann, 2), (None, 1)] {
            errors.keep(owner, Label::Spam, &features(number));
        }
        errors.forget(ann, &features(1));
        let left: Vec<_> =
            errors.samples.iter().map(|sample| (sample.owner, sample.features.words.clone())).collect();
        assert_eq!(left, [(bob, vec![1]), (ann, vec![2]), (None, vec![1])]);
    }
}
