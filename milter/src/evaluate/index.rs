//! The list of a labelled corpus.
//!
//! ```text
//! index = *( label TAB path [ TAB group ] LF / "#" text LF / LF )
//! label = "spam" / "ham"
//! ```
//!
//! A relative path starts at the index's own directory. A group names messages that belong together (one source, one campaign, near
//! duplicates): `fit` never learns from some of them what it is tested with on the others. Without one, a message is alone.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

/// A labelled corpus.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    text: String,
    /// The messages in the order of the file.
    pub entries: Vec<Entry>,
}

/// One message.
#[derive(Debug)]
pub struct Entry {
    /// The line in the index, from 1.
    pub line: usize,
    /// What it is.
    pub label: Label,
    /// Path and group in the index's text.
    path: std::ops::Range<usize>,
    group: Option<std::ops::Range<usize>>,
}

/// What somebody has said of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// Wanted.
    Ham,
    /// Not wanted.
    Spam,
}

impl Label {
    /// The word in the index.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ham => "ham",
            Self::Spam => "spam",
        }
    }
}

impl Index {
    /// Reads a list.
    ///
    /// # Errors
    /// The file, or its broken lines, each as `FILE:LINE: what is wrong`; the first [`MAX_COMPLAINTS`] of them.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        if size > MAX_INDEX {
            bail!("{}: {size} bytes are no index; at most {MAX_INDEX}", path.display());
        }
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        let text = String::from_utf8(text).map_err(|error| {
            let before = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
            let line = before.filter(|byte| **byte == b'\n').count() + 1;
            anyhow::anyhow!("{}:{line}: not UTF-8", path.display())
        })?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> anyhow::Result<Self> {
        let (mut entries, mut wrong, mut start) = (Vec::new(), Vec::new(), 0);
        for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
            let line = whole.trim_end_matches(['\n', '\r']);
            match entry(number, line, start) {
                Ok(entry) => entries.extend(entry),
                Err(what) => wrong.push(format!("{}:{number}: {what}", path.display())),
            }
            start += whole.len();
        }
        if wrong.len() > MAX_COMPLAINTS {
            let more = wrong.len() - MAX_COMPLAINTS;
            wrong.truncate(MAX_COMPLAINTS);
            wrong.push(format!("and {more} more lines"));
        }
        if !wrong.is_empty() {
            bail!("{}", wrong.join("\n"));
        }
        if entries.is_empty() {
            bail!("{}: no message is listed; expected lines \"spam|ham TAB path\"", path.display());
        }
        Ok(Self { path: path.to_owned(), text, entries })
    }

    /// A message's path as the index has it.
    pub fn text_of(&self, entry: &Entry) -> &str {
        &self.text[entry.path.clone()]
    }

    /// Where a message is.
    pub fn file_of(&self, entry: &Entry) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(self.text_of(entry))
    }

    /// `FILE:LINE`.
    pub fn place_of(&self, entry: &Entry) -> String {
        format!("{}:{}", self.path.display(), entry.line)
    }

    /// The group of a message, its path if it has none.
    pub fn group_of(&self, entry: &Entry) -> &str {
        entry.group.clone().map_or_else(|| self.text_of(entry), |group| &self.text[group])
    }
}

/// What a line says; none for an empty one and a comment. `start` is where it begins in the text.
fn entry(number: usize, line: &str, start: usize) -> Result<Option<Entry>, String> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let Some((label, rest)) = line.split_once('\t') else {
        return Err("expected \"spam\" or \"ham\", a tab and a path; found no tab".to_owned());
    };
    let label = match label {
        "spam" => Label::Spam,
        "ham" => Label::Ham,
        other => {
            let shown: String = other.chars().take(40).collect();
            return Err(format!("expected \"spam\" or \"ham\" before the tab, found {shown:?}"));
        }
    };
    let begin = start + line.len() - rest.len();
    let (path, group) = match rest.split_once('\t') {
        None => (rest, None),
        Some((path, group)) if !group.is_empty() && !group.contains('\t') => {
            (path, Some(begin + path.len() + 1..begin + rest.len()))
        }
        Some(_) => return Err("expected label, path and group, with a tab between them".to_owned()),
    };
    if path.is_empty() {
        return Err("expected a path after the tab, found nothing".to_owned());
    }
    Ok(Some(Entry { line: number, label, path: begin..begin + path.len(), group }))
}

/// Ten million lines of a hundred bytes.
const MAX_INDEX: u64 = 1 << 30;

/// Enough to see what is wrong with a file.
pub const MAX_COMPLAINTS: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parse(text: &str) -> Result<Index, String> {
        Index::parse(Path::new("mail/index"), text.to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn lines_become_messages() {
        let index = parse("# from the archive\nham\ta/1.eml\r\n\nspam\t/b/2.eml\tcampaign 7\n").unwrap();
        let seen: Vec<_> = index
            .entries
            .iter()
            .map(|entry| (index.place_of(entry), index.file_of(entry), index.group_of(entry)))
            .collect();
        assert_eq!(
            seen,
            [
                ("mail/index:2".to_owned(), PathBuf::from("mail/a/1.eml"), "a/1.eml"),
                ("mail/index:4".to_owned(), PathBuf::from("/b/2.eml"), "campaign 7"),
            ]
        );
        assert_eq!(index.entries[1].label, Label::Spam);
    }

    #[test]
    fn every_broken_line_is_named() {
        let error = parse("ham a\nSpam\tb\nham\t\nham\tc\td\te\nham\tgood\n").unwrap_err();
        assert_eq!(
            error,
            "mail/index:1: expected \"spam\" or \"ham\", a tab and a path; found no tab\n\
             mail/index:2: expected \"spam\" or \"ham\" before the tab, found \"Spam\"\n\
             mail/index:3: expected a path after the tab, found nothing\n\
             mail/index:4: expected label, path and group, with a tab between them"
        );
        assert!(parse(&"x\n".repeat(25)).unwrap_err().ends_with("\nand 5 more lines"));
        assert!(parse("\n#\n").unwrap_err().contains("no message is listed"));
    }
}
