//! `aliases`: where does this address lead? For `virtual_alias_maps`.
//!
//! Postfix asks it for every recipient, outside ones too, in smtpd folded and in cleanup as typed, and again for each result until
//! one is not found. The answer is where the address leads in the end, so that the second question about each result finds nothing:
//! aliases that form a loop would else become a 451 for the whole message. A mailbox is "not found" here, also one that an alias of the
//! same name hides.

use super::{Answer, Asking, Map, and};
use crate::addresses::replacement;

/// The map.
pub(super) const ALIASES: Map = Map {
    name: "aliases",
    parameter: "virtual_alias_maps",
    summary: "the addresses that an alias leads to; a mailbox of the same name wins",
    look_up,
};

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move { and(asking.route(key).await, |route| replacement(&route)) })
}
