//! Our own configuration: the file, what stands in the daemons' sections, and the files that it names.
//!
//! The daemons' sections have types of their own, which the tool does not know; whether they are right says each daemon's `check`, which
//! is run where we are root. Here they are read as TOML only.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use gatepost::config::{DAEMON_SECTIONS, ListenAddress};

use crate::ctl::connection::Settings;

/// `gatepost.toml` and all around it.
#[derive(Default)]
pub(in crate::ctl::check) struct OwnFile {
    /// None: built-in defaults.
    pub(in crate::ctl::check) path: Option<PathBuf>,
    pub(in crate::ctl::check) mode: Option<u32>,
    /// The daemons whose section is not there.
    pub(in crate::ctl::check) without_section: Vec<&'static str>,
    /// What each daemon's own `check` said, where it could be run.
    pub(in crate::ctl::check) daemons: Vec<(&'static str, Result<(), String>)>,
    /// Every key that names a secret.
    pub(in crate::ctl::check) secrets: Vec<Key>,
    /// Where daemons listen: section, key, the address or why it is none.
    pub(in crate::ctl::check) listen: Vec<(&'static str, String, Result<ListenAddress, String>)>,
    /// `uid` and `gid` of `[dovecot-auth]`.
    pub(in crate::ctl::check) mail_user: (String, String),
}

/// A key that names a file with a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ctl::check) struct Key {
    /// Such as `milter`; `database` and `dkim` are everybody's.
    pub(in crate::ctl::check) section: String,
    pub(in crate::ctl::check) name: String,
    /// The file; where systemd passes it, the copy for the daemon that runs, or what the packages' units make it of.
    pub(in crate::ctl::check) path: PathBuf,
    pub(in crate::ctl::check) state: State,
    /// Whether it is `credential:NAME`: no user of a daemon need read it.
    pub(in crate::ctl::check) is_credential: bool,
}

/// What the file is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ctl::check) enum State {
    /// Its mode.
    There(u32),
    Missing,
    /// We may not look.
    Hidden,
    /// systemd passes it to a daemon that it has not started.
    Passed,
}

impl State {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(meta) => Self::There(meta.mode() & 0o7777),
            Err(reason) if reason.kind() == std::io::ErrorKind::NotFound => Self::Missing,
            Err(_) => Self::Hidden,
        }
    }
}

impl OwnFile {
    pub(super) fn gather(settings: &Settings) -> Self {
        let mail_user = ("vmail".to_owned(), "vmail".to_owned());
        let Some(path) = settings.config.path.clone() else { return Self { mail_user, ..Self::default() } };
        // It was read a moment ago, with its bounds and its errors.
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let document = toml::from_str::<toml::Table>(&text).unwrap_or_default();
        let mut own = Self {
            mode: std::fs::metadata(&path).ok().map(|meta| meta.mode() & 0o7777),
            secrets: secrets(&document),
            mail_user,
            ..Self::default()
        };
        for name in DAEMON_SECTIONS {
            match document.get(name).and_then(toml::Value::as_table) {
                Some(section) => listeners(name, section, &mut own.listen),
                None => own.without_section.push(name),
            }
        }
        if let Some(auth) = document.get("dovecot-auth").and_then(toml::Value::as_table) {
            let text = |key: &str| match auth.get(key) {
                Some(toml::Value::String(text)) => text.clone(),
                Some(toml::Value::Integer(number)) => number.to_string(),
                _ => "vmail".to_owned(),
            };
            own.mail_user = (text("uid"), text("gid"));
        }
        if nix::unistd::geteuid().is_root() {
            own.daemons = DAEMON_SECTIONS.iter().filter_map(|name| judged(name, &path)).collect();
        }
        own.path = Some(path);
        own
    }
}

/// What the daemon itself says of the file; nothing where it is not installed.
fn judged(name: &'static str, path: &Path) -> Option<(&'static str, Result<(), String>)> {
    let program = format!("gatepost-{name}");
    // Beside us, as in a build directory; else as installed.
    let beside = std::env::current_exe().ok()?.with_file_name(&program);
    let program = if beside.exists() { beside.display().to_string() } else { program };
    let passed = Some(credentials(name)).filter(|directory| directory.is_dir());
    match super::output_with(&program, &["--config", &path.display().to_string(), "check"], passed.as_deref())
    {
        Ok(_) => Some((name, Ok(()))),
        Err(why) if why.ends_with("is not installed") => None,
        // "gatepost-milter: " stands before it twice: once by us, once by the daemon.
        Err(why) => Some((
            name,
            Err(why
                .rsplit_once(&format!("gatepost-{name}: "))
                .map_or(why.clone(), |(_, why)| why.to_owned())),
        )),
    }
}

/// Keys that name secrets, wherever they stand.
fn secrets(document: &toml::Table) -> Vec<Key> {
    let mut found = Vec::new();
    let mut rest: Vec<(String, &toml::Table)> = vec![(String::new(), document)];
    while let Some((section, table)) = rest.pop() {
        for (name, value) in table {
            let inner = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
            match value {
                // Without its domain SRS is off, whatever else stands there, as in the example.
                toml::Value::Table(table)
                    if inner == "postfix-policy.srs" && !table.contains_key("domain") => {}
                toml::Value::Table(table) => rest.push((inner, table)),
                toml::Value::String(path) if SECRETS.iter().any(|ending| name.ends_with(ending)) => {
                    let credential = path.strip_prefix("credential:");
                    let (path, state) = match credential {
                        Some(credential) => passed(&section, credential),
                        None => (path.into(), State::of(Path::new(path))),
                    };
                    let (section, name) = (section.clone(), name.clone());
                    found.push(Key { section, name, path, state, is_credential: credential.is_some() });
                }
                _ => {}
            }
        }
    }
    found.sort_by(|a, b| (&a.section, &a.name).cmp(&(&b.section, &b.name)));
    found
}

/// Where a credential of a section's daemon is seen: what systemd has passed to the daemon that runs, else the file of which the packages'
/// units make it (`LoadCredential=secret:/etc/gatepost/secrets/DAEMON`).
fn passed(section: &str, name: &str) -> (PathBuf, State) {
    let daemon = section.split('.').next().unwrap_or_default();
    let running = credentials(daemon).join(name);
    let source = name.strip_prefix("secret_").map(|file| Path::new(SECRET_FILES).join(daemon).join(file));
    for path in std::iter::once(&running).chain(&source) {
        match State::of(path) {
            State::Missing => {}
            state => return (path.clone(), state),
        }
    }
    (source.unwrap_or(running), State::Passed)
}

/// What systemd passes to a daemon (systemd.exec(5), `$CREDENTIALS_DIRECTORY` of a system service).
fn credentials(daemon: &str) -> PathBuf {
    format!("/run/credentials/gatepost-{daemon}.service").into()
}

/// Below it, a directory for each daemon.
const SECRET_FILES: &str = "/etc/gatepost/secrets";

fn listeners(
    daemon: &'static str,
    section: &toml::Table,
    found: &mut Vec<(&'static str, String, Result<ListenAddress, String>)>,
) {
    for (key, value) in section {
        if key == "policy" {
            for one in value.as_array().into_iter().flatten().filter_map(toml::Value::as_table) {
                listeners(daemon, one, found);
            }
        } else if key == "learning" {
            value.as_table().into_iter().for_each(|table| listeners(daemon, table, found));
        } else if key.starts_with("listen") || key == "socketmap" {
            let addresses = value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
            found.extend(addresses.into_iter().map(|address| {
                let parsed = address.try_into().map_err(|error: toml::de::Error| error.message().to_owned());
                (daemon, key.clone(), parsed)
            }));
        }
    }
}

/// The sockets that systemd makes for us, by `FileDescriptorName=`: what the `.socket` units of our packages say.
pub(super) fn units() -> BTreeMap<String, Vec<PathBuf>> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for directory in UNITS {
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("gatepost-") && name.ends_with(".socket") {
                let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
                let (named, paths) = unit(&text);
                found.insert(named.unwrap_or_else(|| name.trim_end_matches(".socket").to_owned()), paths);
            }
        }
    }
    found
}

/// `FileDescriptorName=` and the paths of `ListenStream=` (systemd.socket(5)).
fn unit(text: &str) -> (Option<String>, Vec<PathBuf>) {
    let values = |key: &str| {
        let key = format!("{key}=");
        text.lines()
            .filter_map(move |line| {
                line.trim().strip_prefix(key.as_str()).map(|value| value.trim().to_owned())
            })
            .collect::<Vec<_>>()
    };
    let paths = values("ListenStream").into_iter().filter(|path| path.starts_with('/')).map(PathBuf::from);
    (values("FileDescriptorName").pop(), paths.collect())
}

/// Later ones win, as with systemd.
const UNITS: [&str; 3] = ["/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/system"];

/// The endings of keys that name secrets.
const SECRETS: [&str; 4] = ["password-file", "key-file", "secret-file", "secrets-file"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn secrets_and_sockets_are_found_wherever_they_stand() {
        let text = "[database]\npassword-file = \"/nowhere/a\"\n[milter]\nlisten = [\"unix:/a\", \"systemd:milter\"]\n[milter.lists]\nspamhaus-key-file = \"/nowhere/b\"\n\
            [milter.learning]\nlisten = [\"unix:/learn\"]\n[postfix-policy]\nsocketmap = [\"unix:/c\"]\n[[postfix-policy.policy]]\nlisten = [\"x\"]\n[postfix-policy.srs]\ndomain = \"example.com\"\nsecrets-file = \"credential:secret_s\"\n";
        let document: toml::Table = toml::from_str(text).unwrap();
        let names: Vec<String> =
            secrets(&document).iter().map(|key| format!("{} {}", key.section, key.name)).collect();
        assert_eq!(
            names,
            ["database password-file", "milter.lists spamhaus-key-file", "postfix-policy.srs secrets-file"]
        );
        let states: Vec<State> = secrets(&document).into_iter().map(|key| key.state).collect();
        assert_eq!(states, [State::Missing, State::Missing, State::Passed]);
        assert_eq!(secrets(&document)[2].path, Path::new("/etc/gatepost/secrets/postfix-policy/s"));
        let off: toml::Table = toml::from_str(&text.replace("domain = \"example.com\"\n", "")).unwrap();
        assert_eq!(secrets(&off).len(), 2, "without a domain there is no SRS, and its secret is nobody's");
        let mut found = Vec::new();
        for name in ["milter", "postfix-policy"] {
            listeners(name, document[name].as_table().unwrap(), &mut found);
        }
        let said: Vec<String> = found
            .iter()
            .map(|(_, key, address)| {
                format!("{key} {}", address.as_ref().map_or_else(|_| "bad".to_owned(), ToString::to_string))
            })
            .collect();
        assert_eq!(
            said,
            [
                "listen unix:/learn",
                "listen unix:/a",
                "listen systemd:milter",
                "listen bad",
                "socketmap unix:/c"
            ]
        );
    }

    #[test]
    fn a_unit_says_where_its_socket_is() {
        let text = "[Socket]\nListenStream=/var/spool/postfix/run/gatepost/milter.sock\nFileDescriptorName=milter\nSocketMode=0660\n";
        assert_eq!(
            unit(text),
            (Some("milter".to_owned()), vec!["/var/spool/postfix/run/gatepost/milter.sock".into()])
        );
    }
}
