//! Group `received`: the way that the message says it came. Whoever sends unwanted mail writes some of these fields himself, to lead whoever
//! looks for him elsewhere; the hops between are not his to write, so nothing here is judged by what an honest relay may do.
//!
//! The fields are read as text, because what is forged is mostly what a parser makes nothing of.

use std::net::IpAddr;

use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;
use crate::facts::headers::{Hop, is_list};

/// The group's table.
pub const RULES: &[Rule] = &[
    RCVD_ILLEGAL_IP,
    RCVD_HELO_USER,
    RCVD_DOUBLE_IP_SPAM,
    INVALID_POSTFIX_RECEIVED,
    RCVD_TIME_BACKWARDS,
    DIRECT_TO_MX,
];

/// An address that cannot be.
pub const RCVD_ILLEGAL_IP: Rule = Rule {
    symbol: "RCVD_ILLEGAL_IP",
    group: Group::Received,
    weight: 3.0,
    summary: "a Received field with an address that no host can have",
    why: "RFC 791, 3.2: four octets; a server writes down the address of its client, a forger rolls dice",
    check: Check::Facts(|facts| {
        fields(facts).find_map(|field| bracketed(field).find(|text| is_illegal(text)).map(Evidence::new))
    }),
};

/// The client called itself User.
pub const RCVD_HELO_USER: Rule = Rule {
    symbol: "RCVD_HELO_USER",
    group: Group::Received,
    weight: 3.3,
    summary: "a hop came from a client that calls itself User",
    why: "a program for sending unwanted mail says so in HELO where its user sets nothing (Rspamd: 3)",
    check: Check::Facts(|facts| {
        let user = |field: &&str| {
            let lower = field.to_ascii_lowercase();
            lower.starts_with("from user ")
                || lower.starts_with("from user(")
                || ["(helo user)", "(ehlo user)", "helo=user)"].iter().any(|mark| lower.contains(mark))
        };
        fields(facts).find(user).map(Evidence::new)
    }),
};

/// An address received it from an address.
pub const RCVD_DOUBLE_IP_SPAM: Rule = Rule {
    symbol: "RCVD_DOUBLE_IP_SPAM",
    group: Group::Received,
    weight: 2.0,
    summary: "a hop from an address to an address, neither of which has a name",
    why: "RFC 5321, 4.4: a server writes its own name behind \"by\"; a bot has none to write (Rspamd: 2)",
    check: Check::Facts(|facts| {
        let double = |field: &&str| {
            let mut words = field.split_whitespace();
            let mut next = || words.next().unwrap_or_default();
            let (from, client, by, server) = (next(), next(), next(), next());
            from.eq_ignore_ascii_case("from")
                && by.eq_ignore_ascii_case("by")
                && is_address(client)
                && is_address(server.trim_end_matches(';'))
        };
        fields(facts).find(double).map(Evidence::new)
    }),
};

/// Postfix never wrote this.
pub const INVALID_POSTFIX_RECEIVED: Rule = Rule {
    symbol: "INVALID_POSTFIX_RECEIVED",
    group: Group::Received,
    weight: 4.1,
    summary: "a hop claims to be Postfix, with a queue id that Postfix never gives",
    why: "short ones are upper-case hexadecimal, long ones digits and consonants (Postfix: enable_long_queue_ids; Rspamd: 3)",
    check: Check::Facts(|facts| {
        let id = |field: &&str| {
            let (_, rest) = field.split_once("(Postfix)")?;
            let id = rest.split_once(" id ")?.1.split([' ', ';', '\t']).next().unwrap_or_default();
            (!is_queue_id(id)).then(|| Evidence::new(id))
        };
        fields(facts).find_map(|field| id(&field))
    }),
};

/// It arrived before it was sent on.
pub const RCVD_TIME_BACKWARDS: Rule = Rule {
    symbol: "RCVD_TIME_BACKWARDS",
    group: Group::Received,
    weight: 1.8,
    summary: "a hop received it more than a day before the hop that it came from",
    why: "clocks differ by minutes, and zones that are set wrong by hours; invented hops by days",
    check: Check::Facts(|facts| {
        let hops = &facts.headers.received;
        let times: Vec<i64> = hops.iter().filter_map(|hop| hop.date).collect();
        let back = times.windows(2).map(|pair| pair[1] - pair[0]).max()?;
        (back > DAY).then(|| Evidence::new(format_args!("{} h", back / 3600)))
    }),
};

/// A mail program that delivers itself.
pub const DIRECT_TO_MX: Rule = Rule {
    symbol: "DIRECT_TO_MX",
    group: Group::Received,
    weight: 1.6,
    summary: "written by a mail program for people, and not sent through any server",
    why: "people's programs hand their mail to their provider, who writes Received; a bot that claims to be one delivers itself (Stalwart: 2)",
    check: Check::Facts(|facts| {
        let own = usize::from(facts.envelope.queue_id.is_none());
        let alone = facts.headers.received.len() <= own
            && (own == 0 || facts.headers.received.first().is_some_and(is_from_network));
        // Behind a relay of one's own, or in a file: nothing before the hop by which it came in.
        let relayed = facts.handover.as_ref().is_some_and(|client| client.direct) && !is_list(&facts.headers);
        let direct = facts.is_inbound() && (alone || relayed);
        let mailer = facts.headers.mailer().to_ascii_lowercase();
        let personal = PERSONAL.iter().any(|name| mailer.starts_with(name));
        (direct && personal).then(|| Evidence::new(facts.headers.mailer()))
    }),
};

/// The fields as text; no more of them than hops are read.
fn fields(facts: &Facts) -> impl Iterator<Item = &str> {
    let received = facts.headers.fields.iter().filter(|field| field.name == "received");
    received.take(MAX_FIELDS).map(|field| field.value.as_str())
}

/// What stands in square brackets, short enough for an address.
fn bracketed(field: &str) -> impl Iterator<Item = &str> {
    field.split('[').skip(1).filter_map(|rest| rest.split(']').next()).filter(|text| text.len() <= 45)
}

/// Four numbers, one of which is no octet.
fn is_illegal(text: &str) -> bool {
    let numbers: Vec<&str> = text.split('.').collect();
    let digits =
        |number: &&str| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    numbers.len() == 4
        && numbers.iter().all(digits)
        && numbers.iter().any(|number| number.parse::<u8>().is_err())
}

fn is_address(text: &str) -> bool {
    text.trim_matches(['[', ']', '(', ')']).parse::<IpAddr>().is_ok()
}

/// Postfix, `src/global/mail_queue.h`: hexadecimal of microseconds and inode, or base 52 of time, and base 51 of the inode behind a `z`.
fn is_queue_id(id: &str) -> bool {
    let short = id.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte));
    let vowel = |byte: u8| matches!(byte.to_ascii_lowercase(), b'a' | b'e' | b'i' | b'o' | b'u');
    let long = id.len() >= LONG && id.bytes().all(|byte| byte.is_ascii_alphanumeric() && !vowel(byte));
    (SHORT..=LONGEST).contains(&id.len()) && (short || long)
}

/// Whether a client in the network handed it over.
fn is_from_network(hop: &Hop) -> bool {
    hop.address.is_some()
}

/// As many hops as are read; Postfix bounces mail with more (`hopcount_limit`).
const MAX_FIELDS: usize = 50;
/// In seconds.
const DAY: i64 = 86_400;
/// Five digits of microseconds, and at least one of the inode.
const SHORT: usize = 6;
/// Six of seconds, four of microseconds, `z`, at least one of the inode.
const LONG: usize = 12;
/// With an inode of 64 bits.
const LONGEST: usize = 23;

/// How programs for people name themselves, in lower case. No web page and no shop's server does.
const PERSONAL: [&str; 8] = [
    "microsoft outlook",
    "microsoft windows mail",
    "microsoft windows live mail",
    "mozilla",
    "apple mail",
    "the bat!",
    "eudora",
    "foxmail",
];
