//! DMARC validation (RFC 9989, 5.3): the Author Domain, its policy, and what SPF and DKIM say of domains aligned with it.
//!
//! For `verifier`. Everything is found by the DNS Tree Walk (4.10); there is no list of public suffixes here. A DNS failure on the
//! way gives a temperror, unless what is known already decides: an aligned pass stays a pass whatever else fails (5.3.5 and 5.3.6).

use futures_util::future::join_all;
use gatepost::directory::Lookup;
use gatepost::dns::{Dnssec, Resolver};
use tokio::time::{Instant, timeout_at};

use super::record::{self, Parsed};
use super::{Aligned, AlignmentMode, DmarcOutcome, DmarcPolicy, DmarcRecord, DmarcResult, PolicyTag, Psd};

/// A domain that SPF or DKIM vouches for, or would if DNS answered.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Identifier<'a> {
    pub(in super::super) domain: &'a str,
    /// Passed; else it could not be checked for a DNS failure.
    pub(in super::super) passed: bool,
}

/// An Author Domain, and the record that applies to it.
pub(in super::super) struct Author {
    domain: String,
    applied: Result<Option<Applied>, Away>,
}

/// What DNS says of the authors' domains, whatever SPF and DKIM say, so that it is asked beside them. `from` holds all addresses of all From
/// fields; if they have one domain, that is the Author Domain. None if none of them has an answer by `end`; one alone that has none is a DNS failure.
pub(in super::super) async fn discover(
    resolver: &Resolver,
    from: &[String],
    end: Instant,
) -> Option<Vec<Author>> {
    let walker = Walker { resolver };
    let domains = author_domains(from).into_iter().take(MOST_AUTHORS);
    let asked = join_all(domains.map(|domain| async {
        let applied = timeout_at(end, walker.applied(&domain)).await;
        (applied.is_ok(), Author { domain, applied: applied.unwrap_or(Err(Away)) })
    }));
    let (in_time, authors): (Vec<bool>, Vec<Author>) = asked.await.into_iter().unzip();
    (authors.is_empty() || in_time.contains(&true)).then_some(authors)
}

/// Checks a message.
///
/// A message with several authors' domains (RFC 9989, 5.3.1 and 11.5) never passes: each of the first [`MOST_AUTHORS`] is checked, and of
/// those that fail the one with the strictest policy is the outcome, so that a second address cannot hide a forged one. If none fails, or
/// there is no domain at all, it is [`DmarcResult::PermError`] with an empty domain.
pub(in super::super) async fn evaluate(
    resolver: &Resolver,
    authors: Vec<Author>,
    dkim: &[Identifier<'_>],
    spf: Option<Identifier<'_>>,
) -> DmarcOutcome {
    let is_one = authors.len() == 1;
    let mut worst = DmarcOutcome::new(DmarcResult::PermError, DmarcPolicy::None, "");
    for author in authors {
        let found = check(resolver, author, dkim, spf).await;
        if is_one {
            return found;
        }
        let worse = match found.result {
            DmarcResult::Fail => worst.result != DmarcResult::Fail || found.policy > worst.policy,
            DmarcResult::TempError => worst.result == DmarcResult::PermError,
            DmarcResult::Pass | DmarcResult::None | DmarcResult::PermError => false,
        };
        if worse {
            worst = found;
        }
    }
    worst
}

/// Nobody who means well names more; each costs a walk.
const MOST_AUTHORS: usize = 4;

async fn check(
    resolver: &Resolver,
    author: Author,
    dkim: &[Identifier<'_>],
    spf: Option<Identifier<'_>>,
) -> DmarcOutcome {
    let walker = Walker { resolver };
    let Author { domain: author, applied } = author;
    let author = author.as_str();
    let mut outcome = DmarcOutcome::new(DmarcResult::None, DmarcPolicy::None, author);
    let applied = match applied {
        Ok(Some(applied)) => applied,
        Ok(None) => return outcome,
        Err(Away) => {
            outcome.result = DmarcResult::TempError;
            return outcome;
        }
    };
    outcome.secure = applied.secure;
    let Parsed { record, valid_policies } = applied.parsed;
    // RFC 9989, 4.10.1: without a policy that can be relied upon there is still somebody who wants reports, or there is nothing.
    if !valid_policies && record.rua.is_empty() {
        return outcome;
    }
    let (tag, published) = match valid_policies {
        true => walker.policy(&record, author).await,
        false => (PolicyTag::P, DmarcPolicy::None),
    };
    outcome.policy = if record.t { milder(published) } else { published };
    outcome.lowered = outcome.policy != published;
    outcome.policy_tag = Some(tag);

    let mut organization = Organization { walker: &walker, author, found: applied.organization };
    outcome.dkim = organization.any_aligned(dkim, record.adkim).await;
    outcome.spf = organization.any_aligned(spf.as_slice(), record.aspf).await;
    outcome.result = match (outcome.dkim, outcome.spf) {
        (Aligned::Pass, _) | (_, Aligned::Pass) => DmarcResult::Pass,
        (Aligned::TempError, _) | (_, Aligned::TempError) => DmarcResult::TempError,
        (Aligned::Fail, Aligned::Fail) => DmarcResult::Fail,
    };
    outcome.organizational_domain = organization.name().await.unwrap_or_else(|Away| author.to_owned());
    outcome.record = Some(record);
    outcome
}

/// The domains of all addresses, each once, in lower case and A-labels (RFC 9989, 5.3.1).
fn author_domains(from: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    // What has no domain names none: it must not take another address's Author Domain away.
    for domain in from.iter().filter_map(|address| author_domain(address)) {
        if !found.contains(&domain) {
            found.push(domain);
        }
    }
    found
}

fn author_domain(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    let domain = as_read(domain);
    let domain = domain.trim_matches('.');
    let domain =
        if domain.is_ascii() { domain.to_ascii_lowercase() } else { idna::domain_to_ascii(domain).ok()? };
    let labels = domain.split('.').all(|label| (1..=63).contains(&label.len()));
    (labels && domain.len() <= 253 && !domain.starts_with('[')).then_some(domain)
}

/// A domain as people and their programs read it: white space around its dots is none (RFC 5322, 4.4), and what no domain has ends it.
fn as_read(domain: &str) -> String {
    let mut read = String::with_capacity(domain.len());
    for word in domain.split_whitespace() {
        if !(read.is_empty() || read.ends_with('.') || word.starts_with('.')) {
            break;
        }
        read.push_str(word);
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') || !c.is_ascii();
    read.truncate(read.find(|c| !is_part(c)).unwrap_or(read.len()));
    read
}

/// DNS could not say.
struct Away;

/// The record that applies to an Author Domain.
struct Applied {
    parsed: Parsed,
    secure: bool,
    /// The Organizational Domain, if the walk that found the record found it too.
    organization: Option<String>,
}

struct Step {
    name: String,
    parsed: Parsed,
    secure: bool,
}

struct Walker<'a> {
    resolver: &'a Resolver,
}

impl Walker<'_> {
    /// DMARC Policy Discovery (RFC 9989, 4.10.1): the Author Domain's record, else its Organizational Domain's, else its Public
    /// Suffix Domain's.
    async fn applied(&self, author: &str) -> Result<Option<Applied>, Away> {
        if let Some(Step { parsed, secure, .. }) = self.record(author).await? {
            return Ok(Some(Applied { parsed, secure, organization: None }));
        }
        let steps = self.walk(author).await?;
        let organization = organizational(&steps, author);
        let step = steps
            .iter()
            .position(|step| step.name == organization)
            .or_else(|| steps.iter().position(|step| step.parsed.record.psd == Psd::Yes));
        Ok(step.and_then(|at| steps.into_iter().nth(at)).map(|step| Applied {
            parsed: step.parsed,
            secure: step.secure,
            organization: Some(organization),
        }))
    }

    /// The policy for the Author Domain, and the tag that it comes from (RFC 9989, 4.10.1).
    async fn policy(&self, record: &DmarcRecord, author: &str) -> (PolicyTag, DmarcPolicy) {
        let p = record.p.unwrap_or(DmarcPolicy::None);
        if record.domain == author {
            return (PolicyTag::P, p);
        }
        let existing = record.sp.map_or((PolicyTag::P, p), |sp| (PolicyTag::Sp, sp));
        let Some(np) = record.np else { return existing };
        match self.resolver.exists(author).await {
            Lookup::None => (PolicyTag::Np, np),
            Lookup::Found(()) => existing,
            // Nobody can say which applies: nobody is refused for the stricter one.
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => {
                if np < existing.1 {
                    (PolicyTag::Np, np)
                } else {
                    existing
                }
            }
        }
    }

    /// The DNS Tree Walk (RFC 9989, 4.10), from the longest name to the shortest.
    async fn walk(&self, domain: &str) -> Result<Vec<Step>, Away> {
        let mut steps = Vec::new();
        for name in targets(domain) {
            if let Some(step) = self.record(name).await? {
                let last = step.parsed.record.psd != Psd::Unknown;
                steps.push(step);
                if last {
                    break;
                }
            }
        }
        Ok(steps)
    }

    /// The record of one name; several are none (RFC 9989, 4.10, steps 2 and 6).
    async fn record(&self, name: &str) -> Result<Option<Step>, Away> {
        let answer = match self.resolver.txt_bytes(&format!("_dmarc.{name}")).await {
            Lookup::Found(answer) => answer,
            Lookup::None => return Ok(None),
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return Err(Away),
        };
        let secure = answer.dnssec == Dnssec::Secure;
        let mut records = answer.records.iter().filter_map(|text| record::parse(text, name));
        let first = records.next().filter(|_| records.next().is_none());
        Ok(first.map(|parsed| Step { name: name.to_owned(), parsed, secure }))
    }
}

/// The names that a walk asks for: the domain, then its parents, of which those with more than seven labels are left out, so that
/// there are never more than eight (RFC 9989, 4.10, steps 3, 4 and 7).
fn targets(domain: &str) -> impl Iterator<Item = &str> {
    let parents = std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, parent)| parent));
    parents
        .enumerate()
        .filter(|(at, name)| *at == 0 || name.split('.').count() <= MOST_LABELS)
        .map(|(_, name)| name)
}

/// RFC 9989, 4.10, step 4.
const MOST_LABELS: usize = 7;

/// The Organizational Domain among the records of a walk that began at `start` (RFC 9989, 4.10.2).
fn organizational(steps: &[Step], start: &str) -> String {
    for step in steps {
        match step.parsed.record.psd {
            Psd::No => return step.name.clone(),
            Psd::Yes if step.name != start => return one_label_below(&step.name, start).to_owned(),
            Psd::Yes | Psd::Unknown => {}
        }
    }
    steps.last().map_or(start, |step| &step.name).to_owned()
}

/// The name between a public suffix and `start`, which is below it.
fn one_label_below<'a>(suffix: &str, start: &'a str) -> &'a str {
    let labels = suffix.split('.').count() + 1;
    let extra = start.split('.').count().saturating_sub(labels);
    start.splitn(extra + 1, '.').last().unwrap_or(start)
}

/// The Organizational Domain of the Author Domain, asked for when it is needed.
struct Organization<'a> {
    walker: &'a Walker<'a>,
    author: &'a str,
    found: Option<String>,
}

impl Organization<'_> {
    async fn name(&mut self) -> Result<String, Away> {
        if let Some(found) = &self.found {
            return Ok(found.clone());
        }
        let found = organizational(&self.walker.walk(self.author).await?, self.author);
        Ok(self.found.insert(found).clone())
    }

    /// The best that identifiers of one mechanism give.
    async fn any_aligned(&mut self, identifiers: &[Identifier<'_>], mode: AlignmentMode) -> Aligned {
        let mut best = Aligned::Fail;
        // Those that passed first: they may spare the other walks.
        let ordered = identifiers.iter().filter(|one| one.passed);
        for identifier in ordered.chain(identifiers.iter().filter(|one| !one.passed)) {
            match self.is_aligned(identifier.domain, mode).await {
                Ok(true) if identifier.passed => return Aligned::Pass,
                Ok(true) | Err(Away) => best = Aligned::TempError,
                Ok(false) => {}
            }
        }
        best
    }

    /// Identifier Alignment (RFC 9989, 4.4 and 4.10.2): the same domain, or in relaxed mode the same Organizational Domain.
    async fn is_aligned(&mut self, domain: &str, mode: AlignmentMode) -> Result<bool, Away> {
        let ascii = if domain.is_ascii() { None } else { idna::domain_to_ascii(domain).ok() };
        let domain = ascii.as_deref().unwrap_or(domain).trim_end_matches('.').to_ascii_lowercase();
        if domain == self.author {
            return Ok(true);
        }
        if mode == AlignmentMode::Strict || !share_a_suffix(&domain, self.author) {
            return Ok(false);
        }
        let organization = self.name().await?;
        // The Organizational Domain of a domain is the domain or above it.
        let below = domain
            .strip_suffix(organization.as_str())
            .is_some_and(|before| before.is_empty() || before.ends_with('.'));
        Ok(below && organizational(&self.walker.walk(&domain).await?, &domain) == organization)
    }
}

/// Whether two domains have at least their last label in common; if not, no walk can make them one organization.
fn share_a_suffix(one: &str, other: &str) -> bool {
    one.rsplit('.').next() == other.rsplit('.').next()
}

/// `t=y` asks for one step less (RFC 9989, 4.7).
fn milder(policy: DmarcPolicy) -> DmarcPolicy {
    match policy {
        DmarcPolicy::Reject => DmarcPolicy::Quarantine,
        DmarcPolicy::Quarantine | DmarcPolicy::None => DmarcPolicy::None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// The examples of RFC 9989, 4.10 and 5.1.8.
    #[test]
    fn a_walk_asks_eight_names_at_most() {
        let names: Vec<&str> = targets("a.b.c.d.e.f.g.h.i.j.mail.example.com").collect();
        assert_eq!(
            names,
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com"
            ]
        );
        assert_eq!(targets("mail.a.b.c.d.e.f.g.example.com").nth(1), Some("c.d.e.f.g.example.com"));
        assert_eq!(targets("a.mail.example.com").count(), 4);
        assert_eq!(targets("a.b.c.d.e.f.g.h").nth(1), Some("b.c.d.e.f.g.h"));
        assert_eq!(targets("com").count(), 1);
    }

    #[test]
    fn the_label_below_a_suffix() {
        assert_eq!(one_label_below("com", "a.mail.example.com"), "example.com");
        assert_eq!(one_label_below("example.com", "mail.example.com"), "mail.example.com");
    }

    #[test]
    fn the_domains_of_the_authors() {
        let authors =
            |from: &[&str]| author_domains(&from.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(authors(&["a@Example.org", "b@example.ORG."]), ["example.org"]);
        assert_eq!(authors(&["a@bücher.test"]), ["xn--bcher-kva.test"]);
        assert_eq!(authors(&["nobody", "a@x.test", "b@x..test", "c@", "d@[192.0.2.1]"]), ["x.test"]);
        assert_eq!(authors(&["a@x.test", "b@y.test"]), ["x.test", "y.test"]);
        assert_eq!(authors(&["a@ x .\r\n test y", "b@x.test;", "c@.x.test>", "d@x.test\u{a0}"]), ["x.test"]);
    }

    proptest::proptest! {
        #[test]
        fn a_walk_is_bounded_and_goes_up(domain in "([a-z]{1,3}\\.){0,40}[a-z]{1,3}") {
            let names: Vec<&str> = targets(&domain).collect();
            proptest::prop_assert!((1..=8).contains(&names.len()));
            proptest::prop_assert_eq!(names[0], domain.as_str());
            proptest::prop_assert!(names.windows(2).all(|pair| pair[0].ends_with(pair[1]) && pair[0].len() > pair[1].len()));
        }
    }
}
