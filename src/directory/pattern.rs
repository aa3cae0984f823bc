//! Aliases for many local parts at once: wildcards and regular expressions.
//!
//! Both are matched against the whole folded local part, never against a part of it or the domain. Matching takes time linear in the
//! local part (crate `regex`), which is at most 64 octets, whatever the pattern.

use regex::{Regex, RegexBuilder};

use crate::mail::Address;

/// A pattern of one domain and where what it matches leads.
#[derive(Clone, Debug)]
pub struct AliasPattern {
    shown: String,
    matches: Regex,
    destination: String,
}

/// How a pattern is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatternKind {
    /// `*` is any text, also none, and `?` one character: `sales-*`.
    Wildcard,
    /// A regular expression for the whole local part: `(sales|shop)-[0-9]+`.
    Regex,
}

impl PatternKind {
    /// The word for it, as in the table's column `kind`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Wildcard => "wildcard",
            Self::Regex => "regex",
        }
    }
}

impl AliasPattern {
    /// Compiles a pattern. In the destination `$1` to `$9` stand for what the groups, or the stars and question marks, matched.
    ///
    /// # Errors
    /// A sentence for the operator: the pattern, or a destination that can be no address.
    pub fn new(kind: PatternKind, pattern: &str, destination: &str) -> Result<Self, String> {
        let expression = match kind {
            PatternKind::Regex => pattern.to_owned(),
            PatternKind::Wildcard => wildcard(pattern),
        };
        let compile = |expression: &str| {
            RegexBuilder::new(expression).case_insensitive(true).size_limit(MAX_COMPILED).build()
        };
        // First alone: what is no expression by itself must not become one between the anchors.
        let matches =
            compile(&expression).and_then(|_| compile(&format!("^(?:{expression})$"))).map_err(|error| {
                format!(
                    "bad {} \"{}\": {}",
                    kind.word(),
                    pattern.escape_debug(),
                    one_line(&error.to_string())
                )
            })?;
        let sample = substituted(destination, |_| Some("x"));
        if let Err(reason) = Address::parse(&sample) {
            return Err(format!("bad destination \"{}\": {reason}", destination.escape_debug()));
        }
        let groups = matches.captures_len() - 1;
        if let Some(beyond) = group_numbers(destination).find(|number| *number > groups) {
            return Err(format!(
                "destination \"{destination}\" has ${beyond}, but the pattern has {groups} group(s)"
            ));
        }
        Ok(Self { shown: format!("{} {pattern}", kind.word()), matches, destination: destination.to_owned() })
    }

    /// Where this folded local part leads; `None` where it does not match. A destination that is no address after its groups were
    /// filled in is an error: it leads nowhere.
    pub fn destination(&self, local: &str) -> Option<Result<Address, String>> {
        let groups = self.matches.captures(local)?;
        let text = substituted(&self.destination, |number| groups.get(number).map(|group| group.as_str()));
        Some(
            Address::parse(&text)
                .map_err(|reason| format!("{} leads to {}: {reason}", self.shown, text.escape_debug())),
        )
    }

    /// The pattern as the operator wrote it, with its kind.
    pub fn shown(&self) -> &str {
        &self.shown
    }
}

fn wildcard(pattern: &str) -> String {
    let mut expression = String::new();
    for c in pattern.chars() {
        match c {
            '*' => expression.push_str("(.*)"),
            '?' => expression.push_str("(.)"),
            c => expression.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    expression
}

fn substituted<'a>(template: &str, group: impl Fn(usize) -> Option<&'a str>) -> String {
    let mut text = String::new();
    let mut characters = template.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek().and_then(|next| next.to_digit(10))) {
            ('$', Some(digit)) if digit > 0 => {
                text.push_str(group(digit as usize).unwrap_or_default());
                characters.next();
            }
            _ => text.push(c),
        }
    }
    text
}

fn group_numbers(template: &str) -> impl Iterator<Item = usize> + '_ {
    template
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0] == b'$' && (b'1'..=b'9').contains(&pair[1]))
        .map(|pair| usize::from(pair[1] - b'0'))
}

/// The crate's messages draw arrows over several lines.
fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim().to_owned()
}

/// Bytes that one compiled pattern may take; a counted repetition of a counted repetition would else take all.
const MAX_COMPILED: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn leads(kind: PatternKind, pattern: &str, destination: &str, local: &str) -> Option<String> {
        let pattern = AliasPattern::new(kind, pattern, destination).unwrap();
        pattern.destination(local).map(|address| address.map_or_else(|error| error, |a| a.to_string()))
    }

    #[test]
    fn a_pattern_matches_whole_local_parts_and_fills_in_what_it_matched() {
        use PatternKind::{Regex, Wildcard};
        assert_eq!(
            leads(Wildcard, "sales-*", "$1@shop.example", "sales-berlin").as_deref(),
            Some("berlin@shop.example")
        );
        assert_eq!(leads(Wildcard, "sales-*", "a@b.example", "my-sales-x"), None);
        assert_eq!(leads(Wildcard, "a.c", "a@b.example", "abc"), None);
        assert_eq!(leads(Wildcard, "a?c", "a@b.example", "abc").as_deref(), Some("a@b.example"));
        assert_eq!(leads(Regex, "a|b", "a@b.example", "ab"), None);
        assert_eq!(
            leads(Regex, "(x|y)([0-9]+)", "$2.$1@b.example", "y42").as_deref(),
            Some("42.y@b.example")
        );
        // Nothing that matched can become another address.
        let odd = leads(Regex, "(.*)", "$1@b.example", "x@evil.example,y").unwrap();
        assert!(odd.contains("leads to"), "{odd}");
    }

    #[test]
    fn a_bad_pattern_is_told_with_its_reason() {
        for (pattern, destination, sentence) in [
            ("(", "a@b.example", "bad regex"),
            ("a)|(b", "a@b.example", "bad regex"),
            ("(a{1000}){1000}", "a@b.example", "bad regex"),
            ("a", "nobody", "bad destination"),
            ("a", "$1@b.example", "has $1, but the pattern has 0"),
        ] {
            let error = AliasPattern::new(PatternKind::Regex, pattern, destination).unwrap_err();
            assert!(error.contains(sentence), "{pattern}: {error}");
        }
    }
}
