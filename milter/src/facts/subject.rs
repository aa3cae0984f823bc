//! The subject: decoded, and without the `Re:` that programs put before it.
//!
//! For the rules of the group `subject`.

use mail_parser::Message as Parsed;

use super::mailboxes::{Correspondents, cut};
use super::scripts;
use crate::message::Message;

/// RFC 5322, 2.1.1 wants lines of 78; nobody writes a subject of a thousand characters.
const MAX_TEXT: usize = 2_048;

/// The subject.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// Whether there is a `Subject` field at all.
    pub present: bool,
    /// The decoded text with its white space as it is, cut.
    pub text: String,
    /// The decoded text without reply marks, trimmed.
    pub bare: String,
    /// Whether it begins with a reply mark.
    pub is_reply: bool,
    /// Whether it begins with a forward mark.
    pub is_forward: bool,
    /// How the raw value is encoded (RFC 2047).
    pub encoding: HeaderEncoding,
    /// Words that mix scripts which look alike, such as Latin and Cyrillic.
    pub mixed_words: usize,
    /// Characters nobody sees.
    pub invisible: usize,
    /// Whether it names the recipient's whole address.
    pub names_address: bool,
    /// Whether it has the recipient's local part as a word.
    pub names_local: bool,
}

/// The use of encoded words in one header value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeaderEncoding {
    /// An encoded word in base64.
    pub base64: bool,
    /// An encoded word in quoted-printable.
    pub quoted: bool,
    /// Whether what it decodes to has characters beyond ASCII, so that there was something to encode.
    pub needed: bool,
    /// Whether the raw value has bytes beyond ASCII.
    pub raw: bool,
}

impl HeaderEncoding {
    /// Reads the raw value; `decoded` is what it says.
    pub fn read(raw: &[u8], decoded: &str) -> Self {
        let lower = raw.to_ascii_lowercase();
        let has = |mark: &[u8]| lower.windows(mark.len()).any(|window| window == mark);
        let encoded = has(b"=?");
        Self {
            base64: encoded && has(b"?b?"),
            quoted: encoded && has(b"?q?"),
            // A line end or a tab cannot stand in a header unencoded either.
            needed: !decoded.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
                || decoded.contains("=?"),
            raw: !raw.is_ascii(),
        }
    }
}

impl Subject {
    pub(super) fn read(message: &Message, parsed: &Parsed<'_>, people: &Correspondents) -> Self {
        let Some(raw) = message.first("subject") else {
            return Self::default();
        };
        let decoded = parsed.subject().unwrap_or_default();
        let text = cut(decoded, MAX_TEXT).to_owned();
        let (bare, is_reply, is_forward) = strip_marks(&text);
        let lower = bare.to_lowercase();
        let (names_address, names_local) = names_recipient(&lower, people);
        Self {
            present: true,
            bare: bare.to_owned(),
            is_reply,
            is_forward,
            encoding: HeaderEncoding::read(&raw[..raw.len().min(MAX_TEXT)], &text),
            mixed_words: scripts::mixed_words(&text),
            invisible: text.chars().filter(|&c| scripts::is_invisible(c)).count(),
            names_address,
            names_local,
            text,
        }
    }
}

/// Takes `Re:`, `Fwd:` and list tags such as `[list]` from the beginning, and says which of them were there.
fn strip_marks(text: &str) -> (&str, bool, bool) {
    let (mut rest, mut reply, mut forward) = (text.trim(), false, false);
    for _ in 0..16 {
        let head = rest.split([':', '\u{FF1A}']).next().unwrap_or_default();
        // `Re[2]:` and `Re (2):` count as well.
        let mark = head.split(['[', '(']).next().unwrap_or_default().trim().to_lowercase();
        let after = rest.get(head.len()..).unwrap_or_default();
        if head.len() <= 12 && !after.is_empty() && REPLY.contains(&mark.as_str()) {
            reply = true;
        } else if head.len() <= 12 && !after.is_empty() && FORWARD.contains(&mark.as_str()) {
            forward = true;
        } else if let Some((tag, after)) = rest.strip_prefix('[').and_then(|inner| inner.split_once(']'))
            && tag.len() <= 64
            && !after.trim().is_empty()
        {
            rest = after.trim_start();
            continue;
        } else {
            break;
        }
        rest = after.trim_start_matches([':', '\u{FF1A}']).trim_start();
    }
    (rest, reply, forward)
}

fn names_recipient(lower: &str, people: &Correspondents) -> (bool, bool) {
    let Some(to) = people.to.first().filter(|to| to.is_address()) else {
        return (false, false);
    };
    let whole = lower.contains(&to.address);
    // Short or usual names stand in honest subjects too.
    let local = to.local.len() >= 4 && super::hosts::contains_word(lower, &to.local);
    (whole, local && !whole)
}

/// `Re` in the languages of widespread mail programs.
const REPLY: [&str; 12] =
    ["re", "aw", "sv", "vs", "antw", "antwort", "odp", "ynt", "res", "rif", "回复", "答复"];
/// `Fwd` in the same.
const FORWARD: [&str; 11] = ["fwd", "fw", "wg", "tr", "vb", "doorst", "rv", "enc", "i", "转发", "pd"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reply_marks_are_no_part_of_a_subject() {
        assert_eq!(strip_marks("Re: [list] AW: Fwd: x: y"), ("x: y", true, true));
        assert_eq!(strip_marks("Re[2]: hello"), ("hello", true, false));
        assert_eq!(strip_marks("[only a tag]"), ("[only a tag]", false, false));
        assert_eq!(strip_marks("Report: x"), ("Report: x", false, false));
        assert_eq!(strip_marks(""), ("", false, false));
        assert_eq!(strip_marks("Re:"), ("", true, false));
    }
}
