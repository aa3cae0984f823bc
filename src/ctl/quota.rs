//! `gatepost quota`: how much mailboxes may hold, by address, domain or for all, and how full they are.
//!
//! Dovecot enforces it, by the fields that `[dovecot-auth.fields]` makes of it; the check `recipient` of gatepost-postfix-policy refuses mail for
//! who is full. How full a mailbox is, Dovecot says (dictionary quota_clone).

use anyhow::bail;
use clap::Subcommand;
use gatepost::config::ByteSize;
use gatepost::directory::Scope;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Say how much may be held; what is not given is as for all
    Set {
        /// alice@example.com, @example.com for each mailbox of a domain, or * for each of all
        #[arg(value_parser = whom)]
        whom: Whom,
        /// How many bytes, such as 5GiB; 0B is no limit
        #[arg(long, value_parser = size)]
        bytes: Option<ByteSize>,
        /// How many messages; 0 is no limit
        #[arg(long)]
        messages: Option<u32>,
    },
    /// Take that back
    Unset {
        /// As for `set`
        #[arg(value_parser = whom)]
        whom: Whom,
    },
    /// List what was set, and how full mailboxes are
    List {
        /// Only of this mailbox
        user: Option<Address>,
        #[command(flatten)]
        show: terminal::Show,
    },
}

/// An address, a domain, or all.
#[derive(Clone)]
pub(super) enum Whom {
    Scope(Scope),
    All,
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Scope(scope) => scope.fmt(f),
            Self::All => f.write_str("*"),
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Set { bytes: None, messages: None, .. } => bail!("give --bytes, --messages or both"),
        Verb::Set { whom, bytes, messages } => {
            match &whom {
                Whom::Scope(Scope::Address(address)) => drop(user::require(connection, address).await?),
                Whom::Scope(Scope::Domain(of)) => drop(domain::require(connection, of).await?),
                Whom::All => {}
            }
            sqlx::query(
                "INSERT INTO gatepost.quota_limits (scope, bytes, messages) VALUES ($1, $2, $3)
                 ON CONFLICT (scope) DO UPDATE SET bytes = excluded.bytes, messages = excluded.messages",
            )
            .bind(whom.to_string())
            .bind(bytes.map(|size| i64::try_from(size.0).unwrap_or(i64::MAX)))
            .bind(messages.map(i64::from))
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{whom}: {}", limit(bytes.map(|size| size.0), messages.map(u64::from)));
        }
        Verb::Unset { whom } => {
            let done = sqlx::query("DELETE FROM gatepost.quota_limits WHERE scope = $1")
                .bind(whom.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{whom} has no quota of its own; `gatepost quota list`");
            }
            println!("{whom} has no quota of its own any more");
        }
        Verb::List { user, show } => list(connection, user, show).await?,
    }
    Ok(())
}

async fn list(
    connection: &mut PgConnection,
    user: Option<Address>,
    show: terminal::Show,
) -> anyhow::Result<()> {
    let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
    if user.is_none() {
        let limits: Vec<(String, Option<i64>, Option<i64>)> =
            sqlx::query_as("SELECT scope, bytes, messages FROM gatepost.quota_limits ORDER BY 1")
                .fetch_all(&mut *connection)
                .await
                .map_err(explain)?;
        let rows: Vec<_> = limits
            .into_iter()
            .map(|(scope, bytes, messages)| [scope, limit(number(bytes), number(messages))])
            .collect();
        show.table(["FOR", "MAY HOLD"], &rows);
        if !show.is_json() {
            println!();
        }
    }
    let logins: Vec<String> = sqlx::query_scalar(
        "SELECT login FROM gatepost.quota WHERE $1 IS NULL OR login = $1 ORDER BY bytes DESC",
    )
    .bind(user.map(|user| user.to_string()))
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let mut rows = Vec::with_capacity(logins.len());
    for login in logins {
        let (bytes, messages, most_bytes, most_messages): (i64, i64, Option<i64>, Option<i64>) =
            sqlx::query_as(include_str!("../store/queries/quota.sql"))
                .bind(&login)
                .fetch_one(&mut *connection)
                .await
                .map_err(explain)?;
        let size = ByteSize(u64::try_from(bytes).unwrap_or_default());
        rows.push([
            login,
            size.to_string(),
            messages.to_string(),
            limit(number(most_bytes), number(most_messages)),
        ]);
    }
    show.table(["MAILBOX", "BYTES", "MESSAGES", "MAY HOLD"], &rows);
    Ok(())
}

/// As `5GiB, 1000 messages`.
fn limit(bytes: Option<u64>, messages: Option<u64>) -> String {
    let bytes = bytes.filter(|bytes| *bytes > 0).map(|bytes| ByteSize(bytes).to_string());
    let messages = messages.filter(|messages| *messages > 0).map(|messages| format!("{messages} messages"));
    match (bytes, messages) {
        (None, None) => "any amount".to_owned(),
        (bytes, messages) => bytes.into_iter().chain(messages).collect::<Vec<_>>().join(", "),
    }
}

fn whom(text: &str) -> Result<Whom, String> {
    if text == "*" {
        return Ok(Whom::All);
    }
    text.parse().map(Whom::Scope).map_err(|error: gatepost::mail::AddressError| error.to_string())
}

fn size(text: &str) -> Result<ByteSize, String> {
    ByteSize::try_from(text.to_owned())
}
