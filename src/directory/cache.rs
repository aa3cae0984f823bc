//! The cache behind each question: how long an answer counts, what forgets it, and what is still given while the database is away.
//!
//! Two clocks decide. With triggers ("notified") an answer counts until it is forgotten or very old; without, for a second or so,
//! and "none" not at all. A change that is announced while its row is being asked for wins: the answer in flight is returned once
//! and not kept.

use std::future::Future;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Lookup;
use crate::database::Trouble;

/// The kinds of rows whose changes are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Domains,
    Users,
    Aliases,
    Shares,
    Keys,
    Dmarc,
    Rules,
    Access,
    Accounts,
    Guesses,
    Training,
    Spam,
}

impl Class {
    pub(crate) const ALL: &[Self] = &[
        Self::Domains,
        Self::Users,
        Self::Aliases,
        Self::Shares,
        Self::Keys,
        Self::Dmarc,
        Self::Rules,
        Self::Access,
        Self::Accounts,
        Self::Guesses,
        Self::Training,
        Self::Spam,
    ];

    /// The class of a table whose trigger spoke.
    pub(crate) fn of_table(table: &str) -> Option<Self> {
        match table {
            "domains" => Some(Self::Domains),
            "users" => Some(Self::Users),
            "aliases" => Some(Self::Aliases),
            "shared_mailboxes" => Some(Self::Shares),
            "dkim_keys" => Some(Self::Keys),
            "training_log" => Some(Self::Training),
            "access_rules" => Some(Self::Access),
            "dmarc_overrides" | "forwarders" => Some(Self::Dmarc),
            "settings" => Some(Self::Spam),
            "hosted_domains" | "alias_patterns" | "send_as" | "access" | "bcc" | "transports" => {
                Some(Self::Rules)
            }
            "login_rules" | "app_passwords" | "master_users" | "login_locks" | "wide_shares" | "groups"
            | "quota_limits" | "quota" | "user_fields" => Some(Self::Accounts),
            "login_guesses" => Some(Self::Guesses),
            _ => None,
        }
    }
}

/// How long answers count at this moment, shared by all tables of one daemon.
#[derive(Debug)]
pub(crate) struct Freshness {
    ttl: Duration,
    ttl_notified: Duration,
    stale_limit: Duration,
    notified: AtomicBool,
    /// The last question found the database away: contact may be lost before the listener knows.
    away: AtomicBool,
    marks: [Mark; Class::ALL.len()],
}

#[derive(Debug)]
struct Mark {
    /// Answers from before count no more (but may still be given while the database is away).
    since: Mutex<Instant>,
    /// Grows with every change of one row that is announced.
    generation: AtomicU64,
    /// Whether all changes up to the loss of contact were announced, and taken in.
    exact: AtomicBool,
    /// Wakes whoever follows the class.
    changed: tokio::sync::Notify,
}

impl Freshness {
    pub(crate) fn new(ttl: Duration, ttl_notified: Duration, stale_limit: Duration) -> Self {
        let mark = || Mark {
            since: Mutex::new(Instant::now()),
            generation: AtomicU64::new(0),
            exact: AtomicBool::new(false),
            changed: tokio::sync::Notify::new(),
        };
        Self {
            ttl,
            ttl_notified,
            stale_limit,
            notified: AtomicBool::new(false),
            away: AtomicBool::new(false),
            marks: std::array::from_fn(|_| mark()),
        }
    }

    pub(crate) fn stale_limit(&self) -> Duration {
        self.stale_limit
    }

    pub(crate) fn ttl_notified(&self) -> Duration {
        self.ttl_notified
    }

    pub(crate) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Acquire)
    }

    /// Whether the last question found the database away.
    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Contact to the announcements was made: everything known before may be out of date.
    pub(crate) fn contact_made(&self) {
        self.flush();
        self.notified.store(true, Ordering::Release);
    }

    /// Contact was lost, or there are no triggers.
    pub(crate) fn contact_lost(&self) {
        self.notified.store(false, Ordering::Release);
    }

    pub(crate) fn flush(&self) {
        Class::ALL.iter().copied().for_each(|class| self.flush_class(class));
    }

    /// Everything known of a class may be out of date. It is kept, for as long as nobody can be asked: an answer under way now is
    /// older than this mark, and so counts no more than the others.
    pub(crate) fn flush_class(&self, class: Class) {
        self.outdate(class);
        self.mark(class).changed.notify_one();
    }

    /// The same for a change that this process made itself: nobody is woken.
    pub(crate) fn outdate(&self, class: Class) {
        let mark = self.mark(class);
        *mark.since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        mark.exact.store(false, Ordering::Release);
    }

    /// Waits until rows of a class may have changed since the last call; for one follower of each class.
    pub(crate) async fn changed(&self, class: Class) {
        self.mark(class).changed.notified().await;
    }

    /// Whether what was learnt at that time still counts because every change since would have been announced.
    pub(crate) fn is_followed(&self, class: Class, learnt: Instant) -> bool {
        self.is_notified() && learnt >= self.since(class) && learnt.elapsed() <= self.ttl_notified
    }

    /// Whether the whole list of a class was loaded, and every later change announced, up to the loss of contact.
    pub(crate) fn was_exact(&self, class: Class) -> bool {
        self.mark(class).exact.load(Ordering::Acquire)
    }

    fn mark(&self, class: Class) -> &Mark {
        &self.marks[class as usize]
    }

    fn since(&self, class: Class) -> Instant {
        *self.mark(class).since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cached answers to one question.
pub(crate) struct Table<K, V> {
    class: Class,
    freshness: Arc<Freshness>,
    /// How long an answer counts without triggers.
    ttl: Duration,
    entries: moka::sync::Cache<K, Entry<V>>,
}

#[derive(Clone)]
struct Entry<V> {
    answer: Option<V>,
    at: Instant,
}

impl<K, V> Table<K, V>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(crate) fn new(class: Class, entries: u64, freshness: &Arc<Freshness>) -> Self {
        let entries = moka::sync::Cache::builder()
            .max_capacity(entries.max(1))
            .time_to_live(freshness.stale_limit.max(freshness.ttl_notified))
            .build();
        Self { class, freshness: Arc::clone(freshness), ttl: freshness.ttl, entries }
    }

    /// A table whose answers count for `ttl` without triggers, because its question is dear.
    pub(crate) fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The answer for `key`: the one that is known, if it still counts, or what `question` brings.
    pub(crate) async fn ask(
        &self,
        key: K,
        question: impl Future<Output = Result<Option<V>, Trouble>>,
    ) -> Lookup<V> {
        let known = self.entries.get(&key);
        if let Some(entry) = &known
            && self.counts(entry)
        {
            return entry.answer.clone().map_or(Lookup::None, Lookup::Found);
        }
        self.ask_anew(key, known, question).await
    }

    /// The answer for `key`, if one is known and still counts. Whoever is asked thousands of times a second looks here first, and asks in a future
    /// of its own (boxed): that of a statement takes kilobytes, which every caller's future would hold and every move of it copy.
    pub(crate) fn settled(&self, key: &K) -> Option<Lookup<V>> {
        let entry = self.entries.get(key).filter(|entry| self.counts(entry))?;
        Some(entry.answer.map_or(Lookup::None, Lookup::Found))
    }

    /// The value for `key`, if one is known and still counts.
    pub(crate) fn known(&self, key: &K) -> Option<V> {
        self.entries.get(key).filter(|entry| self.counts(entry))?.answer
    }

    /// What `question` brings, whatever is known; for a list that does not hold what was looked for.
    pub(crate) async fn refresh(
        &self,
        key: K,
        question: impl Future<Output = Result<Option<V>, Trouble>>,
    ) -> Lookup<V> {
        self.ask_anew(key, None, question).await
    }

    async fn ask_anew(
        &self,
        key: K,
        known: Option<Entry<V>>,
        question: impl Future<Output = Result<Option<V>, Trouble>>,
    ) -> Lookup<V> {
        let generation = self.generation();
        let notified = self.freshness.is_notified();
        let asked = Instant::now();
        let answer = question.await;
        self.freshness.away.store(matches!(answer, Err(Trouble::Away(_))), Ordering::Release);
        match answer {
            Ok(answer) => {
                if self.generation() == generation {
                    self.entries.insert(key.clone(), Entry { answer: answer.clone(), at: asked });
                    // A change that is announced between the look and the insertion has found nothing to forget.
                    if self.generation() != generation {
                        self.entries.invalidate(&key);
                    }
                    let mark = self.freshness.mark(self.class);
                    let is_newest = || asked >= self.freshness.since(self.class);
                    let exact = notified && self.freshness.is_notified() && is_newest();
                    mark.exact.store(exact, Ordering::Release);
                    if exact && !is_newest() {
                        mark.exact.store(false, Ordering::Release);
                    }
                }
                answer.map_or(Lookup::None, Lookup::Found)
            }
            Err(Trouble::Away(why)) => match known {
                Some(Entry { answer: Some(value), at }) if at.elapsed() <= self.freshness.stale_limit => {
                    Lookup::Found(value)
                }
                _ => Lookup::Unavailable(why),
            },
            Err(trouble) => trouble.into(),
        }
    }

    /// Forgets one answer, if a change of `class` concerns this table.
    pub(crate) fn forget(&self, class: Class, key: &K) {
        if class == self.class {
            self.freshness.mark(class).generation.fetch_add(1, Ordering::AcqRel);
            self.entries.invalidate(key);
        }
    }

    /// Forgets every answer of this table alone.
    pub(crate) fn flush(&self) {
        self.entries.invalidate_all();
    }

    pub(crate) fn len(&self) -> u64 {
        self.entries.run_pending_tasks();
        self.entries.entry_count()
    }

    fn counts(&self, entry: &Entry<V>) -> bool {
        let notified = self.freshness.is_notified();
        let ttl = if notified { self.freshness.ttl_notified } else { self.ttl };
        entry.at >= self.freshness.since(self.class)
            && entry.at.elapsed() <= ttl
            && (entry.answer.is_some() || (notified && !self.freshness.is_away()))
    }

    fn generation(&self) -> u64 {
        self.freshness.mark(self.class).generation.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use futures_util::FutureExt;

    use super::*;

    fn table(ttl: Duration) -> (Table<u8, &'static str>, Arc<Freshness>) {
        let freshness = Arc::new(Freshness::new(ttl, Duration::from_secs(600), Duration::from_secs(3600)));
        (Table::new(Class::Users, 10, &freshness), freshness)
    }

    async fn found(value: &'static str) -> Result<Option<&'static str>, Trouble> {
        Ok(Some(value))
    }

    async fn none() -> Result<Option<&'static str>, Trouble> {
        Ok(None)
    }

    async fn away() -> Result<Option<&'static str>, Trouble> {
        Err(Trouble::Away("gone".into()))
    }

    #[tokio::test]
    async fn without_triggers_none_is_never_kept_and_found_only_for_the_ttl() {
        let (table, _) = table(Duration::from_secs(60));
        assert_eq!(table.ask(1, none()).await, Lookup::None);
        assert_eq!(table.ask(1, found("new")).await, Lookup::Found("new"));
        assert_eq!(table.ask(1, found("newer")).await, Lookup::Found("new"));
        let (table, _) = self::table(Duration::ZERO);
        assert_eq!(table.ask(1, found("old")).await, Lookup::Found("old"));
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(table.ask(1, found("new")).await, Lookup::Found("new"));
    }

    #[tokio::test]
    async fn with_triggers_an_answer_counts_until_its_change_is_announced() {
        let (table, freshness) = table(Duration::ZERO);
        freshness.contact_made();
        assert_eq!(table.ask(1, none()).await, Lookup::None);
        assert_eq!(table.ask(1, found("unseen")).await, Lookup::None);
        table.forget(Class::Aliases, &1);
        assert_eq!(table.ask(1, found("unseen")).await, Lookup::None);
        table.forget(Class::Users, &1);
        assert_eq!(table.ask(1, found("seen")).await, Lookup::Found("seen"));
        freshness.flush_class(Class::Users);
        assert_eq!(table.ask(1, found("again")).await, Lookup::Found("again"));
    }

    #[tokio::test]
    async fn while_the_database_is_away_found_stays_found_and_none_becomes_unavailable() {
        let (table, freshness) = table(Duration::ZERO);
        freshness.contact_made();
        assert_eq!(table.ask(1, found("alice")).await, Lookup::Found("alice"));
        assert_eq!(table.ask(2, none()).await, Lookup::None);
        freshness.contact_lost();
        std::thread::sleep(Duration::from_millis(2));
        assert_eq!(table.ask(1, away()).await, Lookup::Found("alice"));
        assert_eq!(table.ask(2, away()).await, Lookup::Unavailable("gone".into()));
        assert_eq!(table.ask(3, away()).await, Lookup::Unavailable("gone".into()));
    }

    #[tokio::test]
    async fn none_is_in_doubt_as_soon_as_any_question_finds_the_database_away() {
        let (table, freshness) = table(Duration::ZERO);
        freshness.contact_made();
        assert_eq!(table.ask(1, none()).await, Lookup::None);
        assert_eq!(table.ask(2, away()).await, Lookup::Unavailable("gone".into()));
        assert_eq!(table.ask(1, away()).await, Lookup::Unavailable("gone".into()));
        assert_eq!(table.ask(2, found("bob")).await, Lookup::Found("bob"));
        assert_eq!(table.ask(1, found("unseen")).await, Lookup::None);
    }

    #[tokio::test]
    async fn an_answer_that_a_change_overtook_is_not_kept() {
        let (table, freshness) = table(Duration::from_secs(60));
        freshness.contact_made();
        let overtaken = async {
            table.forget(Class::Users, &1);
            Ok(Some("old"))
        };
        assert_eq!(table.ask(1, overtaken).await, Lookup::Found("old"));
        assert_eq!(table.ask(1, found("new")).await, Lookup::Found("new"));
    }

    #[tokio::test]
    async fn an_answer_that_a_flush_overtook_counts_only_while_nobody_can_be_asked() {
        let (table, freshness) = table(Duration::from_secs(60));
        let overtaken = async {
            std::thread::sleep(Duration::from_millis(2));
            freshness.contact_made();
            Ok(Some("old"))
        };
        assert_eq!(table.ask(1, overtaken).await, Lookup::Found("old"));
        assert!(!freshness.was_exact(Class::Users));
        assert_eq!(table.ask(1, away()).await, Lookup::Found("old"));
        assert_eq!(table.ask(1, found("new")).await, Lookup::Found("new"));
    }

    #[test]
    fn an_answer_is_not_kept_whenever_its_change_is_announced() {
        let freshness =
            Arc::new(Freshness::new(Duration::ZERO, Duration::from_secs(60), Duration::from_secs(60)));
        freshness.contact_made();
        let table: Table<u8, u64> = Table::new(Class::Users, 10, &freshness);
        let (row, turn) = (AtomicU64::new(0), std::sync::Barrier::new(2));
        // Counted, not asserted at once: the other thread would wait for ever.
        let old = std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    turn.wait();
                    let read = async { Ok(Some(row.load(Ordering::SeqCst))) };
                    let _ = table.refresh(1, read).now_or_never();
                    turn.wait();
                }
            });
            let round = |_: &usize| {
                turn.wait();
                row.fetch_add(1, Ordering::SeqCst);
                table.forget(Class::Users, &1);
                turn.wait();
                table.known(&1).is_some_and(|known| known != row.load(Ordering::SeqCst))
            };
            (0..ROUNDS).filter(round).count()
        });
        assert_eq!(old, 0);
    }

    const ROUNDS: usize = 3000;
}
