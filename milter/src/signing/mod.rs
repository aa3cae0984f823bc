//! Signing of our own mail: whether a message may carry our name, and the signatures if it may.
//!
//! For `service`. A message is signed when its From header has exactly one address, that address's domain is hosted here and has
//! keys, and, for a login, the login owns the address (its own, an alias of it; [`Directory::owners`]). It refuses everything else
//! silently: such a message leaves unsigned, as it came.
//!
//! A database that is away is told apart from a "no": whether the message then waits or leaves unsigned is the operator's choice
//! (`on-unavailable`), never ours.

mod body;
mod keys;
mod signature;
mod watch;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost::database::NO_SCHEMA;
use gatepost::directory::{Directory, Lookup};
use gatepost::dkim::Vault;
use gatepost::mail::Address;
use gatepost::store::{SigningKey, Store};
use mail_auth::crypto::DkimKey;
use mail_parser::HeaderForm;
use tracing::{debug, error};

pub use body::BodyHash;
pub use signature::NAME;
pub use watch::KeyWatch;

use crate::message::{Direction, Envelope, Header, Message};
use crate::pool::Pool;

/// The signer of the process: keys from the store, parsed once.
pub struct Signer {
    keys: keys::Keys,
}

/// What came of the wish to sign.
#[derive(Debug, PartialEq, Eq)]
pub enum Signing {
    /// The values of the `DKIM-Signature` fields to insert, one for each active key.
    Signed(Vec<String>),
    /// Not ours to sign, and why.
    NotOurs(&'static str),
    /// The database could not answer now.
    Unavailable(String),
    /// The database or a key is not as it must be; the operator must act before such mail can be signed.
    Misconfigured(String),
    /// Signing is off, and why: schema `gatepost` is not installed.
    Off(&'static str),
}

impl Signer {
    /// A signer that knows no key yet; the vault opens those that are encrypted.
    pub fn new(vault: Vault) -> Self {
        Self { keys: keys::Keys::new(vault) }
    }

    /// Takes over a new key file.
    pub fn reload(&self, vault: Vault) {
        self.keys.reload(vault);
    }

    /// Decides and signs. `headers` are those that will be delivered, the ones we add included.
    pub async fn sign(
        &self,
        headers: Vec<Header>,
        body_hash: [u8; 32],
        envelope: &Envelope,
        directory: &Directory,
        store: &Store,
        pool: &Pool,
    ) -> Signing {
        let from = match author(&headers) {
            Ok(from) => from,
            Err(why) => return Signing::NotOurs(why),
        };
        if let Some(refused) = may_use(&from, envelope, directory).await {
            return refused;
        }
        let keys = match store.signing_keys(from.domain()).await {
            Lookup::Found(keys) if keys.is_empty() => {
                return Signing::NotOurs("the domain has no active key that DNS shows");
            }
            Lookup::Found(keys) => keys,
            Lookup::None => return Signing::NotOurs("the domain has no active key that DNS shows"),
            Lookup::Unavailable(why) => return Signing::Unavailable(why),
            Lookup::Misconfigured(why) if why == NO_SCHEMA => return Signing::Off(NO_SCHEMA),
            Lookup::Misconfigured(why) => return Signing::Misconfigured(why),
        };
        let usable = self.usable(&keys);
        if usable.is_empty() {
            return Signing::Misconfigured(format!("no key of {} can be used", from.domain()));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let signed = pool
            .run(move || {
                usable
                    .iter()
                    .map(|(domain, selector, key)| {
                        signature::sign(&headers, body_hash, domain, selector, key, now)
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .await;
        match signed {
            Ok(Ok(values)) => Signing::Signed(values),
            Ok(Err(error)) => {
                Signing::Misconfigured(format!("signing for {} failed: {error}", from.domain()))
            }
            Err(panicked) => Signing::Misconfigured(panicked.to_string()),
        }
    }

    /// The keys that parse; the others are the operator's to mend, and said so.
    fn usable(&self, keys: &[SigningKey]) -> Vec<(String, String, Arc<DkimKey>)> {
        let mut usable = Vec::with_capacity(keys.len());
        for key in keys {
            match self.keys.parse(key) {
                Ok(parsed) => usable.push((key.domain.to_string(), key.selector.clone(), parsed)),
                Err(why) => {
                    error!(domain = %key.domain, selector = %key.selector, "signing key cannot be used: {why}")
                }
            }
        }
        usable
    }
}

/// The one address of the one From header.
fn author(headers: &[Header]) -> Result<Address, &'static str> {
    let mut fields = headers.iter().filter(|header| header.is("From"));
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => field,
        (None, _) => return Err("no From header"),
        (Some(_), Some(_)) => return Err("more than one From header"),
    };
    let mut line = field.value.clone();
    line.extend_from_slice(b"\r\n");
    let parsed = HeaderForm::Addresses.parse(&line);
    let mut mailboxes = parsed.value().as_address().into_iter().flat_map(|list| list.mailboxes());
    match (mailboxes.next().and_then(|mailbox| mailbox.address()), mailboxes.next()) {
        (Some(address), None) => Address::parse(address).map_err(|_| "the From header's address is none"),
        (None, _) => Err("the From header has no address"),
        (Some(_), Some(_)) => Err("the From header has more than one address"),
    }
}

/// Whether that sender may use that address; none when he may.
async fn may_use(from: &Address, envelope: &Envelope, directory: &Directory) -> Option<Signing> {
    let answer = match envelope.direction {
        Direction::Inbound => return Some(Signing::NotOurs("not sent by us")),
        Direction::Local => directory.hosts(from.domain()).await,
        Direction::Submitted => {
            let Some(login) = &envelope.login else {
                return Some(Signing::NotOurs("the login is no address"));
            };
            match directory.owners(from).await {
                Lookup::Found(owners) if owners.contains(login) => Lookup::Found(()),
                Lookup::Found(_) | Lookup::None => {
                    debug!(%login, %from, "the login does not own the From address");
                    return Some(Signing::NotOurs("the login does not own the From address"));
                }
                Lookup::Unavailable(why) => Lookup::Unavailable(why),
                Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
            }
        }
    };
    match answer {
        Lookup::Found(()) => None,
        Lookup::None => Some(Signing::NotOurs("the From domain is not hosted here")),
        Lookup::Unavailable(why) => Some(Signing::Unavailable(why)),
        Lookup::Misconfigured(why) => Some(Signing::Misconfigured(why)),
    }
}

/// The fields that a submission server adds when they are missing (RFC 6409, 8.2 and 8.3), as Postfix itself does for some of its
/// clients only.
pub fn missing_fields(message: &Message, envelope: &Envelope, host: &str) -> Vec<Header> {
    let mut added = Vec::new();
    let now = time::OffsetDateTime::now_utc();
    if message.first("Date").is_none()
        && let Ok(date) = now.format(&time::format_description::well_known::Rfc2822)
    {
        added.push(Header::new("Date", format!(" {date}")));
    }
    if message.first("Message-ID").is_none() {
        // As Postfix builds it: the time and the queue id, unique on this host.
        let unique = envelope.queue_id.as_deref().unwrap_or("noqueue");
        let id = format!(" <{}.{unique}@{host}>", now.unix_timestamp_nanos());
        added.push(Header::new("Message-ID", id));
    }
    added
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn author_of(value: &str) -> Result<String, &'static str> {
        author(&[Header::new("From", value)]).map(|address| address.to_string())
    }

    #[test]
    fn exactly_one_author_or_none() {
        assert_eq!(author_of(" Alice <Alice@Example.com>").unwrap(), "alice@example.com");
        assert_eq!(author_of("\n\t=?utf-8?q?=C3=A4?= (x) <a@b.test>").unwrap(), "a@b.test");
        assert!(author_of(" a@b.test, c@d.test").is_err());
        assert!(author_of(" undisclosed:;").is_err());
        assert!(author_of("").is_err());
        assert!(author(&[]).is_err());
        assert!(author(&[Header::new("From", " a@b.test"), Header::new("FROM", " a@b.test")]).is_err());
    }

    #[test]
    fn completes_what_is_missing_and_nothing_else() {
        let envelope = Envelope { queue_id: Some("4bQ1".into()), ..Envelope::new(Direction::Submitted) };
        let bare = missing_fields(&Message::from_eml(b"From: a@b.test\n\n"), &envelope, "mx.test");
        assert_eq!(bare.len(), 2);
        assert!(bare[0].is("Date") && bare[0].value.ends_with(b" +0000"));
        assert!(bare[1].is("Message-ID") && bare[1].value.ends_with(b".4bQ1@mx.test>"));
        let complete = Message::from_eml(b"date: x\nMESSAGE-id: <y>\n\n");
        assert!(missing_fields(&complete, &envelope, "mx.test").is_empty());
    }
}
