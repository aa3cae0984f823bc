//! The half of the milter that learns: is this mail like the spam, or like the wanted mail, that people have shown it?
//!
//! For the service, which asks [`Current`], and for `ask` and `evaluate`. The modules in reading order:
//!
//! - [`features`]: a message as three sets of numbers: its header, its body, its words; `words` cuts the words.
//! - [`model`]: online logistic regression over each set; one probability, and what spoke for it;
//!   `calibration` makes it honest, by the `kind` of mail too, `replay` shows again what was judged wrong, and `owners`
//!   knows who teaches. It begins with the words of [`lexicon`].
//! - [`stream`]: how good it is: a labelled stream played in order, with the figures of the TREC spam track.
//! - [`follower`]: the model of this host, made from the training log and kept up with it; [`checkpoint`]: its copy on disk.
//! - [`pipe`]: where Dovecot's Sieve says what a message is; [`writer`]: how that gets into the log.
//! - [`settings`], the section `[milter.learning]`.
//!
//! The model is a function of the samples and their order alone. The same samples in the same order give the same weights to the
//! last bit on every host: no random numbers, no clock, no threads, no `exp` of the system's C library.

mod calibration;
pub mod checkpoint;
pub mod features;
pub mod follower;
mod kind;
pub mod lexicon;
pub mod model;
mod owners;
pub mod pipe;
mod replay;
pub mod settings;
pub mod stream;
mod words;
pub mod writer;

use std::time::Duration;

use gatepost::directory::Lookup;
use gatepost::store::Store;
use tokio::sync::Mutex;
use tracing::{debug, info};

pub use features::{Extractor, Features, Portrait};
pub use follower::{Current, Words};
pub use kind::Kind;
pub use lexicon::Lexicon;
pub use model::{Judgement, Label, Model};
pub use owners::Owner;
pub use settings::{Settings, Start};
pub use words::Key;
pub use writer::Desk;

use follower::Follower;
use writer::Writer;

/// What goes on beside the sessions.
pub struct Learning {
    settings: Settings,
    store: Store,
    current: Current,
    desk: Desk,
    follower: Mutex<Follower>,
    writer: Mutex<Writer>,
}

impl Learning {
    /// Prepares; nothing is read yet.
    pub fn new(settings: &Settings, store: &Store) -> Self {
        let current = Current::default();
        let (writer, desk) = Writer::new(store.clone(), settings);
        let follower =
            Follower::new(store.clone(), current.clone(), settings.checkpoint(), settings.lexicon());
        Self {
            settings: settings.clone(),
            store: store.clone(),
            current,
            desk,
            follower: Mutex::new(follower),
            writer: Mutex::new(writer),
        }
    }

    /// The model and the desk, for those who judge; none where nothing is to be learned.
    pub fn share(&self) -> Option<(Current, Desk)> {
        self.settings.enabled.then(|| (self.current.clone(), self.desk.clone()))
    }

    /// Where words on messages and judged messages go.
    pub fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Follows the log, writes, and forgets what is old, until the process ends.
    pub async fn run(&self) {
        if !self.settings.enabled {
            return std::future::pending().await;
        }
        let follow = async { self.follower.lock().await.run().await };
        let write = async { self.writer.lock().await.run().await };
        tokio::join!(follow, write, self.forget());
    }

    /// Writes down what must not be lost.
    pub async fn finish(&self) {
        if !self.settings.enabled {
            return;
        }
        self.writer.lock().await.finish().await;
        self.follower.lock().await.write().await;
    }

    /// Once a day; on every host, and only the first finds something.
    async fn forget(&self) {
        loop {
            tokio::time::sleep(FORGET_AFTER_START).await;
            let (keep, retention) = (self.settings.keep_judged.0, self.settings.retention.0);
            match self.store.forget_old(keep, retention).await {
                Lookup::Found(0) | Lookup::None => {}
                Lookup::Found(samples) => {
                    info!(samples, "samples older than learning.retention are forgotten")
                }
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                    debug!("nothing is forgotten: {why}")
                }
            }
            tokio::time::sleep(FORGET_EVERY).await;
        }
    }
}

const FORGET_AFTER_START: Duration = Duration::from_secs(60);
const FORGET_EVERY: Duration = Duration::from_secs(86_400);
