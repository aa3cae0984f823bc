//! The maps: what Postfix may ask a socketmap for.
//!
//! A map is one file with one const, and one line in [`MAPS`]. It turns a key into a question to one of the [`Sources`] and the answer
//! into a value; what the four kinds of answer become on the wire is the session's affair, the same for all.

mod aliases;
mod domains;
mod mailboxes;
mod senders;
mod tls;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gatepost::directory::{Directory, Lookup};

use crate::protocol::socketmap::Value;
use crate::transport::Transport;

/// What maps may ask.
pub struct Sources {
    /// Addresses.
    pub directory: Directory,
    /// How mail must be encrypted on its way out.
    pub transport: Arc<Transport>,
}

/// One map.
#[derive(Debug)]
pub struct Map {
    /// Its name in `socketmap:unix:PATH:NAME`.
    pub name: &'static str,
    /// The parameter of main.cf that it is made for.
    pub parameter: &'static str,
    /// What it answers, in one line.
    pub summary: &'static str,
    /// The answer for one key.
    pub look_up: LookUp,
}

/// A question to a map: whom it may ask, and the key as Postfix sent it.
pub type LookUp = for<'a> fn(&'a Sources, &'a str) -> Answer<'a>;

/// What a map will have answered.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Lookup<Value>> + Send + 'a>>;

/// Every map there is.
pub static MAPS: &[Map] =
    &[domains::DOMAINS, mailboxes::MAILBOXES, aliases::ALIASES, senders::SENDERS, tls::TLS, tls::TLS_TLSRPT];

impl Map {
    /// The map of that name, and its place in [`MAPS`].
    pub fn named(name: &str) -> Option<(usize, &'static Self)> {
        MAPS.iter().enumerate().find(|(_, map)| map.name == name)
    }
}

/// A value that was found, or none where it cannot be said on the wire.
fn said(value: Lookup<Option<Value>>) -> Lookup<Value> {
    match value {
        Lookup::Found(Some(value)) => Lookup::Found(value),
        Lookup::Found(None) | Lookup::None => Lookup::None,
        Lookup::Unavailable(why) => Lookup::Unavailable(why),
        Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
    }
}
