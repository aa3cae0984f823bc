//! The address engine: what an address that Postfix asks about leads to here.
//!
//! For `maps`. A socketmap is asked only for the full key, as typed, so everything that Postfix does by itself with other tables is
//! done here: folding, U- and A-labels, taking off the extension, and putting it back behind an alias's destination. Refuses to
//! guess: a key that is no address leads nowhere, and a question that has no answer now gives no answer.
//!
//! The order, for `alice+news@example.com` (each step only if the one before found nothing):
//!
//! 1. the domain must be hosted; any other address costs no further question
//! 2. mailbox `alice+news@`, 3. alias `alice+news@`, 4. mailbox `alice@`, 5. alias `alice@`
//!
//! So a mailbox wins over an alias of the same name, and whoever made an alias with an extension gets it. An alias leads to a mailbox
//! by a foreign key of the database, never to another alias: there is no loop to find.

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::{Address, Domain};

use crate::protocol::socketmap::Value;

/// An address as asked: folded, and the same without its extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    exact: Address,
    stripped: Option<Stripped>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Stripped {
    base: Address,
    /// Delimiter included, in the sender's spelling: Postfix folds what it looks up, not what it puts back.
    extension: String,
}

/// Where an address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// To a mailbox; its login name.
    Mailbox(Address),
    /// To the destination of an alias, and what is put behind its local part.
    Alias {
        /// The mailbox behind the alias.
        destination: Address,
        /// The extension that was taken off to find the alias.
        extension: Option<String>,
    },
}

impl Asked {
    /// Parses a key. `None` for every other kind of key that Postfix asks: `@domain`, a bare user, `""` and `<>` for the null
    /// sender, `*`, or anything else that is no address.
    pub fn parse(key: &str, delimiters: &str) -> Option<Self> {
        let exact = Address::parse(key).ok()?;
        let stripped = exact.strip_extension(delimiters).map(|(base, folded)| {
            let extension = typed_extension(key, delimiters)
                .filter(|typed| typed.to_lowercase() == folded)
                .unwrap_or(folded);
            Stripped { base, extension }
        });
        Some(Self { exact, stripped })
    }

    /// Where the address leads.
    pub async fn place(&self, directory: &Directory) -> Lookup<Place> {
        match directory.hosts(self.exact.domain()).await.settled() {
            Ok(Some(())) => {}
            Ok(None) => return Lookup::None,
            Err(failure) => return failure,
        }
        match place_of(directory, &self.exact, None).await {
            Lookup::None => {}
            answer => return answer,
        }
        match &self.stripped {
            Some(Stripped { base, extension }) => place_of(directory, base, Some(extension)).await,
            None => Lookup::None,
        }
    }

    /// The address, folded.
    pub fn exact(&self) -> &Address {
        &self.exact
    }
}

impl Place {
    /// What Postfix is to put in the place of the address. An extension that would make the local part too long is left out, as the
    /// mailbox gets the mail either way; `None` for a mailbox whose name no value can hold.
    pub fn recipient(&self) -> Option<Value> {
        match self {
            Self::Mailbox(login) => Value::new(written(login.local(), login.domain())),
            Self::Alias { destination, extension } => {
                let local = format!("{}{}", destination.local(), extension.as_deref().unwrap_or_default());
                let local = if local.len() > MAX_LOCAL_PART { destination.local() } else { &local };
                Value::new(written(local, destination.domain()))
            }
        }
    }
}

/// The logins as `smtpd_sender_login_maps` wants them: one text, divided by commas. A login with a blank or a comma in it cannot be said
/// there, because Postfix divides at them; it is left out.
pub fn login_list(logins: &[Address]) -> Option<Value> {
    let names: Vec<String> =
        logins.iter().map(Address::to_string).filter(|name| !name.contains([',', ' ', '\t'])).collect();
    Value::new(names.join(","))
}

async fn place_of(directory: &Directory, address: &Address, extension: Option<&String>) -> Lookup<Place> {
    match directory.mailbox(address).await {
        Lookup::None => {}
        answer => return answer.map(Place::Mailbox),
    }
    directory
        .alias(address)
        .await
        .map(|destination| Place::Alias { destination, extension: extension.cloned() })
}

/// The extension of an unquoted local part, as typed.
fn typed_extension(key: &str, delimiters: &str) -> Option<String> {
    let (local, _) = key.rsplit_once('@')?;
    let at = local.find(|c| delimiters.contains(c)).filter(|_| !local.starts_with('"'))?;
    Some(local[at..].to_owned())
}

/// An address as it is written in a list of addresses: the local part quoted where it must be (RFC 5321 §4.1.2, RFC 6531 §3.3), so
/// that no name in the database can be read as two.
fn written(local: &str, domain: &Domain) -> String {
    if local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
        return format!("{local}@{domain}");
    }
    let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"@{domain}")
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// RFC 5321 §4.5.3.1.1.
const MAX_LOCAL_PART: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn stripped(key: &str, delimiters: &str) -> Option<(String, String)> {
        Asked::parse(key, delimiters).unwrap().stripped.map(|s| (s.base.to_string(), s.extension))
    }

    fn alias(destination: &str, extension: Option<&str>) -> Option<String> {
        let place = Place::Alias {
            destination: Address::parse(destination).unwrap(),
            extension: extension.map(str::to_owned),
        };
        place.recipient().map(|value| value.as_str().to_owned())
    }

    #[test]
    fn a_key_is_folded_and_its_extension_keeps_its_spelling() {
        assert_eq!(
            Asked::parse("Bob+Ext@Example.test", "+").unwrap().exact().to_string(),
            "bob+ext@example.test"
        );
        assert_eq!(stripped("Bob+Ext@Example.test", "+"), Some(("bob@example.test".into(), "+Ext".into())));
        assert_eq!(stripped("bob+a+b@example.test", "+"), Some(("bob@example.test".into(), "+a+b".into())));
        assert_eq!(stripped("bob+@example.test", "+"), Some(("bob@example.test".into(), "+".into())));
        assert_eq!(
            stripped("\"Bob+A b\"@example.test", "+"),
            Some(("bob@example.test".into(), "+a b".into()))
        );
        assert_eq!(stripped("+bob@example.test", "+"), None);
        assert_eq!(stripped("bob@example.test", "+"), None);
        assert_eq!(stripped("bob+x@example.test", ""), None);
    }

    #[test]
    fn what_postfix_never_divides_stays_whole() {
        for whole in ["mailer-daemon", "double-bounce", "owner-list", "list-request"] {
            assert_eq!(stripped(&format!("{whole}@example.test"), "-"), None, "{whole}");
        }
        assert_eq!(
            stripped("list-news@example.test", "+-"),
            Some(("list@example.test".into(), "-news".into()))
        );
    }

    #[test]
    fn other_kinds_of_keys_lead_nowhere() {
        for key in [
            "",
            "@example.com",
            "alice",
            "*",
            "\"\"",
            "<>",
            "\"\"@example.com@",
            "alice@",
            "a b@example.com",
            "[192.0.2.1]",
            "alice@[192.0.2.1]",
            "\0",
        ] {
            assert_eq!(Asked::parse(key, "+"), None, "{key:?}");
        }
    }

    #[test]
    fn an_alias_gets_the_extension_behind_its_destination() {
        assert_eq!(alias("alice@example.com", None).as_deref(), Some("alice@example.com"));
        assert_eq!(alias("alice@example.com", Some("+X")).as_deref(), Some("alice+X@example.com"));
        assert_eq!(alias("alice@example.com", Some(&"+".repeat(60))).as_deref(), Some("alice@example.com"));
        assert_eq!(alias("\"a b\"@example.com", Some("+x")).as_deref(), Some("\"a b+x\"@example.com"));
        assert_eq!(alias("\"a,b\"@example.com", None).as_deref(), Some("\"a,b\"@example.com"));
        assert_eq!(alias("\"a\\\"b\"@example.com", None).as_deref(), Some("\"a\\\"b\"@example.com"));
        assert_eq!(alias("alice@bücher.example", None).as_deref(), Some("alice@xn--bcher-kva.example"));
    }

    #[test]
    fn a_login_that_the_list_cannot_say_is_left_out() {
        let logins = ["alice@example.com", "\"a b\"@example.com", "bob@example.com"]
            .map(|login| Address::parse(login).unwrap());
        assert_eq!(login_list(&logins).unwrap().as_str(), "alice@example.com,bob@example.com");
        assert_eq!(login_list(&logins[1..2]), None);
        assert_eq!(login_list(&[]), None);
    }

    proptest! {
        #[test]
        fn no_key_breaks_the_engine(key in "\\PC{0,80}", delimiters in "[+_=-]{0,2}") {
            if let Some(asked) = Asked::parse(&key, &delimiters) {
                let place = Place::Mailbox(asked.exact().clone());
                prop_assert!(place.recipient().is_some());
            }
        }

        /// What is written is read back as the same address, whatever is in the local part.
        #[test]
        fn what_is_written_is_read_back(local in "[ -~]{1,64}", extension in proptest::option::of("\\+[a-zA-Z0-9+]{0,20}")) {
            let domain = Domain::parse("example.com").unwrap();
            let destination = Address::new(&local, domain).unwrap();
            let expected = extension.as_deref().and_then(|e| destination.with_extension(e)).unwrap_or_else(|| destination.clone());
            let value = Place::Alias { destination, extension }.recipient().unwrap();
            prop_assert_eq!(Address::parse(value.as_str()), Ok(expected));
        }

        /// An extension put behind a destination is found again, so that Postfix's recursive lookup of the result ends in the mailbox.
        #[test]
        fn a_result_leads_back_to_its_destination(local in "[a-z0-9]{1,20}(\\.[a-z0-9]{1,5})?", extension in "\\+[a-zA-Z0-9+-]{0,30}") {
            let destination = Address::new(&format!("x{local}"), Domain::parse("example.com").unwrap()).unwrap();
            let place = Place::Alias { destination: destination.clone(), extension: Some(extension.clone()) };
            let value = place.recipient().unwrap();
            prop_assert_eq!(stripped(value.as_str(), "+"), Some((destination.to_string(), extension)));
        }
    }
}
