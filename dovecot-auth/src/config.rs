//! `[dovecot-auth]`: who may ask where, what a user is, and how much hashing may go on at once.
//!
//! Each key's documentation is the operator's; the manual page repeats it. Refuses tcp for everything but Postfix and the policy hook: the other sockets
//! are guarded by their owner and mode alone.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost::config::{ByteSize, ListenAddress, Seconds, Section};
use serde::Deserialize;

use crate::dicts::Anyone;
use crate::guard::Guessing;

/// The section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where Dovecot's login processes ask about passwords (`login_socket_path`, or the argument of `imap-login` and the like): 0660,
    /// group `dovenull`. "Try later" is said as such. By default, as for all of these but the last, the socket that the shipped
    /// `.socket` unit passes.
    pub listen_login: Vec<ListenAddress>,
    /// Where Postfix asks about passwords (`smtpd_sasl_path`): 0660, owner `postfix`, inside its queue directory, or tcp. "Try
    /// later" is said by closing the connection, because Postfix takes every other answer for final.
    pub listen_postfix: Vec<ListenAddress>,
    /// Where mail processes ask who has just logged in (`imap -a PATH`): 0600. Only root is answered, or the daemon's own user.
    pub listen_master: Vec<ListenAddress>,
    /// Where lmtp, doveadm and the owners of shared mailboxes are looked up (`auth_socket_path`): 0660, group `vmail`. Whoever may
    /// connect may list all users.
    pub listen_userdb: Vec<ListenAddress>,
    /// Where Dovecot's mail processes reach the dictionaries of `list`, but `auth`: 0660, group `vmail`.
    pub listen_dict: Vec<ListenAddress>,
    /// Where a Dovecot 2.3 that keeps its own auth process reaches the dictionary `auth`, which holds password hashes: 0600. Nowhere
    /// by default.
    pub listen_dict_auth: Vec<ListenAddress>,
    /// Where a Dovecot that keeps its own auth process asks before each login (`auth_policy_server_url`): a loopback port. Nowhere by default.
    pub listen_auth_policy: Vec<ListenAddress>,
    /// The system user that owns the mail, by name or number; never root.
    pub uid: String,
    /// The system group that owns the mail, by name or number; never root's.
    pub gid: String,
    /// Each user's home directory; `{user}`, `{local}` and `{domain}` stand for `alice@example.com`, `alice` and `example.com`.
    pub home: String,
    /// `[dovecot-auth.fields]`: more that Dovecot is told about each user, such as `quota_rule = "*:storage=1G"` (2.3). Values are
    /// templates like `home`; `{quota}`, `{quota-messages}` and `{groups}` too, and a user that has none goes without the field.
    pub fields: BTreeMap<String, String>,
    /// To whom a user may share mailboxes by sharing them to "anyone": `nobody`, `domain` (every user of the same domain), `everybody`.
    pub share_to_anyone: Anyone,
    /// How long a wrong password waits for its answer at the least; at most 5s, since Postfix waits for 10 s in all. It grows to 7 s as the
    /// limits of `guessing` come near. "0s" for not at all.
    pub failure_delay: Seconds,
    /// `[dovecot-auth.guessing]`: when wrong passwords are too many.
    pub guessing: Guessing,
    /// Whether whoever gives the right password is told why it does not get in (service switched off, wrong network, app password needed).
    /// By default that looks like a wrong password, so that a password cannot be tried out where it does not count.
    pub explain_refusals: bool,
    /// The memory that all password verifications together may take; one of Nextcloud's hashes takes 64 MiB. How many run at once is
    /// `limits.threads`.
    pub hashing_memory: ByteSize,
    /// How many logins may wait for a free place; further ones are told to try later.
    pub hashing_queue: usize,
    /// How long a login may wait for a free place; at most 6s.
    pub hashing_wait: Seconds,
    /// The role this daemon connects as, instead of `database.user`: `gatepost_auth` once `gatepost schema install` has made it.
    pub database_user: Option<String>,
    /// The file with that role's password.
    pub database_password_file: Option<PathBuf>,
    /// Where Prometheus may read this daemon's metrics, instead of `limits.metrics`.
    pub metrics: Option<ListenAddress>,
}

impl Default for Settings {
    fn default() -> Self {
        let passed = |name: &str| vec![ListenAddress::Systemd(name.to_owned())];
        Self {
            listen_login: passed("auth-login"),
            listen_postfix: passed("auth-postfix"),
            listen_master: passed("auth-master"),
            listen_userdb: passed("auth-userdb"),
            listen_dict: passed("dict"),
            listen_dict_auth: Vec::new(),
            listen_auth_policy: Vec::new(),
            uid: "vmail".into(),
            gid: "vmail".into(),
            home: "/var/vmail/{domain}/{local}".into(),
            fields: BTreeMap::new(),
            share_to_anyone: Anyone::Nobody,
            failure_delay: Seconds::new(2),
            guessing: Guessing::default(),
            explain_refusals: false,
            hashing_memory: ByteSize(256 << 20),
            hashing_queue: 128,
            hashing_wait: Seconds::new(5),
            database_user: None,
            database_password_file: None,
            metrics: None,
        }
    }
}

impl Settings {
    /// Every list of addresses, by its key.
    pub fn listens(&self) -> [(&'static str, &[ListenAddress]); 7] {
        [
            ("listen-login", &self.listen_login),
            ("listen-postfix", &self.listen_postfix),
            ("listen-master", &self.listen_master),
            ("listen-userdb", &self.listen_userdb),
            ("listen-dict", &self.listen_dict),
            ("listen-dict-auth", &self.listen_dict_auth),
            ("listen-auth-policy", &self.listen_auth_policy),
        ]
    }
}

impl Section for Settings {
    const NAME: &'static str = "dovecot-auth";

    fn validate(&self) -> Result<(), String> {
        let mut seen = HashSet::new();
        for (key, addresses) in self.listens() {
            for address in addresses {
                if !seen.insert(address.to_string()) {
                    return Err(format!(
                        "{key}: {address} is listened on twice; each kind of peer has an address of its own"
                    ));
                }
                if key == "listen-auth-policy" {
                    if !matches!(address, ListenAddress::Tcp(tcp) if tcp.ip().is_loopback()) {
                        return Err(format!(
                            "{key}: {address} is no loopback port; Dovecot speaks HTTP here, and nobody else must"
                        ));
                    }
                } else if matches!(address, ListenAddress::Tcp(_)) && key != "listen-postfix" {
                    return Err(format!(
                        "{key}: {address} would answer anybody; only a unix socket knows who asks"
                    ));
                }
            }
        }
        if seen.is_empty() {
            return Err("nothing to listen on; give \"listen-login\" and the others an address".to_owned());
        }
        for (key, value, most) in [
            ("failure-delay", self.failure_delay, MAX_FAILURE_DELAY),
            ("hashing-wait", self.hashing_wait, MAX_HASHING_WAIT),
        ] {
            if value.0 > most {
                return Err(format!(
                    "{key} = \"{value}\" is too long: Postfix gives up after 10 s; at most {most:?}"
                ));
            }
        }
        self.guessing.validate()?;
        if self.hashing_queue == 0 {
            return Err("hashing-queue = 0 would turn every login away; at least 1".to_owned());
        }
        Ok(())
    }

    fn database_user(&self) -> Option<&str> {
        self.database_user.as_deref()
    }

    fn database_password_file(&self) -> Option<&Path> {
        self.database_password_file.as_deref()
    }

    fn metrics(&self) -> Option<&ListenAddress> {
        self.metrics.as_ref()
    }
}

/// Half of what Postfix waits (AUTH_TIMEOUT of xsasl_dovecot_server.c, 10 s).
const MAX_FAILURE_DELAY: Duration = Duration::from_secs(5);
/// With the lookup before it (2 s) and the hash itself still within the 8 s that `verdict` gives a login.
const MAX_HASHING_WAIT: Duration = Duration::from_secs(6);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn error(keys: &str) -> String {
        let text = format!("[dovecot-auth]\n{keys}\n");
        gatepost::config::parse::<Settings>(&text, Path::new("gatepost.toml")).unwrap_err().to_string()
    }

    #[test]
    fn without_a_section_the_shipped_sockets_are_served() {
        let config = gatepost::config::parse::<Settings>("", Path::new("gatepost.toml")).unwrap();
        assert_eq!(config.service, Settings::default());
        assert_eq!(config.service.validate(), Ok(()));
    }

    #[test]
    fn contradictions_and_bad_values_are_named() {
        for (keys, sentence) in [
            (
                "listen-login = [\"unix:/a\"]\nlisten-master = [\"unix:/a\"]",
                "listen-master: unix:/a is listened on twice",
            ),
            (
                "listen-master = [\"inet:127.0.0.1:1\"]",
                "listen-master: inet:127.0.0.1:1 would answer anybody",
            ),
            (
                "listen-login = []\nlisten-postfix = []\nlisten-master = []\nlisten-userdb = []\nlisten-dict = []",
                "nothing to listen on",
            ),
            (
                "listen-auth-policy = [\"inet:192.0.2.1:4001\"]",
                "listen-auth-policy: inet:192.0.2.1:4001 is no loopback port",
            ),
            (
                "failure-delay = \"6s\"",
                "failure-delay = \"6s\" is too long: Postfix gives up after 10 s; at most 5s",
            ),
            ("hashing-wait = \"7s\"", "hashing-wait = \"7s\" is too long"),
            ("hashing-queue = 0", "at least 1"),
            (
                "[dovecot-auth.guessing]\nwindow = \"5s\"",
                "guessing.window = \"5s\" is out of range, expected 1m to 7d",
            ),
            ("[dovecot-auth.guessing]\nusr = 5", "did you mean \"user\"?"),
            ("[dovecot-auth.guessing]\ntrusted-networks = [\"x\"]", "\"x\" is no network"),
            ("hashing-memory = 5", "gatepost.toml:2:"),
            ("listen = []", "unknown key \"listen\""),
            ("hashing-wiat = \"1s\"", "did you mean \"hashing-wait\"?"),
            ("[dovecot-auth.fields]\nquota = 5", "gatepost.toml:3:"),
        ] {
            let error = error(keys);
            assert!(error.starts_with("gatepost.toml:") && error.contains(sentence), "{keys}: {error}");
        }
    }
}
