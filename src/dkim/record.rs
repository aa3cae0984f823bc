//! The TXT record of a key (RFC 6376, 3.6.1): written for a zone file, and compared with what DNS holds.
//!
//! ```text
//! 20260120._domainkey.example.com. 3600 IN TXT ( "v=DKIM1; k=rsa; p=MIIBIjANBg…" "…IDAQAB" )
//! ```
//!
//! DNS *shows* a key when the name has exactly one TXT record, which parses, is meant for mail and SHA-256, and whose `p=` is our
//! public key. Anything else would make some receiver call our signatures broken. Pure: the question is [`super::look`]'s.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

use crate::mail::Domain;
use crate::store::{DnsAnswer, KeyAlgorithm};

/// What DNS says of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The answer in one word; never [`DnsAnswer::Unknown`].
    pub answer: DnsAnswer,
    /// Why the key is not shown; empty if it is.
    pub detail: String,
    /// What bites although the key is shown.
    pub warnings: Vec<String>,
}

impl Finding {
    /// The name has no TXT record.
    pub fn missing() -> Self {
        Self { answer: DnsAnswer::Missing, detail: "no TXT record".to_owned(), warnings: Vec::new() }
    }

    fn different(why: impl Into<String>) -> Self {
        Self { answer: DnsAnswer::Different, detail: why.into(), warnings: Vec::new() }
    }

    /// Whether DNS shows the key.
    pub fn is_shown(&self) -> bool {
        self.answer == DnsAnswer::Shown
    }
}

/// The record's name, without a dot at the end.
pub fn name(domain: &Domain, selector: &str) -> String {
    format!("{selector}._domainkey.{domain}")
}

/// The record's text. `public` is the base64 of `p=`.
pub fn text(algorithm: KeyAlgorithm, public: &str) -> String {
    format!("v=DKIM1; k={}; p={public}", key_type(algorithm))
}

/// The record in master file format (RFC 1035 §5), its text cut into strings of at most 255 octets.
pub fn zone_line(domain: &Domain, selector: &str, algorithm: KeyAlgorithm, public: &str) -> String {
    let text = text(algorithm, public);
    // Base64 and tags are ASCII, so bytes are characters.
    let strings: Vec<String> = text
        .as_bytes()
        .chunks(MAX_STRING)
        .map(|part| format!("\"{}\"", String::from_utf8_lossy(part)))
        .collect();
    format!("{}. 3600 IN TXT ( {} )", name(domain, selector), strings.join(" "))
}

/// Whether these TXT records, each with its strings joined, show the key.
pub fn compare(records: &[String], algorithm: KeyAlgorithm, public: &str) -> Finding {
    let text = match records {
        [] => return Finding::missing(),
        [text] => text,
        several => return split_or_several(several, public),
    };
    if text.len() > MAX_RECORD {
        return Finding::different(format!("a TXT record of {} octets is no key", text.len()));
    }
    let tags = match Tags::parse(text) {
        Ok(tags) => tags,
        Err(why) => return Finding::different(why),
    };
    if let Err(why) = tags.usable(algorithm) {
        return Finding::different(why);
    }
    match tags.key(public) {
        Err(why) => Finding::different(why),
        Ok(()) => Finding { answer: DnsAnswer::Shown, detail: String::new(), warnings: tags.warnings(text) },
    }
}

/// More than one record: no receiver need take the right one (RFC 6376, 3.6.2.2).
fn split_or_several(records: &[String], public: &str) -> Finding {
    let number = records.len();
    let pieces = |text: &String| public.contains(text.trim()) && text.trim().len() > MIN_PIECE;
    if records.iter().any(pieces) {
        return Finding::different(format!(
            "the key is split into {number} TXT records; it must be one record of several strings"
        ));
    }
    Finding::different(format!(
        "{number} TXT records; receivers take any one of them, so there must be one only"
    ))
}

/// A tag list (RFC 6376, 3.2).
struct Tags<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Tags<'a> {
    fn parse(text: &'a str) -> Result<Self, String> {
        if text.contains(['"', '\\']) {
            return Err("the record's text holds quotation marks or backslashes: it was split or quoted wrongly when it was pasted".into());
        }
        let mut tags: Vec<(&str, &str)> = Vec::new();
        for part in text.split(';') {
            let part = part.trim_matches(WHITE);
            if part.is_empty() {
                continue;
            }
            let Some((tag, value)) = part.split_once('=') else {
                return Err(format!("no DKIM key record: \"{}\" is no tag", cut(part)));
            };
            let (tag, value) = (tag.trim_matches(WHITE), value.trim_matches(WHITE));
            if tags.iter().any(|(known, _)| *known == tag) {
                return Err(format!("tag {}= stands twice", cut(tag)));
            }
            tags.push((tag, value));
        }
        let tags = Self(tags);
        // RFC 6376, 3.6.1: if v= is there, it is the first tag and DKIM1.
        match (tags.get("v"), tags.0.first()) {
            (Some("DKIM1"), Some(("v", _))) | (None, _) => Ok(tags),
            (Some("DKIM1"), _) => Err("v=DKIM1 does not come first".into()),
            (Some(other), _) => Err(format!("v={} is no DKIM key", cut(other))),
        }
    }

    fn get(&self, tag: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == tag).map(|(_, value)| *value)
    }

    /// Whether a receiver may use the record for mail signed by such a key.
    fn usable(&self, algorithm: KeyAlgorithm) -> Result<(), String> {
        let listed = |tag: &str, wanted: &[&str]| {
            self.get(tag)
                .is_none_or(|list| list.split(':').any(|one| wanted.contains(&one.trim_matches(WHITE))))
        };
        let kind = self.get("k").unwrap_or("rsa");
        if kind != key_type(algorithm) {
            return Err(format!("a key of type {}, ours is {}", cut(kind), key_type(algorithm)));
        }
        if !listed("h", &["sha256"]) {
            return Err("h= does not allow sha256".into());
        }
        if !listed("s", &["email", "*"]) {
            return Err("s= does not allow email".into());
        }
        Ok(())
    }

    /// Whether `p=` is our key.
    fn key(&self, public: &str) -> Result<(), String> {
        let Some(value) = self.get("p") else { return Err("no tag p=".into()) };
        let value: String = value.chars().filter(|c| !WHITE.contains(c)).collect();
        if value.is_empty() {
            return Err("the key is revoked (p= is empty)".into());
        }
        if value == public {
            return Ok(());
        }
        let Ok(theirs) = LENIENT.decode(&value) else {
            return Err("p= is no base64".into());
        };
        let ours = STANDARD.decode(public).unwrap_or_default();
        if theirs == ours || bare_rsa(&ours) == Some(&theirs[..]) {
            return Ok(());
        }
        if public.starts_with(&value) {
            return Err(format!("the key is cut off after {} of {} characters", value.len(), public.len()));
        }
        Err("another key stands there".into())
    }

    fn warnings(&self, text: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        let flag = |wanted: &str| {
            self.get("t").is_some_and(|list| list.split(':').any(|one| one.trim_matches(WHITE) == wanted))
        };
        if flag("y") {
            warnings.push(
                "t=y: receivers may treat mail with this signature as unsigned; take the flag out".to_owned(),
            );
        }
        if self.get("v").is_none() {
            warnings.push("v=DKIM1 is missing; put it first".to_owned());
        }
        if text.len() > COMFORTABLE {
            warnings.push(format!(
                "the record has {} octets; with more than {COMFORTABLE} some receivers cannot read it over UDP: take rsa-2048",
                text.len()
            ));
        }
        warnings
    }
}

/// The RSAPublicKey inside a SubjectPublicKeyInfo: RFC 6376, 3.6.1 names the former, its example and everybody publish the latter.
fn bare_rsa(spki: &[u8]) -> Option<&[u8]> {
    let at = spki.windows(RSA_OID.len()).position(|window| window == RSA_OID)?;
    // After the object identifier: NULL (2 octets), BIT STRING with its length (2 to 4) and the number of unused bits (1).
    let rest = spki.get(at + RSA_OID.len() + 2..)?;
    let length_octets = match rest.get(1)? {
        short @ 0..=0x7f => usize::from(*short > 0x7f),
        long => usize::from(long & 0x7f),
    };
    rest.get(2 + length_octets + 1..)
}

fn key_type(algorithm: KeyAlgorithm) -> &'static str {
    match algorithm {
        KeyAlgorithm::RsaSha256 => "rsa",
        KeyAlgorithm::Ed25519Sha256 => "ed25519",
    }
}

/// A stranger's text as it may stand in a message.
fn cut(text: &str) -> String {
    crate::telemetry::printable(text.as_bytes(), 40)
}

/// RFC 6376, 2.8: folding white space inside tag lists.
const WHITE: &[char] = &[' ', '\t', '\r', '\n'];
/// rsaEncryption, 1.2.840.113549.1.1.1, as DER.
const RSA_OID: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// RFC 1035 §3.3: a character-string.
const MAX_STRING: usize = 255;
/// The record of an RSA-4096 key has about 750 octets; what is far beyond is none of ours, and need not be parsed.
const MAX_RECORD: usize = 4096;
/// The shortest text that is taken for a piece of a key.
const MIN_PIECE: usize = 20;
/// What fits into a DNS answer of 512 octets (RFC 1035 §2.3.4) beside its header, its question and a name of usual length.
const COMFORTABLE: usize = 450;
/// As receivers decode it: with or without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::dkim::{KeyKind, KeyMaterial};

    fn said(records: &[&str], key: &KeyMaterial) -> Finding {
        let records: Vec<String> = records.iter().map(|text| (*text).to_owned()).collect();
        compare(&records, key.algorithm(), key.public())
    }

    #[test]
    fn a_record_is_cut_into_strings_of_255_octets() {
        let key = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
        let line =
            zone_line(&Domain::parse("example.com").unwrap(), "20260120", key.algorithm(), key.public());
        assert!(
            line.starts_with("20260120._domainkey.example.com. 3600 IN TXT ( \"v=DKIM1; k=rsa; p=MII"),
            "{line}"
        );
        let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
        assert_eq!(strings.len(), 2);
        assert_eq!(strings[0].len(), 255);
        assert_eq!(strings.concat(), text(key.algorithm(), key.public()));
        assert!(said(&[&strings.concat()], &key).is_shown());
    }

    #[test]
    fn dns_shows_a_key_in_any_spelling_of_its_record() {
        let rsa = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
        let ed = KeyMaterial::generate(KeyKind::Ed25519).unwrap();
        let p = rsa.public();
        let bare = STANDARD.encode(bare_rsa(&STANDARD.decode(p).unwrap()).unwrap());
        assert!(bare.starts_with("MIIBCgKCAQEA"), "{bare}");
        let (left, right) = p.split_at(100);
        for record in [
            format!("v=DKIM1; k=rsa; p={p}"),
            format!("v=DKIM1;p={p};"),
            format!(
                " v = DKIM1 ;\tk = rsa ; s = email ; h = sha1 : sha256 ; n=a note; p = {left}\r\n\t {right} "
            ),
            format!("v=DKIM1; s=*; t=s; p={p}"),
            format!("p={p}"),
            format!("v=DKIM1; p={bare}"),
        ] {
            let finding = said(&[&record], &rsa);
            assert!(finding.is_shown(), "{record}: {finding:?}");
        }
        assert!(said(&[&format!("v=DKIM1; k=ed25519; p={}", ed.public())], &ed).is_shown());
        assert!(
            said(&[&format!("v=DKIM1; k=ed25519; p={}", ed.public().trim_end_matches('='))], &ed).is_shown()
        );
    }

    #[test]
    fn what_does_not_show_a_key_and_why() {
        let rsa = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
        let ed = KeyMaterial::generate(KeyKind::Ed25519).unwrap();
        let (p, e) = (rsa.public(), ed.public());
        let other = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
        for (records, why) in [
            (vec![], "no TXT record"),
            (vec![format!("v=DKIM1; p={}", other.public())], "another key stands there"),
            (vec!["v=DKIM1; p=".to_owned()], "revoked"),
            (vec!["v=DKIM1; k=rsa".to_owned()], "no tag p="),
            (vec![format!("v=DKIM1; h=sha1; p={p}")], "h= does not allow sha256"),
            (vec![format!("v=DKIM1; s=tlsrpt; p={p}")], "s= does not allow email"),
            (vec![format!("v=DKIM1; k=ed25519; p={p}")], "a key of type ed25519, ours is rsa"),
            (vec![format!("v=DKIM2; p={p}")], "v=DKIM2 is no DKIM key"),
            (vec![format!("k=rsa; v=DKIM1; p={p}")], "does not come first"),
            (vec![format!("v=DKIM1; p={p}; p={p}")], "stands twice"),
            (vec![format!("v=DKIM1; p={}", &p[..200])], "cut off after 200 of 392"),
            (vec![format!("v=DKIM1; p={}\" \"{}", &p[..200], &p[200..])], "quotation marks"),
            (vec![format!("v=DKIM1; p=!!{p}")], "no base64"),
            (vec![format!("v=DKIM1; p={}", &p[..200]), p[200..].to_owned()], "split into 2 TXT records"),
            (vec![format!("v=DKIM1; p={p}"), "v=spf1 -all".to_owned()], "2 TXT records"),
            (vec!["v=spf1 -all".to_owned()], "v=spf1 -all is no DKIM key"),
            (vec!["hello".to_owned()], "\"hello\" is no tag"),
            (vec!["v=DKIM1; p=".to_owned() + &"A".repeat(100_000)], "is no key"),
        ] {
            let records: Vec<&str> = records.iter().map(String::as_str).collect();
            let finding = said(&records, &rsa);
            assert!(!finding.is_shown() && finding.detail.contains(why), "{records:?}: {finding:?}");
        }
        // RFC 8463, 4.2 wants the bare key; receivers refuse the other form.
        let wrapped =
            STANDARD.encode([&hex("302a300506032b6570032100")[..], &STANDARD.decode(e).unwrap()].concat());
        assert_eq!(said(&[&format!("v=DKIM1; k=ed25519; p={wrapped}")], &ed).answer, DnsAnswer::Different);
        assert_eq!(said(&[], &ed).answer, DnsAnswer::Missing);
    }

    #[test]
    fn warnings_of_records_that_show_a_key() {
        let rsa = KeyMaterial::generate(KeyKind::Rsa2048).unwrap();
        let finding = said(&[&format!("p={}; t=s:y", rsa.public())], &rsa);
        assert_eq!(finding.warnings.len(), 2, "{finding:?}");
        assert!(finding.warnings[0].contains("t=y"), "{finding:?}");
        let long = KeyMaterial::generate(KeyKind::Rsa4096).unwrap();
        let finding = said(&[&text(long.algorithm(), long.public())], &long);
        assert!(finding.is_shown() && finding.warnings[0].contains("over UDP"), "{finding:?}");
        let plain = said(&[&text(rsa.algorithm(), rsa.public())], &rsa);
        assert!(plain.warnings.is_empty(), "{plain:?}");
    }

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }
}
