//! `gatepost setup`: from the server that is there to one that Gatepost serves.
//!
//! - [`look`]: what is there.
//! - [`gatepost::setup`]: the plan, pure.
//! - [`carry_out`]: the plan step by step, with a look at the outcome after each.
//! - [`state`]: copies of everything that is changed, and the way back.
//!
//! Without `--apply` or `--undo` nothing is changed anywhere.

mod carry_out;
mod look;
mod programs;
mod state;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use gatepost::config;
use gatepost::mail::{Address, Domain};
use gatepost::setup::{self, Auth, DAEMONS, Places, Plan, Step, Wish};

use super::connection::Settings;

/// Looks at the server that is there and prints what to do so that Gatepost serves it: a script with the reason for each step and the way
/// back. Run it as root.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  gatepost setup                                   # looks, prints, changes nothing\n  gatepost setup --apply                           # does it, step by step, with copies of all that is changed\n  gatepost setup --undo                            # everything as it was\n  gatepost setup --domain example.com --user you@example.com --apply    # a machine that serves no mail yet\n  gatepost setup --write plan; sh plan/setup.sh    # by hand"
)]
pub(super) struct Setup {
    /// Carry the plan out; stops at the first failure
    #[arg(long, conflicts_with_all = ["undo", "write", "json"])]
    apply: bool,
    /// Put every file back that --apply has changed
    #[arg(long, conflicts_with_all = ["write", "json"])]
    undo: bool,
    /// With --undo: also files that somebody has changed since; what is overwritten is kept beside the copies
    #[arg(long, requires = "undo")]
    force: bool,
    /// Write the plan to a directory: setup.sh, plan.json, and each file
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
    /// The first domain, on a machine that serves no mail yet
    #[arg(long, value_name = "DOMAIN")]
    domain: Option<Domain>,
    /// The first mailbox; its password is asked for, or read from stdin
    #[arg(long, value_name = "ADDRESS")]
    user: Option<Address>,
    /// The certificate for a machine that serves no mail yet, with its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    certificate: Option<PathBuf>,
    /// The certificate's key
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// How the daemons show PostgreSQL who they are; peer, unless gatepost.toml names password files
    #[arg(long, value_enum)]
    auth: Option<AuthArgument>,
    #[command(flatten)]
    where_: Where,
}

/// Where things are, if not where Debian has them.
#[derive(Args)]
pub(super) struct Where {
    /// Postfix's configuration directory
    #[arg(long, value_name = "DIR")]
    postfix: Option<PathBuf>,
    /// Dovecot's main file
    #[arg(long, value_name = "FILE")]
    dovecot: Option<PathBuf>,
    /// Rspamd's directory
    #[arg(long, value_name = "DIR", default_value = "/etc/rspamd")]
    rspamd: PathBuf,
    /// OpenDKIM's configuration
    #[arg(long, value_name = "FILE", default_value = "/etc/opendkim.conf")]
    opendkim: PathBuf,
    /// The directory of the sockets that Dovecot asks
    #[arg(long, value_name = "DIR", default_value = "/run/gatepost")]
    run: PathBuf,
    /// Where copies of what is changed are kept
    #[arg(long, value_name = "DIR", default_value = "/var/lib/gatepost/setup")]
    state: PathBuf,
    /// The system user of a daemon, such as milter=_gatepost-milter; may be given for each
    #[arg(long, value_name = "DAEMON=USER", value_parser = system_user)]
    system_user: Vec<(String, String)>,
}

#[derive(Clone, Copy, ValueEnum)]
enum AuthArgument {
    /// By system users and pg_ident.conf: no passwords
    Peer,
    /// By passwords in files
    Password,
}

fn system_user(text: &str) -> Result<(String, String), String> {
    let sections = DAEMONS.map(|daemon| daemon.section);
    match text.split_once('=') {
        Some((section, user)) if sections.contains(&section) && !user.is_empty() => {
            Ok((section.to_owned(), user.to_owned()))
        }
        _ => Err(format!("expected DAEMON=USER, where DAEMON is one of {}", sections.join(", "))),
    }
}

/// The configuration, whether its file is there or is still to be written.
pub(super) struct Host {
    settings: Settings,
    config: PathBuf,
}

pub(super) async fn run(
    setup: Setup,
    file: Option<PathBuf>,
    role: Option<String>,
) -> anyhow::Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!(
            "run it as root: it reads the keys of others and, with --apply, writes files of Postfix, Dovecot and PostgreSQL"
        );
    }
    let config = file.unwrap_or_else(|| PathBuf::from(config::DEFAULT_PATH));
    let named = role.is_some();
    let settings = if config.exists() {
        Settings::load(Some(config.clone()), role)?
    } else {
        Settings::without_file(&config, role)?
    };
    let settings = if named { settings } else { settings.for_owner() };
    let host = Host { settings, config };
    if setup.undo {
        state::undo(&host, &setup.where_, setup.force).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let wish = Wish {
        domain: setup.domain.clone(),
        user: setup.user.clone(),
        certificate: setup.certificate.clone().zip(setup.key.clone()),
        auth: setup.auth.map(|auth| match auth {
            AuthArgument::Peer => Auth::Peer,
            AuthArgument::Password => Auth::Password,
        }),
    };
    let facts = look::facts(&host, &setup.where_).await?;
    let plan = setup::plan(&facts, &wish);
    let places = Places {
        dovecot: facts.dovecot.as_ref().map(|dovecot| dovecot.config.clone()),
        ..places(&host, &setup.where_)
    };
    if setup.apply {
        return carry_out::run(&host, &setup.where_, &facts, &plan).await;
    }
    if let Some(directory) = &setup.write {
        write(directory, &plan, &places)?;
    } else if setup.json {
        gatepost::daemon::print_line(&serde_json::to_string_pretty(&plan)?);
    } else {
        gatepost::daemon::print_line(setup::shell(&plan, &places).trim_end());
    }
    Ok(if plan.obstacles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn places(host: &Host, where_: &Where) -> Places {
    let database = &host.settings.config.database;
    let mut psql = Vec::new();
    let (names, ports) = database.host.for_libpq(database.port);
    if database.host != config::Database::default().host {
        psql.extend(["-h".to_owned(), names]);
    }
    if let Some(ports) = ports {
        psql.extend(["-p".to_owned(), ports]);
    } else if database.port != config::Database::default().port {
        psql.extend(["-p".to_owned(), database.port.to_string()]);
    }
    Places {
        postfix: where_.postfix.clone(),
        dovecot: None,
        config: (host.config != Path::new(config::DEFAULT_PATH)).then(|| host.config.clone()),
        database: (database.name.clone(), psql),
    }
}

/// Writes the plan as files.
fn write(directory: &Path, plan: &Plan, places: &Places) -> anyhow::Result<()> {
    let put = |path: PathBuf, text: &str| -> anyhow::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
        }
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        println!("wrote {}", path.display());
        Ok(())
    };
    put(directory.join("setup.sh"), &setup::shell(plan, places))?;
    put(directory.join("plan.json"), &(serde_json::to_string_pretty(plan)? + "\n"))?;
    for planned in &plan.steps {
        match &planned.step {
            Step::WriteFile { path, contents, .. } => {
                put(directory.join("files").join(path.strip_prefix("/").unwrap_or(path)), contents)?;
            }
            Step::InstallSchema { .. } => {
                put(directory.join("gatepost.sql"), &(gatepost::store::schema::script(true) + "\n"))?;
            }
            Step::TutorialTables { database } => {
                put(directory.join(format!("{database}.sql")), setup::MAIL_SERVER)?
            }
            _ => {}
        }
    }
    if !plan.dns.is_empty() {
        let records: String = plan.dns.iter().map(|dns| format!("{}\n", dns.record)).collect();
        put(directory.join("dns.txt"), &records)?;
    }
    for obstacle in &plan.obstacles {
        println!("in the way: {obstacle}");
    }
    println!(
        "nothing else was changed; read {0}/setup.sh, then run it: sh {0}/setup.sh",
        directory.display()
    );
    Ok(())
}
