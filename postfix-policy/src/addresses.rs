//! What the engine's answers become on the wire: addresses as Postfix reads them, and the settings of the engine.
//!
//! For `maps`. A socketmap is asked only for the full key, as typed, so everything that Postfix does by itself with other tables is done
//! by `gatepost::directory`'s engine: folding, U- and A-labels, extensions, precedence, following aliases to their end. Refuses to say
//! less than the whole: a list that no value can hold is a misconfiguration, never "not found".

use gatepost::directory::{Directory, Extensions, Leaf, Lookup, Recipient, Route, Via};
use gatepost::mail::{Address, written};
use serde::Deserialize;

use crate::protocol::socketmap::Value;

/// `[postfix-policy.addresses]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whether an extension that no alias names goes along to the destination: `boss+x@` to `alice+x@`, as Postfix's
    /// `propagate_unmatched_extensions` has it for virtual aliases.
    pub propagate_unmatched_extensions: bool,
    /// Whether those to whom a mailbox is shared may send as its owner.
    pub shared_mailboxes_may_send: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { propagate_unmatched_extensions: true, shared_mailboxes_may_send: false }
    }
}

impl Settings {
    /// How the engine is to treat extensions.
    pub fn extensions<'a>(&self, directory: &'a Directory) -> Extensions<'a> {
        Extensions {
            delimiters: directory.extension_delimiters(),
            propagate: self.propagate_unmatched_extensions,
        }
    }
}

/// What Postfix is to put in the place of an address: nothing where it is a recipient itself, else where it leads.
pub fn replacement(route: &Route) -> Lookup<Value> {
    match route.via {
        Via::Mailbox | Via::Relayed => Lookup::None,
        _ => {
            let list: Vec<String> = route.leaves.iter().map(|leaf| said(&leaf.recipient)).collect();
            sayable(list.join(","))
        }
    }
}

/// The address of a leaf, with the extension in the sender's spelling where one is left.
pub fn recipient(leaf: &Leaf) -> Lookup<Value> {
    sayable(said(&leaf.recipient))
}

/// The logins as `smtpd_sender_login_maps` wants them: one text, divided by commas. A login with a blank or a comma in it cannot be said
/// there, because Postfix divides at them; it is left out.
pub fn login_list(logins: &[Address]) -> Option<Value> {
    let names: Vec<String> =
        logins.iter().map(Address::to_string).filter(|name| !name.contains([',', ' ', '\t'])).collect();
    Value::new(names.join(","))
}

/// A text as a value.
pub fn sayable(text: String) -> Lookup<Value> {
    let length = text.len();
    match Value::new(text) {
        Some(value) => Lookup::Found(value),
        None => Lookup::Misconfigured(format!("the answer, {length} bytes, is no value of a socketmap")),
    }
}

fn said(recipient: &Recipient) -> String {
    written(recipient.typed_local(), recipient.exact().domain())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::directory::Place;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn other_kinds_of_keys_are_no_recipients() {
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
            assert_eq!(Recipient::parse(key), None, "{key:?}");
        }
    }

    #[test]
    fn a_list_that_no_value_holds_is_never_not_found() {
        let leaf = |number: usize| Leaf {
            recipient: Recipient::parse(&format!("user{number}@{}.example", "x".repeat(60))).unwrap(),
            place: Place::Outside,
        };
        let route =
            |count| Route { via: Via::Alias, leaves: (0..count).map(leaf).collect(), lost: Vec::new() };
        assert!(replacement(&route(1000)).is_found());
        assert!(matches!(replacement(&route(2000)), Lookup::Misconfigured(_)));
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
        /// What is written is read back as the same address, whatever is in the local part.
        #[test]
        fn what_is_written_is_read_back(local in "[ -~]{1,64}") {
            let domain = gatepost::mail::Domain::parse("example.com").unwrap();
            let text = written(&local, &domain);
            let read = Recipient::parse(&text).unwrap();
            prop_assert_eq!(read.typed_local(), local.as_str());
            prop_assert_eq!(read.exact(), &Address::new(&local, domain).unwrap());
        }
    }
}
