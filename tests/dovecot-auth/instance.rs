//! The daemon in this process: its own endpoints on unix sockets in a directory of its own, over a database of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gatepost::config::{Config, parse};
use gatepost::daemon::{Daemon, Parts};
use gatepost::net::{Drain, PassedSockets, Server};
use gatepost_dovecot_auth::DovecotAuth;
use gatepost_dovecot_auth::config::Settings;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::postgres::Database;
pub(crate) use crate::waiting::{soon, until};

/// `limits.connections` of each instance.
pub const CONNECTIONS: usize = 500;

/// A database that is not there.
pub const NOWHERE: &str = "[database]\nhost = \"/nonexistent\"\ntimeout = \"500ms\"\n";

/// Installs our schema, with its triggers.
pub async fn install(database: &Database) {
    database.install(true).await;
}

/// A table that nobody can read or write for a while; by psql, so that nothing of ours waits for it.
pub struct Held(tokio::process::Child);

impl Held {
    pub async fn lock(database: &Database, table: &str) -> Self {
        let mut psql = tokio::process::Command::new("psql")
            .args(["-X", "-q", "-A", "-t", "-U", "postgres", "-h"])
            .arg(database.socket())
            .arg(database.name())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let lock = format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n");
        psql.stdin.as_mut().unwrap().write_all(lock.as_bytes()).await.unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(psql.stdout.as_mut().unwrap());
        soon("the lock", output.read_line(&mut said)).await.unwrap();
        assert_eq!(said, "held\n");
        Self(psql)
    }

    pub async fn release(mut self) {
        drop(self.0.stdin.take());
        self.0.wait().await.unwrap();
    }
}

/// One running daemon.
pub struct Instance {
    pub database: Database,
    pub service: Arc<DovecotAuth>,
    pub parts: Parts,
    directory: tempfile::TempDir,
    drain: Drain,
    serving: JoinHandle<usize>,
    watching: JoinHandle<()>,
}

impl Instance {
    /// A daemon on a fresh database of the tutorial; `settings` are keys of `[dovecot-auth]`, then whole sections.
    pub async fn start(settings: &str) -> Self {
        let database = Database::create().await;
        let section = database.toml();
        Self::on(database, &section, settings).await
    }

    /// The same with our schema.
    pub async fn with_schema(settings: &str) -> Self {
        let database = Database::create().await;
        install(&database).await;
        let section = database.toml();
        Self::on(database, &section, settings).await
    }

    /// The same with another `[database]`.
    pub async fn on(database: Database, section: &str, settings: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // Dovecot's processes are other users.
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        let text = configuration(directory.path(), section, settings);
        let config: Config<Settings> = parse(&text, Path::new("gatepost.toml")).unwrap();
        let parts = Parts::new(&config, DovecotAuth::NAME).unwrap();
        let service = Arc::new(DovecotAuth::build(&config, &parts).await.unwrap());
        let server =
            Server::bind(service.endpoints(&config.service), CONNECTIONS, &mut PassedSockets::default())
                .await
                .unwrap();
        let drain = server.drain();
        let serving = tokio::spawn(server.run(Duration::from_secs(30)));
        let (follow, beside) = (parts.directory.clone().watch(), Arc::clone(&service).background());
        let watching = tokio::spawn(async { (_, _) = tokio::join!(follow, beside) });
        Self { database, service, parts, directory, drain, serving, watching }
    }

    /// Where the sockets are.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The socket of an endpoint: `login`, `postfix`, `master`, `userdb`, `dict` or `dict-auth`.
    pub fn socket(&self, endpoint: &str) -> PathBuf {
        self.directory.path().join(endpoint)
    }

    pub async fn connect(&self, endpoint: &str) -> UnixStream {
        UnixStream::connect(self.socket(endpoint)).await.unwrap()
    }

    /// A connection that reads and writes whole lines.
    pub async fn lines(&self, endpoint: &str) -> Lines {
        Lines(BufReader::new(self.connect(endpoint).await))
    }

    pub fn drain(&self) {
        self.drain.start();
    }

    /// Ends it as SIGTERM does; returns how many connections had to be cut.
    pub async fn stop(self) -> usize {
        self.drain.start();
        self.watching.abort();
        let cut = self.serving.await.unwrap();
        self.service.finish().await;
        cut
    }

    /// The value of one series of the metrics.
    pub fn metric(&self, series: &str) -> u64 {
        let text = self.parts.metrics.text();
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("gatepost_dovecot_auth_{series} ")));
        line.unwrap_or_else(|| panic!("no series {series} in\n{text}")).parse().unwrap()
    }
}

/// A connection for tests that do not care how bytes are divided.
pub struct Lines(BufReader<UnixStream>);

impl Lines {
    /// Sends lines; LF is added to each.
    pub async fn say(&mut self, lines: &[&str]) {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        self.0.get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// Closes the sending side.
    pub async fn hang_up(&mut self) {
        self.0.get_mut().shutdown().await.unwrap();
    }

    /// The next line without its LF; empty at the end of the connection too.
    pub async fn hear(&mut self) -> String {
        let mut line = String::new();
        soon("a line", self.0.read_line(&mut line)).await.unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// Whether the other side closes without another word.
    pub async fn is_closed(&mut self) -> bool {
        let mut rest = String::new();
        matches!(soon("the end", self.0.read_line(&mut rest)).await, Ok(0) | Err(_)) && rest.is_empty()
    }

    /// The handshake of a login process or of smtpd; returns the cookie.
    pub async fn handshake(&mut self, cpid: u32) -> String {
        self.say(&["VERSION\t1\t2", &format!("CPID\t{cpid}")]).await;
        let mut cookie = String::new();
        loop {
            match self.hear().await.as_str() {
                "DONE" => return cookie,
                "" => panic!("no handshake"),
                line => {
                    if let Some(given) = line.strip_prefix("COOKIE\t") {
                        cookie = given.to_owned();
                    }
                }
            }
        }
    }
}

/// `hashing-wait`'s default. A login that is not hashed by then, because the machine is busy beyond measure, is told to try later.
pub const HASHED_WITHIN: Duration = Duration::from_secs(5);

/// `PLAIN`'s message in base64.
pub fn plain(login: &str, password: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(format!("\0{login}\0{password}"))
}

/// The configuration of a daemon whose sockets are in `directory`. Everybody may connect: Dovecot's processes run as several users.
pub fn configuration(directory: &Path, database: &str, settings: &str) -> String {
    let sockets: String = ["login", "postfix", "master", "userdb", "dict", "dict-auth"]
        .map(|name| {
            format!("listen-{name} = [{{ unix = \"{}/{name}\", mode = \"0666\" }}]\n", directory.display())
        })
        .concat();
    // What a test says itself comes instead of what is here.
    let usual = [("uid", "\"5000\""), ("gid", "\"5001\""), ("failure-delay", "\"0s\"")];
    let usual: String = usual
        .iter()
        .filter(|(key, _)| !settings.lines().any(|line| line.starts_with(&format!("{key} "))))
        .map(|(key, value)| format!("{key} = {value}\n"))
        .collect();
    format!("{database}\n[dovecot-auth]\n{sockets}{usual}{settings}\n")
}
