//! Connections that wait for the next question, and what the server did to their sessions meanwhile.

use std::os::unix::fs::PermissionsExt;

use gatepost::config;
use gatepost::database::{Database, Trouble};

use crate::postgres;

/// A role of this test's own that may read the tutorial's table of users.
struct Role {
    cluster: postgres::Database,
    name: String,
    _dir: tempfile::TempDir,
    config: config::Database,
}

impl Role {
    async fn new() -> Self {
        let (cluster, dir) = (postgres::Database::create().await, tempfile::tempdir().unwrap());
        let name = format!("role_of_{}", cluster.name());
        let file = dir.path().join("password");
        std::fs::write(&file, "secret\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = config::Database {
            user: Some(name.clone()),
            password_file: Some(file),
            connections: 3,
            ..cluster.config()
        };
        let role = Self { cluster, name, _dir: dir, config };
        role.make().await;
        role
    }

    async fn make(&self) {
        let name = &self.name;
        let statements =
            format!("CREATE ROLE {name} LOGIN PASSWORD 'secret'; GRANT SELECT ON users TO {name}");
        self.cluster.sql(&statements).await;
    }

    async fn drop(&self) {
        let name = &self.name;
        self.cluster.sql(&format!("DROP OWNED BY {name}; DROP ROLE {name}")).await;
    }
}

async fn users(database: &Database) -> Result<i64, Trouble> {
    let question = sqlx::query_as("SELECT count(*) FROM users").fetch_one(database.pool());
    database.ask(async { question.await.map(|(count,): (i64,)| count) }).await
}

/// The same on a connection that is taken for several statements.
async fn users_in_a_transaction(database: &Database) -> Result<i64, Trouble> {
    let question = async {
        let mut connection = database.pool().acquire().await?;
        let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
        let (count,): (i64,) =
            sqlx::query_as("SELECT count(*) FROM users").fetch_one(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(count)
    };
    database.ask(question).await
}

/// Three connections that have answered and wait.
async fn warmed_up(config: &config::Database) -> Database {
    let database = Database::new(config, "test").unwrap();
    let slow = || {
        let question = sqlx::query("SELECT pg_sleep(0.1)").execute(database.pool());
        database.ask(question)
    };
    let (first, second, third) = tokio::join!(slow(), slow(), slow());
    assert!(first.is_ok() && second.is_ok() && third.is_ok());
    database
}

#[tokio::test]
async fn a_role_that_is_dropped_and_made_anew_is_served_at_once() {
    let role = Role::new().await;
    let (plain, transactions) = (warmed_up(&role.config).await, warmed_up(&role.config).await);
    assert_eq!((users(&plain).await, users_in_a_transaction(&transactions).await), (Ok(3), Ok(3)));
    role.drop().await;
    assert!(users(&plain).await.is_err());
    role.make().await;
    for _ in 0..4 {
        assert_eq!(users(&plain).await, Ok(3));
    }
    // Of several statements nobody knows whether they may be put again; the next ones are.
    assert!(matches!(users_in_a_transaction(&transactions).await, Err(Trouble::Misconfigured(_))));
    for _ in 0..4 {
        assert_eq!(users_in_a_transaction(&transactions).await, Ok(3));
    }
}

#[tokio::test]
async fn a_role_that_lacks_a_right_keeps_its_connections() {
    let role = Role::new().await;
    let database = warmed_up(&role.config).await;
    let sessions = async || {
        let statement = format!(
            "SELECT string_agg(pid::text, ',' ORDER BY pid) FROM pg_stat_activity WHERE usename = '{}'",
            role.name
        );
        role.cluster.sql(&statement).await
    };
    let before = sessions().await;
    assert_eq!(before.split(',').count(), 3);
    role.cluster.sql(&format!("REVOKE SELECT ON users FROM {}", role.name)).await;
    for _ in 0..4 {
        let Err(Trouble::Misconfigured(why)) = users(&database).await else { panic!("it may not") };
        assert!(why.contains("permission denied"), "{why}");
    }
    role.cluster.sql(&format!("GRANT SELECT ON users TO {}", role.name)).await;
    assert_eq!(users(&database).await, Ok(3));
    assert_eq!(sessions().await, before);
}

#[tokio::test]
async fn sessions_that_the_server_ended_cost_no_answer() {
    let role = Role::new().await;
    let database = warmed_up(&role.config).await;
    for _ in 0..3 {
        let ended = format!(
            "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 60000)) > 0 FROM pg_stat_activity WHERE usename = '{}'",
            role.name
        );
        assert_eq!(role.cluster.sql(&ended).await, "t");
        assert_eq!(users(&database).await, Ok(3));
    }
}
