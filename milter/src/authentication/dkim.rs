//! DKIM (RFC 6376): every signature of a message, and what came of it.
//!
//! For `verifier`. The rules of a signature stand in [`crate::dkim`]; here they meet the message, the clock and DNS.
//!
//! | what is found | result (RFC 8601, 2.7.1) |
//! |---|---|
//! | headers and body are as they were signed | pass; a key under 2048 bits, test mode and an `l=` of the whole body are noted |
//! | so they are, but `l=` leaves a part of the body unsigned | policy, because anybody may have added that part (RFC 6376, 8.2) |
//! | headers or body are not as they were signed | fail; neutral while the key is in test mode (`t=y`, RFC 6376, 3.6.1) |
//! | malformed, expired, from the future, an algorithm that does not count | neutral |
//! | From is not signed; no key, a revoked or broken key, one that is too short (RFC 8301, 3.2) | permerror |
//! | DNS does not answer | temperror |
//!
//! Honest limits: a *pass* with a key in test mode counts like any other, although RFC 6376, 3.6.1 asks to treat such mail as
//! unsigned; every big receiver does so, and many domains left the flag there years ago. ATPS (RFC 6541) is not asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use gatepost::dns::Resolver;
use tokio::time::{Instant, timeout_at};

use super::keys::{Keys, Shown};
use crate::dkim::{
    BodyDigest, Canonicalization, Field, Kind, Parts, Signature, SignatureError, TagError, Tags,
};
use crate::pool::Pool;

/// The result of one DKIM signature (RFC 8601, 2.7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// The signature holds.
    Pass,
    /// The signature does not hold: the signed headers or the body were changed, or it was never good.
    Fail,
    /// The signature holds, but does not cover the whole body, so it says nothing about the message that we see.
    Policy,
    /// The signature cannot be judged: malformed, expired or unsupported.
    Neutral,
    /// The key could not be fetched now.
    TempError,
    /// The key does not exist, is broken or revoked, or the signature does not cover From.
    PermError,
}

/// One DKIM signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DkimOutcome {
    /// What came out.
    pub result: DkimResult,
    /// The signing domain, `d=`; empty when the header could not be parsed.
    pub domain: String,
    /// The selector, `s=`.
    pub selector: String,
    /// The algorithm, `a=`.
    pub algorithm: &'static str,
    /// The identity, `i=`; empty when absent.
    pub identity: String,
    /// The first eight characters of `b=`, which tell signatures of one domain apart (RFC 6008).
    pub signature: String,
    /// Why it is not a pass, or what is to be noted about one, in a few words; else empty.
    pub reason: String,
}

impl DkimResult {
    /// The word in `Authentication-Results` (RFC 8601, 2.7.1).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The name of the field.
const NAME: &[u8] = b"DKIM-Signature";

/// From this length on nothing is said about an RSA key; RFC 8301, 3.2 wants signers to use it, and verifiers to accept 1024.
const EXPECTED_BITS: u32 = 2048;

/// Whether a message has a signature at all.
pub(super) fn is_signed(parts: &Parts<'_>) -> bool {
    parts.fields.iter().any(|field| field.is(NAME))
}

/// Verifies the first `limit` signatures of a message, from top to bottom. If there are more, one last outcome says so. A key that DNS has not shown
/// by `end` is one that it cannot show.
pub(super) async fn verify(
    parts: &Parts<'_>,
    limit: usize,
    keys: &Keys,
    resolver: &Resolver,
    digests: &mut Digests,
    end: Instant,
    pool: &Pool,
) -> Vec<DkimOutcome> {
    let now = seconds_now();
    let mut fields = parts.fields.iter().filter(|field| field.is(NAME));
    let understood: Vec<Understood<'_, '_>> =
        fields.by_ref().take(limit).map(|field| Understood::of(field, now)).collect();
    let more = fields.next().is_some();
    let mut pending = Vec::with_capacity(understood.len());
    for one in understood {
        let state = match one.signature {
            Err(error) => State::Settled(Box::new(one.refused(error))),
            Ok(ref signature) => {
                let digest = digests.of(parts, signature.body_form, signature.length, pool).await;
                match one.body(signature, &digest) {
                    Some(settled) => State::Settled(Box::new(settled)),
                    None => State::Open(Box::new(one), digest),
                }
            }
        };
        pending.push(state);
    }
    let answers = pending.into_iter().map(|state| async {
        match state {
            State::Settled(outcome) => *outcome,
            State::Open(one, digest) => match &one.signature {
                Ok(signature) => {
                    let name = signature.key_name();
                    let shown = timeout_at(end, keys.ask(resolver, &name)).await;
                    let shown = shown.unwrap_or(Shown::Unavailable);
                    one.judged(signature, &digest, &shown, parts)
                }
                Err(error) => one.refused(*error),
            },
        }
    });
    let mut outcomes = join_all(answers).await;
    if more {
        outcomes.push(DkimOutcome {
            result: DkimResult::Neutral,
            domain: String::new(),
            selector: String::new(),
            algorithm: "",
            identity: String::new(),
            signature: String::new(),
            reason: "too many signatures".to_owned(),
        });
    }
    outcomes
}

/// The present, in seconds since 1970.
pub(crate) fn seconds_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_secs())
}

/// Hashes of the body, each computed once however many signatures ask for it.
#[derive(Default)]
pub(super) struct Digests(Vec<(Canonicalization, Option<u64>, BodyDigest)>);

impl Digests {
    pub(super) async fn of(
        &mut self,
        parts: &Parts<'_>,
        form: Canonicalization,
        limit: Option<u64>,
        pool: &Pool,
    ) -> BodyDigest {
        let known = self.0.iter().find(|(known, length, _)| *known == form && *length == limit);
        if let Some((_, _, digest)) = known {
            return *digest;
        }
        let digest = pool.run_here(parts.body.len(), || form.body(parts.body, limit)).await;
        self.0.push((form, limit, digest));
        digest
    }
}

enum State<'f, 'a> {
    Settled(Box<DkimOutcome>),
    Open(Box<Understood<'f, 'a>>, BodyDigest),
}

/// A field, and the signature in it if there is one.
struct Understood<'f, 'a> {
    field: &'f Field<'a>,
    signature: Result<Signature, SignatureError>,
    /// As far as it can be told, for the outcome.
    said: Said,
}

#[derive(Default, Clone)]
struct Said {
    domain: String,
    selector: String,
    identity: String,
    start: String,
}

impl<'f, 'a> Understood<'f, 'a> {
    fn of(field: &'f Field<'a>, now: u64) -> Self {
        let tags = match Tags::parse(field.value) {
            Ok(tags) => tags,
            Err(error) => return Self { field, signature: Err(error.into()), said: Said::default() },
        };
        let text = |name| tags.get(name).unwrap_or_default().chars().take(MAX_SAID).collect();
        let start: String = tags
            .get("b")
            .unwrap_or_default()
            .chars()
            .filter(|character| !character.is_whitespace())
            .take(SIGNATURE_START)
            .collect();
        let mut said = Said { domain: text("d"), selector: text("s"), identity: text("i"), start };
        let signature = Signature::parse(&tags, Kind::Dkim)
            .and_then(|signature| signature.is_of(now).map(|()| signature));
        if let Ok(signature) = &signature {
            said.domain.clone_from(&signature.domain);
            said.selector.clone_from(&signature.selector);
            said.identity.clone_from(&signature.identity);
        }
        Self { field, signature, said }
    }

    fn outcome(&self, result: DkimResult, reason: impl Into<String>) -> DkimOutcome {
        let Said { domain, selector, identity, start } = self.said.clone();
        let algorithm = match &self.signature {
            Ok(signature) => signature.algorithm.as_str(),
            Err(SignatureError::RsaSha1) => "rsa-sha1",
            Err(_) => "",
        };
        DkimOutcome { result, domain, selector, algorithm, identity, signature: start, reason: reason.into() }
    }

    fn refused(&self, error: SignatureError) -> DkimOutcome {
        let result = match error {
            // "such as a required header field being absent" (RFC 8601, 2.7.1)
            SignatureError::FromNotSigned => DkimResult::PermError,
            _ => DkimResult::Neutral,
        };
        let mut outcome = self.outcome(result, error.to_string());
        if matches!(error, SignatureError::Tags(TagError::Malformed | TagError::Bytes)) {
            outcome.domain.clear();
        }
        outcome
    }

    /// What the body alone decides; none when the key is needed.
    fn body(&self, signature: &Signature, digest: &BodyDigest) -> Option<DkimOutcome> {
        if let Some(length) = signature.length.filter(|length| *length > digest.total) {
            let why = format!("l= covers {length} bytes of a body that has {}", digest.total);
            return Some(self.outcome(DkimResult::Neutral, why));
        }
        (signature.body_hash != digest.hash).then(|| self.outcome(DkimResult::Fail, "the body was changed"))
    }

    fn judged(
        &self,
        signature: &Signature,
        digest: &BodyDigest,
        shown: &Shown,
        parts: &Parts<'_>,
    ) -> DkimOutcome {
        let keys = match shown {
            Shown::Keys(keys) => keys,
            Shown::Unusable(why) => return self.outcome(DkimResult::PermError, why.to_string()),
            Shown::Nothing => return self.outcome(DkimResult::PermError, "no such key"),
            // What the resolver says (servers, ports) is not for the header of somebody's mail.
            Shown::Unavailable => return self.outcome(DkimResult::TempError, "no answer from DNS"),
        };
        let mut usable = keys.iter().filter(|key| key.algorithm == signature.algorithm).peekable();
        if usable.peek().is_none() {
            return self.outcome(DkimResult::PermError, "the key is of another type");
        }
        let signed = signature.signed_bytes(parts, self.field);
        let mut testing = false;
        let mut why = "the signed headers were changed";
        for key in usable {
            testing |= key.testing;
            if key.strict && !signature.is_identity_exact() {
                why = "the key is not for subdomains";
                continue;
            }
            if key.holds(&signed, &signature.signature) {
                if digest.covered < digest.total {
                    let why = format!("covers only {} of {} bytes of the body", digest.covered, digest.total);
                    return self.outcome(DkimResult::Policy, why);
                }
                let mut notes = Vec::new();
                if key.algorithm == crate::dkim::Algorithm::RsaSha256 && key.bits < EXPECTED_BITS {
                    notes.push(format!("{}-bit key", key.bits));
                }
                if signature.length.is_some() {
                    notes.push("l= covers the whole body".to_owned());
                }
                if key.testing {
                    notes.push("test mode".to_owned());
                }
                return self.outcome(DkimResult::Pass, notes.join(", "));
            }
        }
        if testing {
            return self.outcome(DkimResult::Neutral, format!("{why}; the key is in test mode"));
        }
        self.outcome(DkimResult::Fail, why)
    }
}

/// As many characters of `b=` as RFC 6008 asks for.
const SIGNATURE_START: usize = 8;

/// What is kept of a tag that says what it cannot say; a domain name has 253 characters.
const MAX_SAID: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept for each kind of message that a report tells of, while the database is away, and in its rows.
    #[test]
    fn what_a_malformed_signature_says_is_cut() {
        let long = "x".repeat(50_000);
        let value = format!(" v=1; a=rsa-sha256; d={long}; s={long}; i=@{long}; h=from; bh=AAAA; b=AAAA");
        let field = Field { name: NAME, value: value.as_bytes() };
        let understood = Understood::of(&field, 0);
        let outcome = understood.outcome(DkimResult::Neutral, "");
        assert!([&outcome.domain, &outcome.selector, &outcome.identity].iter().all(|text| text.len() <= 255));
        assert!(!outcome.domain.is_empty());
    }
}
