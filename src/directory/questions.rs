//! The questions that daemons ask about addresses and logins.

use std::fmt;

use super::spellings::load_odd_locals;
use super::{Directory, Lookup};
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
    /// Whether a domain is hosted here.
    pub async fn hosts(&self, domain: &Domain) -> Lookup<()> {
        self.spellings_of(domain).await.map(|_| ())
    }

    /// The mailbox of exactly this address (no extension taken off), by its canonical name.
    pub async fn mailbox(&self, address: &Address) -> Lookup<Address> {
        let question = async {
            let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
            let database = &self.0.database;
            let query = sqlx::query_as::<_, (String,)>(include_str!("queries/mailbox.sql"))
                .bind(spelled.domains)
                .bind(spelled.locals);
            let row = database.ask(query.fetch_optional(database.pool())).await?;
            Ok(row.map(|_| address.clone()))
        };
        self.0.mailboxes.ask(address.clone(), question).await
    }

    /// The destination of exactly this alias (no extension taken off). A mailbox of the same name is not looked at: it wins, and
    /// whoever asks asks for it first.
    pub async fn alias(&self, address: &Address) -> Lookup<Address> {
        let question = async {
            let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
            let database = &self.0.database;
            let query = sqlx::query_as::<_, (String, String)>(include_str!("queries/alias.sql"))
                .bind(spelled.domains)
                .bind(spelled.locals);
            let row = database.ask(query.fetch_optional(database.pool())).await?;
            row.map(|(local, domain)| destination(address, &local, &domain)).transpose()
        };
        self.0.aliases.ask(address.clone(), question).await
    }

    /// The logins that may send as this address: the mailbox itself, or the destination of the alias; where neither is there, the
    /// same after the extension is taken off. [`Lookup::None`] if nobody may.
    pub async fn owners(&self, address: &Address) -> Lookup<Vec<Address>> {
        match self.owner(address).await {
            Lookup::None => {}
            answer => return answer.map(|login| vec![login]),
        }
        match address.strip_extension(self.extension_delimiters()) {
            Some((base, _)) => self.owner(&base).await.map(|login| vec![login]),
            None => Lookup::None,
        }
    }

    async fn owner(&self, address: &Address) -> Lookup<Address> {
        match self.mailbox(address).await {
            Lookup::None => self.alias(address).await,
            answer => answer,
        }
    }

    /// What verifies the password of a login. Needs a role that may read `users.password_hash`.
    pub async fn credentials(&self, address: &Address) -> Lookup<Credentials> {
        let question = async {
            let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
            let database = &self.0.database;
            let query = sqlx::query_as::<_, (Option<String>,)>(include_str!("queries/credentials.sql"))
                .bind(spelled.domains)
                .bind(spelled.locals);
            let row = database.ask(query.fetch_optional(database.pool())).await?;
            Ok(row.map(|(hash,)| {
                (address.clone(), hash.filter(|hash| !hash.is_empty()).map(StoredHash::parse))
            }))
        };
        self.0
            .credentials
            .ask(address.clone(), question)
            .await
            .map(|(login, hash)| Credentials { login, hash })
    }

    /// Every mailbox, sorted; not cached. For `doveadm -A` and the like.
    pub async fn users(&self) -> Lookup<Vec<Address>> {
        let database = &self.0.database;
        let rows = database
            .ask(
                sqlx::query_as::<_, (String, String)>(include_str!("queries/users.sql"))
                    .fetch_all(database.pool()),
            )
            .await;
        Lookup::from(rows.map(Some)).map(|rows| {
            let mut users: Vec<Address> =
                rows.iter().filter_map(|(local, domain)| joined(local, domain).ok()).collect();
            users.sort();
            users.dedup();
            users
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

/// The spellings under which an address may be stored, each side on its own.
pub(super) struct Spelled {
    pub(super) domains: Vec<String>,
    pub(super) locals: Vec<String>,
}

fn destination(source: &Address, local: &str, domain: &str) -> Result<Address, Trouble> {
    joined(local, domain).map_err(|reason| {
        Trouble::Misconfigured(format!("alias {source} leads to a destination that is no address: {reason}"))
    })
}

/// An address whose sides are stored apart.
fn joined(local: &str, domain: &str) -> Result<Address, AddressError> {
    Address::new(local, Domain::parse(domain)?)
}
