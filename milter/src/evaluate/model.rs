//! The arithmetic of fitting: weights within sane ranges that keep ham below 6 and lift spam above it, and stay near what a person chose.
//!
//! Minimised over the weights w, each within its [`Range`], by projected gradient steps (AdaGrad: each weight has its own step size):
//!
//! ```text
//!   mean over spam of  softplus(6 + 1 − score)
//! + cost · mean over ham of softplus(score − 6 + 2.5)
//! + 0.02 · Σ ((w − w₀) / width of its range)²
//! ```
//!
//! The score is the one of `score::judge`: groups are capped, so a group beyond its cap teaches nothing about its symbols. `cost` is the
//! smallest of [`COSTS`] that keeps the wanted share of ham below 6 and all of it below 15. A symbol that hardly hits stays where it was.
//! There is no chance in it: the same corpus gives the same weights.

use crate::rules::{Group, RULES};

/// One message as the model sees it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Whether it is spam.
    pub spam: bool,
    /// What belongs together.
    pub group: String,
    /// Places of the rules that hit, and how many times their weight they are worth.
    pub hits: Vec<(usize, f64)>,
}

/// The bounds of one weight.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    low: f64,
    high: f64,
}

impl Range {
    /// The range around the weight that a rule has now, so that a corpus corrects what a person chose and does not overrule him: a sign
    /// keeps its direction and a quarter of its points, and gets at most twice as many (half a point if that is more) and 1.5 more. Good
    /// signs can be forged, so they may shrink, never grow. A rule without points (it informs, or decides alone) keeps none.
    pub fn around(weight: f64) -> Self {
        match weight {
            0.0 => Self { low: 0.0, high: 0.0 },
            weight if weight < 0.0 => Self { low: weight, high: weight / 4.0 },
            weight => {
                let high = weight.max((2.0 * weight).max(0.5).min(weight + 1.5));
                Self { low: weight / 4.0, high }
            }
        }
    }

    fn width(self) -> f64 {
        (self.high - self.low).max(0.1)
    }

    /// Whether a weight is within, as far as it can be written in hundredths.
    pub fn contains(self, weight: f64) -> bool {
        (self.low - 0.05..=self.high + 0.05).contains(&weight)
    }
}

/// What weights do to samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Ham, and how much of it is marked and refused.
    pub ham: usize,
    /// Ham from 6 on.
    pub ham_marked: usize,
    /// Ham from 15 on.
    pub ham_refused: usize,
    /// Spam.
    pub spam: usize,
    /// Spam from 6 on.
    pub spam_marked: usize,
    /// Spam from 15 on.
    pub spam_refused: usize,
}

impl Outcome {
    /// Of these samples under these weights.
    pub fn of<'a>(samples: impl IntoIterator<Item = &'a Sample>, weights: &[f64]) -> Self {
        let mut outcome = Self::default();
        for (sample, score) in scored(samples, weights) {
            outcome.count(sample.spam, score);
        }
        outcome
    }

    /// One more message with that score.
    pub(super) fn count(&mut self, spam: bool, score: f64) {
        // As reports show it, to hundredths.
        let score = (score * 100.0).round() / 100.0;
        let (marked, refused) = (usize::from(score >= MARK), usize::from(score >= REFUSE));
        match spam {
            true => {
                self.spam += 1;
                self.spam_marked += marked;
                self.spam_refused += refused;
            }
            false => {
                self.ham += 1;
                self.ham_marked += marked;
                self.ham_refused += refused;
            }
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            ham: self.ham + other.ham,
            ham_marked: self.ham_marked + other.ham_marked,
            ham_refused: self.ham_refused + other.ham_refused,
            spam: self.spam + other.spam,
            spam_marked: self.spam_marked + other.spam_marked,
            spam_refused: self.spam_refused + other.spam_refused,
        }
    }

    /// Whether no ham is refused, and at most that share of it (0 to 1) marked.
    pub fn is_within(&self, ham_error: f64) -> bool {
        self.ham_refused == 0 && self.ham_marked as f64 <= ham_error * self.ham as f64
    }
}

/// Each sample with its score under these weights, to hundredths as reports show it.
pub fn scored<'a>(
    samples: impl IntoIterator<Item = &'a Sample>,
    weights: &[f64],
) -> impl Iterator<Item = (&'a Sample, f64)> {
    let places = Places::new();
    let score = move |sample| (places.score(sample, weights).1 * 100.0).round() / 100.0;
    samples.into_iter().map(move |sample| (sample, score(sample)))
}

/// The rules' own weights, in the order of the table.
pub fn present() -> Vec<f64> {
    RULES.iter().map(|rule| rule.weight).collect()
}

/// Fits weights to samples; `ham_error` is the share of ham (0 to 1) that may be marked. Rounded to tenths.
pub fn fit(samples: &[&Sample], start: &[f64], ham_error: f64) -> Vec<f64> {
    let places = Places::new();
    let (mut weights, mut best) = (start.to_vec(), start.to_vec());
    for cost in COSTS {
        // From where the cost before led to: half of the way is done.
        weights = descend(samples, start, weights, cost, &places);
        best = round(&weights, start);
        if Outcome::of(samples.iter().copied(), &best).is_within(ham_error) {
            break;
        }
    }
    best
}

/// The place of each rule's group in [`GROUPS`], and the groups' caps.
pub(super) struct Places {
    of_rule: Vec<usize>,
    caps: Vec<f64>,
}

impl Places {
    pub(super) fn new() -> Self {
        let place = |group: Group| GROUPS.iter().position(|known| *known == group).unwrap_or_default();
        Self {
            of_rule: RULES.iter().map(|rule| place(rule.group)).collect(),
            caps: GROUPS.iter().map(|group| group.cap()).collect(),
        }
    }

    /// A message's points for each group, not capped, and its score: groups capped, good signs outside the caps.
    pub(super) fn score(&self, sample: &Sample, weights: &[f64]) -> ([f64; GROUPS.len()], f64) {
        let (mut groups, mut good) = ([0.0; GROUPS.len()], 0.0);
        for (rule, factor) in &sample.hits {
            let points = weights[*rule] * factor;
            match points > 0.0 {
                true => groups[self.of_rule[*rule]] += points,
                false => good += points,
            }
        }
        (groups, good + groups.iter().zip(&self.caps).map(|(sum, cap)| sum.min(*cap)).sum::<f64>())
    }
}

fn descend(
    samples: &[&Sample],
    start: &[f64],
    mut weights: Vec<f64>,
    cost: f64,
    places: &Places,
) -> Vec<f64> {
    let mut seen = vec![0_usize; start.len()];
    for (rule, _) in samples.iter().flat_map(|sample| &sample.hits) {
        seen[*rule] += 1;
    }
    let range = |(weight, seen): (&f64, &usize)| match *seen < FEW {
        true => Range { low: *weight, high: *weight },
        false => Range::around(*weight),
    };
    let ranges: Vec<Range> = start.iter().zip(&seen).map(range).collect();
    let spam = samples.iter().filter(|sample| sample.spam).count().max(1) as f64;
    let ham = (samples.len() as f64 - spam).max(1.0);
    let mut steepness = vec![1e-8; weights.len()];
    for _ in 0..STEPS {
        let mut slope: Vec<f64> = weights
            .iter()
            .zip(start)
            .zip(&ranges)
            .map(|((weight, start), range)| 2.0 * PULL * (weight - start) / range.width().powi(2))
            .collect();
        for sample in samples {
            let (groups, score) = places.score(sample, &weights);
            let push = match sample.spam {
                true => -logistic(MARK + SPAM_MARGIN - score) / spam,
                false => cost * logistic(score - MARK + HAM_MARGIN) / ham,
            };
            for (rule, factor) in &sample.hits {
                let group = places.of_rule[*rule];
                if start[*rule] < 0.0 || groups[group] <= places.caps[group] {
                    slope[*rule] += push * factor;
                }
            }
        }
        for (((weight, slope), steepness), range) in
            weights.iter_mut().zip(&slope).zip(&mut steepness).zip(&ranges)
        {
            *steepness += slope * slope;
            *weight = (*weight - STEP * slope / steepness.sqrt()).clamp(range.low, range.high);
        }
    }
    weights
}

/// To tenths, but what was finer than that stays as fine as it was.
fn round(weights: &[f64], start: &[f64]) -> Vec<f64> {
    let to = |weight: f64, parts: f64| (weight * parts).round() / parts + 0.0;
    weights
        .iter()
        .zip(start)
        .map(|(weight, start)| to(*weight, if to(*start, 10.0) == *start { 10.0 } else { 100.0 }))
        .collect()
}

pub(super) fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The default thresholds.
const MARK: f64 = 6.0;
const REFUSE: f64 = 15.0;

/// How far beyond the threshold spam should be, and how far below it ham: the next corpus is a little different.
const SPAM_MARGIN: f64 = 1.0;
const HAM_MARGIN: f64 = 2.5;

/// How much a weight is drawn to where it was: as much as a change over its whole range is worth in mean loss.
const PULL: f64 = 0.02;

/// What ham's loss costs in times spam's.
pub const COSTS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Of how many messages a symbol must say something before its weight is moved.
const FEW: usize = 10;

const STEPS: usize = 150;
const STEP: f64 = 0.25;

const GROUPS: &[Group] = &[
    Group::Policies,
    Group::Envelope,
    Group::Headers,
    Group::Received,
    Group::Sender,
    Group::Recipients,
    Group::Subject,
    Group::Mime,
    Group::Html,
    Group::Urls,
    Group::Phishing,
    Group::Text,
    Group::Lists,
    Group::Learned,
    Group::Correspondents,
    Group::AddressLists,
    Group::NameLists,
    Group::Antivirus,
    Group::Composites,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn rule(symbol: &str) -> usize {
        RULES.iter().position(|rule| rule.symbol == symbol).unwrap()
    }

    #[test]
    fn every_rule_has_a_place_for_its_group_and_a_range_for_its_weight() {
        for known in &RULES {
            assert!(GROUPS.contains(&known.group), "{}", known.symbol);
            let range = Range::around(known.weight);
            assert!(range.contains(known.weight), "{}", known.symbol);
            assert!(range.low >= 0.0 || known.weight < 0.0, "{}", known.symbol);
            assert!(range.high <= 0.0 || known.weight > 0.0, "{}", known.symbol);
        }
    }

    #[test]
    fn what_only_spam_has_grows_and_what_ham_has_too_shrinks() {
        let (good, bad) = (rule("PHARMACY"), rule("MISSING_MID"));
        let sample = |spam, hits: &[(usize, f64)]| Sample { spam, group: String::new(), hits: hits.to_vec() };
        let mut samples = Vec::new();
        for _ in 0..50 {
            samples.push(sample(true, &[(good, 1.0), (bad, 1.0)]));
            // 7.5 points as it is: marked.
            samples.push(sample(false, &[(bad, 3.0)]));
        }
        let start = present();
        let samples: Vec<&Sample> = samples.iter().collect();
        let fitted = fit(&samples, &start, 0.0);
        assert!(fitted[bad] < start[bad], "{}", fitted[bad]);
        assert!(Outcome::of(samples.iter().copied(), &fitted).is_within(0.0));
        for ((weight, start), rule) in fitted.iter().zip(&start).zip(&RULES) {
            assert!(Range::around(*start).contains(*weight), "{}", rule.symbol);
        }
        let untouched = rule("BITCOIN_ADDR");
        assert_eq!(fitted[untouched], start[untouched]);
    }

    #[test]
    fn the_score_is_the_one_of_the_daemon() {
        let raw = b"Subject: x\n\nbody\n";
        let message = crate::message::Message::from_eml(raw);
        let envelope = crate::message::Envelope::new(crate::message::Direction::Inbound);
        let asked = crate::authentication::Authentication::not_asked();
        let facts = crate::facts::Facts::gather(&message, &envelope, &asked);
        let hits = crate::score::factors(&facts);
        let verdict = crate::score::judge(
            &facts,
            &crate::score::Weights::default(),
            &crate::score::Thresholds::default(),
        );
        let sample = Sample { spam: false, group: String::new(), hits };
        assert!((Places::new().score(&sample, &present()).1 - verdict.score).abs() < 0.011);
    }
}
