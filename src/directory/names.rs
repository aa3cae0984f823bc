//! The names of a domain's users (`users.display_name`): whether a stranger who writes bears one of them.
//!
//! For the milter. Nothing in the tutorial's tables finds a user by his name, so the names of a domain are read whole and kept. Of a domain
//! with more than [`MAX_NAMED`] of them nothing is kept: in a town there are two Ann Millers, and their names say nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Directory, Lookup};
use crate::database::Trouble;
use crate::mail::{Address, Domain};
use crate::spam::folded_name;

/// The users of a domain by their folded names ([`folded_name`]); of two who share one, the first by address.
pub type Names = HashMap<String, Address>;

impl Directory {
    /// The names of a domain's users; empty where none has a name of two words or more, or too many have.
    pub async fn names(&self, domain: &Domain) -> Lookup<Arc<Names>> {
        if let Some(known) = self.0.names.settled(domain) {
            return known;
        }
        let spellings = match self.spellings_of(domain).await {
            Lookup::Found(spellings) => spellings,
            other => return other.map(|_| Arc::default()),
        };
        Box::pin(self.0.names.ask(domain.clone(), self.load_names(domain, spellings))).await
    }

    async fn load_names(
        &self,
        domain: &Domain,
        spellings: Vec<String>,
    ) -> Result<Option<Arc<Names>>, Trouble> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (String, String)>(include_str!("queries/names.sql"))
            .bind(spellings)
            .bind(MAX_NAMED + 1);
        let rows = database.ask(query.fetch_all(database.pool())).await?;
        let mut names = Names::new();
        if rows.len() as i64 <= MAX_NAMED {
            for (local, name) in rows {
                let (name, user) = (folded_name(&name), Address::new(&local, domain.clone()));
                if let (false, Ok(user)) = (name.is_empty(), user) {
                    names.entry(name).or_insert(user);
                }
            }
        }
        Ok(Some(Arc::new(names)))
    }
}

/// Some 300 KiB of names.
const MAX_NAMED: i64 = 2_000;

/// Domains whose names are kept.
pub(super) const MAX_DOMAINS: u64 = 1_000;

/// Without triggers: reading the names is dear, and they rarely change.
pub(super) const TTL: Duration = Duration::from_secs(300);
