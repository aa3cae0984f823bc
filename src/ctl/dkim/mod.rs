//! `gatepost dkim`: signing keys in `gatepost.dkim_keys`, through all their life, and the DNS records that go with them.
//!
//! - [`generate`], [`import`]: how keys come in.
//! - [`steps`], [`rotate`]: activate, retire, remove; and the three in their order.
//! - [`check`]: what DNS says of each key.
//! - [`show`]: lists and records.
//! - [`encrypt`]: private keys at rest.
//! - [`findings`]: what `gatepost check` says of keys.
//!
//! A key that DNS does not show is never let sign: neither here nor by the database's trigger nor by the milter.

mod check;
mod encrypt;
pub(super) mod findings;
mod generate;
mod import;
mod rotate;
mod show;
mod steps;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};
use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::dkim::{self, Finding, KeyKind, Vault};
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use gatepost::store::key_life::{self, Key};
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::connection::{Settings, explain, require_schema};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make a key; it signs once DNS shows its record and it is activated
    #[command(
        after_help = "Examples:\n  gatepost dkim generate example.com\n  gatepost dkim generate example.com --kind ed25519   # beside an RSA key: mail is signed by both\n  gatepost dkim generate example.com --selector mail2026 --kind rsa-3072"
    )]
    Generate {
        /// The domain, which must be hosted here
        domain: Domain,
        /// The selector; today's date if not given, with a letter if that is taken
        #[arg(long, value_parser = selector)]
        selector: Option<String>,
        /// The kind of key
        #[arg(long, value_enum, default_value_t = Kind::Rsa2048)]
        kind: Kind,
    },
    /// Change a domain's keys for new ones, one step at each call: make, activate and retire, remove
    #[command(
        after_help = "Call it again whenever you like: it takes the step whose time has come, or says what it waits for.\n\n  1. makes a new key of each kind that signs now, and prints the records to publish\n  2. once DNS shows them: lets the new ones sign, retires the old ones\n  3. a week later: the old records may go from DNS; the old private keys are erased\n\nExamples:\n  gatepost dkim rotate example.com\n  gatepost dkim rotate example.com --min-age 0    # although the keys are young"
    )]
    Rotate {
        /// The domain
        domain: Domain,
        /// Begin a new rotation only if the keys that sign are at least so many days old
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        min_age: u32,
    },
    /// Let keys sign that DNS shows; refused as long as it does not
    #[command(
        after_help = "Examples:\n  gatepost dkim activate example.com              # all keys that wait\n  gatepost dkim activate example.com 20260120 --wait 15m"
    )]
    Activate {
        /// The domain
        domain: Domain,
        /// The selector; all keys that wait if not given
        #[arg(value_parser = selector)]
        selector: Option<String>,
        /// Ask DNS again and again, for so long, such as 15m
        #[arg(long, value_name = "TIME", value_parser = span)]
        wait: Option<Seconds>,
    },
    /// Let a key sign no more; leave its record in DNS for a week, for mail under way
    #[command(after_help = "Example:\n  gatepost dkim retire example.com 20250120")]
    Retire {
        /// The domain
        domain: Domain,
        /// The selector
        #[arg(value_parser = selector)]
        selector: String,
    },
    /// Erase a key that does not sign: its private half goes at once, its record may go
    #[command(after_help = "Example:\n  gatepost dkim remove example.com 20250120")]
    Remove {
        /// The domain
        domain: Domain,
        /// The selector
        #[arg(value_parser = selector)]
        selector: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List keys with their states, their dates and what DNS last said
    #[command(
        after_help = "Examples:\n  gatepost dkim list\n  gatepost dkim list example.com --all            # removed ones too"
    )]
    List {
        /// Only those of one domain
        domain: Option<Domain>,
        /// Removed keys too
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        show: super::terminal::Show,
    },
    /// Print the TXT records to publish, as a zone file takes them
    #[command(
        after_help = "Examples:\n  gatepost dkim dns example.com >>/etc/bind/example.com.zone\n  gatepost dkim dns example.com 20260120 --plain  # name and value, for a provider's web form"
    )]
    Dns {
        /// The domain
        domain: Domain,
        /// One key; all that are not removed if not given
        #[arg(value_parser = selector)]
        selector: Option<String>,
        /// Name and value on lines of their own, unquoted, for a web form
        #[arg(long)]
        plain: bool,
    },
    /// Ask DNS about every key; status 1 if a key that signs is not shown
    #[command(after_help = "Examples:\n  gatepost dkim check\n  gatepost dkim check example.com")]
    Check {
        /// Only the keys of one domain
        domain: Option<Domain>,
        #[command(flatten)]
        show: super::terminal::Show,
    },
    /// Take over the keys of another program; those that DNS shows sign at once
    #[command(subcommand)]
    Import(Import),
    /// Encrypt every private key with the first key of [dkim] key-file, also after that has changed
    #[command(
        after_help = "The first time:\n  openssl rand -base64 32 | install -o postgres -g _gatepost-milter -m 0640 /dev/stdin /etc/gatepost/dkim.key\n  set key-file = \"/etc/gatepost/dkim.key\" in section [dkim]; systemctl reload gatepost-milter\n  gatepost dkim encrypt\n\nTo change the key file: put a new line above the old one; systemctl reload gatepost-milter; gatepost dkim encrypt; take the old line out."
    )]
    Encrypt {
        /// The other way: decrypt all, to do without a key file
        #[arg(long)]
        undo: bool,
    },
}

#[derive(Subcommand)]
pub(super) enum Import {
    /// From Rspamd: local.d/dkim_signing.conf with its maps and key files
    #[command(
        after_help = "Examples:\n  gatepost dkim import rspamd --dry-run\n  gatepost dkim import rspamd /etc/rspamd/dkim_selectors.map"
    )]
    Rspamd {
        /// Rspamd's directory, the file dkim_signing.conf, or a map of selectors
        #[arg(default_value = "/etc/rspamd")]
        path: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// From OpenDKIM: opendkim.conf with its KeyTable and SigningTable
    #[command(after_help = "Example:\n  gatepost dkim import opendkim --dry-run")]
    Opendkim {
        /// The file
        #[arg(default_value = "/etc/opendkim.conf")]
        path: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// One private key: PKCS#8 or PKCS#1 in PEM, or an Ed25519 key in base64
    #[command(
        after_help = "Example:\n  gatepost dkim import pem /etc/dkim/example.key --domain example.com --selector 20250120"
    )]
    Pem {
        /// The file
        file: PathBuf,
        /// The domain it signs for
        #[arg(long)]
        domain: Domain,
        /// Its selector
        #[arg(long, value_parser = selector)]
        selector: String,
        #[command(flatten)]
        how: How,
    },
}

impl Verb {
    /// Making the usual key.
    pub(super) fn generate(domain: Domain) -> Self {
        Self::Generate { domain, selector: None, kind: Kind::Rsa2048 }
    }
}

impl Import {
    /// Rspamd's keys; those that DNS shows sign at once.
    pub(super) fn rspamd(path: &std::path::Path) -> Self {
        Self::Rspamd { path: path.to_owned(), how: How { dry_run: false, no_activate: false } }
    }

    /// OpenDKIM's.
    pub(super) fn opendkim(path: &std::path::Path) -> Self {
        Self::Opendkim { path: path.to_owned(), how: How { dry_run: false, no_activate: false } }
    }
}

/// How keys are taken over.
#[derive(clap::Args, Clone, Copy)]
pub(super) struct How {
    /// Only say what would be done: nothing is changed, DNS is asked
    #[arg(long)]
    dry_run: bool,
    /// Take the keys over, but let none sign yet
    #[arg(long)]
    no_activate: bool,
}

/// The kinds of keys that can be made.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Kind {
    /// RSA, 2048 bits: understood by every receiver
    #[value(name = "rsa-2048")]
    Rsa2048,
    /// RSA, 3072 bits
    #[value(name = "rsa-3072")]
    Rsa3072,
    /// RSA, 4096 bits: its record is too long for some name servers
    #[value(name = "rsa-4096")]
    Rsa4096,
    /// Ed25519 (RFC 8463): short, not understood everywhere; add it beside an RSA key
    #[value(name = "ed25519")]
    Ed25519,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Rsa2048 => Self::Rsa2048,
            Kind::Rsa3072 => Self::Rsa3072,
            Kind::Rsa4096 => Self::Rsa4096,
            Kind::Ed25519 => Self::Ed25519,
        }
    }
}

pub(super) async fn run(
    verb: Verb,
    connection: &mut PgConnection,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    require_schema(connection).await?;
    let mut desk = Desk { connection, settings };
    match verb {
        Verb::Generate { domain, selector, kind } => {
            generate::run(&mut desk, &domain, selector, kind.into()).await?;
        }
        Verb::Rotate { domain, min_age } => rotate::run(&mut desk, &domain, min_age).await?,
        Verb::Activate { domain, selector, wait } => {
            steps::activate(&mut desk, &domain, selector.as_deref(), wait).await?;
        }
        Verb::Retire { domain, selector } => steps::retire(&mut desk, &domain, &selector).await?,
        Verb::Remove { domain, selector, yes } => steps::remove(&mut desk, &domain, &selector, yes).await?,
        Verb::List { domain, all, show } => show::list(&mut desk, domain.as_ref(), all, show).await?,
        Verb::Dns { domain, selector, plain } => {
            show::dns(&mut desk, &domain, selector.as_deref(), plain).await?
        }
        Verb::Check { domain, show } => return check::run(&mut desk, domain.as_ref(), show).await,
        Verb::Import(import) => import::run(&mut desk, import).await?,
        Verb::Encrypt { undo } => encrypt::run(&mut desk, undo).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What every verb works with.
struct Desk<'a> {
    connection: &'a mut PgConnection,
    settings: &'a Settings,
}

impl Desk<'_> {
    async fn keys(&mut self, domain: Option<&Domain>) -> anyhow::Result<Vec<Key>> {
        key_life::keys(self.connection, domain).await.map_err(explain)
    }

    async fn key(&mut self, domain: &Domain, selector: &str) -> anyhow::Result<Key> {
        let keys = self.keys(Some(domain)).await?;
        keys.into_iter().find(|key| key.selector.eq_ignore_ascii_case(selector)).ok_or_else(|| {
            anyhow!("{domain} has no key with selector {selector}; `gatepost dkim list {domain}`")
        })
    }

    fn vault(&self) -> anyhow::Result<Vault> {
        Ok(Vault::open(&self.settings.config.dkim)?)
    }

    fn resolver(&self) -> anyhow::Result<Resolver> {
        // No memory: `--wait` asks for the same record again and again.
        let dns = gatepost::config::Dns { cache_entries: 0, ..self.settings.config.dns.clone() };
        Ok(Resolver::new(&dns)?)
    }

    /// Asks DNS about a key and writes down what it says.
    async fn look(&mut self, resolver: &Resolver, key: &mut Key) -> anyhow::Result<Lookup<Finding>> {
        let found = dkim::look(resolver, &key.domain, &key.selector, key.algorithm, &key.public_key).await;
        if let Lookup::Found(finding) = &found {
            key_life::record_dns(self.connection, key, finding.answer, &finding.detail)
                .await
                .map_err(explain)?;
        }
        Ok(found)
    }
}

/// The record of a key, as a zone file takes it.
fn record(key: &Key) -> String {
    dkim::record::zone_line(&key.domain, &key.selector, key.algorithm, &key.public_key)
}

/// A selector on the command line.
fn selector(text: &str) -> Result<String, String> {
    match dkim::selector::is_valid(text) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "bad selector \"{}\", expected 1 to 63 letters, digits, dots, hyphens and underscores, such as 20260120; `gatepost dkim list` has those that are there",
            text.escape_debug()
        )),
    }
}

/// The tutorial's kind of selector, such as `20260120`.
fn today() -> anyhow::Result<String> {
    OffsetDateTime::now_utc()
        .format(time::macros::format_description!("[year][month][day]"))
        .context("cannot format today's date")
}

fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}

/// How long a retired key's record stays in DNS: longer than mail waits in queues (5 days; RFC 5321 §4.5.4.1) and is read for the first
/// time by a receiver who verifies late.
const KEEP_RETIRED: time::Duration = time::Duration::days(7);
