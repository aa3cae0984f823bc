//! The userdb socket: lmtp, doveadm, and mail processes that resolve the owner of a shared mailbox.
//!
//! | | USER | PASS | LIST |
//! |---|---|---|---|
//! | found | `USER id login uid= gid= home= …` | `PASS id user=` | `LIST id login` each, page by page, `DONE id` |
//! | none | `NOTFOUND id`: 550 at RCPT | `NOTFOUND id` | `DONE id` |
//! | unavailable | `FAIL id reason=`: 451 at RCPT | the same | `DONE id fail` |
//! | misconfigured | the same, and an error in the log | the same | the same |
//!
//! Refuses to give out password hashes, here and anywhere but in the dictionary `auth`. Whoever may connect may ask for every user: the
//! socket's group is the guard.

use std::sync::Arc;
use std::time::Duration;

use gatepost::directory::{Lookup, UsersPlace};
use gatepost::mail::Address;

use super::master::{TRY_LATER, in_order};
use super::wire::PATIENCE;
use super::{Conversation, Fault, PANICKED, Work, work};
use crate::protocol::auth::master::{Command, MAX_LINE, Reply, matches};
use crate::questions::User;
use crate::service::DovecotAuth;

/// One connection.
pub(crate) struct Users {
    service: Arc<DovecotAuth>,
    greeted: bool,
    /// How many lists are under way.
    lists: usize,
}

/// What was found out.
pub(crate) enum Answer {
    User(u32, Lookup<User>),
    Pass(u32, Lookup<Address>),
    List(Listing, Lookup<(Vec<Address>, Option<UsersPlace>)>),
}

/// A list of users that is asked for.
#[derive(Clone)]
pub(crate) struct Listing {
    id: u32,
    mask: String,
}

impl Users {
    pub(crate) fn new(service: Arc<DovecotAuth>) -> Self {
        Self { service, greeted: false, lists: 0 }
    }

    /// The page of a list that begins there.
    fn page(&self, listing: Listing, place: UsersPlace) -> Work<Answer> {
        let (service, same) = (Arc::clone(&self.service), listing.clone());
        let doing = async move { Answer::List(listing, service.users(&place).await) };
        work(doing, move || Answer::List(same, panicked()))
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
                let doing = async move { Answer::User(id, service.user(&name).await) };
                Ok(Some(work(doing, move || Answer::User(id, panicked()))))
            }
            Command::Pass(id, name) => {
                let doing = async move { Answer::Pass(id, service.may_log_in(&name).await) };
                Ok(Some(work(doing, move || Answer::Pass(id, panicked()))))
            }
            Command::List(id, mask) => {
                self.lists += 1;
                Ok(Some(self.page(Listing { id, mask }, UsersPlace::default())))
            }
            Command::CacheFlush(id) => {
                Reply::Flushed(id, service.flush()).render(out);
                Ok(None)
            }
            Command::Request { .. } => Err(Fault::Protocol("a command of the master socket".to_owned())),
        }
    }

    fn done(&mut self, answer: Answer, out: &mut Vec<u8>) -> Result<Option<Work<Answer>>, Fault> {
        match answer {
            Answer::User(id, Lookup::Found(user)) => {
                Reply::User(id, &user.login.to_string(), &user.fields).render(out);
            }
            Answer::Pass(id, Lookup::Found(login)) => Reply::Pass(id, &login.to_string()).render(out),
            Answer::User(id, Lookup::None) | Answer::Pass(id, Lookup::None) => {
                Reply::NotFound(id).render(out)
            }
            Answer::User(id, _) | Answer::Pass(id, _) => Reply::Fail(id, TRY_LATER).render(out),
            Answer::List(listing, Lookup::Found((users, next))) => {
                for user in users {
                    let user = user.to_string();
                    if matches(&listing.mask, &user) {
                        Reply::List(listing.id, &user).render(out);
                    }
                }
                if let Some(place) = next {
                    return Ok(Some(self.page(listing, place)));
                }
                self.lists -= 1;
                Reply::Done(listing.id, true).render(out);
            }
            Answer::List(Listing { id, .. }, users) => {
                self.lists -= 1;
                Reply::Done(id, users.is_none()).render(out);
            }
        }
        Ok(None)
    }

    /// `doveadm -A` reads on when it has done what it does for each user.
    fn patience(&self) -> Duration {
        if self.lists > 0 { LIST_PATIENCE } else { PATIENCE }
    }
}

fn panicked<T>() -> Lookup<T> {
    Lookup::Unavailable(PANICKED.to_owned())
}

/// As long as a nightly job may take for the few thousand users that are on their way in the socket.
const LIST_PATIENCE: Duration = Duration::from_secs(86_400);
