//! `gatepost master`: logins that may log in as somebody else (`alice@example.com*boss@example.com`, with boss's password), for support
//! and moving mailboxes. Every such login is written down.

use anyhow::bail;
use clap::Subcommand;
use gatepost::directory::Scope;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::logins::{Networks, Services};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Let a login log in as others, with its own main password
    Add {
        /// Who
        master: Address,
        /// As whom: alice@example.com, @example.com for all of a domain, * for everybody
        scope: Whom,
        /// Where: imap, pop3, submission, sieve, with commas between
        #[arg(long, default_value = "imap,pop3,sieve")]
        services: Services,
        /// From which networks, with commas between
        #[arg(long, default_value = "all")]
        networks: Networks,
    },
    /// Let it no longer
    Remove {
        /// Who
        master: Address,
        /// As whom
        scope: Whom,
    },
    /// List masters
    List(terminal::Show),
    /// Show when masters logged in as others
    Log {
        /// Only as this login, or only this master
        login: Option<Address>,
        #[command(flatten)]
        show: terminal::Show,
    },
}

/// A scope, or everybody.
#[derive(Clone, Debug)]
pub(super) enum Whom {
    All,
    Some(Scope),
}

impl std::str::FromStr for Whom {
    type Err = gatepost::mail::AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "*" { Ok(Self::All) } else { text.parse().map(Self::Some) }
    }
}

impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Some(scope) => scope.fmt(f),
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { master, scope, services, networks } => {
            user::require(connection, &master).await?;
            match &scope {
                Whom::Some(Scope::Address(address)) => drop(user::require(connection, address).await?),
                Whom::Some(Scope::Domain(name)) => drop(domain::require(connection, name).await?),
                Whom::All => {}
            }
            let Some(services) = services.0 else {
                bail!("name the services, such as --services imap,sieve");
            };
            sqlx::query(
                "INSERT INTO gatepost.master_users (master, scope, services, networks) VALUES ($1, $2, $3, $4::text[]::cidr[])
                 ON CONFLICT (master, scope) DO UPDATE SET services = excluded.services, networks = excluded.networks",
            )
            .bind(master.to_string())
            .bind(scope.to_string())
            .bind(services)
            .bind(networks.texts())
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("{master} may log in as {scope}, as USER*{master}");
        }
        Verb::Remove { master, scope } => {
            let done = sqlx::query("DELETE FROM gatepost.master_users WHERE master = $1 AND scope = $2")
                .bind(master.to_string())
                .bind(scope.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{master} may not log in as {scope}; `gatepost master list`");
            }
            println!("{master} may log in as {scope} no longer");
        }
        Verb::List(show) => {
            let rows: Vec<(String, String, String, String)> = sqlx::query_as(
                "SELECT master, scope, array_to_string(services, ','), coalesce(array_to_string(networks, ','), 'all')
                 FROM gatepost.master_users ORDER BY 1, 2",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(a, b, c, d)| [a, b, c, d]).collect();
            show.table(["MASTER", "AS", "SERVICES", "NETWORKS"], &rows);
        }
        Verb::Log { login, show } => {
            let rows: Vec<(String, String, String, String, String)> = sqlx::query_as(
                "SELECT to_char(at, 'YYYY-MM-DD HH24:MI:SS'), master, login, service, coalesce(host(address), '')
                 FROM gatepost.master_logins WHERE $1::text IS NULL OR $1 IN (login, master) ORDER BY at, id",
            )
            .bind(login.map(|login| login.to_string()))
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(a, b, c, d, e)| [a, b, c, d, e]).collect();
            show.table(["WHEN", "MASTER", "AS", "SERVICE", "ADDRESS"], &rows);
        }
    }
    Ok(())
}
