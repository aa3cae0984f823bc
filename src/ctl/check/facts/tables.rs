//! The tutorial's tables as they are, and what else is known of their owners.

use std::collections::BTreeSet;

use gatepost::mail::{Address, AddressError, Domain};
use sqlx::PgConnection;

use crate::ctl::addresses;
use crate::ctl::connection::explain;

/// Rows as they are spelled.
#[derive(Clone, Debug, Default)]
pub(in crate::ctl) struct Tables {
    pub(in crate::ctl) domains: Vec<String>,
    /// Local part, domain, hash.
    pub(in crate::ctl) users: Vec<(String, String, Option<String>)>,
    /// Local part, domain.
    pub(in crate::ctl) aliases: Vec<(String, String)>,
    /// Domains whose postmaster stands in our schema.
    pub(in crate::ctl) postmasters: BTreeSet<Domain>,
    /// Mailboxes that are shared to themselves.
    pub(in crate::ctl) shared_to_self: Vec<String>,
}

impl Tables {
    pub(in crate::ctl) async fn gather(connection: &mut PgConnection) -> anyhow::Result<Self> {
        let domains: Vec<(String,)> = sqlx::query_as("SELECT domain::text FROM public.domains ORDER BY 1")
            .fetch_all(&mut *connection)
            .await
            .map_err(explain)?;
        let users = sqlx::query_as(
            "SELECT local::text, domain::text, password_hash::text FROM public.users ORDER BY domain, local",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        let aliases = sqlx::query_as(
            "SELECT source_local::text, source_domain::text FROM public.aliases ORDER BY 2, 1",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        let own: Vec<(String,)> = sqlx::query_as(
            "SELECT shared_mailbox FROM public.view_shared_mailboxes WHERE shared_mailbox = shared_to",
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        Ok(Self {
            domains: domains.into_iter().map(|(name,)| name).collect(),
            users,
            aliases,
            postmasters: addresses::postmasters(connection).await?.into_iter().collect(),
            shared_to_self: own.into_iter().map(|(name,)| name).collect(),
        })
    }

    /// The mailboxes as they are reached.
    pub(in crate::ctl::check) fn mailboxes(&self) -> BTreeSet<Address> {
        self.users.iter().filter_map(|(local, domain, _)| folded(local, domain).ok()).collect()
    }

    /// The domains that can be reached.
    pub(in crate::ctl) fn good_domains(&self) -> Vec<Domain> {
        self.domains.iter().filter_map(|name| Domain::parse(name).ok()).collect()
    }
}

/// An address as it is reached.
pub(in crate::ctl::check) fn folded(local: &str, domain: &str) -> Result<Address, AddressError> {
    Domain::parse(domain).and_then(|domain| Address::new(local, domain))
}
