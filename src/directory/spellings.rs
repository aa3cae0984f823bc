//! How names are spelled in the database. "Stored as typed": an index finds only the exact spelling, so the few that are not
//! folded are kept here.
//!
//! The list of domains is short and held whole. Of users and aliases only those rows are held whose local part is not folded,
//! normally none; without triggers that list is read again every minute, so a new unfolded row may take as long to be seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::database::{Database, Trouble};
use crate::mail::{Address, Domain};

/// Every hosted domain, by its canonical form, with its spellings in the database.
#[derive(Debug, Default)]
pub(crate) struct Domains(HashMap<Domain, Vec<String>>);

impl Domains {
    /// The spellings of a hosted domain.
    pub(crate) fn spellings(&self, domain: &Domain) -> Option<Vec<String>> {
        self.0.get(domain).cloned()
    }
}

/// The local parts of users and aliases that are stored unfolded, by the address they mean.
#[derive(Debug, Default)]
pub(crate) struct OddLocals(HashMap<Address, Vec<String>>);

impl OddLocals {
    /// Every spelling under which the local part may be stored: folded first.
    pub(crate) fn spellings(&self, address: &Address) -> Vec<String> {
        let odd = self.0.get(address).map(Vec::as_slice).unwrap_or_default();
        std::iter::once(address.local().to_owned()).chain(odd.iter().cloned()).collect()
    }
}

pub(crate) async fn load_domains(database: &Database) -> Result<Option<Arc<Domains>>, Trouble> {
    let rows: Vec<(String,)> =
        database.ask(sqlx::query_as(include_str!("queries/domains.sql")).fetch_all(database.pool())).await?;
    let mut domains: HashMap<Domain, Vec<String>> = HashMap::with_capacity(rows.len());
    for (spelling,) in rows {
        match Domain::parse(&spelling) {
            Ok(domain) => domains.entry(domain).or_default().push(spelling),
            Err(reason) => {
                tracing::warn!(domain = %spelling.escape_debug(), %reason, "row of table domains left out")
            }
        }
    }
    Ok(Some(Arc::new(Domains(domains))))
}

pub(crate) async fn load_odd_locals(database: &Database) -> Result<Option<Arc<OddLocals>>, Trouble> {
    let rows: Vec<(String, String)> = database
        .ask(sqlx::query_as(include_str!("queries/odd_locals.sql")).fetch_all(database.pool()))
        .await?;
    let mut odd: HashMap<Address, Vec<String>> = HashMap::with_capacity(rows.len());
    for (local, domain) in rows {
        if let Ok(address) = Domain::parse(&domain).and_then(|domain| Address::new(&local, domain)) {
            odd.entry(address).or_default().push(local);
        }
    }
    Ok(Some(Arc::new(OddLocals(odd))))
}

/// Reading both tables is dear; unfolded rows are rare.
pub(super) const ODD_LOCALS_TTL: Duration = Duration::from_secs(60);
