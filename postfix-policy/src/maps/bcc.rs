//! `sender-bcc` and `recipient-bcc`: who gets a copy? For `sender_bcc_maps` and `recipient_bcc_maps`.
//!
//! Postfix's cleanup asks for the envelope addresses as typed; one copy for each. An address's own row wins over that of its domain.

use gatepost::directory::{Directory, Lookup, Rules};
use gatepost::mail::Address;

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const SENDER_BCC: Map = Map {
    name: "sender-bcc",
    parameter: "sender_bcc_maps",
    summary: "the address that gets a copy of mail from a sender or its domain",
    look_up: |asking, key| {
        look_up(asking, key, |rules, address, delimiters| rules.sender_bcc(address, delimiters))
    },
};

/// The map.
pub(super) const RECIPIENT_BCC: Map = Map {
    name: "recipient-bcc",
    parameter: "recipient_bcc_maps",
    summary: "the address that gets a copy of mail for a recipient or its domain",
    look_up: |asking, key| {
        look_up(asking, key, |rules, address, delimiters| rules.recipient_bcc(address, delimiters))
    },
};

type Copy = for<'r> fn(&'r Rules, &Address, &str) -> Option<&'r Address>;

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str, copy: Copy) -> Answer<'a> {
    Box::pin(async move {
        let Some(address) = asking.recipient(key) else { return Lookup::None };
        let directory: &Directory = asking.directory;
        and(directory.rules().await, |rules| {
            said(copy(&rules, address.exact(), directory.extension_delimiters()).map(Address::written))
        })
    })
}
