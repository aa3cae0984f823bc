//! The questions that daemons ask about addresses and logins.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use super::gather::Answer;
use super::hosted::Hosted;
use super::kept::Known;
use super::recipient::Recipient;
use super::resolve::{Extensions, Trace};
use super::rules::{self, Rules};
use super::spellings::load_odd_locals;
use super::{Class, Directory, Lookup};
use crate::database::Trouble;
use crate::mail::{Address, AddressError, Domain};
use crate::password::StoredHash;

/// A login and what verifies its password.
#[derive(Clone)]
pub struct Credentials {
    /// The canonical login name, folded.
    pub login: Address,
    /// The stored hash; `None` where the account can receive but never log in.
    pub hash: Option<StoredHash>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.login)
    }
}

impl Directory {
    /// Whether a domain is hosted here, of whatever kind.
    pub async fn hosts(&self, domain: &Domain) -> Lookup<()> {
        self.hosted(domain).await.map(|_| ())
    }

    /// What kind of domain it is; [`Lookup::None`] if it is not hosted here.
    ///
    /// As with the tutorial's domains, absence is believed only of a list that is exact.
    pub async fn hosted(&self, domain: &Domain) -> Lookup<Hosted> {
        let rules = match self.rules().await.settled() {
            Ok(rules) => rules.unwrap_or_default(),
            Err(failure) => return failure,
        };
        if let Some(hosted) = rules.hosted(domain) {
            return hosted;
        }
        match self.spellings_of(domain).await {
            Lookup::None => {}
            answer => return answer.map(|_| Hosted::Local),
        }
        if !rules.installed || self.0.freshness.was_exact(Class::Rules) {
            return Lookup::None;
        }
        match self.0.rules.refresh((), rules::load(&self.0.database)).await {
            Lookup::Found(rules) => rules.hosted(domain).unwrap_or(Lookup::None),
            failure => failure.map(|_| Hosted::Local),
        }
    }

    /// The short tables of schema `gatepost`; empty ones where it is not installed.
    pub async fn rules(&self) -> Lookup<Arc<Rules>> {
        self.0.rules.ask((), rules::load(&self.0.database)).await
    }

    /// The mailbox of exactly this address (no extension taken off), by its canonical name.
    pub async fn mailbox(&self, address: &Address) -> Lookup<Address> {
        let known = self.known_mailbox(address);
        if let Known::Sure(answer) = known {
            return answer.map_or(Lookup::None, Lookup::Found);
        }
        if let Some(answer) = self.0.mailboxes.settled(address) {
            return answer;
        }
        let question = Box::pin(self.0.mailboxes.ask(address.clone(), self.mailbox_row(address)));
        last_resort(question.await, known)
    }

    /// Where exactly this alias leads (no extension taken off), in both tables of aliases together; never an empty list. A mailbox of the
    /// same name is not looked at: it wins, and whoever asks asks for it first.
    pub async fn destinations(&self, address: &Address) -> Lookup<Arc<[Address]>> {
        let known = self.known_destinations(address);
        if let Known::Sure(answer) = known {
            return answer.map_or(Lookup::None, Lookup::Found);
        }
        let answer = self.0.aliases.ask(address.clone(), self.destination_rows(address)).await;
        last_resort(answer, known)
    }

    /// The mailbox as it was known when contact was lost.
    pub(super) async fn last_mailbox(&self, address: &Address) -> Lookup<Address> {
        last_known(self.known_mailbox(address))
    }

    /// The destinations as they were known when contact was lost.
    pub(super) async fn last_destinations(&self, address: &Address) -> Lookup<Arc<[Address]>> {
        last_known(self.known_destinations(address))
    }

    fn known_mailbox(&self, address: &Address) -> Known<Address> {
        let (stale_limit, found) =
            (self.0.freshness.stale_limit(), |there: bool| there.then(|| address.clone()));
        // A daemon keeps one of both.
        let by_roll = self.0.roll.ask(address, stale_limit, |roll| found(roll.mailbox(address)));
        by_roll.or_else(|| {
            let known = self.0.mailboxes_kept.ask(address, stale_limit, |known| found(known.has(address)));
            // As with every answer: a server that is cut off may go on without us, so that "none" is in doubt as soon as any question fails.
            if known == Known::Sure(None) && self.0.freshness.is_away() { Known::Nothing } else { known }
        })
    }

    fn known_destinations(&self, address: &Address) -> Known<Arc<[Address]>> {
        let stale_limit = self.0.freshness.stale_limit();
        let known = self.0.roll.ask(address, stale_limit, |roll| roll.destinations(address));
        match known {
            // There is an alias, and a destination that is no address: never "none".
            Known::Sure(Some(list)) | Known::Last(Some(list)) if list.is_empty() => Known::Nothing,
            Known::Sure(list) => Known::Sure(list.map(Arc::from)),
            Known::Last(list) => Known::Last(list.map(Arc::from)),
            Known::Nothing => Known::Nothing,
        }
    }

    /// The mailbox, asked of the database.
    pub(super) async fn mailbox_row(&self, address: &Address) -> Result<Option<Address>, Trouble> {
        let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String,)>(include_str!("queries/mailbox.sql"))
            .bind(spelled.domains)
            .bind(spelled.locals);
        let row = database.ask(query.fetch_optional(database.pool())).await?;
        Ok(row.map(|_| address.clone()))
    }

    /// The destinations, asked of the database.
    pub(super) async fn destination_rows(
        &self,
        address: &Address,
    ) -> Result<Option<Arc<[Address]>>, Trouble> {
        let installed = match self.rules().await {
            Lookup::Found(rules) => rules.installed,
            Lookup::None => false,
            Lookup::Unavailable(why) => return Err(Trouble::Away(why)),
            Lookup::Misconfigured(why) => return Err(Trouble::Misconfigured(why)),
        };
        let Spelled { domains, locals } = match self.spelled(address).await? {
            Some(spelled) => spelled,
            // A domain of ours alone can have aliases of ours alone.
            None if installed => Spelled { domains: Vec::new(), locals: vec![address.local().to_owned()] },
            None => return Ok(None),
        };
        let database = &self.0.database;
        let rows: Vec<(String,)> = if installed {
            let query = sqlx::query_as(include_str!("queries/destinations.sql"))
                .bind(domains)
                .bind(locals)
                .bind(address.domain().as_str().to_owned())
                .bind(address.local().to_owned());
            database.ask(query.fetch_all(database.pool())).await?
        } else {
            let query = sqlx::query_as(include_str!("queries/destinations_of_tutorial.sql"))
                .bind(domains)
                .bind(locals);
            database.ask(query.fetch_all(database.pool())).await?
        };
        let mut list: Vec<Address> = Vec::with_capacity(rows.len());
        for (text,) in rows {
            let to = destination(&text).map_err(|reason| {
                Trouble::Misconfigured(format!(
                    "alias {address} leads to a destination that is no address: {reason}"
                ))
            })?;
            if !list.contains(&to) {
                list.push(to);
            }
        }
        Ok((!list.is_empty()).then(|| list.into()))
    }

    /// The logins that may send as this address: those of the mailboxes that it leads to, with or without its extension, and those with a
    /// right in `gatepost.send_as`. [`Lookup::None`] if nobody may.
    pub async fn owners(&self, address: &Address) -> Lookup<Vec<Address>> {
        let Some(sender) = Recipient::parse(&address.written()) else { return Lookup::None };
        let extensions = Extensions { delimiters: self.extension_delimiters(), propagate: true };
        self.may_send(&sender, extensions, false, &mut Trace::default()).await
    }

    /// What verifies the password of a login. Needs a role that may read `users.password_hash`.
    pub async fn credentials(&self, address: &Address) -> Lookup<Credentials> {
        let answer = match self.0.credentials.settled(address) {
            Some(answer) => answer,
            None => Box::pin(self.ask_credentials(address)).await,
        };
        answer.map(|(login, hash)| Credentials { login, hash })
    }

    async fn ask_credentials(&self, address: &Address) -> Lookup<(Address, Option<StoredHash>)> {
        let question = async {
            let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
            let hash = self.0.hashes_gathered.ask(spelled, |keys| Box::pin(self.hash_rows(keys))).await?;
            Ok(hash.map(|hash| (address.clone(), hash)))
        };
        self.0.credentials.ask(address.clone(), question).await
    }

    /// The hashes of several logins, asked of the database: `None` where there is no such account, a hash of `None` where it never logs in.
    pub(super) async fn hash_rows(
        &self,
        keys: Vec<Spelled>,
    ) -> Result<Vec<Answer<Option<StoredHash>>>, Trouble> {
        let (mut numbers, mut domains, mut locals) = (Vec::new(), Vec::new(), Vec::new());
        for (number, spelled) in (0i32..).zip(&keys) {
            for local in &spelled.locals {
                for domain in &spelled.domains {
                    numbers.push(number);
                    domains.push(domain.clone());
                    locals.push(local.clone());
                }
            }
        }
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i32, Option<String>)>(include_str!("queries/credentials.sql"))
            .bind(numbers)
            .bind(domains)
            .bind(locals);
        let rows = database.ask(query.fetch_all(database.pool())).await?;
        let mut answers: Vec<Answer<Option<StoredHash>>> = keys.iter().map(|_| Ok(None)).collect();
        for (number, hash) in rows {
            let answer = usize::try_from(number).ok().and_then(|number| answers.get_mut(number));
            // The folded spelling comes first, and counts.
            if let Some(answer @ Ok(None)) = answer {
                *answer = Ok(Some(hash.filter(|hash| !hash.is_empty()).map(StoredHash::parse)));
            }
        }
        Ok(answers)
    }

    /// A page of all mailboxes behind `place`, not cached; for `doveadm -A` and the like, which may take hours between two pages. One that is stored in
    /// several spellings comes once. The place to go on from stands behind the page; `None` after the last.
    pub async fn users(&self, place: &UsersPlace) -> Lookup<(Vec<Address>, Option<UsersPlace>)> {
        let database = &self.0.database;
        let query =
            sqlx::query_as::<_, (String, String, bool, Option<bool>)>(include_str!("queries/users.sql"))
                .bind(&place.domain)
                .bind(&place.local)
                .bind(i64::try_from(USERS_PAGE).unwrap_or(i64::MAX));
        let rows = database.ask(query.fetch_all(database.pool())).await;
        Lookup::from(rows.map(Some)).map(|rows| {
            let next = (rows.len() == USERS_PAGE).then(|| rows.last()).flatten();
            let mut next = next.map(|(local, domain, ..)| UsersPlace {
                domain: domain.clone(),
                local: local.clone(),
                odd: place.odd.clone(),
            });
            let mut users = Vec::with_capacity(rows.len());
            let mut odd = place.odd.clone();
            for (local, domain, is_folded, is_there_folded) in &rows {
                let Ok(address) = joined(local, domain) else { continue };
                if *is_folded || (is_there_folded.is_none() && odd.insert(address.clone())) {
                    users.push(address);
                }
            }
            if let Some(next) = &mut next {
                next.odd = odd;
            }
            (users, next)
        })
    }

    /// The spellings under which an address may be stored; `None` where its domain is not hosted.
    pub(super) async fn spelled(&self, address: &Address) -> Result<Option<Spelled>, Trouble> {
        let domains = match self.spellings_of(address.domain()).await {
            Lookup::Found(spellings) => spellings,
            Lookup::None => return Ok(None),
            Lookup::Unavailable(why) => return Err(Trouble::Away(why)),
            Lookup::Misconfigured(why) => return Err(Trouble::Misconfigured(why)),
        };
        let locals = match self.0.odd_locals.ask((), load_odd_locals(&self.0.database)).await {
            Lookup::Found(odd) => odd.spellings(address),
            // The folded spelling is right for nearly every row; the questions that follow fail by themselves if nothing can be asked.
            _ => vec![address.local().to_owned()],
        };
        Ok(Some(Spelled { domains, locals }))
    }
}

/// How far a list of users has come.
#[derive(Clone, Debug, Default)]
pub struct UsersPlace {
    domain: String,
    local: String,
    /// The users whose rows are not folded and that were listed; as rare as such rows.
    odd: HashSet<Address>,
}

/// The spellings under which an address may be stored, each side on its own.
#[derive(Clone, Debug)]
pub(super) struct Spelled {
    pub(super) domains: Vec<String>,
    pub(super) locals: Vec<String>,
}

/// A destination as it is stored: `local@domain`, quoted or not, as the tutorial's table has the bare local part.
pub(super) fn destination(text: &str) -> Result<Address, AddressError> {
    match Address::parse(text) {
        Ok(address) => Ok(address),
        Err(_) => {
            let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
            joined(local, domain)
        }
    }
}

/// While nobody can be asked, what was found when contact was lost is still found.
fn last_resort<T>(answer: Lookup<T>, known: Known<T>) -> Lookup<T> {
    match (answer, known) {
        (Lookup::Unavailable(_), Known::Last(Some(value))) => Lookup::Found(value),
        (answer, _) => answer,
    }
}

fn last_known<T>(known: Known<T>) -> Lookup<T> {
    match known {
        Known::Sure(answer) | Known::Last(answer) => answer.map_or(Lookup::None, Lookup::Found),
        Known::Nothing => Lookup::Unavailable("not known".to_owned()),
    }
}

/// An address whose sides are stored apart.
fn joined(local: &str, domain: &str) -> Result<Address, AddressError> {
    Address::new(local, Domain::parse(domain)?)
}

/// Rows of one page of all users: some 200 KiB.
const USERS_PAGE: usize = 2000;
