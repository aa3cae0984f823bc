//! Reading whole tables: `COPY … TO STDOUT` in one transaction on a connection of its own, row by row.
//!
//! For the books of `kept`, whose rows are too many for a result that is held whole. Refuses to keep anything of what passes.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{Connection, PgConnection};

use super::kept::Full;
use crate::database::Database;
use crate::mail::{Address, Domain};

/// Why a reading came to nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("no end of reading within {0:?}")]
    Late(Duration),
    #[error("the reading stopped")]
    Stopped,
}

/// A connection in a transaction that sees one state of the database.
pub(super) struct Reader(PgConnection);

impl Reader {
    pub(super) async fn begin(database: &Database) -> Result<Self, ReadError> {
        let mut connection = PgConnection::connect_with(&database.options().await?).await?;
        // The daemon's statement timeout is for single questions.
        for statement in ["SET statement_timeout = 0", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"] {
            sqlx::raw_sql(statement).execute(&mut connection).await?;
        }
        Ok(Self(connection))
    }

    /// For a statement that is no `COPY`.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.0
    }

    pub(super) async fn end(mut self) -> Result<(), ReadError> {
        sqlx::raw_sql("ROLLBACK").execute(&mut self.0).await?;
        Ok(self.0.close().await?)
    }

    /// Runs a `COPY … TO STDOUT` and hands on each row, its columns divided and unescaped (PostgreSQL, "COPY", text format).
    pub(super) async fn copy(
        &mut self,
        statement: &'static str,
        mut row: impl FnMut(&[&str]) -> Result<(), Full>,
    ) -> Result<(), ReadError> {
        let mut stream = self.0.copy_out_raw(statement).await?;
        let mut line = Vec::new();
        while let Some(bytes) = stream.try_next().await? {
            let mut rest = &bytes[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                line.extend_from_slice(&rest[..end]);
                rest = &rest[end + 1..];
                if let Ok(text) = std::str::from_utf8(&line) {
                    if text.contains('\\') {
                        let columns: Vec<String> = text.split('\t').map(unescaped).collect();
                        row(&columns.iter().map(String::as_str).collect::<Vec<_>>())?;
                    } else if let Some((first, others)) = text.split_once('\t') {
                        match others.split_once('\t') {
                            Some((second, third)) => row(&[first, second, third])?,
                            None => row(&[first, others])?,
                        }
                    } else {
                        row(&[text])?;
                    }
                }
                line.clear();
            }
            line.extend_from_slice(rest);
        }
        Ok(())
    }
}

fn unescaped(column: &str) -> String {
    let mut text = String::with_capacity(column.len());
    let mut characters = column.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => text.extend(characters.next().map(|c| match c {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'v' => '\u{b}',
                c => c,
            })),
            c => text.push(c),
        }
    }
    text
}

/// Domains of the rows that pass, parsed once for each spelling; `None` for one that is no domain. Bounded: where there are more, they are parsed
/// again.
#[derive(Default)]
pub(super) struct Spellings(HashMap<String, Option<Domain>>);

impl Spellings {
    pub(super) fn domain(&mut self, spelling: &str) -> Option<Domain> {
        if let Some(known) = self.0.get(spelling) {
            return known.clone();
        }
        if self.0.len() >= MAX_SPELLINGS {
            self.0.clear();
        }
        let domain = Domain::parse(spelling).ok();
        self.0.insert(spelling.to_owned(), domain.clone());
        domain
    }

    /// Hands a stored mailbox on, in its folded spelling. A row that is no address can never be asked for; `gatepost check` tells of it.
    pub(super) fn mailbox(
        &mut self,
        columns: &[&str],
        note: impl FnOnce(&str, &Domain) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let [local, domain] = columns else { return Ok(()) };
        let Some(domain) = self.domain(domain) else { return Ok(()) };
        if is_folded(local) {
            return note(local, &domain);
        }
        match Address::new(local, domain) {
            Ok(address) => note(address.local(), address.domain()),
            Err(_) => Ok(()),
        }
    }
}

/// Whether a local part is what [`Address::new`] would make of it, seen at a glance.
fn is_folded(local: &str) -> bool {
    (1..=64).contains(&local.len())
        && local.bytes().all(|b| (b' '..=b'~').contains(&b) && !b.is_ascii_uppercase())
}

/// A few MiB at most, while a reading lasts.
const MAX_SPELLINGS: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_unescaped() {
        assert_eq!(unescaped(r"a\tb\\c\nd"), "a\tb\\c\nd");
    }
}
