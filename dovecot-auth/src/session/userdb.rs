//! The userdb socket: lmtp, doveadm, and mail processes that resolve the owner of a shared mailbox.
//!
//! | | USER | PASS | LIST |
//! |---|---|---|---|
//! | found | `USER id login uid= gid= home= …` | `PASS id user=` | `LIST id login` each, `DONE id` |
//! | none | `NOTFOUND id`: 550 at RCPT | `NOTFOUND id` | `DONE id` |
//! | unavailable | `FAIL id reason=`: 451 at RCPT | the same | `DONE id fail` |
//! | misconfigured | the same, and an error in the log | the same | the same |
//!
//! Refuses to give out password hashes, here and anywhere but in the dictionary `auth`. Whoever may connect may ask for every user: the
//! socket's group is the guard.

use std::sync::Arc;

use gatepost::directory::Lookup;
use gatepost::mail::Address;

use super::master::{TRY_LATER, in_order};
use super::{Conversation, Fault, Work};
use crate::protocol::auth::master::{Command, MAX_LINE, Reply, matches};
use crate::service::{DovecotAuth, User};

/// One connection.
pub(crate) struct Users {
    service: Arc<DovecotAuth>,
    greeted: bool,
}

/// What was found out.
pub(crate) enum Answer {
    User(u32, Lookup<User>),
    Pass(u32, Lookup<Address>),
    List(u32, String, Lookup<Vec<Address>>),
}

impl Users {
    pub(crate) fn new(service: Arc<DovecotAuth>) -> Self {
        Self { service, greeted: false }
    }
}

impl Conversation for Users {
    const LONGEST: usize = MAX_LINE;
    /// Each is one question to the directory.
    const AT_ONCE: usize = 64;
    type Outcome = Answer;

    fn greet(&mut self, out: &mut Vec<u8>) {
        Reply::Version.render(out);
        Reply::Spid(self.service.process()).render(out);
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<Answer>>, Fault> {
        let command = Command::parse(line).map_err(|error| Fault::Protocol(error.to_string()))?;
        in_order(&mut self.greeted, &command)?;
        let service = Arc::clone(&self.service);
        match command {
            Command::Version(_) => Ok(None),
            Command::User(id, name) => {
                Ok(Some(Box::pin(async move { Answer::User(id, service.user(&name).await) })))
            }
            Command::Pass(id, name) => {
                Ok(Some(Box::pin(async move { Answer::Pass(id, service.may_log_in(&name).await) })))
            }
            Command::List(id, mask) => {
                Ok(Some(Box::pin(async move { Answer::List(id, mask, service.users().await) })))
            }
            Command::CacheFlush(id) => {
                Reply::Flushed(id, service.flush()).render(out);
                Ok(None)
            }
            Command::Request { .. } => Err(Fault::Protocol("a command of the master socket".to_owned())),
        }
    }

    fn done(&mut self, answer: Answer, out: &mut Vec<u8>) -> Result<(), Fault> {
        match answer {
            Answer::User(id, Lookup::Found(user)) => {
                Reply::User(id, &user.login.to_string(), &user.fields).render(out);
            }
            Answer::Pass(id, Lookup::Found(login)) => Reply::Pass(id, &login.to_string()).render(out),
            Answer::User(id, Lookup::None) | Answer::Pass(id, Lookup::None) => {
                Reply::NotFound(id).render(out)
            }
            Answer::User(id, _) | Answer::Pass(id, _) => Reply::Fail(id, TRY_LATER).render(out),
            Answer::List(id, mask, users) => {
                let whole = matches!(users, Lookup::Found(_) | Lookup::None);
                for user in users.found().unwrap_or_default() {
                    let user = user.to_string();
                    if matches(&mask, &user) {
                        Reply::List(id, &user).render(out);
                    }
                }
                Reply::Done(id, whole).render(out);
            }
        }
        Ok(())
    }
}
