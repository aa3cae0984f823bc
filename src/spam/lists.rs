//! `gatepost.access_rules` as the milter reads it: of whom, whose mail, what is done.
//!
//! A message is held against the whole list once; which of the matches count for a recipient is asked for each. Among *allow*, *deny* and
//! *defer* the narrowest scope decides, allow before deny within one; *score* and *tag* all count. What only claims to be somebody does
//! not open the door: *allow* needs a proven sender, unless the row says that it does not.
//!
//! Bounds: [`MAX_RULES`] rows; a pattern is compiled within [`PATTERN_SIZE`] and runs in linear time (crate `regex`), over what the facts
//! keep of a field.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Instant;

use regex::{Regex, RegexBuilder};

use super::Audience;
use super::Scope;
use crate::config::Network;
use crate::mail::Address;

/// What a row's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// An address: the envelope's sender, or the author in From.
    Address,
    /// A domain, and what is below it: of either, or of the client's confirmed name.
    Domain,
    /// The client's address.
    Network,
    /// What the client says in HELO.
    Helo,
    /// A recipient of the envelope, or, as `@example.com`, its domain.
    Recipient,
    /// A domain, or one below it, that SPF or DKIM proves.
    Verified,
    /// A domain, and what is below it, that the message links to.
    Url,
    /// The name of an attachment or of a file in an archive; `*` stands for anything.
    Attachment,
    /// A header field and what it looks like; see [`HeaderPattern`].
    Header,
}

/// What a row wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Wish {
    /// Let in, whatever the score.
    Allow,
    /// Refuse.
    Deny,
    /// Refuse for now.
    Defer,
    /// Add points.
    Score(f64),
    /// Mark with a word.
    Tag(String),
}

impl Wish {
    /// The word in the table.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Defer => "defer",
            Self::Score(_) => "score",
            Self::Tag(_) => "tag",
        }
    }

    /// Whether it decides alone.
    fn decides(&self) -> bool {
        matches!(self, Self::Allow | Self::Deny | Self::Defer)
    }
}

/// One row.
#[derive(Clone, Debug)]
pub struct ListRule {
    /// What the value is.
    pub kind: Kind,
    /// The value.
    pub value: String,
    /// Whose mail.
    pub scope: Scope,
    /// What is done.
    pub wish: Wish,
    /// Whether allow needs a proven sender.
    pub authenticated: bool,
    /// When it ends.
    pub until: Option<Instant>,
}

/// `Subject: regular expression`: the field of that name, without case, looks so; the expression too is without case.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    name: String,
    pattern: Regex,
}

impl HeaderPattern {
    /// Parses it.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "expected a header field and a regular expression, as in \"Subject: ^cheap\"";
        let (name, pattern) = text.split_once(':').ok_or(expected)?;
        let (name, pattern) = (name.trim(), pattern.trim());
        if name.is_empty() || pattern.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(expected.to_owned());
        }
        let pattern = RegexBuilder::new(pattern)
            .case_insensitive(true)
            .size_limit(PATTERN_SIZE)
            .dfa_size_limit(PATTERN_SIZE)
            .nest_limit(20)
            .build()
            .map_err(|error| format!("bad regular expression: {}", error.to_string().replace('\n', " ")))?;
        Ok(Self { name: name.to_ascii_lowercase(), pattern })
    }
}

/// What is known of a message when the lists are asked. Empty texts match nothing; names are in lower case.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The client's confirmed name.
    pub client_name: String,
    /// What it said in HELO.
    pub helo: String,
    /// The envelope's sender.
    pub sender: Option<Named>,
    /// The author in From.
    pub author: Option<Named>,
    /// The domains that SPF or DKIM prove.
    pub verified: Vec<String>,
    /// The hosts that the message links to.
    pub hosts: Vec<&'a str>,
    /// The names of attachments and archived files.
    pub attachments: Vec<String>,
    /// The header's fields: name, value.
    pub fields: Vec<(&'a str, &'a str)>,
}

/// Somebody, and whether he is proven.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The address.
    pub address: String,
    /// Its domain.
    pub domain: String,
    /// Whether SPF, DKIM or DMARC prove the domain.
    pub proven: bool,
}

/// A row that matches a message, not yet asked for whom.
#[derive(Clone, Debug, PartialEq)]
pub struct Match<'a> {
    /// What is done.
    pub wish: &'a Wish,
    /// Whose mail.
    pub scope: &'a Scope,
    /// What matched, for the report.
    pub what: String,
    /// For a rule of kind recipient: the recipient.
    recipient: Option<&'a str>,
}

/// The whole list.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    rules: Vec<ListRule>,
    named: HashMap<(Kind, String), Vec<usize>>,
    networks: HashMap<Network, Vec<usize>>,
    /// The prefix lengths that occur.
    prefixes: Vec<u8>,
    recipients: Vec<usize>,
    attachments: Vec<usize>,
    headers: Vec<(HeaderPattern, usize)>,
}

impl Lists {
    /// Adds a row.
    ///
    /// # Errors
    /// A sentence for the operator: the value is not what its kind says, or there are too many.
    pub fn add(&mut self, rule: ListRule) -> Result<(), String> {
        let index = self.rules.len();
        if index >= MAX_RULES {
            return Err(format!("more than {MAX_RULES} rows"));
        }
        match rule.kind {
            Kind::Network => {
                let network: Network = rule.value.parse()?;
                if !self.prefixes.contains(&network.prefix()) {
                    self.prefixes.push(network.prefix());
                }
                self.networks.entry(network).or_default().push(index);
            }
            Kind::Recipient => self.recipients.push(index),
            Kind::Attachment => self.attachments.push(index),
            Kind::Header => {
                if self.headers.len() >= MAX_PATTERNS {
                    return Err(format!("more than {MAX_PATTERNS} patterns"));
                }
                self.headers.push((HeaderPattern::parse(&rule.value)?, index));
            }
            kind => self.named.entry((kind, rule.value.clone())).or_default().push(index),
        }
        self.rules.push(rule);
        Ok(())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The rows that match a message, in the order of the table; for one or the other of its recipients.
    pub fn matching<'a>(&'a self, seen: &Seen<'_>, audience: &Audience) -> Vec<Match<'a>> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut found = Found { lists: self, audience, matches: Vec::new() };
        let anybody = seen.author.as_ref().is_some_and(|author| author.proven);
        for (named, word) in [(&seen.sender, "sender"), (&seen.author, "author")] {
            let Some(named) = named else { continue };
            // The envelope's sender may be proven while the author that people see is not: that opens no door.
            let proven = named.proven && (word == "author" || anybody || seen.author.is_none());
            found.named(Kind::Address, &named.address, proven, word);
            found.below(Kind::Domain, &named.domain, proven, word);
        }
        found.below(Kind::Domain, &seen.client_name, true, "client name");
        found.named(Kind::Helo, &seen.helo, anybody, "helo");
        for domain in &seen.verified {
            found.below(Kind::Verified, domain, true, "verified");
        }
        for host in &seen.hosts {
            found.below(Kind::Url, host, anybody, "url");
        }
        if let Some(client) = seen.client {
            let width = if client.to_canonical().is_ipv4() { 32 } else { 128 };
            for prefix in self.prefixes.iter().filter(|prefix| **prefix <= width) {
                let network = Network::around(client, *prefix);
                for index in self.networks.get(&network).into_iter().flatten() {
                    found.push(*index, true, || format!("network {network}"));
                }
            }
        }
        for index in &self.recipients {
            found.push(*index, true, || format!("recipient {}", self.rules[*index].value));
        }
        for index in &self.attachments {
            let wanted = &self.rules[*index].value;
            if let Some(name) = seen.attachments.iter().find(|name| is_like(name, wanted)) {
                found.push(*index, anybody, || format!("attachment {name}"));
            }
        }
        for (header, index) in &self.headers {
            let hit = seen
                .fields
                .iter()
                .any(|(name, value)| *name == header.name && header.pattern.is_match(value));
            if hit {
                found.push(*index, anybody, || format!("header {}", header.name));
            }
        }
        found.matches
    }
}

impl Match<'_> {
    /// Whether it counts for mail that came for `recipient` (as the client said) and goes to `mailbox`.
    pub fn counts_for(&self, recipient: &Address, mailbox: &Address) -> bool {
        let addressed = self.recipient.is_none_or(|wanted| match wanted.strip_prefix('@') {
            Some(domain) => recipient.domain().as_str() == domain,
            None => recipient.to_string() == wanted || mailbox.to_string() == wanted,
        });
        addressed && self.scope.covers(mailbox)
    }

    /// The one that decides among those that count: the narrowest scope, allow before deny, deny before defer.
    pub fn deciding<'m, 'a>(matches: &[&'m Match<'a>]) -> Option<&'m Match<'a>> {
        let rank = |wish: &Wish| match wish {
            Wish::Allow => 0,
            Wish::Deny => 1,
            _ => 2,
        };
        let deciding = matches.iter().copied().filter(|found| found.wish.decides());
        deciding.min_by_key(|found| (found.scope, rank(found.wish)))
    }
}

struct Found<'a, 's> {
    lists: &'a Lists,
    audience: &'s Audience,
    matches: Vec<Match<'a>>,
}

impl<'a> Found<'a, '_> {
    fn named(&mut self, kind: Kind, name: &str, proven: bool, word: &str) {
        if name.is_empty() {
            return;
        }
        for index in self.lists.named.get(&(kind, name.to_owned())).into_iter().flatten() {
            self.push(*index, proven, || format!("{word} {name}"));
        }
    }

    fn below(&mut self, kind: Kind, domain: &str, proven: bool, word: &str) {
        let mut rest = (!domain.is_empty()).then_some(domain);
        while let Some(name) = rest {
            self.named(kind, name, proven, word);
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
    }

    fn push(&mut self, index: usize, proven: bool, what: impl FnOnce() -> String) {
        let rule = &self.lists.rules[index];
        if !self.audience.concerns(rule) {
            return;
        }
        let ended = rule.until.is_some_and(|until| until <= Instant::now());
        let claimed = rule.wish == Wish::Allow && rule.authenticated && !proven;
        if ended || claimed || self.matches.len() >= MAX_MATCHES + self.audience.scopes() {
            return;
        }
        let found = Match {
            wish: &rule.wish,
            scope: &rule.scope,
            what: what(),
            recipient: (rule.kind == Kind::Recipient).then_some(rule.value.as_str()),
        };
        // The same row for sender and author is one row.
        let same = |known: &Match<'_>| {
            std::ptr::eq(known.wish, found.wish) && std::ptr::eq(known.scope, found.scope)
        };
        if !self.matches.iter().any(same) {
            self.matches.push(found);
        }
    }
}

/// Whether a name is like a pattern with `*`: each piece between the stars in its turn. Linear in the name for each piece.
fn is_like(name: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

/// Far more than anybody keeps by hand; each takes some 200 bytes.
const MAX_RULES: usize = 100_000;
/// Each is held against its field in every message.
const MAX_PATTERNS: usize = 1_000;
/// More matches of one message than this, and one for each of its mailboxes and their domains, say nothing new.
const MAX_MATCHES: usize = 256;
/// The size of a compiled pattern, in bytes: enough for a page of alternatives, far from what repetition of repetition takes.
const PATTERN_SIZE: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn lists(rows: &[(Kind, &str, &str, Wish, bool)]) -> Lists {
        let mut lists = Lists::default();
        for (kind, value, scope, wish, authenticated) in rows {
            lists
                .add(ListRule {
                    kind: *kind,
                    value: (*value).to_owned(),
                    scope: Scope::parse(scope).unwrap(),
                    wish: wish.clone(),
                    authenticated: *authenticated,
                    until: None,
                })
                .unwrap();
        }
        lists
    }

    fn named(address: &str, proven: bool) -> Option<Named> {
        let domain = address.split_once('@').unwrap().1.to_owned();
        Some(Named { address: address.to_owned(), domain, proven })
    }

    /// The words of the matches, and what decides for alice.
    fn decided(lists: &Lists, seen: &Seen<'_>) -> Option<&'static str> {
        let alice = Address::parse("alice@example.com").unwrap();
        let mut audience = Audience::default();
        audience.add(&alice, &alice);
        let matches = lists.matching(seen, &audience);
        let counting: Vec<&Match<'_>> =
            matches.iter().filter(|found| found.counts_for(&alice, &alice)).collect();
        Match::deciding(&counting).map(|found| found.wish.word())
    }

    #[test]
    fn who_only_claims_to_be_somebody_is_not_let_in() {
        let rows = [(Kind::Address, "ann@a.test", "*", Wish::Allow, true)];
        let seen = |author, sender| Seen { author, sender, ..Seen::default() };
        let ask = |rows: &[_], seen: &Seen<'_>| decided(&lists(rows), seen);
        assert_eq!(ask(&rows, &seen(named("ann@a.test", true), None)), Some("allow"));
        assert_eq!(ask(&rows, &seen(named("ann@a.test", false), None)), None);
        // SPF proves the envelope's sender, and people see another one.
        assert_eq!(ask(&rows, &seen(named("boss@b.test", false), named("ann@a.test", true))), None);
        let open = [(Kind::Address, "ann@a.test", "*", Wish::Allow, false)];
        assert_eq!(ask(&open, &seen(named("ann@a.test", false), None)), Some("allow"));
        let deny = [(Kind::Domain, "a.test", "*", Wish::Deny, true)];
        assert_eq!(ask(&deny, &seen(named("ann@sub.a.test", false), None)), Some("deny"));
        assert_eq!(ask(&deny, &seen(named("ann@ba.test", true), None)), None);
    }

    #[test]
    fn the_narrowest_scope_decides_and_allow_wins_within_one() {
        let seen = Seen { client: "192.0.2.7".parse().ok(), ..Seen::default() };
        for (rows, expected) in [
            (vec![("*", Wish::Deny), ("*", Wish::Allow)], Some("allow")),
            (vec![("example.com", Wish::Deny), ("*", Wish::Allow)], Some("deny")),
            (vec![("example.com", Wish::Deny), ("alice@example.com", Wish::Allow)], Some("allow")),
            (vec![("bob@example.com", Wish::Deny)], None),
            (vec![("*", Wish::Score(1.0)), ("*", Wish::Tag("x".to_owned()))], None),
            (vec![("*", Wish::Defer), ("*", Wish::Deny)], Some("deny")),
        ] {
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(scope, wish)| (Kind::Network, "192.0.2.0/24", scope, wish, true))
                .collect();
            assert_eq!(decided(&lists(&rows), &seen), expected, "{rows:?}");
        }
    }

    #[test]
    fn every_kind_matches_what_it_says() {
        let seen = Seen {
            client_name: "mx.news.test".to_owned(),
            helo: "helo.test".to_owned(),
            verified: vec!["mail.signed.test".to_owned()],
            hosts: vec!["www.shop.test"],
            attachments: vec!["invoice.pdf.exe".to_owned()],
            fields: vec![("subject", "Cheap WATCHES"), ("x-mailer", "none")],
            ..Seen::default()
        };
        for (kind, value, hit) in [
            (Kind::Domain, "news.test", true),
            (Kind::Helo, "helo.test", true),
            (Kind::Helo, "test", false),
            (Kind::Verified, "signed.test", true),
            (Kind::Verified, "igned.test", false),
            (Kind::Url, "shop.test", true),
            (Kind::Attachment, "*.exe", true),
            (Kind::Attachment, "invoice*", true),
            (Kind::Attachment, "in*ice.*.exe", true),
            (Kind::Attachment, "invoice.pdf", false),
            (Kind::Attachment, "*.pdf", false),
            (Kind::Header, "Subject: ^cheap watch", true),
            (Kind::Header, "X-Mailer: watches", false),
            (Kind::Recipient, "alice@example.com", true),
            (Kind::Recipient, "@example.com", true),
            (Kind::Recipient, "@example.org", false),
        ] {
            let found = decided(&lists(&[(kind, value, "*", Wish::Deny, true)]), &seen);
            assert_eq!(found.is_some(), hit, "{kind:?} {value}");
        }
    }

    #[test]
    fn patterns_are_bounded() {
        for (text, sentence) in [
            ("Subject", "expected a header field"),
            ("Subject:", "expected a header field"),
            ("Subject: (", "bad regular expression"),
            ("Subject: (((a{1000}){1000}){1000})", "bad regular expression"),
        ] {
            assert!(HeaderPattern::parse(text).unwrap_err().contains(sentence), "{text}");
        }
    }
}
