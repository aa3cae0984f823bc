//! `aliases`: where does this address lead? For `virtual_alias_maps`.
//!
//! Postfix asks it for every recipient, outside ones too, in smtpd folded and in cleanup as typed, and again for each result until
//! one is not found. So a mailbox is "not found" here, also one that an alias of the same name hides, and an unmatched
//! extension goes along (`boss+x@` to `alice+x@`), as `propagate_unmatched_extensions` has it for other tables.

use gatepost::directory::Lookup;

use super::{Answer, Map, Sources, said};
use crate::addresses::{Asked, Place};

/// The map.
pub(super) const ALIASES: Map = Map {
    name: "aliases",
    parameter: "virtual_alias_maps",
    summary: "the destination of an alias, the extension kept; a mailbox of the same name wins",
    look_up,
};

fn look_up<'a>(sources: &'a Sources, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let directory = &sources.directory;
        let Some(asked) = Asked::parse(key, directory.extension_delimiters()) else { return Lookup::None };
        said(asked.place(directory).await.map(|place| match place {
            Place::Mailbox(_) => None,
            Place::Alias { .. } => place.recipient(),
        }))
    })
}
