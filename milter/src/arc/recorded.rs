//! What a hop recorded: the content of `ARC-Authentication-Results` (RFC 8617, 4.1.1; RFC 8601, 2.2).
//!
//! ```text
//! i=1; lists.example.org 1; spf=pass (why) smtp.mailfrom=a@example.org; dkim=pass header.d=example.org; dmarc=pass header.from=example.org
//! ```
//!
//! Strict in what decides: comments and quoted strings end, a result has a method and a word, a domain is a domain. Pairs that no
//! standard knows (`action=none` of one big sealer) are passed over. What cannot be read records nothing.

use crate::authentication::ArcRecorded;
use crate::dkim::signature::domain;

/// More results than any hop has; each is kept.
const MAX_RESULTS: usize = 50;

/// The text of `i=` at the beginning; none when the field does not begin with an instance and a semicolon.
pub fn instance(value: &[u8]) -> Option<String> {
    let plain = Plain::of(value)?;
    let first = plain.0.first()?;
    // There is something behind the semicolon, or there is none.
    plain.0.get(1)?;
    let (name, number) = first.split_once('=')?;
    (name.trim() == "i").then(|| number.trim().to_owned())
}

/// The authserv-id and the results; empty when they cannot be read.
pub fn parse(value: &[u8]) -> (String, Vec<ArcRecorded>) {
    let Some(plain) = Plain::of(value) else { return (String::new(), Vec::new()) };
    let mut parts = plain.0.iter().skip(1);
    let id = parts.next().and_then(|text| text.split_whitespace().next()).unwrap_or_default();
    let recorded = parts.take(MAX_RESULTS).filter_map(|text| result(text)).collect();
    (id.trim_matches('"').to_ascii_lowercase(), recorded)
}

/// The parts between semicolons, each comment and fold as one space; quoted strings keep their quotes.
struct Plain(Vec<String>);

impl Plain {
    /// None when a comment or a quoted string does not end, or the bytes are no text.
    fn of(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = vec![String::new()];
        let mut depth = 0_u32;
        let mut quoted = false;
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let part = parts.last_mut()?;
            match character {
                '\\' if quoted || depth > 0 => {
                    let escaped = characters.next()?;
                    if quoted {
                        part.push(escaped);
                    }
                }
                '"' if depth == 0 => {
                    quoted = !quoted;
                    part.push('"');
                }
                _ if quoted => part.push(character),
                '(' => {
                    depth += 1;
                    part.push(' ');
                }
                ')' => depth = depth.checked_sub(1)?,
                _ if depth > 0 => {}
                ';' => parts.push(String::new()),
                '\r' | '\n' | '\t' => part.push(' '),
                other => part.push(other),
            }
        }
        (depth == 0 && !quoted).then_some(Self(parts))
    }
}

/// One result with the domain that it is about.
fn result(text: &str) -> Option<ArcRecorded> {
    let mut pairs = pairs(text)?.into_iter();
    let (method, word) = pairs.next()?;
    // `method/version`
    let method = method.split('/').next()?.trim().to_ascii_lowercase();
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !is_word(&method) || !is_word(&word) {
        return None;
    }
    let properties: Vec<(String, String)> = pairs.collect();
    let about: &[&str] = match method.as_str() {
        "dmarc" => &["header.from"],
        "dkim" => &["header.d", "header.i"],
        "spf" => &["smtp.mailfrom", "smtp.helo"],
        _ => &[],
    };
    let domain = about.iter().find_map(|name| match values(&properties, name).as_slice() {
        [] => None,
        [value] => Some(domain_of(value)),
        // Said twice: nobody knows which is meant.
        _ => Some(None),
    });
    Some(ArcRecorded { method, result: word.to_ascii_lowercase(), domain: domain.flatten() })
}

fn values<'a>(properties: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    properties.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
}

/// A domain, or the domain of an address.
fn domain_of(value: &str) -> Option<String> {
    let value = value.trim_matches('"').trim_matches(['<', '>']);
    let name = value.rsplit_once('@').map_or(value, |(_, domain)| domain);
    domain("d", name).ok()
}

/// `name = value` pairs, white space around the equals sign allowed; a value ends at white space, or is quoted.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut pairs = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name: String = name.split_whitespace().collect();
        let after = after.trim_start();
        let end = match after.strip_prefix('"') {
            Some(inside) => inside.find('"')? + 2,
            None => after.find(char::is_whitespace).unwrap_or(after.len()),
        };
        pairs.push((name.to_ascii_lowercase(), after[..end].to_owned()));
        rest = after[end..].trim_start();
    }
    Some(pairs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(value: &str) -> String {
        let (id, recorded) = parse(value.as_bytes());
        let results: Vec<String> = recorded
            .iter()
            .map(|one| format!("{}={} {}", one.method, one.result, one.domain.as_deref().unwrap_or("-")))
            .collect();
        format!("{id}: {}", results.join(", "))
    }

    #[test]
    fn what_the_big_sealers_write() {
        assert_eq!(
            read(
                " i=1; mx.google.com;\r\n       dkim=pass header.i=@Example.ORG header.s=s header.b=Ab/c+d=;\r\n       \
                 spf=pass (google.com: domain of a@example.org designates 192.0.2.1 as permitted sender) \
                 smtp.mailfrom=a@example.org;\r\n       dmarc=pass (p=REJECT sp=REJECT dis=NONE) header.from=example.org"
            ),
            "mx.google.com: dkim=pass example.org, spf=pass example.org, dmarc=pass example.org"
        );
        assert_eq!(
            read(
                "i=2; mx.microsoft.com 1; spf=fail (sender ip is 192.0.2.1) smtp.rcpttodomain=c.test \
                 smtp.mailfrom=b.test; dmarc=pass action=none header.from=b.test; dkim=none (message not signed); arc=none"
            ),
            "mx.microsoft.com: spf=fail b.test, dmarc=pass b.test, dkim=none -, arc=none -"
        );
        assert_eq!(
            read("i=3; \"Id.test\"; dmarc = pass reason = \"because; of (that)\" header . from = \"a.test\""),
            "id.test: dmarc=pass a.test"
        );
    }

    #[test]
    fn what_cannot_be_read_records_nothing() {
        for value in [
            "i=1; a.test; dmarc=pass (header.from=b.test",
            "i=1; a.test; dmarc=pass header.from=\"b.test",
            "i=1; a.test; dmarc=pass header.from",
            "i=1; a.test; none",
            "i=1",
        ] {
            assert!(parse(value.as_bytes()).1.is_empty(), "{value}");
        }
        // Two domains, an odd one, one inside a comment or a string: no domain.
        for value in [
            "header.from=a.test header.from=b.test",
            "header.from=a..test",
            "(header.from=a.test)",
            "reason=\"header.from=a.test\"",
        ] {
            assert_eq!(read(&format!("i=1; id; dmarc=pass {value}")), "id: dmarc=pass -", "{value}");
        }
    }

    #[test]
    fn instances() {
        for (value, expected) in [
            (" i=1; a.test; none", Some("1")),
            (" (c) i (d) = 12 ; x", Some("12")),
            ("i=1 a.test; x", Some("1 a.test")),
            ("a.test; i=1; x", None),
            ("i=1", None),
            ("I=1; x", None),
        ] {
            assert_eq!(instance(value.as_bytes()).as_deref(), expected, "{value}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(value in "[ijk=1-9;.() \"\\\\a-d/@\r\n]{0,200}") {
            let _ = (instance(value.as_bytes()), parse(value.as_bytes()));
        }
    }
}
