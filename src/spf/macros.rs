//! Macros in SPF records and explanations (RFC 7208, 7).
//!
//! ```text
//! macro-expand = "%{" letter [digits] ["r"] *delimiter "}" / "%%" / "%_" / "%-"
//! letter       = s l o d i p v h, in explanations also c r t; a capital letter: the same, URL-escaped
//! domain-spec  = macro-string ending in "." toplabel ["."], or in a macro-expand
//! ```
//!
//! For `record` and `check`. It expands and refuses to ask: the one value that needs DNS, `p`, is given to it.

use std::fmt::Write;
use std::net::IpAddr;

/// A text with macros, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MacroString(Vec<Piece>);

/// A macro-string that can be a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DomainSpec(MacroString);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Macro(Macro),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Macro {
    letter: char,
    escape: bool,
    /// How many parts from the right; none: all.
    parts: Option<usize>,
    reverse: bool,
    delimiters: String,
}

/// What the letters stand for. `mail_from` is the local part and domain of `s`, `l` and `o`.
#[derive(Debug, Clone)]
pub(super) struct Values<'a> {
    pub(super) local: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) domain: &'a str,
    pub(super) client: IpAddr,
    pub(super) helo: &'a str,
    /// `p`; `unknown` where nobody asked.
    pub(super) validated: &'a str,
    pub(super) host: &'a str,
    /// Seconds since 1970.
    pub(super) now: u64,
}

impl MacroString {
    /// Reads the text; the letters c, r and t are for explanations only.
    pub(super) fn parse(text: &str, explanation: bool) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            literal.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let code = rest.chars().next()?;
            rest = &rest[code.len_utf8()..];
            match code {
                '%' => literal.push('%'),
                '_' => literal.push(' '),
                '-' => literal.push_str("%20"),
                '{' => {
                    let (inside, after) = rest.split_once('}')?;
                    rest = after;
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    }
                    pieces.push(Piece::Macro(Macro::parse(inside, explanation)?));
                }
                _ => return None,
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Some(Self(pieces))
    }

    /// Whether `p` must be known to expand this.
    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Macro(Macro { letter: 'p', .. })))
    }

    /// The text; at most [`MAX_EXPANDED`] bytes and a bit.
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            if out.len() > MAX_EXPANDED {
                break;
            }
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Macro(expand) => expand.write(values, &mut out),
            }
        }
        out
    }
}

impl DomainSpec {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let spec = MacroString::parse(text, false)?;
        let ends_in_macro = text.ends_with('}') || ends_in_escape(text);
        let ends_in_label = || {
            let tail = text.rfind('}').map_or(text, |at| &text[at + 1..]);
            let tail = tail.strip_suffix('.').unwrap_or(tail);
            tail.rsplit_once('.').is_some_and(|(_, label)| is_toplabel(label))
        };
        (!text.is_empty() && (ends_in_macro || ends_in_label())).then_some(Self(spec))
    }

    pub(super) fn needs_validated_name(&self) -> bool {
        self.0.needs_validated_name()
    }

    /// The domain name to ask for: no dot at the end, cut from the left at a dot to 253 characters (RFC 7208, 7.3).
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let expanded = self.0.expand(values);
        let mut name = expanded.strip_suffix('.').unwrap_or(&expanded);
        while name.len() > MAX_NAME {
            let Some((_, shorter)) = name.split_once('.') else { break };
            name = shorter;
        }
        name.to_owned()
    }
}

/// Whether the text ends in `%%`, `%_` or `%-` read from the left: the percent sign before is not itself escaped.
fn ends_in_escape(text: &str) -> bool {
    let Some(before) = text.strip_suffix(['%', '_', '-']) else { return false };
    let percents = before.len() - before.trim_end_matches('%').len();
    percents % 2 == 1
}

/// Letters, digits and hyphens, not all digits, no hyphen at an end.
fn is_toplabel(label: &str) -> bool {
    !label.is_empty()
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && !label.bytes().all(|byte| byte.is_ascii_digit())
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl Macro {
    fn parse(inside: &str, explanation: bool) -> Option<Self> {
        let letter = inside.chars().next()?;
        let lower = letter.to_ascii_lowercase();
        let known = matches!(lower, 's' | 'l' | 'o' | 'd' | 'i' | 'p' | 'v' | 'h');
        if !(known || (explanation && matches!(lower, 'c' | 'r' | 't'))) {
            return None;
        }
        let rest = &inside[1..];
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (digits, rest) = rest.split_at(digits);
        let parts = match digits {
            "" => None,
            // Nobody has more parts than that; zero is a mistake (RFC 7208, 7.3).
            digits => Some(digits.parse().unwrap_or(usize::MAX)).filter(|parts| *parts > 0).map(Some)?,
        };
        let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
            Some(delimiters) => (true, delimiters),
            None => (false, rest),
        };
        if !delimiters.chars().all(|c| matches!(c, '.' | '-' | '+' | ',' | '/' | '_' | '=')) {
            return None;
        }
        let delimiters = if delimiters.is_empty() { "." } else { delimiters }.to_owned();
        Some(Self { letter: lower, escape: letter.is_ascii_uppercase(), parts, reverse, delimiters })
    }

    fn write(&self, values: &Values<'_>, out: &mut String) {
        let value = match self.letter {
            's' => format!("{}@{}", values.local, values.sender_domain),
            'l' => values.local.to_owned(),
            'o' => values.sender_domain.to_owned(),
            'd' => values.domain.to_owned(),
            'i' => dotted(values.client),
            'p' => values.validated.to_owned(),
            'v' => if values.client.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            'h' => values.helo.to_owned(),
            'c' => values.client.to_string(),
            'r' => values.host.to_owned(),
            _ => values.now.to_string(),
        };
        let changed = self.parts.is_some() || self.reverse || self.delimiters != ".";
        let value = if changed { self.transform(&value) } else { value };
        if self.escape { escape(&value, out) } else { out.push_str(&value) }
    }

    /// Split, reversed, cut to the right-hand parts, joined by dots (RFC 7208, 7.3).
    fn transform(&self, value: &str) -> String {
        let mut parts: Vec<&str> = value.split(|c| self.delimiters.contains(c)).collect();
        if self.reverse {
            parts.reverse();
        }
        let skip = self.parts.map_or(0, |count| parts.len().saturating_sub(count));
        parts[skip..].join(".")
    }
}

/// `i`: dotted quads, or the 32 nibbles of an IPv6 address with dots between them.
fn dotted(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let nibbles: Vec<String> = address
                .octets()
                .iter()
                .flat_map(|octet| [octet >> 4, octet & 15])
                .map(|nibble| format!("{nibble:X}"))
                .collect();
            nibbles.join(".")
        }
    }
}

/// Everything but unreserved characters (RFC 3986, 2.3) as `%XX`.
fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// A name in DNS has 253 characters at most.
const MAX_NAME: usize = 253;

/// Longer than any explanation or name that is of use; a record of 64 KiB full of `%{s}` would expand to megabytes.
const MAX_EXPANDED: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn values(client: &str) -> Values<'static> {
        Values {
            local: "strong-bad",
            sender_domain: "email.example.com",
            domain: "email.example.com",
            client: client.parse().unwrap(),
            helo: "mail.example.com",
            validated: "mx.example.org",
            host: "mx.receiver.test",
            now: 1_700_000_000,
        }
    }

    /// RFC 7208, 7.4.
    #[test]
    fn the_examples_of_the_rfc() {
        for (text, expanded) in [
            ("%{s}", "strong-bad@email.example.com"),
            ("%{o}", "email.example.com"),
            ("%{d}", "email.example.com"),
            ("%{d4}", "email.example.com"),
            ("%{d3}", "email.example.com"),
            ("%{d2}", "example.com"),
            ("%{d1}", "com"),
            ("%{dr}", "com.example.email"),
            ("%{d2r}", "example.email"),
            ("%{l}", "strong-bad"),
            ("%{l-}", "strong.bad"),
            ("%{lr}", "strong-bad"),
            ("%{lr-}", "bad.strong"),
            ("%{l1r-}", "strong"),
            ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
            ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
            ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ] {
            assert_eq!(
                MacroString::parse(text, false).unwrap().expand(&values("192.0.2.3")),
                expanded,
                "{text}"
            );
        }
        let six =
            MacroString::parse("%{ir}.%{v}._spf.%{d2}", false).unwrap().expand(&values("2001:db8::cb01"));
        assert_eq!(
            six.to_lowercase(),
            "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6._spf.example.com"
        );
    }

    #[test]
    fn refuses_mistakes() {
        for text in ["%", "%a", "%{", "%{}", "%{d", "%{x}", "%{d0}", "%{d2x}", "%{c}", "%{dr2}", "100%"] {
            assert!(MacroString::parse(text, false).is_none(), "{text}");
        }
        assert!(MacroString::parse("%{c}%{R}%{t}", true).is_some());
        for text in ["", "museum", "museum.", "x.123", "x.-a", "x.a-", "%{d}foo", "-all", "x.com:80"] {
            assert!(DomainSpec::parse(text).is_none(), "{text}");
        }
        for text in [
            "a.test",
            "a.test.",
            "%{d}",
            "%{d}.x.test",
            "a.b%%",
            "foo:bar/baz.test",
            "x...test",
            "x.xn--p1ai",
        ] {
            assert!(DomainSpec::parse(text).is_some(), "{text}");
        }
    }

    #[test]
    fn expansion_is_bounded() {
        let text = "%{s}".repeat(16_000);
        assert!(MacroString::parse(&text, true).unwrap().expand(&values("::1")).len() < MAX_EXPANDED + 100);
        let long =
            DomainSpec::parse(&format!("{}x.test", "%{d}.".repeat(40))).unwrap().expand(&values("::1"));
        assert!(long.len() <= 253 && long.ends_with(".x.test"), "{long}");
    }

    proptest::proptest! {
        #[test]
        fn any_text_expands_or_is_refused(text in "[%{}a-zA-Z0-9._+/=@-]{0,60}") {
            if let Some(parsed) = MacroString::parse(&text, true) {
                let _ = parsed.expand(&values("192.0.2.1"));
            }
            if let Some(parsed) = DomainSpec::parse(&text) {
                proptest::prop_assert!(!parsed.expand(&values("2001:db8::1")).ends_with('.') || text.contains(".."));
            }
        }
    }
}
