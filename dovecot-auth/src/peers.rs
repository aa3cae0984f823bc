//! `[dovecot-auth.peers]`: which users of the system may connect where. The kernel says who connects (`SO_PEERCRED`), so that a socket whose
//! owner or mode is too wide, or a socket that a configuration names in the wrong place, gives nothing away.
//!
//! Root and the daemon's own user may always; so may the owner of the mail (`uid`) where mail processes ask. Refuses to guess who is behind
//! tcp: there the network is the guard.

use std::collections::HashSet;

use gatepost::net::Peer;
use nix::unistd::{Uid, User};
use serde::Deserialize;

use crate::userdb::{TemplateError, wrong};

/// The section: users of the system, by name or number; `*` is whoever the socket's mode lets in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Peers {
    /// At `listen-login`: as whom Dovecot's login processes run (`default_login_user`).
    pub login: Vec<String>,
    /// At `listen-postfix`: as whom smtpd runs (`mail_owner`).
    pub postfix: Vec<String>,
    /// At `listen-master`: mail processes ask while they are still root.
    pub master: Vec<String>,
    /// At `listen-userdb`: lmtp and doveadm ask as root, mail processes as the owner of the mail.
    pub userdb: Vec<String>,
    /// At `listen-dict`: mail processes ask as the owner of the mail.
    pub dict: Vec<String>,
    /// At `listen-dict-auth`: as whom Dovecot's own auth process runs (`default_internal_user`).
    pub dict_auth: Vec<String>,
}

impl Default for Peers {
    fn default() -> Self {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            login: names(&["dovenull"]),
            postfix: names(&["postfix"]),
            master: Vec::new(),
            userdb: Vec::new(),
            dict: Vec::new(),
            dict_auth: names(&["dovecot"]),
        }
    }
}

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Login,
    Postfix,
    Master,
    Userdb,
    Dict,
    DictAuth,
}

impl Role {
    const ALL: [Self; 6] =
        [Self::Login, Self::Postfix, Self::Master, Self::Userdb, Self::Dict, Self::DictAuth];

    /// Its name in logs and in the configuration.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Postfix => "postfix",
            Self::Master => "master",
            Self::Userdb => "userdb",
            Self::Dict => "dict",
            Self::DictAuth => "dict-auth",
        }
    }

    fn named(self, peers: &Peers) -> &[String] {
        match self {
            Self::Login => &peers.login,
            Self::Postfix => &peers.postfix,
            Self::Master => &peers.master,
            Self::Userdb => &peers.userdb,
            Self::Dict => &peers.dict,
            Self::DictAuth => &peers.dict_auth,
        }
    }
}

/// The section, its names looked up.
#[derive(Debug)]
pub(crate) struct Admitted([Who; Role::ALL.len()]);

#[derive(Debug)]
enum Who {
    Anybody,
    These(HashSet<u32>),
}

impl Admitted {
    /// Looks the names up. `owner` is the owner of the mail. A name that is there by default only and that the system does not know is left
    /// out: a host without Postfix has no such user.
    pub(crate) fn new(peers: &Peers, owner: u32) -> Result<Self, TemplateError> {
        let usual = Peers::default();
        let mut all = Role::ALL.map(|_| Who::Anybody);
        for role in Role::ALL {
            let names = role.named(peers);
            if names.iter().any(|name| name == "*") {
                continue;
            }
            let mut uids = HashSet::from([0, nix::unistd::geteuid().as_raw()]);
            if matches!(role, Role::Userdb | Role::Dict) {
                uids.insert(owner);
            }
            for name in names {
                let known = User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
                match name.parse().ok().or(known) {
                    Some(uid) => {
                        uids.insert(uid);
                    }
                    None if names == role.named(&usual) => {}
                    None => {
                        let hint = format!(
                            "no such user \"{name}\"; create it, name another, or \"*\" for whoever the socket's mode lets in"
                        );
                        return Err(wrong(&format!("peers.{}", role.key()), hint));
                    }
                }
            }
            all[role as usize] = Who::These(uids);
        }
        Ok(Self(all))
    }

    /// Why a peer must not ask there; `None` where it may.
    pub(crate) fn refuses(&self, role: Role, peer: &Peer) -> Option<String> {
        let Who::These(uids) = &self.0[role as usize] else { return None };
        let key = role.key();
        let Some(credentials) = peer.credentials else {
            // Postfix may come by tcp; nobody else does.
            return (role != Role::Postfix).then(|| format!("nobody knows who asks at the socket \"{key}\""));
        };
        if uids.contains(&credentials.uid) {
            return None;
        }
        let name = User::from_uid(Uid::from_raw(credentials.uid)).ok().flatten().map(|user| user.name);
        let who = name.unwrap_or_else(|| credentials.uid.to_string());
        Some(format!(
            "user {who} has no business at the socket \"{key}\"; if it has, name it in peers.{key} of [dovecot-auth.peers]"
        ))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::net::Credentials;

    use super::*;

    fn peer(uid: u32) -> Peer {
        Peer { label: "test".to_owned(), credentials: Some(Credentials { uid, gid: 0, pid: Some(7) }) }
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn each_socket_lets_in_its_own_peers() {
        let peers = Peers { login: names(&["60001"]), dict_auth: names(&["*"]), ..Peers::default() };
        let admitted = Admitted::new(&peers, 60_000).unwrap();
        let own = nix::unistd::geteuid().as_raw();
        for role in Role::ALL {
            assert_eq!(admitted.refuses(role, &peer(0)), None, "{role:?}");
            assert_eq!(admitted.refuses(role, &peer(own)), None, "{role:?}");
            // Nobody knows who is behind tcp.
            let tcp = Peer { label: "192.0.2.1:1".to_owned(), credentials: None };
            let may = [Role::Postfix, Role::DictAuth].contains(&role);
            assert_eq!(admitted.refuses(role, &tcp).is_none(), may, "{role:?}");
            for (uid, roles) in [
                (60_000, [Role::Userdb, Role::Dict, Role::DictAuth].as_slice()),
                (60_001, &[Role::Login, Role::DictAuth]),
                (60_002, &[Role::DictAuth]),
            ] {
                let refused = admitted.refuses(role, &peer(uid));
                assert_eq!(refused.is_none(), roles.contains(&role), "{uid} {role:?}: {refused:?}");
            }
        }
        let why = admitted.refuses(Role::Master, &peer(60_001)).unwrap();
        assert_eq!(
            why,
            "user 60001 has no business at the socket \"master\"; if it has, name it in peers.master of [dovecot-auth.peers]"
        );
    }

    #[test]
    fn a_name_that_the_system_does_not_know_is_an_error_unless_it_is_there_by_default() {
        let error = |peers: &Peers| Admitted::new(peers, 60_000).map(|_| ()).unwrap_err().to_string();
        let peers = Peers { postfix: names(&["no-such-user"]), ..Peers::default() };
        assert!(
            error(&peers).starts_with("peers.postfix: no such user \"no-such-user\""),
            "{}",
            error(&peers)
        );
        assert!(Admitted::new(&Peers::default(), 60_000).is_ok());
    }
}
