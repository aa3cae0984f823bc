//! Changes to a header block: what only we may write is taken out, what we say is put in.
//!
//! For `service`, which knows when. Pure: messages and outcomes in, edits of the protocol out. The number of a field counts those of its
//! name from the top, as Postfix shows them.

use gatepost::spam::SubjectTemplate;
use gatepost::spf::{self, Client};

use crate::authentication::{Authentication, results};
use crate::message::{Envelope, Header, Message};
use crate::protocol::Edit;
use crate::report;
use crate::signing::{Change, Draft};

/// Deletions of header fields that only we may write: our own names, and results that claim our id (RFC 8601, 5).
pub(crate) fn foreign_copies(message: &Message, host: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for name in report::OWN_HEADERS {
        remove(&mut edits, message, name, |_| true);
    }
    remove(&mut edits, message, results::NAME, |value| results::claims_to_be(host, value));
    edits
}

/// Deletions of those fields of a name that are meant. The number of a field counts those of its name from the top, so the last one
/// goes first and no number changes.
pub(crate) fn remove(edits: &mut Vec<Edit>, message: &Message, name: &str, is_meant: impl Fn(&[u8]) -> bool) {
    let meant = message.values(name).enumerate().filter(|(_, value)| is_meant(value));
    let numbers: Vec<usize> = meant.map(|(at, _)| at + 1).collect();
    for number in numbers.into_iter().rev() {
        let index = u32::try_from(number).unwrap_or(u32::MAX);
        edits.push(Edit::ChangeHeader { index, name: name.to_owned(), value: Vec::new() });
    }
}

/// The name of the field of RFC 7208, 9.1.
pub(crate) const RECEIVED_SPF: &str = "Received-SPF";

/// What SPF came to, as a field of its own; none where it was not asked.
pub(crate) fn received_spf(found: &Authentication, envelope: &Envelope, host: &str) -> Option<String> {
    let client = Client {
        address: envelope.client_address?,
        helo: envelope.helo.as_deref().unwrap_or_default(),
        host,
        now: 0,
    };
    Some(spf::received_spf(found.spf.as_ref()?, client, &envelope.reverse_path))
}

/// Whether a `Received-SPF` names this host, in whatever quotes, escapes or folds: then it is ours or pretends to be, and ours is
/// written anew. Those of other hosts on the way stay.
pub(crate) fn names(value: &[u8], host: &str) -> bool {
    let noise = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\\');
    let plain: Vec<u8> = value.iter().filter(|byte| !noise(byte)).map(u8::to_ascii_lowercase).collect();
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    String::from_utf8_lossy(&plain).contains(&host)
}

/// The subject as a template has it: the first field changed, or one added where there is none. The old value stays as it is, encoded words and
/// all; where the line would become too long it begins on a line of its own.
pub(crate) fn rewrite_subject(subject: Option<&[u8]>, template: &SubjectTemplate) -> Edit {
    let (before, after) = template.around();
    let old = subject.map(<[u8]>::trim_ascii);
    let mut value = format!(" {before}").into_bytes();
    let first_line = old.unwrap_or_default().split(|byte| *byte == b'\n').next().map_or(0, <[u8]>::len);
    if value.len() + first_line + after.len() > MAX_LINE {
        value.extend_from_slice(b"\n ");
    }
    value.extend_from_slice(old.unwrap_or_default());
    value.extend_from_slice(after.as_bytes());
    match old {
        Some(_) => Edit::ChangeHeader { index: 1, name: "Subject".to_owned(), value },
        None => Edit::AddHeader { name: "Subject".to_owned(), value },
    }
}

/// RFC 5322, 2.1.1: at most 998 bytes in a line, the name among them.
const MAX_LINE: usize = 980;

pub(crate) fn insert(name: &str, value: String) -> Edit {
    Edit::InsertHeader { index: 0, name: name.to_owned(), value: value.into_bytes() }
}

/// A draft's changes in our protocol's words; it names fields as Postfix counts them.
pub(crate) fn changes(draft: &Draft) -> Vec<Edit> {
    let name = |name: Vec<u8>| String::from_utf8_lossy(&name).into_owned();
    let edit = |change| match change {
        Change::Set(field, index, value) => Edit::ChangeHeader { index, name: name(field), value },
        Change::Append(field) => Edit::AddHeader { name: name(field.name), value: field.value },
    };
    draft.changes().into_iter().map(edit).collect()
}

/// Whether a field of a message of ours is one that only we may write; see [`foreign_copies`].
pub(crate) fn is_foreign(header: &Header, host: &str) -> bool {
    report::OWN_HEADERS.iter().any(|name| header.is(name))
        || (header.is(results::NAME) && results::claims_to_be(host, &header.value))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_subject_is_rewritten_within_a_line() {
        let template = SubjectTemplate::default();
        let rewritten =
            |message: &[u8]| match rewrite_subject(Message::from_eml(message).first("Subject"), &template) {
                Edit::ChangeHeader { index: 1, value, .. } => (true, value),
                Edit::AddHeader { value, .. } => (false, value),
                other => panic!("{other:?}"),
            };
        assert_eq!(rewritten(b"Subject: hello\n\n"), (true, b" ***SPAM*** hello".to_vec()));
        assert_eq!(rewritten(b"Subject: a\n b\n\n"), (true, b" ***SPAM*** a\n b".to_vec()));
        assert_eq!(rewritten(b"X: y\n\n"), (false, b" ***SPAM*** ".to_vec()));
        let long = format!("Subject: {}\n\n", "x".repeat(990));
        let (_, value) = rewritten(long.as_bytes());
        assert!(value.starts_with(b" ***SPAM*** \n x"));
    }

    #[test]
    fn foreign_copies_go_from_the_last_to_the_first() {
        let message = Message::from_eml(
            b"Authentication-Results: MX.test; spf=pass\nX-Spam: No\nAuthentication-Results: other.test; none\n\
              x-spam: Yes\nauthentication-results: (c) mx.test; none\n\n",
        );
        let edits: Vec<String> = foreign_copies(&message, "mx.test")
            .into_iter()
            .map(|edit| match edit {
                Edit::ChangeHeader { index, name, value } if value.is_empty() => format!("{name} {index}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(edits, ["X-Spam 2", "X-Spam 1", "Authentication-Results 3", "Authentication-Results 1"]);
    }
}
