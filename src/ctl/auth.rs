//! `gatepost auth`: wrong passwords that were heard, and how to have them forgotten.

use std::net::IpAddr;

use anyhow::bail;
use clap::Subcommand;
use gatepost::config::{Network, Seconds};
use gatepost::mail::Address;
use gatepost::telemetry::printable;
use sqlx::PgConnection;

use super::apppassword::span;
use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Show wrong passwords by login and address: how many different ones, how often, when last
    Failures {
        /// A login, an address or a network; all if not given
        key: Option<Key>,
        /// Only the last so long
        #[arg(long, value_parser = span, default_value = "1d")]
        since: Seconds,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Forget the wrong passwords for a login, from an address or from its network, on every host: whoever was told to try later may at once
    Unblock {
        /// alice@example.com, 192.0.2.7, or 192.0.2.0/24 (IPv6: a /64)
        key: Key,
    },
}

/// Whose wrong passwords.
#[derive(Clone, Debug)]
pub(super) enum Key {
    Login(String),
    Network(Network),
}

impl std::str::FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(network) = text.parse() {
            return Ok(Self::Network(network));
        }
        if let Ok(login) = Address::parse(text) {
            return Ok(Self::Login(login.to_string()));
        }
        // What was tried may be no address at all.
        match text {
            "" => Err("expected a login, an address or a network".to_owned()),
            name if name.contains(['/', ':']) => Err(format!("\"{name}\" is no network and no login")),
            name => Ok(Self::Login(name.to_lowercase())),
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Failures { key, since, show } => failures(connection, key, since, show).await,
        Verb::Unblock { key } => unblock(connection, key).await,
    }
}

async fn failures(
    connection: &mut PgConnection,
    key: Option<Key>,
    since: Seconds,
    show: terminal::Show,
) -> anyhow::Result<()> {
    type Row = (String, String, i64, i64, String, String, String);
    let (login, network) = match key {
        None => (None, None),
        Some(Key::Login(login)) => (Some(login), None),
        Some(Key::Network(network)) => (None, Some(network.to_string())),
    };
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT login, host(address), count(*), sum(times)::bigint, to_char(max(last_at), 'YYYY-MM-DD HH24:MI:SS'),
                string_agg(DISTINCT service, ','), string_agg(DISTINCT result, ',')
         FROM gatepost.login_guesses
         WHERE last_at > now() - make_interval(secs => $1) AND ($2::text IS NULL OR login = $2) AND ($3::text IS NULL OR address <<= $3::inet)
         GROUP BY login, address ORDER BY max(last_at) DESC",
    )
    .bind(since.0.as_secs_f64())
    .bind(login)
    .bind(network)
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(login, address, different, times, last, services, results)| {
            let address = if address == "0.0.0.0" { "unknown".to_owned() } else { address };
            // What was tried may be anything; a terminal is not to obey it.
            let login = printable(login.as_bytes(), 320);
            [login, address, different.to_string(), times.to_string(), last, services, results]
        })
        .collect();
    show.table(["LOGIN", "ADDRESS", "DIFFERENT", "TIMES", "LAST", "SERVICES", "RESULTS"], &rows);
    Ok(())
}

async fn unblock(connection: &mut PgConnection, key: Key) -> anyhow::Result<()> {
    let (statement, text) = match &key {
        Key::Login(login) => ("DELETE FROM gatepost.login_guesses WHERE login = $1", login.clone()),
        Key::Network(network) => {
            let example: IpAddr = network
                .to_string()
                .split('/')
                .next()
                .and_then(|address| address.parse().ok())
                .unwrap_or(IpAddr::from([0, 0, 0, 0]));
            let text = match network.prefix() {
                32 if example.is_ipv4() => example.to_string(),
                128 => example.to_string(),
                _ if Network::neighbourhood(example) == *network => network.to_string(),
                _ => bail!("{network} is counted in parts; give one address, a /24, or a /64 of IPv6"),
            };
            ("DELETE FROM gatepost.login_guesses WHERE address <<= $1::inet", text)
        }
    };
    let mut transaction = sqlx::Connection::begin(connection).await.map_err(explain)?;
    let forgotten =
        sqlx::query(statement).bind(&text).execute(&mut *transaction).await.map_err(explain)?.rows_affected();
    // Also where nothing is written: a daemon may have heard what it could not write down.
    sqlx::query("INSERT INTO gatepost.login_unblocks (key) VALUES ($1)")
        .bind(&text)
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    sqlx::query("SELECT pg_notify('gatepost', 'login_guesses *')")
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    transaction.commit().await.map_err(explain)?;
    println!("{forgotten} wrong passwords of {text} forgotten; every host follows within seconds");
    Ok(())
}
