//! Of whom anything is written down in schema `gatepost`, in memory: for everybody else there is nothing to ask.
//!
//! For the auth daemon. Two sets of scopes (an address, a domain as `@example.com`, `*` for all): who has fields, groups or a quota (what
//! Dovecot is told about a user), and who has rules, a lock, app passwords or masteries (what a login may). What is written down is not kept
//! here; it is asked of the database. A set is kept only where all its tables are there, this role may read them, and their triggers announce
//! every change; one that is long is not kept: then everything is asked, as without this.

use std::time::Duration;

use super::Directory;
use super::copied::{ReadError, Reader};
use super::digests::Digests;
use super::kept::{Book, Full, Kept, Known};
use crate::database::Trouble;
use crate::mail::Address;

/// How much is written down about a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Noted {
    /// Nothing: neither of it, nor of its domain, nor of all.
    Nothing,
    /// Of all, and nothing of it or its domain.
    OfAll,
    /// Of its domain, and nothing of it.
    OfDomain,
    /// Of itself.
    Own,
}

/// The scopes.
#[derive(Debug, Default)]
pub(super) struct Notes {
    fields: Option<Digests>,
    rules: Option<Digests>,
}

impl Notes {
    /// What Dovecot is told about it; `None` where that is not known.
    fn fields(&self, login: &Address) -> Option<Noted> {
        self.fields.as_ref().map(|scopes| noted(scopes, login))
    }

    /// What it may; `None` where that is not known.
    fn rules(&self, login: &Address) -> Option<Noted> {
        self.rules.as_ref().map(|scopes| noted(scopes, login))
    }
}

fn noted(scopes: &Digests, login: &Address) -> Noted {
    let domain = login.domain().as_str();
    if scopes.is_empty() {
        Noted::Nothing
    } else if scopes.contains([login.local(), "@", domain]) {
        Noted::Own
    } else if scopes.contains(["", "@", domain]) {
        Noted::OfDomain
    } else if scopes.contains(["*", "", ""]) {
        Noted::OfAll
    } else {
        Noted::Nothing
    }
}

impl Directory {
    /// How much Dovecot is told about a user beyond the configuration.
    pub(crate) fn noted_fields(&self, login: &Address) -> Known<Noted> {
        self.0.notes.ask(login, self.0.freshness.stale_limit(), |notes| notes.fields(login))
    }

    /// How much is written down about what a login may.
    pub(super) fn noted_rules(&self, login: &Address) -> Known<Noted> {
        self.0.notes.ask(login, self.0.freshness.stale_limit(), |notes| notes.rules(login))
    }
}

impl Book for Notes {
    /// Whether anything is written down about what the login itself may. Of what Dovecot is told about users any change concerns all: a member of a
    /// group may be any number of users.
    type Row = bool;

    fn kept(directory: &Directory) -> &Kept<Self> {
        &directory.0.notes
    }

    async fn read(_: &Directory, reader: &mut Reader) -> Result<Self, ReadError> {
        let (fields, rules): (bool, bool) =
            sqlx::query_as(include_str!("queries/noted_tables.sql")).fetch_one(reader.connection()).await?;
        let mut notes = Self::default();
        if fields {
            notes.fields = scopes(reader, include_str!("queries/noted_fields.sql")).await?;
        }
        if rules {
            notes.rules = scopes(reader, include_str!("queries/noted_rules.sql")).await?;
        }
        Ok(notes)
    }

    async fn row(directory: &Directory, login: &Address) -> Result<Self::Row, Trouble> {
        let database = &directory.0.database;
        let query = sqlx::query_as(include_str!("queries/noted_login.sql")).bind(login.to_string());
        match database.ask(query.fetch_one(database.pool())).await {
            Ok((noted,)) => Ok(noted),
            // Then the question itself shall say so.
            Err(Trouble::Misconfigured(_)) => Ok(true),
            Err(trouble) => Err(trouble),
        }
    }

    fn note(&mut self, login: &Address, noted: bool) -> Result<(), Full> {
        if let Some(rules) = &mut self.rules {
            rules.set([login.local(), "@", login.domain().as_str()], noted);
        }
        Ok(())
    }

    fn len(&self) -> usize {
        [&self.fields, &self.rules].into_iter().flatten().map(Digests::len).sum()
    }

    fn size(&self) -> usize {
        [&self.fields, &self.rules].into_iter().flatten().map(Digests::size).sum()
    }

    fn announce(scopes: usize, bytes: usize, took: Duration) {
        tracing::debug!(scopes, bytes, ?took, "it is known of whom anything is written down");
    }
}

/// The scopes of a set; `None` where it is too long to be kept.
async fn scopes(reader: &mut Reader, statement: &'static str) -> Result<Option<Digests>, ReadError> {
    let mut digests = Digests::new();
    let mut count = 0;
    reader
        .copy(statement, |columns| {
            if let [scope] = columns {
                digests.push([scope, "", ""]);
                count += 1;
            }
            Ok(())
        })
        .await?;
    digests.settle();
    Ok((count <= MOST_SCOPES).then_some(digests))
}

/// Rows. Where more is written down, it is hardly worth knowing of whom nothing is; 1.6 MB. Stands in the two queries too.
const MOST_SCOPES: usize = 100_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_nearest_scope_is_the_one_that_is_told() {
        let mut scopes = Digests::new();
        let carl = Address::parse("carl@123qwe.com").unwrap();
        assert_eq!(noted(&scopes, &carl), Noted::Nothing);
        for (scope, expected) in [
            ("bob@123qwe.com", Noted::Nothing),
            ("@qwe.com", Noted::Nothing),
            ("*", Noted::OfAll),
            ("@123qwe.com", Noted::OfDomain),
            ("carl@123qwe.com", Noted::Own),
        ] {
            scopes.push([scope, "", ""]);
            scopes.settle();
            assert_eq!(noted(&scopes, &carl), expected, "{scope}");
        }
    }

    #[test]
    fn what_is_not_known_is_not_nothing() {
        let (notes, carl) = (Notes::default(), Address::parse("carl@123qwe.com").unwrap());
        assert_eq!((notes.fields(&carl), notes.rules(&carl)), (None, None));
    }

    #[test]
    fn the_queries_end_where_no_more_is_kept() {
        for query in [include_str!("queries/noted_fields.sql"), include_str!("queries/noted_rules.sql")] {
            assert!(query.contains(&format!("LIMIT {}\n", MOST_SCOPES + 1)), "{query}");
        }
    }
}
