//! The daemon: what it is built from, and one question of either protocol to its answer.
//!
//! For `session` and `ask`, which both put their questions here, so that what `ask` prints is what the wire says. Here the four
//! kinds of `Lookup` become the words of each protocol, once for all maps and once for all checks:
//!
//! | | socketmap | policy |
//! |---|---|---|
//! | found | `OK value` | the action |
//! | none | `NOTFOUND ` | the next check, at last `DUNNO` |
//! | unavailable | `TEMP why` | `DEFER_IF_PERMIT`, or the next check where a check only helps against spam |
//! | misconfigured | `PERM why`, and an error in the log | the same, and an error in the log |

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use gatepost::config::Config;
use gatepost::daemon::{ConfigSource, Daemon, Parts};
use gatepost::directory::{Directory, Lookup, Trace};
use gatepost::dns::Resolver;
use gatepost::mail::SmtpReply;
use gatepost::manual;
use gatepost::net::Endpoint;
use gatepost::telemetry::printable;

use crate::ask::Ask;
use crate::checks::{CHECKS, CannotSay, Check, Circumstances, Memory, Sources};
use crate::config::{Mode, Settings};
use crate::mailer::Mailer;
use crate::maps::{Asking, MAPS, Map};
use crate::metrics::Counters;
use crate::notice::{Notice, Seldom};
use crate::places::Places;
use crate::protocol::{policy, socketmap};
use crate::recent::Recent;
use crate::sender_policy::SenderPolicy;
use crate::session;
use crate::srs::Srs;
use crate::tls::Policies;

/// gatepost-postfix-policy.
pub struct PostfixPolicy {
    directory: Directory,
    sources: Sources,
    tls: Policies,
    settings: ArcSwap<Settings>,
    srs: ArcSwapOption<Srs>,
    counters: Counters,
    memory: Memory,
    /// What is wrong with each of [`MAPS`], as last said.
    broken_maps: Vec<Notice>,
    /// What is wrong with each of [`CHECKS`], as last said.
    broken_checks: Vec<Notice>,
    unknown_map: Notice,
    /// Which messages got which headers.
    prepended: Recent<(String, &'static str), ()>,
    faults: Seldom,
    sessions: AtomicU64,
}

impl Daemon for PostfixPolicy {
    const NAME: &'static str = "gatepost-postfix-policy";
    const ABOUT: &'static str =
        "Answers Postfix's socketmap lookups and policy requests from the database mail_server";
    const IO_THREADS: Option<usize> = Some(1);
    type Section = Settings;
    type Ask = Ask;
    type More = std::convert::Infallible;

    async fn build(config: &Config<Settings>, parts: &Parts) -> anyhow::Result<Self> {
        let srs = config.service.srs.open()?;
        // Postfix asks thousands of times a minute, mostly for addresses that nobody asked for before.
        parts.directory.keep_roll();
        parts.metrics.register(|registry| registry.register_collector(Box::new(parts.directory.clone())));
        let resolver = Resolver::new(&config.dns)?;
        let sender_policy = Arc::new(SenderPolicy::new(resolver.clone(), config.service.hostname.as_deref()));
        let tls = Policies::new(resolver.clone(), parts.store.clone(), config.service.tls.clone());
        let sources = Sources {
            directory: parts.directory.clone(),
            store: parts.store.clone(),
            greylist: parts.store.greylist(),
            resolver,
            mailer: Mailer::new(sender_policy.host()),
            sender_policy,
            places: Arc::new(Places::default()),
        };
        Ok(Self {
            directory: parts.directory.clone(),
            srs: ArcSwapOption::from_pointee(srs),
            sources,
            tls,
            settings: ArcSwap::from_pointee(config.service.clone()),
            counters: Counters::new(&parts.metrics),
            memory: Memory::default(),
            broken_maps: MAPS.iter().map(|_| Notice::default()).collect(),
            broken_checks: CHECKS.iter().map(|_| Notice::default()).collect(),
            unknown_map: Notice::default(),
            prepended: Recent::new(10_000, Duration::from_secs(600)),
            faults: Seldom::default(),
            sessions: AtomicU64::new(1),
        })
    }

    fn endpoints(self: &Arc<Self>, settings: &Settings) -> Vec<Endpoint> {
        let service = Arc::clone(self);
        let socketmap = Endpoint::new("socketmap", settings.socketmap.clone(), move |stream, drain| {
            session::socketmap(Arc::clone(&service), stream, drain)
        });
        let policies = settings.policy.iter().enumerate().map(|(place, endpoint)| {
            let service = Arc::clone(self);
            Endpoint::new("policy", endpoint.listen.clone(), move |stream, drain| {
                session::policy(Arc::clone(&service), place, stream, drain)
            })
        });
        std::iter::once(socketmap).chain(policies).collect()
    }

    /// Keeps the policies of other domains up to date.
    async fn background(self: Arc<Self>) {
        self.tls.look_after_all().await;
    }

    /// Checks, their modes and limits, and how addresses are understood change at once; sockets and roles are taken at start only.
    fn reload(&self, config: &Config<Settings>) -> anyhow::Result<()> {
        let (old, new) = (self.settings.load_full(), &config.service);
        let addresses = |settings: &Settings| {
            settings.policy.iter().map(|endpoint| endpoint.listen.clone()).collect::<Vec<_>>()
        };
        let fixed = [
            ("socketmap", old.socketmap == new.socketmap),
            ("policy.listen", addresses(&old) == addresses(new)),
            ("database-user", old.database_user == new.database_user),
            ("database-password-file", old.database_password_file == new.database_password_file),
            ("metrics", old.metrics == new.metrics),
            ("hostname", old.hostname == new.hostname),
            ("tls", old.tls == new.tls),
        ];
        let changed: Vec<&str> = fixed.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect();
        if !changed.is_empty() {
            anyhow::bail!(
                "[postfix-policy]: {} cannot change while running; restart the daemon",
                changed.join(", ")
            );
        }
        let srs = new.srs.open()?;
        self.srs.store(srs.map(Arc::new));
        self.settings.store(Arc::new(new.clone()));
        self.forget();
        Ok(())
    }

    fn list() -> Vec<[String; 3]> {
        let maps = MAPS
            .iter()
            .map(|map| [map.name, "map", map.summary].map(str::to_owned).pointing_to(map.parameter));
        let checks = CHECKS.iter().map(|check| {
            [check.name, "check", check.summary].map(str::to_owned).pointing_to(check.restrictions)
        });
        maps.chain(checks).collect()
    }

    fn regions() -> Vec<manual::Region> {
        let maps = MAPS.iter().map(|map| [map.name, map.parameter, map.summary].map(str::to_owned));
        let checks =
            CHECKS.iter().map(|check| [check.name, check.restrictions, check.summary].map(str::to_owned));
        vec![
            ("maps".to_owned(), manual::table(&maps.collect::<Vec<_>>())),
            ("checks".to_owned(), manual::table(&checks.collect::<Vec<_>>())),
        ]
    }

    async fn ask(source: ConfigSource, ask: Ask) -> anyhow::Result<ExitCode> {
        gatepost::daemon::quiet_log();
        let (service, _) = source.assemble::<Self>().await?;
        ask.put(&service).await
    }
}

impl PostfixPolicy {
    /// The answer to the content of one socketmap request.
    pub async fn look_up(&self, content: &[u8]) -> socketmap::Reply {
        self.look_up_traced(content, &mut Trace::default()).await
    }

    /// The same, with the way to the answer noted.
    pub async fn look_up_traced(&self, content: &[u8], trace: &mut Trace) -> socketmap::Reply {
        let request = match socketmap::Request::parse(content) {
            Ok(request) => request,
            Err(error) => {
                if let Some(more) = self.faults.may_say(&error.to_string()) {
                    tracing::warn!(%error, more, request = %printable(content, SHOWN), "bad socketmap request");
                }
                return socketmap::Reply::Permanent(error.to_string());
            }
        };
        let Some((place, map)) = Map::named(request.map) else { return self.no_such_map(request.map) };
        let answer = match request.key {
            Some(key) => {
                let (settings, srs) = (self.settings.load(), self.srs.load());
                let asking = Asking {
                    directory: &self.directory,
                    settings: &settings,
                    srs: srs.as_deref(),
                    tls: &self.tls,
                    trace,
                };
                (map.look_up)(asking, key).await
            }
            None => Lookup::None,
        };
        self.counters.lookup(place, &answer);
        let reply = match answer {
            Lookup::Found(value) => socketmap::Reply::Found(value),
            Lookup::None => socketmap::Reply::NotFound,
            Lookup::Unavailable(why) => socketmap::Reply::Temporary(why),
            Lookup::Misconfigured(why) => {
                if self.broken_maps[place].is_new(&why) {
                    tracing::error!(map = map.name, %why, "map cannot answer");
                }
                socketmap::Reply::Permanent(why)
            }
        };
        if matches!(reply, socketmap::Reply::Found(_) | socketmap::Reply::NotFound)
            && self.broken_maps[place].clear()
        {
            tracing::info!(map = map.name, "map answers again");
        }
        tracing::debug!(map = map.name, key = %printable(request.key.unwrap_or_default().as_bytes(), SHOWN), reply = %reply.text(), "looked up");
        reply
    }

    fn no_such_map(&self, name: &str) -> socketmap::Reply {
        self.counters.unknown_map();
        let names: Vec<&str> = MAPS.iter().map(|map| map.name).collect();
        let why =
            format!("no map {}, expected one of {}", printable(name.as_bytes(), SHOWN), names.join(", "));
        if self.unknown_map.is_new(&why) {
            tracing::warn!("{why}; look for its name in main.cf");
        }
        socketmap::Reply::Permanent(why)
    }

    /// The action for one policy request at that place of `[[postfix-policy.policy]]`, counted from 0: the first of its checks that refuses,
    /// holds or lets through decides. A header is added once per message, however many recipients it has, and the checks go on.
    pub async fn judge(&self, endpoint: usize, request: &policy::Request) -> policy::Action {
        let settings = self.settings.load_full();
        let steps =
            settings.policy.get(endpoint).map(|endpoint| endpoint.checks.as_slice()).unwrap_or_default();
        let mut header = None;
        for step in steps {
            let circumstances = Circumstances {
                sources: &self.sources,
                config: &settings,
                mode: step.mode,
                memory: &self.memory,
            };
            let opinion = (step.check.judge)(circumstances, request).await;
            let Some(action) = self.action(step.check, opinion) else { continue };
            let action = if step.mode == Mode::Defer { action.softened() } else { action };
            tracing::info!(
                queue_id = %printable(request.queue_id.as_bytes(), SHOWN), login = %printable(request.login.as_bytes(), SHOWN),
                client = ?request.client_address, check = step.check.name, mode = ?step.mode, action = %action.text(), "decided"
            );
            match action {
                _ if step.mode == Mode::LogOnly => {}
                policy::Action::Dunno => {}
                policy::Action::Pass => break,
                policy::Action::Prepend(wanted) => {
                    let new = header.is_none() && self.may_prepend(request, &wanted);
                    header = if new { Some(wanted) } else { header };
                }
                decided => return decided,
            }
        }
        match header {
            Some(header) if self.prepended.insert_new((request.instance.clone(), header.name()), ()) => {
                policy::Action::Prepend(header)
            }
            _ => policy::Action::Dunno,
        }
    }

    /// Whether a message may get this header now: Postfix takes none at the end of a message (access(5)), and one of a kind is enough.
    fn may_prepend(&self, request: &policy::Request, header: &policy::Header) -> bool {
        request.state != policy::State::EndOfMessage
            && self.prepended.get(&(request.instance.clone(), header.name())).is_none()
    }

    /// An opinion as an action, counted; `None` for none.
    fn action(&self, check: &Check, opinion: Lookup<policy::Action>) -> Option<policy::Action> {
        let place = CHECKS.iter().position(|known| known.name == check.name)?;
        let name = check.name;
        let cannot_say = || match check.cannot_say {
            CannotSay::Defer => {
                Some(policy::Action::DeferIfPermit(SmtpReply::new(450, "4.3.0", "Temporary lookup failure")))
            }
            CannotSay::Pass => None,
        };
        match opinion {
            Lookup::Found(action) => {
                self.counters.request(name, action.word());
                self.broken_checks[place].clear();
                Some(action)
            }
            Lookup::None => {
                self.counters.request(name, policy::Action::Dunno.word());
                None
            }
            Lookup::Unavailable(why) => {
                self.counters.request(name, "unavailable");
                tracing::debug!(check = name, %why, "check cannot say");
                cannot_say()
            }
            Lookup::Misconfigured(why) => {
                self.counters.request(name, "misconfigured");
                if self.broken_checks[place].is_new(&why) {
                    tracing::error!(check = name, %why, "check cannot say");
                }
                cannot_say()
            }
        }
    }

    /// Forgets what the checks answered lately, so that what has changed in the database counts at once.
    pub fn forget(&self) {
        self.memory.forget();
        self.sources.store.flush_access_rules();
    }

    /// What was said about peers' faults lately.
    pub(crate) fn faults(&self) -> &Seldom {
        &self.faults
    }

    /// A number for one connection, for the log.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

/// A row of `list`, with the parameter of main.cf behind its summary.
trait PointingTo {
    fn pointing_to(self, parameter: &str) -> Self;
}

impl PointingTo for [String; 3] {
    fn pointing_to(mut self, parameter: &str) -> Self {
        self[2] = format!("{} ({parameter})", self[2]);
        self
    }
}

/// How much of a peer's text the log shows.
const SHOWN: usize = 320;
