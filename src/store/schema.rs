//! Installing, removing and looking at schema `gatepost`: as the database's owner, idempotent, in one transaction each.
//!
//! Never alters the tutorial's objects, but for the optional triggers and for what our own roles are granted on them; `remove`
//! takes both back.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::config::Secret;

/// What an installation found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The version before; 0 if there was no schema.
    pub from: i32,
    /// The version now.
    pub to: i32,
    /// Whether the triggers are there now.
    pub triggers: bool,
}

/// The state of the schema in one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The installed version; `None` without the schema.
    pub version: Option<i32>,
    /// How many of our triggers are there and enabled, of 16.
    pub triggers: i64,
    /// Each of our roles, and whether it is there.
    pub roles: Vec<(&'static str, bool)>,
}

/// The roles of the three daemons.
pub const ROLES: [&str; 3] = ["gatepost_milter", "gatepost_auth", "gatepost_policy"];

/// The newest version that this program knows.
pub const VERSION: i32 = MIGRATIONS.len() as i32;

/// How many triggers of ours there are: four tables, four statements each.
pub const TRIGGERS: i64 = 16;

/// Installs or upgrades the schema, the roles and, if wanted, the triggers; `passwords` are set for the roles they name.
///
/// # Errors
/// What the database says; nothing has changed then.
pub async fn install(
    connection: &mut PgConnection,
    triggers: bool,
    passwords: &[(&str, Secret)],
) -> Result<Installed, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    // Two installations at once: the second waits and then finds everything there.
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(7161646870)").execute(&mut *transaction).await?;
    sqlx::raw_sql(BOOTSTRAP).execute(&mut *transaction).await?;
    let from: i32 = sqlx::query("SELECT coalesce(max(version), 0) FROM gatepost.schema_version")
        .fetch_one(&mut *transaction)
        .await?
        .try_get(0)?;
    for (version, migration) in
        (1..).zip(MIGRATIONS.iter().copied()).skip(usize::try_from(from).unwrap_or_default())
    {
        sqlx::raw_sql(migration).execute(&mut *transaction).await?;
        sqlx::query("INSERT INTO gatepost.schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::raw_sql(include_str!("migrations/roles.sql")).execute(&mut *transaction).await?;
    sqlx::raw_sql(if triggers {
        include_str!("migrations/triggers.sql")
    } else {
        include_str!("migrations/drop_triggers.sql")
    })
    .execute(&mut *transaction)
    .await?;
    for (role, password) in passwords {
        let statement =
            format!("ALTER ROLE {} PASSWORD {}", quote(role, '"'), quote(password.expose(), '\''));
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql("NOTIFY gatepost, 'schema *'").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Installed { from, to: from.max(VERSION), triggers })
}

/// Removes the triggers, the schema with all its data, and the roles. Returns the roles that had to stay, because another database
/// of the cluster still uses them.
///
/// # Errors
/// What the database says; nothing has changed then.
pub async fn remove(connection: &mut PgConnection) -> Result<Vec<&'static str>, sqlx::Error> {
    let theirs: Vec<(i32,)> =
        sqlx::query_as("SELECT pid FROM pg_catalog.pg_stat_activity WHERE usename = ANY($1)")
            .bind(&ROLES[..])
            .fetch_all(&mut *connection)
            .await?;
    let theirs: Vec<i32> = theirs.into_iter().map(|(pid,)| pid).collect();
    let mut transaction = connection.begin().await?;
    sqlx::raw_sql(include_str!("migrations/drop_triggers.sql")).execute(&mut *transaction).await?;
    sqlx::raw_sql(include_str!("migrations/remove.sql")).execute(&mut *transaction).await?;
    let mut kept = Vec::new();
    for role in ROLES {
        let mut savepoint = transaction.begin().await?;
        match sqlx::raw_sql(AssertSqlSafe(format!("DROP ROLE IF EXISTS {role}")))
            .execute(&mut *savepoint)
            .await
        {
            Ok(_) => savepoint.commit().await?,
            // 2BP01: objects depend on it
            Err(sqlx::Error::Database(reason)) if reason.code().as_deref() == Some("2BP01") => {
                savepoint.rollback().await?;
                kept.push(role);
            }
            Err(error) => return Err(error),
        }
    }
    sqlx::raw_sql("NOTIFY gatepost, 'schema *'").execute(&mut *transaction).await?;
    transaction.commit().await?;
    // Daemons that still run: a session of a role that is gone may nothing any more, not even once there is a role of that name again.
    let ended = sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = ANY($1) AND usesysid IS NOT NULL AND usename IS NULL",
    )
    .bind(&theirs)
    .execute(connection)
    .await;
    match ended {
        // 42501: an owner who is no superuser may not; the daemons' restart does it.
        Err(sqlx::Error::Database(reason)) if reason.code().as_deref() == Some("42501") => Ok(kept),
        Err(error) => Err(error),
        Ok(_) => Ok(kept),
    }
}

/// Looks at what is installed.
///
/// # Errors
/// What the database says.
pub async fn status(connection: &mut PgConnection) -> Result<Status, sqlx::Error> {
    let present: bool = sqlx::query("SELECT to_regclass('gatepost.schema_version') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let version = if present {
        sqlx::query("SELECT coalesce(max(version), 0) FROM gatepost.schema_version")
            .fetch_one(&mut *connection)
            .await?
            .try_get(0)
            .map(Some)?
    } else {
        None
    };
    let triggers = sqlx::query(include_str!("../directory/queries/triggers.sql"))
        .fetch_one(&mut *connection)
        .await?
        .try_get(0)?;
    let mut roles = Vec::new();
    for role in ROLES {
        let there = sqlx::query("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1")
            .bind(role)
            .fetch_optional(&mut *connection)
            .await?
            .is_some();
        roles.push((role, there));
    }
    Ok(Status { version, triggers, roles })
}

fn quote(text: &str, mark: char) -> String {
    format!("{mark}{}{mark}", text.replace(mark, &format!("{mark}{mark}")))
}

const BOOTSTRAP: &str = "
    CREATE SCHEMA IF NOT EXISTS gatepost;
    COMMENT ON SCHEMA gatepost IS 'Gatepost: signing keys, counters, settings. Removed by `gatepost schema remove`';
    CREATE TABLE IF NOT EXISTS gatepost.schema_version (
        version integer PRIMARY KEY, installed_at timestamptz NOT NULL DEFAULT now())";

/// In order; a migration is never changed once it is released.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/001_base.sql"),
    include_str!("migrations/002_dkim_key_life.sql"),
    include_str!("migrations/003_dmarc.sql"),
    include_str!("migrations/004_reports.sql"),
    include_str!("migrations/005_addresses.sql"),
    include_str!("migrations/006_policy.sql"),
    include_str!("migrations/007_mta_sts.sql"),
    include_str!("migrations/008_greylist_bytes.sql"),
    include_str!("migrations/009_scram.sql"),
    include_str!("migrations/010_accounts.sql"),
    include_str!("migrations/011_dicts.sql"),
    include_str!("migrations/012_settings.sql"),
    include_str!("migrations/013_history.sql"),
    include_str!("migrations/014_training.sql"),
    include_str!("migrations/019_wanted_mail.sql"),
];
