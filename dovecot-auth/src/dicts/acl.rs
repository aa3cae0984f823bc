//! `acl`: who shares a mailbox to whom, for Dovecot's ACL plugin (2.3 `acl_shared_dict`, 2.4 `acl_sharing_map`), over the tutorial's
//! `view_shared_mailboxes`.
//!
//! ```text
//! shared/shared-boxes/user/<to>/<from>          1     <from> shares something to <to>
//! shared/shared-boxes/anyone/<from>                   never there: see below
//! shared/shared-boxes/group/<group>/<from>            never there: there are no groups
//! shared/shared-user-boxes-rev/<from>/<to>      1     the same shares by their giver (2.4.2 and later, `acl_dict_index = yes`)
//! ```
//!
//! A key says that *something* is shared; what, and with which rights, is in the `dovecot-acl` files. Dovecot sets and unsets every
//! share of a user at each change, so both can be repeated without harm.
//!
//! Refuses to show a user shares that are not its own, given or received (the plugin drops them anyway); to write shares in somebody
//! else's name; and to share to anyone, as the tutorial's table has no place for it (CVE-2026-40020: the plugin's own check could be passed by).

use std::collections::HashMap;

use gatepost::directory::Lookup;
use gatepost::mail::Address;

use super::{Change, Dict, Place, Refused, Sources};
use crate::protocol::dict::key;

/// The dictionary.
pub(super) const ACL: Dict = Dict {
    name: "acl",
    summary: "who shares a mailbox to whom, for the ACL plugin",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(look_up(sources, key, user)),
    iterate: |sources, path, user| Box::pin(iterate(sources, path, user)),
    change: |sources, changes, user| Box::pin(change(sources, changes, user)),
};

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// A share.
    Share { from: Address, to: Address },
    /// Something that is never there.
    Nothing,
    /// A share to everybody.
    Anyone,
}

impl Key {
    /// `None` where it is no key of this dictionary.
    fn parse(text: &str) -> Option<Self> {
        let components = key::components(text);
        let components: Vec<&str> = components.iter().map(String::as_str).collect();
        let share = |from: &str, to: &str| match (Address::parse(from), Address::parse(to)) {
            (Ok(from), Ok(to)) => Self::Share { from, to },
            // Rights can be given to any name; a name that is no address is no user here.
            _ => Self::Nothing,
        };
        match components[..] {
            ["shared", "shared-boxes", "user", to, from] => Some(share(from, to)),
            ["shared", "shared-user-boxes-rev", from, to] => Some(share(from, to)),
            ["shared", "shared-boxes", "anyone", _] => Some(Self::Anyone),
            ["shared", "shared-boxes", "group", _, _] => Some(Self::Nothing),
            _ => None,
        }
    }
}

async fn look_up(sources: Sources<'_>, key: &str, user: &str) -> Result<Lookup<String>, Refused> {
    let user = known(user)?;
    let Some(Key::Share { from, to }) = Key::parse(key) else { return Ok(Lookup::None) };
    if from != user && to != user {
        return Ok(Lookup::None);
    }
    Ok(match sources.directory.shares_of(&from).await {
        Lookup::Found(shares) if !shares.contains(&to) => Lookup::None,
        answer => answer.map(|_| SHARED.to_owned()),
    })
}

async fn iterate(
    sources: Sources<'_>,
    path: &str,
    user: &str,
) -> Result<Lookup<Vec<(String, String)>>, Refused> {
    let user = known(user)?;
    let (received, given) =
        (sources.directory.sharers(&user).await, sources.directory.shares_of(&user).await);
    let (received, given) = match (received.settled(), given.settled()) {
        (Ok(received), Ok(given)) => (received.unwrap_or_default(), given.unwrap_or_default()),
        (Err(failure), _) | (_, Err(failure)) => return Ok(failure),
    };
    let me = component(&user);
    // A mailbox shared to its own owner is in both lists.
    let received = received.iter().filter(|from| **from != user);
    let received = received.map(|from| format!("shared/shared-boxes/user/{me}/{}", component(from)));
    let given = given.iter().flat_map(|to| {
        let to = component(to);
        [format!("shared/shared-boxes/user/{to}/{me}"), format!("shared/shared-user-boxes-rev/{me}/{to}")]
    });
    // The path may spell the user in another case than we do; Dovecot takes off as many bytes as its path has.
    let rows = received.chain(given).map(|key| (spelled_as(path, key), SHARED.to_owned()));
    Ok(Lookup::Found(rows.collect()))
}

async fn change(sources: Sources<'_>, changes: &[Change], user: &str) -> Result<Lookup<()>, Refused> {
    let user = known(user)?;
    let (wanted, mut possible) = wanted(changes, &user)?;
    for (to, set) in wanted {
        let answer = match set {
            true => sources.directory.share(&user, &to).await,
            false => sources.directory.unshare(&user, &to).await,
        };
        match answer.settled() {
            Ok(Some(())) => {}
            // Unset, and nothing was there.
            Ok(None) if !set => {}
            Ok(None) => possible = false,
            Err(failure) => return Ok(failure),
        }
    }
    Ok(if possible { Lookup::Found(()) } else { Lookup::None })
}

/// The shares to be set (`true`) and unset, each once and in its last state, all looked at before the first is made; and whether all
/// that is to be set can be there.
fn wanted(changes: &[Change], user: &Address) -> Result<(Vec<(Address, bool)>, bool), Refused> {
    let mut wanted: Vec<(Address, bool)> = Vec::new();
    let mut places: HashMap<Address, usize> = HashMap::new();
    let mut possible = true;
    for change in changes {
        let set = match change {
            Change::Set(..) => true,
            Change::Unset(_) => false,
            Change::Add(key, _) => return Err(Refused(format!("{key} is no number"))),
        };
        match Key::parse(change.key()) {
            Some(Key::Share { from, to }) if from == *user => match places.get(&to) {
                Some(place) => wanted[*place].1 = set,
                None => {
                    places.insert(to.clone(), wanted.len());
                    wanted.push((to, set));
                }
            },
            Some(Key::Share { from, .. }) => {
                return Err(Refused(format!("{user} must not change the shares of {from}")));
            }
            Some(Key::Anyone) if set => {
                return Err(Refused("sharing to anyone is off; share to users by name".to_owned()));
            }
            Some(Key::Nothing) => possible &= !set,
            Some(Key::Anyone) => {}
            None => return Err(Refused(format!("no key of this dictionary: {}", change.key()))),
        }
    }
    Ok((wanted, possible))
}

fn known(user: &str) -> Result<Address, Refused> {
    Address::parse(user).map_err(|_| {
        Refused(format!("\"{}\" is no user", gatepost::telemetry::printable(user.as_bytes(), USER_SHOWN)))
    })
}

fn component(address: &Address) -> String {
    key::escape(&address.to_string())
}

/// A key that begins as `path` does but for case, with the path's own beginning.
fn spelled_as(path: &str, key: String) -> String {
    match key.get(..path.len()) {
        Some(begin) if begin != path && begin.eq_ignore_ascii_case(path) => {
            format!("{path}{}", &key[path.len()..])
        }
        _ => key,
    }
}

/// The value of every share: that it is there.
const SHARED: &str = "1";
/// How much of a name an answer shows.
const USER_SHOWN: usize = 80;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn keys_name_shares_in_both_directions() {
        let share = Key::Share {
            from: Address::parse("alice@example.com").unwrap(),
            to: Address::parse("bob@example.com").unwrap(),
        };
        for key in [
            "shared/shared-boxes/user/bob@example.com/alice@example.com",
            "shared/shared-boxes/user/Bob@Example.com/ALICE@example.com",
            "shared/shared-user-boxes-rev/alice@example.com/bob@example.com",
        ] {
            assert_eq!(Key::parse(key), Some(share.clone()), "{key}");
        }
        assert_eq!(Key::parse("shared/shared-boxes/anyone/alice@example.com"), Some(Key::Anyone));
        assert_eq!(Key::parse("shared/shared-boxes/group/staff/alice@example.com"), Some(Key::Nothing));
        assert_eq!(Key::parse("shared/shared-boxes/user/staff/alice@example.com"), Some(Key::Nothing));
        for other in [
            "",
            "shared",
            "priv/shared-boxes/user/bob@example.com/alice@example.com",
            "shared/shared-boxes/user/bob@example.com",
            "shared/shared-boxes/user/bob@example.com/alice@example.com/",
            "shared/shared-boxes/user/bob@example.com\\|alice@example.com",
        ] {
            assert_eq!(Key::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_key_is_spelled_as_the_path_that_asked() {
        let key = "shared/shared-boxes/user/bob@example.com/a".to_owned();
        assert_eq!(
            spelled_as("shared/shared-boxes/user/Bob@example.com/", key.clone()),
            "shared/shared-boxes/user/Bob@example.com/a"
        );
        assert_eq!(spelled_as("shared/other/", key.clone()), key);
    }

    #[test]
    fn the_last_change_of_a_share_counts_and_only_the_givers() {
        let alice = Address::parse("alice@example.com").unwrap();
        let key = |to: &str| format!("shared/shared-boxes/user/{to}/alice@example.com");
        let (set, unset) = (|to: &str| Change::Set(key(to), "1".into()), |to: &str| Change::Unset(key(to)));
        let (shares, possible) =
            wanted(&[unset("b@x.test"), set("c@x.test"), set("b@x.test")], &alice).unwrap();
        let shares: Vec<(String, bool)> = shares.into_iter().map(|(to, set)| (to.to_string(), set)).collect();
        assert_eq!(shares, [("b@x.test".to_owned(), true), ("c@x.test".to_owned(), true)]);
        assert!(possible);
        assert!(!wanted(&[set("nobody")], &alice).unwrap().1);
        assert!(wanted(&[unset("nobody")], &alice).unwrap().1);
        let anyone = "shared/shared-boxes/anyone/alice@example.com".to_owned();
        assert!(wanted(&[Change::Unset(anyone.clone())], &alice).is_ok());
        for (bad, sentence) in [
            (Change::Set(anyone, "1".into()), "anyone is off"),
            (
                Change::Set("shared/shared-boxes/user/c@x.test/bob@example.com".into(), "1".into()),
                "must not change the shares of bob",
            ),
            (
                Change::Unset("shared/shared-boxes/user/alice@example.com/bob@example.com".into()),
                "must not change the shares of bob",
            ),
            (Change::Set("shared/other".into(), "1".into()), "no key of this dictionary"),
            (Change::Add(key("b@x.test"), 1), "is no number"),
        ] {
            let Refused(why) = wanted(&[set("c@x.test"), bad], &alice).unwrap_err();
            assert!(why.contains(sentence), "{why}");
        }
    }
}
