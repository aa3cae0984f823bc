//! One TOML file, `/etc/gatepost/gatepost.toml`, read by all: sections `[database]`, `[dns]`, `[dkim]`, `[log]`, `[limits]`,
//! and one per daemon.
//!
//! Each daemon reads the common sections and its own; the other daemons' sections are theirs to judge. Every error names file,
//! line and column, what was expected and what to do. Refuses unknown keys, and files that let others read a secret.

mod credential;
mod dkim;
mod hosts;
mod listen;
mod load;
mod network;
mod sections;
mod values;

pub use dkim::Dkim;
pub use hosts::{DatabaseHost, DatabaseHosts, SessionAttrs};
pub use listen::{ListenAddress, UnixAccess};
pub use load::{ConfigError, load, nearest, parse, read_secret_file, read_secret_lines};
pub use network::Network;
pub use sections::{Database, Dns, DnssecTrust, Limits, Log, LogLevel, LogTarget, TlsMode};
pub use values::{ByteSize, Seconds, Secret};

use std::fmt::Debug;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

/// Where the file is, if the command line names no other.
pub const DEFAULT_PATH: &str = "/etc/gatepost/gatepost.toml";

/// A daemon's own section of the file.
pub trait Section: DeserializeOwned + Default + Clone + Debug + Send + Sync + 'static {
    /// The section's name, such as `milter`.
    const NAME: &'static str;

    /// What the types alone cannot say: one sentence per contradiction between keys.
    ///
    /// # Errors
    /// The sentence, without the file's name.
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    /// The role this daemon connects as, where the section names one other than `[database]` does.
    fn database_user(&self) -> Option<&str> {
        None
    }

    /// The file with that role's password.
    fn database_password_file(&self) -> Option<&std::path::Path> {
        None
    }

    /// Where this daemon's metrics are read, where the section names a place other than `limits.metrics`.
    fn metrics(&self) -> Option<&ListenAddress> {
        None
    }
}

/// The whole configuration of one daemon.
#[derive(Clone, Debug)]
pub struct Config<S> {
    /// The file it came from; `None` for built-in defaults.
    pub path: Option<PathBuf>,
    /// `[database]`, with the daemon's own role filled in.
    pub database: Database,
    /// `[dns]`.
    pub dns: Dns,
    /// `[dkim]`.
    pub dkim: Dkim,
    /// `[log]`.
    pub log: Log,
    /// `[limits]`.
    pub limits: Limits,
    /// The daemon's own section.
    pub service: S,
}

/// The section of whoever has none: the admin tool.
#[derive(Clone, Debug, Default, serde::Deserialize)]
pub struct NoSection {}

impl Section for NoSection {
    const NAME: &'static str = "";
}

/// The names of the daemons' sections.
pub const DAEMON_SECTIONS: [&str; 3] = ["milter", "dovecot-auth", "postfix-policy"];
