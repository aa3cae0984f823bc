//! What mechanisms other than passwords must know, and what their proofs are worth: verifiers of SCRAM, owners of tokens, and whether
//! whoever has proved to be somebody may in.
//!
//! An account without a password hash never logs in, by whatever proof: that is what having none means. Somebody who is not there, or has
//! nothing to prove a password with, is asked for a proof all the same.

use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use gatepost::config::Secret;
use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::password::{ScramHash, ScramVerifier, StoredHash};
use gatepost::store::hash_mark;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::admission::{self, Facts, Proof};
use crate::attempt::Circumstances;
use crate::guard::Trial;
use crate::mechanisms::{Answer, Proved, Question};
use crate::oauth::Ownership;
use crate::service::DovecotAuth;
use crate::verdict::{Origin, Refusal, Verdict};

/// The secret behind the salts of nobody, once it is known; it never changes.
#[derive(Default)]
pub(crate) struct Secrets(OnceLock<Arc<Zeroizing<Vec<u8>>>>);

impl Secrets {
    /// Whether SCRAM can work.
    pub(crate) fn is_known(&self) -> bool {
        self.0.get().is_some()
    }
}

impl DovecotAuth {
    /// Answers a mechanism's question.
    pub(crate) async fn answer(&self, question: Question) -> Lookup<Answer> {
        match question {
            Question::Verifier(kind, login) => self.verifier(kind, &login).await,
            Question::Token(token, _) => {
                let live = self.live.load_full();
                let Some(tokens) = &live.tokens else {
                    return Lookup::Misconfigured(
                        "nobody says whether tokens are good: [dovecot-auth.oauth]".to_owned(),
                    );
                };
                tokens.owner(&token).await.map(|ownership| match ownership {
                    Ownership::Owner(login) => Answer::Owner(login),
                    Ownership::Bad(why) => {
                        tracing::debug!(why, "bad token");
                        Answer::BadToken(Refusal::BadToken, tokens.complaint())
                    }
                })
            }
        }
    }

    /// Learns the secret, if SCRAM is offered and it is not known yet.
    pub(crate) async fn learn_secret(&self) -> Lookup<Arc<Zeroizing<Vec<u8>>>> {
        if let Some(secret) = self.secrets.0.get() {
            return Lookup::Found(Arc::clone(secret));
        }
        self.store
            .scram_secret()
            .await
            .map(|secret| Arc::clone(self.secrets.0.get_or_init(|| Arc::new(secret))))
    }

    async fn verifier(&self, kind: ScramHash, name: &str) -> Lookup<Answer> {
        let secret = match self.learn_secret().await {
            Lookup::Found(secret) => secret,
            other => return other.settled().map_or_else(|failure| failure, |_| Lookup::None),
        };
        let Ok(login) = Address::parse(name) else {
            return Lookup::Found(nobody(kind, &secret, name, Refusal::UnknownUser));
        };
        let nobody = |refusal| Lookup::Found(nobody(kind, &secret, &login.to_string(), refusal));
        // Asked first, and of everybody: the time until the challenge does not tell who is there.
        let kept = match self.store.scram_verifier(&login, kind).await.settled() {
            Ok(kept) => kept,
            Err(failure) => return failure,
        };
        let hash = match self.directory.credentials(&login).await {
            Lookup::Found(credentials) => credentials.hash,
            Lookup::None => return nobody(Refusal::UnknownUser),
            Lookup::Unavailable(why) => return Lookup::Unavailable(why),
            Lookup::Misconfigured(why) => return Lookup::Misconfigured(why),
        };
        match (hash, kept) {
            (None, _) => nobody(Refusal::NoPassword),
            (Some(hash), kept) => match (own_verifier(kind, &hash), kept) {
                (Some(verifier), _) => Lookup::Found(Answer::Verifier(verifier, None)),
                (None, Some((verifier, mark))) if mark == hash_mark(&hash) => {
                    Lookup::Found(Answer::Verifier(verifier, None))
                }
                _ => nobody(Refusal::NoVerifier),
            },
        }
    }

    /// Whether whoever has proved to be somebody may in.
    pub(crate) async fn admit(&self, circumstances: &Circumstances, proved: &Proved) -> Verdict {
        let started = Instant::now();
        let mut trial = self.try_proof(circumstances, &proved.login).await;
        let verdict = match &trial {
            Some(trial) if trial.is_too_much() => Verdict::Deferred(Refusal::Guessing),
            _ => self.weigh_proof(circumstances, proved).await,
        };
        self.settle(circumstances, &proved.login, started, verdict.into(), trial.as_mut()).await
    }

    /// Refuses whoever has not proved what he said.
    pub(crate) async fn refuse(
        &self,
        circumstances: &Circumstances,
        login: &str,
        refusal: Refusal,
    ) -> Verdict {
        let started = Instant::now();
        let mut trial = self.try_proof(circumstances, login).await;
        let verdict = match &trial {
            Some(trial) if trial.is_too_much() => Verdict::Deferred(Refusal::Guessing),
            _ => Verdict::Refused(refusal),
        };
        self.settle(circumstances, login, started, verdict.into(), trial.as_mut()).await
    }

    /// A proof of a password may be a guess at it: which one, is not seen, so that each counts as another. Nobody guesses tokens and
    /// certificates.
    async fn try_proof(&self, circumstances: &Circumstances, login: &str) -> Option<Trial<'_>> {
        let is_scram = ScramHash::ALL.iter().any(|kind| kind.name() == circumstances.mechanism);
        if !is_scram {
            return None;
        }
        let prover = Address::parse(login).map_or_else(|_| login.to_lowercase(), |login| login.to_string());
        let unlike = Secret::new(format!("{:032x}", rand::random::<u128>()));
        Some(self.begin(circumstances, &prover, &unlike).await)
    }

    async fn weigh_proof(&self, circumstances: &Circumstances, proved: &Proved) -> Verdict {
        let Ok(login) = Address::parse(&proved.login) else { return Verdict::Refused(Refusal::UnknownUser) };
        if !proved.authorization.is_empty() && Address::parse(&proved.authorization).as_ref() != Ok(&login) {
            return Verdict::Refused(Refusal::OtherUser);
        }
        let credentials = match self.directory.credentials(&login).await {
            Lookup::Found(credentials) if credentials.hash.is_none() => {
                return Verdict::Refused(Refusal::NoPassword);
            }
            Lookup::Found(credentials) => credentials,
            Lookup::None => return Verdict::Refused(Refusal::UnknownUser),
            Lookup::Unavailable(why) => return Verdict::Unavailable(why),
            Lookup::Misconfigured(why) => return Verdict::Misconfigured(why),
        };
        let account = match self.directory.account(&login).await.settled::<()>() {
            Ok(account) => account.unwrap_or_default(),
            Err(Lookup::Misconfigured(why)) => return Verdict::Misconfigured(why),
            Err(Lookup::Unavailable(why)) => return Verdict::Unavailable(why),
            Err(_) => return Verdict::Unavailable("the account is not known".to_owned()),
        };
        let Origin { service, address } = circumstances.origin();
        // Whatever was proved counts as the main password does.
        let facts = Facts { account: &account, service, address, proof: Proof::Main, now: SystemTime::now() };
        match admission::object(&facts) {
            None => Verdict::Accepted(credentials.login),
            Some(objection) => self.bench(&self.hasher).refuse(objection),
        }
    }
}

/// A hash that is a verifier itself: `{SCRAM-SHA-256}…`.
fn own_verifier(kind: ScramHash, hash: &StoredHash) -> Option<ScramVerifier> {
    hash.scheme().filter(|scheme| scheme.name == kind.name())?;
    hash.cost().ok()?;
    ScramVerifier::parse(kind, hash.encoded())
}

fn nobody(kind: ScramHash, secret: &[u8], login: &str, refusal: Refusal) -> Answer {
    Answer::Verifier(ScramVerifier::of_nobody(kind, secret, login), Some(refusal))
}
