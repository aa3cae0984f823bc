//! The end of a message: what is changed, what is answered, and what the log and the history say about it.

use gatepost::store::history::Record;
use tokio::sync::OwnedSemaphorePermit;

use crate::enforcement::Enforcement;
use crate::history::draft::Judgement as Reasons;
use crate::protocol::{Edit, Reply};

/// The end of a message: edits, then the reply.
#[derive(Debug)]
pub struct Decision {
    /// Changes to the header block, in the order in which they must be sent.
    pub edits: Vec<Edit>,
    /// The final reply.
    pub reply: Reply,
    pub(super) action: &'static str,
    pub(super) score: Option<f64>,
    pub(super) note: String,
    /// Holds the memory of a replaced body until it is sent.
    pub(super) memory: Vec<OwnedSemaphorePermit>,
    /// What DMARC did, and why; empty where it had nothing to say.
    pub(super) dmarc: (&'static str, String),
    /// Why, for the history.
    pub(super) judgement: Reasons,
}

impl Decision {
    pub(super) fn new(edits: Vec<Edit>, reply: Reply, action: &'static str) -> Self {
        Self {
            edits,
            reply,
            action,
            score: None,
            note: String::new(),
            memory: Vec::new(),
            dmarc: ("", String::new()),
            judgement: Reasons::default(),
        }
    }

    /// Completes a record with what was decided.
    pub(super) fn tell(&mut self, record: &mut Record) {
        record.action = self.action.to_owned();
        record.score = self.score;
        if let Reply::Smtp(reply) = &self.reply {
            record.reply = Some(reply.to_string());
        }
        let judged = self.score.is_some();
        let notes = [Some(&self.note).filter(|note| !note.is_empty() && !judged), Some(&self.dmarc.1)];
        let notes: Vec<&str> =
            notes.into_iter().flatten().map(String::as_str).filter(|note| !note.is_empty()).collect();
        record.note = Some(notes.join(", ")).filter(|note| !note.is_empty());
        std::mem::take(&mut self.judgement).complete(record);
    }

    pub(super) fn score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    pub(super) fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    pub(super) fn dmarc(mut self, enforcement: &Enforcement) -> Self {
        let note = enforcement.note();
        if !note.is_empty() {
            self.dmarc = (enforcement.as_str(), note);
        }
        self
    }
}
