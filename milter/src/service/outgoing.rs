//! Mail of ours: scanned, completed, signed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gatepost::mail::SmtpReply;
use tracing::{error, warn};

use super::decision::Decision;
use super::settings::Settings;
use super::{Service, refused};
use crate::antivirus::{Sample, Scan};
use crate::authentication::Authentication;
use crate::config::OnUnavailable;
use crate::correspondence::{Event, Letter};
use crate::edits::{changes, insert, is_foreign};
use crate::facts::Facts;
use crate::judgement::Judgement;
use crate::message::{Direction, Envelope, Message};
use crate::pool::Panicked;
use crate::protocol::{Edit, Reply};
use crate::recipients::Knowledge;
use crate::signing;
use crate::signing::{Body, Draft, Outgoing, Signing, Sources};
use crate::transaction::Received;
use crate::verdict::Action;

impl Service {
    /// Mail of ours: completed and signed.
    pub(super) async fn outgoing(
        &self,
        settings: &Settings,
        received: Received,
        envelope: Envelope,
        host: &str,
    ) -> Decision {
        let scan = match envelope.direction {
            Direction::Submitted => self.scan_outgoing(settings, &received).await,
            Direction::Inbound | Direction::Local => None,
        };
        if let Some(Scan::Infected(name)) = &scan {
            return refused(name);
        }
        if let Some(decision) = self.unscanned(settings, scan.as_ref()) {
            return decision;
        }
        let Received { message, raw, complete, headers_complete, body_start, memory, .. } = received;
        let mut draft = if received.abilities.headers {
            Draft::new(&message, &envelope, &settings.privacy, |header| is_foreign(header, host))
        } else {
            Draft::of(&message)
        };
        draft.complete(&envelope, host);
        let letter = match settings.actions.correspondents && envelope.direction == Direction::Submitted {
            true => Letter::of(&message, &envelope),
            false => None,
        };
        if let (Some((_, desk)), Some(login), Direction::Submitted) =
            (&self.learning, &envelope.login, envelope.direction)
        {
            desk.answered(login, &message);
        }
        if envelope.direction == Direction::Submitted && may_be_a_test(&message) {
            let judged = self
                .judge(settings, message, envelope.clone(), Authentication::not_asked(), Knowledge::default())
                .await;
            // The score of what our own users write is not theirs to suffer from; the test message is.
            if let Some(Judgement { verdict, .. }) = judged
                && let Action::Reject(reply) = &verdict.action
                && verdict.has(GTUBE)
            {
                let reply = Reply::Smtp(reply.clone());
                return Decision::new(Vec::new(), reply, "reject")
                    .score(verdict.score)
                    .note("GTUBE".to_owned());
            }
        }
        if let Some(letter) = letter {
            self.tell(Event::Sent(letter));
        }
        let edits = changes(&draft);
        let Some(body_hash) = received.body_hash.filter(|_| headers_complete) else {
            return Decision::new(edits, Reply::Continue, "unsigned")
                .note("header block too long to be signed".to_owned());
        };
        let range = body_start..raw.len();
        let outgoing = Outgoing {
            draft,
            body_hash,
            body: complete.then_some(Body { raw, range, memory }),
            survey: received.survey,
            abilities: received.abilities,
            stays_here: received.stays_here,
        };
        let sources = Sources {
            directory: &self.directory,
            store: &self.store,
            pool: &self.pool,
            budget: &self.budget,
        };
        let signing = self.signer.sign(outgoing, &envelope, &settings.terms, sources).await;
        self.sealed(settings, edits, signing)
    }

    /// What came of signing, as a decision; `edits` are those of a message that stays unsigned.
    fn sealed(&self, settings: &Settings, edits: Vec<Edit>, signing: Signing) -> Decision {
        match signing {
            Signing::Signed(signed) => {
                self.metrics.signed(signed.signatures.len());
                let mut edits = changes(&signed.draft);
                edits.extend(signed.body.map(Edit::ReplaceBody));
                edits.extend(signed.signatures.into_iter().rev().map(|value| insert(signing::NAME, value)));
                let mut decision = Decision::new(edits, Reply::Continue, "sign").note(signed.note);
                decision.memory = signed.memory;
                decision
            }
            Signing::NotOurs(why) => Decision::new(edits, Reply::Continue, "unsigned").note(why.to_owned()),
            Signing::Off(why) => {
                self.complain(why, || warn!("signing is off: {why}"));
                Decision::new(edits, Reply::Continue, "unsigned").note(why.to_owned())
            }
            Signing::Unavailable(why) => {
                self.complain(
                    &why,
                    || warn!(on_unavailable = ?settings.on_unavailable, "cannot sign now: {why}"),
                );
                unavailable(settings.on_unavailable, edits, why)
            }
            Signing::Misconfigured(why) => {
                self.complain(
                    &why,
                    || error!(on_unavailable = ?settings.on_unavailable, "cannot sign: {why}"),
                );
                unavailable(settings.on_unavailable, edits, why)
            }
        }
    }

    /// Mail of our logins is scanned like any other: a stolen login, or a virus on a computer of ours.
    async fn scan_outgoing(&self, settings: &Settings, received: &Received) -> Option<Scan> {
        let antivirus = settings.gathering.antivirus.as_ref()?;
        let mut head = Vec::new();
        for header in &received.message.headers {
            header.write_to(&mut head);
        }
        head.extend_from_slice(b"\r\n");
        let body = received.raw.get(received.body_start..).unwrap_or_default();
        let size = received.message.body_size.saturating_add(head.len() as u64);
        // What is missing of the header block makes no difference to a virus, nor would it be there the next time.
        let complete = body.len() as u64 == received.message.body_size;
        let sample = Sample { pieces: &[&head, body], size, complete };
        Some(antivirus.scan(sample, tokio::time::Instant::now() + settings.gathering.deadline).await)
    }

    /// Judges on the pool; none when our own code panicked, which is logged by the panic itself.
    async fn judge(
        &self,
        settings: &Settings,
        message: Message,
        envelope: Envelope,
        authentication: Authentication,
        knowledge: Knowledge,
    ) -> Option<Judgement> {
        let view = settings.view.clone();
        let small = message.body.len() <= SMALL;
        let judge = move || {
            let facts = Facts::gather(&message, &envelope, &authentication);
            Judgement::new(&facts, &knowledge, &view)
        };
        // What takes less than a change of threads costs is done here; a panic in it costs one verdict, as it does on the pool.
        let judged = if small {
            catch_unwind(AssertUnwindSafe(judge)).map_err(|_| Panicked)
        } else {
            self.pool.run(judge).await
        };
        judged.inspect_err(|panicked| error!(%panicked, "judging failed; the message passes unjudged")).ok()
    }
}

/// Whether submitted mail could be the test message of spam filters, so that the rules must look: its words stand there as they are, or
/// the message has an encoding or parts, and is as small as a test is. Everything else is spared the rules, whose score does not matter.
fn may_be_a_test(message: &Message) -> bool {
    let encoded = message.first("Content-Transfer-Encoding").is_some_and(|value| {
        let value = value.trim_ascii();
        ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain))
    });
    let plain = message.first("Content-Type").is_none_or(|value| {
        value.trim_ascii_start().get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/plain"))
    });
    (message.body.len() <= LARGEST_TEST && (encoded || !plain))
        || memchr::memmem::find(&message.body, b"GTUBE").is_some()
}

/// The test message has 68 characters; what people send around it is a page at the most.
const LARGEST_TEST: usize = 64 * 1024;

/// Judging a message of so many bytes takes about as long as handing it to another thread and back.
const SMALL: usize = 32 * 1024;

/// The symbol of the test message of spam filters.
const GTUBE: &str = "GTUBE";

fn unavailable(choice: OnUnavailable, edits: Vec<Edit>, why: String) -> Decision {
    match choice {
        OnUnavailable::Tempfail => {
            let reply = SmtpReply::new(451, "4.7.1", "Message cannot be signed now, please try again later");
            Decision::new(Vec::new(), Reply::Smtp(reply), "tempfail").note(why)
        }
        OnUnavailable::Unsigned => Decision::new(edits, Reply::Continue, "unsigned").note(why),
    }
}
