//! `gatepost check`: one line per finding, `ok`, `warn` or `fail`, with what to do. Exit status 1 if anything failed.

use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use gatepost::config::{ConfigError, DAEMON_SECTIONS, ListenAddress};
use gatepost::mail::{Address, Domain};
use gatepost::password::StoredHash;
use gatepost::store::schema::{self, TRIGGERS, VERSION};
use sqlx::PgConnection;

use super::addresses;
use super::connection::{Settings, explain};
use super::dkim;

/// The findings so far.
pub(super) struct Report {
    failed: bool,
}

impl Report {
    pub(super) fn ok(&self, what: &str) {
        line("ok", what);
    }

    pub(super) fn warn(&self, what: &str) {
        line("warn", what);
    }

    pub(super) fn fail(&mut self, what: &str) {
        self.failed = true;
        line("fail", what);
    }
}

fn line(word: &str, what: &str) {
    gatepost::daemon::print_line(&format!("{word:<5} {what}"));
}

pub(super) async fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let mut report = Report { failed: false };
    match &settings.config.path {
        Some(path) => report.ok(&format!("configuration {}", path.display())),
        None => report.warn(&format!(
            "no {}: built-in defaults; examples/gatepost.toml has every key",
            gatepost::config::DEFAULT_PATH
        )),
    }
    sockets(settings, &mut report)?;
    let database = &settings.config.database;
    match settings.connect().await {
        Err(error) => report.fail(&format!("{error:#}")),
        Ok(mut connection) => {
            report.ok(&format!(
                "database {} at {} port {} answers",
                database.name, database.host, database.port
            ));
            match tutorial(&mut connection, &mut report).await {
                Ok(()) => {}
                Err(error) => report.fail(&format!("{error:#}")),
            }
            match addresses::check(settings, &mut connection, &mut report).await {
                Ok(()) => {}
                Err(error) => report.fail(&format!("{error:#}")),
            }
            match our_schema(&mut connection, settings, &mut report).await {
                Ok(()) => {}
                Err(error) => report.fail(&format!("{error:#}")),
            }
        }
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The sockets that the daemons' sections name: does anybody answer?
fn sockets(settings: &Settings, report: &mut Report) -> anyhow::Result<()> {
    let Some(path) = &settings.config.path else { return Ok(()) };
    let text = std::fs::read_to_string(path).map_err(|reason| ConfigError::Unreadable {
        path: path.clone(),
        reason,
        advice: "read it as its owner",
    })?;
    let Ok(document) = toml::from_str::<toml::Table>(&text) else { return Ok(()) };
    for name in DAEMON_SECTIONS {
        let Some(section) = document.get(name).and_then(toml::Value::as_table) else {
            report.warn(&format!("[{name}] is not there: gatepost-{name} runs with its defaults"));
            continue;
        };
        for (key, value) in section.iter().filter(|(key, _)| key.starts_with("listen")) {
            let addresses = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            for address in addresses {
                match address.try_into::<ListenAddress>() {
                    Ok(address) => socket(name, &address, report),
                    Err(error) => report
                        .fail(&format!("[{name}] {key}: {}; run `gatepost-{name} check`", error.message())),
                }
            }
        }
    }
    Ok(())
}

fn socket(name: &str, address: &ListenAddress, report: &mut Report) {
    let answer = match address {
        ListenAddress::Tcp(to) => TcpStream::connect_timeout(to, std::time::Duration::from_secs(2)).map(drop),
        ListenAddress::Unix(path, _) => UnixStream::connect(path).map(drop),
        ListenAddress::Systemd(_) => {
            return report.ok(&format!("gatepost-{name} gets {address} from its .socket unit"));
        }
    };
    match answer {
        Ok(()) => report.ok(&format!("gatepost-{name} answers on {address}")),
        Err(reason) => report.fail(&format!("gatepost-{name} does not answer on {address}: {reason}; is it running (`systemctl status gatepost-{name}`)?")),
    }
}

/// The tutorial's objects, and what in them bites.
async fn tutorial(connection: &mut PgConnection, report: &mut Report) -> anyhow::Result<()> {
    let domains: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains ORDER BY 1")
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
    let users: Vec<(String, String, Option<String>)> = sqlx::query_as(
        "SELECT local::text, domain::text, password_hash::text FROM public.users ORDER BY domain, local",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let aliases: Vec<(String, String)> =
        sqlx::query_as("SELECT source_local::text, source_domain::text FROM public.aliases ORDER BY 2, 1")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
    report.ok(&format!("{} domains, {} users, {} aliases", domains.len(), users.len(), aliases.len()));
    let folded =
        |local: &str, domain: &str| Domain::parse(domain).and_then(|domain| Address::new(local, domain));
    let mut mailboxes = std::collections::BTreeSet::new();
    for (local, domain, hash) in &users {
        let spelled = format!("{local}@{domain}");
        match folded(local, domain) {
            Ok(address) if !mailboxes.insert(address.clone()) => report.fail(&format!(
                "{spelled} is there twice, spelled differently; the folded one ({address}) gets all mail"
            )),
            Ok(_) => {}
            Err(reason) => {
                report.fail(&format!("user {} can never be reached: {reason}", spelled.escape_debug()))
            }
        }
        match hash.clone().map(StoredHash::parse).map(|hash| (hash.scheme(), hash.cost())) {
            None => report.warn(&format!("{spelled} has no password: it receives and never logs in; `gatepost user password {spelled}`")),
            Some((None, _)) => report.fail(&format!("{spelled} has a hash of an unknown scheme: it never logs in; `gatepost user password {spelled}`")),
            Some((_, Err(reason))) => report.fail(&format!("{spelled} never logs in: {reason}; `gatepost user password {spelled}`")),
            Some((Some(scheme), Ok(_))) if scheme.weak => report.warn(&format!("{spelled} has a {scheme} hash, which is weak: it logs in only if `weak-schemes` in [dovecot-auth] names {scheme}; `gatepost user password {spelled}`")),
            Some(_) => {}
        }
    }
    let mut postmasters: std::collections::BTreeSet<Domain> = mailboxes
        .iter()
        .filter(|address| address.local() == "postmaster")
        .map(|address| address.domain().clone())
        .collect();
    postmasters.extend(addresses::postmasters(connection).await?);
    for (local, domain) in &aliases {
        match folded(local, domain) {
            Ok(address) if mailboxes.contains(&address) => report.warn(&format!("alias {address} is also a mailbox; the mailbox wins, the alias leads nowhere; remove one of them")),
            Ok(address) if address.local() == "postmaster" => {
                postmasters.insert(address.domain().clone());
            }
            Ok(_) => {}
            Err(reason) => report.fail(&format!("alias {}@{} can never be reached: {reason}", local.escape_debug(), domain.escape_debug())),
        }
    }
    for (name,) in &domains {
        match Domain::parse(name) {
            Ok(domain) if !postmasters.contains(&domain) => report.warn(&format!("{name} has no postmaster (RFC 5321 §4.5.1); `gatepost alias add postmaster@{name} SOMEBODY@…`")),
            Ok(_) => {}
            Err(reason) => report.fail(&format!("domain {} is left out: {reason}", name.escape_debug())),
        }
    }
    let own: Vec<(String,)> = sqlx::query_as(
        "SELECT shared_mailbox FROM public.view_shared_mailboxes WHERE shared_mailbox = shared_to",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    for (address,) in own {
        report.warn(&format!("{address} is shared to itself; `gatepost share remove {address} {address}`"));
    }
    Ok(())
}

async fn our_schema(
    connection: &mut PgConnection,
    settings: &Settings,
    report: &mut Report,
) -> anyhow::Result<()> {
    let status = schema::status(connection).await.map_err(explain)?;
    match status.version {
        None => {
            report.warn("schema gatepost is not installed: signing and the rate limit are off; `gatepost schema install`");
            return Ok(());
        }
        Some(version) if version < VERSION => report.fail(&format!(
            "schema gatepost has version {version}, this program needs {VERSION}; `gatepost schema install`"
        )),
        Some(version) if version > VERSION => report.warn(&format!(
            "schema gatepost has version {version}, newer than this program ({VERSION}); upgrade the packages"
        )),
        Some(version) => report.ok(&format!("schema gatepost version {version}")),
    }
    if status.triggers == TRIGGERS {
        report.ok("triggers announce changes");
    } else {
        report.warn(&format!(
            "{} of {TRIGGERS} triggers: changes count after database.cache-ttl; `gatepost schema install`",
            status.triggers
        ));
    }
    for (role, there) in status.roles {
        if !there {
            report.fail(&format!("role {role} is missing; `gatepost schema install`"));
            continue;
        }
        privileges(connection, role, report).await?;
    }
    let unsigned: Vec<(String,)> = sqlx::query_as(
        "SELECT d.domain::text FROM public.domains d
         WHERE NOT EXISTS (SELECT FROM gatepost.dkim_keys k WHERE k.domain = lower(d.domain) AND k.state = 'active') ORDER BY 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    for (domain,) in unsigned {
        report.warn(&format!(
            "mail of {domain} is not signed: no active key; `gatepost dkim generate {domain}`"
        ));
    }
    if status.version == Some(VERSION) {
        dkim::findings::report(connection, &settings.config.dkim, report).await?;
    }
    Ok(())
}

/// What a role must be able to read, and what it must not.
async fn privileges(connection: &mut PgConnection, role: &str, report: &mut Report) -> anyhow::Result<()> {
    let (superuser, addresses, hashes, keys): (bool, bool, bool, bool) = sqlx::query_as(
        "SELECT rolsuper, has_column_privilege($1, 'public.users', 'local', 'SELECT'),
                has_column_privilege($1, 'public.users', 'password_hash', 'SELECT'),
                has_column_privilege($1, 'gatepost.dkim_keys', 'private_key', 'SELECT')
         FROM pg_catalog.pg_roles WHERE rolname = $1",
    )
    .bind(role.to_owned())
    .fetch_one(connection)
    .await
    .map_err(explain)?;
    let expected = (role == "gatepost_auth", role == "gatepost_milter");
    if superuser {
        report.fail(&format!("role {role} is a superuser; `ALTER ROLE {role} NOSUPERUSER`"));
    } else if !addresses {
        report.fail(&format!("role {role} cannot read addresses; `gatepost schema install`"));
    } else if (hashes, keys) != expected {
        report.fail(&format!("role {role} may read password hashes: {hashes}, signing keys: {keys}; it should be {}, {}; look for grants to PUBLIC or by hand", expected.0, expected.1));
    } else {
        report.ok(&format!("role {role} may what it needs and no more"));
    }
    Ok(())
}
