//! What is there: versions, `postconf`, `doveconf`, the database, `pg_hba.conf`, the keys and services of others. Only reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use gatepost::dkim::import;
use gatepost::mail::{Address, Domain};
use gatepost::setup::{
    DAEMONS, DaemonFacts, DatabaseFacts, DovecotFacts, Facts, Foreign, KeyFacts, KeySource, MailOwner,
    Neighbour, PostfixFacts, is_replaced_milter,
};
use gatepost::store::schema;

use super::programs::{is_installed, said, succeeds};
use super::{Host, Where};
use crate::ctl::connection::explain;

pub(super) async fn facts(host: &Host, where_: &Where) -> anyhow::Result<Facts> {
    let systemd = Path::new("/run/systemd/system").is_dir();
    let config_text = std::fs::read_to_string(&host.config).ok();
    let toml: toml::Table =
        config_text.as_deref().and_then(|text| toml::from_str(text).ok()).unwrap_or_default();
    let postfix = if is_installed("postconf") { Some(postfix(where_.postfix.as_deref())?) } else { None };
    let dovecot = if is_installed("doveconf") { Some(dovecot(where_.dovecot.as_deref())?) } else { None };
    let (database, with_keys) = database(host).await?;
    let directory = host.config.parent().unwrap_or(Path::new("/etc/gatepost"));
    let daemons = daemons(&toml, directory, where_, systemd);
    let mut names: Vec<String> = daemons.iter().map(|daemon| daemon.system_user.clone()).collect();
    let uid = toml.get("dovecot-auth").and_then(|section| section.get("uid")?.as_str());
    names.extend(uid.map(str::to_owned).into_iter().chain(["vmail".to_owned()]));
    names.extend(dovecot.iter().filter_map(|dovecot| dovecot.owner.uid.clone()));
    let users = names.into_iter().filter(|name| uid_of(name).is_some()).collect();
    let keys = keys(where_, &database.domains, &with_keys);
    let neighbours = neighbours(systemd, postfix.as_ref());
    let mut files = BTreeMap::new();
    if let Some(dovecot) = &dovecot {
        let directory = dovecot.config.parent().unwrap_or(Path::new("/etc/dovecot"));
        let scripts =
            gatepost::setup::example::SIEVE.iter().map(|(name, _)| directory.join("sieve").join(name));
        for path in
            scripts.chain([directory.join("conf.d/99-gatepost.conf"), directory.join("gatepost.conf")])
        {
            if let Ok(text) = std::fs::read_to_string(&path) {
                files.insert(path, text);
            }
        }
    }
    Ok(Facts {
        hostname: hostname(postfix.as_ref()),
        config: host.config.clone(),
        config_text,
        run: where_.run.clone(),
        database,
        daemons,
        postfix,
        dovecot,
        neighbours,
        keys,
        systemd,
        users,
        files,
    })
}

/// The number of a system user, by name or number.
pub(super) fn uid_of(name: &str) -> Option<(nix::unistd::Uid, nix::unistd::Gid)> {
    if let Ok(number) = name.parse::<u32>() {
        return Some((number.into(), number.into()));
    }
    nix::unistd::User::from_name(name).ok().flatten().map(|user| (user.uid, user.gid))
}

fn hostname(postfix: Option<&PostfixFacts>) -> String {
    let own = || nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    postfix
        .and_then(|postfix| postfix.settings.get("myhostname").cloned())
        .or_else(|| said("hostname", &["--fqdn"]).ok().map(|name| name.trim().to_owned()))
        .filter(|name| !name.is_empty())
        .or_else(own)
        .unwrap_or_else(|| "localhost".to_owned())
}

fn daemons(toml: &toml::Table, directory: &Path, where_: &Where, systemd: bool) -> Vec<DaemonFacts> {
    DAEMONS
        .iter()
        .map(|daemon| {
            let named = where_.system_user.iter().find(|(section, _)| section == daemon.section);
            let file = toml
                .get(daemon.section)
                .and_then(|section| section.get("database-password-file")?.as_str())
                .map(|file| password_file(file, directory, daemon.section));
            let unit = format!("{}.service", daemon.unit);
            DaemonFacts {
                section: daemon.section.to_owned(),
                system_user: named.map_or(daemon.system_user, |(_, user)| user).to_owned(),
                has_password: file.as_ref().is_some_and(|file| file.exists()),
                password_file: file,
                unit_is_down: systemd
                    && succeeds("systemctl", &["cat", &unit])
                    && !succeeds("systemctl", &["is-active", "--quiet", &unit]),
            }
        })
        .collect()
}

/// Where a password is kept: "credential:secret_FILE" is what systemd hands over of FILE in the daemon's directory of secrets.
fn password_file(value: &str, directory: &Path, section: &str) -> PathBuf {
    match value.strip_prefix("credential:") {
        Some(name) => {
            directory.join("secrets").join(section).join(name.strip_prefix("secret_").unwrap_or(name))
        }
        None => PathBuf::from(value),
    }
}

/// The database, and the domains and selectors that have keys in our table.
async fn database(host: &Host) -> anyhow::Result<(DatabaseFacts, Vec<(Domain, String)>)> {
    let config = &host.settings.config.database;
    let mut facts =
        DatabaseFacts { name: config.name.clone(), by_socket: config.host.are_local(), ..Default::default() };
    // The cluster first: the database may be missing.
    let mut cluster =
        host.settings.connect_to("postgres").await.context("gatepost setup looks at PostgreSQL first")?;
    let (hba, ident, exists): (String, String, bool) = sqlx::query_as(
        "SELECT current_setting('hba_file'), current_setting('ident_file'), EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $1)",
    )
    .bind(config.name.clone())
    .fetch_one(&mut *cluster)
    .await
    .map_err(explain)?;
    facts.exists = exists;
    if facts.by_socket {
        for (path, place) in [(hba, &mut facts.hba), (ident, &mut facts.ident)] {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
            *place = (PathBuf::from(path), text);
        }
    }
    if !exists {
        return Ok((facts, Vec::new()));
    }
    let mut connection = host.settings.connect().await?;
    let (tables,): (bool,) = sqlx::query_as(
        "SELECT count(*) = 3 FROM unnest(ARRAY['domains', 'users', 'aliases']) name WHERE to_regclass('public.' || name) IS NOT NULL",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(explain)?;
    facts.has_tables = tables;
    let status = schema::status(&mut connection).await.map_err(explain)?;
    facts.schema = status.version;
    facts.has_triggers = status.triggers == schema::TRIGGERS;
    facts.roles =
        status.roles.iter().filter(|(_, there)| *there).map(|(role, _)| (*role).to_owned()).collect();
    if tables {
        let domains: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains ORDER BY 1")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
        facts.domains = domains.iter().filter_map(|(name,)| Domain::parse(name).ok()).collect();
        let user: Option<(String,)> =
            sqlx::query_as("SELECT local || '@' || domain FROM public.users ORDER BY domain, local LIMIT 1")
                .fetch_optional(&mut *connection)
                .await
                .map_err(explain)?;
        facts.a_user = user.and_then(|(address,)| Address::parse(&address).ok());
    }
    let mut keys = Vec::new();
    if facts.schema.is_some() {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT domain::text, selector FROM gatepost.dkim_keys WHERE state <> 'removed'")
                .fetch_all(&mut *connection)
                .await
                .map_err(explain)?;
        keys = rows
            .into_iter()
            .filter_map(|(domain, selector)| Some((Domain::parse(&domain).ok()?, selector)))
            .collect();
    }
    Ok((facts, keys))
}

fn postfix(directory: Option<&Path>) -> anyhow::Result<PostfixFacts> {
    let place = directory.map(|directory| directory.display().to_string());
    let at: Vec<&str> = place.as_deref().map_or_else(Vec::new, |place| vec!["-c", place]);
    let ask = |arguments: &[&str]| said("postconf", &[at.as_slice(), arguments].concat());
    let version = said("postconf", &["-d", "-h", "mail_version"])?.trim().to_owned();
    let directory = match directory {
        Some(directory) => directory.to_owned(),
        None => PathBuf::from(said("postconf", &["-d", "-h", "config_directory"])?.trim()),
    };
    if !directory.join("main.cf").exists() {
        let queue = PathBuf::from(said("postconf", &["-d", "-h", "queue_directory"])?.trim());
        return Ok(PostfixFacts { version, directory, queue, ..Default::default() });
    }
    let pair = |line: &str| {
        let (name, value) = line.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    let settings = ask(&["-n"])?.lines().filter_map(pair).collect();
    let services = ask(&["-M"])?
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let words = (words.next()?.to_owned(), words.next()?.to_owned());
            Some((words.0, words.1, line.split_whitespace().collect::<Vec<_>>().join(" ")))
        })
        .collect();
    let overrides = ask(&["-P"])?
        .lines()
        .filter_map(|line| {
            let (name, value) = pair(line)?;
            let (service, parameter) = name.rsplit_once('/')?;
            Some((service.to_owned(), parameter.to_owned(), value))
        })
        .collect();
    let running = succeeds("postfix", &[at.as_slice(), &["status"]].concat());
    let queue = PathBuf::from(ask(&["-h", "queue_directory"])?.trim());
    Ok(PostfixFacts { version, directory, queue, settings, services, overrides, has_main: true, running })
}

fn dovecot(file: Option<&Path>) -> anyhow::Result<DovecotFacts> {
    let config = file.map_or_else(|| PathBuf::from("/etc/dovecot/dovecot.conf"), Path::to_owned);
    let place = config.display().to_string();
    let ask = |arguments: &[&str]| said("doveconf", &[&["-c", place.as_str()], arguments].concat());
    let version = said("dovecot", &["--version"])?.split_whitespace().next().unwrap_or_default().to_owned();
    let dump = ask(&["-n"]).context("Dovecot does not accept its configuration as it is; mend that first")?;
    let entries = entries(&dump);
    let protocols: BTreeSet<String> = ask(&["protocols"])?
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| !matches!(*word, "" | "protocols" | "yes"))
        .map(str::to_owned)
        .collect();
    let mut plugins = BTreeMap::new();
    if version.starts_with("2.3.") {
        for protocol in ["imap", "pop3", "lmtp", "lda", "doveadm"] {
            let list = ask(&["-h", "-f", &format!("protocol={protocol}"), "mail_plugins"])?;
            plugins.insert(protocol.to_owned(), list.split_whitespace().map(str::to_owned).collect());
        }
    }
    let modules = PathBuf::from(ask(&["-h", "mail_plugin_dir"])?.trim());
    let base = PathBuf::from(ask(&["-h", "base_dir"])?.trim());
    let running = std::fs::read_to_string(base.join("master.pid"))
        .ok()
        .and_then(|pid| pid.trim().parse::<u32>().ok())
        .is_some_and(|pid| Path::new(&format!("/proc/{pid}")).exists());
    let text = std::fs::read_to_string(&config).with_context(|| format!("cannot read {place}"))?;
    let mut facts = DovecotFacts {
        version,
        config,
        text,
        protocols,
        plugins,
        settings: entries.iter().filter_map(Entry::named).collect(),
        has_shared_namespace: entries
            .iter()
            .any(|one| one.within("namespace") && one.key == "type" && one.value == "shared"),
        ours: None,
        has_sieve: modules.join("lib90_sieve_plugin.so").exists(),
        owner: owner(&entries),
        running,
    };
    let directory = facts.config.parent().unwrap_or(Path::new("/etc/dovecot"));
    facts.ours = ["conf.d/99-gatepost.conf", "gatepost.conf"]
        .iter()
        .find_map(|name| std::fs::read_to_string(directory.join(name)).ok());
    Ok(facts)
}

/// One line of `doveconf -n`: `key = value` within sections, or the opening of a section (without value).
struct Entry {
    path: Vec<String>,
    key: String,
    value: String,
}

impl Entry {
    fn within(&self, section: &str) -> bool {
        self.path.first().is_some_and(|name| name.split_whitespace().next() == Some(section))
    }

    /// What the plan asks for by name: settings of section `plugin`, and whatever stands at the top.
    fn named(&self) -> Option<(String, String)> {
        let counts = self.path.is_empty() || self.path.as_slice() == ["plugin"];
        counts.then(|| (self.key.clone(), self.value.clone()))
    }
}

fn entries(dump: &str) -> Vec<Entry> {
    let (mut path, mut entries): (Vec<String>, Vec<Entry>) = (Vec::new(), Vec::new());
    for line in dump.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if line == "}" {
            path.pop();
        } else if let Some(name) = line.strip_suffix('{') {
            entries.push(Entry { path: path.clone(), key: name.trim().to_owned(), value: String::new() });
            path.push(name.trim().to_owned());
        } else if let Some((key, value)) = line.split_once('=') {
            entries.push(Entry {
                path: path.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
            });
        }
    }
    entries
}

/// What a static userdb says of the mail, or else the settings of all users.
fn owner(entries: &[Entry]) -> MailOwner {
    let at_top = |name: &str| {
        entries.iter().find(|one| one.path.is_empty() && one.key == name).map(|one| one.value.clone())
    };
    // Another userdb may say otherwise for each user: then nothing is known.
    let is_static = entries.iter().any(|one| {
        one.path.is_empty() && one.key == "userdb static"
            || one.within("userdb") && one.key == "driver" && one.value == "static"
    });
    if !is_static {
        return MailOwner::default();
    }
    let mut pairs: Vec<(String, String)> = [("uid", "mail_uid"), ("gid", "mail_gid"), ("home", "mail_home")]
        .iter()
        .filter_map(|(key, setting)| Some(((*key).to_owned(), at_top(setting)?)))
        .collect();
    for one in entries.iter().filter(|one| one.within("userdb")) {
        if one.path.last().is_some_and(|name| name == "fields") {
            pairs.push((one.key.clone(), one.value.clone()));
        } else if one.key == "args" {
            let words = one.value.split_whitespace().filter_map(|word| word.split_once('='));
            pairs.extend(words.map(|(key, value)| (key.to_owned(), value.to_owned())));
        }
    }
    MailOwner::of(pairs)
}

fn keys(where_: &Where, hosted: &[Domain], ours: &[(Domain, String)]) -> KeyFacts {
    let mut facts =
        KeyFacts { with_key: ours.iter().map(|(domain, _)| domain.clone()).collect(), ..Default::default() };
    type Read = fn(&Path, &[Domain]) -> Result<import::Plan, import::ImportError>;
    let sources: [(KeySource, &PathBuf, Read); 2] = [
        (KeySource::Rspamd, &where_.rspamd, import::rspamd::read),
        (KeySource::Opendkim, &where_.opendkim, import::opendkim::read),
    ];
    for (source, path, read) in sources {
        if !path.exists() {
            continue;
        }
        let plan = match read(path, hosted) {
            Ok(plan) => plan,
            // Debian's opendkim.conf as it is installed signs nothing.
            Err(error) if source == KeySource::Opendkim && error.message.starts_with("signs nothing") => {
                continue;
            }
            Err(error) => {
                facts.trouble.push(error.to_string());
                continue;
            }
        };
        let mut found: Vec<(Domain, String)> = Vec::new();
        for candidate in plan.candidates {
            let there = |(domain, selector): &(Domain, String)| {
                *domain == candidate.domain && selector.eq_ignore_ascii_case(&candidate.selector)
            };
            if !hosted.contains(&candidate.domain) || ours.iter().any(there) {
                continue;
            }
            match candidate.read() {
                Ok(_) => found.push((candidate.domain, candidate.selector)),
                Err(why) => facts.trouble.push(why),
            }
        }
        if !found.is_empty() {
            facts.to_import.push(Foreign { from: source, path: path.clone(), keys: found });
        }
    }
    facts
}

/// Programs whose work becomes ours: where systemd is, those whose unit is enabled or runs; elsewhere those that Postfix asks.
fn neighbours(systemd: bool, postfix: Option<&PostfixFacts>) -> Vec<Neighbour> {
    let values: Vec<&String> = postfix.iter().flat_map(|postfix| postfix.settings.values()).collect();
    UNITS
        .iter()
        .filter_map(|(name, units)| {
            let asked = values.iter().any(|value| is_replaced_milter(value) == Some(name));
            let live = |unit: &&&str| {
                systemd
                    && (succeeds("systemctl", &["is-enabled", "--quiet", unit])
                        || succeeds("systemctl", &["is-active", "--quiet", unit]))
            };
            let units: Vec<String> = if systemd {
                units.iter().filter(live).map(|unit| (*unit).to_owned()).collect()
            } else if asked {
                units.iter().map(|unit| (*unit).to_owned()).collect()
            } else {
                Vec::new()
            };
            (asked || !units.is_empty()).then_some(Neighbour { name, units })
        })
        .collect()
}

/// The units of programs whose work becomes ours, as their packages name them.
const UNITS: &[(&str, &[&str])] = &[
    ("Rspamd", &["rspamd.service"]),
    ("OpenDKIM", &["opendkim.service"]),
    ("OpenDMARC", &["opendmarc.service"]),
    ("postgrey", &["postgrey.service"]),
    ("policyd-rate-limit", &["policyd-rate-limit.service"]),
    ("mta-sts-resolver", &["postfix-mta-sts-resolver.service"]),
    ("PostSRSd", &["postsrsd.service"]),
];

/// What a step needs of Postfix's tables afterwards: whether a domain is found by the socketmap.
pub(super) fn asks_socketmap(queue: &Path, domain: &str) -> anyhow::Result<()> {
    let table = format!("socketmap:unix:{}/run/gatepost/socketmap.sock:domains", queue.display());
    if said("postmap", &["-q", domain, &table])?.trim().is_empty() {
        bail!("{table} does not know {domain}");
    }
    Ok(())
}
