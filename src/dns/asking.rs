//! The questions that are under way: whoever asks what is being asked already waits for that answer.
//!
//! For `Resolver`. A newsletter comes to many mailboxes within a second, over as many connections, and each asks the same names of the same
//! lists; one of them asks DNS. Whoever asks for others may go away, because its own time is over: then one of the others asks.
//!
//! Bound: an entry for each question that is being asked, and those are bounded by `limits.connections` and `milter.verification.questions`.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::memory::{Content, Key};

/// What is being asked, and who wants to hear of it.
#[derive(Default)]
pub(super) struct Asking(Mutex<HashMap<Key, Listener>>);

type Listener = watch::Receiver<Option<Content>>;

/// Whose turn it is to ask.
pub(super) enum Turn<'a> {
    /// The caller's.
    Mine(Asker<'a>),
    /// Somebody else asks already.
    Theirs(Theirs),
}

/// Asks for everybody; when it is dropped without an answer, somebody else may.
pub(super) struct Asker<'a> {
    all: &'a Asking,
    key: Key,
    told: watch::Sender<Option<Content>>,
}

/// A question that somebody else asks.
pub(super) struct Theirs(Listener);

impl Asking {
    /// Whether the caller is to ask, or to wait.
    pub(super) fn turn(&self, key: &Key) -> Turn<'_> {
        match self.lock().entry(key.clone()) {
            Entry::Occupied(asked) => Turn::Theirs(Theirs(asked.get().clone())),
            Entry::Vacant(place) => {
                let (told, listener) = watch::channel(None);
                place.insert(listener);
                Turn::Mine(Asker { all: self, key: key.clone(), told })
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asker<'_> {
    /// Tells those who wait. To be called when the answer is in the memory: who comes later looks there.
    pub(super) fn tell(self, content: &Content) {
        self.told.send_replace(Some(content.clone()));
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}

impl Theirs {
    /// The answer; none if whoever asked has gone away.
    pub(super) async fn answer(mut self) -> Option<Content> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use hickory_resolver::proto::rr::RecordType;

    use super::super::memory::key;
    use super::*;

    #[tokio::test]
    async fn one_asks_and_all_hear() {
        let asking = Asking::default();
        let key = key("example.test", RecordType::A);
        let Turn::Mine(asker) = asking.turn(&key) else { panic!("nobody asks yet") };
        let Turn::Theirs(second) = asking.turn(&key) else { panic!("it is asked already") };
        let Turn::Theirs(third) = asking.turn(&key) else { panic!("it is asked already") };
        asker.tell(&Content::Empty { exists: true });
        assert!(matches!(second.answer().await, Some(Content::Empty { exists: true })));
        assert!(matches!(third.answer().await, Some(Content::Empty { exists: true })));
        assert!(asking.lock().is_empty());
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_question_to_another() {
        let asking = Asking::default();
        let key = key("example.test", RecordType::A);
        let Turn::Mine(asker) = asking.turn(&key) else { panic!("nobody asks yet") };
        let Turn::Theirs(second) = asking.turn(&key) else { panic!("it is asked already") };
        drop(asker);
        assert!(second.answer().await.is_none());
        assert!(matches!(asking.turn(&key), Turn::Mine(_)));
    }
}
