//! What becomes of the entries: rows of the tutorial's tables where those are enough, of ours where not, and what is left out.
//!
//! What is there already is never changed: neither a password nor a destination. Aliases follow the same rules as `gatepost alias add`: one
//! inside destination stands in the tutorial's table, further and outside ones in `gatepost.aliases`, catch-alls in `gatepost.alias_patterns`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{Contents, Entry, LeftOut, Origin, Source, What};
use crate::config::Secret;
use crate::mail::{Address, Domain};
use crate::password::StoredHash;

/// What is in the database.
#[derive(Debug, Default)]
pub struct Present {
    /// Domains with mailboxes here, and how they are spelled there.
    pub domains: HashMap<Domain, String>,
    /// Domains of other kinds (relay, backup, another name).
    pub others: HashSet<Domain>,
    /// Mailboxes, and how local part and domain are spelled there.
    pub users: HashMap<Address, (String, String)>,
    /// Aliases and where they lead.
    pub aliases: HashMap<Source, HashSet<Address>>,
    /// Whether schema `gatepost` is there.
    pub has_schema: bool,
}

/// What goes into the tables.
#[derive(Debug, Default)]
pub struct Rows {
    /// `domains`.
    pub domains: Vec<String>,
    /// `users`.
    pub users: Vec<User>,
    /// `aliases`: source and destination, each local part and domain as they are spelled there.
    pub aliases: Vec<Alias>,
    /// `gatepost.aliases`: local part, domain, destination.
    pub further: Vec<(String, String, String)>,
    /// `gatepost.alias_patterns`: domain and destination of a catch-all.
    pub catch_alls: Vec<(String, String)>,
    /// What is not taken over.
    pub left_out: Vec<LeftOut>,
    /// What is taken over, but not as it was.
    pub notes: Vec<LeftOut>,
    /// How many things were there already.
    pub there: usize,
}

/// A row of `users`.
#[derive(Debug)]
pub struct User {
    /// `local`.
    pub local: String,
    /// `domain`.
    pub domain: String,
    /// `password_hash`.
    pub hash: Option<Secret>,
    /// `display_name`.
    pub display_name: Option<String>,
}

/// A row of `aliases`.
#[derive(Debug, PartialEq, Eq)]
pub struct Alias {
    /// `source_local`, `source_domain`.
    pub source: (String, String),
    /// `destination_local`, `destination_domain`.
    pub destination: (String, String),
}

/// Judges the entries beside what is there. With `add_domains`, domains that only addresses name are hosted too.
pub fn rows(contents: Contents, present: &Present, add_domains: bool) -> Rows {
    let mut desk = Desk {
        present,
        rows: Rows { left_out: contents.left_out, ..Rows::default() },
        domains: present.domains.clone(),
        users: HashMap::new(),
    };
    let (mut users, mut aliases) = (Vec::new(), Vec::new());
    for Entry { origin, what } in contents.entries {
        match what {
            What::Domain(domain) => desk.domain(origin, domain),
            What::User { address, hash, display_name } => users.push((origin, address, hash, display_name)),
            What::Alias { source, destination } => aliases.push((origin, source, destination)),
        }
    }
    if add_domains {
        for (origin, address, ..) in &users {
            desk.domain(origin.clone(), address.domain().clone());
        }
        for (origin, source, _) in &aliases {
            let domain = match source {
                Source::One(address) => address.domain(),
                Source::CatchAll(domain) => domain,
            };
            desk.domain(origin.clone(), domain.clone());
        }
    }
    for (origin, address, hash, display_name) in users {
        desk.user(origin, address, hash, display_name);
    }
    // Sources first: an alias may lead to one that comes later.
    let sources: HashSet<Source> = aliases.iter().map(|(_, source, _)| source.clone()).collect();
    let mut led: BTreeMap<Source, BTreeSet<Address>> = BTreeMap::new();
    for (origin, source, destination) in aliases {
        desk.alias(origin, source, destination, &sources, &mut led);
    }
    desk.rows
}

struct Desk<'a> {
    present: &'a Present,
    rows: Rows,
    /// Domains that are or will be there, and their spellings.
    domains: HashMap<Domain, String>,
    /// Mailboxes that will be there: where their rows are.
    users: HashMap<Address, usize>,
}

impl Desk<'_> {
    fn leave(&mut self, origin: Origin, why: impl Into<String>) {
        self.rows.left_out.push(LeftOut { origin, why: why.into() });
    }

    fn note(&mut self, origin: Origin, why: impl Into<String>) {
        self.rows.notes.push(LeftOut { origin, why: why.into() });
    }

    fn domain(&mut self, origin: Origin, domain: Domain) {
        if self.present.others.contains(&domain) {
            return self.leave(
                origin,
                format!("domain {domain}: it is hosted already, as another kind; `gatepost domain list`"),
            );
        }
        if self.present.domains.contains_key(&domain) {
            self.rows.there += 1;
        } else if !self.domains.contains_key(&domain) {
            self.rows.domains.push(domain.as_str().to_owned());
            let spelling = domain.as_str().to_owned();
            self.domains.insert(domain, spelling);
        }
    }

    fn user(&mut self, origin: Origin, address: Address, hash: Option<Secret>, display_name: Option<String>) {
        if self.present.users.contains_key(&address) {
            self.rows.there += 1;
            return;
        }
        let hash = hash.and_then(|hash| self.hash(&origin, &address, hash));
        if let Some(at) = self.users.get(&address).copied() {
            let row = &mut self.rows.users[at];
            let same = hash
                .as_ref()
                .is_none_or(|new| row.hash.as_ref().is_none_or(|old| old.expose() == new.expose()));
            if !same {
                return self.leave(
                    origin,
                    format!("user {address}: a second time, with another password; the first counts"),
                );
            }
            row.hash = row.hash.take().or(hash);
            row.display_name = row.display_name.take().or(display_name);
            return;
        }
        let Some(domain) = self.domains.get(address.domain()).cloned() else {
            let domain = address.domain();
            return self.leave(origin, format!("user {address}: {domain} is not hosted here; --add-domains, or `gatepost domain add {domain}`"));
        };
        if address.local().chars().count() + domain.chars().count() > MAX_ADDRESS {
            return self.leave(
                origin,
                format!("user {address}: longer than the {MAX_ADDRESS} characters that the database takes"),
            );
        }
        let display_name = display_name.filter(|name| {
            let fits = name.chars().count() <= MAX_INPUT && !name.contains('\0');
            if !fits {
                self.rows.notes.push(LeftOut {
                    origin: origin.clone(),
                    why: format!(
                        "user {address}: its name is longer than {MAX_INPUT} characters, and is left out"
                    ),
                });
            }
            fits
        });
        if self.present.aliases.contains_key(&Source::One(address.clone())) {
            self.note(origin, format!("user {address}: an alias of that name is there; the mailbox wins, and the alias leads nowhere from now on"));
        }
        self.users.insert(address.clone(), self.rows.users.len());
        self.rows.users.push(User { local: address.local().to_owned(), domain, hash, display_name });
    }

    /// The hash, if somebody can log in with it; what cannot be taken over is said.
    fn hash(&mut self, origin: &Origin, address: &Address, hash: Secret) -> Option<Secret> {
        // What locks an account in files of passwords.
        if matches!(hash.expose(), "" | "*" | "!" | "!!" | "x") || hash.expose().starts_with('!') {
            return None;
        }
        let long = hash.expose().chars().count() > MAX_INPUT;
        let stored = StoredHash::parse(hash.expose().to_owned());
        let why = match (stored.scheme(), stored.cost()) {
            _ if long => format!("its hash is longer than {MAX_INPUT} characters"),
            (None, _) => "its hash is of no scheme that is known".to_owned(),
            (Some(scheme), _) if scheme.to_string() == "PLAIN" => {
                "its password stands there in clear text".to_owned()
            }
            (_, Err(why)) => why.to_string(),
            (Some(scheme), Ok(_)) => {
                if scheme.weak {
                    self.note(origin.clone(), format!("user {address}: a {scheme} hash is weak: it counts only if `weak-schemes` in [dovecot-auth] names {scheme}"));
                }
                return Some(hash);
            }
        };
        self.note(
            origin.clone(),
            format!(
                "user {address}: {why}; taken over without a password: `gatepost user password {address}`"
            ),
        );
        None
    }

    fn alias(
        &mut self,
        origin: Origin,
        source: Source,
        destination: Address,
        sources: &HashSet<Source>,
        led: &mut BTreeMap<Source, BTreeSet<Address>>,
    ) {
        let before = self.present.aliases.get(&source);
        if before.is_some_and(|there| there.contains(&destination)) {
            self.rows.there += 1;
            return;
        }
        let domain = match &source {
            Source::One(address) => address.domain(),
            Source::CatchAll(domain) => domain,
        };
        let spelling = self.domains.get(domain).cloned();
        if spelling.is_none() && !self.present.others.contains(domain) {
            return self.leave(origin, format!("alias {source}: {domain} is not hosted here; --add-domains, or `gatepost domain add {domain}`"));
        }
        if let Source::One(address) = &source
            && self.is_mailbox(address)
        {
            let why = if *address == destination {
                format!("alias {source} to itself: a mailbox needs none, it wins over a catch-all")
            } else {
                format!(
                    "alias {source} to {destination}: it is a mailbox, which wins; let its owner forward by Sieve, or give the mailbox another name"
                )
            };
            return self.leave(origin, why);
        }
        if self.domains.contains_key(destination.domain())
            && !self.is_mailbox(&destination)
            && !self.receives(&destination, sources)
        {
            return self
                .leave(origin, format!("alias {source}: it leads to {destination}, which is nobody here"));
        }
        let so_far = led.entry(source.clone()).or_default();
        if !so_far.insert(destination.clone()) {
            return;
        }
        let first = so_far.len() == 1 && before.is_none();
        match &source {
            Source::One(address) => {
                let to = self.spelled(&destination);
                if let (true, Some(spelling), Some(to)) = (first, spelling, to) {
                    let from = (address.local().to_owned(), spelling);
                    return self.rows.aliases.push(Alias { source: from, destination: to });
                }
                if !self.present.has_schema {
                    return self.leave(origin, format!("alias {source} to {destination}: outside and further destinations need schema gatepost; `gatepost schema install`"));
                }
                let row =
                    (address.local().to_owned(), address.domain().as_str().to_owned(), destination.written());
                self.rows.further.push(row);
            }
            Source::CatchAll(domain) if self.present.has_schema => {
                self.rows.catch_alls.push((domain.as_str().to_owned(), destination.written()));
            }
            Source::CatchAll(_) => {
                self.leave(
                    origin,
                    format!("alias {source}: a catch-all needs schema gatepost; `gatepost schema install`"),
                );
            }
        }
    }

    fn is_mailbox(&self, address: &Address) -> bool {
        self.present.users.contains_key(address) || self.users.contains_key(address)
    }

    /// Whether an address is an alias, or caught.
    fn receives(&self, address: &Address, sources: &HashSet<Source>) -> bool {
        let one = Source::One(address.clone());
        let all = Source::CatchAll(address.domain().clone());
        [one, all].iter().any(|source| sources.contains(source) || self.present.aliases.contains_key(source))
    }

    /// A mailbox as the database spells it.
    fn spelled(&self, address: &Address) -> Option<(String, String)> {
        if let Some(there) = self.present.users.get(address) {
            return Some(there.clone());
        }
        let row = &self.rows.users[*self.users.get(address)?];
        Some((row.local.clone(), row.domain.clone()))
    }
}

/// Characters: the tutorial's check on local part and domain together.
const MAX_ADDRESS: usize = 254;
/// Characters: the tutorial's `user_input`.
const MAX_INPUT: usize = 256;
