//! Which database, as whom, and what its refusals mean to an admin.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use gatepost::config::{self, Config, NoSection};
use gatepost::database::Database;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

use super::owner::Owner;

/// What the command line and the configuration say of the database.
pub(super) struct Settings {
    /// The configuration; built-in defaults where there is no file.
    pub(super) config: Config<NoSection>,
    /// Whether root has to step down for the database's owner; see [`super::owner`].
    steps_down: bool,
}

impl Settings {
    pub(super) fn load(file: Option<PathBuf>, role: Option<String>) -> Result<Self, config::ConfigError> {
        let default = Path::new(config::DEFAULT_PATH);
        let config = match file {
            Some(file) => config::load::<NoSection>(&file)?,
            None if default.exists() => config::load::<NoSection>(default)?,
            None => config::parse::<NoSection>("", default)?,
        };
        Ok(Self::of(config, role))
    }

    /// For a file that is still to be written: what counts without it.
    pub(super) fn without_file(path: &Path, role: Option<String>) -> Result<Self, config::ConfigError> {
        Ok(Self::of(config::parse::<NoSection>("", path)?, role))
    }

    /// As the owner of a local database, whomever the configuration names.
    pub(super) fn for_owner(self) -> Self {
        let mut config = self.config;
        if config.database.host.are_local() {
            (config.database.user, config.database.password_file) = (None, None);
        }
        Self::of(config, None)
    }

    fn of(mut config: Config<NoSection>, role: Option<String>) -> Self {
        if let Some(role) = role {
            config.database.user = Some(role);
            config.database.password_file = None;
        }
        let owner = Owner::role(&config.database);
        if let Some(owner) = owner {
            config.database.user = Some(owner.to_owned());
        }
        Self { config, steps_down: owner.is_some() }
    }

    /// Connections made while this lives are the database owner's, where root needs that.
    pub(super) fn as_owner(&self) -> Option<Owner> {
        if self.steps_down { Owner::assume() } else { None }
    }

    /// Connections beside the one of [`Settings::connect`], for `LISTEN`.
    pub(super) async fn pool(&self) -> anyhow::Result<sqlx::PgPool> {
        Database::new(&self.config.database, "gatepost")?.listener_pool().await.map_err(explain)
    }

    /// Connects; the statement timeout of the daemons does not bind the admin.
    pub(super) async fn connect(&self) -> anyhow::Result<PoolConnection<Postgres>> {
        self.connect_to(&self.config.database.name).await
    }

    /// The same to another database of the cluster.
    pub(super) async fn connect_to(&self, name: &str) -> anyhow::Result<PoolConnection<Postgres>> {
        let database = config::Database { name: name.to_owned(), ..self.config.database.clone() };
        let _owner = self.as_owner();
        open(&database).await
    }
}

/// Connects with what is given, as whoever we are at present.
pub(super) async fn open(database: &config::Database) -> anyhow::Result<PoolConnection<Postgres>> {
    let place = format!("database {} at {} port {}", database.name, database.host, database.port);
    let pool = Database::new(database, "gatepost")?;
    let mut connection = tokio::time::timeout(CONNECT, pool.pool().acquire())
        .await
        .map_err(|_| anyhow!("no answer within {CONNECT:?}"))
        .and_then(|connection| connection.map_err(explain))
        .with_context(|| format!("cannot connect to {place}"))?;
    sqlx::raw_sql("SET statement_timeout = 0").execute(&mut *connection).await.map_err(explain)?;
    Ok(connection)
}

/// An error of the database in an admin's words.
pub(super) fn explain(error: sqlx::Error) -> anyhow::Error {
    let sqlx::Error::Database(reason) = &error else { return error.into() };
    let advice = match reason.code().as_deref() {
        Some("28000" | "28P01") => {
            "connect as a role that may: `sudo -u postgres gatepost …`, or --role and [database] password-file"
        }
        Some("42501") => {
            "this role may not; run the command as the database's owner: `sudo -u postgres gatepost …`"
        }
        Some("3D000") => "no such database; set [database] name, or make it as the tutorial does",
        Some("42P01" | "3F000") if reason.message().contains("gatepost") => gatepost::database::NO_SCHEMA,
        Some("42P01") => "this is not the tutorial's database mail_server; set [database] name",
        _ => return error.into(),
    };
    anyhow!("{}; {advice}", reason.message())
}

/// Whether an error is a violation of the constraint class `code` (23503 foreign key, 23505 unique, 23514 check).
pub(super) fn violates(error: &sqlx::Error, code: &str) -> bool {
    matches!(error, sqlx::Error::Database(reason) if reason.code().as_deref() == Some(code))
}

/// Whether schema `gatepost` is there, with its tables of addresses.
pub(super) async fn has_schema(connection: &mut PgConnection) -> anyhow::Result<bool> {
    let (there,): (bool,) = sqlx::query_as("SELECT to_regclass('gatepost.hosted_domains') IS NOT NULL")
        .fetch_one(connection)
        .await
        .map_err(explain)?;
    Ok(there)
}

/// That schema `gatepost` is there, or the error that says how to install it.
pub(super) async fn require_schema(connection: &mut PgConnection) -> anyhow::Result<()> {
    let status = gatepost::store::schema::status(connection).await.map_err(explain)?;
    anyhow::ensure!(status.version.is_some(), gatepost::database::NO_SCHEMA);
    Ok(())
}

/// A tool waits longer than a daemon: for a server that is just starting.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);
