//! Every question that sockets and `ask` put beside logins: users, their fields, and the dictionaries.
//!
//! What the four kinds of `Lookup` become on the wire stands in the header of each session; what they mean for the log and the counters is
//! the same for all, and is here.

use std::time::Duration;

use gatepost::directory::{Lookup, UsersPlace};
use gatepost::mail::Address;
use gatepost::telemetry::printable;

use crate::dicts::{Change, Dict, Refused, Sources, Writer, select};
use crate::protocol::dict::Flags;
use crate::service::{DovecotAuth, Live, SHOWN};

/// A user and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The canonical name.
    pub login: Address,
    /// uid, gid, home and what else the configuration says.
    pub fields: Vec<(String, String)>,
}

impl DovecotAuth {
    /// A user by its name.
    pub async fn user(&self, name: &str) -> Lookup<User> {
        let found = match Address::parse(name) {
            Ok(address) => self.directory.mailbox(&address).await,
            Err(_) => Lookup::None,
        };
        let user = match found {
            Lookup::Found(login) => {
                self.fields(&login).await.map(|fields| User { login: login.clone(), fields })
            }
            other => other.map(|login| User { login, fields: Vec::new() }),
        };
        self.looked_up("user", name, user)
    }

    /// Whether a name is a login with a password; its canonical name.
    pub async fn may_log_in(&self, name: &str) -> Lookup<Address> {
        let login = match Address::parse(name) {
            Ok(address) => match self.directory.credentials(&address).await {
                Lookup::Found(credentials) if credentials.hash.is_none() => Lookup::None,
                other => other.map(|credentials| credentials.login),
            },
            Err(_) => Lookup::None,
        };
        self.looked_up("pass", name, login)
    }

    /// A page of all users, and where the next begins.
    pub async fn users(&self, place: &UsersPlace) -> Lookup<(Vec<Address>, Option<UsersPlace>)> {
        let users = self.directory.users(place).await;
        self.looked_up("list", "*", users)
    }

    /// Forgets what is cached; returns how many answers that were.
    pub fn flush(&self) -> u64 {
        let count = self.directory.flush() + self.hasher.forget();
        tracing::info!(count, "cache flushed");
        count
    }

    /// What Dovecot is told about a login; never [`Lookup::None`].
    pub async fn fields(&self, login: &Address) -> Lookup<Vec<(String, String)>> {
        match self.store.account(login).await {
            Lookup::Found(account) => match self.live.load().userdb.fields(login, &account) {
                Ok(fields) => Lookup::Found(fields),
                Err(error) => Lookup::Misconfigured(error.to_string()),
            },
            other => other.map(|_| Vec::new()),
        }
    }

    /// Asks for what a mail process will ask in a moment, so that the answer is known then. A crowd asks together, in one statement.
    pub(crate) async fn prepare(&self, login: &Address) {
        let _ = tokio::time::timeout(PREPARATION, self.store.account(login)).await;
    }

    /// The value of a key.
    ///
    /// # Errors
    /// The user must not ask that.
    pub async fn look_up(
        &self,
        dict: &'static Dict,
        key: &str,
        user: &str,
    ) -> Result<Lookup<String>, Refused> {
        let live = self.live.load_full();
        let said = (dict.look_up)(self.sources(&live), key, user).await;
        self.said(dict, key, user, said)
    }

    /// The keys below a path, as asked for.
    ///
    /// # Errors
    /// The user must not ask that.
    pub async fn iterate(
        &self,
        dict: &'static Dict,
        path: &str,
        user: &str,
        flags: Flags,
        most: Option<usize>,
    ) -> Result<Lookup<Vec<(String, String)>>, Refused> {
        let live = self.live.load_full();
        let said = (dict.iterate)(self.sources(&live), path, user).await;
        self.said(dict, path, user, said).map(|rows| rows.map(|rows| select(rows, path, flags, most)))
    }

    /// Carries a transaction out.
    ///
    /// # Errors
    /// The user must not do that; nothing was done.
    pub async fn change(
        &self,
        dict: &'static Dict,
        changes: &[Change],
        writer: &Writer,
    ) -> Result<Lookup<()>, Refused> {
        let live = self.live.load_full();
        let said = (dict.change)(self.sources(&live), changes, writer).await;
        let key = changes.first().map(Change::key).unwrap_or_default();
        self.said(dict, key, &writer.user, said)
    }

    fn sources<'a>(&'a self, live: &'a Live) -> Sources<'a> {
        Sources {
            directory: &self.directory,
            store: &self.store,
            userdb: &live.userdb,
            anyone: live.settings.share_to_anyone,
            retractions: &self.retractions,
        }
    }

    fn said<T>(
        &self,
        dict: &'static Dict,
        key: &str,
        user: &str,
        said: Result<Lookup<T>, Refused>,
    ) -> Result<Lookup<T>, Refused> {
        match said {
            Ok(answer) => Ok(self.looked_up(dict.name, key, answer)),
            Err(refused) => {
                self.counters.refused(dict.name);
                tracing::info!(dict = dict.name, user = %printable(user.as_bytes(), SHOWN), why = %refused, "refused");
                Err(refused)
            }
        }
    }

    fn looked_up<T>(&self, question: &'static str, key: &str, answer: Lookup<T>) -> Lookup<T> {
        self.counters.lookup(question, &answer);
        let result = match &answer {
            Lookup::Found(_) => "found",
            Lookup::None => "none",
            Lookup::Unavailable(_) => "unavailable",
            Lookup::Misconfigured(_) => "misconfigured",
        };
        tracing::debug!(question, key = %printable(key.as_bytes(), SHOWN), result, "looked up");
        match &answer {
            Lookup::Misconfigured(why) => self.complain(question, why),
            Lookup::Unavailable(_) => {}
            _ => self.content(question),
        }
        answer
    }
}

/// How long an accepted login waits for what its mail process will ask; that one waits itself if it must.
const PREPARATION: Duration = Duration::from_millis(500);
