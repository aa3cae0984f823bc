//! What the sessions saw, counted in memory and written to the database in batches.
//!
//! While the database is away the counts stay in memory, at most [`MAX_KINDS`] kinds of messages; what finds no room then is dropped and
//! said in the log, with numbers. A batch keeps its id until the database has answered, so that it counts once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::directory::Lookup;
use gatepost::dmarc::settings::Reports as Settings;
use gatepost::dmarc::{Observation, Tally};
use gatepost::store::Store;
use time::{Date, OffsetDateTime};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::Current;

/// Counts; one for the process.
pub struct Collector {
    store: Store,
    observations: mpsc::Receiver<Observation>,
    counts: HashMap<(Date, Observation), u64>,
    /// Handed to the database, and not known to be there.
    waiting: Option<Batch>,
    dropped: u64,
    complained: Option<Instant>,
}

struct Batch {
    id: String,
    tallies: Vec<Tally>,
}

/// Kinds of messages in memory, each about 1 KiB.
pub const MAX_KINDS: usize = 20_000;

/// Kinds in one batch, so that a statement stays far within `database.timeout`.
const BATCH: usize = 2_000;

/// How often the same trouble is said again.
const COMPLAINT: Duration = Duration::from_secs(3600);

impl Collector {
    /// Counts what comes through the channel.
    pub fn new(store: Store, observations: mpsc::Receiver<Observation>) -> Self {
        Self { store, observations, counts: HashMap::new(), waiting: None, dropped: 0, complained: None }
    }

    pub(super) async fn run(&mut self, current: &ArcSwap<Current>) {
        let mut flushed = Instant::now();
        loop {
            let settings = current.load().settings.clone();
            let left = settings.flush.0.saturating_sub(flushed.elapsed());
            tokio::select! {
                seen = self.observations.recv() => match seen {
                    Some(seen) => self.count(seen, &settings),
                    None => return std::future::pending().await,
                },
                () = tokio::time::sleep(left) => {
                    self.flush(&settings).await;
                    flushed = Instant::now();
                }
            }
        }
    }

    /// Everything that is still in the channel and in memory, at the end of the process.
    pub(super) async fn finish(&mut self, settings: &Settings) {
        while let Ok(seen) = self.observations.try_recv() {
            self.count(seen, settings);
        }
        self.flush(settings).await;
        let lost: u64 =
            self.counts.values().sum::<u64>() + self.waiting.iter().map(Batch::messages).sum::<u64>();
        if lost > 0 {
            warn!(messages = lost, "DMARC reports will lack messages: the database is away at the end");
        }
    }

    fn count(&mut self, seen: Observation, settings: &Settings) {
        if settings.from.is_none() || seen.published.rua.is_empty() {
            return;
        }
        let kind = (OffsetDateTime::now_utc().date(), seen);
        if let Some(count) = self.counts.get_mut(&kind) {
            *count += 1;
        } else if self.counts.len() < MAX_KINDS {
            self.counts.insert(kind, 1);
        } else {
            self.dropped += 1;
        }
    }

    /// Writes what was counted; keeps what could not be written.
    async fn flush(&mut self, settings: &Settings) {
        while self.waiting.is_some() || !self.counts.is_empty() {
            // It stays there until it is written: the end of the daemon may come in between, and writing it twice is writing it once.
            let next = self.waiting.take().unwrap_or_else(|| self.batch());
            let batch = self.waiting.insert(next);
            let (at, spread) = (settings.at.0, settings.spread.0);
            let due = move |domain: &str, day: Date| at + moment(domain, day, spread);
            match self.store.collect(&batch.id, &batch.tallies, due).await {
                Lookup::Found(collected) => {
                    debug!(
                        kinds = batch.tallies.len(),
                        messages = batch.messages(),
                        "counted for DMARC reports"
                    );
                    if collected.late > 0 {
                        warn!(
                            messages = collected.late,
                            "too late for the DMARC reports of their day, which have been sent; they are in none"
                        );
                    }
                    if collected.omitted > 0 {
                        debug!(
                            messages = collected.omitted,
                            "more kinds of messages than a DMARC report tells"
                        );
                    }
                }
                Lookup::None => {}
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                    self.complain(&why);
                    return;
                }
            }
            self.waiting = None;
        }
        self.complained = None;
        if self.dropped > 0 {
            warn!(
                messages = self.dropped,
                "DMARC reports will lack messages: there was no room to count them"
            );
            self.dropped = 0;
        }
    }

    fn batch(&mut self) -> Batch {
        let keys: Vec<_> = self.counts.keys().take(BATCH).cloned().collect();
        let take = |key: (Date, Observation)| {
            let (key, messages) = self.counts.remove_entry(&key)?;
            Some(Tally { day: key.0, observation: key.1, messages })
        };
        Batch { id: name(), tallies: keys.into_iter().filter_map(take).collect() }
    }

    fn complain(&mut self, why: &str) {
        if self.complained.is_none_or(|when| when.elapsed() > COMPLAINT) {
            self.complained = Some(Instant::now());
            warn!(
                kinds = self.counts.len(),
                dropped = self.dropped,
                "cannot count for DMARC reports now: {why}"
            );
        }
    }
}

impl Batch {
    fn messages(&self) -> u64 {
        self.tallies.iter().map(|tally| tally.messages).sum()
    }
}

/// When within `spread` the report on a domain goes out: the same on every host, another one each day.
fn moment(domain: &str, day: Date, spread: Duration) -> Duration {
    // FNV-1a: even enough, and the same in every release.
    let hash = domain
        .bytes()
        .chain(day.to_julian_day().to_be_bytes())
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    Duration::from_secs((hash >> 16) % spread.as_secs().max(1))
}

/// A name that nobody else has.
pub(super) fn name() -> String {
    let bytes: [u8; 16] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::dmarc::{Policy, Published};

    use super::*;

    #[test]
    fn reports_are_spread_and_every_host_agrees() {
        let day = time::macros::date!(2026 - 11 - 24);
        let spread = Duration::from_secs(4 * 3600);
        let moments: Vec<u64> =
            (0..1000).map(|number| moment(&format!("d{number}.test"), day, spread).as_secs()).collect();
        for quarter in 0..4 {
            let here = moments.iter().filter(|moment| **moment / 3600 == quarter).count();
            assert!((150..350).contains(&here), "{here} of 1000 in hour {quarter}");
        }
        assert_eq!(moment("a.test", day, spread), moment("a.test", day, spread));
        assert_ne!(moment("a.test", day, spread), moment("a.test", day.next_day().unwrap(), spread));
        assert_eq!(moment("a.test", day, Duration::ZERO), Duration::ZERO);
    }

    fn seen() -> Observation {
        let published = Published {
            domain: "sender.test".to_owned(),
            p: Policy::None,
            sp: None,
            np: None,
            adkim: 'r',
            aspf: 'r',
            fo: "0".to_owned(),
            testing: false,
            rua: vec!["reports@sender.test".to_owned()],
        };
        Observation {
            source: [192, 0, 2, 1].into(),
            header_from: "sender.test".to_owned(),
            envelope_from: None,
            published,
            disposition: Policy::None,
            reasons: Vec::new(),
            dkim_aligned: false,
            spf_aligned: false,
            dkim: Vec::new(),
            spf: None,
        }
    }

    #[tokio::test]
    async fn a_batch_that_is_being_written_when_the_daemon_ends_is_not_lost_and_keeps_its_id() {
        let (store, _silent) = crate::silent::store::<crate::config::Milter>();
        let (_events, observations) = mpsc::channel(1);
        let mut collector = Collector::new(store, observations);
        let day = time::macros::date!(2026 - 11 - 24);
        collector.waiting = Some(Batch { id: "first".to_owned(), tallies: Vec::new() });
        collector.counts.insert((day, seen()), 7);
        let settings = Settings::default();
        assert!(futures_util::poll!(std::pin::pin!(collector.flush(&settings))).is_pending());
        assert_eq!(collector.waiting.as_ref().map(|batch| batch.id.as_str()), Some("first"));
        collector.waiting = None;
        assert!(futures_util::poll!(std::pin::pin!(collector.flush(&settings))).is_pending());
        let batch = collector.waiting.as_ref().unwrap();
        assert_eq!((batch.messages(), collector.counts.len()), (7, 0));
    }
}
