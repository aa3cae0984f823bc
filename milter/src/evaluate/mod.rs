//! `gatepost-milter evaluate` and `gatepost-milter fit`: the rules held against mail of which somebody has said what it is.
//!
//! For whoever changes rules or weights, and for an operator who wants to know what they would do to his own mail. Both need no daemon,
//! no database and no DNS: each message is judged by what it says itself, as by `ask --offline`. Nothing is written but to `--output`.
//!
//! - [`index`]: the list of messages.
//! - [`judge`]: messages read and judged, several at once.
//! - [`tally`]: what came of it, counted and printed.
//! - [`online`]: the model that learns, played a stream in its order; alone and together with the rules.
//! - [`liar`]: what one user who says the opposite can do to the others.
//! - [`portrait`]: what the model sees of a message; [`words`]: the list of words that a new model begins with; [`language`]: which may be in it; [`regression`]: their weights.
//! - [`fit`]: weights from it; [`model`]: the arithmetic; [`joint`]: points for what the model thinks.

pub mod fit;
pub mod index;
pub mod joint;
pub mod judge;
pub mod language;
pub mod liar;
pub mod model;
pub mod online;
pub mod portrait;
pub mod regression;
pub mod tally;
pub mod words;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use gatepost::daemon::{ConfigSource, SOFTWARE};

use crate::config::Milter;
use crate::score::Weights;
use index::{Index, Label};
use judge::{Judge, Judged};
use tally::Tally;

/// Verbs of the milter alone.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Judge a labelled corpus offline, and count what each rule and each threshold does to ham and to spam
    Evaluate(Evaluate),
    /// Fit the rules' weights to a labelled corpus, cross-validated, and print them as [milter.weights]
    Fit(fit::Fit),
    /// Print what the model that learns sees of a message: how many features, and a digest of them
    Features(portrait::Features),
    /// Print the words of spam and of wanted mail in labelled corpora, with weights: the list that a new model begins with
    Words(words::Words),
}

/// The arguments of `evaluate`.
#[derive(Debug, clap::Args)]
pub struct Evaluate {
    /// Lines "spam|ham TAB path"; paths are relative to the index's directory
    #[arg(value_name = "INDEX")]
    index: PathBuf,
    /// Also write one line for each message: label, path, score, action, symbols with points; tabs between them
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How many messages are judged at once; as many as the machine has cores if not given
    #[arg(long, value_name = "NUMBER", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Judge each message also by the model that learns, in the order of the index, and show it what the message was afterwards
    #[arg(long)]
    online: bool,
    /// With --online: tell what a message was only after that many more
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "online")]
    delay: usize,
    /// With --online: tell only of messages that were judged wrong, as people do
    #[arg(long, requires = "online")]
    partial: bool,
    /// With --online: learn from this corpus and from no other, and judge INDEX by that
    #[arg(long, value_name = "INDEX", requires = "online", conflicts_with_all = ["delay", "partial"])]
    train: Option<PathBuf>,
    /// With --online: begin with the words of this file, as `words` prints them, instead of what `learning.start` says; an empty file: with nothing
    #[arg(long, value_name = "FILE", requires = "online")]
    words: Option<PathBuf>,
    /// With --online: deal the messages out to so many owners, of whom one lies, and print what that does to the others
    #[arg(long, value_name = "NUMBER", default_value_t = 10, requires = "liar", value_parser = clap::value_parser!(u64).range(2..=100_000))]
    owners: u64,
    /// With --online: how many of his messages the first of the owners calls what they are not
    #[arg(long, value_name = "NUMBER", default_value_t = 0, requires = "online", conflicts_with_all = ["delay", "partial", "train", "output"])]
    liar: usize,
}

/// Does what the verb says. 0, or 70 where messages could not be read: the rest is counted all the same.
pub async fn run(source: ConfigSource, verb: Verb) -> anyhow::Result<ExitCode> {
    gatepost::daemon::quiet_log();
    let config = match source.given() {
        Some(_) => source.load::<Milter>()?.service,
        None => Milter::default(),
    };
    match verb {
        Verb::Evaluate(evaluate) => self::evaluate(&config, evaluate).await,
        Verb::Fit(fit) => fit::fit(&config, fit).await,
        Verb::Features(features) => portrait::run(&features),
        Verb::Words(words) => words::run(&words),
    }
}

async fn evaluate(config: &Milter, arguments: Evaluate) -> anyhow::Result<ExitCode> {
    if arguments.liar > 0 {
        return liar::run(config, &arguments);
    }
    if arguments.online {
        return online::run(config, &arguments);
    }
    let index = Index::read(&arguments.index)?;
    let mut output = match &arguments.output {
        Some(path) => {
            let file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
            Some((path, std::io::BufWriter::new(file)))
        }
        None => None,
    };
    let thresholds = config.view().thresholds;
    let judge = Judge::new(Weights::new(&config.weights.0), thresholds, config.bounds().rules_body);
    let mut tally = Tally::default();
    let mut unread = 0_usize;
    judge::each(&index, judge, arguments.threads, |entry, judged| {
        match judged {
            Ok(judged) => {
                tally.count(entry.label == Label::Spam, &judged.verdict);
                if let Some((path, file)) = &mut output {
                    writeln!(file, "{}", row(&index, entry, &judged))
                        .with_context(|| path.display().to_string())?;
                }
            }
            Err(why) => {
                unread += 1;
                eprintln!("gatepost-milter: {why}");
            }
        }
        Ok(())
    })
    .await?;
    if let Some((path, mut file)) = output {
        file.flush().with_context(|| path.display().to_string())?;
    }
    print(&tally.render())?;
    Ok(outcome(unread))
}

/// One message as a line of `--output`.
fn row(index: &Index, entry: &index::Entry, judged: &Judged) -> String {
    let verdict = &judged.verdict;
    let symbols: Vec<String> =
        verdict.symbols.iter().map(|hit| format!("{}({:.2})", hit.symbol, hit.weight)).collect();
    format!(
        "{}\t{}\t{:.2}\t{}\t{}",
        entry.label.as_str(),
        index.text_of(entry),
        verdict.score,
        verdict.action.as_str(),
        symbols.join(" ")
    )
}

/// The exit code where that many messages could not be read.
fn outcome(unread: usize) -> ExitCode {
    if unread == 0 {
        return ExitCode::SUCCESS;
    }
    eprintln!("gatepost-milter: {unread} messages could not be read; they are in no figure");
    SOFTWARE.into()
}

/// To standard output; a reader that has seen enough is no failure.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
