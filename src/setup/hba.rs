//! `pg_hba.conf` and `pg_ident.conf` (PostgreSQL's documentation, "The pg_hba.conf File", "User Name Maps"), as far as our roles are
//! concerned: which record counts for a role over a unix socket, and where one of ours belongs.
//!
//! ```text
//! local  DATABASE[,…]  USER[,…]  METHOD [OPTION=VALUE …]     the first record that fits counts
//! MAP    SYSTEM-USER   ROLE
//! ```
//!
//! Quoted words count as they are, without special meaning. Groups (`+role`), patterns (`/regex`) and included files are not followed: a
//! record with them is taken not to fit.

/// The record that counts for a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Its line, from 1.
    pub line: usize,
    /// Its method, such as `peer`.
    pub method: String,
    /// The options behind it.
    pub options: Vec<String>,
    /// Whether it names the role itself and not `all`.
    pub names_role: bool,
}

impl Rule {
    /// Whether it asks for a password.
    pub(super) fn is_password(&self) -> bool {
        matches!(self.method.as_str(), "scram-sha-256" | "md5" | "password")
    }

    /// Whether it lets system users of the map `gatepost` in.
    pub(super) fn is_mapped(&self) -> bool {
        self.method == "peer" && self.options.iter().any(|option| option == "map=gatepost")
    }
}

/// The first `local` record that fits database and role.
pub(super) fn first(text: &str, database: &str, role: &str) -> Option<Rule> {
    (1..).zip(text.lines()).find_map(|(line, record)| {
        let mut words = words(record).into_iter();
        if words.next()?.plain()? != "local" {
            return None;
        }
        let (databases, users) = (words.next()?, words.next()?);
        if !databases.lists(database, &["all"]) || !users.lists(role, &["all"]) {
            return None;
        }
        let names_role = users.lists(role, &[]);
        let mut rest = words.map(|word| word.text());
        Some(Rule { line, method: rest.next()?, options: rest.collect(), names_role })
    })
}

/// Whether a map lets a system user be a role.
pub(super) fn is_mapped(text: &str, map: &str, user: &str, role: &str) -> bool {
    text.lines().any(|record| {
        let words: Vec<String> = words(record).into_iter().map(|word| word.text()).collect();
        matches!(words.as_slice(), [known, system, name, ..] if known == map && system == user && name == role)
    })
}

/// One column: its elements, and whether each stood in quotation marks.
struct Word(Vec<(String, bool)>);

impl Word {
    fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [(text, _)] => Some(text),
            _ => None,
        }
    }

    fn text(&self) -> String {
        self.0.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(",")
    }

    fn lists(&self, name: &str, words: &[&str]) -> bool {
        self.0.iter().any(|(text, quoted)| text == name || (!quoted && words.contains(&text.as_str())))
    }
}

/// The columns of a record; commas join elements of one column, also with blanks around them.
fn words(record: &str) -> Vec<Word> {
    let mut columns: Vec<Word> = Vec::new();
    let mut characters = record.chars().peekable();
    let mut joined = false;
    while let Some(&character) = characters.peek() {
        match character {
            '#' => break,
            ',' => {
                joined = true;
                characters.next();
            }
            _ if character.is_whitespace() => {
                characters.next();
            }
            _ => {
                let (mut text, mut quoted, mut inside) = (String::new(), false, false);
                while let Some(&next) = characters.peek() {
                    match next {
                        '"' => {
                            inside = !inside;
                            quoted = true;
                        }
                        _ if !inside && (next.is_whitespace() || next == ',' || next == '#') => break,
                        _ => text.push(next),
                    }
                    characters.next();
                }
                match columns.last_mut() {
                    Some(last) if joined => last.0.push((text, quoted)),
                    _ => columns.push(Word(vec![(text, quoted)])),
                }
                joined = false;
            }
        }
    }
    columns
}
