//! To whom the reports on a domain go, and whether they may be sent there: the tag `rua` of its record as it is now, and for addresses
//! outside of its organisation the word of the other side (RFC 9990, "Verifying External Destinations").
//!
//! Without that word anybody could have the reports of all the world sent to a victim. DNS being away is never a "no" and never a
//! "yes": the report waits ([`Asked::Later`]).
//!
//! Honest limits: `mailto:` only, as the RFC; the first [`MAX_DESTINATIONS`] addresses of a record.

use crate::directory::Lookup;
use crate::dns::Resolver;
use crate::mail::Address;

/// An address of `rua`, and how large a mail it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The address.
    pub address: Address,
    /// The most bytes, from `!10m` at the end of the URI.
    pub limit: Option<u64>,
}

/// What DNS says about the reports on a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// They are asked for; each address with its verdict.
    For(Vec<Judged>),
    /// Nobody asks for them (any more), and why.
    NotWanted(String),
    /// DNS cannot say now, and why.
    Later(String),
}

/// An address, and whether reports may go there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// As the record of the policy domain has it.
    pub asked: Destination,
    /// Whether they may, and where to.
    pub verdict: Verdict,
}

/// Whether a report may go to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The address is of the domain's own organisation.
    Inside,
    /// The other side's record says so; the addresses are those of its own `rua`, if it has one.
    Authorized(Vec<Destination>),
    /// It does not, and why.
    Refused(String),
}

impl Judged {
    /// Where the report goes.
    pub fn destinations(&self) -> &[Destination] {
        match &self.verdict {
            Verdict::Inside => std::slice::from_ref(&self.asked),
            Verdict::Authorized(destinations) => destinations,
            Verdict::Refused(_) => &[],
        }
    }
}

/// A record with more is no request but an attack.
pub const MAX_DESTINATIONS: usize = 10;

/// Asks DNS who wants the reports on a policy domain.
pub async fn ask(resolver: &Resolver, domain: &str) -> Asked {
    let records = match policy_records(resolver, domain).await {
        Lookup::Found(records) => records,
        Lookup::None => return Asked::NotWanted(format!("_dmarc.{domain} is gone")),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => return Asked::Later(why),
    };
    let [record] = records.as_slice() else {
        return Asked::NotWanted(format!("_dmarc.{domain} has {} DMARC records", records.len()));
    };
    let destinations = requested(record);
    if destinations.is_empty() {
        return Asked::NotWanted(format!("_dmarc.{domain} has no usable `rua`"));
    }
    let mut judged = Vec::with_capacity(destinations.len());
    for asked in destinations {
        match judge(resolver, domain, &asked).await {
            Lookup::Found(verdict) => judged.push(Judged { asked, verdict }),
            Lookup::None => {}
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => return Asked::Later(why),
        }
    }
    Asked::For(judged)
}

async fn judge(resolver: &Resolver, domain: &str, asked: &Destination) -> Lookup<Verdict> {
    let host = asked.address.domain().as_str();
    if host == domain {
        return Lookup::Found(Verdict::Inside);
    }
    let (ours, theirs) = tokio::join!(organization(resolver, domain), organization(resolver, host));
    match (ours, theirs) {
        (Lookup::Found(ours), Lookup::Found(theirs)) if ours == theirs => {
            return Lookup::Found(Verdict::Inside);
        }
        (Lookup::Found(_), Lookup::Found(_)) => {}
        (Lookup::Unavailable(why) | Lookup::Misconfigured(why), _)
        | (_, Lookup::Unavailable(why) | Lookup::Misconfigured(why)) => return Lookup::Unavailable(why),
        (Lookup::None, _) | (_, Lookup::None) => {}
    }
    let name = format!("{domain}._report._dmarc.{host}");
    if name.len() > MAX_NAME {
        return Lookup::Found(Verdict::Refused(format!("{name} is too long for DNS")));
    }
    let records = resolver
        .txt(&name)
        .await
        .map(|records| records.into_iter().filter(|record| is_dmarc(record)).collect::<Vec<_>>());
    let records = match records {
        Lookup::Found(records) if !records.is_empty() => records,
        Lookup::Found(_) | Lookup::None => {
            return Lookup::Found(Verdict::Refused(format!("{name} has no TXT record v=DMARC1")));
        }
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => return Lookup::Unavailable(why),
    };
    let Some(record) = records.iter().find(|record| tag(record, "rua").is_some()) else {
        return Lookup::Found(Verdict::Authorized(vec![asked.clone()]));
    };
    let instead = requested(record);
    // "MUST use the same destination host"; else neither address gets a report.
    if instead.is_empty() || instead.iter().any(|other| other.address.domain().as_str() != host) {
        return Lookup::Found(Verdict::Refused(format!("{name} sends reports on to another host")));
    }
    Lookup::Found(Verdict::Authorized(instead))
}

/// The Organizational Domain of a domain by the tree walk (RFC 9989, 4.10); the domain itself where the walk finds no record.
///
/// Never [`Lookup::None`].
pub async fn organization(resolver: &Resolver, domain: &str) -> Lookup<String> {
    let mut here = domain;
    let mut top = None;
    loop {
        match policy_records(resolver, here).await {
            Lookup::Found(records) if records.len() == 1 => {
                match tag(&records[0], "psd").as_deref() {
                    Some("n") => return Lookup::Found(here.to_owned()),
                    Some("y") if here != domain => {
                        let labels = here.split('.').count() + 1;
                        return Lookup::Found(last_labels(domain, labels).to_owned());
                    }
                    _ => {}
                }
                top = Some(here);
            }
            // Several records are none (RFC 9989, 4.10).
            Lookup::Found(_) | Lookup::None => {}
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => return Lookup::Unavailable(why),
        }
        let labels = here.split('.').count();
        if labels <= 1 {
            return Lookup::Found(top.unwrap_or(domain).to_owned());
        }
        here = last_labels(here, (labels - 1).min(WALK));
    }
}

/// The DMARC records of a domain.
async fn policy_records(resolver: &Resolver, domain: &str) -> Lookup<Vec<String>> {
    let records = resolver.txt(&format!("_dmarc.{domain}")).await;
    match records.map(|records| records.into_iter().filter(|record| is_dmarc(record)).collect::<Vec<_>>()) {
        Lookup::Found(records) if records.is_empty() => Lookup::None,
        other => other,
    }
}

fn last_labels(domain: &str, count: usize) -> &str {
    let labels = domain.split('.').count();
    domain.splitn(labels.saturating_sub(count) + 1, '.').last().unwrap_or(domain)
}

/// The addresses of a record's `rua`, in order; URIs of other kinds and those that are no address are left out.
pub fn requested(record: &str) -> Vec<Destination> {
    let uris = tag(record, "rua").unwrap_or_default();
    uris.split(',').filter_map(|uri| destination(uri.trim())).take(MAX_DESTINATIONS).collect()
}

/// `mailto:reports@example.com!10m`
fn destination(uri: &str) -> Option<Destination> {
    let scheme = uri.get(..MAILTO.len()).filter(|scheme| scheme.eq_ignore_ascii_case(MAILTO))?;
    let rest = &uri[scheme.len()..];
    let (address, limit) = match rest.split_once('!') {
        Some((address, limit)) => (address, Some(size(limit)?)),
        None => (rest, None),
    };
    // Parameters of mailto (RFC 6068) have no place in a report's address.
    let address = unescape(address.split('?').next().unwrap_or_default())?;
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.@".contains(character);
    if !address.chars().all(plain) {
        return None;
    }
    Some(Destination { address: Address::parse(&address).ok()?, limit })
}

/// Percent-encoding (RFC 3986, 2.1): the RFC asks for it where an address has a comma or an exclamation mark.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
            let (high, low) = (digit(rest.next())?, digit(rest.next())?);
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        bytes.push(byte);
    }
    String::from_utf8(bytes).ok()
}

/// Digits, and k, m, g or t for powers of 1024 (RFC 7489, 6.2).
fn size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// `v=DMARC1` first; the value's case counts (RFC 9989, 4.8).
fn is_dmarc(record: &str) -> bool {
    let (name, value) = record.split(';').next().and_then(|tag| tag.split_once('=')).unwrap_or_default();
    name.trim().eq_ignore_ascii_case("v") && value.trim() == "DMARC1"
}

/// The value of a tag; the first counts.
fn tag(record: &str, name: &str) -> Option<String> {
    record
        .split(';')
        .filter_map(|tag| tag.split_once('='))
        .find_map(|(found, value)| found.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned()))
}

const MAILTO: &str = "mailto:";
/// RFC 1035, 2.3.4, in characters of a name without its last dot.
const MAX_NAME: usize = 253;
/// The walk skips from a longer name to this many labels (RFC 9989, 4.10).
const WALK: usize = 7;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn addresses_of_a_record() {
        let shown = |record: &str| {
            let all = requested(record);
            all.iter().map(|one| format!("{} {:?}", one.address, one.limit)).collect::<Vec<_>>().join(", ")
        };
        for (record, expected) in [
            ("v=DMARC1; p=none; rua=mailto:a@b.test", "a@b.test None"),
            (
                "v=DMARC1;RUA = MAILTO:a@B.test!10m , mailto:c@d.test!50",
                "a@b.test Some(10485760), c@d.test Some(50)",
            ),
            ("v=DMARC1; rua=https://x.test/, mailto:a@b.test", "a@b.test None"),
            ("v=DMARC1; rua=mailto:a%21b@c.test!1k", "a!b@c.test Some(1024)"),
            ("v=DMARC1; rua=mailto:a@b.test?subject=x", "a@b.test None"),
            ("v=DMARC1; rua=mailto:a@b.test!10x", ""),
            ("v=DMARC1; rua=mailto:a@b.test!99999999t", ""),
            ("v=DMARC1; rua=mailto:a%0d%0ab@c.test", ""),
            ("v=DMARC1; rua=mailto:<a@b.test>", ""),
            ("v=DMARC1; rua=mailto:a%zz@b.test", ""),
            ("v=DMARC1; rua=", ""),
            ("v=DMARC1; ruf=mailto:a@b.test", ""),
            ("v=DMARC1; rua=mailto:ä@b.test, é", ""),
        ] {
            assert_eq!(shown(record), expected, "{record}");
        }
        let many = format!("v=DMARC1; rua={}", "mailto:a@b.test,".repeat(100));
        assert_eq!(requested(&many).len(), MAX_DESTINATIONS);
    }

    #[test]
    fn labels_from_the_right() {
        assert_eq!(last_labels("a.b.c", 2), "b.c");
        assert_eq!(last_labels("a.b.c", 3), "a.b.c");
        assert_eq!(last_labels("a.b.c", 9), "a.b.c");
        assert_eq!(last_labels("1.2.3.4.5.6.7.8.9.10", WALK), "4.5.6.7.8.9.10");
    }

    #[test]
    fn what_is_a_record() {
        for (record, expected) in [
            ("v=DMARC1", true),
            ("v = DMARC1 ; p=none", true),
            ("V=DMARC1;", true),
            ("v=dmarc1", false),
            ("p=none; v=DMARC1", false),
            ("v=DMARC10", false),
            ("", false),
        ] {
            assert_eq!(is_dmarc(record), expected, "{record}");
        }
    }
}
