//! The skeleton that the three daemons share: the verbs `run`, `check`, `list` and `ask`, the same start, reload and end.
//!
//! A daemon implements [`Daemon`] and calls [`main`]. Everything it needs is built once, in [`Daemon::build`], and passed on as
//! references: there is no global state. Exit codes: 0 done, 64 usage, 70 software, 78 configuration (sysexits.h).

mod lifecycle;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config::{self, Config, Section};
use crate::database::Database;
use crate::directory::Directory;
use crate::manual;
use crate::net::Endpoint;
use crate::store::Store;
use crate::telemetry::{self, Metrics};

/// What the skeleton gives a daemon to build itself from.
pub struct Parts {
    /// Questions to `mail_server`.
    pub directory: Directory,
    /// Our own tables.
    pub store: Store,
    /// Where its metrics are registered.
    pub metrics: Metrics,
}

impl Parts {
    /// Parts over the database of a configuration; nothing is connected yet.
    ///
    /// # Errors
    /// The database's password file.
    pub fn new<S>(config: &Config<S>, name: &str) -> Result<Self, config::ConfigError> {
        let database = Database::new(&config.database, name)?;
        let directory = Directory::new(database, &config.database);
        let store = Store::new(&directory);
        Ok(Self { store, directory, metrics: Metrics::with_prefix(&name.replace('-', "_")) })
    }
}

/// One of the three daemons.
pub trait Daemon: Send + Sync + Sized + 'static {
    /// The binary's name, such as `gatepost-milter`.
    const NAME: &'static str;
    /// One line of what it is.
    const ABOUT: &'static str;
    /// Its section of the configuration.
    type Section: Section;
    /// How many threads answer; `None` for one for each core. One is right where an answer takes microseconds: with more, each question
    /// wakes a second thread that finds nothing to do. What takes longer than that goes to the blocking pool in any case.
    const IO_THREADS: Option<usize> = None;
    /// The arguments of `ask`.
    type Ask: Args + Send;
    /// Verbs that this daemon alone has; [`Infallible`](std::convert::Infallible) for none.
    type More: Subcommand + Send;

    /// Builds everything that `run` needs; `check` builds the same and stops there.
    fn build(
        config: &Config<Self::Section>,
        parts: &Parts,
    ) -> impl Future<Output = anyhow::Result<Self>> + Send;

    /// What it serves.
    fn endpoints(self: &Arc<Self>, section: &Self::Section) -> Vec<Endpoint>;

    /// What goes on beside the serving, from the start to the end of the process; nothing by default.
    fn background(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }

    /// The last thing of the process, when nothing is served any more and [`Daemon::background`] has ended: writes down what must not
    /// be lost. It has [`FINISH`] to do so; nothing by default.
    fn finish(self: Arc<Self>) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Takes over what can change while running; an error keeps the old and is logged.
    ///
    /// # Errors
    /// Why the new configuration cannot be taken over.
    fn reload(&self, config: &Config<Self::Section>) -> anyhow::Result<()>;

    /// Its table: name, kind, one-line summary.
    fn list() -> Vec<[String; 3]>;

    /// What its manual page has of its tables: for each kind in [`Daemon::list`] a region of that name, if nothing else is said.
    fn regions() -> Vec<manual::Region> {
        let mut regions: Vec<(String, Vec<[String; 3]>)> = Vec::new();
        for row in Self::list() {
            let [name, kind, summary] = row;
            let row = [name, String::new(), summary];
            match regions.iter_mut().find(|(known, _)| *known == kind) {
                Some((_, rows)) => rows.push(row),
                None => regions.push((kind, vec![row])),
            }
        }
        regions.into_iter().map(|(kind, rows)| (kind, manual::table(&rows))).collect()
    }

    /// Puts one question through the same code as the wire.
    fn ask(source: ConfigSource, ask: Self::Ask) -> impl Future<Output = anyhow::Result<ExitCode>> + Send;

    /// Does what a verb of its own says.
    fn more(
        _source: ConfigSource,
        _more: Self::More,
    ) -> impl Future<Output = anyhow::Result<ExitCode>> + Send {
        std::future::ready(Ok(ExitCode::SUCCESS))
    }
}

/// Where the configuration comes from.
#[derive(Clone, Debug)]
pub struct ConfigSource {
    given: Option<PathBuf>,
}

impl ConfigSource {
    /// A file, or the default one.
    pub fn new(given: Option<PathBuf>) -> Self {
        Self { given }
    }

    /// The file that `--config` named, if it did.
    pub fn given(&self) -> Option<&PathBuf> {
        self.given.as_ref()
    }

    /// Reads the configuration.
    ///
    /// # Errors
    /// See [`config::load`].
    pub fn load<S: Section>(&self) -> Result<Config<S>, config::ConfigError> {
        config::load(self.given.as_deref().unwrap_or(config::DEFAULT_PATH.as_ref()))
    }

    /// Reads the configuration and builds the daemon from it, as `run` does.
    ///
    /// # Errors
    /// As [`ConfigSource::load`], or what [`Daemon::build`] says.
    pub async fn assemble<D: Daemon>(&self) -> anyhow::Result<(Arc<D>, Config<D::Section>)> {
        let config = self.load::<D::Section>()?;
        let parts = Parts::new(&config, D::NAME)?;
        let daemon = D::build(&config, &parts).await?;
        Ok((Arc::new(daemon), config))
    }
}

#[derive(Parser)]
#[command(version, propagate_version = true)]
struct CommandLine<A: Args, M: Subcommand> {
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb<A, M>,
}

#[derive(Subcommand)]
enum Verb<A: Args, M: Subcommand> {
    /// Serve until SIGTERM; SIGHUP reloads the configuration
    Run,
    /// Build everything that `run` would, report, and exit: 0, or 78 if the configuration is wrong
    Check,
    /// Print the daemon's table
    List,
    /// Put one question through the same code as the wire
    Ask(A),
    /// Print a manual page with what comes from tables made anew
    #[command(hide = true)]
    Manual {
        /// The page
        page: PathBuf,
    },
    #[command(flatten)]
    More(M),
}

/// The whole program: a daemon's `main` is one call of this.
pub fn main<D: Daemon>() -> ExitCode {
    let command = CommandLine::<D::Ask, D::More>::command().name(D::NAME).about(D::ABOUT);
    let parsed = command
        .clone()
        .try_get_matches()
        .and_then(|matches| CommandLine::<D::Ask, D::More>::from_arg_matches(&matches));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    match &line.verb {
        Verb::List => {
            print_table(&D::list());
            return ExitCode::SUCCESS;
        }
        Verb::Manual { page } => {
            let mut regions = vec![
                ("synopsis".to_owned(), manual::synopsis(&command)),
                ("verbs".to_owned(), manual::verbs(&command)),
            ];
            regions.extend(D::regions());
            return print_page(D::NAME, page, &regions);
        }
        _ => {}
    }
    install_crypto();
    let source = ConfigSource::new(line.config);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = D::IO_THREADS {
        runtime.worker_threads(threads);
    }
    let runtime = match runtime.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("{}: cannot start threads: {error}", D::NAME);
            return SOFTWARE.into();
        }
    };
    let outcome = runtime.block_on(async {
        match line.verb {
            Verb::Run => lifecycle::run::<D>(source).await,
            Verb::Check => check::<D>(source).await,
            Verb::Ask(ask) => D::ask(source, ask).await,
            Verb::More(more) => D::more(source, more).await,
            Verb::List | Verb::Manual { .. } => Ok(ExitCode::SUCCESS),
        }
    });
    // Verifications that still run on the blocking pool are of use to nobody any more.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("{}: {error:#}", D::NAME);
        tracing::error!("{error:#}");
        exit_code(&error)
    })
}

async fn check<D: Daemon>(source: ConfigSource) -> anyhow::Result<ExitCode> {
    let config = source.load::<D::Section>()?;
    let parts = Parts::new(&config, D::NAME)?;
    let daemon = Arc::new(D::build(&config, &parts).await?);
    let origin = config
        .path
        .as_ref()
        .map_or_else(|| "built-in defaults".to_owned(), |path| path.display().to_string());
    print_line(&format!("{}: {origin} is good", D::NAME));
    for endpoint in daemon.endpoints(&config.service) {
        for address in endpoint.listen() {
            print_line(&format!("  {:<10} {address}", endpoint.name()));
        }
    }
    print_line(&format!("{:#?}\n{:#?}\n{:#?}", config.database, config.dns, config.dkim));
    print_line(&format!("{:#?}\n{:#?}\n{:#?}", config.log, config.limits, config.service));
    let database = parts.directory.database();
    if let Err(trouble) = database.ask(sqlx::query("SELECT 1").execute(database.pool())).await {
        // The daemon starts all the same, and answers "try later" until the database is there.
        print_line(&format!("{}: note: {trouble}", D::NAME));
    }
    Ok(ExitCode::SUCCESS)
}

/// 78 where the configuration is at fault, else 70.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    let configuration =
        error.chain().any(|cause| cause.is::<config::ConfigError>() || cause.is::<crate::net::ListenError>());
    if configuration { CONFIG.into() } else { SOFTWARE.into() }
}

/// Makes aws-lc-rs the one TLS and crypto provider of the process; the first call counts.
pub fn install_crypto() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// Prints rows in aligned columns.
pub fn print_table(rows: &[[String; 3]]) {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (first, second) = (width(0), width(1));
    for [name, kind, summary] in rows {
        print_line(&format!("{name:<first$}  {kind:<second$}  {summary}"));
    }
}

/// Prints a manual page with these regions made anew.
pub fn print_page(program: &str, page: &Path, regions: &[manual::Region]) -> ExitCode {
    let renewed = std::fs::read_to_string(page)
        .map_err(|error| error.to_string())
        .and_then(|text| manual::renew(&text, regions).map_err(|error| error.to_string()));
    match renewed {
        Ok(text) => {
            print_line(text.trim_end());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{program}: {}: {error}", page.display());
            SOFTWARE.into()
        }
    }
}

/// Prints a line. A reader that went away (`| head`) is no failure; a disk that is full ends the program with [`SOFTWARE`].
pub fn print_line(line: &str) {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("cannot write to standard output: {error}");
            std::process::exit(SOFTWARE.into());
        }
        _ => {}
    }
}

/// Starts logging for `ask` and the like: warnings on stderr.
pub fn quiet_log() {
    telemetry::start_log(&config::Log { level: config::LogLevel::Warn, target: config::LogTarget::Stderr });
}

/// How long [`Daemon::finish`] may take: longer than a question to the database, and with `limits.drain` far below systemd's 90 s.
pub const FINISH: std::time::Duration = std::time::Duration::from_secs(5);
/// `EX_USAGE`.
pub const USAGE: u8 = 64;
/// `EX_SOFTWARE`.
pub const SOFTWARE: u8 = 70;
/// `EX_CONFIG`.
pub const CONFIG: u8 = 78;
