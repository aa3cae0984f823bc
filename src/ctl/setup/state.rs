//! Copies of every file before its first change, and the way back.
//!
//! `DIR/state.json` says which files were changed since the first `--apply`: for each its copy beside it (none for a file that was not
//! there), owner and mode, and the digest of what it was given. It is written anew, and synced, before a file is touched, so that a machine
//! that stops in the middle can go back too. A file that somebody else has changed since is not put back, unless `--force` says so.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::programs::{said, succeeds};
use super::{Host, Where};
use crate::ctl::connection::explain;

/// What was changed.
#[derive(Default, Deserialize, Serialize)]
pub(super) struct State {
    #[serde(skip)]
    directory: PathBuf,
    /// In the order of their first change.
    files: Vec<Changed>,
    /// Directories that were made.
    directories: Vec<PathBuf>,
    /// Units that were disabled.
    units: Vec<String>,
    /// Units of ours that were started, and whether they were enabled before.
    #[serde(default)]
    started: Vec<Started>,
    /// What else was done, which is not undone.
    stays: Vec<String>,
}

/// One file.
#[derive(Deserialize, Serialize)]
struct Changed {
    path: PathBuf,
    /// Its copy's name in the directory; `None` where there was no such file.
    copy: Option<String>,
    mode: u32,
    uid: u32,
    gid: u32,
    /// SHA-256 of what it was given; `None` until then, or where it was removed.
    given: Option<String>,
}

/// A unit that did not run.
#[derive(Deserialize, Serialize)]
struct Started {
    unit: String,
    enabled: bool,
}

impl State {
    /// What an earlier run has left, or a new one.
    pub(super) fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join(FILE);
        let mut state = match std::fs::read_to_string(&path) {
            Ok(text) => {
                serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        state.directory = directory.to_owned();
        Ok(state)
    }

    /// Whether nothing was done.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.units.is_empty() && self.started.is_empty() && self.stays.is_empty()
    }

    /// Keeps a copy of a file as it is, if there is none yet; makes the directories that it needs.
    pub(super) fn keep(&mut self, path: &Path) -> anyhow::Result<()> {
        if self.files.iter().any(|file| file.path == path) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.directory)
            .and_then(|()| std::fs::set_permissions(&self.directory, std::fs::Permissions::from_mode(0o700)))
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        let changed = match std::fs::metadata(path) {
            Ok(metadata) => {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let copy = format!("{:02}-{name}", self.files.len());
                let contents =
                    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                put(&self.directory.join(&copy), &contents, 0o600, None)?;
                Changed {
                    path: path.to_owned(),
                    copy: Some(copy),
                    mode: metadata.mode() & 0o7777,
                    uid: metadata.uid(),
                    gid: metadata.gid(),
                    given: Some(digest(&contents)),
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Changed { path: path.to_owned(), copy: None, mode: 0, uid: 0, gid: 0, given: None }
            }
            Err(error) => return Err(error).with_context(|| format!("cannot look at {}", path.display())),
        };
        self.files.push(changed);
        let mut missing: Vec<PathBuf> =
            path.ancestors().skip(1).take_while(|parent| !parent.exists()).map(Path::to_owned).collect();
        missing.reverse();
        self.directories.extend(missing.iter().cloned());
        self.save()?;
        for directory in missing {
            std::fs::create_dir(&directory)
                .with_context(|| format!("cannot make {}", directory.display()))?;
        }
        Ok(())
    }

    /// Notes what a file that was kept is now.
    pub(super) fn changed(&mut self, path: &Path) -> anyhow::Result<()> {
        if let Some(file) = self.files.iter_mut().find(|file| file.path == path) {
            file.given = std::fs::read(path).ok().map(|contents| digest(&contents));
        }
        self.save()
    }

    /// Notes units that are disabled.
    pub(super) fn disabled(&mut self, units: &[String]) -> anyhow::Result<()> {
        self.units.extend(units.iter().cloned());
        self.save()
    }

    /// Notes units that are enabled and started: what they were before the first time.
    pub(super) fn started(&mut self, units: &[String]) -> anyhow::Result<()> {
        for unit in units {
            if !self.started.iter().any(|known| known.unit == *unit) {
                let enabled = succeeds("systemctl", &["is-enabled", "--quiet", unit]);
                self.started.push(Started { unit: unit.clone(), enabled });
            }
        }
        self.save()
    }

    /// Notes something that stays when all files are put back.
    pub(super) fn stays(&mut self, what: String) -> anyhow::Result<()> {
        if !self.stays.contains(&what) {
            self.stays.push(what);
        }
        self.save()
    }

    fn save(&self) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.directory)
            .with_context(|| format!("cannot make {}", self.directory.display()))?;
        put(&self.directory.join(FILE), serde_json::to_string_pretty(self)?.as_bytes(), 0o600, None)
    }

    /// The files whose contents are neither what they were given nor, where an `--undo` stopped in the middle, what they were before.
    fn strangers(&self) -> Vec<&Path> {
        let read = |path: &Path| std::fs::read(path).ok().map(|contents| digest(&contents));
        let differs = |file: &&Changed| {
            let now = read(&file.path);
            let before = file.copy.as_ref().and_then(|copy| read(&self.directory.join(copy)));
            now != file.given && now != before
        };
        self.files.iter().filter(differs).map(|file| file.path.as_path()).collect()
    }
}

/// Writes a file as a whole: beside itself first, then renamed, with mode and owner (those it has if none are given).
pub(super) fn put(path: &Path, contents: &[u8], mode: u32, owner: Option<(u32, u32)>) -> anyhow::Result<()> {
    let there = std::fs::metadata(path).ok();
    let mode = there.as_ref().filter(|_| owner.is_none()).map_or(mode, |there| there.mode() & 0o7777);
    let owner = owner.or(there.map(|there| (there.uid(), there.gid())));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.gatepost"));
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(contents)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&file, Some(uid), Some(gid))?;
        }
        file.set_permissions(std::fs::Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write()
        .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn digest(contents: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, contents);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Puts everything back.
pub(super) async fn undo(host: &Host, where_: &Where, force: bool) -> anyhow::Result<()> {
    let state = State::open(&where_.state)?;
    if state.is_empty() {
        println!("nothing to undo: {} has no state of `gatepost setup --apply`", where_.state.display());
        return Ok(());
    }
    let strangers = state.strangers();
    if !strangers.is_empty() && !force {
        let list: Vec<String> = strangers.iter().map(|path| path.display().to_string()).collect();
        bail!(
            "changed since by somebody else: {}; nothing was put back. The files as they were are in {}; --force puts them back all the same and keeps what is there now",
            list.join(", "),
            where_.state.display()
        );
    }
    // Whoever did the work before must answer before Postfix asks again.
    if !state.units.is_empty() {
        let words: Vec<&str> =
            ["enable", "--now"].into_iter().chain(state.units.iter().map(String::as_str)).collect();
        said("systemctl", &words)?;
        println!("enabled {}", state.units.join(", "));
    }
    for path in &strangers {
        if let Ok(contents) = std::fs::read(path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let kept = where_.state.with_file_name(format!("{name}.before-undo"));
            put(&kept, &contents, 0o600, None)?;
            println!("kept {} as {}", path.display(), kept.display());
        }
    }
    for file in state.files.iter().rev() {
        match &file.copy {
            Some(copy) => {
                let copy = state.directory.join(copy);
                let contents =
                    std::fs::read(&copy).with_context(|| format!("cannot read {}", copy.display()))?;
                put(&file.path, &contents, file.mode, Some((file.uid, file.gid)))?;
                println!("put back {}", file.path.display());
            }
            None => match std::fs::remove_file(&file.path) {
                Ok(()) => println!("removed {}", file.path.display()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove {}", file.path.display()));
                }
            },
        }
    }
    for directory in state.directories.iter().rev() {
        // Only an empty one: what others put there stays.
        let _ = std::fs::remove_dir(directory);
    }
    reload(host, where_).await?;
    // Nobody asks them any more.
    for (verb, enabled) in [(&["disable", "--now"][..], false), (&["stop"][..], true)] {
        let of_them = state.started.iter().filter(|known| known.enabled == enabled);
        let units: Vec<&str> = of_them.map(|known| known.unit.as_str()).collect();
        if !units.is_empty() {
            said("systemctl", &[verb, units.as_slice()].concat())?;
            println!("{} {}", if enabled { "stopped" } else { "disabled" }, units.join(", "));
        }
    }
    for what in &state.stays {
        println!("stays: {what}");
    }
    std::fs::remove_dir_all(&where_.state)
        .with_context(|| format!("cannot remove {}", where_.state.display()))?;
    println!("everything is as it was before `gatepost setup --apply`");
    Ok(())
}

/// Everybody reads the old files again.
async fn reload(host: &Host, where_: &Where) -> anyhow::Result<()> {
    let mut connection = host.settings.connect_to("postgres").await?;
    sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut *connection).await.map_err(explain)?;
    let place = where_.dovecot.as_ref().map(|file| file.display().to_string());
    let at: Vec<&str> = place.as_deref().map_or_else(Vec::new, |place| vec!["-c", place]);
    said("doveconf", &[at.as_slice(), &["-n"]].concat())?;
    // It says so if Dovecot does not run.
    if !succeeds("doveadm", &[at.as_slice(), &["reload"]].concat()) {
        println!("Dovecot does not run: it was not told");
    }
    let place = where_.postfix.as_ref().map(|file| file.display().to_string());
    let at: Vec<&str> = place.as_deref().map_or_else(Vec::new, |place| vec!["-c", place]);
    if succeeds("postfix", &[at.as_slice(), &["status"]].concat()) {
        said("postfix", &[at.as_slice(), &["reload"]].concat())?;
    } else {
        println!("Postfix does not run: it was not told");
    }
    Ok(())
}

const FILE: &str = "state.json";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// PostgreSQL may be away when it is to read its files again: then `--undo` ends in the middle, and is called once more.
    #[test]
    fn what_was_put_back_already_is_nobody_elses_change() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("main.cf"), place.path().join("99-gatepost.conf"));
        std::fs::write(&old, "before").unwrap();
        let mut state = State::open(&place.path().join("state")).unwrap();
        for path in [&old, &new] {
            state.keep(path).unwrap();
            put(path, b"ours", 0o644, None).unwrap();
            state.changed(path).unwrap();
        }
        assert!(state.strangers().is_empty());
        std::fs::write(&old, "before").unwrap();
        std::fs::remove_file(&new).unwrap();
        assert_eq!(state.strangers(), Vec::<&Path>::new());
        std::fs::write(&old, "theirs").unwrap();
        std::fs::write(&new, "theirs").unwrap();
        assert_eq!(state.strangers(), [old.as_path(), new.as_path()]);
    }
}
