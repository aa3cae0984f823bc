//! The verdict in words: the headers that explain it, as Rspamd's `extended_spam_headers` wrote them.
//!
//! For `service`. Existing Sieve scripts and webmail plugins read these headers, so their form is Rspamd's
//! (`src/plugins/lua/milter_headers.lua`); only where Rspamd wrote its own name stands ours.
//!
//! ```text
//! X-Spamd-Result: default: False [7.50 / 15.00];
//!         MISSING_DATE(1.00)[];
//!         PHISHING(4.00)[bank.example -> evil.example];
//!         …
//! X-Spamd-Bar: +++++++
//! X-Spam-Level: *******
//! X-Spam-Status: Yes, score=7.50
//! X-Gatepost-Server: mx.example.com
//! X-Gatepost-Queue-Id: 4Xq…
//! ```
//!
//! `True` in the first line means rejected, as there. `X-Spam: Yes` itself is the service's to add: it is the decision, not its explanation.
//! Evidence comes from strangers' mail: it is printable ASCII without brackets and semicolons before it gets here (`rules::Evidence`).
//! No line is longer than `MAX_LINE`, the whole not longer than `MAX_RESULT`.

use std::fmt::Write;

use crate::score::Thresholds;
use crate::verdict::{Action, Verdict};

/// RFC 5322, 2.1.1: at most 998 bytes in a line; evidence and symbol stay far below.
const MAX_LINE: usize = 900;

/// All of `X-Spamd-Result`. Postfix takes header fields of up to 60,000 bytes in a milter's edit; nobody reads that much.
const MAX_RESULT: usize = 16_384;

/// A score of a hundred needs no hundred characters.
const MAX_BAR: usize = 50;

/// Names of which incoming copies are foreign and are removed, so that nobody believes a stranger's verdict. Rspamd's two are among
/// them: a server that ran it has scripts that trust them.
pub const OWN_HEADERS: &[&str] = &[
    "X-Spam",
    "X-Spam-Flag",
    "X-Spam-Level",
    "X-Spam-Status",
    "X-Spamd-Bar",
    "X-Spamd-Result",
    "X-Gatepost-Server",
    "X-Gatepost-Queue-Id",
    gatepost::training::KEY_HEADER,
    FOR,
    TAG,
    "X-Rspamd-Server",
    "X-Rspamd-Queue-Id",
];

/// The headers that explain a verdict; the configuration chooses among them.
pub const EXPLAINING: [&str; 6] = [
    "X-Spamd-Result",
    "X-Spamd-Bar",
    "X-Spam-Level",
    "X-Spam-Status",
    "X-Gatepost-Server",
    "X-Gatepost-Queue-Id",
];

/// What a mailbox is told alone: `<alice@example.com> junk; score=7.20`. One field for each mailbox for which more is to be done than for all;
/// `examples/spam-to-junk.sieve` reads it and takes it out, since it names recipients that the others may not know of.
pub const FOR: &str = "X-Gatepost-For";

/// A word that the operator's lists give a message.
pub const TAG: &str = "X-Gatepost-Tag";

/// What the report says about the place where it was made.
#[derive(Debug, Clone, Default)]
pub struct ReportContext {
    /// The name of this host.
    pub host: String,
    /// Postfix's queue id.
    pub queue_id: Option<String>,
}

/// The explaining headers from top to bottom. Values begin with the blank after the colon, as they stand in a message.
pub fn headers(verdict: &Verdict, context: &ReportContext) -> Vec<(&'static str, String)> {
    let mut headers =
        vec![("X-Spamd-Result", result(verdict)), ("X-Spamd-Bar", format!(" {}", bar(verdict.score)))];
    if verdict.score >= 1.0 {
        headers.push(("X-Spam-Level", format!(" {}", "*".repeat(whole(verdict.score)))));
    }
    let spam = if verdict.action == Action::NoAction { "No" } else { "Yes" };
    headers.push(("X-Spam-Status", format!(" {spam}, score={:.2}", verdict.score)));
    headers.push(("X-Gatepost-Server", format!(" {}", clean(&context.host))));
    if let Some(queue_id) = &context.queue_id {
        headers.push(("X-Gatepost-Queue-Id", format!(" {}", clean(queue_id))));
    }
    headers
}

/// The verdict in one line for the log: every symbol with points, the weightiest first.
pub fn summary(verdict: &Verdict) -> String {
    let mut hits: Vec<_> = verdict.symbols.iter().filter(|hit| hit.weight != 0.0).collect();
    hits.sort_by(|a, b| b.weight.abs().total_cmp(&a.weight.abs()));
    let mut line = hits
        .iter()
        .take(40)
        .map(|hit| format!("{}({:.2})", hit.symbol, hit.weight))
        .collect::<Vec<_>>()
        .join(" ");
    if !verdict.missing.is_empty() {
        let _ = write!(line, " missing: {}", verdict.missing.join(","));
    }
    line.trim_start().to_owned()
}

fn result(verdict: &Verdict) -> String {
    let rejected = if matches!(verdict.action, Action::Reject(_)) { "True" } else { "False" };
    // Where nothing is refused for its score, the mark is the limit; and a number, as those who read this expect one.
    let Thresholds { reject, add_header, .. } = verdict.thresholds;
    let limit = [reject, add_header].into_iter().find(|limit| limit.is_finite()).unwrap_or_default();
    let mut text = format!(" default: {rejected} [{:.2} / {limit:.2}]", verdict.score);
    let mut hits: Vec<_> = verdict.symbols.iter().collect();
    hits.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    for hit in hits {
        let mut line = format!("{}({:.2})[{}]", hit.symbol, hit.weight, hit.evidence);
        line.truncate(line.floor_char_boundary(MAX_LINE));
        if text.len() + line.len() > MAX_RESULT {
            text.push_str(";\n\t...");
            break;
        }
        text.push_str(";\n\t");
        text.push_str(&line);
    }
    if !verdict.missing.is_empty() {
        let _ = write!(text, ";\n\tFACTS_MISSING(0.00)[{}]", verdict.missing.join(","));
    }
    text
}

/// One sign for each whole point, `/` between −1 and 1.
fn bar(score: f64) -> String {
    match score {
        score if score >= 1.0 => "+".repeat(whole(score)),
        score if score <= -1.0 => "-".repeat(whole(-score)),
        _ => "/".to_owned(),
    }
}

/// The whole points, bounded. The cast saturates.
fn whole(score: f64) -> usize {
    (score.floor().max(0.0) as usize).min(MAX_BAR)
}

fn clean(text: &str) -> String {
    text.chars().take(255).map(|c| if c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::verdict::Hit;

    fn verdict(score: f64, action: Action, symbols: Vec<Hit>) -> Verdict {
        Verdict { action, score, thresholds: Thresholds::default(), symbols, missing: vec!["spf"] }
    }

    #[test]
    fn the_headers_are_those_that_scripts_know() {
        let hits = vec![
            Hit { symbol: "MIME_GOOD", weight: -0.1, evidence: "text/plain".to_owned() },
            Hit { symbol: "PHISHING", weight: 7.6, evidence: String::new() },
        ];
        let verdict = verdict(7.5, Action::AddHeader, hits);
        let context = ReportContext { host: "mx.example.com".to_owned(), queue_id: Some("4X".to_owned()) };
        let expected = [
            (
                "X-Spamd-Result",
                " default: False [7.50 / 15.00];\n\tPHISHING(7.60)[];\n\tMIME_GOOD(-0.10)[text/plain];\n\tFACTS_MISSING(0.00)[spf]",
            ),
            ("X-Spamd-Bar", " +++++++"),
            ("X-Spam-Level", " *******"),
            ("X-Spam-Status", " Yes, score=7.50"),
            ("X-Gatepost-Server", " mx.example.com"),
            ("X-Gatepost-Queue-Id", " 4X"),
        ];
        let written = headers(&verdict, &context);
        assert_eq!(written.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>(), expected);
        assert_eq!(summary(&verdict), "PHISHING(7.60) MIME_GOOD(-0.10) missing: spf");
        for (name, _) in written {
            assert!(OWN_HEADERS.contains(&name), "{name}");
        }
    }

    #[test]
    fn bars_are_bounded_on_both_sides() {
        for (score, bar) in [(-2.5, "--"), (0.99, "/"), (-0.5, "/"), (3.2, "+++")] {
            assert_eq!(super::bar(score), bar);
        }
        assert_eq!(super::bar(1e9).len(), MAX_BAR);
    }

    #[test]
    fn a_report_of_everything_is_bounded() {
        let hits =
            (0..5_000).map(|_| Hit { symbol: "SYMBOL", weight: 1.0, evidence: "e".repeat(128) }).collect();
        let verdict = verdict(5_000.0, Action::NoAction, hits);
        let written = headers(&verdict, &ReportContext::default());
        assert!(written[0].1.len() < MAX_RESULT + 64);
        assert!(written.iter().flat_map(|(_, value)| value.split('\n')).all(|line| line.len() <= 998));
    }
}
