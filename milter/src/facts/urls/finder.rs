//! The search for URLs in texts and attributes: whole ones, hosts without a scheme, and those that are written so that no program sees them.
//!
//! For [`urls`](super), which takes apart what is found.

use std::collections::HashMap;

use linkify::{LinkFinder, LinkKind};

use super::super::addresses::Addresses;
use super::super::hosts;
use super::super::mailboxes::cut;
use super::{MAX_TEXT, MAX_URLS, Origin, Url, inner_url};

/// Collects URLs while the message is read.
#[derive(Debug, Default)]
pub struct Finder {
    urls: Vec<Url>,
    seen: HashMap<String, usize>,
    overflowed: bool,
    addresses: Addresses,
}

impl Finder {
    /// Looks for URLs in a subject.
    pub fn subject(&mut self, text: &str) {
        self.scan(text, Origin::Subject);
    }

    /// Looks for URLs in text.
    pub fn text(&mut self, text: &str) {
        self.addresses.look(text);
        self.scan(text, Origin::Text);
    }

    /// Takes a URL from an attribute, and says which one it is.
    pub fn attribute(&mut self, raw: &str, origin: Origin) -> Option<usize> {
        self.addresses.link(raw);
        let url = match Url::parse(raw, origin) {
            Some(url) => url,
            None => Url::parse(&format!("https:{}", raw.trim()), origin)
                .filter(|_| raw.trim().starts_with("//"))?,
        };
        self.add(url)
    }

    /// The URLs in the order of their appearance, and the mail addresses.
    pub fn finish(self, missing: &mut Vec<&'static str>) -> (Vec<Url>, Vec<String>) {
        if self.overflowed {
            missing.push("urls");
        }
        (self.urls, self.addresses.finish())
    }

    /// What was found so far.
    pub fn urls(&self) -> &[Url] {
        &self.urls
    }

    fn scan(&mut self, text: &str, origin: Origin) {
        if memchr::memmem::find(text.as_bytes(), b"://").is_some() {
            for link in LinkFinder::new().kinds(&[LinkKind::Url]).links(text) {
                if self.overflowed {
                    return;
                }
                if let Some(url) = Url::parse(link.as_str(), origin) {
                    self.add(url);
                }
            }
        }
        self.disguised(text);
        self.bare(text, origin);
        let mut from = 0;
        let www = memchr::memmem::Finder::new(b"www.");
        while let Some(at) = www.find(&text.as_bytes()[from..]).map(|at| from + at) {
            if self.overflowed {
                return;
            }
            let end = text[at..]
                .find(|c: char| c.is_whitespace() || "<>\"'()[]".contains(c))
                .map_or(text.len(), |end| at + end);
            let alone =
                text[..at].chars().next_back().is_none_or(|c| !(c.is_alphanumeric() || "/.-@=%".contains(c)));
            if alone
                && let Some(url) = Url::parse(&format!("http://{}", cut(&text[at..end], MAX_TEXT)), origin)
                && url.is_named()
            {
                self.add(url);
            }
            from = end.max(at + 4);
        }
    }

    /// Hosts without a scheme, with a path: `example.com/path`, which mail programs make a link of. Only a name that ends in a top-level domain
    /// of the Public Suffix List, in lower case, behind white space or an opening bracket: so neither `and/or` nor a file's path is one.
    fn bare(&mut self, text: &str, origin: Origin) {
        let bytes = text.as_bytes();
        let mut end = 0;
        for slash in memchr::memchr_iter(b'/', bytes) {
            let of_host = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
            // Nearly every slash of a text ends here: of `://`, of a path, of a date, of a tag.
            if self.overflowed || slash < end || !bytes[..slash].last().is_some_and(u8::is_ascii_lowercase) {
                continue;
            }
            let room = slash.saturating_sub(MAX_HOST);
            let outside = bytes[room..slash].iter().rposition(|byte| !of_host(byte));
            let start = match outside {
                Some(at) => room + at + 1,
                None if room == 0 => 0,
                None => continue,
            };
            let before = bytes[..start].last().copied().unwrap_or(b' ');
            let alone = before.is_ascii_whitespace() || matches!(before, b'(' | b'[' | b'<' | b'"' | b'\'');
            let Some(host) = text.get(start..slash).filter(|host| alone && is_bare(host)) else { continue };
            let after = |byte: &u8| byte.is_ascii_whitespace() || b"<>\"'()[]".contains(byte);
            let to = bytes[slash..].iter().take(MAX_TEXT).position(after).unwrap_or(MAX_TEXT);
            end = text.floor_char_boundary((slash + to).min(bytes.len()));
            let path = text[slash..end].trim_end_matches(['.', ',', ';', ':', '!', '?']);
            if let Some(url) = Url::parse(&format!("http://{host}{path}"), origin) {
                self.add(url);
            }
        }
    }

    /// URLs that are written so that no program sees them, and every reader understands them. At most [`MAX_DISGUISED`] places of a text
    /// are looked at.
    fn disguised(&mut self, text: &str) {
        let bytes = text.as_bytes();
        let mut end = 0;
        let places = memchr::memchr3_iter(b'[', b'(', b'x', bytes).filter(|&at| {
            DOTS.iter().any(|dot| starts_with(bytes, at, dot)) || starts_with(bytes, at, "xxp")
        });
        for at in places.take(MAX_DISGUISED) {
            if at < end {
                continue;
            }
            let odd =
                |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'"' | b'\'' | b',');
            let start = bytes[end..at].iter().rposition(odd).map_or(end, |before| end + before + 1);
            let start = start.max(text.floor_char_boundary(at.saturating_sub(MAX_TEXT)));
            end = bytes[at..].iter().position(odd).map_or(bytes.len(), |after| at + after);
            end = end.min(text.floor_char_boundary(start + MAX_TEXT)).max(at + 1);
            let Some(plain) = text.get(start..end).and_then(undisguised) else { continue };
            if let Some(url) = Url::parse(&plain, Origin::Disguised).filter(Url::is_named) {
                self.add(url);
            }
        }
    }

    fn add(&mut self, url: Url) -> Option<usize> {
        if let Some(index) = self.seen.get(&url.text) {
            return Some(*index);
        }
        if self.urls.len() >= MAX_URLS {
            self.overflowed = true;
            return None;
        }
        let inner = if url.origin == Origin::Parameter { None } else { inner_url(&url.path) };
        let index = self.urls.len();
        self.seen.insert(url.text.clone(), index);
        self.urls.push(url);
        if let Some(inner) = inner {
            self.add(inner);
        }
        Some(index)
    }
}

/// Whether a host that stands alone is one that a reader takes for a site: a name of its own before a suffix that is known.
fn is_bare(host: &str) -> bool {
    let label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    // What begins with www. is found already.
    !host.starts_with("www.")
        && host.contains('.')
        && host.split('.').all(label)
        && hosts::has_public_suffix(host)
        // One letter before the suffix is an abbreviation, as in `p.m/`.
        && hosts::site(host).split('.').next().is_some_and(|name| name.len() > 1)
}

/// RFC 1035, 2.3.4.
const MAX_HOST: usize = 253;

fn starts_with(bytes: &[u8], at: usize, word: &str) -> bool {
    bytes.get(at..at + word.len()).is_some_and(|here| here.eq_ignore_ascii_case(word.as_bytes()))
}

/// The URL that a reader understands; none where nothing is disguised.
fn undisguised(word: &str) -> Option<String> {
    let mut plain = word.to_ascii_lowercase();
    for dot in DOTS {
        if plain.contains(dot) {
            plain = plain.replace(dot, ".");
        }
    }
    let plain =
        plain.trim_start_matches(['(', '[', '{']).trim_end_matches(['.', ')', ']', '}', '!', '?', ':', ';']);
    let scheme = ["hxxps", "hxxp"].iter().find_map(|scheme| plain.strip_prefix(scheme));
    let plain = match scheme {
        Some(rest) => format!("http://{}", rest.trim_start_matches([':', '/', '[', ']'])),
        None if plain.contains("://") => plain.to_owned(),
        None => format!("http://{plain}"),
    };
    // A mail address that is written so is none of ours to follow.
    (!plain.contains('@')).then_some(plain)
}

/// How a dot is written so that no program takes it for one.
const DOTS: [&str; 5] = ["[.]", "(.)", "[dot]", "(dot)", "[.)"];
/// Places of one text.
const MAX_DISGUISED: usize = 200;
