//! The messages of a corpus, read and judged, several at once, given back in the order of the index.
//!
//! What is judged is the file alone: no envelope, no DNS, as by `ask --offline`. A message that cannot be read is an answer too, with
//! the place of its line.

use std::io::Read;
use std::sync::Arc;

use anyhow::Context;
use futures_util::{StreamExt, stream};

use super::index::{Entry, Index};
use crate::authentication::Authentication;
use crate::facts::Facts;
use crate::message::{Direction, Envelope, Message};
use crate::pool::Pool;
use crate::score::{self, Thresholds, Weights};
use crate::verdict::Verdict;

/// What is needed to judge.
pub struct Judge {
    weights: Weights,
    thresholds: Thresholds,
    rules_body: usize,
}

/// One message judged.
pub struct Judged {
    /// What was decided.
    pub verdict: Verdict,
    /// What each rule is worth in times its weight, by its place in the table of rules.
    pub factors: Vec<(usize, f64)>,
}

impl Judge {
    /// With these weights and thresholds, and that many bytes of each body.
    pub fn new(weights: Weights, thresholds: Thresholds, rules_body: usize) -> Self {
        Self { weights, thresholds, rules_body }
    }

    fn judge(&self, raw: &[u8]) -> Judged {
        let mut message = Message::from_eml(raw);
        message.body.truncate(self.rules_body);
        let envelope = Envelope::new(Direction::Inbound);
        let facts = Facts::gather(&message, &envelope, &Authentication::not_asked());
        Judged {
            verdict: score::judge(&facts, &self.weights, &self.thresholds),
            factors: score::factors(&facts),
        }
    }
}

/// Judges every message, `threads` at once (0: as many as there are cores), and hands each on in the order of the index.
///
/// # Errors
/// What `take` says; the rest is not judged then.
pub async fn each(
    index: &Index,
    judge: Judge,
    threads: usize,
    mut take: impl FnMut(&Entry, Result<Judged, String>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (pool, judge) = (Pool::new(threads), Arc::new(judge));
    // By number: a future that borrows its entry would have to be good for every lifetime.
    let work = (0..index.entries.len()).map(|number| {
        let entry = &index.entries[number];
        let (file, place) = (index.file_of(entry), index.place_of(entry));
        let (pool, judge) = (pool.clone(), Arc::clone(&judge));
        async move {
            let judged = pool.run(move || read(&file).map(|raw| judge.judge(&raw))).await;
            let judged = judged.context("judging failed").and_then(|judged| judged);
            (number, judged.map_err(|why| format!("{place}: {why:#}")))
        }
    });
    let mut results = stream::iter(work).buffered(AHEAD);
    while let Some((number, judged)) = results.next().await {
        take(&index.entries[number], judged)?;
    }
    Ok(())
}

fn read(file: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    let shown = || file.display().to_string();
    let mut raw = Vec::new();
    std::fs::File::open(file)
        .and_then(|open| open.take(MAX_MESSAGE).read_to_end(&mut raw))
        .with_context(shown)?;
    Ok(raw)
}

/// More than any mail server lets through; a device named by mistake must not fill the memory.
const MAX_MESSAGE: u64 = 256 << 20;

/// How many messages may be under way: enough that a long one keeps no thread idle.
const AHEAD: usize = 64;
