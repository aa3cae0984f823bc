//! `gatepost allow` and `gatepost deny`: the lists of `gatepost.access_rules`, which the policy daemon and the milter share.

use std::fmt;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gatepost::config::Network;
use gatepost::config::Seconds;
use gatepost::mail::{Address, Domain};
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

/// Verbs of both nouns.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// Add a rule, or change its reason and its end
    Add(New),
    /// Remove rules
    Remove(Which),
    /// List rules
    List,
}

/// A new rule.
#[derive(Args)]
pub(super) struct New {
    #[command(flatten)]
    which: Which,
    /// Why, for whoever reads the list later
    #[arg(long)]
    reason: Option<String>,
    /// For how long, such as 7d; for ever if not given
    #[arg(long = "for", value_parser = span, value_name = "SPAN")]
    for_: Option<Seconds>,
    /// Refuse for now (450) instead of for good; with `deny` only
    #[arg(long)]
    defer: bool,
}

/// Whom a rule is about.
#[derive(Args)]
pub(super) struct Which {
    /// An address (sender), a domain (of the sender or of the client's name), an IP address or network
    value: String,
    /// What the value is, if it is not what it looks like
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only for mail of this address or domain of yours; of everybody if not given
    #[arg(long = "only-for", value_name = "ADDRESS|DOMAIN")]
    scope: Option<String>,
}

/// Kinds of `gatepost.access_rules`.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// The sender's address
    Address,
    /// The sender's domain or the client's confirmed name, and what is below it
    Domain,
    /// The client's address
    Network,
    /// The name in HELO
    Helo,
    /// A recipient's address, or all of a domain as @example.com
    Recipient,
    /// A login
    Login,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address => "address",
            Self::Domain => "domain",
            Self::Network => "network",
            Self::Helo => "helo",
            Self::Recipient => "recipient",
            Self::Login => "login",
        })
    }
}

impl Which {
    pub(super) fn new(value: String, kind: Option<Kind>) -> Self {
        Self { value, kind, scope: None }
    }

    /// Kind, value and scope in the form of the table.
    pub(super) fn parsed(&self) -> anyhow::Result<(Kind, String, String)> {
        let value = self.value.trim().to_lowercase();
        let kind = self.kind.unwrap_or_else(|| match () {
            () if value.parse::<Network>().is_ok() => Kind::Network,
            () if value.contains('@') => Kind::Address,
            () => Kind::Domain,
        });
        let what = || format!("\"{}\" is no {kind}", self.value);
        let value = match kind {
            Kind::Network => value.parse::<Network>().map_err(anyhow::Error::msg)?.to_string(),
            Kind::Address | Kind::Login => Address::parse(&value).with_context(what)?.to_string(),
            Kind::Domain => Domain::parse(&value).with_context(what)?.to_string(),
            Kind::Recipient => match value.strip_prefix('@') {
                Some(domain) => format!("@{}", Domain::parse(domain).with_context(what)?),
                None => Address::parse(&value).with_context(what)?.to_string(),
            },
            Kind::Helo if value.is_empty() || value.len() > 255 => bail!(what()),
            Kind::Helo => value,
        };
        let scope = match &self.scope {
            None => "*".to_owned(),
            Some(scope) if scope.contains('@') => {
                Address::parse(scope).with_context(|| format!("--only-for {scope}"))?.to_string()
            }
            Some(scope) => Domain::parse(scope).with_context(|| format!("--only-for {scope}"))?.to_string(),
        };
        Ok((kind, value, scope))
    }
}

/// `gatepost allow …` (`action` = allow) and `gatepost deny …`.
pub(super) async fn run(
    action: &'static str,
    verb: Verb,
    connection: &mut PgConnection,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add(new) => {
            let action = match (action, new.defer) {
                ("deny", true) => "defer",
                ("allow", true) => bail!("--defer belongs to `gatepost deny`"),
                (action, _) => action,
            };
            let (kind, value, scope) =
                add(connection, &new.which, action, new.reason.as_deref(), new.for_).await?;
            let whose = if scope == "*" { String::new() } else { format!(" for {scope}") };
            println!("{action}: {kind} {value}{whose}");
        }
        Verb::Remove(which) => {
            let actions: &[&str] = if action == "deny" { &["deny", "defer"] } else { &["allow"] };
            remove(connection, &which, actions).await?;
        }
        Verb::List => {
            list(connection, if action == "deny" { &["deny", "defer"] } else { &["allow"] }).await?
        }
    }
    Ok(())
}

/// Adds one rule.
pub(super) async fn add(
    connection: &mut PgConnection,
    which: &Which,
    action: &str,
    reason: Option<&str>,
    span: Option<Seconds>,
) -> anyhow::Result<(Kind, String, String)> {
    let (kind, value, scope) = which.parsed()?;
    sqlx::query(
        "INSERT INTO gatepost.access_rules (kind, value, scope, action, reason, expires_at)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))
         ON CONFLICT (kind, value, scope, action) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at",
    )
    .bind(kind.to_string())
    .bind(&value)
    .bind(&scope)
    .bind(action.to_owned())
    .bind(reason.map(str::to_owned))
    .bind(span.map(|span| span.0.as_secs_f64()))
    .execute(connection)
    .await
    .map_err(explain)?;
    Ok((kind, value, scope))
}

/// Removes rules of these actions; an error where there was none.
pub(super) async fn remove(
    connection: &mut PgConnection,
    which: &Which,
    actions: &[&str],
) -> anyhow::Result<()> {
    let (kind, value, scope) = which.parsed()?;
    let done = sqlx::query(
        "DELETE FROM gatepost.access_rules WHERE kind = $1 AND value = $2 AND scope = $3 AND action = ANY ($4)",
    )
    .bind(kind.to_string())
    .bind(&value)
    .bind(&scope)
    .bind(actions.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>())
    .execute(connection)
    .await
    .map_err(explain)?;
    if done.rows_affected() == 0 {
        bail!("there is no such rule for {kind} {value}; `gatepost {} list`", actions[0]);
    }
    println!("{kind} {value} removed");
    Ok(())
}

/// Lists the rules of these actions.
pub(super) async fn list(connection: &mut PgConnection, actions: &[&str]) -> anyhow::Result<()> {
    type Row = (String, String, String, String, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT action, kind, value, scope, to_char(expires_at, 'YYYY-MM-DD HH24:MI'), reason FROM gatepost.access_rules
         WHERE action = ANY ($1) AND (expires_at IS NULL OR expires_at > now()) ORDER BY action, kind, value, scope",
    )
    .bind(actions.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 6]> = rows
        .into_iter()
        .map(|(action, kind, value, scope, until, reason)| {
            [action, kind, value, scope, until.unwrap_or_default(), reason.unwrap_or_default()]
        })
        .collect();
    terminal::table(["ACTION", "KIND", "VALUE", "ONLY FOR", "UNTIL", "REASON"], &rows);
    Ok(())
}

fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}
