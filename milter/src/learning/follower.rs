//! The model of this host: made from the training log, kept up with it, asked by the service.
//!
//! Rows are learned in their order, each exactly once, so every host has the same model after the same row. A new epoch (rows were taken out of
//! the log) makes a new model beside the old one, which judges until the new one has caught up. Without database the model goes on as
//! it is.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gatepost::directory::Lookup;
use gatepost::store::Store;
use gatepost::store::training::{Logged, ModelState};
use gatepost::training::unpack;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::checkpoint::{self, Checkpoint, Unusable};
use super::{Extractor, Features, Judgement, Label, Model, Owner};
use crate::facts::Learned;
use crate::message::Message;

/// The model as it stands, for everybody who judges. Cheap to clone.
#[derive(Clone, Default)]
pub struct Current(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// The model and the row it has read up to, which change together: none until it is known what there is to know.
    model: RwLock<Option<Checkpoint>>,
    extractors: Mutex<Vec<Extractor>>,
    /// One checkpoint is written at a time: the end of the daemon may find one half way.
    writing: Mutex<()>,
}

impl Current {
    /// What a message looks like, and what the model thinks of it for that owner; none while there is no model yet.
    pub fn judge(&self, message: &Message, owner: Option<Owner>) -> Option<(Features, Judgement)> {
        let features = self.with_extractor(|extractor| extractor.read(message));
        let judged = self.rejudge(&features, owner)?;
        Some((features, judged))
    }

    /// What the model thinks of features for another owner.
    pub fn rejudge(&self, features: &Features, owner: Option<Owner>) -> Option<Judgement> {
        let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| known.model.judge(features, owner))
    }

    /// The words that spoke most for the judgement, the strongest first, with what each added to the log-odds.
    pub fn evidence(
        &self,
        message: &Message,
        features: &Features,
        judged: &Judgement,
        most: usize,
    ) -> Vec<(String, f32)> {
        let mut weights: Vec<(u32, f32)> = {
            let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
            let Some(Checkpoint { model, .. }) = known.as_ref() else { return Vec::new() };
            let count = features.words.len();
            features.words.iter().map(|&feature| (feature, model.weight(feature, count))).collect()
        };
        weights.retain(|(_, weight)| weight * judged.logit > 0.0);
        weights.sort_unstable_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        // Words and pairs may read alike: some more than are shown.
        weights.truncate(2 * most);
        let wanted: Vec<u32> = weights.iter().map(|(feature, _)| *feature).collect();
        let texts = Extractor::explain(message, &wanted);
        let mut words: Vec<(String, f32)> = Vec::new();
        for (feature, weight) in weights {
            let text = texts.iter().find(|(known, _)| *known == feature).map(|(_, text)| text.clone());
            if let Some(text) = text.filter(|text| !words.iter().any(|(known, _)| known == text)) {
                words.push((text, weight));
            }
        }
        words.truncate(most);
        words
    }

    /// The model's word for the rules; none while there is no model, or while it knows nothing.
    pub fn word(&self, message: &Message, owner: Option<Owner>) -> Option<Learned> {
        let (features, judged) = self.judge(message, owner)?;
        let [spam, ham] = self.progress()?.0;
        if spam.min(ham) == 0 {
            return None;
        }
        let strongest = match (0.2..0.8).contains(&judged.probability) {
            true => Vec::new(),
            false => self.evidence(message, &features, &judged, EVIDENCE),
        };
        let words: Vec<String> = strongest.into_iter().map(|(text, _)| text).collect();
        Some(Learned { probability: judged.probability, evidence: words.join(" ") })
    }

    /// How many samples of spam and of ham it was shown, and how many of each were judged wrong before; none while there is no model.
    pub fn progress(&self) -> Option<([u64; 2], [u64; 2])> {
        let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| (known.model.shown(), known.model.missed()))
    }

    fn with_extractor<T>(&self, work: impl FnOnce(&mut Extractor) -> T) -> T {
        let take = || self.0.extractors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut extractor = take().pop().unwrap_or_default();
        let result = work(&mut extractor);
        take().push(extractor);
        result
    }

    /// The epoch and position it has read up to; zeros while there is none.
    fn place(&self) -> (i64, i64) {
        let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map_or((0, 0), |known| (known.epoch, known.position))
    }

    fn change(&self, change: impl FnOnce(&mut Option<Checkpoint>)) {
        change(&mut self.0.model.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Follows the log for as long as the process lives.
pub struct Follower {
    store: Store,
    current: Current,
    checkpoint: Option<PathBuf>,
    /// A model under way, while the old one judges on.
    beside: Option<Checkpoint>,
    /// The epoch and position that were last written.
    written: (i64, i64),
    /// What was last complained of, so that an outage is one line.
    trouble: Option<String>,
}

/// What a look at the log showed.
enum Step {
    /// There may be more.
    More,
    /// Everything is learned.
    CaughtUp,
    /// Nobody to ask.
    Away(String),
    /// Something that the operator must see to.
    Wrong(String),
}

impl Follower {
    /// A follower that has read nothing yet.
    pub fn new(store: Store, current: Current, checkpoint: Option<PathBuf>) -> Self {
        Self { store, current, checkpoint, beside: None, written: (0, 0), trouble: None }
    }

    /// Reads the checkpoint and then the log, row by row as it grows.
    pub async fn run(&mut self) {
        self.start().await;
        let mut due = Instant::now() + CHECKPOINT_EVERY;
        loop {
            let pause = match self.step().await {
                Step::More => continue,
                Step::CaughtUp => {
                    self.trouble = None;
                    if self.written == (0, 0) {
                        self.write().await;
                    }
                    if self.store.is_notified() { HEARD } else { POLL }
                }
                Step::Away(why) => {
                    debug!("the training log cannot be read now: {why}");
                    POLL
                }
                Step::Wrong(why) => {
                    if self.trouble.as_ref() != Some(&why) {
                        warn!("nothing is learned: {why}");
                    }
                    self.trouble = Some(why);
                    HEARD
                }
            };
            if Instant::now() >= due {
                self.write().await;
                due = Instant::now() + CHECKPOINT_EVERY;
            }
            tokio::select! {
                () = self.store.training_changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Writes the checkpoint, and into the database how far the model is, if there is something new.
    pub async fn write(&mut self) {
        if self.current.place() == self.written {
            return;
        }
        let (path, current) = (self.checkpoint.clone(), self.current.clone());
        let work = move || {
            let _alone = current.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let known = current.0.model.read().unwrap_or_else(PoisonError::into_inner).clone()?;
            let (bytes, digest) = known.sealed();
            if let Some(path) = path
                && let Err(error) = checkpoint::write(&path, &bytes)
            {
                let path = path.display();
                warn!(
                    "the model's checkpoint cannot be written: {path}: {error}; a start reads the whole log"
                );
            }
            let Checkpoint { epoch, position, model } = known;
            Some(ModelState { epoch, position, shown: model.shown(), missed: model.missed(), digest })
        };
        let Ok(Some(state)) = tokio::task::spawn_blocking(work).await else { return };
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        match self.store.note_model(&host.unwrap_or_else(|| "localhost".to_owned()), &state).await {
            Lookup::Found(()) | Lookup::None => {}
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => debug!("the model is not noted: {why}"),
        }
        self.written = (state.epoch, state.position);
    }

    async fn start(&mut self) {
        let Some(path) = self.checkpoint.clone() else { return };
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || Checkpoint::read(&path)).await {
            Ok(Ok(checkpoint)) => {
                info!(
                    epoch = checkpoint.epoch,
                    position = checkpoint.position,
                    "the model's checkpoint was read"
                );
                self.written = (checkpoint.epoch, checkpoint.position);
                self.current.change(|known| *known = Some(checkpoint));
            }
            Ok(Err(Unusable::Missing)) => {
                info!("{shown}: no checkpoint yet; the training log is read from its start")
            }
            Ok(Err(why)) => warn!("{shown}: {why}; the model is made anew from the training log"),
            Err(_) => warn!("{shown}: not read; the model is made anew from the training log"),
        }
    }

    async fn step(&mut self) -> Step {
        let (known_epoch, position) =
            self.beside.as_ref().map_or_else(|| self.current.place(), |model| (model.epoch, model.position));
        let (epoch, rows) = match self.store.training_after(position, BATCH).await {
            Lookup::Found(found) => found,
            Lookup::None => return Step::CaughtUp,
            Lookup::Unavailable(why) => return Step::Away(why.to_string()),
            Lookup::Misconfigured(why) => return Step::Wrong(why.to_string()),
        };
        if epoch != known_epoch {
            if known_epoch != 0 {
                info!(epoch, "the training log has changed behind us; the model is made anew");
            }
            self.beside = Some(Checkpoint { epoch, position: 0, model: Model::default() });
            return Step::More;
        }
        let complete = (rows.len() as i64) < BATCH;
        if !rows.is_empty() && !self.learn(rows).await {
            return Step::Wrong("internal error while learning".to_owned());
        }
        if !complete {
            return Step::More;
        }
        if let Some(made) = self.beside.take() {
            let [spam, ham] = made.model.shown();
            info!(spam, ham, position = made.position, "the model is made");
            self.current.change(|known| *known = Some(made));
        }
        Step::CaughtUp
    }

    /// Learns rows on a thread for heavy work; false after a panic, which is a bug of ours. When the daemon ends meanwhile, what is half
    /// done is either thrown away (`beside`) or a model and its position of a moment ago.
    async fn learn(&mut self, rows: Vec<Logged>) -> bool {
        let (current, mut beside) = (self.current.clone(), self.beside.take());
        let work = move || {
            for row in &rows {
                let read = unpack(&row.sample).map(|raw| {
                    let message = Message::from_eml(&raw);
                    current.with_extractor(|extractor| extractor.read(&message))
                });
                if let Err(why) = &read {
                    // Every host leaves it out alike.
                    warn!(position = row.position, "a sample of the training log is skipped: {why}");
                }
                let learn = |known: &mut Checkpoint| {
                    if let Ok(features) = &read {
                        apply(&mut known.model, row, features);
                    }
                    known.position = row.position;
                };
                match &mut beside {
                    Some(model) => learn(model),
                    None => current.change(|known| known.as_mut().map_or((), learn)),
                }
            }
            beside
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(beside) => {
                self.beside = beside;
                true
            }
            Err(_) => false,
        }
    }
}

/// One row of the log to one model: the whole of what learning means.
pub(super) fn apply(model: &mut Model, row: &Logged, features: &Features) {
    let owner = row.owner.as_deref().map(Owner::new);
    let label = if row.spam { Label::Spam } else { Label::Ham };
    let judged = model.judge(features, owner);
    model.learn(features, owner, label, &judged);
    if row.corrects {
        model.correct(features, owner, label);
    }
}

/// Words in the report.
const EVIDENCE: usize = 4;
/// Rows of one look; each sample is at most a quarter of a mebibyte, and mostly some kilobytes.
const BATCH: i64 = 100;
/// How often the log is looked at when nobody tells that it grew, and when somebody does.
const POLL: Duration = Duration::from_secs(2);
const HEARD: Duration = Duration::from_secs(30);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);
