//! Whom the From fields of a message name, for DMARC.
//!
//! For `verifier`. A reader sees one author where a parser sees another, or none: `<a@bank.example> <b@evil.example>`,
//! `a@bank(x).example`, `(Bank <a@bank.example>` (RFC 9989, 11.5, and Chen et al., "Composition Kills", USENIX Security 2020). So a field that
//! the library does not read as addresses with one `@` each is searched for whatever looks like one: an address too many is a check too
//! many, one too few lets a forged author pass.

use mail_auth::AuthenticatedMessage;

use crate::dkim::{Canonicalization, Field, Parts};

/// The addresses of all From fields; of some only the domain is right.
pub(super) fn authors(parts: &Parts<'_>) -> Vec<String> {
    parts.fields.iter().filter(|field| field.is(b"From")).flat_map(named).collect()
}

fn named(field: &Field<'_>) -> Vec<String> {
    let plain = without_comments(field.value);
    let value = plain.as_deref().unwrap_or(field.value);
    let mut header = Vec::new();
    Canonicalization::Simple.header(&Field { name: b"From", value }, &mut header);
    header.extend_from_slice(b"X:\r\n\r\n");
    let parsed = AuthenticatedMessage::parse(&header);
    let addresses = parsed.as_ref().map_or(&[][..], |message| message.from_addresses());
    match addresses.iter().any(|address| address.contains('@'))
        && !addresses.iter().any(|one| is_several(one))
    {
        true => addresses.to_vec(),
        false => found(&String::from_utf8_lossy(value)),
    }
}

/// Whether an address has an `@` too many outside of quotes.
fn is_several(address: &str) -> bool {
    let mut quoted = false;
    let outside = address.chars().filter(|c| {
        quoted ^= *c == '"';
        *c == '@' && !quoted
    });
    outside.count() > 1
}

/// A value without its comments (RFC 5322, 3.2.2), which may stand within a domain; none where there is none, or one does not end.
fn without_comments(value: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'(', value)?;
    let mut plain = Vec::with_capacity(value.len());
    let (mut depth, mut quoted, mut escaped) = (0_u32, false, false);
    for &byte in value {
        let literal = escaped;
        escaped = !literal && byte == b'\\';
        let outside = depth == 0;
        match byte {
            b'"' if !literal && outside => quoted = !quoted,
            b'(' if !literal && !quoted => depth += 1,
            b')' if !literal && !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if outside && depth == 0 {
            plain.push(byte);
        }
    }
    (depth == 0 && !quoted).then_some(plain)
}

/// What looks like addresses in a text: something, an `@`, something, as often as the latter two.
fn found(text: &str) -> Vec<String> {
    let ends = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | ':' | '<' | '>' | '(' | ')' | '"');
    let mut found = Vec::new();
    for word in text.split(ends) {
        let mut pieces = word.split('@');
        let local = pieces.next().unwrap_or_default();
        let domains = pieces.filter(|domain| !local.is_empty() && !domain.is_empty());
        found.extend(domains.take(MOST).map(|domain| format!("{local}@{domain}")));
        if found.len() >= MOST {
            break;
        }
    }
    found
}

/// More than DMARC looks at.
const MOST: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn authors(from: &str) -> String {
        let raw = format!("Subject: x\r\nFrom: {from}\r\n\r\nTo: not@this.test\r\n");
        super::authors(&Parts::of(raw.as_bytes())).join(" ")
    }

    #[test]
    fn who_a_reader_may_take_for_the_author_is_one() {
        for (from, expected) in [
            ("a@x.test", "a@x.test"),
            ("A \"(\" B <a@x.test>, C (\\) \") <c@y.test>", "a@x.test c@y.test"),
            ("\"b@y.test\" <a@x.test> (c@z.test)", "a@x.test"),
            ("\"a@b\"@x.test", "@x.test"),
            ("g: a@x.test, b@y.test;", "a@x.test b@y.test"),
            ("a@x(c (d)).test", "a@x.test"),
            ("<a@x.test> <b@y.test>", "a@x.test b@y.test"),
            ("a@x.test\r\n b@y.test", "a@x.test b@y.test"),
            ("a@x.test@y.test", "a@x.test a@y.test"),
            ("<@y.test:a@x.test>", "a@x.test"),
            ("(b <a@x.test>", "a@x.test"),
            ("\"b <a@x.test>", "a@x.test"),
            ("\"b (c\" <a@x.test>", "a@x.test"),
            ("nobody", ""),
            ("", ""),
            ("@ @@ a@ @b", ""),
        ] {
            assert_eq!(authors(from), expected, "{from}");
        }
        assert!(authors(&"a@b ".repeat(10_000)).len() < 100);
        assert!(authors(&format!("a{}", "@b".repeat(10_000))).len() < 100);
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_survived(from in "[a@. <>()\",;:\\\\\u{e4}\u{1}-]{0,60}") {
            let _ = authors(&from);
        }
    }
}
