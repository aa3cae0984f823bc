//! A dump of the ISPmail database by mysqldump or mariadb-dump: `INSERT` statements of three tables, of the rest nothing.
//!
//! ```text
//! CREATE TABLE `virtual_users` ( `id` int NOT NULL, `domain_id` …, `password` …, `email` …, … );
//! INSERT INTO `virtual_users` VALUES (1,1,'{BLF-CRYPT}$2y$…','ann@example.com',0),(2,…);
//! INSERT INTO `virtual_users` (`email`, `password`) VALUES (…);
//! ```
//!
//! Extended inserts (many rows in a statement), one row each, and `--complete-insert` are read; strings with MySQL's escapes (`\'`, `''`,
//! `\n`, `\0` …; MySQL manual, 11.1.1), `_binary '…'`, numbers, `NULL`. Columns are known by their names: those of the statement, else those of
//! `CREATE TABLE`, else the tutorial's order. The file is read in pieces: a statement may have gigabytes, a value may not.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use super::{Contents, ImportError, Origin};

/// Reads a dump; `progress` hears of each further MiB.
///
/// # Errors
/// The file cannot be read, or an `INSERT` of one of the tables is damaged.
pub fn read(path: &Path, progress: &mut dyn FnMut(u64)) -> Result<Contents, ImportError> {
    let file =
        File::open(path).map_err(|reason| ImportError::Unreadable { path: path.to_owned(), reason })?;
    let mut reader = Reader {
        file: path.into(),
        input: BufReader::with_capacity(64 * 1024, file),
        line: 1,
        seen: 0,
        progress,
    };
    let mut contents = Contents::default();
    let mut columns: Vec<(Table, Vec<String>)> = Vec::new();
    while let Some(token) = reader.token()? {
        match token {
            Token::Word(word) if word == "CREATE" => {
                if let Some((table, names)) = create(&mut reader)? {
                    columns.retain(|(known, _)| *known != table);
                    columns.push((table, names));
                }
            }
            Token::Word(word) if word == "INSERT" || word == "REPLACE" => {
                insert(&mut reader, &columns, &mut contents)?
            }
            Token::Sign(';') => {}
            _ => reader.skip()?,
        }
    }
    Ok(contents)
}

/// The three tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    Domains,
    Users,
    Aliases,
}

impl Table {
    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "virtual_domains" => Some(Self::Domains),
            "virtual_users" => Some(Self::Users),
            "virtual_aliases" => Some(Self::Aliases),
            _ => None,
        }
    }

    /// The ISPmail tutorial's columns.
    fn usual(self) -> &'static [&'static str] {
        match self {
            Self::Domains => &["id", "name"],
            Self::Users => &["id", "domain_id", "email", "password", "quota"],
            Self::Aliases => &["id", "domain_id", "source", "destination"],
        }
    }
}

/// `TABLE name ( column type …, … )`, the word CREATE read. `None` for what is no table of ours.
fn create(reader: &mut Reader<'_>) -> Result<Option<(Table, Vec<String>)>, ImportError> {
    let table = loop {
        match reader.token()? {
            Some(Token::Word(word)) if matches!(word.as_str(), "TABLE" | "IF" | "NOT" | "EXISTS") => {}
            Some(Token::Name(name) | Token::Word(name)) => break Table::named(&name),
            Some(Token::Sign(';')) | None => return Ok(None),
            Some(_) => break None,
        }
    };
    let Some(table) = table else {
        reader.skip()?;
        return Ok(None);
    };
    let (mut names, mut depth, mut fresh) = (Vec::new(), 0_u32, false);
    loop {
        match reader.token()? {
            Some(Token::Sign('(')) => {
                depth += 1;
                fresh = depth == 1;
            }
            Some(Token::Sign(')')) => depth = depth.saturating_sub(1),
            Some(Token::Sign(',')) => fresh = depth == 1,
            Some(Token::Sign(';')) | None => return Ok(Some((table, names))),
            Some(Token::Name(name)) if fresh => {
                names.push(name.to_ascii_lowercase());
                fresh = false;
                if names.len() > MAX_COLUMNS {
                    return Err(reader.bad(format!("a table of more than {MAX_COLUMNS} columns")));
                }
            }
            Some(_) => fresh = false,
        }
    }
}

/// `INTO name [(columns)] VALUES (…), (…);`, the word INSERT read.
fn insert(
    reader: &mut Reader<'_>,
    known: &[(Table, Vec<String>)],
    contents: &mut Contents,
) -> Result<(), ImportError> {
    let table = loop {
        match reader.token()? {
            Some(Token::Word(word))
                if matches!(word.as_str(), "INTO" | "IGNORE" | "DELAYED" | "LOW_PRIORITY") => {}
            Some(Token::Name(name) | Token::Word(name)) => break Table::named(&name),
            Some(Token::Sign(';')) | None => return Ok(()),
            Some(_) => break None,
        }
    };
    let Some(table) = table else { return reader.skip() };
    let mut names: Vec<String> = known.iter().find(|(one, _)| *one == table).map_or_else(
        || table.usual().iter().map(|name| (*name).to_owned()).collect(),
        |(_, names)| names.clone(),
    );
    let mut token = reader.token()?;
    if token == Some(Token::Sign('(')) {
        names.clear();
        loop {
            match reader.token()? {
                Some(Token::Name(name) | Token::Word(name)) if names.len() < MAX_COLUMNS => {
                    names.push(name.to_ascii_lowercase());
                }
                Some(Token::Sign(',')) => {}
                Some(Token::Sign(')')) => break,
                _ => return Err(reader.bad("damaged INSERT, expected the names of columns")),
            }
        }
        token = reader.token()?;
    }
    if !matches!(&token, Some(Token::Word(word)) if word == "VALUES" || word == "VALUE") {
        return Err(reader.bad("damaged INSERT, expected VALUES"));
    }
    loop {
        if reader.token()? != Some(Token::Sign('(')) {
            return Err(reader.bad("damaged INSERT, expected ( and a row"));
        }
        let origin = reader.origin();
        let values = row(reader)?;
        take(table, &names, values, origin, contents)?;
        match reader.token()? {
            Some(Token::Sign(',')) => {}
            Some(Token::Sign(';')) | None => return Ok(()),
            Some(_) => return Err(reader.bad("damaged INSERT, expected , or ; behind a row")),
        }
    }
}

/// The values of a row, its parenthesis read.
fn row(reader: &mut Reader<'_>) -> Result<Vec<Option<String>>, ImportError> {
    let mut values = Vec::new();
    loop {
        let value = match reader.token()? {
            Some(Token::Text(text)) => Some(text),
            Some(Token::Word(word)) if word == "NULL" => None,
            // A number, or what introduces a string: _binary 'text', _utf8mb4'text'.
            Some(Token::Word(word)) if word.starts_with('_') => match reader.token()? {
                Some(Token::Text(text)) => Some(text),
                _ => return Err(reader.bad("damaged row, expected a string")),
            },
            Some(Token::Word(word)) => Some(word),
            _ => return Err(reader.bad("damaged row, expected a value")),
        };
        values.push(value);
        if values.len() > MAX_COLUMNS {
            return Err(reader.bad(format!("a row of more than {MAX_COLUMNS} values")));
        }
        match reader.token()? {
            Some(Token::Sign(',')) => {}
            Some(Token::Sign(')')) => return Ok(values),
            _ => return Err(reader.bad("damaged row, expected , or ) behind a value")),
        }
    }
}

fn take(
    table: Table,
    names: &[String],
    mut values: Vec<Option<String>>,
    origin: Origin,
    contents: &mut Contents,
) -> Result<(), ImportError> {
    // Without CREATE TABLE, older dumps have no column for quotas.
    if values.len() > names.len() || values.len() + 1 < names.len() {
        contents.leave(
            origin,
            format!("{} values, expected the {} of {}", values.len(), names.len(), names.join(", ")),
        );
        return Ok(());
    }
    let mut value = |name: &str| {
        let at = names.iter().position(|known| known == name)?;
        values.get_mut(at).and_then(Option::take)
    };
    match table {
        Table::Domains => contents.domain(&origin, &value("name").unwrap_or_default()),
        Table::Users => {
            if value("quota").is_some_and(|quota| quota != "0") {
                contents.leave(origin.clone(), "its quota is not taken over: `gatepost quota set`");
            }
            let hash = value("password");
            contents.user(&origin, &value("email").or_else(|| value("user")).unwrap_or_default(), hash, None)
        }
        Table::Aliases => contents.aliases(
            &origin,
            &value("source").unwrap_or_default(),
            &value("destination").unwrap_or_default(),
        ),
    }
}

/// What SQL is made of here.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word or number, in capitals.
    Word(String),
    /// A name in backticks, or in double quotes (`--compatible=ansi`).
    Name(String),
    /// A string.
    Text(String),
    /// Anything else.
    Sign(char),
}

struct Reader<'a> {
    file: Arc<Path>,
    input: BufReader<File>,
    line: usize,
    seen: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl Reader<'_> {
    fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.line }
    }

    fn bad(&self, message: impl Into<String>) -> ImportError {
        ImportError::Bad { origin: self.origin(), message: message.into() }
    }

    fn peek(&mut self) -> Result<Option<u8>, ImportError> {
        let buffer = self
            .input
            .fill_buf()
            .map_err(|reason| ImportError::Unreadable { path: self.file.to_path_buf(), reason })?;
        Ok(buffer.first().copied())
    }

    fn next(&mut self) -> Result<Option<u8>, ImportError> {
        let byte = self.peek()?;
        if let Some(byte) = byte {
            self.input.consume(1);
            self.seen += 1;
            self.line += usize::from(byte == b'\n');
            if self.seen.is_multiple_of(REPORT) {
                (self.progress)(1);
            }
        }
        Ok(byte)
    }

    /// Up to the end of the statement; strings are passed over as such.
    fn skip(&mut self) -> Result<(), ImportError> {
        while let Some(byte) = self.next()? {
            match byte {
                b';' => return Ok(()),
                b'\'' | b'"' | b'`' => {
                    self.string(byte, None)?;
                }
                b'-' | b'#' | b'/' => self.comment(byte)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Passes over a comment, if `first` begins one. `/*! … */` is run by MySQL, but holds nothing of ours.
    fn comment(&mut self, first: u8) -> Result<(), ImportError> {
        let second = self.peek()?;
        if first == b'#' || (first == b'-' && second == Some(b'-')) {
            while self.next()?.is_some_and(|byte| byte != b'\n') {}
        } else if first == b'/' && second == Some(b'*') {
            let mut last = 0;
            while let Some(byte) = self.next()? {
                if (last, byte) == (b'*', b'/') {
                    break;
                }
                last = byte;
            }
        }
        Ok(())
    }

    fn token(&mut self) -> Result<Option<Token>, ImportError> {
        loop {
            let Some(byte) = self.next()? else { return Ok(None) };
            match byte {
                _ if byte.is_ascii_whitespace() => {}
                b'#' | b'/' => self.comment(byte)?,
                b'-' if self.peek()? == Some(b'-') => self.comment(byte)?,
                b'\'' => return self.text(byte).map(|text| Some(Token::Text(text))),
                b'`' | b'"' => return self.text(byte).map(|text| Some(Token::Name(text))),
                _ if byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte) => {
                    let mut word = String::from(char::from(byte.to_ascii_uppercase()));
                    while let Some(next) =
                        self.peek()?.filter(|b| b.is_ascii_alphanumeric() || b"_.".contains(b))
                    {
                        self.next()?;
                        word.push(char::from(next.to_ascii_uppercase()));
                        if word.len() > MAX_WORD {
                            return Err(self.bad("no SQL: a word without end; is it the right file?"));
                        }
                    }
                    return Ok(Some(Token::Word(word)));
                }
                _ => return Ok(Some(Token::Sign(char::from(byte)))),
            }
        }
    }

    fn text(&mut self, mark: u8) -> Result<String, ImportError> {
        let mut bytes = Vec::new();
        self.string(mark, Some(&mut bytes))?;
        String::from_utf8(bytes)
            .map_err(|_| self.bad("a string that is no UTF-8; dump with --default-character-set=utf8mb4"))
    }

    /// A string up to its closing mark, into `bytes` if they are wanted.
    fn string(&mut self, mark: u8, mut bytes: Option<&mut Vec<u8>>) -> Result<(), ImportError> {
        let start = self.origin();
        loop {
            let ended = || ImportError::Bad {
                origin: start.clone(),
                message: "a string without end; the dump is cut off".to_owned(),
            };
            let byte = self.next()?.ok_or_else(ended)?;
            let byte = match byte {
                b'\\' if mark != b'`' => match self.next()?.ok_or_else(ended)? {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'0' => 0,
                    b'Z' => 26,
                    other => other,
                },
                _ if byte == mark => {
                    if self.peek()? != Some(mark) {
                        return Ok(());
                    }
                    self.next()?;
                    mark
                }
                _ => byte,
            };
            if let Some(bytes) = &mut bytes {
                if bytes.len() >= MAX_VALUE {
                    return Err(ImportError::Bad {
                        origin: start,
                        message: format!("a value of more than {MAX_VALUE} octets"),
                    });
                }
                bytes.push(byte);
            }
        }
    }
}

/// Octets; a list of destinations has some.
const MAX_VALUE: usize = 64 * 1024;
/// Octets of a word that is no string.
const MAX_WORD: usize = 256;
const MAX_COLUMNS: usize = 64;
/// Octets: a MiB.
const REPORT: u64 = 1 << 20;
