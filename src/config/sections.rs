//! The sections that all daemons share. Each key's documentation is the operator's; `examples/gatepost.toml` repeats it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::{DatabaseHosts, ListenAddress, Seconds, SessionAttrs};

/// `[database]`: where `mail_server` is and how long to wait for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Database {
    /// A host name, an IP address, or the directory of a unix socket; or a list of them, each with its own `:PORT` if it has one, of
    /// which the first that answers is asked.
    pub host: DatabaseHosts,
    /// The port; also part of a unix socket's name.
    pub port: u16,
    /// Which servers will do: `any`, or `read-write`, which passes standbys by; as libpq's `target_session_attrs`.
    pub target_session_attrs: SessionAttrs,
    /// The database's name.
    pub name: String,
    /// The role to connect as. A daemon's section may name its own (`database-user`).
    pub user: Option<String>,
    /// A file with that role's password in its first line; readable by its owner and group only. Not needed with `peer` or `trust`.
    pub password_file: Option<PathBuf>,
    /// Whether to encrypt: `disable`, `prefer`, `require`, `verify-ca` or `verify-full`, as libpq's `sslmode`.
    pub tls: TlsMode,
    /// The connections that each daemon keeps at the most, its listener for changes not counted.
    pub connections: u32,
    /// How long a question may take, connecting included.
    pub timeout: Seconds,
    /// How long an answer counts where no trigger of ours announces changes. "Not found" is never kept then.
    pub cache_ttl: Seconds,
    /// How long an answer counts while triggers announce changes.
    pub cache_ttl_notified: Seconds,
    /// How old an answer may be and still be given while the database is away.
    pub stale_limit: Seconds,
    /// How many answers each daemon keeps.
    pub cache_entries: u64,
    /// The characters that divide `alice+news` (Postfix's `recipient_delimiter`).
    pub extension_delimiters: String,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            host: "/run/postgresql".into(),
            port: 5432,
            target_session_attrs: SessionAttrs::Any,
            name: "mail_server".into(),
            user: None,
            password_file: None,
            tls: TlsMode::Prefer,
            connections: 8,
            timeout: Seconds::new(2),
            cache_ttl: Seconds::new(1),
            cache_ttl_notified: Seconds::new(600),
            stale_limit: Seconds::new(3600),
            cache_entries: 200_000,
            extension_delimiters: "+".into(),
        }
    }
}

/// `[dns]`: one resolver for each process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Dns {
    /// The servers to ask, as `"127.0.0.1:53"`; none: those of `/etc/resolv.conf`. A resolver on this host or network is needed in
    /// any case: public ones are refused by most block lists.
    pub servers: Vec<SocketAddr>,
    /// How long one server may take; every question is tried twice.
    pub timeout: Seconds,
    /// How many answers each process keeps, positive and negative, each as long as DNS says.
    pub cache_entries: u64,
    /// Whether a server's word that an answer is validated (the AD bit) is believed: `auto` believes servers on the loopback
    /// device, `trust-ad` all, `off` none. The network between must be as safe as the resolver itself for `trust-ad`.
    pub dnssec: DnssecTrust,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Seconds(Duration::from_millis(1500)),
            cache_entries: 10_000,
            dnssec: DnssecTrust::Auto,
        }
    }
}

/// `dns.dnssec`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DnssecTrust {
    /// If all servers are on this host's loopback device.
    Auto,
    /// Always.
    TrustAd,
    /// Never.
    Off,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsMode {
    /// Never.
    Disable,
    /// If the server can.
    Prefer,
    /// Always, whoever the server is.
    Require,
    /// Always, with a certificate of a known authority.
    VerifyCa,
    /// Always, with a certificate of a known authority for that host.
    VerifyFull,
}

/// `[log]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Log {
    /// The least important line that is written.
    pub level: LogLevel,
    /// Where to: `auto` is journald under systemd, else stderr.
    pub target: LogTarget,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogLevel::Info, target: LogTarget::Auto }
    }
}

/// error = service lost; warn = the operator should act; info = a decision; debug = a peer's fault; trace = every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Service lost.
    Error,
    /// The operator should act.
    Warn,
    /// One line per decision.
    Info,
    /// A peer's fault.
    Debug,
    /// Every command.
    Trace,
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogTarget {
    /// journald if it is behind stderr, else stderr.
    Auto,
    /// Lines on stderr.
    Stderr,
    /// Fields to journald.
    Journald,
}

/// `[limits]`: what one daemon takes on at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Limits {
    /// Connections open at once; further ones wait in the listen backlog.
    pub connections: usize,
    /// How long running transactions may take to end after SIGTERM.
    pub drain: Seconds,
    /// Threads for work that burns CPU; 0 = one per core.
    pub threads: usize,
    /// Where Prometheus may read metrics, such as `"inet:127.0.0.1:9325"`; none if not given. Each daemon needs its own: a daemon's
    /// section may name it (`metrics`).
    pub metrics: Option<ListenAddress>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 4096, drain: Seconds::new(20), threads: 0, metrics: None }
    }
}
