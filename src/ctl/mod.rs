//! The nouns and verbs of `gatepost`, one file per noun.
//!
//! Input is parsed by the same types as in the daemons; every change is one transaction; passwords come from a prompt or from
//! stdin, never from the command line, where every process of the host can read them.

mod access;
mod account;
mod addresses;
mod alias;
mod allow_deny;
mod apppassword;
mod auth;
mod bcc;
mod check;
mod connection;
mod dkim;
mod dmarc;
mod domain;
mod domain_dns;
mod examples;
mod greylist;
mod group;
mod history;
mod import;
mod learn;
mod limits;
mod logins;
mod master;
mod mbox;
mod model;
mod owner;
mod progress;
mod quarantine;
mod quota;
mod schema;
mod scram;
mod sendas;
mod settings;
mod setup;
mod share;
mod stats;
mod terminal;
mod transport;
mod user;
mod why;
mod zone;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use gatepost::{daemon, manual};

/// Administers the mail server that Gatepost serves: domains, users, aliases, shares, signing keys, exceptions from DMARC,
/// what is done with spam, who may send how much, its own schema.
///
/// Speaks SQL to the database of the configuration, as the role that may: usually `sudo -u postgres gatepost …`.
#[derive(Parser)]
#[command(name = "gatepost", version, propagate_version = true)]
struct CommandLine {
    /// The configuration file; /etc/gatepost/gatepost.toml if it is there, else built-in defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The role to connect as, instead of `[database] user`
    #[arg(long, global = true, value_name = "ROLE")]
    role: Option<String>,
    #[command(subcommand)]
    noun: Noun,
}

#[derive(Subcommand)]
enum Noun {
    /// Our own schema: install, remove, print, status
    #[command(subcommand)]
    Schema(schema::Verb),
    /// Hosted domains: add, remove, list, dns
    #[command(subcommand)]
    Domain(domain::Verb),
    /// Mailboxes: add, remove, list, password, lock, unlock, show
    #[command(subcommand)]
    User(user::Verb),
    /// Aliases: add, remove, list
    #[command(subcommand)]
    Alias(alias::Verb),
    /// Rights to send as an address that is another's: add, remove, list
    #[command(subcommand)]
    Sendas(sendas::Verb),
    /// Restrictions of Postfix's own, for its check_*_access maps: add, remove, list
    ///
    /// For what main.cf asks by check_sender_access, check_recipient_access, check_client_access and check_helo_access, where
    /// any action of access(5) may follow (ok, hold, discard …). Whom to let through or refuse, for the policy daemon's
    /// check allow-deny and for the milter, is kept by `gatepost allow` and `gatepost deny`: begin with those.
    #[command(subcommand)]
    Access(access::Verb),
    /// Copies of mail: add, remove, list
    #[command(subcommand)]
    Bcc(bcc::Verb),
    /// Ways of mail other than those of its class: add, remove, list
    #[command(subcommand)]
    Transport(transport::Verb),
    /// Mailboxes shared to other users: add, remove, list
    #[command(subcommand)]
    Share(share::Verb),
    /// Groups of users to whom mailboxes can be shared: add, remove, list
    #[command(subcommand)]
    Group(group::Verb),
    /// How much mailboxes may hold, and how full they are: set, unset, list
    #[command(subcommand)]
    Quota(quota::Verb),
    /// DKIM signing keys: generate, rotate, activate, retire, remove, list, dns, check, import, encrypt
    #[command(subcommand)]
    Dkim(dkim::Verb),
    /// Who may always send here: add, remove, list
    #[command(subcommand)]
    Allow(allow_deny::Verb),
    /// Who may not: add, remove, list
    #[command(subcommand)]
    Deny(allow_deny::Verb),
    /// What is worth points, more or less: add, remove, list
    #[command(subcommand)]
    Score(allow_deny::Verb),
    /// What is marked with a word in X-Gatepost-Tag: add, remove, list
    #[command(subcommand)]
    Tag(allow_deny::Verb),
    /// What is done with spam, for everybody, a domain or a mailbox: set, unset, list, show, names
    #[command(subcommand)]
    Settings(settings::Verb),
    /// Mail that was put on hold: list, show, release, delete
    #[command(subcommand)]
    Quarantine(quarantine::Verb),
    /// Who waits on the greylist and who never does: list, allow, delete
    #[command(subcommand)]
    Greylist(greylist::Verb),
    /// How much may be sent, and locked logins: show, reset, set, unset
    #[command(subcommand)]
    Limits(limits::Verb),
    /// Show mail that is known to be spam, or wanted, to the milters
    Learn(learn::Learn),
    /// What has been learned: status, rebuild, export, import, forget
    #[command(subcommand)]
    Model(model::Verb),
    /// Where logins may log in, and with what: set, unset, list
    #[command(subcommand)]
    Logins(logins::Verb),
    /// Passwords beside the main one, each for one program: add, remove, list
    #[command(subcommand)]
    Apppassword(apppassword::Verb),
    /// Who may log in as somebody else: add, remove, list, log
    #[command(subcommand)]
    Master(master::Verb),
    /// Wrong passwords: failures, unblock
    #[command(subcommand)]
    Auth(auth::Verb),
    /// DMARC: policies of your own for single domains, and who forwards to you
    #[command(subcommand)]
    Dmarc(dmarc::Verb),
    /// What was decided about which message
    History(history::Which),
    /// Why it was decided so, and what would have changed it
    Why(why::Which),
    /// What was decided, counted by day, action or symbol
    Stats(stats::Which),
    /// Users, domains and aliases of another server: csv, mysqldump, postfix; tried first, done with --yes
    #[command(subcommand)]
    Import(import::From),
    /// From the server that is there to one that Gatepost serves: look, plan, do it, go back
    Setup(Box<setup::Setup>),
    /// The doctor: look at everything that mail depends on, and say what to do
    ///
    /// Configuration, secrets, sockets, Postfix, Dovecot, certificates, database, roles, addresses, keys; DNS of this host and of every
    /// domain. One line each: ok, warn or fail, with what to do. Status 1 if something failed, 0 otherwise. As root it sees everything.
    Check(check::Check),
    /// Print completions for a shell, such as: gatepost completions bash >/usr/share/bash-completion/completions/gatepost
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print a manual page with what comes from tables made anew
    #[command(hide = true)]
    Manual {
        /// The page
        page: PathBuf,
        /// The page is that of the configuration, whose keys are those of this file
        #[arg(long)]
        example: Option<PathBuf>,
    },
}

/// The command line with its examples, for parsing, completions and the manual page.
fn command() -> clap::Command {
    examples::put(CommandLine::command())
}

/// Runs the tool.
pub(crate) fn main() -> ExitCode {
    let parsed = command().try_get_matches().and_then(|matches| CommandLine::from_arg_matches(&matches));
    let line = match parsed {
        Ok(line) => line,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { daemon::USAGE.into() } else { ExitCode::SUCCESS };
        }
    };
    daemon::install_crypto();
    daemon::quiet_log();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("gatepost: cannot start: {error}");
            return daemon::SOFTWARE.into();
        }
    };
    runtime.block_on(run(line)).unwrap_or_else(|error| {
        eprintln!("gatepost: {error:#}");
        if error.chain().any(|cause| cause.is::<gatepost::config::ConfigError>()) {
            daemon::CONFIG.into()
        } else {
            ExitCode::FAILURE
        }
    })
}

async fn run(line: CommandLine) -> anyhow::Result<ExitCode> {
    if let Noun::Dmarc(dmarc::Verb::Read(read)) = &line.noun {
        return dmarc::read::run(read);
    }
    if let Noun::Schema(schema::Verb::Print { no_triggers }) = line.noun {
        daemon::print_line(&gatepost::store::schema::script(!no_triggers));
        return Ok(ExitCode::SUCCESS);
    }
    if let Noun::Setup(setup) = line.noun {
        return setup::run(*setup, line.config, line.role).await;
    }
    if let Noun::Completions { shell } = line.noun {
        clap_complete::generate(shell, &mut command(), "gatepost", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    if let Noun::Manual { page, example } = line.noun {
        return Ok(daemon::print_page("gatepost", &page, &regions(example.as_deref())?));
    }
    let settings = connection::Settings::load(line.config, line.role)?;
    if let Noun::Quarantine(verb) = line.noun {
        quarantine::run(verb, &settings).await?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Noun::Check(check) = line.noun {
        return check::run(check, &settings).await;
    }
    let mut connection = settings.connect().await?;
    match line.noun {
        Noun::Schema(verb) => schema::run(verb, &mut connection).await?,
        Noun::Domain(verb) => return domain::run(verb, &mut connection, &settings.config.dns).await,
        Noun::User(verb) => user::run(verb, &mut connection).await?,
        Noun::Alias(verb) => alias::run(verb, &mut connection).await?,
        Noun::Sendas(verb) => sendas::run(verb, &mut connection).await?,
        Noun::Access(verb) => access::run(verb, &mut connection).await?,
        Noun::Bcc(verb) => bcc::run(verb, &mut connection).await?,
        Noun::Transport(verb) => transport::run(verb, &mut connection).await?,
        Noun::Share(verb) => share::run(verb, &mut connection).await?,
        Noun::Group(verb) => group::run(verb, &mut connection).await?,
        Noun::Quota(verb) => quota::run(verb, &mut connection).await?,
        Noun::Dkim(verb) => return dkim::run(verb, &mut connection, &settings).await,
        Noun::Dmarc(verb) => dmarc::run(verb, &settings, &mut connection).await?,
        Noun::Allow(verb) => allow_deny::run("allow", verb, &mut connection).await?,
        Noun::Deny(verb) => allow_deny::run("deny", verb, &mut connection).await?,
        Noun::Score(verb) => allow_deny::run("score", verb, &mut connection).await?,
        Noun::Tag(verb) => allow_deny::run("tag", verb, &mut connection).await?,
        Noun::Settings(verb) => settings::run(verb, &mut connection).await?,
        Noun::Greylist(verb) => greylist::run(verb, &mut connection).await?,
        Noun::Limits(verb) => limits::run(verb, &mut connection).await?,
        Noun::Learn(learn) => learn::run(learn, &mut connection).await?,
        Noun::Model(verb) => model::run(verb, &mut connection).await?,
        Noun::Logins(verb) => logins::run(verb, &mut connection).await?,
        Noun::Apppassword(verb) => apppassword::run(verb, &mut connection).await?,
        Noun::Master(verb) => master::run(verb, &mut connection).await?,
        Noun::Auth(verb) => auth::run(verb, &mut connection).await?,
        Noun::History(which) => history::run(which, &mut connection, settings.pool().await?).await?,
        Noun::Why(which) => why::run(which, &mut connection).await?,
        Noun::Import(from) => import::run(from, &mut connection).await?,
        Noun::Stats(which) => stats::run(which, &mut connection).await?,
        Noun::Quarantine(_)
        | Noun::Check(_)
        | Noun::Completions { .. }
        | Noun::Manual { .. }
        | Noun::Setup(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What gatepost(1), or gatepost.toml(5) of this example of a configuration, has of our tables.
fn regions(example: Option<&std::path::Path>) -> anyhow::Result<Vec<manual::Region>> {
    if let Some(example) = example {
        let text = std::fs::read_to_string(example).with_context(|| example.display().to_string())?;
        return Ok(vec![("keys".to_owned(), manual::keys(&text))]);
    }
    Ok(vec![
        ("verbs".to_owned(), manual::verbs(&command())),
        ("checks".to_owned(), manual::table(&check::table())),
        ("settings".to_owned(), manual::table(&settings::table())),
    ])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    /// Verbs that ask before they do what cannot be had back, with `--yes` for whoever is not to be asked.
    const ASK: [&str; 6] = [
        "schema remove",
        "user remove",
        "dkim remove",
        "quarantine delete",
        "model forget",
        "apppassword remove",
    ];

    /// Verbs that take away what one line puts back, or what only helps while it is there.
    const DO_NOT_ASK: [&str; 18] = [
        // Refused while it has users or aliases.
        "domain remove",
        "alias remove",
        "sendas remove",
        "access remove",
        "bcc remove",
        "transport remove",
        "share remove",
        "group remove",
        "quota unset",
        "allow remove",
        "deny remove",
        "score remove",
        "tag remove",
        "settings unset",
        // A client comes again.
        "greylist delete",
        "logins unset",
        "master remove",
        "dmarc forwarder remove",
    ];

    #[test]
    fn every_verb_that_takes_away_is_one_that_asks_or_is_known_not_to() {
        fn verbs(command: &clap::Command, above: &str, found: &mut Vec<(String, bool)>) {
            for verb in command.get_subcommands() {
                let name = format!("{above}{}", verb.get_name());
                let asks = verb.get_arguments().any(|argument| argument.get_id() == "yes");
                verbs(verb, &format!("{name} "), found);
                found.push((name, asks));
            }
        }
        let mut found = Vec::new();
        verbs(&super::command(), "", &mut found);
        for (name, asks) in &found {
            let last = name.rsplit(' ').next().unwrap();
            let takes_away = matches!(last, "remove" | "delete" | "forget" | "unset");
            let known = ASK.contains(&name.as_str()) || DO_NOT_ASK.contains(&name.as_str());
            // limits unset and the like: the configuration counts again.
            assert!(!takes_away || known || name == "limits unset", "{name}: does it ask?");
            // `import` tries everything first, and is told to do it by --yes.
            assert_eq!(*asks, ASK.contains(&name.as_str()) || name.starts_with("import "), "{name}");
        }
        for name in ASK.iter().chain(&DO_NOT_ASK) {
            assert!(found.iter().any(|(verb, _)| verb == name), "{name} is no verb");
        }
    }

    /// clap's own checks of all verbs: no name twice, no argument that cannot be reached.
    #[test]
    fn the_command_line_is_sound() {
        super::command().debug_assert();
    }
}
