//! `gatepost bcc`: copies of the mail from a sender or for a recipient.

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use gatepost::directory::Scope;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Send copies; a copy for the same address is replaced
    Add {
        /// Of mail from it, or for it
        direction: Direction,
        /// The address, or @example.com for every address of a domain
        address: Scope,
        /// Who gets the copies
        copy_to: Address,
    },
    /// Send them no longer
    Remove {
        /// Of mail from it, or for it
        direction: Direction,
        /// The address, or @example.com
        address: Scope,
    },
    /// List the copies
    List(terminal::Show),
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Direction {
    Sender,
    Recipient,
}

impl Direction {
    fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { direction, address, copy_to } => {
            sqlx::query(
                "INSERT INTO gatepost.bcc (direction, pattern, copy_to) VALUES ($1, $2, $3)
                 ON CONFLICT (direction, pattern) DO UPDATE SET copy_to = excluded.copy_to",
            )
            .bind(direction.word())
            .bind(address.to_string())
            .bind(copy_to.written())
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{} {address}: copies go to {copy_to}", direction.word());
        }
        Verb::Remove { direction, address } => {
            let done = sqlx::query("DELETE FROM gatepost.bcc WHERE direction = $1 AND pattern = $2")
                .bind(direction.word())
                .bind(address.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("there are no copies for {} {address}; `gatepost bcc list`", direction.word());
            }
            println!("{} {address}: no copies any more", direction.word());
        }
        Verb::List(show) => {
            let rows: Vec<(String, String, String)> =
                sqlx::query_as("SELECT direction, pattern, copy_to FROM gatepost.bcc ORDER BY 1, 2")
                    .fetch_all(connection)
                    .await
                    .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(<[String; 3]>::from).collect();
            show.table(["DIRECTION", "ADDRESS", "COPIES TO"], &rows);
        }
    }
    Ok(())
}
