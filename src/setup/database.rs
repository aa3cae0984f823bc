//! PostgreSQL: the tutorial's objects where there are none, our schema and roles, how the daemons connect, and what stands in the tables.

use std::path::PathBuf;

use super::facts::{Auth, DAEMONS, DovecotFacts, Facts, Foreign, KeySource, Wish};
use super::plan::{Dns, Plan, Step, name};
use super::{example, hba};
use crate::mail::{Address, Domain};
use crate::store::schema::VERSION;

/// Database, tables, schema.
pub(super) fn objects(facts: &Facts, wish: &Wish, plan: &mut Plan) {
    let database = &facts.database;
    if !database.exists {
        plan.step(
            Step::CreateDatabase { name: database.name.clone() },
            "domains, users and aliases stand there",
            format!("DROP DATABASE {}, with all mailboxes' addresses: by hand alone", database.name),
        );
    }
    if !database.has_tables {
        plan.step(
            Step::TutorialTables { database: database.name.clone() },
            "the tutorial's tables, views and roles, which Nextcloud knows too",
            "DROP the tables by hand; `gatepost setup --undo` leaves them",
        );
    }
    let missing = DAEMONS.iter().any(|daemon| !database.roles.contains(daemon.role));
    let passwords = passwords(facts, facts.auth(wish));
    let old = database.schema.is_none_or(|version| version < VERSION);
    if database.schema.is_some_and(|version| version > VERSION) {
        plan.obstacles.push(format!(
            "schema gatepost has version {}, newer than this program ({VERSION}): upgrade the package gatepost first",
            database.schema.unwrap_or_default()
        ));
    } else if old || missing || !database.has_triggers || !passwords.is_empty() {
        plan.step(
            Step::InstallSchema { passwords },
            "signing keys, counters and history; one role for each daemon, that may what it needs; triggers that announce changes",
            "gatepost schema remove, with all signing keys: `gatepost setup --undo` leaves it",
        );
    }
}

/// The roles whose password files are named and not there.
fn passwords(facts: &Facts, auth: Auth) -> Vec<(String, PathBuf, String)> {
    if auth == Auth::Peer {
        return Vec::new();
    }
    let directory = facts.config.parent().map(PathBuf::from).unwrap_or_default();
    let missing = |daemon: &&super::facts::Named| {
        facts.daemons.iter().any(|facts| facts.section == daemon.section && !facts.has_password)
    };
    DAEMONS
        .iter()
        .filter(missing)
        .map(|daemon| {
            let named = facts
                .daemons
                .iter()
                .find(|facts| facts.section == daemon.section)
                .and_then(|facts| facts.password_file.clone());
            let file = named.unwrap_or_else(|| directory.join(format!("{}.password", daemon.role)));
            (daemon.role.to_owned(), file, facts.system_user(daemon.section).to_owned())
        })
        .collect()
}

/// pg_hba.conf and pg_ident.conf.
pub(super) fn access(facts: &Facts, auth: Auth, plan: &mut Plan) {
    let database = &facts.database;
    if !database.by_socket {
        plan.remark(
            "PostgreSQL is asked over the network: its pg_hba.conf must let the roles gatepost_milter, gatepost_auth and gatepost_policy in, each with its password",
        );
        return;
    }
    let mut changed = false;
    let (path, text) = &database.hba;
    let suits = |rule: &hba::Rule| match auth {
        Auth::Peer => rule.is_mapped(),
        Auth::Password => rule.is_password() || rule.method == "trust",
    };
    let rules: Vec<Option<hba::Rule>> =
        DAEMONS.iter().map(|daemon| hba::first(text, &database.name, daemon.role)).collect();
    if !rules.iter().all(|rule| rule.as_ref().is_some_and(suits)) {
        let record = example::hba_record(auth == Auth::Peer).replace("mail_server", &database.name);
        let before = rules.iter().flatten().map(|rule| rule.line).min();
        changed = true;
        plan.step(
            Step::InsertLines { path: path.clone(), before, lines: vec![MARK.to_owned(), record] },
            match auth {
                Auth::Peer => "each daemon is known by its system user: no passwords in files",
                Auth::Password => "each daemon comes with the password of its role",
            },
            "take the line out, SELECT pg_reload_conf()",
        );
    }
    let (path, text) = &database.ident;
    let users = DAEMONS.iter().map(|daemon| (facts.system_user(daemon.section), daemon.role));
    if auth == Auth::Peer {
        let lines: Vec<String> = users
            .clone()
            .filter(|(user, role)| !hba::is_mapped(text, "gatepost", user, role))
            .map(|(user, role)| ident_line(user, role))
            .collect();
        if !lines.is_empty() {
            changed = true;
            plan.step(
                Step::InsertLines {
                    path: path.clone(),
                    before: None,
                    lines: [MARK.to_owned()].into_iter().chain(lines).collect(),
                },
                "which system user may be which role",
                "take the lines out, SELECT pg_reload_conf()",
            );
        }
        // PostgreSQL knows system users by their names alone.
        let unknown = |user: &str| user.parse::<u32>().is_ok() || !facts.users.contains(user);
        for (user, _) in users.clone().filter(|(user, _)| unknown(user)) {
            plan.obstacles.push(format!(
                "there is no system user {user}: install the packages gatepost-milter, gatepost-dovecot-auth and gatepost-postfix-policy, or name the users the daemons run as with --system-user"
            ));
        }
    }
    if changed {
        let peers = if auth == Auth::Peer {
            users.map(|(user, role)| (user.to_owned(), role.to_owned())).collect()
        } else {
            Vec::new()
        };
        plan.step(
            Step::ReloadPostgresql { peers },
            "PostgreSQL reads both files again; each role is tried",
            "the same, after the files are as they were",
        );
    }
}

/// A record of pg_ident.conf in the columns of `examples/pg_ident.conf`.
pub(super) fn ident_line(user: &str, role: &str) -> String {
    format!("{:<10} {user:<17} {role}", "gatepost")
}

/// The first domain and mailbox, and keys for every domain.
pub(super) fn keys(facts: &Facts, wish: &Wish, plan: &mut Plan) {
    let mut domains = facts.database.domains.clone();
    if domains.is_empty() {
        match &wish.domain {
            Some(domain) => {
                first(domain, wish, plan);
                domains.push(domain.clone());
            }
            None => plan.obstacles.push(
                "no domain is hosted here yet: say which with --domain example.com, and its first mailbox with --user you@example.com"
                    .to_owned(),
            ),
        }
    } else if facts.database.a_user.is_none()
        && let Some(user) = &wish.user
    {
        first_user(user, plan);
    }
    for trouble in &facts.keys.trouble {
        plan.remark(format!("keys are not taken over: {trouble}"));
    }
    let mut imported: Vec<&Domain> = Vec::new();
    for Foreign { from, path, keys } in &facts.keys.to_import {
        imported.extend(keys.iter().map(|(domain, _)| domain));
        let program = match from {
            KeySource::Rspamd => "Rspamd",
            KeySource::Opendkim => "OpenDKIM",
        };
        plan.step(
            Step::ImportKeys { from: *from, path: path.clone() },
            format!("mail is signed with the keys that {program} signs with and DNS shows: {}", listed(keys)),
            format!("gatepost dkim retire, gatepost dkim remove; {program}'s own files stay as they are"),
        );
    }
    for domain in domains {
        if facts.keys.with_key.contains(&domain) || imported.contains(&&domain) {
            continue;
        }
        plan.step(
            Step::GenerateKey { domain: name(&domain) },
            format!("mail of {domain} is signed; the record that is printed is to be published"),
            format!("gatepost dkim remove {domain} SELECTOR"),
        );
        plan.dns.push(Dns {
            record: format!("; gatepost dkim dns {domain}"),
            why: "the key; `gatepost dkim activate` lets it sign once DNS shows it",
        });
    }
}

fn first(domain: &Domain, wish: &Wish, plan: &mut Plan) {
    plan.step(
        Step::AddDomain { domain: name(domain) },
        "the first domain",
        format!("gatepost domain remove {domain}"),
    );
    match &wish.user {
        Some(user) if user.domain() == domain => first_user(user, plan),
        Some(user) => plan.obstacles.push(format!("--user {user} is not of --domain {domain}")),
        None => {
            plan.obstacles.push(format!("a domain needs somebody who reads its mail: --user you@{domain}"))
        }
    }
}

fn first_user(user: &Address, plan: &mut Plan) {
    plan.step(
        Step::AddUser { address: user.clone() },
        "the first mailbox; its password is asked for, or read from stdin",
        format!("gatepost user remove {user}"),
    );
    for (local, why) in [
        ("postmaster", "every domain must have a postmaster (RFC 5321, 4.5.1)"),
        ("root", "what programs of this host write goes to somebody"),
    ] {
        if let Ok(alias) = Address::new(local, user.domain().clone())
            && alias != *user
        {
            let undo = format!("gatepost alias remove {alias}");
            plan.step(Step::AddAlias { alias, to: user.clone() }, why, undo);
        }
    }
}

fn listed(keys: &[(Domain, String)]) -> String {
    let shown: Vec<String> =
        keys.iter().take(5).map(|(domain, selector)| format!("{selector}._domainkey.{domain}")).collect();
    let more = keys.len().saturating_sub(5);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// `gatepost.toml`: written where there is none.
pub(super) fn configuration(facts: &Facts, auth: Auth, plan: &mut Plan) {
    // Of a server in use alone: a new one's userdb is of the system's users, and serves no mail of ours.
    let in_use = |dovecot: &&DovecotFacts| !dovecot.is_new(facts.serves_mail());
    let owner =
        facts.dovecot.as_ref().filter(in_use).map(|dovecot| dovecot.owner.clone()).unwrap_or_default();
    let found = [("uid", &owner.uid), ("gid", &owner.gid), ("home", &owner.home)];
    if facts.config_text.is_none() {
        let mut text = example::GATEPOST_TOML.to_owned();
        for (key, value) in found {
            if let (Some(value), Some(default)) = (value, default_of(key)) {
                text = text.replacen(&format!("{key} = \"{default}\""), &format!("{key} = \"{value}\""), 1);
            }
        }
        if auth == Auth::Peer {
            text = text.replace("\ndatabase-password-file = ", "\n# database-password-file = ");
        }
        plan.step(
            Step::WriteFile { path: facts.config.clone(), contents: text, mode: 0o644 },
            "every key with its default, for all three daemons",
            format!("rm {}", facts.config.display()),
        );
    } else {
        for (key, value) in found {
            let configured = match facts.configured("dovecot-auth", key) {
                Some(toml::Value::String(text)) => text,
                Some(other) => other.to_string(),
                None => default_of(key).unwrap_or_default().to_owned(),
            };
            if let Some(value) = value
                && !same_owner(key, value, &configured)
            {
                plan.obstacles.push(format!(
                    "Dovecot's userdb has {key} = \"{value}\", {} says \"{configured}\": users would find empty mailboxes; set {key} in [dovecot-auth]",
                    facts.config.display()
                ));
            }
        }
    }
    mail_user(facts, &owner.uid, plan);
    if facts.to_be_configured("milter.learning", "listen").is_none() && facts.dovecot.is_some() {
        plan.remark(
            "moving mail into and out of Junk teaches nothing yet: set `listen` in [milter.learning], restart gatepost-milter, and run `gatepost setup` again",
        );
    }
}

/// The account that owns the mail.
fn mail_user(facts: &Facts, found: &Option<String>, plan: &mut Plan) {
    let uid = match facts.configured("dovecot-auth", "uid") {
        Some(toml::Value::String(text)) => text,
        Some(other) => other.to_string(),
        None => found.clone().or_else(|| default_of("uid").map(str::to_owned)).unwrap_or_default(),
    };
    if facts.dovecot.is_none() || uid.parse::<u32>().is_ok() || facts.users.contains(&uid) {
        return;
    }
    plan.step(
        Step::MailUser { name: uid.clone(), id: MAIL_ID, home: PathBuf::from("/var/vmail") },
        "owns the mail on disk",
        format!("userdel {uid}; the directory stays"),
    );
}

/// Whether Dovecot's word and ours mean the same.
fn same_owner(key: &str, theirs: &str, ours: &str) -> bool {
    key != "home" && (theirs == "5000" || ours == "5000") && (theirs == "vmail" || ours == "vmail")
        || theirs.trim_end_matches('/') == ours.trim_end_matches('/')
}

/// What `examples/gatepost.toml` says of a key in `[dovecot-auth]`.
fn default_of(key: &str) -> Option<&'static str> {
    let prefix = format!("{key} = \"");
    example::GATEPOST_TOML
        .lines()
        .skip_while(|line| *line != "[dovecot-auth]")
        .find_map(|line| line.strip_prefix(prefix.as_str())?.strip_suffix('"'))
}

/// Stands above lines of ours.
const MARK: &str = "# Gatepost:";
/// The tutorial's number, which `first_valid_uid` of the Dovecot examples names.
const MAIL_ID: u32 = 5000;
