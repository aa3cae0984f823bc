//! Access rules: what Postfix's `check_sender_access` and its kin say about a sender, a recipient, a client or a HELO name.
//!
//! An action is a word of a list and a reason that is only text: nothing in a row can become another restriction, a filter, a redirection
//! or a second line. The most specific rule counts.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::mail::{Address, Domain};

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The envelope sender: `check_sender_access`.
    Sender,
    /// An envelope recipient: `check_recipient_access`.
    Recipient,
    /// The client's name or address: `check_client_access`.
    Client,
    /// The HELO name: `check_helo_access`.
    Helo,
}

impl Subject {
    /// The word for it, as in the table's column `subject`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sender => "sender",
            Self::Recipient => "recipient",
            Self::Client => "client",
            Self::Helo => "helo",
        }
    }
}

impl FromStr for Subject {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Sender, Self::Recipient, Self::Client, Self::Helo]
            .into_iter()
            .find(|subject| subject.word() == text)
            .ok_or_else(|| {
                format!(
                    "unknown subject \"{}\", expected sender, recipient, client or helo",
                    text.escape_debug()
                )
            })
    }
}

/// What a rule matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessPattern {
    /// `alice@example.com`, with any extension.
    Address(Address),
    /// `alice@`: this local part in any domain.
    Local(String),
    /// `example.com`: the domain or host name and everything below it, as Postfix's `parent_domain_matches_subdomains` has it.
    Domain(Domain),
    /// `192.0.2.1`, `192.0.2.0/24`, `2001:db8::/32`.
    Network(IpAddr, u8),
    /// `<>`: the null sender.
    Null,
}

impl AccessPattern {
    /// Parses a pattern for a subject.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(subject: Subject, text: &str) -> Result<Self, String> {
        let shown = text.escape_debug();
        let address = matches!(subject, Subject::Sender | Subject::Recipient);
        if text == "<>" && subject == Subject::Sender {
            return Ok(Self::Null);
        }
        if address {
            if let Some(local) =
                text.strip_suffix('@').filter(|local| !local.is_empty() && !local.contains('@'))
            {
                return Ok(Self::Local(local.to_lowercase()));
            }
            if text.contains('@') {
                return Address::parse(text)
                    .map(Self::Address)
                    .map_err(|reason| format!("bad address \"{shown}\": {reason}"));
            }
        } else if let Some(network) = network(text) {
            return Ok(network);
        }
        let expected = if address {
            "local@domain, local@ or a domain"
        } else {
            "an IP address, a network or a host name"
        };
        Domain::parse(text)
            .map(Self::Domain)
            .map_err(|_| format!("bad pattern \"{shown}\", expected {expected}"))
    }
}

/// An IP address, or a network without bits behind its prefix.
fn network(text: &str) -> Option<AccessPattern> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix =
        prefix.map_or(Some(longest), |prefix| prefix.parse().ok().filter(|bits| *bits <= longest))?;
    (masked(address, prefix) == address).then_some(AccessPattern::Network(address, prefix))
}

fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

impl fmt::Display for AccessPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Local(local) => write!(f, "{local}@"),
            Self::Domain(domain) => domain.fmt(f),
            Self::Network(address, 32) if address.is_ipv4() => address.fmt(f),
            Self::Network(address, 128) => address.fmt(f),
            Self::Network(address, prefix) => write!(f, "{address}/{prefix}"),
            Self::Null => f.write_str("<>"),
        }
    }
}

/// What Postfix is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessAction {
    word: AccessWord,
    reason: Option<String>,
}

/// The words of the table's column `action`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessWord {
    /// Permit: the rest of the restriction list is skipped.
    Ok,
    /// No opinion: an exception from a wider rule.
    Dunno,
    /// Refuse for good.
    Reject,
    /// Refuse for now.
    Defer,
    /// Put the message on hold.
    Hold,
    /// Take the message and drop it.
    Discard,
    /// Say something in the log and go on.
    Warn,
}

impl FromStr for AccessWord {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        WORDS.into_iter().find(|(word, ..)| *word == text).map(|(_, action, _)| action).ok_or_else(|| {
            let words: Vec<&str> = WORDS.iter().map(|(word, ..)| *word).collect();
            format!("unknown action \"{}\", expected one of {}", text.escape_debug(), words.join(", "))
        })
    }
}

impl fmt::Display for AccessWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = WORDS.iter().find(|(_, action, _)| action == self);
        f.write_str(found.map(|(word, ..)| *word).unwrap_or_default())
    }
}

impl AccessAction {
    /// An action with the text that Postfix shows or logs with it.
    ///
    /// # Errors
    /// A sentence: the reason is too long, not printable ASCII, or the action has none.
    pub fn new(word: AccessWord, reason: Option<&str>) -> Result<Self, String> {
        let Some(reason) = reason.map(str::trim).filter(|reason| !reason.is_empty()) else {
            return Ok(Self { word, reason: None });
        };
        if matches!(word, AccessWord::Ok | AccessWord::Dunno) {
            return Err(format!("action {word} takes no reason"));
        }
        if reason.len() > MAX_REASON || !reason.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return Err(format!("a reason is printable ASCII of at most {MAX_REASON} characters"));
        }
        Ok(Self { word, reason: Some(reason.to_owned()) })
    }

    /// The words for Postfix (access(5)). The reason stands behind a status code, so that it cannot be read as one.
    pub fn for_postfix(&self) -> String {
        let wire = WORDS
            .iter()
            .find(|(_, action, _)| *action == self.word)
            .map(|(.., wire)| *wire)
            .unwrap_or_default();
        match &self.reason {
            Some(reason) => format!("{wire} {reason}"),
            None => wire.to_owned(),
        }
    }
}

impl fmt::Display for AccessAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}{}",
            self.word,
            self.reason.as_ref().map(|reason| format!(" {reason}")).unwrap_or_default()
        )
    }
}

/// The operator's word, the action, Postfix's words.
const WORDS: [(&str, AccessWord, &str); 7] = [
    ("ok", AccessWord::Ok, "OK"),
    ("dunno", AccessWord::Dunno, "DUNNO"),
    ("reject", AccessWord::Reject, "REJECT 5.7.1"),
    ("defer", AccessWord::Defer, "DEFER 4.7.1"),
    ("hold", AccessWord::Hold, "HOLD"),
    ("discard", AccessWord::Discard, "DISCARD"),
    ("warn", AccessWord::Warn, "WARN"),
];

/// The rules of all subjects.
#[derive(Debug, Default)]
pub struct AccessRules {
    exact: HashMap<(Subject, AccessPattern), AccessAction>,
    /// The prefix lengths that occur, longest first.
    prefixes: Vec<u8>,
}

impl AccessRules {
    /// Adds one; the last of several for the same pattern counts.
    pub fn add(&mut self, subject: Subject, pattern: AccessPattern, action: AccessAction) {
        if let AccessPattern::Network(_, prefix) = pattern
            && !self.prefixes.contains(&prefix)
        {
            self.prefixes.push(prefix);
            self.prefixes.sort_unstable_by(|a, b| b.cmp(a));
        }
        self.exact.insert((subject, pattern), action);
    }

    /// The rule for an address: itself, itself without extension, its domain and those above, its local part.
    pub fn of_address(&self, subject: Subject, address: &Address, delimiters: &str) -> Option<&AccessAction> {
        let stripped = address.strip_extension(delimiters).map(|(base, _)| base);
        let forms = || std::iter::once(address).chain(stripped.as_ref());
        forms()
            .find_map(|form| self.of(subject, AccessPattern::Address(form.clone())))
            .or_else(|| self.of_name(subject, address.domain()))
            .or_else(|| {
                forms().find_map(|form| self.of(subject, AccessPattern::Local(form.local().to_owned())))
            })
    }

    /// The rule for a host name or domain: itself, else the nearest one above.
    pub fn of_name(&self, subject: Subject, name: &Domain) -> Option<&AccessAction> {
        let mut rest = name.as_str();
        loop {
            if let Ok(domain) = Domain::parse(rest)
                && let Some(action) = self.of(subject, AccessPattern::Domain(domain))
            {
                return Some(action);
            }
            rest = rest.split_once('.')?.1;
        }
    }

    /// The rule for an IP address: itself, else the narrowest network.
    pub fn of_ip(&self, subject: Subject, address: IpAddr) -> Option<&AccessAction> {
        // An IPv4 client of a socket for both.
        let address = address.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        self.prefixes
            .iter()
            .filter(|prefix| **prefix <= longest)
            .find_map(|prefix| self.of(subject, AccessPattern::Network(masked(address, *prefix), *prefix)))
    }

    /// The rule for the null sender.
    pub fn of_null(&self) -> Option<&AccessAction> {
        self.of(Subject::Sender, AccessPattern::Null)
    }

    fn of(&self, subject: Subject, pattern: AccessPattern) -> Option<&AccessAction> {
        self.exact.get(&(subject, pattern))
    }
}

/// As the table's check has it; with the code in front far below SMTP's 512 octets.
const MAX_REASON: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn rules(list: &[(Subject, &str, &str)]) -> AccessRules {
        let mut rules = AccessRules::default();
        for (subject, pattern, action) in list {
            let action = AccessAction::new(action.parse().unwrap(), None).unwrap();
            rules.add(*subject, AccessPattern::parse(*subject, pattern).unwrap(), action);
        }
        rules
    }

    fn said(action: Option<&AccessAction>) -> String {
        action.map(AccessAction::for_postfix).unwrap_or_default()
    }

    #[test]
    fn the_most_specific_rule_counts() {
        use Subject::{Client, Sender};
        let rules = rules(&[
            (Sender, "example.com", "reject"),
            (Sender, "alice@example.com", "ok"),
            (Sender, "info@", "hold"),
            (Sender, "sub.example.com", "dunno"),
            (Client, "192.0.2.0/24", "reject"),
            (Client, "192.0.2.7", "ok"),
            (Client, "2001:db8::/32", "defer"),
            (Client, "example.net", "warn"),
        ]);
        let address = |text: &str| said(rules.of_address(Sender, &Address::parse(text).unwrap(), "+"));
        assert_eq!(address("alice+x@example.com"), "OK");
        assert_eq!(address("bob@example.com"), "REJECT 5.7.1");
        assert_eq!(address("bob@deep.example.com"), "REJECT 5.7.1");
        assert_eq!(address("bob@a.sub.example.com"), "DUNNO");
        assert_eq!(address("info@elsewhere.test"), "HOLD");
        assert_eq!(address("bob@notexample.com"), "");
        let ip = |text: &str| said(rules.of_ip(Client, text.parse().unwrap()));
        assert_eq!([ip("192.0.2.7"), ip("192.0.2.8"), ip("192.0.3.1")], ["OK", "REJECT 5.7.1", ""]);
        assert_eq!([ip("2001:db8:1::1"), ip("2001:db9::1")], ["DEFER 4.7.1", ""]);
        assert_eq!(said(rules.of_name(Client, &Domain::parse("a.b.example.net").unwrap())), "WARN");
    }

    #[test]
    fn nothing_in_a_reason_becomes_a_restriction() {
        let action = |reason| AccessAction::new(AccessWord::Reject, Some(reason));
        assert_eq!(action("go, away").unwrap().for_postfix(), "REJECT 5.7.1 go, away");
        assert_eq!(action("4.0.0 x").unwrap().for_postfix(), "REJECT 5.7.1 4.0.0 x");
        for bad in ["a\nOK", "a\0b", "ü", &"x".repeat(201)] {
            assert!(action(bad).is_err(), "{bad:?}");
        }
        assert!(AccessAction::new(AccessWord::Ok, Some("x")).is_err());
        assert!("FILTER".parse::<AccessWord>().unwrap_err().contains("expected one of ok"));
    }

    #[test]
    fn a_pattern_fits_its_subject() {
        for (subject, text) in [
            (Subject::Client, "alice@example.com"),
            (Subject::Client, "192.0.2.1/24"),
            (Subject::Client, "192.0.2.0/33"),
            (Subject::Recipient, "<>"),
            (Subject::Sender, "@"),
            (Subject::Sender, "a b"),
        ] {
            assert!(AccessPattern::parse(subject, text).is_err(), "{text}");
        }
        for (subject, text) in [
            (Subject::Client, "192.0.2.0/24"),
            (Subject::Client, "0.0.0.0/0"),
            (Subject::Client, "2001:db8::1"),
            (Subject::Sender, "<>"),
            (Subject::Sender, "info@"),
            (Subject::Helo, "example.com"),
        ] {
            assert_eq!(AccessPattern::parse(subject, text).unwrap().to_string(), text);
        }
    }
}
