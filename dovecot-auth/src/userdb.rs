//! What Dovecot is told about a user: uid, gid, home and more fields, by templates of the configuration and of `gatepost.user_fields`.
//!
//! For the master and userdb sessions and for the dictionary `auth`. Refuses root as owner of mail, templates with unknown words, and
//! users whose name would lead out of their directory.

use gatepost::config::nearest;
use gatepost::mail::Address;
use gatepost::store::Account;
use nix::unistd::{Group, User};

use crate::config::Settings;

/// The templates, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userdb {
    uid: u32,
    gid: u32,
    home: Template,
    fields: Vec<(String, Template)>,
}

/// Why there are no templates; names the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct TemplateError {
    key: String,
    reason: String,
}

/// A user that cannot be told about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUser {
    /// Its directory would be elsewhere.
    #[error("{0} has a name that cannot be part of a path; rename that user")]
    Name(Address),
    /// Its row in the database.
    #[error("gatepost.user_fields, of {0}: {1}")]
    Field(Address, TemplateError),
}

impl Userdb {
    /// Checks the templates and looks up the system's user and group.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub fn new(settings: &Settings) -> Result<Self, TemplateError> {
        let uid = identity("uid", &settings.uid, "user", |name| {
            User::from_name(name).ok().flatten().map(|user| user.uid.as_raw())
        })?;
        let gid = identity("gid", &settings.gid, "group", |name| {
            Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw())
        })?;
        let home = Template::parse("home", &settings.home)?;
        if !settings.home.starts_with('/') {
            return Err(wrong("home", format!("\"{}\" is no absolute path", settings.home)));
        }
        let mut fields = Vec::new();
        for (name, value) in &settings.fields {
            let key = format!("fields.{name}");
            // `=` divides name and value on the wire; uid and the like have their own keys.
            let good = !name.is_empty()
                && name.chars().all(|c| c.is_ascii_graphic() || c == ' ')
                && !name.contains('=');
            if !good || OWN_FIELDS.contains(&name.as_str()) {
                return Err(wrong(&key, "no name for a field of its own".to_owned()));
            }
            fields.push((name.clone(), Template::parse(&key, value)?));
        }
        Ok(Self { uid, gid, home, fields })
    }

    /// The user of the system that owns the mail.
    pub(crate) fn owner(&self) -> u32 {
        self.uid
    }

    /// The fields of one user, in the order of the wire. A field whose template has a word that this user has no value for is left out.
    ///
    /// # Errors
    /// The user's name cannot be part of a path, or a field of its own is malformed.
    pub fn fields(&self, login: &Address, account: &Account) -> Result<Vec<(String, String)>, BadUser> {
        let bad =
            |part: &str| part.is_empty() || part.contains(['/', '\0', '\n']) || part == "." || part == "..";
        if bad(login.local()) || bad(login.domain().as_str()) {
            return Err(BadUser::Name(login.clone()));
        }
        let mut own = Vec::with_capacity(account.fields.len());
        for (name, value) in &account.fields {
            let template = Template::parse(name, value).and_then(|template| match name.as_str() {
                "home" if !value.starts_with('/') => {
                    Err(wrong(name, format!("\"{value}\" is no absolute path")))
                }
                _ => Ok(template),
            });
            own.push((name, template.map_err(|error| BadUser::Field(login.clone(), error))?));
        }
        let of_all = [("home", &self.home)].into_iter();
        let of_all = of_all.chain(self.fields.iter().map(|(name, value)| (name.as_str(), value)));
        let nearest = |name: &str| own.iter().find(|(known, _)| *known == name).map(|(_, template)| template);
        let mut fields =
            vec![("uid".to_owned(), self.uid.to_string()), ("gid".to_owned(), self.gid.to_string())];
        let mut add = |name: &str, template: &Template| {
            if let Some(value) = template.render(login, account) {
                fields.push((name.to_owned(), value));
            }
        };
        for (name, template) in of_all.clone() {
            add(name, nearest(name).unwrap_or(template));
        }
        for (name, template) in &own {
            if !of_all.clone().any(|(known, _)| known == name.as_str()) {
                add(name, template);
            }
        }
        Ok(fields)
    }
}

fn identity(
    key: &str,
    given: &str,
    kind: &str,
    look_up: impl FnOnce(&str) -> Option<u32>,
) -> Result<u32, TemplateError> {
    let number = match given.parse() {
        Ok(number) => number,
        Err(_) => look_up(given)
            .ok_or_else(|| wrong(key, format!("no such {kind} \"{given}\"; create it, or name another")))?,
    };
    if number == 0 {
        return Err(wrong(key, "root must not own mail".to_owned()));
    }
    Ok(number)
}

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    User,
    Local,
    Domain,
    Quota,
    QuotaMessages,
    Groups,
}

impl Template {
    fn parse(key: &str, text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (word, after) = after
                .split_once('}')
                .ok_or_else(|| wrong(key, format!("\"{text}\" has a {{ without its }}")))?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(match word {
                "user" => Piece::User,
                "local" => Piece::Local,
                "domain" => Piece::Domain,
                "quota" if key != "home" => Piece::Quota,
                "quota-messages" if key != "home" => Piece::QuotaMessages,
                "groups" if key != "home" => Piece::Groups,
                _ => {
                    let words = if key == "home" { &WORDS[..OF_HOME] } else { &WORDS };
                    let hint = nearest(word, words.iter().copied())
                        .map(|near| format!("; did you mean {{{near}}}?"))
                        .unwrap_or_default();
                    let words: Vec<String> = words.iter().map(|word| format!("{{{word}}}")).collect();
                    return Err(wrong(
                        key,
                        format!("unknown {{{word}}}, expected one of {}{hint}", words.join(" ")),
                    ));
                }
            });
            rest = after;
        }
        // Dovecot's own %d and %n mean nothing here, and nobody means a directory of that name.
        if text.contains("%d") || text.contains("%n") || text.contains("%u") {
            return Err(wrong(
                key,
                format!("\"{text}\": write {{domain}} for %d, {{local}} for %n and {{user}} for %u"),
            ));
        }
        pieces.push(Piece::Text(rest.to_owned()));
        Ok(Self(pieces))
    }

    /// `None` where it holds something that this user has not.
    fn render(&self, login: &Address, account: &Account) -> Option<String> {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => Some(text.clone()),
            Piece::User => Some(login.to_string()),
            Piece::Local => Some(login.local().to_owned()),
            Piece::Domain => Some(login.domain().to_string()),
            Piece::Quota => account.quota_bytes.map(|bytes| bytes.to_string()),
            Piece::QuotaMessages => account.quota_messages.map(|messages| messages.to_string()),
            Piece::Groups => (!account.groups.is_empty()).then(|| account.groups.join(",")),
        };
        self.0.iter().map(piece).collect()
    }
}

pub(crate) fn wrong(key: &str, reason: String) -> TemplateError {
    TemplateError { key: key.to_owned(), reason }
}

/// The words of `home` are the first: a home must not move when somebody gets a quota.
const OF_HOME: usize = 3;
const WORDS: [&str; 6] = ["user", "local", "domain", "quota", "quota-messages", "groups"];
/// Fields that are made of other keys.
const OWN_FIELDS: [&str; 4] = ["uid", "gid", "home", "user"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn settings() -> Settings {
        Settings { uid: "5000".into(), gid: "5001".into(), ..Settings::default() }
    }

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn a_user_has_its_fields() {
        let mut settings = settings();
        settings.fields.insert("quota_rule".into(), "*:storage=1G".into());
        settings.fields.insert("mail_attachment".into(), "/a/{user}/x".into());
        let userdb = Userdb::new(&settings).unwrap();
        let fields = userdb.fields(&address("Alice@Example.com"), &Account::default()).unwrap();
        let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            fields,
            [
                "uid=5000",
                "gid=5001",
                "home=/var/vmail/example.com/alice",
                "mail_attachment=/a/alice@example.com/x",
                "quota_rule=*:storage=1G"
            ]
        );
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let userdb = Userdb::new(&settings()).unwrap();
        for bad in ["../x@example.com", "a/b@example.com", "..@example.com", ".@example.com"] {
            let error = userdb.fields(&address(bad), &Account::default()).unwrap_err().to_string();
            assert!(error.contains("rename that user"), "{error}");
        }
        assert!(userdb.fields(&address("...@example.com"), &Account::default()).is_ok());
    }

    #[test]
    fn what_the_database_says_of_a_user_goes_before_the_configuration() {
        let mut settings = settings();
        settings.fields.insert("acl_groups".into(), "{groups}".into());
        settings.fields.insert("quota_rule".into(), "*:bytes={quota}".into());
        settings.fields.insert("shell".into(), "/a".into());
        let userdb = Userdb::new(&settings).unwrap();
        let fields = |account: &Account| {
            let fields = userdb.fields(&address("a@b.test"), account).map_err(|error| error.to_string())?;
            Ok(fields.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()[2..]
                .join(" "))
        };
        assert_eq!(fields(&Account::default()), Ok("home=/var/vmail/b.test/a shell=/a".to_owned()));
        let mut account = Account {
            fields: vec![
                ("home".into(), "/big/{user}".into()),
                ("mail".into(), "mdbox:~/m".into()),
                ("shell".into(), "/b".into()),
            ],
            groups: vec!["staff".into(), "zoo".into()],
            quota_bytes: Some(1024),
            quota_messages: None,
        };
        assert_eq!(
            fields(&account),
            Ok("home=/big/a@b.test acl_groups=staff,zoo quota_rule=*:bytes=1024 shell=/b mail=mdbox:~/m"
                .to_owned())
        );
        for (name, value, sentence) in [
            ("home", "mail", "gatepost.user_fields, of a@b.test: home: \"mail\" is no absolute path"),
            ("mail", "{usr}", "mail: unknown {usr}, expected one of {user} {local} {domain} {quota}"),
        ] {
            account.fields = vec![(name.into(), value.into())];
            let error: Result<String, String> = fields(&account);
            assert!(error.clone().unwrap_err().contains(sentence), "{error:?}");
        }
    }

    #[test]
    fn bad_templates_and_owners_are_named() {
        let error = |change: fn(&mut Settings)| {
            let mut settings = settings();
            change(&mut settings);
            Userdb::new(&settings).unwrap_err().to_string()
        };
        assert_eq!(error(|s| s.uid = "0".into()), "uid: root must not own mail");
        assert!(error(|s| s.uid = "root".into()).contains("root must not own mail"));
        assert!(error(|s| s.gid = "no-such-group".into()).contains("gid: no such group \"no-such-group\""));
        assert!(error(|s| s.home = "mail".into()).contains("no absolute path"));
        assert!(error(|s| s.home = "/m/{locl}".into()).contains("did you mean {local}?"));
        assert!(error(|s| s.home = "/m/{local".into()).contains("without its }"));
        assert!(error(|s| s.home = "/m/%d/%n".into()).contains("write {domain} for %d"));
        assert!(error(|s| drop(s.fields.insert("uid".into(), "1".into()))).contains("fields.uid"));
        assert!(error(|s| drop(s.fields.insert("a=b".into(), "1".into()))).contains("fields.a=b"));
    }
}
