//! What a dict server answers: one line, or rows and an empty line. See the table in [`super`].
//!
//! After the letter of an answer to a commit comes the transaction's id, which clients ignore; an error is the parameter after it.

use crate::protocol::tabbed::{escape, push};

/// One answer, or one row of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `O`: the value.
    Found(&'a str),
    /// `M`: several values, each escaped, and the whole escaped again (since 3.2).
    FoundMany(&'a [String]),
    /// `N`: there is no such key.
    NotFound,
    /// `F`: nobody can say; ends rows as well.
    Failed(&'a str),
    /// `O`: a row; without its value if that is not wanted. The field stays: a row without it is a protocol error to the client.
    Row(&'a str, &'a str),
    /// The empty line behind the last row.
    End,
    /// `O`: carried out.
    Committed(u32),
    /// `N`: a key that was to be changed is not there.
    CommittedNothing(u32),
    /// `F`: not carried out.
    CommitFailed(u32, &'a str),
    /// `W`: perhaps carried out, perhaps not.
    CommitUncertain(u32, &'a str),
    /// `A`: one of the answers to a commit, to a client that did not wait for it.
    Async(&'a Self),
}

/// `*`: the first command that is unanswered and has no number has this one.
pub fn number(number: u32, out: &mut Vec<u8>) {
    out.extend(format!("*{number}\n").bytes());
}

impl Reply<'_> {
    /// Appends the line, LF included, as an answer to the command with that number.
    pub fn render_for(&self, number: Option<u32>, out: &mut Vec<u8>) {
        if let Some(number) = number {
            out.extend(format!("+{number}\t").bytes());
        }
        self.render(out);
    }

    /// Appends the line, LF included.
    pub fn render(&self, out: &mut Vec<u8>) {
        let id = |id: &u32| id.to_string();
        match self {
            Self::Found(value) => {
                out.push(b'O');
                escape(value.as_bytes(), out);
            }
            Self::FoundMany(values) => {
                let mut list = Vec::new();
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        list.push(b'\t');
                    }
                    escape(value.as_bytes(), &mut list);
                }
                out.push(b'M');
                escape(&list, out);
            }
            Self::NotFound => out.push(b'N'),
            Self::Failed(why) => {
                out.push(b'F');
                escape(why.as_bytes(), out);
            }
            Self::Row(key, value) => {
                out.push(b'O');
                escape(key.as_bytes(), out);
                push(value.as_bytes(), out);
            }
            Self::End => {}
            Self::Committed(number) => out.extend(format!("O{}", id(number)).bytes()),
            Self::CommittedNothing(number) => out.extend(format!("N{}", id(number)).bytes()),
            Self::CommitFailed(number, why) => {
                out.extend(format!("F{}", id(number)).bytes());
                push(why.as_bytes(), out);
            }
            Self::Async(answer) => {
                out.push(b'A');
                return answer.render(out);
            }
            Self::CommitUncertain(number, why) => {
                out.extend(format!("W{}", id(number)).bytes());
                push(why.as_bytes(), out);
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_numbered_answer_says_so_on_each_line() {
        let mut out = Vec::new();
        number(7, &mut out);
        Reply::Row("k", "v").render_for(Some(7), &mut out);
        Reply::End.render_for(Some(7), &mut out);
        Reply::Async(&Reply::Committed(3)).render_for(Some(8), &mut out);
        Reply::NotFound.render_for(None, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "*7\n+7\tOk\tv\n+7\t\n+8\tAO3\nN\n");
    }

    #[test]
    fn replies_are_lines_with_everything_escaped() {
        for (reply, line) in [
            (Reply::Found("a\tb\nc"), "Oa\x01tb\x01nc\n"),
            (Reply::Found(""), "O\n"),
            (Reply::FoundMany(&["a\tb".into(), "c".into()]), "Ma\x011tb\x01tc\n"),
            (Reply::NotFound, "N\n"),
            (Reply::Failed("no\nserver"), "Fno\x01nserver\n"),
            (Reply::Row("shared/k", "1"), "Oshared/k\t1\n"),
            (Reply::Row("shared/k", ""), "Oshared/k\t\n"),
            (Reply::End, "\n"),
            (Reply::Committed(3), "O3\n"),
            (Reply::CommittedNothing(3), "N3\n"),
            (Reply::CommitFailed(3, "no server"), "F3\tno server\n"),
            (Reply::CommitUncertain(3, "no answer"), "W3\tno answer\n"),
        ] {
            let mut out = Vec::new();
            reply.render(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }
}
