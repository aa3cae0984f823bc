//! The text of an SPF record, and what it says (RFC 7208, 4.6 and 12).
//!
//! ```text
//! record    = version *( 1*SP ( directive / modifier ) ) *SP        version = "v=spf1"
//! directive = [ "+" / "-" / "?" / "~" ] mechanism                   modifier = name "=" macro-string
//! mechanism = "all" / "include:" domain-spec / ( "a" / "mx" ) [ ":" domain-spec ] [ dual-cidr-length ]
//!           / "ptr" [ ":" domain-spec ] / "ip4:" network [ "/" 0-32 ] / "ip6:" network [ "/" 0-128 ] / "exists:" domain-spec
//! dual-cidr-length = [ "/" 0-32 ] [ "//" 0-128 ]
//! ```
//!
//! For `check`. The whole record is read before any of it counts, because a mistake anywhere makes it a permerror (4.6). It asks no
//! DNS. Only visible ASCII is taken: a byte beyond is a mistake, not a letter (3.1). Time and memory are linear in the record, which
//! DNS bounds at 64 KiB.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::SpfResult;
use super::macros::{DomainSpec, MacroString};

/// A record without mistakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) directives: Vec<Directive>,
    pub(super) redirect: Option<DomainSpec>,
    pub(super) explanation: Option<DomainSpec>,
}

/// What a match means, and what matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// Pass, fail, softfail or neutral.
    pub(super) result: SpfResult,
    pub(super) mechanism: Mechanism,
}

/// RFC 7208, 5. A domain that is not given is the one under check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Mechanism {
    All,
    Include(DomainSpec),
    A(Option<DomainSpec>, Prefixes),
    Mx(Option<DomainSpec>, Prefixes),
    Ptr(Option<DomainSpec>),
    Ip4(Ipv4Addr, u8),
    Ip6(Ipv6Addr, u8),
    Exists(DomainSpec),
}

/// `dual-cidr-length`: the prefix lengths for the client's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prefixes {
    pub(super) four: u8,
    pub(super) six: u8,
}

/// Why a record is none: the term, cut and printable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake(pub(super) String);

/// Whether a TXT record is an SPF record (RFC 7208, 4.5): `v=spf1` in any case, then a space or nothing.
pub(super) fn is_spf(text: &[u8]) -> bool {
    text.get(..VERSION.len()).is_some_and(|version| version.eq_ignore_ascii_case(VERSION))
        && matches!(text.get(VERSION.len()), None | Some(b' '))
}

const VERSION: &[u8] = b"v=spf1";

impl Record {
    /// Reads the record; `text` begins with the version.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Mistake> {
        let terms = text.get(VERSION.len()..).unwrap_or_default();
        let mut record = Self { directives: Vec::new(), redirect: None, explanation: None };
        for term in terms.split(|&byte| byte == b' ').filter(|term| !term.is_empty()) {
            let mistake = || {
                let cut = term.get(..MAX_SHOWN).unwrap_or(term);
                Mistake(cut.escape_ascii().to_string())
            };
            let text = Some(term)
                .filter(|term| term.iter().all(u8::is_ascii_graphic))
                .and_then(|term| std::str::from_utf8(term).ok())
                .ok_or_else(mistake)?;
            record.add(text).ok_or_else(mistake)?;
        }
        Ok(record)
    }

    fn add(&mut self, term: &str) -> Option<()> {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = term.find(|c| !named(c)).unwrap_or(term.len());
        match term[name..].strip_prefix('=') {
            Some(value) => self.modifier(&term[..name], value),
            None => {
                self.directives.push(Directive::parse(term)?);
                Some(())
            }
        }
    }

    /// RFC 7208, 6: `redirect` and `exp` at most once each; unknown ones are ignored, if their macros are right (12).
    fn modifier(&mut self, name: &str, value: &str) -> Option<()> {
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return None;
        }
        let place = match name {
            _ if name.eq_ignore_ascii_case("redirect") => &mut self.redirect,
            _ if name.eq_ignore_ascii_case("exp") => &mut self.explanation,
            _ => return MacroString::parse(value, false).map(drop),
        };
        if place.is_some() {
            return None;
        }
        *place = Some(DomainSpec::parse(value)?);
        Some(())
    }
}

impl Directive {
    fn parse(term: &str) -> Option<Self> {
        let (result, rest) = match term.chars().next()? {
            '+' => (SpfResult::Pass, &term[1..]),
            '-' => (SpfResult::Fail, &term[1..]),
            '~' => (SpfResult::SoftFail, &term[1..]),
            '?' => (SpfResult::Neutral, &term[1..]),
            _ => (SpfResult::Pass, term),
        };
        Mechanism::parse(rest).map(|mechanism| Self { result, mechanism })
    }
}

impl Mechanism {
    fn parse(text: &str) -> Option<Self> {
        let end = text.find([':', '/']).unwrap_or(text.len());
        let (name, rest) = text.split_at(end);
        let argument = rest.strip_prefix(':');
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        if is("all") {
            return rest.is_empty().then_some(Self::All);
        }
        if is("include") {
            return Some(Self::Include(DomainSpec::parse(argument?)?));
        }
        if is("exists") {
            return Some(Self::Exists(DomainSpec::parse(argument?)?));
        }
        if is("ip4") {
            let (address, prefix) = network(argument?, 32)?;
            return Some(Self::Ip4(address, prefix));
        }
        if is("ip6") {
            let (address, prefix) = network(argument?, 128)?;
            return Some(Self::Ip6(address, prefix));
        }
        if is("ptr") {
            return Some(Self::Ptr(optional_domain(rest)?));
        }
        if is("a") || is("mx") {
            let (rest, prefixes) = Prefixes::strip(rest)?;
            let domain = optional_domain(rest)?;
            return Some(if is("a") { Self::A(domain, prefixes) } else { Self::Mx(domain, prefixes) });
        }
        None
    }

    /// The word of the mechanism, for `Received-SPF` (RFC 7208, 9.1).
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Include(_) => "include",
            Self::A(..) => "a",
            Self::Mx(..) => "mx",
            Self::Ptr(_) => "ptr",
            Self::Ip4(..) => "ip4",
            Self::Ip6(..) => "ip6",
            Self::Exists(_) => "exists",
        }
    }
}

impl Prefixes {
    /// Takes the lengths from the end of a mechanism; a slash elsewhere belongs to the domain.
    fn strip(text: &str) -> Option<(&str, Self)> {
        let mut prefixes = Self { four: 32, six: 128 };
        let mut rest = text;
        if let Some((before, digits)) = tail(rest, "//") {
            prefixes.six = length(digits, 128)?;
            rest = before;
        }
        if let Some((before, digits)) = tail(rest, "/") {
            prefixes.four = length(digits, 32)?;
            rest = before;
        }
        Some((rest, prefixes))
    }

    /// Whether the client is in that address's network.
    pub(super) fn covers(self, address: IpAddr, client: IpAddr) -> bool {
        match (address, client) {
            (IpAddr::V4(address), IpAddr::V4(client)) => covers_four(address, self.four, client),
            (IpAddr::V6(address), IpAddr::V6(client)) => covers_six(address, self.six, client),
            _ => false,
        }
    }
}

pub(super) fn covers_four(network: Ipv4Addr, prefix: u8, client: Ipv4Addr) -> bool {
    let distance = 32_u32.saturating_sub(prefix.into());
    (u32::from(network) ^ u32::from(client)).checked_shr(distance).unwrap_or(0) == 0
}

pub(super) fn covers_six(network: Ipv6Addr, prefix: u8, client: Ipv6Addr) -> bool {
    let distance = 128_u32.saturating_sub(prefix.into());
    (u128::from(network) ^ u128::from(client)).checked_shr(distance).unwrap_or(0) == 0
}

/// Nothing, or `:` and a domain-spec, which may not be empty.
fn optional_domain(rest: &str) -> Option<Option<DomainSpec>> {
    match rest.strip_prefix(':') {
        Some(domain) => DomainSpec::parse(domain).map(Some),
        None => rest.is_empty().then_some(None),
    }
}

/// The digits after the last `mark`, if nothing but digits follows it.
fn tail<'a>(text: &'a str, mark: &str) -> Option<(&'a str, &'a str)> {
    let digits = text.len() - text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (before, digits) = text.split_at(text.len() - digits);
    (!digits.is_empty()).then_some(())?;
    before.strip_suffix(mark).map(|before| (before, digits))
}

/// A prefix length: no leading zero, not beyond the family's bits.
fn length(digits: &str, most: u8) -> Option<u8> {
    let canonical = digits == "0" || !digits.starts_with('0');
    digits.parse().ok().filter(|length| canonical && *length <= most)
}

fn network<A: FromStr>(text: &str, bits: u8) -> Option<(A, u8)> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, digits)) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            (address, length(digits, bits)?)
        }
        Some(_) => return None,
        None => (text, bits),
    };
    Some((address.parse().ok()?, prefix))
}

/// How much of a term is shown in a log.
const MAX_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn selects_by_the_version_alone() {
        for yes in ["v=spf1", "V=SpF1 -all", "v=spf1 "] {
            assert!(is_spf(yes.as_bytes()), "{yes}");
        }
        for no in ["v=spf10", "v=spf1-all", "v=spf2.0/pra", " v=spf1", "", "v=spf", "v=spf1\t-all"] {
            assert!(!is_spf(no.as_bytes()), "{no}");
        }
    }

    #[test]
    fn reads_every_mechanism() {
        let record = Record::parse(
            b"v=spf1  +a -A:x.test/24//64 ~mx//96 ?ptr ip4:192.0.2.0/24 ip6:2001:db8::/32 exists:%{i}.x.test include:y.test all foo=bar exp=e.test redirect=r.test ",
        )
        .unwrap();
        let words: Vec<&str> =
            record.directives.iter().map(|directive| directive.mechanism.as_str()).collect();
        assert_eq!(words, ["a", "a", "mx", "ptr", "ip4", "ip6", "exists", "include", "all"]);
        assert_eq!(record.directives[1].result, SpfResult::Fail);
        assert!(matches!(
            record.directives[1].mechanism,
            Mechanism::A(Some(_), Prefixes { four: 24, six: 64 })
        ));
        assert!(matches!(
            record.directives[2].mechanism,
            Mechanism::Mx(None, Prefixes { four: 32, six: 96 })
        ));
        assert!(record.redirect.is_some() && record.explanation.is_some());
    }

    #[test]
    fn refuses_mistakes_anywhere() {
        for terms in [
            "all moo",
            "all/8",
            "all:x.test",
            "-all.",
            "include",
            "include:",
            "include:x.test/24",
            "exists:",
            "ptr/0",
            "ptr:",
            "a:",
            "a/33",
            "a//129",
            "a/024",
            "a/24/64",
            "a:museum",
            "a:museum.",
            "a:x.123",
            "a:x.-com",
            "ip4",
            "ip4:1.2.3",
            "ip4:1.2.3.4/33",
            "ip4:1.2.3.4/032",
            "ip4:1.2.3.4//32",
            "ip4:1.2.3.4:80",
            "ip4:01.2.3.4",
            "ip6",
            "ip6::CAFE::BABE",
            "ip6:::1//3",
            "1up=x",
            "=all",
            "exp=",
            "exp=a.test exp=b.test",
            "redirect=",
            "foo=%a",
            "a:\u{fc}.test",
            "a\tb",
            "--all",
        ] {
            assert!(Record::parse(format!("v=spf1 {terms}").as_bytes()).is_err(), "{terms}");
        }
        assert_eq!(Record::parse(b"v=spf1 a\xff-all").unwrap_err(), Mistake("a\\xff-all".into()));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = Record::parse(&[b"v=spf1 ".as_slice(), &text].concat());
        }

        #[test]
        fn any_terms_are_read_or_refused(text in "([-+~?]?(a|mx|ip4|ip6|ptr|exists|include|all|exp=|redirect=|x=)[:/%{}a-z0-9.=]{0,12} ?){0,8}") {
            let _ = Record::parse(format!("v=spf1 {text}").as_bytes());
        }

        #[test]
        fn networks_cover_by_their_prefix(network: u32, client: u32, prefix in 0_u8..=32) {
            let same = prefix == 0 || network >> (32 - prefix) == client >> (32 - prefix);
            proptest::prop_assert_eq!(covers_four(network.into(), prefix, client.into()), same);
        }
    }
}
