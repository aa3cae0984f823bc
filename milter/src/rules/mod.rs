//! The rules: one const each, in one file for each group, all of them in [`RULES`].
//!
//! For `score`, which asks them, for the configuration, whose `[milter.weights]` has their symbols as keys, and for `list`. A rule is a
//! pure function of [`Facts`]: it asks nobody, changes nothing, and costs a few comparisons. Whatever is expensive was done once in
//! `facts`. Composites look at the symbols of other rules, in a second pass.
//!
//! Names and default weights are Rspamd's where the meaning is the same, so that its users feel at home; a rule of ours has a name of
//! its own. A new rule is a const here, a line in its group's slice, its name in `src/spam/symbols.rs` of the library, so that the tool
//! knows what points can be given to, and two cases in `tests/milter/rules/`.

pub mod attachments;
pub mod authentication;
pub mod composites;
pub mod correspondents;
pub mod dates;
pub mod dns_lists;
pub mod envelope;
pub mod headers;
pub mod html;
pub mod learned;
pub mod lists;
pub mod message_id;
pub mod mime;
pub mod phishing;
pub mod programs;
pub mod received;
pub mod recipients;
pub mod replies;
pub mod sender;
pub mod subject;
pub mod text;
pub mod urls;

use std::fmt::Display;

use gatepost::store::Relation;

use crate::facts::{Facts, Learned};

/// One rule.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its name in reports, configuration and history.
    pub symbol: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// The points of a hit, unless the configuration says otherwise; negative for good signs.
    pub weight: f64,
    /// One line for people.
    pub summary: &'static str,
    /// Why it is a sign, with the RFC or the reason.
    pub why: &'static str,
    /// How it is found out.
    pub check: Check,
}

/// How a rule is found out.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// By the facts.
    Facts(fn(&Facts) -> Option<Evidence>),
    /// By the facts, and a hit decides alone, whatever the score.
    Decides(fn(&Facts) -> Option<Evidence>, Decision),
    /// By the facts, and by how the recipient stands to the author: asked for each recipient.
    Relation(fn(&Facts, &Relation) -> Option<Evidence>),
    /// By what the model thinks, which may differ for each recipient.
    Learned(fn(&Learned) -> Option<Evidence>),
    /// By what a list in DNS said: the symbol stands in `Facts::listed`.
    Listed,
    /// By other symbols.
    Composite(Composite),
}

/// What a hit decides alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// To refuse the message with this text.
    Reject(&'static str),
    /// To mark it.
    AddHeader,
}

/// A condition over other symbols.
#[derive(Debug, Clone, Copy)]
pub struct Composite {
    /// All of these hit.
    pub all: &'static [&'static str],
    /// One of each of these sets hits.
    pub any: &'static [&'static [&'static str]],
    /// None of these hits.
    pub none: &'static [&'static str],
    /// These lose their points when the composite hits.
    pub replaces: &'static [&'static str],
}

/// What a rule saw, for the report.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// The text: printable ASCII without the report's own punctuation, at most [`MAX_EVIDENCE`] bytes.
    pub text: String,
    /// How many times the weight it is worth; 1 for most.
    pub factor: f64,
}

impl Evidence {
    /// Evidence with a text, which may come from the message: it is cut and cleaned here.
    pub fn new(text: impl Display) -> Self {
        let text = text.to_string();
        let mut clean = String::with_capacity(text.len().min(MAX_EVIDENCE));
        for c in text.chars() {
            if clean.len() >= MAX_EVIDENCE {
                break;
            }
            clean.push(match c {
                '[' => '(',
                ']' => ')',
                ';' => ',',
                ' ' | '!'..='~' => c,
                _ => '?',
            });
        }
        Self { text: clean, factor: 1.0 }
    }

    /// The same, worth more or less than the rule's weight.
    pub fn times(mut self, factor: f64) -> Self {
        self.factor = factor;
        self
    }
}

/// A hit without anything to show, if the condition holds.
pub fn when(condition: bool) -> Option<Evidence> {
    condition.then(|| Evidence { text: String::new(), factor: 1.0 })
}

/// Families of rules. The sum of a family's points has a bound where one flaw shows in many symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Group {
    /// SPF, DKIM, DMARC.
    Policies,
    /// HELO, client name, MAIL FROM.
    Envelope,
    /// Header fields that are missing, broken or forged.
    Headers,
    /// The way that it came.
    Received,
    /// Who claims to be the author.
    Sender,
    /// Who is addressed.
    Recipients,
    /// The subject.
    Subject,
    /// MIME structure and attachments.
    Mime,
    /// HTML.
    Html,
    /// URLs that are odd in themselves.
    Urls,
    /// Deception about links and brands.
    Phishing,
    /// What the text says.
    Text,
    /// Mailing lists, bulk mail and good signs.
    Lists,
    /// What people have shown.
    Learned,
    /// Whom the recipient knows.
    Correspondents,
    /// Lists in DNS that hold addresses, and those of signers.
    AddressLists,
    /// Lists in DNS that hold domains and mailboxes.
    NameLists,
    /// What the antivirus found.
    Antivirus,
    /// Symbols made of others.
    Composites,
}

impl Group {
    /// The word in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policies => "policies",
            Self::Envelope => "envelope",
            Self::Headers => "headers",
            Self::Received => "received",
            Self::Sender => "sender",
            Self::Recipients => "recipients",
            Self::Subject => "subject",
            Self::Mime => "mime",
            Self::Html => "html",
            Self::Urls => "urls",
            Self::Phishing => "phishing",
            Self::Text => "text",
            Self::Lists => "lists",
            Self::Learned => "learned",
            Self::Correspondents => "correspondents",
            Self::AddressLists => "rbl",
            Self::NameLists => "surbl",
            Self::Antivirus => "antivirus",
            Self::Composites => "composites",
        }
    }

    /// The most points a group can give. Rspamd bounds headers (8), MIME (10), subject (6), phishing (10), URLs (9) and
    /// lists of names (12.5); the others
    /// are bounded so that no group alone reaches the 15 points of a rejection.
    pub fn cap(self) -> f64 {
        match self {
            Self::Headers | Self::Received | Self::Recipients | Self::Envelope => 8.0,
            Self::Subject => 6.0,
            Self::Urls => 9.0,
            Self::Policies
            | Self::Sender
            | Self::Mime
            | Self::Html
            | Self::Phishing
            | Self::Text
            | Self::Lists
            | Self::Learned
            | Self::Correspondents
            | Self::Antivirus
            | Self::Composites => 10.0,
            Self::AddressLists | Self::NameLists => 12.5,
        }
    }
}

/// Enough to recognise what was meant; a report line has at most 998 bytes (RFC 5322, 2.1.1).
pub const MAX_EVIDENCE: usize = 128;

/// The groups' tables.
const TABLES: [&[Rule]; 22] = [
    authentication::RULES,
    envelope::RULES,
    headers::RULES,
    dates::RULES,
    message_id::RULES,
    programs::RULES,
    received::RULES,
    sender::RULES,
    replies::RULES,
    recipients::RULES,
    subject::RULES,
    mime::RULES,
    attachments::RULES,
    html::RULES,
    urls::RULES,
    phishing::RULES,
    text::RULES,
    lists::RULES,
    learned::RULES,
    correspondents::RULES,
    dns_lists::RULES,
    composites::RULES,
];

const COUNT: usize = {
    let (mut count, mut table) = (0, 0);
    while table < TABLES.len() {
        count += TABLES[table].len();
        table += 1;
    }
    count
};

/// All rules; composites last, so that every symbol they look at is decided before.
pub static RULES: [Rule; COUNT] = {
    let mut rules = [TABLES[0][0]; COUNT];
    let (mut count, mut table) = (0, 0);
    while table < TABLES.len() {
        let mut row = 0;
        while row < TABLES[table].len() {
            rules[count] = TABLES[table][row];
            count += 1;
            row += 1;
        }
        table += 1;
    }
    rules
};

/// The rule of that symbol.
pub fn find(symbol: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.symbol == symbol)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_rule_is_complete_and_has_its_own_name() {
        let mut symbols = HashSet::new();
        for rule in &RULES {
            assert!(symbols.insert(rule.symbol), "{} stands there twice", rule.symbol);
            assert!(
                rule.symbol
                    .bytes()
                    .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'),
                "{}",
                rule.symbol
            );
            assert!(
                !rule.summary.is_empty() && rule.summary.len() <= 90 && !rule.summary.ends_with('.'),
                "{}",
                rule.symbol
            );
            assert!(rule.why.len() >= 20, "{} has no reason", rule.symbol);
            assert!(rule.weight.is_finite() && rule.weight <= 15.0, "{}", rule.symbol);
        }
    }

    /// What an operator may write into `gatepost.settings` is what there is.
    #[test]
    fn the_library_knows_every_symbol_and_no_other() {
        let mut symbols: Vec<&str> = RULES.iter().map(|rule| rule.symbol).collect();
        symbols.sort_unstable();
        let known = gatepost::spam::symbols::SYMBOLS;
        let lacking: Vec<_> = symbols.iter().filter(|symbol| !known.contains(symbol)).collect();
        let surplus: Vec<_> = known.iter().filter(|symbol| !symbols.contains(symbol)).collect();
        assert!(
            lacking.is_empty() && surplus.is_empty(),
            "src/spam/symbols.rs lacks {lacking:?}, has {surplus:?}"
        );
    }

    #[test]
    fn composites_name_rules_that_are_decided_before_them() {
        for (at, rule) in RULES.iter().enumerate() {
            let Check::Composite(composite) = rule.check else { continue };
            let named = composite.all.iter().chain(composite.any.iter().copied().flatten());
            for symbol in named.chain(composite.none).chain(composite.replaces) {
                let position = RULES.iter().position(|known| known.symbol == *symbol);
                assert!(position.is_some_and(|position| position < at), "{} names {symbol}", rule.symbol);
            }
        }
    }

    #[test]
    fn evidence_is_cut_and_printable() {
        let evidence = Evidence::new(format!("a\r\nX-Spam: No [x]; \u{e9}{}", "b".repeat(500)));
        assert!(evidence.text.starts_with("a??X-Spam: No (x), ?bbb"));
        assert_eq!(evidence.text.len(), MAX_EVIDENCE);
    }
}
