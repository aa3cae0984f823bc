//! Aggregate reports (RFC 9990): what the milter sees is counted into the database, and yesterday's reports are sent.
//!
//! For `lib`, which runs this beside the sessions. Mail never waits for it: sessions hand over what they saw without waiting, SQL is
//! written in batches. Off until `milter.reports.from` is set.
//!
//! - [`collector`]: observations → counts in memory → `gatepost.dmarc_rows`.
//! - [`sender`]: due reports → claimed, built, authorised, sent, noted; on every host, each report by one of them.
//! - [`submission`]: the SMTP client that hands a report to Postfix, and how the milter knows that mail again.

pub mod collector;
pub mod sender;
pub mod submission;

use std::sync::Arc;

use arc_swap::ArcSwap;
use gatepost::dmarc::Observation;
use gatepost::dmarc::settings::Reports as Settings;
use gatepost::dns::Resolver;
use gatepost::store::Store;
use tokio::sync::{Mutex, mpsc};

use collector::Collector;
use sender::Sender;
use submission::Ours;

/// Both halves, and what they share.
pub struct Reports {
    current: ArcSwap<Current>,
    collector: Mutex<Collector>,
    sender: Sender,
}

/// What a reload replaces.
pub struct Current {
    /// `[milter.reports]`.
    pub settings: Settings,
    /// The resolver of the process.
    pub resolver: Resolver,
}

impl Reports {
    /// Prepares both halves; the channel is for the sessions, `ours` tells them which connections are our own.
    pub fn new(current: Current, store: &Store, ours: Ours) -> (Self, mpsc::Sender<Observation>) {
        let (observations, receiver) = mpsc::channel(QUEUE);
        let reports = Self {
            current: ArcSwap::from_pointee(current),
            collector: Mutex::new(Collector::new(store.clone(), receiver)),
            sender: Sender::new(store.clone(), ours),
        };
        (reports, observations)
    }

    /// Takes over new settings; what has been counted stays.
    pub fn reload(&self, current: Current) {
        self.current.store(Arc::new(current));
    }

    /// Collects and sends until the process ends.
    pub async fn run(&self) {
        let collect = async { self.collector.lock().await.run(&self.current).await };
        tokio::join!(collect, self.sender.run(&self.current));
    }

    /// Writes down what has been counted and not written.
    pub async fn finish(&self) {
        let current = self.current.load_full();
        self.collector.lock().await.finish(&current.settings).await;
    }
}

/// Observations on their way to the collector, which only counts: some milliseconds of the busiest server's mail.
const QUEUE: usize = 1024;
