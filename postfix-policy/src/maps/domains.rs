//! `domains`: is this domain hosted here? For `virtual_mailbox_domains`.
//!
//! Postfix's trivial-rewrite asks it for every new sender and recipient domain, exactly as typed but folded, and for no parent domain.
//! `NOTFOUND` for a recipient's domain becomes "Relay access denied", so nothing but a certain "no" may be one.

use gatepost::directory::Lookup;
use gatepost::mail::Domain;

use super::{Answer, Map, Sources, said};
use crate::protocol::socketmap::Value;

/// The map.
pub(super) const DOMAINS: Map = Map {
    name: "domains",
    parameter: "virtual_mailbox_domains",
    summary: "the domain itself, if it is hosted here",
    look_up,
};

fn look_up<'a>(sources: &'a Sources, key: &'a str) -> Answer<'a> {
    Box::pin(async move {
        let directory = &sources.directory;
        let Ok(domain) = Domain::parse(key) else { return Lookup::None };
        said(directory.hosts(&domain).await.map(|()| Value::new(domain.as_str())))
    })
}
