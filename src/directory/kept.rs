//! The roll as a daemon keeps it: read whole when announcements begin, corrected address by address as they come, and doubted in time.
//!
//! A roll is *sure* only while every change since its reading was announced and taken in: then it may say "none". An address whose change was
//! announced is doubted at once, until its row has been read again; a doubted address, and every one while the roll is not sure, is asked of
//! the database. When contact is lost the roll remains what was last known, for `database.stale-limit`: it may say "found" and nothing else.
//!
//! The reading is one transaction, so that it is one state of the database; it runs beside the answering of questions. Memory while it
//! runs: the old roll and the new one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection, Postgres, Transaction};
use tokio::sync::Notify;

use super::Directory;
use super::roll::Roll;
use crate::database::Trouble;
use crate::mail::{Address, Domain};

/// What the roll knows about one question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Known<T> {
    /// Certainly this.
    Sure(Option<T>),
    /// This, when contact to the database was lost.
    Last(Option<T>),
    /// Nothing.
    Nothing,
}

/// The roll of one daemon.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Whether this daemon keeps one.
    wanted: AtomicBool,
    state: RwLock<State>,
    work: Mutex<Work>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    roll: Option<Roll>,
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

impl Kept {
    /// Makes this daemon keep one, from the next contact on.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Release);
    }

    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Acquire)
    }

    /// What the roll says, if the question is one that it may answer.
    pub(super) fn ask<T>(
        &self,
        address: &Address,
        stale_limit: Duration,
        question: impl FnOnce(&Roll) -> Option<T>,
    ) -> Known<T> {
        if !self.is_wanted() {
            return Known::Nothing;
        }
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let Some(roll) = &state.roll else { return Known::Nothing };
        if state.sure && (state.doubted.is_empty() || !state.doubted.contains_key(address)) {
            return Known::Sure(question(roll));
        }
        match state.lost_at {
            Some(at) if at.elapsed() <= stale_limit => Known::Last(question(roll)),
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

    /// How many addresses are on the roll, and how many bytes it takes; `None` while there is no sure one.
    pub(super) fn size(&self) -> Option<(usize, usize)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.roll.as_ref().filter(|_| state.sure).map(|roll| (roll.len(), roll.size()))
    }

    fn generation(&self) -> u64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).generation
    }

    /// Puts a roll in force that was read since `generation`; one that was overtaken is dropped.
    fn put(&self, roll: Roll, generation: u64) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return false;
        }
        // Dropped after the lock: giving back a million names takes a while.
        let old = state.roll.replace(roll);
        (state.sure, state.lost_at, state.read_at) = (true, None, Some(Instant::now()));
        drop(state);
        drop(old);
        true
    }

    fn take_work(&self) -> Work {
        std::mem::take(&mut *self.work.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Directory {
    /// Keeps the roll of all addresses in memory from the next contact on, for a daemon that is asked for many. Costs about 50 bytes for
    /// each address; needs our triggers, without which it stays empty.
    pub fn keep_roll(&self) {
        self.0.kept.want();
    }

    /// How many addresses are on the roll, and the bytes that it takes; `None` while it is not in force.
    pub fn roll(&self) -> Option<(usize, usize)> {
        self.0.kept.size()
    }

    /// Reads what [`Kept`] is told to, until the process ends.
    pub(super) async fn keep(&self) {
        let kept = &self.0.kept;
        loop {
            // A change that was never announced (a trigger that failed) counts after this time, as with every other answer.
            let old = self.0.freshness.ttl_notified();
            if tokio::time::timeout(old.max(SHORTEST), kept.wake.notified()).await.is_err()
                && kept.size().is_some()
            {
                self.read_roll().await;
                continue;
            }
            let work = kept.take_work();
            if !self.0.freshness.is_notified() {
                // Nobody would say what changes: such a roll could never be sure. The next contact asks again.
                continue;
            }
            if work.reading && !self.read_roll().await {
                tokio::time::sleep(RETRY).await;
                // Whatever else was announced meanwhile is part of the next reading.
                if self.0.freshness.is_notified() {
                    kept.doubt_all();
                }
            }
            for address in work.changes {
                if !self.correct(&address).await {
                    tokio::time::sleep(RETRY).await;
                    if self.0.freshness.is_notified() {
                        kept.doubt(&address);
                    }
                }
            }
        }
    }

    /// Reads the whole directory; whether that is done, or of no use any more.
    async fn read_roll(&self) -> bool {
        let kept = &self.0.kept;
        let generation = kept.generation();
        let begun = Instant::now();
        // Beside the threads that answer: rows come faster than one would yield between them, and a daemon may have one such thread.
        let (directory, runtime) = (self.clone(), tokio::runtime::Handle::current());
        let reading = tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let mut roll = tokio::time::timeout(READING, read(&directory)).await??;
                roll.shrink();
                let size = (roll.len(), roll.size());
                Ok((roll, size))
            })
        });
        match reading.await.unwrap_or(Err(ReadError::Stopped)) {
            Ok((roll, (addresses, bytes))) => {
                // The short lists too, so that all of it is exact should contact be lost before anybody asks.
                let _ = (self.rules().await, self.domain_list().await);
                if kept.put(roll, generation) {
                    tracing::info!(addresses, bytes, took = ?begun.elapsed(), "all addresses are in memory");
                }
                true
            }
            Err(error) => {
                tracing::warn!(%error, "addresses cannot be held in memory; each is asked of the database");
                false
            }
        }
    }

    /// Reads one address again.
    async fn correct(&self, address: &Address) -> bool {
        let kept = &self.0.kept;
        let (generation, number) = {
            let state = kept.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.generation, state.doubted.get(address).copied())
        };
        let Some(number) = number else { return true };
        let rows = async {
            Ok::<_, Trouble>((self.mailbox_row(address).await?, self.destination_rows(address).await?))
        };
        let Ok((mailbox, destinations)) = rows.await else { return false };
        let mut state = kept.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation {
            return true;
        }
        let Some(roll) = &mut state.roll else { return true };
        let (local, domain) = (address.local(), address.domain());
        let to = destinations.as_deref().unwrap_or_default();
        let done = roll
            .set_mailbox(local, domain, mailbox.is_some())
            .and_then(|()| roll.set_destinations(local, domain, to));
        if done.is_ok() && state.doubted.get(address) == Some(&number) {
            state.doubted.remove(address);
        }
        true
    }
}

/// Reads every mailbox and alias, on a connection of its own.
async fn read(directory: &Directory) -> Result<Roll, ReadError> {
    let mut connection = PgConnection::connect_with(&directory.0.database.options().await?).await?;
    // The daemon's statement timeout is for single questions.
    sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *transaction)
        .await?;
    let mut reading = Reading { roll: Roll::new(), domains: HashMap::new(), alias: None };
    copy(&mut transaction, include_str!("queries/roll_mailboxes.sql"), |columns| reading.mailbox(columns))
        .await?;
    copy(&mut transaction, include_str!("queries/roll_aliases.sql"), |columns| reading.alias(columns))
        .await?;
    reading.end_alias()?;
    transaction.rollback().await?;
    connection.close().await?;
    Ok(reading.roll)
}

#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Full(#[from] super::roll::Full),
    #[error("no end of reading within {READING:?}")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("the reading stopped")]
    Stopped,
}

/// Runs a `COPY … TO STDOUT` and hands on each row, its columns divided and unescaped (PostgreSQL, "COPY", text format).
async fn copy(
    transaction: &mut Transaction<'_, Postgres>,
    statement: &'static str,
    mut row: impl FnMut(&[&str]) -> Result<(), super::roll::Full>,
) -> Result<(), ReadError> {
    let mut stream = transaction.copy_out_raw(statement).await?;
    let mut line = Vec::new();
    while let Some(bytes) = stream.try_next().await? {
        let mut rest = &bytes[..];
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&rest[..end]);
            rest = &rest[end + 1..];
            if let Ok(text) = std::str::from_utf8(&line) {
                if text.contains('\\') {
                    let columns: Vec<String> = text.split('\t').map(unescaped).collect();
                    row(&columns.iter().map(String::as_str).collect::<Vec<_>>())?;
                } else if let Some((first, others)) = text.split_once('\t') {
                    match others.split_once('\t') {
                        Some((second, third)) => row(&[first, second, third])?,
                        None => row(&[first, others])?,
                    }
                }
            }
            line.clear();
        }
        line.extend_from_slice(rest);
    }
    Ok(())
}

fn unescaped(column: &str) -> String {
    let mut text = String::with_capacity(column.len());
    let mut characters = column.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.extend(characters.next().map(|c| match c {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                c => c,
            })),
            c => text.push(c),
        }
    }
    text
}

/// A roll being filled.
struct Reading {
    roll: Roll,
    /// Parsed once for each spelling; `None` for one that is no domain.
    domains: HashMap<String, Option<Domain>>,
    /// The alias whose rows are passing, in its folded spelling.
    alias: Option<(Address, Vec<Address>)>,
}

impl Reading {
    fn mailbox(&mut self, columns: &[&str]) -> Result<(), super::roll::Full> {
        let [local, domain] = columns else { return Ok(()) };
        let Some(domain) = self.domain(domain) else { return Ok(()) };
        if is_folded(local) {
            return self.roll.set_mailbox(local, &domain, true);
        }
        // A row that is no address can never be asked for; `gatepost check` tells of it.
        match Address::new(local, domain) {
            Ok(address) => self.roll.set_mailbox(address.local(), address.domain(), true),
            Err(_) => Ok(()),
        }
    }

    fn alias(&mut self, columns: &[&str]) -> Result<(), super::roll::Full> {
        let [local, domain, destination] = columns else { return Ok(()) };
        let Some(address) = self.domain(domain).and_then(|domain| Address::new(local, domain).ok()) else {
            return Ok(());
        };
        let Ok(destination) = super::questions::destination(destination) else { return Ok(()) };
        match &mut self.alias {
            Some((current, list)) if *current == address => {
                if !list.contains(&destination) {
                    list.push(destination);
                }
            }
            _ => {
                self.end_alias()?;
                // Another spelling of the same alias may have passed before.
                let mut list = self.roll.destinations(&address).unwrap_or_default();
                if !list.contains(&destination) {
                    list.push(destination);
                }
                self.alias = Some((address, list));
            }
        }
        Ok(())
    }

    fn end_alias(&mut self) -> Result<(), super::roll::Full> {
        match self.alias.take() {
            Some((address, list)) => self.roll.set_destinations(address.local(), address.domain(), &list),
            None => Ok(()),
        }
    }

    fn domain(&mut self, spelling: &str) -> Option<Domain> {
        if let Some(known) = self.domains.get(spelling) {
            return known.clone();
        }
        let domain = Domain::parse(spelling).ok();
        self.domains.insert(spelling.to_owned(), domain.clone());
        domain
    }
}

/// Whether a local part is what [`Address::new`] would make of it, seen at a glance.
fn is_folded(local: &str) -> bool {
    (1..=64).contains(&local.len())
        && local.bytes().all(|b| (b' '..=b'~').contains(&b) && !b.is_ascii_uppercase())
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
    use super::*;

    fn kept() -> (Kept, Address) {
        let kept = Kept::default();
        kept.want();
        let alice = Address::parse("alice@example.com").unwrap();
        let mut roll = Roll::new();
        roll.set_mailbox(alice.local(), alice.domain(), true).unwrap();
        assert!(kept.put(roll, 0));
        (kept, alice)
    }

    fn asked(kept: &Kept, address: &Address) -> Known<()> {
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

    #[test]
    fn columns_are_unescaped() {
        assert_eq!(unescaped(r"a\tb\\c\nd"), "a\tb\\c\nd");
    }
}
