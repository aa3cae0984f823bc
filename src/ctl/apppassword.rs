//! `gatepost apppassword`: passwords beside the main one, each for one program. They are made here, shown once, and kept as hashes.

use anyhow::{anyhow, bail};
use clap::Subcommand;
use gatepost::config::Seconds;
use gatepost::directory::account::AppPasswordHash;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema, violates};
use super::logins::{Networks, Services};
use super::{terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Make one and print it; it cannot be shown again
    Add {
        /// Whose
        login: Address,
        /// What for, such as "phone"
        label: String,
        /// The services that it is good for: imap, pop3, submission, sieve, with commas between
        #[arg(long, default_value = "all")]
        services: Services,
        /// The networks that it may be used from, with commas between
        #[arg(long, default_value = "all")]
        networks: Networks,
        /// How long it counts, such as 90d; for ever if not given
        #[arg(long, value_parser = span)]
        expires: Option<Seconds>,
    },
    /// Take one back; at once
    Remove {
        /// Whose
        login: Address,
        /// Its label
        label: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// List them, with their last use
    List {
        /// Whose; everybody's if not given
        login: Option<Address>,
        #[command(flatten)]
        show: terminal::Show,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { login, label, services, networks, expires } => {
            let (local, domain) = user::require(connection, &login).await?;
            let has_hash: (bool,) = sqlx::query_as(
                "SELECT coalesce(password_hash, '') <> '' FROM public.users WHERE domain = $1 AND local = $2",
            )
            .bind(domain)
            .bind(local)
            .fetch_one(&mut *connection)
            .await
            .map_err(explain)?;
            if !has_hash.0 {
                bail!(
                    "{login} has no password, and so cannot log in at all; `gatepost user password {login}` first"
                );
            }
            let (secret, hash) = AppPasswordHash::generate();
            sqlx::query(
                "INSERT INTO gatepost.app_passwords (login, label, hash, services, networks, expires_at)
                 VALUES ($1, $2, $3, $4, $5::text[]::cidr[], now() + make_interval(secs => $6))",
            )
            .bind(login.to_string())
            .bind(&label)
            .bind(hash.to_string())
            .bind(services.0)
            .bind(networks.texts())
            .bind(expires.map(|expires| expires.0.as_secs_f64()))
            .execute(connection)
            .await
            .map_err(|error| match () {
                () if violates(&error, "23505") => anyhow!(
                    "{login} has an app password \"{label}\" already; `gatepost apppassword remove {login} \"{label}\"`"
                ),
                () if violates(&error, "23514") => {
                    anyhow!("a label has 1 to 64 characters, and none that cannot be printed")
                }
                () => explain(error),
            })?;
            println!("{}", secret.expose());
        }
        Verb::Remove { login, label, yes } => {
            let there: (bool,) = sqlx::query_as(
                "SELECT EXISTS (SELECT FROM gatepost.app_passwords WHERE login = $1 AND label = $2)",
            )
            .bind(login.to_string())
            .bind(&label)
            .fetch_one(&mut *connection)
            .await
            .map_err(explain)?;
            if !there.0 {
                bail!("{login} has no app password \"{label}\"; `gatepost apppassword list {login}`");
            }
            let question =
                format!("Take back app password \"{label}\" of {login}? It cannot be shown again.");
            terminal::confirm(&question, yes)?;
            sqlx::query("DELETE FROM gatepost.app_passwords WHERE login = $1 AND label = $2")
                .bind(login.to_string())
                .bind(&label)
                .execute(connection)
                .await
                .map_err(explain)?;
            println!("app password \"{label}\" of {login} removed");
        }
        Verb::List { login, show } => list(connection, login.as_ref(), show).await?,
    }
    Ok(())
}

/// Everybody's, or one login's.
pub(super) async fn list(
    connection: &mut PgConnection,
    login: Option<&Address>,
    show: terminal::Show,
) -> anyhow::Result<()> {
    type Row = (String, String, String, String, String, String);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT a.login, a.label, coalesce(array_to_string(a.services, ','), 'all'), coalesce(array_to_string(a.networks, ','), 'all'),
                CASE WHEN a.expires_at <= now() THEN 'expired' ELSE coalesce(to_char(a.expires_at, 'YYYY-MM-DD HH24:MI'), 'never') END,
                coalesce(to_char(u.at, 'YYYY-MM-DD HH24:MI') || ' ' || u.service || coalesce(' ' || host(u.address), ''), 'never')
         FROM gatepost.app_passwords AS a LEFT JOIN gatepost.app_password_uses AS u USING (id)
         WHERE $1::text IS NULL OR a.login = $1 ORDER BY 1, 2",
    )
    .bind(login.map(Address::to_string))
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = rows.into_iter().map(|(a, b, c, d, e, f)| [a, b, c, d, e, f]).collect();
    show.table(["LOGIN", "LABEL", "SERVICES", "NETWORKS", "EXPIRES", "LAST USED"], &rows);
    Ok(())
}

pub(super) fn span(text: &str) -> Result<Seconds, String> {
    Seconds::try_from(text.to_owned())
}
