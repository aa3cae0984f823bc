//! A fresh database `mail_server` for a test, in the cluster that `tests/with-postgres` started.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// One database with the tutorial's objects and test data; dropped with the cluster.
#[derive(Clone)]
pub struct Database {
    name: String,
    socket: PathBuf,
}

impl Database {
    /// Makes a database of its own for one test.
    pub async fn create() -> Self {
        tokio::task::spawn_blocking(Self::create_blocking).await.unwrap()
    }

    /// The same in another cluster.
    pub async fn create_in(socket: PathBuf) -> Self {
        tokio::task::spawn_blocking(move || Self::create_at(socket)).await.unwrap()
    }

    fn create_blocking() -> Self {
        let socket = std::env::var_os("GATEPOST_TEST_PG").expect(
            "GATEPOST_TEST_PG is not set: run this test by tests/run, or by tests/with-postgres cargo test …",
        );
        Self::create_at(socket.into())
    }

    fn create_at(socket: PathBuf) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let database = Self { name, socket };
        database.psql(
            "postgres",
            &["-c", &format!("CREATE DATABASE {} TEMPLATE mail_server_template", database.name)],
        );
        database
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory of the cluster's unix socket.
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The settings of `[database]` as TOML, for a role that needs no password (`postgres`) or none.
    pub fn toml(&self) -> String {
        format!(
            "[database]\nhost = \"{}\"\nname = \"{}\"\nuser = \"postgres\"\n",
            self.socket.display(),
            self.name
        )
    }

    /// The same as a configuration; the role is `postgres`.
    pub fn config(&self) -> gatepost::config::Database {
        gatepost::config::Database {
            host: self.socket.display().to_string().into(),
            name: self.name.clone(),
            user: Some("postgres".into()),
            ..Default::default()
        }
    }

    /// Runs statements as the owner and returns what psql printed, unaligned and without headers.
    pub async fn sql(&self, statements: &str) -> String {
        let (this, statements) =
            (Self { name: self.name.clone(), socket: self.socket.clone() }, statements.to_owned());
        tokio::task::spawn_blocking(move || this.psql(&this.name, &["-c", &statements])).await.unwrap()
    }

    /// Installs schema `gatepost` as its owner. Roles belong to the whole cluster: two installations at once would be in each other's way.
    pub async fn install(&self, triggers: bool) {
        static INSTALLING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _alone = INSTALLING.lock().await;
        let owner = gatepost::database::Database::new(&self.config(), "test").unwrap();
        let mut connection = owner.pool().acquire().await.unwrap();
        gatepost::store::schema::install(&mut connection, triggers, &[]).await.unwrap();
    }

    /// Takes this database away from everybody: nobody may connect, and whoever is connected is cut off. (The cluster serves other
    /// tests too.)
    pub async fn take_away(&self) {
        let statements = format!(
            "ALTER DATABASE {0} ALLOW_CONNECTIONS false; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{0}'",
            self.name
        );
        let this = Self { name: self.name.clone(), socket: self.socket.clone() };
        tokio::task::spawn_blocking(move || this.psql("postgres", &["-c", &statements])).await.unwrap();
    }

    /// Gives it back.
    pub async fn give_back(&self) {
        let statement = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name);
        let this = Self { name: self.name.clone(), socket: self.socket.clone() };
        tokio::task::spawn_blocking(move || this.psql("postgres", &["-c", &statement])).await.unwrap();
    }

    fn psql(&self, database: &str, arguments: &[&str]) -> String {
        let output = Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-h"])
            .arg(&self.socket)
            .arg(database)
            .args(arguments)
            .output()
            .expect("psql is installed with PostgreSQL");
        assert!(output.status.success(), "psql {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }
}
