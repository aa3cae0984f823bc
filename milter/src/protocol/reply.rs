//! What we say: replies and edits to bytes, each in one place.
//!
//! For `session`. It escapes what has to be escaped (a `%` in reply text is doubled, NUL and line ends cannot get out), so that
//! no text of ours or of a peer can be read as protocol. It does not check whether an edit was agreed or is allowed now: edits
//! are sent only in answer to `E`, before the final reply, and `session` sees to that.
//!
//! ```text
//! c continue   a accept   d discard   r reject   t tempfail   p progress   s skip   4 shutdown   f connection failed
//! y  text NUL                        "554 5.7.1 text"
//! h  name NUL value NUL              append a header field
//! i  index:u32 name NUL value NUL    insert; 0 = top, above Postfix's own Received
//! m  index:u32 name NUL value NUL    change the index-th (from 1) field of that name; an empty value deletes it
//! b  bytes                           replace the body; several in a row, no other edit between them
//! e  address NUL [arguments NUL]     + address NUL   2 address NUL arguments NUL   - address NUL   q reason NUL
//! ```

use gatepost::mail::SmtpReply;

/// The largest piece of body in one `b` frame, as libmilter and Postfix do it (65,535 bytes).
pub const MAX_BODY_CHUNK: usize = 65_535;

/// The answer to a command; for `E`, the final one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Go on.
    Continue,
    /// Take the message without asking further.
    Accept,
    /// Pretend to take the message and drop it.
    Discard,
    /// 550 5.7.1, in Postfix's words.
    Reject,
    /// 451 4.7.1, in Postfix's words.
    TempFail,
    /// Refuse with our words.
    Smtp(SmtpReply),
    /// No more pieces of the body are wanted.
    Skip,
    /// Still at work; resets the peer's timer (300 s, `milter_content_timeout`).
    Progress,
    /// 421, close the SMTP connection.
    Shutdown,
    /// The connection between MTA and milter failed.
    ConnectionFailed,
}

/// A change to the message or its envelope, in answer to `E` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Append a field at the end of the header block.
    AddHeader {
        /// The field name.
        name: String,
        /// The value, folds as `"\n\t"`; with its leading space when that step was agreed.
        value: Vec<u8>,
    },
    /// Insert a field at an index from the top.
    InsertHeader {
        /// 0 is above Postfix's own `Received:`.
        index: u32,
        /// The field name.
        name: String,
        /// As in [`Edit::AddHeader`].
        value: Vec<u8>,
    },
    /// Replace the value of a field.
    ChangeHeader {
        /// Which one of that name, from 1.
        index: u32,
        /// The field name.
        name: String,
        /// As in [`Edit::AddHeader`]; empty deletes the field.
        value: Vec<u8>,
    },
    /// Replace the body, whole.
    ReplaceBody(Vec<u8>),
    /// Replace the sender.
    ChangeFrom {
        /// With or without brackets; `<>` is the null sender.
        address: String,
        /// ESMTP parameters (Postfix 3.3 and later: RET and ENVID only), or empty.
        arguments: String,
    },
    /// Add a recipient.
    AddRecipient {
        /// The address.
        address: String,
        /// ESMTP parameters (NOTIFY, ORCPT), or empty.
        arguments: String,
    },
    /// Remove a recipient as it was given in RCPT.
    DeleteRecipient(String),
    /// Put the message on hold, with the reason for the log.
    Quarantine(String),
}

impl Reply {
    /// The content of the frame.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Continue => vec![b'c'],
            Self::Accept => vec![b'a'],
            Self::Discard => vec![b'd'],
            Self::Reject => vec![b'r'],
            Self::TempFail => vec![b't'],
            Self::Skip => vec![b's'],
            Self::Progress => vec![b'p'],
            Self::Shutdown => vec![b'4'],
            Self::ConnectionFailed => vec![b'f'],
            // Postfix reads the text as a printf format: "%%" is one "%", a single "%" is eaten.
            Self::Smtp(reply) => fields(b'y', None, &[reply.to_string().replace('%', "%%").as_bytes()]),
        }
    }
}

impl Edit {
    /// The contents of the frames: one, except for a long body, of which each piece is made when it is its turn.
    pub fn encode(&self) -> impl Iterator<Item = Vec<u8>> {
        let (one, body) = match self {
            // An empty body is replaced by one empty frame, or nothing would be replaced.
            Self::ReplaceBody(body) if !body.is_empty() => (None, body.as_slice()),
            edit => (Some(edit.frame()), &[][..]),
        };
        one.into_iter().chain(body.chunks(MAX_BODY_CHUNK).map(piece))
    }

    /// The content of the only frame.
    fn frame(&self) -> Vec<u8> {
        match self {
            Self::AddHeader { name, value } => fields(b'h', None, &[name.as_bytes(), value]),
            Self::InsertHeader { index, name, value } => {
                fields(b'i', Some(*index), &[name.as_bytes(), value])
            }
            Self::ChangeHeader { index, name, value } => {
                fields(b'm', Some(*index), &[name.as_bytes(), value])
            }
            Self::ReplaceBody(body) => piece(body),
            Self::ChangeFrom { address, arguments } if arguments.is_empty() => {
                fields(b'e', None, &[address.as_bytes()])
            }
            Self::ChangeFrom { address, arguments } => {
                fields(b'e', None, &[address.as_bytes(), arguments.as_bytes()])
            }
            Self::AddRecipient { address, arguments } if arguments.is_empty() => {
                fields(b'+', None, &[address.as_bytes()])
            }
            Self::AddRecipient { address, arguments } => {
                fields(b'2', None, &[address.as_bytes(), arguments.as_bytes()])
            }
            Self::DeleteRecipient(address) => fields(b'-', None, &[address.as_bytes()]),
            Self::Quarantine(reason) => fields(b'q', None, &[reason.as_bytes()]),
        }
    }
}

/// A piece of a body.
fn piece(bytes: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1 + bytes.len());
    frame.push(b'b');
    frame.extend_from_slice(bytes);
    frame
}

/// Command byte, number, NUL-terminated strings. A NUL inside a string would end it early: it is left out. So is CR, of which
/// Postfix would leave a stray one in the delivered header.
fn fields(command: u8, index: Option<u32>, strings: &[&[u8]]) -> Vec<u8> {
    let length: usize = strings.iter().map(|string| string.len() + 1).sum();
    let mut frame = Vec::with_capacity(1 + size_of::<u32>() + length);
    frame.push(command);
    if let Some(index) = index {
        frame.extend_from_slice(&index.to_be_bytes());
    }
    for string in strings {
        let mut from = 0;
        for left_out in memchr::memchr2_iter(0, b'\r', string) {
            frame.extend_from_slice(&string[from..left_out]);
            from = left_out + 1;
        }
        frame.extend_from_slice(&string[from..]);
        frame.push(0);
    }
    frame
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn replies_of_one_letter() {
        for (reply, letter) in [
            (Reply::Continue, b'c'),
            (Reply::Accept, b'a'),
            (Reply::Discard, b'd'),
            (Reply::Reject, b'r'),
            (Reply::TempFail, b't'),
            (Reply::Skip, b's'),
            (Reply::Progress, b'p'),
            (Reply::Shutdown, b'4'),
            (Reply::ConnectionFailed, b'f'),
        ] {
            assert_eq!(reply.encode(), [letter]);
        }
    }

    #[test]
    fn reply_text_is_escaped() {
        let reply = Reply::Smtp(SmtpReply::new(554, "5.7.1", "100% spam\r\n250 ok\0"));
        let frame = reply.encode();
        assert!(frame.starts_with(b"y554 5.7.1 100%% spam"), "{}", frame.escape_ascii());
        assert_eq!(
            frame.iter().filter(|byte| matches!(byte, 0 | b'\r' | b'\n')).count(),
            1,
            "only the last NUL"
        );
        assert_eq!(frame.last(), Some(&0));
    }

    #[test]
    fn edits() {
        let text = |text: &str| text.to_owned();
        for (edit, frame) in [
            (Edit::AddHeader { name: text("X-A"), value: b" 1\n\t2".to_vec() }, &b"hX-A\0 1\n\t2\0"[..]),
            (Edit::InsertHeader { index: 1, name: text("X"), value: b" v".to_vec() }, b"i\0\0\0\x01X\0 v\0"),
            (Edit::ChangeHeader { index: 2, name: text("X"), value: Vec::new() }, b"m\0\0\0\x02X\0\0"),
            (
                Edit::ChangeHeader { index: 1, name: text("X"), value: b" a\0b\r\n c".to_vec() },
                b"m\0\0\0\x01X\0 ab\n c\0",
            ),
            (Edit::ReplaceBody(Vec::new()), b"b"),
            (Edit::ReplaceBody(b"a\0b\r\n".to_vec()), b"ba\0b\r\n"),
            (Edit::ChangeFrom { address: text("<>"), arguments: text("") }, b"e<>\0"),
            (Edit::ChangeFrom { address: text("a@b"), arguments: text("RET=HDRS") }, b"ea@b\0RET=HDRS\0"),
            (Edit::AddRecipient { address: text("a@b"), arguments: text("") }, b"+a@b\0"),
            (
                Edit::AddRecipient { address: text("a@b"), arguments: text("NOTIFY=NEVER") },
                b"2a@b\0NOTIFY=NEVER\0",
            ),
            (Edit::DeleteRecipient(text("<a@b>")), b"-<a@b>\0"),
            (Edit::Quarantine(text("why")), b"qwhy\0"),
        ] {
            assert_eq!(edit.encode().collect::<Vec<_>>(), [frame], "{edit:?}");
        }
    }

    #[test]
    fn a_long_body_goes_in_pieces() {
        let edit = Edit::ReplaceBody(vec![b'x'; MAX_BODY_CHUNK + 1]);
        let frames = edit.encode();
        assert_eq!(frames.map(|frame| frame.len()).collect::<Vec<_>>(), [MAX_BODY_CHUNK + 1, 2]);
    }
}
