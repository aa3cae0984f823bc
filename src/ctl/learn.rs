//! `gatepost learn`: mail that is known to be spam, or wanted, shown to the milters in bulk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use gatepost::mail::Address;
use gatepost::training;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::mbox::{Found, Mbox};
use super::progress::Progress;

/// What the messages are.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Label {
    /// Not wanted
    Spam,
    /// Wanted
    Ham,
}

impl Label {
    fn as_str(self) -> &'static str {
        match self {
            Self::Spam => "spam",
            Self::Ham => "ham",
        }
    }
}

/// Shows mail to the milters: `gatepost learn spam /var/vmail/example.com/ann/Maildir/.Junk`
///
/// A path is one message, an mbox (it begins with `From `), a Maildir or any other directory, which is read with all below it; for ham without the
/// folders below it that are called Junk, Spam, Trash or Deleted. What was learned already is not learned again. Messages that this server has judged
/// are learned as they were judged.
#[derive(Args)]
pub(super) struct Learn {
    /// What the messages are
    #[arg(value_enum)]
    label: Label,
    /// Messages, mboxes, Maildirs, directories; - is one message on stdin
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Whose mail it is; without it the messages teach everybody's model alike
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    user: Option<Address>,
    /// Only mail that its user has read and left there for so many days: the paths are Maildirs, such as his Inbox, of which `cur` is read and
    /// no folder below. What he has called spam or ham himself stays as it is
    #[arg(long, value_name = "DAYS", requires = "user", value_parser = clap::value_parser!(u32).range(1..=3650))]
    read_for: Option<u32>,
    /// Only count the messages
    #[arg(long)]
    dry_run: bool,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(learn: Learn, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    if learn.read_for.is_some() && matches!(learn.label, Label::Spam) {
        bail!("--read-for: mail that was read and kept is ham; expected `gatepost learn ham --read-for …`");
    }
    let mut files = Vec::new();
    for path in &learn.paths {
        match learn.read_for {
            Some(days) => collect_read(path, Duration::from_secs(u64::from(days) * 86_400), &mut files)?,
            None => collect(path, learn.label, &mut files)?,
        }
    }
    files.sort();
    let bar = Progress::new("learning", "files", Some(files.len() as u64));
    let mut teacher = Teacher { learn: &learn, connection, seen: 0, news: 0, skipped: 0 };
    let mut gone = 0;
    for file in &files {
        match teacher.file(file).await {
            // A Maildir in use: the file has another name since its flags changed, or its owner threw it away.
            Err(error) if !learn.paths.contains(file) && is_gone(&error) => gone += 1,
            read => read.with_context(|| file.display().to_string())?,
        }
        bar.advance(1);
    }
    drop(bar);
    if gone > 0 {
        eprintln!(
            "{gone} files were renamed or removed meanwhile; the same command again reads what has another name now"
        );
    }
    let word = learn.label.as_str();
    match learn.dry_run {
        true => println!("{} messages in {} files; nothing was learned", teacher.seen, files.len()),
        false => println!(
            "{} of {} messages learned as {word}, {} known already, {} empty or too large",
            teacher.news,
            teacher.seen,
            teacher.seen - teacher.news - teacher.skipped,
            teacher.skipped
        ),
    }
    Ok(())
}

/// Whether a file was not there any more.
fn is_gone(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The files of a path: Dovecot's own files in a Maildir, and tmp, are no mail.
fn collect(path: &Path, label: Label, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    if path == Path::new("-") || !path.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    let maildir = path.join("cur").is_dir();
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry.with_context(|| path.display().to_string())?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let kind = entry.file_type()?;
        if kind.is_dir() && matches!(label, Label::Ham) && is_unwanted(&name) {
            eprintln!("{}: passed over, since it is hardly ham; name it to learn it", entry.path().display());
        } else if kind.is_dir() && name != "tmp" {
            collect(&entry.path(), label, files)?;
        } else if kind.is_file() && !maildir {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Whether a folder of that name, or one below it (`.Junk.old`, as Maildir++ has it), holds what its owner does not want.
fn is_unwanted(name: &str) -> bool {
    let name = name.trim_start_matches('.').split('.').next().unwrap_or_default().to_ascii_lowercase();
    matches!(name.as_str(), "junk" | "spam" | "trash" | "deleted" | "deleted items" | "deleted messages")
}

/// The messages of a Maildir that were read and then left alone for that long: flag S (seen), and none of D, T, P (a draft, thrown away, passed
/// on), by <https://cr.yp.to/proto/maildir.html>. Flags stand in the file's name, so the last change of the inode (its ctime) is that of the
/// flags, or of the folder.
fn collect_read(path: &Path, kept: Duration, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let current = path.join("cur");
    if !current.is_dir() {
        bail!("{}: --read-for reads Maildirs, and there is no {}", path.display(), current.display());
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for entry in fs::read_dir(&current).with_context(|| current.display().to_string())? {
        let entry = entry.with_context(|| current.display().to_string())?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let flags = name.rsplit_once(":2,").map_or("", |(_, flags)| flags.split(',').next().unwrap_or(""));
        if !flags.contains('S') || flags.contains(['D', 'T', 'P']) {
            continue;
        }
        // Gone meanwhile, or renamed: looked at the next time.
        let Ok(data) = entry.metadata() else { continue };
        let changed = u64::try_from(data.ctime()).unwrap_or(u64::MAX);
        if data.is_file() && now.saturating_sub(changed) >= kept.as_secs() {
            files.push(entry.path());
        }
    }
    Ok(())
}

struct Teacher<'a> {
    learn: &'a Learn,
    connection: &'a mut PgConnection,
    seen: usize,
    news: usize,
    skipped: usize,
}

impl Teacher<'_> {
    async fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        if path == Path::new("-") {
            let mut raw = Vec::new();
            std::io::stdin().take(MAX_MESSAGE).read_to_end(&mut raw)?;
            return self.message(&raw).await;
        }
        let mut reader = BufReader::new(File::open(path)?);
        if reader.fill_buf()?.starts_with(b"From ") {
            for (number, found) in Mbox::new(reader, MAX_MESSAGE as usize - 1).enumerate() {
                match found? {
                    Found::Message(raw) => self.message(&raw).await?,
                    Found::TooLong => {
                        let (place, most) = (path.display(), MAX_MESSAGE >> 20);
                        eprintln!("{place}: message {} has {most} MiB or more; it is skipped", number + 1);
                        self.seen += 1;
                        self.skipped += 1;
                    }
                }
            }
            return Ok(());
        }
        let mut raw = Vec::new();
        reader.take(MAX_MESSAGE).read_to_end(&mut raw)?;
        self.message(&raw).await
    }

    async fn message(&mut self, raw: &[u8]) -> anyhow::Result<()> {
        self.seen += 1;
        if raw.trim_ascii().is_empty() || raw.len() as u64 >= MAX_MESSAGE {
            self.skipped += 1;
            return Ok(());
        }
        if self.learn.dry_run {
            return Ok(());
        }
        let carried = training::carried_key(raw);
        let seen = training::as_judged(raw);
        let mut sample = training::pack(&seen);
        if let Some(key) = carried {
            let judged: Option<(Vec<u8>,)> =
                sqlx::query_as("SELECT sample FROM gatepost.judged_messages WHERE message = $1")
                    .bind(key.as_bytes().to_vec())
                    .fetch_optional(&mut *self.connection)
                    .await
                    .map_err(explain)?;
            if let Some((judged,)) = judged {
                sample = judged;
            }
        }
        let key = carried.unwrap_or_else(|| training::key_of(&seen));
        let statement = match self.learn.read_for {
            Some(_) => "SELECT gatepost.teach_wanted($1, 'read', $2, $3)",
            None => "SELECT gatepost.teach($4, $1, 'tool', $2, $3)",
        };
        let mut teach = sqlx::query_as(statement)
            .bind(self.learn.user.as_ref().map(|user| user.to_string().to_lowercase()))
            .bind(key.as_bytes().to_vec())
            .bind(sample);
        if self.learn.read_for.is_none() {
            teach = teach.bind(self.learn.label.as_str());
        }
        let (news,): (bool,) = teach.fetch_one(&mut *self.connection).await.map_err(explain)?;
        self.news += usize::from(news);
        Ok(())
    }
}

/// Larger than what any mail server lets through.
const MAX_MESSAGE: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_maildir_is_its_messages_and_nothing_of_dovecot() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cur", "new", "tmp", ".Sent/cur"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        for name in ["cur/1:2,S", "new/2", "tmp/3", "dovecot-uidlist", ".Sent/cur/4", ".Sent/maildirfolder"] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        let mut files = Vec::new();
        collect(folder.path(), Label::Ham, &mut files).unwrap();
        files.sort();
        let names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, [".Sent/cur/4", "cur/1:2,S", "new/2"]);
        let found = collect(Path::new("/does/not/exist"), Label::Ham, &mut files);
        assert!(found.is_ok(), "opening it says what is wrong");
        let missing = File::open("/does/not/exist").unwrap_err();
        assert!(is_gone(&missing.into()) && !is_gone(&anyhow::anyhow!("other")));
    }

    #[test]
    fn junk_and_trash_below_a_maildir_are_no_ham() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cur", ".Junk/cur", ".Junk.old/cur", ".Trash/cur", ".Junkers/cur"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
            fs::write(folder.path().join(name).join("1:2,S"), "x").unwrap();
        }
        let count = |path: &str, label| {
            let mut files = Vec::new();
            collect(&folder.path().join(path), label, &mut files).unwrap();
            files.len()
        };
        assert_eq!(count("", Label::Ham), 2, "the Inbox and the planes");
        assert_eq!(count("", Label::Spam), 5, "whoever says so is obeyed");
        assert_eq!(count(".Trash", Label::Ham), 1, "named");
    }

    #[test]
    fn what_was_read_and_kept_is_told_by_flags_and_age() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cur", "new", ".Archive/cur"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let names = ["1:2,S", "2:2,RS", "3:2,", "4:2,ST", "5:2,SD", "6,S=12:2,a", "7:2,PS", "8"];
        for name in names {
            fs::write(folder.path().join("cur").join(name), "x").unwrap();
        }
        fs::write(folder.path().join("new/9"), "x").unwrap();
        fs::write(folder.path().join(".Archive/cur/10:2,S"), "x").unwrap();
        let read = |kept| {
            let mut files = Vec::new();
            collect_read(folder.path(), kept, &mut files).unwrap();
            files.sort();
            let name = |file: &PathBuf| file.file_name().unwrap().to_string_lossy().into_owned();
            files.iter().map(name).collect::<Vec<_>>()
        };
        assert_eq!(read(Duration::ZERO), ["1:2,S", "2:2,RS"]);
        assert!(read(Duration::from_secs(3_600)).is_empty(), "just read");
        let error = collect_read(Path::new("/does/not/exist"), Duration::ZERO, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("--read-for reads Maildirs"), "{error}");
    }
}
