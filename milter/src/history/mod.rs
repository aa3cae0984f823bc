//! The history: what was decided about each message, and why, on its way to the database.
//!
//! For `service`, which hands over a record of each decision, and for `lib`, which runs the writing beside the sessions. Mail never waits
//! for it: a record is put on a list in memory, and the list is written in batches. While the database is away the list grows to
//! [`MAX_MEMORY`]; then the oldest records go, are counted, and the loss is said once, when the database is back.
//!
//! - [`draft`]: the record of a message.
//! - [`settings`]: the table `history` of the configuration.
//!
//! ```text
//! session ─▶ Journal (list in memory) ─▶ History::run ─▶ gatepost.history_messages, NOTIFY gatepost_history
//! ```

pub mod draft;
pub mod settings;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::directory::Lookup;
use gatepost::store::Store;
use gatepost::store::history::{MAX_BATCH, Record};
use mail_parser::MessageParser;
use tokio::sync::Notify;
use tracing::{debug, warn};

use settings::Settings;

/// Where sessions put their records. Cheap to clone.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    settings: ArcSwap<Settings>,
    list: Mutex<List>,
    some: Notify,
}

#[derive(Default)]
struct List {
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    dropped: u64,
}

/// The writing.
pub struct History {
    journal: Journal,
    store: Store,
    complained: Mutex<Option<Instant>>,
}

impl Journal {
    /// An empty list.
    pub fn new(settings: Settings) -> Self {
        Self(Arc::new(Shared {
            settings: ArcSwap::from_pointee(settings),
            list: Mutex::default(),
            some: Notify::new(),
        }))
    }

    /// What is to be recorded; none if nothing is.
    pub fn wants(&self) -> Option<Settings> {
        let settings = **self.0.settings.load();
        settings.record.then_some(settings)
    }

    /// Puts a record on the list; never waits for anybody but another session doing the same.
    pub fn push(&self, record: Record) {
        self.list(|list| {
            list.bytes += record.weight();
            list.records.push_back(Arc::new(record));
            list.shorten();
        });
        self.0.some.notify_one();
    }

    /// Takes over new settings.
    pub fn reload(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// The oldest records, at most a batch. They stay on the list until they are known to be written: whoever writes may be stopped
    /// at any moment.
    fn oldest(&self) -> Vec<Arc<Record>> {
        self.list(|list| list.records.iter().take(MAX_BATCH).cloned().collect())
    }

    /// Takes the records of a batch off the list; returns how many had to go for want of room since the last time, and are written nowhere.
    fn written(&self, batch: &[Arc<Record>]) -> u64 {
        self.list(|list| {
            // What is left of the batch is at the front: records come at the back and go from the front.
            let mut left = 0;
            while let Some(record) = list.records.front()
                && batch.iter().any(|known| Arc::ptr_eq(known, record))
            {
                list.bytes -= record.weight();
                list.records.pop_front();
                left += 1;
            }
            let lost = list.dropped.saturating_sub((batch.len() - left) as u64);
            list.dropped = 0;
            lost
        })
    }

    fn len(&self) -> usize {
        self.list(|list| list.records.len())
    }

    fn list<T>(&self, work: impl FnOnce(&mut List) -> T) -> T {
        work(&mut self.0.list.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl List {
    fn shorten(&mut self) {
        while self.bytes > MAX_MEMORY
            && let Some(record) = self.records.pop_front()
        {
            self.bytes -= record.weight();
            self.dropped += 1;
        }
    }
}

impl History {
    /// Writes what comes onto that list.
    pub fn new(journal: Journal, store: Store) -> Self {
        Self { journal, store, complained: Mutex::default() }
    }

    /// Takes over new settings.
    pub fn reload(&self, settings: Settings) {
        self.journal.reload(settings);
    }

    /// Writes and forgets until the process ends.
    pub async fn run(&self) {
        tokio::join!(self.write(), self.forget());
    }

    /// Writes down what is still on the list, at the end of the process.
    pub async fn finish(&self) {
        while self.journal.len() > 0 {
            if !self.flush().await {
                warn!(
                    messages = self.journal.len(),
                    "history will lack messages: the database is away at the end"
                );
                return;
            }
        }
    }

    async fn write(&self) {
        loop {
            self.journal.0.some.notified().await;
            // A busy server fills a batch meanwhile, a quiet one has its message there before anybody looks.
            tokio::time::sleep(GATHER).await;
            while self.journal.len() > 0 {
                if !self.flush().await {
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Writes one batch; whether that went well.
    async fn flush(&self) -> bool {
        let batch = self.journal.oldest();
        let readable = |record: &Arc<Record>| readable(Record::clone(record));
        match self.store.remember(batch.iter().map(readable).collect()).await {
            Lookup::Found(()) | Lookup::None => {
                debug!(messages = batch.len(), "written to the history");
                let lost = self.journal.written(&batch);
                if lost > 0 {
                    warn!(
                        messages = lost,
                        "history lacks messages: there was no room to keep them until now"
                    );
                }
                *self.complained.lock().unwrap_or_else(PoisonError::into_inner) = None;
                true
            }
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                self.complain(&why);
                false
            }
        }
    }

    async fn forget(&self) {
        loop {
            // Not with the start of all hosts at once, and not in step with the hour.
            tokio::time::sleep(FORGET.mul_f64(0.5 + f64::from(rand::random::<u8>()) / 256.0)).await;
            let keep = self.journal.0.settings.load().keep.0;
            let mut forgotten = 0;
            while let Lookup::Found(some) = self.store.forget_history(keep, FORGET_BATCH).await {
                forgotten += some;
                if some < u64::from(FORGET_BATCH) {
                    break;
                }
                tokio::time::sleep(BREATH).await;
            }
            if forgotten > 0 {
                debug!(messages = forgotten, "forgotten by the history");
            }
        }
    }

    fn complain(&self, why: &str) {
        let mut complained = self.complained.lock().unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|when| when.elapsed() > COMPLAINT) {
            *complained = Some(Instant::now());
            warn!(messages = self.journal.len(), "cannot write the history now: {why}");
        }
    }
}

/// Decodes the words of Subject and From (RFC 2047), which a session leaves as they are.
fn readable(mut record: Record) -> Record {
    for (text, name) in [(&mut record.subject, "Subject"), (&mut record.header_from, "From")] {
        let Some(raw) = text.as_deref().filter(|raw| raw.contains("=?")) else { continue };
        // As a text field, so that From too stays as it is but for its words.
        let field = format!("Subject: {raw}\r\n\r\n");
        let parsed = MessageParser::new().parse_headers(field.as_bytes());
        match parsed.as_ref().and_then(|message| message.subject()) {
            Some(decoded) => *text = Some(decoded.to_owned()),
            None => debug!(name, "a field that cannot be decoded"),
        }
    }
    record
}

/// All records on the list: about 10,000 messages.
pub const MAX_MEMORY: usize = 16 << 20;

/// How long a message waits for others to be written with it.
const GATHER: Duration = Duration::from_millis(300);
/// How often a database that is away is tried.
const RETRY: Duration = Duration::from_secs(2);
/// How often the same trouble is said again.
const COMPLAINT: Duration = Duration::from_secs(3600);
/// How often old messages are forgotten, about.
const FORGET: Duration = Duration::from_secs(3600);
/// Messages forgotten in one statement, far within `database.timeout`.
const FORGET_BATCH: u32 = 1000;
const BREATH: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::message::{Direction, Envelope, Message};

    fn record(subject: &str) -> Record {
        let message = Message::from_eml(format!("Subject: {subject}\n\nbody\n").as_bytes());
        draft::draft(&message, &Envelope::new(Direction::Inbound), "mx.test", Settings::default())
    }

    #[test]
    fn the_oldest_go_when_there_is_no_room_and_are_counted() {
        let journal = Journal::new(Settings::default());
        let long = "x".repeat(900);
        let count = 4 * MAX_MEMORY / record(&long).weight();
        for number in 0..count {
            journal.push(record(&format!("{number} {long}")));
        }
        let (kept, dropped, bytes) =
            journal.list(|list| (list.records.len(), list.dropped as usize, list.bytes));
        assert_eq!(kept + dropped, count);
        assert!(dropped > count / 2 && bytes <= MAX_MEMORY && bytes > MAX_MEMORY / 2);
        // Whoever writes takes nothing off the list before it is written.
        let batch = journal.oldest();
        assert_eq!((batch.len(), journal.len()), (MAX_BATCH, kept));
        assert!(batch[0].subject.as_deref().unwrap().starts_with(&format!("{dropped} ")));
        // While it is being written, there is no room for one of it any more: that one is not lost.
        journal.list(|list| {
            let record = list.records.pop_front().unwrap();
            list.bytes -= record.weight();
            list.dropped += 1;
        });
        assert_eq!(journal.written(&batch), dropped as u64);
        assert_eq!(journal.len(), kept - MAX_BATCH);
        while journal.len() > 0 {
            assert_eq!(journal.written(&journal.oldest()), 0);
        }
        assert_eq!(journal.list(|list| list.bytes), 0);
    }

    #[test]
    fn encoded_words_are_decoded_before_they_are_written() {
        let mut known = record("=?utf-8?q?Gr=C3=BC=C3=9Fe?=");
        known.header_from = Some("=?iso-8859-1?q?J=FCrgen?= <j@remote.test>".to_owned());
        let known = readable(known);
        assert_eq!(known.subject.as_deref(), Some("Gr\u{fc}\u{df}e"));
        assert_eq!(known.header_from.as_deref(), Some("J\u{fc}rgen <j@remote.test>"));
    }
}
