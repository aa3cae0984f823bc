//! Group `envelope`: HELO, the client's name, MAIL FROM. Only mail from the network has a client worth judging, and only one with a
//! public address: what a relay of one's own says of itself proves nothing. Behind such a relay, and where only a file is left of a message,
//! the client is the one that `Received` names (`facts::handover`); not of a list's mail, whose newest stranger is the list's server. What is
//! told at second hand is worth half the points.

use std::fmt::Display;
use std::net::IpAddr;

use super::{Check, Evidence, Group, Rule, when};
use crate::authentication::IprevResult;
use crate::facts::handover::Name;
use crate::facts::headers::is_list;
use crate::facts::{Facts, hosts};

/// The group's table.
pub const RULES: &[Rule] = &[
    RDNS_NONE,
    HFILTER_HOSTNAME_UNKNOWN,
    HFILTER_HELO_BAREIP,
    HFILTER_HELO_BADIP,
    HFILTER_HELO_NOT_FQDN,
    HFILTER_HELO_5,
    HFILTER_HELO_2,
    HFILTER_HOSTNAME_5,
    HFILTER_HOSTNAME_2,
    HELO_PROVIDER_FORGED,
    HFILTER_RCPT_BOUNCEMOREONE,
    FORGED_SENDER,
];

/// The client has no name.
pub const RDNS_NONE: Rule = Rule {
    symbol: "RDNS_NONE",
    group: Group::Envelope,
    weight: 2.0,
    summary: "the client's address has no name",
    why: "RFC 1912, 2.1: every host has one; mail servers are given one, infected home computers often not",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        client.nameless.then(|| client.shows(client.address))
    }),
};

/// The client's name does not lead back to it.
pub const HFILTER_HOSTNAME_UNKNOWN: Rule = Rule {
    symbol: "HFILTER_HOSTNAME_UNKNOWN",
    group: Group::Envelope,
    weight: 1.5,
    summary: "the client's name does not lead back to its address",
    why: "RFC 8601, 3: anybody can claim a name for his address; Rspamd's 2.5 for both cases is divided among this and RDNS_NONE",
    check: Check::Facts(|facts| {
        facts.envelope.client_address.filter(|&address| facts.is_inbound() && hosts::is_public(address))?;
        let iprev = facts.authentication.iprev.as_ref()?;
        let failed = iprev.result == IprevResult::Fail
            || iprev.result == IprevResult::PermError && iprev.name.is_some();
        failed.then(|| Evidence::new(iprev.name.as_deref().unwrap_or_default()))
    }),
};

/// HELO is an address without brackets.
pub const HFILTER_HELO_BAREIP: Rule = Rule {
    symbol: "HFILTER_HELO_BAREIP",
    group: Group::Envelope,
    weight: 3.0,
    summary: "HELO is an address without brackets",
    why: "RFC 5321, 4.1.3: an address stands in brackets; no mail server gets this wrong",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let helo = client.helo?;
        helo.parse::<IpAddr>().is_ok().then(|| client.shows(helo))
    }),
};

/// HELO is an address that the client does not have.
pub const HFILTER_HELO_BADIP: Rule = Rule {
    symbol: "HFILTER_HELO_BADIP",
    group: Group::Envelope,
    weight: 4.5,
    summary: "HELO is an address that is not the client's, or nobody's",
    why: "RFC 5321, 4.1.3: the literal is the client's own address; behind NAT honest programs give a private one, servers do not",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let helo = client.helo?;
        let text = helo.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(helo);
        let text = text.strip_prefix("IPv6:").unwrap_or(text);
        let address: IpAddr = text.parse().ok()?;
        (address.to_canonical() != client.address.to_canonical())
            .then(|| client.shows(format_args!("{helo} is not {}", client.address)))
    }),
};

/// HELO is no full name.
pub const HFILTER_HELO_NOT_FQDN: Rule = Rule {
    symbol: "HFILTER_HELO_NOT_FQDN",
    group: Group::Envelope,
    weight: 2.0,
    summary: "HELO is no fully qualified name",
    why: "RFC 5321, 4.1.1.1: HELO gives the client's fully qualified name; infected computers give their Windows name",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let helo = client.helo?;
        let literal = helo.starts_with('[') || helo.parse::<IpAddr>().is_ok();
        let name = hosts::canonical(helo);
        let local = ["localhost", "localdomain", "local", "lan", "home", "internal"]
            .contains(&hosts::top_level(&name));
        (!literal && (!name.contains('.') || local)).then(|| client.shows(helo))
    }),
};

/// HELO looks like a home connection.
pub const HFILTER_HELO_5: Rule = Rule {
    symbol: "HFILTER_HELO_5",
    group: Group::Envelope,
    weight: 3.0,
    summary: "HELO is the name of a dial-up or home connection, with its address in it",
    why: "providers name such connections by address and kind; mail from them goes through the provider's server, or is a bot's",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let name = client.helo?;
        (access(name, client.address) == Access::Certain).then(|| client.shows(name))
    }),
};

/// HELO has an address in it.
pub const HFILTER_HELO_2: Rule = Rule {
    symbol: "HFILTER_HELO_2",
    group: Group::Envelope,
    weight: 1.0,
    summary: "HELO has the client's address in it",
    why: "a name that nobody chose: rented servers as well, so few points",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let name = client.helo?;
        (access(name, client.address) == Access::Likely).then(|| client.shows(name))
    }),
};

/// The client's name looks like a home connection.
pub const HFILTER_HOSTNAME_5: Rule = Rule {
    symbol: "HFILTER_HOSTNAME_5",
    group: Group::Envelope,
    weight: 3.0,
    summary: "the client's name is that of a dial-up or home connection, with its address in it",
    why: "providers name such connections by address and kind; mail from them goes through the provider's server, or is a bot's",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let name = client.name?;
        (access(name, client.address) == Access::Certain).then(|| client.shows(name))
    }),
};

/// The client's name has an address in it.
pub const HFILTER_HOSTNAME_2: Rule = Rule {
    symbol: "HFILTER_HOSTNAME_2",
    group: Group::Envelope,
    weight: 1.0,
    summary: "the client's name has its address in it",
    why: "a name that nobody chose: rented servers as well, so few points",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let name = client.name?;
        (access(name, client.address) == Access::Likely).then(|| client.shows(name))
    }),
};

/// Calls itself what it is not.
pub const HELO_PROVIDER_FORGED: Rule = Rule {
    symbol: "HELO_PROVIDER_FORGED",
    group: Group::Envelope,
    weight: 2.0,
    summary: "HELO is the domain of a big mail provider, whose server the client is not",
    why: "their servers have names of their own below the domain, and addresses that lead back to them; bots write what looks trustworthy",
    check: Check::Facts(|facts| {
        let client = stranger(facts)?;
        let helo = hosts::canonical(client.helo?);
        let theirs = client.name.is_some_and(|name| hosts::site(name) == helo);
        let known = client.nameless || client.name.is_some();
        (known && !theirs && hosts::is_freemail(&helo)).then(|| client.shows(&helo))
    }),
};

/// A bounce to several recipients.
pub const HFILTER_RCPT_BOUNCEMOREONE: Rule = Rule {
    symbol: "HFILTER_RCPT_BOUNCEMOREONE",
    group: Group::Envelope,
    weight: 1.5,
    summary: "a bounce with more than one recipient",
    why: "RFC 5321, 4.5.5: a bounce goes to the one sender of the message that failed",
    check: Check::Facts(|facts| {
        let envelope = &facts.envelope;
        // Without a client and a queue id the envelope is that of a file, of which nobody said a sender.
        let known = envelope.queue_id.is_some() || envelope.client_address.is_some();
        when(facts.is_inbound() && known && envelope.sender.is_none() && envelope.recipients.len() > 1)
    }),
};

/// MAIL FROM and From differ.
pub const FORGED_SENDER: Rule = Rule {
    symbol: "FORGED_SENDER",
    group: Group::Envelope,
    weight: 0.3,
    summary: "the envelope sender's domain is not the author's",
    why: "RFC 5322, 3.6.2: usual for lists, newsletters and forwarding, hence few points; lists are left out",
    check: Check::Facts(|facts| {
        let sender = facts.envelope.sender.as_ref()?;
        let author = facts.people.author()?;
        let site = hosts::site(sender.domain().as_str());
        let told = facts.people.sender.iter().any(|person| person.site == site);
        let list = is_list(&facts.headers);
        (site != author.site && !told && !list && !author.site.is_empty())
            .then(|| Evidence::new(format_args!("{} <> {}", sender.domain(), author.domain)))
    }),
};

/// A client from outside.
struct Stranger<'a> {
    address: IpAddr,
    /// Its verified name.
    name: Option<&'a str>,
    /// Whether it is known to have none.
    nameless: bool,
    helo: Option<&'a str>,
    /// Times the weight that evidence of it is worth.
    worth: f64,
}

impl Stranger<'_> {
    fn shows(&self, what: impl Display) -> Evidence {
        Evidence::new(what).times(self.worth)
    }
}

fn stranger(facts: &Facts) -> Option<Stranger<'_>> {
    if !facts.is_inbound() {
        return None;
    }
    let envelope = &facts.envelope;
    if let Some(address) = envelope.client_address.filter(|&address| hosts::is_public(address)) {
        let iprev = facts.authentication.iprev.as_ref();
        return Some(Stranger {
            address,
            name: envelope.client_name.as_deref(),
            nameless: iprev
                .is_some_and(|iprev| iprev.result == IprevResult::PermError && iprev.name.is_none()),
            helo: envelope.helo.as_deref().filter(|helo| !helo.is_empty()),
            worth: 1.0,
        });
    }
    let client = facts.handover.as_ref().filter(|_| !is_list(&facts.headers))?;
    Some(Stranger {
        address: client.address,
        name: if let Name::Is(name) = &client.name { Some(name) } else { None },
        nameless: client.name == Name::None,
        helo: client.helo.as_deref(),
        worth: 0.5,
    })
}

/// How likely a name is that of a connection rather than of a server.
#[derive(PartialEq, Eq)]
enum Access {
    Unlikely,
    Likely,
    Certain,
}

fn access(name: &str, client: IpAddr) -> Access {
    let IpAddr::V4(client) = client else { return Access::Unlikely };
    let name = name.to_ascii_lowercase();
    // The registrable domain is chosen by somebody; what stands before it is not.
    let own = name.strip_suffix(hosts::site(&name)).unwrap_or(&name);
    let numbers: Vec<u8> = own
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty() && digits.len() <= 3)
        .filter_map(|digits| digits.parse().ok())
        .collect();
    let octets = client.octets();
    let inside = octets.iter().filter(|octet| numbers.contains(octet)).count();
    let hex = format!("{:08x}", u32::from(client));
    if inside < 3 && !own.contains(&hex) {
        return Access::Unlikely;
    }
    let marks = own.split(|c: char| !c.is_ascii_alphabetic());
    if marks.into_iter().any(|mark| ACCESS_WORDS.contains(&mark)) { Access::Certain } else { Access::Likely }
}

/// What providers call the connections that they sell.
const ACCESS_WORDS: &[&str] = &[
    "adsl",
    "broadband",
    "cable",
    "catv",
    "client",
    "cpe",
    "cust",
    "customer",
    "dhcp",
    "dial",
    "dialin",
    "dialup",
    "dip",
    "docsis",
    "dsl",
    "dyn",
    "dynamic",
    "dynamicip",
    "fiber",
    "ftth",
    "gprs",
    "home",
    "hsd",
    "lte",
    "mobile",
    "modem",
    "pool",
    "pools",
    "ppp",
    "pppoe",
    "ppoe",
    "residential",
    "sdsl",
    "subscriber",
    "umts",
    "user",
    "vdsl",
    "wifi",
    "wimax",
    "wireless",
    "xdsl",
];
