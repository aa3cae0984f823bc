//! One DKIM signature (RFC 6376): which fields are signed, what is hashed, what the header field looks like.
//!
//! For `signing`. Pure: headers, body hash, key and time in, a header value out. The tag list is spelled by `mail-auth`; the
//! canonicalization is `relaxed` and ours, because the body was hashed while it arrived.
//!
//! Signed: what a reader sees and what answers are threaded by. Oversigned (named once more than present, so that a field cannot be
//! added later; RFC 6376, 8.15): those of which a reader shows one. Never signed: what Postfix changes or removes on the way out
//! (`Return-Path`, `Bcc`, `Received`, and `Content-Transfer-Encoding`, which the 8-bit downgrade rewrites).

use mail_auth::Error;
use mail_auth::crypto::{DkimKey, SigningKey as _};
use mail_auth::dkim::{Canonicalization, Signature};
use mail_auth::headers::{HeaderWriter as _, Writable, Writer};

use crate::message::Header;

/// The name of the field.
pub const NAME: &str = "DKIM-Signature";

/// A field that is signed wherever it is present.
struct Signed {
    name: &'static str,
    oversigned: bool,
}

const fn over(name: &'static str) -> Signed {
    Signed { name, oversigned: true }
}

const fn present(name: &'static str) -> Signed {
    Signed { name, oversigned: false }
}

/// In the order of `h=`. Mailing lists add `Reply-To`, so it is signed but may be added (RFC 6377, 4.1).
const SIGNED: [Signed; 11] = [
    over("From"),
    over("Subject"),
    over("Date"),
    over("To"),
    over("Cc"),
    over("Message-ID"),
    present("Reply-To"),
    present("In-Reply-To"),
    present("References"),
    present("MIME-Version"),
    present("Content-Type"),
];

/// The value of a `DKIM-Signature` field, folds as `"\n\t"`, with its leading space.
pub(super) fn sign(
    headers: &[Header],
    body_hash: [u8; 32],
    domain: &str,
    selector: &str,
    key: &DkimKey,
    now: u64,
) -> Result<String, Error> {
    let (names, canonical) = signed_fields(headers);
    let mut signature = Signature {
        v: 1,
        a: key.algorithm(),
        d: domain.to_owned(),
        s: selector.to_owned(),
        bh: body_hash.to_vec(),
        h: names,
        t: now,
        ch: Canonicalization::Relaxed,
        cb: Canonicalization::Relaxed,
        ..Signature::default()
    };
    signature.b = key.sign(Hashed { canonical: &canonical, signature: &signature })?;
    let field = signature.to_header();
    let value = field.strip_prefix(NAME).and_then(|rest| rest.strip_prefix(':')).unwrap_or(&field);
    Ok(value.trim_end().replace("\r\n", "\n"))
}

/// The names for `h=` and the canonical header fields, in that order; of several fields with one name, the lowest first
/// (RFC 6376, 5.4.2).
fn signed_fields(headers: &[Header]) -> (Vec<String>, Vec<u8>) {
    let mut names = Vec::new();
    let mut canonical = Vec::with_capacity(1024);
    for signed in &SIGNED {
        for header in headers.iter().rev().filter(|header| header.is(signed.name)) {
            names.push(signed.name.to_owned());
            relaxed(header, &mut canonical);
        }
        if signed.oversigned {
            names.push(signed.name.to_owned());
        }
    }
    (names, canonical)
}

/// A field in `relaxed` form (RFC 6376, 3.4.2): name in lower case, unfolded, runs of white space as one space, none at the ends.
fn relaxed(header: &Header, out: &mut Vec<u8>) {
    out.extend(header.name.iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut space = false;
    let mut empty = true;
    for &byte in &header.value {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => space = !empty,
            other => {
                if std::mem::take(&mut space) {
                    out.push(b' ');
                }
                empty = false;
                out.push(other);
            }
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// What is signed: the canonical fields, then the signature field itself with an empty `b=` and without line end.
struct Hashed<'a> {
    canonical: &'a [u8],
    signature: &'a Signature,
}

impl Writable for Hashed<'_> {
    fn write(self, writer: &mut impl Writer) {
        writer.write(self.canonical);
        self.signature.write(writer, false);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn relaxed_header_of_rfc_6376() {
        let mut out = Vec::new();
        relaxed(&Header::new("A", " X"), &mut out);
        relaxed(&Header::new("B ", " Y\t\n\tZ  "), &mut out);
        assert_eq!(out, b"a:X\r\nb :Y Z\r\n");
    }

    #[test]
    fn names_every_copy_and_one_more() {
        let headers = [
            Header::new("from", " a@b.test"),
            Header::new("To", " first"),
            Header::new("Received", " never"),
            Header::new("TO", " second"),
            Header::new("Reply-To", " r"),
        ];
        let (names, canonical) = signed_fields(&headers);
        assert_eq!(names.join(":"), "From:From:Subject:Date:To:To:To:Cc:Message-ID:Reply-To");
        assert_eq!(canonical, b"from:a@b.test\r\nto:second\r\nto:first\r\nreply-to:r\r\n");
    }
}
