//! Group `learned`: what the model thinks, in steps of its probability. One of them hits, or none between 20 and 80 %.
//!
//! The names are SpamAssassin's (`BAYES_99`), with the side in the name. Weights: see README, "Learning".

use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;

/// The group's table.
pub const RULES: &[Rule] = &[
    BAYES_SPAM_999,
    BAYES_SPAM_99,
    BAYES_SPAM_95,
    BAYES_SPAM_80,
    BAYES_HAM_80,
    BAYES_HAM_95,
    BAYES_HAM_99,
    BAYES_HAM_999,
];

/// 99.9 % and more.
pub const BAYES_SPAM_999: Rule = Rule {
    symbol: "BAYES_SPAM_999",
    group: Group::Learned,
    weight: 8.0,
    summary: "what people have shown says spam: 99.9 % or more",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.999, f64::INFINITY)),
};

/// 99 to 99.9 %.
pub const BAYES_SPAM_99: Rule = Rule {
    symbol: "BAYES_SPAM_99",
    group: Group::Learned,
    weight: 7.2,
    summary: "what people have shown says spam: 99 to 99.9 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.99, 0.999)),
};

/// 95 to 99 %.
pub const BAYES_SPAM_95: Rule = Rule {
    symbol: "BAYES_SPAM_95",
    group: Group::Learned,
    weight: 6.5,
    summary: "what people have shown says spam: 95 to 99 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.95, 0.99)),
};

/// 80 to 95 %.
pub const BAYES_SPAM_80: Rule = Rule {
    symbol: "BAYES_SPAM_80",
    group: Group::Learned,
    weight: 3.0,
    summary: "what people have shown says spam: 80 to 95 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.8, 0.95)),
};

/// 5 to 20 %.
pub const BAYES_HAM_80: Rule = Rule {
    symbol: "BAYES_HAM_80",
    group: Group::Learned,
    weight: -1.0,
    summary: "what people have shown says wanted: 80 to 95 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.05, 0.2)),
};

/// 1 to 5 %.
pub const BAYES_HAM_95: Rule = Rule {
    symbol: "BAYES_HAM_95",
    group: Group::Learned,
    weight: -2.5,
    summary: "what people have shown says wanted: 95 to 99 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.01, 0.05)),
};

/// 0.1 to 1 %.
pub const BAYES_HAM_99: Rule = Rule {
    symbol: "BAYES_HAM_99",
    group: Group::Learned,
    weight: -4.0,
    summary: "what people have shown says wanted: 99 to 99.9 %",
    why: WHY,
    check: Check::Facts(|facts| within(facts, 0.001, 0.01)),
};

/// Less than 0.1 %.
pub const BAYES_HAM_999: Rule = Rule {
    symbol: "BAYES_HAM_999",
    group: Group::Learned,
    weight: -5.0,
    summary: "what people have shown says wanted: 99.9 % or more",
    why: WHY,
    check: Check::Facts(|facts| within(facts, f64::NEG_INFINITY, 0.001)),
};

const WHY: &str = "learned from the messages that this server's users moved into and out of Junk";

/// The model's word, if its probability is from `low` on and below `high`.
fn within(facts: &Facts, low: f64, high: f64) -> Option<Evidence> {
    let learned = facts.learned.as_ref()?;
    (low <= learned.probability && learned.probability < high)
        .then(|| Evidence::new(format!("{:.2}%: {}", learned.probability * 100.0, learned.evidence)))
}
