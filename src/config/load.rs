//! Reading the file: text → typed sections, or one error that says where, what, what was expected and what to do.

use std::fmt;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Config, DAEMON_SECTIONS, Database, Dkim, Dns, Limits, Log, Secret, Section, credential};

/// Why there is no configuration. Prints as `FILE:LINE:COLUMN: what, expected what`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {reason}; {advice}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The text is no TOML, or has an unknown key or a bad value.
    #[error("{path}:{line}:{column}: {message}", path = path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong, and what was expected.
        message: String,
    },
    /// Keys that contradict each other.
    #[error("{path}: [{section}]: {message}", path = path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// The section's name.
        section: &'static str,
        /// The sentence.
        message: String,
    },
    /// A file with a secret that others may read.
    #[error("{path}: mode {mode:04o} lets everybody read this secret; `chmod o= {path}`", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

/// Reads and checks the file for the daemon whose section is `S`.
///
/// # Errors
/// The first [`ConfigError`] found.
pub fn load<S: Section>(path: &Path) -> Result<Config<S>, ConfigError> {
    let text =
        read_bounded(path, "write it (examples/gatepost.toml has every key), or name another with --config")?;
    let mut config = parse(&text, path)?;
    config.path = Some(path.to_owned());
    Ok(config)
}

/// Checks `text`, calling it `path` in errors.
///
/// # Errors
/// The first [`ConfigError`] found.
pub fn parse<S: Section>(text: &str, path: &Path) -> Result<Config<S>, ConfigError> {
    let bad = |error: toml::de::Error| locate(text, path, &error);
    let common: Common = toml::from_str(text).map_err(bad)?;
    let service = OwnSection::<S>(PhantomData)
        .deserialize(toml::Deserializer::parse(text).map_err(bad)?)
        .map_err(bad)?;
    service.validate().map_err(|message| ConfigError::Contradiction {
        path: path.to_owned(),
        section: S::NAME,
        message,
    })?;
    let mut database = common.database;
    if let Some(user) = service.database_user() {
        database.user = Some(user.to_owned());
    }
    if let Some(file) = service.database_password_file() {
        database.password_file = Some(file.to_owned());
    }
    if common.dns.timeout.0.is_zero() {
        let message = "`timeout` must be more than 0s".to_owned();
        return Err(ConfigError::Contradiction { path: path.to_owned(), section: "dns", message });
    }
    if common.dkim.check_every.0.is_zero() {
        let message = "`check-every` must be more than 0s".to_owned();
        return Err(ConfigError::Contradiction { path: path.to_owned(), section: "dkim", message });
    }
    let Common { dns, dkim, log, limits, .. } = common;
    Ok(Config { path: None, database, dns, dkim, log, limits, service })
}

/// The first line of a file that holds a secret, which nobody but its owner and group may read.
///
/// # Errors
/// [`ConfigError::Unreadable`] or [`ConfigError::Exposed`].
pub fn read_secret_file(path: &Path) -> Result<Secret, ConfigError> {
    Ok(read_secret_lines(path, SECRET_ADVICE)?.into_iter().next().unwrap_or_default())
}

/// All lines of a file that holds secrets, which nobody but its owner and group may read; `credential:NAME` is one that systemd passed.
/// `advice` says what to do where it cannot be read.
///
/// # Errors
/// [`ConfigError::Unreadable`] or [`ConfigError::Exposed`].
pub fn read_secret_lines(path: &Path, advice: &'static str) -> Result<Vec<Secret>, ConfigError> {
    let passed = credential::resolve(path, std::env::var_os("CREDENTIALS_DIRECTORY"))?;
    let path = &*passed;
    let unreadable = |reason| ConfigError::Unreadable { path: path.to_owned(), reason, advice };
    let mode = std::fs::metadata(path).map_err(unreadable)?.mode() & 0o777;
    if mode & 0o007 != 0 {
        return Err(ConfigError::Exposed { path: path.to_owned(), mode });
    }
    let text = zeroize::Zeroizing::new(read_bounded(path, advice)?);
    Ok(text.lines().map(|line| Secret::new(line.to_owned())).collect())
}

fn read_bounded(path: &Path, advice: &'static str) -> Result<String, ConfigError> {
    use std::io::Read;
    let unreadable = |reason| ConfigError::Unreadable { path: path.to_owned(), reason, advice };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(unreadable(std::io::Error::other("larger than 1 MiB")));
    }
    Ok(text)
}

/// The sections everybody reads; the daemons' own are only known by name here.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
#[derive(Default)]
struct Common {
    database: Database,
    dns: Dns,
    dkim: Dkim,
    log: Log,
    limits: Limits,
    #[serde(rename = "milter")]
    _milter: Option<IgnoredAny>,
    #[serde(rename = "dovecot-auth")]
    _dovecot_auth: Option<IgnoredAny>,
    #[serde(rename = "postfix-policy")]
    _postfix_policy: Option<IgnoredAny>,
}

/// Picks the one section `S` out of the document; the rest was judged as [`Common`].
struct OwnSection<S>(PhantomData<S>);

impl<'de, S: Section> DeserializeSeed<'de> for OwnSection<S> {
    type Value = S;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: Section> Visitor<'de> for OwnSection<S> {
    type Value = S;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a table with [{}]", S::NAME)
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<S, M::Error> {
        let mut section = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == S::NAME {
                section = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(section.unwrap_or_default())
    }
}

/// The parser's error with its place in the text, and the candidates where a key is unknown.
fn locate(text: &str, path: &Path, error: &toml::de::Error) -> ConfigError {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let before = text.get(..at).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    let mut message = error
        .message()
        .trim()
        .replace('\n', "; ")
        .replace("unknown field `", "unknown key `")
        .replace('`', "\"");
    if let Some(key) = unknown_key(&message)
        && let Some(nearest) =
            nearest(key, message.rsplit("expected").next().unwrap_or_default().split('"').skip(1).step_by(2))
    {
        message = format!("{message}; did you mean \"{nearest}\"?");
    }
    if line == 1
        && column == 1
        && DAEMON_SECTIONS.iter().any(|name| message.contains(&format!("duplicate field \"{name}\"")))
    {
        message.push_str("; give each section once");
    }
    ConfigError::Bad { path: path.to_owned(), line, column, message }
}

fn unknown_key(message: &str) -> Option<&str> {
    message.strip_prefix("unknown key \"")?.split('"').next()
}

/// The candidate that is most like `word` by edit distance, if it is like it at all.
pub fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates.map(|c| (distance(word, c), c)).min().filter(|(d, c)| *d <= 1 + c.len() / 3).map(|(_, c)| c)
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// A configuration is a few KiB; a device or a log named by mistake must not fill the memory.
const MAX_FILE: u64 = 1 << 20;
const SECRET_ADVICE: &str =
    "write the password into its first line, owned by the daemon's user or group, mode 0640";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::config::{ListenAddress, Seconds};

    #[derive(Clone, Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
    struct Milter {
        listen: Vec<ListenAddress>,
        timeout: Option<Seconds>,
    }

    impl Section for Milter {
        const NAME: &'static str = "milter";

        fn validate(&self) -> Result<(), String> {
            if self.listen.is_empty() { Err("listen is empty".into()) } else { Ok(()) }
        }
    }

    fn error(text: &str) -> String {
        parse::<Milter>(text, Path::new("gatepost.toml")).unwrap_err().to_string()
    }

    #[test]
    fn a_daemon_reads_its_own_section_and_the_common_ones() {
        let text = "[database]\nname = \"x\"\n[milter]\nlisten = [\"inet:127.0.0.1:1\"]\n[dovecot-auth]\nwhatever = 1\n";
        let config = parse::<Milter>(text, Path::new("f")).unwrap();
        assert_eq!(config.database.name, "x");
        assert_eq!(config.service.listen.len(), 1);
        assert_eq!(config.limits.connections, 4096);
    }

    #[test]
    fn errors_say_where_what_and_what_was_expected() {
        let listen = "[milter]\nlisten = [\"inet:127.0.0.1:1\"]\n";
        let cases = [
            ("[databse]\n", "gatepost.toml:1:2: unknown key \"databse\", expected one of "),
            ("[databse]\n", "; did you mean \"database\"?"),
            ("[database]\ntimeout = 30\n", "gatepost.toml:2:11: "),
            ("[database]\ntimeout = \"30\"\n", "bad span of time \"30\""),
            ("[log]\nlevel = \"loud\"\n", "gatepost.toml:2:9: unknown variant \"loud\""),
            ("[limits]\nconnections = -1\n", "gatepost.toml:2:15: "),
            (
                "[milter]\nlisten = [\"x\"]\n",
                "gatepost.toml:2:11: bad address \"x\", expected \"inet:IP:PORT\"",
            ),
            (
                "[milter]\n  lissten = []\n",
                "gatepost.toml:2:3: unknown key \"lissten\", expected \"listen\" or \"timeout\"; did you mean \"listen\"?",
            ),
            ("[milter]\n", "gatepost.toml: [milter]: listen is empty"),
            ("[milter\n", "gatepost.toml:1:8: "),
        ];
        for (text, expected) in cases {
            let text = if text.starts_with("[milter") { text.to_owned() } else { format!("{text}{listen}") };
            assert!(
                error(&text).contains(expected),
                "{text:?} gave {:?}, expected {expected:?}",
                error(&text)
            );
        }
    }

    #[test]
    fn a_secret_that_everybody_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        std::fs::write(&path, "geheim\nsecond line\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_secret_file(&path).unwrap_err().to_string().contains("chmod o="));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(read_secret_file(&path).unwrap().expose(), "geheim");
        assert!(load::<Milter>(Path::new("/nonexistent")).unwrap_err().to_string().contains("--config"));
    }
}
