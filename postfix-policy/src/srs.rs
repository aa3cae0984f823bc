//! The Sender Rewriting Scheme: an outside sender's address in the name of a domain of ours, so that SPF holds when mail is forwarded, and
//! back again when a bounce comes.
//!
//! For the maps `srs-forward`, `srs-reverse` and `srs-route`. Source: Shevek, "The Sender Rewriting Scheme" (2004); the parts and the
//! hash as PostSRSd has them, so that addresses of either are understood by the other with the same secrets.
//!
//! ```text
//! SRS0 = "SRS0" sep hash "=" time "=" host "=" user          of user@host
//! SRS1 = "SRS1" sep hash "=" host "=" opaque                 of SRS0…@host; opaque = what stood behind "SRS0", its separator first
//! hash = the first characters of base64(HMAC-SHA1(secret, lower case of: time host user, or host opaque))
//! time = days since 1970 modulo 1024, two characters of A-Z2-7
//! ```
//!
//! The first secret signs; each verifies. Refuses to open an address that no secret of ours signed, or that is too old: then it is an
//! unknown address like any other, so that nobody can relay through here. The hash is compared without case, because some
//! servers fold local parts; with 4 characters that is about 21 bits for a forger to guess, who gains one bounce to an address of his.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use gatepost::config::{ConfigError, Seconds, read_secret_lines};
use gatepost::directory::Transport;
use gatepost::mail::Domain;
use serde::Deserialize;

/// `[postfix-policy.srs]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The hosted domain in whose name senders are rewritten; not set: SRS is off and its maps find nothing.
    pub domain: Option<String>,
    /// The file with the secrets, one a line: the first signs, all verify. PostSRSd's `/etc/postsrsd.secret` as it is.
    pub secrets_file: PathBuf,
    /// How many characters of the hash are written, 4 to 27; as many are asked for when one comes back.
    pub hash_length: usize,
    /// How long after a mail its bounce is still taken.
    pub max_age: Seconds,
    /// The character behind `SRS0`: `=`, `+` or `-`.
    pub separator: char,
    /// What the map `srs-route` answers: the transport of master.cf through which forwarded mail takes its way to be rewritten.
    pub route: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            domain: None,
            secrets_file: "/etc/postsrsd.secret".into(),
            hash_length: 4,
            max_age: Seconds::new(21 * 86_400),
            separator: '=',
            route: "srs:[127.0.0.1]:10027".into(),
        }
    }
}

impl Settings {
    /// What is wrong with it.
    ///
    /// # Errors
    /// A sentence.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(domain) = &self.domain {
            Domain::parse(domain).map_err(|reason| format!("srs.domain = \"{domain}\": {reason}"))?;
        }
        if !(4..=27).contains(&self.hash_length) {
            return Err(format!("srs.hash-length = {} is out of range, expected 4 to 27", self.hash_length));
        }
        if !SEPARATORS.contains(self.separator) {
            return Err(format!("srs.separator = \"{}\", expected \"=\", \"+\" or \"-\"", self.separator));
        }
        let days = self.max_age.0.as_secs() / DAY;
        if !(1..1000).contains(&days) {
            return Err(format!("srs.max-age = \"{}\" is out of range, expected 1d to 999d", self.max_age));
        }
        self.route.parse::<Transport>().map(|_| ()).map_err(|reason| format!("srs.route: {reason}"))
    }

    /// The scheme with its secrets; `None` where it is off.
    ///
    /// # Errors
    /// The file cannot be read, lets everybody read it, or holds no secret.
    pub fn open(&self) -> anyhow::Result<Option<Srs>> {
        let Some(domain) = &self.domain else { return Ok(None) };
        let mut secrets = read_secret_lines(&self.secrets_file, SECRETS_ADVICE)?;
        secrets.retain(|secret| !secret.expose().is_empty());
        if secrets.is_empty() {
            return Err(ConfigError::Unreadable {
                path: self.secrets_file.clone(),
                reason: std::io::Error::other("no secret in it"),
                advice: "write one secret a line, such as `openssl rand -base64 24` makes",
            }
            .into());
        }
        let keys = secrets
            .iter()
            .map(|secret| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.expose().as_bytes()));
        Ok(Some(Srs {
            domain: Domain::parse(domain)?,
            keys: keys.collect(),
            hash_length: self.hash_length,
            max_days: self.max_age.0.as_secs() / DAY,
            separator: self.separator,
        }))
    }
}

/// The scheme at work.
pub struct Srs {
    domain: Domain,
    keys: Vec<hmac::Key>,
    hash_length: usize,
    max_days: u64,
    separator: char,
}

/// Why an address is not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOpened {
    /// It is none of ours: another domain, or no SRS address at all.
    #[error("no SRS address of this domain")]
    Foreign,
    /// None of the secrets signed it.
    #[error("none of the secrets signed it")]
    BadHash,
    /// It is older than allowed.
    #[error("it is too old")]
    TooOld,
}

impl Srs {
    /// The domain in whose name it speaks.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// The rewritten form of a sender, given as local part without quotes and domain.
    pub fn forward(&self, local: &str, domain: &str, now: SystemTime) -> (String, Domain) {
        let rewritten = match shape(local) {
            Some(Shape::Guarded { host, opaque, .. }) => self.guarded(host, opaque),
            Some(Shape::Signed { opaque, .. }) => self.guarded(domain, opaque),
            None => {
                let time = written_day(days(now));
                let hash = self.hash(0, &[&time, domain, local]);
                format!("SRS0{}{hash}={time}={domain}={local}", self.separator)
            }
        };
        (rewritten, self.domain.clone())
    }

    fn guarded(&self, host: &str, opaque: &str) -> String {
        let hash = self.hash(0, &[host, opaque]);
        format!("SRS1{}{hash}={host}={opaque}", self.separator)
    }

    /// The address behind one of ours: its local part and domain.
    ///
    /// # Errors
    /// Why it is not opened.
    pub fn reverse(
        &self,
        local: &str,
        domain: &Domain,
        now: SystemTime,
    ) -> Result<(String, String), NotOpened> {
        if *domain != self.domain {
            return Err(NotOpened::Foreign);
        }
        match shape(local).ok_or(NotOpened::Foreign)? {
            Shape::Signed { hash, time, host, user, .. } => {
                self.verify(hash, &[time, host, user])?;
                let age = (days(now) + DAYS - read_day(time).ok_or(NotOpened::BadHash)?) % DAYS;
                // A clock a little behind the one that signed makes a day of tomorrow.
                if age > self.max_days && age != DAYS - 1 {
                    return Err(NotOpened::TooOld);
                }
                Ok((user.to_owned(), host.to_owned()))
            }
            Shape::Guarded { hash, host, opaque } => {
                self.verify(hash, &[host, opaque])?;
                Ok((format!("SRS0{opaque}"), host.to_owned()))
            }
        }
    }

    fn hash(&self, key: usize, parts: &[&str]) -> String {
        let Some(key) = self.keys.get(key) else { return String::new() };
        let mut context = hmac::Context::with_key(key);
        for part in parts {
            context.update(part.to_lowercase().as_bytes());
        }
        let mut text = STANDARD.encode(context.sign());
        text.truncate(self.hash_length);
        text
    }

    fn verify(&self, hash: &str, parts: &[&str]) -> Result<(), NotOpened> {
        let good = hash.len() >= self.hash_length
            && (0..self.keys.len()).any(|key| {
                let ours = self.hash(key, parts);
                hash.get(..ours.len()).is_some_and(|theirs| same(theirs, &ours))
            });
        if good { Ok(()) } else { Err(NotOpened::BadHash) }
    }
}

/// Without case, in a time that says nothing about where they differ.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes().zip(b.bytes()).fold(0, |d, (a, b)| d | (a.to_ascii_lowercase() ^ b.to_ascii_lowercase()))
            == 0
}

/// A local part that is one of the scheme's.
enum Shape<'a> {
    Signed { hash: &'a str, time: &'a str, host: &'a str, user: &'a str, opaque: &'a str },
    Guarded { hash: &'a str, host: &'a str, opaque: &'a str },
}

fn shape(local: &str) -> Option<Shape<'_>> {
    let (tag, opaque) = local.split_at_checked(4)?;
    let rest = opaque.strip_prefix(|c| SEPARATORS.contains(c))?;
    if tag.eq_ignore_ascii_case("SRS0") {
        let mut parts = rest.splitn(4, '=');
        let (hash, time, host, user) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let whole = !hash.is_empty() && !time.is_empty() && !host.is_empty() && !user.is_empty();
        return whole.then_some(Shape::Signed { hash, time, host, user, opaque });
    }
    if tag.eq_ignore_ascii_case("SRS1") {
        let mut parts = rest.splitn(3, '=');
        let (hash, host, opaque) = (parts.next()?, parts.next()?, parts.next()?);
        let whole = !hash.is_empty() && !host.is_empty() && opaque.starts_with(|c| SEPARATORS.contains(c));
        return whole.then_some(Shape::Guarded { hash, host, opaque });
    }
    None
}

fn days(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs() / DAY % DAYS
}

fn written_day(day: u64) -> String {
    [day >> 5, day & 31]
        .into_iter()
        .filter_map(|digit| DIGITS.chars().nth(usize::try_from(digit).ok()?))
        .collect()
}

fn read_day(text: &str) -> Option<u64> {
    if text.len() != 2 {
        return None;
    }
    text.chars().try_fold(0, |day, c| Some(day << 5 | DIGITS.find(c.to_ascii_uppercase())? as u64))
}

/// Base32 (RFC 4648 §6).
const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// What may stand behind the tag.
const SEPARATORS: &str = "=+-";
const DAY: u64 = 86_400;
/// After how many days the time begins anew: two digits of five bits.
const DAYS: u64 = 1024;

/// What to do where the file of secrets cannot be read.
const SECRETS_ADVICE: &str = "name PostSRSd's file, or write one with one secret a line, readable by its owner and this daemon's group only";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn srs(secrets: &[&str]) -> Srs {
        Srs {
            domain: Domain::parse("example.com").unwrap(),
            keys: secrets
                .iter()
                .map(|s| hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, s.as_bytes()))
                .collect(),
            hash_length: 4,
            max_days: 21,
            separator: '=',
        }
    }

    fn at(day: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(day * DAY)
    }

    #[test]
    fn a_sender_comes_back_while_its_secret_is_known_and_it_is_young() {
        let (old, new) = (srs(&["old"]), srs(&["new", "old"]));
        let (local, domain) = old.forward("Bob+x=y", "Foreign.test", at(20_000));
        assert!(local.starts_with("SRS0=") && local.ends_with("=Foreign.test=Bob+x=y"), "{local}");
        let back = Ok(("Bob+x=y".to_owned(), "Foreign.test".to_owned()));
        assert_eq!(old.reverse(&local, &domain, at(20_021)), back);
        assert_eq!(new.reverse(&local, &domain, at(20_000)), back);
        assert_eq!(srs(&["new"]).reverse(&local, &domain, at(20_000)), Err(NotOpened::BadHash));
        assert_eq!(old.reverse(&local, &domain, at(20_022)), Err(NotOpened::TooOld));
        assert_eq!(
            old.reverse(&local, &Domain::parse("other.test").unwrap(), at(20_000)),
            Err(NotOpened::Foreign)
        );
        // Folded on its way; the name of the user goes with it.
        assert_eq!(
            old.reverse(&local.to_lowercase(), &domain, at(20_000)),
            Ok(("bob+x=y".to_owned(), "foreign.test".to_owned()))
        );
        // A day of tomorrow is a clock that is behind; a year is a forgery's.
        assert!(old.reverse(&local, &domain, at(19_999)).is_ok());
        assert_eq!(old.reverse(&local, &domain, at(19_990)), Err(NotOpened::TooOld));
    }

    #[test]
    fn what_others_rewrote_is_guarded_and_opened_as_it_was() {
        let ours = srs(&["secret"]);
        let (once, domain) = ours.forward("SRS0+AbCd=XY=origin.test=bob", "first.test", at(1));
        assert!(
            once.starts_with("SRS1=") && once.ends_with("=first.test=+AbCd=XY=origin.test=bob"),
            "{once}"
        );
        assert_eq!(
            ours.reverse(&once, &domain, at(9000)),
            Ok(("SRS0+AbCd=XY=origin.test=bob".into(), "first.test".into()))
        );
        // A second forwarder keeps the first one's host: the way back stays two steps long.
        let (twice, _) = ours.forward(&once, "second.test", at(1));
        assert_eq!(twice, once);
        for odd in ["SRS0=x", "SRS0", "SRS1=a=b", "SRS1=a=b=c", "SRS0==a=b=c", "srs"] {
            assert_eq!(ours.reverse(odd, &domain, at(1)), Err(NotOpened::Foreign), "{odd}");
            assert!(ours.forward(odd, "x.test", at(1)).0.starts_with("SRS0="), "{odd}");
        }
    }

    #[test]
    fn settings_say_what_is_wrong() {
        let bad = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.validate().unwrap_err()
        };
        assert_eq!(Settings::default().validate(), Ok(()));
        assert!(bad(|s| s.hash_length = 3).contains("4 to 27"));
        assert!(bad(|s| s.separator = '/').contains("separator"));
        assert!(bad(|s| s.max_age = Seconds::new(60)).contains("1d to 999d"));
        assert!(bad(|s| s.domain = Some("a b".into())).contains("srs.domain"));
        assert!(bad(|s| s.route = "nowhere".into()).contains("srs.route"));
    }

    proptest! {
        #[test]
        fn every_sender_comes_back(local in "[!-~]{1,64}", domain in "[a-z]{1,10}(\\.[a-z]{2,5}){1,2}", day in 0..100_000u64) {
            let ours = srs(&["secret"]);
            let (rewritten, of) = ours.forward(&local, &domain, at(day));
            if shape(&local).is_none() {
                prop_assert_eq!(ours.reverse(&rewritten, &of, at(day + 3)), Ok((local, domain)));
            }
        }

        #[test]
        fn no_text_breaks_it(local in "\\PC{0,80}", srs0 in any::<bool>()) {
            let ours = srs(&["secret"]);
            let text = if srs0 { format!("SRS0={local}") } else { format!("SRS1+{local}") };
            prop_assert!(ours.reverse(&text, ours.domain(), at(1)).is_err());
        }
    }
}
