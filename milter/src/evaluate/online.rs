//! `evaluate --online`: a labelled stream played in its order, each message judged and then learned, as a mail server would with people who
//! say of every message what it was. With `--delay` they say it late, with `--partial` only of what was judged wrong.
//!
//! Two results: the model alone, with the figures of the TREC spam track, and rules and model together at the configured thresholds.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::Evaluate;
use super::fit::{Fit, divide};
use super::index::Index;
use super::joint::Played;
use super::judge::{self, Judge};
use super::model::Sample;
use super::tally::Tally;
use super::words::{Corpora, Wanted};
use crate::config::Milter;
use crate::facts::Learned;
use crate::learning::stream::{Figures, Outcome, Player, Playing};
use crate::learning::{Extractor, Judgement, Kind, Label, Lexicon};
use crate::message::Message;
use crate::score::Weights;

/// Plays the stream.
///
/// # Errors
/// An index that cannot be read, or has only one kind of mail.
pub(super) fn run(config: &Milter, arguments: &Evaluate) -> anyhow::Result<ExitCode> {
    let index = Index::read(&arguments.index)?;
    let thresholds = config.view().thresholds;
    let judge = Judge::new(Weights::new(&config.weights.0), thresholds, config.bounds().rules_body);
    let lexicon = lexicon(config, arguments.words.as_deref())?;
    let mut player = Player::new(Playing { delay: arguments.delay, partial: arguments.partial }, &lexicon);
    let mut unread = 0;
    if let Some(train) = &arguments.train {
        let train = Index::read(train)?;
        for (message, label) in messages(&train, &mut unread) {
            player.next(&message, label);
        }
    }
    let mut output = match &arguments.output {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            Some((path, std::io::BufWriter::new(file)))
        }
        None => None,
    };
    let (mut outcomes, mut tally, mut spent) = (Vec::new(), Tally::default(), Duration::ZERO);
    for entry in &index.entries {
        let Some(message) = message(&index, entry, &mut unread) else { continue };
        let started = Instant::now();
        let (judged, knows) = match &arguments.train {
            Some(_) => (player.judge(&message), true),
            None => (player.look(&message), player.is_heard()),
        };
        if arguments.train.is_none() {
            player.tell(entry.label);
        }
        spent += started.elapsed();
        outcomes.push(Outcome { label: entry.label, judged });
        let together = judge.message(message, knows.then(|| learned(&judged)));
        tally.count(entry.label == Label::Spam, &together.verdict);
        if let Some((path, file)) = &mut output {
            let path_of = index.text_of(entry);
            writeln!(
                file,
                "{:.4}\t{}\t{path_of}\t{:.2}",
                judged.log_odds,
                entry.label.as_str(),
                together.verdict.score
            )
            .with_context(|| path.display().to_string())?;
        }
    }
    if let Some((path, mut file)) = output {
        file.flush().with_context(|| path.display().to_string())?;
    }
    let Some(figures) = Figures::of(&outcomes) else {
        bail!(
            "{}: it takes both spam and ham to tell how well they are told apart",
            arguments.index.display()
        );
    };
    let each = spent.as_secs_f64() * 1e6 / outcomes.len() as f64;
    super::print(&format!("{}\n{}", render(&figures, each), tally.render()))?;
    Ok(super::outcome(unread))
}

/// What a model begins with: the words of a file, or what the configuration says.
///
/// # Errors
/// The file cannot be read, or has a broken line.
pub(super) fn lexicon(config: &Milter, words: Option<&Path>) -> anyhow::Result<Lexicon> {
    let Some(path) = words else { return Ok(config.learning.lexicon()) };
    let mut text = String::new();
    let open = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    open.take(MAX_WORDS).read_to_string(&mut text).with_context(|| path.display().to_string())?;
    Lexicon::parse(&text).map_err(|wrong| anyhow::anyhow!("{}:{wrong}", path.display()))
}

/// Plays a stream for `fit`: what the rules say of each message, and what the model thought before it learned it; and its path. Unless `words` names what it
/// begins with, it begins with words that were chosen and weighed without the fold of the message: once for each fold.
///
/// # Errors
/// `words` cannot be read, or a message that could be read a moment ago.
pub(super) fn play(
    config: &Milter,
    index: &Index,
    judge: &Judge,
    fit: &Fit,
    unread: &mut usize,
) -> anyhow::Result<(Vec<Played>, Vec<String>)> {
    let (mut corpora, mut extractor) = (Corpora::default(), Extractor::default());
    let (mut entries, mut samples) = (Vec::new(), Vec::new());
    for entry in &index.entries {
        let Some(message) = message(index, entry, unread) else { continue };
        if fit.words.is_none() {
            corpora.read(index, entry, &message, &mut extractor);
        }
        entries.push(entry);
        samples.push(Sample {
            spam: entry.label == Label::Spam,
            group: index.group_of(entry).to_owned(),
            hits: judge.message(message, None).factors,
        });
    }
    let folds: Vec<BTreeSet<usize>> = match fit.words {
        Some(_) => vec![(0..entries.len()).collect()],
        None => divide(&samples, fit.folds).into_values().collect(),
    };
    let mut thought: Vec<Option<Learned>> = vec![None; entries.len()];
    for fold in folds {
        let lexicon = match &fit.words {
            Some(path) => lexicon(config, Some(path))?,
            None => corpora.lexicon(&Wanted::default(), |place| !fold.contains(&place))?,
        };
        let mut player = Player::new(Playing { delay: fit.delay, partial: false }, &lexicon);
        for (place, entry) in entries.iter().enumerate() {
            let raw = judge::read(&index.file_of(entry)).with_context(|| index.place_of(entry))?;
            let (judged, is_heard) = (player.look(&Message::from_eml(&raw)), player.is_heard());
            player.tell(entry.label);
            if is_heard && fold.contains(&place) {
                thought[place] = Some(learned(&judged));
            }
        }
    }
    let paths = entries.iter().map(|entry| index.text_of(entry).to_owned()).collect();
    Ok((
        samples.into_iter().zip(thought).map(|(sample, learned)| Played { sample, learned }).collect(),
        paths,
    ))
}

/// What the rules hear of a judgement; no evidence, which takes longer than judging.
fn learned(judged: &Judgement) -> Learned {
    let list_post = judged.kind == Kind::ListPost;
    Learned { probability: judged.probability, list_post, evidence: String::new() }
}

/// The messages of an index that can be read.
pub(super) fn messages<'a>(
    index: &'a Index,
    unread: &'a mut usize,
) -> impl Iterator<Item = (Message, Label)> + 'a {
    index.entries.iter().filter_map(move |entry| Some((message(index, entry, unread)?, entry.label)))
}

pub(super) fn message(index: &Index, entry: &super::index::Entry, unread: &mut usize) -> Option<Message> {
    match judge::read(&index.file_of(entry)) {
        Ok(raw) => Some(Message::from_eml(&raw)),
        Err(why) => {
            *unread += 1;
            eprintln!("gatepost-milter: {}: {why:#}", index.place_of(entry));
            None
        }
    }
}

/// A list of words is some tens of kilobytes.
const MAX_WORDS: u64 = 16 << 20;

fn render(figures: &Figures, each: f64) -> String {
    let mut out = String::new();
    let _ =
        writeln!(out, "the model alone: {} ham, {} spam, {each:.0} µs a message", figures.ham, figures.spam);
    let _ = writeln!(
        out,
        "  at 50 %       {} ham called spam, {} spam called ham",
        figures.false_positives, figures.false_negatives
    );
    let roca = figures.roca;
    let _ = writeln!(out, "  (1-ROCA)%     {:.4} [{:.4} to {:.4}]", roca.value, roca.low, roca.high);
    let _ = writeln!(
        out,
        "  spam missed   {:.2} % where 0.1 % of ham is wrong, {:.2} % where 0.01 % is",
        figures.missed_at_thousandth, figures.missed_at_ten_thousandth
    );
    let _ = writeln!(out, "  log-loss      {:.4}", figures.log_loss);
    let _ = writeln!(out, "  said          messages  mean   spam");
    for (number, tenth) in figures.calibration.iter().enumerate().filter(|(_, tenth)| tenth.messages > 0) {
        let _ = writeln!(
            out,
            "  {:>3} to {:>3} %  {:>8}  {:>5.1}% {:>5.1}%",
            number * 10,
            number * 10 + 10,
            tenth.messages,
            tenth.said * 100.0,
            tenth.spam * 100.0
        );
    }
    let _ = writeln!(out, "\nrules and model together:");
    out
}
