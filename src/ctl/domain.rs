//! `gatepost domain`: the tutorial's table `domains`.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use gatepost::config;
use gatepost::mail::Domain;
use sqlx::PgConnection;

use super::connection::{explain, violates};
use super::{domain_dns, terminal};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Host a domain
    Add {
        /// The domain; international ones in either form
        domain: Domain,
    },
    /// Host a domain no longer; it must have no users and no aliases left
    Remove {
        /// The domain
        domain: Domain,
    },
    /// List the domains with their numbers of users and aliases
    List,
    /// Print the records by which others deliver to it encrypted: MTA-STS, TLSRPT, DANE
    Dns(domain_dns::Dns),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection, dns: &config::Dns) -> anyhow::Result<()> {
    match verb {
        Verb::Dns(asked) => {
            require(connection, &asked.domain).await?;
            domain_dns::run(asked, dns).await?;
        }
        Verb::Add { domain } => {
            if stored(connection, &domain).await?.is_some() {
                bail!("{domain} is hosted already");
            }
            sqlx::query("INSERT INTO public.domains VALUES ($1)")
                .bind(domain.as_str().to_owned())
                .execute(connection)
                .await
                .map_err(explain)?;
            println!("{domain} added");
        }
        Verb::Remove { domain } => {
            let name = require(connection, &domain).await?;
            sqlx::query("DELETE FROM public.domains WHERE domain = $1").bind(name).execute(connection).await.map_err(|error| {
                if violates(&error, "23503") { anyhow!("{domain} still has users or aliases; remove those first (`gatepost user list {domain}`, `gatepost alias list {domain}`)") } else { explain(error) }
            })?;
            println!("{domain} removed");
        }
        Verb::List => {
            let rows: Vec<(String, i64, i64)> = sqlx::query_as(
                "SELECT domain::text, (SELECT count(*) FROM public.users u WHERE u.domain = d.domain),
                        (SELECT count(*) FROM public.aliases a WHERE a.source_domain = d.domain)
                 FROM public.domains d ORDER BY 1",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(domain, users, aliases)| [domain, users.to_string(), aliases.to_string()])
                .collect();
            terminal::table(["DOMAIN", "USERS", "ALIASES"], &rows);
        }
    }
    Ok(())
}

/// The domain as it is spelled in the database, if it is hosted.
pub(super) async fn stored(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<Option<String>> {
    let rows: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains")
        .fetch_all(connection)
        .await
        .map_err(explain)?;
    Ok(rows.into_iter().map(|(name,)| name).find(|name| Domain::parse(name).as_ref() == Ok(domain)))
}

/// The same, or the error that says how to host it.
pub(super) async fn require(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<String> {
    stored(connection, domain)
        .await?
        .ok_or_else(|| anyhow!("{domain} is not hosted here; `gatepost domain add {domain}`"))
}
