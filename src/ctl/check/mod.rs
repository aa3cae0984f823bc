//! `gatepost check`, the doctor: one line per finding, `ok`, `warn` or `fail`, with what to do.
//!
//! A check is one entry of [`CHECKS`]. What this host, the tutorial's tables and DNS say is gathered first ([`facts`], [`ourselves`],
//! `zone::answers`); most checks are pure judgements of that. It changes nothing. Exit status: 0 if nothing failed, warnings or not, 1 if
//! something did; 64 and 78 as everywhere for a wrong command line or configuration.

mod addresses;
mod blocklists;
mod configuration;
mod expiry;
pub(super) mod facts;
pub(super) mod ourselves;
mod reach;
mod reached;
pub(super) mod report;
mod schema;
mod wiring;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use gatepost::config::nearest;
use gatepost::daemon::print_line;
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use gatepost::mta_sts::{Elsewhere, Fetcher};
use sqlx::PgConnection;

use self::facts::HostFacts;
use self::facts::tables::Tables;
use self::ourselves::Ourselves;
use self::report::{Report, Shape};
use super::connection::Settings;
use super::domain_dns::{FETCH, keys};
use super::progress::Progress;
use super::terminal::Show;
use super::zone::answers::{Answers, Extent};
use super::zone::{PARTS, Part, Plan};

#[derive(Args)]
pub(super) struct Check {
    /// Only this check; may be given several times. `gatepost check --list` names them
    #[arg(long, value_name = "CHECK", value_parser = known)]
    only: Vec<&'static str>,
    /// All but this check; may be given several times
    #[arg(long, value_name = "CHECK", value_parser = known, conflicts_with = "only")]
    skip: Vec<&'static str>,
    /// DNS of this domain alone; may be given several times. Of all hosted ones if not given
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<Domain>,
    /// Ask neither DNS nor the web
    #[arg(long)]
    offline: bool,
    /// Leave out what is ok
    #[arg(long)]
    problems: bool,
    /// List the checks
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    show: Show,
    /// Postfix's configuration, where it is not that of `postconf`
    #[arg(long, value_name = "DIR")]
    postfix: Option<PathBuf>,
    /// Dovecot's configuration, where it is not that of `doveconf`
    #[arg(long, value_name = "FILE")]
    dovecot: Option<PathBuf>,
}

/// One thing that is looked at.
#[derive(Clone, Copy)]
struct Entry {
    name: &'static str,
    about: &'static str,
    judge: Judge,
}

/// What a check judges.
#[derive(Clone, Copy)]
enum Judge {
    /// This host: files, sockets, Postfix, Dovecot.
    Host(fn(&HostFacts, &mut Report)),
    /// The same, with the hosted domains.
    Hosted(fn(&HostFacts, &[Domain], &mut Report)),
    /// The tutorial's tables.
    Tables(fn(&Tables, &mut Report)),
    /// The database, which is asked more as it goes.
    Database(Question),
    /// This host in DNS.
    Ourselves(fn(&Ourselves, &mut Report)),
    /// Lists in DNS.
    Lists,
    /// The records of each domain.
    Zone(&'static Part),
}

#[derive(Clone, Copy)]
enum Question {
    Schema,
    Roles,
    Keys,
    Addresses,
}

const fn entry(name: &'static str, about: &'static str, judge: Judge) -> Entry {
    Entry { name, about, judge }
}

/// In the order in which they are made. The records follow: see [`checks`].
const CHECKS: &[Entry] = &[
    entry(
        "configuration",
        "our file: there, right, and nobody else may write it",
        Judge::Host(configuration::file),
    ),
    entry(
        "secrets",
        "files with passwords and keys: for their owner and group alone",
        Judge::Host(configuration::secrets),
    ),
    entry(
        "sockets",
        "our daemons answer, and Postfix's and Dovecot's users get to them",
        Judge::Host(reached::judge),
    ),
    entry("postfix", "Postfix asks us, and nobody whom we replace", Judge::Hosted(wiring::postfix)),
    entry("dovecot", "Dovecot asks us", Judge::Host(wiring::dovecot)),
    entry(
        "certificates",
        "certificates of Postfix and Dovecot: still good, and for this host",
        Judge::Host(expiry::judge),
    ),
    entry("schema", "schema gatepost: its version, its triggers", Judge::Database(Question::Schema)),
    entry("roles", "each role may what it needs and no more", Judge::Database(Question::Roles)),
    entry("users", "mailboxes that cannot be reached, NULL and weak hashes", Judge::Tables(addresses::users)),
    entry("aliases", "aliases that a mailbox hides", Judge::Tables(addresses::aliases)),
    entry("domains", "domains without postmaster", Judge::Tables(addresses::domains)),
    entry(
        "addresses",
        "aliases of schema gatepost that lead nowhere or in a circle",
        Judge::Database(Question::Addresses),
    ),
    entry("keys", "signing keys: there, readable, not too old", Judge::Database(Question::Keys)),
    entry(
        "host",
        "the name that Postfix greets with, its addresses, and their names",
        Judge::Ourselves(ourselves::judge),
    ),
    entry("lists", "lists in DNS that list our addresses or domains", Judge::Lists),
];

/// All checks: [`CHECKS`], and each kind of record that mail suffers without.
fn checks() -> impl Iterator<Item = Entry> {
    let records = PARTS.iter().filter(|part| part.checked);
    CHECKS.iter().copied().chain(records.map(|part| entry(part.name, part.about, Judge::Zone(part))))
}

/// Names and what is looked at, for the manual page.
pub(super) fn table() -> Vec<[String; 3]> {
    checks().map(|check| [check.name.to_owned(), String::new(), check.about.to_owned()]).collect()
}

/// A check by its name.
fn known(name: &str) -> Result<&'static str, String> {
    let names: Vec<&'static str> = checks().map(|check| check.name).collect();
    names.iter().copied().find(|one| *one == name).ok_or_else(|| match nearest(name, names.iter().copied()) {
        Some(near) => format!("there is no such check; did you mean {near}?"),
        None => format!("there is no such check; there are {}", names.join(", ")),
    })
}

pub(super) async fn run(check: Check, settings: &Settings) -> anyhow::Result<ExitCode> {
    if check.list {
        let rows: Vec<_> = checks().map(|check| [check.name.to_owned(), check.about.to_owned()]).collect();
        check.show.table(["CHECK", "WHAT"], &rows);
        return Ok(ExitCode::SUCCESS);
    }
    let mut round = Round {
        shape: Shape { json: check.show.is_json(), problems: check.problems },
        report: Report::default(),
        hosted: Vec::new(),
        plans: Vec::new(),
        check: &check,
        settings,
    };
    // Before the database: root looks at this host as root.
    let facts = HostFacts::gather(settings, &check);
    round.host(&facts);
    round.database(&facts).await;
    round.dns(&facts).await?;
    if !round.shape.json {
        print_line(&round.report.sum());
    }
    Ok(if round.report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// One run of all checks.
struct Round<'a> {
    check: &'a Check,
    settings: &'a Settings,
    shape: Shape,
    report: Report,
    hosted: Vec<Domain>,
    plans: Vec<Plan>,
}

impl Round<'_> {
    fn wanted(&self, name: &str) -> bool {
        (self.check.only.is_empty() || self.check.only.contains(&name)) && !self.check.skip.contains(&name)
    }

    /// Runs what is wanted of the checks that `pick` takes, each printed as it is done.
    fn judge<T>(&mut self, pick: impl Fn(&Judge) -> Option<T>, mut judge: impl FnMut(T, &mut Report)) {
        for check in checks() {
            if let Some(function) = pick(&check.judge)
                && self.wanted(check.name)
            {
                self.report.begin(check.name);
                judge(function, &mut self.report);
                self.report.print(self.shape);
            }
        }
    }

    fn host(&mut self, facts: &HostFacts) {
        let pick = |judge: &Judge| if let Judge::Host(judge) = judge { Some(*judge) } else { None };
        self.judge(pick, |judge, report| judge(facts, report));
    }

    async fn database(&mut self, facts: &HostFacts) {
        let _owner = self.settings.as_owner();
        let database = &self.settings.config.database;
        self.report.begin("database");
        match self.settings.connect().await {
            Err(error) => self.report.fail(&format!("{error:#}")),
            Ok(mut connection) => {
                self.report.ok(&format!(
                    "database {} at {} port {} answers",
                    database.name, database.host, database.port
                ));
                self.report.print(self.shape);
                match Tables::gather(&mut connection).await {
                    Err(error) => self.report.fail(&format!("{error:#}")),
                    Ok(tables) => {
                        self.hosted = tables.good_domains();
                        let pick = |judge: &Judge| {
                            if let Judge::Tables(judge) = judge { Some(*judge) } else { None }
                        };
                        self.judge(pick, |judge, report| judge(&tables, report));
                    }
                }
                self.questions(&mut connection).await;
                self.plans = self.plans(&mut connection).await;
            }
        }
        self.report.print(self.shape);
        let hosted = self.hosted.clone();
        let pick = |judge: &Judge| if let Judge::Hosted(judge) = judge { Some(*judge) } else { None };
        self.judge(pick, |judge, report| judge(facts, &hosted, report));
    }

    async fn questions(&mut self, connection: &mut PgConnection) {
        for check in checks() {
            let Judge::Database(question) = check.judge else { continue };
            if !self.wanted(check.name) {
                continue;
            }
            let report = &mut self.report;
            report.begin(check.name);
            let done = match question {
                Question::Schema => schema::version(connection, report).await,
                Question::Roles => schema::roles(connection, report).await,
                Question::Keys => schema::keys(connection, self.settings, report).await,
                Question::Addresses => super::addresses::check(self.settings, connection, report).await,
            };
            if let Err(error) = done {
                report.fail(&format!("{error:#}"));
            }
            report.print(self.shape);
        }
    }

    /// What each domain's zone should hold.
    async fn plans(&mut self, connection: &mut PgConnection) -> Vec<Plan> {
        let mut plans = Vec::new();
        for domain in &self.hosted {
            if !self.check.domain.is_empty() && !self.check.domain.contains(domain) {
                continue;
            }
            let Some(mut plan) = Plan::new(domain.clone(), Vec::new()) else { continue };
            // A failure is a finding of the check `keys` already.
            plan.keys = keys(connection, domain).await.unwrap_or_default();
            plans.push(plan);
        }
        for domain in self.check.domain.iter().filter(|domain| !self.hosted.contains(domain)) {
            self.report.warn(&format!("{domain} is not hosted here; `gatepost domain list`"));
        }
        plans
    }

    async fn dns(&mut self, facts: &HostFacts) -> anyhow::Result<()> {
        let asks = checks().any(|check| {
            matches!(check.judge, Judge::Ourselves(_) | Judge::Lists | Judge::Zone(_))
                && self.wanted(check.name)
        });
        if self.check.offline || !asks {
            return Ok(());
        }
        let resolver = Resolver::new(&self.settings.config.dns)?;
        self.report.begin("dns");
        if let Some(why) = silence(&resolver, &self.hosted).await {
            self.report.fail(&format!("{why}; is there a resolver (apt install unbound), and does [dns] servers name it? Nothing else was asked"));
            self.report.print(self.shape);
            return Ok(());
        }
        let ourselves = Ourselves::find(&resolver, facts.postfix.as_ref().ok()).await;
        let pick = |judge: &Judge| if let Judge::Ourselves(judge) = judge { Some(*judge) } else { None };
        self.judge(pick, |judge, report| judge(&ourselves, report));
        if self.wanted("lists") {
            self.report.begin("lists");
            blocklists::check(&resolver, ourselves.outgoing(), &self.hosted, &mut self.report).await;
            self.report.print(self.shape);
        }
        self.zones(&resolver, &ourselves).await
    }

    async fn zones(&mut self, resolver: &Resolver, ourselves: &Ourselves) -> anyhow::Result<()> {
        if !PARTS.iter().any(|part| part.checked && self.wanted(part.name)) {
            return Ok(());
        }
        let web = Fetcher::new(resolver.clone(), FETCH, &Elsewhere::default())?;
        let mut plans = std::mem::take(&mut self.plans);
        for plan in &mut plans {
            plan.our_name = ourselves.name.clone();
            plan.our_addresses = ourselves.outgoing().to_vec();
        }
        let progress = Progress::new("asking DNS", "domains", Some(plans.len() as u64));
        let asked = plans.iter().map(async |plan| {
            let extent = Extent { web: Some(&web), everything: false };
            (plan, Answers::ask(resolver, plan, extent).await)
        });
        let mut answered = futures_util::stream::iter(asked).buffered(AT_ONCE);
        while let Some((plan, answers)) = answered.next().await {
            progress.advance(1);
            for check in checks() {
                if let Judge::Zone(part) = check.judge
                    && self.wanted(check.name)
                {
                    self.report.begin(check.name);
                    (part.judge)(plan, &answers, &mut self.report);
                }
            }
            progress.aside(|| self.report.print(self.shape));
        }
        Ok(())
    }
}

/// Why DNS cannot be asked at all, if so: else every question of every domain would wait for its own timeout.
async fn silence(resolver: &Resolver, hosted: &[Domain]) -> Option<String> {
    let name = hosted.first().map_or("org", Domain::as_str);
    let asked = tokio::time::timeout(SILENCE, resolver.exists(name)).await;
    match asked {
        Ok(gatepost::directory::Lookup::Unavailable(why)) => {
            // One zone may be broken while DNS is well.
            match resolver.exists("org").await {
                gatepost::directory::Lookup::Unavailable(_) => Some(why),
                _ => None,
            }
        }
        Ok(_) => None,
        Err(_) => Some(format!("DNS did not answer within {SILENCE:?}")),
    }
}

const SILENCE: Duration = Duration::from_secs(20);

/// How many domains are asked about at once: each asks some fifteen questions.
const AT_ONCE: usize = 8;
