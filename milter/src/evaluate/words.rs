//! `gatepost-milter words INDEX`: the list of words that a new model begins with ([`lexicon`](crate::learning::lexicon)), from labelled corpora.
//!
//! ```text
//! # Words of spam (above 0) and of wanted mail, from which a new model begins. Made by `gatepost-milter words`:
//! # 2000 words, each in 20 groups of messages at least and in 3 sources, from 10461 ham and 4910 spam.
//! account TAB 5.2
//! ```
//!
//! The first folder of a message's path is its source. A word is taken if it is nobody's: letters only; begun with a small letter in half of
//! the messages at least, which names of people, places and companies are not; and seen in several sources and in many groups of near duplicates,
//! of which each counts once. Of header fields only names are taken, and words of the subject: no address, no host, no list. And the list says
//! nothing of a language ([`language`](super::language)): messages in others than English are left out, and words that others have as well.
//!
//! Those are taken that tell spam from ham alike in every source (the sum of their z-scores there), and of four times as many those
//! that weigh most in a regression ([`regression`](super::regression)). There is no chance in it: the same corpora give the same list.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use super::index::{Index, Label};
use super::language::{Language, is_of_another};
use super::online;
use super::regression::{self, Row};
use crate::learning::lexicon::Broken;
use crate::learning::{Extractor, Key, Lexicon};
use crate::message::Message;

/// The arguments of `words`.
#[derive(Debug, clap::Args)]
pub struct Words {
    /// Lines "spam|ham TAB path [TAB group]"; the first folder of a path is the source, and of a group one message of each kind counts
    #[arg(value_name = "INDEX")]
    index: PathBuf,
    #[command(flatten)]
    wanted: Wanted,
}

/// Which words are taken.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct Wanted {
    /// How many words
    #[arg(long, value_name = "NUMBER", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    count: u32,
    /// In how many sources a word must be
    #[arg(long, value_name = "NUMBER", default_value_t = 3)]
    sources: u32,
    /// In how many groups of messages a word must be
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    groups: u32,
}

impl Default for Wanted {
    /// Tried on the development set, each corpus judged by words of the others: 500 to 16,000 words, 2 and 3 sources, 5 to 20 groups. All
    /// alike within chance; fewer words are easier to read, and common ones are nobody's.
    fn default() -> Self {
        Self { count: 2_000, sources: 3, groups: 20 }
    }
}

/// Reads, chooses and prints.
pub(super) fn run(arguments: &Words) -> anyhow::Result<ExitCode> {
    let index = Index::read(&arguments.index)?;
    let (mut corpora, mut unread) = (Corpora::default(), 0);
    let mut extractor = Extractor::default();
    for entry in &index.entries {
        if let Some(message) = online::message(&index, entry, &mut unread) {
            corpora.read(&index, entry, &message, &mut extractor);
        }
    }
    let wanted = &arguments.wanted;
    let list = corpora.list(wanted, |_| true);
    if list.is_empty() {
        bail!(
            "{}: no word is in {} groups of messages and in {} sources, which are the first folders of the paths",
            arguments.index.display(),
            wanted.groups,
            wanted.sources
        );
    }
    let [ham, spam] =
        [false, true].map(|spam| corpora.messages.iter().filter(|one| one.spam == spam).count());
    let mut out = format!(
        "# Words of spam (above 0) and of wanted mail, from which a new model begins. Made by `gatepost-milter words`:\n\
         # {} words, each in {} groups of messages at least and in {} sources, from {ham} ham and {spam} spam.\n",
        list.len(),
        wanted.groups,
        wanted.sources
    );
    out.push_str(&text(&list));
    super::print(&out)?;
    Ok(super::outcome(unread))
}

/// The words of labelled messages.
#[derive(Debug, Default)]
pub struct Corpora {
    keys: HashMap<String, u32>,
    /// Of each key, the key of the body's word in small letters: where it is seen whether it is a name.
    plain: Vec<Option<u32>>,
    sources: Vec<String>,
    groups: HashMap<(u32, String), u32>,
    /// How many messages were read, those of other languages among them.
    read: usize,
    messages: Vec<Seen>,
}

/// What is kept of a message.
#[derive(Debug)]
struct Seen {
    /// Its place among all that were read, from 0.
    place: usize,
    spam: bool,
    source: u32,
    group: u32,
    /// How many features its view `words` has.
    features: usize,
    /// Its words, sorted, and whether one of each begins with a small letter.
    words: Vec<(u32, bool)>,
}

impl Corpora {
    /// Takes in a message.
    pub fn read(
        &mut self,
        index: &Index,
        entry: &super::index::Entry,
        message: &Message,
        extractor: &mut Extractor,
    ) {
        let place = self.read;
        self.read += 1;
        let portrait = extractor.read(message);
        let keys = portrait.keys(message);
        let in_body: BTreeSet<String> =
            keys.iter().filter(|key| is_word(&key.text)).map(|key| key.text.to_lowercase()).collect();
        let language = Language::of(in_body.iter().map(String::as_str));
        if language == Language::Other {
            return;
        }
        let mut words: BTreeMap<u32, bool> = BTreeMap::new();
        for Key { text, lower, .. } in keys {
            // Where the language is not known, what is no word may count.
            let may_count = language == Language::English || text.contains('<') || text.ends_with(':');
            if may_count && is_nobodys(&text) {
                *words.entry(self.number(text)).or_default() |= lower;
            }
        }
        let source = index.text_of(entry).split('/').next().unwrap_or_default();
        let known = self.sources.iter().position(|known| known == source);
        let source = known.unwrap_or_else(|| {
            self.sources.push(source.to_owned());
            self.sources.len() - 1
        }) as u32;
        let next = self.groups.len() as u32;
        let group = *self.groups.entry((source, index.group_of(entry).to_owned())).or_insert(next);
        self.messages.push(Seen {
            place,
            spam: entry.label == Label::Spam,
            source,
            group,
            features: portrait.features.words.len(),
            words: words.into_iter().collect(),
        });
    }

    fn number(&mut self, key: String) -> u32 {
        if let Some(known) = self.keys.get(&key) {
            return *known;
        }
        let word = key.strip_prefix("subject:").unwrap_or(&key);
        let plain = match word.contains([':', '<']) {
            true => None,
            false if word == key && !key.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                Some(self.plain.len() as u32)
            }
            false => Some(self.number(word.to_ascii_lowercase())),
        };
        let number = self.plain.len() as u32;
        self.plain.push(plain);
        self.keys.insert(key, number);
        number
    }

    /// The words of the messages at those places, from 0 on in the order in which all were read, and their weights in tenths; sorted.
    pub fn list(&self, wanted: &Wanted, is_in: impl Fn(usize) -> bool) -> Vec<(String, f64)> {
        let mut one_of = BTreeSet::new();
        let is_first = |one: &&Seen| is_in(one.place) && one_of.insert((one.group, one.spam));
        let messages: Vec<&Seen> = self.messages.iter().filter(is_first).collect();
        let mut totals = vec![[0.0; 2]; self.sources.len()];
        for one in &messages {
            totals[one.source as usize][usize::from(one.spam)] += 1.0;
        }
        let mut words = self.told_apart(&messages, &totals, wanted);
        words.truncate(SCREENED * wanted.count as usize);
        let mut weights = weigh(&messages, &words, &totals);
        if words.len() > wanted.count as usize {
            words = heaviest(&messages, &words, &weights, &totals, wanted.count as usize);
            weights = weigh(&messages, &words, &totals);
        }
        let mut texts: Vec<&str> = vec![""; self.plain.len()];
        for (text, number) in &self.keys {
            texts[*number as usize] = text;
        }
        let mut list: Vec<(String, f64)> = words
            .iter()
            .zip(weights)
            .map(|(word, weight)| (texts[*word as usize].to_owned(), (weight * 10.0).round() / 10.0))
            .filter(|(_, weight)| *weight != 0.0)
            .collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        list
    }

    /// The same as a lexicon.
    ///
    /// # Errors
    /// None that are known: what is written can be read.
    pub fn lexicon(&self, wanted: &Wanted, is_in: impl Fn(usize) -> bool) -> Result<Lexicon, Broken> {
        Lexicon::parse(&text(&self.list(wanted, is_in)))
    }

    /// The words that are common enough and nobody's name, those first that tell the kinds apart alike in every source.
    fn told_apart(&self, messages: &[&Seen], totals: &[[f64; 2]], wanted: &Wanted) -> Vec<u32> {
        let mut counts: Vec<Vec<[f64; 2]>> = vec![Vec::new(); self.plain.len()];
        let mut small = vec![0_usize; self.plain.len()];
        for one in messages {
            for (word, lower) in &one.words {
                let count = &mut counts[*word as usize];
                count.resize(totals.len(), [0.0; 2]);
                count[one.source as usize][usize::from(one.spam)] += 1.0;
                small[*word as usize] += usize::from(*lower);
            }
        }
        let all = |count: &[[f64; 2]]| count.iter().flatten().sum::<f64>();
        let mut found: Vec<(f64, u32)> = Vec::new();
        for (number, count) in (0..).zip(&counts) {
            let is_common = all(count) >= f64::from(wanted.groups)
                && count.iter().filter(|[ham, spam]| ham + spam >= OFTEN).count() >= wanted.sources as usize;
            let is_name = self.plain[number as usize]
                .is_some_and(|plain| (small[plain as usize] as f64) < SMALL * all(&counts[plain as usize]));
            if is_common && !is_name {
                found.push((difference(count, totals).abs(), number));
            }
        }
        found.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        found.into_iter().map(|(_, number)| number).collect()
    }
}

/// The sum of the z-scores of the log of how much more often spam has a word than ham, over the sources that have both.
fn difference(count: &[[f64; 2]], totals: &[[f64; 2]]) -> f64 {
    let of = |([ham, spam], [all_ham, all_spam]): (&[f64; 2], &[f64; 2])| {
        let (ham, spam) = (ham + 0.5, spam + 0.5);
        let log = libm::log((spam / (all_spam + 1.0)) / (ham / (all_ham + 1.0)));
        log / (1.0 / ham + 1.0 / spam).sqrt()
    };
    count.iter().zip(totals).filter(|(_, total)| has_both(total)).map(of).sum()
}

fn has_both(total: &[f64; 2]) -> bool {
    total.iter().all(|count| *count > 0.0)
}

/// What a message of each source is worth, so that a source counts with the root of its size.
fn worth(totals: &[[f64; 2]]) -> Vec<f64> {
    totals
        .iter()
        .map(|total| {
            let size = total[0] + total[1];
            let share = if has_both(total) { 1.0 } else { ONE_SIDED };
            share / size.max(1.0).sqrt()
        })
        .collect()
}

fn weigh(messages: &[&Seen], words: &[u32], totals: &[[f64; 2]]) -> Vec<f64> {
    let places: HashMap<u32, usize> = words.iter().enumerate().map(|(place, word)| (*word, place)).collect();
    let worth = worth(totals);
    let rows: Vec<Row> = messages
        .iter()
        .map(|one| Row {
            spam: one.spam,
            worth: worth[one.source as usize],
            // As the model scales a view.
            scale: 1.0 / (one.features.max(1) as f64).sqrt(),
            features: one.words.iter().filter_map(|(word, _)| places.get(word).copied()).collect(),
        })
        .collect();
    regression::weigh(&rows, words.len())
}

/// The words that move most: large weights, and often there.
fn heaviest(
    messages: &[&Seen],
    words: &[u32],
    weights: &[f64],
    totals: &[[f64; 2]],
    count: usize,
) -> Vec<u32> {
    let worth = worth(totals);
    let mut often: HashMap<u32, f64> = HashMap::new();
    for one in messages {
        for (word, _) in &one.words {
            *often.entry(*word).or_default() += worth[one.source as usize];
        }
    }
    let heavy = |(word, weight): (&u32, &f64)| {
        (weight.abs() * often.get(word).copied().unwrap_or_default().sqrt(), *word)
    };
    let mut all: Vec<(f64, u32)> = words.iter().zip(weights).map(heavy).collect();
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.into_iter().take(count).map(|(_, word)| word).collect()
}

/// Whether a key is of the kinds that are taken, and made of letters.
fn is_nobodys(key: &str) -> bool {
    if let Some(tag) = key.strip_prefix('<') {
        let letters = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-');
        return tag.split_once('>').is_some_and(|(name, word)| {
            letters(name) && (word.is_empty() || word.strip_prefix(' ').is_some_and(letters))
        });
    }
    if let Some(name) = key.strip_suffix(':') {
        // What a text needs that is not written in ASCII says something of its language.
        let is_mime = name.starts_with("content-") || name.starts_with("mime-");
        return !is_mime && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    }
    let word = key.strip_prefix("subject:").unwrap_or(key);
    word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'-' | b'\''))
        && word.bytes().filter(u8::is_ascii_alphabetic).count() >= 3
        && !is_of_another(&word.to_ascii_lowercase())
}

/// Whether a key is a word of the body, of any language.
fn is_word(key: &str) -> bool {
    key.chars().all(char::is_alphabetic) && key.chars().count() >= 3
}

fn text(list: &[(String, f64)]) -> String {
    list.iter().fold(String::new(), |mut out, (word, weight)| {
        let _ = writeln!(out, "{word}\t{weight:.1}");
        out
    })
}

/// How many times as many words are weighed first as are taken.
const SCREENED: usize = 4;
/// Groups of a source that make a word one of its words.
const OFTEN: f64 = 2.0;
/// In how many of the messages that have it a word begins with a small letter, if it is no name.
const SMALL: f64 = 0.5;
/// What a source of one kind alone counts in times one that has both: its own marks tell that kind from the other sources.
const ONE_SIDED: f64 = 0.3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_could_name_somebody_is_not_taken() {
        for key in ["unsubscribe", "FREE", "subject:free", "x-mailer:", "<a>", "<font> color", "don't"] {
            assert!(is_nobodys(key), "{key}");
        }
        for key in [
            "ann@example.org",
            "mail.example.com",
            "from:ann",
            "to:bob",
            "received:mx",
            "0000",
            "$00",
            "order0",
            "at",
            "Grüße",
            "und",
            "content-transfer-encoding:",
            "subject:Para",
            "click here",
            "subject:buy now",
            "<a> example.com",
            "<a> big red",
            "mime:text/html",
            "file:exe",
            "a_b",
            "list-id:talk",
            "</a>",
        ] {
            assert!(!is_nobodys(key), "{key}");
        }
    }

    /// A message of another language, which is left out, and messages of three sources: pills in spam, minutes in ham, Robinson in both and
    /// always with a capital; each in two groups of ten messages.
    fn corpora() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let mut index = "ham\tone/german.eml\tgroup\n".to_owned();
        let german = "From: a@example.org\n\nLiebe Anna, wollen wir uns am Donnerstag treffen, wo wir letztes Mal waren? Das war gut.\n";
        std::fs::create_dir_all(folder.path().join("one")).unwrap();
        std::fs::write(folder.path().join("one/german.eml"), german).unwrap();
        for number in 0..60 {
            let (spam, source) = (number % 2 == 1, ["one", "two", "three"][number / 2 % 3]);
            let thing = if spam { "cheap pills" } else { "the minutes" };
            let body = format!(
                "we would like you to have {thing} of what there was, and not only those, says Robinson"
            );
            let path = format!("{source}/{number}.eml");
            std::fs::create_dir_all(folder.path().join(source)).unwrap();
            let only = if source == "one" { "solitary" } else { "plural" };
            let eml = format!("From: a@example.org\nSubject: about\n\n{body} {only} at example.org\n");
            std::fs::write(folder.path().join(&path), eml).unwrap();
            let label = if spam { "spam" } else { "ham" };
            index.push_str(&format!("{label}\t{path}\tgroup {}\n", number / 2 / 3 % 2));
        }
        let path = folder.path().join("index");
        std::fs::write(&path, index).unwrap();
        (folder, path)
    }

    fn read(path: &std::path::Path) -> Corpora {
        let index = Index::read(path).unwrap();
        let mut corpora = Corpora::default();
        let mut extractor = Extractor::default();
        for entry in &index.entries {
            let message = online::message(&index, entry, &mut 0).unwrap();
            corpora.read(&index, entry, &message, &mut extractor);
        }
        corpora
    }

    #[test]
    fn words_of_several_sources_are_weighed_and_names_left_out() {
        let (_folder, path) = corpora();
        let corpora = read(&path);
        let wanted = Wanted { count: 50, sources: 3, groups: 6 };
        let list = corpora.list(&wanted, |_| true);
        let weight = |word: &str| list.iter().find(|(known, _)| known == word).map(|(_, weight)| *weight);
        assert!(weight("pills").unwrap() > 0.0 && weight("minutes").unwrap() < 0.0, "{list:?}");
        for absent in ["robinson", "solitary", "example.org", "from:a"] {
            assert_eq!(weight(absent), None, "{absent}");
        }
        assert!(list.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(corpora.lexicon(&wanted, |_| true).unwrap().len(), list.len());
        assert_eq!(read(&path).list(&wanted, |_| true), list, "the same corpora, the same list");
        // Near duplicates count once: 6 groups of each kind, and not 60 messages.
        assert!(corpora.list(&Wanted { groups: 13, ..wanted }, |_| true).is_empty());
        // What is left out says nothing; ham is at the odd places, behind the message that counts for nothing.
        assert!(corpora.list(&wanted, |place| place % 2 == 1).iter().all(|(word, _)| word != "pills"));
        assert!(corpora.list(&wanted, |place| place % 2 == 0).iter().all(|(word, _)| word != "minutes"));
        assert_eq!(corpora.messages.len(), 60);
    }
}
