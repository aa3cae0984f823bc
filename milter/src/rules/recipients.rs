//! Group `recipients`: To and Cc, and whether they fit the envelope.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::headers::is_list;

/// The group's table.
pub const RULES: &[Rule] = &[
    MISSING_TO,
    R_UNDISC_RCPT,
    FORGED_RECIPIENTS,
    TO_DN_RECIPIENTS,
    TO_EQ_DOMAIN_DN,
    SORTED_RECIPS,
    SUSPICIOUS_RECIPS,
    TO_NEEDS_ENCODING,
];

/// No To.
pub const MISSING_TO: Rule = Rule {
    symbol: "MISSING_TO",
    group: Group::Recipients,
    weight: 0.6,
    summary: "no To header, nor Cc",
    why: "RFC 5322, 3.6.3 makes it optional; people address their mail; lists are left out",
    check: Check::Facts(|facts| {
        let named = ["to", "cc", "apparently-to"].iter().any(|name| facts.headers.has(name));
        when(!named && !is_list(&facts.headers))
    }),
};

/// Undisclosed recipients.
pub const R_UNDISC_RCPT: Rule = Rule {
    symbol: "R_UNDISC_RCPT",
    group: Group::Recipients,
    weight: 3.4,
    summary: "the recipients are not disclosed",
    why: "RFC 5322, 3.4: an empty group; mail to many who shall not know of each other (Rspamd: 3)",
    check: Check::Facts(|facts| {
        let value = facts.headers.value("to").to_ascii_lowercase();
        let said = value.contains("undisclosed")
            || value.contains("unlisted-recipients")
            || value.contains("recipient list");
        when((said || facts.people.undisclosed) && facts.people.recipients().all(|to| !to.is_address()))
    }),
};

/// The envelope's recipients are not in the header.
pub const FORGED_RECIPIENTS: Rule = Rule {
    symbol: "FORGED_RECIPIENTS",
    group: Group::Recipients,
    weight: 1.0,
    summary: "the recipient of the envelope is not among those of the header",
    why: "blind copies, aliases and lists as well, so half of Rspamd's 2; lists and resent mail are left out",
    check: Check::Facts(|facts| {
        let envelope = &facts.envelope.recipients;
        let named = facts.people.recipients().any(|to| to.is_address());
        let there = |address: String| facts.people.recipients().any(|to| to.address == address);
        let base = |to: &gatepost::mail::Address| {
            to.strip_extension("+-").map_or_else(|| to.to_string(), |(base, _)| base.to_string())
        };
        let missing =
            !envelope.is_empty() && envelope.iter().all(|to| !there(to.to_string()) && !there(base(to)));
        let other = is_list(&facts.headers)
            || facts.headers.has("resent-to")
            || facts.headers.has("list-unsubscribe");
        when(facts.is_inbound() && named && missing && !other)
    }),
};

/// "Recipients" as a name.
pub const TO_DN_RECIPIENTS: Rule = Rule {
    symbol: "TO_DN_RECIPIENTS",
    group: Group::Recipients,
    weight: 2.6,
    summary: "the recipient is called Recipients",
    why: "a bulk mailer's placeholder",
    check: Check::Facts(|facts| {
        let name = facts.people.to.first()?.name.to_ascii_lowercase();
        when(
            ["recipients", "recipient", "undisclosed recipients", "valued customer", "customer"]
                .contains(&name.as_str()),
        )
    }),
};

/// The name is the address's domain.
pub const TO_EQ_DOMAIN_DN: Rule = Rule {
    symbol: "TO_EQ_DOMAIN_DN",
    group: Group::Recipients,
    weight: 0.5,
    summary: "the recipient's display name is his domain",
    why: "a template that has nothing but the address",
    check: Check::Facts(|facts| {
        let to = facts.people.to.first().filter(|to| !to.domain.is_empty())?;
        let label = to.site.split('.').next().unwrap_or_default();
        let name = to.name.to_lowercase();
        when(name == to.domain || name == to.site || name.len() >= 5 && name == label)
    }),
};

/// Recipients in alphabetical order.
pub const SORTED_RECIPS: Rule = Rule {
    symbol: "SORTED_RECIPS",
    group: Group::Recipients,
    weight: 3.6,
    summary: "seven or more recipients in (almost) alphabetical order",
    why: "taken from a sorted list of addresses, 17 of 20 neighbours in order; people write to others in the order in which they come to mind",
    check: Check::Facts(|facts| {
        let addresses: Vec<_> = facts.people.recipients().map(|to| to.address.as_str()).collect();
        when(
            addresses.len() >= 7
                && addresses.is_sorted()
                && addresses.first() != addresses.last()
                && !is_list(&facts.headers),
        )
    }),
};

/// Recipients who resemble each other.
pub const SUSPICIOUS_RECIPS: Rule = Rule {
    symbol: "SUSPICIOUS_RECIPS",
    group: Group::Recipients,
    weight: 1.7,
    summary: "the recipients' addresses resemble each other",
    why: "neighbours in a sorted list of addresses of one provider",
    check: Check::Facts(|facts| {
        let people: Vec<_> = facts.people.recipients().filter(|to| to.is_address()).collect();
        if people.len() < 5 {
            return None;
        }
        let alike = |a: &str, b: &str| a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count() >= 3;
        let pairs = people.windows(2).filter(|pair| alike(&pair[0].local, &pair[1].local)).count();
        (pairs * 2 >= people.len() && !is_list(&facts.headers))
            .then(|| Evidence::new(format_args!("{pairs} of {}", people.len())))
    }),
};

/// Raw bytes in To.
pub const TO_NEEDS_ENCODING: Rule = Rule {
    symbol: "TO_NEEDS_ENCODING",
    group: Group::Recipients,
    weight: 1.0,
    summary: "To has bytes beyond ASCII that are not even UTF-8",
    why: "RFC 2047, 5: they are encoded; UTF-8 is left out, RFC 6532 allows it",
    check: Check::Facts(|facts| when(facts.headers.field("to").is_some_and(|field| field.broken_utf8))),
};
