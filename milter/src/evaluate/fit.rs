//! `gatepost-milter fit`: weights for the rules from a labelled corpus, cross-validated.
//!
//! ```text
//! # 10461 ham, 4310 spam
//! #                    ham from 6         ham from 15        spam from 6       spam from 15
//! # as they are        1 of 10461 …
//! # fitted             …
//! # held out           …                  every message judged by weights that were fitted without its group
//! [milter.weights]
//! PHISHING = 4.5  # was 4.0; 201 spam, 3 ham
//! ```
//!
//! The table can stand in the configuration as it is. The line to believe is `held out`; but the weights that a rule has already may come from
//! the same corpus, and the fit begins with them and stays near. To know what the rules do to mail that nobody has seen, begin with weights
//! that were chosen without it: `[milter.weights]` of the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use super::index::{Index, Label};
use super::joint;
use super::judge::{self, Judge};
use super::model::{self, Outcome, Sample};
use super::online;
use super::tally::share;
use crate::config::Milter;
use crate::pool::Pool;
use crate::rules::RULES;
use crate::score::{Thresholds, Weights};

/// The arguments of `fit`.
#[derive(Debug, clap::Args)]
pub struct Fit {
    /// Lines "spam|ham TAB path [TAB group]"; what is in one group is in one fold
    #[arg(value_name = "INDEX")]
    index: PathBuf,
    /// In how many parts the corpus is divided to test the weights; with fewer groups each group is a part
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u64).range(2..=100))]
    pub(super) folds: u64,
    /// How much ham may be marked as spam, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.1)]
    ham_error: f64,
    /// Also write one line for each message: label, path, and its score by weights that were fitted without its fold; with --online, what of it the rules gave, and the probability that the model saw, or nothing while nobody would have heard it; tabs between them
    #[arg(long, value_name = "FILE")]
    held_out: Option<PathBuf>,
    /// Play the corpus in its order to a model that knows words of the other folds and nothing else, and fit the points of what it thinks (BAYES_...); the rules' weights stay
    #[arg(long)]
    online: bool,
    /// With --online: tell the model what a message was only after that many more
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "online")]
    pub(super) delay: usize,
    /// With --online: begin with the words of this file instead; an empty one: with nothing
    #[arg(long, value_name = "FILE", requires = "online")]
    pub(super) words: Option<PathBuf>,
    /// How many messages are judged at once; as many as the machine has cores if not given
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    threads: usize,
}

/// Fits and prints.
pub(super) async fn fit(config: &Milter, arguments: Fit) -> anyhow::Result<ExitCode> {
    let ham_error = arguments.ham_error / 100.0;
    if !(0.0..=1.0).contains(&ham_error) {
        bail!("--ham-error {}: expected a percentage from 0 to 100", arguments.ham_error);
    }
    let index = Index::read(&arguments.index)?;
    if arguments.online {
        return together(config, index, arguments, ham_error).await;
    }
    let mut samples = Vec::with_capacity(index.entries.len());
    let mut paths = Vec::with_capacity(index.entries.len());
    let mut unread = 0;
    let judge = Judge::new(Weights::default(), Thresholds::default(), config.bounds().rules_body);
    judge::each(&index, judge, arguments.threads, |entry, judged| {
        match judged {
            Ok(judged) => {
                paths.push(index.text_of(entry).to_owned());
                samples.push(Sample {
                    spam: entry.label == Label::Spam,
                    group: index.group_of(entry).to_owned(),
                    hits: judged.factors,
                });
            }
            Err(why) => {
                unread += 1;
                eprintln!("gatepost-milter: {why}");
            }
        }
        Ok(())
    })
    .await?;
    let start = start(config);
    let (samples, text, scores) = Pool::new(1)
        .run(move || {
            let (text, scores) = report(&samples, &start, arguments.folds, ham_error);
            (samples, text, scores)
        })
        .await?;
    if let Some(path) = &arguments.held_out {
        let rows: String = (samples.iter().zip(&paths).zip(scores))
            .map(|((sample, path), score)| {
                let label = if sample.spam { Label::Spam } else { Label::Ham };
                format!("{}\t{path}\t{score:.2}\n", label.as_str())
            })
            .collect();
        write(path, &rows)?;
    }
    super::print(&text)?;
    Ok(super::outcome(unread))
}

/// `--online`.
async fn together(config: &Milter, index: Index, arguments: Fit, ham_error: f64) -> anyhow::Result<ExitCode> {
    let judge = Judge::new(Weights::default(), Thresholds::default(), config.bounds().rules_body);
    let (start, config) = (start(config), config.clone());
    let work = move || {
        let mut unread = 0;
        let (stream, paths) = online::play(&config, &index, &judge, &arguments, &mut unread)?;
        let (text, scores) = joint::report(&stream, &start, &model::present(), arguments.folds, ham_error);
        if let Some(path) = &arguments.held_out {
            let row = |((played, path), found): ((&joint::Played, &String), joint::HeldOut)| {
                let label = if played.sample.spam { Label::Spam } else { Label::Ham };
                let thought = played
                    .learned
                    .as_ref()
                    .map_or(String::new(), |learned| format!("{:.6}", learned.probability));
                format!("{}\t{path}\t{:.2}\t{:.2}\t{thought}\n", label.as_str(), found.score, found.rules)
            };
            write(path, &stream.iter().zip(&paths).zip(scores).map(row).collect::<String>())?;
        }
        anyhow::Ok((text, unread))
    };
    let (text, unread) = Pool::new(1).run(work).await??;
    super::print(&text)?;
    Ok(super::outcome(unread))
}

fn write(path: &Path, rows: &str) -> anyhow::Result<()> {
    std::fs::write(path, rows).with_context(|| path.display().to_string())
}

/// The weights that the fit begins with, and stays near: the rules' own, or what the configuration says.
fn start(config: &Milter) -> Vec<f64> {
    RULES.iter().map(|rule| config.weights.0.get(rule.symbol).copied().unwrap_or(rule.weight)).collect()
}

/// What is printed, and the score of each sample by the weights that were fitted without it.
fn report(samples: &[Sample], start: &[f64], folds: u64, ham_error: f64) -> (String, Vec<f64>) {
    let all: Vec<&Sample> = samples.iter().collect();
    let fitted = model::fit(&all, start, ham_error);
    let before = Outcome::of(all.iter().copied(), start);
    let mut out = title(samples.iter());
    let _ = writeln!(out, "# {:<24}{}", "as they are", line(&before));
    let _ = writeln!(out, "# {:<24}{}", "fitted to all", line(&Outcome::of(all.iter().copied(), &fitted)));
    let mut held_out = Outcome::default();
    let mut scores = vec![0.0; samples.len()];
    for (name, fold) in divide(samples, folds) {
        let learn: Vec<&Sample> = samples
            .iter()
            .enumerate()
            .filter(|(place, _)| !fold.contains(place))
            .map(|(_, sample)| sample)
            .collect();
        let weights = model::fit(&learn, start, ham_error);
        let outcome = Outcome::of(fold.iter().map(|place| &samples[*place]), &weights);
        let _ = writeln!(out, "#   without {:<14}{}", shortened(&name), line(&outcome));
        held_out = held_out.plus(outcome);
        let own = fold.iter().map(|place| &samples[*place]);
        for (place, (_, score)) in fold.iter().zip(model::scored(own, &weights)) {
            scores[*place] = score;
        }
    }
    let _ = writeln!(out, "# {:<24}{}\n[milter.weights]", "held out", line(&held_out));
    let mut seen: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
    for sample in samples {
        for (rule, _) in &sample.hits {
            seen.entry(*rule).or_default()[usize::from(sample.spam)] += 1;
        }
    }
    for (place, rule) in RULES.iter().enumerate().filter(|(place, _)| fitted[*place] != start[*place]) {
        let [ham, spam] = seen.get(&place).copied().unwrap_or_default();
        let _ = writeln!(
            out,
            "{} = {:?}  # was {:?}; {spam} spam, {ham} ham",
            rule.symbol, fitted[place], start[place]
        );
    }
    (out, scores)
}

/// How many there are, and the names of the columns of [`line`].
pub(super) fn title<'a>(samples: impl Iterator<Item = &'a Sample>) -> String {
    let (spam, ham): (Vec<&Sample>, Vec<&Sample>) = samples.partition(|sample| sample.spam);
    let columns = ["ham from 6", "ham from 15", "spam from 6", "spam from 15"];
    let columns = columns.map(|column| format!("{column:>24}")).concat();
    format!("# {} ham, {} spam\n# {:<24}{columns}\n", ham.len(), spam.len(), "")
}

/// The places of the samples of each fold. Groups are dealt out by a hash of their names, so that a corpus that grows keeps its folds.
pub(super) fn divide(samples: &[Sample], folds: u64) -> BTreeMap<String, BTreeSet<usize>> {
    let groups: BTreeSet<&str> = samples.iter().map(|sample| sample.group.as_str()).collect();
    let named = groups.len() as u64 <= folds;
    let mut divided: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
    for (place, sample) in samples.iter().enumerate() {
        let name = match named {
            true => sample.group.clone(),
            false => format!("fold {}", hash(&sample.group) % folds + 1),
        };
        divided.entry(name).or_default().insert(place);
    }
    divided
}

/// FNV-1a: even enough, and the same in every release.
fn hash(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 16
}

pub(super) fn line(outcome: &Outcome) -> String {
    let Outcome { ham, ham_marked, ham_refused, spam, spam_marked, spam_refused } = *outcome;
    [(ham_marked, ham), (ham_refused, ham), (spam_marked, spam), (spam_refused, spam)]
        .map(|(count, total)| format!("{:>24}", share(count, total)))
        .concat()
}

pub(super) fn shortened(name: &str) -> String {
    name.chars().take(14).map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_in_one_fold_and_every_message_in_some_fold() {
        let sample = |group: String| Sample { spam: false, group, hits: Vec::new() };
        let samples: Vec<Sample> = (0..300).map(|number| sample(format!("group {}", number % 60))).collect();
        let divided = divide(&samples, 5);
        assert_eq!(divided.values().map(BTreeSet::len).sum::<usize>(), 300);
        assert_eq!(divided.len(), 5);
        let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (name, fold) in &divided {
            for place in fold {
                homes.entry(&samples[*place].group).or_default().insert(name);
            }
        }
        assert!(homes.values().all(|folds| folds.len() == 1));
        assert_eq!(divide(&samples, 60).len(), 60);
    }
}
