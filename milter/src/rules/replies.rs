//! Group `sender`, second half: where answers go, and mailboxes that anybody gets for nothing.

use super::sender::is_confirmed;
use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;
use crate::facts::headers::{is_answer, is_list};
use crate::facts::hosts;
use crate::facts::mailboxes::Mailbox;

/// The group's table.
pub const RULES: &[Rule] = &[
    SPOOF_REPLYTO,
    REPLYTO_EQ_TO_ADDR,
    REPLYTO_UNPARSEABLE,
    REPLYTO_LOCALPART_LONG,
    FREEMAIL_FROM,
    FREEMAIL_REPLYTO,
    FREEMAIL_REPLYTO_NEQ_FROM,
    FREEMAIL_REPLYTO_NEQ_FROM_DOM,
    FREEMAIL_NO_TRACE,
    FREEMAIL_NO_TRACE_LIST,
    REPLYTO_EQ_FROM,
    FROM_DIGITS,
];

/// Answers leave the house.
pub const SPOOF_REPLYTO: Rule = Rule {
    symbol: "SPOOF_REPLYTO",
    group: Group::Sender,
    weight: 6.0,
    summary: "the author is from the recipient's domain, but answers go elsewhere",
    why: "the boss asks for a transfer, and the answer goes to a stranger",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let answer = answer_to(facts)?;
        let to = facts.people.to.first()?;
        // Among the users of a freemail provider nothing follows from a common domain.
        let house = author.site == to.site && !hosts::is_freemail(&to.domain);
        (house && answer.site != author.site && !is_list(&facts.headers) && !is_confirmed(facts))
            .then(|| Evidence::new(format_args!("{} -> {}", author.address, answer.address)))
    }),
};

/// Answers go to the recipient.
pub const REPLYTO_EQ_TO_ADDR: Rule = Rule {
    symbol: "REPLYTO_EQ_TO_ADDR",
    group: Group::Sender,
    weight: 2.0,
    summary: "answers go to the recipient himself",
    why: "a template filled with the recipient's address; lists and groups do it too and are left out where they say so",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let answer = answer_to(facts)?;
        let mut recipients = facts.people.recipients();
        let only =
            recipients.next().is_some_and(|to| to.address == answer.address) && recipients.next().is_none();
        let list = is_list(&facts.headers)
            || facts.headers.has("list-unsubscribe")
            || facts.headers.has("precedence");
        (only && author.address != answer.address && !list).then(|| Evidence::new(&answer.address))
    }),
};

/// Reply-To is no address.
pub const REPLYTO_UNPARSEABLE: Rule = Rule {
    symbol: "REPLYTO_UNPARSEABLE",
    group: Group::Sender,
    weight: 1.0,
    summary: "Reply-To has no address",
    why: "RFC 5322, 3.6.2: a list of addresses",
    check: Check::Facts(|facts| {
        let value = facts.headers.value("reply-to");
        let valid = facts.people.answer_to().is_some_and(Mailbox::is_address);
        (!value.is_empty() && !valid).then(|| Evidence::new(value))
    }),
};

/// A long local part in Reply-To.
pub const REPLYTO_LOCALPART_LONG: Rule = Rule {
    symbol: "REPLYTO_LOCALPART_LONG",
    group: Group::Sender,
    weight: 2.0,
    summary: "the left side of Reply-To is very long",
    why: "RFC 5321, 4.5.3.1.1: at most 64 bytes",
    check: Check::Facts(|facts| {
        let answer = facts.people.answer_to()?;
        (answer.local.len() > 64 && !answer.domain.is_empty()).then(|| Evidence::new(&answer.local))
    }),
};

/// From a freemail provider.
pub const FREEMAIL_FROM: Rule = Rule {
    symbol: "FREEMAIL_FROM",
    group: Group::Sender,
    weight: 0.0,
    summary: "the author's address is at a freemail provider",
    why: "no sign by itself; a part of composites",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        hosts::is_freemail(&author.domain).then(|| Evidence::new(&author.site))
    }),
};

/// Answers go to a freemail provider.
pub const FREEMAIL_REPLYTO: Rule = Rule {
    symbol: "FREEMAIL_REPLYTO",
    group: Group::Sender,
    weight: 0.0,
    summary: "answers go to a freemail provider",
    why: "no sign by itself; a part of composites",
    check: Check::Facts(|facts| {
        let answer = facts.people.answer_to()?;
        hosts::is_freemail(&answer.domain).then(|| Evidence::new(&answer.address))
    }),
};

/// Another freemail address at the same provider.
pub const FREEMAIL_REPLYTO_NEQ_FROM: Rule = Rule {
    symbol: "FREEMAIL_REPLYTO_NEQ_FROM",
    group: Group::Sender,
    weight: 3.5,
    summary: "answers go to another freemail address than the author's",
    why: "the author's account is stolen or invented; the answers must reach the thief",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let answer = answer_to(facts)?;
        let same_person = author.name.len() > 3 && author.name == answer.name;
        let hit = hosts::is_freemail(&answer.domain)
            && answer.address != author.address
            && !(hosts::is_freemail(&author.domain) && answer.domain != author.domain)
            && !is_rewritten(facts, author)
            && !same_person;
        hit.then(|| Evidence::new(format_args!("{} -> {}", author.address, answer.address)))
    }),
};

/// A freemail address at another provider.
pub const FREEMAIL_REPLYTO_NEQ_FROM_DOM: Rule = Rule {
    symbol: "FREEMAIL_REPLYTO_NEQ_FROM_DOM",
    group: Group::Sender,
    weight: 4.1,
    summary: "author and answers are at different freemail providers",
    why: "the author's account is stolen or invented; the answers must reach the thief",
    check: Check::Facts(|facts| {
        let author = facts.people.author()?;
        let answer = answer_to(facts)?;
        let both = hosts::is_freemail(&answer.domain) && hosts::is_freemail(&author.domain);
        (both && answer.site != author.site && !is_rewritten(facts, author))
            .then(|| Evidence::new(format_args!("{} -> {}", author.address, answer.address)))
    }),
};

/// A freemail author without a trace of the provider.
pub const FREEMAIL_NO_TRACE: Rule = Rule {
    symbol: "FREEMAIL_NO_TRACE",
    group: Group::Sender,
    weight: 2.5,
    summary: "the author is at a big freemail provider, but nothing in the header comes from there",
    why: "its servers sign, and name themselves in Received; asked only where DKIM and SPF do not confirm it, and there is a trace of others",
    check: Check::Facts(|facts| {
        let author = untraced(facts)?;
        (!is_list(&facts.headers) && !is_confirmed(facts)).then(|| Evidence::new(&author.address))
    }),
};

/// The same, on a list.
pub const FREEMAIL_NO_TRACE_LIST: Rule = Rule {
    symbol: "FREEMAIL_NO_TRACE_LIST",
    group: Group::Sender,
    weight: 3.0,
    summary: "begins a thread on a list, from a big freemail provider of which there is no trace",
    why: "lists keep the hops before them: this was put in by a web page of the list, where nobody proves who he is, or came from a forger",
    check: Check::Facts(|facts| {
        let author = untraced(facts)?;
        (is_list(&facts.headers) && !is_answer(&facts.headers) && !is_rewritten(facts, author))
            .then(|| Evidence::new(&author.address))
    }),
};

/// Reply-To for nothing.
pub const REPLYTO_EQ_FROM: Rule = Rule {
    symbol: "REPLYTO_EQ_FROM",
    group: Group::Sender,
    weight: 0.6,
    summary: "Reply-To repeats the author, name and address",
    why: "RFC 5322, 3.6.2: without it answers go there anyway; bulk mailers fill in every field. Lists and proper newsletters are left out",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| author.is_address())?;
        let same = facts.people.answer_to().is_some_and(|answer| answer == author);
        let proper = is_list(&facts.headers) || facts.headers.has("list-unsubscribe");
        (same && !proper && !is_answer(&facts.headers)).then(|| Evidence::new(&author.address))
    }),
};

/// A local part made by a machine.
pub const FROM_DIGITS: Rule = Rule {
    symbol: "FROM_DIGITS",
    group: Group::Sender,
    weight: 1.2,
    summary: "the author's freemail address ends in many digits",
    why: "accounts registered by machines are numbered; people get along with a year",
    check: Check::Facts(|facts| {
        let author = facts.people.author().filter(|author| hosts::is_freemail(&author.domain))?;
        let digits = author.local.bytes().rev().take_while(u8::is_ascii_digit).count();
        (digits >= 5 && digits < author.local.len()).then(|| Evidence::new(&author.address))
    }),
};

/// The author at a big freemail provider, if the header has hops and none of them is the provider's, nor anything else of it.
fn untraced(facts: &Facts) -> Option<&Mailbox> {
    let author = facts.people.author()?;
    let (_, marks) = PROVIDERS.iter().find(|(domains, _)| domains.contains(&author.domain.as_str()))?;
    let host = |name: &str| marks.iter().any(|mark| hosts::is_under(name, mark));
    let hops = &facts.headers.received;
    let trace = hops.iter().flat_map(|hop| [&hop.from, &hop.by]).flatten().any(|name| host(name))
        || facts
            .headers
            .fields
            .iter()
            .any(|field| field.name == "dkim-signature" && field.value.contains(author.domain.as_str()))
        || facts.envelope.client_name.as_deref().is_some_and(host)
        || facts.headers.fields.iter().any(|field| TRACES.contains(&field.name.as_str()));
    let known = !hops.is_empty() || facts.envelope.client_name.is_some();
    (known && !trace).then_some(author)
}

/// Whether a list wrote its own address into From for DMARC's sake, so that Reply-To is the author's.
fn is_rewritten(facts: &Facts, author: &Mailbox) -> bool {
    let sender = facts.headers.value("list-post").to_lowercase();
    is_list(&facts.headers) && (sender.contains(&author.address) || author.name.contains(" via "))
}

/// The first Reply-To that is an address.
fn answer_to(facts: &Facts) -> Option<&Mailbox> {
    facts.people.answer_to().filter(|answer| answer.is_address())
}

/// Big providers: their domains, and the domains of the servers that their mail passes.
const PROVIDERS: &[(&[&str], &[&str])] = &[
    (&["gmail.com", "googlemail.com"], &["google.com", "gmail.com", "googlemail.com"]),
    (
        &["hotmail.com", "outlook.com", "msn.com", "live.com", "hotmail.co.uk", "hotmail.fr"],
        &["hotmail.com", "outlook.com", "msn.com", "live.com", "phx.gbl", "microsoft.com"],
    ),
    (
        &[
            "yahoo.com",
            "yahoo.co.uk",
            "yahoo.fr",
            "yahoo.de",
            "yahoo.it",
            "yahoo.es",
            "yahoo.ca",
            "ymail.com",
            "rocketmail.com",
        ],
        &[
            "yahoo.com",
            "yahoo.net",
            "yahoodns.net",
            "yahoo.co.uk",
            "yahoo.fr",
            "yahoo.de",
            "yahoo.it",
            "bullet.mail.yahoo.com",
        ],
    ),
    (&["aol.com", "aim.com"], &["aol.com", "aol.net", "yahoo.com", "yahoodns.net", "verizon.net"]),
    (
        &["gmx.de", "gmx.net", "gmx.com", "web.de", "gmx.at", "gmx.ch"],
        &["gmx.net", "gmx.de", "gmx.com", "web.de", "kundenserver.de"],
    ),
];

/// Fields that these providers' web pages write, and that nobody copies.
const TRACES: &[&str] =
    &["x-originating-ip", "x-yahoo-newman-id", "x-ymail-osg", "x-gm-message-state", "x-aol-ip", "x-oesp"];
