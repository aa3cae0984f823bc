//! Users, domains and aliases of another server, from its files: read line by line, judged by the types of the daemons, made into rows.
//!
//! ```text
//! file → Entry (what it says, FILE:LINE) → Rows (what goes into which table) + LeftOut (what does not, and why)
//! ```
//!
//! - [`csv`]: tables with a heading.
//! - [`mysqldump`]: the ISPmail tables `virtual_domains`, `virtual_users`, `virtual_aliases`.
//! - [`postfix`]: hash: and virtual files, and Dovecot's passwd-file.
//! - [`rows`]: what becomes of the entries, beside what is there already.
//!
//! Reads are bounded ([`Lines`]); no database is known here. Refuses to guess: what is not understood is left out, said so, and stops
//! nothing else.

pub mod csv;
pub mod mysqldump;
pub mod postfix;
mod rows;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use rows::{Alias, Present, Rows, User, rows};

use crate::config::Secret;
use crate::mail::{Address, Domain};

/// One thing that a file says.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where.
    pub origin: Origin,
    /// What.
    pub what: What,
}

/// A file and a line in it, from 1. Prints as `FILE:LINE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The line.
    pub line: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What a file can say.
#[derive(Clone, Debug)]
pub enum What {
    /// A domain with mailboxes here.
    Domain(Domain),
    /// A mailbox.
    User {
        /// Its address.
        address: Address,
        /// The hash of its password, with or without `{SCHEME}`.
        hash: Option<Secret>,
        /// The name of whoever it is.
        display_name: Option<String>,
    },
    /// One destination of an alias.
    Alias {
        /// What receives.
        source: Source,
        /// Where it goes.
        destination: Address,
    },
}

/// What an alias receives for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One address.
    One(Address),
    /// Every address of a domain that is nothing else.
    CatchAll(Domain),
}

impl Source {
    /// Parses an address, or `@domain`.
    ///
    /// # Errors
    /// The reason, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Self::CatchAll).map_err(|why| why.to_string()),
            None => Address::parse(text).map(Self::One).map_err(|why| why.to_string()),
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(address) => write!(f, "{address}"),
            Self::CatchAll(domain) => write!(f, "@{domain}"),
        }
    }
}

/// Something that is not taken over, or taken over with a reservation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands.
    pub origin: Origin,
    /// What it is, and why.
    pub why: String,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct Contents {
    /// What it says.
    pub entries: Vec<Entry>,
    /// What of it is not understood.
    pub left_out: Vec<LeftOut>,
}

/// A file that cannot be read or understood as a whole. Prints as `FILE:LINE: what, expected what`.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The system's reason.
    #[error("{path}: {reason}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: std::io::Error,
    },
    /// What is wrong, and what was expected.
    #[error("{origin}: {message}")]
    Bad {
        /// Where.
        origin: Origin,
        /// The sentence.
        message: String,
    },
}

impl Contents {
    fn add(&mut self, origin: Origin, what: What) -> Result<(), ImportError> {
        if self.entries.len() >= MAX_ENTRIES {
            let message = format!("more than {MAX_ENTRIES} entries; import the rest from a file of its own");
            return Err(ImportError::Bad { origin, message });
        }
        self.entries.push(Entry { origin, what });
        Ok(())
    }

    fn leave(&mut self, origin: Origin, why: impl Into<String>) {
        // As many as there can be entries: a file of rubbish costs no more than a good one.
        if self.left_out.len() < MAX_ENTRIES {
            self.left_out.push(LeftOut { origin, why: why.into() });
        }
    }

    /// An alias with destinations divided by commas or blanks.
    fn aliases(&mut self, origin: &Origin, source: &str, destinations: &str) -> Result<(), ImportError> {
        let source = match Source::parse(source) {
            Ok(source) => source,
            Err(why) => {
                self.leave(origin.clone(), format!("alias {}: {why}", cut(source)));
                return Ok(());
            }
        };
        for text in destinations.split([',', ' ', '\t']).filter(|text| !text.is_empty()) {
            match Address::parse(text) {
                Ok(destination) => {
                    self.add(origin.clone(), What::Alias { source: source.clone(), destination })?;
                }
                Err(why) => self.leave(origin.clone(), format!("alias {source} to {}: {why}", cut(text))),
            }
        }
        Ok(())
    }

    /// A mailbox, if its address is one.
    fn user(
        &mut self,
        origin: &Origin,
        address: &str,
        hash: Option<String>,
        display_name: Option<String>,
    ) -> Result<(), ImportError> {
        match Address::parse(address) {
            Ok(address) => {
                let hash = hash.filter(|text| !text.is_empty()).map(Secret::new);
                let display_name = display_name.filter(|text| !text.is_empty());
                self.add(origin.clone(), What::User { address, hash, display_name })
            }
            Err(why) => {
                self.leave(origin.clone(), format!("user {}: {why}", cut(address)));
                Ok(())
            }
        }
    }

    /// A domain, if it is one.
    fn domain(&mut self, origin: &Origin, name: &str) -> Result<(), ImportError> {
        match Domain::parse(name) {
            Ok(domain) => self.add(origin.clone(), What::Domain(domain)),
            Err(why) => {
                self.leave(origin.clone(), format!("domain {}: {why}", cut(name)));
                Ok(())
            }
        }
    }
}

/// The lines of a file, each bounded.
struct Lines {
    file: Arc<Path>,
    reader: BufReader<File>,
    line: usize,
    limit: u64,
}

impl Lines {
    /// Opens a file whose lines are at most `limit` octets.
    fn open(path: &Path, limit: u64) -> Result<Self, ImportError> {
        let file =
            File::open(path).map_err(|reason| ImportError::Unreadable { path: path.to_owned(), reason })?;
        Ok(Self { file: path.into(), reader: BufReader::new(file), line: 0, limit })
    }

    fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.line }
    }

    fn bad(&self, message: impl Into<String>) -> ImportError {
        ImportError::Bad { origin: self.origin(), message: message.into() }
    }

    /// The next line with its end; `None` at the end of the file.
    fn next(&mut self) -> Result<Option<String>, ImportError> {
        let mut bytes = Vec::new();
        self.line += 1;
        let read = (&mut self.reader).take(self.limit + 1).read_until(b'\n', &mut bytes);
        read.map_err(|reason| ImportError::Unreadable { path: self.file.to_path_buf(), reason })?;
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() as u64 > self.limit {
            return Err(self.bad(format!("a line of more than {} octets; is it the right file?", self.limit)));
        }
        if self.line == 1 && bytes.starts_with(b"\xEF\xBB\xBF") {
            bytes.drain(..3);
        }
        String::from_utf8(bytes).map(Some).map_err(|_| self.bad("no UTF-8 text; convert it first (iconv)"))
    }
}

/// A text of the file as it may stand in a message.
fn cut(text: &str) -> String {
    format!("\"{}\"", crate::telemetry::printable(text.as_bytes(), 60))
}

/// Octets; beyond any address with its hash.
const MAX_LINE: u64 = 64 * 1024;
/// Twenty times the largest server of this kind; bounds the memory (about 300 octets each).
const MAX_ENTRIES: usize = 2_000_000;

#[cfg(test)]
mod tests;
