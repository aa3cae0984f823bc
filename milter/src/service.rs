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
//! - `settings`: what a reload replaces; `decision`: the end of a message.
//! - `inbound`: mail from outside; `outgoing`: mail of ours.
//!
//! What is signed leaves in a form that does not change on its way (`signing`); submitted mail loses what `[milter.privacy]` names.

mod decision;
mod inbound;
mod outgoing;
mod settings;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::config::{Config, Secret};
use gatepost::daemon::Parts;
use gatepost::directory::Directory;
use gatepost::dkim::Vault;
use gatepost::dmarc::Observation;
use gatepost::dns::{Resolver, SetupError};
use gatepost::store::{Greylist, Store};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::antivirus;
use crate::antivirus::{OnUnscanned, Scan};
use crate::config::Milter;
use crate::correspondence::Event;
use crate::history::Journal;
use crate::history::draft::draft;
use crate::learning::{Current, Desk};
use crate::lists::health::Health;
use crate::message::{Direction, Envelope};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::protocol::Reply;
use crate::reports::submission::Ours;
use crate::signing::Signer;
use crate::transaction::{Bounds, Budget, Received};
pub use decision::Decision;
pub(crate) use inbound::exceptions;
use settings::Settings;

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
    complaints: Mutex<VecDeque<(String, Instant)>>,
    observations: Option<mpsc::Sender<Observation>>,
    events: Option<mpsc::Sender<Event>>,
    greylist: Option<Greylist>,
    ours: Ours,
    learning: Option<(Current, Desk)>,
    journal: Option<Journal>,
}

impl Service {
    /// Builds the service; no question is asked yet.
    pub fn new(
        config: &Config<Milter>,
        parts: &Parts,
        vault: Vault,
        key: Option<Secret>,
    ) -> Result<Self, SetupError> {
        let health = Arc::new(Health::counted(&parts.metrics));
        let settings = Settings::new(config, Resolver::new(&config.dns)?, key, health);
        Ok(Self {
            settings: ArcSwap::from_pointee(settings),
            directory: parts.directory.clone(),
            store: parts.store.clone(),
            signer: Signer::new(vault),
            pool: Pool::new(config.limits.threads),
            budget: Budget::new(config.service.limits.memory.0),
            metrics: Metrics::new(&parts.metrics),
            sessions: AtomicU64::new(0),
            complaints: Mutex::default(),
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
        let health = match config.dns == before.dns {
            true => Arc::clone(&before.health),
            false => Arc::new(before.health.forgotten()),
        };
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
        // Who we are to others, and who Postfix is: the former may be several hosts.
        let mx = host.unwrap_or_else(|| "localhost".to_owned());
        let host = settings.authserv_id.clone().unwrap_or_else(|| mx.clone());
        let (direction, queue_id) = (envelope.direction, envelope.queue_id.clone());
        let described = described(&envelope);
        let recipients = envelope.recipients.len();
        let wanted = self.journal.as_ref().and_then(|journal| Some((journal, journal.wants()?)));
        let record =
            wanted.map(|(journal, wanted)| (journal, draft(&received.message, &envelope, &mx, wanted)));
        let mut decision = match direction {
            Direction::Inbound => Box::pin(self.inbound(&settings, received, envelope, host, mx)).await,
            Direction::Submitted | Direction::Local => {
                Box::pin(self.outgoing(&settings, received, envelope, &host)).await
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

    /// Has something remembered, if anybody does; what finds no room is counted and dropped.
    fn tell(&self, event: Event) {
        if let Some(events) = &self.events
            && events.try_send(event).is_err()
        {
            self.metrics.event_dropped();
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

    /// Says a thing once an hour, if it is not [`COMPLAINTS`] other things ago.
    fn complain(&self, what: &str, say: impl FnOnce()) {
        let mut said = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        said.retain(|(_, when)| when.elapsed() < COMPLAINT);
        if said.iter().any(|(known, _)| known == what) {
            debug!("still: {what}");
            return;
        }
        if said.len() >= COMPLAINTS {
            said.pop_front();
        }
        said.push_back((what.to_owned(), Instant::now()));
        say();
    }
}

/// An infected message that no rule speaks of.
fn refused(virus: &str) -> Decision {
    Decision::new(Vec::new(), Reply::Smtp(antivirus::infected()), "reject").note(format!("infected: {virus}"))
}

/// How often the same trouble is said again.
const COMPLAINT: Duration = Duration::from_secs(3600);

/// How many troubles there may be at once: clamd, the database in its several words, keys, exceptions.
const COMPLAINTS: usize = 16;

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
