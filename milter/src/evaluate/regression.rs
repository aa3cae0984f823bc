//! Logistic regression over words that are there or not, all messages at once.
//!
//! For [`words`](super::words). Minimised over the weights w and an offset b, by gradient steps of AdaGrad's sizes:
//!
//! ```text
//!   Σ worth · ln(1 + e^(∓(scale · Σ w + b))) / Σ worth   + PULL / 2 · Σ w² / words
//! ```
//!
//! The offset takes what the messages have in common; a list has none. No chance, and no `exp` of the system's C library.

/// A message.
#[derive(Debug)]
pub struct Row {
    /// Whether it is spam.
    pub spam: bool,
    /// How much it counts.
    pub worth: f64,
    /// What each of its words is multiplied by.
    pub scale: f64,
    /// Places of its words.
    pub features: Vec<usize>,
}

/// The weights of so many words.
pub fn weigh(rows: &[Row], words: usize) -> Vec<f64> {
    let all: f64 = rows.iter().map(|row| row.worth).sum::<f64>().max(f64::MIN_POSITIVE);
    let (mut weights, mut steepness) = (vec![0.0; words], vec![1e-10; words]);
    let (mut offset, mut offset_steepness) = (0.0, 1e-10);
    for _ in 0..ROUNDS {
        let mut slopes: Vec<f64> = weights.iter().map(|weight| PULL * weight / words as f64).collect();
        let mut offset_slope = 0.0;
        for row in rows {
            let sum: f64 = row.features.iter().map(|place| weights[*place]).sum();
            let said = 1.0 / (1.0 + libm::exp(-(sum * row.scale + offset)));
            let error = (said - if row.spam { 1.0 } else { 0.0 }) * row.worth / all;
            offset_slope += error;
            for place in &row.features {
                slopes[*place] += error * row.scale;
            }
        }
        for ((weight, steepness), slope) in weights.iter_mut().zip(&mut steepness).zip(&slopes) {
            *steepness += slope * slope;
            *weight -= STEP * slope / steepness.sqrt();
        }
        offset_steepness += offset_slope * offset_slope;
        offset -= OFFSET_STEP * offset_slope / f64::sqrt(offset_steepness);
    }
    weights
}

/// How much weights are drawn to zero. Tried on the development set: 1e-5 to 3e-2, alike up to this.
const PULL: f64 = 3e-3;
const ROUNDS: usize = 120;
const STEP: f64 = 1.0;
const OFFSET_STEP: f64 = 0.3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_side_of_their_words_and_common_ones_none() {
        let row =
            |spam, features: &[usize]| Row { spam, worth: 1.0, scale: 1.0, features: features.to_vec() };
        let rows: Vec<Row> = (0..50).flat_map(|_| [row(true, &[0, 2]), row(false, &[1, 2])]).collect();
        let weights = weigh(&rows, 3);
        assert!(weights[0] > 1.0 && weights[1] < -1.0, "{weights:?}");
        assert!(weights[2].abs() < 0.1, "{weights:?}");
        assert!(weigh(&[], 2).iter().all(|weight| *weight == 0.0));
    }
}
