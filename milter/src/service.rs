//! What is done with a complete message: judged, marked, refused, signed. The one place where verdicts become edits and replies.
//!
//! For `session`. One service for the process; a reload builds new settings and swaps them, messages under way keep the old ones.
//!
//! | direction | verified and judged | refused | headers added | signed |
//! |---|---|---|---|---|
//! | inbound | yes | by score, lists and DMARC | `Authentication-Results`, the report, `X-Spam` | no |
//! | submitted | for GTUBE only | GTUBE | `From`, `Date`, `Message-ID` if missing | if the login owns the From address |
//! | local | no | never | `From`, `Date`, `Message-ID` if missing | if the From domain is hosted here |
//!
//! What is signed leaves in a form that does not change on its way (`signing`); submitted mail loses what `[milter.privacy]` names.

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::config::{self, Config, Network, Secret};
use gatepost::daemon::Parts;
use gatepost::database::NO_SCHEMA;
use gatepost::directory::{Directory, Lookup};
use gatepost::dkim::Vault;
use gatepost::dmarc::Observation;
use gatepost::dns::{Resolver, SetupError};
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::history::Record;
use gatepost::store::training::MessageKey;
use gatepost::store::{Greylist, Held, Store};
use gatepost::telemetry::printable;
use gatepost::training::KEY_HEADER;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tracing::{debug, error, info, warn};

use crate::antivirus::{self, Antivirus, OnUnscanned, Sample, Scan};
use crate::arc::seal::NewSet;
use crate::authentication::{Authentication, Question, Unsettled, Verifier, results};
use crate::config::{Actions, Milter, OnTempError, OnUnavailable, VerificationKeys};
use crate::correspondence::{Event, Letter};
use crate::edits::{
    RECEIVED_SPF, changes, foreign_copies, insert, is_foreign, names, received_spf, remove, rewrite_subject,
};
use crate::enforcement::{self, Enforcement, Evidence, Exceptions};
use crate::facts::{Facts, Learned};
use crate::gathering::{Gathered, Gathering};
use crate::greylisting;
use crate::history::Journal;
use crate::history::draft::{Judgement as Reasons, draft};
use crate::judgement::Judgement;
use crate::learning::{Current, Desk, Owner};
use crate::lists::Lists;
use crate::lists::health::Health;
use crate::message::{Direction, Envelope, Message};
use crate::metrics::Metrics;
use crate::pool::{Panicked, Pool};
use crate::protocol::{Edit, Reply};
use crate::recipients::Knowledge;
use crate::report::{self, ReportContext};
use crate::reports::submission::Ours;
use crate::score::View;
use crate::sealing::{self, Passing, Sealing};
use crate::signing::{self, Alignment, Body, Draft, Outgoing, Privacy, Signer, Signing, Sources, Terms};
use crate::transaction::{Bounds, Budget, Received};
use crate::verdict::Action;

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
    observations: Option<mpsc::Sender<Observation>>,
    events: Option<mpsc::Sender<Event>>,
    greylist: Option<Greylist>,
    ours: Ours,
    learning: Option<(Current, Desk)>,
    journal: Option<Journal>,
}

/// What a reload replaces.
struct Settings {
    authserv_id: Option<String>,
    /// How mail is judged for somebody for whom nothing else is set.
    view: View,
    actions: Actions,
    rules: bool,
    explain: bool,
    on_unavailable: OnUnavailable,
    dmarc: enforcement::Settings,
    verification: VerificationKeys,
    local_networks: Vec<Network>,
    /// The address that DMARC reports come from.
    reporter: Option<Address>,
    bounds: Bounds,
    gathering: Gathering,
    health: Arc<Health>,
    terms: Arc<Terms>,
    privacy: Privacy,
    sealing: Option<Sealing>,
    dns: config::Dns,
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
    /// Holds the memory of a replaced body until it is sent.
    memory: Vec<OwnedSemaphorePermit>,
    /// What DMARC did, and why; empty where it had nothing to say.
    dmarc: (&'static str, String),
    /// Why, for the history.
    judgement: Reasons,
}

impl Service {
    /// Builds the service; no question is asked yet.
    pub fn new(
        config: &Config<Milter>,
        parts: &Parts,
        vault: Vault,
        key: Option<Secret>,
    ) -> Result<Self, SetupError> {
        let settings = Settings::new(config, Resolver::new(&config.dns)?, key, Arc::default());
        Ok(Self {
            settings: ArcSwap::from_pointee(settings),
            directory: parts.directory.clone(),
            store: parts.store.clone(),
            signer: Signer::new(vault),
            pool: Pool::new(config.limits.threads),
            budget: Budget::new(config.service.limits.memory.0),
            metrics: Metrics::new(&parts.metrics),
            sessions: AtomicU64::new(0),
            complaint: Mutex::new(None),
            observations: None,
            events: None,
            greylist: None,
            ours: Ours::default(),
            learning: None,
            journal: None,
        })
    }

    /// Tells what each message from outside shows to whoever collects for aggregate reports. Mail never waits for that: what finds no
    /// room is counted and dropped.
    #[must_use]
    pub fn observed_by(mut self, observations: mpsc::Sender<Observation>) -> Self {
        self.observations = Some(observations);
        self
    }

    /// Knows the connections over which this process itself hands mail to Postfix.
    #[must_use]
    pub fn knowing(mut self, ours: Ours) -> Self {
        self.ours = ours;
        self
    }

    /// Judges by what was learned, too, and keeps what it judged for learning.
    #[must_use]
    pub fn taught_by(mut self, learning: Option<(Current, Desk)>) -> Self {
        self.learning = learning;
        self
    }

    /// Tells what is to be remembered of each message to whoever writes it down; mail never waits for that.
    #[must_use]
    pub fn remembering(mut self, events: mpsc::Sender<Event>) -> Self {
        self.events = Some(events);
        self
    }

    /// Has strangers' mail that looks like spam come again; starts the task that asks, so within the runtime.
    #[must_use]
    pub fn greylisting(mut self, parts: &Parts) -> Self {
        self.greylist = Some(parts.store.greylist());
        self
    }

    /// How long Message-IDs of ours are remembered.
    pub fn remember_replies(&self) -> Duration {
        self.settings.load().actions.remember_replies.0
    }

    /// Records each decision there.
    #[must_use]
    pub fn recorded_in(mut self, journal: Journal) -> Self {
        self.journal = Some(journal);
        self
    }

    /// Takes over everything that is not built once.
    pub fn reload(
        &self,
        config: &Config<Milter>,
        vault: Vault,
        key: Option<Secret>,
    ) -> Result<(), SetupError> {
        let before = self.settings.load_full();
        let resolver = before.resolver_for(&config.dns)?;
        // Another resolver may be served by lists that refused the one before.
        let health = if config.dns == before.dns { Arc::clone(&before.health) } else { Arc::default() };
        self.settings.store(Arc::new(Settings::new(config, resolver, key, health)));
        self.signer.reload(vault);
        Ok(())
    }

    /// The resolver of the process, for other questions than those about messages.
    pub fn resolver(&self) -> Resolver {
        self.settings.load().gathering.verifier.resolver().clone()
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

    /// Whether that client of Postfix is this process, which is handing over a report.
    pub fn is_this_process(&self, address: IpAddr, port: u16) -> bool {
        self.ours.contains(SocketAddr::new(address.to_canonical(), port))
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
        let wanted = self.journal.as_ref().and_then(|journal| Some((journal, journal.wants()?)));
        let record =
            wanted.map(|(journal, wanted)| (journal, draft(&received.message, &envelope, &host, wanted)));
        let mut decision = match direction {
            Direction::Inbound => self.inbound(&settings, received, envelope, host).await,
            Direction::Submitted | Direction::Local => {
                self.outgoing(&settings, received, envelope, &host).await
            }
        };
        if let Some((journal, mut record)) = record {
            decision.tell(&mut record);
            record.milliseconds = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
            journal.push(record);
        }
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
            dmarc = Some(decision.dmarc.0).filter(|done| !done.is_empty()),
            dmarc_why = Some(&decision.dmarc.1).filter(|why| !why.is_empty()),
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
        let Received {
            message,
            raw,
            complete,
            memory,
            headers_complete,
            body_hash,
            stays_here,
            abilities,
            ..
        } = received;
        let question = Question {
            client: envelope.client_address,
            helo: envelope.helo.clone(),
            sender: Some(envelope.reverse_path.clone()).filter(|path| !path.is_empty()),
            raw,
            complete,
            host: host.clone(),
        };
        let message = Arc::new(message);
        // What is set for the recipients is asked meanwhile.
        let known = async {
            match settings.rules {
                true => Knowledge::gather(&self.directory, &self.store, &envelope.recipients, &message).await,
                false => Knowledge::default(),
            }
        };
        let (gathered, knowledge) =
            tokio::join!(settings.gathering.gather(&message, &envelope, &question, &self.pool), known);
        drop((question, memory));
        let Gathered { authentication, facts, scan } = gathered;
        if let Some(decision) = self.unscanned(settings, scan.as_ref()) {
            return decision;
        }
        self.metrics.dns_failures(authentication.dns_failures());
        if settings.verification.on_temperror == OnTempError::Tempfail
            && let Some(unsettled) = Unsettled::of(&authentication)
        {
            let note = format!("DNS does not answer: {}", unsettled.as_str());
            return Decision::new(Vec::new(), Reply::Smtp(unsettled.reply()), "tempfail").note(note);
        }

        let enforcement = self.enforce(settings, &authentication, &envelope, &message).await;
        self.observe(settings, &authentication, &envelope, &enforcement);
        let results = results::write_decided(&host, &authentication, &envelope, enforcement.disposition());
        let received_spf = settings
            .verification
            .received_spf
            .then(|| received_spf(&authentication, &envelope, &host))
            .flatten();
        let mut edits = foreign_copies(&message, &host);
        if settings.gathering.antivirus.is_some() {
            remove(&mut edits, &message, antivirus::HEADER, |_| true);
        }
        if received_spf.is_some() {
            remove(&mut edits, &message, RECEIVED_SPF, |value| names(value, &host));
        }
        let context = ReportContext { host: host.clone(), queue_id: envelope.queue_id.clone() };
        let passing = settings.sealing.is_some().then(|| {
            let body_hash = body_hash.filter(|_| headers_complete)?;
            let validation = sealing::validation(&authentication)?;
            let headers = message.headers.clone();
            Some(Passing { headers, body_hash, validation, results: results.clone() })
        });
        let seal = self.seal(settings, passing.flatten(), &envelope.recipients, !stays_here).await;
        if let Some(why) = &knowledge.doubt {
            self.complain(why, || warn!("settings and lists cannot be read now: {why}"));
        }
        let sender = greylisting::Sender::of(&envelope, authentication.spf.as_ref().map(|spf| spf.result));
        let network = envelope.client_address.map(Network::neighbourhood);
        let held = Held {
            host: host.clone(),
            queue_id: envelope.queue_id.clone().unwrap_or_default(),
            sender: envelope.reverse_path.clone(),
            recipients: envelope.recipients.iter().map(ToString::to_string).collect(),
            ..Held::default()
        };
        let subject = subject(&message);
        let kept = settings.rules.then(|| self.keep(&message)).flatten();
        let learned = match facts.is_some() {
            true => self.learned(&message, &envelope.recipients),
            false => None,
        };
        let judged = facts.and_then(|facts| judged(settings, &facts.with_learned(learned), &knowledge));
        // What our own mistake in a rule leaves unjudged is judged by DMARC alone.
        let is_judged = judged.is_some();
        let mut judged = judged.unwrap_or_else(|| Judgement::unjudged(settings.view.thresholds));
        judged.change(|verdict| enforcement::combine(verdict, &enforcement));
        if is_judged
            && greylisting::is_wanted(&judged)
            && let (Some(greylist), Some(sender)) = (&self.greylist, &sender)
        {
            let (patience, delimiters) = (settings.actions.patience(), self.directory.extension_delimiters());
            if let Some(reply) = greylisting::ask(greylist, sender, &judged, patience, delimiters).await {
                judged.verdict.action = Action::Defer(reply);
            }
        }
        let mut verdict = judged.verdict.clone();
        if verdict.action == Action::Quarantine && !(abilities.hold && !held.queue_id.is_empty()) {
            // An MTA that cannot hold mail: it is marked instead, never lost and never unmarked.
            verdict.action = Action::AddHeader;
        }
        let note = match (is_judged, settings.rules) {
            (true, _) => match &scan {
                Some(Scan::Infected(name)) => format!("infected: {name}; {}", report::summary(&verdict)),
                _ => report::summary(&verdict),
            },
            (false, true) => "internal error; see above".to_owned(),
            (false, false) => String::new(),
        };
        if let (true, Some(network)) = (is_judged, network) {
            self.tell(Event::Scored(network, verdict.score));
        }
        let action = match &verdict.action {
            Action::NoAction if !is_judged => "not judged",
            action => action.as_str(),
        };
        let reasons = Reasons::new(&verdict, &results);
        let decided = |edits, reply, note| {
            let mut decision = Decision::new(edits, reply, action).note(note).dmarc(&enforcement);
            decision.judgement = reasons;
            if is_judged { decision.score(verdict.score) } else { decision }
        };
        match &verdict.action {
            Action::Reject(reply) | Action::Defer(reply) => {
                return decided(Vec::new(), Reply::Smtp(reply.clone()), note);
            }
            Action::Discard => return decided(Vec::new(), Reply::Discard, note),
            Action::RewriteSubject(template) => {
                edits.push(rewrite_subject(subject.as_deref(), template));
            }
            Action::Quarantine => {
                edits.push(Edit::Quarantine(format!("spam, score {:.2}", verdict.score)));
                let subject = String::from_utf8_lossy(subject.as_deref().unwrap_or_default()).into_owned();
                self.tell(Event::Held(Held {
                    subject: printable(subject.trim().as_bytes(), MAX_SUBJECT),
                    score: verdict.score,
                    why: note.chars().take(MAX_WHY).collect(),
                    ..held
                }));
            }
            Action::AddHeader | Action::NoAction => {}
        }
        // Each insertion goes on top of the one before: the topmost header comes last.
        if settings.explain && is_judged {
            for (name, value) in report::headers(&verdict, &context).into_iter().rev() {
                if settings.actions.headers.has(name) {
                    edits.push(insert(name, value));
                }
            }
        }
        for tag in judged.tags() {
            edits.push(insert(report::TAG, format!(" {tag}")));
        }
        // Whoever releases what was on hold has decided that it is no spam: nothing of it goes to Junk then.
        if matches!(verdict.action, Action::AddHeader | Action::RewriteSubject(_)) {
            edits.push(insert("X-Spam", " Yes".to_owned()));
        }
        if verdict.action != Action::Quarantine {
            edits.extend(judged.for_each().into_iter().map(|value| insert(report::FOR, value)));
        }
        edits.extend(settings.unchecked(scan.as_ref()));
        if let Some(value) = received_spf {
            edits.push(insert(RECEIVED_SPF, value));
        }
        if let Some(key) = kept {
            edits.push(insert(KEY_HEADER, format!(" {key}")));
        }
        edits.push(insert(results::NAME, results));
        edits.extend(seal.into_iter().flat_map(|set| set.0).map(|(name, value)| insert(name, value)));
        decided(edits, Reply::Continue, note)
    }

    /// Has something remembered, if anybody does; what finds no room is counted and dropped.
    fn tell(&self, event: Event) {
        if let Some(events) = &self.events
            && events.try_send(event).is_err()
        {
            self.metrics.event_dropped();
        }
    }

    /// The ARC set for mail that we pass on; none for all other mail.
    async fn seal(
        &self,
        settings: &Settings,
        passing: Option<Passing>,
        recipients: &[Address],
        leaves: bool,
    ) -> Option<NewSet> {
        let (sealing, passing) = (settings.sealing.as_ref()?, passing?);
        if !sealing.wants(recipients, leaves, &self.directory).await {
            return None;
        }
        let validation = passing.validation;
        let sources = sealing::Sources {
            signer: &self.signer,
            directory: &self.directory,
            store: &self.store,
            pool: &self.pool,
        };
        match sealing.seal(passing, sources).await {
            Ok(set) => {
                self.metrics.sealed(validation.as_str(), set.is_some());
                set
            }
            Err(why) => {
                self.complain(&why, || warn!("cannot seal now: {why}"));
                None
            }
        }
    }

    /// What becomes of the message because of DMARC. The database is asked for mail that fails, and for no other.
    async fn enforce(
        &self,
        settings: &Settings,
        authentication: &Authentication,
        envelope: &Envelope,
        message: &Message,
    ) -> Enforcement {
        let evidence = Evidence::new(authentication, envelope, message);
        let exceptions = if evidence.failure.is_some() {
            let (overrides, forwarders) = tokio::join!(self.store.dmarc_overrides(), self.store.forwarders());
            Exceptions { overrides: without_schema(overrides), forwarders: without_schema(forwarders) }
        } else {
            Exceptions::none()
        };
        let enforcement = enforcement::decide(&evidence, &settings.dmarc, &exceptions);
        if let enforcement::Action::TryLater { why, misconfigured, .. } = &enforcement.action {
            self.complain(why, || match misconfigured {
                true => error!("exceptions from DMARC cannot be looked up: {why}"),
                false => warn!("exceptions from DMARC cannot be looked up now: {why}"),
            });
        }
        if let Some(dmarc) = &authentication.dmarc {
            let reason = enforcement.reasons.first().map_or("", |reason| reason.kind.as_str());
            self.metrics.dmarc(dmarc.result.as_str(), enforcement.as_str(), reason);
        }
        enforcement
    }

    /// Tells the collector of aggregate reports, if there is one. Mail to the address that our reports come from is in no report: the
    /// answers to reports, and reports on them, would have two servers write to each other for ever.
    fn observe(
        &self,
        settings: &Settings,
        authentication: &Authentication,
        envelope: &Envelope,
        enforcement: &Enforcement,
    ) {
        let to_reporter = !envelope.recipients.is_empty()
            && envelope.recipients.iter().all(|recipient| Some(recipient) == settings.reporter.as_ref());
        if let Some(observations) = &self.observations
            && !to_reporter
            && let Some(observation) = enforcement::observation(authentication, envelope, enforcement)
            && observations.try_send(observation).is_err()
        {
            self.metrics.observation_dropped();
        }
    }

    /// Mail of ours: completed and signed.
    async fn outgoing(
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

    /// What becomes of a message because of the antivirus alone, whether rules judge or not: none where it goes on.
    fn unscanned(&self, settings: &Settings, scan: Option<&Scan>) -> Option<Decision> {
        match scan? {
            Scan::Clean | Scan::TooBig => None,
            // Where rules judge, theirs decides, and the report explains it.
            Scan::Infected(_) if settings.rules => None,
            Scan::Infected(name) => Some(refused(name)),
            Scan::Unavailable(why) => {
                let choice = settings.gathering.antivirus.as_ref()?.on_unavailable;
                self.complain(why, || warn!(on_unavailable = ?choice, "cannot scan for viruses now: {why}"));
                let note = format!("not scanned: {why}");
                (choice == OnUnscanned::Tempfail).then(|| {
                    Decision::new(Vec::new(), Reply::Smtp(antivirus::unscanned()), "tempfail").note(note)
                })
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
        let sample = Sample { pieces: &[&head, body], size, complete: received.complete };
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

    /// What the model thinks of a message, for its recipient where it has one alone. The work is bounded whatever the message
    /// (`learning::features`), and shorter than a change of threads.
    fn learned(&self, message: &Message, recipients: &[Address]) -> Option<Learned> {
        let (model, _) = self.learning.as_ref()?;
        let owner = match recipients {
            [one] => Some(Owner::new(&one.to_string())),
            _ => None,
        };
        let ask = || model.word(message, owner);
        let word = catch_unwind(AssertUnwindSafe(ask)).map_err(|_| Panicked);
        word.inspect_err(|panicked| error!(%panicked, "the model was not heard")).ok().flatten()
    }

    /// Keeps a message as it is judged, so that it can be learned as such; its key for the header, if there was room.
    fn keep(&self, message: &Message) -> Option<MessageKey> {
        let (model, desk) = self.learning.as_ref()?;
        // No log, nothing to learn.
        model.progress()?;
        let key = MessageKey::new(rand::random());
        desk.keep(key, message).then_some(key)
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
    fn new(config: &Config<Milter>, resolver: Resolver, key: Option<Secret>, health: Arc<Health>) -> Self {
        let (dns, config) = (config.dns.clone(), &config.service);
        let lists = (config.rules && config.lists.enabled)
            .then(|| Lists::new(config.lists.lists(), config.lists.limits(), key, Arc::clone(&health)));
        Self {
            authserv_id: config.authserv_id.clone(),
            view: config.view(),
            actions: config.actions.clone(),
            rules: config.rules,
            explain: config.explain,
            on_unavailable: config.on_unavailable,
            dmarc: config.dmarc,
            verification: config.verification,
            local_networks: config.local_networks.clone(),
            reporter: config.reports.from.clone(),
            bounds: config.bounds(),
            terms: Arc::new(Terms::new(&config.signing, Alignment::new(resolver.clone(), config.deadline.0))),
            gathering: Gathering {
                verifier: Arc::new(Verifier::with(resolver, config.verification())),
                lists,
                antivirus: Antivirus::new(&config.antivirus),
                reads: config.rules,
                deadline: config.deadline.0,
            },
            health,
            privacy: config.privacy.clone(),
            sealing: Sealing::new(&config.arc),
            dns,
        }
    }

    /// What says that a message was not scanned, where the operator wants it said.
    fn unchecked(&self, scan: Option<&Scan>) -> Option<Edit> {
        let wanted = self
            .gathering
            .antivirus
            .as_ref()
            .is_some_and(|antivirus| antivirus.on_unavailable == OnUnscanned::Header);
        let why = match scan? {
            Scan::Unavailable(_) => "scanner unavailable",
            Scan::TooBig => "too big",
            Scan::Clean | Scan::Infected(_) => return None,
        };
        wanted.then(|| insert(antivirus::HEADER, format!(" Unchecked ({why})")))
    }

    /// The resolver with its memory, if nothing about it has changed; the servers of `/etc/resolv.conf` may have.
    fn resolver_for(&self, dns: &config::Dns) -> Result<Resolver, SetupError> {
        if *dns == self.dns && !dns.servers.is_empty() {
            return Ok(self.gathering.verifier.resolver().clone());
        }
        Resolver::new(dns)
    }
}

impl Decision {
    fn new(edits: Vec<Edit>, reply: Reply, action: &'static str) -> Self {
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
    fn tell(&mut self, record: &mut Record) {
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

    fn score(mut self, score: f64) -> Self {
        self.score = Some(score);
        self
    }

    fn note(mut self, note: String) -> Self {
        self.note = note;
        self
    }

    fn dmarc(mut self, enforcement: &Enforcement) -> Self {
        let note = enforcement.note();
        if !note.is_empty() {
            self.dmarc = (enforcement.as_str(), note);
        }
        self
    }
}

/// Asks the rules for every recipient; none when our own code panicked, which is logged by the panic itself.
fn judged(settings: &Settings, facts: &Facts, knowledge: &Knowledge) -> Option<Judgement> {
    let judge = || Judgement::new(facts, knowledge, &settings.view);
    let judged = catch_unwind(AssertUnwindSafe(judge)).map_err(|_| Panicked);
    judged.inspect_err(|panicked| error!(%panicked, "judging failed; the message passes unjudged")).ok()
}

/// An infected message that no rule speaks of.
fn refused(virus: &str) -> Decision {
    Decision::new(Vec::new(), Reply::Smtp(antivirus::infected()), "reject").note(format!("infected: {virus}"))
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

/// The subject as it stands in the header; none without one.
fn subject(message: &Message) -> Option<Vec<u8>> {
    message.first("Subject").map(<[u8]>::to_vec)
}

/// What of a subject is written into the quarantine.
const MAX_SUBJECT: usize = 200;

/// What of the symbols is.
const MAX_WHY: usize = 1_000;

/// The symbol of the test message of spam filters.
const GTUBE: &str = "GTUBE";

/// How often the same trouble is said again.
const COMPLAINT: Duration = Duration::from_secs(3600);

/// Where schema `gatepost` is not installed, or older than its tables for this, nothing is excepted: nobody can have said so.
fn without_schema<T>(answer: Lookup<T>) -> Lookup<T> {
    match answer {
        Lookup::Misconfigured(why) if why == NO_SCHEMA => Lookup::None,
        other => other,
    }
}

fn unavailable(choice: OnUnavailable, edits: Vec<Edit>, why: String) -> Decision {
    match choice {
        OnUnavailable::Tempfail => {
            let reply = SmtpReply::new(451, "4.7.1", "Message cannot be signed now, please try again later");
            Decision::new(Vec::new(), Reply::Smtp(reply), "tempfail").note(why)
        }
        OnUnavailable::Unsigned => Decision::new(edits, Reply::Continue, "unsigned").note(why),
    }
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
