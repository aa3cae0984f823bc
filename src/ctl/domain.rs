//! `gatepost domain`: the tutorial's table `domains`, and the kinds of domains that it has no word for.

use std::process::ExitCode;

use anyhow::{anyhow, bail};
use clap::{Subcommand, ValueEnum};
use gatepost::config;
use gatepost::directory::NextHop;
use gatepost::mail::Domain;
use sqlx::{Connection, PgConnection};

use super::connection::{explain, has_schema, require_schema, violates};
use super::{domain_dns, terminal};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Host a domain
    Add {
        /// The domain; international ones in either form
        domain: Domain,
        /// Its mailboxes are here (local); its mail is sent on (relay), or kept while its own servers are away (backup); it is another
        /// name of a domain (alias)
        #[arg(long, value_enum, default_value = "local")]
        kind: Kind,
        /// Where a relay or backup domain's mail is sent: HOST, [HOST], either with :PORT
        #[arg(long, value_name = "HOST")]
        next_hop: Option<NextHop>,
        /// For whom a relay or backup domain takes mail: anybody, or those with an alias here
        #[arg(long, value_enum, default_value = "any")]
        recipients: Takes,
        /// The domain that an alias is another name of
        #[arg(long, value_name = "DOMAIN")]
        of: Option<Domain>,
    },
    /// Host a domain no longer; it must have no users and no aliases left
    Remove {
        /// The domain
        domain: Domain,
    },
    /// List the domains with their kinds and numbers of users and aliases
    List(terminal::Show),
    /// Print all records of its zone, ready to paste; with --check, what DNS says instead
    ///
    /// MX, SPF, DKIM, DMARC, CAA, MTA-STS, TLSRPT, DANE, and SRV for mail programs.
    Dns(domain_dns::Dns),
}

impl Verb {
    /// Adding a domain whose mailboxes are here.
    pub(super) fn add(domain: Domain) -> Self {
        Self::Add { domain, kind: Kind::Local, next_hop: None, recipients: Takes::Any, of: None }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Local,
    Relay,
    Backup,
    Alias,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Takes {
    Any,
    Listed,
}

pub(super) async fn run(
    verb: Verb,
    connection: &mut PgConnection,
    dns: &config::Dns,
) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Dns(asked) => {
            require(connection, &asked.domain).await?;
            return domain_dns::run(asked, connection, dns).await;
        }
        Verb::Add { domain, kind, next_hop, recipients, of } => {
            if kind_of(connection, &domain).await?.is_some() {
                bail!("{domain} is hosted already");
            }
            if kind == Kind::Local {
                if next_hop.is_some() || of.is_some() || recipients == Takes::Listed {
                    bail!(
                        "a local domain has no next hop, no other name and no list of recipients; give --kind"
                    );
                }
                add_local(connection, &domain).await?;
            } else {
                add_ours(connection, &domain, kind, next_hop, recipients, of).await?;
            }
            println!("{domain} added");
        }
        Verb::Remove { domain } => remove(connection, &domain).await?,
        Verb::List(show) => list(connection, show).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn add_local(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<()> {
    sqlx::query("INSERT INTO public.domains VALUES ($1)")
        .bind(domain.as_str().to_owned())
        .execute(connection)
        .await
        .map_err(explain)?;
    Ok(())
}

async fn add_ours(
    connection: &mut PgConnection,
    domain: &Domain,
    kind: Kind,
    next_hop: Option<NextHop>,
    recipients: Takes,
    of: Option<Domain>,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match (kind, &next_hop, &of) {
        (Kind::Relay, None, _) => bail!("a relay domain needs --next-hop"),
        (Kind::Relay | Kind::Backup, _, Some(_)) => bail!("--of is for --kind alias"),
        (Kind::Alias, Some(_), _) => bail!("--next-hop is for --kind relay and backup"),
        (Kind::Alias, _, None) => bail!("an alias domain needs --of, the domain that it is another name of"),
        (Kind::Alias, _, Some(target)) if target == domain => {
            bail!("{domain} cannot be another name of itself")
        }
        (Kind::Alias, _, Some(target)) => {
            require_any(connection, target).await?;
        }
        _ => {}
    }
    let word = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
    sqlx::query("INSERT INTO gatepost.hosted_domains (domain, kind, next_hop, recipients, target) VALUES ($1, $2, $3, $4, $5)")
        .bind(domain.as_str().to_owned())
        .bind(word)
        .bind(next_hop.map(|hop| hop.to_string()))
        .bind(if recipients == Takes::Any { "any" } else { "listed" })
        .bind(of.map(|target| target.to_string()))
        .execute(connection)
        .await
        .map_err(explain)?;
    Ok(())
}

async fn remove(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<()> {
    let ours = has_schema(connection).await?;
    if ours {
        let (left,): (i64,) = sqlx::query_as(
            "SELECT (SELECT count(*) FROM gatepost.aliases WHERE domain = $1)
                  + (SELECT count(*) FROM gatepost.alias_patterns WHERE domain = $1)
                  + (SELECT count(*) FROM gatepost.hosted_domains WHERE target = $1)",
        )
        .bind(domain.as_str().to_owned())
        .fetch_one(&mut *connection)
        .await
        .map_err(explain)?;
        if left > 0 {
            bail!(
                "{domain} still has users or aliases, or another name; remove those first (`gatepost alias list {domain}`, `gatepost domain list`)"
            );
        }
    }
    let Some(kind) = kind_of(connection, domain).await? else {
        bail!("{domain} is not hosted here; `gatepost domain list`")
    };
    // Of a domain that is in both tables one row less would make another kind of it.
    let mut transaction = connection.begin().await.map_err(explain)?;
    if kind != "local" {
        sqlx::query("DELETE FROM gatepost.hosted_domains WHERE domain = $1")
            .bind(domain.as_str().to_owned())
            .execute(&mut *transaction)
            .await
            .map_err(explain)?;
    }
    if let Some(name) = stored(&mut transaction, domain).await? {
        sqlx::query("DELETE FROM public.domains WHERE domain = $1").bind(name).execute(&mut *transaction).await.map_err(|error| {
            if violates(&error, "23503") { anyhow!("{domain} still has users or aliases; remove those first (`gatepost user list {domain}`, `gatepost alias list {domain}`)") } else { explain(error) }
        })?;
    }
    transaction.commit().await.map_err(explain)?;
    println!("{domain} removed");
    Ok(())
}

async fn list(connection: &mut PgConnection, show: terminal::Show) -> anyhow::Result<()> {
    let mut rows: Vec<(String, String, i64, i64, String)> = sqlx::query_as(
        "SELECT domain::text, 'local', (SELECT count(*) FROM public.users u WHERE u.domain = d.domain),
                (SELECT count(*) FROM public.aliases a WHERE a.source_domain = d.domain), ''
         FROM public.domains d ORDER BY 1",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    if has_schema(connection).await? {
        let ours: Vec<(String, String, i64, i64, String)> = sqlx::query_as(
            "SELECT domain, kind, 0::bigint, (SELECT count(*) FROM gatepost.aliases a WHERE a.domain = d.domain),
                    concat_ws(', ', next_hop, CASE WHEN kind <> 'alias' THEN recipients || ' recipients' END, 'of ' || target)
             FROM gatepost.hosted_domains d ORDER BY 1",
        )
        .fetch_all(connection)
        .await
        .map_err(explain)?;
        rows.retain(|(domain, ..)| {
            let same = |name: &str| Domain::parse(name).is_ok_and(|name| Domain::parse(domain) == Ok(name));
            !ours.iter().any(|(name, ..)| same(name))
        });
        rows.extend(ours);
    }
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(domain, kind, users, aliases, more)| {
            [domain, users.to_string(), aliases.to_string(), kind, more]
        })
        .collect();
    show.table(["DOMAIN", "USERS", "ALIASES", "KIND", "DETAIL"], &rows);
    Ok(())
}

/// The domain as it is spelled in the tutorial's table, if it is there.
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

/// The kind of a domain that is hosted, of whatever kind, or the error that says how to host it.
pub(super) async fn require_any(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<String> {
    kind_of(connection, domain)
        .await?
        .ok_or_else(|| anyhow!("{domain} is not hosted here; `gatepost domain add {domain}`"))
}

async fn kind_of(connection: &mut PgConnection, domain: &Domain) -> anyhow::Result<Option<String>> {
    if has_schema(connection).await? {
        let kind: Option<(String,)> =
            sqlx::query_as("SELECT kind FROM gatepost.hosted_domains WHERE domain = $1")
                .bind(domain.as_str().to_owned())
                .fetch_optional(&mut *connection)
                .await
                .map_err(explain)?;
        if let Some((kind,)) = kind {
            return Ok(Some(kind));
        }
    }
    Ok(stored(connection, domain).await?.map(|_| "local".to_owned()))
}
