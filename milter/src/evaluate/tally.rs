//! What the rules did to ham and to spam: counts, and their printed form.
//!
//! ```text
//! messages        10461 ham      4310 spam
//! mean score      -0.52 ham      8.31 spam
//!
//! threshold              ham at or above         spam below
//!      6.00         12 of 10461 ( 0.11 %)  1612 of 4310 (37.40 %)
//!     15.00          0 of 10461 ( 0.00 %)  3702 of 4310 (85.89 %)
//!
//! scores               ham            spam
//!  -1 to   0    4711 (45.03 %)    97 ( 2.25 %)
//!
//! symbols                      points             ham            spam
//! PHISHING                       4.00     3 ( 0.03 %)   201 ( 4.66 %)
//! ```

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::rules::RULES;
use crate::verdict::Verdict;

/// Counts over a corpus.
#[derive(Debug, Default)]
pub struct Tally {
    /// The scores of each class, ham first.
    scores: [Vec<f64>; 2],
    symbols: BTreeMap<&'static str, Hits>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Hits {
    messages: [usize; 2],
    points: f64,
}

impl Tally {
    /// One more message.
    pub fn count(&mut self, spam: bool, verdict: &Verdict) {
        let class = usize::from(spam);
        self.scores[class].push(verdict.score);
        for hit in &verdict.symbols {
            let hits = self.symbols.entry(hit.symbol).or_default();
            hits.messages[class] += 1;
            hits.points += hit.weight;
        }
    }

    /// Ham that a threshold takes for spam.
    pub fn false_positives(&self, threshold: f64) -> usize {
        self.scores[0].iter().filter(|score| **score >= threshold).count()
    }

    /// Spam that it lets pass.
    pub fn false_negatives(&self, threshold: f64) -> usize {
        self.scores[1].iter().filter(|score| **score < threshold).count()
    }

    /// The report.
    pub fn render(&self) -> String {
        let [ham, spam] = &self.scores;
        let mut out = String::new();
        let _ = writeln!(out, "messages    {:>8} ham  {:>8} spam", ham.len(), spam.len());
        let _ = writeln!(out, "mean score  {:>8.2} ham  {:>8.2} spam", mean(ham), mean(spam));
        let _ = writeln!(out, "\nthreshold       ham at or above                spam below");
        for threshold in THRESHOLDS {
            let _ = writeln!(
                out,
                "{threshold:>9.2}  {:>20}  {:>24}",
                share(self.false_positives(threshold), ham.len()),
                share(self.false_negatives(threshold), spam.len())
            );
        }
        let _ = writeln!(out, "\nscores                          ham                      spam");
        for (low, high) in BANDS {
            let within =
                |scores: &[f64]| scores.iter().filter(|score| **score >= low && **score < high).count();
            let band = match (low.is_finite(), high.is_finite()) {
                (false, _) => format!("below {high}"),
                (_, false) => format!("from {low}"),
                _ => format!("{low} to {high}"),
            };
            let _ = writeln!(
                out,
                "{band:<11}{:>24}  {:>24}",
                share(within(ham), ham.len()),
                share(within(spam), spam.len())
            );
        }
        let _ = writeln!(out, "\n{:<38} points              ham             spam", "symbols");
        for rule in &RULES {
            let Some(hits) = self.symbols.get(rule.symbol) else { continue };
            let [ham_hits, spam_hits] = hits.messages;
            let mean = hits.points / (ham_hits + spam_hits) as f64;
            let _ = writeln!(
                out,
                "{:<38} {mean:>6.2} {:>7} ({:>5.2} %) {:>7} ({:>5.2} %)",
                rule.symbol,
                ham_hits,
                percent(ham_hits, ham.len()),
                spam_hits,
                percent(spam_hits, spam.len())
            );
        }
        let silent = RULES.len() - self.symbols.len();
        let _ = writeln!(out, "{silent} of {} symbols hit nothing", RULES.len());
        out
    }
}

fn mean(scores: &[f64]) -> f64 {
    if scores.is_empty() { 0.0 } else { scores.iter().sum::<f64>() / scores.len() as f64 }
}

/// `12 of 10461 ( 0.11 %)`.
pub fn share(count: usize, total: usize) -> String {
    format!("{count} of {total} ({:>5.2} %)", percent(count, total))
}

fn percent(count: usize, total: usize) -> f64 {
    if total == 0 { 0.0 } else { 100.0 * count as f64 / total as f64 }
}

/// The default thresholds: marked, refused.
const THRESHOLDS: [f64; 2] = [6.0, 15.0];

/// Where scores are counted.
const BANDS: [(f64, f64); 13] = [
    (f64::NEG_INFINITY, -2.0),
    (-2.0, -1.0),
    (-1.0, 0.0),
    (0.0, 1.0),
    (1.0, 2.0),
    (2.0, 3.0),
    (3.0, 4.0),
    (4.0, 5.0),
    (5.0, 6.0),
    (6.0, 8.0),
    (8.0, 10.0),
    (10.0, 15.0),
    (15.0, f64::INFINITY),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::Thresholds;
    use crate::verdict::Hit;

    #[test]
    fn counts_at_the_thresholds_and_by_symbol() {
        let mut tally = Tally::default();
        for (spam, score) in [(false, -0.5), (false, 6.0), (true, 5.99), (true, 15.0)] {
            let mut verdict = Verdict::unjudged(Thresholds::default());
            verdict.score = score;
            verdict.symbols.push(Hit { symbol: "PHISHING", weight: score, evidence: String::new() });
            tally.count(spam, &verdict);
        }
        assert_eq!([tally.false_positives(6.0), tally.false_negatives(6.0)], [1, 1]);
        assert_eq!([tally.false_positives(15.0), tally.false_negatives(15.0)], [0, 1]);
        let text = tally.render();
        assert!(text.contains("\n     6.00      1 of 2 (50.00 %)"), "{text}");
        assert!(text.contains("\nPHISHING "), "{text}");
        assert!(!Tally::default().render().contains("NaN"));
    }
}
