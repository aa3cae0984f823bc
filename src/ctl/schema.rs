//! `gatepost schema`: our own schema, roles and triggers.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use gatepost::config::Secret;
use gatepost::store::schema::{self, ROLES, TRIGGERS, VERSION};
use sqlx::PgConnection;

use super::connection::explain;
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Install or upgrade schema gatepost, the daemons' roles and the triggers, in one transaction
    Install {
        /// Leave the tutorial's tables without our triggers: changes then count after database.cache-ttl
        #[arg(long)]
        no_triggers: bool,
        /// Give each role a new random password and write it to DIR/ROLE.password (mode 0640)
        #[arg(long, value_name = "DIR")]
        passwords: Option<PathBuf>,
    },
    /// Remove schema, roles and triggers, with all signing keys and counters
    Remove {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the SQL of an installation from nothing: schema, roles and what each may, triggers
    Print {
        /// Without our triggers on the tutorial's tables
        #[arg(long)]
        no_triggers: bool,
    },
    /// Say what is installed
    Status(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Install { no_triggers, passwords } => {
            install(connection, !no_triggers, passwords.as_deref()).await
        }
        Verb::Remove { yes } => {
            terminal::confirm(
                "Remove schema gatepost with all signing keys and counters, its roles and triggers?",
                yes,
            )?;
            let kept = schema::remove(connection).await.map_err(explain)?;
            println!("schema gatepost removed; the tutorial's tables are as they were");
            if !kept.is_empty() {
                println!("kept, because another database still uses them: {}", kept.join(", "));
            }
            Ok(())
        }
        // Answered before anybody connects.
        Verb::Print { .. } => Ok(()),
        Verb::Status(show) => status(connection, show).await,
    }
}

async fn install(
    connection: &mut PgConnection,
    triggers: bool,
    directory: Option<&Path>,
) -> anyhow::Result<()> {
    let passwords: Vec<(&str, Secret)> = if directory.is_some() {
        ROLES.iter().map(|role| (*role, random_password())).collect()
    } else {
        Vec::new()
    };
    // Written first under another name: a password that is set but lost would lock a daemon out.
    let mut written = Vec::new();
    if let Some(directory) = directory {
        for (role, password) in &passwords {
            written.push(write_new(directory, role, password)?);
        }
    }
    let installed = schema::install(connection, triggers, &passwords).await.map_err(|error| {
        for (temporary, _) in &written {
            let _ = std::fs::remove_file(temporary);
        }
        explain(error)
    })?;
    for (temporary, path) in written {
        std::fs::rename(&temporary, &path).with_context(|| {
            format!(
                "the password is set, but stands in {}; rename it to {}",
                temporary.display(),
                path.display()
            )
        })?;
        println!("wrote {}", path.display());
    }
    match installed.from {
        0 => println!("schema gatepost version {} installed", installed.to),
        from if from == installed.to => println!("schema gatepost version {from} was there already"),
        from => println!("schema gatepost upgraded from version {from} to {}", installed.to),
    }
    println!("roles: {}", ROLES.join(", "));
    println!(
        "{}",
        if triggers {
            "triggers: changes of domains, users, aliases and shares are announced"
        } else {
            "no triggers: changes count after database.cache-ttl"
        }
    );
    Ok(())
}

async fn status(connection: &mut PgConnection, show: terminal::Show) -> anyhow::Result<()> {
    let status = schema::status(connection).await.map_err(explain)?;
    if show.is_json() {
        let there = status.roles.iter().filter(|(_, there)| *there).map(|(role, _)| *role);
        let missing = status.roles.iter().filter(|(_, there)| !there).map(|(role, _)| *role);
        let row = [
            status.version.map(|version| version.to_string()).unwrap_or_default(),
            VERSION.to_string(),
            status.triggers.to_string(),
            TRIGGERS.to_string(),
            there.collect::<Vec<_>>().join(" "),
            missing.collect::<Vec<_>>().join(" "),
        ];
        show.table(
            ["VERSION", "KNOWN VERSION", "TRIGGERS", "ALL TRIGGERS", "ROLES", "MISSING ROLES"],
            &[row],
        );
        return Ok(());
    }
    match status.version {
        None => println!("schema    not installed; run `gatepost schema install`"),
        Some(version) if version < VERSION => println!(
            "schema    version {version}, this program knows {VERSION}; run `gatepost schema install`"
        ),
        Some(version) => println!("schema    version {version}"),
    }
    println!(
        "triggers  {}",
        if status.triggers == TRIGGERS {
            "all there".to_owned()
        } else {
            format!("{} of {TRIGGERS}", status.triggers)
        }
    );
    for (role, there) in status.roles {
        println!("role      {role} {}", if there { "is there" } else { "is missing" });
    }
    Ok(())
}

/// A new password, as hard to guess as a key.
pub(super) fn random_password() -> Secret {
    use base64::Engine;
    let mut bytes = [0_u8; 24];
    rand::fill(&mut bytes);
    Secret::new(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Writes a password beside its final name; returns both names.
fn write_new(directory: &Path, role: &str, password: &Secret) -> anyhow::Result<(PathBuf, PathBuf)> {
    let path = directory.join(format!("{role}.password"));
    let temporary = directory.join(format!(".{role}.password.{}", std::process::id()));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(&temporary)
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    writeln!(file, "{}", password.expose())
        .with_context(|| format!("cannot write {}", temporary.display()))?;
    Ok((temporary, path))
}
