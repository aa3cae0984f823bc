//! `senders`: which logins may send as this address? For `smtpd_sender_login_maps`.
//!
//! Postfix's smtpd asks it for the sender of each message, folded, and compares the value, a list divided by commas, with the login.
//! The owner of a mailbox may send as it, the owner of an alias's destination as the alias, each with any extension. An
//! address that nobody owns is "not found", which `reject_sender_login_mismatch` refuses to everybody who is logged in.

use gatepost::directory::Lookup;

use super::{Answer, Map, Sources, said};
use crate::addresses::{Asked, login_list};

/// The map.
pub(super) const SENDERS: Map = Map {
    name: "senders",
    parameter: "smtpd_sender_login_maps",
    summary: "the logins that may send as the address",
    look_up,
};

fn look_up<'a>(sources: &'a Sources, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let directory = &sources.directory;
        let Some(asked) = Asked::parse(key, directory.extension_delimiters()) else { return Lookup::None };
        match directory.hosts(asked.exact().domain()).await.settled() {
            Ok(Some(())) => said(directory.owners(asked.exact()).await.map(|logins| login_list(&logins))),
            Ok(None) => Lookup::None,
            Err(failure) => failure,
        }
    })
}
