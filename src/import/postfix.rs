//! Postfix's lookup tables as text (postmap(1), virtual(5)): `hash:/etc/postfix/virtual` and the like are made from these files.
//!
//! ```text
//! # a comment
//! key       value
//!     a line that begins with white space goes on with the one before it
//! ```
//!
//! Also Dovecot's passwd-file, `user@domain:{SCHEME}hash:uid:gid:…`, for the hashes.

use std::path::Path;

use super::{Contents, ImportError, Lines, MAX_LINE, Origin};

/// What a file is of: the parameter of main.cf that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `virtual_mailbox_domains`: `example.com OK`.
    Domains,
    /// `virtual_mailbox_maps`: `ann@example.com example.com/ann/`.
    Mailboxes,
    /// `virtual_alias_maps`: `info@example.com ann@example.com, bob@example.org`; `@example.com ann@example.com`.
    Aliases,
    /// Dovecot's passwd-file.
    Passwords,
}

/// Reads a file.
///
/// # Errors
/// The file cannot be read, or is no text.
pub fn read(path: &Path, table: Table) -> Result<Contents, ImportError> {
    let mut lines = Lines::open(path, MAX_LINE)?;
    let mut contents = Contents::default();
    let mut logical: Option<(Origin, String)> = None;
    loop {
        let line = lines.next()?;
        let text = line.as_deref().map(|line| line.trim_end_matches(['\n', '\r']));
        let blank = |text: &str| text.trim().is_empty() || text.trim_start().starts_with('#');
        match (text, &mut logical) {
            (Some(text), _) if blank(text) => continue,
            (Some(text), Some((_, before))) if text.starts_with([' ', '\t']) && table != Table::Passwords => {
                if before.len() + text.len() > MAX_LINE as usize {
                    return Err(lines.bad(format!("an entry of more than {MAX_LINE} octets")));
                }
                before.push(' ');
                before.push_str(text.trim());
                continue;
            }
            _ => {}
        }
        if let Some((origin, entry)) = logical.take() {
            take(&mut contents, table, &origin, &entry)?;
        }
        match text {
            Some(text) => logical = Some((lines.origin(), text.to_owned())),
            None => return Ok(contents),
        }
    }
}

fn take(contents: &mut Contents, table: Table, origin: &Origin, entry: &str) -> Result<(), ImportError> {
    if table == Table::Passwords {
        let mut fields = entry.split(':');
        let user = fields.next().unwrap_or_default();
        return contents.user(origin, user, fields.next().map(str::to_owned), None);
    }
    let (key, value) = entry.trim().split_once([' ', '\t']).unwrap_or((entry.trim(), ""));
    match table {
        Table::Domains => contents.domain(origin, key),
        Table::Mailboxes => match key.strip_prefix('@') {
            Some(domain) => {
                contents.leave(
                    origin.clone(),
                    format!("every address of {domain} is a mailbox: there is no such thing here; `gatepost alias add @{domain} SOMEBODY`"),
                );
                Ok(())
            }
            None => contents.user(origin, key, None, None),
        },
        // virtual(5): `example.com anything` says that the domain has aliases alone.
        Table::Aliases if !key.contains('@') && key.contains('.') => contents.domain(origin, key),
        Table::Aliases if !key.contains('@') => {
            contents.leave(
                origin.clone(),
                format!(
                    "alias {}: without a domain it is one of every local domain; write it with each",
                    super::cut(key)
                ),
            );
            Ok(())
        }
        Table::Aliases if value.trim().is_empty() => {
            contents.leave(origin.clone(), format!("alias {} leads nowhere", super::cut(key)));
            Ok(())
        }
        Table::Aliases => contents.aliases(origin, key, value),
        Table::Passwords => Ok(()),
    }
}
