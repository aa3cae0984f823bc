//! What a daemon keeps in memory: read whole when announcements begin, corrected address by address as they come, and doubted in time.
//!
//! A [`Book`] is *sure* only while every change since its reading was announced and taken in: then it may say "none". An address whose change
//! was announced is doubted at once, until its row has been read again; a doubted address, and every one while the book is not sure, is asked
//! of the database. When contact is lost the book remains what was last known, for `database.stale-limit`: it may say "found" and nothing else.
//!
//! The reading is one transaction, so that it is one state of the database; it runs beside the answering of questions. Memory while it
//! runs: the old book and the new one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Directory;
use super::copied::{ReadError, Reader};
use crate::database::Trouble;
use crate::mail::Address;

/// What can be kept: the roll of all addresses, the mailboxes alone, those of whom something is written down.
pub(super) trait Book: Sized + Send + Sync + 'static {
    /// What one address's correction is made of.
    type Row: Send;

    /// Where a directory keeps it.
    fn kept(directory: &Directory) -> &Kept<Self>;

    /// Reads all of it.
    fn read(
        directory: &Directory,
        reader: &mut Reader,
    ) -> impl Future<Output = Result<Self, ReadError>> + Send;

    /// Asks for one address's part of it.
    fn row(
        directory: &Directory,
        address: &Address,
    ) -> impl Future<Output = Result<Self::Row, Trouble>> + Send;

    /// Notes that part.
    fn note(&mut self, address: &Address, row: Self::Row) -> Result<(), Full>;

    /// How many entries it has.
    fn len(&self) -> usize;

    /// Bytes it takes.
    fn size(&self) -> usize;

    /// Says that it was read.
    fn announce(entries: usize, bytes: usize, took: Duration);
}

/// No more can be noted; what was to be is asked of the database from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 4 GiB of names")]
pub(super) struct Full;

/// What a book knows about one question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known<T> {
    /// Certainly this.
    Sure(Option<T>),
    /// This, when contact to the database was lost.
    Last(Option<T>),
    /// Nothing.
    Nothing,
}

impl<T> Known<T> {
    /// What this book knows, or where it knows nothing another.
    pub(super) fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        if matches!(self, Self::Nothing) { other() } else { self }
    }
}

/// One book of one daemon.
#[derive(Debug)]
pub(super) struct Kept<B> {
    /// Whether this daemon keeps it.
    wanted: AtomicBool,
    state: RwLock<State<B>>,
    work: Mutex<Work>,
    wake: Notify,
}

#[derive(Debug)]
struct State<B> {
    book: Option<B>,
    sure: bool,
    /// Grows with everything that makes a reading under way worthless.
    generation: u64,
    /// Addresses whose change was announced and not yet read, each with the number of its last announcement.
    doubted: HashMap<Address, u64>,
    announcements: u64,
    lost_at: Option<Instant>,
    read_at: Option<Instant>,
}

#[derive(Debug, Default)]
struct Work {
    reading: bool,
    changes: Vec<Address>,
}

impl<B> Default for Kept<B> {
    fn default() -> Self {
        let state = State {
            book: None,
            sure: false,
            generation: 0,
            doubted: HashMap::new(),
            announcements: 0,
            lost_at: None,
            read_at: None,
        };
        Self {
            wanted: AtomicBool::new(false),
            state: RwLock::new(state),
            work: Mutex::default(),
            wake: Notify::new(),
        }
    }
}

impl<B: Book> Kept<B> {
    /// Makes this daemon keep one, from the next contact on.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// What the book says, if the question is one that it may answer.
    pub(super) fn ask<T>(
        &self,
        address: &Address,
        stale_limit: Duration,
        question: impl FnOnce(&B) -> Option<T>,
    ) -> Known<T> {
        if !self.is_wanted() {
            return Known::Nothing;
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let Some(book) = &state.book else { return Known::Nothing };
        if state.sure && (state.doubted.is_empty() || !state.doubted.contains_key(address)) {
            return Known::Sure(question(book));
        }
        match state.lost_at {
            Some(at) if at.elapsed() <= stale_limit => Known::Last(question(book)),
            _ => Known::Nothing,
        }
    }

    /// Contact was made, or everything may have changed: what there is counts no more, and is read anew.
    pub(super) fn doubt_all(&self) {
        if !self.is_wanted() {
            return;
        }
        {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.sure = false;
            state.generation += 1;
            state.doubted.clear();
        }
        let mut work = self.work.lock().unwrap_or_else(PoisonError::into_inner);
        work.reading = true;
        work.changes.clear();
        drop(work);
        self.wake.notify_one();
    }

    /// One address changed.
    pub(super) fn doubt(&self, address: &Address) {
        if !self.is_wanted() {
            return;
        }
        let many = {
            let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
            state.announcements += 1;
            let number = state.announcements;
            state.doubted.insert(address.clone(), number);
            state.doubted.len() > MANY
        };
        if many {
            return self.doubt_all();
        }
        self.work.lock().unwrap_or_else(PoisonError::into_inner).changes.push(address.clone());
        self.wake.notify_one();
    }

    /// Nobody announces changes any more.
    pub(super) fn contact_lost(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.sure = false;
        state.generation += 1;
        state.doubted.clear();
        state.lost_at = Some(Instant::now());
    }

    /// How many entries the book has, and how many bytes it takes; `None` while there is no sure one.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.book.as_ref().filter(|_| state.sure).map(|book| (book.len(), book.size()))
    }

    fn is_sure(&self) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.sure && state.book.is_some()
    }

    fn generation(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Puts a book in force that was read since `generation`; one that was overtaken is dropped.
    fn put(&self, book: B, generation: u64) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return false;
        }
        // Dropped after the lock: giving back a million names takes a while.
        let old = state.book.replace(book);
        (state.sure, state.lost_at, state.read_at) = (true, None, Some(Instant::now()));
        drop(state);
        drop(old);
        true
    }

    /// How long until a sure book is as old as `ttl` and is read again. However much is announced meanwhile: this is for what never was.
    fn due(&self, ttl: Duration) -> Duration {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        match state.read_at {
            Some(at) if state.sure => ttl.saturating_sub(at.elapsed()),
            _ => ttl,
        }
    }

    fn take_work(&self) -> Work {
        std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Directory {
    /// Reads what a [`Kept`] is told to, until the process ends.
    pub(super) async fn keep<B: Book>(&self) {
        let kept = B::kept(self);
        // Said once, not every few seconds, until something else is wrong or all is well.
        let mut said = String::new();
        loop {
            // A change that was never announced (a trigger that failed) counts after this time, as with every other answer.
            let due = kept.due(self.0.freshness.ttl_notified().max(SHORTEST));
            let is_due = due.is_zero() || tokio::time::timeout(due, kept.wake.notified()).await.is_err();
            if is_due && kept.is_sure() && !self.read_whole::<B>(&mut said).await {
                tokio::time::sleep(RETRY).await;
            }
            let work = kept.take_work();
            if !self.0.freshness.is_notified() {
                // Nobody would say what changes: such a book could never be sure. The next contact asks again.
                continue;
            }
            if work.reading && !self.read_whole::<B>(&mut said).await {
                tokio::time::sleep(RETRY).await;
                // Whatever else was announced meanwhile is part of the next reading.
                if self.0.freshness.is_notified() {
                    kept.doubt_all();
                }
            }
            for address in work.changes {
                if !self.correct::<B>(&address).await {
                    tokio::time::sleep(RETRY).await;
                    if self.0.freshness.is_notified() {
                        kept.doubt(&address);
                    }
                }
            }
        }
    }

    /// Reads a whole book; whether that is done, or of no use any more.
    async fn read_whole<B: Book>(&self, said: &mut String) -> bool {
        let kept = B::kept(self);
        let generation = kept.generation();
        let begun = Instant::now();
        // Beside the threads that answer: rows come faster than one would yield between them, and a daemon may have one such thread.
        let (directory, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let reading = async {
                    let mut reader = Reader::begin(&directory.0.database).await?;
                    let book = B::read(&directory, &mut reader).await?;
                    reader.end().await?;
                    Ok(book)
                };
                tokio::time::timeout(READING, reading).await.map_err(|_| ReadError::Late(READING))?
            })
        });
        match reading.await.unwrap_or(Err(ReadError::Stopped)) {
            Ok(book) => {
                let (entries, bytes) = (book.len(), book.size());
                if kept.put(book, generation) {
                    B::announce(entries, bytes, begun.elapsed());
                }
                said.clear();
                true
            }
            Err(error) => {
                let error = error.to_string();
                if error != *said {
                    tracing::warn!(%error, "addresses cannot be held in memory; each is asked of the database");
                }
                *said = error;
                false
            }
        }
    }

    /// Reads one address again.
    async fn correct<B: Book>(&self, address: &Address) -> bool {
        let kept = B::kept(self);
        let (generation, number) = {
            let state = kept.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.generation, state.doubted.get(address).copied())
        };
        let Some(number) = number else { return true };
        let Ok(row) = B::row(self, address).await else { return false };
        let mut state = kept.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return true;
        }
        let Some(book) = &mut state.book else { return true };
        let done = book.note(address, row);
        if done.is_ok() && state.doubted.get(address) == Some(&number) {
            state.doubted.remove(address);
        }
        true
    }
}

/// More changes than this at once are cheaper to read whole.
const MANY: usize = 5_000;
/// How long a whole reading may take.
const READING: Duration = Duration::from_secs(120);
/// Before a reading that failed is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// The whole is not read more often than this without cause, whatever `database.cache-ttl-notified` is.
const SHORTEST: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::roll::Roll;
    use super::*;

    fn kept() -> (Kept<Roll>, Address) {
        let kept = Kept::default();
        kept.want();
        let alice = Address::parse("alice@example.com").unwrap();
        let mut roll = Roll::new();
        roll.set_mailbox(alice.local(), alice.domain(), true).unwrap();
        assert!(kept.put(roll, 0));
        (kept, alice)
    }

    fn asked(kept: &Kept<Roll>, address: &Address) -> Known<()> {
        kept.ask(address, Duration::from_secs(60), |roll| roll.mailbox(address).then_some(()))
    }

    #[test]
    fn a_roll_says_none_only_while_it_is_sure() {
        let (kept, alice) = kept();
        let nobody = Address::parse("nobody@example.com").unwrap();
        assert_eq!(asked(&kept, &alice), Known::Sure(Some(())));
        assert_eq!(asked(&kept, &nobody), Known::Sure(None));
        kept.doubt(&nobody);
        assert_eq!(asked(&kept, &nobody), Known::Nothing);
        assert_eq!(asked(&kept, &alice), Known::Sure(Some(())));
        kept.contact_lost();
        assert_eq!(asked(&kept, &alice), Known::Last(Some(())));
        assert_eq!(kept.ask(&alice, Duration::ZERO, |_| Some(())), Known::Nothing);
    }

    #[test]
    fn a_reading_that_was_overtaken_is_dropped() {
        let (kept, alice) = kept();
        let generation = kept.generation();
        kept.doubt_all();
        assert_eq!(asked(&kept, &alice), Known::Nothing);
        assert!(!kept.put(Roll::new(), generation));
        assert!(kept.put(Roll::new(), kept.generation()));
        assert_eq!(asked(&kept, &alice), Known::Sure(None));
    }

    /// What is announced puts the next whole reading off by nothing: on a busy server something always is.
    #[test]
    fn a_reading_grows_old_whatever_is_announced() {
        let (kept, alice) = kept();
        let read_at = Instant::now().checked_sub(Duration::from_secs(500)).unwrap();
        kept.state.write().unwrap().read_at = Some(read_at);
        kept.doubt(&alice);
        assert!(kept.due(Duration::from_secs(600)) <= Duration::from_secs(100));
        assert_eq!(kept.due(Duration::from_secs(60)), Duration::ZERO);
        // One that is not sure is read when there is contact, and not by time.
        kept.contact_lost();
        assert_eq!(kept.due(Duration::from_secs(600)), Duration::from_secs(600));
    }
}
