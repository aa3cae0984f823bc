//! `gatepost sendas`: rights to send as an address, or as any of a domain, beside those of its owner.

use anyhow::bail;
use clap::Subcommand;
use gatepost::directory::Scope;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Let a login send as an address
    Add {
        /// The address, or @example.com for every address of a domain
        address: Scope,
        /// Who may
        login: Address,
    },
    /// Let it no longer
    Remove {
        /// The address, or @example.com
        address: Scope,
        /// Who might
        login: Address,
    },
    /// List these rights
    List(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { address, login } => {
            domain::require_any(connection, address.domain()).await?;
            user::require(connection, &login).await?;
            sqlx::query(
                "INSERT INTO gatepost.send_as (address, login) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            )
            .bind(address.to_string())
            .bind(login.to_string())
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{login} may send as {address}");
        }
        Verb::Remove { address, login } => {
            let done = sqlx::query("DELETE FROM gatepost.send_as WHERE address = $1 AND login = $2")
                .bind(address.to_string())
                .bind(login.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{login} was given no right to send as {address}; `gatepost sendas list`");
            }
            println!("{login} may send as {address} no longer, unless it is its own");
        }
        Verb::List(show) => {
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT address, login FROM gatepost.send_as ORDER BY 1, 2")
                    .fetch_all(connection)
                    .await
                    .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(address, login)| [address, login]).collect();
            show.table(["ADDRESS", "LOGIN"], &rows);
        }
    }
    Ok(())
}
