//! Words that a model knows before its first sample, so that a new server is not without judgement until its users have taught it.
//!
//! For [`Model`](super::Model), [`checkpoint`](super::checkpoint) and `evaluate`. The list that ships is `data/words.tsv`, a text for people as
//! well, made by `gatepost-milter words` from public mail:
//!
//! ```text
//! list = *( "#" text LF ) *( key TAB weight LF )    ; sorted by key, bytewise
//! key = word / "subject:" word / field-name ":" / "<" tag ">" [ SP word ]
//! weight = [ "-" ] 1*2DIGIT "." DIGIT               ; above 0: seen in spam; not 0, at most 20
//! ```
//!
//! A weight is where the word's weight in the view `words` begins; samples move it from there as they move all others. So what people teach counts as
//! it does without the list, and [`Model::is_heard`](super::Model::is_heard) asks for a handful of it in any case.

use aws_lc_rs::digest::{SHA256, digest};

use super::words::of_key;

/// Words with weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Lexicon {
    /// Features of the view `words`, in the order of the list.
    words: Vec<(u32, f32)>,
}

/// A line of a list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line}: {what}")]
pub struct Broken {
    /// Its number, from 1.
    pub line: usize,
    /// What was expected.
    pub what: &'static str,
}

impl Lexicon {
    /// The list that ships.
    pub fn shipped() -> Self {
        // A test reads it; a list that cannot be read is never built.
        Self::parse(SHIPPED).unwrap_or_default()
    }

    /// Reads a list; an empty one knows nothing.
    ///
    /// # Errors
    /// The first broken line.
    pub fn parse(text: &str) -> Result<Self, Broken> {
        let (mut words, mut before) = (Vec::new(), "");
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.starts_with('#')) {
            let wrong = |what| Err(Broken { line: number, what });
            let Some((key, weight)) = line.split_once('\t') else {
                return wrong("expected a word, a tab and its weight; found no tab");
            };
            let Some(feature) = of_key(key).filter(|_| key.len() <= MAX_KEY) else {
                return wrong("expected a word before the tab");
            };
            if key <= before {
                return wrong("expected each word once, sorted by bytes");
            }
            let weight = weight.parse::<f32>().ok().filter(|weight| (-MOST..=MOST).contains(weight));
            let Some(weight) = weight.filter(|weight| *weight != 0.0) else {
                return wrong("expected a weight from -20 to 20, not 0, behind the tab");
            };
            if words.len() >= MAX_WORDS {
                return wrong("expected no more than 100000 words");
            }
            words.push((feature, weight));
            before = key;
        }
        Ok(Self { words })
    }

    /// How many words it knows.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether it knows nothing.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// What it is known by: models that began with different lists are different models. 0 of an empty one.
    pub fn digest(&self) -> u64 {
        if self.is_empty() {
            return 0;
        }
        let bytes: Vec<u8> = (self.words.iter())
            .flat_map(|(feature, weight)| feature.to_le_bytes().into_iter().chain(weight.to_le_bytes()))
            .collect();
        digest(&SHA256, &bytes).as_ref().first_chunk().copied().map_or(1, u64::from_le_bytes)
    }

    /// The features and where their weights begin.
    pub(super) fn weights(&self) -> impl Iterator<Item = (u32, f32)> {
        self.words.iter().copied()
    }
}

const SHIPPED: &str = include_str!("../../data/words.tsv");

/// The largest weight; what is fitted stays far below.
pub const MOST: f32 = 20.0;
/// Bytes of a key, and keys of a list: a file named by mistake is no list.
const MAX_KEY: usize = 100;
const MAX_WORDS: usize = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::evaluate::language::is_of_another;
    use crate::learning::{Extractor, Features, Label, Model};
    use crate::message::Message;

    #[test]
    fn the_list_that_ships_is_words_and_nothing_else() {
        let lexicon = Lexicon::parse(SHIPPED).unwrap();
        assert!((1_000..=10_000).contains(&lexicon.len()), "{}", lexicon.len());
        let mut signs = [0; 2];
        for line in SHIPPED.lines().filter(|line| !line.starts_with('#')) {
            let (key, weight) = line.split_once('\t').unwrap();
            assert!(key.chars().all(|c| c.is_ascii_alphabetic() || "-':<> ".contains(c)), "{key}");
            let word = key.strip_prefix("subject:").unwrap_or(key);
            assert!(word.is_empty() || word.contains(['<', ':']) || word.chars().count() >= 3, "{key}");
            assert!(!is_of_another(&word.to_ascii_lowercase()), "{key}");
            let weight: f32 = weight.parse().unwrap();
            signs[usize::from(weight > 0.0)] += 1;
        }
        assert!(signs.iter().all(|count| *count > 300), "{signs:?}");
        assert!(SHIPPED.starts_with("# ") && SHIPPED.len() < 100_000);
    }

    #[test]
    fn the_list_that_ships_says_nothing_of_a_language() {
        let model = Model::beginning(&Lexicon::shipped());
        let judged = |subject, body| model.judge(&sample(subject, body), None).log_odds;
        for (subject, body) in [
            (
                "Treffen am Donnerstag",
                "Liebe Anna,\n\nwollen wir uns am Donnerstag treffen, wo wir letztes Mal waren? Bitte bring das Konto und die Rechnung \
                 von der Bank mit, und eine Kopie für mich.\n\nViele Grüße",
            ),
            (
                "Rendez-vous de jeudi",
                "Chère Anne,\n\nveux-tu déjeuner jeudi avec nous, comme la dernière fois ? Apporte les factures de la banque et une \
                 copie pour moi, mais sans rien payer.\n\nCordialement",
            ),
            (
                "La cita del jueves",
                "Querida Ana,\n\n¿quieres que comamos el jueves donde la última vez? Trae la cuenta del banco y una copia para mí, \
                 con todo lo que hay.\n\nSaludos",
            ),
        ] {
            let odds = judged(subject, body);
            assert!(odds.abs() < 0.3, "{subject}: {odds}");
        }
        assert!(
            judged("hello", "Dear friend, kindly send your bank account for the fund of the investment")
                > 0.5
        );
    }

    #[test]
    fn broken_lists_are_named_by_line() {
        for (text, line, what) in [
            ("free", 1, "found no tab"),
            ("# x\n\t1.0\n", 2, "expected a word"),
            ("free\t1.0\nfree\t1.0\n", 2, "each word once"),
            ("free\t1.0\nbank\t1.0\n", 2, "sorted"),
            ("free\t0\n", 1, "not 0"),
            ("free\tNaN\n", 1, "from -20 to 20"),
            ("free\t20.1\n", 1, "from -20 to 20"),
        ] {
            let error = Lexicon::parse(text).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
        }
        assert_eq!(Lexicon::parse("").unwrap(), Lexicon::default());
    }

    #[test]
    fn lists_are_told_apart() {
        let list = |text| Lexicon::parse(text).unwrap().digest();
        assert_eq!(list("# a\nfree\t1.0\n"), list("free\t1.0\n"), "remarks change nothing");
        assert_ne!(list("free\t1.0\n"), list("free\t1.1\n"));
        assert_ne!(list("free\t1.0\n"), list("bank\t1.0\n"));
        assert_eq!(list("# nothing\n"), 0);
    }

    fn sample(subject: &str, body: &str) -> Features {
        let eml = format!("From: a@example.org\nSubject: {subject}\n\n{body}\n");
        Extractor::default().read(&Message::from_eml(eml.as_bytes())).features
    }

    #[test]
    fn what_the_list_knows_is_judged_before_any_sample_and_heard_after_a_handful() {
        let lexicon = Lexicon::parse("minutes\t-9.0\npills\t9.0\n").unwrap();
        let mut model = Model::beginning(&lexicon);
        let (pills, minutes) = (sample("x", "here are pills"), sample("x", "here are minutes"));
        let (spam, ham) = (model.judge(&pills, None), model.judge(&minutes, None));
        assert!(spam.log_odds > 0.3 && ham.log_odds < -0.3, "{spam:?} {ham:?}");
        let strongest =
            model.contributions(&pills.words, None).into_iter().max_by(|a, b| a.1.total_cmp(&b.1));
        assert_eq!(strongest.map(|(feature, _)| Some(feature)), Some(of_key("pills")));
        // Until then nobody hears it, and it is sure of nothing.
        assert!(!model.is_heard() && spam.probability == 0.5);
        for number in 0..5 {
            for (features, label) in [
                (sample("a", &format!("one thing {number}")), Label::Spam),
                (sample("b", &format!("another {number}")), Label::Ham),
            ] {
                let judged = model.judge(&features, None);
                model.learn(&features, None, label, &judged);
            }
        }
        assert!(model.is_heard() && model.judge(&pills, None).probability > 0.5);
    }

    #[test]
    fn what_people_say_of_a_word_counts_against_the_list() {
        let mut model = Model::beginning(&Lexicon::parse("pills\t9.0\n").unwrap());
        let pharmacy = sample("your order", "the pills are ready");
        let other = sample("cheap watches", "buy watches");
        for _ in 0..10 {
            for (features, label) in [(&pharmacy, Label::Ham), (&other, Label::Spam)] {
                let judged = model.judge(features, None);
                model.learn(features, None, label, &judged);
            }
        }
        assert!(model.judge(&pharmacy, None).probability < 0.2);
    }
}
