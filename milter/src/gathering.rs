//! Everything that is asked about a message from outside, at once: who sent it (SPF, DKIM, ARC, DMARC, iprev), what lists in DNS say of it,
//! whether it is infected; meanwhile it is read.
//!
//! For `service` and `ask`. One budget for each message, `milter.deadline` (8 s, Postfix waits 300 s): each question ends with it, and then the
//! message is judged by what is known. What is not is named in [`Facts::missing`]. The one question to the database, whether mail that
//! fails DMARC is excepted, is asked afterwards and for such mail alone: it depends on these answers.
//!
//! A panic in here is a mistake of ours; it costs the facts of this message, not the connection.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::Instant;
use tracing::error;

use crate::antivirus::{Antivirus, Sample, Scan};
use crate::authentication::{Authentication, DkimResult, Question, Verifier};
use crate::facts::{self, Facts};
use crate::learning::{Current, Portrait};
use crate::lists::{Listed, Lists};
use crate::message::{Envelope, Message};
use crate::pool::Pool;

/// Who is asked.
pub struct Gathering {
    /// Who sent it.
    pub verifier: Arc<Verifier>,
    /// What lists say; none where the message is not judged.
    pub lists: Option<Lists>,
    /// Whether it is infected.
    pub antivirus: Option<Antivirus>,
    /// Whether the message is read at all: whether it will be judged.
    pub reads: bool,
    /// How long all of it may take.
    pub deadline: Duration,
}

/// What became known.
#[derive(Debug)]
pub struct Gathered {
    /// Who sent it.
    pub authentication: Authentication,
    /// All facts, those about the sender included; none where the message is not judged, and after a mistake of ours.
    pub facts: Option<Facts>,
    /// What a model sees of the message; none where there is none.
    pub portrait: Option<Portrait>,
    /// What the antivirus says; none where there is none.
    pub scan: Option<Scan>,
}

impl Gathering {
    /// Asks everybody about a message. `question` holds the message as it will be delivered, `message` what the rules may see, `written` the
    /// same as [`Message::to_rfc5322`] writes it, where that is there already; `model` reads it with them.
    pub async fn gather(
        &self,
        message: &Arc<Message>,
        envelope: &Envelope,
        question: &Question,
        written: Option<&[u8]>,
        pool: &Pool,
        model: Option<&Current>,
    ) -> Gathered {
        let end = Instant::now() + self.deadline;
        let (verified, read, scan) = tokio::join!(
            AssertUnwindSafe(Box::pin(self.verifier.verify(question, pool))).catch_unwind(),
            AssertUnwindSafe(Box::pin(self.read(message, written, envelope, pool, model, end)))
                .catch_unwind(),
            self.scan(message, question, end),
        );
        let authentication = verified.unwrap_or_else(|_| {
            error!("verification failed; judged without it");
            Authentication::not_asked()
        });
        let (mut facts, portrait) = read.ok().flatten().unzip();
        if let Some(facts) = &mut facts {
            facts.listed.merge(self.signers(&authentication, end).await);
            let lists = std::mem::take(&mut facts.listed.missing);
            facts.missing.extend(lists);
            match &scan {
                Some(Scan::Infected(name)) => facts.infection = Some(name.clone()),
                Some(Scan::TooBig | Scan::Unavailable(_)) => facts.missing.push("antivirus"),
                Some(Scan::Clean) | None => {}
            }
        }
        let facts = facts.map(|facts| facts.with(authentication.clone()));
        Gathered { authentication, facts, portrait: portrait.flatten(), scan }
    }

    /// Reads the message, and asks the lists about what stands in it.
    async fn read(
        &self,
        message: &Arc<Message>,
        written: Option<&[u8]>,
        envelope: &Envelope,
        pool: &Pool,
        model: Option<&Current>,
        end: Instant,
    ) -> Option<(Facts, Option<Portrait>)> {
        if !self.reads {
            return None;
        }
        let read = if message.body.len() <= SMALL {
            let read = || match written {
                Some(written) => read(message, written, envelope, model),
                None => read(message, &message.to_rfc5322(), envelope, model),
            };
            catch_unwind(AssertUnwindSafe(read)).ok()
        } else {
            let (message, envelope, model) = (Arc::clone(message), envelope.clone(), model.cloned());
            pool.run(move || read(&message, &message.to_rfc5322(), &envelope, model.as_ref())).await.ok()
        };
        let Some((mut facts, portrait)) = read else {
            error!("reading failed; the message passes unjudged");
            return None;
        };
        if let Some(lists) = &self.lists {
            facts.listed = lists.ask(&facts, self.verifier.resolver(), end).await;
        }
        Some((facts, portrait))
    }

    /// Asks the lists about those whose signatures passed.
    async fn signers(&self, authentication: &Authentication, end: Instant) -> Listed {
        let Some(lists) = &self.lists else { return Listed::default() };
        let passed = authentication.dkim.iter().filter(|dkim| dkim.result == DkimResult::Pass);
        let passed: Vec<&str> = passed.map(|dkim| dkim.domain.as_str()).collect();
        if passed.is_empty() {
            return Listed::default();
        }
        lists.ask_signers(&passed, self.verifier.resolver(), end).await
    }

    async fn scan(&self, message: &Message, question: &Question, end: Instant) -> Option<Scan> {
        let sample = Sample {
            pieces: &[&question.raw],
            size: message.body_size.max(question.raw.len() as u64),
            complete: question.complete,
        };
        match &self.antivirus {
            Some(antivirus) => Some(Box::pin(antivirus.scan(sample, end)).await),
            None => None,
        }
    }
}

/// Parses the message once, for the rules and for the model. What goes wrong with the latter costs the message the model's word alone.
fn read(
    message: &Message,
    raw: &[u8],
    envelope: &Envelope,
    model: Option<&Current>,
) -> (Facts, Option<Portrait>) {
    let parsed = facts::parse(raw);
    let facts = Facts::of(message, envelope, raw, &parsed);
    let portray = || model.and_then(|model| model.read(message, raw, &parsed));
    let portrait = catch_unwind(AssertUnwindSafe(portray));
    (facts, portrait.inspect_err(|_| error!("the model was not heard")).ok().flatten())
}

/// Reading a message of so many bytes takes about as long as handing it to another thread and back.
const SMALL: usize = 32 * 1024;
