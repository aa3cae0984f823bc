//! What the operator decides about spam, in SQL: settings by domain and mailbox, and lists of whom to let in, to keep out, or to judge
//! otherwise.
//!
//! For the store, which reads the rows, for the tool, which writes them, and for the milter, which judges by them. Rows are parsed here
//! and nowhere else; nothing is asked here, and nothing about a message is known but what [`Seen`] says.

mod audience;
mod lists;
mod settings;
pub mod symbols;

pub use audience::Audience;
pub use lists::{HeaderPattern, Kind, ListRule, Lists, Match, Named, Seen, Wish};
pub use settings::{
    Chosen, Limit, NAMES, Name, ReplyText, Settings, SubjectTemplate, WEIGHT, known as known_setting,
    parse as parse_setting,
};

use std::fmt;

use crate::mail::{Address, Domain};

/// Whose mail a row is about. In the order of how narrow they are, the narrowest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// One mailbox.
    Mailbox(String),
    /// All of a domain.
    Domain(String),
    /// Everybody.
    All,
}

impl Scope {
    /// Parses `*`, a domain, or an address.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        match text {
            "*" => Ok(Self::All),
            text if text.contains('@') => Address::parse(text)
                .map(|address| Self::Mailbox(address.to_string()))
                .map_err(|reason| format!("bad address \"{shown}\": {reason}")),
            text => Domain::parse(text)
                .map(|domain| Self::Domain(domain.as_str().to_owned()))
                .map_err(|_| format!("\"{shown}\" is none of: * for everybody, a domain, an address")),
        }
    }

    /// Whether mail to that mailbox is meant.
    pub fn covers(&self, mailbox: &Address) -> bool {
        match self {
            Self::All => true,
            Self::Domain(domain) => mailbox.domain().as_str() == domain,
            Self::Mailbox(address) => address
                .strip_suffix(mailbox.domain().as_str())
                .and_then(|local| local.strip_suffix('@'))
                .is_some_and(|local| local == mailbox.local()),
        }
    }
}

impl std::str::FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Domain(name) | Self::Mailbox(name) => f.write_str(name),
        }
    }
}

/// A person's name as it is compared: words of letters and digits in lower case, a blank between them; cut at [`MAX_NAME`] bytes. Empty
/// where fewer than two words remain: a first name is everybody's.
pub fn folded_name(name: &str) -> String {
    let lower = name.to_lowercase();
    let mut words: Vec<&str> =
        lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    if words.len() < 2 || name.contains('@') {
        return String::new();
    }
    // "Miller, Ann" is Ann Miller.
    words.sort_unstable();
    let mut folded = words.join(" ");
    folded.truncate(folded.floor_char_boundary(MAX_NAME));
    folded
}

/// As the table's column has it, in characters; a name is rarely longer than 60.
const MAX_NAME: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn scopes_are_narrower_or_wider() {
        let mut scopes: Vec<Scope> = ["*", "Example.com", "Alice@Example.com"]
            .iter()
            .map(|text| Scope::parse(text).unwrap())
            .collect();
        scopes.sort();
        let texts: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["alice@example.com", "example.com", "*"]);
        let covered = |text: &str| {
            let mailbox = Address::parse(text).unwrap();
            scopes.iter().map(|scope| scope.covers(&mailbox)).collect::<Vec<_>>()
        };
        assert_eq!(covered("alice@example.com"), [true, true, true]);
        assert_eq!(covered("bob@example.com"), [false, true, true]);
        assert_eq!(covered("bob@sub.example.com"), [false, false, true]);
        assert!(Scope::parse("a b").unwrap_err().contains("* for everybody"));
    }

    #[test]
    fn names_are_compared_by_their_words() {
        for (name, folded) in [
            ("Ann Miller", "ann miller"),
            ("\"Miller, Ann\"", "ann miller"),
            ("ANN  MILLER (Sales)", "ann miller sales"),
            ("Ann", ""),
            ("ann@example.com", ""),
            ("", ""),
            ("Jürgen Groß", "groß jürgen"),
        ] {
            assert_eq!(folded_name(name), folded, "{name}");
        }
        assert!(folded_name(&"ä ".repeat(5_000)).len() <= MAX_NAME);
    }
}
