//! From facts to a verdict: every rule is asked once, composites after the others, groups are bounded, points are added.
//!
//! For `service` and `ask`. It is pure: same facts, weights and thresholds, same verdict.

use std::collections::BTreeMap;

use gatepost::mail::SmtpReply;

use crate::facts::Facts;
use crate::rules::{Check, Composite, Decision, Evidence, Group, RULES, Rule};
use crate::verdict::{Action, Hit, Verdict};

/// The points of every rule: its own, or what the configuration says.
#[derive(Debug, Clone)]
pub struct Weights(Vec<f64>);

/// From how many points on something is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Refused from here on.
    pub reject: f64,
    /// Marked from here on.
    pub add_header: f64,
}

impl Default for Thresholds {
    /// Rspamd's (`conf/actions.conf`).
    fn default() -> Self {
        Self { reject: 15.0, add_header: 6.0 }
    }
}

impl Weights {
    /// The rules' own weights, and what is given instead for some symbols. The configuration has refused symbols that no rule has.
    pub fn new(overrides: &BTreeMap<String, f64>) -> Self {
        Self(RULES.iter().map(|rule| overrides.get(rule.symbol).copied().unwrap_or(rule.weight)).collect())
    }

    fn of(&self, index: usize) -> f64 {
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

/// Asks every rule.
pub fn judge(facts: &Facts, weights: &Weights, thresholds: &Thresholds) -> Verdict {
    let (mut found, decision) = find(facts, weights);
    bound(&mut found);
    let symbols: Vec<Hit> = found.into_iter().map(Found::hit).collect();
    let score = round(symbols.iter().map(|hit| hit.weight).sum());
    Verdict {
        action: action(score, decision, thresholds),
        score,
        thresholds: *thresholds,
        symbols,
        missing: facts.missing.clone(),
    }
}

/// What each rule that hit is worth in times its weight, by its place in [`RULES`]: 0 where a composite replaces it. For fitting weights.
pub fn factors(facts: &Facts) -> Vec<(usize, f64)> {
    let ones = Weights(vec![1.0; RULES.len()]);
    let place = |found: &Found| RULES.iter().position(|rule| rule.symbol == found.rule.symbol);
    find(facts, &ones).0.iter().filter_map(|found| Some((place(found)?, found.points))).collect()
}

/// Asks every rule once; the points are not bounded yet.
fn find(facts: &Facts, weights: &Weights) -> (Vec<Found>, Option<Decision>) {
    let mut found: Vec<Found> = Vec::new();
    let mut decision = None;
    for (index, rule) in RULES.iter().enumerate() {
        let evidence = match rule.check {
            Check::Facts(check) => check(facts),
            Check::Decides(check, decides) => {
                let evidence = check(facts);
                if evidence.is_some() && decision.is_none() {
                    decision = Some(decides);
                }
                evidence
            }
            Check::Listed => facts.listed.evidence(rule.symbol).map(Evidence::new),
            Check::Composite(composite) => composed(&composite, &mut found),
        };
        if let Some(evidence) = evidence {
            let points = weights.of(index) * evidence.factor;
            found.push(Found { rule, points, evidence });
        }
    }
    (found, decision)
}

/// A rule that hit, before its points are final.
struct Found {
    rule: &'static Rule,
    points: f64,
    evidence: Evidence,
}

impl Found {
    fn hit(self) -> Hit {
        Hit { symbol: self.rule.symbol, weight: round(self.points), evidence: self.evidence.text }
    }
}

/// Whether a composite holds; if so, the symbols it replaces lose their points, and what remains of them is its evidence.
fn composed(composite: &Composite, found: &mut [Found]) -> Option<Evidence> {
    let has = |symbol: &&str| found.iter().any(|known| known.rule.symbol == *symbol);
    let holds = composite.all.iter().all(has)
        && composite.any.iter().all(|set| set.iter().any(has))
        && !composite.none.iter().any(has);
    if !holds {
        return None;
    }
    let mut seen: Vec<&str> = composite.all.to_vec();
    seen.extend(composite.any.iter().filter_map(|set| set.iter().copied().find(|symbol| has(symbol))));
    let evidence = Evidence::new(seen.join(", "));
    for known in found.iter_mut().filter(|known| composite.replaces.contains(&known.rule.symbol)) {
        known.points = 0.0;
    }
    Some(evidence)
}

/// Keeps each group within its bound: the points that exceed it are taken from the symbols that came last.
fn bound(found: &mut [Found]) {
    let mut sums: BTreeMap<Group, f64> = BTreeMap::new();
    for known in found.iter_mut().filter(|known| known.points > 0.0) {
        let sum = sums.entry(known.rule.group).or_default();
        known.points = known.points.min((known.rule.group.cap() - *sum).max(0.0));
        *sum += known.points;
    }
}

fn action(score: f64, decision: Option<Decision>, thresholds: &Thresholds) -> Action {
    match decision {
        Some(Decision::Reject(text)) => Action::Reject(SmtpReply::new(554, "5.7.1", text)),
        _ if score >= thresholds.reject => {
            Action::Reject(SmtpReply::new(554, "5.7.1", "Spam message rejected"))
        }
        Some(Decision::AddHeader) => Action::AddHeader,
        None if score >= thresholds.add_header => Action::AddHeader,
        None => Action::NoAction,
    }
}

/// To hundredths, as reports show them, so that the sum in a report is the score; never −0.
fn round(points: f64) -> f64 {
    (points * 100.0).round() / 100.0 + 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::authentication::Authentication;
    use crate::message::{Direction, Envelope, Message};

    fn judged(eml: &str, overrides: &[(&str, f64)]) -> Verdict {
        let message = Message::from_eml(eml.as_bytes());
        let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
        let overrides = overrides.iter().map(|(symbol, weight)| ((*symbol).to_owned(), *weight)).collect();
        judge(&facts, &Weights::new(&overrides), &Thresholds::default())
    }

    #[test]
    fn the_score_is_the_sum_of_what_the_report_shows() {
        let verdict = judged("Subject: x\n\nbody\n", &[]);
        assert_eq!(verdict.score, round(verdict.symbols.iter().map(|hit| hit.weight).sum()));
        assert!(verdict.has("MISSING_DATE") && verdict.has("MISSING_FROM"));
        assert_eq!(verdict.missing, ["spf", "dkim", "dmarc", "iprev"]);
    }

    #[test]
    fn a_weight_can_be_changed_and_thresholds_decide() {
        let quiet: Vec<(&str, f64)> = RULES.iter().map(|rule| (rule.symbol, 0.0)).collect();
        let with = |weight: f64| {
            let mut all = quiet.clone();
            all.push(("MISSING_DATE", weight));
            judged("Subject: x\n\nbody\n", &all)
        };
        assert_eq!(with(5.99).action, Action::NoAction);
        assert_eq!(with(6.0).action, Action::AddHeader);
        assert_eq!(with(-3.0).score, -3.0);
    }

    #[test]
    fn no_group_exceeds_its_bound() {
        let verdict = judged("\n\n", &[("MISSING_DATE", 100.0), ("MISSING_MID", 100.0)]);
        let headers: f64 = verdict
            .symbols
            .iter()
            .filter(|hit| crate::rules::find(hit.symbol).unwrap().group == Group::Headers)
            .map(|hit| hit.weight)
            .sum();
        assert_eq!(headers, Group::Headers.cap());
    }
}
