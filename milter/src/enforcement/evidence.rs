//! What a decision is made of: a small extract of what was found out about a message.
//!
//! For `decide`, which sees nothing else.

use std::net::IpAddr;

use gatepost::dmarc::Policy;
use gatepost::mail::Domain;

use crate::authentication::{
    Authentication, DkimResult, DmarcOutcome, DmarcPolicy, DmarcResult, IprevResult, SpfResult,
};
use crate::message::{Envelope, Message};

/// What is known of a message that fails, and of how it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// That DMARC fails, for certain; none where it does not, or nobody can say.
    pub failure: Option<Failure>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The client's name, which its address confirms.
    pub name: Proof,
    /// The domain for which SPF passes.
    pub spf: Proof,
    /// The domains whose signatures hold.
    pub dkim: Vec<String>,
    /// The domains whose keys could not be had.
    pub dkim_unknown: Vec<String>,
    /// The trusted ARC sealer that saw the message pass.
    pub sealer: Option<TrustedSealer>,
    /// Why nobody can say whether there is one.
    pub chain_unknown: Option<String>,
    /// The list by which the message came, if SPF or DKIM prove that it is that list's domain that sends.
    pub list: Option<String>,
    /// The domains of the recipients.
    pub recipients: Vec<Domain>,
}

/// A domain that was proved, disproved, or could not be asked about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proof {
    /// It was proved to be this.
    Proved(String),
    /// Nothing was.
    #[default]
    None,
    /// Nobody can say now; where it is known, the domain that it would be.
    Unknown(Option<String>),
}

/// A failed check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The domain in From.
    pub author: String,
    /// The domain whose record applies.
    pub policy_domain: String,
    /// The tag it was taken from: `p`, `sp` or `np`.
    pub tag: &'static str,
    /// What is asked for, before `t=y`.
    pub asked: Policy,
    /// `t=y`.
    pub testing: bool,
    /// What SPF and DKIM came to, in a few words for the sender.
    pub checks: String,
}

/// A trusted sealer that saw a message pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedSealer {
    /// What the domain's owner is told (RFC 8617, 7.2.2): the chain.
    pub comment: String,
}

impl Evidence {
    /// The extract. `missing` facts of the authentication make doubts, never failures.
    pub fn new(found: &Authentication, envelope: &Envelope, message: &Message) -> Self {
        let Some(dmarc) = found.dmarc.as_ref().filter(|dmarc| dmarc.result == DmarcResult::Fail) else {
            return Self::default();
        };
        let mut evidence = Self {
            failure: Some(failure(dmarc, found)),
            client: envelope.client_address,
            name: name(found, envelope),
            spf: spf(found),
            dkim: signers(found, DkimResult::Pass),
            dkim_unknown: signers(found, DkimResult::TempError),
            recipients: envelope.recipients.iter().map(|recipient| recipient.domain().clone()).collect(),
            ..Self::default()
        };
        evidence.recipients.sort();
        evidence.recipients.dedup();
        evidence.list = evidence.proved_list(message);
        evidence.seal(found, dmarc);
        evidence
    }

    /// Whether one of the trusted sealers, each of whom vouches for the one before, saw a pass for the author's domain.
    fn seal(&mut self, found: &Authentication, dmarc: &DmarcOutcome) {
        use crate::authentication::ArcResult;
        let Some(arc) = &found.arc else {
            if found.missing.contains(&"arc") {
                self.chain_unknown = Some("the ARC chain could not be checked".to_owned());
            }
            return;
        };
        if arc.result == ArcResult::TempError {
            self.chain_unknown = Some("no answer from DNS for the ARC chain".to_owned());
        }
        if arc.result != ArcResult::Pass || !arc.trusted {
            return;
        }
        let domains = [dmarc.domain.as_str(), dmarc.organizational_domain.as_str()];
        let saw_pass = arc.hops.iter().take_while(|hop| hop.trusted).any(|hop| {
            hop.dmarc_passed(&dmarc.domain)
                || domains.iter().any(|domain| hop.passed("dkim", domain) || hop.passed("spf", domain))
        });
        if saw_pass {
            let mut comment = String::from("arc=pass");
            for hop in arc.hops.iter().take(MAX_HOPS) {
                comment.push_str(&format!(" as[{}].d={}", hop.instance, hop.sealer));
            }
            self.sealer = Some(TrustedSealer { comment });
        }
    }

    /// The list's name (RFC 2919: `List-Id: Words <members.example.org>`), where a proved domain is the same, above or below it. A
    /// header alone proves nothing: anybody can write it.
    fn proved_list(&self, message: &Message) -> Option<String> {
        let value = String::from_utf8_lossy(message.first("list-id")?).into_owned();
        let name = value.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(name, _)| name)?;
        let list = Domain::parse(name.trim()).ok()?.to_string();
        let proved =
            |domain: &str| domain.contains('.') && (is_or_below(&list, domain) || is_or_below(domain, &list));
        let spf = matches!(&self.spf, Proof::Proved(domain) if proved(domain));
        (spf || self.dkim.iter().any(|domain| proved(domain))).then_some(list)
    }
}

/// Whether `name` is `domain`, or below it.
pub(super) fn is_or_below(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn failure(dmarc: &DmarcOutcome, found: &Authentication) -> Failure {
    let record = dmarc.record.as_ref();
    // The outcome has `t=y` in it already; what was published is one level stricter.
    let asked = match dmarc.policy {
        DmarcPolicy::Quarantine if dmarc.lowered => Policy::Reject,
        DmarcPolicy::None if dmarc.lowered => Policy::Quarantine,
        other => policy(other),
    };
    Failure {
        author: dmarc.domain.clone(),
        policy_domain: record.map_or_else(|| dmarc.domain.clone(), |record| record.domain.clone()),
        tag: dmarc.policy_tag.map_or("p", crate::authentication::PolicyTag::as_str),
        asked,
        testing: dmarc.lowered || record.is_some_and(|record| record.t),
        checks: checks(found),
    }
}

pub(super) fn policy(policy: DmarcPolicy) -> Policy {
    match policy {
        DmarcPolicy::None => Policy::None,
        DmarcPolicy::Quarantine => Policy::Quarantine,
        DmarcPolicy::Reject => Policy::Reject,
    }
}

/// As `SPF pass for list.test, DKIM fail for bank.test`.
fn checks(found: &Authentication) -> String {
    let spf = match &found.spf {
        Some(spf) => format!("SPF {} for {}", spf.result.as_str(), cut(&spf.domain)),
        None => "SPF not checked".to_owned(),
    };
    let dkim = match found.dkim.as_slice() {
        [] => "no DKIM signature".to_owned(),
        signatures => {
            let first = signatures.iter().find(|signature| signature.result == DkimResult::Pass);
            let first = first.or(signatures.first());
            first.map_or_else(String::new, |signature| {
                format!("DKIM {} for {}", signature.result.as_str(), cut(&signature.domain))
            })
        }
    };
    format!("{spf}, {dkim}")
}

/// Domains that fit into a reply.
fn cut(domain: &str) -> String {
    match domain {
        "" => "no domain".to_owned(),
        domain => domain.chars().take(MAX_SHOWN).collect(),
    }
}

/// Postfix has looked at the name before us; what it verified counts, and else what we did.
fn name(found: &Authentication, envelope: &Envelope) -> Proof {
    if let Some(name) = &envelope.client_name {
        return Proof::Proved(folded(name));
    }
    match &found.iprev {
        Some(iprev) if iprev.result == IprevResult::Pass => {
            iprev.name.as_deref().map_or(Proof::None, |name| Proof::Proved(folded(name)))
        }
        Some(iprev) if iprev.result == IprevResult::TempError => Proof::Unknown(None),
        Some(_) => Proof::None,
        None => Proof::Unknown(None),
    }
}

fn spf(found: &Authentication) -> Proof {
    match &found.spf {
        Some(spf) if spf.result == SpfResult::Pass => Proof::Proved(folded(&spf.domain)),
        Some(spf) if spf.result == SpfResult::TempError => Proof::Unknown(Some(folded(&spf.domain))),
        Some(_) => Proof::None,
        None => Proof::Unknown(None),
    }
}

fn signers(found: &Authentication, result: DkimResult) -> Vec<String> {
    let signatures = found.dkim.iter().filter(|signature| signature.result == result);
    signatures.map(|signature| folded(&signature.domain)).collect()
}

/// A-labels and lower case, as the exceptions have them; what is no domain is like none of them.
fn folded(domain: &str) -> String {
    Domain::parse(domain).map_or_else(|_| String::new(), |domain| domain.to_string())
}

/// Two domains in a reply, and its line is still below 400 characters for most.
const MAX_SHOWN: usize = 64;

/// Enough of a chain for a comment; real ones have two or three.
const MAX_HOPS: usize = 5;
