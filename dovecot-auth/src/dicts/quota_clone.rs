//! `quota_clone`: how full each mailbox is, for Dovecot's quota_clone plugin, into `gatepost.quota`, where the policy daemon's check
//! `recipient` looks before it takes mail.
//!
//! ```text
//! priv/quota/storage      1048576     bytes
//! priv/quota/messages     17
//! ```
//!
//! Dovecot counts; this is its last word. Sets are absolute; what is added to (2.3's quota driver `dict`) starts from 0. Refuses to say how
//! much a mailbox may hold: that is `gatepost quota`.

use gatepost::directory::Lookup;
use gatepost::mail::Address;

use super::{Change, Dict, Place, Refused, Sources, Writer, known};

/// The dictionary.
pub(super) const QUOTA_CLONE: Dict = Dict {
    name: "quota_clone",
    summary: "how full each mailbox is, for the quota_clone plugin",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(look_up(sources, key, user)),
    iterate: |sources, path, user| Box::pin(iterate(sources, path, user)),
    change: |sources, changes, writer| Box::pin(change(sources, changes, writer)),
};

const STORAGE: &str = "priv/quota/storage";
const MESSAGES: &str = "priv/quota/messages";

async fn look_up(sources: Sources<'_>, key: &str, user: &str) -> Result<Lookup<String>, Refused> {
    let rows = rows(sources, &known(user)?).await;
    Ok(match rows {
        Lookup::Found(rows) => rows
            .into_iter()
            .find(|(known, _)| known == key)
            .map_or(Lookup::None, |(_, value)| Lookup::Found(value)),
        other => other.map(|_| String::new()),
    })
}

async fn iterate(
    sources: Sources<'_>,
    _path: &str,
    user: &str,
) -> Result<Lookup<Vec<(String, String)>>, Refused> {
    Ok(rows(sources, &known(user)?).await)
}

async fn rows(sources: Sources<'_>, user: &Address) -> Lookup<Vec<(String, String)>> {
    sources.store.quota(user).await.map(|quota| {
        vec![(STORAGE.to_owned(), quota.bytes.to_string()), (MESSAGES.to_owned(), quota.messages.to_string())]
    })
}

async fn change(sources: Sources<'_>, changes: &[Change], writer: &Writer) -> Result<Lookup<()>, Refused> {
    let user = known(&writer.user)?;
    let numbers = Numbers::read(changes)?;
    if numbers == Numbers::default() {
        return Ok(Lookup::Found(()));
    }
    let Numbers { storage, messages } = numbers;
    Ok(sources.store.set_quota(&user, storage.0, messages.0, (storage.1, messages.1)).await)
}

/// For each key what it is set to, and what is added to that.
#[derive(Debug, Default, PartialEq, Eq)]
struct Numbers {
    storage: (Option<i64>, i64),
    messages: (Option<i64>, i64),
}

impl Numbers {
    fn read(changes: &[Change]) -> Result<Self, Refused> {
        let mut numbers = Self::default();
        for change in changes {
            let number = match change.key() {
                STORAGE => &mut numbers.storage,
                MESSAGES => &mut numbers.messages,
                other => return Err(Refused(format!("no key of this dictionary: {other}"))),
            };
            match change {
                Change::Set(key, value) => {
                    // Dovecot can count below zero for a moment.
                    let value = value.parse::<i64>().map_err(|_| Refused(format!("{key} is no number")))?;
                    *number = (Some(value.max(0)), 0);
                }
                Change::Unset(_) => *number = (Some(0), 0),
                Change::Add(_, step) => number.1 = number.1.saturating_add(*step),
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_last_set_and_what_is_added_to_it_count() {
        let set = |key: &str, value: &str| Change::Set(key.into(), value.into());
        let numbers = Numbers::read(&[
            Change::Add(STORAGE.into(), 5),
            set(STORAGE, "100"),
            Change::Add(STORAGE.into(), -7),
            set(MESSAGES, "-1"),
        ]);
        assert_eq!(numbers.unwrap(), Numbers { storage: (Some(100), -7), messages: (Some(0), 0) });
        for bad in [set(STORAGE, "many"), set("priv/quota/limit", "1"), set("shared/quota/storage", "1")] {
            assert!(Numbers::read(&[bad]).is_err());
        }
    }
}
