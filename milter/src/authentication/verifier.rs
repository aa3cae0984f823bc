//! The one resolver of the process, and the questions it answers about a message: SPF, DKIM, ARC, DMARC, iprev.
//!
//! For `session` and `ask`. It asks all of them at once and joins the answers; each method's own file turns them into our
//! words. No type of the crate `mail-auth` leaves this folder, because they change with its releases.
//!
//! Time: each DNS question has its own timeout; all questions about a message end at one deadline ([`Verification::deadline`]).
//! What is not known by then is named in [`Authentication::missing`]; a failing resolver gives `temperror`, never `fail`.
//!
//! Honest limit: DNSSEC status is not reported.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use gatepost::config;
use gatepost::dns::{self, Resolver, SetupError};
use gatepost::mail::Address;
use mail_auth::dkim::Signature;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, DkimOutput, DnsError, Error, MessageAuthenticator, Parameters, SpfOutput,
};
use tokio::time::{Instant, timeout_at};

use super::cache::Caches;
use super::dkim::Digests;
use super::keys::Keys;
use super::{
    ArcOutcome, ArcResult, Authentication, DkimOutcome, DkimResult, DmarcOutcome, DmarcPolicy, DmarcResult,
    IprevResult, SpfOutcome, SpfResult, SpfScope, arc, dkim, iprev, spf,
};
use crate::arc::sets;
use crate::dkim::{Canonicalization, Parts};
use crate::pool::Pool;

/// What verification of one message may cost.
#[derive(Debug, Clone)]
pub struct Verification {
    /// How long all questions about one message may take together.
    pub deadline: Duration,
    /// How many DKIM signatures of one message are verified; the others are neutral.
    pub signatures: usize,
    /// The domains whose word in an ARC chain we believe.
    pub trusted_sealers: Vec<String>,
}

/// Everything about a message that can be verified.
#[derive(Debug, Clone)]
pub struct Question {
    /// The SMTP client's address; without it there is no SPF and no iprev.
    pub client: Option<IpAddr>,
    /// The name in HELO.
    pub helo: Option<String>,
    /// MAIL FROM; none for the null sender.
    pub sender: Option<Address>,
    /// Header block, empty line and body as they will be delivered.
    pub raw: Vec<u8>,
    /// Whether `raw` holds the whole message; if not, DKIM cannot be verified.
    pub complete: bool,
    /// Our own host name, for the macro `r` of SPF explanations.
    pub host: String,
}

/// The resolver with its memory.
pub struct Verifier {
    authenticator: MessageAuthenticator,
    cache: Caches,
    resolver: Resolver,
    keys: Keys,
    settings: Verification,
}

impl Verifier {
    /// Sets up the resolver; no packet is sent yet.
    pub fn new(dns: &config::Dns, settings: Verification) -> Result<Self, SetupError> {
        let (servers, mut options) = dns::setup(dns)?;
        // Ours is in front.
        options.cache_size = 32;
        let authenticator =
            MessageAuthenticator::new(servers, options).map_err(|error| SetupError(error.to_string()))?;
        let resolver = Resolver::new(dns)?;
        Ok(Self { authenticator, cache: Caches::new(), resolver, keys: Keys::new(), settings })
    }

    /// Answers everything that can be answered within the deadline.
    pub async fn verify(&self, question: &Question, pool: &Pool) -> Authentication {
        let end = Instant::now() + self.settings.deadline;
        let mut found = Authentication::default();
        let parts = Parts::of(&question.raw);
        let signatures = until(end, self.signatures(&parts, question.complete, pool));
        let helo = question.helo.as_deref().filter(|helo| spf::is_domain(helo));
        let (signatures, mail_from, helo_spf, iprev) = tokio::join!(
            signatures,
            until_some(end, question.client.zip(question.sender.as_ref()), |(client, sender)| {
                self.spf_of_sender(question, client, sender)
            }),
            until_some(end, question.client.zip(helo), |(client, helo)| self
                .spf_of_helo(question, client, helo)),
            until_some(end, question.client, |client| self.iprev(client)),
        );
        let Signatures { dkim, arc } = signatures.unwrap_or_default();
        for (name, missing) in [
            (
                "spf",
                question.client.is_none()
                    || mail_from.is_late()
                    || (question.sender.is_none() && helo_spf.is_late()),
            ),
            ("dkim", dkim.is_none()),
            ("arc", arc.is_none() && sets::is_chained(&parts)),
            ("iprev", question.client.is_none() || iprev.is_late()),
        ] {
            if missing {
                found.missing.push(name);
            }
        }

        let dkim_known = dkim.is_some();
        let dkim = dkim.unwrap_or_default();
        let identity = match (&mail_from, &helo_spf) {
            (Asked::Answered(output), _) => Some((output, SpfScope::MailFrom)),
            (Asked::Skipped, Asked::Answered(output)) if question.sender.is_none() => {
                Some((output, SpfScope::Helo))
            }
            _ => None,
        };
        found.spf = identity.map(|(output, scope)| spf::outcome(output, scope));
        if let (Some(SpfScope::MailFrom), Asked::Answered(output)) =
            (identity.map(|found| found.1), &helo_spf)
        {
            found.spf_helo = Some(spf::outcome(output, SpfScope::Helo));
        }
        // Without a HELO name that could have a record, the null sender has no SPF identity (RFC 7208, 2.4 and 4.3).
        if found.spf.is_none()
            && question.sender.is_none()
            && question.client.is_some()
            && helo_spf.is_skipped()
        {
            let domain = question.helo.clone().unwrap_or_default();
            found.spf = Some(SpfOutcome { result: SpfResult::None, domain, scope: SpfScope::Helo });
        }
        found.iprev = iprev.answer().map(iprev::outcome);

        if !parts.fields.is_empty() {
            let spf_known = found.spf.is_some();
            let spf = identity.map_or_else(SpfOutput::default, |(output, _)| output.clone());
            let dmarc = until(end, self.dmarc(&parts, &dkim, &spf)).await;
            // A verdict of "neither passed" needs both to be known.
            match dmarc.filter(|dmarc| dmarc.result != DmarcResult::Fail || (spf_known && dkim_known)) {
                Some(dmarc) => found.dmarc = Some(dmarc),
                None => found.missing.push("dmarc"),
            }
        }
        found.dkim = dkim;
        found.arc = arc;
        self.remember_failures(&found);
        found
    }

    /// DKIM and ARC, which share the hashes of the body.
    async fn signatures(&self, parts: &Parts<'_>, complete: bool, pool: &Pool) -> Signatures {
        let mut digests = Digests::default();
        let (keys, resolver) = (&self.keys, &self.resolver);
        let dkim = match dkim::is_signed(parts) {
            false => Some(Vec::new()),
            true if complete => {
                let limit = self.settings.signatures;
                Some(dkim::verify(parts, limit, keys, resolver, &mut digests, pool).await)
            }
            true => None,
        };
        let arc = if complete || !sets::is_chained(parts) {
            let trusted = &self.settings.trusted_sealers;
            Some(arc::validate(parts, trusted, keys, resolver, &mut digests, pool).await)
        } else {
            None
        };
        Signatures { dkim, arc }
    }

    async fn spf_of_sender(&self, question: &Question, client: IpAddr, sender: &Address) -> SpfOutput {
        let helo = question.helo.as_deref().unwrap_or("unknown");
        let sender = sender.to_string();
        let parameters = SpfParameters::mail_from(client, helo, &question.host, &sender);
        self.authenticator.verify_spf(Parameters::new(parameters).with_cache(&self.cache)).await
    }

    async fn spf_of_helo(&self, question: &Question, client: IpAddr, helo: &str) -> SpfOutput {
        let parameters = SpfParameters::helo(client, helo, &question.host);
        self.authenticator.verify_spf(Parameters::new(parameters).with_cache(&self.cache)).await
    }

    async fn iprev(&self, client: IpAddr) -> Option<mail_auth::IprevOutput> {
        if self.cache.are_names_unanswered(&client) {
            return None;
        }
        let found = self.authenticator.verify_iprev(Parameters::new(client).with_cache(&self.cache)).await;
        if matches!(found.result(), mail_auth::IprevResult::TempError(_)) {
            self.cache.names_unanswered(client);
        }
        Some(found)
    }

    async fn dmarc(&self, parts: &Parts<'_>, dkim: &[DkimOutcome], spf: &SpfOutput) -> DmarcOutcome {
        // The library reads the From fields; what DKIM said, it is told.
        let mut header = Vec::new();
        for field in parts.fields.iter().filter(|field| field.is(b"From")) {
            Canonicalization::Simple.header(field, &mut header);
        }
        header.extend_from_slice(b"X:\r\n\r\n");
        let Some(message) = AuthenticatedMessage::parse(&header) else {
            return DmarcOutcome::new(DmarcResult::PermError, DmarcPolicy::None, "");
        };
        let signatures: Vec<Signature> =
            dkim.iter().map(|one| Signature { d: one.domain.clone(), ..Signature::default() }).collect();
        let dkim: Vec<DkimOutput<'_>> = dkim
            .iter()
            .zip(&signatures)
            .map(|(one, signature)| {
                let result = match one.result {
                    DkimResult::Pass => mail_auth::DkimResult::Pass,
                    DkimResult::TempError => {
                        mail_auth::DkimResult::TempError(Error::Dns(DnsError::Resolver(String::new())))
                    }
                    _ => mail_auth::DkimResult::Fail(Error::NotAligned),
                };
                DkimOutput::from(result).with_signature(signature)
            })
            .collect();
        let parameters = DmarcParameters::new(&message, &dkim, spf.domain(), spf);
        let output =
            self.authenticator.verify_dmarc(Parameters::new(parameters).with_cache(&self.cache)).await;
        let domain = output.domain().to_owned();
        // No record and no answer: it was the record itself that could not be had.
        if matches!(output.result(), mail_auth::DmarcResult::TempError(_)) && output.record().is_none() {
            self.cache.txt_unanswered(&format!("_dmarc.{domain}"));
        }
        let result = match output.result() {
            mail_auth::DmarcResult::Pass => DmarcResult::Pass,
            mail_auth::DmarcResult::Fail(_) => DmarcResult::Fail,
            mail_auth::DmarcResult::TempError(_) => DmarcResult::TempError,
            mail_auth::DmarcResult::PermError(_) => DmarcResult::PermError,
            // No domain in From, or several: DMARC cannot be applied (RFC 9989, 4.10.1).
            mail_auth::DmarcResult::None if domain.is_empty() => DmarcResult::PermError,
            mail_auth::DmarcResult::None => DmarcResult::None,
        };
        let policy = match output.policy() {
            Policy::None | Policy::Unspecified => DmarcPolicy::None,
            Policy::Quarantine => DmarcPolicy::Quarantine,
            Policy::Reject => DmarcPolicy::Reject,
        };
        DmarcOutcome::new(result, policy, &domain)
    }

    /// What DNS could not answer is not asked again for some seconds.
    fn remember_failures(&self, found: &Authentication) {
        for spf in [&found.spf, &found.spf_helo].into_iter().flatten() {
            if spf.result == SpfResult::TempError {
                self.cache.txt_unanswered(&spf.domain);
            }
        }
    }
}

impl Authentication {
    /// How many checks DNS could not answer, for the metrics.
    pub fn dns_failures(&self) -> u64 {
        let spf = [&self.spf, &self.spf_helo];
        let spf = spf.into_iter().flatten().filter(|spf| spf.result == SpfResult::TempError).count();
        let dkim = self.dkim.iter().filter(|dkim| dkim.result == DkimResult::TempError).count();
        let dmarc = self.dmarc.iter().filter(|dmarc| dmarc.result == DmarcResult::TempError).count();
        let iprev = self.iprev.iter().filter(|iprev| iprev.result == IprevResult::TempError).count();
        let arc = self.arc.iter().filter(|arc| arc.result == ArcResult::TempError).count();
        (spf + dkim + arc + dmarc + iprev) as u64
    }
}

/// What came of the signatures; none where it is not known.
#[derive(Default)]
struct Signatures {
    dkim: Option<Vec<DkimOutcome>>,
    arc: Option<ArcOutcome>,
}

/// A question that was not asked, was not answered in time, or was answered.
enum Asked<T> {
    Skipped,
    Late,
    Answered(T),
}

impl<T> Asked<T> {
    fn is_late(&self) -> bool {
        matches!(self, Self::Late)
    }

    fn is_skipped(&self) -> bool {
        matches!(self, Self::Skipped)
    }

    fn answer(self) -> Option<T> {
        match self {
            Self::Answered(answer) => Some(answer),
            Self::Skipped | Self::Late => None,
        }
    }
}

async fn until<T>(end: Instant, question: impl Future<Output = T>) -> Option<T> {
    timeout_at(end, question).await.ok()
}

async fn until_some<A, F: Future>(
    end: Instant,
    about: Option<A>,
    ask: impl FnOnce(A) -> F,
) -> Asked<F::Output> {
    match about {
        None => Asked::Skipped,
        Some(about) => until(end, ask(about)).await.map_or(Asked::Late, Asked::Answered),
    }
}
