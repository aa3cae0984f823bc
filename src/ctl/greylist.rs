//! `gatepost greylist`: who waits, who has passed, and who is never asked to wait.

use anyhow::bail;
use clap::Subcommand;
use sqlx::PgConnection;

use super::allow_deny::{self, Kind, Which};
use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// List attempts that wait, clients on the automatic allow-list, and rules
    List {
        /// Only what holds this text
        text: Option<String>,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Never delay a client (network or name), a sender's domain or address, or a recipient
    Allow {
        /// 192.0.2.0/24, example.org, friend@example.org; a recipient with --kind recipient
        value: String,
        /// What the value is, if it is not what it looks like
        #[arg(long, value_enum)]
        kind: Option<Kind>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
    },
    /// Forget a rule, and every attempt and client that is exactly this text
    Delete {
        /// A client, sender or recipient as `list` shows it, or the value of a rule
        value: String,
        /// What the value of the rule is, if it is not what it looks like
        #[arg(long, value_enum)]
        kind: Option<Kind>,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::List { text, show } => list(connection, &text.unwrap_or_default().to_lowercase(), show).await,
        Verb::Allow { value, kind, reason } => {
            let which = Which::new(value, kind);
            let (kind, value, _) =
                allow_deny::add(connection, &which, "no-greylist", reason.as_deref(), None).await?;
            println!("{kind} {value} is never asked to wait");
            Ok(())
        }
        Verb::Delete { value, kind } => delete(connection, value, kind).await,
    }
}

async fn list(connection: &mut PgConnection, text: &str, show: terminal::Show) -> anyhow::Result<()> {
    type Row = (String, String, String, String, i32);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT client, sender, recipient, to_char(first_seen, 'YYYY-MM-DD HH24:MI:SS'), passed FROM gatepost.greylist
         WHERE $1 = '' OR strpos(client, $1) > 0 OR strpos(sender, $1) > 0 OR strpos(recipient, $1) > 0
         ORDER BY last_seen DESC LIMIT 1000",
    )
    .bind(text.to_owned())
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let rows: Vec<[String; 5]> = rows
        .into_iter()
        .map(|(client, sender, recipient, first, passed)| {
            let state = if passed > 0 { format!("passed {passed}") } else { "waits".to_owned() };
            [client, if sender.is_empty() { "<>".to_owned() } else { sender }, recipient, first, state]
        })
        .collect();
    show.table(["CLIENT", "SENDER", "RECIPIENT", "FIRST SEEN", "STATE"], &rows);
    let clients: Vec<(String, i32, String)> = sqlx::query_as(
        "SELECT client, passes, to_char(last_seen, 'YYYY-MM-DD HH24:MI:SS') FROM gatepost.greylist_clients
         WHERE $1 = '' OR strpos(client, $1) > 0 ORDER BY passes DESC, client LIMIT 1000",
    )
    .bind(text.to_owned())
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let clients: Vec<[String; 3]> =
        clients.into_iter().map(|(client, passes, last)| [client, passes.to_string(), last]).collect();
    show.table(["CLIENT", "PASSES", "LAST SEEN"], &clients);
    allow_deny::list(connection, &["no-greylist"], show).await
}

async fn delete(connection: &mut PgConnection, value: String, kind: Option<Kind>) -> anyhow::Result<()> {
    let exact = value.trim().to_lowercase();
    let attempts =
        sqlx::query("DELETE FROM gatepost.greylist WHERE client = $1 OR sender = $1 OR recipient = $1")
            .bind(&exact)
            .execute(&mut *connection)
            .await
            .map_err(explain)?
            .rows_affected();
    let clients = sqlx::query("DELETE FROM gatepost.greylist_clients WHERE client = $1")
        .bind(&exact)
        .execute(&mut *connection)
        .await
        .map_err(explain)?
        .rows_affected();
    let rules = match Which::new(value.clone(), kind).parsed() {
        Ok((kind, parsed, _)) => sqlx::query(
            "DELETE FROM gatepost.access_rules WHERE kind = $1 AND value = $2 AND action = 'no-greylist'",
        )
        .bind(kind.to_string())
        .bind(parsed)
        .execute(&mut *connection)
        .await
        .map_err(explain)?
        .rows_affected(),
        // "spf:example.org" is a client of the list, and no value of a rule.
        Err(_) => 0,
    };
    if attempts + clients + rules == 0 {
        bail!("nothing on the greylist is {value}; `gatepost greylist list`");
    }
    println!("forgotten: {attempts} attempts, {clients} clients of the automatic allow-list, {rules} rules");
    Ok(())
}
