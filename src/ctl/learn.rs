//! `gatepost learn`: mail that is known to be spam, or wanted, shown to the milters in bulk.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use gatepost::mail::Address;
use gatepost::training;
use mail_parser::mailbox::mbox::MessageIterator;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};

/// What the messages are.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Label {
    /// Not wanted
    Spam,
    /// Wanted
    Ham,
}

/// Shows mail to the milters: `gatepost learn spam /var/vmail/example.com/ann/Maildir/.Junk`
///
/// A path is one message, an mbox (it begins with `From `), a Maildir or any other directory, which is read with all below it. What was
/// learned already is not learned again. Messages that this server has judged are learned as they were judged.
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
    /// Only count the messages
    #[arg(long)]
    dry_run: bool,
}

fn address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|error| error.to_string())
}

pub(super) async fn run(learn: Learn, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    let mut files = Vec::new();
    for path in &learn.paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let mut teacher =
        Teacher { learn: &learn, connection, seen: 0, news: 0, skipped: 0, files: files.len(), done: 0 };
    for file in &files {
        teacher.file(file).await.with_context(|| file.display().to_string())?;
        teacher.done += 1;
    }
    teacher.progress(true);
    let word = match learn.label {
        Label::Spam => "spam",
        Label::Ham => "ham",
    };
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

/// The files of a path: Dovecot's own files in a Maildir, and tmp, are no mail.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> anyhow::Result<()> {
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
        if kind.is_dir() && name != "tmp" {
            collect(&entry.path(), files)?;
        } else if kind.is_file() && !maildir {
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
    files: usize,
    done: usize,
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
            for message in MessageIterator::new(reader) {
                self.message(message?.contents()).await?;
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
        let mut sample = training::pack(raw);
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
        let key = carried.unwrap_or_else(|| training::key_of(raw));
        let (news,): (bool,) = sqlx::query_as("SELECT gatepost.teach($1, $2, 'tool', $3, $4)")
            .bind(match self.learn.label {
                Label::Spam => "spam",
                Label::Ham => "ham",
            })
            .bind(self.learn.user.as_ref().map(|user| user.to_string().to_lowercase()))
            .bind(key.as_bytes().to_vec())
            .bind(sample)
            .fetch_one(&mut *self.connection)
            .await
            .map_err(explain)?;
        self.news += usize::from(news);
        self.progress(false);
        Ok(())
    }

    /// A line that is written over, on a terminal; nothing elsewhere.
    fn progress(&self, end: bool) {
        let mut stderr = std::io::stderr();
        if !stderr.is_terminal() || !(end || self.seen.is_multiple_of(50)) {
            return;
        }
        let bar = "#".repeat(self.done * 30 / self.files.max(1));
        let _ = write!(stderr, "\r[{bar:<30}] {}/{} files, {} messages", self.done, self.files, self.seen);
        if end {
            let _ = writeln!(stderr);
        }
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
        collect(folder.path(), &mut files).unwrap();
        files.sort();
        let names: Vec<_> =
            files.iter().map(|file| file.strip_prefix(folder.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, [".Sent/cur/4", "cur/1:2,S", "new/2"]);
        assert!(collect(Path::new("/does/not/exist"), &mut files).is_ok(), "opening it says what is wrong");
    }
}
