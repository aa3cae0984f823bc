//! Whether a signature of a parent domain counts for mail of its subdomain: DMARC's identifier alignment (RFC 9989, 5.1).
//!
//! For `signing`, where a hosted subdomain has no key of its own. With `adkim=s` only a signature of exactly the From domain counts;
//! else one of the same Organizational Domain, which the DNS tree walk finds (RFC 9989, 4.10): up from the From domain, ended by
//! `psd=n` or `psd=y`. Without any record nobody asks for alignment, and the parent signs.
//!
//! While DNS is away the last answer counts, however old; where there was none, the parent signs: a signature that is not aligned
//! does no harm, a missing one does.

use std::time::Duration;

use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::mail::Domain;
use moka::sync::Cache;
use tokio::time::timeout;

/// The memory of what DNS said.
pub struct Alignment {
    resolver: Resolver,
    /// By From domain and parent.
    known: Cache<(Domain, Domain), bool>,
    deadline: Duration,
}

impl Alignment {
    /// Asks by that resolver, for at most so long.
    pub fn new(resolver: Resolver, deadline: Duration) -> Self {
        Self { resolver, known: Cache::new(REMEMBERED), deadline }
    }

    /// Whether a signature of `parent` is aligned with mail from `domain`, which is below it.
    pub(super) async fn allows(&self, domain: &Domain, parent: &Domain) -> bool {
        let key = (domain.clone(), parent.clone());
        match timeout(self.deadline, self.walk(domain)).await {
            Ok(Some(records)) => {
                let aligned = aligned(&records, domain, parent);
                self.known.insert(key, aligned);
                aligned
            }
            Ok(None) | Err(_) => self.known.get(&key).unwrap_or(true),
        }
    }

    /// The records from the domain up to where the walk ends; none when DNS cannot say.
    async fn walk(&self, domain: &Domain) -> Option<Vec<(String, Record)>> {
        let mut records = Vec::new();
        for name in steps(domain.as_str()) {
            let found = match self.resolver.txt(&format!("_dmarc.{name}")).await {
                Lookup::Found(texts) => Record::only(&texts),
                Lookup::None => None,
                Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return None,
            };
            if let Some(record) = found {
                let ends = record.psd.is_some();
                records.push((name.to_owned(), record));
                if ends {
                    break;
                }
            }
        }
        Some(records)
    }
}

/// What of a DMARC record matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    strict: bool,
    /// `psd=y` (true) or `psd=n`.
    psd: Option<bool>,
}

impl Record {
    /// The one record among the texts; several are none (RFC 9989, 4.10).
    fn only(texts: &[String]) -> Option<Self> {
        let mut records = texts.iter().filter_map(|text| Self::parse(text));
        records.next().filter(|_| records.next().is_none())
    }

    fn parse(text: &str) -> Option<Self> {
        let mut tags = text
            .split(';')
            .filter_map(|tag| tag.split_once('='))
            .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_ascii_lowercase()));
        if tags.next()? != ("v".to_owned(), "dmarc1".to_owned()) {
            return None;
        }
        let mut record = Self { strict: false, psd: None };
        for (name, value) in tags {
            match (name.as_str(), value.as_str()) {
                ("adkim", value) => record.strict = value == "s",
                ("psd", "y") => record.psd = Some(true),
                ("psd", "n") => record.psd = Some(false),
                _ => {}
            }
        }
        Some(record)
    }
}

/// The names of the tree walk: the domain, then its parents; of a long name only the seven shortest of them (RFC 9989, 4.10).
fn steps(domain: &str) -> impl Iterator<Item = &str> {
    let parents = std::iter::successors(Some(domain), |name| name.split_once('.').map(|(_, parent)| parent));
    parents
        .enumerate()
        .filter(|(number, name)| *number == 0 || name.split('.').count() <= 7)
        .map(|(_, name)| name)
}

fn aligned(records: &[(String, Record)], domain: &Domain, parent: &Domain) -> bool {
    let Some((last, record)) = records.last() else { return true };
    // Below a public suffix the Organizational Domain has one label more; the suffix's own record is of its domain's policy.
    let organizational = match record.psd {
        Some(true) => steps(domain.as_str()).take_while(|name| name != last).last().unwrap_or(last),
        _ => last,
    };
    let below = |name: &str, above: &str| {
        name == above || name.strip_suffix(above).is_some_and(|rest| rest.ends_with('.'))
    };
    let own = records.iter().find(|(name, _)| name == domain.as_str());
    let policy = own.or_else(|| records.iter().find(|(name, _)| name == organizational)).or(records.last());
    let strict = policy.is_some_and(|(_, record)| record.strict);
    !strict && below(parent.as_str(), organizational)
}

/// More pairs than one host signs for.
const REMEMBERED: u64 = 10_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn allows(records: &[(&str, &str)], domain: &str, parent: &str) -> bool {
        let records: Vec<_> = records
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Record::only(&[(*text).to_owned()]).unwrap()))
            .collect();
        aligned(&records, &Domain::parse(domain).unwrap(), &Domain::parse(parent).unwrap())
    }

    #[test]
    fn relaxed_allows_the_parent_and_strict_does_not() {
        let relaxed = ("example.com", "v=DMARC1; p=reject");
        let strict = ("example.com", "V = DMARC1;p=none; ADKIM = S");
        assert!(allows(&[], "a.example.com", "example.com"));
        assert!(allows(&[relaxed], "a.example.com", "example.com"));
        assert!(!allows(&[strict], "a.example.com", "example.com"));
        // The From domain's own record goes before that of the Organizational Domain.
        assert!(!allows(&[("a.example.com", "v=DMARC1; adkim=s"), relaxed], "a.example.com", "example.com"));
        assert!(allows(&[("a.example.com", "v=DMARC1; adkim=r"), strict], "a.example.com", "example.com"));
    }

    #[test]
    fn the_walk_ends_at_the_organizational_domain() {
        let own = ("a.example.com", "v=DMARC1; psd=n");
        assert!(!allows(&[own], "a.example.com", "example.com"));
        assert!(allows(&[own], "b.a.example.com", "a.example.com"));
        let suffix = ("co.example", "v=DMARC1; psd=y");
        assert!(allows(&[suffix], "a.shop.co.example", "shop.co.example"));
        assert!(!allows(&[suffix], "a.shop.co.example", "co.example"));
        assert_eq!(steps("a.b.c").collect::<Vec<_>>(), ["a.b.c", "b.c", "c"]);
        assert_eq!(steps("1.2.3.4.5.6.7.8.9.10").count(), 8);
        assert_eq!(Record::only(&["v=spf1 -all".to_owned(), "v=DMARC1".to_owned()]).unwrap().psd, None);
        assert_eq!(Record::only(&["v=DMARC1".to_owned(), "v=DMARC1".to_owned()]), None);
    }
}
