//! What has been learned: a probability for a message, and one step for each sample.
//!
//! For the service, `ask` and [`stream`](super::stream). Each view of a message ([`Features`]) has a logistic regression of its own; their
//! log-odds are added, because views that err differently are better together than one model over everything, and no weight between
//! them has to be chosen. Weights are learned online, one sample after the other, with AdaGrad's step sizes for every feature (Duchi, Hazan, Singer
//! 2011), and only from samples that were judged wrong or nearly so (Goodman and Yih, "Online discriminative spam filter training",
//! CEAS 2006; Sculley and Wachman, SIGIR 2007).
//!
//! With x = 1/√n for each of a message's n features in a view:
//!
//! ```text
//! logit(view) = Σ w·x        p(view) = σ(logit(view))        e = label − p(view)
//! if |e| > MARGIN:   g ← g + e²,   w ← w + STEP·e·x / √(FLOOR + g)      for each feature; HAM times that for ham
//! ```
//!
//! The log-odds that are added are bounded softly, L·tanh(logit / L), so that one view that is very sure, as the header of a mailing list makes it,
//! does not silence the others.
//!
//! The sum of the log-odds is surer than it should be (the views see the same message), and on a server that has learned little it is much
//! surer; so it is calibrated, by numbers that are learned along from what each sample was judged before it was learned
//! ([`calibration`](super::calibration)).
//!
//! What was judged wrong is kept for a while and shown again ([`replay`](super::replay)).
//!
//! It begins with the words of a list ([`lexicon`](super::lexicon)): where a list gives a word a weight, that is where its weight begins.
//!
//! A mailbox owner has a fourth view of his own: the words, hashed together with his address. It counts [`OWN`] times, so that what he said himself
//! stands against what all others say. His samples teach the common views too; but once he has said [`FAIR`] times as much as the others on
//! average, only what his own view does not know yet, and in steps that are as much smaller as he is louder; and his steps shrink with the share of
//! his samples that contradict what all others have made sure, down to none. The operator's samples
//! (without owner) always count in full.
//!
//! One table of 2^22 slots serves the views: 16 MiB of weights and 8 MiB of curvature. Features that share a slot share a weight.

use super::calibration::Calibration;
use super::features::{Features, TABLE_BITS, of_owner};
use super::kind::Kind;
use super::lexicon::Lexicon;
use super::owners::{Owner, Owners, RELIABLE};
use super::replay::{self, Errors};

/// The size of a step. Chosen on the development set from 2 to 16, as were the next two.
const STEP: f32 = 12.0;
/// How much larger a step is for ham: wanted mail that is missed costs more than spam that is seen, and newsletters are the hard ones. Tried: 0.7
/// to 3.
const HAM: f32 = 1.5;
/// Samples with a smaller error teach a view nothing.
const MARGIN: f32 = 0.1;
/// What the first step of a feature is divided by, squared.
const FLOOR: f32 = 0.1;
/// The unit of stored curvature: e² ≥ 0.01, and 255 of these steps of 1 saturate 16 bits.
const CURVATURE: f32 = 1.0 / 256.0;

/// The most log-odds that a view brings into the sum. Tried: 2 to 8, and none.
const MOST: f32 = 6.0;

/// What an owner's own view weighs in times a common one: as much as the three together.
const OWN: f32 = 3.0;
/// Steps that a correction takes at most until the message is on its right side by [`MARGIN`].
const CORRECTION: usize = 8;
/// The log-odds on which a correction ends.
const SETTLED: f32 = 2.0;
/// Samples of each kind before anybody hears what it thinks.
const HANDFUL: u64 = 5;
/// What somebody says a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Label {
    /// Not wanted.
    Spam,
    /// Wanted.
    Ham,
}

impl Label {
    /// The word in index files, tables and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Ham => "ham",
        }
    }

    fn opposite(self) -> Self {
        if self == Self::Spam { Self::Ham } else { Self::Spam }
    }

    /// 1 for spam.
    pub(super) fn target(self) -> f32 {
        if self == Self::Spam { 1.0 } else { 0.0 }
    }
}

/// What the model thinks of a message.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Judgement {
    /// The log-odds of each view: header, body, words, the owner's words.
    pub(super) views: [f32; 4],
    /// Their sum, each bounded.
    pub logit: f32,
    /// What kind of mail it is.
    pub kind: Kind,
    /// The calibrated log-odds that it is spam, however little was seen yet: for ranking.
    pub log_odds: f64,
    /// The calibrated probability that it is spam, 0 to 1.
    pub probability: f64,
}

/// The weights, and what they were learned from.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(super) weights: Vec<f32>,
    /// The digest of the list that it began with.
    pub(super) began: u64,
    pub(super) curvature: Vec<u16>,
    pub(super) calibration: Calibration,
    /// What was judged wrong last.
    pub(super) errors: Errors,
    /// Samples shown so far: spam, ham.
    pub(super) shown: [u64; 2],
    /// Of them, those that were judged wrong before they were learned: spam, ham.
    pub(super) missed: [u64; 2],
    /// What each owner has shown.
    pub(super) owners: Owners,
}

impl Default for Model {
    /// A model that knows nothing.
    fn default() -> Self {
        let size = 1 << TABLE_BITS;
        Self {
            weights: vec![0.0; size],
            began: 0,
            curvature: vec![0; size],
            calibration: Calibration::default(),
            errors: Errors::default(),
            shown: [0; 2],
            missed: [0; 2],
            owners: Owners::default(),
        }
    }
}

impl Model {
    /// A model that knows the words of a list and has been taught nothing.
    pub fn beginning(lexicon: &Lexicon) -> Self {
        let mut model = Self { began: lexicon.digest(), ..Self::default() };
        for (feature, known) in lexicon.weights() {
            if let Some(weight) = model.weights.get_mut(feature as usize) {
                *weight += known;
            }
        }
        model
    }

    /// Judges for an owner, or for nobody in particular; changes nothing.
    pub fn judge(&self, features: &Features, owner: Option<Owner>) -> Judgement {
        let [header, body, words] = views(features).map(|view| self.logit(view.iter().copied()));
        let own = owner.map_or(0.0, |owner| self.logit(of_owner(&features.words, owner)));
        let views = [header, body, words, own];
        let logit = (bounded(header) + bounded(body)) + (bounded(words) + OWN * bounded(own));
        let kind = features.kind;
        let log_odds = self.calibration.log_odds(logit, kind);
        Judgement {
            views,
            logit,
            kind,
            log_odds,
            probability: Calibration::probability(log_odds, self.shown),
        }
    }

    /// Shows a sample of an owner and what was thought of it, which must be what [`Model::judge`] says now.
    pub fn learn(&mut self, features: &Features, owner: Option<Owner>, label: Label, judged: &Judgement) {
        self.owners.count(owner, label, judged);
        self.calibration.learn(judged, label);
        self.step_all(features, owner, label, judged);
        self.replay(features, owner, label, judged);
        let [shown, missed] = self.counts(label);
        *shown += 1;
        *missed += u64::from((judged.probability > 0.5) != (label == Label::Spam));
    }

    /// Shows a sample of which the same owner said the opposite before: repeated until the message is on its right side, so that the
    /// new word replaces the old one. It is one sample still, of the other kind; what was thought of it was thought of the first word.
    pub fn correct(&mut self, features: &Features, owner: Option<Owner>, label: Label, judged: &Judgement) {
        self.errors.forget(owner, features);
        self.owners.count(owner, label, judged);
        self.calibration.learn(judged, label);
        self.step_all(features, owner, label, judged);
        for _ in 0..CORRECTION {
            let judged = self.judge(features, owner);
            if label.target() == 1.0 && judged.logit > SETTLED
                || label.target() == 0.0 && judged.logit < -SETTLED
            {
                break;
            }
            self.step_all(features, owner, label, &judged);
        }
        self.replay(features, owner, label, judged);
        let [shown, missed] = self.counts(label.opposite());
        *shown = shown.saturating_sub(1);
        *missed = (*missed).min(*shown);
        let [shown, _] = self.counts(label);
        *shown += 1;
    }

    /// The samples shown of one kind, and those of them that were judged wrong.
    fn counts(&mut self, label: Label) -> [&mut u64; 2] {
        let ([spam, ham], [missed_spam, missed_ham]) = (&mut self.shown, &mut self.missed);
        match label {
            Label::Spam => [spam, missed_spam],
            Label::Ham => [ham, missed_ham],
        }
    }

    /// One step of every view that errs.
    fn step_all(&mut self, features: &Features, owner: Option<Owner>, label: Label, judged: &Judgement) {
        let (fair, trust) = self.owners.standing(owner);
        let [header, body, words, own] = judged.views;
        if fair == 1.0 || (label.target() - sigmoid(own)).abs() > MARGIN {
            for (view, logit) in views(features).into_iter().zip([header, body, words]) {
                self.step(view.iter().copied(), logit, label, fair * trust);
            }
        }
        if let Some(owner) = owner {
            self.step(of_owner(&features.words, owner), own, label, 1.0);
        }
    }

    /// Keeps a sample that was judged wrong, and shows some of those kept again. Who teaches too much, or says what all others know to be
    /// wrong, is heard once.
    fn replay(&mut self, features: &Features, owner: Option<Owner>, label: Label, judged: &Judgement) {
        self.errors.save();
        let (fair, trust) = self.owners.standing(owner);
        let error = (f64::from(label.target()) - judged.probability).abs();
        if error <= replay::HARD || fair * trust < RELIABLE {
            return;
        }
        self.errors.keep(owner, label, features);
        let mut errors = std::mem::take(&mut self.errors);
        for sample in errors.again() {
            let judged = self.judge(&sample.features, sample.owner);
            self.step_all(&sample.features, sample.owner, sample.label, &judged);
        }
        self.errors = errors;
    }

    /// Whether it has seen enough of both kinds to be heard: a handful.
    pub fn is_heard(&self) -> bool {
        self.shown.iter().all(|&shown| shown >= HANDFUL)
    }

    /// Whether that owner has a view of his own: whether he has ever taught.
    pub fn knows(&self, owner: Owner) -> bool {
        self.owners.knows(owner)
    }

    /// How many samples of spam and of ham were shown.
    pub fn shown(&self) -> [u64; 2] {
        self.shown
    }

    /// Of these, how many were judged wrong before they were learned.
    pub fn missed(&self) -> [u64; 2] {
        self.missed
    }

    /// What each of the words adds to the log-odds of a message, for an owner or for nobody in particular.
    pub fn contributions(&self, words: &[u32], owner: Option<Owner>) -> Vec<(u32, f32)> {
        let scale = scale(words.len());
        let mut found: Vec<(u32, f32)> =
            words.iter().map(|&feature| (feature, self.weight(feature) * scale)).collect();
        if let Some(owner) = owner {
            for ((_, sum), own) in found.iter_mut().zip(of_owner(words, owner)) {
                *sum += OWN * self.weight(own) * scale;
            }
        }
        found
    }

    fn weight(&self, feature: u32) -> f32 {
        self.weights.get(feature as usize).copied().unwrap_or_default()
    }

    fn logit(&self, view: impl ExactSizeIterator<Item = u32>) -> f32 {
        let scale = scale(view.len());
        // Eight sums at once, because each addition waits for the one before; and in one order for all hosts, because the same numbers
        // added in another order give other last bits.
        let mut sums = [0.0f32; 8];
        for (number, feature) in view.enumerate() {
            if let Some(sum) = sums.get_mut(number % 8) {
                *sum += self.weight(feature);
            }
        }
        sums.iter().sum::<f32>() * scale
    }

    fn step(&mut self, view: impl ExactSizeIterator<Item = u32>, logit: f32, label: Label, size: f32) {
        let error = label.target() - sigmoid(logit);
        if error.abs() <= MARGIN {
            return;
        }
        let curvature = (error * error / CURVATURE).round() as u16;
        let step = STEP * size * error * scale(view.len()) * if label == Label::Ham { HAM } else { 1.0 };
        for feature in view {
            let at = feature as usize;
            if let (Some(weight), Some(known)) = (self.weights.get_mut(at), self.curvature.get_mut(at)) {
                *known = known.saturating_add(curvature);
                *weight += step / (FLOOR + f32::from(*known) * CURVATURE).sqrt();
            }
        }
    }
}

fn views(features: &Features) -> [&[u32]; 3] {
    [&features.header, &features.body, &features.words]
}

/// Each of a view's features, so that the view has length one.
fn scale(count: usize) -> f32 {
    1.0 / (count.max(1) as f32).sqrt()
}

/// Log-odds as they are added: next to the same where they are small, [`MOST`] at most.
fn bounded(logit: f32) -> f32 {
    MOST * libm::tanhf(logit / MOST)
}

/// The same on every host, unlike the C library's `exp`.
fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-logit))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::learning::Extractor;
    use crate::message::Message;

    fn sample(subject: &str, body: &str) -> Features {
        let eml = format!("From: a@example.org\nSubject: {subject}\n\n{body}\n");
        Extractor::default().read(&Message::from_eml(eml.as_bytes())).features
    }

    fn taught(rounds: usize) -> Model {
        let mut model = Model::default();
        for _ in 0..rounds {
            for (features, label) in [
                (sample("cheap pills", "buy cheap pills now"), Label::Spam),
                (sample("minutes of the meeting", "the minutes are attached"), Label::Ham),
            ] {
                let judged = model.judge(&features, None);
                model.learn(&features, None, label, &judged);
            }
        }
        model
    }

    #[test]
    fn knows_nothing_at_first_and_then_what_it_was_shown() {
        let like_spam = sample("pills", "cheap pills");
        let like_ham = sample("minutes", "the minutes of the meeting");
        assert_eq!(Model::default().judge(&like_spam, None).probability, 0.5);
        let model = taught(20);
        assert!(model.judge(&like_spam, None).probability > 0.8);
        assert!(model.judge(&like_ham, None).probability < 0.2);
        assert_eq!(model.shown(), [20, 20]);
    }

    #[test]
    fn is_no_surer_than_the_samples_of_the_rarer_kind_allow() {
        let mut model = Model::default();
        let spam = sample("cheap pills", "buy cheap pills now");
        for _ in 0..500 {
            let judged = model.judge(&spam, None);
            model.learn(&spam, None, Label::Spam, &judged);
        }
        assert_eq!(model.judge(&spam, None).probability, 0.5, "spam alone proves nothing");
        let model = taught(2);
        // 3^1.5 to one.
        assert!(model.judge(&spam, None).probability <= 0.8387);
    }

    #[test]
    fn the_same_samples_in_the_same_order_give_the_same_model() {
        assert!(taught(5) == taught(5));
    }

    #[test]
    fn what_is_known_well_teaches_nothing() {
        let mut model = taught(50);
        let before = model.weights.clone();
        let spam = sample("cheap pills", "buy cheap pills now");
        let judged = model.judge(&spam, None);
        model.learn(&spam, None, Label::Spam, &judged);
        assert!(model.weights == before);
    }

    #[test]
    fn a_correction_replaces_the_word_before() {
        let mut model = taught(20);
        let newsletter = sample("cheap flights", "buy cheap tickets now");
        let judged = model.judge(&newsletter, None);
        model.learn(&newsletter, None, Label::Spam, &judged);
        let [spam, ham] = model.shown();
        let judged = model.judge(&newsletter, None);
        model.correct(&newsletter, None, Label::Ham, &judged);
        assert!(model.judge(&newsletter, None).probability < 0.5);
        assert_eq!(model.shown(), [spam - 1, ham + 1], "one message, one sample");
    }

    #[test]
    fn what_was_judged_wrong_is_kept_until_its_owner_says_the_opposite() {
        let mut model = Model::default();
        let newsletter = sample("cheap flights", "buy cheap tickets now");
        let ann = Some(Owner::new("ann@example.org"));
        let judged = model.judge(&newsletter, ann);
        model.learn(&newsletter, ann, Label::Spam, &judged);
        assert_eq!(model.errors.samples.len(), 1);
        let judged = model.judge(&newsletter, ann);
        model.correct(&newsletter, ann, Label::Ham, &judged);
        let kept: Vec<Label> = model.errors.samples.iter().map(|sample| sample.label).collect();
        assert_eq!(kept, [Label::Ham], "the new word, and not the old one");
    }

    #[test]
    fn who_says_the_opposite_of_all_others_is_not_repeated() {
        let (ham, spam) = (sample("minutes", "of the meeting"), sample("cheap pills", "buy pills"));
        let mut model = Model::default();
        let show = |model: &mut Model, features: &Features, owner: &str, label| {
            let judged = model.judge(features, Some(Owner::new(owner)));
            model.learn(features, Some(Owner::new(owner)), label, &judged);
        };
        for _ in 0..20 {
            for owner in ["ann", "bob", "cid"] {
                show(&mut model, &ham, owner, Label::Ham);
                show(&mut model, &spam, owner, Label::Spam);
            }
        }
        for _ in 0..40 {
            show(&mut model, &ham, "mallory", Label::Spam);
        }
        let his = |sample: &&replay::Sample| sample.owner == Some(Owner::new("mallory"));
        assert!(model.errors.samples.iter().filter(his).count() <= 2);
    }

    #[test]
    fn the_kinds_of_mail_are_calibrated_apart() {
        let mut model = taught(30);
        let mut post = sample("something new", "that nobody has seen");
        let before = model.judge(&post, None);
        for kind in [Kind::ListPost, Kind::ListReply] {
            let label = if kind == Kind::ListPost { Label::Spam } else { Label::Ham };
            post.kind = kind;
            for _ in 0..30 {
                let judged = model.judge(&post, None);
                // The views learn nothing here, only what their word is worth.
                model.calibration.learn(&judged, label);
            }
        }
        let mut of = |kind| {
            post.kind = kind;
            model.judge(&post, None)
        };
        let (new, answer) = (of(Kind::ListPost), of(Kind::ListReply));
        assert_eq!((new.views, answer.views), (before.views, before.views));
        assert!(new.log_odds > answer.log_odds + 1.0, "{new:?} {answer:?}");
    }

    #[test]
    fn one_owner_of_many_cannot_change_what_the_others_wanted() {
        let honest = ["ann", "bob", "cid", "dan", "eve", "fay", "gus", "hal", "ida"].map(Owner::new);
        let mallory = Owner::new("mallory");
        let ham = sample("minutes of the meeting", "the minutes are attached");
        let spam = sample("cheap pills", "buy cheap pills now");
        let mut model = Model::default();
        let show = |model: &mut Model, features: &Features, owner, label| {
            let judged = model.judge(features, Some(owner));
            model.learn(features, Some(owner), label, &judged);
        };
        for _ in 0..10 {
            for owner in honest {
                show(&mut model, &ham, owner, Label::Ham);
                show(&mut model, &spam, owner, Label::Spam);
            }
        }
        for _ in 0..1_000 {
            show(&mut model, &ham, mallory, Label::Spam);
        }
        assert!(model.judge(&ham, Some(mallory)).probability > 0.5, "he has what he wants");
        for owner in honest {
            assert!(model.judge(&ham, Some(owner)).probability < 0.5, "and they what they want");
        }
    }
}
