//! `mailboxes`: does this address belong to a mailbox? For `virtual_mailbox_maps`.
//!
//! Postfix's smtpd asks it for every recipient of a hosted domain that `aliases` does not know, the extension still on it. Only that
//! something was found counts there; the value is the login's name.

use gatepost::directory::Lookup;

use super::{Answer, Map, Sources, said};
use crate::addresses::{Asked, Place};

/// The map.
pub(super) const MAILBOXES: Map = Map {
    name: "mailboxes",
    parameter: "virtual_mailbox_maps",
    summary: "the mailbox of the address, with or without extension",
    look_up,
};

fn look_up<'a>(sources: &'a Sources, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let directory = &sources.directory;
        let Some(asked) = Asked::parse(key, directory.extension_delimiters()) else { return Lookup::None };
        said(asked.place(directory).await.map(|place| match place {
            Place::Mailbox(_) => place.recipient(),
            Place::Alias { .. } => None,
        }))
    })
}
