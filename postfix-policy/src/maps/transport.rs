//! `transport`: by which way does mail for this address go? For `transport_maps`.
//!
//! Postfix's trivial-rewrite asks it for `*` when it starts and for each full address as typed. What was given to the address counts, then to
//! its domain, then the next hop of a relay or backup domain. An address without any is "not found" and takes the way of its class.

use gatepost::directory::{Hosted, Lookup, Transport};

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const TRANSPORT: Map = Map {
    name: "transport",
    parameter: "transport_maps",
    summary: "the transport and next hop of an address, its domain, or a relay domain",
    look_up,
};

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Some(recipient) = asking.recipient(key) else { return Lookup::None };
        let Asking { directory, trace, .. } = asking;
        let rules = match directory.rules().await.settled() {
            Ok(rules) => rules.unwrap_or_default(),
            Err(failure) => return failure,
        };
        if let Some(transport) = rules.transport(recipient.exact(), directory.extension_delimiters()) {
            trace.note(|| format!("{}: a transport of its own, or of its domain", recipient.exact()));
            return said(Some(transport.to_string()));
        }
        and(directory.hosted(recipient.exact().domain()).await, |hosted| {
            trace.note(|| format!("{}: a {} domain", recipient.exact().domain(), hosted.word()));
            said(match hosted {
                Hosted::Relay { next_hop, .. } | Hosted::Backup { next_hop: Some(next_hop), .. } => {
                    Some(Transport::relay(&next_hop).to_string())
                }
                _ => None,
            })
        })
    })
}
