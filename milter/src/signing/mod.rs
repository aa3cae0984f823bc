//! Signing of our own mail: whether a message may carry our name, and the signatures if it may.
//!
//! For `service`. A message is signed when its From header has exactly one address, that address's domain is hosted here and has
//! keys (or, where DMARC lets it, the hosted domain above has: [`Alignment`]), and, for a login, the login owns the address: its
//! own, an alias of it ([`Directory::owners`]), or one that is shared to it. It refuses everything else silently: such a message
//! leaves unsigned, as it came.
//!
//! A message that is signed leaves in a form that smtp(8) does not change any more: `mending`, `folding`. A message that is not is not
//! touched by them.
//!
//! A database that is away is told apart from a "no": whether the message then waits or leaves unsigned is the operator's choice
//! (`on-unavailable`), never ours.

mod alignment;
mod body;
mod draft;
mod folding;
mod keys;
mod mending;
mod mime;
mod private;
mod quoted;
mod settings;
mod signature;
mod survey;
mod watch;

use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use gatepost::database::NO_SCHEMA;
use gatepost::directory::{Directory, Lookup};
use gatepost::dkim::Vault;
use gatepost::mail::{Address, Domain};
use gatepost::store::{SigningKey, Store};
use mail_parser::HeaderForm;
use tokio::sync::OwnedSemaphorePermit;
use tracing::{debug, error};

pub use alignment::Alignment;
pub use body::BodyHash;
pub use draft::{Change, Draft};
pub use private::{PrivateKey, SignatureFailed};
pub use settings::{EightBit, FieldName, Privacy, SigningSettings};
pub use signature::{Coverage, NAME, SignedFields, seal, sign};
pub use survey::Survey;
pub use watch::KeyWatch;

use crate::message::{Direction, Envelope, Header};
use crate::pool::Pool;
use crate::transaction::{Abilities, Budget};

/// The signer of the process: keys from the store, parsed once.
pub struct Signer {
    keys: keys::Keys,
}

/// How to sign, as configured.
pub struct Terms {
    coverage: Coverage,
    shared: bool,
    eight_bit: EightBit,
    alignment: Alignment,
}

/// A message to sign.
pub struct Outgoing {
    /// Its fields, those added that we add.
    pub draft: Draft,
    /// The hash of its body as it came.
    pub body_hash: [u8; 32],
    /// The body as it came, if all of it was kept.
    pub body: Option<Body>,
    /// What there is in the body to mend.
    pub survey: Survey,
    /// What the MTA lets us change.
    pub abilities: Abilities,
    /// Whether every recipient is here, so that no server without 8BITMIME is on the way.
    pub stays_here: bool,
}

/// A body inside of what was kept of its message.
pub struct Body {
    /// Bytes.
    pub raw: Vec<u8>,
    /// Where the body lies in them.
    pub range: Range<usize>,
    /// The memory that they take, until the message is done.
    pub memory: Vec<OwnedSemaphorePermit>,
}

/// A signed message.
#[derive(Debug)]
pub struct Signed {
    /// The values of the `DKIM-Signature` fields to insert, one for each active key.
    pub signatures: Vec<String>,
    /// The fields as they were signed.
    pub draft: Draft,
    /// The body as it was signed, if that is another one than came.
    pub body: Option<Vec<u8>>,
    /// The memory that it takes.
    pub memory: Vec<OwnedSemaphorePermit>,
    /// What may spoil the signature on the way out, or is not signed for that; for the log.
    pub note: String,
}

/// What came of the wish to sign.
#[derive(Debug)]
pub enum Signing {
    /// It is signed.
    Signed(Box<Signed>),
    /// Not ours to sign, and why.
    NotOurs(&'static str),
    /// The database could not answer now.
    Unavailable(String),
    /// The database or a key is not as it must be; the operator must act before such mail can be signed.
    Misconfigured(String),
    /// Signing is off, and why: schema `gatepost` is not installed.
    Off(&'static str),
}

/// Who is asked: the parts of the service that a signer needs.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Addresses.
    pub directory: &'a Directory,
    /// Keys.
    pub store: &'a Store,
    /// Work for the processor.
    pub pool: &'a Pool,
    /// Memory for bodies.
    pub budget: &'a Budget,
}

/// A key that signs now: `d=`, `s=`, and the key itself.
type Usable = (Domain, String, Arc<PrivateKey>);

impl Terms {
    /// The terms of the configuration.
    pub fn new(settings: &SigningSettings, alignment: Alignment) -> Self {
        Self {
            coverage: Coverage::new(settings),
            shared: settings.shared,
            eight_bit: settings.eight_bit,
            alignment,
        }
    }
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

    /// Decides and signs.
    pub async fn sign(
        &self,
        outgoing: Outgoing,
        envelope: &Envelope,
        terms: &Arc<Terms>,
        sources: Sources<'_>,
    ) -> Signing {
        let from = match author(outgoing.draft.headers()) {
            Ok(from) => from,
            Err(why) => return Signing::NotOurs(why),
        };
        if let Some(refused) = may_use(&from, envelope, sources.directory, terms.shared).await {
            return refused;
        }
        let usable = match self.keys_for(from.domain(), &terms.alignment, sources).await {
            Ok(usable) => usable,
            Err(why) => return why,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs());
        let (terms, budget) = (Arc::clone(terms), sources.budget.clone());
        match sources.pool.run(move || seal_message(outgoing, &terms, &budget, &usable, now)).await {
            Ok(Ok(signed)) => Signing::Signed(Box::new(signed)),
            Ok(Err(Failure::TooManyFields)) => Signing::NotOurs("too many header fields to be signed"),
            Ok(Err(Failure::Key(error))) => {
                Signing::Misconfigured(format!("signing for {} failed: {error}", from.domain()))
            }
            Err(panicked) => Signing::Misconfigured(panicked.to_string()),
        }
    }

    /// The keys that sign for a From domain: its own, else those of the nearest hosted domain above that has some and whose
    /// signature counts for it.
    async fn keys_for(
        &self,
        domain: &Domain,
        alignment: &Alignment,
        sources: Sources<'_>,
    ) -> Result<Vec<Usable>, Signing> {
        let own = self.keys_of(domain, sources.store).await?;
        if !own.is_empty() {
            return Ok(own);
        }
        let mut above = domain.as_str();
        while let Some((_, parent)) = above.split_once('.') {
            above = parent;
            let Ok(parent) = Domain::parse(parent) else { break };
            match sources.directory.hosts(&parent).await {
                Lookup::Found(()) => {}
                Lookup::None => continue,
                Lookup::Unavailable(why) => return Err(Signing::Unavailable(why)),
                Lookup::Misconfigured(why) => return Err(Signing::Misconfigured(why)),
            }
            let keys = self.keys_of(&parent, sources.store).await?;
            if keys.is_empty() {
                continue;
            }
            if !alignment.allows(domain, &parent).await {
                return Err(Signing::NotOurs("DMARC wants a key of the domain's own"));
            }
            return Ok(keys);
        }
        Err(Signing::NotOurs("the domain has no active key that DNS shows"))
    }

    /// The active keys of exactly this domain; an empty list if it has none.
    async fn keys_of(&self, domain: &Domain, store: &Store) -> Result<Vec<Usable>, Signing> {
        let keys = match store.signing_keys(domain).await {
            Lookup::Found(keys) => keys,
            Lookup::None => return Ok(Vec::new()),
            Lookup::Unavailable(why) => return Err(Signing::Unavailable(why)),
            Lookup::Misconfigured(why) if why == NO_SCHEMA => return Err(Signing::Off(NO_SCHEMA)),
            Lookup::Misconfigured(why) => return Err(Signing::Misconfigured(why)),
        };
        let usable = self.usable(&keys);
        if usable.is_empty() && !keys.is_empty() {
            return Err(Signing::Misconfigured(format!("no key of {domain} can be used")));
        }
        Ok(usable)
    }

    /// The private half of a key, for a seal (`sealing`).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn private_key(&self, key: &SigningKey) -> Result<Arc<PrivateKey>, String> {
        self.keys.parse(key)
    }

    /// The keys that parse; the others are the operator's to mend, and said so.
    fn usable(&self, keys: &[SigningKey]) -> Vec<Usable> {
        let mut usable = Vec::with_capacity(keys.len());
        for key in keys {
            match self.keys.parse(key) {
                Ok(parsed) => usable.push((key.domain.clone(), key.selector.clone(), parsed)),
                Err(why) => {
                    error!(domain = %key.domain, selector = %key.selector, "signing key cannot be used: {why}")
                }
            }
        }
        usable
    }
}

enum Failure {
    TooManyFields,
    Key(SignatureFailed),
}

/// The work for the processor: mend, then sign with every key.
fn seal_message(
    outgoing: Outgoing,
    terms: &Terms,
    budget: &Budget,
    keys: &[Usable],
    now: u64,
) -> Result<Signed, Failure> {
    let Outgoing { mut draft, mut body_hash, body, survey, abilities, stays_here } = outgoing;
    let mut notes: Vec<String> = Vec::new();
    let (mut new_body, mut memory) = (None, Vec::new());
    if abilities.headers {
        draft.fold();
        let eight_bit = terms.eight_bit == EightBit::Encode && !stays_here;
        if abilities.body && needs_mending(&draft, &survey, eight_bit) {
            match body.zip(budget.reserve(survey.encoded_size())) {
                Some((body, reserved)) => {
                    let mended = mending::mend(draft.headers(), &body.raw[body.range.clone()], eight_bit);
                    if let Some(encoding) = mended.encoding {
                        draft.set(mending::ENCODING, &format!(" {encoding}"));
                        // Without it, nobody needs to look at the encoding (RFC 2045, 4).
                        if !draft.has("MIME-Version") {
                            draft.set("MIME-Version", " 1.0");
                        }
                    }
                    if let Some(mended) = mended.body {
                        let mut hash = BodyHash::new();
                        hash.update(&mended);
                        body_hash = hash.finish();
                        new_body = Some(mended);
                        memory = reserved;
                    }
                    notes.extend(mended.left.map(|why| format!("signature may not survive: {why}")));
                }
                None => notes.push("signature may not survive: too long to be re-encoded".to_owned()),
            }
        }
    }
    let fields = terms.coverage.select(draft.headers()).ok_or(Failure::TooManyFields)?;
    notes.extend(
        fields.left_out().map(|name| format!("not signed, because its line cannot be folded: {name}")),
    );
    let signatures = keys
        .iter()
        .map(|(domain, selector, key)| sign(&fields, &body_hash, domain.as_str(), selector, key, now))
        .collect::<Result<Vec<_>, _>>()
        .map_err(Failure::Key)?;
    Ok(Signed { signatures, draft, body: new_body, memory, note: notes.join("; ") })
}

/// Whether there is anything that smtp(8) might change, so that the body is worth a second look.
fn needs_mending(draft: &Draft, survey: &Survey, eight_bit: bool) -> bool {
    let labelled = || {
        let plain = |value: &[u8]| {
            let value = value.trim_ascii();
            [&b"7bit"[..], b"quoted-printable", b"base64"]
                .iter()
                .any(|known| value.eq_ignore_ascii_case(known))
        };
        draft.headers().any(|header| header.is(mending::ENCODING) && !plain(&header.value))
    };
    survey.has_long_lines()
        || (eight_bit && (survey.is_eight_bit() || survey.may_be_labelled() || labelled()))
}

/// The one address of the one From header.
fn author<'a>(headers: impl Iterator<Item = &'a Header>) -> Result<Address, &'static str> {
    let mut fields = headers.filter(|header| header.is("From"));
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
async fn may_use(
    from: &Address,
    envelope: &Envelope,
    directory: &Directory,
    shared: bool,
) -> Option<Signing> {
    let answer = match envelope.direction {
        Direction::Inbound => return Some(Signing::NotOurs("not sent by us")),
        Direction::Local => directory.hosts(from.domain()).await,
        Direction::Submitted => {
            let Some(login) = &envelope.login else {
                return Some(Signing::NotOurs("the login is no address"));
            };
            match owns(login, from, directory, shared).await {
                Lookup::Found(()) => Lookup::Found(()),
                Lookup::None => {
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

/// Whether the address is the login's own, an alias of it, or that of somebody who shares a mailbox to it.
async fn owns(login: &Address, from: &Address, directory: &Directory, shared: bool) -> Lookup<()> {
    let owners = match directory.owners(from).await {
        Lookup::Found(owners) if owners.contains(login) => return Lookup::Found(()),
        Lookup::Found(owners) if shared => owners,
        Lookup::Found(_) => return Lookup::None,
        other => return other.map(|_| ()),
    };
    match directory.sharers(login).await {
        Lookup::Found(sharers) if owners.iter().any(|owner| sharers.contains(owner)) => Lookup::Found(()),
        Lookup::Found(_) => Lookup::None,
        other => other.map(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn author_of(value: &str) -> Result<String, &'static str> {
        author([Header::new("From", value)].iter()).map(|address| address.to_string())
    }

    #[test]
    fn exactly_one_author_or_none() {
        assert_eq!(author_of(" Alice <Alice@Example.com>").unwrap(), "alice@example.com");
        assert_eq!(author_of("\n\t=?utf-8?q?=C3=A4?= (x) <a@b.test>").unwrap(), "a@b.test");
        assert!(author_of(" a@b.test, c@d.test").is_err());
        assert!(author_of(" undisclosed:;").is_err());
        assert!(author_of("").is_err());
        assert!(author([].iter()).is_err());
        assert!(author([Header::new("From", " a@b.test"), Header::new("FROM", " a@b.test")].iter()).is_err());
    }
}
