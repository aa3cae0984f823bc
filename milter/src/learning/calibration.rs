//! From the views' summed log-odds to an honest probability: σ(slope·logit + offset + the kind's offset), Platt's form, learned online.
//!
//! For [`Model`](super::Model). The offsets of the kinds are in [`kind`](super::kind).

use super::kind::{Kind, Offsets};
use super::{Judgement, Label};

/// The three numbers and the offsets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Calibration {
    pub(super) slope: f64,
    pub(super) offset: f64,
    pub(super) steps: u64,
    pub(super) offsets: Offsets,
}

impl Default for Calibration {
    /// Three views that see the same message: a third of their sum to begin with.
    fn default() -> Self {
        Self { slope: 1.0 / 3.0, offset: 0.0, steps: 0, offsets: Offsets::default() }
    }
}

impl Calibration {
    /// How fast the two numbers follow, and from how many samples on they move more slowly.
    const RATE: f64 = 0.02;
    const SETTLED: f64 = 1_000.0;
    /// Log-odds beyond this say no more.
    const SURE: f64 = 40.0;
    /// The power of the number of samples that bounds the odds. With 1 the log-loss was higher on every stream, with 2 and more no lower.
    const CAUTION: f64 = 1.5;

    /// The log-odds that a message is spam, of whatever age the model.
    pub(super) fn log_odds(&self, logit: f32, kind: Kind) -> f64 {
        self.slope * f64::from(logit).clamp(-Self::SURE, Self::SURE) + self.offset + self.offsets.of(kind)
    }

    /// The probability, drawn towards one half while few samples of either kind were seen: after n of the rarer kind no surer than
    /// (n + 1)^1.5 to one.
    pub(super) fn probability(log_odds: f64, shown: [u64; 2]) -> f64 {
        let [spam, ham] = shown;
        let most = Self::CAUTION * libm::log(spam.min(ham) as f64 + 1.0);
        1.0 / (1.0 + libm::exp(-log_odds.clamp(-most, most)))
    }

    /// Follows a sample and what was thought of it.
    pub(super) fn learn(&mut self, judged: &Judgement, label: Label) {
        let Judgement { logit, log_odds, kind, .. } = *judged;
        self.steps += 1;
        let error = f64::from(label.target()) - 1.0 / (1.0 + libm::exp(-log_odds));
        self.offsets.learn(kind, error);
        let rate = Self::RATE / (1.0 + self.steps as f64 / Self::SETTLED).sqrt();
        let logit = f64::from(logit).clamp(-Self::SURE, Self::SURE);
        self.slope = (self.slope + rate * error * logit / 4.0).clamp(0.05, 1.0);
        self.offset = (self.offset + rate * error).clamp(-3.0, 3.0);
    }
}
