//! Whether a login that proved who it is may in: switches, locks, networks, app passwords, masteries. Pure functions of facts.
//!
//! A rule is one const and one line in [`RULES`]. They are asked after the password has turned out right, so that nobody learns from them
//! who has an account; the first that objects counts. Refuses to look anything up.

use std::net::IpAddr;
use std::time::SystemTime;

use gatepost::config::Network;
use gatepost::directory::account::{Account, AppPassword, Mastery};

use crate::verdict::Refusal;

/// What a login logs in to, as the rules name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// `imap`.
    Imap,
    /// `pop3`.
    Pop3,
    /// `submission` (Dovecot's), `smtp` (Postfix).
    Submission,
    /// `sieve`, `managesieve`.
    Sieve,
    /// Anything else: allowed where nothing is forbidden.
    Other,
    /// The operator asks on the command line, without naming one.
    Asked,
}

/// How a login proved who it is.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    /// With its main password, or what counts as that: a token, a certificate.
    Main,
    /// With an app password.
    App(&'a AppPassword),
    /// A master, with its own main password, by that right.
    Master(&'a Mastery),
}

/// What the rules judge.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// What is written down about whoever gave the password.
    pub account: &'a Account,
    /// Where to.
    pub service: Service,
    /// From where; `None` where nobody said.
    pub address: Option<IpAddr>,
    /// With what.
    pub proof: Proof<'a>,
    /// When.
    pub now: SystemTime,
}

/// Why a login may not in, and what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    /// For log and counters.
    pub refusal: Refusal,
    /// For the client.
    pub answer: Answer,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The same as for a wrong password. The sentence is for sites that explain refusals.
    AsWrong(&'static str),
    /// This sentence.
    Tell(String),
    /// To try later.
    Later,
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    judge: fn(&Facts<'_>) -> Option<Objection>,
}

/// Every rule there is, in the order they are asked.
pub static RULES: &[Rule] = &[LOCK, SERVICE, MAIN_PASSWORD, NETWORK, APP_PASSWORD, MASTER];

/// What the first rule that objects says.
pub fn object(facts: &Facts<'_>) -> Option<Objection> {
    RULES.iter().find_map(|rule| (rule.judge)(facts))
}

const LOCK: Rule = Rule {
    name: "lock",
    summary: "locked logins (`gatepost user lock`, and those that sent too much) stay out",
    judge: |facts| {
        let lock = facts.account.lock.as_ref().filter(|lock| lock.counts(facts.now))?;
        let answer = match &lock.shown {
            _ if lock.ends() => Answer::Later,
            None => Answer::Tell(LOCKED.to_owned()),
            Some(shown) if shown.is_empty() => Answer::AsWrong(LOCKED),
            Some(shown) => Answer::Tell(shown.clone()),
        };
        Some(Objection { refusal: Refusal::Locked, answer })
    },
};

const SERVICE: Rule = Rule {
    name: "service",
    summary: "a login or a domain may use only the services that it has",
    judge: |facts| {
        let services = facts.account.services();
        let barred = !matches!(facts.proof, Proof::Master(_)) && !allows(services, facts.service);
        barred.then(|| silent(Refusal::Service, "This service is switched off for the account."))
    },
};

const MAIN_PASSWORD: Rule = Rule {
    name: "main-password",
    summary: "a login or a domain may need app passwords instead of the main one",
    judge: |facts| {
        let barred =
            matches!(facts.proof, Proof::Main) && !allows(facts.account.main_password(), facts.service);
        barred.then(|| silent(Refusal::MainPassword, "This program needs an app password."))
    },
};

const NETWORK: Rule = Rule {
    name: "network",
    summary: "a login or a domain may log in only from its networks",
    judge: |facts| {
        let barred = !reaches(facts.account.networks(), facts);
        barred.then(|| silent(Refusal::Network, "The account cannot be used from here."))
    },
};

const APP_PASSWORD: Rule = Rule {
    name: "app-password",
    summary: "an app password counts until it expires, for its services, from its networks",
    judge: |facts| {
        let Proof::App(password) = facts.proof else { return None };
        if password.has_expired(facts.now) {
            return Some(silent(Refusal::Expired, "The app password has expired."));
        }
        let barred =
            !allows(password.services.as_deref(), facts.service) || !reaches(password.networks(), facts);
        barred.then(|| silent(Refusal::AppPassword, "The app password is not meant for this."))
    },
};

const MASTER: Rule = Rule {
    name: "master",
    summary: "a master logs in as others only at its services and from its networks",
    judge: |facts| {
        let Proof::Master(mastery) = facts.proof else { return None };
        let barred = !allows(Some(mastery.services()), facts.service) || !reaches(mastery.networks(), facts);
        barred.then(|| silent(Refusal::OtherUser, "A master cannot do this here."))
    },
};

impl Service {
    /// By the client's word.
    pub fn of(word: &str) -> Self {
        match word {
            "imap" => Self::Imap,
            "pop3" => Self::Pop3,
            "submission" | "smtp" => Self::Submission,
            "sieve" | "managesieve" => Self::Sieve,
            "ask" => Self::Asked,
            _ => Self::Other,
        }
    }

    /// Its name in the tables.
    pub fn word(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Submission => "submission",
            Self::Sieve => "sieve",
            Self::Other => "other",
            Self::Asked => "ask",
        }
    }
}

fn silent(refusal: Refusal, sentence: &'static str) -> Objection {
    Objection { refusal, answer: Answer::AsWrong(sentence) }
}

fn allows(services: Option<&[String]>, service: Service) -> bool {
    let Some(services) = services else { return true };
    service == Service::Asked || services.iter().any(|allowed| allowed == service.word())
}

fn reaches(networks: Option<&[Network]>, facts: &Facts<'_>) -> bool {
    let Some(networks) = networks else { return true };
    match facts.address {
        Some(address) => networks.iter().any(|network| network.contains(address)),
        // Where nobody says from where, nobody can say that it is allowed.
        None => facts.service == Service::Asked,
    }
}

/// What the holder of a locked account reads who gave the right password.
const LOCKED: &str = "This account is locked. Please ask your postmaster.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const HASH: &str = "{SHA256.HEX}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn account(parts: &str) -> Account {
        let mut json =
            serde_json::json!({"user":null,"domain":null,"lock":null,"app_passwords":[],"masteries":[]});
        let parts: serde_json::Value = serde_json::from_str(parts).unwrap();
        for (key, value) in parts.as_object().unwrap() {
            json[key] = value.clone();
        }
        Account::from_json(&json.to_string()).unwrap()
    }

    fn said(account: &Account, service: &str, address: &str, proof: Proof<'_>) -> Option<Objection> {
        let (service, now) = (Service::of(service), SystemTime::now());
        object(&Facts { account, service, address: address.parse().ok(), proof, now })
    }

    fn refusal(account: &Account, service: &str, address: &str) -> Option<Refusal> {
        said(account, service, address, Proof::Main).map(|objection| objection.refusal)
    }

    #[test]
    fn nothing_written_down_allows_everything() {
        for service in ["imap", "pop3", "smtp", "sieve", "doveadm", "ask", ""] {
            assert_eq!(refusal(&Account::default(), service, ""), None, "{service}");
        }
    }

    #[test]
    fn services_are_switched_and_the_rest_is_off() {
        let account = account(r#"{"domain":{"services":["imap","submission"]}}"#);
        for (service, off) in [
            ("imap", false),
            ("smtp", false),
            ("submission", false),
            ("pop3", true),
            ("sieve", true),
            ("x", true),
        ] {
            assert_eq!(refusal(&account, service, "").is_some(), off, "{service}");
        }
        assert_eq!(refusal(&account, "ask", ""), None);
    }

    #[test]
    fn the_main_password_may_be_for_some_services_only() {
        let account = account(r#"{"user":{"main_password":["sieve"]}}"#);
        assert_eq!(refusal(&account, "imap", ""), Some(Refusal::MainPassword));
        assert_eq!(refusal(&account, "sieve", ""), None);
    }

    #[test]
    fn networks_are_kept_and_an_unknown_address_is_in_none() {
        let account = account(r#"{"user":{"networks":["192.0.2.0/24","2001:db8::/32"]}}"#);
        for (address, out) in [
            ("192.0.2.7", false),
            ("::ffff:192.0.2.7", false),
            ("2001:db8::1", false),
            ("198.51.100.1", true),
            ("", true),
        ] {
            assert_eq!(refusal(&account, "imap", address).is_some(), out, "{address}");
        }
    }

    #[test]
    fn a_lock_is_told_as_the_table_says() {
        for (lock, answer) in [
            (r#"{"lock":{"shown":null,"until":null}}"#, Some(Answer::Tell(LOCKED.to_owned()))),
            (r#"{"lock":{"shown":"Unpaid.","until":null}}"#, Some(Answer::Tell("Unpaid.".to_owned()))),
            (r#"{"lock":{"shown":"","until":null}}"#, Some(Answer::AsWrong(LOCKED))),
            (r#"{"lock":{"shown":null,"until":99999999999}}"#, Some(Answer::Later)),
            (r#"{"lock":{"shown":null,"until":1}}"#, None),
        ] {
            let said = said(&account(lock), "imap", "", Proof::Main);
            assert_eq!(said.map(|objection| objection.answer), answer, "{lock}");
        }
    }

    #[test]
    fn an_app_password_has_limits_of_its_own() {
        let parts = format!(
            r#"{{"user":{{"main_password":[]}},"app_passwords":[{{"id":1,"label":"x","hash":"{HASH}","services":["imap"],"networks":["192.0.2.0/24"],"expires":null}}]}}"#
        );
        let account = account(&parts);
        let json: serde_json::Value = serde_json::from_str(&parts).unwrap();
        let password: AppPassword = serde_json::from_value(json["app_passwords"][0].clone()).unwrap();
        let refusal = |service, address| {
            said(&account, service, address, Proof::App(&password)).map(|objection| objection.refusal)
        };
        assert_eq!(refusal("imap", "192.0.2.1"), None);
        assert_eq!(refusal("pop3", "192.0.2.1"), Some(Refusal::AppPassword));
        assert_eq!(refusal("imap", "192.0.3.1"), Some(Refusal::AppPassword));
        let mut json = json["app_passwords"][0].clone();
        json["expires"] = 1.into();
        let old: AppPassword = serde_json::from_value(json).unwrap();
        let said = said(&account, "imap", "192.0.2.1", Proof::App(&old));
        assert_eq!(said.map(|objection| objection.refusal), Some(Refusal::Expired));
    }

    #[test]
    fn a_master_is_bound_by_its_right_and_not_by_its_own_switches() {
        let account = account(
            r#"{"user":{"services":[]},"masteries":[{"scope":"*","services":["imap"],"networks":["192.0.2.0/24"]}]}"#,
        );
        let user = gatepost::mail::Address::parse("alice@example.com").unwrap();
        let mastery = account.mastery(&user).unwrap();
        let refused = |service, address| said(&account, service, address, Proof::Master(mastery)).is_some();
        assert!(!refused("imap", "192.0.2.1"));
        assert!(refused("smtp", "192.0.2.1") && refused("imap", "192.0.3.1") && refused("imap", ""));
    }
}
