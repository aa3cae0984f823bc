//! `gatepost-milter fit INDEX --online`: points for what the model thinks, beside those of the rules.
//!
//! The stream is played in its order, each message judged before it is learned ([`online`](super::online)), so the model has not seen what it
//! judges, and the words that it begins with are of the other folds. Then, for each fold, the rules' weights are fitted to the other folds alone, and on top of them, to the same folds, the points of the
//! group `learned`; the fold is judged by both. So no message is judged by anything that was fitted or learned with it: the line to believe is
//! `held out`. Where `[milter.weights]` says what the rules' weights were before they saw this corpus, fitting starts there.
//!
//! Minimised over the weights at the far ends of the steps ([`learned::shares`]), rising from ham to spam, ham's below zero and spam's above:
//!
//! ```text
//!   mean over spam of  bend((6 + 0.05 − score) / width)
//! + cost · mean over ham of bend((score − 6 + 0.05) / width)
//! ```
//!
//! by coordinate descent in tenths of a point. The bend is first a softplus, which leads from anywhere, and then a logistic function, which counts
//! what is beyond the threshold once, however far: a few messages that no points can save must not move all others. Each is first wide and
//! then sharp. Of many costs the result is taken that marks most
//! spam and no more than [`PART`] of the ham that may be marked, because the next corpus is a little different.

use std::fmt::Write;

use super::fit::{divide, line, shortened, title};
use super::model::{self, Outcome, Places, Sample, logistic};
use crate::facts::Learned;
use crate::rules::learned;
use crate::rules::{Group, RULES};

/// One message of the stream.
#[derive(Debug, Clone)]
pub struct Played {
    /// What the rules say of it.
    pub sample: Sample,
    /// What the model thought before it learned it; none while nobody would have heard it.
    pub learned: Option<Learned>,
}

/// What one message came to by points that were fitted without its fold.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeldOut {
    /// All of it.
    pub score: f64,
    /// What of it the rules gave.
    pub rules: f64,
}

/// Fits, and renders what came of it, and what each message came to. `start` are the rules' weights before they saw the corpus, `present`
/// what they are.
pub fn report(
    stream: &[Played],
    start: &[f64],
    present: &[f64],
    folds: u64,
    ham_error: f64,
) -> (String, Vec<HeldOut>) {
    let mut out = title(stream.iter().map(|played| &played.sample));
    let before = weights_of(present);
    let _ = writeln!(out, "# {:<24}{}", "as they are", line(&outcome(stream.iter(), present, &before)));
    let all: Vec<&Played> = stream.iter().collect();
    let curve = fit(&all, present, ham_error);
    let _ = writeln!(out, "# {:<24}{}", "fitted to all", line(&outcome(stream.iter(), present, &curve)));
    let samples: Vec<Sample> = stream.iter().map(|played| played.sample.clone()).collect();
    let (mut held_out, mut scores) = (Outcome::default(), vec![HeldOut::default(); stream.len()]);
    for (name, fold) in divide(&samples, folds) {
        let learn: Vec<&Played> = stream
            .iter()
            .enumerate()
            .filter(|(place, _)| !fold.contains(place))
            .map(|(_, one)| one)
            .collect();
        let rules: Vec<&Sample> = learn.iter().map(|played| &played.sample).collect();
        let rules = model::fit(&rules, start, ham_error);
        let curve = fit(&learn, &rules, ham_error);
        let found = outcome(fold.iter().map(|place| &stream[*place]), &rules, &curve);
        let places = Places::new();
        for place in &fold {
            let rules = places.score(&stream[*place].sample, &rules).1;
            let score = rules + points(stream[*place].learned.as_ref(), &curve);
            scores[*place] = HeldOut { score, rules };
        }
        let _ = writeln!(out, "#   without {:<14}{}", shortened(&name), line(&found));
        held_out = held_out.plus(found);
    }
    let _ = writeln!(out, "# {:<24}{}\n[milter.weights]", "held out", line(&held_out));
    for (rule, (points, was)) in learned::RULES.iter().zip(curve.iter().zip(&before)) {
        let _ = writeln!(out, "{} = {points:?}  # was {was:?}", rule.symbol);
    }
    (out, scores)
}

/// The points of the group `learned` in all rules' weights, in the order of its table.
fn weights_of(weights: &[f64]) -> Vec<f64> {
    let learned = RULES.iter().zip(weights).filter(|(rule, _)| rule.group == Group::Learned);
    learned.map(|(_, weight)| *weight).collect()
}

fn outcome<'a>(stream: impl Iterator<Item = &'a Played>, rules: &[f64], curve: &[f64]) -> Outcome {
    let places = Places::new();
    let mut outcome = Outcome::default();
    for played in stream {
        let score = places.score(&played.sample, rules).1 + points(played.learned.as_ref(), curve);
        outcome.count(played.sample.spam, score);
    }
    outcome
}

fn points(learned: Option<&Learned>, curve: &[f64]) -> f64 {
    worth(&learned.map(learned::shares).unwrap_or_default(), curve)
}

/// The points of shares, within the bound of the group.
fn worth(shares: &[learned::Share], curve: &[f64]) -> f64 {
    shares.iter().map(|(place, share)| curve[*place] * share).sum::<f64>().min(Group::Learned.cap())
}

/// What one message brings to the loss.
struct Term {
    spam: bool,
    rules: f64,
    shares: Vec<learned::Share>,
}

fn fit(stream: &[&Played], rules: &[f64], ham_error: f64) -> Vec<f64> {
    let places = Places::new();
    let term = |played: &&Played| Term {
        spam: played.sample.spam,
        rules: places.score(&played.sample, rules).1,
        shares: played.learned.as_ref().map(learned::shares).unwrap_or_default(),
    };
    let terms: Vec<Term> = stream.iter().map(term).collect();
    let mut curve = weights_of(&model::present());
    let mut best: Option<(usize, Vec<f64>)> = None;
    let mut cost = CHEAPEST;
    while cost < DEAREST {
        for bend in BENDS {
            curve = descend(&terms, curve, cost, bend);
            let found = outcome(stream.iter().copied(), rules, &curve);
            if found.is_within(ham_error * PART)
                && best.as_ref().is_none_or(|(most, _)| found.spam_marked > *most)
            {
                best = Some((found.spam_marked, curve.clone()));
            }
        }
        cost *= 1.3;
    }
    // Where nothing is good enough, the dearest ham.
    best.map_or(curve, |(_, curve)| curve)
}

fn descend(terms: &[Term], mut curve: Vec<f64>, cost: f64, bend: Bend) -> Vec<f64> {
    let spam = terms.iter().filter(|term| term.spam).count().max(1) as f64;
    let ham = (terms.len() as f64 - spam).max(1.0);
    let of: Vec<Vec<usize>> = (0..curve.len())
        .map(|place| {
            let has = |term: &Term| term.shares.iter().any(|(at, share)| *at == place && *share > 0.0);
            terms.iter().enumerate().filter(|(_, term)| has(term)).map(|(number, _)| number).collect()
        })
        .collect();
    let loss = |curve: &[f64], numbers: &[usize]| -> f64 {
        let one = |number: &usize| {
            let term = &terms[*number];
            let score = term.rules + worth(&term.shares, curve);
            match term.spam {
                true => bend.of(MARK + MARGIN - score) / spam,
                false => cost * bend.of(score - MARK + MARGIN) / ham,
            }
        };
        numbers.iter().map(one).sum()
    };
    for _ in 0..ROUNDS {
        let mut moved = false;
        for place in 0..curve.len() {
            for step in [1.0, -1.0, 0.3, -0.3, 0.1, -0.1] {
                let before = loss(&curve, &of[place]);
                let mut next = curve.clone();
                next[place] = bounded(&curve, place, curve[place] + step);
                if loss(&next, &of[place]) < before - 1e-12 {
                    curve = next;
                    moved = true;
                }
            }
        }
        if !moved {
            break;
        }
    }
    curve
}

/// Rising over the places of the steps, ham's not above zero and spam's not below, all within the cap of the group; to tenths.
fn bounded(curve: &[f64], place: usize, points: f64) -> f64 {
    let ham = learned::STEPS / 2;
    let (low, high) = match place {
        _ if place >= learned::STEPS => (0.0, MOST_LIST_POST),
        _ if place + 1 == learned::STEPS => (curve[place - 1], Group::Learned.cap()),
        0 => (LOWEST, curve[1]),
        _ => (curve[place - 1], curve[place + 1].min(MOST[place])),
    };
    let (low, high) = if place < ham { (low, high.min(0.0)) } else { (low.max(0.0), high) };
    (points.clamp(low, high) * 10.0).round() / 10.0 + 0.0
}

/// The form of the loss, and how many points wide its bend is.
#[derive(Debug, Clone, Copy)]
enum Bend {
    Softplus(f64),
    Logistic(f64),
}

impl Bend {
    fn of(self, points: f64) -> f64 {
        match self {
            Self::Softplus(width) => softplus(points / width),
            Self::Logistic(width) => logistic(points / width),
        }
    }
}

fn softplus(x: f64) -> f64 {
    match x > 30.0 {
        true => x,
        // ln(1 + eˣ).
        false => -(1.0 - logistic(x)).ln(),
    }
}

/// The default threshold; how far beyond it spam should be, and ham below it; in points.
const MARK: f64 = 6.0;
const MARGIN: f64 = 0.05;
const BENDS: [Bend; 4] =
    [Bend::Softplus(0.6), Bend::Softplus(0.25), Bend::Logistic(0.6), Bend::Logistic(0.25)];

/// The most points of each step but the last: before 99.9 %, hardly more than it takes to mark a message, so that rules that err with the model do
/// not have it refused.
const MOST: [f64; learned::STEPS] = [0.0, 0.0, 0.0, 0.0, 0.0, 6.0, 6.0, 7.0, 10.0, 10.0];

/// No more points for ham, however sure the model is: whoever copies somebody's wanted mail must not buy himself free of everything else.
const LOWEST: f64 = -6.0;

/// No more points for a new thread on a list: by them alone nothing is marked.
const MOST_LIST_POST: f64 = 5.0;

/// How much of the ham that may be marked is marked of what is fitted to.
const PART: f64 = 0.8;

/// What ham's loss costs in times spam's: from there to there.
const CHEAPEST: f64 = 0.5;
const DEAREST: f64 = 400.0;

const ROUNDS: usize = 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn played(spam: bool, probability: f64) -> Played {
        Played {
            sample: Sample { spam, group: String::new(), hits: Vec::new() },
            learned: Some(Learned { probability, list_post: false, evidence: String::new() }),
        }
    }

    #[test]
    fn certain_spam_is_marked_and_points_rise() {
        let mut stream = Vec::new();
        for number in 0..200 {
            stream.push(played(true, 0.9 + f64::from(number % 10) / 101.0));
            stream.push(played(false, f64::from(number % 10) / 25.0));
        }
        let all: Vec<&Played> = stream.iter().collect();
        let whole = fit(&all, &model::present(), 0.0);
        let curve = &whole[..learned::STEPS];
        assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]), "{curve:?}");
        assert!(
            curve[..5].iter().all(|points| *points <= 0.0) && curve[5..].iter().all(|points| *points >= 0.0)
        );
        let found = outcome(stream.iter(), &model::present(), &whole);
        assert_eq!((found.ham_marked, found.spam_marked), (0, 200), "{curve:?}");
    }

    #[test]
    fn nothing_is_added_where_the_model_is_not_heard() {
        assert_eq!(points(None, &[9.0; 11]), 0.0);
        let undecided = Learned { probability: 0.5, list_post: true, evidence: String::new() };
        assert_eq!(points(Some(&undecided), &[9.0; 11]), 0.0);
    }

    #[test]
    fn a_list_adds_to_the_steps_within_the_bound_of_the_group() {
        let curve = [-6.0, -4.0, -2.0, -2.0, -1.0, 1.0, 3.0, 5.0, 9.0, 10.0, 4.0];
        let of = |probability, list_post| {
            points(Some(&Learned { probability, list_post, evidence: String::new() }), &curve)
        };
        assert!((of(0.95, false) - 3.0).abs() < 1e-9);
        assert!((of(0.95, true) - 7.0).abs() < 1e-9);
        assert_eq!(of(0.9999, true), 10.0);
        assert_eq!(of(0.1, true), of(0.1, false));
        assert_eq!(bounded(&curve, 10, 9.0), MOST_LIST_POST);
    }
}
