//! URLs: found in text and HTML, taken apart as a browser would, with what is odd about them.
//!
//! For the rules of the group `phishing` and for `html`. It reads as browsers read (WHATWG URL), because what counts is where a click
//! leads: tabs and line ends inside are dropped, backslashes are slashes, `0x7f.1` is an address. It never fetches anything.
//!
//! At most [`MAX_URLS`] different ones are kept, each cut at [`MAX_TEXT`].

mod finder;

use std::net::IpAddr;

pub use finder::Finder;

use super::mailboxes::cut;
use super::{hosts, scripts};

/// Enough for every newsletter; further ones are not looked at.
pub const MAX_URLS: usize = 1_000;

/// Servers take about 8,000 bytes; no rule looks at more than this.
pub const MAX_TEXT: usize = 2_048;

/// Where a URL stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// In the subject.
    Subject,
    /// In text.
    Text,
    /// What a link leads to.
    Link,
    /// Where a form is sent to.
    Form,
    /// Where an image is loaded from.
    Image,
    /// In a parameter of another URL.
    Parameter,
    /// In text, written so that no program takes it for one: `hxxp://`, `evil[.]example`.
    Disguised,
}

/// One URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// The URL as written, cut.
    pub text: String,
    /// Its length as written.
    pub length: usize,
    /// Where it stands first.
    pub origin: Origin,
    /// `http`, `https` or `ftp`.
    pub scheme: String,
    /// What stands before `@` in the authority.
    pub user: Option<String>,
    /// The host in canonical form.
    pub host: String,
    /// The registrable domain of the host.
    pub site: String,
    /// The address, where the host is one.
    pub address: Option<IpAddr>,
    /// The port, where one is given.
    pub port: Option<u16>,
    /// Path, query and fragment.
    pub path: String,
    /// What is odd.
    pub odd: Oddities,
}

/// What an honest URL does not have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// More than one `@` before the path.
    pub at_signs: bool,
    /// A backslash in place of a slash, or in the path.
    pub backslash: bool,
    /// A character that turns the reading direction around.
    pub reversed: bool,
    /// A character without width.
    pub invisible: bool,
    /// A label of the host that mixes scripts which look alike, or that is in one of them and passes for Latin.
    pub mixed: bool,
    /// A host that no rule of IDNA allows, or a replacement character.
    pub bad_unicode: bool,
    /// The address is written in another way than four decimal numbers.
    pub disguised_address: bool,
}

impl Url {
    /// Takes a URL apart; `None` for what a browser would not fetch from a host.
    pub fn parse(raw: &str, origin: Origin) -> Option<Self> {
        let length = raw.trim().len();
        let text = cut(raw.trim(), MAX_TEXT);
        let text: String = match text.contains(['\t', '\n', '\r']) {
            true => text.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).collect(),
            false => text.to_owned(),
        };
        let (scheme, rest) = split_scheme(&text)?;
        let slashes = rest.len() - rest.trim_start_matches(['/', '\\']).len();
        if slashes == 0 {
            return None;
        }
        let mut odd = Oddities { backslash: rest[..slashes].contains('\\'), ..Oddities::default() };
        let rest = &rest[slashes..];
        let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        odd.backslash |= path.split(['?', '#']).next().unwrap_or_default().contains('\\');
        odd.at_signs = authority.matches('@').count() > 1;
        if !text.is_ascii() {
            odd.reversed = text.chars().any(scripts::reverses);
            odd.invisible = text.chars().any(scripts::is_invisible);
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(cut(user, 512).to_owned()), host),
            None => (None, authority),
        };
        let (host, port) = split_port(host);
        let decoded = percent_decode(host);
        odd.bad_unicode = decoded.contains('\u{FFFD}');
        let shown: String = match decoded.is_ascii() {
            true => decoded,
            false => decoded.chars().filter(|&c| !scripts::is_invisible(c)).collect(),
        };
        odd.mixed = shown.split('.').any(|label| scripts::is_mixed(label) || is_mixed_label(label));
        let host = hosts::canonical(&shown);
        odd.mixed |=
            host.split('.').any(passes_for_latin) && !hosts::is_cyrillic_top_level(hosts::top_level(&host));
        odd.bad_unicode |= !host.is_ascii();
        if host.is_empty() || host.contains(char::is_whitespace) {
            return None;
        }
        let address = address(&host);
        odd.disguised_address = address.is_some_and(|found| found.is_ipv4() && host.parse() != Ok(found));
        let site = if address.is_some() { host.clone() } else { hosts::site(&host).to_owned() };
        Some(Self {
            length,
            origin,
            scheme,
            user,
            site,
            address,
            port,
            path: path.to_owned(),
            odd,
            host,
            text,
        })
    }

    /// Whether the host is a name with a public suffix, so that anybody could own it.
    pub fn is_named(&self) -> bool {
        self.address.is_none() && hosts::has_public_suffix(&self.host)
    }

    /// Whether a click leads there.
    pub fn is_clickable(&self) -> bool {
        matches!(self.origin, Origin::Text | Origin::Link | Origin::Form | Origin::Subject)
    }
}

/// `http`, `https`, `ftp`, and what follows the colon.
fn split_scheme(text: &str) -> Option<(String, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let scheme = scheme.to_ascii_lowercase();
    matches!(scheme.as_str(), "http" | "https" | "ftp").then_some((scheme, rest))
}

fn split_port(host: &str) -> (&str, Option<u16>) {
    if host.starts_with('[') {
        let end = host.find(']').map_or(host.len(), |end| end + 1);
        return (&host[..end], host[end..].strip_prefix(':').and_then(|port| port.parse().ok()));
    }
    match host.rsplit_once(':') {
        Some((name, port)) => (name, port.parse().ok()),
        None => (host, None),
    }
}

fn address(host: &str) -> Option<IpAddr> {
    if let Some(inner) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return inner.parse().ok().map(IpAddr::V6);
    }
    hosts::numeric_v4(host).map(IpAddr::V4)
}

/// Whether an A-label stands for a label that mixes scripts.
fn is_mixed_label(label: &str) -> bool {
    unicode_label(label).is_some_and(|label| scripts::is_mixed(&label))
}

/// Whether an A-label stands for a label without a Latin letter that everybody reads as Latin.
fn passes_for_latin(label: &str) -> bool {
    unicode_label(label).is_some_and(|label| scripts::passes_for_latin(&label))
}

/// What an A-label stands for; none for other labels. Only the comparison is cheap; decoding is for the few labels that need it.
fn unicode_label(label: &str) -> Option<String> {
    let prefix = label.get(..4).filter(|_| (5..=63).contains(&label.len()))?;
    prefix.eq_ignore_ascii_case("xn--").then(|| idna::domain_to_unicode(label).0)
}

/// Decodes `%xx`; what is no UTF-8 after that becomes U+FFFD.
pub(super) fn percent_decode(text: &str) -> String {
    if !text.contains('%') {
        return text.to_owned();
    }
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|&digit| char::from(digit).to_digit(16));
        match (byte, hex(1), hex(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            _ => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The URL in a parameter, plain or encoded: where a redirector will lead.
fn inner_url(path: &str) -> Option<Url> {
    let query = path.split_once('?').map_or(path, |(_, query)| query);
    let parameter = query.split(['&', ';', '?', '#']).take(32).find_map(|parameter| {
        let value = parameter.split_once('=').map_or(parameter, |(_, value)| value);
        let lower = cut(value, 12).to_ascii_lowercase();
        let encoded = lower.starts_with("http%3a") || lower.starts_with("https%3a");
        let plain = lower.starts_with("http:/") || lower.starts_with("https:/");
        (encoded || plain).then(|| Url::parse(&percent_decode(value), Origin::Parameter)).flatten()
    });
    // Some have the target at the end of the path: `/click/4711/https://example.com/`.
    parameter.or_else(|| {
        let target = path.match_indices("/http").take(4).map(|(at, _)| &path[at + 1..]);
        let whole = |rest: &&str| rest.starts_with("http:/") || rest.starts_with("https:/");
        Url::parse(target.filter(whole).last()?, Origin::Parameter)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text, Origin::Text).unwrap()
    }

    #[test]
    fn a_url_is_read_as_a_browser_reads_it() {
        let plain = url("HTTPS://User:pw@WWW.Example.CO.UK:8443/a/b?c#d");
        assert_eq!(
            (plain.scheme.as_str(), plain.host.as_str(), plain.site.as_str()),
            ("https", "www.example.co.uk", "example.co.uk")
        );
        assert_eq!(
            (plain.user.as_deref(), plain.port, plain.path.as_str()),
            (Some("User:pw"), Some(8443), "/a/b?c#d")
        );
        assert_eq!(url("http:\\\\evil.example\\x").host, "evil.example");
        assert!(url("http:\\\\evil.example\\x").odd.backslash);
        assert_eq!(url("http://paypal.com@evil.example/").host, "evil.example");
        assert!(url("http://a@b@evil.example/").odd.at_signs);
        assert_eq!(url("http://ev\til.exam\nple/").host, "evil.example");
        assert_eq!(url("http://%65vil.example/").host, "evil.example");
        assert_eq!(url("http://0x7f.1/").address, Some("127.0.0.1".parse().unwrap()));
        assert!(
            url("http://0x7f.1/").odd.disguised_address && !url("http://127.0.0.1/").odd.disguised_address
        );
        assert_eq!(url("http://[::1]:80/").address, Some("::1".parse().unwrap()));
        assert!(url("http://p\u{430}ypal.example/").odd.mixed);
        assert!(url("http://xn--pypal-4ve.example/").odd.mixed);
        assert!(url("http://xn--80ak6aa92e.com/").odd.mixed && !url("http://xn--80ak6aa92e.ru/").odd.mixed);
        for none in ["mailto:a@b.example", "javascript:x", "http:", "http://", "http:///", "example.com", ""]
        {
            assert_eq!(Url::parse(none, Origin::Text), None, "{none}");
        }
    }

    #[test]
    fn text_is_searched_for_what_people_would_click() {
        let mut finder = Finder::default();
        finder.text("see http://a.example/x, (www.b.example) and foowww.c.example or http://a.example/x.");
        finder.text("go http://r.example/?u=https%3A%2F%2Ftarget.example%2Fp");
        let hosts: Vec<_> = finder.urls().iter().map(|url| url.host.as_str()).collect();
        assert_eq!(hosts, ["a.example", "r.example", "target.example"]);
        let mut finder = Finder::default();
        finder.text(
            "go http://r.example/click/4711/https://target.example/p or http://r.example/httpd/http-errors",
        );
        let hosts: Vec<_> = finder.urls().iter().map(|url| url.host.as_str()).collect();
        assert_eq!(hosts, ["r.example", "target.example", "r.example"]);
        let mut finder = Finder::default();
        finder.text("(www.example.com) http://www.example.org/");
        let hosts: Vec<_> = finder.urls().iter().map(|url| url.host.as_str()).collect();
        assert_eq!(hosts, ["www.example.org", "www.example.com"]);
    }

    #[test]
    fn a_host_with_a_path_needs_no_scheme() {
        let mut finder = Finder::default();
        finder.text(
            "pills.com/buy, (shop.example.co.uk/x?y=1) or \"evil.github.io/\". www.b.com/1 http://a.com/b.com/c ftp://c.org/ \
             and/or 12/11.2020 src/main.rs/x a.b/c e.g/i.e me@mail.com/x End.It/now /etc/x.conf/y x.invalidtld/y -a.com/ ..com/ com/x 1.2.3.4/5 \
             goo.gl/so docs.rs/psl! x/pills.com/no=pills.net/no",
        );
        let found: Vec<_> = finder.urls().iter().map(|url| (url.host.as_str(), url.path.as_str())).collect();
        assert_eq!(
            found,
            [
                ("a.com", "/b.com/c"),
                ("c.org", "/"),
                ("pills.com", "/buy"),
                ("shop.example.co.uk", "/x?y=1"),
                ("evil.github.io", "/"),
                ("goo.gl", "/so"),
                ("docs.rs", "/psl"),
                ("www.b.com", "/1"),
            ]
        );
        let mut finder = Finder::default();
        finder.text(&format!(
            "{}/ {}.com/ ab.com/{}",
            "a.".repeat(100_000),
            "a".repeat(300),
            "\u{e4}".repeat(5_000)
        ));
        finder.text(&"ab.com/".repeat(100_000));
        assert_eq!(finder.urls().len(), 2);
        assert!(finder.urls().iter().all(|url| url.host == "ab.com"));
    }

    #[test]
    fn what_no_program_should_see_is_seen() {
        let mut finder = Finder::default();
        finder.text("hxxp://evil.com/a (hxxps[:]//other[.]org/b), buy at pills[dot]net! or pills(.)com. f[.]x a(.)b x[.] text(x) me[.]@a[.]com");
        finder.text(&"[.]".repeat(100_000));
        finder.text(&"xxp".repeat(100_000));
        let found: Vec<_> =
            finder.urls().iter().map(|url| (url.host.as_str(), url.path.as_str(), url.origin)).collect();
        assert_eq!(
            found,
            [
                ("evil.com", "/a", Origin::Disguised),
                ("other.org", "/b", Origin::Disguised),
                ("pills.net", "", Origin::Disguised),
                ("pills.com", "", Origin::Disguised),
            ]
        );
    }

    #[test]
    fn more_urls_than_the_bound_are_missing() {
        let text: String = (0..MAX_URLS + 5).map(|n| format!("http://h{n}.example/\n")).collect();
        let mut finder = Finder::default();
        finder.text(&text);
        let mut missing = Vec::new();
        assert_eq!(finder.finish(&mut missing).0.len(), MAX_URLS);
        assert_eq!(missing, ["urls"]);
    }
}
