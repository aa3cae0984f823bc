//! Keys of other programs: which they have, for which domains, under which selectors.
//!
//! - [`rspamd`]: `local.d/dkim_signing.conf` with its maps and key files.
//! - [`opendkim`]: `opendkim.conf`, `KeyTable` and `SigningTable`.
//!
//! Each reads a configuration into a [`Plan`]: the keys it found, and what it left out and why. Nothing is changed, and no key is read,
//! before the plan is carried out. Refuses to guess: what is not understood is an error with its file and line, or is left out, said so.

pub mod opendkim;
pub mod rspamd;
mod tables;
mod ucl;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::KeyMaterial;
use super::selector;
use crate::config::Secret;
use crate::mail::Domain;

/// What a configuration holds.
#[derive(Debug, Default)]
pub struct Plan {
    /// Keys to take over, each once.
    pub candidates: Vec<Candidate>,
    /// What is not taken over.
    pub left_out: Vec<LeftOut>,
}

/// One key that another program signs with.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The domain (`d=`).
    pub domain: Domain,
    /// The selector (`s=`).
    pub selector: String,
    /// Where the private key is.
    pub source: Source,
    /// Where the configuration names it, as `FILE:LINE`.
    pub origin: String,
}

/// Where a private key is.
#[derive(Clone, Debug)]
pub enum Source {
    /// In a file of its own.
    File(PathBuf),
    /// In the configuration itself.
    Text(Secret),
}

/// Something that is not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it stands, as `FILE:LINE`.
    pub origin: String,
    /// What it is, and why it stays.
    pub why: String,
}

/// A configuration that cannot be read or understood. Prints as `FILE:LINE: what, expected what`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct ImportError {
    /// The file, with its line where there is one.
    pub origin: String,
    /// What is wrong.
    pub message: String,
}

impl Plan {
    /// Adds a key, if it can be one and is not there already.
    fn add(&mut self, domain: &str, selector: &str, source: Source, origin: String) {
        let domain = match Domain::parse(domain) {
            Ok(domain) => domain,
            Err(reason) => return self.leave(origin, format!("domain \"{}\": {reason}", cut(domain))),
        };
        if !selector::is_valid(selector) {
            return self.leave(origin, format!("\"{}\" is no selector", cut(selector)));
        }
        let known = |one: &Candidate| one.domain == domain && one.selector.eq_ignore_ascii_case(selector);
        if self.candidates.iter().any(known) {
            return;
        }
        if self.candidates.len() >= MAX_KEYS {
            return self.leave(origin, format!("more than {MAX_KEYS} keys"));
        }
        self.candidates.push(Candidate { domain, selector: selector.to_owned(), source, origin });
    }

    fn leave(&mut self, origin: String, why: impl Into<String>) {
        let left = LeftOut { origin, why: why.into() };
        if !self.left_out.contains(&left) && self.left_out.len() < MAX_KEYS {
            self.left_out.push(left);
        }
    }
}

impl Candidate {
    /// Reads the private key.
    ///
    /// # Errors
    /// Where it is and what is wrong with it; nothing of the key.
    pub fn read(&self) -> Result<KeyMaterial, String> {
        match &self.source {
            Source::File(path) => read_key_file(path),
            Source::Text(text) => {
                KeyMaterial::parse(text.expose()).map_err(|why| format!("{}: {why}", self.origin))
            }
        }
    }
}

/// Reads one private key from a file, in any form that [`KeyMaterial::parse`] takes.
///
/// # Errors
/// `FILE: what is wrong`.
pub fn read_key_file(path: &Path) -> Result<KeyMaterial, String> {
    let wrong = |why: &dyn fmt::Display| format!("{}: {why}", path.display());
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_KEY_FILE + 1).read_to_end(&mut bytes).map_err(|error| wrong(&error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&"no text; expected a private key in PEM"))?;
    KeyMaterial::parse(text).map_err(|why| wrong(&why))
}

/// Reads a configuration file.
fn read_text(path: &Path) -> Result<Zeroizing<String>, ImportError> {
    let failed = |message: String| ImportError { origin: path.display().to_string(), message };
    let file = std::fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(failed("larger than 4 MiB; no configuration".to_owned()));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(error) => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(ImportError { origin: at(path, line), message: "no UTF-8 text".to_owned() })
        }
    }
}

/// `FILE:LINE`.
fn at(path: &Path, line: usize) -> String {
    format!("{}:{line}", path.display())
}

/// A text of the file as it may stand in a message.
fn cut(text: &str) -> String {
    crate::telemetry::printable(text.as_bytes(), 60)
}

/// More keys than any server of this kind has.
const MAX_KEYS: usize = 10_000;
/// Tables of 10,000 domains take less than 1 MiB; keys may stand in them.
const MAX_FILE: u64 = 4 << 20;
/// An RSA-8192 key in PEM has 6.4 KiB.
const MAX_KEY_FILE: u64 = 16 * 1024;
