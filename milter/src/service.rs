//! What is done with a complete message: judged, marked, refused, signed. The one place where verdicts become edits and replies.
//!
//! For `session`. One service for the process; a reload builds new settings and swaps them, messages under way keep the old ones.
//!
//! | direction | verified and judged | refused | headers added | signed |
//! |---|---|---|---|---|
//! | inbound | yes | by score | `Authentication-Results`, the report, `X-Spam` | no |
//! | submitted | for GTUBE only | GTUBE | `Date`, `Message-ID` if missing | if the login owns the From address |
//! | local | no | never | `Date`, `Message-ID` if missing | if the From domain is hosted here |

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::config::{self, Config, Network};
use gatepost::daemon::Parts;
use gatepost::directory::Directory;
use gatepost::dns::SetupError;
use gatepost::mail::SmtpReply;
use gatepost::store::Store;
use tracing::{debug, error, info, warn};

use crate::authentication::{Authentication, Question, Verifier, results};
use crate::config::{Milter, OnUnavailable};
use crate::facts::Facts;
use crate::message::{Direction, Envelope, Header, Message};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::protocol::{Edit, Reply};
use crate::report::{self, ReportContext};
use crate::score::{self, Thresholds, Weights};
use crate::signing::{self, Signer, Signing};
use crate::transaction::{Bounds, Budget, Received};
use crate::verdict::{Action, Verdict};

/// Everything that the sessions share.
pub struct Service {
    settings: ArcSwap<Settings>,
    directory: Directory,
    store: Store,
    signer: Signer,
    pool: Pool,
    budget: Budget,
    metrics: Metrics,
    sessions: AtomicU64,
    complaint: Mutex<Option<(String, Instant)>>,
}

/// What a reload replaces.
struct Settings {
    authserv_id: Option<String>,
    weights: Weights,
    thresholds: Thresholds,
    explain: bool,
    on_unavailable: OnUnavailable,
    local_networks: Vec<Network>,
    bounds: Bounds,
    verifier: Arc<Verifier>,
}

/// The end of a message: edits, then the reply.
#[derive(Debug)]
pub struct Decision {
    /// Changes to the header block, in the order in which they must be sent.
    pub edits: Vec<Edit>,
    /// The final reply.
    pub reply: Reply,
    action: &'static str,
    score: Option<f64>,
    note: String,
}

impl Service {
    /// Builds the service; no question is asked yet.
    pub fn new(config: &Config<Milter>, parts: &Parts) -> Result<Self, SetupError> {
        Ok(Self {
            settings: ArcSwap::from_pointee(Settings::new(&config.service, &config.dns)?),
            directory: parts.directory.clone(),
            store: parts.store.clone(),
            signer: Signer::new(),
            pool: Pool::new(config.limits.threads),
            budget: Budget::new(config.service.limits.memory.0),
            metrics: Metrics::new(&parts.metrics),
            sessions: AtomicU64::new(0),
            complaint: Mutex::new(None),
        })
    }

    /// Takes over everything that is not built once.
    pub fn reload(&self, config: &Config<Milter>) -> Result<(), SetupError> {
        self.settings.store(Arc::new(Settings::new(&config.service, &config.dns)?));
        Ok(())
    }

    /// A number for the next connection, for the log.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// How much of a message is kept.
    pub fn bounds(&self) -> Bounds {
        self.settings.load().bounds
    }

    /// The memory for long bodies.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Whether unauthenticated mail from that address is ours.
    pub fn is_local_network(&self, address: IpAddr) -> bool {
        self.settings.load().local_networks.iter().any(|network| network.contains(address))
    }

    /// Decides about a message, and says so in one line of the log. `host` is Postfix's `myhostname`.
    pub async fn decide(
        &self,
        received: Received,
        envelope: Envelope,
        refused_recipients: u32,
        host: Option<String>,
    ) -> Decision {
        let started = Instant::now();
        let settings = self.settings.load_full();
        let host = settings.authserv_id.clone().or(host).unwrap_or_else(|| "localhost".to_owned());
        let (direction, queue_id) = (envelope.direction, envelope.queue_id.clone());
        let described = described(&envelope);
        let recipients = envelope.recipients.len();
        let decision = match direction {
            Direction::Inbound => self.inbound(&settings, received, envelope, host).await,
            Direction::Submitted | Direction::Local => {
                self.outgoing(&settings, received, envelope, &host).await
            }
        };
        let seconds = started.elapsed().as_secs_f64();
        self.metrics.decided(direction.as_str(), decision.action, seconds);
        info!(
            queue_id = queue_id.as_deref().unwrap_or("-"),
            direction = direction.as_str(),
            action = decision.action,
            score = decision.score.map(|score| (score * 100.0).round() / 100.0),
            from = described.sender,
            client = described.client,
            login = described.login,
            recipients,
            refused_recipients,
            milliseconds = started.elapsed().as_millis() as u64,
            why = decision.note,
            "decided"
        );
        decision
    }

    /// Mail from outside: verified, judged, marked.
    async fn inbound(
        &self,
        settings: &Settings,
        received: Received,
        envelope: Envelope,
        host: String,
    ) -> Decision {
        let Received { message, raw, complete, memory, .. } = received;
        let question = Question {
            client: envelope.client_address,
            helo: envelope.helo.clone(),
            sender: Some(envelope.reverse_path.clone()).filter(|path| !path.is_empty()),
            raw,
            complete,
            host: host.clone(),
        };
        let (verifier, pool) = (Arc::clone(&settings.verifier), self.pool.clone());
        // In a task of its own: a panic in there costs the facts of this message, not the connection.
        let verified = tokio::spawn(async move {
            let found = verifier.verify(&question, &pool).await;
            drop(memory);
            found
        });
        let authentication = verified.await.unwrap_or_else(|panicked| {
            error!(%panicked, "verification failed; judged without it");
            Authentication::not_asked()
        });
        self.metrics.dns_failures(authentication.dns_failures());

        let results = results::write(&host, &authentication, &envelope);
        let mut edits = foreign_copies(&message, &host);
        let context = ReportContext { host: host.clone(), queue_id: envelope.queue_id.clone() };
        let verdict = match self.judge(settings, message, envelope, authentication).await {
            Some(verdict) => verdict,
            None => {
                edits.push(insert(results::NAME, results));
                return Decision::new(edits, Reply::Continue, "not judged")
                    .note("internal error; see above".to_owned());
            }
        };
        let note = report::summary(&verdict);
        if let Action::Reject(reply) = &verdict.action {
            let reply = Reply::Smtp(reply.clone());
            return Decision::new(Vec::new(), reply, verdict.action.as_str()).score(verdict.score).note(note);
        }
        // Each insertion goes on top of the one before: the topmost header comes last.
        if settings.explain {
            for (name, value) in report::headers(&verdict, &context).into_iter().rev() {
                edits.push(insert(name, value));
            }
        }
        if verdict.action == Action::AddHeader {
            edits.push(insert("X-Spam", " Yes".to_owned()));
        }
        edits.push(insert(results::NAME, results));
        Decision::new(edits, Reply::Continue, verdict.action.as_str()).score(verdict.score).note(note)
    }

    /// Mail of ours: completed and signed.
    async fn outgoing(
        &self,
        settings: &Settings,
        received: Received,
        envelope: Envelope,
        host: &str,
    ) -> Decision {
        let Received { message, headers_complete, body_hash, .. } = received;
        let mut edits = Vec::new();
        let mut headers = message.headers.clone();
        for field in signing::missing_fields(&message, &envelope, host) {
            edits.push(append(&field));
            headers.push(field);
        }
        if envelope.direction == Direction::Submitted {
            edits.splice(0..0, foreign_copies(&message, host));
            let judged = self.judge(settings, message, envelope.clone(), Authentication::not_asked()).await;
            // The score of what our own users write is not theirs to suffer from; the test message is.
            if let Some(verdict) = judged
                && let Action::Reject(reply) = &verdict.action
                && verdict.has(GTUBE)
            {
                let reply = Reply::Smtp(reply.clone());
                return Decision::new(Vec::new(), reply, "reject")
                    .score(verdict.score)
                    .note("GTUBE".to_owned());
            }
        }
        let Some(body_hash) = body_hash.filter(|_| headers_complete) else {
            return Decision::new(edits, Reply::Continue, "unsigned")
                .note("header block too long to be signed".to_owned());
        };
        let signing =
            self.signer.sign(headers, body_hash, &envelope, &self.directory, &self.store, &self.pool).await;
        self.sealed(settings, edits, signing)
    }

    /// What came of signing, as a decision.
    fn sealed(&self, settings: &Settings, mut edits: Vec<Edit>, signing: Signing) -> Decision {
        match signing {
            Signing::Signed(values) => {
                self.metrics.signed(values.len());
                edits.extend(values.into_iter().rev().map(|value| insert(signing::NAME, value)));
                Decision::new(edits, Reply::Continue, "sign")
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

    /// Judges on the pool; none when our own code panicked, which is logged by the panic itself.
    async fn judge(
        &self,
        settings: &Settings,
        message: Message,
        envelope: Envelope,
        authentication: Authentication,
    ) -> Option<Verdict> {
        let (weights, thresholds) = (settings.weights.clone(), settings.thresholds);
        let judged = self.pool.run(move || {
            let facts = Facts::gather(&message, &envelope, &authentication);
            score::judge(&facts, &weights, &thresholds)
        });
        match judged.await {
            Ok(verdict) => Some(verdict),
            Err(panicked) => {
                error!(%panicked, "judging failed; the message passes unjudged");
                None
            }
        }
    }

    /// Says a thing once an hour, or when it is another thing than the last time.
    fn complain(&self, what: &str, say: impl FnOnce()) {
        let mut last = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_some_and(|(said, when)| said == what && when.elapsed() < COMPLAINT) {
            debug!("still: {what}");
            return;
        }
        *last = Some((what.to_owned(), Instant::now()));
        say();
    }
}

impl Settings {
    fn new(config: &Milter, dns: &config::Dns) -> Result<Self, SetupError> {
        Ok(Self {
            authserv_id: config.authserv_id.clone(),
            weights: Weights::new(&config.weights.0),
            thresholds: Thresholds { reject: config.reject, add_header: config.add_header },
            explain: config.explain,
            on_unavailable: config.on_unavailable,
            local_networks: config.local_networks.clone(),
            bounds: config.bounds(),
            verifier: Arc::new(Verifier::new(dns, config.verification())?),
        })
    }
}

impl Decision {
    fn new(edits: Vec<Edit>, reply: Reply, action: &'static str) -> Self {
        Self { edits, reply, action, score: None, note: String::new() }
    }

    fn score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }
}

/// The symbol of the test message of spam filters.
const GTUBE: &str = "GTUBE";

/// How often the same trouble is said again.
const COMPLAINT: Duration = Duration::from_secs(3600);

fn unavailable(choice: OnUnavailable, edits: Vec<Edit>, why: String) -> Decision {
    match choice {
        OnUnavailable::Tempfail => {
            let reply = SmtpReply::new(451, "4.7.1", "Message cannot be signed now, please try again later");
            Decision::new(Vec::new(), Reply::Smtp(reply), "tempfail").note(why)
        }
        OnUnavailable::Unsigned => Decision::new(edits, Reply::Continue, "unsigned").note(why),
    }
}

/// Deletions of header fields that only we may write: our own names, and results that claim our id (RFC 8601, 5). The number of
/// a field counts those of its name from the top, so the last one goes first and no number changes.
fn foreign_copies(message: &Message, host: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for name in report::OWN_HEADERS.iter().copied().chain([results::NAME]) {
        let ours = message
            .values(name)
            .enumerate()
            .filter(|(_, value)| name != results::NAME || results::claims_to_be(host, value));
        let numbers: Vec<usize> = ours.map(|(at, _)| at + 1).collect();
        for number in numbers.into_iter().rev() {
            let index = u32::try_from(number).unwrap_or(u32::MAX);
            edits.push(Edit::ChangeHeader { index, name: name.to_owned(), value: Vec::new() });
        }
    }
    edits
}

fn insert(name: &str, value: String) -> Edit {
    Edit::InsertHeader { index: 0, name: name.to_owned(), value: value.into_bytes() }
}

fn append(field: &Header) -> Edit {
    Edit::AddHeader { name: String::from_utf8_lossy(&field.name).into_owned(), value: field.value.clone() }
}

/// The envelope in words for the log.
struct Described {
    sender: String,
    client: String,
    login: Option<String>,
}

fn described(envelope: &Envelope) -> Described {
    Described {
        sender: envelope.sender.as_ref().map_or_else(|| "<>".to_owned(), ToString::to_string),
        client: envelope.client_address.map_or_else(|| "local".to_owned(), |address| address.to_string()),
        login: envelope.login.as_ref().map(ToString::to_string),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn foreign_copies_go_from_the_last_to_the_first() {
        let message = Message::from_eml(
            b"Authentication-Results: MX.test; spf=pass\nX-Spam: No\nAuthentication-Results: other.test; none\n\
              x-spam: Yes\nauthentication-results: (c) mx.test; none\n\n",
        );
        let edits: Vec<String> = foreign_copies(&message, "mx.test")
            .into_iter()
            .map(|edit| match edit {
                Edit::ChangeHeader { index, name, value } if value.is_empty() => format!("{name} {index}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(edits, ["X-Spam 2", "X-Spam 1", "Authentication-Results 3", "Authentication-Results 1"]);
    }
}
