//! Tables of keys and values, as Rspamd's maps and OpenDKIM's data sets have them: one entry per line, key and value divided by white
//! space, `#` begins a comment.

use std::path::{Path, PathBuf};

use super::{ImportError, at, read_text};

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Empty where the entry is a key alone.
    pub(super) value: String,
    /// `FILE:LINE`.
    pub(super) origin: String,
}

/// Reads a file of entries.
pub(super) fn read(path: &Path) -> Result<Vec<Entry>, ImportError> {
    let text = read_text(path)?;
    let entries = (1..).zip(text.lines()).filter_map(|(number, line)| entry(line, at(path, number)));
    Ok(entries.collect())
}

/// One line; none if there is nothing on it.
pub(super) fn entry(line: &str, origin: String) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    // A comment at the end begins after white space: a value may hold a `#`.
    let line =
        line.split_once(" #").or_else(|| line.split_once("\t#")).map_or(line, |(before, _)| before).trim();
    if line.is_empty() {
        return None;
    }
    let (key, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    Some(Entry { key: unquoted(key).to_owned(), value: unquoted(value.trim()).to_owned(), origin })
}

fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text)
}

/// Where a data set or map is.
pub(super) enum Place {
    File(PathBuf),
    /// Entries divided by commas.
    List(String),
    /// Something that cannot be read from here.
    Elsewhere,
}

/// Takes the place of a map or data set apart: `/PATH`, `file:/PATH`, `file:///PATH`, `refile:/PATH`, `csl:a,b`, or a list.
pub(super) fn place(text: &str) -> Place {
    let text = text.trim();
    let rest = ["refile:", "file:", "fallback+file:", "glob;", "regexp;"]
        .iter()
        .find_map(|kind| text.strip_prefix(kind));
    if let Some(path) = rest {
        return match path.strip_prefix("//").unwrap_or(path) {
            path if path.starts_with('/') => Place::File(path.into()),
            _ => Place::Elsewhere,
        };
    }
    if let Some(list) = text.strip_prefix("csl:") {
        return Place::List(list.to_owned());
    }
    if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
        return Place::File(text.into());
    }
    // Any other kind of data set (`db:`, `dsn:`, `ldap://`) or of map (`http://`, `redis:`).
    let kind = text
        .split_once(':')
        .is_some_and(|(kind, _)| !kind.is_empty() && kind.chars().all(|c| c.is_ascii_alphabetic()));
    if kind { Place::Elsewhere } else { Place::List(text.to_owned()) }
}
