//! What becomes of mail that fails DMARC (RFC 9989, 5.4 and 7): the domain's policy, the operator's exceptions, and the reason where
//! the two differ.
//!
//! For `service`, which carries it out, and for the aggregate reports. Pure: what SPF, DKIM, DMARC and ARC found out comes in as
//! [`Evidence`], what SQL holds as [`Exceptions`]; nothing is asked here.
//!
//! In this order, the first that speaks wins:
//!
//! | | |
//! |---|---|
//! | nothing known to have failed (pass, no record, temperror, permerror, a fact missing) | nothing is done |
//! | the operator's override for the domain, or the nearest above it | counts instead of the record |
//! | `t=y` in the record | one level milder |
//! | a trusted ARC sealer saw it pass | nothing is done |
//! | it comes from an allow-listed forwarder | nothing is done; Junk if that is so for some of its recipients only |
//! | `mailing-lists = "quarantine"`, and it comes by a list that proves to be one | Junk at the worst |
//! | `reject = "quarantine"` | Junk at the worst |
//! | `enforce = false` | nothing is done |
//! | it would be refused, and an exception cannot be looked up | 451, or Junk |
//!
//! RFC 9989, 7.4 warns not to refuse for `p=reject` alone; the exceptions are the other knowledge that it asks for. A rejection needs
//! every fact: what cannot be found out now never becomes a 550.

mod combined;
mod evidence;
mod forwarders;
mod observation;
mod settings;

pub use combined::{SYMBOL, combine};
pub use evidence::{Evidence, Failure, Proof, TrustedSealer};
pub use observation::observation;
pub use settings::{MailingLists, OnReject, OnUnavailable, Settings};

use std::sync::Arc;

use gatepost::directory::Lookup;
use gatepost::dmarc::{Forwarder, Overrides, Policy, Reason, ReasonKind};
use gatepost::mail::SmtpReply;

use forwarders::Coverage;

/// What is to be done with a message because of DMARC, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enforcement {
    /// What is done.
    pub action: Action,
    /// What the domain asks for, as published, before `t=y`.
    pub asked: Policy,
    /// Why what is done is something else; empty where it is not.
    pub reasons: Vec<Reason>,
    /// What would be done if `enforce` were on; the same as what is done if it is.
    pub intended: Policy,
}

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing.
    Nothing,
    /// It goes to Junk: `X-Spam: Yes`.
    Quarantine,
    /// It is refused with this reply.
    Refuse(SmtpReply),
    /// Nobody can say now; the sender is to try again.
    TryLater {
        /// What the sender is told.
        reply: SmtpReply,
        /// What cannot be had, for the log.
        why: String,
        /// Whether that is until the operator acts.
        misconfigured: bool,
    },
}

/// What the operator keeps in SQL.
#[derive(Debug, Clone)]
pub struct Exceptions {
    /// Policies of his own.
    pub overrides: Lookup<Arc<Overrides>>,
    /// Who forwards to us.
    pub forwarders: Lookup<Arc<Vec<Forwarder>>>,
}

impl Exceptions {
    /// There is none.
    pub fn none() -> Self {
        Self { overrides: Lookup::None, forwarders: Lookup::None }
    }
}

impl Enforcement {
    /// DMARC asks for nothing.
    pub fn nothing() -> Self {
        Self { action: Action::Nothing, asked: Policy::None, reasons: Vec::new(), intended: Policy::None }
    }

    /// What becomes of the message, in the words of a report; none while it is not decided.
    pub fn disposition(&self) -> Option<Policy> {
        match self.action {
            Action::Nothing => Some(Policy::None),
            Action::Quarantine => Some(Policy::Quarantine),
            Action::Refuse(_) => Some(Policy::Reject),
            Action::TryLater { .. } => None,
        }
    }

    /// The word for log and metrics.
    pub fn as_str(&self) -> &'static str {
        self.disposition().map_or("tempfail", Policy::as_str)
    }

    /// In one line: what the domain asks for, what is done, and why that is not the same; empty where nothing failed.
    pub fn note(&self) -> String {
        if self.asked == Policy::None && self.reasons.is_empty() && self.action == Action::Nothing {
            return String::new();
        }
        let mut note = format!("asked {}, done {}", self.asked, self.as_str());
        if self.disposition() != Some(self.intended) {
            note.push_str(&format!(" instead of {}", self.intended));
        }
        for reason in &self.reasons {
            note.push_str(&format!(", {reason}"));
        }
        if let Action::TryLater { why, .. } = &self.action {
            note.push_str(&format!(", {why}"));
        }
        note
    }
}

/// Decides.
pub fn decide(evidence: &Evidence, settings: &Settings, exceptions: &Exceptions) -> Enforcement {
    let Some(failure) = &evidence.failure else { return Enforcement::nothing() };
    let mut doubts = Doubts::default();
    let mut reasons = Vec::new();

    let override_policy = match &exceptions.overrides {
        Lookup::Found(overrides) => overrides.policy(&failure.author),
        Lookup::None => None,
        Lookup::Unavailable(why) => doubts.unavailable(why),
        Lookup::Misconfigured(why) => doubts.misconfigured(why),
    };
    let mut policy = failure.asked;
    if let Some(own) = override_policy {
        if own != failure.asked {
            reasons.push(reason(ReasonKind::LocalPolicy, format!("set to {own} here")));
        }
        policy = own;
    } else if failure.testing && policy != Policy::None {
        policy = policy.lowered();
        reasons.push(reason(ReasonKind::PolicyTestMode, "t=y"));
    }

    if policy != Policy::None {
        let (milder, why) = excepted(evidence, settings, exceptions, policy, &mut doubts);
        policy = milder;
        reasons.extend(why);
    }
    if settings.reject == OnReject::Quarantine && policy == Policy::Reject {
        policy = Policy::Quarantine;
        reasons.push(reason(ReasonKind::LocalPolicy, "quarantined instead of rejected"));
    }

    let intended = policy;
    let action = match policy {
        Policy::None => Action::Nothing,
        _ if !settings.enforce => {
            reasons.push(reason(ReasonKind::LocalPolicy, "not enforced here"));
            Action::Nothing
        }
        Policy::Quarantine => Action::Quarantine,
        Policy::Reject => match doubts.0 {
            None => Action::Refuse(refusal(failure)),
            Some(_) if settings.on_unavailable == OnUnavailable::Quarantine => {
                reasons.push(reason(ReasonKind::Other, "exceptions could not be looked up"));
                Action::Quarantine
            }
            Some((why, misconfigured)) => Action::TryLater { reply: try_later(failure), why, misconfigured },
        },
    };
    Enforcement { action, asked: failure.asked, reasons, intended }
}

/// What is milder for this message than its policy, and why; notes what could not be found out.
fn excepted(
    evidence: &Evidence,
    settings: &Settings,
    exceptions: &Exceptions,
    policy: Policy,
    doubts: &mut Doubts,
) -> (Policy, Option<Reason>) {
    if let Some(sealer) = &evidence.sealer {
        return (Policy::None, Some(reason(ReasonKind::LocalPolicy, &sealer.comment)));
    }
    if let Some(why) = &evidence.chain_unknown {
        let _: Option<()> = doubts.unavailable(why);
    }
    let coverage = match &exceptions.forwarders {
        Lookup::Found(forwarders) => forwarders::coverage(forwarders, evidence),
        Lookup::None => Coverage::None,
        Lookup::Unavailable(why) => {
            let _: Option<()> = doubts.unavailable(why);
            Coverage::None
        }
        Lookup::Misconfigured(why) => {
            let _: Option<()> = doubts.misconfigured(why);
            Coverage::None
        }
    };
    let list = evidence.list.as_ref().filter(|_| settings.mailing_lists == MailingLists::Quarantine);
    let quarantined = policy.min(Policy::Quarantine);
    match (coverage, list) {
        (Coverage::All(by), _) => (Policy::None, Some(reason(ReasonKind::TrustedForwarder, by.to_string()))),
        (Coverage::Some(by), _) => {
            let comment = format!("{by}, for some recipients only");
            (quarantined, Some(reason(ReasonKind::TrustedForwarder, comment)))
        }
        (_, Some(list)) if policy == Policy::Reject => {
            (quarantined, Some(reason(ReasonKind::MailingList, list)))
        }
        (Coverage::Unknown(why), _) => {
            let _: Option<()> = doubts.unavailable(&why);
            (policy, None)
        }
        (Coverage::None, _) => (policy, None),
    }
}

/// The first thing that could not be found out, and whether that is until the operator acts.
#[derive(Default)]
struct Doubts(Option<(String, bool)>);

impl Doubts {
    fn unavailable<T>(&mut self, why: &str) -> Option<T> {
        self.0.get_or_insert_with(|| (why.to_owned(), false));
        None
    }

    fn misconfigured<T>(&mut self, why: &str) -> Option<T> {
        self.0.get_or_insert_with(|| (why.to_owned(), true));
        None
    }
}

/// The comment may name what a stranger wrote: it is made printable, and cut.
fn reason(kind: ReasonKind, comment: impl AsRef<str>) -> Reason {
    let printable = |c: &char| *c == ' ' || c.is_ascii_graphic();
    Reason { kind, comment: comment.as_ref().chars().filter(printable).take(MAX_COMMENT).collect() }
}

/// A chain of five sealers with ordinary names fits.
const MAX_COMMENT: usize = 256;

/// RFC 7372, 3.3 (5.7.26: several checks failed); RFC 9989, 7.2: the word DMARC, the domain, and enough for an honest sender to find
/// his mistake. What failed is no secret to who sent it.
fn refusal(failure: &Failure) -> SmtpReply {
    let Failure { author, tag, policy_domain, asked, checks, .. } = failure;
    SmtpReply::new(
        550,
        "5.7.26",
        format!(
            "Rejected per DMARC policy for {author} ({tag}={asked} in _dmarc.{policy_domain}): {checks}; mail from that domain must \
             pass SPF or DKIM for it, see RFC 9989"
        ),
    )
}

fn try_later(failure: &Failure) -> SmtpReply {
    let author = &failure.author;
    SmtpReply::new(
        451,
        "4.7.1",
        format!("DMARC fails for {author} and exceptions cannot be looked up now, please try again later"),
    )
}

#[cfg(test)]
mod tests;
