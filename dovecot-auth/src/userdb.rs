//! What Dovecot is told about a user: uid, gid, home and more fields, by templates of the configuration.
//!
//! For the master and userdb sessions and for the dictionary `auth`. Refuses root as owner of mail, templates with unknown words, and
//! users whose name would lead out of their directory.

use gatepost::config::nearest;
use gatepost::mail::Address;
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
#[error("{0} has a name that cannot be part of a path; rename that user")]
pub struct BadName(Address);

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

    /// The fields of one user, in the order of the wire.
    ///
    /// # Errors
    /// The user's name cannot be part of a path.
    pub fn fields(&self, login: &Address) -> Result<Vec<(String, String)>, BadName> {
        let bad =
            |part: &str| part.is_empty() || part.contains(['/', '\0', '\n']) || part == "." || part == "..";
        if bad(login.local()) || bad(login.domain().as_str()) {
            return Err(BadName(login.clone()));
        }
        let mut fields = vec![
            ("uid".to_owned(), self.uid.to_string()),
            ("gid".to_owned(), self.gid.to_string()),
            ("home".to_owned(), self.home.render(login)),
        ];
        fields.extend(self.fields.iter().map(|(name, value)| (name.clone(), value.render(login))));
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
                _ => {
                    let hint = nearest(word, WORDS.into_iter())
                        .map(|near| format!("; did you mean {{{near}}}?"))
                        .unwrap_or_default();
                    return Err(wrong(
                        key,
                        format!("unknown {{{word}}}, expected {{user}}, {{local}} or {{domain}}{hint}"),
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

    fn render(&self, login: &Address) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::User => login.to_string(),
            Piece::Local => login.local().to_owned(),
            Piece::Domain => login.domain().to_string(),
        };
        self.0.iter().map(piece).collect()
    }
}

fn wrong(key: &str, reason: String) -> TemplateError {
    TemplateError { key: key.to_owned(), reason }
}

const WORDS: [&str; 3] = ["user", "local", "domain"];
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
        let fields = Userdb::new(&settings).unwrap().fields(&address("Alice@Example.com")).unwrap();
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
            let error = userdb.fields(&address(bad)).unwrap_err().to_string();
            assert!(error.contains("rename that user"), "{error}");
        }
        assert!(userdb.fields(&address("...@example.com")).is_ok());
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
