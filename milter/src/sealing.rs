//! ARC sets on mail that we pass on (RFC 8617, 5.1): which mail gets one, with whose key.
//!
//! For `service`. It asks the directory where a recipient's mail goes and the store for the key; the set itself is made by [`crate::arc`].
//! It never holds mail up: what cannot be sealed (database away, no key) leaves as it came, with a word in the log.
//!
//! A chain that did not validate is sealed once, with `cv=fail` and a seal over the new set alone (RFC 8617, 5.1.2: "as if this newest ARC
//! Set was the only set present"), so that everybody behind us knows without looking; one that was marked so before gets nothing more.
//! A chain of which DNS could not tell is left alone: a mark cannot be taken back.

use std::sync::Arc;

use gatepost::directory::{Directory, Extensions, Lookup, Place, Recipient, Trace};
use gatepost::mail::{Address, Domain};
use gatepost::store::{KeyAlgorithm, SigningKey, Store};

use tokio::time::{Instant, timeout_at};

use crate::arc::seal::{NewSet, Sealed};
use crate::arc::{Sealer, Validation, seal};
use crate::authentication::{ArcResult, Authentication};
use crate::config;
use crate::dkim::{Algorithm, Parts};
use crate::message::Header;
use crate::pool::Pool;
use crate::protocol::Edit;
use crate::recipients::in_time;
use crate::signing::{PrivateKey, Signer};

/// How mail is sealed, as configured.
#[derive(Debug, Clone)]
pub struct Sealing {
    which: config::Seal,
    domain: Domain,
    selector: Option<String>,
}

/// A message that may be sealed.
pub struct Passing {
    /// Its header fields as they leave, without ours.
    pub headers: Vec<Header>,
    /// The hash of its relaxed body.
    pub body_hash: [u8; 32],
    /// What its chain's validation said.
    pub validation: Validation,
    /// Our results, as in `Authentication-Results`.
    pub results: String,
}

/// Where keys and addresses are looked up.
pub struct Sources<'a> {
    /// Parsed keys.
    pub signer: &'a Signer,
    /// Addresses.
    pub directory: &'a Directory,
    /// Keys.
    pub store: &'a Store,
    /// Work for the processor.
    pub pool: &'a Pool,
    /// Until when keys are waited for.
    pub end: Instant,
}

impl Passing {
    /// Changes a field as the message's own is changed before it leaves.
    pub fn take_over(&mut self, edit: &Edit) {
        match edit {
            Edit::ChangeHeader { index: 1, name, value } => {
                if let Some(header) = self.headers.iter_mut().find(|header| header.is(name)) {
                    header.value.clone_from(value);
                }
            }
            Edit::AddHeader { name, value } => {
                self.headers.push(Header::new(name.as_bytes(), value.as_slice()));
            }
            _ => {}
        }
    }
}

impl Sealing {
    /// The settings; none when nothing is sealed.
    pub fn new(settings: &config::Arc) -> Option<Self> {
        if settings.seal == config::Seal::Off {
            return None;
        }
        let domain = Domain::parse(settings.seal_domain.as_deref()?).ok()?;
        Some(Self { which: settings.seal, domain, selector: settings.seal_selector.clone() })
    }

    /// Whether mail for these recipients is sealed. `leaves` says that Postfix hands some of it to another host itself. Whose addresses are not
    /// known by `end` is taken to stay.
    pub async fn wants(
        &self,
        recipients: &[Address],
        leaves: bool,
        directory: &Directory,
        end: Instant,
    ) -> bool {
        if self.which == config::Seal::All || leaves {
            return true;
        }
        for recipient in recipients {
            if timeout_at(end, goes_on(recipient, directory)).await.unwrap_or_default() {
                return true;
            }
        }
        false
    }

    /// The new set; none when the chain has ended.
    ///
    /// # Errors
    /// Why it cannot be sealed now.
    pub async fn seal(&self, passing: Passing, sources: Sources<'_>) -> Result<Option<NewSet>, String> {
        let keys = match in_time(sources.end, sources.store.signing_keys(&self.domain)).await {
            Lookup::Found(keys) => keys,
            Lookup::None => Vec::new(),
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => return Err(why),
        };
        let key =
            self.choose(&keys).ok_or_else(|| format!("{} has no active key that seals", self.domain))?;
        let private = sources.signer.private_key(key)?;
        let (domain, selector) = (self.domain.to_string(), key.selector.clone());
        let made = sources.pool.run(move || make(&passing, &domain, &selector, &private)).await;
        made.map_err(|panicked| panicked.to_string())?
    }

    /// The key of the configured selector; else the first RSA key, because few validators know Ed25519; else any.
    fn choose<'k>(&self, keys: &'k [SigningKey]) -> Option<&'k SigningKey> {
        if let Some(selector) = &self.selector {
            return keys.iter().find(|key| key.selector == *selector);
        }
        keys.iter().find(|key| key.algorithm == KeyAlgorithm::RsaSha256).or_else(|| keys.first())
    }
}

/// What the newest seal must say of the chain below; none when nobody knows.
pub fn validation(found: &Authentication) -> Option<Validation> {
    match found.arc.as_ref()?.result {
        ArcResult::None => Some(Validation::None),
        ArcResult::Pass => Some(Validation::Pass),
        ArcResult::Fail => Some(Validation::Fail),
        ArcResult::TempError => None,
    }
}

/// Whether mail for that address leaves again: its aliases (of the tutorial's table and of ours: several and outside destinations,
/// wildcards and patterns, catch-alls, other names of a domain) are followed to their ends, and one of them is relayed or outside; or it is
/// nothing here, so a list that Postfix knows otherwise.
///
/// While the directory cannot be asked, what was last known of the address counts (`database.stale-limit`); what was never known is taken
/// to stay, as most mail does: unsealed mail is only less believed, while a seal needs a key from the same database.
async fn goes_on(recipient: &Address, directory: &Directory) -> bool {
    let Some(recipient) = Recipient::parse(&recipient.written()) else { return false };
    let extensions = Extensions { delimiters: directory.extension_delimiters(), propagate: false };
    match directory.route(&recipient, extensions, &mut Trace::default()).await {
        Lookup::Found(route) => route.leaves.iter().any(|leaf| !matches!(leaf.place, Place::Mailbox(_))),
        Lookup::None => true,
        Lookup::Unavailable(_) | Lookup::Misconfigured(_) => false,
    }
}

fn make(
    passing: &Passing,
    domain: &str,
    selector: &str,
    key: &Arc<PrivateKey>,
) -> Result<Option<NewSet>, String> {
    let mut raw = Vec::new();
    for header in &passing.headers {
        header.write_to(&mut raw);
    }
    raw.extend_from_slice(b"\r\n");
    let parts = Parts::of(&raw);
    let algorithm = match key.algorithm() {
        KeyAlgorithm::RsaSha256 => Algorithm::RsaSha256,
        KeyAlgorithm::Ed25519Sha256 => Algorithm::Ed25519Sha256,
    };
    let sign = |bytes: &[u8]| key.sign(bytes).map_err(|failed| failed.to_string());
    let sealer = Sealer { domain, selector, algorithm, sign: &sign };
    let sealed = Sealed {
        parts: &parts,
        body_hash: passing.body_hash,
        validation: passing.validation,
        results: &passing.results,
        fields: &FIELDS,
        now: crate::authentication::dkim::seconds_now(),
    };
    seal(&sealer, &sealed)
}

/// What our message signature covers: what a reader sees, what answers are threaded by, and the DKIM signatures that came with it
/// (RFC 8617, 5.1: they SHOULD be included). Not `Content-Transfer-Encoding`, which a downgrade to 7 bits rewrites.
const FIELDS: [&str; 12] = [
    "From",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "Reply-To",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "DKIM-Signature",
];
