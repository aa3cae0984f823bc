//! What smtp(8) would change after the signature, changed before it, where that loses nothing.
//!
//! For `signing`. Postfix's client breaks lines beyond 998 bytes with CRLF and a space, and converts what is labelled 8-bit to
//! quoted-printable for servers without 8BITMIME; both break every signature on the message, which receivers then see as forged.
//! So, before we sign (RFC 6376, 5.3):
//!
//! | what | becomes |
//! |---|---|
//! | a header line beyond 998 bytes | folded (`folding`) |
//! | text with 8-bit bytes, or with lines beyond 998 bytes | quoted-printable |
//! | quoted-printable with such lines or bytes | the same, within its own rules |
//! | text labelled `8bit` that has none | labelled `7bit` |
//! | `multipart` and `message/rfc822` labelled `8bit` around it | labelled `7bit` |
//!
//! Everything else stays byte for byte: base64, binary, signed and encrypted parts (`mime`, and clear-signed PGP in text), preamble
//! and epilogue. Where such a part alone would make Postfix convert the message, nothing else is encoded for it in vain; that is
//! said in [`Mended::left`]. 8-bit bytes without a label are encoded too: a later hop may look at bytes instead of labels.

use std::ops::Range;

use super::folding::LIMIT;
use super::mime::{self, Encoding, Kind, Label, Part};
use super::quoted::{self, Source};
use crate::message::Header;

/// What came of a body.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// The body, if it changed.
    pub(super) body: Option<Vec<u8>>,
    /// The message's own `Content-Transfer-Encoding`, if it changed.
    pub(super) encoding: Option<&'static str>,
    /// What could not be helped, for the log.
    pub(super) left: Option<&'static str>,
}

/// Mends a body. `eight_bit` says whether 8-bit text is to be encoded.
pub(super) fn mend<'a>(headers: impl Iterator<Item = &'a Header>, body: &[u8], eight_bit: bool) -> Mended {
    let fields = headers.map(|header| (header.name.as_slice(), header.value.as_slice()));
    let parts = mime::parts(fields, body);
    let mut mended = Mended::default();
    // What Postfix goes by is the label: such a part makes it convert, and breaks the signature, whatever we do.
    let stuck = eight_bit && parts.iter().any(|part| is_stuck(part, &body[part.content.clone()]));
    let eight_bit = eight_bit && !stuck;
    let mut changes: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    for part in &parts {
        let content = &body[part.content.clone()];
        let treatment = match part.kind {
            Kind::Container if eight_bit && part.encoding == Encoding::EightBit => Treatment::Relabel,
            Kind::Container => Treatment::None,
            Kind::Leaf | Kind::Sealed => treatment(part, content, eight_bit),
        };
        let (label, source) = match treatment {
            Treatment::None => continue,
            Treatment::Refused(why) => {
                mended.left.get_or_insert(why);
                continue;
            }
            Treatment::Relabel => ("7bit", None),
            Treatment::Encode(source) => ("quoted-printable", Some(source)),
        };
        if part.encoding != Encoding::QuotedPrintable {
            match &part.label {
                Label::Message => mended.encoding = Some(label),
                Label::Field(range) => changes.push((range.clone(), field(label))),
                Label::Missing(at) => changes.push((*at..*at, field(label))),
            }
        }
        if let Some(source) = source {
            let mut encoded = Vec::with_capacity(content.len() + content.len() / 8);
            quoted::encode(content, source, &mut encoded);
            changes.push((part.content.clone(), encoded));
        }
    }
    if stuck {
        mended.left = Some("a part labelled 8bit or binary must stay as it is");
    }
    mended.body = (!changes.is_empty()).then(|| changed(body, changes));
    mended
}

enum Treatment {
    None,
    Relabel,
    Encode(Source),
    Refused(&'static str),
}

fn treatment(part: &Part, content: &[u8], eight_bit: bool) -> Treatment {
    let long = content
        .split(|byte| *byte == b'\n')
        .any(|line| line.strip_suffix(b"\r").unwrap_or(line).len() > LIMIT);
    let encodes = long || (eight_bit && !content.is_ascii());
    if encodes && (part.kind == Kind::Sealed || is_signed_text(content)) {
        return Treatment::Refused("a signed or encrypted part must stay as it is");
    }
    match part.encoding {
        _ if part.kind == Kind::Sealed => Treatment::None,
        Encoding::Binary | Encoding::Other if long => {
            Treatment::Refused("a base64 or binary part has long lines")
        }
        Encoding::Binary | Encoding::Other => Treatment::None,
        Encoding::QuotedPrintable if encodes => Treatment::Encode(Source::Quoted),
        Encoding::QuotedPrintable => Treatment::None,
        _ if encodes => Treatment::Encode(Source::Plain),
        Encoding::EightBit if eight_bit => Treatment::Relabel,
        Encoding::Unsaid | Encoding::SevenBit | Encoding::EightBit => Treatment::None,
    }
}

/// Whether smtp(8) would convert the part, and we must not.
fn is_stuck(part: &Part, content: &[u8]) -> bool {
    match part.encoding {
        Encoding::Binary => true,
        Encoding::EightBit => {
            part.kind == Kind::Sealed
                || (part.kind == Kind::Leaf && !content.is_ascii() && is_signed_text(content))
        }
        _ => false,
    }
}

/// Text with an OpenPGP signature over it as it stands, or encrypted (RFC 9580, 6.2 and 7).
fn is_signed_text(content: &[u8]) -> bool {
    content.split(|byte| *byte == b'\n').any(|line| {
        line.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----")
            || line.starts_with(b"-----BEGIN PGP MESSAGE-----")
    })
}

fn field(encoding: &str) -> Vec<u8> {
    format!("{ENCODING}: {encoding}\r\n").into_bytes()
}

/// The name of the field that we change.
pub(super) const ENCODING: &str = "Content-Transfer-Encoding";

/// The body with these changes, of which none overlap.
fn changed(body: &[u8], mut changes: Vec<(Range<usize>, Vec<u8>)>) -> Vec<u8> {
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    let grown: usize = changes.iter().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(body.len() + grown);
    let mut at = 0;
    for (range, new) in changes {
        out.extend_from_slice(&body[at..range.start]);
        out.extend_from_slice(&new);
        at = range.end;
    }
    out.extend_from_slice(&body[at..]);
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::message::Message;

    /// The message as it becomes, LF line ends; and what was left.
    fn mended(text: &str, eight_bit: bool) -> (Option<String>, Option<&'static str>, Option<&'static str>) {
        let message = Message::from_eml(text.as_bytes());
        let Mended { body, encoding, left } = mend(message.headers.iter(), &message.body, eight_bit);
        let body = body.map(|body| String::from_utf8_lossy(&body).replace("\r\n", "\n"));
        (body, encoding, left)
    }

    #[test]
    fn what_needs_nothing_gets_nothing() {
        for text in [
            "Subject: x\n\nplain\n",
            "Content-Transfer-Encoding: base64\n\nAAAA\n",
            "Content-Type: multipart/mixed; boundary=o\n\npre\n--o\n\nx\n--o--\n",
        ] {
            assert_eq!(mended(text, true), (None, None, None), "{text}");
        }
        assert_eq!(mended("Content-Transfer-Encoding: 8bit\n\n\u{fc}\n", false), (None, None, None));
    }

    #[test]
    fn a_single_part_is_encoded() {
        let (body, encoding, left) = mended("Content-Transfer-Encoding: 8bit\n\n\u{fc}ber = \n", true);
        assert_eq!(
            (body.as_deref(), encoding, left),
            (Some("=C3=BCber =3D=20\n"), Some("quoted-printable"), None)
        );
        let long = format!("Subject: x\n\n{}\n", "x".repeat(999));
        let (body, encoding, _) = mended(&long, false);
        assert!(body.unwrap().split('\n').all(|line| line.len() <= 76));
        assert_eq!(encoding, Some("quoted-printable"));
        assert_eq!(mended("Content-Transfer-Encoding: 8bit\n\nascii\n", true), (None, Some("7bit"), None));
    }

    #[test]
    fn parts_are_encoded_each_by_itself() {
        let text = "Content-Type: multipart/mixed; boundary=o\nContent-Transfer-Encoding: 8bit\n\npreamble \u{fc}\n--o\n\
                    Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\nX: y\n\n\u{fc}\n\n--o\nContent-Type: text/html\n\n\u{e4}\n\
                    --o\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--o--\nepilogue\n";
        let expected = "preamble \u{fc}\n--o\nContent-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\nX: y\n\n=C3=BC\n\n\
                        --o\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n=C3=A4\n\
                        --o\nContent-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAAA\n--o--\nepilogue\n";
        assert_eq!(mended(text, true), (Some(expected.to_owned()), Some("7bit"), None));
    }

    #[test]
    fn an_attached_message_is_mended_inside() {
        let text = "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\n\
                    Subject: x\n\n\u{fc}\n--o--\n";
        let expected = "--o\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\nSubject: x\n\
                        Content-Transfer-Encoding: quoted-printable\n\n=C3=BC\n--o--\n";
        assert_eq!(mended(text, true), (Some(expected.to_owned()), None, None));
    }

    #[test]
    fn signed_parts_stay_and_nothing_is_encoded_in_vain() {
        let signed = "Content-Type: multipart/signed; boundary=s\nContent-Transfer-Encoding: 8bit\n\n--s\n\n\u{fc}\n--s--\n";
        let (body, encoding, left) = mended(signed, true);
        assert_eq!((body, encoding), (None, None));
        assert!(left.unwrap().contains("must stay as it is"));
        let text = "Content-Type: multipart/mixed; boundary=o\nContent-Transfer-Encoding: 8bit\n\n--o\n\n\u{fc}\n--o\n\
                    Content-Type: multipart/signed; boundary=s\nContent-Transfer-Encoding: 8bit\n\n--s\n\n\u{fc}\n--s--\n--o--\n";
        let (body, encoding, left) = mended(text, true);
        assert_eq!((body, encoding), (None, None));
        assert!(left.is_some());
        let clear =
            "Subject: x\n\n-----BEGIN PGP SIGNED MESSAGE-----\n\n\u{fc}\n-----BEGIN PGP SIGNATURE-----\n";
        let (body, _, left) = mended(clear, true);
        assert!(body.is_none() && left.is_some());
        let binary = format!("Content-Transfer-Encoding: base64\n\n{}\n", "A".repeat(2000));
        let (body, _, left) = mended(&binary, true);
        assert!(body.is_none() && left.is_some());
    }

    #[test]
    fn quoted_printable_that_is_none_becomes_one() {
        let text = format!("Content-Transfer-Encoding: quoted-printable\n\n{}=C3=BC\n", "x=3D".repeat(400));
        let (body, encoding, left) = mended(&text, true);
        let body = body.unwrap();
        assert!(body.split('\n').all(|line| line.len() <= 76) && body.contains("=C3=BC"), "{body}");
        assert_eq!(body.replace("=\n", "").matches("x=3D").count(), 400);
        assert_eq!((encoding, left), (None, None));
    }
}
