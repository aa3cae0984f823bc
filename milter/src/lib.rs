//! The milter: is this message spam, is it genuine, sign it. Postfix's `smtpd_milters` and `non_smtpd_milters` speak to it.
//!
//! The modules in reading order:
//!
//! - [`message`]: a message and its envelope.
//! - [`config`]: section `[milter]`.
//! - [`protocol`]: the milter protocol, version 6; knows no policy.
//! - [`session`]: one connection; [`transaction`]: one message coming in, within bounds.
//! - [`service`]: what is done with a complete message; `edits`: how that changes its header block.
//! - [`authentication`]: SPF, DKIM, DMARC, iprev, and `Authentication-Results`.
//! - [`enforcement`]: what becomes of mail that fails DMARC; pure.
//! - [`gathering`]: everything that is asked about a message, at once and within one deadline; [`lists`]: lists in DNS; [`antivirus`]:
//!   ClamAV.
//! - [`facts`], [`rules`], [`score`], [`verdict`], [`report`]: the rule engine; pure.
//! - [`learning`]: the statistical half: what people have shown to be spam or not.
//! - [`recipients`]: whose mail it is, and what is set for him; [`judgement`]: a verdict for each, and one for all.
//! - [`greylisting`]: what looks like spam and comes from a stranger is to come again.
//! - [`correspondence`]: what is remembered of mail, written beside the sessions.
//! - [`signing`]: DKIM signatures on our own mail.
//! - [`reports`]: DMARC aggregate reports, collected and sent beside the sessions.
//! - [`history`]: what was decided, written to the database beside the sessions.
//! - [`ask`]: the same judgement for a file on the command line; [`evaluate`]: for a labelled corpus, and weights fitted to it.
//! - [`pool`], [`metrics`]: work for the processor, and what is counted.
//!
//! One process, three privileges: it reads mail of strangers, DNS, and the signing keys of schema `gatepost`. It cannot read password
//! hashes; mail from outside is judged without the database too, but not refused for its score while nobody can say whether it is allowed.

pub mod antivirus;
pub mod arc;
pub mod ask;
pub mod authentication;
pub mod config;
pub mod correspondence;
pub mod dkim;
mod edits;
pub mod enforcement;
pub mod evaluate;
pub mod facts;
pub mod gathering;
pub mod greylisting;
pub mod history;
pub mod judgement;
pub mod learning;
pub mod lists;
pub mod message;
pub mod metrics;
pub mod pool;
pub mod protocol;
pub mod recipients;
pub mod report;
pub mod reports;
pub mod rules;
pub mod score;
pub mod sealing;
pub mod service;
pub mod session;
pub mod signing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../tests/support/silent.rs"]
mod silent;
pub mod transaction;
pub mod verdict;

use std::process::ExitCode;
use std::sync::Arc;

use gatepost::config::{Config, ConfigError};
use gatepost::daemon::{ConfigSource, Daemon, Parts};
use gatepost::dkim::Vault;
use gatepost::manual;
use gatepost::net::Endpoint;
use tracing::warn;

use crate::correspondence::Remembering;
use crate::history::{History, Journal};
use crate::learning::Learning;
use crate::reports::submission::Ours;
use crate::reports::{Current, Reports};
use crate::service::Service;
use crate::signing::KeyWatch;

/// The daemon `gatepost-milter`.
pub struct Milter {
    service: Arc<Service>,
    keys: KeyWatch,
    reports: Reports,
    learning: Learning,
    remembering: Remembering,
    history: History,
    /// The section it was built from, to tell at a reload what only a restart can change.
    built: config::Milter,
}

impl Daemon for Milter {
    const NAME: &'static str = "gatepost-milter";
    const ABOUT: &'static str = "Spam scoring, SPF, DKIM, DMARC and signing for Postfix's smtpd_milters";
    type Section = config::Milter;
    type Ask = ask::Ask;
    type More = evaluate::Verb;

    async fn build(config: &Config<config::Milter>, parts: &Parts) -> anyhow::Result<Self> {
        let vault = Vault::open(&config.dkim)?;
        let ours = Ours::default();
        let key = config.service.lists.key()?;
        let service = Service::new(config, parts, vault, key).map_err(|error| in_config(config, &error))?;
        let keys =
            KeyWatch::new(&config.dns, &config.dkim, parts).map_err(|error| in_config(config, &error))?;
        let current = Current { settings: config.service.reports.clone(), resolver: service.resolver() };
        let (reports, observations) = Reports::new(current, &parts.store, ours.clone());
        let learning = Learning::new(&config.service.learning, &parts.store);
        let (remembering, events) = Remembering::new(parts.store.clone());
        let journal = Journal::new(config.service.history);
        let history = History::new(journal.clone(), parts.store.clone());
        let service = service.observed_by(observations).knowing(ours).recorded_in(journal);
        let service = service.remembering(events).greylisting(parts).taught_by(learning.share());
        let built = config.service.clone();
        Ok(Self { service: Arc::new(service), keys, reports, remembering, learning, history, built })
    }

    fn endpoints(self: &Arc<Self>, section: &config::Milter) -> Vec<Endpoint> {
        let service = Arc::clone(&self.service);
        let milter = Endpoint::new("milter", section.listen.clone(), move |stream, drain| {
            let service = Arc::clone(&service);
            async move {
                let label = stream.peer().label.clone();
                session::serve(stream, &label, drain, service).await;
            }
        });
        let desk = self.learning.desk();
        let learn = Endpoint::new("learn", section.learning.listens(), move |stream, drain| {
            let desk = desk.clone();
            async move {
                let label = stream.peer().label.clone();
                learning::pipe::serve(stream, &label, drain, desk).await;
            }
        });
        vec![milter, learn]
    }

    async fn background(self: Arc<Self>) {
        let keep = || self.service.remember_replies();
        let remember = self.remembering.run(keep);
        tokio::join!(self.keys.run(), self.reports.run(), remember, self.learning.run(), self.history.run());
    }

    async fn finish(self: Arc<Self>) {
        let (remember, learn) = (self.remembering.finish(), self.learning.finish());
        tokio::join!(self.reports.finish(), remember, learn, self.history.finish());
    }

    fn reload(&self, config: &Config<config::Milter>) -> anyhow::Result<()> {
        let vault = Vault::open(&config.dkim)?;
        let key = config.service.lists.key()?;
        self.service.reload(config, vault, key).map_err(|error| in_config(config, &error))?;
        self.keys.reload(&config.dns, &config.dkim).map_err(|error| in_config(config, &error))?;
        let resolver = self.service.resolver();
        self.history.reload(config.service.history);
        self.reports.reload(Current { settings: config.service.reports.clone(), resolver });
        for (key, changed) in [
            ("milter.listen", self.built.listen != config.service.listen),
            ("milter.learning", self.built.learning != config.service.learning),
            ("milter.metrics", self.built.metrics != config.service.metrics),
            ("milter.limits.memory", self.built.limits.memory != config.service.limits.memory),
        ] {
            if changed {
                warn!("{key} has changed; it needs a restart");
            }
        }
        Ok(())
    }

    fn list() -> Vec<[String; 3]> {
        rules::RULES
            .iter()
            .map(|rule| [rule.symbol.to_owned(), format!("{:+.1}", rule.weight), rule.summary.to_owned()])
            .collect()
    }

    fn regions() -> Vec<manual::Region> {
        let mut rules: Vec<manual::Entry> = Vec::new();
        let mut group = "";
        for rule in rules::RULES {
            if rule.group.as_str() != group {
                group = rule.group.as_str();
                rules.push(manual::heading(group));
            }
            let row = [rule.symbol.to_owned(), format!("{:+.1}", rule.weight), rule.summary.to_owned()];
            rules.extend(manual::table(&[row]));
        }
        vec![("rules".to_owned(), rules)]
    }

    async fn ask(source: ConfigSource, ask: ask::Ask) -> anyhow::Result<ExitCode> {
        ask::ask(source, ask).await
    }

    async fn more(source: ConfigSource, verb: evaluate::Verb) -> anyhow::Result<ExitCode> {
        evaluate::run(source, verb).await
    }
}

/// A resolver that cannot be set up is a matter of the configuration: exit code 78, and what to set.
fn in_config(config: &Config<config::Milter>, error: &gatepost::dns::SetupError) -> ConfigError {
    ConfigError::Contradiction {
        path: config.path.clone().unwrap_or_default(),
        section: "dns",
        message: error.to_string(),
    }
}
