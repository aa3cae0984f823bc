//! Group `headers`, second half: the Message-ID (RFC 5322, 3.6.4).

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::headers::{Date, MessageId, is_list};
use crate::facts::hosts;

/// The group's table.
pub const RULES: &[Rule] = &[
    MISSING_MID,
    INVALID_MSGID,
    MID_BARE_IP,
    MID_RHS_IP_LITERAL,
    MID_RHS_NOT_FQDN,
    MID_RHS_WWW,
    MID_MISSING_BRACKETS,
    MID_CONTAINS_FROM,
    MID_CONTAINS_TO,
    MID_RHS_MATCH_TO,
    MID_END_EQ_FROM_USER_PART,
    RATWARE_MS_HASH,
    RATWARE_MID_ZEROS,
    RATWARE_MID_TIME,
];

/// None.
pub const MISSING_MID: Rule = Rule {
    symbol: "MISSING_MID",
    group: Group::Headers,
    weight: 2.5,
    summary: "no Message-ID header",
    why: "RFC 5322, 3.6.4: every message should have one; every mail program writes one",
    check: Check::Facts(|facts| when(facts.headers.message_id.is_none())),
};

/// Not of the form.
pub const INVALID_MSGID: Rule = Rule {
    symbol: "INVALID_MSGID",
    group: Group::Headers,
    weight: 1.9,
    summary: "the Message-ID has not the form <left@right>",
    why: "RFC 5322, 3.6.4: whoever generates it by hand gets it wrong",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let blank = |text: &str| text.is_empty() || text.contains(char::is_whitespace);
        (blank(&id.left) || blank(&id.right) || id.text.contains(['<', '>']) && !id.brackets)
            .then(|| Evidence::new(&id.text))
    }),
};

/// The right side is a bare address.
pub const MID_BARE_IP: Rule = Rule {
    symbol: "MID_BARE_IP",
    group: Group::Headers,
    weight: 1.9,
    summary: "the right side of the Message-ID is an address without brackets",
    why: "RFC 5322, 3.6.4: a domain name, or an address in brackets; programs that nobody configured write this",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        id.right.parse::<std::net::IpAddr>().is_ok().then(|| Evidence::new(&id.right))
    }),
};

/// The right side is an address literal.
pub const MID_RHS_IP_LITERAL: Rule = Rule {
    symbol: "MID_RHS_IP_LITERAL",
    group: Group::Headers,
    weight: 0.3,
    summary: "the right side of the Message-ID is an address in brackets",
    why: "RFC 5322, 3.6.4 allows it; servers have names",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let inner = id.right.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'))?;
        inner.parse::<std::net::IpAddr>().is_ok().then(|| Evidence::new(&id.right))
    }),
};

/// The right side is no full name.
pub const MID_RHS_NOT_FQDN: Rule = Rule {
    symbol: "MID_RHS_NOT_FQDN",
    group: Group::Headers,
    weight: 0.2,
    summary: "the right side of the Message-ID is no fully qualified name",
    why: "RFC 5322, 3.6.4 recommends a domain name, which makes it unique; desktop computers have none",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        (!id.right.is_empty() && !id.right.contains('.') && !id.right.starts_with('['))
            .then(|| Evidence::new(&id.right))
    }),
};

/// The right side begins with `www.`.
pub const MID_RHS_WWW: Rule = Rule {
    symbol: "MID_RHS_WWW",
    group: Group::Headers,
    weight: 0.2,
    summary: "the right side of the Message-ID is a web server's name",
    why: "sent by a script on a web site, the place where intruders send from",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        id.right.starts_with("www.").then(|| Evidence::new(&id.right))
    }),
};

/// No brackets.
pub const MID_MISSING_BRACKETS: Rule = Rule {
    symbol: "MID_MISSING_BRACKETS",
    group: Group::Headers,
    weight: 0.5,
    summary: "the Message-ID has no angle brackets",
    why: "RFC 5322, 3.6.4: they are a part of it",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        (!id.brackets && !id.text.is_empty()).then(|| Evidence::new(&id.text))
    }),
};

/// It has the author's address.
pub const MID_CONTAINS_FROM: Rule = Rule {
    symbol: "MID_CONTAINS_FROM",
    group: Group::Headers,
    weight: 0.1,
    summary: "the Message-ID contains the author's address",
    why: "an identifier made of what was at hand",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let author = facts.people.author().filter(|author| author.is_address())?;
        id.text.to_lowercase().contains(&author.address).then(|| Evidence::new(&id.text))
    }),
};

/// It has the recipient's address.
pub const MID_CONTAINS_TO: Rule = Rule {
    symbol: "MID_CONTAINS_TO",
    group: Group::Headers,
    weight: 0.9,
    summary: "the Message-ID contains the recipient's address",
    why: "a template filled in for each recipient; mail to oneself is left out",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let to = facts.people.to.first().filter(|to| to.is_address())?;
        let oneself = facts.people.author().is_some_and(|author| author.address == to.address);
        (!oneself && id.text.to_lowercase().contains(&to.address)).then(|| Evidence::new(&id.text))
    }),
};

/// Its domain is the recipient's.
pub const MID_RHS_MATCH_TO: Rule = Rule {
    symbol: "MID_RHS_MATCH_TO",
    group: Group::Headers,
    weight: 0.9,
    summary: "the Message-ID was made at the recipient's domain, but the author is from elsewhere",
    why: "the message had none when it came in, and the recipient's server gave it one; or a bot copied the domain",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let to = facts.people.to.first().filter(|to| to.is_address())?;
        let author = facts.people.author()?;
        (id.right == to.domain && author.site != to.site).then(|| Evidence::new(&id.right))
    }),
};

/// It ends in the author's local part.
pub const MID_END_EQ_FROM_USER_PART: Rule = Rule {
    symbol: "MID_END_EQ_FROM_USER_PART",
    group: Group::Headers,
    weight: 2.5,
    summary: "the right side of the Message-ID is the left side of the author's address",
    why: "a bot's template with two fields exchanged; people who name their computer after themselves write to lists, which are left out (Rspamd: 4)",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let author = facts.people.author().filter(|author| author.is_address())?;
        (id.right == author.local && !is_list(&facts.headers)).then(|| Evidence::new(&id.text))
    }),
};

/// Outlook's Message-ID without Outlook.
pub const RATWARE_MS_HASH: Rule = Rule {
    symbol: "RATWARE_MS_HASH",
    group: Group::Headers,
    weight: 2.1,
    summary: "a Message-ID as Outlook Express writes it, in a message that is not from there",
    why: "bots copied the form and forgot X-Mailer and X-MimeOLE, or name another program; lists that remove headers are left out",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let named = facts.headers.mailer().starts_with("Microsoft") || facts.headers.has("x-mimeole");
        (is_express(&id.left) && !named && !is_list(&facts.headers)).then(|| Evidence::new(&id.text))
    }),
};

/// Zeros in it.
pub const RATWARE_MID_ZEROS: Rule = Rule {
    symbol: "RATWARE_MID_ZEROS",
    group: Group::Headers,
    weight: 3.1,
    summary: "a Message-ID like that of Outlook Express, whose numbers begin with zeros",
    why: "there are a time, a counter and an address in it; random numbers of 16 bits are a bot's",
    check: Check::Facts(|facts| {
        let id = id(facts)?;
        let pieces: Vec<_> = id.left.split('$').collect();
        (is_express(&id.left) && pieces[1..].iter().all(|piece| piece.starts_with("0000")))
            .then(|| Evidence::new(&id.text))
    }),
};

/// Another time in it.
pub const RATWARE_MID_TIME: Rule = Rule {
    symbol: "RATWARE_MID_TIME",
    group: Group::Headers,
    weight: 3.1,
    summary: "a Message-ID like that of Outlook Express, made hours before or after the Date",
    why: "the program writes both in the same second; bots roll dice for the one (the time stands there in 100 ns since 1601, as Windows counts)",
    check: Check::Facts(|facts| {
        let id = id(facts).filter(|id| is_express(&id.left))?;
        let Date::At(date) = facts.headers.date else { return None };
        let ticks = i64::from_str_radix(id.left.get(4..12)?, 16).ok()? << 32
            | i64::from_str_radix(id.left.get(13..21)?, 16).ok()?;
        let apart = ticks / TICKS - SINCE_1601 - date;
        (apart.abs() > 2 * HOUR).then(|| Evidence::new(format_args!("{} hours", apart / HOUR)))
    }),
};

const HOUR: i64 = 3_600;
/// Of Windows' clock in a second, and the seconds from its beginning to 1970.
const TICKS: i64 = 10_000_000;
const SINCE_1601: i64 = 11_644_473_600;

/// `000a01c23c86$e252b2f0$6600a8c0`.
fn is_express(left: &str) -> bool {
    let digits = left.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'$');
    digits && left.split('$').map(str::len).eq([12, 8, 8])
}

fn id(facts: &Facts) -> Option<&MessageId> {
    facts.headers.message_id.as_ref()
}

/// Whether the Message-ID was made by the author's own domain; used by composites and good signs.
pub(super) fn is_authors(facts: &Facts) -> bool {
    let author = facts.people.author();
    id(facts)
        .zip(author)
        .is_some_and(|(id, author)| !author.site.is_empty() && hosts::site(&id.right) == author.site)
}
