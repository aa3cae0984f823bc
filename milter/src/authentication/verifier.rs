//! The one resolver of the process, and the questions it answers about a message: SPF, DKIM, DMARC, iprev.
//!
//! For `session` and `ask`. It asks all of them at once and joins the answers; each method's own file turns them into our
//! words. No type of the crate `mail-auth` leaves this folder, because they change with its releases.
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
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{AuthenticatedMessage, DkimOutput, MessageAuthenticator, Parameters, SpfOutput};
use tokio::time::{Instant, timeout_at};

use super::cache::Caches;
use super::{
    Authentication, DkimResult, DmarcOutcome, DmarcPolicy, DmarcResult, IprevResult, SpfOutcome, SpfResult,
    SpfScope, dkim, iprev, spf,
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
            let refused = dkim::refuse_signatures(&mut message, self.signatures);
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
        let helo = question.helo.as_deref().filter(|helo| spf::is_domain(helo));
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

        if let Some((message, refused)) = &message {
            let spf_known = found.spf.is_some();
            let spf = identity.map_or_else(SpfOutput::default, |(output, _)| output.clone());
            let dmarc = until(end, self.dmarc(message, &dkim, &spf)).await;
            // A verdict of "neither passed" needs both to be known.
            match dmarc.filter(|dmarc| dmarc.result != DmarcResult::Fail || (spf_known && dkim_known)) {
                Some(dmarc) => found.dmarc = Some(dmarc),
                None => found.missing.push("dmarc"),
            }
            found.dkim = dkim.iter().filter_map(dkim::outcome).collect();
            found.dkim.extend(refused.iter().cloned());
            found.dkim.truncate(self.signatures.saturating_add(1));
        }
        self.remember_failures(&found);
        found
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
        DmarcOutcome::new(result, policy, &domain)
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
