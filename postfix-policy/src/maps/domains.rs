//! `domains`: are this domain's mailboxes here? For `virtual_mailbox_domains`.
//!
//! Postfix's trivial-rewrite asks it for every new sender and recipient domain, exactly as typed but folded, and for no parent domain.
//! `NOTFOUND` for a recipient's domain becomes "Relay access denied", so nothing but a certain "no" may be one. A domain that is another
//! name of one counts; relay and backup domains are those of the map `relay-domains`, because Postfix wants a domain in one class only.

use gatepost::directory::Lookup;
use gatepost::mail::Domain;

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const DOMAINS: Map = Map {
    name: "domains",
    parameter: "virtual_mailbox_domains",
    summary: "the domain itself, if its mailboxes are here",
    look_up,
};

fn look_up<'a>(asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Ok(domain) = Domain::parse(key) else { return Lookup::None };
        and(asking.directory.hosted(&domain).await, |hosted| {
            asking.trace.note(|| format!("{domain}: a {} domain", hosted.word()));
            said(hosted.is_delivered_here().then(|| domain.to_string()))
        })
    })
}
