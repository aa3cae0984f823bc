//! Who shares mailboxes to whom: the tutorial's `view_shared_mailboxes`, read and written as role `mail_user` may.
//!
//! The view joins each address out of two columns, so no index answers it; the list has a row per share, is short, and is held
//! whole in both directions.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Class, Directory, Lookup};
use crate::database::Trouble;
use crate::mail::Address;

/// All shares, in both directions, sorted.
#[derive(Debug, Default)]
pub(crate) struct Shares {
    by_sharer: HashMap<Address, Vec<Address>>,
    by_receiver: HashMap<Address, Vec<Address>>,
}

impl Directory {
    /// Who shares a mailbox to `to`, sorted; an empty list if nobody does.
    pub async fn sharers(&self, to: &Address) -> Lookup<Vec<Address>> {
        self.shares().await.map(|shares| shares.by_receiver.get(to).cloned().unwrap_or_default())
    }

    /// To whom `from` shares a mailbox, sorted; an empty list if to nobody.
    pub async fn shares_of(&self, from: &Address) -> Lookup<Vec<Address>> {
        self.shares().await.map(|shares| shares.by_sharer.get(from).cloned().unwrap_or_default())
    }

    /// Whether `from` shares a mailbox to `to`, by the list that is held.
    pub async fn has_shared(&self, from: &Address, to: &Address) -> Lookup<bool> {
        let is_among = |others: &Vec<Address>| others.binary_search(to).is_ok();
        self.shares().await.map(|shares| shares.by_sharer.get(from).is_some_and(is_among))
    }

    /// Records that `from` shares a mailbox to `to`, once. [`Lookup::None`] if one of both is no user.
    pub async fn share(&self, from: &Address, to: &Address) -> Lookup<()> {
        self.write_share(include_str!("queries/share.sql"), from, to).await
    }

    /// Whether that record is there, asked of the database.
    pub async fn is_shared(&self, from: &Address, to: &Address) -> Lookup<()> {
        let database = &self.0.database;
        let question = async {
            let (Some(from), Some(to)) = (self.stored_forms(from).await?, self.stored_forms(to).await?)
            else {
                return Ok(None);
            };
            let query =
                sqlx::query_scalar::<_, i32>(include_str!("queries/is_shared.sql")).bind(from).bind(to);
            database.ask(query.fetch_optional(database.pool())).await
        };
        Lookup::from(question.await).map(|_| ())
    }

    /// Removes that record, if it is there.
    pub async fn unshare(&self, from: &Address, to: &Address) -> Lookup<()> {
        self.write_share(include_str!("queries/unshare.sql"), from, to).await
    }

    async fn shares(&self) -> Lookup<Arc<Shares>> {
        match self.0.shares.settled(&()) {
            Some(answer) => answer,
            None => Box::pin(self.ask_shares()).await,
        }
    }

    async fn ask_shares(&self) -> Lookup<Arc<Shares>> {
        let load = async {
            let database = &self.0.database;
            let rows: Vec<(String, String)> = database
                .ask(sqlx::query_as(include_str!("queries/shares.sql")).fetch_all(database.pool()))
                .await?;
            let mut shares = Shares::default();
            for (from, to) in rows {
                if let (Ok(from), Ok(to)) = (Address::parse(&from), Address::parse(&to)) {
                    shares.by_sharer.entry(from.clone()).or_default().push(to.clone());
                    shares.by_receiver.entry(to).or_default().push(from);
                }
            }
            for list in shares.by_sharer.values_mut().chain(shares.by_receiver.values_mut()) {
                list.sort();
                list.dedup();
            }
            Ok(Some(Arc::new(shares)))
        };
        self.0.shares.ask((), load).await
    }

    async fn write_share(&self, query: &'static str, from: &Address, to: &Address) -> Lookup<()> {
        let database = &self.0.database;
        let write = async {
            let (Some(from), Some(to)) = (self.stored_forms(from).await?, self.stored_forms(to).await?)
            else {
                return Ok(None);
            };
            match database.ask(sqlx::query(query).bind(from).bind(to).execute(database.pool())).await {
                Ok(_) => Ok(Some(())),
                Err(Trouble::Constraint { foreign_key: true, .. }) => Ok(None),
                // The same share is there already.
                Err(Trouble::Constraint { .. }) => Ok(Some(())),
                Err(trouble) => Err(trouble),
            }
        };
        let answer = write.await;
        self.0.freshness.flush_class(Class::Shares);
        answer.into()
    }

    /// `local@domain` in every spelling under which it may be stored, folded first; `None` where the domain is not hosted.
    async fn stored_forms(&self, address: &Address) -> Result<Option<Vec<String>>, Trouble> {
        let Some(spelled) = self.spelled(address).await? else { return Ok(None) };
        let forms = spelled
            .locals
            .iter()
            .flat_map(|local| spelled.domains.iter().map(move |domain| format!("{local}@{domain}")));
        Ok(Some(forms.collect()))
    }
}
