//! `gatepost allow`, `deny`, `score` and `tag`: the lists of `gatepost.access_rules`, which the policy daemon and the milter share. What only
//! a filter can see (links, attachments, header fields, signatures) and what only it can do (points, tags) is for the milter alone.

use std::fmt;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gatepost::config::Network;
use gatepost::config::Seconds;
use gatepost::mail::{Address, Domain};
use gatepost::spam::{HeaderPattern, Scope};
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
    List(terminal::Show),
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
    /// Let in even who only claims to be the sender, and is not proven by SPF, DKIM or DMARC; with `allow` only
    #[arg(long)]
    unauthenticated: bool,
    /// How many points to add to the score, such as 3 or -2.5; with `score` only
    #[arg(long, allow_negative_numbers = true, value_name = "POINTS")]
    points: Option<f64>,
    /// The word in X-Gatepost-Tag; with `tag` only
    #[arg(long = "as", value_name = "WORD")]
    tag: Option<String>,
}

/// Whom a rule is about.
#[derive(Args)]
pub(super) struct Which {
    /// An address (sender), a domain (of the sender or of the client's name), an IP address or network; or what --kind says
    value: String,
    /// What the value is, if it is not what it looks like
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    /// Only for mail of this address or domain of yours; of everybody if not given
    #[arg(long = "only-for", value_name = "ADDRESS|DOMAIN")]
    scope: Option<Scope>,
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
    /// A login; for the policy daemon alone
    Login,
    /// A domain, and what is below it, that SPF or DKIM proves
    Verified,
    /// A domain, and what is below it, that the message links to
    Url,
    /// The name of an attachment or of a file in an archive, such as "*.iso"
    Attachment,
    /// A header field and a regular expression, such as "Subject: ^cheap"
    Header,
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
            Self::Verified => "verified",
            Self::Url => "url",
            Self::Attachment => "attachment",
            Self::Header => "header",
        })
    }
}

impl Which {
    pub(super) fn new(value: String, kind: Option<Kind>) -> Self {
        Self { value, kind, scope: None }
    }

    /// Kind, value and scope in the form of the table.
    pub(super) fn parsed(&self) -> anyhow::Result<(Kind, String, String)> {
        let as_typed = self.value.trim();
        let value = as_typed.to_lowercase();
        let kind = self.kind.unwrap_or_else(|| match () {
            () if value.parse::<Network>().is_ok() => Kind::Network,
            () if value.contains('@') => Kind::Address,
            () => Kind::Domain,
        });
        let what = || format!("\"{}\" is no {kind}", self.value);
        let value = match kind {
            Kind::Network => value.parse::<Network>().map_err(anyhow::Error::msg)?.to_string(),
            Kind::Address | Kind::Login => Address::parse(&value).with_context(what)?.to_string(),
            Kind::Domain | Kind::Verified | Kind::Url => {
                Domain::parse(&value).with_context(what)?.to_string()
            }
            Kind::Recipient => match value.strip_prefix('@') {
                Some(domain) => format!("@{}", Domain::parse(domain).with_context(what)?),
                None => Address::parse(&value).with_context(what)?.to_string(),
            },
            Kind::Helo | Kind::Attachment if value.is_empty() || value.len() > 255 => bail!(what()),
            Kind::Helo | Kind::Attachment => value,
            // A pattern keeps its case: \S is not \s.
            Kind::Header => {
                HeaderPattern::parse(as_typed).map_err(anyhow::Error::msg).with_context(what)?;
                anyhow::ensure!(as_typed.chars().count() <= 320, "a pattern has at most 320 characters");
                as_typed.to_owned()
            }
        };
        let scope = self.scope.as_ref().unwrap_or(&Scope::All).to_string();
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
                (_, true) => bail!("--defer belongs to `gatepost deny`"),
                (action, _) => action,
            };
            let extras = Extras::of(action, &new)?;
            let (kind, value, scope) =
                add_with(connection, &new.which, action, new.reason.as_deref(), new.for_, &extras).await?;
            let whose = if scope == "*" { String::new() } else { format!(" for {scope}") };
            println!("{action}: {kind} {value}{whose}{extras}");
        }
        Verb::Remove(which) => {
            remove(connection, &which, &of_noun(action)).await?;
        }
        Verb::List(show) => list(connection, &of_noun(action), show).await?,
    }
    Ok(())
}

/// The actions that a noun shows and removes.
fn of_noun(action: &'static str) -> Vec<&'static str> {
    if action == "deny" { vec!["deny", "defer"] } else { vec![action] }
}

/// What a rule says beyond its action.
struct Extras {
    authenticated: bool,
    points: Option<f64>,
    tag: Option<String>,
}

impl Extras {
    fn of(action: &str, new: &New) -> anyhow::Result<Self> {
        anyhow::ensure!(
            action == "allow" || !new.unauthenticated,
            "--unauthenticated belongs to `gatepost allow`"
        );
        anyhow::ensure!(
            !matches!(action, "score" | "tag") || new.which.kind != Some(Kind::Login),
            "the milter does not judge by logins: --kind login belongs to `gatepost allow` and `deny`"
        );
        match (action, new.points) {
            ("score", None) => bail!("say how many points: --points 3"),
            ("score", Some(points)) if !points.is_finite() || points.abs() > 1000.0 => {
                bail!("{points} points are beyond ±1000")
            }
            ("score", _) | (_, None) => {}
            _ => bail!("--points belongs to `gatepost score`"),
        }
        match (action, &new.tag) {
            ("tag", None) => bail!("say which word: --as newsletter"),
            ("tag", Some(tag)) => {
                let is_word = (1..=64).contains(&tag.len())
                    && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
                anyhow::ensure!(
                    is_word,
                    "a tag is a word of letters, digits and _.- with at most 64 characters"
                );
            }
            (_, None) => {}
            _ => bail!("--as belongs to `gatepost tag`"),
        }
        Ok(Self { authenticated: !new.unauthenticated, points: new.points, tag: new.tag.clone() })
    }
}

impl fmt::Display for Extras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.points, &self.tag, self.authenticated) {
            (Some(points), ..) => write!(f, ", {points:+} points"),
            (_, Some(tag), _) => write!(f, ", as {tag}"),
            (.., false) => f.write_str(", proven or not"),
            _ => Ok(()),
        }
    }
}

/// Adds one rule.
pub(super) async fn add(
    connection: &mut PgConnection,
    which: &Which,
    action: &str,
    reason: Option<&str>,
    span: Option<Seconds>,
) -> anyhow::Result<(Kind, String, String)> {
    let extras = Extras { authenticated: true, points: None, tag: None };
    add_with(connection, which, action, reason, span, &extras).await
}

async fn add_with(
    connection: &mut PgConnection,
    which: &Which,
    action: &str,
    reason: Option<&str>,
    span: Option<Seconds>,
    extras: &Extras,
) -> anyhow::Result<(Kind, String, String)> {
    let (kind, value, scope) = which.parsed()?;
    // Who is to be refused for now is not to be refused for good, which would win; nor the other way round.
    let replaced = match action {
        "deny" => "defer",
        "defer" => "deny",
        _ => "",
    };
    sqlx::query(
        "WITH replaced AS (DELETE FROM gatepost.access_rules WHERE kind = $1 AND value = $2 AND scope = $3 AND action = $10)
         INSERT INTO gatepost.access_rules (kind, value, scope, action, reason, expires_at, authenticated, points, tag)
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), $7, $8, $9)
         ON CONFLICT (kind, value, scope, action) DO UPDATE SET reason = excluded.reason, expires_at = excluded.expires_at,
             authenticated = excluded.authenticated, points = excluded.points, tag = excluded.tag",
    )
    .bind(kind.to_string())
    .bind(&value)
    .bind(&scope)
    .bind(action.to_owned())
    .bind(reason.map(str::to_owned))
    .bind(span.map(|span| span.0.as_secs_f64()))
    .bind(extras.authenticated)
    .bind(extras.points)
    .bind(extras.tag.clone())
    .bind(replaced)
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
pub(super) async fn list(
    connection: &mut PgConnection,
    actions: &[&str],
    show: terminal::Show,
) -> anyhow::Result<()> {
    type Row = (String, String, String, String, Option<String>, Option<String>, Option<String>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT action, kind, value, scope,
                CASE WHEN points IS NOT NULL THEN points::text WHEN tag IS NOT NULL THEN tag
                     WHEN action = 'allow' AND NOT authenticated THEN 'proven or not' END,
                to_char(expires_at, 'YYYY-MM-DD HH24:MI'), reason FROM gatepost.access_rules
         WHERE action = ANY ($1) AND (expires_at IS NULL OR expires_at > now()) ORDER BY action, kind, value, scope",
    )
    .bind(actions.iter().map(|action| (*action).to_owned()).collect::<Vec<_>>())
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 7]> = rows
        .into_iter()
        .map(|(action, kind, value, scope, how, until, reason)| {
            [
                action,
                kind,
                value,
                scope,
                how.unwrap_or_default(),
                until.unwrap_or_default(),
                reason.unwrap_or_default(),
            ]
        })
        .collect();
    show.table(["ACTION", "KIND", "VALUE", "ONLY FOR", "HOW", "UNTIL", "REASON"], &rows);
    Ok(())
}

fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}
