//! `gatepost access`: what Postfix does with a sender, a recipient, a client or a HELO name.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use gatepost::directory::access::{AccessAction, AccessPattern, AccessWord, Subject};
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Set what happens; a rule for the same pattern is replaced
    Add {
        /// sender, recipient, client or helo
        subject: Subject,
        /// An address, local@, a domain with all below it; for clients also an IP address or network; <> for the null sender
        pattern: String,
        /// ok, dunno, reject, defer, hold, discard or warn
        action: AccessWord,
        /// What the client or the log is told
        reason: Option<String>,
    },
    /// Remove a rule
    Remove {
        /// sender, recipient, client or helo
        subject: Subject,
        /// Its pattern
        pattern: String,
    },
    /// List the rules
    List(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    let parse =
        |subject, pattern: &str| AccessPattern::parse(subject, pattern).map_err(|reason| anyhow!(reason));
    match verb {
        Verb::Add { subject, pattern, action, reason } => {
            let pattern = parse(subject, &pattern)?;
            let whole = AccessAction::new(action, reason.as_deref()).map_err(|reason| anyhow!(reason))?;
            sqlx::query(
                "INSERT INTO gatepost.access (subject, pattern, action, reason) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (subject, pattern) DO UPDATE SET action = excluded.action, reason = excluded.reason",
            )
            .bind(subject.word())
            .bind(pattern.to_string())
            .bind(action.to_string())
            .bind(reason)
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{} {pattern}: {whole}", subject.word());
        }
        Verb::Remove { subject, pattern } => {
            let pattern = parse(subject, &pattern)?;
            let done = sqlx::query("DELETE FROM gatepost.access WHERE subject = $1 AND pattern = $2")
                .bind(subject.word())
                .bind(pattern.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("there is no rule for {} {pattern}; `gatepost access list`", subject.word());
            }
            println!("{} {pattern}: rule removed", subject.word());
        }
        Verb::List(show) => {
            let rows: Vec<(String, String, String, String)> = sqlx::query_as(
                "SELECT subject, pattern, action, coalesce(reason, '') FROM gatepost.access ORDER BY 1, 2",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(<[String; 4]>::from).collect();
            show.table(["SUBJECT", "PATTERN", "ACTION", "REASON"], &rows);
        }
    }
    Ok(())
}
