//! `gatepost logins`: where a login, or each of a domain, may log in. The auth daemon obeys at once.

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};
use gatepost::config::Network;
use gatepost::directory::Scope;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::{domain, terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Say where a login may log in; what is not given stays as it was
    Set {
        /// alice@example.com, or @example.com for every login of a domain
        scope: Scope,
        #[command(flatten)]
        rules: Rules,
    },
    /// Take all that back: the domain's rules count, then everything is allowed
    Unset {
        /// As for `set`
        scope: Scope,
    },
    /// List these rules
    List(terminal::Show),
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(super) struct Rules {
    /// The services that may be used: imap, pop3, submission, sieve, with commas between; "all", or "none"
    #[arg(long)]
    services: Option<Services>,
    /// The services where the main password counts; the others need an app password (`gatepost apppassword`)
    #[arg(long, value_name = "SERVICES")]
    main_password: Option<Services>,
    /// The networks to log in from, with commas between; "all" for everywhere
    #[arg(long)]
    networks: Option<Networks>,
}

/// A choice of services; `None` for all.
#[derive(Clone, Debug)]
pub(super) struct Services(pub(super) Option<Vec<String>>);

/// A choice of networks; `None` for all.
#[derive(Clone, Debug)]
pub(super) struct Networks(pub(super) Option<Vec<Network>>);

#[derive(Clone, Copy, ValueEnum)]
enum Service {
    Imap,
    Pop3,
    Submission,
    Sieve,
}

impl std::str::FromStr for Services {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self(None)),
            "none" => Ok(Self(Some(Vec::new()))),
            list => list.split(',').map(service).collect::<Result<_, _>>().map(|list| Self(Some(list))),
        }
    }
}

fn service(name: &str) -> Result<String, String> {
    let name = name.trim();
    Service::from_str(name, true)
        .ok()
        .and_then(|service| service.to_possible_value().map(|value| value.get_name().to_owned()))
        .ok_or_else(|| {
            format!(
                "\"{name}\" is no service, expected imap, pop3, submission or sieve, or all or none alone"
            )
        })
}

impl std::str::FromStr for Networks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self(None)),
            list => list
                .split(',')
                .map(|network| network.trim().parse())
                .collect::<Result<_, _>>()
                .map(|list| Self(Some(list))),
        }
    }
}

impl Networks {
    /// As the database takes them.
    pub(super) fn texts(&self) -> Option<Vec<String>> {
        self.0.as_ref().map(|list| list.iter().map(Network::to_string).collect())
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Set { scope, rules } => {
            require(connection, &scope).await?;
            let Rules { services, main_password, networks } = rules;
            sqlx::query(
                "INSERT INTO gatepost.login_rules AS r (scope, services, main_password, networks) VALUES ($1, $2, $3, $4::text[]::cidr[])
                 ON CONFLICT (scope) DO UPDATE SET services = CASE WHEN $5 THEN excluded.services ELSE r.services END,
                     main_password = CASE WHEN $6 THEN excluded.main_password ELSE r.main_password END,
                     networks = CASE WHEN $7 THEN excluded.networks ELSE r.networks END",
            )
            .bind(scope.to_string())
            .bind(services.clone().and_then(|services| services.0))
            .bind(main_password.clone().and_then(|services| services.0))
            .bind(networks.clone().and_then(|networks| networks.texts()))
            .bind(services.is_some())
            .bind(main_password.is_some())
            .bind(networks.is_some())
            .execute(&mut *connection)
            .await
            .map_err(explain)?;
            show(connection, Some(scope.to_string()), terminal::Show::default()).await
        }
        Verb::Unset { scope } => {
            let done = sqlx::query("DELETE FROM gatepost.login_rules WHERE scope = $1")
                .bind(scope.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{scope} has no rules; `gatepost logins list`");
            }
            println!("{scope} has no rules of its own any more");
            Ok(())
        }
        Verb::List(how) => show(connection, None, how).await,
    }
}

async fn require(connection: &mut PgConnection, scope: &Scope) -> anyhow::Result<()> {
    match scope {
        Scope::Address(address) => user::require(connection, address).await.map(drop),
        Scope::Domain(name) => domain::require(connection, name).await.map(drop),
    }
}

/// The rules of one scope, or all.
pub(super) async fn show(
    connection: &mut PgConnection,
    scope: Option<String>,
    how: terminal::Show,
) -> anyhow::Result<()> {
    let rows: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT scope, coalesce(nullif(array_to_string(services, ','), ''), CASE WHEN services IS NULL THEN '' ELSE 'none' END),
                coalesce(nullif(array_to_string(main_password, ','), ''), CASE WHEN main_password IS NULL THEN '' ELSE 'none' END),
                coalesce(array_to_string(networks, ','), '')
         FROM gatepost.login_rules WHERE $1::text IS NULL OR scope = $1 ORDER BY split_part(scope, '@', 2), scope",
    )
    .bind(scope)
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    let rows: Vec<_> = rows.into_iter().map(|(a, b, c, d)| [a, b, c, d]).collect();
    how.table(["WHOSE", "SERVICES", "MAIN PASSWORD", "NETWORKS"], &rows);
    Ok(())
}
