//! Tables as RFC 4180 has them: a heading, then a record a line; fields in quotation marks may hold commas, `""` and line ends.
//!
//! What a table is about, its heading says:
//!
//! ```text
//! domain
//! address,password_hash,display_name       the last two may be missing
//! alias,destination                        one destination a record, or several divided by blanks
//! ```
//!
//! Other names for the same columns are known ([`COLUMNS`]). A column `password` is refused: passwords in clear text do not belong into
//! files.

use std::path::Path;

use super::{Contents, ImportError, Lines, MAX_LINE};

/// Reads a table.
///
/// # Errors
/// The file cannot be read, has no heading that is known, or holds something that is no table.
pub fn read(path: &Path) -> Result<Contents, ImportError> {
    let mut lines = Lines::open(path, MAX_LINE)?;
    let mut contents = Contents::default();
    let Some(heading) = record(&mut lines)? else {
        return Err(lines.bad("an empty file, expected a heading such as address,password_hash"));
    };
    let columns = heading.iter().map(|name| column(name, &lines)).collect::<Result<Vec<_>, _>>()?;
    let has = |column: Column| columns.contains(&Some(column));
    let is_known =
        has(Column::Domain) || has(Column::Address) || has(Column::Alias) && has(Column::Destination);
    if !is_known {
        return Err(lines.bad(format!(
            "a heading of {}, expected domain, or address[,password_hash][,display_name], or alias,destination",
            super::cut(&heading.join(","))
        )));
    }
    loop {
        let start = lines.line + 1;
        let Some(fields) = record(&mut lines)? else { return Ok(contents) };
        let mut origin = lines.origin();
        origin.line = start;
        if fields.iter().all(String::is_empty) {
            continue;
        }
        if fields.len() != columns.len() {
            contents.leave(
                origin,
                format!("{} fields, expected the {} of the heading; a field that holds commas, as argon2 hashes do, stands in quotation marks", fields.len(), columns.len()),
            );
            continue;
        }
        let field = |wanted: Column| {
            columns.iter().position(|column| *column == Some(wanted)).map(|at| fields[at].trim().to_owned())
        };
        match (field(Column::Alias), field(Column::Address), field(Column::Domain)) {
            (Some(alias), ..) => {
                contents.aliases(&origin, &alias, &field(Column::Destination).unwrap_or_default())?;
            }
            (None, Some(address), domain) => {
                // Local part and domain in two columns.
                let address = match domain {
                    Some(domain) if !address.contains('@') => format!("{address}@{domain}"),
                    _ => address,
                };
                contents.user(&origin, &address, field(Column::Hash), field(Column::Name))?;
            }
            (None, None, domain) => contents.domain(&origin, &domain.unwrap_or_default())?,
        }
    }
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Domain,
    Address,
    Hash,
    Name,
    Alias,
    Destination,
}

/// Names of columns, in small letters.
const COLUMNS: &[(Column, &[&str])] = &[
    (Column::Domain, &["domain", "domain_name"]),
    (Column::Address, &["address", "email", "mail", "user", "username", "mailbox", "local", "local_part"]),
    (Column::Hash, &["password_hash", "hash", "password-hash", "crypt"]),
    (Column::Name, &["display_name", "name", "display-name", "full_name"]),
    (Column::Alias, &["alias", "source"]),
    (Column::Destination, &["destination", "destinations", "goto", "to"]),
];

fn column(name: &str, lines: &Lines) -> Result<Option<Column>, ImportError> {
    let name = name.trim().to_lowercase();
    if matches!(name.as_str(), "password" | "passwd" | "pass") {
        return Err(lines.bad(
            "a column of passwords: hash them, and call the column password_hash, or leave it out and set them with `gatepost user password`",
        ));
    }
    Ok(COLUMNS.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(column, _)| *column))
}

/// The next record; `None` at the end.
fn record(lines: &mut Lines) -> Result<Option<Vec<String>>, ImportError> {
    let Some(mut line) = lines.next()? else { return Ok(None) };
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut size = line.len() as u64;
    loop {
        let mut characters = line.trim_end_matches('\n').trim_end_matches('\r').chars().peekable();
        let mut fresh = field.is_empty();
        while let Some(character) = characters.next() {
            match character {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' if quoted => quoted = false,
                '"' if fresh => quoted = true,
                '"' => {
                    return Err(lines
                        .bad("a quotation mark inside a field, expected it doubled within a quoted field"));
                }
                ',' if !quoted => {
                    fields.push(std::mem::take(&mut field));
                    fresh = true;
                    continue;
                }
                _ => field.push(character),
            }
            fresh = false;
        }
        if !quoted {
            fields.push(field);
            return Ok(Some(fields));
        }
        // The field goes on in the next line.
        let Some(next) = lines.next()? else {
            return Err(lines.bad("the file ends within a quoted field, expected a quotation mark"));
        };
        field.push('\n');
        size += next.len() as u64;
        if size > MAX_LINE {
            return Err(
                lines.bad(format!("a record of more than {MAX_LINE} octets; is a quotation mark missing?"))
            );
        }
        line = next;
    }
}
