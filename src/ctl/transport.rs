//! `gatepost transport`: the way of the mail for an address or a domain, where it is not that of its class.

use anyhow::bail;
use clap::Subcommand;
use gatepost::directory::{Scope, Transport};
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Set a way; one for the same address is replaced
    Add {
        /// The address, or @example.com for every address of a domain
        address: Scope,
        /// TRANSPORT:NEXTHOP of transport(5), such as smtp:[mail.example.net]:587
        transport: Transport,
    },
    /// Take the way of its class again
    Remove {
        /// The address, or @example.com
        address: Scope,
    },
    /// List them
    List(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { address, transport } => {
            sqlx::query(
                "INSERT INTO gatepost.transports (pattern, transport) VALUES ($1, $2)
                 ON CONFLICT (pattern) DO UPDATE SET transport = excluded.transport",
            )
            .bind(address.to_string())
            .bind(transport.to_string())
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{address} goes by {transport}");
        }
        Verb::Remove { address } => {
            let done = sqlx::query("DELETE FROM gatepost.transports WHERE pattern = $1")
                .bind(address.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{address} has no transport of its own; `gatepost transport list`");
            }
            println!("{address} goes by the transport of its class");
        }
        Verb::List(show) => {
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT pattern, transport FROM gatepost.transports ORDER BY 1")
                    .fetch_all(connection)
                    .await
                    .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(address, transport)| [address, transport]).collect();
            show.table(["ADDRESS", "TRANSPORT"], &rows);
        }
    }
    Ok(())
}
