//! Who teaches, and how much his word is worth to everybody.
//!
//! For [`Model`](super::Model), whose documentation says what becomes of it: nobody is heard much more than the others, and nobody who says the
//! opposite of what all others have made sure.

use std::collections::BTreeMap;

use super::{Judgement, Label};

/// How many times as many samples as the other owners on average somebody may teach everybody with in full.
const FAIR: f32 = 2.0;
/// How much an owner's steps shrink with the share of his samples that everybody else is sure to be the opposite: gone where that is half of
/// them. People who err are contrary in one of 50 or so.
const CONTRARY: f32 = 2.0;
/// Samples before that shows.
const PATIENCE: f32 = 5.0;
/// How much of a full step an owner's samples must be worth to be shown again.
pub(super) const RELIABLE: f32 = 0.5;
/// The log-odds from which on everybody else is sure.
const SURE: f32 = 2.0;
/// Owners whose samples are counted apart; all later ones are counted together.
pub(super) const MAX_OWNERS: usize = 100_000;

/// Whose mailbox: a hash of an address in lower case, the same on every host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub(super) u64);

impl Owner {
    /// The owner with that address.
    pub fn new(address: &str) -> Self {
        Self(super::words::owner(&address.to_lowercase()))
    }
}

/// What an owner has shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Taught {
    /// How many samples.
    pub(super) samples: u64,
    /// Of them, how many were sure to be the opposite for everybody else.
    pub(super) contrary: u64,
}

/// What all owners have shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Owners {
    pub(super) taught: BTreeMap<Owner, Taught>,
    /// The sum of their samples.
    pub(super) samples: u64,
}

impl Owners {
    /// Counts a sample of an owner.
    pub(super) fn count(&mut self, owner: Option<Owner>, label: Label, judged: &Judgement) {
        let Some(owner) = owner else { return };
        let [header, body, words, _] = judged.views;
        let common = header + body + words;
        let contrary = match label {
            Label::Spam => common < -SURE,
            Label::Ham => common > SURE,
        };
        let counted_as = self.counted_as(owner);
        let taught = self.taught.entry(counted_as).or_default();
        taught.samples += 1;
        taught.contrary += u64::from(contrary);
        self.samples += 1;
    }

    /// The owner under whom somebody is counted.
    fn counted_as(&self, owner: Owner) -> Owner {
        match self.taught.len() < MAX_OWNERS || self.taught.contains_key(&owner) {
            true => owner,
            false => Owner(0),
        }
    }

    /// How large the steps that an owner's samples take for everybody may be, 1 for full ones: by how loud he is, and by how often he says
    /// the opposite of what everybody else has made sure.
    pub(super) fn standing(&self, owner: Option<Owner>) -> (f32, f32) {
        let taught = owner.and_then(|owner| self.taught.get(&self.counted_as(owner))).copied();
        let (Some(Taught { samples, contrary }), others @ 1..) =
            (taught, self.taught.len().saturating_sub(1))
        else {
            return (1.0, 1.0);
        };
        let (mine, contrary) = (samples as f32, contrary as f32);
        let average = (self.samples as f32 - mine) / others as f32;
        let fair = (FAIR * average / mine.max(1.0)).min(1.0);
        let trust = ((mine - CONTRARY * contrary + PATIENCE) / (mine + PATIENCE)).max(0.0);
        (fair, trust)
    }

    /// Whether that owner has ever taught.
    pub(super) fn knows(&self, owner: Owner) -> bool {
        self.taught.contains_key(&owner) || self.taught.len() >= MAX_OWNERS
    }
}
