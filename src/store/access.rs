//! The allow and deny lists that all daemons share: `gatepost.access_rules`, held in memory as one value.
//!
//! Changes are announced. Where nobody listens (a replica, triggers not installed), one row tells whether the list has changed, and is read at
//! most every few seconds; so a decision costs no round trip. While the database is away the list of before counts. Refuses to decide: whoever asks says which identities are proven.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::Store;
use crate::config::Network;
use crate::database::Trouble;
use crate::directory::{Class, Lookup};
use crate::mail::Address;

/// What a rule says of a client, a sender or a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The sender's address.
    Address,
    /// The sender's domain, or one below it; also the client's confirmed name.
    Domain,
    /// The client's address.
    Network,
    /// What the client says in HELO.
    Helo,
    /// The recipient's address, or, as `@example.com`, its domain.
    Recipient,
    /// The login.
    Login,
}

/// What a rule wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Let through.
    Allow,
    /// Refuse for good.
    Deny,
    /// Refuse for now.
    Defer,
    /// Do not greylist.
    NoGreylist,
}

/// One rule that matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it wants.
    pub access: Access,
    /// For whose mail: `*`, a domain or an address.
    pub scope: String,
    /// What the operator wrote beside it.
    pub reason: Option<String>,
    until: Option<Instant>,
}

/// The whole list.
#[derive(Debug, Default)]
pub struct AccessRules {
    named: HashMap<(Kind, String), Vec<Rule>>,
    networks: HashMap<Network, Vec<Rule>>,
    /// The prefix lengths that occur, the longest first.
    prefixes: Vec<u8>,
}

/// What is known of a mail while the list is asked. Empty texts match nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The client's name, confirmed.
    pub client_name: &'a str,
    /// What it says in HELO.
    pub helo: &'a str,
    /// The sender.
    pub sender: Option<&'a Address>,
    /// The recipient.
    pub recipient: Option<&'a Address>,
    /// The login.
    pub login: &'a str,
}

impl AccessRules {
    /// The rules among `wanted` that match, the one with the narrowest scope first, allow before deny.
    pub fn matching(&self, known: &Known<'_>, wanted: &[Access]) -> Option<(&Rule, String)> {
        let mut found: Vec<(&Vec<Rule>, String)> = Vec::new();
        let of = |kind: Kind, value: &str| self.named.get(&(kind, value.to_owned()));
        if let Some(sender) = known.sender {
            let text = sender.to_string();
            found.extend(of(Kind::Address, &text).map(|rules| (rules, format!("sender {text}"))));
            for domain in parents(sender.domain().as_str()) {
                found
                    .extend(of(Kind::Domain, domain).map(|rules| (rules, format!("sender domain {domain}"))));
            }
        }
        let name = known.client_name.to_lowercase();
        for domain in parents(&name) {
            found.extend(of(Kind::Domain, domain).map(|rules| (rules, format!("client name {domain}"))));
        }
        let helo = known.helo.to_lowercase();
        found.extend(of(Kind::Helo, &helo).map(|rules| (rules, format!("helo {helo}"))));
        found.extend(of(Kind::Login, &known.login.to_lowercase()).map(|rules| (rules, "login".to_owned())));
        if let Some(recipient) = known.recipient {
            for text in [recipient.to_string(), format!("@{}", recipient.domain())] {
                found.extend(of(Kind::Recipient, &text).map(|rules| (rules, format!("recipient {text}"))));
            }
        }
        if let Some(client) = known.client {
            let width = if client.to_canonical().is_ipv4() { 32 } else { 128 };
            for prefix in self.prefixes.iter().filter(|prefix| **prefix <= width) {
                let network = Network::around(client, *prefix);
                let rules = self.networks.get(&network);
                found.extend(rules.map(|rules| (rules, format!("client network {network}"))));
            }
        }
        let rules =
            found.into_iter().flat_map(|(rules, what)| rules.iter().map(move |rule| (rule, what.clone())));
        rules
            .filter(|(rule, _)| {
                wanted.contains(&rule.access)
                    && rule.until.is_none_or(|until| until > Instant::now())
                    && rule.covers(known.recipient, known.login)
            })
            .min_by_key(|(rule, _)| (rule.breadth(), rule.access != Access::Allow))
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        self.named.values().chain(self.networks.values()).map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.named.is_empty() && self.networks.is_empty()
    }

    fn add(&mut self, kind: &str, value: &str, rule: Rule) {
        let kind = match kind {
            "address" => Kind::Address,
            "domain" => Kind::Domain,
            "helo" => Kind::Helo,
            "recipient" => Kind::Recipient,
            "login" => Kind::Login,
            "network" => {
                match value.parse::<Network>() {
                    Ok(network) => self.networks.entry(network).or_default().push(rule),
                    Err(why) => tracing::warn!(%why, "a row of gatepost.access_rules matches nothing"),
                }
                return;
            }
            other => {
                tracing::debug!(kind = other, "a kind of rule for another daemon");
                return;
            }
        };
        self.named.entry((kind, value.to_owned())).or_default().push(rule);
    }

    fn finish(mut self) -> Self {
        self.prefixes = self.networks.keys().map(Network::prefix).collect();
        self.prefixes.sort_unstable_by(|a, b| b.cmp(a));
        self.prefixes.dedup();
        self
    }
}

impl Rule {
    fn covers(&self, recipient: Option<&Address>, login: &str) -> bool {
        if self.scope == "*" {
            return true;
        }
        let mine = |text: &str| {
            text == self.scope || text.rsplit_once('@').is_some_and(|(_, domain)| domain == self.scope)
        };
        recipient.is_some_and(|recipient| mine(&recipient.to_string())) || mine(&login.to_lowercase())
    }

    /// An address's own rule is narrower than its domain's, and that narrower than everybody's.
    fn breadth(&self) -> u8 {
        match self.scope.as_str() {
            "*" => 2,
            scope if scope.contains('@') => 0,
            _ => 1,
        }
    }
}

/// A domain and the domains above it.
fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors((!domain.is_empty()).then_some(domain), |domain| {
        domain.split_once('.').map(|(_, parent)| parent)
    })
}

/// The list as last read.
#[derive(Debug, Default)]
pub(super) struct Held {
    rules: Option<Arc<AccessRules>>,
    version: i64,
    looked: Option<Instant>,
    loaded: Option<Instant>,
}

type AccessRow = (String, String, String, String, Option<String>, Option<f64>);

impl Store {
    /// The list, at most some seconds old; while the database is away, the last one that was read. One caller looks, the others go on with
    /// what is known.
    pub async fn access_rules(&self) -> Lookup<Arc<AccessRules>> {
        let known = {
            let mut held = self.held();
            let known = held.rules.clone().map(|rules| (rules, held.version));
            if let Some((rules, _)) = &known {
                let freshness = &self.0.freshness;
                let counts = |looked: Instant| {
                    looked.elapsed() < FRESH && !freshness.is_notified()
                        || freshness.is_followed(Class::Access, looked)
                };
                if held.looked.is_some_and(counts) {
                    return Lookup::Found(Arc::clone(rules));
                }
                held.looked = Some(Instant::now());
            }
            known
        };
        match self.look_at_access(known).await {
            Ok(rules) => Lookup::Found(rules),
            Err(Trouble::Away(why)) => {
                let mut held = self.held();
                held.looked = None;
                match &held.rules {
                    Some(rules) if held.loaded.is_some_and(|loaded| loaded.elapsed() < STALE) => {
                        Lookup::Found(Arc::clone(rules))
                    }
                    _ => Lookup::Unavailable(why),
                }
            }
            Err(trouble) => trouble.into(),
        }
    }

    async fn look_at_access(
        &self,
        known: Option<(Arc<AccessRules>, i64)>,
    ) -> Result<Arc<AccessRules>, Trouble> {
        let database = &self.0.database;
        // Before the question: a change that is announced while it is under way makes the answer old.
        let asked = Instant::now();
        let version = sqlx::query_as::<_, (i64,)>(include_str!("queries/access_version.sql"));
        let (version,) = database.ask(version.fetch_one(database.pool())).await?;
        let rules = match known {
            Some((rules, last)) if last == version => rules,
            _ => {
                let query = sqlx::query_as::<_, AccessRow>(include_str!("queries/access_rules.sql"));
                Arc::new(list(database.ask(query.fetch_all(database.pool())).await?))
            }
        };
        *self.held() =
            Held { rules: Some(Arc::clone(&rules)), version, looked: Some(asked), loaded: Some(asked) };
        Ok(rules)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.0.access.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the list's version looked at with the next question.
    pub fn flush_access_rules(&self) {
        self.held().looked = None;
    }
}

fn list(rows: Vec<AccessRow>) -> AccessRules {
    let mut rules = AccessRules::default();
    for (kind, value, scope, action, reason, left) in rows {
        let access = match action.as_str() {
            "allow" => Access::Allow,
            "deny" => Access::Deny,
            "defer" => Access::Defer,
            "no-greylist" => Access::NoGreylist,
            _ => continue,
        };
        let until = left.map(|left| Instant::now() + Duration::try_from_secs_f64(left).unwrap_or_default());
        rules.add(&kind, &value, Rule { access, scope, reason, until });
    }
    rules.finish()
}

/// How long the list counts before its version is looked at.
const FRESH: Duration = Duration::from_secs(5);
/// How old the list may be while the database is away: a day, as no deny list is worth more than the mail of one.
const STALE: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn rules_of(rows: &[(&str, &str, &str, Access)]) -> AccessRules {
        let mut rules = AccessRules::default();
        for (kind, value, scope, access) in rows {
            rules.add(
                kind,
                value,
                Rule { access: *access, scope: (*scope).to_owned(), reason: None, until: None },
            );
        }
        rules.finish()
    }

    #[test]
    fn a_domain_covers_what_is_below_it_and_nothing_beside_it() {
        let rules = rules_of(&[("domain", "bad.test", "*", Access::Deny)]);
        let hit = |sender: &str| {
            let sender = Address::parse(sender).unwrap();
            rules.matching(&Known { sender: Some(&sender), ..Known::default() }, &[Access::Deny]).is_some()
        };
        assert!(hit("x@bad.test") && hit("x@a.b.bad.test"));
        assert!(!hit("x@notbad.test") && !hit("x@test"));
    }

    #[test]
    fn the_narrower_scope_wins_and_allow_wins_within_one() {
        let rules = rules_of(&[
            ("network", "192.0.2.0/24", "*", Access::Deny),
            ("network", "192.0.2.7", "example.com", Access::Allow),
            ("network", "192.0.2.0/25", "alice@example.com", Access::Deny),
            ("network", "192.0.2.9", "*", Access::Allow),
        ]);
        let both = [Access::Allow, Access::Deny];
        let ask = |client: &str, recipient: &str| {
            let recipient = Address::parse(recipient).unwrap();
            let client = client.parse().ok();
            let known = Known { client, recipient: Some(&recipient), ..Known::default() };
            rules.matching(&known, &both).map(|(rule, _)| rule.access)
        };
        assert_eq!(ask("192.0.2.200", "bob@b.test"), Some(Access::Deny));
        assert_eq!(ask("192.0.2.7", "bob@b.test"), Some(Access::Deny));
        assert_eq!(ask("192.0.2.7", "bob@example.com"), Some(Access::Allow));
        assert_eq!(ask("192.0.2.7", "alice@example.com"), Some(Access::Deny));
        assert_eq!(ask("192.0.2.9", "bob@b.test"), Some(Access::Allow));
        assert_eq!(ask("192.0.3.9", "bob@b.test"), None);
        assert_eq!(ask("2001:db8::1", "bob@b.test"), None);
    }

    #[test]
    fn what_is_not_wanted_does_not_match() {
        let rules = rules_of(&[("helo", "spam.test", "*", Access::NoGreylist)]);
        let known = Known { helo: "SPAM.test", ..Known::default() };
        assert!(rules.matching(&known, &[Access::Deny]).is_none());
        assert!(rules.matching(&known, &[Access::NoGreylist]).is_some());
        assert!(rules.matching(&Known::default(), &[Access::NoGreylist]).is_none());
    }
}
