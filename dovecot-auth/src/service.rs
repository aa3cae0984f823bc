//! The daemon: what it is built from, what it serves, and what a reload changes.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use gatepost::config::{Config, ConfigError, ListenAddress, Section};
use gatepost::daemon::{ConfigSource, Daemon, Parts};
use gatepost::directory::Directory;
use gatepost::net::{Drain, Endpoint, Peer, Stream};
use gatepost::password::{Hasher, HasherLimits, SCHEMES};
use gatepost::store::Store;
use tracing::Instrument;

use crate::admission::RULES;
use crate::ask::Ask;
use crate::config::Settings;
use crate::dicts::{DICTS, Retractions};
use crate::guard::Guard;
use crate::logins::Logins;
use crate::mechanisms::MECHANISMS;
use crate::metrics::Counters;
use crate::oauth::Tokens;
use crate::peers::{Admitted, Role};
use crate::proofs::Secrets;
use crate::session::{self, Client, Kind, Master, Shelf, Users};
use crate::upkeep::Upkeep;
use crate::userdb::Userdb;

/// gatepost-dovecot-auth.
pub struct DovecotAuth {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) hasher: Hasher,
    pub(crate) live: ArcSwap<Live>,
    pub(crate) secrets: Secrets,
    pub(crate) upkeep: Upkeep,
    pub(crate) guard: Arc<Guard>,
    pub(crate) retractions: Retractions,
    pub(crate) counters: Counters,
    logins: Logins,
    sessions: AtomicU64,
    connections: AtomicU32,
    /// What was last said to be wrong, by what cannot answer.
    complaints: Mutex<Vec<(&'static str, String)>>,
}

/// What a reload swaps.
pub(crate) struct Live {
    pub(crate) settings: Settings,
    pub(crate) userdb: Userdb,
    pub(crate) tokens: Option<Tokens>,
    admitted: Admitted,
}

impl Live {
    fn new(config: &Config<Settings>) -> Result<Self, ConfigError> {
        let settings = config.service.clone();
        let userdb = Userdb::new(&settings).map_err(in_file(config))?;
        let admitted = Admitted::new(&settings.peers, userdb.owner()).map_err(in_file(config))?;
        let tokens = Tokens::new(&settings.oauth).map_err(in_file(config))?;
        Ok(Self { settings, userdb, tokens, admitted })
    }
}

impl Daemon for DovecotAuth {
    const NAME: &'static str = "gatepost-dovecot-auth";
    const ABOUT: &'static str = "Answers every login of Dovecot and Postfix, and Dovecot's user lookups and dictionaries, from the database mail_server";
    const IO_THREADS: Option<usize> = Some(1);
    type Section = Settings;
    type Ask = Ask;
    type More = std::convert::Infallible;

    async fn build(config: &Config<Settings>, parts: &Parts) -> anyhow::Result<Self> {
        let settings = &config.service;
        // Each login and each delivery asks for a user; beside logins that hash, every answer of the database waits for a processor.
        parts.directory.keep_users();
        parts.metrics.register(|registry| registry.register_collector(Box::new(parts.directory.clone())));
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
        let guard = Arc::new(Guard::new(&parts.store));
        Ok(Self {
            directory: parts.directory.clone(),
            counters: Counters::new(&parts.metrics, &hasher, &guard),
            guard,
            store: parts.store.clone(),
            secrets: Secrets::default(),
            upkeep: Upkeep::default(),
            hasher,
            live: ArcSwap::from_pointee(Live::new(config)?),
            logins,
            retractions: Retractions::default(),
            sessions: AtomicU64::new(1),
            connections: AtomicU32::new(1),
            complaints: Mutex::default(),
        })
    }

    fn endpoints(self: &Arc<Self>, settings: &Settings) -> Vec<Endpoint> {
        let client = |role, kind, listen: &[ListenAddress]| {
            self.endpoint(role, listen, move |service, _| Client::new(service, kind))
        };
        let dict = |role, shelf, listen: &[ListenAddress]| {
            self.endpoint(role, listen, move |service, _| session::Dict::new(service, shelf))
        };
        // A login that this process has accepted is known to no other: its mail process must still find it.
        let service = Arc::clone(self);
        let settled = move || {
            let service = Arc::clone(&service);
            async move { service.logins.settled().await }
        };
        let service = Arc::clone(self);
        let policy =
            Endpoint::new("auth-policy", settings.listen_auth_policy.clone(), move |stream, drain| {
                session::policy::serve(stream, drain, Arc::clone(&service))
            });
        vec![
            policy,
            client(Role::Login, Kind::Dovecot, &settings.listen_login),
            client(Role::Postfix, Kind::Postfix, &settings.listen_postfix),
            self.endpoint(Role::Master, &settings.listen_master, Master::new).lingering(settled),
            self.endpoint(Role::Userdb, &settings.listen_userdb, |service, _| Users::new(service)),
            dict(Role::Dict, Shelf::Mail, &settings.listen_dict),
            dict(Role::DictAuth, Shelf::Auth, &settings.listen_dict_auth),
        ]
    }

    async fn background(self: Arc<Self>) {
        let guard = self.guard.keep(|| self.live.load().settings.guessing.clone());
        tokio::join!(guard, self.retractions.run(&self.directory, &self.store), self.keep_up());
    }

    async fn finish(self: Arc<Self>) {
        tokio::join!(self.guard.finish(), self.retractions.finish(&self.directory, &self.store));
    }

    /// What users are, what is offered, the delay and the limits of guessing change at once; sockets, roles and the hasher's bounds are taken at
    /// start only.
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
        self.live.store(Arc::new(Live::new(config)?));
        Ok(())
    }

    fn list() -> Vec<[String; 3]> {
        let mechanisms = MECHANISMS.iter().map(|mechanism| [mechanism.name, "mechanism", mechanism.summary]);
        let dicts = DICTS.iter().map(|dict| [dict.name, "dict", dict.summary]);
        let rules = RULES.iter().map(|rule| [rule.name, "rule", rule.summary]);
        let schemes = SCHEMES
            .iter()
            .map(|scheme| [scheme.name, if scheme.weak { "weak-scheme" } else { "scheme" }, scheme.summary]);
        mechanisms.chain(rules).chain(dicts).chain(schemes).map(|row| row.map(str::to_owned)).collect()
    }

    async fn ask(source: ConfigSource, ask: Ask) -> anyhow::Result<ExitCode> {
        gatepost::daemon::quiet_log();
        let (service, _) = source.assemble::<Self>().await?;
        ask.put(&service).await
    }
}

impl DovecotAuth {
    /// What is served to one kind of peer: nobody else gets as far as a greeting.
    fn endpoint<C: session::Conversation + 'static>(
        self: &Arc<Self>,
        role: Role,
        listen: &[ListenAddress],
        begin: impl Fn(Arc<Self>, &Peer) -> C + Send + Sync + 'static,
    ) -> Endpoint {
        let service = Arc::clone(self);
        Endpoint::new(role.key(), listen.to_vec(), move |stream: Stream, drain: Drain| {
            let session = service.sessions.fetch_add(1, Ordering::Relaxed);
            let span =
                tracing::error_span!("connection", endpoint = role.key(), peer = %stream.peer(), session);
            let refused = service.live.load().admitted.refuses(role, stream.peer());
            let conversation = refused.is_none().then(|| begin(Arc::clone(&service), stream.peer()));
            async move {
                match (conversation, refused) {
                    (Some(conversation), _) => session::serve(stream, drain, conversation).await,
                    (None, why) => tracing::warn!("connection refused: {}", why.unwrap_or_default()),
                }
            }
            .instrument(span)
        })
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
pub(crate) const SHOWN: usize = 320;
