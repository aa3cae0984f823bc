//! The daemon: what it is built from, and every question that its sockets and `ask` put.
//!
//! What the four kinds of `Lookup` become on the wire stands in the header of each session, because it differs by peer; what they mean
//! for the log and the counters is the same for all, and is here.

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use gatepost::config::{Config, ConfigError, ListenAddress, Secret, Section};
use gatepost::daemon::{ConfigSource, Daemon, Parts};
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::net::{Drain, Endpoint, Peer, Stream};
use gatepost::password::{Hasher, HasherLimits, SCHEMES};
use gatepost::store::Store;
use gatepost::telemetry::printable;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use crate::admission::{RULES, Service};
use crate::ask::Ask;
use crate::config::Settings;
use crate::dicts::{Change, DICTS, Dict, Refused, Retractions, Sources, Writer, select};
use crate::guard::{Entrance, Guard, Trial};
use crate::hearsay::Hearsay;
use crate::logins::Logins;
use crate::mechanisms::{Claim, MECHANISMS, Mechanism, Needs};
use crate::metrics::Counters;
use crate::oauth::Tokens;
use crate::proofs::Secrets;
use crate::protocol::dict::Flags;
use crate::session::{self, Client, Kind, Master, Shelf, Users};
use crate::upkeep::Upkeep;
use crate::userdb::Userdb;
use crate::verdict::{self, Bench, Judgement, Origin, Refusal, Verdict};

/// gatepost-dovecot-auth.
pub struct DovecotAuth {
    pub(crate) directory: Directory,
    pub(crate) store: Store,
    pub(crate) hasher: Hasher,
    pub(crate) live: ArcSwap<Live>,
    pub(crate) secrets: Secrets,
    pub(crate) upkeep: Upkeep,
    logins: Logins,
    guard: Arc<Guard>,
    retractions: Retractions,
    hearsay: Arc<Hearsay>,
    preparing: Semaphore,
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
    /// What the program calls itself.
    pub client: String,
    /// Dovecot's session.
    pub session: String,
    /// Whether a mail process will ask for this login.
    pub keep: bool,
}

impl Circumstances {
    /// Where it comes from, for the rules.
    pub(crate) fn origin(&self) -> Origin {
        let address = self.remote.parse::<IpAddr>().ok().map(|address| address.to_canonical());
        Origin { service: Service::of(&self.service), address }
    }
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
    const IO_THREADS: Option<usize> = Some(1);
    type Section = Settings;
    type Ask = Ask;
    type More = std::convert::Infallible;

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
        let guard = Arc::new(Guard::new(&parts.store));
        Ok(Self {
            directory: parts.directory.clone(),
            counters: Counters::new(&parts.metrics, &hasher, &guard),
            guard,
            store: parts.store.clone(),
            secrets: Secrets::default(),
            upkeep: Upkeep::default(),
            hasher,
            live: ArcSwap::from_pointee(Live {
                settings: settings.clone(),
                userdb: Userdb::new(settings).map_err(in_file(config))?,
                tokens: Tokens::new(&settings.oauth).map_err(in_file(config))?,
            }),
            logins,
            retractions: Retractions::default(),
            hearsay: Arc::default(),
            preparing: Semaphore::new(PREPARING),
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
        let heard = Arc::clone(&self.hearsay);
        let policy =
            Endpoint::new("auth-policy", settings.listen_auth_policy.clone(), move |stream, drain| {
                session::policy::serve(stream, drain, Arc::clone(&heard))
            });
        vec![
            policy,
            client("login", Kind::Dovecot, &settings.listen_login),
            client("postfix", Kind::Postfix, &settings.listen_postfix),
            self.endpoint("master", &settings.listen_master, Master::new).lingering(settled),
            self.endpoint("userdb", &settings.listen_userdb, |service, _| Users::new(service)),
            dict("dict", Shelf::Mail, &settings.listen_dict),
            dict("dict-auth", Shelf::Auth, &settings.listen_dict_auth),
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
        let userdb = Userdb::new(new).map_err(in_file(config))?;
        let tokens = Tokens::new(&new.oauth).map_err(in_file(config))?;
        self.live.store(Arc::new(Live { settings: new.clone(), userdb, tokens }));
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

    /// Whether a claim is true and its maker may in. A wrong one is answered after `failure-delay` at the earliest, later the more were
    /// wrong before.
    pub async fn authenticate(&self, circumstances: &Circumstances, claim: Claim) -> Verdict {
        let (started, login) = (Instant::now(), claim.login.clone());
        let prover = verdict::prover(&claim);
        let mut trial = self.begin(circumstances, &prover, &claim.password).await;
        let judgement = if trial.is_too_much() {
            let known = verdict::judge_app_password(
                self.bench(&self.hasher),
                circumstances.origin(),
                &claim,
                started,
            )
            .await;
            known.unwrap_or_else(|| Verdict::Deferred(Refusal::Guessing).into())
        } else {
            let hasher = self.hasher.for_login(&circumstances.remote, &prover);
            let password = self.renews().then(|| claim.password.clone());
            let judgement = verdict::judge(self.bench(&hasher), circumstances.origin(), claim, started).await;
            // A master's password is not the login's own: `upkeep` sees that its hash is another.
            if let (Verdict::Accepted(login), Some(password), Some(hash)) =
                (&judgement.verdict, password, hasher.matched())
            {
                self.upkeep.renew(login, hash, password);
            }
            judgement
        };
        self.settle(circumstances, &login, started, judgement, Some(&mut trial)).await
    }

    /// What a judgement needs.
    pub(crate) fn bench<'a>(&'a self, hasher: &'a Hasher) -> Bench<'a> {
        let explain = self.live.load().settings.explain_refusals;
        Bench { directory: &self.directory, hasher, work: &self.counters.work, explain }
    }

    /// An attempt begins, under the name whose secret it is.
    pub(crate) async fn begin(
        &self,
        circumstances: &Circumstances,
        prover: &str,
        secret: &Secret,
    ) -> Trial<'_> {
        let live = self.live.load_full();
        let guess = self.guard.guess(prover, secret);
        self.guard.begin(&live.settings.guessing, prover, circumstances.origin().address, guess).await
    }

    /// Counts, writes down and logs what became of an attempt; one that may be a guess (`trial`) is answered the later, the more were wrong before.
    pub(crate) async fn settle(
        &self,
        circumstances: &Circumstances,
        login: &str,
        started: Instant,
        judgement: Judgement,
        mut trial: Option<&mut Trial<'_>>,
    ) -> Verdict {
        let Origin { service, address } = circumstances.origin();
        if let Verdict::Accepted(login) = &judgement.verdict {
            self.guard.entered(&Entrance {
                login,
                service,
                address,
                mechanism: circumstances.mechanism,
                client: &circumstances.client,
                app_password: judgement.app_password.as_ref(),
                master: judgement.master.as_ref(),
            });
        }
        if let Some(trial) = &mut trial {
            match &judgement.verdict {
                Verdict::Refused(refusal) => self.guard.was_wrong(trial, &circumstances.service, *refusal),
                Verdict::Unavailable(_)
                | Verdict::Misconfigured(_)
                | Verdict::Deferred(Refusal::Guessing) => self.guard.give_up(trial),
                Verdict::Accepted(_) | Verdict::Barred(..) | Verdict::Deferred(_) => {
                    self.guard.was_right(trial);
                }
            }
        }
        let is_new = trial.as_deref().map(Trial::is_new);
        let verdict = self.note_judgement(circumstances, login, judgement, is_new);
        let base = self.live.load().settings.failure_delay.0;
        match (&verdict, &trial) {
            (Verdict::Refused(_), Some(trial)) => sleep_until(started + Guard::delay(trial, base)).await,
            (Verdict::Refused(_) | Verdict::Barred(..) | Verdict::Deferred(_), _) => {
                sleep_until(started + base).await;
            }
            _ => {}
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

    /// Logs and counts a login that was decided without being judged.
    pub(crate) fn note(&self, circumstances: &Circumstances, login: &str, verdict: Verdict) -> Verdict {
        self.note_judgement(circumstances, login, verdict.into(), None)
    }

    fn note_judgement(
        &self,
        circumstances: &Circumstances,
        login: &str,
        judgement: Judgement,
        new_guess: Option<bool>,
    ) -> Verdict {
        let Circumstances { mechanism, service, remote, session, .. } = circumstances;
        let Judgement { verdict, app_password, master } = judgement;
        self.counters.login(service, verdict.word());
        // Without spaces, so that no login can be mistaken for the fields behind it.
        let shown = |text: &str| printable(text.as_bytes(), SHOWN).replace(' ', "\\x20");
        let login = match &verdict {
            Verdict::Accepted(login) => shown(&login.to_string()),
            _ => shown(login),
        };
        let (service, rip, session) = (shown(service), shown(remote), shown(session));
        let result = verdict.word();
        // One line per login, at once, always in this form, all of it in the message: programs like fail2ban read it (examples/fail2ban).
        let facts = format!(
            "login={login} service={service} rip={rip} mechanism={mechanism} session_id={session} result={result}"
        );
        match &verdict {
            Verdict::Accepted(_) => {
                let app = app_password.map(|(_, label)| format!(" app_password={}", shown(&label)));
                let by = master.map(|master| format!(" master={}", shown(&master.to_string())));
                tracing::info!("login accepted {facts}{}{}", app.unwrap_or_default(), by.unwrap_or_default());
            }
            Verdict::Refused(_) => {
                // So that whoever bans by this line spares a mail program that repeats an old password.
                let guess = new_guess.map(|new| if new { " guess=new" } else { " guess=again" });
                tracing::info!("login refused {facts}{}", guess.unwrap_or_default());
            }
            Verdict::Barred(..) | Verdict::Deferred(_) => tracing::info!("login refused {facts}"),
            Verdict::Unavailable(why) | Verdict::Misconfigured(why) => {
                tracing::info!("login not decided {facts} why={why:?}");
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
            Lookup::Found(login) => {
                self.fields(&login).await.map(|fields| User { login: login.clone(), fields })
            }
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

    /// What Dovecot is told about a login; never [`Lookup::None`].
    pub async fn fields(&self, login: &Address) -> Lookup<Vec<(String, String)>> {
        match self.store.account(login).await {
            Lookup::Found(account) => match self.live.load().userdb.fields(login, &account) {
                Ok(fields) => Lookup::Found(fields),
                Err(error) => Lookup::Misconfigured(error.to_string()),
            },
            other => other.map(|_| Vec::new()),
        }
    }

    /// Asks for what a mail process will ask in a moment, so that the answer is known then. Not for each of a crowd: whoever comes while
    /// others are at it must not be in the way of logins, and its mail process asks itself.
    pub(crate) async fn prepare(&self, login: &Address) {
        let Ok(_permit) = self.preparing.try_acquire() else { return };
        let _ = tokio::time::timeout(PREPARATION, self.store.account(login)).await;
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
        writer: &Writer,
    ) -> Result<Lookup<()>, Refused> {
        let live = self.live.load_full();
        let said = (dict.change)(self.sources(&live), changes, writer).await;
        let key = changes.first().map(Change::key).unwrap_or_default();
        self.said(dict, key, &writer.user, said)
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

    fn sources<'a>(&'a self, live: &'a Live) -> Sources<'a> {
        Sources {
            directory: &self.directory,
            store: &self.store,
            userdb: &live.userdb,
            anyone: live.settings.share_to_anyone,
            retractions: &self.retractions,
        }
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
/// How long an accepted login waits for what its mail process will ask; that one waits itself if it must.
const PREPARATION: Duration = Duration::from_millis(500);
/// How many logins wait so at once: less than there are connections to the database.
const PREPARING: usize = 2;
