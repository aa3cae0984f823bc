//! The one resolver of the process, and the questions it answers about a message: SPF, DKIM, DMARC, iprev.
//!
//! For `session` and `ask`. All use of the crate `mail-auth` for verification is in this file; its types do not leave it,
//! because they change with its releases and its answers are to be had in our words.
//!
//! Time: each DNS question has its own timeout; all questions about a message end at one deadline ([`Verification::deadline`]).
//! What is not known by then is named in [`Authentication::missing`]; a failing resolver gives `temperror`, never `fail`.
//!
//! Honest limits: `l=` in a DKIM signature makes it neutral (RFC 6376, 8.2 tells why); `rsa-sha1` is not accepted (RFC 8301, 3.1);
//! DNSSEC status is not reported.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use gatepost::config;
use gatepost::dns::{self, SetupError};
use gatepost::mail::Address;
use mail_auth::crypto::Algorithm;
use mail_auth::dkim::{DkimError, Signature};
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, DkimOutput, Error, MessageAuthenticator, Parameters, SpfOutput};
use tokio::time::{Instant, timeout_at};

use super::cache::Caches;
use super::{
    Authentication, DkimOutcome, DkimResult, DmarcOutcome, DmarcPolicy, DmarcResult, IprevOutcome,
    IprevResult, SpfOutcome, SpfResult, SpfScope,
};
use crate::pool::Pool;

/// What verification of one message may cost.
#[derive(Debug, Clone, Copy)]
pub struct Verification {
    /// How long all questions about one message may take together.
    pub deadline: Duration,
    /// How many DKIM signatures of one message are verified; the others are neutral.
    pub signatures: usize,
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
    deadline: Duration,
    signatures: usize,
}

impl Verifier {
    /// Sets up the resolver; no packet is sent yet.
    pub fn new(dns: &config::Dns, settings: Verification) -> Result<Self, SetupError> {
        let (servers, mut options) = dns::setup(dns)?;
        // Ours is in front.
        options.cache_size = 32;
        let authenticator =
            MessageAuthenticator::new(servers, options).map_err(|error| SetupError(error.to_string()))?;
        let Verification { deadline, signatures } = settings;
        Ok(Self { authenticator, cache: Caches::new(), deadline, signatures })
    }

    /// Answers everything that can be answered within the deadline.
    pub async fn verify(&self, question: &Question, pool: &Pool) -> Authentication {
        let end = Instant::now() + self.deadline;
        let mut found = Authentication::default();
        let message = pool.run_here(question.raw.len(), || AuthenticatedMessage::parse(&question.raw)).await;
        let message = message.map(|mut message| {
            let refused = self.refuse_signatures(&mut message);
            (message, refused)
        });
        let dkim = async {
            match &message {
                Some((message, _)) if question.complete => {
                    until(
                        end,
                        self.authenticator.verify_dkim(Parameters::new(message).with_cache(&self.cache)),
                    )
                    .await
                }
                // No header at all: no signature to look for.
                None => Some(Vec::new()),
                Some((message, _)) if message.dkim_signatures().is_empty() => Some(Vec::new()),
                Some(_) => None,
            }
        };
        let helo = question.helo.as_deref().filter(|helo| is_domain(helo));
        let (dkim, mail_from, helo_spf, iprev) = tokio::join!(
            dkim,
            until_some(end, question.client.zip(question.sender.as_ref()), |(client, sender)| {
                self.spf_of_sender(question, client, sender)
            }),
            until_some(end, question.client.zip(helo), |(client, helo)| self
                .spf_of_helo(question, client, helo)),
            until_some(end, question.client, |client| self.iprev(client)),
        );
        for (name, missing) in [
            (
                "spf",
                question.client.is_none()
                    || mail_from.is_late()
                    || (question.sender.is_none() && helo_spf.is_late()),
            ),
            ("dkim", dkim.is_none()),
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
        found.spf = identity.map(|(output, scope)| spf_outcome(output, scope));
        if let (Some(SpfScope::MailFrom), Asked::Answered(output)) =
            (identity.map(|found| found.1), &helo_spf)
        {
            found.spf_helo = Some(spf_outcome(output, SpfScope::Helo));
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
        found.iprev = iprev.answer().map(|iprev| self.iprev_outcome(question.client, iprev));

        if let Some((message, refused)) = &message {
            let spf_known = found.spf.is_some();
            let spf = identity.map_or_else(SpfOutput::default, |(output, _)| output.clone());
            let dmarc = until(end, self.dmarc(message, &dkim, &spf)).await;
            // A verdict of "neither passed" needs both to be known.
            match dmarc.filter(|dmarc| dmarc.result != DmarcResult::Fail || (spf_known && dkim_known)) {
                Some(dmarc) => found.dmarc = Some(dmarc),
                None => found.missing.push("dmarc"),
            }
            found.dkim = dkim.iter().filter_map(dkim_outcome).collect();
            found.dkim.extend(refused.iter().cloned());
            found.dkim.truncate(self.signatures.saturating_add(1));
        }
        self.remember_failures(&found);
        found
    }

    /// Takes out the signatures that are not to be verified, and says why; those that could not be parsed are among them.
    fn refuse_signatures(&self, message: &mut AuthenticatedMessage<'_>) -> Vec<DkimOutcome> {
        let mut refused: Vec<DkimOutcome> = message
            .errors()
            .iter()
            .filter(|header| header.name.trim_ascii().eq_ignore_ascii_case(b"DKIM-Signature"))
            .take(self.signatures)
            .map(|header| {
                // One with `l=` parses; one that does not parse has no domain.
                let signature = Signature::parse(header.value).unwrap_or_default();
                let mut outcome = outcome_of(&signature, DkimResult::Neutral, header.header.to_string());
                if outcome.domain.is_empty() {
                    outcome.algorithm = "";
                }
                outcome
            })
            .collect();
        let mut number = 0;
        message.retain_dkim_signatures(|signature| {
            number += 1;
            let reason = if signature.a == Algorithm::RsaSha1 {
                "rsa-sha1 is not accepted (RFC 8301)"
            } else if number > self.signatures {
                "too many signatures"
            } else if signature.h.len() > MAX_SIGNED_FIELDS {
                "too many signed fields"
            } else {
                return Ok(());
            };
            if refused.len() <= self.signatures {
                refused.push(outcome_of(signature, DkimResult::Neutral, reason.to_owned()));
            }
            Err(DkimError::UnsupportedAlgorithm)
        });
        refused
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
        Some(self.authenticator.verify_iprev(Parameters::new(client).with_cache(&self.cache)).await)
    }

    fn iprev_outcome(&self, client: Option<IpAddr>, found: Option<mail_auth::IprevOutput>) -> IprevOutcome {
        let Some(found) = found else {
            return IprevOutcome { result: IprevResult::TempError, name: None };
        };
        let result = match found.result() {
            mail_auth::IprevResult::Pass => IprevResult::Pass,
            mail_auth::IprevResult::Fail(_) => IprevResult::Fail,
            mail_auth::IprevResult::TempError(_) => IprevResult::TempError,
            mail_auth::IprevResult::PermError(_) | mail_auth::IprevResult::None => IprevResult::PermError,
        };
        if let (IprevResult::TempError, Some(client)) = (result, client) {
            self.cache.names_unanswered(client);
        }
        let name = found
            .ptr
            .as_ref()
            .and_then(|names| names.first())
            .map(|name| name.trim_end_matches('.').to_owned());
        IprevOutcome { result, name }
    }

    async fn dmarc(
        &self,
        message: &AuthenticatedMessage<'_>,
        dkim: &[DkimOutput<'_>],
        spf: &SpfOutput,
    ) -> DmarcOutcome {
        let parameters = DmarcParameters::new(message, dkim, spf.domain(), spf);
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
        DmarcOutcome { result, policy, domain }
    }

    /// What DNS could not answer is not asked again for some seconds.
    fn remember_failures(&self, found: &Authentication) {
        for spf in [&found.spf, &found.spf_helo].into_iter().flatten() {
            if spf.result == SpfResult::TempError {
                self.cache.txt_unanswered(&spf.domain);
            }
        }
        for signature in found.dkim.iter().filter(|signature| signature.result == DkimResult::TempError) {
            self.cache.txt_unanswered(&format!("{}._domainkey.{}", signature.selector, signature.domain));
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
        (spf + dkim + dmarc + iprev) as u64
    }
}

/// More fields than any mailer signs (RFC 6376 suggests about 20); with 10,000 a header would cost seconds to verify.
const MAX_SIGNED_FIELDS: usize = 200;

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

/// Whether a HELO name could have an SPF record: no address literal, and at least one dot (RFC 7208, 2.3 and 4.3).
fn is_domain(helo: &str) -> bool {
    !helo.starts_with('[') && mail_auth::dns::has_valid_labels(helo) && helo.parse::<IpAddr>().is_err()
}

fn spf_outcome(output: &SpfOutput, scope: SpfScope) -> SpfOutcome {
    let result = match output.result() {
        mail_auth::SpfResult::Pass => SpfResult::Pass,
        mail_auth::SpfResult::Fail => SpfResult::Fail,
        mail_auth::SpfResult::SoftFail => SpfResult::SoftFail,
        mail_auth::SpfResult::Neutral => SpfResult::Neutral,
        mail_auth::SpfResult::None => SpfResult::None,
        mail_auth::SpfResult::TempError => SpfResult::TempError,
        mail_auth::SpfResult::PermError => SpfResult::PermError,
    };
    SpfOutcome { result, domain: output.domain().to_owned(), scope }
}

fn dkim_outcome(output: &DkimOutput<'_>) -> Option<DkimOutcome> {
    let signature = output.signature()?;
    let (result, reason) = match output.result() {
        mail_auth::DkimResult::Pass => (DkimResult::Pass, String::new()),
        // RFC 8601, 2.7.1: a signature that does not match its message has failed, whichever half does not match.
        mail_auth::DkimResult::Neutral(error @ Error::Dkim(DkimError::BodyHashMismatch)) => {
            (DkimResult::Fail, error.to_string())
        }
        mail_auth::DkimResult::Neutral(error) => (DkimResult::Neutral, error.to_string()),
        mail_auth::DkimResult::Fail(error) => (DkimResult::Fail, error.to_string()),
        mail_auth::DkimResult::PermError(error) => (DkimResult::PermError, error.to_string()),
        // What the resolver says (servers, ports) is not for the header of somebody's mail.
        mail_auth::DkimResult::TempError(_) => (DkimResult::TempError, "no answer from DNS".to_owned()),
        mail_auth::DkimResult::None => return None,
    };
    Some(outcome_of(signature, result, reason))
}

fn outcome_of(signature: &Signature, result: DkimResult, reason: String) -> DkimOutcome {
    use base64::Engine;
    // Six bytes are the eight characters that RFC 6008 asks for.
    let start = signature.b.get(..6).unwrap_or(&signature.b);
    DkimOutcome {
        result,
        domain: signature.d.clone(),
        selector: signature.s.clone(),
        algorithm: signature.a.name(),
        identity: signature.i.clone(),
        signature: base64::engine::general_purpose::STANDARD.encode(start),
        reason,
    }
}
