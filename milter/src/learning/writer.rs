//! What people say, on its way into the training log, and what was judged, on its way into the database.
//!
//! Nobody waits for the database: lessons wait in memory, in their order, while it is away; at most [`LESSONS`] of them, then the next one is
//! refused and Dovecot logs it. Judged messages that find no room are dropped and counted: their senders' mail is learned from the mailbox
//! instead.

use std::time::Duration;

use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::store::Store;
use gatepost::store::training::{Lesson, MessageKey, Source};
use gatepost::training;
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use crate::message::Message;

/// A word on a message, as it came in.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it is spam.
    pub spam: bool,
    /// In whose mailbox.
    pub owner: Address,
    /// The key that the message carries.
    pub key: Option<MessageKey>,
    /// The key of a message that carries none.
    pub own_key: MessageKey,
    /// The message as it is in the mailbox, packed.
    pub sample: Vec<u8>,
}

/// Where to put things. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Desk {
    lessons: mpsc::Sender<Said>,
    judged: mpsc::Sender<(MessageKey, Vec<u8>)>,
}

/// The queue is full: the database has been away for long.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Desk {
    /// Takes a word; it will be in the log, in its order, as soon as the database can be had.
    ///
    /// # Errors
    /// There is no room.
    pub fn say(&self, said: Said) -> Result<(), Full> {
        self.lessons.try_send(said).map_err(|_| Full)
    }

    /// Takes a judged message; false if there was no room.
    pub fn keep(&self, key: MessageKey, message: &Message) -> bool {
        let Ok(place) = self.judged.try_reserve() else { return false };
        place.send((key, training::cut(&message.to_rfc5322())));
        true
    }
}

/// Writes both.
pub struct Writer {
    store: Store,
    lessons: mpsc::Receiver<Said>,
    judged: mpsc::Receiver<(MessageKey, Vec<u8>)>,
    /// The lesson that is being written.
    pending: Option<Said>,
    complained: bool,
}

impl Writer {
    /// A writer and its desk.
    pub fn new(store: Store) -> (Self, Desk) {
        let (lessons, lessons_out) = mpsc::channel(LESSONS);
        let (judged, judged_out) = mpsc::channel(JUDGED);
        let writer =
            Self { store, lessons: lessons_out, judged: judged_out, pending: None, complained: false };
        (writer, Desk { lessons, judged })
    }

    /// Writes as long as the process lives.
    pub async fn run(&mut self) {
        let mut batch = Vec::new();
        loop {
            if self.pending.is_some() && !self.teach().await {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                said = self.lessons.recv() => self.pending = said,
                _ = self.judged.recv_many(&mut batch, BATCH) => {
                    self.keep(std::mem::take(&mut batch)).await;
                }
            }
        }
    }

    /// Packs on a thread for heavy work, and writes.
    async fn keep(&mut self, batch: Vec<(MessageKey, Vec<u8>)>) {
        let pack =
            move || batch.into_iter().map(|(key, raw)| (key, training::pack(&raw))).collect::<Vec<_>>();
        if let Ok(packed) = tokio::task::spawn_blocking(pack).await {
            let kept = self.store.keep_judged(&packed).await;
            self.judge_trouble("judged messages are not kept", &kept);
        }
    }

    /// Writes what is waiting, as far as the database can be had.
    pub async fn finish(&mut self) {
        loop {
            if self.pending.is_none() {
                self.pending = self.lessons.try_recv().ok();
            }
            if self.pending.is_none() {
                return;
            }
            if !self.teach().await {
                error!(
                    lost = 1 + self.lessons.len(),
                    "words on messages are lost: the database cannot be had"
                );
                return;
            }
        }
    }

    /// Writes the pending lesson; false if it must be tried again.
    async fn teach(&mut self) -> bool {
        // It stays pending until it is written: the end of the daemon may come in between, and writing it twice is writing it once.
        let Some(said) = self.pending.clone() else { return true };
        let done = self.write(&said).await;
        if done {
            self.pending = None;
        }
        done
    }

    async fn write(&mut self, said: &Said) -> bool {
        let judged = match said.key {
            Some(key) => self.store.judged(key).await,
            None => Lookup::None,
        };
        self.judge_trouble("words on messages wait", &judged);
        let sample = match judged {
            Lookup::Found(sample) => sample,
            // Never judged, or too long ago.
            Lookup::None => said.sample.clone(),
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return false,
        };
        let (owner, message) = (Some(said.owner.clone()), said.key.unwrap_or(said.own_key));
        let lesson = Lesson { spam: said.spam, owner, source: Source::Move, message, sample };
        let taught = self.store.teach(&lesson).await;
        self.judge_trouble("words on messages wait", &taught);
        let Lookup::Found(news) = taught else { return false };
        info!(message = %lesson.message, spam = lesson.spam, owner = %said.owner, news, "learned");
        true
    }

    /// One line when trouble begins, one when it ends.
    fn judge_trouble<T>(&mut self, what: &str, answer: &Lookup<T>) {
        match answer {
            Lookup::Found(_) | Lookup::None if self.complained => {
                self.complained = false;
                info!("the training log can be written again");
            }
            Lookup::Unavailable(why) if !self.complained => {
                self.complained = true;
                warn!("{what}: {why}");
            }
            Lookup::Misconfigured(why) if !self.complained => {
                self.complained = true;
                error!("{what}: {why}");
            }
            _ => {}
        }
    }
}

/// Cut and packed for the log.
pub(super) fn said(spam: bool, owner: Address, message: &[u8]) -> Said {
    Said {
        spam,
        owner,
        key: training::carried_key(message),
        own_key: training::key_of(message),
        sample: training::pack(message),
    }
}

/// Lessons in memory, some ten kilobytes each.
const LESSONS: usize = 1_000;
/// Judged messages in memory, and in one statement.
const JUDGED: usize = 256;
const BATCH: usize = 64;
const RETRY: Duration = Duration::from_secs(1);
