//! `check_host()` (RFC 7208, 4): asks DNS what a record asks for, and comes to a result.
//!
//! For those who receive mail. Everything about one identity of one message is one [`Check`]: it counts what RFC 7208, 4.6.4, limits, through
//! includes and redirects. A DNS failure is a temperror and never a "no"; only where the RFC itself says to go on (`ptr`, `p`, `exp`)
//! does it go on.

use std::net::IpAddr;

use super::macros::{DomainSpec, MacroString, Values};
use super::record::{Mechanism, Record, covers_four, covers_six, is_spf};
use super::{SpfOutcome, SpfResult, SpfScope};
use crate::directory::Lookup;
use crate::dns::{Answer, Dnssec, Resolver};

/// Who sends, as SMTP says.
#[derive(Debug, Clone, Copy)]
pub struct Client<'a> {
    /// The client's address; IPv4 in an IPv6 dress is IPv4 (RFC 7208, 5).
    pub address: IpAddr,
    /// The name in HELO as typed; empty when there was none.
    pub helo: &'a str,
    /// Our own host name.
    pub host: &'a str,
    /// Seconds since 1970.
    pub now: u64,
}

/// Checks the HELO identity (RFC 7208, 2.3), which is also that of the null sender (2.4).
pub async fn helo(resolver: &Resolver, client: Client<'_>) -> SpfOutcome {
    identity(resolver, client, SpfScope::Helo, POSTMASTER, client.helo).await
}

/// Checks the MAIL FROM identity (RFC 7208, 2.4) of a reverse-path that is not null.
pub async fn mail_from(resolver: &Resolver, client: Client<'_>, reverse_path: &str) -> SpfOutcome {
    let (local, domain) = reverse_path.rsplit_once('@').unwrap_or((POSTMASTER, reverse_path));
    let local = if local.is_empty() { POSTMASTER } else { local };
    identity(resolver, client, SpfScope::MailFrom, local, domain).await
}

/// The local part of an identity that has none (RFC 7208, 4.3).
const POSTMASTER: &str = "postmaster";

async fn identity(
    resolver: &Resolver,
    client: Client<'_>,
    scope: SpfScope,
    local: &str,
    domain: &str,
) -> SpfOutcome {
    let domain = folded(domain);
    let client = Client { address: client.address.to_canonical(), ..client };
    let mut check =
        Check { resolver, client, local, sender_domain: &domain, terms: 0, voids: 0, secure: true };
    let found = check.host(domain.clone()).await;
    let mut outcome = SpfOutcome::new(SpfResult::None, &domain, scope);
    match found {
        Ok(verdict) => {
            outcome.result = verdict.result;
            outcome.mechanism = verdict.mechanism;
            // None comes without records, so with nothing that could have been secure.
            outcome.secure = check.secure && verdict.result != SpfResult::None;
            if let (SpfResult::Fail, Some((spec, under))) = (verdict.result, verdict.explanation) {
                outcome.explanation = check.explain(&spec, &under).await;
            }
        }
        Err(Stop::Temporary(why)) => {
            outcome.result = SpfResult::TempError;
            outcome.problem = Some(why);
        }
        Err(Stop::Permanent(why)) => {
            outcome.result = SpfResult::PermError;
            outcome.problem = Some(why);
        }
    }
    outcome
}

/// In lower case, in A-labels, without a dot at its end; a name that has no A-labels stays as it is, and has no record.
fn folded(domain: &str) -> String {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    if domain.is_ascii() {
        return domain.to_ascii_lowercase();
    }
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_owned())
}

struct Check<'a> {
    resolver: &'a Resolver,
    client: Client<'a>,
    local: &'a str,
    sender_domain: &'a str,
    /// Terms that ask DNS, so far.
    terms: u32,
    /// Terms whose question had an empty answer, so far.
    voids: u32,
    /// Whether all answers so far were validated by DNSSEC.
    secure: bool,
}

struct Verdict {
    result: SpfResult,
    /// The mechanism that matched; `default` when none did (RFC 7208, 9.1).
    mechanism: Option<&'static str>,
    /// Where the explanation stands, and the domain whose record says so.
    explanation: Option<(DomainSpec, String)>,
}

enum Stop {
    Temporary(String),
    Permanent(String),
}

impl Check<'_> {
    async fn host(&mut self, domain: String) -> Result<Verdict, Stop> {
        let nothing = Verdict { result: SpfResult::None, mechanism: None, explanation: None };
        if !super::is_domain(&domain) {
            return Ok(nothing);
        }
        let Some(record) = self.record(&domain).await? else { return Ok(nothing) };
        for directive in &record.directives {
            if self.matches(&directive.mechanism, &domain).await? {
                return Ok(Verdict {
                    result: directive.result,
                    mechanism: Some(directive.mechanism.as_str()),
                    explanation: record.explanation.map(|spec| (spec, domain)),
                });
            }
        }
        let Some(redirect) = &record.redirect else {
            return Ok(Verdict { result: SpfResult::Neutral, mechanism: Some("default"), explanation: None });
        };
        self.count_term()?;
        let target = self.expand(redirect, &domain).await;
        let verdict = Box::pin(self.host(target)).await?;
        match verdict.result {
            SpfResult::None => Err(permanent("redirect to a domain without a record")),
            _ => Ok(verdict),
        }
    }

    /// The one SPF record of a domain (RFC 7208, 4.4 and 4.5).
    async fn record(&mut self, domain: &str) -> Result<Option<Record>, Stop> {
        let Some(texts) = self.settle(self.resolver.txt_bytes(domain).await)? else { return Ok(None) };
        let mut records = texts.iter().filter(|text| is_spf(text));
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(permanent("more than one record"));
        }
        Record::parse(text).map(Some).map_err(|mistake| permanent(&format!("mistake at {}", mistake.0)))
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<bool, Stop> {
        let client = self.client.address;
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, prefix) => {
                Ok(matches!(client, IpAddr::V4(client) if covers_four(*network, *prefix, client)))
            }
            Mechanism::Ip6(network, prefix) => {
                Ok(matches!(client, IpAddr::V6(client) if covers_six(*network, *prefix, client)))
            }
            Mechanism::Include(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await;
                match Box::pin(self.host(target)).await?.result {
                    SpfResult::Pass => Ok(true),
                    SpfResult::None => Err(permanent("include of a domain without a record")),
                    _ => Ok(false),
                }
            }
            Mechanism::A(spec, prefixes) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await;
                let found = self.settle(self.resolver.addresses_like(&target, client).await)?;
                let addresses = self.or_void(found)?;
                Ok(addresses.into_iter().any(|address| prefixes.covers(address, client)))
            }
            Mechanism::Mx(spec, prefixes) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await;
                let found = self.settle(self.resolver.mx_answer(&target).await)?;
                let exchangers = self.or_void(found)?;
                if exchangers.len() > MAX_NAMES {
                    return Err(permanent("more than 10 mail exchangers"));
                }
                for (_, host) in exchangers.iter().filter(|(_, host)| !host.is_empty()) {
                    let found = self.settle(self.resolver.addresses_like(host, client).await)?;
                    if found.into_iter().flatten().any(|address| prefixes.covers(address, client)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Ptr(spec) => {
                self.count_term()?;
                let target = self.target(spec.as_ref(), domain).await;
                let names = match self.resolver.names_answer(client).await {
                    Lookup::None => self.or_void(None)?,
                    // RFC 7208, 5.5: a DNS error here is no match.
                    found => self.settle(found).ok().flatten().unwrap_or_default(),
                };
                for name in names.iter().take(MAX_NAMES).filter(|name| is_below(name, &target)) {
                    if self.leads_back(name).await {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Exists(spec) => {
                self.count_term()?;
                let target = self.expand(spec, domain).await;
                let found = self.settle(self.resolver.ipv4(&target).await)?;
                Ok(!self.or_void(found)?.is_empty())
            }
        }
    }

    /// The records of an answer, none if there are none; a failure ends the check.
    fn settle<T>(&mut self, found: Lookup<Answer<T>>) -> Result<Option<Vec<T>>, Stop> {
        match found {
            Lookup::Found(answer) => {
                self.secure &= answer.dnssec == Dnssec::Secure;
                Ok(Some(answer.records))
            }
            Lookup::None => {
                self.secure = false;
                Ok(None)
            }
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => Err(Stop::Temporary(why)),
        }
    }

    /// An empty answer counts against the limit of void lookups (RFC 7208, 4.6.4).
    fn or_void<T>(&mut self, found: Option<Vec<T>>) -> Result<Vec<T>, Stop> {
        if found.is_none() {
            self.voids += 1;
            if self.voids > MAX_VOIDS {
                return Err(permanent("more than 2 void lookups"));
            }
        }
        Ok(found.unwrap_or_default())
    }

    fn count_term(&mut self) -> Result<(), Stop> {
        self.terms += 1;
        if self.terms > MAX_TERMS { Err(permanent("more than 10 terms that ask DNS")) } else { Ok(()) }
    }

    async fn target(&self, spec: Option<&DomainSpec>, domain: &str) -> String {
        match spec {
            Some(spec) => self.expand(spec, domain).await,
            None => domain.to_owned(),
        }
    }

    async fn expand(&self, spec: &DomainSpec, domain: &str) -> String {
        let validated = self.validated(spec.needs_validated_name(), domain).await;
        spec.expand(&self.values(domain, &validated))
    }

    fn values<'b>(&'b self, domain: &'b str, validated: &'b str) -> Values<'b> {
        Values {
            local: self.local,
            sender_domain: self.sender_domain,
            domain,
            client: self.client.address,
            helo: self.client.helo,
            validated,
            host: self.client.host,
            now: self.client.now,
        }
    }

    /// The macro `p` (RFC 7208, 7.3): the domain itself if it leads back to the client, else a name below it, else any.
    async fn validated(&self, needed: bool, domain: &str) -> String {
        let mut best: Option<(u8, String)> = None;
        if needed && let Lookup::Found(names) = self.resolver.names(self.client.address).await {
            for name in names.into_iter().take(MAX_NAMES) {
                let rank = match name.eq_ignore_ascii_case(domain) {
                    true => 2,
                    false => u8::from(is_below(&name, domain)),
                };
                if best.as_ref().is_none_or(|(found, _)| rank > *found) && self.leads_back(&name).await {
                    best = Some((rank, name));
                }
            }
        }
        best.map_or_else(|| "unknown".to_owned(), |(_, name)| name)
    }

    /// Whether a name has the client's address; a name that cannot be asked for is skipped (RFC 7208, 5.5).
    async fn leads_back(&self, name: &str) -> bool {
        let found = self.resolver.addresses_like(name, self.client.address).await.found();
        found.is_some_and(|answer| answer.records.contains(&self.client.address))
    }

    /// The domain's own words about a fail (RFC 7208, 6.2): of exactly one TXT record, in printable ASCII; anything else is none.
    async fn explain(&self, spec: &DomainSpec, domain: &str) -> Option<String> {
        let target = self.expand(spec, domain).await;
        let records = self.resolver.txt_bytes(&target).await.found()?.records;
        let [text] = records.as_slice() else { return None };
        let printable = text.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
        let text = std::str::from_utf8(text).ok().filter(|_| printable)?;
        let text = MacroString::parse(text, true)?;
        let validated = self.validated(text.needs_validated_name(), domain).await;
        let expanded = text.expand(&self.values(domain, &validated));
        // A macro brings what the client said: nothing but printable ASCII goes on.
        let clean = expanded.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(MAX_EXPLANATION);
        Some(clean.collect::<String>()).filter(|text| !text.trim().is_empty())
    }
}

fn permanent(why: &str) -> Stop {
    Stop::Permanent(why.to_owned())
}

/// Whether a name is that domain or below it.
fn is_below(name: &str, domain: &str) -> bool {
    let (name, domain) = (name.as_bytes(), domain.trim_end_matches('.').as_bytes());
    let Some(before) = name.len().checked_sub(domain.len()) else { return false };
    name[before..].eq_ignore_ascii_case(domain) && (before == 0 || name[before - 1] == b'.')
}

/// RFC 7208, 4.6.4: terms that cause DNS questions.
const MAX_TERMS: u32 = 10;

/// RFC 7208, 4.6.4: questions with an empty answer.
const MAX_VOIDS: u32 = 2;

/// RFC 7208, 4.6.4: mail exchangers of one `mx` (more are a permerror), names of one `ptr` or `p` (more are not looked at).
const MAX_NAMES: usize = 10;

/// It goes into an SMTP reply, whose line has 512 bytes (RFC 5321, 4.5.3.1.5).
const MAX_EXPLANATION: usize = 400;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn below_is_by_labels() {
        assert!(is_below("mx.Example.com", "example.com") && is_below("example.com", "Example.com."));
        assert!(!is_below("badexample.com", "example.com") && !is_below("com", "example.com"));
    }

    #[test]
    fn domains_are_folded() {
        assert_eq!(folded("EXAMPLE.com."), "example.com");
        assert_eq!(folded("Bücher.test"), "xn--bcher-kva.test");
    }
}
