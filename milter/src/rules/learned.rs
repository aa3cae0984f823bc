//! Group `learned`: what the model thinks. One symbol of the ten steps hits, and its points grow with the log-odds of the probability. Mail by lists,
//! of which only the model can say something, has one more.
//!
//! The names are SpamAssassin's (`BAYES_99`), with the side in the name. A weight is what the far end of its step is worth; between there and
//! the far end of the step before, points are interpolated, from 0 at 50 % to all at 99.99 %. So a little more certainty is a few more points,
//! never a leap. How the weights were fitted: README, "Learning".

use super::{Check, Evidence, Group, Rule};
use crate::facts::Learned;

/// The group's table.
pub const RULES: &[Rule] = &[
    BAYES_HAM_999,
    BAYES_HAM_99,
    BAYES_HAM_95,
    BAYES_HAM_80,
    BAYES_HAM_50,
    BAYES_SPAM_50,
    BAYES_SPAM_80,
    BAYES_SPAM_95,
    BAYES_SPAM_99,
    BAYES_SPAM_999,
    BAYES_LIST_POST,
];

/// Less than 0.1 %.
pub const BAYES_HAM_999: Rule = Rule {
    symbol: "BAYES_HAM_999",
    group: Group::Learned,
    weight: -6.0,
    summary: "what people have shown says wanted: 99.9 % or more",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 0)),
};

/// 0.1 to 1 %.
pub const BAYES_HAM_99: Rule = Rule {
    symbol: "BAYES_HAM_99",
    group: Group::Learned,
    weight: -6.0,
    summary: "what people have shown says wanted: 99 to 99.9 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 1)),
};

/// 1 to 5 %.
pub const BAYES_HAM_95: Rule = Rule {
    symbol: "BAYES_HAM_95",
    group: Group::Learned,
    weight: -6.0,
    summary: "what people have shown says wanted: 95 to 99 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 2)),
};

/// 5 to 20 %.
pub const BAYES_HAM_80: Rule = Rule {
    symbol: "BAYES_HAM_80",
    group: Group::Learned,
    weight: -5.8,
    summary: "what people have shown says wanted: 80 to 95 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 3)),
};

/// 20 to 50 %.
pub const BAYES_HAM_50: Rule = Rule {
    symbol: "BAYES_HAM_50",
    group: Group::Learned,
    weight: -0.7,
    summary: "what people have shown says wanted: up to 80 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 4)),
};

/// 50 to 80 %.
pub const BAYES_SPAM_50: Rule = Rule {
    symbol: "BAYES_SPAM_50",
    group: Group::Learned,
    weight: 1.9,
    summary: "what people have shown says spam: up to 80 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 5)),
};

/// 80 to 95 %.
pub const BAYES_SPAM_80: Rule = Rule {
    symbol: "BAYES_SPAM_80",
    group: Group::Learned,
    weight: 6.0,
    summary: "what people have shown says spam: 80 to 95 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 6)),
};

/// 95 to 99 %.
pub const BAYES_SPAM_95: Rule = Rule {
    symbol: "BAYES_SPAM_95",
    group: Group::Learned,
    weight: 7.0,
    summary: "what people have shown says spam: 95 to 99 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 7)),
};

/// 99 to 99.9 %.
pub const BAYES_SPAM_99: Rule = Rule {
    symbol: "BAYES_SPAM_99",
    group: Group::Learned,
    weight: 10.0,
    summary: "what people have shown says spam: 99 to 99.9 %",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 8)),
};

/// 99.9 % and more.
pub const BAYES_SPAM_999: Rule = Rule {
    symbol: "BAYES_SPAM_999",
    group: Group::Learned,
    weight: 10.0,
    summary: "what people have shown says spam: 99.9 % or more",
    why: WHY,
    check: Check::Learned(|learned| step(learned, 9)),
};

/// A new thread on a list, and the model leans to spam.
pub const BAYES_LIST_POST: Rule = Rule {
    symbol: "BAYES_LIST_POST",
    group: Group::Learned,
    weight: 5.0,
    summary: "begins a thread on a mailing list, and what people have shown says spam",
    why: "a list hides from all other rules who sent it and how; and of the wanted mail that looks like spam, such as newsletters, hardly any \
          comes by lists",
    check: Check::Learned(|learned| {
        let share = list_post(learned)?;
        Some(Evidence::new(format!("{:.2}%", learned.probability * 100.0)).times(share))
    }),
};

const WHY: &str = "learned from the messages that this server's users moved into and out of Junk";

/// The lower ends of the steps, in the order of [`RULES`].
const LOW: [f64; 10] = [0.0, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999];
/// The far ends, where a step is worth its weight.
const FAR: [f64; 10] = [0.0001, 0.001, 0.01, 0.05, 0.2, 0.8, 0.95, 0.99, 0.999, 0.9999];

/// A rule's place in [`RULES`], and how many times its weight counts.
pub type Share = (usize, f64);

/// What of which weights the model's word is worth: of the weights at the two far ends that the probability lies between, or of one, where it
/// lies beyond all, or next to 50 %; and of [`BAYES_LIST_POST`]. Linear in the weights, so that they can be fitted.
pub fn shares(learned: &Learned) -> Vec<Share> {
    let mut shares = steps(learned.probability);
    shares.extend(list_post(learned).map(|share| (STEPS, share)));
    shares
}

/// How many of [`RULES`] are the steps of the probability, from ham to spam.
pub const STEPS: usize = FAR.len();

fn steps(probability: f64) -> Vec<Share> {
    let odds = odds(probability);
    let Some(at) = FAR.iter().position(|far| odds < self::odds(*far)) else {
        return vec![(FAR.len() - 1, 1.0)];
    };
    if at == 0 {
        return vec![(0, 1.0)];
    }
    let (below, above) = (at - 1, at);
    let (low, high) = (self::odds(FAR[below]), self::odds(FAR[above]));
    if low < 0.0 && high > 0.0 {
        // Nothing at 50 %, in the midst of the two.
        return match odds < 0.0 {
            true => vec![(below, odds / low)],
            false => vec![(above, odds / high)],
        };
    }
    let share = (odds - low) / (high - low);
    vec![(below, 1.0 - share), (above, share)]
}

/// How many times [`BAYES_LIST_POST`] counts: rising with the log-odds, without a leap.
fn list_post(learned: &Learned) -> Option<f64> {
    (learned.list_post && learned.probability > 0.5)
        .then(|| (odds(learned.probability) / odds(LEANS)).min(1.0))
}

/// From where on all of [`BAYES_LIST_POST`] counts.
const LEANS: f64 = 0.8;

/// The model's word, if its probability is within that step: worth the points of [`shares`], as a factor of the step's own weight.
fn step(learned: &Learned, place: usize) -> Option<Evidence> {
    let probability = learned.probability;
    let hit = LOW.iter().rposition(|low| *low <= probability)? == place && probability != 0.5;
    let weight = |place: usize| RULES.get(place).map_or(0.0, |rule| rule.weight);
    let points: f64 = steps(probability).into_iter().map(|(place, share)| share * weight(place)).sum();
    let factor = if weight(place) == 0.0 { 1.0 } else { points / weight(place) };
    hit.then(|| Evidence::new(format!("{:.2}%: {}", probability * 100.0, learned.evidence)).times(factor))
}

/// The log-odds, within what the steps tell apart.
fn odds(probability: f64) -> f64 {
    let bounded = probability.clamp(FAR[0], FAR[FAR.len() - 1]);
    (bounded / (1.0 - bounded)).ln()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// The symbol that hits, and its points.
    fn points(probability: f64) -> Vec<(&'static str, f64)> {
        said(probability, false)
    }

    fn said(probability: f64, list_post: bool) -> Vec<(&'static str, f64)> {
        let learned = Learned { probability, list_post, evidence: String::new() };
        let hit = |rule: &Rule| match rule.check {
            Check::Learned(check) => {
                check(&learned).map(|evidence| (rule.symbol, rule.weight * evidence.factor))
            }
            _ => None,
        };
        RULES.iter().filter_map(hit).collect()
    }

    #[test]
    fn one_symbol_hits_and_points_rise_without_a_leap() {
        assert_eq!(points(0.5), []);
        let mut before = points(0.0)[0].1;
        assert_eq!(before, BAYES_HAM_999.weight);
        for step in 1..10_000 {
            let odds = f64::from(step - 5_000) / 500.0;
            let probability = 1.0 / (1.0 + (-odds).exp());
            let found = points(probability);
            assert!(found.len() == 1 || probability == 0.5, "{probability}: {found:?}");
            let now = found.first().map_or(0.0, |found| found.1);
            assert!((now - before).abs() < 0.02 && now >= before - 1e-9, "{probability}: {before} {now}");
            assert!(now * odds >= 0.0, "{probability}: {now}");
            before = now;
        }
        assert_eq!(points(1.0)[0].1, BAYES_SPAM_999.weight);
    }

    #[test]
    fn at_the_far_end_of_a_step_its_weight_counts() {
        for (far, rule) in FAR.iter().zip(RULES) {
            let found: f64 = steps(*far).iter().map(|(place, share)| RULES[*place].weight * share).sum();
            assert!((found - rule.weight).abs() < 1e-9, "{}", rule.symbol);
        }
    }
    #[test]
    fn a_new_thread_on_a_list_counts_more_and_without_a_leap() {
        assert_eq!(said(0.5, true), []);
        assert_eq!(said(0.3, true), points(0.3), "what is like ham stays what it is");
        let all = |probability| {
            let found = said(probability, true).into_iter().find(|(symbol, _)| *symbol == "BAYES_LIST_POST");
            found.map(|(_, points)| points).unwrap()
        };
        assert!(all(0.501) < 0.02 * BAYES_LIST_POST.weight);
        assert!(all(0.65) > all(0.6));
        assert!((all(0.8) - BAYES_LIST_POST.weight).abs() < 1e-9);
        assert_eq!(all(0.999), BAYES_LIST_POST.weight);
    }

    #[test]
    fn the_model_alone_never_refuses_mail() {
        let most: f64 = RULES.iter().map(|rule| rule.weight).filter(|weight| *weight > 0.0).sum();
        assert!(most > Group::Learned.cap() && Group::Learned.cap() < 15.0);
    }
}
