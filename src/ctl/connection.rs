//! Which database, as whom, and what its refusals mean to an admin.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use gatepost::config::{self, Config, NoSection};
use gatepost::database::Database;
use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, Postgres};

/// What the command line and the configuration say of the database.
pub(super) struct Settings {
    /// The configuration; built-in defaults where there is no file.
    pub(super) config: Config<NoSection>,
}

impl Settings {
    pub(super) fn load(file: Option<PathBuf>, role: Option<String>) -> Result<Self, config::ConfigError> {
        let default = Path::new(config::DEFAULT_PATH);
        let mut config = match file {
            Some(file) => config::load::<NoSection>(&file)?,
            None if default.exists() => config::load::<NoSection>(default)?,
            None => config::parse::<NoSection>("", default)?,
        };
        if let Some(role) = role {
            config.database.user = Some(role);
            config.database.password_file = None;
        }
        Ok(Self { config })
    }

    /// The same from a text, for a file that is still to be written.
    pub(super) fn load_text(
        text: &str,
        path: &Path,
        role: Option<String>,
    ) -> Result<Self, config::ConfigError> {
        let mut config = config::parse::<NoSection>(text, path)?;
        if role.is_some() {
            config.database.user = role;
            config.database.password_file = None;
        }
        Ok(Self { config })
    }

    /// Connections beside the one of [`Settings::connect`], for `LISTEN`.
    pub(super) fn pool(&self) -> Result<sqlx::PgPool, config::ConfigError> {
        Ok(Database::new(&self.config.database, "gatepost")?.listener_pool())
    }

    /// Connects; the statement timeout of the daemons does not bind the admin. Root connects as `postgres`, as with `sudo -u postgres`.
    pub(super) async fn connect(&self) -> anyhow::Result<PoolConnection<Postgres>> {
        self.connect_to(&self.config.database.name).await
    }

    /// The same to another database of the cluster.
    pub(super) async fn connect_to(&self, name: &str) -> anyhow::Result<PoolConnection<Postgres>> {
        let mut database = config::Database { name: name.to_owned(), ..self.config.database.clone() };
        let is_owner = database.user.as_deref().is_none_or(|user| user == OWNER);
        let _as_owner = if is_owner && database.password_file.is_none() && database.host.starts_with('/') {
            let owner =
                nix::unistd::User::from_name(OWNER).ok().flatten().and_then(|user| As::user(user.uid));
            if owner.is_some() {
                database.user = Some(OWNER.to_owned());
            }
            owner
        } else {
            None
        };
        open(&database).await
    }
}

/// Connects as one role, with what the configuration says.
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

/// Root as another user, until it is dropped: PostgreSQL's `peer` looks at who connects (SO_PEERCRED), at that moment alone.
pub(super) struct As(());

impl As {
    /// `None` where we are not root, and so cannot be somebody else.
    pub(super) fn user(uid: nix::unistd::Uid) -> Option<Self> {
        (nix::unistd::geteuid().is_root() && nix::unistd::seteuid(uid).is_ok()).then_some(Self(()))
    }
}

impl Drop for As {
    fn drop(&mut self) {
        // The saved user is root still, so this cannot fail; if it did, everything that follows would be refused.
        let _ = nix::unistd::seteuid(nix::unistd::Uid::from_raw(0));
    }
}

/// The owner of Debian's clusters: system user and role.
const OWNER: &str = "postgres";
/// A tool waits longer than a daemon: for a server that is just starting.
const CONNECT: std::time::Duration = std::time::Duration::from_secs(10);
