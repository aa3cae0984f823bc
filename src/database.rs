//! The connection to PostgreSQL (which of several servers, says `servers`): a small pool, one deadline for every question, and one judgement of what went wrong.
//!
//! While the server is away, one caller at a time tries it again; all others hear "away" at once, so that no lookup of Postfix or
//! Dovecot waits for a dead database. Refuses to retry by itself: whoever asked decides, and mostly the cache answers.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use tokio::sync::Semaphore;

use crate::config::{self, ConfigError, DatabaseHost, TlsMode};
use crate::connections::{Connections, RoleDoubt, TRUSTED, has_role};
use crate::servers::{Server, Servers};

/// The database as one daemon sees it. Cheap to clone; connects when first asked.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections: Connections,
    permits: Semaphore,
    timeout: Duration,
    /// Until when nobody but one prober asks.
    away_until: std::sync::Mutex<Option<Instant>>,
    probing: AtomicBool,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// The server does not answer, or not in time: try again later.
    #[error("database unavailable: {0}")]
    Away(String),
    /// The server answers, but this role, database or schema cannot do it: the operator must act.
    #[error("{0}")]
    Misconfigured(String),
    /// A key or check of the database refused a write.
    #[error("refused by constraint {constraint}")]
    Constraint {
        /// Its name.
        constraint: String,
        /// SQLSTATE 23503: a row that it refers to is missing.
        foreign_key: bool,
    },
}

impl Database {
    /// Prepares the connection; nothing is sent yet. `application` is what `pg_stat_activity` shows.
    ///
    /// # Errors
    /// The password file cannot be read, or lets everybody read it.
    pub fn new(config: &config::Database, application: &str) -> Result<Self, ConfigError> {
        let timeout = config.timeout.0;
        let server = |host: &DatabaseHost| -> Result<Server, ConfigError> {
            let options = connect_options(config, host, application)?;
            Ok(Server { name: host.to_string(), options })
        };
        let candidates = config.host.iter().map(server).collect::<Result<_, _>>()?;
        let doubt = RoleDoubt::default();
        let doubted = doubt.clone();
        let pool_options = PgPoolOptions::new()
            .max_connections(config.connections.max(1))
            .acquire_timeout(timeout)
            .idle_timeout(IDLE)
            // sqlx would ask before every question whether the connection lives: a second round trip. One that was used a moment
            // ago does; if not, its question fails as it would have in the middle.
            .test_before_acquire(false)
            .before_acquire(move |connection, state| {
                let is_doubted = doubted.concerns(state.age);
                Box::pin(async move {
                    if is_doubted {
                        return Ok(has_role(connection).await);
                    }
                    if state.idle_for > TRUSTED {
                        sqlx::Connection::ping(connection).await?;
                    }
                    Ok(true)
                })
            });
        let servers = Servers::new(candidates, config.target_session_attrs, pool_options, timeout);
        let permits = Semaphore::new(config.connections.max(1) as usize);
        let inner = Inner {
            connections: Connections::new(servers, doubt),
            permits,
            timeout,
            away_until: std::sync::Mutex::new(None),
            probing: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// The connections, to put a question to with [`Database::ask`].
    pub fn pool(&self) -> &Connections {
        &self.0.connections
    }

    /// How long a question may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    /// A pool of one connection to the server that is asked now, for `LISTEN`.
    ///
    /// # Errors
    /// Of several servers none will do.
    pub async fn listener_pool(&self) -> Result<PgPool, sqlx::Error> {
        let options = self.options().await?;
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(self.0.timeout);
        Ok(pool.connect_lazy_with(options))
    }

    /// How to connect to the server that is asked now, for a connection beside the pool.
    pub(crate) async fn options(&self) -> Result<PgConnectOptions, sqlx::Error> {
        let servers = self.0.connections.servers();
        servers.chosen().await?;
        Ok(servers.options().clone())
    }

    /// Waits for one question, at most `database.timeout` in all.
    ///
    /// # Errors
    /// [`Trouble`]; never later than the timeout.
    // In a box, which only a question that is really put needs: what is answered from memory has no room for it in its futures.
    pub fn ask<'a, T: Send + 'a>(
        &'a self,
        question: impl Future<Output = Result<T, sqlx::Error>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, Trouble>> {
        Box::pin(self.put(question))
    }

    async fn put<T>(&self, question: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, Trouble> {
        let Some(_probe) = self.admit() else {
            return Err(Trouble::Away("the last try failed a moment ago".into()));
        };
        let started = Instant::now();
        let Ok(Ok(_permit)) = tokio::time::timeout(self.0.timeout, self.0.permits.acquire()).await else {
            return Err(Trouble::Away("all connections busy".into()));
        };
        let left = self.0.timeout.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, question).await {
            Ok(Ok(answer)) => {
                self.set_away(None);
                Ok(answer)
            }
            Ok(Err(error)) => {
                let connection_lost = !matches!(
                    error,
                    sqlx::Error::Database(_)
                        | sqlx::Error::RowNotFound
                        | sqlx::Error::Decode(_)
                        | sqlx::Error::ColumnDecode { .. }
                );
                let trouble = sort(&error);
                if connection_lost {
                    self.set_away(Some(Instant::now() + PAUSE));
                } else if !matches!(trouble, Trouble::Away(_)) {
                    // Refused, by a server that is there.
                    self.set_away(None);
                }
                if error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(NO_RIGHT) {
                    self.0.connections.doubt_role();
                }
                Err(trouble)
            }
            Err(_) => {
                self.0.connections.servers().doubt();
                self.set_away(Some(Instant::now() + PAUSE));
                Err(Trouble::Away(format!("no answer within {:?}", self.0.timeout)))
            }
        }
    }

    /// Whether this caller may ask: always while the server is there; while it is away only the one whose turn it is to try.
    fn admit(&self) -> Option<Probe<'_>> {
        let away = self.away_until();
        match away {
            None => Some(Probe(None)),
            Some(until) if Instant::now() < until => None,
            Some(_) if self.0.probing.swap(true, Ordering::AcqRel) => None,
            Some(_) => Some(Probe(Some(&self.0.probing))),
        }
    }

    fn away_until(&self) -> Option<Instant> {
        *self.0.away_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_away(&self, until: Option<Instant>) {
        let mut guard = self.0.away_until.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (guard.is_some(), until.is_some()) {
            (false, true) => tracing::warn!("database away; answering from the cache where it can"),
            (true, false) => tracing::info!("database back"),
            _ => {}
        }
        *guard = until;
    }
}

/// Gives the prober's turn back, also when its future is dropped.
struct Probe<'a>(Option<&'a AtomicBool>);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        if let Some(probing) = self.0 {
            probing.store(false, Ordering::Release);
        }
    }
}

fn connect_options(
    config: &config::Database,
    host: &DatabaseHost,
    application: &str,
) -> Result<PgConnectOptions, ConfigError> {
    // The server's own limit ends what we no longer wait for; it is a little longer, so that ours speaks first.
    let statement_timeout = (config.timeout.0 + Duration::from_millis(500)).as_millis().to_string();
    let mut options = PgConnectOptions::new_without_pgpass()
        .port(host.port.unwrap_or(config.port))
        .database(&config.name)
        .application_name(application)
        .ssl_mode(match config.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyCa => PgSslMode::VerifyCa,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .options([("statement_timeout", statement_timeout.as_str()), ("search_path", "public")]);
    options = if host.is_directory() { options.socket(&host.name) } else { options.host(&host.name) };
    // As libpq: the system user where no role is named, for `peer` in pg_hba.conf.
    let system_user =
        || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    if let Some(user) = config.user.clone().or_else(system_user) {
        options = options.username(&user);
    }
    if let Some(file) = &config.password_file {
        options = options.password(config::read_secret_file(file)?.expose());
    }
    // Statements are not logged: every mail asks several, and one of them carries a password hash.
    Ok(sqlx::ConnectOptions::disable_statement_logging(options))
}

/// Sorts an error by who must act; PostgreSQL's Appendix A has the codes.
fn sort(error: &sqlx::Error) -> Trouble {
    let sqlx::Error::Database(reason) = error else {
        return match error {
            sqlx::Error::RowNotFound
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_) => {
                Trouble::Misconfigured(format!("unexpected answer of the database: {error}"))
            }
            _ => Trouble::Away(error.to_string()),
        };
    };
    let code = reason.code().unwrap_or_default().into_owned();
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        ("23", _) => Trouble::Constraint {
            constraint: reason.constraint().unwrap_or("(unnamed)").to_owned(),
            foreign_key: code == "23503",
        },
        // connection, resources, operator intervention (shutdown, statement timeout), serialisation, a replica's read-only mode, I/O
        ("08" | "40" | "53" | "57" | "58" | "55", _) | (_, "25006") => {
            Trouble::Away(reason.message().to_owned())
        }
        (_, "3F000" | "42P01") if reason.message().contains("gatepost") => {
            Trouble::Misconfigured(NO_SCHEMA.to_owned())
        }
        (_, NO_RIGHT) => Trouble::Misconfigured(format!(
            "{} (SQLSTATE 42501); connect as the daemon's own role, or run `gatepost schema install`",
            reason.message()
        )),
        _ => Trouble::Misconfigured(format!("{} (SQLSTATE {code})", reason.message())),
    }
}

/// What everything that needs our tables says without them.
pub const NO_SCHEMA: &str = "schema gatepost is not installed; run `gatepost schema install`";

/// SQLSTATE insufficient_privilege.
const NO_RIGHT: &str = "42501";
/// How long "away" is believed before one caller tries again.
const PAUSE: Duration = Duration::from_secs(1);
/// Idle connections are given back to the server.
const IDLE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[tokio::test]
    async fn a_server_that_refuses_is_there() {
        let database = Database::new(&config::Database::default(), "test").unwrap();
        let ask = async |error| database.ask(async move { Err::<(), sqlx::Error>(error) }).await.unwrap_err();
        assert!(matches!(ask(sqlx::Error::PoolTimedOut).await, Trouble::Away(_)));
        assert!(database.away_until().is_some());
        // Its pause is over, and whoever tries first is refused: the others need not wait for him.
        database.set_away(Some(Instant::now()));
        assert!(matches!(ask(sqlx::Error::RowNotFound).await, Trouble::Misconfigured(_)));
        assert_eq!(database.away_until(), None);
    }
}
