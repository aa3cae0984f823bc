//! What was found on the machine, and what the admin wished. Nothing here is read from anywhere: whoever plans hands it in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{example, hba};
use crate::mail::{Address, Domain};

/// One of our daemons, as the packages install it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its section of `gatepost.toml`, and what `--system-user` calls it.
    pub section: &'static str,
    /// Its unit, without `.service`.
    pub unit: &'static str,
    /// Its system user.
    pub system_user: &'static str,
    /// Its role in the database.
    pub role: &'static str,
}

/// The three daemons, in the order in which they are started.
pub const DAEMONS: [Named; 3] = [
    Named {
        section: "milter",
        unit: "gatepost-milter",
        system_user: "_gatepost-milter",
        role: "gatepost_milter",
    },
    Named {
        section: "dovecot-auth",
        unit: "gatepost-dovecot-auth",
        system_user: "_gatepost-auth",
        role: "gatepost_auth",
    },
    Named {
        section: "postfix-policy",
        unit: "gatepost-postfix-policy",
        system_user: "_gatepost-policy",
        role: "gatepost_policy",
    },
];

/// Everything that the plan depends on.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The host's full name, as Postfix or the system says.
    pub hostname: String,
    /// `gatepost.toml`: where it is or is to be.
    pub config: PathBuf,
    /// Its text; `None` where there is none.
    pub config_text: Option<String>,
    /// The directory of the sockets that Dovecot asks: `/run/gatepost`.
    pub run: PathBuf,
    /// The database.
    pub database: DatabaseFacts,
    /// Our daemons, in the order of [`DAEMONS`].
    pub daemons: Vec<DaemonFacts>,
    /// Postfix, if it is installed.
    pub postfix: Option<PostfixFacts>,
    /// Dovecot, if it is installed.
    pub dovecot: Option<DovecotFacts>,
    /// Other programs whose work becomes ours, with the units that run them.
    pub neighbours: Vec<Neighbour>,
    /// Keys of others, and the domains that have some of ours.
    pub keys: KeyFacts,
    /// Whether systemd runs this machine.
    pub systemd: bool,
    /// The system users that exist, of those that the plan would name.
    pub users: BTreeSet<String>,
    /// The text of files that the plan would write, by path; those that are not there are missing.
    pub files: BTreeMap<PathBuf, String>,
}

/// One of our daemons.
#[derive(Clone, Debug, Default)]
pub struct DaemonFacts {
    /// Its section's name.
    pub section: String,
    /// Its system user, by name or number.
    pub system_user: String,
    /// Its password file, if `gatepost.toml` names one.
    pub password_file: Option<PathBuf>,
    /// Whether that file is there.
    pub has_password: bool,
    /// Whether systemd has a unit of it that does not run.
    pub unit_is_down: bool,
}

/// The database and the cluster it is in.
#[derive(Clone, Debug, Default)]
pub struct DatabaseFacts {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub exists: bool,
    /// Whether the tutorial's tables are in it.
    pub has_tables: bool,
    /// The version of our schema.
    pub schema: Option<i32>,
    /// Whether all triggers are there.
    pub has_triggers: bool,
    /// Our roles that are there.
    pub roles: BTreeSet<String>,
    /// The hosted domains.
    pub domains: Vec<Domain>,
    /// One of the mailboxes.
    pub a_user: Option<Address>,
    /// `SHOW hba_file` and its text.
    pub hba: (PathBuf, String),
    /// `SHOW ident_file` and its text.
    pub ident: (PathBuf, String),
    /// Whether it is asked over a unix socket: then pg_hba.conf needs a `local` line.
    pub by_socket: bool,
}

/// How the daemons prove to PostgreSQL who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// By their system users and a map.
    Peer,
    /// By passwords in files.
    Password,
}

/// Postfix as it is configured.
#[derive(Clone, Debug, Default)]
pub struct PostfixFacts {
    /// `mail_version`.
    pub version: String,
    /// `config_directory`.
    pub directory: PathBuf,
    /// `queue_directory`.
    pub queue: PathBuf,
    /// `postconf -n`: what main.cf sets.
    pub settings: BTreeMap<String, String>,
    /// `postconf -M`: each service's name, type and whole entry with its `-o` options, on one line.
    pub services: Vec<(String, String, String)>,
    /// `postconf -P`: service/type, parameter, value.
    pub overrides: Vec<(String, String, String)>,
    /// Whether its main.cf is there.
    pub has_main: bool,
    /// Whether it runs.
    pub running: bool,
}

/// Dovecot as it is configured.
#[derive(Clone, Debug, Default)]
pub struct DovecotFacts {
    /// Such as `2.3.19.1`.
    pub version: String,
    /// Its main file.
    pub config: PathBuf,
    /// The main file's text.
    pub text: String,
    /// `protocols`.
    pub protocols: BTreeSet<String>,
    /// `mail_plugins` of each protocol, for Dovecot 2.3: the protocol's name, then the plugins.
    pub plugins: BTreeMap<String, Vec<String>>,
    /// Section `plugin` of Dovecot 2.3; the names of top-level sections and settings of Dovecot 2.4, with their values where they have one.
    pub settings: BTreeMap<String, String>,
    /// Whether users' shared namespaces are set up, by whomever.
    pub has_shared_namespace: bool,
    /// What our file says at present, if it is there.
    pub ours: Option<String>,
    /// Whether the Sieve plugin is installed.
    pub has_sieve: bool,
    /// What its userdb says of the mail's owner.
    pub owner: MailOwner,
    /// Whether it runs.
    pub running: bool,
}

impl DovecotFacts {
    /// Whether it is set up from nothing; what was written for a new server stays so once Postfix is in use.
    pub(super) fn is_new(&self, serves_mail: bool) -> bool {
        self.ours.as_ref().map_or(!serves_mail, |ours| ours.contains("\n# --- Mailboxes"))
    }
}

/// Who owns the mail on disk, and where it is; what is not known is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailOwner {
    /// The system user, by name or number.
    pub uid: Option<String>,
    /// The group.
    pub gid: Option<String>,
    /// Each user's home, in the words of `gatepost.toml` (`{domain}`, `{local}`, `{user}`).
    pub home: Option<String>,
}

/// A program of others whose work becomes ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name, such as `Rspamd`.
    pub name: &'static str,
    /// Its units that are enabled or run.
    pub units: Vec<String>,
}

/// Where keys of others are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeySource {
    /// `dkim_signing.conf`.
    Rspamd,
    /// `opendkim.conf`.
    Opendkim,
}

/// Keys of one program.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// Whose.
    pub from: KeySource,
    /// What is imported.
    pub path: PathBuf,
    /// Domains and selectors.
    pub keys: Vec<(Domain, String)>,
}

/// Signing keys.
#[derive(Clone, Debug, Default)]
pub struct KeyFacts {
    /// Keys of others that are not in our table.
    pub to_import: Vec<Foreign>,
    /// Domains that have a key in our table, in whatever state.
    pub with_key: BTreeSet<Domain>,
    /// What of the others' setup cannot be read, and why.
    pub trouble: Vec<String>,
}

/// What the admin asked for.
#[derive(Clone, Debug, Default)]
pub struct Wish {
    /// The first domain, where there is none.
    pub domain: Option<Domain>,
    /// The first mailbox.
    pub user: Option<Address>,
    /// The certificate and its key, for a server without.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// How the daemons connect, if it was said.
    pub auth: Option<Auth>,
}

impl Facts {
    /// How the daemons connect: as was said; with passwords if `gatepost.toml` names files or pg_hba.conf asks our roles for them; else
    /// by their system users.
    pub fn auth(&self, wish: &Wish) -> Auth {
        let named = self.daemons.iter().any(|daemon| daemon.password_file.is_some());
        let asked = DAEMONS.iter().any(|daemon| {
            hba::first(&self.database.hba.1, &self.database.name, daemon.role)
                .is_some_and(|rule| rule.names_role && rule.is_password())
        });
        wish.auth.unwrap_or(if named || asked { Auth::Password } else { Auth::Peer })
    }

    /// Whether this is a server in use: one whose Postfix knows virtual mailboxes. Otherwise everything is set, names included.
    pub fn serves_mail(&self) -> bool {
        self.postfix.as_ref().is_some_and(|postfix| {
            postfix.settings.get("virtual_mailbox_domains").is_some_and(|value| !value.is_empty())
        })
    }

    /// A daemon's system user.
    pub(super) fn system_user(&self, section: &str) -> &str {
        self.daemons
            .iter()
            .find(|daemon| daemon.section == section)
            .map_or("", |daemon| daemon.system_user.as_str())
    }

    /// The sockets that Dovecot and Postfix will ask.
    pub(super) fn needed_sockets(&self, _wish: &Wish) -> Vec<PathBuf> {
        let mut sockets = Vec::new();
        if let Some(postfix) = &self.postfix {
            let at = |name: &str| postfix.queue.join("run/gatepost").join(name);
            sockets.extend(
                ["socketmap.sock", "policy.sock", "milter.sock", "auth-postfix.sock"]
                    .iter()
                    .map(|name| at(name)),
            );
        }
        if self.dovecot.is_some() {
            sockets.extend(
                ["auth-login", "auth-master", "auth-userdb", "dict"].iter().map(|name| self.run.join(name)),
            );
        }
        sockets
    }

    /// The units of ours that systemd knows and that do not run.
    pub(super) fn missing_units(&self) -> Vec<String> {
        DAEMONS
            .iter()
            .zip(&self.daemons)
            .filter(|(_, facts)| facts.unit_is_down)
            .map(|(daemon, _)| format!("{}.service", daemon.unit))
            .collect()
    }

    /// Whether a file stands there with this text.
    pub(super) fn has(&self, path: &Path, text: &str) -> bool {
        self.files.get(path).is_some_and(|there| there == text)
    }

    /// A key of a section of `gatepost.toml`, if the file sets it.
    pub(super) fn configured(&self, section: &str, key: &str) -> Option<toml::Value> {
        Self::value(self.config_text.as_deref()?, section, key)
    }

    /// The same once the plan is carried out, which writes the example where there is no file.
    pub(super) fn to_be_configured(&self, section: &str, key: &str) -> Option<toml::Value> {
        Self::value(self.config_text.as_deref().unwrap_or(example::GATEPOST_TOML), section, key)
    }

    fn value(text: &str, section: &str, key: &str) -> Option<toml::Value> {
        let table: toml::Table = toml::from_str(text).ok()?;
        let mut value = toml::Value::Table(table);
        for name in section.split('.').chain([key]) {
            value = value.as_table()?.get(name)?.clone();
        }
        Some(value)
    }
}
