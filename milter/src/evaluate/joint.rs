//! `gatepost-milter fit INDEX --online`: points for what the model thinks, beside those of the rules.
//!
//! The stream is played in its order, each message judged before it is learned ([`online`](super::online)), so the model has not seen what it
//! judges. Then, for each fold, the rules' weights are fitted to the other folds alone, and on top of them, to the same folds, the points of the
//! group `learned`; the fold is judged by both. So no message is judged by anything that was fitted or learned with it: the line to believe is
//! `held out`. Where `[milter.weights]` says what the rules' weights were before they saw this corpus, fitting starts there.
//!
//! Minimised over the weights at the far ends of the steps ([`learned::shares`]), rising from ham to spam, ham's below zero and spam's above:
//!
//! ```text
//!   mean over spam of  softplus((6 + 0.05 − score) / width)
//! + cost · mean over ham of softplus((score − 6 + 0.05) / width)
//! ```
//!
//! by coordinate descent in tenths of a point, the bend of the loss first wide and then sharp. Of many costs the result is taken that marks most
//! spam and no more than [`PART`] of the ham that may be marked, because the next corpus is a little different.

use std::fmt::Write;

use super::fit::{divide, line, shortened, title};
use super::model::{self, Outcome, Places, Sample, logistic};
use crate::rules::learned;
use crate::rules::{Group, RULES};

/// One message of the stream.
#[derive(Debug, Clone)]
pub struct Played {
    /// What the rules say of it.
    pub sample: Sample,
    /// What the model thought before it learned it; none while nobody would have heard it.
    pub probability: Option<f64>,
}

/// Fits, and renders what came of it. `start` are the rules' weights before they saw the corpus, `present` what they are.
pub fn report(stream: &[Played], start: &[f64], present: &[f64], folds: u64, ham_error: f64) -> String {
    let mut out = title(stream.iter().map(|played| &played.sample));
    let before = weights_of(present);
    let _ = writeln!(out, "# {:<24}{}", "as they are", line(&outcome(stream.iter(), present, &before)));
    let all: Vec<&Played> = stream.iter().collect();
    let curve = fit(&all, present, ham_error);
    let _ = writeln!(out, "# {:<24}{}", "fitted to all", line(&outcome(stream.iter(), present, &curve)));
    let samples: Vec<Sample> = stream.iter().map(|played| played.sample.clone()).collect();
    let mut held_out = Outcome::default();
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
        let _ = writeln!(out, "#   without {:<14}{}", shortened(&name), line(&found));
        held_out = held_out.plus(found);
    }
    let _ = writeln!(out, "# {:<24}{}\n[milter.weights]", "held out", line(&held_out));
    for (rule, (points, was)) in learned::RULES.iter().zip(curve.iter().zip(&before)) {
        let _ = writeln!(out, "{} = {points:?}  # was {was:?}", rule.symbol);
    }
    out
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
        let score = places.score(&played.sample, rules).1 + points(played.probability, curve);
        outcome.count(played.sample.spam, score);
    }
    outcome
}

fn points(probability: Option<f64>, curve: &[f64]) -> f64 {
    let shares = probability.map(learned::shares).unwrap_or_default();
    shares.into_iter().map(|(place, share)| curve[place] * share).sum()
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
        shares: played.probability.map(learned::shares).unwrap_or_default(),
    };
    let terms: Vec<Term> = stream.iter().map(term).collect();
    let mut curve = weights_of(&model::present());
    let mut best: Option<(usize, Vec<f64>)> = None;
    let mut cost = CHEAPEST;
    while cost < DEAREST {
        for width in WIDTHS {
            curve = descend(&terms, curve, cost, width);
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

fn descend(terms: &[Term], mut curve: Vec<f64>, cost: f64, width: f64) -> Vec<f64> {
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
            let score = term.rules + term.shares.iter().map(|(at, share)| curve[*at] * share).sum::<f64>();
            match term.spam {
                true => softplus((MARK + MARGIN - score) / width) / spam,
                false => cost * softplus((score - MARK + MARGIN) / width) / ham,
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

/// Rising over the places, ham's not above zero and spam's not below, all within the cap of the group; to tenths.
fn bounded(curve: &[f64], place: usize, points: f64) -> f64 {
    let ham = curve.len() / 2;
    let low = if place == 0 { LOWEST } else { curve[place - 1] };
    let high = curve.get(place + 1).copied().unwrap_or_else(|| Group::Learned.cap());
    let (low, high) = if place < ham { (low, high.min(0.0)) } else { (low.max(0.0), high) };
    (points.clamp(low, high) * 10.0).round() / 10.0 + 0.0
}

fn softplus(x: f64) -> f64 {
    match x > 30.0 {
        true => x,
        // ln(1 + eˣ).
        false => -(1.0 - logistic(x)).ln(),
    }
}

/// The default threshold; how far beyond it spam should be, and ham below it; how sharp the bend of the loss is there; in points.
const MARK: f64 = 6.0;
const MARGIN: f64 = 0.05;
const WIDTHS: [f64; 2] = [0.6, 0.25];

/// No more points for ham, however sure the model is: whoever copies somebody's wanted mail must not buy himself free of everything else.
const LOWEST: f64 = -6.0;

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
            probability: Some(probability),
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
        let curve = fit(&all, &model::present(), 0.0);
        assert!(curve.windows(2).all(|pair| pair[0] <= pair[1]), "{curve:?}");
        assert!(
            curve[..5].iter().all(|points| *points <= 0.0) && curve[5..].iter().all(|points| *points >= 0.0)
        );
        let found = outcome(stream.iter(), &model::present(), &curve);
        assert_eq!((found.ham_marked, found.spam_marked), (0, 200), "{curve:?}");
    }

    #[test]
    fn nothing_is_added_where_the_model_is_not_heard() {
        assert_eq!(points(None, &[9.0; 10]), 0.0);
        assert_eq!(points(Some(0.5), &[9.0; 10]), 0.0);
    }
}
