//! One DKIM signature (RFC 6376): which fields are signed, what is hashed, what the header field looks like.
//!
//! For `signing`. Pure: headers, body hash, key and time in, a header value out. Everything is `relaxed/relaxed`. The headers are
//! put into canonical form once, however many keys sign.
//!
//! Oversigned fields are named once more than present, so that nobody can add one later (RFC 6376, 8.15). Never signed is what Postfix
//! changes or removes on the way out, and a field that smtp(8) would break (`folding`): a signature without `References` is
//! better than a broken one. `From` is signed in any case.
//!
//! ```text
//!  v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.com; s=20261121; t=1795253000;
//!     h=From:From:Subject:Subject:…;
//!     bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;
//!     b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZVoG4ZHRNiYzR…
//! ```

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::folding;
use super::private::{PrivateKey, SignatureFailed};
use super::settings::{FieldName, SigningSettings};
use crate::message::Header;

/// The name of the field.
pub const NAME: &str = "DKIM-Signature";

/// The fields to sign, in the order of `h=`.
#[derive(Debug, Clone)]
pub struct Coverage(Vec<Covered>);

#[derive(Debug, Clone)]
struct Covered {
    name: String,
    oversigned: bool,
}

/// The header fields that a signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedFields {
    /// The names as they stand in `h=`, in that order.
    names: Vec<String>,
    /// The fields in canonical form, in the order of the names.
    canonical: Vec<u8>,
    /// The first field that is left out because smtp(8) would break it.
    left_out: Option<String>,
}

impl Coverage {
    /// What the configuration names.
    pub fn new(settings: &SigningSettings) -> Self {
        let covered = |names: &[FieldName], oversigned| {
            let names: Vec<_> =
                names.iter().map(|name| Covered { name: name.as_str().to_owned(), oversigned }).collect();
            names
        };
        let mut all = covered(&settings.oversign, true);
        all.extend(covered(&settings.sign, false));
        all.extend(covered(&settings.list_headers, false));
        Self(all)
    }

    /// The fields of a message that are signed; of several fields with one name, the lowest first (RFC 6376, 5.4.2). None when
    /// their names alone would make a field that is cut on its way.
    pub fn select<'a>(
        &self,
        headers: impl DoubleEndedIterator<Item = &'a Header> + Clone,
    ) -> Option<SignedFields> {
        let mut fields = SignedFields {
            names: Vec::with_capacity(24),
            canonical: Vec::with_capacity(1024),
            left_out: None,
        };
        let mut length = 0;
        for Covered { name, oversigned } in &self.0 {
            let present = || headers.clone().rev().filter(|header| header.is(name));
            // All copies or none: named fewer times than present, it would be the lowest ones that are meant.
            if !name.eq_ignore_ascii_case("From") && present().any(|header| !folding::survives(header)) {
                fields.left_out.get_or_insert_with(|| name.clone());
                continue;
            }
            for header in present() {
                fields.names.push(name.clone());
                relaxed(&header.name, &header.value, &mut fields.canonical);
                length += name.len() + 1;
            }
            if *oversigned {
                fields.names.push(name.clone());
                length += name.len() + 1;
            }
            if length > MAX_NAMES {
                return None;
            }
        }
        Some(fields)
    }
}

impl SignedFields {
    /// The first field that is not signed because smtp(8) would break it.
    pub fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }
}

/// The value of a `DKIM-Signature` field, folds as `"\n\t"`, with its leading space.
///
/// # Errors
/// [`SignatureFailed`].
pub fn sign(
    fields: &SignedFields,
    body_hash: &[u8; 32],
    domain: &str,
    selector: &str,
    key: &PrivateKey,
    now: u64,
) -> Result<String, SignatureFailed> {
    let mut value = String::with_capacity(fields.names.len() * 14 + 1024);
    // Writing into a String does not fail.
    let _ = write!(
        value,
        " v=1; a={}; c=relaxed/relaxed; d={domain}; s={selector}; t={now};\n\th=",
        key.algorithm()
    );
    let mut column = 2;
    for (number, name) in fields.names.iter().enumerate() {
        if number > 0 {
            value.push(':');
            column += 1;
        }
        // Folding white space may stand around each colon (RFC 6376, 3.5).
        if column + name.len() > COLUMNS {
            value.push_str("\n\t");
            column = 0;
        }
        value.push_str(name);
        column += name.len();
    }
    value.push_str(";\n\tbh=");
    STANDARD.encode_string(body_hash, &mut value);
    value.push_str(";\n\tb=");
    let signature = seal(&fields.canonical, NAME, &value, key)?;
    for (number, line) in signature.as_bytes().chunks(COLUMNS).enumerate() {
        if number > 0 {
            value.push_str("\n\t");
        }
        // Base64 is ASCII, so every cut is between characters.
        value.extend(line.iter().copied().map(char::from));
    }
    Ok(value)
}

/// The lowest step: the tag `b=` over canonical header fields and the signature field, whose value ends in an empty `b=`
/// (RFC 6376, 3.7).
///
/// # Errors
/// [`SignatureFailed`].
pub fn seal(
    canonical: &[u8],
    name: &str,
    unsigned: &str,
    key: &PrivateKey,
) -> Result<String, SignatureFailed> {
    key.sign(&input(canonical, name, unsigned)).map(|signature| STANDARD.encode(signature))
}

/// What is hashed for `b=`: the fields, then the signature field in canonical form without its line end.
fn input(canonical: &[u8], name: &str, unsigned: &str) -> Vec<u8> {
    let mut data = Vec::with_capacity(canonical.len() + name.len() + unsigned.len() + 4);
    data.extend_from_slice(canonical);
    relaxed(name.as_bytes(), unsigned.as_bytes(), &mut data);
    data.truncate(data.len() - 2);
    data
}

/// A field in `relaxed` form (RFC 6376, 3.4.2): name in lower case, unfolded, runs of white space as one space, none at the ends.
fn relaxed(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
    out.push(b':');
    let mut words =
        value.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty());
    if let Some(first) = words.next() {
        out.extend_from_slice(first);
    }
    for word in words {
        out.push(b' ');
        out.extend_from_slice(word);
    }
    out.extend_from_slice(b"\r\n");
}

/// The length of our own lines: what every mail program shows whole (RFC 5322, 2.1.1).
const COLUMNS: usize = 74;

/// The names of a message with thousands of `To` fields; Postfix cuts a field at 60,000 bytes, and nobody reads so much.
const MAX_NAMES: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn selected(headers: &[Header]) -> SignedFields {
        Coverage::new(&SigningSettings::default()).select(headers.iter()).unwrap()
    }

    #[test]
    fn relaxed_header_of_rfc_6376() {
        let mut out = Vec::new();
        relaxed(b"A", b" X", &mut out);
        relaxed(b"B ", b" Y\t\n\tZ  ", &mut out);
        relaxed(b"C", b" \n\t", &mut out);
        assert_eq!(out, b"a:X\r\nb:Y Z\r\nc:\r\n");
    }

    #[test]
    fn names_every_copy_and_one_more() {
        let headers = [
            Header::new("from", " a@b.test"),
            Header::new("To", " first"),
            Header::new("Received", " never"),
            Header::new("TO", " second"),
            Header::new("Reply-To", " r"),
            Header::new("List-Id", " <l.b.test>"),
        ];
        let SignedFields { names, canonical, .. } = selected(&headers);
        assert_eq!(
            names.join(":"),
            "From:From:Subject:Date:To:To:To:Cc:Message-ID:Content-Type:Reply-To:List-Id"
        );
        assert_eq!(
            canonical,
            b"from:a@b.test\r\nto:second\r\nto:first\r\nreply-to:r\r\nlist-id:<l.b.test>\r\n"
        );
    }

    #[test]
    fn what_smtp_would_break_is_not_signed_but_the_author_is() {
        let long = format!(" {}", "x".repeat(1000));
        let headers = [
            Header::new("From", long.clone()),
            Header::new("References", " <short@b.test>"),
            Header::new("References", long.clone()),
            Header::new("Subject", long),
        ];
        let fields = selected(&headers);
        assert_eq!(fields.names.join(":"), "From:From:Date:To:Cc:Message-ID:Content-Type");
        assert_eq!(fields.left_out(), Some("Subject"));
    }

    #[test]
    fn thousands_of_fields_are_not_signed() {
        let headers = vec![Header::new("To", " a@b.test"); 4000];
        assert_eq!(selected(&headers).names.len(), 4007);
        let headers = vec![Header::new("Content-Disposition", " inline"); 4000];
        assert_eq!(Coverage::new(&SigningSettings::default()).select(headers.iter()), None);
    }

    /// The lines that we write are short, and nothing but folds stands between them.
    #[test]
    fn our_field_is_folded() {
        let key = PrivateKey::ed25519_from_seed(&SEED, &PUBLIC).unwrap();
        let headers = vec![Header::new("Reply-To", " a@b.test"); 100];
        let value = sign(&selected(&headers), &[7; 32], "example.com", "s", &key, 1).unwrap();
        assert!(value.split('\n').all(|line| line.len() <= 78), "{value}");
        assert!(
            value.starts_with(" v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.com; s=s; t=1;\n\th=")
        );
    }

    /// RFC 8463, A.3: the message without its signatures.
    const MESSAGE: &[u8] = b"From: Joe SixPack <joe@football.example.com>\nTo: Suzie Q <suzie@shopping.example.net>\n\
        Subject: Is dinner ready?\nDate: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)\n\
        Message-ID: <20030712040037.46341.5F8J@football.example.com>\n\nHi.\n\nWe lost the game.  Are you hungry yet?\n\nJoe.\n\n";

    /// The fields that both signatures of the example name, twice or not.
    const NAMES: [&str; 8] = ["From", "To", "Subject", "Date", "Message-ID", "From", "Subject", "Date"];

    const ED25519: &str = " v=1; a=ed25519-sha256; c=relaxed/relaxed;\n d=football.example.com; i=@football.example.com;\n \
        q=dns/txt; s=brisbane; t=1528637909; h=from : to :\n subject : date : message-id : from : subject : date;\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n b=";

    const RSA: &str = " v=1; a=rsa-sha256; c=relaxed/relaxed;\n d=football.example.com; i=@football.example.com;\n \
        q=dns/txt; s=test; t=1528637909; h=from : to : subject :\n date : message-id : from : subject : date;\n \
        bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;\n b=";

    const RSA_SIGNATURE: &str = "F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGd\
        aSGsgeefOsk2JzdA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=";

    /// The `p=` of RFC 8463, A.2 for selector `test`: SubjectPublicKeyInfo of an RSA key of 1,024 bits.
    const RSA_PUBLIC: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3Fut\
        ACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB";

    /// The canonical fields of the example; the second mention of a name that is there once stands for nothing.
    fn canonical_example() -> (Vec<u8>, crate::message::Message) {
        let message = crate::message::Message::from_eml(MESSAGE);
        let mut canonical = Vec::new();
        for name in &NAMES[..5] {
            let header = message.headers.iter().find(|header| header.is(name)).unwrap();
            relaxed(&header.name, &header.value, &mut canonical);
        }
        (canonical, message)
    }

    #[test]
    fn the_example_of_rfc_8463_is_signed_to_the_same_bytes() {
        let (canonical, message) = canonical_example();
        let mut hash = crate::signing::BodyHash::new();
        hash.update(&message.body);
        assert_eq!(STANDARD.encode(hash.finish()), "2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=");
        let key = PrivateKey::ed25519_from_seed(&SEED, &PUBLIC).unwrap();
        assert_eq!(
            seal(&canonical, NAME, ED25519, &key).unwrap(),
            "/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11BusFa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw=="
        );
    }

    /// Our library signs with no RSA key of less than 2,048 bits, as RFC 8301 wants it, and the example's has 1,024. PKCS#1 v1.5 is
    /// deterministic: what the example's signature verifies over is the one input that gives its bytes.
    #[test]
    fn the_rsa_signature_of_rfc_8463_is_over_our_input() {
        use aws_lc_rs::signature::{RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey};
        let (canonical, _) = canonical_example();
        let public = STANDARD.decode(RSA_PUBLIC).unwrap();
        let signature = STANDARD.decode(RSA_SIGNATURE).unwrap();
        let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, public);
        key.verify(&input(&canonical, NAME, RSA), &signature).unwrap();
        key.verify(&input(&canonical, NAME, ED25519), &signature).unwrap_err();
    }

    /// RFC 8463, A.1 and A.2.
    const SEED: [u8; 32] = [
        0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
        0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
    ];
    const PUBLIC: [u8; 32] = [
        0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
        0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
    ];
}
