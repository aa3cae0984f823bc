//! `gatepost limits`: how much logins, domains and clients have sent, limits of their own, and logins that are locked.

use std::net::IpAddr;

use anyhow::bail;
use clap::Subcommand;
use gatepost::config::Seconds;
use gatepost::mail::{Address, Domain};
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Show what has been sent, limits set here, habits and locks
    Show {
        /// A login, a domain or a client's address; all if not given
        key: Option<Key>,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Forget what a login, a domain or a client has sent, and unlock the login
    Reset {
        /// alice@example.com, example.com or 192.0.2.7
        key: Key,
    },
    /// Give a login, a domain or a client a limit of its own, in place of the configuration's for the same window
    Set {
        /// alice@example.com, example.com or 192.0.2.7
        key: Key,
        /// How many messages
        #[arg(long)]
        messages: u32,
        /// How many recipients
        #[arg(long)]
        recipients: u32,
        /// Within which span of time
        #[arg(long, value_parser = span, default_value = "1h")]
        window: Seconds,
    },
    /// Take a limit of its own back
    Unset {
        /// As for `set`
        key: Key,
        /// Only the one of this window
        #[arg(long, value_parser = span)]
        window: Option<Seconds>,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Show { key, show: how } => show(connection, key.map(|key| key.text), how).await,
        Verb::Reset { key } => reset(connection, key).await,
        Verb::Set { key, messages, recipients, window } => {
            let Key { scope, text: key } = key;
            let seconds = i32::try_from(window.0.as_secs()).unwrap_or(i32::MAX);
            if !(1..=2_678_400).contains(&seconds) {
                bail!("--window {window} is out of range, expected 1s to 31d");
            }
            sqlx::query(
                "INSERT INTO gatepost.sending_limits (scope, key, span, messages, recipients) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (scope, key, span) DO UPDATE SET messages = excluded.messages, recipients = excluded.recipients",
            )
            .bind(scope)
            .bind(&key)
            .bind(seconds)
            .bind(i64::from(messages))
            .bind(i64::from(recipients))
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{scope} {key}: {messages} messages, {recipients} recipients in {window}");
            Ok(())
        }
        Verb::Unset { key, window } => {
            let Key { scope, text: key } = key;
            let done = sqlx::query(
                "DELETE FROM gatepost.sending_limits WHERE scope = $1 AND key = $2 AND ($3::int IS NULL OR span = $3)",
            )
            .bind(scope)
            .bind(&key)
            .bind(window.map(|window| i32::try_from(window.0.as_secs()).unwrap_or(i32::MAX)))
            .execute(connection)
            .await
            .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{scope} {key} has no limit of its own; `gatepost limits show {key}`");
            }
            println!("{scope} {key}: the configuration's limits count");
            Ok(())
        }
    }
}

async fn show(connection: &mut PgConnection, key: Option<String>, how: terminal::Show) -> anyhow::Result<()> {
    let sent: Vec<(String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT login, count(*) FILTER (WHERE at > now() - interval '1 hour'),
                coalesce(sum(recipients) FILTER (WHERE at > now() - interval '1 hour'), 0)::bigint,
                count(*) FILTER (WHERE at > now() - interval '1 day'),
                coalesce(sum(recipients) FILTER (WHERE at > now() - interval '1 day'), 0)::bigint
         FROM gatepost.sent WHERE $1::text IS NULL OR login = $1 OR split_part(login, '@', 2) = $1 GROUP BY login ORDER BY 4 DESC, 1",
    )
    .bind(key.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 5]> = sent
        .into_iter()
        .map(|(login, a, b, c, d)| [login, a.to_string(), b.to_string(), c.to_string(), d.to_string()])
        .collect();
    how.table(["LOGIN", "MESSAGES 1h", "RECIPIENTS 1h", "MESSAGES 1d", "RECIPIENTS 1d"], &rows);
    type Level = (String, String, i32, Option<f64>, Option<f64>, Option<i64>, Option<i64>);
    let levels: Vec<Level> = sqlx::query_as(
        "SELECT coalesce(v.scope, l.scope), coalesce(v.key, l.key), coalesce(v.span, l.span), v.messages, v.recipients, l.messages, l.recipients
         FROM gatepost.sending_levels AS v FULL JOIN gatepost.sending_limits AS l ON l.scope = v.scope AND l.key = v.key AND l.span = v.span
         WHERE $1::text IS NULL OR coalesce(v.key, l.key) = $1 ORDER BY 1, 2, 3",
    )
    .bind(key.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 5]> = levels
        .into_iter()
        .map(|(scope, key, span, messages, recipients, limit_messages, limit_recipients)| {
            let level = |level: Option<f64>| level.map(|level| format!("{level:.0}")).unwrap_or_default();
            let own = match (limit_messages, limit_recipients) {
                (Some(messages), Some(recipients)) => format!("{messages} messages, {recipients} recipients"),
                _ => String::new(),
            };
            let window = Seconds::new(u64::from(span.unsigned_abs()));
            [format!("{scope} {key}"), window.to_string(), level(messages), level(recipients), own]
        })
        .collect();
    how.table(["WHOSE", "WINDOW", "MESSAGES THEN", "RECIPIENTS THEN", "LIMIT OF ITS OWN"], &rows);
    type Habit = (String, i64, f64, i32, i64);
    let habits: Vec<Habit> = sqlx::query_as(
        "SELECT h.login, h.recipients, h.average, h.failed, (SELECT count(*) FROM gatepost.login_places AS p WHERE p.login = h.login)
         FROM gatepost.login_habits AS h WHERE $1::text IS NULL OR h.login = $1 ORDER BY 1",
    )
    .bind(key.clone())
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 5]> = habits
        .into_iter()
        .map(|(login, today, average, failed, places)| {
            [login, today.to_string(), format!("{average:.1}"), failed.to_string(), places.to_string()]
        })
        .collect();
    how.table(["LOGIN", "TODAY", "AVERAGE DAY", "FAILED", "PLACES"], &rows);
    let locks: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT login, to_char(locked_at, 'YYYY-MM-DD HH24:MI:SS'), reason FROM gatepost.login_locks
         WHERE ($1::text IS NULL OR login = $1) AND (until IS NULL OR until > now()) ORDER BY 1",
    )
    .bind(key)
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 3]> =
        locks.into_iter().map(|(login, since, reason)| [login, since, reason]).collect();
    how.table(["LOCKED LOGIN", "SINCE", "REASON"], &rows);
    Ok(())
}

async fn reset(connection: &mut PgConnection, key: Key) -> anyhow::Result<()> {
    let Key { scope, text: key } = key;
    let mut forgotten = 0;
    let statements = [
        "DELETE FROM gatepost.sending_levels WHERE scope = $1 AND key = $2",
        "DELETE FROM gatepost.sent WHERE $1 = 'login' AND login = $2",
        // The failures that locked it would lock it again at once.
        "UPDATE gatepost.login_habits SET failed = 0, recipients = 0 WHERE $1 = 'login' AND login = $2",
        "UPDATE gatepost.login_places SET first_seen = '-infinity' WHERE $1 = 'login' AND login = $2",
        "DELETE FROM gatepost.notices WHERE $1 = 'login' AND kind = 'stolen-login' AND key = $2",
    ];
    let mut transaction = sqlx::Connection::begin(connection).await.map_err(explain)?;
    for statement in statements {
        let query = sqlx::query(statement).bind(scope).bind(&key);
        forgotten += query.execute(&mut *transaction).await.map_err(explain)?.rows_affected();
    }
    let unlocked = sqlx::query("DELETE FROM gatepost.login_locks WHERE $1 = 'login' AND login = $2")
        .bind(scope)
        .bind(&key)
        .execute(&mut *transaction)
        .await
        .map_err(explain)?
        .rows_affected();
    if unlocked > 0 {
        sqlx::query("SELECT pg_notify('gatepost', 'login_locks ' || $1)")
            .bind(&key)
            .execute(&mut *transaction)
            .await
            .map_err(explain)?;
    }
    transaction.commit().await.map_err(explain)?;
    if forgotten + unlocked == 0 {
        bail!("nothing is known of {scope} {key}; `gatepost limits show`");
    }
    println!("{scope} {key} may send again{}", if unlocked > 0 { ", and log in" } else { "" });
    Ok(())
}

/// Whose: as the tables have it.
#[derive(Clone, Debug)]
pub(super) struct Key {
    scope: &'static str,
    text: String,
}

impl std::str::FromStr for Key {
    type Err = String;

    /// An address is a login, a domain is one, the rest must be a client's address.
    fn from_str(key: &str) -> Result<Self, String> {
        if let Ok(client) = key.parse::<IpAddr>() {
            return Ok(Self { scope: "client", text: client.to_canonical().to_string() });
        }
        if let Ok(login) = Address::parse(key) {
            return Ok(Self { scope: "login", text: login.to_string() });
        }
        match Domain::parse(key) {
            Ok(domain) => Ok(Self { scope: "domain", text: domain.to_string() }),
            Err(error) => Err(format!(
                "\"{}\" is no login, no domain and no client's address: {error}; `gatepost limits show` lists all",
                key.escape_debug()
            )),
        }
    }
}

fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}
