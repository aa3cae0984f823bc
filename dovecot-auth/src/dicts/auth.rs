//! `auth`: passdb and userdb for a Dovecot 2.3 that keeps its own auth process (`passdb { driver = dict }`; gone in 2.4).
//!
//! ```text
//! shared/passdb/<user>     {"password":"{ARGON2ID}$argon2id$…","user":"alice@example.com","userdb_uid":"5000",…}
//! shared/userdb/<user>     {"uid":"5000","gid":"5000","home":"/var/vmail/example.com/alice"}
//! shared/userdb/           iterates over all users (doveadm -A)
//! ```
//!
//! Dovecot verifies the hash itself, one worker process for each; better let it ask `listen-login`. Because hashes go over it, this
//! dictionary has a socket of its own. Refuses to write.

use gatepost::directory::{Lookup, UsersPlace};
use gatepost::mail::Address;
use serde_json::{Map, Value};

use super::{Dict, Place, Refused, Sources};

/// The dictionary.
pub(super) const AUTH: Dict = Dict {
    name: "auth",
    summary: "passdb and userdb of a Dovecot 2.3 that keeps its own auth process",
    place: Place::Auth,
    look_up: |sources, key, _user| Box::pin(async move { Ok(look_up(sources, key).await) }),
    iterate: |sources, path, _user| Box::pin(async move { Ok(iterate(sources, path).await) }),
    change: |_, _, _| {
        Box::pin(std::future::ready(Err(Refused("this dictionary cannot be written".to_owned()))))
    },
};

const PASSDB: &str = "shared/passdb/";
const USERDB: &str = "shared/userdb/";

async fn look_up(sources: Sources<'_>, key: &str) -> Lookup<String> {
    // Dovecot does not escape `/` in a user's name here, so the rest is the name, whole.
    let (name, with_password) = match (key.strip_prefix(PASSDB), key.strip_prefix(USERDB)) {
        (Some(name), _) => (name, true),
        (_, Some(name)) => (name, false),
        _ => return Lookup::None,
    };
    let Ok(login) = Address::parse(name) else { return Lookup::None };
    let object = match with_password {
        true => passdb(sources, &login).await,
        false => match sources.directory.mailbox(&login).await {
            Lookup::Found(login) => fields(sources, &login, "").await,
            other => other.map(|_| Map::new()),
        },
    };
    object.map(|object| Value::Object(object).to_string())
}

async fn passdb(sources: Sources<'_>, login: &Address) -> Lookup<Map<String, Value>> {
    let credentials = match sources.directory.credentials(login).await {
        Lookup::Found(credentials) => credentials,
        other => return other.map(|_| Map::new()),
    };
    // An account without a password looks like none.
    let Some(hash) = credentials.hash else { return Lookup::None };
    fields(sources, &credentials.login, "userdb_").await.map(|mut object| {
        object.insert("user".to_owned(), credentials.login.to_string().into());
        object.insert("password".to_owned(), hash.with_prefix().expose().into());
        object
    })
}

async fn fields(sources: Sources<'_>, login: &Address, prefix: &str) -> Lookup<Map<String, Value>> {
    let account = match sources.store.account(login).await {
        Lookup::Found(account) => account,
        other => return other.map(|_| Map::new()),
    };
    match sources.userdb.fields(login, &account) {
        Ok(fields) => Lookup::Found(
            fields.into_iter().map(|(name, value)| (format!("{prefix}{name}"), value.into())).collect(),
        ),
        Err(error) => Lookup::Misconfigured(error.to_string()),
    }
}

async fn iterate(sources: Sources<'_>, path: &str) -> Lookup<Vec<(String, String)>> {
    if !USERDB.starts_with(path) {
        return Lookup::Found(Vec::new());
    }
    let row = |user: &Address| (format!("{USERDB}{user}"), String::new());
    let (mut rows, mut place) = (Vec::new(), Some(UsersPlace::default()));
    while let Some(from) = place {
        match sources.directory.users(&from).await {
            Lookup::Found((users, next)) => {
                rows.extend(users.iter().map(row));
                place = next;
            }
            other => return other.map(|_| Vec::new()),
        }
    }
    Lookup::Found(rows)
}
