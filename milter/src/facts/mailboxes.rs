//! Who writes to whom, by the header: From, Sender, Reply-To, To, Cc as mailboxes (RFC 5322, 3.4).
//!
//! For the rules of the groups `sender` and `headers`. What stands here is claimed, not proven; who really sent the message is in
//! `authentication`. At most [`MAX_MAILBOXES`] of a field are kept.

use mail_parser::AddressList;

use super::hosts;

/// No rule looks at more recipients than that.
pub const MAX_MAILBOXES: usize = 256;

/// A display name or address is cut there; RFC 5321, 4.5.3.1 allows 320 bytes for an address.
const MAX_TEXT: usize = 512;

/// The mailboxes of the header.
#[derive(Debug, Clone, Default)]
pub struct Correspondents {
    /// The authors.
    pub from: Vec<Mailbox>,
    /// Who sent it for them.
    pub sender: Vec<Mailbox>,
    /// Where answers go.
    pub reply_to: Vec<Mailbox>,
    /// The recipients.
    pub to: Vec<Mailbox>,
    /// Further recipients.
    pub cc: Vec<Mailbox>,
    /// Whether `To` or `Cc` names a group without members, such as `undisclosed-recipients:;` (RFC 5322, 3.4).
    pub undisclosed: bool,
}

/// A display name and an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name, decoded; empty when there is none.
    pub name: String,
    /// The address in lower case, as it stands there; maybe no address at all.
    pub address: String,
    /// The part left of the last `@`; all of it where there is none.
    pub local: String,
    /// The part right of the last `@` in canonical form; empty where there is none.
    pub domain: String,
    /// The registrable domain of `domain`.
    pub site: String,
}

impl Correspondents {
    pub(super) fn read(parsed: &mail_parser::Message<'_>) -> Self {
        let to: Vec<AddressList<'_>> = parsed.all_to().take(8).collect();
        let cc: Vec<AddressList<'_>> = parsed.all_cc().take(8).collect();
        Self {
            from: mailboxes(parsed.all_from()),
            sender: mailboxes(parsed.sender().into_iter()),
            reply_to: mailboxes(parsed.reply_to().into_iter()),
            undisclosed: to
                .iter()
                .chain(&cc)
                .any(|list| list.has_groups() && list.mailboxes().next().is_none()),
            to: mailboxes(to.into_iter()),
            cc: mailboxes(cc.into_iter()),
        }
    }

    /// The first author, who is the one that people see.
    pub fn author(&self) -> Option<&Mailbox> {
        self.from.first()
    }

    /// Where an answer would go, if that is not the author anyway.
    pub fn answer_to(&self) -> Option<&Mailbox> {
        self.reply_to.first()
    }

    /// The recipients of both fields.
    pub fn recipients(&self) -> impl Iterator<Item = &Mailbox> {
        self.to.iter().chain(&self.cc)
    }
}

impl Mailbox {
    /// A mailbox of its two parts.
    pub fn new(name: &str, address: &str) -> Self {
        let address = cut(address.trim(), MAX_TEXT).to_lowercase();
        let (local, domain) = match address.rsplit_once('@') {
            Some((local, domain)) => (local.to_owned(), hosts::canonical(domain)),
            None => (address.clone(), String::new()),
        };
        let site = hosts::site(&domain).to_owned();
        Self { name: cut(name, MAX_TEXT).to_owned(), address, local, domain, site }
    }

    /// Whether this could be an address: something on both sides, the right one like a host name (RFC 5321, 4.1.2).
    pub fn is_address(&self) -> bool {
        let host = self.domain.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        });
        let literal = self.domain.starts_with('[') && self.domain.ends_with(']');
        let local =
            !self.local.is_empty() && self.local.len() <= 64 && !self.local.contains(char::is_whitespace);
        local && (host || literal)
    }
}

/// The beginning of a text, at most `limit` bytes.
pub fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn mailboxes<'m>(lists: impl Iterator<Item = AddressList<'m>>) -> Vec<Mailbox> {
    lists
        .flat_map(|list| list.mailboxes())
        .take(MAX_MAILBOXES)
        .map(|mailbox| {
            Mailbox::new(mailbox.name().unwrap_or_default(), mailbox.address().unwrap_or_default())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_address_has_two_sides() {
        let mailbox = Mailbox::new("Bob", "Bob@Mail.Example.CO.UK");
        assert_eq!((mailbox.local.as_str(), mailbox.site.as_str()), ("bob", "example.co.uk"));
        assert!(mailbox.is_address());
        for bad in ["bob", "bob@", "@example.com", "b ob@example.com", "bob@exa mple.com", "bob@a..b"] {
            assert!(!Mailbox::new("", bad).is_address(), "{bad}");
        }
    }
}
