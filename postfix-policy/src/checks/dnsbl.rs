//! `dnsbl`: what lists in DNS say of a client, weighed together as postscreen does (`postscreen_dnsbl_sites`).
//!
//! Belongs into `smtpd_recipient_restrictions` behind `reject_unauth_destination`; judges in the states CONNECT to RCPT, never what is ours.
//! Each list is asked once for a client, however many entries weigh its answers, all at the same time, with one deadline for all; what is
//! not known by then weighs nothing. Answers are kept by the resolver as long as DNS says, and the sum for half a minute. Lists with a
//! negative weight speak for a client.
//!
//! A list that refuses to answer a public resolver says so with an address such as 127.255.255.254 (Spamhaus's convention, which others
//! follow). That is never counted as a listing, and said in the log. Once an hour each list is tried with 127.0.0.2, which every list holds,
//! and 127.0.0.1, which none may (RFC 5782, 5): a list that died and now lists the whole world is not believed until it is well again.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::dns::lists::{Condition, is_listing, is_refusal, reversed, try_list};
use serde::Deserialize;

use super::spf::Consequence;
use super::{CannotSay, Check, Circumstances, Opinion};
use crate::notice::Notice;
use crate::protocol::policy::{Request, State};
use crate::recent::Recent;

/// The check.
pub(super) const DNSBL: Check = Check {
    name: "dnsbl",
    restrictions: "smtpd_recipient_restrictions",
    summary: "block and allow lists in DNS, weighed together as postscreen does",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.dnsbl]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// The lists, each as in `postscreen_dnsbl_sites`: `zen.spamhaus.org=127.0.0.[2..11]*3`.
    pub lists: Vec<List>,
    /// From which sum of weights on a client is refused.
    pub threshold: i32,
    /// How: `reject` (554) or `defer` (450).
    pub action: Consequence,
    /// How long all lists together may take.
    pub deadline: Seconds,
}

impl Default for Settings {
    /// No list: which ones may be asked depends on who asks, and how much.
    fn default() -> Self {
        Self { lists: Vec::new(), threshold: 3, action: Consequence::Reject, deadline: Seconds::new(5) }
    }
}

impl Settings {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.threshold < 1 {
            return Err(format!(
                "dnsbl.threshold = {} would refuse everybody, expected 1 or more",
                self.threshold
            ));
        }
        if self.deadline.0.is_zero() || self.deadline.0 > LONGEST {
            return Err(format!(
                "dnsbl.deadline = \"{}\" is out of range, expected up to 60s",
                self.deadline
            ));
        }
        if self.lists.len() > MOST_LISTS {
            return Err(format!("dnsbl.lists has more than {MOST_LISTS} entries"));
        }
        Ok(())
    }
}

/// One entry: a list, which of its answers count, and how much.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct List {
    zone: String,
    /// For each octet of an answer the ranges that match; `None` matches every listing.
    answers: Option<[Vec<(u8, u8)>; 4]>,
    weight: i32,
}

impl FromStr for List {
    type Err = String;

    /// `zone[=d.d.d.d][*weight]`, where each `d` is a number or `[n;n..m;…]` (postconf(5), `postscreen_dnsbl_sites`).
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "\"{text}\" is no list: {what}; expected ZONE, ZONE=127.0.0.[2..11] or either with *WEIGHT behind it"
            )
        };
        let (rest, weight) = match text.rsplit_once('*') {
            Some((rest, weight)) => (rest, weight.parse().map_err(|_| wrong("the weight is no number"))?),
            None => (text, 1),
        };
        let (zone, filter) = match rest.split_once('=') {
            Some((zone, filter)) => (zone, Some(filter)),
            None => (rest, None),
        };
        let zone = zone.trim_end_matches('.').to_lowercase();
        let labels = zone.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
        // 64 octets are left for the reversed nibbles of an IPv6 address.
        if !labels || !zone.contains('.') || zone.len() > 253 - 64 {
            return Err(wrong("the zone is no domain"));
        }
        let answers = filter.map(|filter| octets(filter).ok_or_else(|| wrong("the filter is no address")));
        Ok(Self { zone, answers: answers.transpose()?, weight })
    }
}

impl TryFrom<String> for List {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl List {
    fn counts(&self, answer: Ipv4Addr) -> bool {
        match &self.answers {
            None => true,
            Some(octets) => octets
                .iter()
                .zip(answer.octets())
                .all(|(ranges, octet)| ranges.iter().any(|(from, to)| (*from..=*to).contains(&octet))),
        }
    }
}

/// The four octets of a filter; dots inside brackets do not divide.
fn octets(filter: &str) -> Option<[Vec<(u8, u8)>; 4]> {
    let mut parts: Vec<String> = vec![String::new()];
    let mut inside = false;
    for c in filter.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            '.' if !inside => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(c);
    }
    let ranges = parts.iter().map(|part| ranges(part)).collect::<Option<Vec<_>>>()?;
    ranges.try_into().ok()
}

fn ranges(part: &str) -> Option<Vec<(u8, u8)>> {
    let inner = match part.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => return part.parse().ok().map(|number| vec![(number, number)]),
    };
    inner
        .split(';')
        .map(|range| match range.split_once("..") {
            Some((from, to)) => Some((from.parse().ok()?, to.parse().ok()?)).filter(|(from, to)| from <= to),
            None => range.parse().ok().map(|number| (number, number)),
        })
        .collect()
}

/// What all lists together say of a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// The sum of the weights.
    pub weight: i32,
    /// Which lists count against it, and with which weight.
    pub on: Vec<(String, i32)>,
}

impl fmt::Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> =
            self.on.iter().filter(|(_, weight)| *weight > 0).map(|(zone, _)| zone.as_str()).collect();
        f.write_str(&names.join(", "))
    }
}

/// What this process knows of the lists.
#[derive(Debug)]
pub struct Experience {
    sums: Recent<IpAddr, Arc<Listing>>,
    lists: Mutex<HashMap<String, Health>>,
}

#[derive(Debug, Default)]
struct Health {
    tried: Option<Instant>,
    ill: bool,
    notice: Notice,
}

impl Default for Experience {
    fn default() -> Self {
        Self { sums: Recent::new(10_000, Duration::from_secs(30)), lists: Mutex::default() }
    }
}

impl Experience {
    fn with<T>(&self, zone: &str, f: impl FnOnce(&mut Health) -> T) -> T {
        let mut lists = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        f(lists.entry(zone.to_owned()).or_default())
    }

    /// Forgets the sums, not what is known of the lists.
    pub(crate) fn clear(&self) {
        self.sums.clear();
    }

    fn is_ill(&self, zone: &str) -> bool {
        self.with(zone, |health| health.ill)
    }

    /// Says so in the log, unless that was the last thing said of this list.
    fn warn(&self, zone: &str, what: &str) {
        if self.with(zone, |health| health.notice.is_new(what)) {
            tracing::warn!(list = zone, "{what}");
        }
    }

    /// Tries the lists whose last trial is long ago, in a task of its own.
    fn try_lists(self: &Arc<Self>, lists: &[List], resolver: &Resolver) {
        for list in lists {
            let due = self.with(&list.zone, |health| {
                let due = health.tried.is_none_or(|tried| tried.elapsed() >= TRIAL);
                if due {
                    health.tried = Some(Instant::now());
                }
                due
            });
            if due {
                let (experience, resolver, zone) = (Arc::clone(self), resolver.clone(), list.zone.clone());
                tokio::spawn(async move { experience.try_list(&zone, &resolver).await });
            }
        }
    }

    /// RFC 5782, 5: 127.0.0.2 is on every list, 127.0.0.1 on none.
    async fn try_list(&self, zone: &str, resolver: &Resolver) {
        let listed = reversed(Ipv4Addr::new(127, 0, 0, 2).into(), zone);
        let unlisted = reversed(Ipv4Addr::LOCALHOST.into(), zone);
        let (ill, what) = match try_list(resolver, Some(&listed), &unlisted, is_refusal).await {
            Condition::Refuses => (
                false,
                "the list refuses to answer this resolver; use a resolver of your own, or take the list out",
            ),
            Condition::ListsEverything => (
                true,
                "the list holds 127.0.0.1, so it lists everybody; its answers do not count until it is well again",
            ),
            Condition::LacksEntry => (
                false,
                "the list does not hold the test entry 127.0.0.2; is it still there, and is its name right?",
            ),
            Condition::Silent => (self.is_ill(zone), "the list does not answer"),
            Condition::Well => {
                if self.with(zone, |health| std::mem::replace(&mut health.ill, false)) {
                    tracing::info!(list = zone, "the list is well again");
                }
                self.with(zone, |health| health.notice.clear());
                return;
            }
        };
        self.with(zone, |health| health.ill = ill);
        self.warn(zone, what);
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        let settings = &circumstances.config.dnsbl;
        let Some(client) = request.client_address else { return Lookup::None };
        let early = matches!(request.state, State::Connect | State::Helo | State::Mail | State::Rcpt);
        if !early || settings.lists.is_empty() || circumstances.is_ours(request) {
            return Lookup::None;
        }
        let listing = weigh(circumstances, client).await;
        if listing.weight < settings.threshold {
            return Lookup::None;
        }
        let text = format!("Client host {} is listed by {listing}", client.to_canonical());
        settings.action.action((554, "5.7.1"), "4.7.1", text).map_or(Lookup::None, Lookup::Found)
    })
}

/// What the lists say of a client.
pub(super) async fn weigh(circumstances: Circumstances<'_>, client: IpAddr) -> Arc<Listing> {
    let Circumstances { sources, config, memory, .. } = circumstances;
    let (settings, client) = (&config.dnsbl, client.to_canonical());
    if let Some(known) = memory.dnsbl.sums.get(&client) {
        return known;
    }
    memory.dnsbl.try_lists(&settings.lists, &sources.resolver);
    let listing = Arc::new(ask_lists(&memory.dnsbl, settings, &sources.resolver, client).await);
    memory.dnsbl.sums.insert(client, Arc::clone(&listing));
    listing
}

async fn ask_lists(
    experience: &Experience,
    settings: &Settings,
    resolver: &Resolver,
    client: IpAddr,
) -> Listing {
    let mut zones: Vec<&str> = settings.lists.iter().map(|list| list.zone.as_str()).collect();
    zones.sort_unstable();
    zones.dedup();
    let deadline = tokio::time::Instant::now() + settings.deadline.0;
    let mut asking = tokio::task::JoinSet::new();
    for zone in zones {
        let (resolver, name, zone) = (resolver.clone(), reversed(client, zone), zone.to_owned());
        asking.spawn(async move {
            let answer = tokio::time::timeout_at(deadline, addresses(&resolver, &name)).await;
            (zone, answer.unwrap_or_else(|_| Lookup::Unavailable("no answer in time".to_owned())))
        });
    }
    let mut listing = Listing::default();
    while let Some(asked) = asking.join_next().await {
        let Ok((zone, answer)) = asked else { continue };
        let answers = match answer {
            Lookup::Found(answers) => answers,
            Lookup::None => continue,
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                tracing::debug!(list = zone, %why, "a list does not answer");
                continue;
            }
        };
        if answers.iter().any(|answer| is_refusal(*answer)) {
            experience.warn(
                &zone,
                "the list refuses to answer this resolver; use a resolver of your own, or take the list out",
            );
            continue;
        }
        if experience.is_ill(&zone) {
            continue;
        }
        let answers: Vec<Ipv4Addr> = answers.into_iter().filter(|answer| is_listing(*answer)).collect();
        let weight: i32 = settings
            .lists
            .iter()
            .filter(|list| list.zone == zone && answers.iter().any(|answer| list.counts(*answer)))
            .fold(0, |sum, list| sum.saturating_add(list.weight));
        if weight != 0 {
            listing.weight = listing.weight.saturating_add(weight);
            listing.on.push((zone, weight));
        }
    }
    listing.on.sort();
    listing
}

async fn addresses(resolver: &Resolver, name: &str) -> Lookup<Vec<Ipv4Addr>> {
    resolver.ipv4(name).await.map(|answer| answer.records)
}

/// How often a list is tried.
const TRIAL: Duration = Duration::from_secs(3600);
/// Postfix waits 100 s for a policy server.
const LONGEST: Duration = Duration::from_secs(60);
/// Each is a question per client.
const MOST_LISTS: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn an_entry_is_read_as_postscreen_reads_it() {
        let list: List = "zen.Spamhaus.org=127.0.0.[2..11]*3".parse().unwrap();
        assert_eq!((list.zone.as_str(), list.weight), ("zen.spamhaus.org", 3));
        let counts = |text: &str, answer: &str| text.parse::<List>().unwrap().counts(answer.parse().unwrap());
        assert!(counts("a.test=127.0.0.[2..11]*3", "127.0.0.11"));
        assert!(!counts("a.test=127.0.0.[2..11]*3", "127.0.0.12"));
        assert!(counts("a.test=127.0.[0..255].[1;3;7..9]*-2", "127.0.5.8"));
        assert!(!counts("a.test=127.0.[0..255].[1;3;7..9]*-2", "127.0.5.2"));
        assert!(counts("a.test", "127.1.2.3"));
        assert_eq!("a.test".parse::<List>().unwrap().weight, 1);
        assert_eq!("list.dnswl.org=127.0.[0..255].3*-4".parse::<List>().unwrap().weight, -4);
    }

    #[test]
    fn what_is_no_entry_says_why() {
        for bad in [
            "",
            "zen",
            "a.test*x",
            "a.test=127.0.0",
            "a.test=127.0.0.[2..]",
            "a.test=127.0.0.[9..2]",
            "a.test=127.0.0.256",
            "a.test=127.0.0.[2",
            "a b.test",
            "a.test=1.2.3.4.5",
        ] {
            assert!(bad.parse::<List>().unwrap_err().contains("is no list"), "{bad}");
        }
    }
}
