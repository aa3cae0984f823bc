//! A set of texts in memory by their digests alone: 16 bytes each, whatever their length, and nothing but "is it in there?" can be asked.
//!
//! For `mailboxes` and `noted`. The digests lie sorted in one piece of memory; what changes afterwards stands beside them until it is worth
//! going through all of them. The first 128 bits of SHA-256 under a random key of each set's own: two texts of the same digest are nothing to
//! reckon with, and nobody can look for two.

use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};

/// The set.
#[derive(Debug, Default)]
pub(super) struct Digests {
    key: [u8; 32],
    sorted: Vec<u128>,
    /// What differs from `sorted` since: `true` is in the set now, `false` no more. Never says what `sorted` says.
    changes: HashMap<u128, bool>,
}

impl Digests {
    /// An empty set.
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        rand::fill(&mut key);
        Self { key, ..Self::default() }
    }

    /// An empty set that may become a long one. What is larger than 32 MiB is never a part of glibc's heap (mallopt(3), `M_MMAP_THRESHOLD`), and goes
    /// back to the system whole: a set that is read again and again beside the old one would leave holes of its size there. Room that is not used
    /// takes addresses, and no memory.
    pub(super) fn with_room() -> Self {
        Self { sorted: Vec::with_capacity(APART / size_of::<u128>()), ..Self::new() }
    }

    /// Adds a text, given in parts, to a set that is being filled; [`Digests::settle`] ends that.
    pub(super) fn push(&mut self, parts: [&str; 3]) {
        let digest = self.digest(parts);
        self.sorted.push(digest);
    }

    /// The set is filled: until now nothing could be asked.
    pub(super) fn settle(&mut self) {
        // In place: nothing beside the set is needed for it.
        self.sorted.sort_unstable();
        self.sorted.dedup();
        self.sorted.shrink_to_fit();
    }

    /// Whether a text, given in parts, is in the set.
    pub(super) fn contains(&self, parts: [&str; 3]) -> bool {
        let digest = self.digest(parts);
        let changed = if self.changes.is_empty() { None } else { self.changes.get(&digest) };
        changed.copied().unwrap_or_else(|| self.sorted.binary_search(&digest).is_ok())
    }

    /// Takes a text in, or out.
    pub(super) fn set(&mut self, parts: [&str; 3], there: bool) {
        let digest = self.digest(parts);
        if self.sorted.binary_search(&digest).is_ok() == there {
            self.changes.remove(&digest);
        } else {
            self.changes.insert(digest, there);
        }
        if self.changes.len() > MOST_CHANGES {
            self.merge();
        }
    }

    /// Whether there never was any.
    pub(super) fn is_empty(&self) -> bool {
        self.sorted.is_empty() && self.changes.is_empty()
    }

    /// How many texts are in it.
    pub(super) fn len(&self) -> usize {
        let added = self.changes.values().filter(|there| **there).count();
        self.sorted.len() + added - (self.changes.len() - added)
    }

    /// Bytes it takes.
    pub(super) fn size(&self) -> usize {
        // A map's entry with what it keeps free.
        self.sorted.capacity() * size_of::<u128>() + self.changes.capacity() * 2 * size_of::<(u128, bool)>()
    }

    /// Works the changes in, in one pass and in place: a few milliseconds for a million.
    fn merge(&mut self) {
        let changes = std::mem::take(&mut self.changes);
        self.sorted.retain(|digest| !changes.contains_key(digest));
        let mut added: Vec<u128> =
            changes.into_iter().filter(|(_, there)| *there).map(|(digest, _)| digest).collect();
        added.sort_unstable();
        // From the back, so that nothing is overwritten that has not been moved.
        let mut old = self.sorted.len();
        self.sorted.reserve_exact(added.len());
        self.sorted.resize(old + added.len(), 0);
        let mut end = self.sorted.len();
        while let Some(digest) = added.last().copied() {
            end -= 1;
            if old > 0 && self.sorted[old - 1] > digest {
                old -= 1;
                self.sorted[end] = self.sorted[old];
            } else {
                self.sorted[end] = digest;
                added.pop();
            }
        }
    }

    fn digest(&self, parts: [&str; 3]) -> u128 {
        let mut context = Context::new(&SHA256);
        context.update(&self.key);
        parts.iter().for_each(|part| context.update(part.as_bytes()));
        let mut first = [0; 16];
        first.copy_from_slice(&context.finish().as_ref()[..16]);
        u128::from_be_bytes(first)
    }
}

/// More than glibc's heap ever takes in one piece.
const APART: usize = 33 * 1024 * 1024;
/// So many changes are kept aside, some 300 KiB, before all digests are gone through.
const MOST_CHANGES: usize = 4_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hundred_thousand_mailboxes_take_sixteen_bytes_each() {
        let mut digests = Digests::with_room();
        for number in 0..100_000 {
            digests.push([&format!("user{number}"), "@", "example.com"]);
        }
        // A row that is stored in two spellings comes twice.
        digests.push(["user7", "@", "example.com"]);
        digests.settle();
        assert_eq!((digests.len(), digests.size()), (100_000, 1_600_000));
        assert!((0..100_000).all(|number| digests.contains([&format!("user{number}"), "@", "example.com"])));
        assert!(!digests.contains(["user100000", "@", "example.com"]));
        assert!(!digests.contains(["user1", "@", "example.org"]));
    }

    #[test]
    fn what_is_in_one_set_says_nothing_about_another() {
        let (one, other) = (Digests::new(), Digests::new());
        assert_ne!(one.digest(["a", "@", "b.test"]), other.digest(["a", "@", "b.test"]));
        assert_eq!(one.digest(["a", "@", "b.test"]), one.digest(["a@b.test", "", ""]));
    }

    proptest! {
        /// Whatever is read first, taken in and taken out, however often the changes are worked in: the same as a set of the standard library.
        #[test]
        fn it_answers_as_a_plain_set_does(
            read in proptest::collection::vec(0..60u8, 0..60),
            changes in proptest::collection::vec((0..60u8, any::<bool>(), 0..8u8), 0..200),
        ) {
            let name = |number: u8| number.to_string();
            let mut digests = Digests::new();
            read.iter().for_each(|number| digests.push([&name(*number), "", ""]));
            digests.settle();
            let mut model: BTreeSet<u8> = read.into_iter().collect();
            for (number, there, merge) in changes {
                digests.set([&name(number), "", ""], there);
                if there { model.insert(number); } else { model.remove(&number); }
                if merge == 0 {
                    digests.merge();
                    prop_assert!(digests.changes.is_empty() && digests.sorted.is_sorted());
                }
                prop_assert_eq!(digests.len(), model.len());
                prop_assert_eq!(digests.contains([&name(number), "", ""]), there);
            }
            for number in 0..60 {
                prop_assert_eq!(digests.contains([&name(number), "", ""]), model.contains(&number), "{}", number);
            }
        }
    }
}
