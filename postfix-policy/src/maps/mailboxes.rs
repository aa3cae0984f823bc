//! `mailboxes`: does this address belong to a mailbox? For `virtual_mailbox_maps`.
//!
//! Postfix's smtpd asks it for every recipient of a hosted domain that `aliases` does not know, the extension still on it. Only that
//! something was found counts there; the value is the login's name.

use super::{Answer, Asking, Map, and, said};

/// The map.
pub(super) const MAILBOXES: Map = Map {
    name: "mailboxes",
    parameter: "virtual_mailbox_maps",
    summary: "the mailbox of the address, with or without extension",
    look_up,
};

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        use gatepost::directory::Via;
        and(asking.route(key).await, |route| {
            said(route.mailboxes().next().filter(|_| route.via == Via::Mailbox).map(|login| login.written()))
        })
    })
}
