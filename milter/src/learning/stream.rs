//! How good the model is: a labelled stream played in order, each message judged and then learned.
//!
//! For `gatepost-milter evaluate --online`. The figures are those of the TREC spam track (Cormack and Lynam, "TREC 2005 Spam Track
//! Overview"): (1−ROCA)%, the chance in percent that a random ham looks spammier than a random spam, and how much spam is missed where one ham
//! in a thousand, or in ten thousand, is allowed to be wrong.

use std::collections::VecDeque;

use super::{Extractor, Features, Judgement, Label, Lexicon, Model};
use crate::message::Message;

/// How a stream is played.
#[derive(Debug, Clone, Copy, Default)]
pub struct Playing {
    /// The label of a message is told only after that many more were judged; 0 is immediate feedback.
    pub delay: usize,
    /// Only messages of which the model was not sure are told: people report what they see in the wrong folder, and little else.
    pub partial: bool,
}

/// A model that a stream is played to.
#[derive(Debug, Default)]
pub struct Player {
    model: Model,
    extractor: Extractor,
    playing: Playing,
    open: Option<(Features, Judgement)>,
    waiting: VecDeque<(Features, Label)>,
}

impl Player {
    /// A model that knows the words of a list.
    pub fn new(playing: Playing, lexicon: &Lexicon) -> Self {
        Self { model: Model::beginning(lexicon), playing, ..Self::default() }
    }

    /// Judges a message, and learns what is due.
    pub fn next(&mut self, message: &Message, label: Label) -> Judgement {
        let judged = self.look(message);
        self.tell(label);
        judged
    }

    /// Judges a message, of which [`Player::tell`] will say what it was.
    pub fn look(&mut self, message: &Message) -> Judgement {
        let features = self.extractor.read(message).features;
        let judged = self.model.judge(&features, None);
        self.open = Some((features, judged));
        judged
    }

    /// Says what the message was that was looked at last, and learns what is due.
    pub fn tell(&mut self, label: Label) {
        let Some((features, judged)) = self.open.take() else { return };
        // Where the model says nothing, nothing is in the right folder by its merit.
        let right = match label {
            Label::Spam => judged.probability > 0.5,
            Label::Ham => judged.probability < 0.5,
        };
        if self.playing.delay == 0 {
            if !self.playing.partial || !right {
                self.model.learn(&features, None, label, &judged);
            }
            return;
        }
        if !self.playing.partial || !right {
            self.waiting.push_back((features, label));
        }
        while self.waiting.len() > self.playing.delay {
            let Some((features, label)) = self.waiting.pop_front() else { break };
            let judged = self.model.judge(&features, None);
            self.model.learn(&features, None, label, &judged);
        }
    }

    /// Whether it was shown enough of both kinds, so that the rules would hear its word.
    pub fn is_heard(&self) -> bool {
        self.model.is_heard()
    }

    /// Judges only.
    pub fn judge(&mut self, message: &Message) -> Judgement {
        let features = self.extractor.read(message).features;
        self.model.judge(&features, None)
    }
}

/// One message of a stream and what was thought of it.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// What it is.
    pub label: Label,
    /// What was thought.
    pub judged: Judgement,
}

/// The figures of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Messages of either kind.
    pub spam: usize,
    /// Messages of either kind.
    pub ham: usize,
    /// Ham with a probability above one half.
    pub false_positives: usize,
    /// Spam with a probability of one half at most.
    pub false_negatives: usize,
    /// (1−ROCA)%, and its interval of 95 %.
    pub roca: Interval,
    /// The share of spam in percent that is missed where one ham in 1,000 may be wrong.
    pub missed_at_thousandth: f64,
    /// The same for one ham in 10,000.
    pub missed_at_ten_thousandth: f64,
    /// The mean of −ln of the probability given to the truth.
    pub log_loss: f64,
    /// For each tenth of probability: messages, their mean probability, and the share of spam among them.
    pub calibration: Vec<Tenth>,
}

/// A figure with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The figure.
    pub value: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

/// Messages whose probabilities fall into one tenth.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tenth {
    /// How many.
    pub messages: usize,
    /// Their mean probability.
    pub said: f64,
    /// The share of spam among them.
    pub spam: f64,
}

impl Figures {
    /// The figures of a stream; none unless it has both spam and ham.
    pub fn of(outcomes: &[Outcome]) -> Option<Self> {
        let of = |label| -> Vec<f64> {
            let mut scores: Vec<f64> =
                outcomes.iter().filter(|one| one.label == label).map(|one| one.judged.log_odds).collect();
            scores.sort_unstable_by(f64::total_cmp);
            scores
        };
        let (spam, ham) = (of(Label::Spam), of(Label::Ham));
        if spam.is_empty() || ham.is_empty() {
            return None;
        }
        let above = |one: &&Outcome| one.judged.probability > 0.5;
        Some(Self {
            false_positives: outcomes.iter().filter(|one| one.label == Label::Ham).filter(above).count(),
            false_negatives: spam.len()
                - outcomes.iter().filter(|one| one.label == Label::Spam).filter(above).count(),
            roca: roca(&spam, &ham),
            missed_at_thousandth: missed(&spam, &ham, 1_000),
            missed_at_ten_thousandth: missed(&spam, &ham, 10_000),
            log_loss: log_loss(outcomes),
            calibration: calibration(outcomes),
            spam: spam.len(),
            ham: ham.len(),
        })
    }
}

/// The area above the ROC curve in percent. Both sorted; equal scores count half.
///
/// The interval is DeLong's variance (Biometrics 44, 1988) on the logit of the area, so that it stays within 0 and 100.
fn roca(spam: &[f64], ham: &[f64]) -> Interval {
    // For each message the share of the other kind that it is confused with.
    let spam_placements: Vec<f64> =
        spam.iter().map(|&score| 1.0 - (below(ham, score) + not_above(ham, score)) / 2.0).collect();
    let ham_placements: Vec<f64> =
        ham.iter().map(|&score| (below(spam, score) + not_above(spam, score)) / 2.0).collect();
    let area = mean(&spam_placements);
    let variance = spread(&spam_placements) / spam.len() as f64 + spread(&ham_placements) / ham.len() as f64;
    // An area of 0 has no logit: half of the smallest area that these numbers could show.
    let least = 0.5 / (spam.len() as f64 * ham.len() as f64);
    let bounded = area.clamp(least, 1.0 - least);
    let logit = (bounded / (1.0 - bounded)).ln();
    let width = 1.96 * variance.sqrt() / (bounded * (1.0 - bounded));
    let back = |logit: f64| 100.0 / (1.0 + (-logit).exp());
    Interval { value: 100.0 * area, low: back(logit - width), high: back(logit + width) }
}

/// The shares of a sorted list that are below a score, and not above it.
fn below(sorted: &[f64], score: f64) -> f64 {
    sorted.partition_point(|&other| other < score) as f64 / sorted.len() as f64
}

fn not_above(sorted: &[f64], score: f64) -> f64 {
    sorted.partition_point(|&other| other <= score) as f64 / sorted.len() as f64
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample variance; 0 of one value.
fn spread(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() as f64 - 1.0).max(1.0)
}

/// The spam in percent that does not score above all ham but one in `one_in`.
fn missed(spam: &[f64], ham: &[f64], one_in: usize) -> f64 {
    let wrong = ham.len() / one_in;
    let threshold = ham.get(ham.len() - 1 - wrong).copied().unwrap_or(f64::INFINITY);
    100.0 * not_above(spam, threshold)
}

fn log_loss(outcomes: &[Outcome]) -> f64 {
    let loss = |one: &Outcome| {
        let truth = match one.label {
            Label::Spam => one.judged.probability,
            Label::Ham => 1.0 - one.judged.probability,
        };
        -truth.max(1e-9).ln()
    };
    outcomes.iter().map(loss).sum::<f64>() / outcomes.len() as f64
}

fn calibration(outcomes: &[Outcome]) -> Vec<Tenth> {
    let mut tenths = vec![Tenth::default(); 10];
    for one in outcomes {
        let at = ((one.judged.probability * 10.0) as usize).min(9);
        if let Some(tenth) = tenths.get_mut(at) {
            tenth.messages += 1;
            tenth.said += one.judged.probability;
            tenth.spam += if one.label == Label::Spam { 1.0 } else { 0.0 };
        }
    }
    for tenth in tenths.iter_mut().filter(|tenth| tenth.messages > 0) {
        tenth.said /= tenth.messages as f64;
        tenth.spam /= tenth.messages as f64;
    }
    tenths
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn outcome(label: Label, log_odds: f64, probability: f64) -> Outcome {
        Outcome { label, judged: Judgement { log_odds, probability, ..Judgement::default() } }
    }

    #[test]
    fn counts_pairs_in_the_wrong_order() {
        // Of the four pairs one is wrong and one is a tie: 1.5 of 4.
        let figures = Figures::of(&[
            outcome(Label::Spam, 2.0, 0.9),
            outcome(Label::Spam, 0.0, 0.5),
            outcome(Label::Ham, 1.0, 0.7),
            outcome(Label::Ham, 0.0, 0.5),
        ])
        .unwrap();
        assert_eq!(figures.roca.value, 37.5);
        assert!(figures.roca.low < 37.5 && figures.roca.high > 37.5);
        assert_eq!((figures.false_positives, figures.false_negatives), (1, 1));
        assert_eq!(figures.missed_at_thousandth, 50.0);
        assert_eq!(figures.calibration[5].messages, 2);
        assert_eq!(figures.calibration[5].spam, 0.5);
    }

    #[test]
    fn a_perfect_stream_has_no_area_and_an_honest_interval() {
        let stream: Vec<Outcome> = (0..100)
            .flat_map(|n| [outcome(Label::Spam, 1.0 + f64::from(n), 1.0), outcome(Label::Ham, -1.0, 0.0)])
            .collect();
        let figures = Figures::of(&stream).unwrap();
        assert_eq!(figures.roca.value, 0.0);
        assert!(figures.roca.high >= 0.0 && figures.log_loss < 1e-6);
        assert_eq!(figures.missed_at_ten_thousandth, 0.0);
        assert!(Figures::of(&stream[..1]).is_none());
    }

    #[test]
    fn delayed_labels_come_late_and_partial_ones_only_where_the_model_was_wrong() {
        let spam = Message::from_eml(b"Subject: cheap pills\n\nbuy cheap pills\n");
        let ham = Message::from_eml(b"Subject: minutes\n\nof the meeting\n");
        let shown = |playing, rounds: usize| {
            let mut player = Player::new(playing, &Lexicon::default());
            for _ in 0..rounds {
                player.next(&spam, Label::Spam);
                player.next(&ham, Label::Ham);
            }
            player.model.shown().iter().sum::<u64>()
        };
        assert_eq!(shown(Playing::default(), 10), 20);
        assert_eq!(shown(Playing { delay: 5, partial: false }, 10), 15);
        assert!(shown(Playing { delay: 0, partial: true }, 50) < 20);
    }
}
