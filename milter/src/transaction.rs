//! One message while it comes in: envelope, header fields and body, each within a bound.
//!
//! For `session`, which feeds it, and `service`, which decides about the result. It knows neither rules nor DNS.
//!
//! Bounds, and what happens beyond each (mail is refused for none but the first, of which honest mail is a hundredth):
//!
//! | what | bound | beyond it |
//! |---|---|---|
//! | header fields | [`MAX_FIELDS`], [`MAX_HEADER_BYTES`] | mail from outside is refused, 552 5.3.4: anything could stand there. Mail of ours leaves unsigned |
//! | body kept for the rules | `limits.rules-body` (4 MiB) | the rules see the beginning |
//! | body kept for DKIM verification | `limits.message` (64 MiB), or more where the antivirus takes more, and all connections together `limits.memory` | the fact `dkim` is missing |
//! | body kept for the antivirus | `antivirus.message` (25 MiB) and `limits.memory` | it is not scanned |
//! | body kept to be mended before it is signed | the same | it is signed as it is |
//! | body signed | none: the hash is computed while it arrives | |
//! | recipients | [`MAX_RECIPIENTS`] | further ones are not listed |
//!
//! So one connection holds at most 1 MiB of header, 1 MiB of body and one frame of its own; whatever a body is longer comes from
//! `limits.memory`, which all connections share.

use std::sync::Arc;

use bytes::Bytes;
use gatepost::mail::Address;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::arc::sets;
use crate::message::{Direction, Envelope, Header, Message};
use crate::signing::{BodyHash, Survey};

/// Far more than any mailer writes; Postfix itself sets no bound on their number.
pub const MAX_FIELDS: usize = 4_000;

/// All names and values together. Postfix cuts each field at 60,000 bytes (`milter8.c`), but not their sum.
pub const MAX_HEADER_BYTES: usize = 1 << 20;

/// Postfix accepts 1,000 recipients a message by default (`smtpd_recipient_limit`).
pub const MAX_RECIPIENTS: usize = 10_000;

/// How much of a body is kept.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// For the rules.
    pub rules_body: usize,
    /// For DKIM verification.
    pub message: usize,
    /// Whether mail from outside is hashed too, because it may be sealed.
    pub hash_inbound: bool,
    /// For the antivirus; 0 where there is none.
    pub scan: usize,
}

/// Memory for long bodies, shared by all connections, in steps of 1 MiB.
#[derive(Debug, Clone)]
pub struct Budget(Arc<Semaphore>);

impl Budget {
    /// A budget of that many bytes, rounded down to whole steps.
    pub fn new(bytes: u64) -> Self {
        let steps = usize::try_from(bytes / STEP as u64).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(steps)))
    }

    fn step(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }

    /// Memory for so many bytes at once, the first step free as in a message; none when there is not enough now.
    pub fn reserve(&self, bytes: u64) -> Option<Vec<OwnedSemaphorePermit>> {
        let steps = u32::try_from(bytes / STEP as u64).ok()?;
        Arc::clone(&self.0).try_acquire_many_owned(steps).ok().map(|permits| vec![permits])
    }
}

/// What the MTA lets us change, as agreed for the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Abilities {
    /// Header fields: add, change and delete them.
    pub headers: bool,
    /// The body: replace it.
    pub body: bool,
    /// The message: put it on hold.
    pub hold: bool,
}

/// What a message's body is needed for, known when its header block is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To be judged, and its signatures verified if it has any.
    Verify,
    /// To be judged by its beginning, mended if need be, and signed.
    JudgeAndSign,
    /// To be mended if need be, and signed.
    Sign,
}

/// A message coming in.
pub struct Transaction {
    /// The sender, if it is an address.
    pub sender: Option<Address>,
    /// MAIL FROM as given, without brackets; empty for the null sender.
    reverse_path: String,
    /// The recipients that the MTA accepted.
    pub recipients: Vec<Address>,
    /// How many recipients the MTA refused.
    pub refused_recipients: u32,
    /// The header fields.
    pub headers: Vec<Header>,
    header_bytes: usize,
    headers_cut: bool,
    /// Whether a recipient was accepted that is not delivered on this host.
    leaves: bool,
    abilities: Abilities,
    body: Body,
}

struct Body {
    purpose: Purpose,
    /// The header block, the empty line, and the body as far as it is kept.
    raw: Vec<u8>,
    /// Where the body begins in `raw`.
    start: usize,
    size: u64,
    hash: Option<BodyHash>,
    survey: Survey,
    keep: usize,
    memory: Vec<OwnedSemaphorePermit>,
}

/// A message that is complete.
pub struct Received {
    /// Headers, and the body as far as the rules may see it.
    pub message: Message,
    /// The message as it will be delivered, without our edits; as far as it was kept.
    pub raw: Vec<u8>,
    /// Whether `raw` is the whole message.
    pub complete: bool,
    /// Whether every header field is in `message`.
    pub headers_complete: bool,
    /// Where the body begins in `raw`.
    pub body_start: usize,
    /// The body's hash, for a message that may be signed.
    pub body_hash: Option<[u8; 32]>,
    /// What in the body of such a message does not survive its way out.
    pub survey: Survey,
    /// What the MTA lets us change.
    pub abilities: Abilities,
    /// Whether every recipient is known to be delivered on this host.
    pub stays_here: bool,
    /// Holds the memory of `raw` until it is dropped.
    pub memory: Vec<OwnedSemaphorePermit>,
}

impl Transaction {
    /// A message from that sender.
    pub fn new(sender: Option<Address>) -> Self {
        Self {
            sender,
            reverse_path: String::new(),
            recipients: Vec::new(),
            refused_recipients: 0,
            headers: Vec::new(),
            header_bytes: 0,
            headers_cut: false,
            leaves: false,
            abilities: Abilities::default(),
            body: Body::new(),
        }
    }

    /// With the sender as the client gave it.
    #[must_use]
    pub fn with_reverse_path(mut self, reverse_path: String) -> Self {
        self.reverse_path = reverse_path;
        self
    }

    /// A recipient that the MTA accepted, and whether it is delivered on this host.
    pub fn recipient(&mut self, recipient: Address, here: bool) {
        self.leaves |= !here;
        if self.recipients.len() < MAX_RECIPIENTS {
            self.recipients.push(recipient);
        }
    }

    /// The next header field. `value` has its leading space, or gets the one that the MTA took away.
    pub fn header(&mut self, name: &Bytes, value: &Bytes, has_leading_space: bool) {
        let size = name.len() + value.len();
        if self.headers.len() >= MAX_FIELDS || self.header_bytes + size > MAX_HEADER_BYTES {
            self.headers_cut = true;
            return;
        }
        self.header_bytes += size;
        let mut kept = Vec::with_capacity(value.len() + 1);
        if !has_leading_space && !value.is_empty() {
            kept.push(b' ');
        }
        kept.extend_from_slice(value);
        self.headers.push(Header { name: name.to_vec(), value: kept });
    }

    /// The header block is complete; from here on it is known what the body is needed for. Where the MTA lets us change nothing,
    /// nothing need be kept to be mended.
    pub fn end_of_headers(&mut self, direction: Direction, abilities: Abilities, bounds: Bounds) {
        self.abilities = abilities;
        let purpose = match direction {
            Direction::Inbound => Purpose::Verify,
            Direction::Submitted => Purpose::JudgeAndSign,
            Direction::Local => Purpose::Sign,
        };
        let whole = match purpose {
            Purpose::Verify => self.headers.iter().any(is_signature),
            Purpose::JudgeAndSign | Purpose::Sign => abilities.headers && abilities.body,
        };
        self.body.begin(purpose, &self.headers, whole, bounds);
    }

    /// The next piece of the body.
    pub fn body(&mut self, piece: &[u8], budget: &Budget) {
        self.body.append(piece, budget);
    }

    /// Whether no further piece of the body is needed.
    pub fn has_enough(&self) -> bool {
        self.body.hash.is_none() && self.body.raw.len() - self.body.start >= self.body.keep
    }

    /// The message is complete.
    pub fn finish(self, bounds: Bounds) -> Received {
        let Body { purpose, raw, start, size, hash, survey, memory, .. } = self.body;
        let kept = &raw[start..];
        let complete = kept.len() as u64 == size && !self.headers_cut;
        let judged = if purpose == Purpose::Sign { 0 } else { bounds.rules_body };
        let body = kept[..kept.len().min(judged)].to_vec();
        Received {
            message: Message { headers: self.headers, body, body_size: size },
            complete,
            headers_complete: !self.headers_cut,
            body_start: start,
            body_hash: hash.map(BodyHash::finish),
            survey,
            abilities: self.abilities,
            stays_here: !self.leaves && !self.recipients.is_empty(),
            raw,
            memory,
        }
    }
}

impl Body {
    fn new() -> Self {
        Self {
            purpose: Purpose::Sign,
            raw: Vec::new(),
            start: 0,
            size: 0,
            hash: None,
            survey: Survey::default(),
            keep: 0,
            memory: Vec::new(),
        }
    }

    fn begin(&mut self, purpose: Purpose, headers: &[Header], whole: bool, bounds: Bounds) {
        self.purpose = purpose;
        self.keep = match purpose {
            Purpose::Sign if whole => bounds.message,
            Purpose::Sign => 0,
            Purpose::Verify | Purpose::JudgeAndSign if whole => {
                bounds.message.max(bounds.rules_body).max(bounds.scan)
            }
            Purpose::Verify | Purpose::JudgeAndSign => bounds.rules_body.max(bounds.scan),
        };
        self.hash = (purpose != Purpose::Verify || bounds.hash_inbound).then(BodyHash::new);
        if purpose == Purpose::Verify {
            for header in headers {
                header.write_to(&mut self.raw);
            }
        }
        self.raw.extend_from_slice(b"\r\n");
        self.start = self.raw.len();
    }

    fn append(&mut self, piece: &[u8], budget: &Budget) {
        self.size += piece.len() as u64;
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
            self.survey.update(piece);
        }
        let kept = self.raw.len() - self.start;
        let wanted = piece.len().min(self.keep.saturating_sub(kept));
        // The first step of each message is free: it is bounded by the number of connections.
        while kept + wanted > STEP * (1 + self.memory.len()) {
            match budget.step() {
                Some(step) => self.memory.push(step),
                None => {
                    self.keep = kept;
                    return;
                }
            }
        }
        // Doubling would reserve up to twice what the budget knows of.
        if self.raw.capacity() - self.raw.len() < wanted && self.raw.len() > STEP {
            self.raw.reserve_exact(STEP);
        }
        self.raw.extend_from_slice(&piece[..wanted]);
    }
}

/// Whether that field signs the body.
fn is_signature(header: &Header) -> bool {
    header.is("DKIM-Signature") || header.is(sets::MESSAGE_SIGNATURE)
}

/// The steps of the memory budget.
const STEP: usize = 1 << 20;

/// Builds the envelope of what was collected.
impl Transaction {
    /// The envelope, with what the connection and the macros say around it.
    pub fn envelope(&self, around: Envelope) -> Envelope {
        Envelope {
            sender: self.sender.clone(),
            reverse_path: self.reverse_path.clone(),
            recipients: self.recipients.clone(),
            ..around
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const BOUNDS: Bounds = Bounds { rules_body: 10, message: 4 * STEP, hash_inbound: false, scan: 0 };

    fn header(transaction: &mut Transaction, name: &'static str, value: &'static str) {
        transaction.header(&Bytes::from_static(name.as_bytes()), &Bytes::from_static(value.as_bytes()), true);
    }

    #[test]
    fn keeps_the_beginning_for_the_rules_and_all_for_dkim() {
        for (signed, complete) in [(true, true), (false, false)] {
            let budget = Budget::new(64 * STEP as u64);
            let mut transaction = Transaction::new(None);
            header(&mut transaction, "Subject", " x");
            if signed {
                header(&mut transaction, "DKIM-Signature", " v=1");
            }
            transaction.end_of_headers(Direction::Inbound, Abilities::default(), BOUNDS);
            transaction.body(b"0123456789", &budget);
            assert_eq!(transaction.has_enough(), !signed);
            transaction.body(b"abc", &budget);
            let received = transaction.finish(BOUNDS);
            assert_eq!(received.message.body, b"0123456789");
            assert_eq!(received.message.body_size, 13);
            assert_eq!(received.complete, complete);
            assert_eq!(received.raw.ends_with(b"\r\n\r\n0123456789abc"), complete);
        }
    }

    #[test]
    fn outgoing_mail_is_hashed_whole_and_kept_within_the_budget() {
        let line = [b'x'; 1000];
        for (body, steps, kept) in
            [(false, 64, 0), (true, 0, STEP), (true, 2, 3 * STEP), (true, 64, 4 * STEP)]
        {
            let budget = Budget::new((steps * STEP) as u64);
            let mut transaction = Transaction::new(None);
            transaction.end_of_headers(
                Direction::Local,
                Abilities { headers: true, body, hold: false },
                BOUNDS,
            );
            for _ in 0..10_000 {
                transaction.body(&line, &budget);
            }
            assert!(!transaction.has_enough());
            let received = transaction.finish(BOUNDS);
            assert!(
                received.raw.len() <= kept + 2 && received.raw.len() + 1000 >= kept,
                "{}",
                received.raw.len()
            );
            assert!(!received.complete && received.message.body.is_empty());
            let mut whole = BodyHash::new();
            whole.update(&[b'x'; 10_000_000]);
            assert_eq!(received.body_hash, Some(whole.finish()));
            assert!(received.survey.has_long_lines());
        }
    }

    #[test]
    fn memory_is_reserved_whole_or_not_at_all() {
        let budget = Budget::new(3 * STEP as u64);
        assert!(budget.reserve(STEP as u64 - 1).is_some_and(|permits| permits[0].num_permits() == 0));
        let two = budget.reserve(2 * STEP as u64).unwrap();
        assert!(budget.reserve(2 * STEP as u64).is_none());
        drop(two);
        assert!(budget.reserve(3 * STEP as u64).is_some());
        assert!(budget.reserve(u64::MAX).is_none());
    }

    #[test]
    fn an_empty_budget_cuts_and_a_finished_message_gives_it_back() {
        let budget = Budget::new(2 * STEP as u64);
        let megabyte = vec![b'x'; STEP];
        let fill = || {
            let mut transaction = Transaction::new(None);
            header(&mut transaction, "DKIM-Signature", " v=1");
            transaction.end_of_headers(Direction::Inbound, Abilities::default(), BOUNDS);
            for _ in 0..4 {
                transaction.body(&megabyte, &budget);
            }
            transaction.finish(BOUNDS)
        };
        let first = fill();
        assert!(!first.complete, "three of four MiB fit");
        assert!(first.raw.len() > 3 * STEP && first.raw.capacity() < 5 * STEP);
        let second = fill();
        assert!(second.raw.len() < STEP + 100);
        drop(first);
        assert!(fill().raw.len() > 3 * STEP);
    }

    #[test]
    fn header_fields_beyond_the_bounds_are_not_kept() {
        let mut transaction = Transaction::new(None);
        for _ in 0..=MAX_FIELDS {
            header(&mut transaction, "X", " y");
        }
        transaction.end_of_headers(Direction::Inbound, Abilities::default(), BOUNDS);
        let received = transaction.finish(BOUNDS);
        assert_eq!(received.message.headers.len(), MAX_FIELDS);
        assert!(!received.headers_complete && !received.complete);
    }

    #[test]
    fn the_space_that_an_old_mta_took_is_put_back() {
        let mut transaction = Transaction::new(None);
        transaction.header(&Bytes::from_static(b"A"), &Bytes::from_static(b"b"), false);
        transaction.header(&Bytes::from_static(b"C"), &Bytes::new(), false);
        assert_eq!(transaction.headers, [Header::new("A", " b"), Header::new("C", "")]);
    }
}
