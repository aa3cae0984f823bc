//! `recipients`: does mail for this address lead anywhere? For `relay_recipient_maps`, and for `check_recipient_access`-like questions.
//!
//! A mailbox, an alias of any kind, or a recipient of a relay or backup domain. The value is the address itself, folded.

use gatepost::directory::Lookup;

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const RECIPIENTS: Map = Map {
    name: "recipients",
    parameter: "relay_recipient_maps",
    summary: "the address itself, if mail for it leads to a mailbox, an alias's destination or a relay domain",
    look_up,
};

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Some(recipient) = asking.recipient(key) else { return Lookup::None };
        and(asking.route(key).await, |_| said(Some(recipient.exact().written())))
    })
}
