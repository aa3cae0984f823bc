//! Mail addresses in the text: where those who write want to be answered, whatever stands in the header.
//!
//! For `urls`, which looks through the same text, and for `lists`, which asks about a few of them. An address counts only at a domain that
//! somebody could have registered, and not as a part of a URL. At most [`MAX_ADDRESSES`] are kept, [`MAX_LOOKED_AT`] places looked at.

use super::hosts;

/// A letter names one or two; a list that is kept in a mail says nothing of its author.
pub const MAX_ADDRESSES: usize = 20;
/// Places of all texts of a message.
const MAX_LOOKED_AT: usize = 1_000;
/// RFC 5321, 4.5.3.1.
const MAX_LOCAL: usize = 64;
/// The same.
const MAX_DOMAIN: usize = 255;

/// What was found so far.
#[derive(Debug, Default)]
pub struct Addresses {
    found: Vec<String>,
    looked_at: usize,
}

impl Addresses {
    /// Looks for addresses in a text.
    pub fn look(&mut self, text: &str) {
        let bytes = text.as_bytes();
        for at in memchr::memchr_iter(b'@', bytes) {
            if self.found.len() >= MAX_ADDRESSES || self.looked_at >= MAX_LOOKED_AT {
                return;
            }
            self.looked_at += 1;
            let room = at.saturating_sub(MAX_LOCAL + 1);
            let start = bytes[room..at]
                .iter()
                .rposition(|byte| !is_local(*byte))
                .map_or(room, |before| room + before + 1);
            let rest = &bytes[at + 1..bytes.len().min(at + 1 + MAX_DOMAIN)];
            let end = at + 1 + rest.iter().position(|byte| !is_domain(*byte)).unwrap_or(rest.len());
            // What stands in a URL is a user name, or a part of a path.
            let before = bytes[..start].last().copied().unwrap_or(b' ');
            let whole = !matches!(before, b'/' | b':' | b'@' | b'=' | b'%' | b'&' | b'?' | 0x80..)
                || text[..start].ends_with("mailto:");
            if at - start <= MAX_LOCAL && whole {
                self.add(&text[start..at], &text[at + 1..end]);
            }
        }
    }

    /// Takes the address of a `mailto:` link (RFC 6068), if it is one.
    pub fn link(&mut self, target: &str) {
        let target = target.trim();
        let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("mailto:"));
        let address = scheme.and_then(|_| target[7..].split('?').next());
        if let Some((local, domain)) = address.and_then(|address| address.split_once('@')) {
            let plain =
                local.len() <= MAX_LOCAL && local.bytes().all(is_local) && domain.bytes().all(is_domain);
            if plain && domain.len() <= MAX_DOMAIN && self.found.len() < MAX_ADDRESSES {
                self.add(local, domain);
            }
        }
    }

    /// The addresses in the order of their appearance, in lower case, each once.
    pub fn finish(self) -> Vec<String> {
        self.found
    }

    fn add(&mut self, local: &str, domain: &str) {
        let local = local.trim_matches('.').to_ascii_lowercase();
        let domain = domain.trim_matches(['.', '-']).to_ascii_lowercase();
        let address = format!("{local}@{domain}");
        if !local.is_empty() && hosts::has_public_suffix(&domain) && !self.found.contains(&address) {
            self.found.push(address);
        }
    }
}

fn is_local(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'+' | b'-')
}

fn is_domain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(texts: &[&str]) -> Vec<String> {
        let mut addresses = Addresses::default();
        texts.iter().for_each(|text| addresses.look(text));
        addresses.finish()
    }

    #[test]
    fn addresses_are_those_that_can_be_written_to() {
        let text = "Write to Agent.Smith+7@Gmail.com, or <claims@office.example.com>. Not to me@localhost, a@b, @home, x@nosuchtld,\n\
            http://user@example.com/ or http://example.com/?to=a@example.com; mailto:b@example.com. Twice: claims@office.example.com";
        assert_eq!(found(&[text]), ["agent.smith+7@gmail.com", "claims@office.example.com", "b@example.com"]);
        assert_eq!(found(&["\u{fc}ber@example.com", "é@example.com", "a@exämple.com"]), [""; 0]);
    }

    #[test]
    fn links_to_addresses_count_as_well() {
        let mut addresses = Addresses::default();
        for link in [
            "MAILTO:a@example.com?subject=x",
            "mailto:",
            "mailto:?to=b@example.com",
            "http://c@example.com/",
            "mailto:d%20@example.com",
        ] {
            addresses.link(link);
        }
        assert_eq!(addresses.finish(), ["a@example.com"]);
    }

    #[test]
    fn many_are_bounded() {
        let many: String = (0..5_000).map(|number| format!("u{number}@example.com ")).collect();
        assert_eq!(found(&[&many]).len(), MAX_ADDRESSES);
        assert_eq!(
            found(&[
                &"@".repeat(100_000),
                &"a@".repeat(100_000),
                &format!("{}@example.com", "x".repeat(100))
            ]),
            [""; 0]
        );
        // After a thousand places that are none, nobody looks any further.
        assert_eq!(found(&[&"a@b ".repeat(1_000), "c@example.com"]), [""; 0]);
    }
}
