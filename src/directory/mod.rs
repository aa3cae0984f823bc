//! Typed questions to the tutorial's database `mail_server`: one method per question, [`Lookup`] as the only kind of answer.
//!
//! Every answer is cached. Where triggers of ours announce changes (`gatepost schema install`), an answer counts until its row
//! changes; where they are missing, for `database.cache-ttl`, and "not found" is asked anew each time, so that a new account can
//! receive at once. While the database is away, what was found stays found up to `database.stale-limit`, and what was not found
//! is "unavailable": this directory never turns a dead database into "user unknown".
//!
//! What a daemon is asked for most it may know whole (`kept`): all addresses, or who has a mailbox and of whom anything is written down. That
//! is read when triggers begin to announce, follows them, and answers without a question; it too says "none" only while it is sure.
//!
//! Refuses to write, but for shares, which Dovecot's ACL plugin owns.

pub mod access;
pub mod account;
mod cache;
mod copied;
mod credentials;
mod digests;
mod gather;
mod hosted;
mod kept;
mod lookup;
mod mailboxes;
mod memory;
mod names;
mod noted;
mod pattern;
mod questions;
mod recipient;
mod resolve;
mod roll;
mod rules;
mod scope;
mod shares;
mod spellings;
mod watch;

pub use hosted::{Hosted, NextHop, Recipients, Transport};
pub use lookup::Lookup;
pub use names::Names;
pub use pattern::{AliasPattern, PatternKind};
pub use questions::{Credentials, UsersPlace};
pub use recipient::Recipient;
pub use resolve::{Extensions, Leaf, Place, Route, Trace, Via};
pub use rules::Rules;
pub use scope::Scope;

pub(crate) use cache::{Class, Freshness, Table};
pub(crate) use gather::{Answer, Gather};
pub(crate) use kept::Known;
pub(crate) use noted::Noted;

use std::sync::Arc;

use crate::config;
use crate::database::Database;
use crate::mail::{Address, Domain};
use crate::password::StoredHash;
use kept::Kept;
use mailboxes::Mailboxes;
use noted::Notes;
use roll::Roll;
use shares::Shares;
use spellings::{Domains, OddLocals};

/// The directory of one daemon. Cheap to clone.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    database: Database,
    freshness: Arc<Freshness>,
    extension_delimiters: String,
    domains: Table<(), Arc<Domains>>,
    odd_locals: Table<(), Arc<OddLocals>>,
    mailboxes: Table<Address, Address>,
    names: Table<Domain, Arc<Names>>,
    aliases: Table<Address, Arc<[Address]>>,
    rules: Table<(), Arc<Rules>>,
    roll: Kept<Roll>,
    mailboxes_kept: Kept<Mailboxes>,
    notes: Kept<Notes>,
    credentials: Table<Address, (Address, Option<StoredHash>)>,
    hashes_gathered: Gather<questions::Spelled, Option<StoredHash>>,
    usual_hashes: Table<Domain, StoredHash>,
    accounts: Table<Address, Arc<account::Account>>,
    accounts_gathered: Gather<Address, Arc<account::Account>>,
    /// One for all of whom nothing is written down.
    no_account: Arc<account::Account>,
    accounts_installed: Table<(), bool>,
    /// Held by whoever asks that: of many logins at once one asks for all.
    accounts_asked: tokio::sync::Mutex<()>,
    shares: Table<(), Arc<Shares>>,
}

impl Directory {
    /// A directory over `database`, with its cache empty.
    pub fn new(database: Database, config: &config::Database) -> Self {
        let freshness =
            Arc::new(Freshness::new(config.cache_ttl.0, config.cache_ttl_notified.0, config.stale_limit.0));
        let entries = config.cache_entries;
        Self(Arc::new(Inner {
            database,
            extension_delimiters: config.extension_delimiters.clone(),
            domains: Table::new(Class::Domains, 1, &freshness),
            odd_locals: Table::new(Class::Users, 1, &freshness).with_ttl(spellings::ODD_LOCALS_TTL),
            mailboxes: Table::new(Class::Users, entries, &freshness),
            names: Table::new(Class::Users, names::MAX_DOMAINS, &freshness).with_ttl(names::TTL),
            aliases: Table::new(Class::Aliases, entries, &freshness),
            rules: Table::new(Class::Rules, 1, &freshness),
            roll: Kept::default(),
            mailboxes_kept: Kept::default(),
            notes: Kept::default(),
            credentials: Table::new(Class::Users, entries, &freshness),
            hashes_gathered: Gather::default(),
            usual_hashes: Table::new(Class::Accounts, account::MAX_DOMAINS, &freshness)
                .with_ttl(account::USUAL_TTL),
            accounts: Table::new(Class::Accounts, entries, &freshness),
            accounts_gathered: Gather::default(),
            no_account: Arc::default(),
            accounts_installed: Table::new(Class::Accounts, 1, &freshness).with_ttl(account::INSTALLED_TTL),
            accounts_asked: tokio::sync::Mutex::default(),
            shares: Table::new(Class::Shares, 1, &freshness),
            freshness,
        }))
    }

    /// The characters that divide `alice+news`; `+` by default, none if empty.
    pub fn extension_delimiters(&self) -> &str {
        &self.0.extension_delimiters
    }

    /// The database it asks.
    pub fn database(&self) -> &Database {
        &self.0.database
    }

    /// How long answers count; shared with the [`crate::store::Store`] of the same daemon.
    pub(crate) fn freshness(&self) -> &Arc<Freshness> {
        &self.0.freshness
    }

    /// Whether triggers of ours announce changes at this moment.
    pub fn is_notified(&self) -> bool {
        self.0.freshness.is_notified()
    }

    /// Forgets every answer: the next questions go to the database. Returns how many were forgotten.
    pub fn flush(&self) -> u64 {
        let inner = &self.0;
        let entries = inner.mailboxes.len() + inner.aliases.len() + inner.credentials.len();
        inner.freshness.flush();
        self.doubt_all();
        entries
    }

    /// One change that a trigger announced: a class of rows and the address or domain, or `*` for all.
    fn changed(&self, class: Class, key: &str) {
        let inner = &self.0;
        let address = matches!(class, Class::Users | Class::Aliases | Class::Accounts)
            .then(|| Address::parse(key).ok())
            .flatten();
        let Some(address) = address else {
            inner.freshness.flush_class(class);
            if class == Class::Aliases {
                inner.odd_locals.flush();
            }
            match class {
                Class::Users => {
                    inner.roll.doubt_all();
                    inner.mailboxes_kept.doubt_all();
                }
                Class::Aliases => inner.roll.doubt_all(),
                Class::Accounts => inner.notes.doubt_all(),
                _ => {}
            }
            return;
        };
        inner.accounts.forget(class, &address);
        if class == Class::Accounts {
            inner.notes.doubt(&address);
            return;
        }
        inner.mailboxes.forget(class, &address);
        inner.names.forget(class, address.domain());
        inner.credentials.forget(class, &address);
        inner.aliases.forget(class, &address);
        if address.to_string() != key {
            inner.odd_locals.flush();
        }
        inner.roll.doubt(&address);
        if class == Class::Users {
            inner.mailboxes_kept.doubt(&address);
        }
    }

    /// Listens for changes until the process ends; spawn it once.
    pub async fn watch(self) {
        tokio::join!(
            watch::watch(self.clone()),
            self.keep::<Roll>(),
            self.keep::<Mailboxes>(),
            self.keep::<Notes>()
        );
    }

    async fn domain_list(&self) -> Lookup<Arc<Domains>> {
        self.0.domains.ask((), spellings::load_domains(&self.0.database)).await
    }

    /// The spellings of a domain in the database, or that it is not hosted.
    ///
    /// Absence is believed only of a list that is exact: read just now, or followed by announcements up to this moment or up to the
    /// loss of contact. Otherwise every mail from outside would wait while the database is away, and without triggers a new domain
    /// would be denied for a while.
    async fn spellings_of(&self, domain: &Domain) -> Lookup<Vec<String>> {
        let (domains, freshness) = (&self.0.domains, &self.0.freshness);
        let list = self.domain_list().await;
        let Lookup::Found(known) = list else { return list.map(|_| Vec::new()) };
        if let Some(spellings) = known.spellings(domain) {
            return Lookup::Found(spellings);
        }
        if freshness.was_exact(Class::Domains) {
            return Lookup::None;
        }
        match domains.refresh((), spellings::load_domains(&self.0.database)).await {
            Lookup::Found(list) => list.spellings(domain).map_or(Lookup::None, Lookup::Found),
            answer => answer.map(|_| Vec::new()),
        }
    }
}
