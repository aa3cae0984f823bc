//! Group `correspondents`: whom the recipient has written to, what he has written, and who bears the name of somebody he knows.
//!
//! Asked for each recipient: a stranger to one is a friend of another. An address in From is only claimed, so knowing it counts where
//! SPF, DKIM or DMARC prove its domain; a Message-ID of ours counts in itself, because nobody guesses one, but less from a stranger, because
//! it is no secret either (lists and quotes show it). Those who have mailboxes here are known to each other by their names.

use gatepost::store::Relation;

use super::sender::is_confirmed;
use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;
use crate::facts::headers::is_list;
use crate::facts::hosts;

/// The group's table.
pub const RULES: &[Rule] = &[KNOWN_SENDER, REPLY, CONTACT_NAME_NEW_ADDRESS, COLLEAGUE_NAME_STRANGER];

/// The recipient has written to the author.
pub const KNOWN_SENDER: Rule = Rule {
    symbol: "KNOWN_SENDER",
    group: Group::Correspondents,
    weight: -3.0,
    summary: "the recipient has written to this author, whose domain is proven",
    why: "nobody writes to those who send him spam; proven by SPF, DKIM or DMARC, since anybody can claim an address",
    check: Check::Relation(|facts, relation| {
        let author = facts.people.author()?;
        (relation.wrote_to && is_confirmed(facts)).then(|| Evidence::new(&author.address))
    }),
};

/// An answer.
pub const REPLY: Rule = Rule {
    symbol: "REPLY",
    group: Group::Correspondents,
    weight: -4.0,
    summary: "it answers a message of the recipient's",
    why: "RFC 5322, 3.6.4: it names a Message-ID that he sent; half as much from somebody he has not written to, as lists show them",
    check: Check::Relation(|facts, relation| {
        let known = relation.wrote_to || is_list(&facts.headers);
        relation.answers.then(|| Evidence::new("").times(if known { 1.0 } else { 0.5 }))
    }),
};

/// A known name with an unknown address.
pub const CONTACT_NAME_NEW_ADDRESS: Rule = Rule {
    symbol: "CONTACT_NAME_NEW_ADDRESS",
    group: Group::Correspondents,
    weight: 4.0,
    summary: "the first mail of an address that bears the name of a contact of the recipient's",
    why: "the boss writes from a private address and needs a favour; people do have two addresses, so it is half as much from one that is proven",
    check: Check::Relation(known_name),
};

/// A colleague's name with an address from elsewhere.
pub const COLLEAGUE_NAME_STRANGER: Rule = Rule {
    symbol: "COLLEAGUE_NAME_STRANGER",
    group: Group::Correspondents,
    weight: 3.0,
    summary: "an address from elsewhere that bears the name of a user of the recipient's own domain",
    why: "the director writes from a private address and needs a favour; people do have two addresses, so it is half as much from one that is proven",
    check: Check::Relation(|facts, relation| {
        let colleague = relation.colleague.as_deref()?;
        let domain = colleague.rsplit_once('@').map(|(_, domain)| domain)?;
        // Whoever claims the domain itself is OWN_DOMAIN_SPOOFED's; somebody whom he has written to under that name says more.
        let elsewhere = facts.people.author()?.site != hosts::site(domain);
        (elsewhere && relation.namesake.is_none()).then(|| bears(facts, relation, colleague)).flatten()
    }),
};

fn known_name(facts: &Facts, relation: &Relation) -> Option<Evidence> {
    bears(facts, relation, relation.namesake.as_deref()?)
}

/// The author bears the name of whom the recipient knows under the address `known`.
fn bears(facts: &Facts, relation: &Relation, known: &str) -> Option<Evidence> {
    let author = facts.people.author().filter(|author| author.is_address())?;
    if relation.wrote_to || relation.answers || author.address == known {
        return None;
    }
    let domain = known.rsplit_once('@').map(|(_, domain)| domain)?;
    // Another address of the same organisation is the same person's, where the domain is proven; a list writes in its members' names.
    let same_house =
        hosts::site(domain) == author.site && !hosts::is_freemail(&author.domain) && is_confirmed(facts);
    if same_house || is_list(&facts.headers) {
        return None;
    }
    let proven = is_confirmed(facts) && !hosts::is_freemail(&author.domain);
    Some(Evidence::new(format_args!("{} is not {known}", author.address)).times(if proven {
        0.5
    } else {
        1.0
    }))
}
