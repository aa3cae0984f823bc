//! Our own schema `gatepost` in the same database: its installation, and what the daemons keep there.
//!
//! Everything that needs it says so, and why, where it is missing; lookups and logins never need it.

pub mod access;
mod account;
mod correspondents;
mod dict;
mod dmarc;
mod greylist;
mod habits;
pub mod history;
pub mod key_life;
mod keys;
pub mod logins;
mod mta_sts;
mod quota;
mod rehash;
pub mod reports;
pub mod schema;
mod scram;
mod sent;
mod spam;
pub mod training;
mod wide_shares;

pub use account::Account;
pub use correspondents::{Author, Correspondence, Held, Relation};
pub use dict::{DictChange, DictOutcome};
pub use greylist::{Attempt, Greylist, Greylisted, Patience, steady_sender};
pub use habits::Habits;
pub use keys::{DnsAnswer, KeyAlgorithm, KeyState, SigningKey, WatchedKey};
pub use mta_sts::KeptPolicy;
pub use quota::Quota;
pub use scram::hash_mark;
pub use sent::{Exceeded, Limit, Scope, Sending, Sent};
pub use wide_shares::{SharedTo, WideShares};

use std::sync::Arc;

use crate::database::Database;
use crate::directory::{Class, Directory, Freshness, Gather, Table};
use crate::dmarc::{Forwarder, Overrides};
use crate::mail::{Address, Domain};
use crate::spam::{Lists, Settings};

/// The tables of schema `gatepost` as one daemon uses them. Cheap to clone.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    directory: Directory,
    database: Database,
    freshness: Arc<Freshness>,
    signing_keys: Table<Domain, Arc<Vec<keys::ActiveKey>>>,
    /// What DNS said of keys, where it could not be written down.
    unwritten: keys::Unwritten,
    access: std::sync::Mutex<access::Held>,
    dmarc_overrides: Table<(), Arc<Overrides>>,
    forwarders: Table<(), Arc<Vec<Forwarder>>>,
    spam_settings: Table<(), Arc<Settings>>,
    spam_lists: Table<(), Arc<Lists>>,
    relations_gathered: Gather<correspondents::Standing, Vec<Relation>>,
    accounts: Table<Address, Arc<Account>>,
    /// Of those of whom nothing is written down that is their own: by domain, and for all others together.
    accounts_by_scope: Table<Option<Domain>, Arc<Account>>,
    accounts_gathered: Gather<account::Whose, Arc<Account>>,
    /// One for all of whom nothing is written down.
    no_account: Arc<Account>,
    wide_shares: Table<(), Arc<WideShares>>,
}

impl Store {
    /// A store in the database of `directory`, its cache following the same announcements.
    pub fn new(directory: &Directory) -> Self {
        let signing_keys = Table::new(Class::Keys, MAX_DOMAINS, directory.freshness());
        Self(Arc::new(Inner {
            directory: directory.clone(),
            database: directory.database().clone(),
            freshness: Arc::clone(directory.freshness()),
            signing_keys,
            unwritten: keys::Unwritten::default(),
            access: std::sync::Mutex::default(),
            dmarc_overrides: Table::new(Class::Dmarc, 1, directory.freshness()),
            forwarders: Table::new(Class::Dmarc, 1, directory.freshness()),
            spam_settings: Table::new(Class::Spam, 1, directory.freshness()),
            spam_lists: Table::new(Class::Access, 1, directory.freshness()),
            relations_gathered: Gather::default(),
            accounts: Table::new(Class::Accounts, MAX_ACCOUNTS, directory.freshness()),
            accounts_by_scope: Table::new(Class::Accounts, MAX_DOMAINS, directory.freshness()),
            accounts_gathered: Gather::default(),
            no_account: Arc::default(),
            wide_shares: Table::new(Class::Accounts, 1, directory.freshness()),
        }))
    }
}

/// How many domains' signing keys are kept: more domains than a server of this kind hosts.
const MAX_DOMAINS: u64 = 10_000;
/// How many users' fields are kept, a few hundred bytes each: those that are active at a time.
const MAX_ACCOUNTS: u64 = 20_000;
