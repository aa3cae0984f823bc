//! `gatepost.settings`: from how many points on what is done, what is said, and what symbols are worth, for everybody, a domain or a
//! mailbox. The narrowest scope that says something about a name counts; what none says is the configuration's.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use serde::Deserialize;

use super::{Scope, symbols};
use crate::config::nearest;
use crate::mail::Address;

/// From how many points on something is done; [`Limit::NEVER`] for what is never done.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Deserialize)]
#[serde(try_from = "LimitText")]
pub struct Limit(f64);

#[derive(Deserialize)]
#[serde(untagged)]
enum LimitText {
    Points(f64),
    Word(String),
}

impl TryFrom<LimitText> for Limit {
    type Error = String;

    fn try_from(text: LimitText) -> Result<Self, String> {
        match text {
            LimitText::Points(points) => Self::new(points),
            LimitText::Word(word) => Self::parse(&word),
        }
    }
}

impl Limit {
    /// It is never done.
    pub const NEVER: Self = Self(f64::INFINITY);

    /// That many points.
    ///
    /// # Errors
    /// A sentence: points are above 0 and at most [`MAX_LIMIT`].
    pub fn new(points: f64) -> Result<Self, String> {
        if points > 0.0 && points <= MAX_LIMIT {
            return Ok(Self(points));
        }
        Err(format!("{points} is no number of points; expected more than 0 and at most {MAX_LIMIT}, or off"))
    }

    /// Parses points or `off`.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::NEVER);
        }
        let points: f64 = text.parse().map_err(|_| {
            format!("\"{}\" is no number of points; expected such as 6.5, or off", text.escape_debug())
        })?;
        Self::new(points)
    }

    /// The points; infinity for never.
    pub fn points(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_finite() { write!(f, "{}", self.0) } else { f.write_str("off") }
    }
}

/// How a subject is rewritten: printable ASCII with one `%s` where the old one goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct SubjectTemplate(String);

impl SubjectTemplate {
    /// Parses a template.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.matches("%s").count() != 1 {
            return Err(
                "a subject has exactly one %s, where the old one goes, as in \"***SPAM*** %s\"".to_owned()
            );
        }
        printable(text, MAX_SUBJECT).map(Self)
    }

    /// What stands before the old subject, and what behind.
    pub fn around(&self) -> (&str, &str) {
        self.0.split_once("%s").unwrap_or((&self.0, ""))
    }
}

impl TryFrom<String> for SubjectTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Default for SubjectTemplate {
    /// Rspamd's.
    fn default() -> Self {
        Self("***SPAM*** %s".to_owned())
    }
}

/// What a client is told behind `554 5.7.1`: printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct ReplyText(String);

impl ReplyText {
    /// Parses a text.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        printable(text, MAX_REPLY).map(Self)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ReplyText {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl Default for ReplyText {
    /// Rspamd's.
    fn default() -> Self {
        Self("Spam message rejected".to_owned())
    }
}

fn printable(text: &str, limit: usize) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() || text.len() > limit || !text.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
        return Err(format!("\"{}\" is not printable ASCII of 1 to {limit} characters", text.escape_debug()));
    }
    Ok(text.to_owned())
}

/// What one scope says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// From where on a first mail of a stranger is to come again.
    pub greylist: Option<Limit>,
    /// From where on mail is marked as spam.
    pub add_header: Option<Limit>,
    /// From where on its subject is rewritten.
    pub rewrite_subject: Option<Limit>,
    /// From where on it is put on hold.
    pub quarantine: Option<Limit>,
    /// From where on it is refused.
    pub reject: Option<Limit>,
    /// From where on it is taken and dropped.
    pub discard: Option<Limit>,
    /// How the subject is rewritten.
    pub subject: Option<SubjectTemplate>,
    /// What is said to whom is refused.
    pub reject_text: Option<ReplyText>,
    /// Points of symbols.
    pub weights: BTreeMap<String, f64>,
}

/// A name in `gatepost.settings`.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The word.
    pub word: &'static str,
    /// One line for people.
    pub summary: &'static str,
    set: fn(&mut Chosen, &str) -> Result<(), String>,
}

/// Every name but `weight.SYMBOL`.
pub const NAMES: [Name; 8] = [
    Name {
        word: "greylist",
        summary: "points from which on a first mail of a stranger is to come again, or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.greylist = Some(limit)),
    },
    Name {
        word: "add-header",
        summary: "points from which on mail goes to Junk (X-Spam: Yes), or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.add_header = Some(limit)),
    },
    Name {
        word: "rewrite-subject",
        summary: "points from which on the subject is rewritten besides, or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.rewrite_subject = Some(limit)),
    },
    Name {
        word: "quarantine",
        summary: "points from which on mail waits for `gatepost quarantine release`, or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.quarantine = Some(limit)),
    },
    Name {
        word: "reject",
        summary: "points from which on mail is refused, or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.reject = Some(limit)),
    },
    Name {
        word: "discard",
        summary: "points from which on mail is taken and dropped, or off",
        set: |chosen, value| Limit::parse(value).map(|limit| chosen.discard = Some(limit)),
    },
    Name {
        word: "subject",
        summary: "how the subject is rewritten, as \"***SPAM*** %s\"",
        set: |chosen, value| SubjectTemplate::parse(value).map(|template| chosen.subject = Some(template)),
    },
    Name {
        word: "reject-text",
        summary: "what is said behind 554 5.7.1",
        set: |chosen, value| ReplyText::parse(value).map(|text| chosen.reject_text = Some(text)),
    },
];

/// What a symbol's points are set by: `weight.GTUBE`.
pub const WEIGHT: &str = "weight.";

/// Whether there is a setting of that name.
///
/// # Errors
/// A sentence for the operator, with the nearest name.
pub fn known(name: &str) -> Result<(), String> {
    if let Some(symbol) = name.strip_prefix(WEIGHT) {
        return symbols::known(symbol).map(drop);
    }
    let words = || NAMES.iter().map(|known| known.word);
    if words().any(|word| word == name) {
        return Ok(());
    }
    let advice = match nearest(name, words()) {
        Some(near) => format!("did you mean {near}?"),
        None => format!("expected one of {}, {WEIGHT}SYMBOL", words().collect::<Vec<_>>().join(", ")),
    };
    Err(format!("unknown setting \"{}\"; {advice}", name.escape_debug()))
}

/// Parses one row into what a scope says.
///
/// # Errors
/// A sentence for the operator.
pub fn parse(chosen: &mut Chosen, name: &str, value: &str) -> Result<(), String> {
    if let Some(symbol) = name.strip_prefix(WEIGHT) {
        symbols::known(symbol)?;
        let points: f64 =
            value.parse().map_err(|_| format!("\"{}\" is no number of points", value.escape_debug()))?;
        if !points.is_finite() || points.abs() > MAX_LIMIT {
            return Err(format!("{points} points are beyond ±{MAX_LIMIT}"));
        }
        chosen.weights.insert(symbol.to_owned(), points);
        return Ok(());
    }
    match NAMES.iter().find(|known| known.word == name) {
        Some(known) => (known.set)(chosen, value),
        None => known(name),
    }
}

/// What all scopes say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings(HashMap<Scope, Chosen>);

impl Settings {
    /// Adds one row.
    ///
    /// # Errors
    /// A sentence for the operator; nothing is changed then.
    pub fn add(&mut self, scope: Scope, name: &str, value: &str) -> Result<(), String> {
        let mut chosen = self.0.get(&scope).cloned().unwrap_or_default();
        parse(&mut chosen, name, value)?;
        self.0.insert(scope, chosen);
        Ok(())
    }

    /// What counts for a mailbox, from the widest scope to the narrowest: what comes later wins.
    pub fn of<'a>(&'a self, mailbox: &Address) -> impl Iterator<Item = &'a Chosen> {
        let scopes = match self.0.is_empty() {
            true => Vec::new(),
            false => vec![
                Scope::All,
                Scope::Domain(mailbox.domain().as_str().to_owned()),
                Scope::Mailbox(mailbox.to_string()),
            ],
        };
        scopes.into_iter().filter_map(|scope| self.0.get(&scope))
    }

    /// What is set for one scope.
    pub fn get(&self, scope: &Scope) -> Option<&Chosen> {
        self.0.get(scope)
    }
}

/// More than any threshold anyone sets; beyond it a typing error is likelier than an intention.
const MAX_LIMIT: f64 = 1000.0;

/// A subject stays readable; and with an old one of any length the first line stays below 998 bytes (RFC 5322, 2.1.1).
const MAX_SUBJECT: usize = 100;

/// With code and enhanced status far below SMTP's 512 octets.
const MAX_REPLY: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_narrowest_scope_that_says_something_counts() {
        let mut settings = Settings::default();
        for (scope, name, value) in [
            ("*", "reject", "12"),
            ("*", "weight.GTUBE", "3"),
            ("example.com", "reject", "off"),
            ("alice@example.com", "add-header", "4.5"),
        ] {
            settings.add(Scope::parse(scope).unwrap(), name, value).unwrap();
        }
        let last = |mailbox: &str, of: fn(&Chosen) -> Option<Limit>| {
            settings.of(&Address::parse(mailbox).unwrap()).filter_map(of).last()
        };
        assert_eq!(last("bob@elsewhere.test", |c| c.reject), Some(Limit(12.0)));
        assert_eq!(last("bob@example.com", |c| c.reject), Some(Limit::NEVER));
        assert_eq!(last("alice@example.com", |c| c.add_header), Some(Limit(4.5)));
        assert_eq!(last("bob@example.com", |c| c.add_header), None);
        assert_eq!(settings.get(&Scope::All).unwrap().weights.keys().collect::<Vec<_>>(), ["GTUBE"]);
    }

    #[test]
    fn the_sentence_of_every_mistake() {
        for (name, value, sentence) in [
            ("rejekt", "5", "unknown setting \"rejekt\"; did you mean reject?"),
            ("threshold", "5", "unknown setting \"threshold\"; expected one of greylist"),
            ("reject", "-1", "-1 is no number of points"),
            ("reject", "NaN", "no number of points"),
            ("reject", "inf", "no number of points"),
            ("reject", "never", "expected such as 6.5, or off"),
            ("subject", "SPAM", "exactly one %s"),
            ("subject", "a\r\nBcc: x %s", "not printable ASCII"),
            ("reject-text", "a\r\n250 ok", "not printable ASCII"),
            ("reject-text", "", "1 to 200"),
            ("weight.", "1", "unknown symbol \"\""),
            ("weight.gtube", "1", "unknown symbol \"gtube\"; did you mean GTUBE?"),
            ("weight.MISING_DATE", "1", "unknown symbol \"MISING_DATE\"; did you mean MISSING_DATE?"),
            ("weight.GTUBE", "1e9", "beyond ±1000"),
        ] {
            let error = parse(&mut Chosen::default(), name, value).unwrap_err();
            assert!(error.contains(sentence), "{name} {value}: {error}");
        }
    }
}
