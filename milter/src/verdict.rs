//! What is decided about a message, and why.
//!
//! For `service`, which turns it into edits and a reply, and for `report` and `ask`, which explain it. It is a value; nothing is decided here.

use gatepost::mail::SmtpReply;

use crate::score::Thresholds;

/// The decision about one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// What to do.
    pub action: Action,
    /// The sum of all points, in hundredths exactly.
    pub score: f64,
    /// The thresholds it was held against.
    pub thresholds: Thresholds,
    /// Every rule that hit, in the order of the rules; those with no points too.
    pub symbols: Vec<Hit>,
    /// The facts that could not be had, so that nothing was concluded from them.
    pub missing: Vec<&'static str>,
}

/// What to do with a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Refuse it with this reply.
    Reject(SmtpReply),
    /// Have it come again, with this reply: something that decides cannot be found out now.
    Defer(SmtpReply),
    /// Mark it as spam.
    AddHeader,
    /// Let it pass.
    NoAction,
}

/// One rule that hit.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The rule's symbol.
    pub symbol: &'static str,
    /// The points it gave, after factor and bound; never −0.
    pub weight: f64,
    /// What it saw: printable ASCII, cut; may be empty.
    pub evidence: String,
}

impl Action {
    /// Rspamd's word for it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Reject(_) => "reject",
            Self::Defer(_) => "soft reject",
            Self::AddHeader => "add header",
            Self::NoAction => "no action",
        }
    }
}

impl Verdict {
    /// The verdict of nobody: no rule was asked.
    pub fn unjudged(thresholds: Thresholds) -> Self {
        Self { action: Action::NoAction, score: 0.0, thresholds, symbols: Vec::new(), missing: Vec::new() }
    }

    /// Whether a symbol hit.
    pub fn has(&self, symbol: &str) -> bool {
        self.symbols.iter().any(|hit| hit.symbol == symbol)
    }
}
