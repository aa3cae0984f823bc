//! The dictionaries: what Dovecot keeps outside of mailboxes. A dictionary is one file with one const, and one line in [`DICTS`].
//!
//! A dictionary answers for keys; how that reads on the wire, deadlines and the flags of an iteration are the same for all and are
//! dealt with outside of it.

mod acl;
mod auth;
mod kept;
mod key_value;
mod last_login;
mod metadata;
mod quota_clone;
mod retraction;

pub use retraction::Retractions;

use futures_util::future::BoxFuture;
use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::store::Store;
use serde::Deserialize;

use crate::protocol::dict::Flags;
use crate::userdb::Userdb;

/// One dictionary.
#[derive(Debug)]
pub struct Dict {
    /// Its name in Dovecot's configuration.
    pub name: &'static str,
    /// What it holds, in one line.
    pub summary: &'static str,
    /// On which socket it stands.
    pub place: Place,
    /// The value of a key.
    pub look_up: LookUp,
    /// Keys and values below a path, at least; see [`select`].
    pub iterate: Iterate,
    /// Carries a transaction out.
    pub change: Apply,
}

/// Every dictionary there is.
pub static DICTS: &[Dict] = &[
    acl::ACL,
    last_login::LAST_LOGIN,
    quota_clone::QUOTA_CLONE,
    metadata::METADATA,
    key_value::KEY_VALUE,
    auth::AUTH,
];

/// Which socket a dictionary stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// `listen-dict`: for every mail process.
    Mail,
    /// `listen-dict-auth`: for Dovecot's auth process alone.
    Auth,
}

/// What a dictionary asks: the directory, and what users are.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Addresses, hashes, shares.
    pub directory: &'a Directory,
    /// Our own tables.
    pub store: &'a Store,
    /// The fields of a user.
    pub userdb: &'a Userdb,
    /// Who may share to everybody.
    pub anyone: Anyone,
    /// Shares that are about to be removed.
    pub retractions: &'a Retractions,
}

/// What "anyone" means to a user who shares a mailbox to anyone (`share-to-anyone`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anyone {
    /// Nobody: such shares are refused.
    #[default]
    Nobody,
    /// Every user of the same domain.
    Domain,
    /// Every user.
    Everybody,
}

/// Who writes, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writer {
    /// The user.
    pub user: String,
    /// For so many seconds; for ever if `None`. Only dictionaries that keep plain values heed it.
    pub expires: Option<u32>,
}

/// A question for the value of a key, by a user.
pub type LookUp = for<'a> fn(Sources<'a>, &'a str, &'a str) -> Answer<'a, String>;
/// A question for the keys below a path, by a user.
pub type Iterate = for<'a> fn(Sources<'a>, &'a str, &'a str) -> Answer<'a, Vec<(String, String)>>;
/// The changes of one transaction. [`Lookup::None`] if a key cannot be there.
pub type Apply = for<'a> fn(Sources<'a>, &'a [Change], &'a Writer) -> Answer<'a, ()>;
/// What a dictionary will have answered.
pub type Answer<'a, T> = BoxFuture<'a, Result<Lookup<T>, Refused>>;

/// A question that this user must not ask, or that makes no sense to this dictionary; the text is for Dovecot's log and ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// One change of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key has this value now.
    Set(String, String),
    /// The key has no value.
    Unset(String),
    /// The number under the key grows by this.
    Add(String, i64),
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Set(key, _) | Self::Unset(key) | Self::Add(key, _) => key,
        }
    }

    /// How much memory it takes, roughly.
    pub fn bytes(&self) -> usize {
        let value = if let Self::Set(_, value) = self { value.len() } else { 0 };
        size_of::<Self>() + self.key().len() + value
    }
}

impl Dict {
    /// The dictionary of that name on that socket.
    ///
    /// # Errors
    /// A sentence with the names that are there.
    pub fn named(name: &str, place: Place) -> Result<&'static Self, String> {
        let here = || DICTS.iter().filter(|dict| dict.place == place);
        here().find(|dict| dict.name == name).ok_or_else(|| {
            let names: Vec<&str> = here().map(|dict| dict.name).collect();
            let name = gatepost::telemetry::printable(name.as_bytes(), NAME_SHOWN);
            format!("no dictionary \"{name}\" on this socket, expected {}", names.join(" or "))
        })
    }
}

/// A user by its name, whether there is one or not.
fn known(user: &str) -> Result<Address, Refused> {
    Address::parse(user).map_err(|_| {
        Refused(format!("\"{}\" is no user", gatepost::telemetry::printable(user.as_bytes(), USER_SHOWN)))
    })
}

/// The rows that an iteration over `path` asks for: those below it, in its order, no more than it wants.
pub fn select(
    mut rows: Vec<(String, String)>,
    path: &str,
    flags: Flags,
    most: Option<usize>,
) -> Vec<(String, String)> {
    rows.retain(|(key, _)| match key.strip_prefix(path) {
        Some("") => flags.exact_key,
        Some(rest) => !flags.exact_key && path.ends_with('/') && (flags.recurse || !rest.contains('/')),
        None => false,
    });
    if flags.sort_by_value {
        rows.sort_by(|a, b| a.1.cmp(&b.1));
    } else if flags.sort_by_key {
        rows.sort();
    }
    rows.truncate(most.unwrap_or(usize::MAX));
    rows
}

/// How much of a name the log shows.
const NAME_SHOWN: usize = 40;
/// How much of a user's name an answer shows.
const USER_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_iteration_gets_what_it_asked_for() {
        let rows = || {
            [("s/b/2", "y"), ("s/a", "z"), ("s/b/1", "x"), ("s/", "r"), ("t/a", "w"), ("sx", "v")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .to_vec()
        };
        let keys = |path: &str, flags: Flags, most| {
            let rows = select(rows(), path, flags, most);
            rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let recurse = Flags { recurse: true, ..Flags::default() };
        assert_eq!(keys("s/", Flags::default(), None), ["s/a"]);
        assert_eq!(keys("s/", recurse, None), ["s/b/2", "s/a", "s/b/1"]);
        assert_eq!(keys("s/", Flags { sort_by_key: true, ..recurse }, None), ["s/a", "s/b/1", "s/b/2"]);
        assert_eq!(keys("s/", Flags { sort_by_value: true, ..recurse }, Some(2)), ["s/b/1", "s/b/2"]);
        assert_eq!(keys("s/a", Flags { exact_key: true, ..Flags::default() }, None), ["s/a"]);
        assert_eq!(keys("s/a", Flags::default(), None), [""; 0]);
        assert_eq!(keys("s", recurse, None), [""; 0]);
    }

    #[test]
    fn hashes_are_not_on_the_mail_processes_socket() {
        assert_eq!(Dict::named("acl", Place::Mail).unwrap().name, "acl");
        assert_eq!(Dict::named("auth", Place::Auth).unwrap().name, "auth");
        for (name, place) in [("auth", Place::Mail), ("acl", Place::Auth), ("x\n", Place::Mail)] {
            let error = Dict::named(name, place).unwrap_err();
            assert!(error.contains("on this socket, expected"), "{error}");
        }
    }
}
