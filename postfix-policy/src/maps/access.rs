//! `sender-access`, `recipient-access`, `client-access`, `helo-access`: what `check_sender_access` and its kin are to do.
//!
//! Postfix's smtpd asks for the full address, folded, or `<>`; for the client's name and then its IP address; for the HELO name. It asks
//! for no parent domain and no network: these are found here. What a row can say is a word of a list and a text, see
//! `gatepost::directory::access`. `ok` permits: never put such a map before `reject_unauth_destination`.

use gatepost::directory::Lookup;
use gatepost::directory::access::{AccessAction, Subject};
use gatepost::mail::{Address, Domain};

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const SENDER_ACCESS: Map = Map {
    name: "sender-access",
    parameter: "check_sender_access",
    summary: "the action for an envelope sender, its domain or a domain above",
    look_up: |asking, key| look_up(asking, Subject::Sender, key),
};

/// The map.
pub(super) const RECIPIENT_ACCESS: Map = Map {
    name: "recipient-access",
    parameter: "check_recipient_access",
    summary: "the action for a recipient, its domain or a domain above",
    look_up: |asking, key| look_up(asking, Subject::Recipient, key),
};

/// The map.
pub(super) const CLIENT_ACCESS: Map = Map {
    name: "client-access",
    parameter: "check_client_access",
    summary: "the action for a client's name, a domain above, its IP address or network",
    look_up: |asking, key| look_up(asking, Subject::Client, key),
};

/// The map.
pub(super) const HELO_ACCESS: Map = Map {
    name: "helo-access",
    parameter: "check_helo_access",
    summary: "the action for a HELO name or a domain above",
    look_up: |asking, key| look_up(asking, Subject::Helo, key),
};

/// A key of one of them.
enum Key {
    Address(Address),
    Name(Domain),
    Ip(std::net::IpAddr),
    Null,
}

impl Key {
    fn parse(subject: Subject, key: &str) -> Option<Self> {
        match subject {
            Subject::Sender if matches!(key, "<>" | "" | "\"\"") => Some(Self::Null),
            Subject::Sender | Subject::Recipient => Address::parse(key).ok().map(Self::Address),
            Subject::Client | Subject::Helo => {
                let literal = key.trim_start_matches('[').trim_end_matches(']');
                let ip = literal.strip_prefix("IPv6:").unwrap_or(literal).parse().ok().map(Self::Ip);
                ip.or_else(|| Domain::parse(key).ok().map(Self::Name))
            }
        }
    }
}

fn look_up<'a>(asking: Asking<'a>, subject: Subject, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Some(key) = Key::parse(subject, key) else { return Lookup::None };
        and(asking.directory.rules().await, |rules| {
            let access = rules.access();
            let action = match &key {
                Key::Address(address) => {
                    access.of_address(subject, address, asking.directory.extension_delimiters())
                }
                Key::Name(name) => access.of_name(subject, name),
                Key::Ip(address) => access.of_ip(subject, *address),
                Key::Null => access.of_null(),
            };
            said(action.map(AccessAction::for_postfix))
        })
    })
}
