//! A plan as data: steps that can be shown, written to files, carried out and undone.

use std::path::PathBuf;

use serde::Serialize;

use super::KeySource;
use crate::mail::{Address, Domain};

/// What is to be done.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plan {
    /// What was found, one line each.
    pub found: Vec<String>,
    /// What keeps the plan from being carried out, and what to do about it.
    pub obstacles: Vec<String>,
    /// The steps, in order.
    pub steps: Vec<Planned>,
    /// What is left alone, or left to the admin.
    pub remarks: Vec<String>,
    /// Records to publish by hand.
    pub dns: Vec<Dns>,
}

/// A step, with the reason for it and the way back.
#[derive(Clone, Debug, Serialize)]
pub struct Planned {
    /// What is done.
    #[serde(flatten)]
    pub step: Step,
    /// Why.
    pub why: String,
    /// How to undo it by hand; `gatepost setup --undo` does it for files.
    pub undo: String,
}

/// A record to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Dns {
    /// A line of a zone file.
    pub record: String,
    /// Why.
    pub why: &'static str,
}

/// One parameter of Postfix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// `parameter` of main.cf, or `service/type/parameter` of master.cf.
    pub parameter: String,
    /// Its new value.
    pub value: String,
    /// Its value before; `None` where the file does not set it.
    pub before: Option<String>,
    /// Why.
    pub why: &'static str,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// `CREATE DATABASE`, owned by `postgres`.
    CreateDatabase {
        /// Its name.
        name: String,
    },
    /// The tutorial's tables, views and roles ([`super::MAIL_SERVER`]).
    TutorialTables {
        /// The database.
        database: String,
    },
    /// `gatepost schema install`; passwords are made for the roles whose files are named.
    InstallSchema {
        /// Role, file, and the group that may read it.
        passwords: Vec<(String, PathBuf, String)>,
    },
    /// Lines for pg_hba.conf or pg_ident.conf, before the line of that number (from 1), or at the end.
    InsertLines {
        /// The file.
        path: PathBuf,
        /// The line before which they go.
        before: Option<usize>,
        /// The lines.
        lines: Vec<String>,
    },
    /// `SELECT pg_reload_conf()`, and that each role can connect.
    ReloadPostgresql {
        /// System user and role, where the system user says who asks.
        peers: Vec<(String, String)>,
    },
    /// The first domain.
    AddDomain {
        /// Its name.
        domain: String,
    },
    /// The first mailbox; its password is asked for.
    AddUser {
        /// The address.
        #[serde(serialize_with = "shown")]
        address: Address,
    },
    /// An alias.
    AddAlias {
        /// The address that receives.
        #[serde(serialize_with = "shown")]
        alias: Address,
        /// The mailbox.
        #[serde(serialize_with = "shown")]
        to: Address,
    },
    /// `gatepost dkim import`.
    ImportKeys {
        /// Whose keys.
        from: KeySource,
        /// The path.
        path: PathBuf,
    },
    /// `gatepost dkim generate`.
    GenerateKey {
        /// The domain.
        domain: String,
    },
    /// A system user that owns the mail on disk.
    MailUser {
        /// Its name.
        name: String,
        /// Its number and that of its group.
        id: u32,
        /// The directory of all mail.
        home: PathBuf,
    },
    /// A file with this text.
    WriteFile {
        /// The file.
        path: PathBuf,
        /// Its text.
        contents: String,
        /// Its mode; the owner is root.
        mode: u32,
    },
    /// `sievec`.
    CompileSieve {
        /// The script.
        path: PathBuf,
    },
    /// A line at the end of a file.
    AppendLine {
        /// The file.
        path: PathBuf,
        /// The line.
        line: String,
    },
    /// `systemctl enable --now`.
    EnableUnits {
        /// The units.
        units: Vec<String>,
    },
    /// Somebody answers on these sockets.
    Listening {
        /// The sockets.
        sockets: Vec<PathBuf>,
    },
    /// `doveconf -n` finds no fault, and Dovecot reads its files again.
    ReloadDovecot {
        /// Whether it runs.
        running: bool,
        /// A mailbox for which it is asked afterwards.
        #[serde(serialize_with = "perhaps_shown")]
        probe: Option<Address>,
    },
    /// `postconf -e`, all parameters at once.
    Postconf {
        /// The parameters.
        settings: Vec<Setting>,
    },
    /// `postconf -M`.
    MasterService {
        /// `name/type`.
        service: String,
        /// The whole entry.
        entry: String,
    },
    /// `postconf -P`, all at once.
    MasterOptions {
        /// `service/type/parameter` and values.
        settings: Vec<Setting>,
    },
    /// `postfix check`, and Postfix reads its files again.
    ReloadPostfix {
        /// Whether it runs.
        running: bool,
        /// A domain for which the socketmap is asked afterwards.
        probe: Option<String>,
    },
    /// `systemctl disable --now`.
    DisableUnits {
        /// The units.
        units: Vec<String>,
    },
}

impl Plan {
    /// Adds a step.
    pub(super) fn step(&mut self, step: Step, why: impl Into<String>, undo: impl Into<String>) {
        self.steps.push(Planned::new(step, why, undo));
    }

    /// Adds a remark.
    pub(super) fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }
}

impl Planned {
    pub(super) fn new(step: Step, why: impl Into<String>, undo: impl Into<String>) -> Self {
        Self { step, why: why.into(), undo: undo.into() }
    }
}

fn shown<S: serde::Serializer>(address: &Address, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(address)
}

fn perhaps_shown<S: serde::Serializer>(address: &Option<Address>, serializer: S) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_none(),
    }
}

/// A domain as a step names it.
pub(super) fn name(domain: &Domain) -> String {
    domain.as_str().to_owned()
}
