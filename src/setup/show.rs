//! A plan as a shell script: what is printed can be read, pasted line by line, or run as a whole. `gatepost setup --apply` does the same,
//! with copies, and with a look at the outcome after each step.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::KeySource;
use super::MAIL_SERVER;
use super::plan::{Plan, Planned, Step};

/// Where the programs find their files, where that is not the default.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `postconf -c`.
    pub postfix: Option<PathBuf>,
    /// `doveadm -c`, `sievec -c`: without it they ask a Dovecot that runs, which has not read our file yet.
    pub dovecot: Option<PathBuf>,
    /// `gatepost --config`.
    pub config: Option<PathBuf>,
    /// The database, and how psql finds it: host and port.
    pub database: (String, Vec<String>),
}

/// The whole plan.
pub fn shell(plan: &Plan, places: &Places) -> String {
    let mut text = String::from(
        "#!/bin/sh\n# Printed by `gatepost setup`. To be run as root; `gatepost setup --apply` does it step by step, with a way back.\n",
    );
    comments(&mut text, "found", &plan.found);
    comments(&mut text, "IN THE WAY", &plan.obstacles);
    if plan.steps.is_empty() && plan.obstacles.is_empty() {
        text.push_str("# Nothing to do: Postfix, Dovecot and the database are set up.\n");
    } else if !plan.steps.is_empty() {
        text.push_str("set -e\n");
    }
    for (number, planned) in (1..).zip(&plan.steps) {
        let _ = write!(text, "\n# {number}. {}.\n", planned.why);
        text.push_str(&step(planned, places));
        let _ = writeln!(text, "# back: {}", planned.undo);
    }
    if !plan.dns.is_empty() {
        text.push_str("\n# To be published in DNS by hand:\n");
        for dns in &plan.dns {
            let _ = writeln!(text, "#   {}\n#     {}", dns.record, dns.why);
        }
    }
    if !plan.remarks.is_empty() {
        text.push('\n');
    }
    comments(&mut text, "note", &plan.remarks);
    text
}

fn comments(text: &mut String, word: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "# {word}: {}", line.replace('\n', " "));
    }
}

/// The commands of one step, each on lines of its own.
fn step(planned: &Planned, places: &Places) -> String {
    let gatepost = match &places.config {
        Some(config) => format!("gatepost --config {}", path(config)),
        None => "gatepost".to_owned(),
    };
    let postfix = |program: &str| with("-c", program, places.postfix.as_deref());
    let dovecot = |program: &str| with("-c", program, places.dovecot.as_deref());
    let psql = |database: &str| {
        let place: String = places.database.1.iter().map(|word| format!("{} ", self::word(word))).collect();
        format!("runuser -u postgres -- psql -X -q -v ON_ERROR_STOP=1 {place}-d {}", self::word(database))
    };
    match &planned.step {
        Step::CreateDatabase { name } => {
            format!(
                "{} -c {}\n",
                psql("postgres"),
                word(&format!("CREATE DATABASE \"{name}\" ENCODING 'UTF8' TEMPLATE template0"))
            )
        }
        Step::TutorialTables { database } => format!("{} <<'{END}'\n{MAIL_SERVER}{END}\n", psql(database)),
        Step::InstallSchema { passwords } if passwords.is_empty() => {
            format!("# its SQL: gatepost schema print\n{gatepost} schema install\n")
        }
        Step::InstallSchema { passwords } => {
            let directory = passwords[0].1.parent().unwrap_or(Path::new("/etc/gatepost"));
            let mut text = format!("{gatepost} schema install --passwords {}\n", path(directory));
            for (role, file, group) in passwords {
                let written = directory.join(format!("{role}.password"));
                if &written != file {
                    let _ = writeln!(text, "mv {} {}", path(&written), path(file));
                }
                let _ = writeln!(text, "chgrp {} {}", word(group), path(file));
            }
            text
        }
        Step::InsertLines { path: file, before: Some(line), lines } => {
            format!("sed -i {} {}\n", word(&format!("{line}i {}", lines.join("\\n"))), path(file))
        }
        Step::InsertLines { path: file, before: None, lines } => {
            let lines: Vec<String> = lines.iter().map(|line| word(line)).collect();
            format!("printf '%s\\n' {} >>{}\n", lines.join(" "), path(file))
        }
        Step::AppendLine { path: file, line } => format!("printf '%s\\n' {} >>{}\n", word(line), path(file)),
        Step::ReloadPostgresql { peers } => {
            let mut text = format!("{} -c 'SELECT pg_reload_conf()' >/dev/null\n", psql(&places.database.0));
            for (user, role) in peers {
                let as_user =
                    psql(&places.database.0).replacen("-u postgres", &format!("-u {}", word(user)), 1);
                // The server reads its files when it comes round to it.
                let refused = word(&format!("{user} cannot connect as role {role}"));
                let _ = writeln!(
                    text,
                    "tries=0\nuntil {as_user} -U {role} -c 'SELECT' >/dev/null; do\n  tries=$((tries + 1))\n  [ $tries -lt {TRIES} ] || {{ echo {refused} >&2; exit 1; }}\n  sleep 1\ndone"
                );
            }
            text
        }
        Step::AddDomain { domain } => format!("{gatepost} domain add {}\n", word(domain)),
        Step::AddUser { address } => format!("{gatepost} user add {}\n", word(&address.to_string())),
        Step::AddAlias { alias, to } => {
            format!("{gatepost} alias add {} {}\n", word(&alias.to_string()), word(&to.to_string()))
        }
        Step::ImportKeys { from, path: file } => {
            let from = match from {
                KeySource::Rspamd => "rspamd",
                KeySource::Opendkim => "opendkim",
            };
            format!("{gatepost} dkim import {from} {}\n", path(file))
        }
        Step::GenerateKey { domain } => format!("{gatepost} dkim generate {}\n", word(domain)),
        Step::MailUser { name, id, home } => {
            let (name, home) = (word(name), path(home));
            format!(
                "groupadd --gid {id} {name}\nuseradd --uid {id} --gid {name} --home-dir {home} --create-home --shell /usr/sbin/nologin {name}\nchmod o= {home}\n"
            )
        }
        Step::WriteFile { path: file, contents, mode } => {
            format!("install -D -m {mode:04o} /dev/stdin {} <<'{END}'\n{contents}{END}\n", path(file))
        }
        Step::CompileSieve { path: file } => format!("{} {}\n", dovecot("sievec"), path(file)),
        Step::EnableUnits { units } => format!("systemctl enable --now {}\n", units.join(" ")),
        Step::DisableUnits { units } => format!("systemctl disable --now {}\n", units.join(" ")),
        Step::Listening { sockets } => {
            let sockets: Vec<String> = sockets.iter().map(|socket| path(socket)).collect();
            format!(
                "for socket in {}; do\n  test -S $socket || {{ echo \"nobody listens on $socket: systemctl status 'gatepost-*'\" >&2; exit 1; }}\ndone\n",
                sockets.join(" ")
            )
        }
        Step::ReloadDovecot { running, probe } => {
            let mut text = format!("{} -n >/dev/null\n", dovecot("doveconf"));
            if *running {
                let _ = writeln!(text, "{} reload", dovecot("doveadm"));
                if let Some(user) = probe {
                    let _ =
                        writeln!(text, "{} user {} >/dev/null", dovecot("doveadm"), word(&user.to_string()));
                }
            }
            text
        }
        Step::Postconf { settings } => {
            let mut text = String::new();
            for setting in settings {
                let before =
                    setting.before.as_ref().map_or_else(String::new, |before| format!(" (before: {before})"));
                let _ = writeln!(text, "#   {}: {}{before}", setting.parameter, setting.why);
            }
            text + &assignments(&postfix("postconf"), "-e", settings, " = ")
        }
        Step::MasterService { service, entry } => {
            format!("{} -M {}\n", postfix("postconf"), word(&format!("{service}={entry}")))
        }
        Step::MasterOptions { settings } => assignments(&postfix("postconf"), "-P", settings, "="),
        Step::ReloadPostfix { running, .. } => {
            let mut text = format!("{} check\n", postfix("postfix"));
            if *running {
                let _ = writeln!(text, "{} reload", postfix("postfix"));
            }
            text
        }
    }
}

fn assignments(program: &str, option: &str, settings: &[super::Setting], sign: &str) -> String {
    let words: Vec<String> =
        settings.iter().map(|one| word(&format!("{}{sign}{}", one.parameter, one.value))).collect();
    format!("{program} {option} \\\n  {}\n", words.join(" \\\n  "))
}

fn with(option: &str, program: &str, place: Option<&Path>) -> String {
    place.map_or_else(|| program.to_owned(), |place| format!("{program} {option} {}", path(place)))
}

fn path(path: &Path) -> String {
    word(&path.display().to_string())
}

/// A word of the shell, quoted where it must be.
pub fn word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:=@,%".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// How often, once a second, a role is tried until PostgreSQL has read its files.
const TRIES: u32 = 10;
/// Ends a here-document: no file of ours has such a line.
const END: &str = "GATEPOST_END";
