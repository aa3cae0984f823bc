//! Shares of mailboxes to everybody and to groups: `gatepost.wide_shares`, held whole; the tutorial's table has no place for them.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use crate::database::{NO_SCHEMA, Trouble};
use crate::directory::{Class, Lookup};
use crate::mail::Address;

/// To whom, if not to one user.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SharedTo {
    /// Everybody.
    Anyone,
    /// The members of a group.
    Group(String),
}

/// All of them, sorted by their owners.
#[derive(Debug, Default)]
pub struct WideShares(HashMap<SharedTo, Vec<Address>>);

impl WideShares {
    /// Who shares to them.
    pub fn owners(&self, to: &SharedTo) -> &[Address] {
        self.0.get(to).map(Vec::as_slice).unwrap_or_default()
    }

    /// To whom a user shares.
    pub fn of<'a>(&'a self, owner: &'a Address) -> impl Iterator<Item = &'a SharedTo> {
        self.0.iter().filter(move |(_, owners)| owners.binary_search(owner).is_ok()).map(|(to, _)| to)
    }
}

impl Store {
    /// All shares of this kind; none without schema `gatepost`.
    pub async fn wide_shares(&self) -> Lookup<Arc<WideShares>> {
        match self.0.wide_shares.settled(&()) {
            Some(answer) => answer,
            None => Box::pin(self.ask_wide_shares()).await,
        }
    }

    async fn ask_wide_shares(&self) -> Lookup<Arc<WideShares>> {
        let load = async {
            let database = &self.0.database;
            let query =
                sqlx::query_as::<_, (String, String, String)>(include_str!("queries/wide_shares.sql"));
            let rows = match database.ask(query.fetch_all(database.pool())).await {
                Ok(rows) => rows,
                Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA => Vec::new(),
                Err(trouble) => return Err(trouble),
            };
            let mut shares = WideShares::default();
            for (owner, kind, name) in rows {
                let Ok(owner) = Address::parse(&owner) else { continue };
                let to = if kind == "anyone" { SharedTo::Anyone } else { SharedTo::Group(name) };
                shares.0.entry(to).or_default().push(owner);
            }
            shares.0.values_mut().for_each(|owners| owners.sort());
            Ok(Some(Arc::new(shares)))
        };
        self.0.wide_shares.ask((), load).await
    }

    /// Whether there is such a share, asked of the database; none without schema `gatepost`.
    pub async fn is_shared_widely(&self, owner: &Address, to: &SharedTo) -> Lookup<()> {
        let database = &self.0.database;
        let (kind, name) = columns(to);
        let query = sqlx::query_scalar::<_, i32>(include_str!("queries/wide_share.sql"))
            .bind(owner.to_string())
            .bind(kind)
            .bind(name);
        match database.ask(query.fetch_optional(database.pool())).await {
            Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA => Lookup::None,
            answer => Lookup::from(answer).map(|_| ()),
        }
    }

    /// Records such a share, once. [`Lookup::None`] if there is no such group.
    pub async fn share_widely(&self, owner: &Address, to: &SharedTo) -> Lookup<()> {
        let database = &self.0.database;
        let (kind, name) = columns(to);
        let query = sqlx::query_scalar::<_, i32>(include_str!("queries/add_wide_share.sql"))
            .bind(owner.to_string())
            .bind(kind)
            .bind(name);
        let answer = database.ask(query.fetch_optional(database.pool())).await;
        self.0.freshness.flush_class(Class::Accounts);
        match answer {
            // There are no groups then.
            Err(Trouble::Misconfigured(why)) if why == NO_SCHEMA && *to != SharedTo::Anyone => Lookup::None,
            answer => Lookup::from(answer).map(|_| ()),
        }
    }

    /// Removes such a share, if it is there.
    pub async fn unshare_widely(&self, owner: &Address, to: &SharedTo) -> Lookup<()> {
        let database = &self.0.database;
        let (kind, name) = columns(to);
        let query = sqlx::query(include_str!("queries/remove_wide_share.sql"))
            .bind(owner.to_string())
            .bind(kind)
            .bind(name);
        let answer = database.ask(query.execute(database.pool())).await;
        self.0.freshness.flush_class(Class::Accounts);
        Lookup::from(answer.map(|_| Some(())))
    }
}

fn columns(to: &SharedTo) -> (&'static str, &str) {
    match to {
        SharedTo::Anyone => ("anyone", ""),
        SharedTo::Group(name) => ("group", name),
    }
}
