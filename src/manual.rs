//! Manual pages: what is written by hand, and between marks what is made from the same tables as the program.
//!
//! A page is a file of man(7), kept as it is installed, with regions:
//!
//! ```text
//! .\" begin verbs: made by the program's hidden verb `manual`, but for what stands between "text" and "end text"
//! .TP
//! \fBalias add\fR \fISOURCE\fR \fIDESTINATIONS\fR... [\fB\-\-rank\fR \fIRANK\fR]
//! Let mail for one address go elsewhere.
//! .\" text alias add
//! What is written by hand about this verb stays here, whatever is made anew around it.
//! .\" end text
//! .\" end verbs
//! ```
//!
//! For the hidden verb `manual` of every program, which prints its page with the regions made anew; `packaging/manual` writes and compares them.
//! It invents nothing: a text about an entry that is no longer there is an error, and so is a region that nobody makes.
//!
//! Why not clap_mangen: it makes one page of one command, without a place for texts, and knows no tables of ours.

mod text;
mod verbs;

use std::collections::HashMap;

use text::{capitalized, escaped, sentence};
pub use verbs::{synopsis, verbs};

/// One thing in a region: what is made before and after the text that is written by hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry {
    /// By which the text is found: `alias add`, `database.host`.
    pub key: String,
    /// Lines of man(7), each ended by a line feed; an entry without any is a paragraph if there is a text, and nothing if not.
    pub head: String,
    /// The same, behind the text.
    pub tail: String,
}

/// A region by its name.
pub type Region = (String, Vec<Entry>);

/// Why a page cannot be made anew.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ManualError {
    /// The page asks for a region that this program does not make.
    #[error("line {line}: there is no region \"{name}\"; expected one of {expected}")]
    Unknown {
        /// Where it begins, from 1 on.
        line: usize,
        /// Its name.
        name: String,
        /// What there is.
        expected: String,
    },
    /// The page lacks a region.
    #[error(
        "the page has no region \"{0}\": put the lines `.\\\" begin {0}` and `.\\\" end {0}` where it belongs"
    )]
    Missing(String),
    /// It never ends.
    #[error("line {line}: what begins here has no end, expected `{expected}`")]
    Open {
        /// Where it begins, from 1 on.
        line: usize,
        /// The line that is missing.
        expected: String,
    },
    /// A text about nothing.
    #[error(
        "the text about \"{key}\" in region \"{region}\": there is no such entry any more; move it to another, or take it out"
    )]
    Stray {
        /// Which region.
        region: String,
        /// What it is about.
        key: String,
    },
}

/// The page with all of these regions made anew, and its version; everything else stays.
///
/// # Errors
/// See [`ManualError`].
pub fn renew(page: &str, regions: &[Region]) -> Result<String, ManualError> {
    let mut out = String::with_capacity(2 * page.len());
    let mut lines = page.lines().enumerate();
    let mut made = Vec::new();
    while let Some((number, line)) = lines.next() {
        if number == 0 && line.starts_with(".TH ") {
            out.push_str(&titled(line));
            continue;
        }
        out.push_str(line);
        out.push('\n');
        let Some(name) = line.strip_prefix(BEGIN) else { continue };
        let name = name.split(':').next().unwrap_or(name);
        let Some((_, entries)) = regions.iter().find(|(known, _)| known == name) else {
            let expected: Vec<&str> = regions.iter().map(|(name, _)| name.as_str()).collect();
            let (line, name) = (number + 1, name.to_owned());
            return Err(ManualError::Unknown { line, name, expected: expected.join(", ") });
        };
        let end = format!("{END}{name}");
        let mut texts = texts(&mut lines, number + 1, &end)?;
        for entry in entries {
            put(&mut out, entry, texts.remove(&entry.key));
        }
        if let Some(key) = texts.into_keys().min() {
            return Err(ManualError::Stray { region: name.to_owned(), key });
        }
        out.push_str(&format!("{end}\n"));
        made.push(name.to_owned());
    }
    match regions.iter().find(|(name, _)| !made.contains(name)) {
        Some((name, _)) => Err(ManualError::Missing(name.clone())),
        None => Ok(out),
    }
}

/// Reads to the end of a region, and keeps the texts.
fn texts<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    began: usize,
    end: &str,
) -> Result<HashMap<String, String>, ManualError> {
    let mut texts = HashMap::new();
    let mut open: Option<(usize, String, String)> = None;
    for (number, line) in lines {
        match &mut open {
            Some((_, key, text)) if line == END_TEXT => {
                texts.insert(std::mem::take(key), std::mem::take(text));
                open = None;
            }
            Some((at, ..)) if line == end => {
                return Err(ManualError::Open { line: *at, expected: END_TEXT.to_owned() });
            }
            Some((_, _, text)) => {
                text.push_str(line);
                text.push('\n');
            }
            None if line == end => return Ok(texts),
            None => {
                if let Some(key) = line.strip_prefix(TEXT) {
                    open = Some((number + 1, key.to_owned(), String::new()));
                }
            }
        }
    }
    Err(ManualError::Open { line: began, expected: end.to_owned() })
}

fn put(out: &mut String, entry: &Entry, text: Option<String>) {
    out.push_str(&entry.head);
    if let Some(text) = text {
        if entry.head.is_empty() {
            out.push_str(".PP\n");
        }
        out.push_str(&format!("{TEXT}{}\n{text}{END_TEXT}\n", entry.key));
    }
    out.push_str(&entry.tail);
}

/// `.TH NAME 1 "date" "gatepost 0.1.0" "Gatepost"` with our version.
fn titled(line: &str) -> String {
    let mut parts: Vec<&str> = line.split('"').collect();
    let version = concat!("gatepost ", env!("CARGO_PKG_VERSION"));
    if let Some(part) = parts.get_mut(3) {
        *part = version;
    }
    parts.join("\"") + "\n"
}

const BEGIN: &str = ".\\\" begin ";
const END: &str = ".\\\" end ";
const TEXT: &str = ".\\\" text ";
const END_TEXT: &str = ".\\\" end text";

/// A table of ours: names, kinds and summaries.
pub fn table(rows: &[[String; 3]]) -> Vec<Entry> {
    let entry = |[name, kind, summary]: &[String; 3]| {
        let kind = if kind.is_empty() { String::new() } else { format!(" ({})", escaped(kind)) };
        let head = format!(".TP\n\\fB{}\\fR{kind}\n{}", escaped(name), sentence(&capitalized(summary)));
        Entry { key: name.clone(), head, tail: String::new() }
    };
    rows.iter().map(entry).collect()
}

/// A heading of its own within a region.
pub fn heading(name: &str) -> Entry {
    Entry { key: name.to_owned(), head: format!(".SS {}\n", escaped(name)), tail: String::new() }
}

/// Every key of the configuration, from the commented example: sections with what is said above them, and keys with what stands above
/// them. Keys without a line of their own belong to those before. The text of a key is found by `section.key`.
pub fn keys(example: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let (mut section, mut said, mut values) = (String::new(), Vec::new(), Vec::<String>::new());
    for text in example.lines().chain([""]) {
        let is_comment = text.starts_with('#');
        let bare = text.trim_start_matches(['#', ' ']);
        if let Some(name) = key_of(bare) {
            if values.is_empty() {
                values.push(format!("{section}.{name}"));
            }
            values.push(if is_comment { format!("# {bare}") } else { bare.to_owned() });
            continue;
        }
        if let Some((first, shown)) = std::mem::take(&mut values).split_first() {
            let tags: Vec<String> =
                shown.iter().map(|value| format!("\\fB{}\\fR\n", escaped(value))).collect();
            let head =
                format!(".TP\n{}{}", tags.join(".TQ\n"), sentence(&std::mem::take(&mut said).join(" ")));
            entries.push(Entry { key: first.clone(), head, tail: String::new() });
        }
        if bare.starts_with('[') && bare.ends_with(']') {
            bare.trim_matches(['[', ']']).clone_into(&mut section);
            let note = if is_comment { " (example)" } else { "" };
            let head =
                format!(".SS {}{note}\n{}", escaped(bare), sentence(&std::mem::take(&mut said).join(" ")));
            // The same table again, as an example, has no text of its own.
            let key = if is_comment { format!("# {section}") } else { section.clone() };
            entries.push(Entry { key, head, tail: String::new() });
        } else if is_comment {
            said.push(bare.trim_start_matches("--- ").to_owned());
        } else {
            said.clear();
        }
    }
    entries
}

/// The name in `name = value`; a comment that only looks like it has no such first word, or no value of TOML.
fn key_of(text: &str) -> Option<&str> {
    let (name, value) = text.split_once(" = ")?;
    let bare = name.trim_matches('"');
    let is_value = value.starts_with(|c: char| "\"[{".contains(c) || c.is_ascii_digit())
        || ["true", "false"].contains(&value);
    let is_key = is_value
        && bare
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_lowercase() || bare == name && byte.is_ascii_uppercase())
        && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/ .".contains(&byte))
        && (!bare.contains(' ') || name.starts_with('"'));
    is_key.then_some(bare)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use clap::{Arg, ArgAction, Command};

    use super::*;

    fn entry(key: &str, head: &str, tail: &str) -> Entry {
        Entry { key: key.to_owned(), head: head.to_owned(), tail: tail.to_owned() }
    }

    fn region(entries: &[Entry]) -> Vec<Region> {
        vec![("x".to_owned(), entries.to_vec())]
    }

    #[test]
    fn only_what_is_between_the_marks_is_made_anew_and_texts_stay() {
        let page =
            "a\n.\\\" begin x: made\nold\n.\\\" text k\n.B by hand\n.\\\" end text\nold\n.\\\" end x\nb\n";
        let renewed = renew(page, &region(&[entry("j", "", "J\n"), entry("k", "K\n", "after\n")])).unwrap();
        assert_eq!(
            renewed,
            "a\n.\\\" begin x: made\nJ\nK\n.\\\" text k\n.B by hand\n.\\\" end text\nafter\n.\\\" end x\nb\n"
        );
        assert_eq!(
            renew(&renewed, &region(&[entry("j", "", "J\n"), entry("k", "K\n", "after\n")])).unwrap(),
            renewed
        );
    }

    #[test]
    fn what_is_wrong_with_a_page_is_said() {
        let said = |page: &str| renew(page, &region(&[entry("k", "K\n", "")])).unwrap_err().to_string();
        assert!(said("a\n").contains("has no region \"x\""));
        assert!(
            said("a\n.\\\" begin y\n.\\\" end y\n")
                .contains("line 2: there is no region \"y\"; expected one of x")
        );
        assert!(
            said(".\\\" begin x\n").contains("line 1: what begins here has no end, expected `.\\\" end x`")
        );
        assert!(
            said(".\\\" begin x\n.\\\" text k\n.\\\" end x\n").contains("line 2"),
            "a text that never ends"
        );
        let stray = ".\\\" begin x\n.\\\" text gone\n.\\\" end text\n.\\\" end x\n";
        assert!(said(stray).contains("about \"gone\" in region \"x\": there is no such entry any more"));
    }

    #[test]
    fn keys_have_what_stands_above_them() {
        let example = "# The file.\n\n[dns]\n# The servers = those that are asked.\n# as = they are\n# servers = [\"a\"]\nnone = 1\n# More.\n\n# Lists.\n[milter.lists]\n# Off.\nenabled = true\n\"quota/User quota\" = \"x\"\n";
        let made: String =
            keys(example).into_iter().map(|entry| format!("<{}>{}", entry.key, entry.head)).collect();
        assert_eq!(
            made,
            "<dns>.SS [dns]\n<dns.servers>.TP\n\\fB# servers = [\\(dqa\\(dq]\\fR\n.TQ\n\\fBnone = 1\\fR\nThe servers = those that are asked. as = they are.\n\
             <milter.lists>.SS [milter.lists]\nLists.\n<milter.lists.enabled>.TP\n\\fBenabled = true\\fR\n.TQ\n\\fB\\(dqquota/User quota\\(dq = \\(dqx\\(dq\\fR\nOff.\n"
        );
    }

    #[test]
    fn verbs_are_those_of_the_program() {
        let command = Command::new("x").subcommand(
            Command::new("alias").about("Aliases").after_help("Examples:\n  x alias add a~b").subcommand(
                Command::new("add")
                    .about("Make -one of `x -y`")
                    .arg(Arg::new("source").required(true).help("Which"))
                    .arg(Arg::new("yes").long("yes").action(ArgAction::SetTrue).help(".dot")),
            ),
        );
        let made: String = verbs(&command).into_iter().map(|entry| entry.head + &entry.tail).collect();
        assert_eq!(
            made,
            ".SS alias\nAliases.\n.TP\n\\fBalias add\\fR \\fISOURCE\\fR [\\fB\\-\\-yes\\fR]\nMake \\-one of \\fBx \\-y\\fR.\n\
             .RS\n.TP\n\\fISOURCE\\fR\nWhich.\n.TP\n\\fB\\-\\-yes\\fR\n\\&.dot.\n.RE\n\
             .PP\n.nf\nExamples:\n  x alias add a\\(tib\n.fi\n"
        );
        assert_eq!(
            synopsis(&command)[0].head,
            "\\fBx\\fR \\fBalias add\\fR \\fISOURCE\\fR [\\fB\\-\\-yes\\fR]\n"
        );
    }

    #[test]
    fn a_table_is_made_of_sentences() {
        let rows = [["A", "k", "a sign of x"], ["B", "", "p=reject"]].map(|row| row.map(str::to_owned));
        let made: String = table(&rows).into_iter().map(|entry| entry.head).collect();
        assert_eq!(made, ".TP\n\\fBA\\fR (k)\nA sign of x.\n.TP\n\\fBB\\fR\np=reject.\n");
    }

    #[test]
    fn what_is_not_ascii_is_named() {
        assert_eq!(escaped("bücher… 2^x"), "b\\[u00FC]cher... 2\\(hax");
    }
}
