//! The address engine: where an address leads, followed to its end.
//!
//! For every daemon: Postfix's maps, the milter's question who owns a From address, `gatepost check`. Refuses to guess: an address is
//! "none" only when every question on the way had the answer "none".
//!
//! The order, for `alice+news@example.com` (each step only if those before found nothing):
//!
//! | | local domain | relay or backup domain |
//! |---|---|---|
//! | 1 | mailbox `alice+news@` | |
//! | 2 | alias `alice+news@` | the same |
//! | 3 | mailbox `alice@` | |
//! | 4 | alias `alice@`, the extension propagated | the same |
//! | 5 | wildcard and regex aliases, by rank, of `alice+news`, then of `alice` | the same |
//! | 6 | the domain's other name: `alice+news@that` | any recipient, where the domain takes any |
//! | 7 | catch-all | catch-all |
//!
//! So a mailbox always wins, also over a catch-all, and whoever made an alias with an extension gets it. An alias is followed to mailboxes,
//! relayed and outside addresses here, because Postfix's own recursion ends in 451 for the whole message where aliases form a loop.
//!
//! **Loops and dangling targets.** A destination that leads back to an alias on its way, or to nothing, is left out while another one is
//! left; where none is, the answer is "misconfigured": 451 at the wire, an error in the log, a failure in `gatepost check`. Never 5xx,
//! since the operator can put it right before the sender gives up, and never "taken and lost". An outside address always counts as there.

use std::collections::HashSet;
use std::fmt;

use super::hosted::{Hosted, Recipients};
use super::recipient::Recipient;
use super::{Directory, Lookup};
use crate::mail::Address;

/// An end of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The address that the mail is for then.
    pub recipient: Recipient,
    /// What is there.
    pub place: Place,
}

/// What is at the end of the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A mailbox; its login name.
    Mailbox(Address),
    /// An address of a relay or backup domain.
    Relayed,
    /// An address of a domain that is not hosted here.
    Outside,
}

/// By which step an address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It is a mailbox.
    Mailbox,
    /// It is an address of a relay or backup domain.
    Relayed,
    /// It is an alias of its own.
    Alias,
    /// A wildcard or regex alias matches it.
    Pattern,
    /// Its domain is another name of a domain.
    DomainAlias,
    /// Nothing but the catch-all of its domain.
    CatchAll,
}

/// Where a hosted address leads: at least one leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// How it was found.
    pub via: Via,
    /// The ends, each once, in the order of the aliases.
    pub leaves: Vec<Leaf>,
    /// What was left out, and why: ways back, and destinations that are not there.
    pub lost: Vec<String>,
}

impl Route {
    /// The mailboxes among the leaves.
    pub fn mailboxes(&self) -> impl Iterator<Item = &Address> {
        self.leaves.iter().filter_map(|leaf| match &leaf.place {
            Place::Mailbox(login) => Some(login),
            _ => None,
        })
    }
}

/// How extensions are treated.
#[derive(Clone, Copy, Debug)]
pub struct Extensions<'a> {
    /// The characters that divide; none if empty.
    pub delimiters: &'a str,
    /// Whether an extension that no alias names goes along to the destination (Postfix's `propagate_unmatched_extensions`).
    pub propagate: bool,
}

/// What was asked on the way, for `ask --explain`; off on the wire, where it costs nothing.
#[derive(Debug, Default)]
pub struct Trace(Option<Vec<String>>);

impl Trace {
    /// A trace that keeps what it is told.
    pub fn on() -> Self {
        Self(Some(Vec::new()))
    }

    /// Notes a step.
    pub fn note(&mut self, step: impl FnOnce() -> String) {
        if let Some(steps) = &mut self.0 {
            steps.push(step());
        }
    }

    /// The steps.
    pub fn steps(&self) -> &[String] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Which knowledge counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Knowledge {
    /// What is certain, asking the database where needed.
    Certain,
    /// What was certain when contact was lost, for as long as `database.stale-limit` lets it.
    Last,
}

enum Step {
    End(Place),
    /// Further on; `stays` where it is also a recipient itself.
    On {
        via: Via,
        next: Vec<Recipient>,
        stays: bool,
    },
}

impl Directory {
    /// Where a hosted address leads; [`Lookup::None`] for an unknown address, and for one of a domain that is not hosted.
    ///
    /// While the database is away the last certain answer is given, as a whole, if it was an address.
    pub async fn route(
        &self,
        recipient: &Recipient,
        extensions: Extensions<'_>,
        trace: &mut Trace,
    ) -> Lookup<Route> {
        match self.followed(recipient, extensions, Knowledge::Certain, trace).await {
            Lookup::Unavailable(why) => {
                match self.followed(recipient, extensions, Knowledge::Last, &mut Trace::default()).await {
                    Lookup::Found(route) => {
                        trace.note(|| format!("the database is away ({why}): what was known when it went"));
                        Lookup::Found(route)
                    }
                    _ => Lookup::Unavailable(why),
                }
            }
            answer => answer,
        }
    }

    async fn followed(
        &self,
        asked: &Recipient,
        extensions: Extensions<'_>,
        knowledge: Knowledge,
        trace: &mut Trace,
    ) -> Lookup<Route> {
        let walk = Walk { directory: self, extensions, knowledge };
        match self.hosted(asked.exact.domain()).await {
            Lookup::Found(_) => {}
            Lookup::None => {
                trace.note(|| format!("{}: the domain is not hosted here", asked.exact));
                return Lookup::None;
            }
            failure => return failure.map(|_| unreachable_route()),
        }
        let (mut leaves, mut lost) = (Vec::new(), Vec::new());
        let (via, first) = match walk.step(asked, 0, trace).await {
            Lookup::Found(Step::End(place)) => {
                let via = if place == Place::Relayed { Via::Relayed } else { Via::Mailbox };
                return Lookup::Found(Route {
                    via,
                    leaves: vec![Leaf { recipient: asked.clone(), place }],
                    lost: Vec::new(),
                });
            }
            Lookup::Found(Step::On { via, next, stays }) => {
                if stays {
                    leaves.push(Leaf { recipient: asked.clone(), place: Place::Relayed });
                }
                (via, next)
            }
            other => return other.map(|_| unreachable_route()),
        };
        let mut seen: HashSet<Address> = HashSet::from([asked.exact.clone()]);
        let mut ends: HashSet<Address> = HashSet::new();
        let mut ahead: Vec<Recipient> = first.into_iter().rev().collect();
        while let Some(recipient) = ahead.pop() {
            if !seen.insert(recipient.exact.clone()) {
                if !ends.contains(&recipient.exact) {
                    trace.note(|| format!("{}: met before, left out", recipient.exact));
                    lost.push(format!("{} again", recipient.exact));
                }
                continue;
            }
            if seen.len() > MAX_ADDRESSES {
                return Lookup::Misconfigured(format!(
                    "{} leads to more than {MAX_ADDRESSES} addresses",
                    asked.exact
                ));
            }
            match walk.step(&recipient, 0, trace).await {
                Lookup::Found(Step::End(place)) => {
                    ends.insert(recipient.exact.clone());
                    leaves.push(Leaf { recipient, place });
                }
                Lookup::Found(Step::On { next, stays, .. }) => {
                    if stays {
                        leaves.push(Leaf { recipient, place: Place::Relayed });
                    }
                    ahead.extend(next.into_iter().rev());
                }
                Lookup::None => {
                    trace.note(|| format!("{}: leads nowhere, left out", recipient.exact));
                    lost.push(format!("{}, which is not there", recipient.exact));
                }
                failure => return failure.map(|_| unreachable_route()),
            }
        }
        if leaves.is_empty() {
            return Lookup::Misconfigured(format!("{} leads only to {}", asked.exact, lost.join(", ")));
        }
        Lookup::Found(Route { via, leaves, lost })
    }

    /// The logins that may send as an address: those of the mailboxes it leads to, and those with a right of their own in
    /// `gatepost.send_as`; with `shared` also those to whom such a mailbox is shared. [`Lookup::None`] if nobody may.
    pub async fn may_send(
        &self,
        sender: &Recipient,
        extensions: Extensions<'_>,
        shared: bool,
        trace: &mut Trace,
    ) -> Lookup<Vec<Address>> {
        let mut logins: Vec<Address> = Vec::new();
        let mut failure = None;
        match self.route(sender, extensions, trace).await {
            Lookup::Found(route) => logins.extend(route.mailboxes().cloned()),
            Lookup::None => {}
            // An alias that leads nowhere has no owner, but may have senders.
            Lookup::Misconfigured(why) => failure = Some(Lookup::Misconfigured(why)),
            Lookup::Unavailable(why) => return Lookup::Unavailable(why),
        }
        match self.rules().await {
            Lookup::Found(rules) => {
                let stripped = sender.exact.strip_extension(extensions.delimiters).map(|(base, _)| base);
                let hosted = self.hosted(sender.exact.domain()).await;
                if hosted.is_found() {
                    for form in std::iter::once(&sender.exact).chain(stripped.as_ref()) {
                        for login in rules.send_as(form) {
                            trace.note(|| format!("{form}: {login} was given the right to send"));
                            logins.push(login.clone());
                        }
                    }
                }
            }
            answer => return answer.map(|_| Vec::new()),
        }
        if shared {
            for owner in logins.clone() {
                match self.shares_of(&owner).await {
                    Lookup::Found(others) => logins.extend(others),
                    Lookup::None => {}
                    answer => return answer,
                }
            }
        }
        let mut seen = HashSet::new();
        logins.retain(|login| seen.insert(login.clone()));
        match (logins.is_empty(), failure) {
            (false, _) => Lookup::Found(logins),
            (true, Some(failure)) => failure,
            (true, None) => Lookup::None,
        }
    }
}

/// Only ever the argument of a `map` over an answer that holds nothing.
fn unreachable_route() -> Route {
    Route { via: Via::Mailbox, leaves: Vec::new(), lost: Vec::new() }
}

struct Walk<'a> {
    directory: &'a Directory,
    extensions: Extensions<'a>,
    knowledge: Knowledge,
}

impl Walk<'_> {
    /// One address, one step on.
    async fn step(&self, recipient: &Recipient, renamed: usize, trace: &mut Trace) -> Lookup<Step> {
        let hosted = match self.directory.hosted(recipient.exact.domain()).await.settled() {
            Ok(Some(hosted)) => hosted,
            Ok(None) => {
                trace.note(|| format!("{}: outside", recipient.exact));
                return Lookup::Found(Step::End(Place::Outside));
            }
            Err(failure) => return failure,
        };
        let rules = match self.directory.rules().await.settled() {
            Ok(rules) => rules.unwrap_or_default(),
            Err(failure) => return failure,
        };
        let here = hosted.is_delivered_here();
        let stripped = recipient.stripped(self.extensions.delimiters);
        let forms = [(&recipient.exact, None)]
            .into_iter()
            .chain(stripped.as_ref().map(|stripped| (&stripped.base, Some(stripped.extension.as_str()))));
        for (form, extension) in forms.clone() {
            if here {
                match self.mailbox(form).await.settled() {
                    Ok(Some(login)) => {
                        trace.note(|| format!("{form}: a mailbox"));
                        return Lookup::Found(Step::End(Place::Mailbox(login)));
                    }
                    Ok(None) => trace.note(|| format!("{form}: no mailbox")),
                    Err(failure) => return failure,
                }
            }
            match self.destinations(form).await.settled() {
                // An alias to itself says that the recipient is there, for a relay domain that lists them.
                Ok(Some(destinations)) if !here && destinations.contains(form) => {
                    let next: Vec<Recipient> = destinations
                        .iter()
                        .filter(|to| *to != form)
                        .map(|to| Recipient::behind(to, None))
                        .collect();
                    trace.note(|| format!("{form}: a listed recipient, leads to {}", Listed(&destinations)));
                    return Lookup::Found(match next.is_empty() {
                        true => Step::End(Place::Relayed),
                        false => Step::On { via: Via::Alias, next, stays: true },
                    });
                }
                Ok(Some(destinations)) => {
                    trace.note(|| format!("{form}: an alias, leads to {}", Listed(&destinations)));
                    let extension = extension.filter(|_| self.extensions.propagate);
                    let next = destinations.iter().map(|to| Recipient::behind(to, extension)).collect();
                    return Lookup::Found(Step::On { via: Via::Alias, next, stays: false });
                }
                Ok(None) => trace.note(|| format!("{form}: no alias")),
                Err(failure) => return failure,
            }
        }
        let patterns = rules.patterns(recipient.exact.domain());
        for (form, extension) in forms.filter(|_| !patterns.is_empty()) {
            for pattern in patterns {
                match pattern.destination(form.local()) {
                    None => {}
                    Some(Ok(to)) => {
                        trace.note(|| format!("{form}: {} matches, leads to {to}", pattern.shown()));
                        let extension = extension.filter(|_| self.extensions.propagate);
                        let next = vec![Recipient::behind(&to, extension)];
                        return Lookup::Found(Step::On { via: Via::Pattern, next, stays: false });
                    }
                    Some(Err(why)) => return Lookup::Misconfigured(format!("{form}: {why}")),
                }
            }
            trace.note(|| format!("{form}: none of {} patterns matches", patterns.len()));
        }
        match &hosted {
            Hosted::Alias(target) => {
                if renamed >= MAX_RENAMED {
                    return Lookup::Misconfigured(format!(
                        "domain aliases in a circle at {}",
                        recipient.exact.domain()
                    ));
                }
                if let Some(moved) = recipient.moved_to(target) {
                    trace.note(|| format!("{}: the domain is another name of {target}", recipient.exact));
                    match Box::pin(self.step(&moved, renamed + 1, trace)).await {
                        Lookup::None => {}
                        answer => {
                            return answer.map(|_| Step::On {
                                via: Via::DomainAlias,
                                next: vec![moved],
                                stays: false,
                            });
                        }
                    }
                }
            }
            Hosted::Relay { recipients: Recipients::Any, .. }
            | Hosted::Backup { recipients: Recipients::Any, .. } => {
                trace.note(|| {
                    format!("{}: a {} domain that takes any recipient", recipient.exact, hosted.word())
                });
                return Lookup::Found(Step::End(Place::Relayed));
            }
            _ => {}
        }
        match rules.catch_all(recipient.exact.domain()) {
            Some(destinations) => {
                trace.note(|| {
                    format!("{}: the catch-all, leads to {}", recipient.exact, Listed(destinations))
                });
                let next = destinations.iter().map(|to| Recipient::behind(to, None)).collect();
                Lookup::Found(Step::On { via: Via::CatchAll, next, stays: false })
            }
            None => {
                trace.note(|| format!("{}: no catch-all", recipient.exact));
                let unread = rules.unread_pattern(recipient.exact.domain());
                unread.map_or(Lookup::None, |why| Lookup::Misconfigured(why.to_owned()))
            }
        }
    }

    async fn mailbox(&self, address: &Address) -> Lookup<Address> {
        match self.knowledge {
            Knowledge::Certain => self.directory.mailbox(address).await,
            Knowledge::Last => self.directory.last_mailbox(address).await,
        }
    }

    async fn destinations(&self, address: &Address) -> Lookup<std::sync::Arc<[Address]>> {
        match self.knowledge {
            Knowledge::Certain => self.directory.destinations(address).await,
            Knowledge::Last => self.directory.last_destinations(address).await,
        }
    }
}

struct Listed<'a>(&'a [Address]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, address) in self.0.iter().enumerate() {
            write!(f, "{}{address}", if number > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// Addresses on one way, ends included: Postfix's `virtual_alias_expansion_limit`.
const MAX_ADDRESSES: usize = 1000;
/// Domain aliases one behind the other.
const MAX_RENAMED: usize = 8;
