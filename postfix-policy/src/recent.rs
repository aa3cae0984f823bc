//! A small memory of what was found out lately: bounded in entries and in age, for answers that the next recipient's request needs again.
//!
//! Two generations: when the young one is full or old, it becomes the old one, and what was old is forgotten at once. So an entry lives
//! between one and two spans, a look costs two hashes, and nothing has to be put in order.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was found out lately.
#[derive(Debug)]
pub(crate) struct Recent<K, V> {
    span: Duration,
    entries: usize,
    generations: Mutex<Generations<K, V>>,
}

#[derive(Debug)]
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    since: Instant,
}

impl<K: Hash + Eq, V: Clone> Recent<K, V> {
    /// A memory of at most twice `entries`, none older than twice `span`.
    pub(crate) fn new(entries: usize, span: Duration) -> Self {
        let generations = Generations { young: HashMap::new(), old: HashMap::new(), since: Instant::now() };
        Self { span, entries, generations: Mutex::new(generations) }
    }

    /// What is known of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        let generations = self.turned();
        generations.young.get(key).or_else(|| generations.old.get(key)).cloned()
    }

    /// Remembers.
    pub(crate) fn insert(&self, key: K, value: V) {
        self.turned().young.insert(key, value);
    }

    /// Remembers, unless something is known; says whether nothing was.
    pub(crate) fn insert_new(&self, key: K, value: V) -> bool {
        let mut generations = self.turned();
        if generations.young.contains_key(&key) || generations.old.contains_key(&key) {
            return false;
        }
        generations.young.insert(key, value);
        true
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        generations.young.clear();
        generations.old.clear();
    }

    fn turned(&self) -> std::sync::MutexGuard<'_, Generations<K, V>> {
        let mut generations = self.generations.lock().unwrap_or_else(PoisonError::into_inner);
        let age = generations.since.elapsed();
        if generations.young.len() >= self.entries || age >= self.span {
            let young = std::mem::take(&mut generations.young);
            // After two spans of silence the young ones are too old as well.
            generations.old = if age >= self.span * 2 { HashMap::new() } else { young };
            generations.since = Instant::now();
        }
        generations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_remembered_and_the_oldest_is_forgotten() {
        let recent = Recent::new(2, Duration::from_secs(600));
        assert!(recent.insert_new(1, 'a'));
        assert!(!recent.insert_new(1, 'b'));
        recent.insert(2, 'c');
        recent.insert(3, 'd');
        assert_eq!((recent.get(&1), recent.get(&3)), (Some('a'), Some('d')));
        recent.insert(4, 'e');
        recent.insert(5, 'f');
        assert_eq!((recent.get(&1), recent.get(&3), recent.get(&5)), (None, Some('d'), Some('f')));
    }

    #[test]
    fn nothing_lives_longer_than_two_spans() {
        let recent = Recent::new(10, Duration::from_millis(1));
        recent.insert(1, 'a');
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(recent.get(&1), None);
    }
}
