//! Keys and values that only Dovecot knows the meaning of, in `gatepost.dict_values`; for the dictionaries that keep nothing else.
//!
//! Keys under `priv/` belong to the user of the command, keys under `shared/` to nobody. Each dictionary says which keys a user may touch.

use gatepost::directory::Lookup;
use gatepost::store::{DictChange, DictOutcome};

use super::{Change, Refused, Sources, Writer, known};

/// Whether a user may touch a key of a dictionary; the user is folded.
pub(super) type Permit = fn(&str, &str) -> Result<(), Refused>;

pub(super) async fn look_up(
    sources: Sources<'_>,
    dict: &'static str,
    permit: Permit,
    key: &str,
    user: &str,
) -> Result<Lookup<String>, Refused> {
    let user = known(user)?.to_string();
    permit(key, &user)?;
    let owner = owner(key, &user)?;
    Ok(sources.store.dict_value(dict, owner, key).await)
}

pub(super) async fn iterate(
    sources: Sources<'_>,
    dict: &'static str,
    permit: Permit,
    path: &str,
    user: &str,
) -> Result<Lookup<Vec<(String, String)>>, Refused> {
    let user = known(user)?.to_string();
    let owner = owner(path, &user)?;
    let rows = sources.store.dict_rows(dict, owner, path).await;
    Ok(rows.map(|rows| rows.into_iter().filter(|(key, _)| permit(key, &user).is_ok()).collect()))
}

pub(super) async fn change(
    sources: Sources<'_>,
    dict: &'static str,
    permit: Permit,
    changes: &[Change],
    writer: &Writer,
) -> Result<Lookup<()>, Refused> {
    let user = known(&writer.user)?.to_string();
    let mut wanted = Vec::with_capacity(changes.len());
    for change in changes {
        let key = change.key();
        permit(key, &user)?;
        let what = match change {
            Change::Set(_, value) if value.contains('\0') => {
                return Err(Refused(format!("the value of {key} has a NUL in it, which cannot be kept")));
            }
            Change::Set(_, value) => DictOutcome::Set(value.clone()),
            Change::Unset(_) => DictOutcome::Unset,
            Change::Add(_, step) => DictOutcome::Add(*step),
        };
        wanted.push(DictChange { owner: owner(key, &user)?.to_owned(), key: key.to_owned(), what });
    }
    if wanted.is_empty() {
        return Ok(Lookup::Found(()));
    }
    Ok(sources.store.change_dict(dict, &user, writer.expires, wanted).await)
}

/// To whom a key belongs, by its beginning.
fn owner<'a>(key: &str, user: &'a str) -> Result<&'a str, Refused> {
    if key.len() > LONGEST_KEY || key.contains('\0') {
        return Err(Refused(format!("a key has at most {LONGEST_KEY} bytes, none of them NUL")));
    }
    match key.split_once('/') {
        Some(("priv", _)) => Ok(user),
        Some(("shared", _)) => Ok(""),
        _ => Err(Refused("a key begins with priv/ or shared/".to_owned())),
    }
}

/// The check of the table has the same; the longest name of a mailbox in IMAP entries is far shorter.
const LONGEST_KEY: usize = 2048;
