//! Everything that DNS says about a message, asked at once and joined: SPF, DKIM, ARC, DMARC, iprev.
//!
//! For `session` and `ask`. Each method's own file comes to its outcome.
//!
//! Bounds: each DNS question has its own timeout; all questions about a message end at one deadline ([`Verification::deadline`]) and
//! are at most [`Verification::questions`]. What is not known by then is named in [`Authentication::missing`]; a failing resolver,
//! and one question too many, give `temperror`, never `fail`. The last quarter of both is DMARC's, so that no slow or greedy domain of a
//! forger's keeps it from its answer: SPF that is late is no pass, and leaves DMARC open only where it may be aligned.

use std::future::Future;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::config;
use gatepost::dns::{Resolver, SetupError};
use gatepost::spf::{self, Client};
use tokio::time::{Instant, timeout_at};

use super::authors::authors;
use super::dkim::Digests;
use super::dmarc::Identifier;
use super::keys::Keys;
use super::{
    ArcOutcome, ArcResult, Authentication, DkimOutcome, DkimResult, DmarcResult, IprevResult, SpfOutcome,
    SpfResult, arc, dkim, dmarc, iprev,
};
use crate::arc::sets;
use crate::dkim::Parts;
use crate::pool::Pool;

/// What verification of one message may cost.
#[derive(Debug, Clone)]
pub struct Verification {
    /// How long all questions about one message may take together.
    pub deadline: Duration,
    /// How many DKIM signatures of one message are verified; the others are neutral.
    pub signatures: usize,
    /// How many questions to DNS one message is worth; beyond, everything is a temperror.
    pub questions: u32,
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
    /// MAIL FROM as the client gave it, without brackets; none for the null sender. What is no address has no SPF record.
    pub sender: Option<String>,
    /// Header block, empty line and body as they will be delivered.
    pub raw: Vec<u8>,
    /// Whether `raw` holds the whole message; if not, DKIM cannot be verified.
    pub complete: bool,
    /// Our own host name, for the macro `r` of SPF explanations.
    pub host: String,
}

/// The resolver with its memory.
pub struct Verifier {
    resolver: Resolver,
    keys: Keys,
    settings: Verification,
}

impl Verifier {
    /// Sets up the resolver; no packet is sent yet.
    pub fn new(dns: &config::Dns, settings: Verification) -> Result<Self, SetupError> {
        Ok(Self::with(Resolver::new(dns)?, settings))
    }

    /// The same with a resolver that the process has already.
    pub fn with(resolver: Resolver, settings: Verification) -> Self {
        Self { resolver, keys: Keys::new(), settings }
    }

    /// The resolver, for other questions of the same process.
    pub fn resolver(&self) -> &Resolver {
        &self.resolver
    }

    /// Answers everything that can be answered within the deadline.
    pub async fn verify(&self, question: &Question, pool: &Pool) -> Authentication {
        let now = Instant::now();
        let (soon, end) = (now + self.settings.deadline * 3 / 4, now + self.settings.deadline);
        let apart = self.settings.questions / 4;
        let resolver = self.resolver.limited(self.settings.questions - apart);
        let policies = self.resolver.limited(apart);
        let mut found = Authentication::default();
        let parts = Parts::of(&question.raw);
        let client = question.client.map(|address| Client {
            address,
            helo: question.helo.as_deref().unwrap_or_default(),
            host: &question.host,
            now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        });
        // The null sender has no other identity than HELO, whatever was said there (RFC 7208, 2.4).
        let helo = client.filter(|client| question.sender.is_none() || spf::is_domain(client.helo));
        let from = authors(&parts);
        let (signatures, mail_from, helo_spf, iprev, records) = tokio::join!(
            until(end, Box::pin(self.signatures(&resolver, &parts, question.complete, soon, pool))),
            until_some(soon, client.zip(question.sender.as_ref()), |(client, sender)| {
                Box::pin(spf::mail_from(&resolver, client, sender))
            }),
            until_some(soon, helo, |client| Box::pin(spf::helo(&resolver, client))),
            until_some(soon, client, |client| iprev::check(&resolver, client.address)),
            dmarc::discover(&policies, &from, soon),
        );
        let Signatures { dkim, arc } = signatures.unwrap_or_default();
        let identity = if question.sender.is_some() { &mail_from } else { &helo_spf };
        for (name, missing) in [
            ("spf", client.is_none() || identity.is_late()),
            ("dkim", dkim.is_none()),
            ("arc", arc.is_none() && sets::is_chained(&parts)),
            ("iprev", client.is_none() || iprev.is_late()),
        ] {
            if missing {
                found.missing.push(name);
            }
        }
        let is_late = identity.is_late();
        let (mail_from, helo_spf) = (mail_from.answer(), helo_spf.answer());
        if question.sender.is_some() {
            (found.spf, found.spf_helo) = (mail_from, helo_spf);
        } else {
            found.spf = helo_spf;
        }
        found.iprev = iprev.answer();

        let known = (found.spf.is_some() || is_late) && dkim.is_some();
        found.dkim = dkim.unwrap_or_default();
        found.arc = arc;
        if !parts.fields.is_empty() {
            let identifiers: Vec<Identifier<'_>> = found.dkim.iter().filter_map(signed_by).collect();
            let spf = match is_late {
                true => Some(Identifier { domain: domain_of(question), passed: false }),
                false => found.spf.as_ref().and_then(allowed_by),
            };
            let dmarc = match records {
                Some(records) => {
                    until(end, Box::pin(dmarc::evaluate(&policies, records, &identifiers, spf))).await
                }
                None => None,
            };
            // A verdict of "neither passed" needs both to be known.
            found.dmarc = dmarc.filter(|dmarc| dmarc.result != DmarcResult::Fail || known);
            if found.dmarc.is_none() {
                found.missing.push("dmarc");
            }
        }
        found
    }

    /// DKIM and ARC, which share the hashes of the body.
    async fn signatures(
        &self,
        resolver: &Resolver,
        parts: &Parts<'_>,
        complete: bool,
        soon: Instant,
        pool: &Pool,
    ) -> Signatures {
        let mut digests = Digests::default();
        let dkim = match dkim::is_signed(parts) {
            false => Some(Vec::new()),
            true if complete => {
                let limit = self.settings.signatures;
                Some(dkim::verify(parts, limit, &self.keys, resolver, &mut digests, soon, pool).await)
            }
            true => None,
        };
        let arc = if complete || !sets::is_chained(parts) {
            let trusted = &self.settings.trusted_sealers;
            until(soon, arc::validate(parts, trusted, &self.keys, resolver, &mut digests, pool)).await
        } else {
            None
        };
        Signatures { dkim, arc }
    }
}

/// What a signature gives DMARC: its domain, if it passed or if DNS could not answer.
fn signed_by(signature: &DkimOutcome) -> Option<Identifier<'_>> {
    let passed = signature.result == DkimResult::Pass;
    let counts = passed || signature.result == DkimResult::TempError;
    counts.then_some(Identifier { domain: &signature.domain, passed })
}

/// What SPF gives DMARC, alike.
fn allowed_by(spf: &SpfOutcome) -> Option<Identifier<'_>> {
    let passed = spf.result == SpfResult::Pass;
    (passed || spf.result == SpfResult::TempError).then_some(Identifier { domain: &spf.domain, passed })
}

/// The domain that SPF is asked about.
fn domain_of(question: &Question) -> &str {
    match &question.sender {
        Some(sender) => sender.rsplit_once('@').map_or(sender, |(_, domain)| domain),
        None => question.helo.as_deref().unwrap_or_default(),
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
