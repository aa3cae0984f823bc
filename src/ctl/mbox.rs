//! The messages of an mbox file, one after the other, each within a bound.
//!
//! For `learn`. A message begins behind a line `From …` and ends before the next; lines that were quoted as `>From `, `>>From ` lose one `>`
//! (mboxrd, <http://qmail.org/qmail-manual-html/man5/mbox.html>). `mail_parser` reads mboxes too, but each message whole, however long: a damaged
//! file, or one that is no mbox, must not fill the memory.

use std::io::{self, BufRead, Read};

/// What stands between two `From ` lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A message.
    Message(Vec<u8>),
    /// More than the bound; it is read past.
    TooLong,
}

/// Reads an mbox.
pub(super) struct Mbox<R> {
    reader: R,
    most: usize,
    /// Whether a `From ` line was read whose message is still to come.
    open: bool,
}

impl<R: BufRead> Mbox<R> {
    /// Messages of up to `most` bytes.
    pub(super) fn new(reader: R, most: usize) -> Self {
        Self { reader, most, open: false }
    }

    fn read(&mut self) -> io::Result<Option<Found>> {
        let (mut message, mut too_long, mut line) = (Vec::new(), false, Vec::new());
        let mut at_start = true;
        loop {
            line.clear();
            (&mut self.reader).take(PIECE).read_until(b'\n', &mut line)?;
            let begins = std::mem::replace(&mut at_start, line.ends_with(b"\n"));
            let separates = begins && line.starts_with(b"From ");
            let ended = line.is_empty();
            // A very long one: its rest is no part of a message.
            while separates && !line.ends_with(b"\n") && !line.is_empty() {
                line.clear();
                (&mut self.reader).take(PIECE).read_until(b'\n', &mut line)?;
            }
            if (separates || ended) && std::mem::replace(&mut self.open, !ended) {
                return Ok(Some(if too_long { Found::TooLong } else { Found::Message(message) }));
            }
            if ended {
                return Ok(None);
            }
            if separates {
                at_start = true;
                continue;
            }
            let quoted = begins && is_quoted(&line);
            let text = if quoted { line.get(1..).unwrap_or_default() } else { &line };
            if self.open && !too_long {
                too_long = message.len() + text.len() > self.most;
                match too_long {
                    true => message = Vec::new(),
                    false => message.extend_from_slice(text),
                }
            }
        }
    }
}

impl<R: BufRead> Iterator for Mbox<R> {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

/// Whether a line is `>From `, `>>From ` and so on.
fn is_quoted(line: &[u8]) -> bool {
    let unquoted = line.iter().position(|&byte| byte != b'>');
    unquoted.is_some_and(|at| at > 0 && line.get(at..).is_some_and(|rest| rest.starts_with(b"From ")))
}

/// The longest piece of a line that is read at once.
const PIECE: u64 = 65_536;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn read(mbox: &[u8], most: usize) -> Vec<Found> {
        Mbox::new(mbox, most).collect::<io::Result<_>>().unwrap()
    }

    fn message(text: &str) -> Found {
        Found::Message(text.as_bytes().to_vec())
    }

    #[test]
    fn messages_are_divided_and_unquoted() {
        let mbox = b"lost\nFrom a Sat\nSubject: x\n\n>From here\n>>From there\n> From\n\nFrom b Sun\nSubject: y\n\nno end";
        let first = "Subject: x\n\nFrom here\n>From there\n> From\n\n";
        assert_eq!(read(mbox, 1_000), [message(first), message("Subject: y\n\nno end")]);
        assert_eq!(read(b"", 10), []);
        assert_eq!(read(b"From a\nFrom b\n", 10), [message(""), message("")]);
    }

    #[test]
    fn one_that_is_too_long_is_read_past() {
        let mut mbox = b"From a\nSubject: x\n\n".to_vec();
        mbox.extend(std::iter::repeat_n(b'z', 300_000));
        mbox.extend_from_slice(b"\nFrom b\nSubject: y\n\nshort\n");
        assert_eq!(read(&mbox, 100_000), [Found::TooLong, message("Subject: y\n\nshort\n")]);
        let [Found::Message(long), _] = &read(&mbox, 400_000)[..] else { panic!("two messages") };
        assert_eq!(long.len(), 300_000 + "Subject: x\n\n\n".len());
    }

    #[test]
    fn a_line_is_divided_only_where_it_begins() {
        let mut mbox = b"From a\nx".to_vec();
        mbox.extend(std::iter::repeat_n(b' ', PIECE as usize - 1));
        mbox.extend_from_slice(b"From here on\n");
        assert_eq!(read(&mbox, 1 << 20).len(), 1);
        let mut long = b"From a".to_vec();
        long.extend(std::iter::repeat_n(b'z', 2 * PIECE as usize));
        long.extend_from_slice(b"\nSubject: x\n");
        assert_eq!(read(&long, 1 << 20), [message("Subject: x\n")]);
    }
}
