//! What is decided about a message, and why.
//!
//! For `service`, which turns it into edits and a reply, and for `report` and `ask`, which explain it. It is a value; nothing is decided here.

use gatepost::mail::SmtpReply;
use gatepost::spam::SubjectTemplate;

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
    /// Take it and drop it.
    Discard,
    /// Refuse it with this reply.
    Reject(SmtpReply),
    /// Have it come again, with this reply: a stranger's first mail, or something that decides cannot be found out now.
    Defer(SmtpReply),
    /// Put it on hold, for somebody to look at.
    Quarantine,
    /// Mark it as spam, in its subject too.
    RewriteSubject(SubjectTemplate),
    /// Mark it as spam.
    AddHeader,
    /// Let it pass.
    NoAction,
}

/// What a mailbox's own Sieve script is told where it is to do more than is done for all recipients together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Nothing: into the inbox.
    None,
    /// Into Junk.
    Junk,
    /// Away with it.
    Discard,
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
            Self::Discard => "discard",
            Self::Reject(_) => "reject",
            Self::Defer(_) => "soft reject",
            Self::Quarantine => "quarantine",
            Self::RewriteSubject(_) => "rewrite subject",
            Self::AddHeader => "add header",
            Self::NoAction => "no action",
        }
    }

    /// How much is taken from the recipient: the mildest of several is the one that delivers most. A refusal is milder than a message that
    /// vanishes, because its sender hears of it.
    pub fn severity(&self) -> u8 {
        match self {
            Self::NoAction => 0,
            Self::AddHeader => 1,
            Self::RewriteSubject(_) => 2,
            Self::Quarantine => 3,
            Self::Defer(_) => 4,
            Self::Reject(_) => 5,
            Self::Discard => 6,
        }
    }

    /// What it comes to for a mailbox that gets the message after all, because another recipient of it wants it.
    pub fn mark(&self) -> Mark {
        match self {
            Self::NoAction => Mark::None,
            Self::AddHeader
            | Self::RewriteSubject(_)
            | Self::Quarantine
            | Self::Defer(_)
            | Self::Reject(_) => Mark::Junk,
            Self::Discard => Mark::Discard,
        }
    }

    /// Whether the message goes to its recipients now, marked or not.
    pub fn delivers(&self) -> bool {
        matches!(self, Self::NoAction | Self::AddHeader | Self::RewriteSubject(_))
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
