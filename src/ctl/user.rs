//! `gatepost user`: the tutorial's table `users`.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use gatepost::config::{Seconds, Secret};
use gatepost::mail::{Address, Domain};
use gatepost::password::StoredHash;
use sqlx::{Connection, PgConnection};

use super::connection::{explain, violates};
use super::{account, domain, scram, terminal};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Add a mailbox; asks for its password, or reads it from stdin
    Add {
        /// The address, which is the login name too
        address: Address,
        /// The name that Nextcloud shows
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// Let it receive but not log in
        #[arg(long)]
        no_password: bool,
    },
    /// Remove a mailbox from the database, with the aliases that lead to it, its shares, rights, groups and app passwords; mail on disk stays
    Remove {
        /// The address
        address: Address,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List mailboxes
    List {
        /// Only those of one domain
        domain: Option<Domain>,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Set a password: asks for it, or reads it from stdin; stored as argon2id
    Password {
        /// The address
        address: Address,
    },
    /// Let it receive but not log in, at once
    Lock {
        /// The address
        address: Address,
        /// What its user is told; without it, that the account is locked
        #[arg(long, value_name = "TEXT", conflicts_with = "silent")]
        reason: Option<String>,
        /// Tell it nothing: the same as for a wrong password
        #[arg(long)]
        silent: bool,
        /// Only for so long, such as 2h; then it is told to try later
        #[arg(long = "for", value_name = "SPAN", value_parser = super::apppassword::span, conflicts_with = "silent")]
        span: Option<Seconds>,
    },
    /// Let it log in again
    Unlock {
        /// The address
        address: Address,
    },
    /// Show locks, rules, app passwords and last logins
    Show {
        /// The address
        address: Address,
        #[command(flatten)]
        show: terminal::Show,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Add { address, display_name, no_password } => {
            add(connection, &address, display_name, no_password).await
        }
        Verb::Remove { address, yes } => remove(connection, &address, yes).await,
        Verb::List { domain, show } => list(connection, domain.as_ref(), show).await,
        Verb::Lock { address, reason, silent, span } => {
            account::lock(connection, &address, reason, silent, span).await
        }
        Verb::Unlock { address } => account::unlock(connection, &address).await,
        Verb::Show { address, show } => account::show(connection, &address, show).await,
        Verb::Password { address } => {
            let (local, domain) = require(connection, &address).await?;
            let (password, hash) = hash_of_new_password(&address)?;
            sqlx::query("UPDATE public.users SET password_hash = $3 WHERE domain = $1 AND local = $2")
                .bind(domain)
                .bind(local)
                .bind(hash.encoded().to_owned())
                .execute(&mut *connection)
                .await
                .map_err(explain)?;
            scram::renew(connection, &address, &password, &hash).await;
            println!("password of {address} changed");
            Ok(())
        }
    }
}

async fn add(
    connection: &mut PgConnection,
    address: &Address,
    display_name: Option<String>,
    no_password: bool,
) -> anyhow::Result<()> {
    let domain = domain::require(connection, address.domain()).await?;
    if stored(connection, address).await?.is_some() {
        bail!("{address} is there already; `gatepost user password {address}` sets its password");
    }
    let alias: Option<(i32,)> =
        sqlx::query_as("SELECT 1 FROM public.aliases WHERE source_domain = $1 AND lower(source_local) = $2")
            .bind(&domain)
            .bind(address.local().to_owned())
            .fetch_optional(&mut *connection)
            .await
            .map_err(explain)?;
    if alias.is_some() {
        eprintln!(
            "note: an alias {address} is there too; the mailbox wins, and the alias leads nowhere from now on"
        );
    }
    let hash = if no_password { None } else { Some(hash_of_new_password(address)?.1.encoded().to_owned()) };
    sqlx::query(
        "INSERT INTO public.users (domain, local, password_hash, display_name) VALUES ($1, $2, $3, $4)",
    )
    .bind(domain)
    .bind(address.local().to_owned())
    .bind(hash)
    .bind(display_name)
    .execute(connection)
    .await
    .map_err(|error| {
        if violates(&error, "23514") {
            anyhow!("{address} is longer than the database takes (64 characters before the @, 254 in all)")
        } else {
            explain(error)
        }
    })?;
    println!("{address} added{}", if no_password { "; it can receive, but not log in" } else { "" });
    Ok(())
}

async fn remove(connection: &mut PgConnection, address: &Address, yes: bool) -> anyhow::Result<()> {
    let (local, domain) = require(connection, address).await?;
    let (aliases,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM public.aliases WHERE destination_domain = $1 AND destination_local = $2",
    )
    .bind(&domain)
    .bind(&local)
    .fetch_one(&mut *connection)
    .await
    .map_err(explain)?;
    terminal::confirm(
        &format!("Remove {address}, {aliases} alias(es) that lead to it, and its shares?"),
        yes,
    )?;
    // Both or neither: whoever gets the address next must not find what was of this one.
    let mut transaction = connection.begin().await.map_err(explain)?;
    sqlx::query("DELETE FROM public.users WHERE domain = $1 AND local = $2")
        .bind(domain)
        .bind(local)
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    account::forget(&mut transaction, address).await?;
    transaction.commit().await.map_err(explain)?;
    println!("{address} removed, with {aliases} alias(es); its mail on disk stays");
    Ok(())
}

async fn list(
    connection: &mut PgConnection,
    domain: Option<&Domain>,
    show: terminal::Show,
) -> anyhow::Result<()> {
    let rows: Vec<(String, String, Option<String>, Option<String>)> =
        sqlx::query_as("SELECT local::text, domain::text, display_name::text, password_hash::text FROM public.users ORDER BY domain, local")
            .fetch_all(connection)
            .await
            .map_err(explain)?;
    let wanted = |name: &str| domain.is_none_or(|domain| Domain::parse(name).as_ref() == Ok(domain));
    let rows: Vec<_> = rows
        .into_iter()
        .filter(|(_, domain, ..)| wanted(domain))
        .map(|(local, domain, name, hash)| {
            let login = match hash.map(|hash| StoredHash::parse(hash).scheme()) {
                None => "never (no password)".to_owned(),
                Some(None) => "never (unknown scheme)".to_owned(),
                Some(Some(scheme)) if scheme.weak => format!("{scheme} (weak)"),
                Some(Some(scheme)) => scheme.to_string(),
            };
            [format!("{local}@{domain}"), login, name.unwrap_or_default()]
        })
        .collect();
    show.table(["ADDRESS", "LOGIN", "NAME"], &rows);
    Ok(())
}

fn hash_of_new_password(address: &Address) -> anyhow::Result<(Secret, StoredHash)> {
    let password = terminal::new_password(&address.to_string())?;
    let hash = StoredHash::new(&password).map_err(|error| anyhow!("cannot hash the password: {error}"))?;
    Ok((password, hash))
}

/// Local part and domain as they are spelled in the database, if the mailbox is there.
pub(super) async fn stored(
    connection: &mut PgConnection,
    address: &Address,
) -> anyhow::Result<Option<(String, String)>> {
    let Some(domain) = domain::stored(connection, address.domain()).await? else { return Ok(None) };
    let row: Option<(String,)> = sqlx::query_as("SELECT local::text FROM public.users WHERE domain = $1 AND lower(local) = $2 ORDER BY local <> $2 LIMIT 1")
        .bind(&domain)
        .bind(address.local().to_owned())
        .fetch_optional(connection)
        .await
        .map_err(explain)?;
    Ok(row.map(|(local,)| (local, domain)))
}

/// The same, or the error that says how to add it.
pub(super) async fn require(
    connection: &mut PgConnection,
    address: &Address,
) -> anyhow::Result<(String, String)> {
    stored(connection, address).await?.ok_or_else(|| {
        anyhow!("there is no mailbox {address}; `gatepost user list`, `gatepost user add {address}`")
    })
}
