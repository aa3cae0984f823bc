//! A plan step by step: a copy of each file before it is changed, a look at the outcome after each step, an end at the first failure.
//!
//! Run again after a failure, `gatepost setup --apply` finds what is done and goes on with the rest. A file whose change the other
//! program does not accept is put back at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use gatepost::config::{self, Secret};
use gatepost::setup::{self, Facts, KeySource, Plan, Setting, Step};
use gatepost::store::schema;
use sqlx::AssertSqlSafe;

use super::look::{asks_socketmap, uid_of};
use super::programs::said;
use super::state::{State, put};
use super::{Host, Where};
use crate::ctl::connection::{explain, open};
use crate::ctl::owner::Owner;
use crate::ctl::{alias, dkim, domain, user};

/// Carries out the plan.
pub(super) async fn run(host: &Host, where_: &Where, facts: &Facts, plan: &Plan) -> anyhow::Result<ExitCode> {
    for obstacle in &plan.obstacles {
        eprintln!("gatepost: in the way: {obstacle}");
    }
    if !plan.obstacles.is_empty() {
        eprintln!("gatepost: nothing was changed");
        return Ok(ExitCode::FAILURE);
    }
    let mut state = State::open(&where_.state)?;
    for (number, planned) in (1..).zip(&plan.steps) {
        println!("{number}/{}  {}: {}", plan.steps.len(), what(&planned.step), planned.why);
        let mut hand = Hand { host, where_, facts, state: &mut state };
        if let Err(error) = hand.step(&planned.step).await {
            let done = if state.is_empty() {
                "nothing was changed".to_owned()
            } else {
                format!("back: gatepost setup --undo (copies are in {})", where_.state.display())
            };
            return Err(error.context(format!(
                "step {number} failed; the steps after it were not begun. Mend it and go on: gatepost setup --apply; {done}"
            )));
        }
    }
    if plan.steps.is_empty() {
        println!("nothing to do");
    } else {
        println!("done; `gatepost check` looks at the whole, `gatepost setup --undo` goes back");
    }
    for dns in &plan.dns {
        println!("publish in DNS: {}  ({})", dns.record, dns.why);
    }
    for remark in &plan.remarks {
        println!("note: {remark}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A step in a few words.
fn what(step: &Step) -> String {
    let list = |settings: &[Setting]| {
        settings.iter().map(|one| one.parameter.as_str()).collect::<Vec<_>>().join(", ")
    };
    match step {
        Step::CreateDatabase { name } => format!("database {name}"),
        Step::TutorialTables { .. } => "the tutorial's tables".to_owned(),
        Step::InstallSchema { .. } => "schema gatepost, roles, triggers".to_owned(),
        Step::InsertLines { path, .. } | Step::AppendLine { path, .. } | Step::WriteFile { path, .. } => {
            path.display().to_string()
        }
        Step::ReloadPostgresql { .. } => "PostgreSQL".to_owned(),
        Step::AddDomain { domain } => format!("domain {domain}"),
        Step::AddUser { address } => format!("mailbox {address}"),
        Step::AddAlias { alias, .. } => format!("alias {alias}"),
        Step::ImportKeys { path, .. } => format!("keys of {}", path.display()),
        Step::GenerateKey { domain } => format!("a key for {domain}"),
        Step::MailUser { name, .. } => format!("system user {name}"),
        Step::CompileSieve { path } => format!("compiled {}", path.display()),
        Step::EnableUnits { units } => format!("start {}", units.join(", ")),
        Step::DisableUnits { units } => format!("stop {}", units.join(", ")),
        Step::Listening { .. } => "our daemons".to_owned(),
        Step::ReloadDovecot { .. } => "Dovecot".to_owned(),
        Step::Postconf { settings } | Step::MasterOptions { settings } => list(settings),
        Step::MasterService { service, .. } => service.clone(),
        Step::ReloadPostfix { .. } => "Postfix".to_owned(),
    }
}

struct Hand<'a> {
    host: &'a Host,
    where_: &'a Where,
    facts: &'a Facts,
    state: &'a mut State,
}

impl Hand<'_> {
    async fn step(&mut self, step: &Step) -> anyhow::Result<()> {
        let settings = &self.host.settings;
        match step {
            Step::CreateDatabase { name } => {
                let mut connection = settings.connect_to("postgres").await?;
                let quoted = name.replace('"', "\"\"");
                let statement = format!("CREATE DATABASE \"{quoted}\" ENCODING 'UTF8' TEMPLATE template0");
                sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *connection).await.map_err(explain)?;
                settings.connect().await?;
                self.state.stays(format!("database {name}, with all that is in it"))
            }
            Step::TutorialTables { database } => {
                let mut connection = settings.connect().await?;
                let mut transaction = sqlx::Connection::begin(&mut *connection).await.map_err(explain)?;
                sqlx::raw_sql(setup::MAIL_SERVER).execute(&mut *transaction).await.map_err(explain)?;
                transaction.commit().await.map_err(explain)?;
                self.state.stays(format!("the tables of {database}"))
            }
            Step::InstallSchema { passwords } => self.install_schema(passwords).await,
            Step::InsertLines { path, before, lines } => self.insert(path, *before, lines).await,
            Step::ReloadPostgresql { peers } => self.reload_postgresql(peers).await,
            Step::AddDomain { domain } => {
                let verb = domain::Verb::add(parsed(domain)?);
                domain::run(verb, &mut *settings.connect().await?, &settings.config.dns).await.map(drop)
            }
            Step::AddUser { address } => {
                let verb =
                    user::Verb::Add { address: address.clone(), display_name: None, no_password: false };
                user::run(verb, &mut *settings.connect().await?).await?;
                self.state.stays(format!("mailbox {address} and its domain"))
            }
            Step::AddAlias { alias, to } => {
                let verb = alias::Verb::one(&alias.to_string(), &to.to_string());
                alias::run(verb, &mut *settings.connect().await?).await
            }
            Step::ImportKeys { from, path } => {
                let import = match from {
                    KeySource::Rspamd => dkim::Import::rspamd(path),
                    KeySource::Opendkim => dkim::Import::opendkim(path),
                };
                dkim::run(dkim::Verb::Import(import), &mut *settings.connect().await?, settings).await?;
                self.state.stays(format!("the keys of {}, in gatepost.dkim_keys", path.display()))
            }
            Step::GenerateKey { domain } => {
                let verb = dkim::Verb::generate(parsed(domain)?);
                dkim::run(verb, &mut *settings.connect().await?, settings).await?;
                self.state.stays(format!("the key of {domain}, in gatepost.dkim_keys"))
            }
            Step::MailUser { name, id, home } => {
                let (number, home) = (id.to_string(), home.display().to_string());
                if nix::unistd::Group::from_name(name)?.is_none() {
                    said("groupadd", &["--gid", &number, name])?;
                }
                let shell = "/usr/sbin/nologin";
                said(
                    "useradd",
                    &[
                        "--uid",
                        &number,
                        "--gid",
                        name,
                        "--home-dir",
                        &home,
                        "--create-home",
                        "--shell",
                        shell,
                        name,
                    ],
                )?;
                said("chmod", &["o=", &home])?;
                self.state.stays(format!("system user {name} and {home}"))
            }
            Step::WriteFile { path, contents, mode } => {
                self.state.keep(path)?;
                put(path, contents.as_bytes(), *mode, Some((0, 0)))?;
                self.state.changed(path)?;
                self.accepted_by_dovecot(path)
            }
            Step::AppendLine { path, line } => {
                self.insert(path, None, std::slice::from_ref(line)).await?;
                self.accepted_by_dovecot(path)
            }
            Step::CompileSieve { path } => {
                let compiled = path.with_extension("svbin");
                self.state.keep(&compiled)?;
                self.dovecot("sievec", &[&path.display().to_string()])?;
                self.state.changed(&compiled)
            }
            Step::EnableUnits { units } => {
                self.state.started(units)?;
                let words: Vec<&str> =
                    ["enable", "--now"].into_iter().chain(units.iter().map(String::as_str)).collect();
                said("systemctl", &words).map(drop)
            }
            Step::DisableUnits { units } => {
                self.state.disabled(units)?;
                let words: Vec<&str> =
                    ["disable", "--now"].into_iter().chain(units.iter().map(String::as_str)).collect();
                said("systemctl", &words).map(drop)
            }
            Step::Listening { sockets } => listening(sockets),
            Step::ReloadDovecot { running, probe } => {
                self.dovecot("doveconf", &["-n"])?;
                if *running {
                    self.dovecot("doveadm", &["reload"])?;
                }
                match probe {
                    Some(user) => self.dovecot("doveadm", &["user", &user.to_string()]).map(drop),
                    None => Ok(()),
                }
            }
            Step::Postconf { settings } => {
                let words: Vec<String> =
                    settings.iter().map(|one| format!("{} = {}", one.parameter, one.value)).collect();
                self.postconf("main.cf", "-e", &words)?;
                for one in settings {
                    let now = self.postfix("postconf", &["-h", &one.parameter])?;
                    if now.trim() != one.value {
                        bail!("{} is \"{}\" and not \"{}\"", one.parameter, now.trim(), one.value);
                    }
                }
                Ok(())
            }
            Step::MasterService { service, entry } => {
                self.postconf("master.cf", "-M", &[format!("{service}={entry}")])?;
                if self.postfix("postconf", &["-M", service])?.trim().is_empty() {
                    bail!("master.cf has no {service} afterwards");
                }
                Ok(())
            }
            Step::MasterOptions { settings } => {
                let words: Vec<String> =
                    settings.iter().map(|one| format!("{}={}", one.parameter, one.value)).collect();
                self.postconf("master.cf", "-P", &words)?;
                for (one, word) in settings.iter().zip(&words) {
                    // It answers as it is asked: service/type/parameter = value.
                    let now = self.postfix("postconf", &["-P", &one.parameter])?;
                    if squeezed(&now.replacen('=', "", 1)) != squeezed(&word.replacen('=', " ", 1)) {
                        bail!("master.cf has \"{}\" and not \"{word}\"", now.trim());
                    }
                }
                Ok(())
            }
            Step::ReloadPostfix { running, probe } => {
                self.postfix("postfix", &["check"])?;
                if *running {
                    self.postfix("postfix", &["reload"])?;
                }
                match (probe, &self.facts.postfix) {
                    (Some(domain), Some(postfix)) => asks_socketmap(&postfix.queue, domain),
                    _ => Ok(()),
                }
            }
        }
    }

    /// Schema, roles and triggers; each password is written before it is set, beside its place, so that none is lost.
    async fn install_schema(&mut self, passwords: &[(String, PathBuf, String)]) -> anyhow::Result<()> {
        let mut made: Vec<(&str, Secret)> = Vec::new();
        for (role, path, group) in passwords {
            let (_, gid) = uid_of(group).ok_or_else(|| {
                anyhow!("there is no system user {group}, whose group is to read {}: install the daemons' packages, or see --system-user", path.display())
            })?;
            self.state.keep(path)?;
            let password = crate::ctl::schema::random_password();
            put(path, format!("{}\n", password.expose()).as_bytes(), 0o640, Some((0, gid.as_raw())))?;
            self.state.changed(path)?;
            made.push((role, password));
        }
        let mut connection = self.host.settings.connect().await?;
        let installed = schema::install(&mut connection, true, &made).await.map_err(explain)?;
        println!("schema gatepost version {} (before: {})", installed.to, installed.from);
        let status = schema::status(&mut connection).await.map_err(explain)?;
        if status.version != Some(schema::VERSION) || status.roles.iter().any(|(_, there)| !there) {
            bail!("the schema is not there afterwards: {status:?}");
        }
        self.state.stays("schema gatepost and its roles (gatepost schema remove)".to_owned())
    }

    /// Lines into a file; one of PostgreSQL's is looked over, and put back if it is wrong.
    async fn insert(&mut self, path: &Path, before: Option<usize>, lines: &[String]) -> anyhow::Result<()> {
        self.state.keep(path)?;
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut all: Vec<&str> = text.lines().collect();
        let at = before.map_or(all.len(), |line| (line - 1).min(all.len()));
        all.splice(at..at, lines.iter().map(String::as_str));
        put(path, (all.join("\n") + "\n").as_bytes(), 0o640, None)?;
        let database = &self.facts.database;
        if *path == database.hba.0 || *path == database.ident.0 {
            let mut connection = self.host.settings.connect_to("postgres").await?;
            let wrong: Option<(i32, String)> = sqlx::query_as(
                "SELECT line_number, error FROM pg_catalog.pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1",
            )
            .fetch_optional(&mut *connection)
            .await
            .map_err(explain)?;
            if let Some((line, error)) = wrong {
                put(path, text.as_bytes(), 0o640, None)?;
                bail!(
                    "PostgreSQL would not take pg_hba.conf, line {line}: {error}; {} is as it was",
                    path.display()
                );
            }
        }
        self.state.changed(path)
    }

    /// `pg_reload_conf`, and a connection as each role.
    async fn reload_postgresql(&mut self, peers: &[(String, String)]) -> anyhow::Result<()> {
        let mut connection = self.host.settings.connect_to("postgres").await?;
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut *connection).await.map_err(explain)?;
        for (user, role) in peers {
            let (uid, _) = uid_of(user).ok_or_else(|| anyhow!("there is no system user {user}"))?;
            let database = config::Database {
                user: Some(role.clone()),
                password_file: None,
                ..self.host.settings.config.database.clone()
            };
            // The server reads its files when it comes round to it.
            let mut tries = 0;
            loop {
                let outcome = {
                    let _as_user = Owner::user(uid);
                    open(&database).await
                };
                match outcome {
                    Ok(_) => break,
                    Err(error) if tries >= TRIES => {
                        return Err(error.context(format!("{user} cannot connect as role {role}")));
                    }
                    Err(_) => tries += 1,
                }
                tokio::time::sleep(PAUSE).await;
            }
            println!("{user} connects as role {role}");
        }
        Ok(())
    }

    /// Dovecot's own files: what it does not accept is put back at once, or it would not start again.
    fn accepted_by_dovecot(&mut self, path: &Path) -> anyhow::Result<()> {
        let Some(dovecot) = &self.facts.dovecot else { return Ok(()) };
        let is_its = path.extension().is_some_and(|extension| extension == "conf")
            && dovecot.config.parent().is_some_and(|directory| path.starts_with(directory));
        if !is_its {
            return Ok(());
        }
        let Err(error) = self.dovecot("doveconf", &["-n"]) else { return Ok(()) };
        match self.facts.files.get(path) {
            Some(text) => put(path, text.as_bytes(), 0o644, None)?,
            None if *path == dovecot.config => put(path, dovecot.text.as_bytes(), 0o644, None)?,
            None => std::fs::remove_file(path)?,
        }
        self.state.changed(path)?;
        Err(error.context(format!("Dovecot does not accept {}; it is as it was", path.display())))
    }

    fn postconf(&mut self, file: &str, option: &str, words: &[String]) -> anyhow::Result<()> {
        let directory =
            self.facts.postfix.as_ref().map(|postfix| postfix.directory.clone()).unwrap_or_default();
        let path = directory.join(file);
        self.state.keep(&path)?;
        let words: Vec<&str> = [option].into_iter().chain(words.iter().map(String::as_str)).collect();
        self.postfix("postconf", &words)?;
        self.state.changed(&path)
    }

    fn postfix(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        at(self.where_.postfix.as_deref(), program, arguments)
    }

    /// With its file named: without, Dovecot's programs ask a Dovecot that runs, which has not read ours yet.
    fn dovecot(&self, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let config = self.facts.dovecot.as_ref().map(|dovecot| dovecot.config.as_path());
        at(config.or(self.where_.dovecot.as_deref()), program, arguments)
    }
}

fn at(place: Option<&Path>, program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let place = place.map(|place| place.display().to_string());
    let words: Vec<&str> = place
        .as_deref()
        .map_or_else(Vec::new, |place| vec!["-c", place])
        .into_iter()
        .chain(arguments.iter().copied())
        .collect();
    said(program, &words)
}

/// Without what blanks do not say.
fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether somebody accepts connections there.
fn listening(sockets: &[PathBuf]) -> anyhow::Result<()> {
    let silent: Vec<String> = sockets
        .iter()
        .filter_map(|socket| {
            let error = std::os::unix::net::UnixStream::connect(socket).err()?;
            Some(format!("{}: {error}", socket.display()))
        })
        .collect();
    if !silent.is_empty() {
        bail!(
            "our daemons do not answer on {}; systemctl status gatepost-milter gatepost-dovecot-auth gatepost-postfix-policy",
            silent.join(", ")
        );
    }
    Ok(())
}

fn parsed(name: &str) -> anyhow::Result<gatepost::mail::Domain> {
    gatepost::mail::Domain::parse(name).with_context(|| format!("bad domain {name}"))
}

/// How often a role is tried until PostgreSQL has read its files, and how long is waited between.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);
