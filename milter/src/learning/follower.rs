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
use super::features::Portrait;
use super::{Extractor, Features, Judgement, Kind, Label, Lexicon, Model, Owner};
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
    /// What a message looks like that is written out and parsed already; none while there is no model that would be heard.
    pub fn read(&self, message: &Message, raw: &[u8], parsed: &mail_parser::Message<'_>) -> Option<Portrait> {
        let is_heard = {
            let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
            known.as_ref().is_some_and(|known| known.model.is_heard())
        };
        if !is_heard {
            return None;
        }
        Some(self.with_extractor(|extractor| extractor.read_parsed(message, raw, parsed)))
    }

    /// The model's word for the rules: for nobody in particular, and for those of the owners who have taught it themselves. None while there
    /// is no model, or while it has seen next to nothing of one kind.
    pub fn words(&self, message: &Message, portrait: &Portrait, owners: &[Owner]) -> Option<Words> {
        let heard: Vec<Heard> = {
            let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
            let model = &known.as_ref()?.model;
            if !model.is_heard() {
                return None;
            }
            let hear = |owner| {
                let judged = model.judge(&portrait.features, owner);
                let strongest = match (0.2..0.8).contains(&judged.probability) {
                    true => Vec::new(),
                    false => strongest(model.contributions(&portrait.features.words, owner), &judged),
                };
                (owner, judged, strongest)
            };
            let own = owners.iter().filter(|owner| model.knows(**owner)).take(MAX_OWN);
            std::iter::once(None).chain(own.copied().map(Some)).map(hear).collect()
        };
        let mut wanted: Vec<u32> =
            heard.iter().flat_map(|(.., words)| words).map(|(feature, _)| *feature).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let texts = portrait.texts(message, &wanted);
        let mut words = heard.into_iter().map(|(owner, judged, strongest)| {
            let evidence = evidence(&strongest, &texts);
            let list_post = judged.kind == Kind::ListPost;
            (owner, Learned { probability: judged.probability, list_post, evidence })
        });
        let (_, common) = words.next()?;
        let own = words.filter_map(|(owner, learned)| Some((owner?, learned))).collect();
        Some(Words { common, own })
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

    /// The position it has read up to, and how many rows that were; none while there is no model.
    fn extent(&self) -> Option<(i64, u64)> {
        let known = self.0.model.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|known| (known.position, known.rows))
    }

    fn change(&self, change: impl FnOnce(&mut Option<Checkpoint>)) {
        change(&mut self.0.model.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A judgement, for whom, and the words that spoke most for it.
type Heard = (Option<Owner>, Judgement, Vec<(u32, f32)>);

/// What the model says of one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    /// To everybody.
    pub common: Learned,
    /// To those who have taught it themselves.
    pub own: Vec<(Owner, Learned)>,
}

impl Words {
    /// What it says to one of them.
    pub fn to(&self, owner: Owner) -> &Learned {
        self.own.iter().find(|(known, _)| *known == owner).map_or(&self.common, |(_, learned)| learned)
    }
}

/// Those that spoke most for the judgement, the strongest first. Words and pairs may read alike: some more than are shown.
fn strongest(mut words: Vec<(u32, f32)>, judged: &Judgement) -> Vec<(u32, f32)> {
    words.retain(|(_, weight)| weight * judged.logit > 0.0);
    let stronger = |a: &(u32, f32), b: &(u32, f32)| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0));
    if words.len() > 2 * EVIDENCE {
        words.select_nth_unstable_by(2 * EVIDENCE, stronger);
        words.truncate(2 * EVIDENCE);
    }
    words.sort_unstable_by(stronger);
    words
}

/// Their texts, each once.
fn evidence(strongest: &[(u32, f32)], texts: &[(u32, String)]) -> String {
    let mut words: Vec<&str> = Vec::new();
    for (feature, _) in strongest {
        let text = texts.iter().find(|(known, _)| known == feature).map(|(_, text)| text.as_str());
        if let Some(text) = text.filter(|text| !words.contains(text)) {
            words.push(text);
        }
    }
    words.truncate(EVIDENCE);
    words.join(" ")
}

/// Follows the log for as long as the process lives.
pub struct Follower {
    store: Store,
    current: Current,
    checkpoint: Option<PathBuf>,
    /// What a model begins with.
    lexicon: Arc<Lexicon>,
    /// A model under way, while the old one judges on.
    beside: Option<Checkpoint>,
    /// Whether the log was seen to be the one that the model has read, lately.
    compared: bool,
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
    pub fn new(store: Store, current: Current, checkpoint: Option<PathBuf>, lexicon: Lexicon) -> Self {
        let lexicon = Arc::new(lexicon);
        Self {
            store,
            current,
            checkpoint,
            lexicon,
            beside: None,
            compared: false,
            written: (0, 0),
            trouble: None,
        }
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
                self.compared = false;
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
        let (path, current, words) =
            (self.checkpoint.clone(), self.current.clone(), self.lexicon.len() as u32);
        let work = move || {
            let _alone = current.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let (mut bytes, known) = {
                let known = current.0.model.read().unwrap_or_else(PoisonError::into_inner);
                let known = known.as_ref()?;
                let Checkpoint { epoch, position, ref model, .. } = *known;
                (known.unsealed(), (epoch, position, model.shown(), model.missed()))
            };
            let digest = checkpoint::seal(&mut bytes);
            if let Some(path) = path
                && let Err(error) = checkpoint::write(&path, &bytes)
            {
                let path = path.display();
                warn!(
                    "the model's checkpoint cannot be written: {path}: {error}; a start reads the whole log"
                );
            }
            let (epoch, position, shown, missed) = known;
            Some(ModelState { epoch, position, shown, missed, digest, words })
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
        let lexicon = Arc::clone(&self.lexicon);
        match tokio::task::spawn_blocking(move || Checkpoint::read(&path, &lexicon)).await {
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
            self.beside = Some(Checkpoint::new(epoch, &self.lexicon));
            return Step::More;
        }
        if let Some(step) = self.compare(epoch).await {
            return step;
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
            let words = self.lexicon.len();
            info!(spam, ham, position = made.position, words, "the model is made");
            self.current.change(|known| *known = Some(made));
        }
        Step::CaughtUp
    }

    /// Whether the log still has what the model has read, at the start and from time to time: rows that somebody took out, or a database
    /// that came back from a backup, leave the model with samples that nobody else has. None where all is well.
    async fn compare(&mut self, epoch: i64) -> Option<Step> {
        if self.compared || self.beside.is_some() {
            return None;
        }
        let (position, rows) = self.current.extent()?;
        match self.store.training_rows(position).await {
            Lookup::Found(found) if found == rows => {}
            Lookup::Found(found) => {
                warn!(
                    position,
                    "the training log has {found} rows up to where this model has read {rows}: rows are gone or came back; the model is made anew"
                );
                self.beside = Some(Checkpoint::new(epoch, &self.lexicon));
                self.compared = true;
                return Some(Step::More);
            }
            Lookup::None => {}
            Lookup::Unavailable(why) => return Some(Step::Away(why.to_string())),
            Lookup::Misconfigured(why) => return Some(Step::Wrong(why.to_string())),
        }
        self.compared = true;
        None
    }

    /// Learns rows on a thread for heavy work; false after a panic, which is a bug of ours. When the daemon ends meanwhile, what is half
    /// done is either thrown away (`beside`) or a model and its position of a moment ago.
    async fn learn(&mut self, rows: Vec<Logged>) -> bool {
        let (current, mut beside) = (self.current.clone(), self.beside.take());
        let work = move || {
            for row in &rows {
                let read = unpack(&row.sample).map(|raw| {
                    let message = Message::from_eml(&raw);
                    current.with_extractor(|extractor| extractor.read(&message).features)
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
                    known.rows += 1;
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
    match row.corrects {
        false => model.learn(features, owner, label, &judged),
        true => model.correct(features, owner, label, &judged),
    }
}

/// Words in the report.
const EVIDENCE: usize = 4;
/// Owners who are told what the model thinks for them; of a message to more, the others are told what it thinks for all.
const MAX_OWN: usize = 100;
/// Rows of one look; each sample is at most a quarter of a mebibyte, and mostly some kilobytes.
const BATCH: i64 = 100;
/// How often the log is looked at when nobody tells that it grew, and when somebody does.
const POLL: Duration = Duration::from_secs(2);
const HEARD: Duration = Duration::from_secs(30);
const CHECKPOINT_EVERY: Duration = Duration::from_secs(300);
