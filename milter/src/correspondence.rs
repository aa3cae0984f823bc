//! What is remembered of mail: whom our logins write to, what they wrote, how bad the mail of each network is, what was put on hold.
//!
//! For `lib`, which runs this beside the sessions, and `service`, which tells it. Mail never waits for it: a session hands over what it saw
//! without waiting, rows are written in batches. While the database is away they stay in memory, within [`MAX_ROWS`] of each kind; what
//! finds no room then is dropped, and the log says how much.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use gatepost::config::Network;
use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::spam::folded_name;
use gatepost::store::{Correspondence, Held, Store};
use mail_parser::MessageParser;
use tokio::sync::{Mutex, mpsc};
use tracing::{debug, warn};

use crate::message::{Envelope, Message};
use crate::recipients::message_ids;

/// One thing to remember.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A login has sent a message.
    Sent(Letter),
    /// Mail from outside was judged.
    Scored(Network, f64),
    /// A message was put on hold.
    Held(Held),
}

/// What a login sent, to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The login.
    pub mailbox: String,
    /// Its Message-ID with brackets; none where it has none yet.
    pub message_id: Option<String>,
    /// Addresses and folded names, the latter empty where the header has none.
    pub recipients: Vec<(String, String)>,
}

impl Letter {
    /// What of a submitted message is remembered; nothing of one to so many that it is no correspondence.
    pub fn of(message: &Message, envelope: &Envelope) -> Option<Self> {
        let mailbox = envelope.login.as_ref()?.to_string();
        if envelope.recipients.is_empty() || envelope.recipients.len() > MOST_CORRESPONDENTS {
            return None;
        }
        let mut raw = Vec::new();
        for header in message.headers.iter().filter(|header| header.is("To") || header.is("Cc")).take(8) {
            header.write_to(&mut raw);
        }
        raw.extend_from_slice(b"\r\n");
        let parsed = MessageParser::new().parse_headers(&raw).unwrap_or_default();
        let mut names: HashMap<String, String> = HashMap::new();
        for list in parsed.all_to().chain(parsed.all_cc()) {
            for mailbox in list.mailboxes().take(4 * MOST_CORRESPONDENTS) {
                let (Some(name), Some(address)) = (mailbox.name(), mailbox.address()) else { continue };
                names.insert(address.trim().to_lowercase(), folded_name(name));
            }
        }
        let recipients = envelope
            .recipients
            .iter()
            .map(Address::to_string)
            .filter(|address| *address != mailbox)
            .map(|address| {
                let name = names.get(&address).cloned().unwrap_or_default();
                (address, name)
            })
            .collect();
        let message_id = message.first("Message-ID").and_then(|value| message_ids(value).next());
        Some(Self { mailbox, message_id, recipients })
    }
}

/// Writes down what comes through its channel.
pub struct Remembering {
    store: Store,
    collector: Mutex<Collector>,
}

struct Collector {
    events: mpsc::Receiver<Event>,
    correspondents: HashMap<(String, String), (String, i64)>,
    sent: Vec<(String, String)>,
    scores: HashMap<Network, (f64, i64)>,
    held: Vec<Held>,
    /// What is being written, until it is: the daemon may end in between.
    under_way: Correspondence,
    dropped: u64,
    complained: Option<Instant>,
    forgot: Option<Instant>,
}

impl Remembering {
    /// The writer, and the channel for the sessions.
    pub fn new(store: Store) -> (Self, mpsc::Sender<Event>) {
        let (sender, events) = mpsc::channel(QUEUE);
        let collector = Collector {
            events,
            correspondents: HashMap::new(),
            sent: Vec::new(),
            scores: HashMap::new(),
            held: Vec::new(),
            under_way: Correspondence::default(),
            dropped: 0,
            complained: None,
            forgot: None,
        };
        (Self { store, collector: Mutex::new(collector) }, sender)
    }

    /// Collects and writes until the process ends; `keep` is how long Message-IDs are kept.
    pub async fn run(&self, keep: impl Fn() -> Duration) {
        let mut collector = self.collector.lock().await;
        let mut flushed = Instant::now();
        loop {
            let left = FLUSH.saturating_sub(flushed.elapsed());
            tokio::select! {
                event = collector.events.recv() => match event {
                    Some(event) => {
                        collector.take(event);
                        while let Ok(event) = collector.events.try_recv() {
                            collector.take(event);
                        }
                        // On a busy server each message would wake this task for itself.
                        tokio::time::sleep(GATHER).await;
                    }
                    None => return std::future::pending().await,
                },
                () = tokio::time::sleep(left) => {
                    collector.flush(&self.store).await;
                    collector.forget(&self.store, keep()).await;
                    flushed = Instant::now();
                }
            }
        }
    }

    /// Writes down what is still in the channel and in memory, at the end of the process.
    pub async fn finish(&self) {
        let mut collector = self.collector.lock().await;
        while let Ok(event) = collector.events.try_recv() {
            collector.take(event);
        }
        collector.flush(&self.store).await;
        let lost = collector.rows();
        if lost > 0 {
            warn!(rows = lost, "correspondents and scores are lost: the database is away at the end");
        }
    }
}

impl Collector {
    fn take(&mut self, event: Event) {
        match event {
            Event::Sent(letter) => {
                for (address, name) in letter.recipients {
                    let key = (letter.mailbox.clone(), address);
                    if let Some((known, count)) = self.correspondents.get_mut(&key) {
                        *count += 1;
                        if !name.is_empty() {
                            *known = name;
                        }
                    } else if self.correspondents.len() < MAX_ROWS {
                        self.correspondents.insert(key, (name, 1));
                    } else {
                        self.dropped += 1;
                    }
                }
                match letter.message_id {
                    Some(id) if self.sent.len() < MAX_ROWS => self.sent.push((id, letter.mailbox)),
                    Some(_) => self.dropped += 1,
                    None => {}
                }
            }
            Event::Scored(network, score) => {
                if self.scores.len() < MAX_ROWS || self.scores.contains_key(&network) {
                    let (sum, count) = self.scores.entry(network).or_default();
                    *sum += score.clamp(-MOST_POINTS, MOST_POINTS);
                    *count += 1;
                } else {
                    self.dropped += 1;
                }
            }
            Event::Held(held) if self.held.len() < MAX_ROWS => self.held.push(held),
            Event::Held(_) => self.dropped += 1,
        }
    }

    fn rows(&self) -> usize {
        self.correspondents.len() + self.sent.len() + self.scores.len() + self.held.len()
    }

    /// Writes what was collected, in batches; keeps what could not be written.
    async fn flush(&mut self, store: &Store) {
        let left = std::mem::take(&mut self.under_way);
        self.keep(left);
        while self.rows() > 0 {
            self.under_way = self.batch();
            let written = store.remember_correspondence(&self.under_way).await;
            let batch = std::mem::take(&mut self.under_way);
            match written {
                Lookup::Found(()) | Lookup::None => {
                    debug!(
                        correspondents = batch.correspondents.len(),
                        sent = batch.sent.len(),
                        "remembered"
                    );
                }
                Lookup::Unavailable(why) => {
                    self.keep(batch);
                    self.complain(&why);
                    return;
                }
                // It would be refused the next time too, and all that follows with it.
                Lookup::Misconfigured(why) => {
                    let rows =
                        batch.correspondents.len() + batch.sent.len() + batch.scores.len() + batch.held.len();
                    self.dropped += rows as u64;
                    self.complain(&why);
                }
            }
        }
        if self.complained.is_some() && self.dropped > 0 {
            return;
        }
        self.complained = None;
        if self.dropped > 0 {
            warn!(rows = self.dropped, "correspondents and scores were lost: there was no room to keep them");
            self.dropped = 0;
        }
    }

    fn complain(&mut self, why: &str) {
        if self.complained.is_none_or(|when| when.elapsed() > COMPLAINT) {
            self.complained = Some(Instant::now());
            warn!(
                rows = self.rows(),
                dropped = self.dropped,
                "correspondents and scores cannot be written now: {why}"
            );
        }
    }

    fn batch(&mut self) -> Correspondence {
        let mut keys: Vec<_> = self.correspondents.keys().take(BATCH).cloned().collect();
        // In one order on every host, so that no two wait for each other's rows.
        keys.sort();
        let correspondents = keys
            .into_iter()
            .filter_map(|key| {
                self.correspondents.remove(&key).map(|(name, count)| (key.0, key.1, name, count))
            })
            .collect();
        let mut sent: Vec<_> = self.sent.drain(..self.sent.len().min(BATCH)).collect();
        sent.sort();
        let networks: Vec<Network> = self.scores.keys().take(BATCH).copied().collect();
        let mut scores: Vec<_> = networks
            .into_iter()
            .filter_map(|network| {
                let (sum, count) = self.scores.remove(&network)?;
                Some((network.to_string(), sum / count as f64, count))
            })
            .collect();
        scores.sort_by(|a, b| a.0.cmp(&b.0));
        let held = self.held.drain(..self.held.len().min(BATCH)).collect();
        Correspondence { correspondents, sent, scores, held }
    }

    /// Takes a batch back that could not be written.
    fn keep(&mut self, batch: Correspondence) {
        for (mailbox, address, name, count) in batch.correspondents {
            let entry = self.correspondents.entry((mailbox, address)).or_insert((name, 0));
            entry.1 += count;
        }
        self.sent.extend(batch.sent);
        for (network, score, count) in batch.scores {
            if let Ok(network) = network.parse::<Network>() {
                let entry = self.scores.entry(network).or_default();
                entry.0 += score * count as f64;
                entry.1 += count;
            }
        }
        self.held.extend(batch.held);
    }

    async fn forget(&mut self, store: &Store, keep: Duration) {
        if self.forgot.is_some_and(|when| when.elapsed() < HOUR) {
            return;
        }
        self.forgot = Some(Instant::now());
        match store.forget_correspondence(keep).await {
            Lookup::Found(rows) if rows > 0 => debug!(rows, "old Message-IDs and scores forgotten"),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => debug!(%why, "nothing forgotten"),
            _ => {}
        }
    }
}

/// A message to more people than this is a circular, and says nothing about whom its author knows; nor does what a stolen login sends.
const MOST_CORRESPONDENTS: usize = 50;

/// Rows of each kind in memory, some 300 bytes each.
const MAX_ROWS: usize = 20_000;

/// Rows of each kind in one transaction, which stays far within `database.timeout`.
const BATCH: usize = 1_000;

/// Events on their way to the writer, which only collects, every [`GATHER`]: enough for ten thousand messages a second.
const QUEUE: usize = 1024;

/// How long events wait for others.
const GATHER: Duration = Duration::from_millis(100);

/// One message counts so much at the most: a hundred points are no worse than fifty.
const MOST_POINTS: f64 = 50.0;

/// How often rows are written. An answer takes longer.
const FLUSH: Duration = Duration::from_secs(1);

/// How often the same trouble is said again.
const COMPLAINT: Duration = HOUR;

/// How often old rows are looked for.
const HOUR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::message::Direction;

    fn letter(header: &str, recipients: &[&str]) -> Option<Letter> {
        let envelope = Envelope {
            login: Address::parse("alice@example.com").ok(),
            recipients: recipients.iter().map(|text| Address::parse(text).unwrap()).collect(),
            ..Envelope::new(Direction::Submitted)
        };
        Letter::of(&Message::from_eml(header.as_bytes()), &envelope)
    }

    #[test]
    fn a_letter_remembers_recipients_and_their_names() {
        let header = "Message-ID: <1@example.com>\nTo: \"Miller, Ann\" <ANN@a.test>, bob@b.test\nCc: <alice@example.com>\n\n";
        let found =
            letter(header, &["ann@a.test", "bob@b.test", "hidden@c.test", "alice@example.com"]).unwrap();
        assert_eq!(found.message_id.as_deref(), Some("<1@example.com>"));
        let recipients: Vec<(&str, &str)> =
            found.recipients.iter().map(|(address, name)| (address.as_str(), name.as_str())).collect();
        assert_eq!(recipients, [("ann@a.test", "ann miller"), ("bob@b.test", ""), ("hidden@c.test", "")]);
    }

    #[tokio::test]
    async fn what_is_being_written_when_the_daemon_ends_is_not_lost() {
        let (store, _silent) = crate::silent::store::<crate::config::Milter>();
        let (remembering, events) = Remembering::new(store.clone());
        let found = letter("Message-ID: <1@example.com>\n\n", &["ann@a.test"]).unwrap();
        events.send(Event::Sent(found)).await.unwrap();
        events.send(Event::Scored("192.0.2.0/24".parse().unwrap(), 3.0)).await.unwrap();
        let mut collector = remembering.collector.lock().await;
        while let Ok(event) = collector.events.try_recv() {
            collector.take(event);
        }
        for _ in 0..2 {
            let flush = collector.flush(&store);
            assert!(futures_util::poll!(std::pin::pin!(flush)).is_pending());
            assert_eq!(collector.rows(), 0);
            assert_eq!(collector.under_way.scores, [("192.0.2.0/24".to_owned(), 3.0, 1)]);
            assert_eq!((collector.under_way.sent.len(), collector.under_way.correspondents.len()), (1, 1));
        }
    }

    #[test]
    fn a_circular_is_no_correspondence() {
        let many: Vec<String> = (0..=MOST_CORRESPONDENTS).map(|number| format!("u{number}@a.test")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(letter("\n", &many), None);
        assert!(letter("\n", &many[1..]).is_some());
    }
}
