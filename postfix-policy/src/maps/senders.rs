//! `senders`: which logins may send as this address? For `smtpd_sender_login_maps`.
//!
//! Postfix's smtpd asks it for the sender of each message, folded, and compares the value, a list divided by commas, with the login.
//! The owner of a mailbox may send as it, the owners of the mailboxes that an alias or a catch-all leads to as that, each with any
//! extension, and whoever was given the right in `gatepost.send_as`. An address that nobody owns is "not found", which
//! `reject_sender_login_mismatch` refuses to everybody who is logged in.

use gatepost::directory::Lookup;

use super::{Answer, Asking, Map, and};
use crate::addresses::login_list;

/// The map.
pub(super) const SENDERS: Map = Map {
    name: "senders",
    parameter: "smtpd_sender_login_maps",
    summary: "the logins that may send as the address",
    look_up,
};

fn look_up<'a>(mut asking: Asking<'a>, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let Some(sender) = asking.recipient(key) else { return Lookup::None };
        let Asking { directory, settings, trace, .. } = asking;
        let settings = &settings.addresses;
        let logins = directory
            .may_send(&sender, settings.extensions(directory), settings.shared_mailboxes_may_send, trace)
            .await;
        and(logins, |logins| login_list(&logins).map_or(Lookup::None, Lookup::Found))
    })
}
