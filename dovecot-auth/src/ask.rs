//! `ask`: one question on the command line, through the same code as the wire; what is printed is what Dovecot would get.
//!
//! Refuses passwords in the arguments, where every process of the machine could read them.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::Context;
use gatepost::config::Secret;
use gatepost::daemon::print_line;
use gatepost::directory::Lookup;

use crate::attempt::Circumstances;
use crate::dicts::{DICTS, Dict, Refused};
use crate::mechanisms::Claim;
use crate::protocol::auth::master;
use crate::protocol::dict::{Flags, Reply};
use crate::service::DovecotAuth;
use crate::verdict::Verdict;

/// The arguments.
#[derive(Clone, Debug, clap::Args)]
pub struct Ask {
    #[command(subcommand)]
    question: Question,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Question {
    /// What Dovecot is told about a user
    User {
        /// The user's full address
        user: String,
    },
    /// Whether a password is right; it is read from stdin, or asked for
    Login {
        /// The user's full address; alice@example.com*boss@example.com for the master boss
        user: String,
        /// As if at this service: imap, pop3, smtp, submission, sieve; without it none is switched off
        #[arg(long, default_value = "ask", hide_default_value = true)]
        service: String,
        /// As if from this address
        #[arg(long)]
        address: Option<std::net::IpAddr>,
    },
    /// The value of a key, or the keys below a path that ends with "/"
    Dict {
        /// The dictionary (see `list`)
        dict: String,
        /// The key, such as shared/shared-boxes/user/bob@example.com/alice@example.com
        key: String,
        /// Who asks; most dictionaries show a user only what is its own
        user: Option<String>,
    },
}

impl Ask {
    /// Puts the question and prints the answer. Ends with 0 for found or accepted, 1 for none or refused, 75 where nobody can say now,
    /// 78 where the operator must act.
    pub(crate) async fn put(&self, service: &DovecotAuth) -> anyhow::Result<ExitCode> {
        match &self.question {
            Question::User { user } => {
                let answer = service.user(user).await;
                let mut out = Vec::new();
                match &answer {
                    Lookup::Found(user) => {
                        master::Reply::User(1, &user.login.to_string(), &user.fields).render(&mut out);
                    }
                    Lookup::None => master::Reply::NotFound(1).render(&mut out),
                    Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                        master::Reply::Fail(1, why).render(&mut out);
                    }
                }
                Ok(print(&out, code_of(&answer)))
            }
            Question::Login { user, service: at, address } => {
                let claim =
                    Claim { authorization: String::new(), login: user.clone(), password: password(user)? };
                let circumstances = Circumstances {
                    mechanism: "PLAIN",
                    service: at.clone(),
                    remote: address.map(|address| address.to_string()).unwrap_or_default(),
                    ..Circumstances::default()
                };
                Ok(match service.authenticate(&circumstances, claim).await {
                    Verdict::Accepted(login) => print(format!("accepted: {login}\n").as_bytes(), 0),
                    Verdict::Refused(refusal) => {
                        print(format!("refused: {}\n", refusal.word()).as_bytes(), 1)
                    }
                    Verdict::Barred(refusal, reason) => {
                        print(format!("refused: {}, and told: {reason}\n", refusal.word()).as_bytes(), 1)
                    }
                    Verdict::Deferred(refusal) => {
                        print(format!("refused for now: {}\n", refusal.word()).as_bytes(), TEMPORARY)
                    }
                    Verdict::Unavailable(why) => print(format!("unavailable: {why}\n").as_bytes(), TEMPORARY),
                    Verdict::Misconfigured(why) => {
                        print(format!("misconfigured: {why}\n").as_bytes(), gatepost::daemon::CONFIG)
                    }
                })
            }
            Question::Dict { dict, key, user } => {
                let dict = named(dict)?;
                put_dict(service, dict, key, user.as_deref().unwrap_or_default()).await
            }
        }
    }
}

async fn put_dict(
    service: &DovecotAuth,
    dict: &'static Dict,
    key: &str,
    user: &str,
) -> anyhow::Result<ExitCode> {
    let mut out = Vec::new();
    let code = if key.ends_with('/') {
        let flags = Flags { recurse: true, ..Flags::default() };
        let said = service.iterate(dict, key, user, flags, None).await;
        for (key, value) in said.iter().flat_map(|answer| match answer {
            Lookup::Found(rows) => rows.as_slice(),
            _ => &[],
        }) {
            Reply::Row(key, value).render(&mut out);
        }
        failure(&said, &mut out)
    } else {
        let said = service.look_up(dict, key, user).await;
        match &said {
            Ok(Lookup::Found(value)) => Reply::Found(value).render(&mut out),
            Ok(Lookup::None) => Reply::NotFound.render(&mut out),
            _ => {}
        }
        failure(&said, &mut out)
    };
    Ok(print(&out, code))
}

/// The exit code, and the line where nobody can say.
fn failure<T>(said: &Result<Lookup<T>, Refused>, out: &mut Vec<u8>) -> u8 {
    match said {
        Ok(answer) => {
            if let Lookup::Unavailable(why) | Lookup::Misconfigured(why) = answer {
                Reply::Failed(why).render(out);
            }
            code_of(answer)
        }
        Err(Refused(why)) => {
            Reply::Failed(why).render(out);
            1
        }
    }
}

fn code_of<T>(answer: &Lookup<T>) -> u8 {
    match answer {
        Lookup::Found(_) => 0,
        Lookup::None => 1,
        Lookup::Unavailable(_) => TEMPORARY,
        Lookup::Misconfigured(_) => gatepost::daemon::CONFIG,
    }
}

fn print(out: &[u8], code: u8) -> ExitCode {
    if let Some(lines) = String::from_utf8_lossy(out).strip_suffix('\n') {
        print_line(lines);
    }
    code.into()
}

fn named(name: &str) -> anyhow::Result<&'static Dict> {
    DICTS.iter().find(|dict| dict.name == name).with_context(|| {
        let names: Vec<&str> = DICTS.iter().map(|dict| dict.name).collect();
        format!("no dictionary \"{name}\", expected one of {}", names.join(", "))
    })
}

fn password(user: &str) -> anyhow::Result<Secret> {
    if std::io::stdin().is_terminal() {
        return Ok(Secret::new(rpassword::prompt_password(format!("Password of {user}: "))?));
    }
    let mut line = zeroize::Zeroizing::new(String::new());
    std::io::stdin().lock().read_line(&mut line).context("cannot read the password from stdin")?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}

/// `EX_TEMPFAIL` of sysexits.h.
const TEMPORARY: u8 = 75;
