//! `[postfix-policy]`: where the two protocols are served, and which checks answer which policy socket.
//!
//! Each key's documentation is the operator's; the manual page repeats it.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use gatepost::config::{ListenAddress, Section, nearest};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, Visitor};

use gatepost::config::Network;

use crate::checks::{
    CHECKS, Check, country, dnsbl, greylist, helo, rate_limit, recipient, sender_login, spf, stolen_login,
};
use crate::{addresses, srs, tls};

/// The section.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where Postfix's `socketmap:` tables connect to; every map is served on each of these. A chrooted service of Postfix sees only
    /// what lies below its queue directory. `systemd:NAME`, from a `.socket` unit, is a socket that survives a restart of the daemon.
    pub socketmap: Vec<ListenAddress>,
    /// The policy endpoints: one `[[postfix-policy.policy]]` for each list of checks.
    pub policy: Vec<PolicyEndpoint>,
    /// The name of this host in headers and in mail to the postmaster; the system's if not given. Postfix's `myhostname` is a good one.
    pub hostname: Option<String>,
    /// Networks whose clients are ours although they do not log in: what the checks say of strangers does not concern them.
    pub trusted_networks: Vec<Network>,
    /// `[postfix-policy.rate-limit]`: the limits of the check `rate-limit`.
    pub rate_limit: rate_limit::Limits,
    /// `[postfix-policy.greylist]`.
    pub greylist: greylist::Settings,
    /// `[postfix-policy.spf]`.
    pub spf: spf::Consequences,
    /// `[postfix-policy.dnsbl]`.
    pub dnsbl: dnsbl::Settings,
    /// `[postfix-policy.helo]`.
    pub helo: helo::Findings,
    /// `[postfix-policy.recipient]`.
    pub recipient: recipient::Settings,
    /// `[postfix-policy.sender-login]`.
    pub sender_login: sender_login::Settings,
    /// `[postfix-policy.country]`.
    pub country: country::Settings,
    /// `[postfix-policy.stolen-login]`.
    pub stolen_login: stolen_login::Signs,
    /// `[postfix-policy.addresses]`: how addresses are understood.
    pub addresses: addresses::Settings,
    /// `[postfix-policy.srs]`: the sender rewriting scheme.
    pub srs: srs::Settings,
    /// `[postfix-policy.tls]`: the maps `tls` and `tls-tlsrpt`.
    pub tls: tls::Settings,
    /// The role this daemon connects as, instead of `database.user`: `gatepost_policy` once `gatepost schema install` has made it.
    pub database_user: Option<String>,
    /// The file with that role's password.
    pub database_password_file: Option<PathBuf>,
    /// Where Prometheus may read this daemon's metrics, instead of `limits.metrics`.
    pub metrics: Option<ListenAddress>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            socketmap: vec![ListenAddress::Systemd("socketmap".into())],
            policy: vec![PolicyEndpoint::default()],
            hostname: None,
            trusted_networks: vec![
                Network::around(IpAddr::V4(Ipv4Addr::LOCALHOST), 8),
                Network::around(IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
            ],
            rate_limit: rate_limit::Limits::default(),
            greylist: greylist::Settings::default(),
            spf: spf::Consequences::default(),
            dnsbl: dnsbl::Settings::default(),
            helo: helo::Findings::default(),
            recipient: recipient::Settings::default(),
            sender_login: sender_login::Settings::default(),
            country: country::Settings::default(),
            stolen_login: stolen_login::Signs::default(),
            addresses: addresses::Settings::default(),
            srs: srs::Settings::default(),
            tls: tls::Settings::default(),
            database_user: None,
            database_password_file: None,
            metrics: None,
        }
    }
}

impl Section for Settings {
    const NAME: &'static str = "postfix-policy";

    fn validate(&self) -> Result<(), String> {
        let addresses = self.socketmap.iter().chain(self.policy.iter().flat_map(|endpoint| &endpoint.listen));
        let mut seen = HashSet::new();
        for address in addresses {
            if !seen.insert(address.to_string()) {
                return Err(format!(
                    "{address} is listened on twice; give each protocol and each list of checks an address of its own"
                ));
            }
        }
        if seen.is_empty() {
            return Err("nothing to listen on; give \"socketmap\" or a [[postfix-policy.policy]] an address"
                .to_owned());
        }
        for endpoint in &self.policy {
            let mut names = HashSet::new();
            if let Some(twice) = endpoint.checks.iter().find(|step| !names.insert(step.check.name)) {
                return Err(format!(
                    "check \"{}\" stands twice in one [[postfix-policy.policy]]; name it once",
                    twice.check.name
                ));
            }
        }
        self.tls.validate()?;
        self.srs.validate()?;
        self.rate_limit.validate()?;
        self.greylist.validate()?;
        self.spf.validate()?;
        self.dnsbl.validate()?;
        self.country.validate()?;
        self.stolen_login.validate()
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

/// One `[[postfix-policy.policy]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct PolicyEndpoint {
    /// Where `check_policy_service` connects to, as for `socketmap`.
    pub listen: Vec<ListenAddress>,
    /// The checks, in this order; the first that refuses, holds or lets through decides. Each a name, `"rate-limit"`, or a table,
    /// `{ check = "rate-limit", mode = "log-only" }`.
    pub checks: Vec<Step>,
}

impl Default for PolicyEndpoint {
    /// The one check that every server needs, and that asks nobody outside.
    fn default() -> Self {
        let wanted = CHECKS.iter().filter(|check| check.name == "rate-limit");
        let checks = wanted.map(|check| Step { check, mode: Mode::Enforce }).collect();
        Self { listen: vec![ListenAddress::Systemd("policy".into())], checks }
    }
}

/// One check in the list of an endpoint.
#[derive(Clone, Debug)]
pub struct Step {
    /// The check.
    pub check: &'static Check,
    /// What becomes of its opinion.
    pub mode: Mode,
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        self.check.name == other.check.name && self.mode == other.mode
    }
}

impl Eq for Step {}

/// What becomes of a check's opinion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Postfix gets it.
    #[default]
    Enforce,
    /// A refusal for good becomes one for now: for a check that is new, and wrong perhaps.
    Defer,
    /// It is logged and counted, and the next check is asked: for trying a check out.
    LogOnly,
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StepVisitor)
    }
}

struct StepVisitor;

impl<'de> Visitor<'de> for StepVisitor {
    type Value = Step;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a check's name or { check = \"NAME\", mode = \"enforce\", \"defer\" or \"log-only\" }")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Step, E> {
        Ok(Step { check: check_named(name).map_err(E::custom)?, mode: Mode::Enforce })
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Step, M::Error> {
        let (mut check, mut mode) = (None, Mode::Enforce);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "check" => check = Some(check_named(&map.next_value::<String>()?).map_err(M::Error::custom)?),
                "mode" => mode = map.next_value()?,
                _ => return Err(M::Error::unknown_field(&key, &["check", "mode"])),
            }
        }
        Ok(Step { check: check.ok_or_else(|| M::Error::missing_field("check"))?, mode })
    }
}

fn check_named(name: &str) -> Result<&'static Check, String> {
    if let Some(check) = CHECKS.iter().find(|check| check.name == name) {
        return Ok(check);
    }
    let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
    let hint = nearest(name, names.iter().copied())
        .map(|near| format!("; did you mean \"{near}\"?"))
        .unwrap_or_default();
    Err(format!("unknown check \"{name}\", expected one of {}{hint}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parse(text: &str) -> Result<Settings, String> {
        let config = gatepost::config::parse::<Settings>(text, Path::new("gatepost.toml"));
        config.map(|config| config.service).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_section_the_sockets_of_the_example_are_served() {
        let section = parse("").unwrap();
        assert_eq!(section, Settings::default());
        assert_eq!(
            section.policy[0].checks.iter().map(|step| step.check.name).collect::<Vec<_>>(),
            ["rate-limit"]
        );
        assert_eq!(section.validate(), Ok(()));
    }

    #[test]
    fn a_check_is_a_name_or_a_table_with_its_mode() {
        let checks = |value: &str| {
            parse(&format!("[[postfix-policy.policy]]\nchecks = [{value}]\n"))
                .map(|s| s.policy[0].checks.clone())
        };
        assert_eq!(checks("\"rate-limit\"").unwrap()[0].mode, Mode::Enforce);
        assert_eq!(checks("{ check = \"rate-limit\", mode = \"log-only\" }").unwrap()[0].mode, Mode::LogOnly);
        assert_eq!(checks("{ check = \"spf\", mode = \"defer\" }").unwrap()[0].mode, Mode::Defer);
        for (bad, sentence) in [
            ("\"rate-limits\"", "did you mean \"rate-limit\"?"),
            ("{ mode = \"log-only\" }", "missing field"),
            ("{ check = \"rate-limit\", mode = \"maybe\" }", "log-only"),
            ("{ check = \"rate-limit\", mod = \"enforce\" }", "did you mean \"mode\"?"),
            ("7", "a check's name or"),
            ("\"rate-limit\", \"rate-limit\"", "stands twice"),
        ] {
            let error = checks(bad).unwrap_err();
            assert!(error.starts_with("gatepost.toml:") && error.contains(sentence), "{bad}: {error}");
        }
    }

    #[test]
    fn contradictions_are_named() {
        let twice = "[postfix-policy]\nsocketmap = [\"inet:127.0.0.1:1\"]\n[[postfix-policy.policy]]\nlisten = [\"inet:127.0.0.1:1\"]\n";
        assert!(parse(twice).unwrap_err().contains("inet:127.0.0.1:1 is listened on twice"));
        assert!(
            parse("[postfix-policy]\nsocketmap = []\npolicy = []\n")
                .unwrap_err()
                .contains("nothing to listen on")
        );
        for (section, sentence) in [
            ("rate-limit]\nwindow = \"0s\"", "window"),
            ("greylist]\ndelay = \"3d\"", "nothing would ever pass"),
            ("spf]\ntemperror = \"reject\"", "temperror"),
            ("dnsbl]\nlists = [\"zen\"]", "is no list"),
            ("dnsbl]\nthreshold = 0", "refuse everybody"),
            ("helo]\nunqualifed = \"pass\"", "did you mean \"unqualified\"?"),
            ("country]\ndeny = [\"Germany\"]", "two capital letters"),
            ("country]\ndeny = [\"XX\"]", "no database file"),
            ("stolen-login]\npostmaster = \"root\"", "stolen-login.postmaster"),
            ("recipient]\nfull = \"never\"", "unknown variant"),
        ] {
            let error = parse(&format!("[postfix-policy.{section}\n")).unwrap_err();
            assert!(error.contains(sentence), "{section}: {error}");
        }
        let twice = "[[postfix-policy.rate-limit.more]]\nper = \"domain\"\nmessages = 1\nrecipients = 1\nwindow = \"1h\"\n".repeat(2);
        assert!(parse(&twice).unwrap_err().contains("two limits per domain within 1h"));
    }
}
