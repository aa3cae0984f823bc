//! What people say, on its way into the training log, and what was judged, on its way into the database.
//!
//! Nobody waits for the database: lessons wait in memory, in their order, while it is away; at most [`LESSONS`] of them, then the next one is
//! refused and Dovecot logs it. Judged messages that find no room are dropped and counted: their senders' mail is learned from the mailbox
//! instead.

use std::time::Duration;

use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::store::Store;
use gatepost::store::training::{Judged, Lesson, MessageKey, Source};
use gatepost::training::{self, Packer};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{error, info, warn};

use super::Settings;
use crate::message::{Header, Message};
use crate::recipients::message_ids;

/// What teaches.
#[derive(Clone, Debug)]
enum Word {
    /// Somebody said what a message is.
    Said(Said),
    /// A login has answered the messages with these Message-IDs.
    Answered { login: Address, message_ids: Vec<String> },
    /// A message that was judged is wanted by these owners, who have written to its author.
    Expected { owners: Vec<Address>, key: MessageKey, sample: Vec<u8> },
}

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
    lessons: mpsc::Sender<Word>,
    judged: mpsc::Sender<(Judged, Vec<u8>)>,
    replies: bool,
    correspondents: bool,
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
        self.lessons.try_send(Word::Said(said)).map_err(|_| Full)
    }

    /// Hears what a login sends: what it answers is wanted, if that is switched on. What a program answers for him says nothing (RFC 3834,
    /// 5). Without room it is not heard: nobody has said anything.
    pub fn answered(&self, login: &Address, message: &Message) {
        if !self.replies || is_automatic(message) {
            return;
        }
        let message_ids: Vec<String> =
            message_ids(message.first("In-Reply-To").unwrap_or_default()).take(MAX_ANSWERED).collect();
        if !message_ids.is_empty() {
            let _ = self.lessons.try_send(Word::Answered { login: login.clone(), message_ids });
        }
    }

    /// Whether mail from those whom its reader has written to teaches.
    pub fn expects_correspondents(&self) -> bool {
        self.correspondents
    }

    /// Hears that owners have written to the author of a message.
    pub fn expected(&self, owners: Vec<Address>, key: MessageKey, message: &Message) {
        if let Ok(place) = self.lessons.try_reserve() {
            let sample = training::pack(&message.to_rfc5322());
            place.send(Word::Expected { owners, key, sample });
        }
    }

    /// Takes a judged message, `raw` as it was written out for judging, and the mailboxes that it goes to; false if there was no room.
    pub fn keep(
        &self,
        key: MessageKey,
        message: &Message,
        raw: Vec<u8>,
        mailboxes: impl Iterator<Item = String>,
    ) -> bool {
        let Ok(place) = self.judged.try_reserve() else { return false };
        let mut judged = Judged { key, sample: Vec::new(), message_id: None, mailboxes: Vec::new() };
        if self.replies {
            judged.message_id = message.first("Message-ID").and_then(|value| message_ids(value).next());
            judged.mailboxes = mailboxes.take(MAX_MAILBOXES).map(|mailbox| mailbox.to_lowercase()).collect();
        }
        place.send((judged, training::kept(raw)));
        true
    }
}

/// Whether a program wrote the message: an answer from a vacation script vouches for nothing.
fn is_automatic(message: &Message) -> bool {
    let automatic = |header: &Header| {
        let value = header.value.trim_ascii();
        if header.is("Auto-Submitted") {
            return !value.eq_ignore_ascii_case(b"no");
        }
        header.is("X-Autoreply")
            || header.is("Precedence")
                && [b"bulk".as_slice(), b"junk", b"list", b"auto_reply"]
                    .iter()
                    .any(|word| value.eq_ignore_ascii_case(word))
    };
    message.headers.iter().any(automatic)
}

/// Writes both.
pub struct Writer {
    store: Store,
    lessons: mpsc::Receiver<Word>,
    judged: mpsc::Receiver<(Judged, Vec<u8>)>,
    /// Judged messages that are about to be packed, are being packed, and are being written: the end of the daemon may come in between.
    batch: Vec<(Judged, Vec<u8>)>,
    /// Packs them: its tables are made once, and lie here between two batches.
    packer: Packer,
    packing: Option<JoinHandle<(Vec<Judged>, Packer)>>,
    packed: Vec<Judged>,
    /// The lesson that is being written.
    pending: Option<Word>,
    complained: bool,
}

impl Writer {
    /// A writer and its desk.
    pub fn new(store: Store, settings: &Settings) -> (Self, Desk) {
        let (lessons, lessons_out) = mpsc::channel(LESSONS);
        let (judged, judged_out) = mpsc::channel(JUDGED);
        let writer = Self {
            store,
            lessons: lessons_out,
            judged: judged_out,
            batch: Vec::new(),
            packer: Packer::default(),
            packing: None,
            packed: Vec::new(),
            pending: None,
            complained: false,
        };
        let (replies, correspondents) = (settings.ham_from_replies, settings.ham_from_correspondents);
        (writer, Desk { lessons, judged, replies, correspondents })
    }

    /// Writes as long as the process lives.
    pub async fn run(&mut self) {
        loop {
            if self.pending.is_some() && !self.teach().await {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            tokio::select! {
                said = self.lessons.recv() => {
                    self.pending = said;
                    // What somebody speaks of was judged before: then it is there when it is asked for.
                    self.keep_all().await;
                }
                _ = self.judged.recv_many(&mut self.batch, BATCH) => {
                    // A busy server fills a batch meanwhile.
                    tokio::time::sleep(GATHER).await;
                    self.keep().await;
                }
            }
        }
    }

    /// Writes the judged messages that are there by now; those that come meanwhile wait.
    async fn keep_all(&mut self) {
        for _ in 0..=JUDGED / BATCH {
            self.keep().await;
            if self.judged.is_empty() {
                return;
            }
        }
    }

    /// Writes a batch of judged messages, packed on a thread for heavy work.
    async fn keep(&mut self) {
        // What was begun when the writer was told to end comes first.
        self.keep_packed().await;
        while self.batch.len() < BATCH
            && let Ok(judged) = self.judged.try_recv()
        {
            self.batch.push(judged);
        }
        if self.batch.is_empty() {
            return;
        }
        let (batch, mut packer) = (std::mem::take(&mut self.batch), std::mem::take(&mut self.packer));
        self.packing = Some(tokio::task::spawn_blocking(move || {
            let packed =
                batch.into_iter().map(|(judged, raw)| Judged { sample: packer.pack(&raw), ..judged });
            (packed.collect(), packer)
        }));
        self.keep_packed().await;
    }

    /// Writes what is being packed.
    async fn keep_packed(&mut self) {
        if let Some(packing) = &mut self.packing {
            let (packed, packer) = packing.await.unwrap_or_default();
            self.packed.extend(packed);
            self.packer = packer;
            self.packing = None;
        }
        if self.packed.is_empty() {
            return;
        }
        let kept = self.store.keep_judged(&self.packed).await;
        self.packed.clear();
        self.judge_trouble("judged messages are not kept", &kept);
    }

    /// Writes what is waiting, as far as the database can be had.
    pub async fn finish(&mut self) {
        self.keep_all().await;
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
        let Some(word) = self.pending.clone() else { return true };
        let done = match &word {
            Word::Said(said) => self.write(said).await,
            Word::Answered { login, message_ids } => self.write_answered(login, message_ids).await,
            Word::Expected { owners, key, sample } => {
                let mut done = true;
                for owner in owners {
                    done = done && self.write_wanted(owner, Source::Correspondent, *key, sample).await;
                }
                done
            }
        };
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

    async fn write_answered(&mut self, login: &Address, message_ids: &[String]) -> bool {
        let found = self.store.judged_by_id(message_ids, login).await;
        self.judge_trouble("words on messages wait", &found);
        let answered = match found {
            Lookup::Found(answered) => answered,
            Lookup::None => return true,
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return false,
        };
        let mut done = true;
        for (key, sample) in answered {
            done = done && self.write_wanted(login, Source::Reply, key, &sample).await;
        }
        done
    }

    /// That somebody wants a message, of which he has said nothing; false if it must be tried again.
    async fn write_wanted(
        &mut self,
        owner: &Address,
        source: Source,
        key: MessageKey,
        sample: &[u8],
    ) -> bool {
        let taught = self.store.teach_wanted(owner, source, key, sample).await;
        self.judge_trouble("words on messages wait", &taught);
        let Lookup::Found(news) = taught else { return false };
        if news {
            info!(message = %key, spam = false, %owner, source = source.as_str(), "learned");
        }
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
    let seen = training::as_judged(message);
    Said {
        spam,
        owner,
        key: training::carried_key(message),
        own_key: training::key_of(&seen),
        sample: training::pack(&seen),
    }
}

/// Lessons in memory, some ten kilobytes each.
const LESSONS: usize = 1_000;
/// Judged messages in memory, and in one statement.
const JUDGED: usize = 256;
const BATCH: usize = 64;
/// How long a judged message waits for others to be written with it: far less than anybody needs to read it and say what it is.
const GATHER: Duration = Duration::from_millis(50);
/// Messages that one message may answer; real ones answer one (RFC 5322, 3.6.4).
const MAX_ANSWERED: usize = 4;
/// Mailboxes that are noted for one judged message.
const MAX_MAILBOXES: usize = 100;
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_being_packed_or_written_when_the_daemon_ends_is_not_lost() {
        let (store, _silent) = crate::silent::store::<crate::config::Milter>();
        let (mut writer, _desk) = Writer::new(store, &Settings::default());
        let raw = b"Subject: kept\r\n\r\nbody\r\n".to_vec();
        let key = training::key_of(&raw);
        writer.batch.push((Judged { key, sample: Vec::new(), message_id: None, mailboxes: Vec::new() }, raw));
        assert!(futures_util::poll!(std::pin::pin!(writer.keep())).is_pending());
        // Whoever packs may be done already.
        assert!(writer.packing.is_some() || !writer.packed.is_empty());
        while writer.packing.is_some() {
            assert!(futures_util::poll!(std::pin::pin!(writer.keep())).is_pending());
            tokio::task::yield_now().await;
        }
        // The database has it in hand, and has not answered.
        assert_eq!(writer.packed.iter().map(|judged| judged.key).collect::<Vec<_>>(), [key]);
    }
}
