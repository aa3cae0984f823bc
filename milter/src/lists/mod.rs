//! Lists in DNS (RFC 5782): what others know of the client, the hops, the sites, the mailboxes and the signers of a message.
//!
//! For `gathering`, which asks while SPF and DKIM are verified. In reading order: [`presets`] (the lists), [`plan`] (which names are asked
//! for), [`answers`] (what they mean), [`health`] (whether a list is believed); here they are asked, all at once, until the deadline of the
//! message. It judges nothing: what a listing is worth stands in `rules::dns_lists`.
//!
//! A list that does not answer in time, or that is switched off, is named among the missing facts. The key of Spamhaus's Data Query Service
//! is a part of the names asked for; such a name is never logged.

pub mod answers;
pub mod counts;
pub mod health;
pub mod plan;
pub mod presets;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use gatepost::config::Secret;
use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use gatepost::dns::lists::{Condition, is_listing, is_refusal, try_list};
use tokio::time::{Instant, timeout_at};

use crate::facts::Facts;
use counts::Tally;
use health::{Health, Standing};
use plan::{Limits, Question};
use presets::List;

/// What the lists said of one message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// Each symbol with what is listed.
    hits: BTreeMap<&'static str, BTreeSet<String>>,
    /// The lists that did not answer, or that are off.
    pub missing: BTreeSet<&'static str>,
}

impl Listed {
    /// What is listed under a symbol, for the report; none if nothing is.
    pub fn evidence(&self, symbol: &str) -> Option<String> {
        let names = self.hits.get(symbol)?;
        Some(names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    }

    /// Takes note of a list's answer; whether it found anything.
    pub fn add(&mut self, list: &List, question: &Question, answers: &[std::net::Ipv4Addr]) -> bool {
        let mut found = false;
        for (subject, codes) in list.about {
            let Some(words) = question.words(*subject) else { continue };
            for symbol in
                answers.iter().filter(|answer| is_listing(**answer)).flat_map(|answer| codes.meaning(*answer))
            {
                self.hits.entry(symbol).or_default().insert(words.to_owned());
                found = true;
            }
        }
        found
    }

    /// Adds what was found later.
    pub fn merge(&mut self, other: Self) {
        for (symbol, names) in other.hits {
            self.hits.entry(symbol).or_default().extend(names);
        }
        self.missing.extend(other.missing);
    }
}

/// The lists that are asked.
#[derive(Debug, Clone)]
pub struct Lists {
    lists: Vec<&'static List>,
    /// Of each of them.
    tallies: Vec<Tally>,
    /// How many questions about one message each of them is asked at most.
    most: Vec<usize>,
    limits: Limits,
    key: Option<Secret>,
    health: Arc<Health>,
}

impl Lists {
    /// These lists; `health` is the process's.
    pub fn new(lists: Vec<&'static List>, limits: Limits, key: Option<Secret>, health: Arc<Health>) -> Self {
        let tallies = lists.iter().map(|list| health.tally(list)).collect();
        let most = vec![usize::MAX; lists.len()];
        Self { lists, tallies, most, limits, key, health }
    }

    /// Those that the configuration names, within its limits.
    pub fn configured(settings: &settings::Settings, key: Option<Secret>, health: Arc<Health>) -> Self {
        let lists = settings.lists();
        let most = settings.most(&lists);
        Self { most, ..Self::new(lists, settings.limits(), key, health) }
    }

    /// Asks about a message, signers excepted.
    pub async fn ask(&self, facts: &Facts, resolver: &Resolver, end: Instant) -> Listed {
        self.put(plan::plan(facts, &self.lists, self.limits), resolver, end).await
    }

    /// Asks about the domains whose signatures passed.
    pub async fn ask_signers(&self, passed: &[&str], resolver: &Resolver, end: Instant) -> Listed {
        self.put(plan::plan_signers(passed, &self.lists), resolver, end).await
    }

    async fn put(&self, questions: Vec<Question>, resolver: &Resolver, end: Instant) -> Listed {
        let mut by_list: BTreeMap<usize, Vec<Question>> = BTreeMap::new();
        for question in questions {
            let of_list = by_list.entry(question.list).or_default();
            // What weighs most is asked first.
            if self.most.get(question.list).is_none_or(|most| of_list.len() < *most) {
                of_list.push(question);
            }
        }
        let mut asking: FuturesUnordered<_> = by_list
            .into_iter()
            .filter_map(|(at, questions)| Some((*self.lists.get(at)?, self.tallies.get(at)?, questions)))
            .map(|(list, tally, questions)| self.ask_list(list, tally, questions, resolver, end))
            .collect();
        let mut listed = Listed::default();
        while let Some(found) = asking.next().await {
            listed.merge(found);
        }
        listed
    }

    /// Asks one list all its questions, and tries it beside them if that is due.
    async fn ask_list(
        &self,
        list: &'static List,
        tally: &Tally,
        questions: Vec<Question>,
        resolver: &Resolver,
        end: Instant,
    ) -> Listed {
        let missing = || Listed { missing: BTreeSet::from([list.name]), ..Listed::default() };
        let standing = self.health.standing(list);
        if standing == Standing::Off {
            return missing();
        }
        let zone = self.zone(list);
        let trial = async {
            match standing {
                Standing::Due => timeout_at(end, self.try_one(list, &zone, resolver)).await.unwrap_or(false),
                Standing::Well | Standing::Off => true,
            }
        };
        let (is_well, listed) =
            tokio::join!(trial, self.ask_names(list, tally, &questions, &zone, resolver, end));
        match listed {
            Some(listed) if is_well => listed,
            _ => missing(),
        }
    }

    /// The answers of one list; none if it refuses.
    async fn ask_names(
        &self,
        list: &'static List,
        tally: &Tally,
        questions: &[Question],
        zone: &str,
        resolver: &Resolver,
        end: Instant,
    ) -> Option<Listed> {
        tally.asked.inc_by(questions.len() as u64);
        let named = questions.iter().map(|question| (question, [&*question.name, ".", zone].concat()));
        // What is known is looked at without waiting: of a busy server's questions that is most.
        let (mut known, asking) = (Vec::new(), FuturesUnordered::new());
        for (question, name) in named {
            match resolver.ipv4_known(&name) {
                Some(answer) => known.push((question, Some(answer))),
                None => {
                    asking.push(async move { (question, timeout_at(end, resolver.ipv4(&name)).await.ok()) })
                }
            }
        }
        let mut listed = Listed::default();
        let mut answers = stream::iter(known).chain(asking);
        while let Some((question, answer)) = answers.next().await {
            match answer {
                Some(Lookup::Found(answer)) if answer.records.iter().any(|answer| refuses(list, *answer)) => {
                    self.health.tried(list, Condition::Refuses);
                    return None;
                }
                Some(Lookup::Found(answer)) => {
                    tally.listed.inc_by(u64::from(listed.add(list, question, &answer.records)));
                }
                Some(Lookup::None) => {}
                Some(Lookup::Unavailable(_) | Lookup::Misconfigured(_)) | None => {
                    tally.failed.inc();
                    listed.missing.insert(list.name);
                }
            }
        }
        Some(listed)
    }

    async fn try_one(&self, list: &List, zone: &str, resolver: &Resolver) -> bool {
        let entry = list.entry.map(|entry| format!("{entry}.{zone}"));
        let unlisted = format!("{}.{zone}", list.no_entry);
        let condition = try_list(resolver, entry.as_deref(), &unlisted, |answer| refuses(list, answer)).await;
        self.health.tried(list, condition)
    }

    fn zone(&self, list: &List) -> String {
        match (&self.key, list.keyed_zone) {
            (Some(key), Some(zone)) => format!("{}.{zone}", key.expose()),
            _ => list.zone.to_owned(),
        }
    }
}

/// Whether an answer is a refusal.
fn refuses(list: &List, answer: std::net::Ipv4Addr) -> bool {
    is_refusal(answer) || list.refusals.contains(&answer.octets())
}
