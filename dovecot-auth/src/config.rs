//! `[dovecot-auth]`: who may ask where, what a user is, and how much hashing may go on at once.
//!
//! Each key's documentation is the operator's; the manual page repeats it. Refuses tcp for everything but Postfix and the policy hook: the other sockets
//! are guarded by their owner and mode alone.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatepost::config::{ByteSize, ListenAddress, Seconds, Section, nearest};
use gatepost::password::{SCHEMES, Scheme};
use serde::Deserialize;

use crate::dicts::Anyone;
use crate::guard::Guessing;
use crate::mechanisms::{MECHANISMS, Mechanism, Needs};
use crate::oauth;
use crate::peers::Peers;

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
    /// Where mail processes ask who has just logged in (`imap -a PATH`): 0600.
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
    /// `[dovecot-auth.peers]`: which users of the system may connect to which of these.
    pub peers: Peers,
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
    /// The SASL mechanisms that are offered, of those in `list`, where they can work: SCRAM with our schema, OAUTHBEARER and XOAUTH2 with
    /// `[dovecot-auth.oauth]`, EXTERNAL to Dovecot only.
    pub mechanisms: Vec<String>,
    /// Whether a password that was right, by PLAIN or LOGIN, is turned into what SCRAM needs of it (`gatepost.scram_verifiers`). Set it some weeks
    /// before SCRAM is offered: a client that prefers SCRAM fails for a user without. Whoever steals that table guesses passwords
    /// more cheaply than from argon2 hashes.
    pub scram_verifiers: bool,
    /// Whether a hash that costs less than a new one is replaced when its password was right. Needs a right that `schema install` does not
    /// grant: `GRANT UPDATE (password_hash) ON public.users TO gatepost_auth`.
    pub rehash: bool,
    /// Schemes of hashes that protect so little that nobody logs in with them unless they are named here.
    pub weak_schemes: Vec<String>,
    /// How long a password that was right is believed without hashing it again, as long as its hash stays the same; for web mail that logs in at
    /// every click. "0s" for not at all.
    pub login_cache_ttl: Seconds,
    /// How many such passwords are remembered, each as a MAC under a key that dies with the process.
    pub login_cache_entries: u64,
    /// `[dovecot-auth.oauth]`: who says whether an OAuth 2.0 token is good.
    pub oauth: oauth::Settings,
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
            peers: Peers::default(),
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
            mechanisms: vec!["PLAIN".into(), "LOGIN".into()],
            scram_verifiers: false,
            rehash: false,
            weak_schemes: Vec::new(),
            login_cache_ttl: Seconds::new(300),
            login_cache_entries: 50_000,
            oauth: oauth::Settings::default(),
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

    /// The mechanisms that may be offered, in the order of the table.
    pub(crate) fn offered(&self) -> impl Iterator<Item = &'static Mechanism> {
        let is_named = |mechanism: &&Mechanism| {
            self.mechanisms.iter().any(|name| name.eq_ignore_ascii_case(mechanism.name))
        };
        MECHANISMS.iter().filter(is_named)
    }

    /// The weak schemes that may be used all the same.
    pub(crate) fn allowed(&self) -> Vec<&'static Scheme> {
        self.weak_schemes.iter().filter_map(|name| Scheme::named(name)).collect()
    }

    fn validate_names(&self) -> Result<(), String> {
        let unknown = |key: &str, name: &str, known: Vec<&'static str>| {
            let hint = nearest(&name.to_ascii_uppercase(), known.iter().copied())
                .map(|near| format!("; did you mean \"{near}\"?"));
            format!(
                "{key}: unknown \"{name}\", expected one of {}{}",
                known.join(", "),
                hint.unwrap_or_default()
            )
        };
        for name in &self.mechanisms {
            let mechanism = Mechanism::named(name).ok_or_else(|| {
                unknown("mechanisms", name, MECHANISMS.iter().map(|mechanism| mechanism.name).collect())
            })?;
            if mechanism.needs == Needs::Tokens && !self.oauth.is_set() {
                return Err(format!(
                    "mechanisms: {name} needs somebody who says whether a token is good: jwks-file, jwks-url or introspection-url in [dovecot-auth.oauth]"
                ));
            }
        }
        if self.mechanisms.is_empty() {
            return Err("mechanisms is empty: nobody could log in; at least [\"PLAIN\"]".to_owned());
        }
        let weak =
            || SCHEMES.iter().filter(|scheme| scheme.weak).map(|scheme| scheme.name).collect::<Vec<_>>();
        for name in &self.weak_schemes {
            match Scheme::named(name) {
                Some(scheme) if scheme.weak => {}
                Some(scheme) => {
                    return Err(format!("weak-schemes: {scheme} is not weak and needs not be named"));
                }
                None => return Err(unknown("weak-schemes", name, weak())),
            }
        }
        self.oauth.validate()
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
        self.validate_names()
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
            ("mechanisms = [\"PLAN\"]", "did you mean \"PLAIN\"?"),
            ("mechanisms = []", "mechanisms is empty"),
            ("mechanisms = [\"XOAUTH2\"]", "XOAUTH2 needs somebody who says whether a token is good"),
            ("weak-schemes = [\"MD5CRYPT\"]", "did you mean \"MD5-CRYPT\"?"),
            ("weak-schemes = [\"ssha256\"]", "SSHA256 is not weak and needs not be named"),
            ("[dovecot-auth.oauth]\njwks-file = \"/x\"", "keys need \"issuer\" and \"audience\""),
            ("[dovecot-auth.oauth]\njwks = \"/x\"", "gatepost.toml:3:"),
            (
                "[dovecot-auth.guessing]\nwindow = \"5s\"",
                "guessing.window = \"5s\" is out of range, expected 1m to 7d",
            ),
            ("[dovecot-auth.guessing]\nusr = 5", "did you mean \"user\"?"),
            ("[dovecot-auth.peers]\nlogni = [\"dovenull\"]", "did you mean \"login\"?"),
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
