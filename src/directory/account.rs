//! What a login may beside its password: rules, locks, app passwords and masteries of schema `gatepost` (`gatepost logins|apppassword|master`,
//! `gatepost user lock`). Facts only; whoever decides about a login judges them.
//!
//! Without the schema, or with one from before these tables, nobody can have made a rule, and every login may everything: logins never
//! need the schema. A role that may not read them is another matter: then nobody can say.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::gather::Answer;
use super::kept::Known;
use super::noted::Noted;
use super::{Directory, Lookup, Scope};
use crate::config::{Network, Secret};
use crate::database::Trouble;
use crate::mail::{Address, Domain};
use crate::password::StoredHash;

/// What is written down about a login.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Account {
    user: Option<LoginRules>,
    domain: Option<LoginRules>,
    /// Why it may not log in at all.
    pub lock: Option<Lock>,
    app_passwords: Vec<AppPassword>,
    masteries: Vec<Mastery>,
}

/// Where a login may log in. What is not said is said by its domain's rules, and then everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct LoginRules {
    services: Option<Vec<String>>,
    main_password: Option<Vec<String>>,
    networks: Option<Vec<Network>>,
}

/// A row of `gatepost.login_locks`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Lock {
    /// What the user is told; `None` a general sentence, empty nothing.
    pub shown: Option<String>,
    /// In seconds since 1970; `None` for ever.
    until: Option<f64>,
}

/// A password beside the main one.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct AppPassword {
    /// Its number.
    pub id: i64,
    /// What its owner calls it.
    pub label: String,
    hash: AppPasswordHash,
    /// The services that it is good for; `None` for all.
    pub services: Option<Vec<String>>,
    networks: Option<Vec<Network>>,
    expires: Option<f64>,
}

/// As whom a login may log in beside itself.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Mastery {
    scope: String,
    services: Vec<String>,
    networks: Option<Vec<Network>>,
}

impl Account {
    /// Reads one from the JSON of `account.sql`.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The services that it may log in at; `None` for all.
    pub fn services(&self) -> Option<&[String]> {
        self.said(|rules| rules.services.as_deref())
    }

    /// The services that it may log in at with its main password; `None` for all.
    pub fn main_password(&self) -> Option<&[String]> {
        self.said(|rules| rules.main_password.as_deref())
    }

    /// The networks that it may log in from; `None` for all.
    pub fn networks(&self) -> Option<&[Network]> {
        self.said(|rules| rules.networks.as_deref())
    }

    /// The app password that this is, expired or not. Its cost does not depend on which it is, or whether.
    pub fn app_password(&self, password: &Secret) -> Option<&AppPassword> {
        if self.app_passwords.is_empty() {
            return None;
        }
        let hash = AppPasswordHash::of(password)?;
        let mut found = None;
        for known in &self.app_passwords {
            if bool::from(known.hash.0.ct_eq(&hash.0)) {
                found = Some(known);
            }
        }
        found
    }

    /// The right by which it may log in as that user.
    pub fn mastery(&self, of: &Address) -> Option<&Mastery> {
        self.masteries.iter().find(|mastery| mastery.covers(of))
    }

    fn said<'a, T: ?Sized>(&'a self, part: impl Fn(&'a LoginRules) -> Option<&'a T>) -> Option<&'a T> {
        self.user.as_ref().and_then(&part).or_else(|| self.domain.as_ref().and_then(&part))
    }
}

impl Lock {
    /// Whether it counts at that time.
    pub fn counts(&self, now: SystemTime) -> bool {
        self.until.is_none_or(|until| seconds(now) < until)
    }

    /// Whether it ends by itself.
    pub fn ends(&self) -> bool {
        self.until.is_some()
    }
}

impl AppPassword {
    /// The networks that it may be used from; `None` for all.
    pub fn networks(&self) -> Option<&[Network]> {
        self.networks.as_deref()
    }

    /// Whether it has expired at that time.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        self.expires.is_some_and(|expires| seconds(now) >= expires)
    }
}

impl Mastery {
    /// The services where it counts.
    pub fn services(&self) -> &[String] {
        &self.services
    }

    /// The networks that it may be used from; `None` for all.
    pub fn networks(&self) -> Option<&[Network]> {
        self.networks.as_deref()
    }

    fn covers(&self, user: &Address) -> bool {
        self.scope == "*"
            || match self.scope.parse() {
                Ok(Scope::Address(address)) => address == *user,
                Ok(Scope::Domain(domain)) => domain == *user.domain(),
                Err(_) => false,
            }
    }
}

/// SHA-256 of an app password. An app password is random, 120 bits: nobody finds it by trying, whatever one try costs, so a fast hash
/// is as good as a slow one (NIST SP 800-63B §5.1.2.2 asks no more for look-up secrets from 112 bits on), and a login with ten of them
/// costs no more than one without. The hash of the whole is compared, so its first bytes are no oracle for the rest.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct AppPasswordHash([u8; 32]);

impl AppPasswordHash {
    /// The hash of an app password as somebody typed it; `None` where it cannot be one.
    pub fn of(typed: &Secret) -> Option<Self> {
        let mut plain = zeroize::Zeroizing::new([0u8; APP_PASSWORD_LENGTH]);
        let mut length = 0;
        for byte in typed.expose().bytes().filter(|byte| !matches!(byte, b'-' | b' ')) {
            let byte = byte.to_ascii_lowercase();
            if length == APP_PASSWORD_LENGTH || !ALPHABET.contains(&byte) {
                return None;
            }
            plain[length] = byte;
            length += 1;
        }
        (length == APP_PASSWORD_LENGTH).then(|| Self(sha256(plain.as_slice())))
    }

    /// A new app password, in groups of four, and its hash.
    pub fn generate() -> (Secret, Self) {
        let mut random = zeroize::Zeroizing::new([0u8; APP_PASSWORD_LENGTH]);
        rand::fill(random.as_mut_slice());
        let mut text = String::with_capacity(APP_PASSWORD_LENGTH * 5 / 4);
        let mut plain = zeroize::Zeroizing::new([0u8; APP_PASSWORD_LENGTH]);
        for (place, byte) in random.iter().enumerate() {
            // 32 characters: five bits of each byte, all equally likely.
            plain[place] = ALPHABET[usize::from(byte & 31)];
            if place > 0 && place % 4 == 0 {
                text.push('-');
            }
            text.push(char::from(plain[place]));
        }
        (Secret::new(text), Self(sha256(plain.as_slice())))
    }
}

impl TryFrom<String> for AppPasswordHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || "an app password's hash is no {SHA256.HEX}".to_owned();
        let digits = text.strip_prefix(PREFIX).filter(|digits| digits.len() == 64).ok_or_else(wrong)?;
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(digits.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

/// As it stands in the database, Dovecot's spelling.
impl fmt::Display for AppPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AppPasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppPasswordHash(…)")
    }
}

impl Directory {
    /// What is written down about a login, whether or not there is such a login.
    pub async fn account(&self, login: &Address) -> Lookup<Arc<Account>> {
        let known = self.noted_rules(login);
        if known == Known::Sure(Some(Noted::Nothing)) {
            return Lookup::Found(Arc::clone(&self.0.no_account));
        }
        match self.account_asked(login).await {
            // As it was when contact was lost.
            Lookup::Unavailable(_) if known == Known::Last(Some(Noted::Nothing)) => {
                Lookup::Found(Arc::clone(&self.0.no_account))
            }
            answer => answer,
        }
    }

    async fn account_asked(&self, login: &Address) -> Lookup<Arc<Account>> {
        if self.0.accounts_installed.known(&()) == Some(true)
            && let Some(answer) = self.0.accounts.settled(login)
        {
            return answer;
        }
        Box::pin(self.ask_account(login)).await
    }

    async fn ask_account(&self, login: &Address) -> Lookup<Arc<Account>> {
        match self.are_accounts_installed().await {
            Lookup::Found(true) => {}
            Lookup::Found(false) | Lookup::None => return Lookup::Found(Arc::default()),
            // What is known of the login still is.
            Lookup::Unavailable(_) => {}
            Lookup::Misconfigured(why) => return Lookup::Misconfigured(why),
        }
        let question =
            self.0.accounts_gathered.ask(login.clone(), |logins| Box::pin(self.account_rows(logins)));
        self.0.accounts.ask(login.clone(), question).await
    }

    async fn account_rows(&self, logins: Vec<Address>) -> Result<Vec<Answer<Arc<Account>>>, Trouble> {
        let database = &self.0.database;
        let domains: Vec<String> = logins.iter().map(|login| format!("@{}", login.domain())).collect();
        let query = sqlx::query_as::<_, (i64, String)>(include_str!("queries/account.sql"))
            .bind(logins.iter().map(Address::to_string).collect::<Vec<_>>())
            .bind(domains);
        let rows = database.ask(query.fetch_all(database.pool())).await?;
        let nothing = &self.0.no_account;
        let mut answers: Vec<Answer<Arc<Account>>> =
            logins.iter().map(|_| Ok(Some(Arc::clone(nothing)))).collect();
        for (number, json) in rows {
            let place = usize::try_from(number - 1).ok().filter(|place| *place < logins.len());
            let Some(place) = place else {
                return Err(Trouble::Misconfigured(
                    "unexpected answer of the database: account.sql".to_owned(),
                ));
            };
            answers[place] = match Account::from_json(&json) {
                Ok(account) => Ok(Some(Arc::new(account))),
                Err(error) => {
                    let login = &logins[place];
                    Err(Trouble::Misconfigured(format!("the rules of {login} in schema gatepost: {error}")))
                }
            };
        }
        Ok(answers)
    }

    async fn are_accounts_installed(&self) -> Lookup<bool> {
        if let Some(installed) = self.0.accounts_installed.known(&()) {
            return Lookup::Found(installed);
        }
        let _alone = self.0.accounts_asked.lock().await;
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (bool,)>(include_str!("queries/accounts_installed.sql"));
        let question = async {
            let (installed,) = database.ask(query.fetch_one(database.pool())).await?;
            Ok(Some(installed))
        };
        self.0.accounts_installed.ask((), question).await
    }

    /// A hash of the cost that most of the domain's hashes have; [`Lookup::None`] where there is none, or no such domain.
    pub async fn usual_hash(&self, domain: &Domain) -> Lookup<StoredHash> {
        let question = async {
            let domains = match self.spellings_of(domain).await {
                Lookup::Found(spellings) => spellings,
                Lookup::None => return Ok(None),
                Lookup::Unavailable(why) => return Err(Trouble::Away(why)),
                Lookup::Misconfigured(why) => return Err(Trouble::Misconfigured(why)),
            };
            let database = &self.0.database;
            let query =
                sqlx::query_as::<_, (String,)>(include_str!("queries/usual_hashes.sql")).bind(domains);
            let rows = database.ask(query.fetch_all(database.pool())).await?;
            let hashes: Vec<StoredHash> = rows.into_iter().map(|(hash,)| StoredHash::parse(hash)).collect();
            let commonness =
                |hash: &StoredHash| hashes.iter().filter(|other| cost(other) == cost(hash)).count();
            Ok(hashes.iter().max_by_key(|hash| commonness(hash)).cloned())
        };
        self.0.usual_hashes.ask(domain.clone(), question).await
    }
}

/// What a hash costs, in one word: its parameters without salt and hash, such as `$argon2id$v=19$m=65536,t=4,p=1` or `$2y$10`.
pub fn cost(hash: &StoredHash) -> &str {
    let text = hash.encoded();
    let parts = if text.starts_with("$argon2") { 4 } else { 3 };
    let end = text.match_indices('$').nth(parts - 1).map_or(0, |(at, _)| at);
    // Of a scheme without `$` nothing is shown: it may be the password itself.
    &text[..end]
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// Five bits each, nothing that looks like something else (Crockford's base 32).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 120 bits.
const APP_PASSWORD_LENGTH: usize = 24;
const PREFIX: &str = "{SHA256.HEX}";
/// More domains than a server of this kind hosts.
pub(super) const MAX_DOMAINS: u64 = 10_000;
/// How soon a schema that was installed meanwhile is noticed without announcements.
pub(super) const INSTALLED_TTL: Duration = Duration::from_secs(5);
/// How long a domain's usual cost counts without announcements: it changes with its users' passwords, over months.
pub(super) const USUAL_TTL: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn account(json: &str) -> Account {
        Account::from_json(json).unwrap()
    }

    #[test]
    fn an_app_password_is_found_as_it_is_typed_and_nothing_else_is() {
        let (secret, hash) = AppPasswordHash::generate();
        assert_eq!((secret.expose().len(), secret.expose().matches('-').count()), (29, 5));
        let stored = hash.to_string();
        assert_eq!(AppPasswordHash::try_from(stored.clone()), Ok(hash));
        let json = format!(
            r#"{{"user":null,"domain":null,"lock":null,"masteries":[],
                "app_passwords":[{{"id":7,"label":"phone","hash":"{stored}","services":["imap"],"networks":["192.0.2.0/24"],"expires":4.5}}]}}"#
        );
        let account = account(&json);
        let typed = [
            secret.expose().to_owned(),
            secret.expose().replace('-', ""),
            secret.expose().replace('-', " "),
            secret.expose().to_uppercase(),
        ];
        for typed in typed {
            let found = account.app_password(&Secret::new(typed)).unwrap();
            assert_eq!((found.id, found.label.as_str()), (7, "phone"));
            assert!(found.has_expired(SystemTime::now()) && !found.has_expired(SystemTime::UNIX_EPOCH));
        }
        for wrong in ["", "alice123", &secret.expose()[1..], &format!("{}0", secret.expose())] {
            assert!(account.app_password(&Secret::new(wrong.to_owned())).is_none(), "{wrong}");
        }
        assert!(account.app_password(&AppPasswordHash::generate().0).is_none());
        assert!(!format!("{account:?}").contains(&stored[12..20]));
        for wrong in
            ["", "{SHA256.HEX}", "{SHA256.HEX}zz", &stored[1..], &stored[..70], &format!("{stored}0")]
        {
            assert!(AppPasswordHash::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_users_rule_comes_before_its_domains_key_by_key() {
        let account = account(
            r#"{"user":{"scope":"a@b","services":["imap"],"main_password":null,"networks":null},
                "domain":{"scope":"@b","services":["pop3"],"main_password":[],"networks":null},
                "lock":{"shown":"gone","until":5.0},"app_passwords":[],
                "masteries":[{"master":"a@b","scope":"@c.test","services":["imap"],"networks":null}]}"#,
        );
        assert_eq!(account.services(), Some(&["imap".to_owned()][..]));
        assert_eq!(account.main_password(), Some(&[][..]));
        assert_eq!(account.networks(), None);
        let lock = account.lock.as_ref().unwrap();
        assert!(lock.ends() && lock.counts(SystemTime::UNIX_EPOCH) && !lock.counts(SystemTime::now()));
        let covers = |user: &str| account.mastery(&Address::parse(user).unwrap()).is_some();
        assert_eq!((covers("x@c.test"), covers("x@d.test")), (true, false));
        assert_eq!(Account::default().services(), None);
    }

    #[test]
    fn a_cost_tells_parameters_and_never_salt_or_hash() {
        for (hash, expected) in [
            ("$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOl", "$argon2id$v=19$m=16,t=2,p=1"),
            ("{BLF-CRYPT}$2y$10$abcdefghijklmnopqrstuuWm9T", "$2y$10"),
            ("{PLAIN}secret", ""),
            ("$argon2id$v=19", ""),
        ] {
            assert_eq!(cost(&StoredHash::parse(hash.to_owned())), expected, "{hash}");
        }
    }
}
