//! `gatepost alias`: the tutorial's table `aliases`, one destination each, always a mailbox.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use gatepost::mail::{Address, Domain};
use sqlx::PgConnection;

use super::connection::{explain, violates};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Let mail for one address go to a mailbox
    Add {
        /// The address that receives
        source: Address,
        /// The mailbox that gets it
        destination: Address,
    },
    /// Remove an alias
    Remove {
        /// The address that received
        source: Address,
    },
    /// List aliases
    List {
        /// Only those of one domain
        domain: Option<Domain>,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Add { source, destination } => {
            let domain = domain::require(connection, source.domain()).await?;
            let (to_local, to_domain) = user::require(connection, &destination).await?;
            if user::stored(connection, &source).await?.is_some() {
                bail!(
                    "{source} is a mailbox, which wins over an alias of the same name; remove it first, or choose another name"
                );
            }
            sqlx::query("INSERT INTO public.aliases VALUES ($1, $2, $3, $4)")
                .bind(source.local().to_owned())
                .bind(domain)
                .bind(to_local)
                .bind(to_domain)
                .execute(connection)
                .await
                .map_err(|error| if violates(&error, "23505") { anyhow!("{source} leads somewhere already (one destination each); `gatepost alias remove {source}` first") } else { explain(error) })?;
            println!("{source} leads to {destination}");
        }
        Verb::Remove { source } => {
            let domain = domain::require(connection, source.domain()).await?;
            let done = sqlx::query(
                "DELETE FROM public.aliases WHERE source_domain = $1 AND lower(source_local) = $2",
            )
            .bind(domain)
            .bind(source.local().to_owned())
            .execute(connection)
            .await
            .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("there is no alias {source}; `gatepost alias list`");
            }
            println!("alias {source} removed");
        }
        Verb::List { domain } => {
            let rows: Vec<(String, String, String)> = sqlx::query_as(
                "SELECT source_local || '@' || source_domain, destination_local || '@' || destination_domain, source_domain::text
                 FROM public.aliases ORDER BY source_domain, source_local",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let wanted =
                |name: &str| domain.as_ref().is_none_or(|domain| Domain::parse(name).as_ref() == Ok(domain));
            let rows: Vec<_> = rows
                .into_iter()
                .filter(|(.., domain)| wanted(domain))
                .map(|(source, destination, _)| [source, destination])
                .collect();
            terminal::table(["ALIAS", "MAILBOX"], &rows);
        }
    }
    Ok(())
}
