//! ARC (RFC 8617): what a message's chain of seals says, in our own words.
//!
//! For `verifier`, which fills it in; for `results`, which writes `arc=`; and for whoever may forgive a DMARC failure because a host
//! that we trust saw the message pass. The types here refuse to judge: whether a recorded pass helps is the reader's decision.
//!
//! Whose word counts. A seal says who handled the message, not that he is honest: anybody can seal `dmarc=pass` into a chain of his
//! own and send it through an honest list, which then adds a true seal on top. So the recorded results of a hop are worth something
//! only if that hop *and every later one* are sealers that we trust: see [`ArcOutcome::vouched`].
//!
//! Cost: one key for each seal and message signature (asked for together, most are the same), one hash of the ARC fields for each
//! seal; at most 50 of both, and the header of a message is bounded.

use std::collections::HashMap;

use futures_util::future::join_all;
use gatepost::dns::Resolver;

use super::dkim::{Digests, seconds_now};
use super::keys::{Keys, Shown};
use crate::arc::{Chain, ChainError, recorded};
use crate::dkim::{Algorithm, Parts, Signature};
use crate::pool::Pool;

/// The state of a chain (RFC 8617, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ArcResult {
    /// The message has no chain.
    None,
    /// Every seal and the newest message signature hold.
    Pass,
    /// Something of the chain does not hold, or is malformed.
    Fail,
    /// A key could not be fetched now. RFC 8617, 5.2.1 calls this a failure too, because it thinks of a host that must seal at once;
    /// we keep it apart, because nothing is known.
    TempError,
}

impl ArcResult {
    /// The word in `Authentication-Results` (RFC 8617, 6; RFC 8601, 2.7).
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
        }
    }
}

/// The chain of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcOutcome {
    /// What came out.
    pub result: ArcResult,
    /// The hops of a chain that passed, newest first; empty for every other result, because then nothing in it can be believed.
    pub hops: Vec<ArcHop>,
    /// The lowest instance whose message signature still holds, as the instance itself; 0 when all hold
    /// (RFC 8617, 5.2, step 5). None when it was not worked out.
    pub oldest_pass: Option<u32>,
    /// Whether the newest sealer is one that we trust. Never without a pass.
    pub trusted: bool,
    /// Why it is no pass, in a few words; empty for a pass and for none.
    pub why: String,
}

/// One sealer and what he recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcHop {
    /// `i=`, from 1.
    pub instance: u32,
    /// The domain that sealed it: `d=` of `ARC-Seal`, lower case.
    pub sealer: String,
    /// Whether that domain is in `[milter.arc] trusted-sealers`.
    pub trusted: bool,
    /// The name under which he wrote his results.
    pub authserv_id: String,
    /// What he recorded; empty when it cannot be parsed strictly.
    pub recorded: Vec<ArcRecorded>,
}

/// One result out of an `ARC-Authentication-Results` field (RFC 8617, 4.1.1; RFC 8601, 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcRecorded {
    /// `spf`, `dkim`, `dmarc`, `arc`, … in lower case.
    pub method: String,
    /// `pass`, `fail`, … in lower case.
    pub result: String,
    /// The domain that the result is about, lower case: `header.from` of `dmarc`, `header.d` (or the domain of `header.i`) of
    /// `dkim`, the domain of `smtp.mailfrom` (or `smtp.helo`) of `spf`. None when it is not said.
    pub domain: Option<String>,
}

impl ArcOutcome {
    /// An outcome without hops.
    pub fn without_hops(result: ArcResult, why: impl Into<String>) -> Self {
        Self { result, hops: Vec::new(), oldest_pass: None, trusted: false, why: why.into() }
    }

    /// The sealing domains, newest first.
    pub fn sealers(&self) -> impl Iterator<Item = &str> {
        self.hops.iter().map(|hop| hop.sealer.as_str())
    }

    /// The hop that saw the message last.
    pub fn last(&self) -> Option<&ArcHop> {
        self.hops.first()
    }

    /// The hop that saw the message first.
    pub fn first(&self) -> Option<&ArcHop> {
        self.hops.last()
    }

    /// The earliest hop whose results we may believe: it and every later hop are trusted sealers. None without a trusted newest one.
    pub fn vouched(&self) -> Option<&ArcHop> {
        self.hops.iter().take_while(|hop| hop.trusted).last()
    }
}

impl ArcHop {
    /// Whether it recorded that the From domain passed DMARC. A `dmarc=pass` that does not name the domain says nothing about it.
    pub fn dmarc_passed(&self, domain: &str) -> bool {
        self.passed("dmarc", domain)
    }

    /// Whether it recorded a pass of that method for that domain.
    pub fn passed(&self, method: &str, domain: &str) -> bool {
        self.recorded.iter().any(|recorded| {
            recorded.method == method
                && recorded.result == "pass"
                && recorded.domain.as_deref().is_some_and(|about| about.eq_ignore_ascii_case(domain))
        })
    }
}

/// Validates the chain of a message (RFC 8617, 5.2).
pub(super) async fn validate(
    parts: &Parts<'_>,
    trusted: &[String],
    keys: &Keys,
    resolver: &Resolver,
    digests: &mut Digests,
    pool: &Pool,
) -> ArcOutcome {
    let chain = match Chain::of(parts) {
        Ok(chain) if chain.0.is_empty() => return ArcOutcome::without_hops(ArcResult::None, ""),
        Ok(chain) => chain,
        Err(why) => return ArcOutcome::without_hops(ArcResult::Fail, why.to_string()),
    };
    let shown = shown(&chain, keys, resolver).await;
    let mut messages = Messages { parts, digests, pool, shown: &shown };
    if let Err(broken) = messages.newest(&chain).await {
        return broken.outcome();
    }
    let sealed = pool.run_here(header_size(parts), || chain.sealed_bytes()).await;
    // Newest first, so that what was added last is what fails (RFC 8617, 5.2, step 6).
    for (at, set) in chain.0.iter().enumerate().rev() {
        let name = set.seal.key_name();
        if let Err(broken) = holds(&shown, &name, set.seal.algorithm, &sealed[at], &set.seal.signature) {
            return broken.of(at + 1, "seal").outcome();
        }
    }
    let oldest_pass = Some(messages.oldest_pass(&chain).await);
    let hops = chain.0.iter().zip(1..).map(|(set, instance)| {
        let (authserv_id, recorded) = recorded::parse(set.results.value);
        let sealer = set.seal.domain.clone();
        let trusted = trusted.iter().any(|domain| domain.eq_ignore_ascii_case(&sealer));
        ArcHop { instance, sealer, trusted, authserv_id, recorded }
    });
    let mut hops: Vec<ArcHop> = hops.collect();
    hops.reverse();
    let trusted = hops.first().is_some_and(|hop| hop.trusted);
    ArcOutcome { result: ArcResult::Pass, hops, oldest_pass, trusted, why: String::new() }
}

/// The keys of a chain, each asked for once.
async fn shown(chain: &Chain<'_, '_>, keys: &Keys, resolver: &Resolver) -> HashMap<String, Shown> {
    let messages = chain.0.iter().filter_map(|set| set.message_signature.as_ref().ok());
    let mut names: Vec<String> = chain.0.iter().map(|set| set.seal.key_name()).collect();
    names.extend(messages.map(Signature::key_name));
    names.sort();
    names.dedup();
    let answers = join_all(names.iter().map(|name| keys.ask(resolver, name))).await;
    names.into_iter().zip(answers).collect()
}

/// The message signatures of a chain.
struct Messages<'m, 'a> {
    parts: &'m Parts<'a>,
    digests: &'m mut Digests,
    pool: &'m Pool,
    shown: &'m HashMap<String, Shown>,
}

impl Messages<'_, '_> {
    async fn newest(&mut self, chain: &Chain<'_, '_>) -> Result<(), Broken> {
        self.check(chain, chain.0.len() - 1).await
    }

    /// How far down the message signatures hold. A list that changes the message breaks those below it; that is no failure.
    async fn oldest_pass(&mut self, chain: &Chain<'_, '_>) -> u32 {
        let mut oldest = chain.0.len();
        while oldest > 1 && self.check(chain, oldest - 2).await.is_ok() {
            oldest -= 1;
        }
        if oldest == 1 { 0 } else { u32::try_from(oldest).unwrap_or(u32::MAX) }
    }

    async fn check(&mut self, chain: &Chain<'_, '_>, at: usize) -> Result<(), Broken> {
        let set = &chain.0[at];
        let fail = |why: &str| Err(Broken::no(why).of(at + 1, "message signature"));
        let signature = match &set.message_signature {
            Ok(signature) => signature,
            Err(ChainError::Signature(why)) => return fail(&why.to_string()),
            Err(why) => return fail(&why.to_string()),
        };
        if let Err(why) = signature.is_of(seconds_now()) {
            return fail(&why.to_string());
        }
        let digest = self.digests.of(self.parts, signature.body_form, signature.length, self.pool).await;
        if digest.covered < digest.total || signature.length.is_some_and(|length| length > digest.total) {
            return fail("l= does not cover the body");
        }
        if signature.body_hash != digest.hash {
            return fail("the body was changed");
        }
        let signed = signature.signed_bytes(self.parts, set.message);
        let name = signature.key_name();
        holds(self.shown, &name, signature.algorithm, &signed, &signature.signature)
            .map_err(|broken| broken.of(at + 1, "message signature"))
    }
}

/// Why a chain is not whole.
struct Broken {
    result: ArcResult,
    why: String,
}

impl Broken {
    fn no(why: impl Into<String>) -> Self {
        Self { result: ArcResult::Fail, why: why.into() }
    }

    fn of(self, instance: usize, what: &str) -> Self {
        Self { why: format!("i={instance} {what}: {}", self.why), ..self }
    }

    fn outcome(self) -> ArcOutcome {
        ArcOutcome::without_hops(self.result, self.why)
    }
}

fn holds(
    shown: &HashMap<String, Shown>,
    name: &str,
    algorithm: Algorithm,
    signed: &[u8],
    signature: &[u8],
) -> Result<(), Broken> {
    let keys = match shown.get(name) {
        Some(Shown::Keys(keys)) => keys,
        Some(Shown::Unusable(why)) => return Err(Broken::no(why.to_string())),
        Some(Shown::Nothing) => return Err(Broken::no("no such key")),
        Some(Shown::Unavailable) | None => {
            return Err(Broken { result: ArcResult::TempError, why: "no answer from DNS".to_owned() });
        }
    };
    let mut usable = keys.iter().filter(|key| key.algorithm == algorithm).peekable();
    if usable.peek().is_none() {
        return Err(Broken::no("the key is of another type"));
    }
    if usable.any(|key| key.holds(signed, signature)) { Ok(()) } else { Err(Broken::no("does not hold")) }
}

fn header_size(parts: &Parts<'_>) -> usize {
    parts.fields.iter().map(|field| field.name.len() + field.value.len()).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn hop(instance: u32, trusted: bool) -> ArcHop {
        ArcHop {
            instance,
            sealer: format!("s{instance}.test"),
            trusted,
            authserv_id: String::new(),
            recorded: Vec::new(),
        }
    }

    #[test]
    fn only_an_unbroken_run_of_trusted_sealers_vouches() {
        let vouched = |trusted: &[bool]| {
            let count = trusted.len() as u32;
            let hops = trusted.iter().zip(0..).map(|(trusted, at)| hop(count - at, *trusted)).collect();
            let outcome = ArcOutcome { hops, ..ArcOutcome::without_hops(ArcResult::Pass, "") };
            outcome.vouched().map(|hop| hop.instance)
        };
        // Newest first: a spammer below an honest list, a list behind a stranger, a chain of friends.
        assert_eq!(vouched(&[true, false]), Some(2));
        assert_eq!(vouched(&[false, true]), None);
        assert_eq!(vouched(&[true, true, false]), Some(2));
        assert_eq!(vouched(&[true, true]), Some(1));
        assert_eq!(vouched(&[]), None);
    }

    #[test]
    fn a_pass_counts_for_the_domain_it_names() {
        let recorded = |method: &str, result: &str, domain: Option<&str>| ArcRecorded {
            method: method.into(),
            result: result.into(),
            domain: domain.map(str::to_owned),
        };
        let hop = ArcHop {
            recorded: vec![
                recorded("dmarc", "pass", None),
                recorded("dmarc", "fail", Some("c.test")),
                recorded("dmarc", "pass", Some("a.test")),
            ],
            ..hop(1, true)
        };
        assert!(hop.dmarc_passed("A.test") && !hop.dmarc_passed("b.test") && !hop.dmarc_passed("c.test"));
        assert!(!hop.passed("spf", "a.test"));
    }
}
