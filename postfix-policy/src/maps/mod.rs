//! The maps: what Postfix may ask a socketmap for.
//!
//! A map is one const in its file, and one line in [`MAPS`]. It turns a key into a question to the directory and the answer into a
//! value; what the four kinds of answer become on the wire is the session's affair, the same for all.

mod access;
mod aliases;
mod bcc;
mod domains;
mod mailboxes;
mod recipients;
mod relay_domains;
mod senders;
mod srs;
mod tls;
mod transport;

use std::future::Future;
use std::pin::Pin;

use gatepost::directory::{Directory, Lookup, Recipient, Route, Trace};

use crate::config::Settings;
use crate::protocol::socketmap::Value;
use crate::srs::Srs;
use crate::tls::Policies;

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
pub type LookUp = for<'a> fn(Asking<'a>, &'a str) -> Answer<'a>;

/// What a map will have answered.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Lookup<Value>> + Send + 'a>>;

/// Whom a map may ask.
pub struct Asking<'a> {
    /// The addresses.
    pub directory: &'a Directory,
    /// The section of the configuration.
    pub settings: &'a Settings,
    /// The sender rewriting scheme, if it is on.
    pub srs: Option<&'a Srs>,
    /// How mail must be encrypted on its way out.
    pub tls: &'a Policies,
    /// Where the way to the answer is noted, for `ask --explain`.
    pub trace: &'a mut Trace,
}

/// Every map there is.
pub static MAPS: &[Map] = &[
    domains::DOMAINS,
    relay_domains::RELAY_DOMAINS,
    mailboxes::MAILBOXES,
    aliases::ALIASES,
    recipients::RECIPIENTS,
    senders::SENDERS,
    transport::TRANSPORT,
    access::SENDER_ACCESS,
    access::RECIPIENT_ACCESS,
    access::CLIENT_ACCESS,
    access::HELO_ACCESS,
    bcc::SENDER_BCC,
    bcc::RECIPIENT_BCC,
    srs::SRS_ROUTE,
    srs::SRS_FORWARD,
    srs::SRS_REVERSE,
    tls::TLS,
    tls::TLS_TLSRPT,
];

impl Map {
    /// The map of that name, and its place in [`MAPS`].
    pub fn named(name: &str) -> Option<(usize, &'static Self)> {
        MAPS.iter().enumerate().find(|(_, map)| map.name == name)
    }
}

impl Asking<'_> {
    /// Where the address of a key leads; none for a key that is no address.
    async fn route(&mut self, key: &str) -> Lookup<Route> {
        let Some(recipient) = self.recipient(key) else { return Lookup::None };
        let extensions = self.settings.addresses.extensions(self.directory);
        self.directory.route(&recipient, extensions, self.trace).await
    }

    /// The address of a key.
    fn recipient(&mut self, key: &str) -> Option<Recipient> {
        let recipient = Recipient::parse(key);
        if recipient.is_none() {
            self.trace.note(|| "the key is no address: local@domain".to_owned());
        }
        recipient
    }
}

/// The same failure, or what is made of what was found.
fn and<T>(answer: Lookup<T>, then: impl FnOnce(T) -> Lookup<Value>) -> Lookup<Value> {
    match answer {
        Lookup::Found(value) => then(value),
        Lookup::None => Lookup::None,
        Lookup::Unavailable(why) => Lookup::Unavailable(why),
        Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
    }
}

/// A text that may be there as a value.
fn said(text: Option<String>) -> Lookup<Value> {
    text.map_or(Lookup::None, crate::addresses::sayable)
}
