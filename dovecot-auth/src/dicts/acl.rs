//! `acl`: who shares a mailbox to whom, for Dovecot's ACL plugin (2.3 `acl_shared_dict`, 2.4 `acl_sharing_map`), over the tutorial's
//! `view_shared_mailboxes`.
//!
//! ```text
//! shared/shared-boxes/user/<to>/<from>          1     <from> shares something to <to>
//! shared/shared-boxes/anyone/<from>             1     <from> shares something to anyone, where `share-to-anyone` lets it
//! shared/shared-boxes/group/<group>/<from>      1     <from> shares something to a group of `gatepost group`
//! shared/shared-user-boxes-rev/<from>/<to>      1     the same shares by their giver (2.4.2 and later, `acl_dict_index = yes`)
//! ```
//!
//! A key says that *something* is shared; what, and with which rights, is in the `dovecot-acl` files. Dovecot unsets and sets every
//! share of a user at each change, so both can be repeated without harm, and what is unset goes a moment later ([`super::retraction`]).
//! Shares to anyone and to groups stand in our own schema, as the tutorial's table has no place for them.
//!
//! Refuses to show a user shares that are not its own, given or received (the plugin drops them anyway); to write shares in somebody
//! else's name; and to share to anyone unless the operator says so (CVE-2026-40020: the plugin's own check could be passed by).

use std::collections::HashMap;

use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::store::SharedTo;

use super::retraction::{Receiver, Share, remove};
use super::{Anyone, Change, Dict, Place, Refused, Sources, Writer, known};
use crate::protocol::dict::key;

/// The dictionary.
pub(super) const ACL: Dict = Dict {
    name: "acl",
    summary: "who shares a mailbox to whom, for the ACL plugin",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(look_up(sources, key, user)),
    iterate: |sources, path, user| Box::pin(iterate(sources, path, user)),
    change: |sources, changes, writer| Box::pin(change(sources, changes, writer)),
};

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Key {
    /// A share.
    Share(Share),
    /// Something that is never there.
    Nothing,
}

impl Key {
    /// `None` where it is no key of this dictionary.
    fn parse(text: &str) -> Option<Self> {
        let components = key::components(text);
        let components: Vec<&str> = components.iter().map(String::as_str).collect();
        // Rights can be given to any name; a name that is no address is no user here.
        let share = |from: &str, to: Option<Receiver>| match (Address::parse(from), to) {
            (Ok(from), Some(to)) => Self::Share(Share { from, to }),
            _ => Self::Nothing,
        };
        let user = |to: &str| Address::parse(to).ok().map(Receiver::User);
        match components[..] {
            ["shared", "shared-boxes", "user", to, from] => Some(share(from, user(to))),
            ["shared", "shared-user-boxes-rev", from, to] => Some(share(from, user(to))),
            ["shared", "shared-boxes", "anyone", from] => {
                Some(share(from, Some(Receiver::Wide(SharedTo::Anyone))))
            }
            ["shared", "shared-boxes", "group", group, from] => {
                let group = SharedTo::Group(group.to_lowercase());
                Some(share(from, Some(Receiver::Wide(group))))
            }
            _ => None,
        }
    }
}

async fn look_up(sources: Sources<'_>, key: &str, user: &str) -> Result<Lookup<String>, Refused> {
    let user = known(user)?;
    let Some(Key::Share(share)) = Key::parse(key) else { return Ok(Lookup::None) };
    Ok(match sees(sources, &user, &share).await {
        Lookup::Found(true) => Lookup::Found(SHARED.to_owned()),
        Lookup::Found(false) => Lookup::None,
        failure => failure.map(|_| SHARED.to_owned()),
    })
}

async fn iterate(
    sources: Sources<'_>,
    path: &str,
    user: &str,
) -> Result<Lookup<Vec<(String, String)>>, Refused> {
    let user = known(user)?;
    Ok(all(sources, &user).await.map(|shares| {
        let keys = shares.iter().flat_map(|Share { from, to }| {
            let (from_user, me) = (component(from), *from == user);
            match to {
                Receiver::User(to) => {
                    let to = component(to);
                    let reverse = me.then(|| format!("shared/shared-user-boxes-rev/{from_user}/{to}"));
                    [Some(format!("shared/shared-boxes/user/{to}/{from_user}")), reverse]
                }
                Receiver::Wide(SharedTo::Anyone) => {
                    [Some(format!("shared/shared-boxes/anyone/{from_user}")), None]
                }
                Receiver::Wide(SharedTo::Group(group)) => {
                    [Some(format!("shared/shared-boxes/group/{}/{from_user}", key::escape(group))), None]
                }
            }
        });
        // The path may spell the user in another case than we do; Dovecot takes off as many bytes as its path has.
        keys.flatten().map(|key| (spelled_as(path, key), SHARED.to_owned())).collect()
    }))
}

/// Whether a share is one of [`all`]; only what decides that is asked.
async fn sees(sources: Sources<'_>, user: &Address, share: &Share) -> Lookup<bool> {
    let Sources { directory, store, retractions, anyone, .. } = sources;
    let Share { from, to } = share;
    let is_own = from == user;
    if is_own && retractions.is_promised(share) {
        return Lookup::Found(false);
    }
    let to = match to {
        Receiver::User(to) if is_own || to == user => return directory.has_shared(from, to).await,
        Receiver::User(_) => return Lookup::Found(false),
        Receiver::Wide(to) => to,
    };
    let reaches = match to {
        _ if is_own => Lookup::Found(true),
        SharedTo::Anyone => Lookup::Found(means(anyone, from, user)),
        SharedTo::Group(group) => store.account(user).await.map(|account| account.groups.contains(group)),
    };
    match reaches {
        Lookup::Found(true) => {
            store.wide_shares().await.map(|wide| wide.owners(to).binary_search(from).is_ok())
        }
        answer => answer,
    }
}

/// The shares that a user has given and received; without those of its own that it has just taken back.
async fn all(sources: Sources<'_>, user: &Address) -> Lookup<Vec<Share>> {
    let Sources { directory, store, retractions, anyone, .. } = sources;
    let (received, given) = (directory.sharers(user).await, directory.shares_of(user).await);
    let (wide, account) = (store.wide_shares().await, store.account(user).await);
    let (received, given) = match (received.settled(), given.settled()) {
        (Ok(received), Ok(given)) => (received.unwrap_or_default(), given.unwrap_or_default()),
        (Err(failure), _) | (_, Err(failure)) => return failure,
    };
    let (wide, account) = match (wide.settled(), account.settled()) {
        (Ok(wide), Ok(account)) => (wide.unwrap_or_default(), account.unwrap_or_default()),
        (Err(failure), _) | (_, Err(failure)) => return failure,
    };
    let own = |to: Receiver| Share { from: user.clone(), to };
    let given = given.into_iter().map(Receiver::User);
    let given = given.chain(wide.of(user).cloned().map(Receiver::Wide)).map(own);
    let mut shares: Vec<Share> = given.filter(|share| !retractions.is_promised(share)).collect();
    // A mailbox shared to its own owner is in both lists.
    let others = |from: &&Address| **from != *user;
    shares.extend(
        received
            .iter()
            .filter(others)
            .map(|from| Share { from: from.clone(), to: Receiver::User(user.clone()) }),
    );
    let groups = account.groups.iter().cloned().map(SharedTo::Group);
    for to in groups.chain([SharedTo::Anyone]) {
        let visible = |from: &&Address| to != SharedTo::Anyone || means(anyone, from, user);
        let owners = wide.owners(&to).iter().filter(others).filter(visible);
        shares.extend(owners.map(|from| Share { from: from.clone(), to: Receiver::Wide(to.clone()) }));
    }
    Lookup::Found(shares)
}

/// Whether a user is one of those whom another means by "anyone".
fn means(anyone: Anyone, from: &Address, user: &Address) -> bool {
    match anyone {
        Anyone::Nobody => false,
        Anyone::Domain => from.domain() == user.domain(),
        Anyone::Everybody => true,
    }
}

async fn change(sources: Sources<'_>, changes: &[Change], writer: &Writer) -> Result<Lookup<()>, Refused> {
    let user = known(&writer.user)?;
    let (wanted, mut possible) = wanted(changes, &user, sources.anyone)?;
    for (to, set) in wanted {
        let share = Share { from: user.clone(), to };
        let answer = if set { give(sources, &share).await } else { take_back(sources, share).await };
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

async fn give(sources: Sources<'_>, share: &Share) -> Lookup<()> {
    sources.retractions.recall(share).await;
    match &share.to {
        Receiver::User(to) => sources.directory.share(&share.from, to).await,
        Receiver::Wide(to) => sources.store.share_widely(&share.from, to).await,
    }
}

/// Nothing is promised while the database is away: then the answer is that it is.
async fn take_back(sources: Sources<'_>, share: Share) -> Lookup<()> {
    let there = match &share.to {
        Receiver::User(to) => sources.directory.is_shared(&share.from, to).await,
        Receiver::Wide(to) => sources.store.is_shared_widely(&share.from, to).await,
    };
    match there {
        Lookup::Found(()) if sources.retractions.promise(share.clone()) => Lookup::Found(()),
        Lookup::Found(()) => remove(sources.directory, sources.store, &share).await,
        other => other,
    }
}

/// The shares to be set (`true`) and unset, each once and in its last state, all looked at before the first is made; and whether all
/// that is to be set can be there.
fn wanted(
    changes: &[Change],
    user: &Address,
    anyone: Anyone,
) -> Result<(Vec<(Receiver, bool)>, bool), Refused> {
    let mut wanted: Vec<(Receiver, bool)> = Vec::new();
    let mut places: HashMap<Receiver, usize> = HashMap::new();
    let mut possible = true;
    for change in changes {
        let set = match change {
            Change::Set(..) => true,
            Change::Unset(_) => false,
            Change::Add(key, _) => return Err(Refused(format!("{key} is no number"))),
        };
        match Key::parse(change.key()) {
            Some(Key::Share(Share { from, .. })) if from != *user => {
                return Err(Refused(format!("{user} must not change the shares of {from}")));
            }
            Some(Key::Share(Share { to: Receiver::Wide(SharedTo::Anyone), .. }))
                if set && anyone == Anyone::Nobody =>
            {
                return Err(Refused(
                    "sharing to anyone is off; share to users by name, or set share-to-anyone".to_owned(),
                ));
            }
            Some(Key::Share(Share { to, .. })) => match places.get(&to) {
                Some(place) => wanted[*place].1 = set,
                None => {
                    places.insert(to.clone(), wanted.len());
                    wanted.push((to, set));
                }
            },
            Some(Key::Nothing) => possible &= !set,
            None => return Err(Refused(format!("no key of this dictionary: {}", change.key()))),
        }
    }
    Ok((wanted, possible))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn keys_name_shares_in_both_directions() {
        let from = Address::parse("alice@example.com").unwrap();
        let to = |to| Some(Key::Share(Share { from: from.clone(), to }));
        let bob = Receiver::User(Address::parse("bob@example.com").unwrap());
        for key in [
            "shared/shared-boxes/user/bob@example.com/alice@example.com",
            "shared/shared-boxes/user/Bob@Example.com/ALICE@example.com",
            "shared/shared-user-boxes-rev/alice@example.com/bob@example.com",
        ] {
            assert_eq!(Key::parse(key), to(bob.clone()), "{key}");
        }
        let anyone = Receiver::Wide(SharedTo::Anyone);
        assert_eq!(Key::parse("shared/shared-boxes/anyone/alice@example.com"), to(anyone));
        let staff = Receiver::Wide(SharedTo::Group("staff".into()));
        assert_eq!(Key::parse("shared/shared-boxes/group/Staff/alice@example.com"), to(staff));
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
        let wanted = |changes: &[Change], anyone| wanted(changes, &alice, anyone);
        let (shares, possible) =
            wanted(&[unset("b@x.test"), set("c@x.test"), set("b@x.test")], Anyone::Nobody).unwrap();
        let user = |name: &str| Receiver::User(Address::parse(name).unwrap());
        assert_eq!(shares, [(user("b@x.test"), true), (user("c@x.test"), true)]);
        assert!(possible);
        assert!(!wanted(&[set("nobody")], Anyone::Nobody).unwrap().1);
        assert!(wanted(&[unset("nobody")], Anyone::Nobody).unwrap().1);
        let anyone = "shared/shared-boxes/anyone/alice@example.com".to_owned();
        assert!(wanted(&[Change::Unset(anyone.clone())], Anyone::Nobody).is_ok());
        assert!(wanted(&[Change::Set(anyone.clone(), "1".into())], Anyone::Domain).is_ok());
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
            let Refused(why) = wanted(&[set("c@x.test"), bad], Anyone::Nobody).unwrap_err();
            assert!(why.contains(sentence), "{why}");
        }
    }
}
