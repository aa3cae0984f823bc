//! The daemon in this process: its own endpoints on unix sockets in a directory of its own, over a database of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatepost::config::{Config, parse};
use gatepost::daemon::{Daemon, Parts};
use gatepost::net::{Drain, PassedSockets, Server};
use gatepost_postfix_policy::PostfixPolicy;
use gatepost_postfix_policy::config::Settings;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::postgres::Database;
pub(crate) use crate::waiting::{soon, until};

/// `limits.connections` of each instance.
pub const CONNECTIONS: usize = 500;

/// One running daemon.
pub struct Instance {
    pub database: Database,
    pub service: Arc<PostfixPolicy>,
    pub parts: Parts,
    directory: tempfile::TempDir,
    drain: Drain,
    serving: JoinHandle<usize>,
    watching: JoinHandle<()>,
}

/// What an instance is made of.
#[derive(Default)]
pub struct Setup {
    /// TOML: keys of `[postfix-policy]`, then whole sections.
    pub settings: String,
    /// The checks of the one policy endpoint, as TOML; all of them if not given.
    pub checks: Option<String>,
    /// Whether schema `gatepost` is installed.
    pub schema: bool,
}

impl Instance {
    /// A daemon on a fresh database of the tutorial.
    pub async fn start(setup: &Setup) -> Self {
        let database = Database::create().await;
        if setup.schema {
            install(&database, true).await;
        }
        let section = database.toml();
        Self::on(database, &section, setup).await
    }

    /// The same with another `limits.connections`.
    pub async fn start_with(setup: &Setup, connections: usize) -> Self {
        let database = Database::create().await;
        let section = database.toml();
        Self::serve(database, &section, setup, connections).await
    }

    /// The same with another `[database]`.
    pub async fn on(database: Database, section: &str, setup: &Setup) -> Self {
        Self::serve(database, section, setup, CONNECTIONS).await
    }

    async fn serve(database: Database, section: &str, setup: &Setup, connections: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = configuration(directory.path(), section, setup);
        let config: Config<Settings> = parse(&text, Path::new("gatepost.toml")).unwrap();
        let parts = Parts::new(&config, PostfixPolicy::NAME).unwrap();
        let service = Arc::new(PostfixPolicy::build(&config, &parts).await.unwrap());
        let server =
            Server::bind(service.endpoints(&config.service), connections, &mut PassedSockets::default())
                .await
                .unwrap();
        let drain = server.drain();
        let serving = tokio::spawn(server.run(Duration::from_secs(30)));
        let watching = tokio::spawn(parts.directory.clone().watch());
        Self { database, service, parts, directory, drain, serving, watching }
    }

    /// The socket of an endpoint: `socketmap` or `policy`.
    pub fn socket(&self, endpoint: &str) -> PathBuf {
        self.directory.path().join(endpoint)
    }

    /// Where its sockets are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub async fn connect(&self, endpoint: &str) -> UnixStream {
        UnixStream::connect(self.socket(endpoint)).await.unwrap()
    }

    pub fn drain(&self) {
        self.drain.start();
    }

    /// Ends it as SIGTERM does; returns how many connections had to be cut.
    pub async fn stop(self) -> usize {
        self.drain.start();
        self.watching.abort();
        self.serving.await.unwrap()
    }

    /// The value of one series of the metrics.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.parts.metrics.text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("gatepost_postfix_policy_{series} ")));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}")).parse().unwrap()
    }
}

/// The configuration of a daemon whose sockets are in `directory`.
pub fn configuration(directory: &Path, database: &str, setup: &Setup) -> String {
    let (sockets, settings) = (directory.display(), &setup.settings);
    let checks = setup.checks.as_ref().map(|checks| format!("checks = {checks}\n")).unwrap_or_default();
    format!(
        "{database}\n[postfix-policy]\nsocketmap = [\"unix:{sockets}/socketmap\"]\n{settings}\n\
         [[postfix-policy.policy]]\nlisten = [\"unix:{sockets}/policy\"]\n{checks}"
    )
}

/// Installs schema `gatepost` as its owner.
pub async fn install(database: &Database, triggers: bool) {
    database.install(triggers).await;
}
