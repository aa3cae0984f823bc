//! Installing, removing and looking at schema `gatepost`: as the database's owner, idempotent, in one transaction each.
//!
//! Never alters the tutorial's objects, but for the optional triggers and for what our own roles are granted on them; `remove`
//! takes both back.

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::config::Secret;
use crate::password::ScramVerifier;

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
/// Roles belong to the whole cluster, and several of its databases may be installed at once: see [`one_at_a_time`]. Whoever may not lock
/// there begins again when another was faster, up to [`ATTEMPTS`] times.
///
/// # Errors
/// What the database says; nothing has changed then.
pub async fn install(
    connection: &mut PgConnection,
    triggers: bool,
    passwords: &[(&str, Secret)],
) -> Result<Installed, sqlx::Error> {
    for _ in 1..ATTEMPTS {
        match try_install(connection, triggers, passwords).await {
            Err(error) if was_slower(&error) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome,
        }
    }
    try_install(connection, triggers, passwords).await
}

async fn try_install(
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
    one_at_a_time(&mut transaction).await?;
    sqlx::raw_sql(include_str!("migrations/roles.sql")).execute(&mut *transaction).await?;
    sqlx::raw_sql(if triggers {
        include_str!("migrations/triggers.sql")
    } else {
        include_str!("migrations/drop_triggers.sql")
    })
    .execute(&mut *transaction)
    .await?;
    for (role, password) in passwords {
        // Never the password itself: the server's log may have every statement.
        let verifier = ScramVerifier::for_postgresql(password.expose());
        let statement = format!("ALTER ROLE {} PASSWORD {}", quote(role, '"'), quote(&verifier, '\''));
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *transaction).await?;
    }
    sqlx::raw_sql("NOTIFY gatepost, 'schema *'").execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Installed { from, to: from.max(VERSION), triggers })
}

/// What [`install`] runs where nothing is installed yet, for whoever wants to read it before, or may not let this program do it.
pub fn script(triggers: bool) -> String {
    let mut script = format!(
        "-- Schema gatepost, version {VERSION}, from nothing: `gatepost schema install` does the same, and upgrades. As the database's owner:\n\
         -- psql -v ON_ERROR_STOP=1 -f FILE mail_server\n\
         BEGIN;\n{};\n",
        BOOTSTRAP.trim()
    );
    for (version, migration) in (1..).zip(MIGRATIONS) {
        script.push_str(&format!(
            "\n{}\nINSERT INTO gatepost.schema_version (version) VALUES ({version});\n",
            ended(migration)
        ));
    }
    let last = match triggers {
        true => include_str!("migrations/triggers.sql"),
        false => include_str!("migrations/drop_triggers.sql"),
    };
    for part in
        [LOCK_ROLES, include_str!("migrations/roles.sql"), last, "NOTIFY gatepost, 'schema *'", "COMMIT"]
    {
        script.push_str(&format!("\n{}\n", ended(part.trim())));
    }
    script
}

/// Statements of which the last is ended.
fn ended(statements: &str) -> String {
    let text = statements.trim_end();
    if text.ends_with(';') { text.to_owned() } else { format!("{text}\n;") }
}

/// Waits until no other database of the cluster makes, changes or drops roles, and keeps it so until the transaction ends. Advisory locks are
/// per database; a lock on a catalog that all databases share is not. Everybody can log in meanwhile. Only superusers may take it.
async fn one_at_a_time(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(LOCK_ROLES).execute(connection).await.map(drop)
}

const LOCK_ROLES: &str = "
    DO $$ BEGIN
        IF has_table_privilege('pg_catalog.pg_authid', 'UPDATE') THEN
            LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;
        END IF;
    END $$";

/// Whether an error says that another transaction did the same to the same role at the same moment, so that beginning again helps.
fn was_slower(error: &sqlx::Error) -> bool {
    let sqlx::Error::Database(reason) = error else { return false };
    match reason.code().as_deref() {
        // internal_error; elog's texts are not translated.
        Some("XX000") => reason.message().starts_with("tuple concurrently"),
        // unique_violation: both found no such role, and made it.
        Some("23505") => reason.table() == Some("pg_authid"),
        // deadlock_detected
        Some("40P01") => true,
        _ => false,
    }
}

/// More databases than anyone installs at once, each faster than this one.
const ATTEMPTS: u32 = 20;
/// About as long as an installation takes.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

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
    one_at_a_time(&mut transaction).await?;
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
    include_str!("migrations/020_quota_limits.sql"),
    include_str!("migrations/021_known_words.sql"),
];
