//! `relay-domains`: is mail of this domain accepted and sent on? For `relay_domains`.
//!
//! Where it is sent on to says the map `transport`; for whom it is accepted, the map `recipients` in `relay_recipient_maps`.

use gatepost::directory::Lookup;
use gatepost::mail::Domain;

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const RELAY_DOMAINS: Map = Map {
    name: "relay-domains",
    parameter: "relay_domains",
    summary: "the domain itself, if it is a relay or backup domain",
    look_up,
};

fn look_up<'a>(asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Ok(domain) = Domain::parse(key) else { return Lookup::None };
        and(asking.directory.hosted(&domain).await, |hosted| {
            asking.trace.note(|| format!("{domain}: a {} domain", hosted.word()));
            said((!hosted.is_delivered_here()).then(|| domain.to_string()))
        })
    })
}
