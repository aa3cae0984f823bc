//! `evaluate INDEX --online --owners N --liar M`: what one user can do to the others.
//!
//! The messages are dealt out in turn to N owners, each of whom says what his are; the first says the opposite of his first M. The stream is
//! played twice, without and with his lies, and the figures are those of the messages that the others got.

use std::fmt::Write;
use std::process::ExitCode;

use anyhow::bail;

use super::Evaluate;
use super::index::{Index, Label};
use super::online;
use crate::config::Milter;
use crate::learning::stream::{Figures, Outcome};
use crate::learning::{Extractor, Lexicon, Model, Owner};

/// Plays twice.
///
/// # Errors
/// An index that cannot be read, or has only one kind of mail.
pub(super) fn run(config: &Milter, arguments: &Evaluate) -> anyhow::Result<ExitCode> {
    let index = Index::read(&arguments.index)?;
    let lexicon = online::lexicon(config, arguments.words.as_deref())?;
    let mut out = format!(
        "{} owners, one of whom calls up to {} of his messages what they are not; the others' mail:\n",
        arguments.owners, arguments.liar
    );
    let mut unread = 0;
    for (name, lies) in [("honest", 0), ("lied to", arguments.liar)] {
        let Some(figures) = Figures::of(&play(&index, &lexicon, arguments.owners, lies, &mut unread)) else {
            bail!(
                "{}: it takes both spam and ham to tell how well they are told apart",
                arguments.index.display()
            );
        };
        let Figures { ham, spam, false_positives, false_negatives, roca, missed_at_thousandth, .. } = figures;
        let _ = writeln!(
            out,
            "  {name:<8} {false_positives} of {ham} ham called spam, {false_negatives} of {spam} spam called ham, \
             (1-ROCA)% {:.4}, spam missed at 0.1 % of ham {missed_at_thousandth:.2} %",
            roca.value
        );
    }
    super::print(&out)?;
    Ok(super::outcome(unread))
}

/// What the others were told of their messages.
fn play(index: &Index, lexicon: &Lexicon, owners: u64, lies: usize, unread: &mut usize) -> Vec<Outcome> {
    let (mut model, mut extractor, mut outcomes) =
        (Model::beginning(lexicon), Extractor::default(), Vec::new());
    let mut left = lies;
    for ((message, label), turn) in online::messages(index, unread).zip((0..owners).cycle()) {
        let owner = Owner::new(&format!("owner{turn}@example.com"));
        let features = extractor.read(&message).features;
        let judged = model.judge(&features, Some(owner));
        let mut said = label;
        if turn > 0 {
            outcomes.push(Outcome { label, judged });
        } else if left > 0 {
            left -= 1;
            said = match label {
                Label::Spam => Label::Ham,
                Label::Ham => Label::Spam,
            };
        }
        model.learn(&features, Some(owner), said, &judged);
    }
    outcomes
}
