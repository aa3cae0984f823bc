//! The daemon: what it is built from, and every question that its sockets and `ask` put.
//!
//! What the four kinds of `Lookup` become on the wire stands in the header of each session, because it differs by peer; what they mean
//! for the log and the counters is the same for all, and is here.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use gatepost::config::{Config, ConfigError, ListenAddress, Section};
use gatepost::daemon::{ConfigSource, Daemon, Parts};
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::net::{Drain, Endpoint, Peer, Stream};
use gatepost::password::{Hasher, HasherLimits, SCHEMES};
use gatepost::store::Store;
use gatepost::telemetry::printable;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::ask::Ask;
use crate::config::Settings;
use crate::dicts::{Change, DICTS, Dict, Refused, Sources, select};
use crate::logins::Logins;
use crate::mechanisms::{Claim, MECHANISMS, Mechanism, Needs};
use crate::metrics::Counters;
use crate::oauth::Tokens;
use crate::proofs::Secrets;
use crate::protocol::dict::Flags;
use crate::session::{self, Client, Kind, Master, Shelf, Users};
use crate::upkeep::Upkeep;
use crate::userdb::{BadName, Userdb};
use crate::verdict::{self, Verdict};

/// gatepost-dovecot-auth.
pub struct DovecotAuth {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) hasher: Hasher,
    pub(crate) live: ArcSwap<Live>,
    pub(crate) secrets: Secrets,
    pub(crate) upkeep: Upkeep,
    logins: Logins,
    counters: Counters,
    sessions: AtomicU64,
    connections: AtomicU32,
    /// What was last said to be wrong, by what cannot answer.
    complaints: Mutex<Vec<(&'static str, String)>>,
}

/// What a reload swaps.
pub(crate) struct Live {
    pub(crate) settings: Settings,
    userdb: Userdb,
    pub(crate) tokens: Option<Tokens>,
}

/// How a login came here; for the log, the counters, and what follows.
#[derive(Clone, Debug, Default)]
pub struct Circumstances {
    /// The mechanism's name.
    pub mechanism: &'static str,
    /// imap, pop3, sieve, smtp …, by the client's word.
    pub service: String,
    /// The address of whoever logs in, by the client's word.
    pub remote: String,
    /// Dovecot's session.
    pub session: String,
    /// Whether a mail process will ask for this login.
    pub keep: bool,
}

/// A user and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The canonical name.
    pub login: Address,
    /// uid, gid, home and what else the configuration says.
    pub fields: Vec<(String, String)>,
}

impl Daemon for DovecotAuth {
    const NAME: &'static str = "gatepost-dovecot-auth";
    const ABOUT: &'static str = "Answers every login of Dovecot and Postfix, and Dovecot's user lookups and dictionaries, from the database mail_server";
    type Section = Settings;
    type Ask = Ask;

    async fn build(config: &Config<Settings>, parts: &Parts) -> anyhow::Result<Self> {
        let settings = &config.service;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let hasher = Hasher::new(HasherLimits {
            threads: if config.limits.threads == 0 { cores } else { config.limits.threads },
            memory: settings.hashing_memory.0,
            queue: settings.hashing_queue,
            wait: settings.hashing_wait.0,
            remember: settings.login_cache_ttl.0,
            remembered: settings.login_cache_entries,
            weak: settings.allowed(),
        });
        let logins = Logins::default();
        Ok(Self {
            directory: parts.directory.clone(),
            store: parts.store.clone(),
            secrets: Secrets::default(),
            upkeep: Upkeep::default(),
            counters: Counters::new(&parts.metrics, &hasher),
            hasher,
            live: ArcSwap::from_pointee(Live {
                settings: settings.clone(),
                userdb: Userdb::new(settings).map_err(in_file(config))?,
                tokens: Tokens::new(&settings.oauth).map_err(in_file(config))?,
            }),
            logins,
            sessions: AtomicU64::new(1),
            connections: AtomicU32::new(1),
            complaints: Mutex::default(),
        })
    }

    fn endpoints(self: &Arc<Self>, settings: &Settings) -> Vec<Endpoint> {
        let client = |name, kind, listen: &[ListenAddress]| {
            self.endpoint(name, listen, move |service, _| Client::new(service, kind))
        };
        let dict = |name, shelf, listen: &[ListenAddress]| {
            self.endpoint(name, listen, move |service, _| session::Dict::new(service, shelf))
        };
        // A login that this process has accepted is known to no other: its mail process must still find it.
        let service = Arc::clone(self);
        let settled = move || {
            let service = Arc::clone(&service);
            async move { service.logins.settled().await }
        };
        vec![
            client("login", Kind::Dovecot, &settings.listen_login),
            client("postfix", Kind::Postfix, &settings.listen_postfix),
            self.endpoint("master", &settings.listen_master, Master::new).lingering(settled),
            self.endpoint("userdb", &settings.listen_userdb, |service, _| Users::new(service)),
            dict("dict", Shelf::Mail, &settings.listen_dict),
            dict("dict-auth", Shelf::Auth, &settings.listen_dict_auth),
        ]
    }

    async fn background(self: Arc<Self>) {
        self.keep_up().await;
    }

    /// What users are, what is offered, and the delay, change at once; sockets, roles and the hasher's bounds are taken at start only.
    fn reload(&self, config: &Config<Settings>) -> anyhow::Result<()> {
        let (old, new) = (&self.live.load().settings, &config.service);
        let same_listens =
            old.listens().into_iter().zip(new.listens()).map(|(old, new)| (old.0, old.1 == new.1));
        let changed: Vec<&str> = same_listens
            .chain([
                ("hashing-memory", old.hashing_memory == new.hashing_memory),
                ("hashing-queue", old.hashing_queue == new.hashing_queue),
                ("hashing-wait", old.hashing_wait == new.hashing_wait),
                ("login-cache-ttl", old.login_cache_ttl == new.login_cache_ttl),
                ("login-cache-entries", old.login_cache_entries == new.login_cache_entries),
                ("weak-schemes", old.weak_schemes == new.weak_schemes),
                ("database-user", old.database_user == new.database_user),
                ("database-password-file", old.database_password_file == new.database_password_file),
                ("metrics", old.metrics == new.metrics),
            ])
            .filter(|(_, same)| !same)
            .map(|(key, _)| key)
            .collect();
        if !changed.is_empty() {
            anyhow::bail!(
                "[dovecot-auth]: {} cannot change while running; restart the daemon",
                changed.join(", ")
            );
        }
        let userdb = Userdb::new(new).map_err(in_file(config))?;
        let tokens = Tokens::new(&new.oauth).map_err(in_file(config))?;
        self.live.store(Arc::new(Live { settings: new.clone(), userdb, tokens }));
        Ok(())
    }

    fn list() -> Vec<[String; 3]> {
        let mechanisms = MECHANISMS.iter().map(|mechanism| [mechanism.name, "mechanism", mechanism.summary]);
        let dicts = DICTS.iter().map(|dict| [dict.name, "dict", dict.summary]);
        let schemes = SCHEMES
            .iter()
            .map(|scheme| [scheme.name, if scheme.weak { "weak-scheme" } else { "scheme" }, scheme.summary]);
        mechanisms.chain(dicts).chain(schemes).map(|row| row.map(str::to_owned)).collect()
    }

    async fn ask(source: ConfigSource, ask: Ask) -> anyhow::Result<ExitCode> {
        gatepost::daemon::quiet_log();
        let (service, _) = source.assemble::<Self>().await?;
        ask.put(&service).await
    }
}

impl DovecotAuth {
    fn endpoint<C: session::Conversation + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        listen: &[ListenAddress],
        begin: impl Fn(Arc<Self>, &Peer) -> C + Send + Sync + 'static,
    ) -> Endpoint {
        let service = Arc::clone(self);
        Endpoint::new(name, listen.to_vec(), move |stream: Stream, drain: Drain| {
            let session = service.sessions.fetch_add(1, Ordering::Relaxed);
            let span = tracing::error_span!("connection", endpoint = name, peer = %stream.peer(), session);
            let conversation = begin(Arc::clone(&service), stream.peer());
            session::serve(stream, drain, conversation).instrument(span)
        })
    }

    /// Whether a claim is true. A wrong one is answered after `failure-delay` at the earliest.
    pub async fn authenticate(&self, circumstances: &Circumstances, claim: Claim) -> Verdict {
        let started = Instant::now();
        let login = claim.login.clone();
        let hasher = self.hasher.for_login(&circumstances.remote, &login);
        let password = self.renews().then(|| claim.password.clone());
        let verdict = verdict::judge(&self.directory, &hasher, claim).await;
        if let (Verdict::Accepted(login), Some(password), Some(hash)) = (&verdict, password, hasher.matched())
        {
            self.upkeep.renew(login, hash, password);
        }
        self.settle(circumstances, &login, started, verdict).await
    }

    /// Notes a verdict; a refusal is answered after `failure-delay` at the earliest.
    pub(crate) async fn settle(
        &self,
        circumstances: &Circumstances,
        login: &str,
        started: Instant,
        verdict: Verdict,
    ) -> Verdict {
        let verdict = self.note(circumstances, login, verdict);
        if matches!(verdict, Verdict::Refused(_)) {
            sleep_until(started + self.failure_delay()).await;
        }
        verdict
    }

    /// The mechanisms that are offered to a peer now: those of the configuration that can work.
    pub(crate) fn offered(&self, kind: Kind) -> Vec<&'static Mechanism> {
        let live = self.live.load();
        let named = live.settings.offered();
        let (can_work, cannot): (Vec<_>, Vec<_>) = named.partition(|mechanism| match mechanism.needs {
            Needs::Nothing => true,
            Needs::Verifiers => self.secrets.is_known(),
            Needs::Tokens => live.tokens.is_some(),
            Needs::Certificates => kind == Kind::Dovecot,
        });
        // Without any, clients take us for no auth service at all; these say that they cannot when they are used.
        if can_work.is_empty() { cannot } else { can_work }
    }

    /// Logs and counts a login.
    pub(crate) fn note(&self, circumstances: &Circumstances, login: &str, verdict: Verdict) -> Verdict {
        let Circumstances { mechanism, service, remote, session, .. } = circumstances;
        self.counters.login(service, verdict.word());
        // Without spaces, so that no login can be mistaken for the fields behind it.
        let shown = |text: &str| printable(text.as_bytes(), SHOWN).replace(' ', "\\x20");
        let (login, service, rip, session) = (shown(login), shown(service), shown(remote), shown(session));
        let result = verdict.word();
        // One line per login, always in this form: programs like fail2ban read it.
        match &verdict {
            Verdict::Accepted(login) => {
                tracing::info!(%login, %service, %rip, %mechanism, session_id = %session, %result, "login accepted");
            }
            Verdict::Refused(_) => {
                tracing::info!(%login, %service, %rip, %mechanism, session_id = %session, %result, "login refused");
            }
            Verdict::Unavailable(why) | Verdict::Misconfigured(why) => {
                tracing::info!(%login, %service, %rip, %mechanism, session_id = %session, %result, %why, "login not decided");
            }
        }
        match &verdict {
            Verdict::Misconfigured(why) => self.complain("login", why),
            Verdict::Unavailable(_) => {}
            _ => self.content("login"),
        }
        verdict
    }

    /// A user by its name.
    pub async fn user(&self, name: &str) -> Lookup<User> {
        let found = match Address::parse(name) {
            Ok(address) => self.directory.mailbox(&address).await,
            Err(_) => Lookup::None,
        };
        let user = match found {
            Lookup::Found(login) => match self.fields(&login) {
                Ok(fields) => Lookup::Found(User { login, fields }),
                Err(error) => Lookup::Misconfigured(error.to_string()),
            },
            other => other.map(|login| User { login, fields: Vec::new() }),
        };
        self.looked_up("user", name, user)
    }

    /// Whether a name is a login with a password; its canonical name.
    pub async fn may_log_in(&self, name: &str) -> Lookup<Address> {
        let login = match Address::parse(name) {
            Ok(address) => match self.directory.credentials(&address).await {
                Lookup::Found(credentials) if credentials.hash.is_none() => Lookup::None,
                other => other.map(|credentials| credentials.login),
            },
            Err(_) => Lookup::None,
        };
        self.looked_up("pass", name, login)
    }

    /// Every user.
    pub async fn users(&self) -> Lookup<Vec<Address>> {
        let users = self.directory.users().await;
        self.looked_up("list", "*", users)
    }

    /// Forgets what is cached; returns how many answers that were.
    pub fn flush(&self) -> u64 {
        let count = self.directory.flush() + self.hasher.forget();
        tracing::info!(count, "cache flushed");
        count
    }

    /// What Dovecot is told about a login.
    ///
    /// # Errors
    /// Its name cannot be part of a path.
    pub fn fields(&self, login: &Address) -> Result<Vec<(String, String)>, BadName> {
        self.live.load().userdb.fields(login)
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The user must not ask that.
    pub async fn look_up(
        &self,
        dict: &'static Dict,
        key: &str,
        user: &str,
    ) -> Result<Lookup<String>, Refused> {
        let live = self.live.load_full();
        let said = (dict.look_up)(self.sources(&live), key, user).await;
        self.said(dict, key, user, said)
    }

    /// The keys below a path, as asked for.
    ///
    /// # Errors
    /// The user must not ask that.
    pub async fn iterate(
        &self,
        dict: &'static Dict,
        path: &str,
        user: &str,
        flags: Flags,
        most: Option<usize>,
    ) -> Result<Lookup<Vec<(String, String)>>, Refused> {
        let live = self.live.load_full();
        let said = (dict.iterate)(self.sources(&live), path, user).await;
        self.said(dict, path, user, said).map(|rows| rows.map(|rows| select(rows, path, flags, most)))
    }

    /// Carries a transaction out.
    ///
    /// # Errors
    /// The user must not do that; nothing was done.
    pub async fn change(
        &self,
        dict: &'static Dict,
        changes: &[Change],
        user: &str,
    ) -> Result<Lookup<()>, Refused> {
        let live = self.live.load_full();
        let said = (dict.change)(self.sources(&live), changes, user).await;
        let key = changes.first().map(Change::key).unwrap_or_default();
        self.said(dict, key, user, said)
    }

    /// The logins that succeeded and were not asked for yet.
    pub fn logins(&self) -> &Logins {
        &self.logins
    }

    /// The number that all sockets of this process tell, so that clients know that they talk to the same one.
    pub(crate) fn process(&self) -> u32 {
        std::process::id()
    }

    /// A number for one connection of a login process, unique in this process.
    pub(crate) fn next_connection(&self) -> u32 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    fn failure_delay(&self) -> Duration {
        self.live.load().settings.failure_delay.0
    }

    fn sources<'a>(&'a self, live: &'a Live) -> Sources<'a> {
        Sources { directory: &self.directory, userdb: &live.userdb }
    }

    fn said<T>(
        &self,
        dict: &'static Dict,
        key: &str,
        user: &str,
        said: Result<Lookup<T>, Refused>,
    ) -> Result<Lookup<T>, Refused> {
        match said {
            Ok(answer) => Ok(self.looked_up(dict.name, key, answer)),
            Err(refused) => {
                self.counters.refused(dict.name);
                tracing::info!(dict = dict.name, user = %printable(user.as_bytes(), SHOWN), why = %refused, "refused");
                Err(refused)
            }
        }
    }

    fn looked_up<T>(&self, question: &'static str, key: &str, answer: Lookup<T>) -> Lookup<T> {
        self.counters.lookup(question, &answer);
        let result = match &answer {
            Lookup::Found(_) => "found",
            Lookup::None => "none",
            Lookup::Unavailable(_) => "unavailable",
            Lookup::Misconfigured(_) => "misconfigured",
        };
        tracing::debug!(question, key = %printable(key.as_bytes(), SHOWN), result, "looked up");
        match &answer {
            Lookup::Misconfigured(why) => self.complain(question, why),
            Lookup::Unavailable(_) => {}
            _ => self.content(question),
        }
        answer
    }

    /// Says once what is wrong, until something else is or it works again: Dovecot asks thousands of times a minute.
    pub(crate) fn complain(&self, what: &'static str, why: &str) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        match complaints.iter_mut().find(|(known, _)| *known == what) {
            Some((_, said)) if said == why => return,
            Some((_, said)) => *said = why.to_owned(),
            None => complaints.push((what, why.to_owned())),
        }
        drop(complaints);
        tracing::error!(question = what, %why, "cannot answer");
    }

    pub(crate) fn content(&self, what: &'static str) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.retain(|(known, _)| *known != what);
    }
}

fn in_file<E: std::fmt::Display>(config: &Config<Settings>) -> impl Fn(E) -> ConfigError {
    let path = config.path.clone().unwrap_or_else(|| "built-in defaults".into());
    move |error: E| ConfigError::Contradiction {
        path: path.clone(),
        section: Settings::NAME,
        message: error.to_string(),
    }
}

/// How much of a peer's text the log shows; an address has at most 320 characters.
const SHOWN: usize = 320;
