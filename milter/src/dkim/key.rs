//! Key records (RFC 6376, 3.6.1; RFC 8463, 4): `v=DKIM1; k=rsa; p=…`, the TXT record that a selector names.
//!
//! ```text
//! v=DKIM1 first, if at all     h= hashes, colon-separated       k= rsa (default) or ed25519     p= the key; empty: revoked
//! s= `*` or `email`            t= y: testing, s: i= must be d=  n= notes, and what we do not know: ignored
//! ```
//!
//! Refuses RSA keys under 1024 bits (RFC 8301, 3.2) and above 8192, which would be a way to make us work.

use aws_lc_rs::signature::{
    ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, UnparsedPublicKey,
};

use super::der;
use super::signature::Algorithm;
use super::tags::{self, Tags};

/// The shortest RSA key that counts, in bits (RFC 8301, 3.2).
pub const MIN_RSA_BITS: u32 = 1024;

/// The longest, in bits: the library's own bound; RFC 8301, 3.2 asks for 4096.
pub const MAX_RSA_BITS: u32 = 8192;

/// A usable public key.
#[derive(Debug, Clone)]
pub struct Key {
    public: ParsedPublicKey,
    /// What it verifies.
    pub algorithm: Algorithm,
    /// Its length in bits: the modulus of RSA, 256 for Ed25519.
    pub bits: u32,
    /// `t=y`: the domain is testing.
    pub testing: bool,
    /// `t=s`: the identity must be of exactly the signing domain.
    pub strict: bool,
}

/// Why a record holds no usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRecordError {
    /// Not a key record by its grammar, or of another version.
    #[error("the key record is malformed")]
    Malformed,
    /// `p=` is empty.
    #[error("the key was revoked")]
    Revoked,
    /// `p=` is no key of that type.
    #[error("the key record holds no key of its type")]
    NoKey,
    /// `k=` names a type that we do not know.
    #[error("the key is of an unknown type")]
    UnknownType,
    /// `h=` does not allow SHA-256.
    #[error("the key is not for sha256")]
    Hash,
    /// `s=` does not allow mail.
    #[error("the key is not for mail")]
    Service,
    /// Under [`MIN_RSA_BITS`].
    #[error("the key is shorter than 1024 bits (RFC 8301)")]
    TooShort,
    /// Over [`MAX_RSA_BITS`].
    #[error("the key is longer than 8192 bits")]
    TooLong,
}

impl Key {
    /// Reads a record: the strings of one TXT record, joined.
    ///
    /// # Errors
    /// It holds no key that we may use for mail.
    pub fn parse(record: &[u8]) -> Result<Self, KeyRecordError> {
        let tags = Tags::parse(record).map_err(|_| KeyRecordError::Malformed)?;
        match tags.get("v") {
            None => {}
            Some("DKIM1") if tags.first() == Some("v") => {}
            Some(_) => return Err(KeyRecordError::Malformed),
        }
        if tags.get("h").is_some_and(|hashes| !tags::list(hashes).any(|hash| hash == "sha256")) {
            return Err(KeyRecordError::Hash);
        }
        if tags.get("s").is_some_and(|services| !tags::list(services).any(|s| matches!(s, "*" | "email"))) {
            return Err(KeyRecordError::Service);
        }
        let flag = |wanted| tags.get("t").is_some_and(|flags| tags::list(flags).any(|flag| flag == wanted));
        let (testing, strict) = (flag("y"), flag("s"));
        let material = tags.get("p").ok_or(KeyRecordError::Malformed)?;
        if material.is_empty() {
            return Err(KeyRecordError::Revoked);
        }
        let material = tags::base64(material).ok_or(KeyRecordError::Malformed)?;
        let (public, algorithm, bits) = match tags.get("k").unwrap_or("rsa") {
            "rsa" => {
                let bits = der::rsa_bits(&material).ok_or(KeyRecordError::NoKey)?;
                if bits < MIN_RSA_BITS {
                    return Err(KeyRecordError::TooShort);
                }
                if bits > MAX_RSA_BITS {
                    return Err(KeyRecordError::TooLong);
                }
                let key = UnparsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, material);
                (key.parse(), Algorithm::RsaSha256, bits)
            }
            "ed25519" if material.len() == 32 => {
                (UnparsedPublicKey::new(&ED25519, material).parse(), Algorithm::Ed25519Sha256, 256)
            }
            "ed25519" => return Err(KeyRecordError::NoKey),
            _ => return Err(KeyRecordError::UnknownType),
        };
        let public = public.map_err(|_| KeyRecordError::NoKey)?;
        Ok(Self { public, algorithm, bits, testing, strict })
    }

    /// Whether a signature holds. What RSA signs are the canonical bytes (hashed by the primitive), what Ed25519 signs is their
    /// SHA-256 (RFC 8463, 3).
    pub fn holds(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::RsaSha256 => self.public.verify_sig(signed, signature).is_ok(),
            Algorithm::Ed25519Sha256 => {
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed);
                self.public.verify_sig(hash.as_ref(), signature).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// RFC 8463, A.2.
    const ED25519_KEY: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
    /// The 1024-bit key of the ARC suite and of RFC 6376's examples are of this shape.
    const RSA_1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt\
        IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi\
        tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB";
    const RSA_512: &str = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAIWmlgix/84GJ+dfgjm7LTc9EPdfkftlgiPpCq4/kbDAZmU0VvYKDljjleJ1dfvS\
        +CGy9U/kk1tG3EeEvb82xAcCAwEAAQ==";

    fn parse(record: &str) -> Result<(Algorithm, u32, bool, bool), KeyRecordError> {
        Key::parse(record.as_bytes()).map(|key| (key.algorithm, key.bits, key.testing, key.strict))
    }

    #[test]
    fn records_that_hold_a_key() {
        let rsa = Ok((Algorithm::RsaSha256, 1024, false, false));
        assert_eq!(parse(&format!("v=DKIM1; p={RSA_1024}")), rsa);
        assert_eq!(parse(&format!("p={RSA_1024};")), rsa);
        assert_eq!(parse(&format!("k=rsa; h=sha1:sha256; s=*; n=a note; x=y; p={RSA_1024}")), rsa);
        assert_eq!(parse(&format!("k=rsa; s=other : email; p={}", RSA_1024.replace('A', "A\r\n "))), rsa);
        assert_eq!(
            parse(&format!("v=DKIM1; k=ed25519; t=y:s; p={ED25519_KEY}")),
            Ok((Algorithm::Ed25519Sha256, 256, true, true))
        );
    }

    #[test]
    fn records_that_hold_none() {
        for (record, error) in [
            (format!("v=DKIM2; p={RSA_1024}"), KeyRecordError::Malformed),
            (format!("p={RSA_1024}; v=DKIM1"), KeyRecordError::Malformed),
            (format!("p={RSA_1024}; p={RSA_1024}"), KeyRecordError::Malformed),
            ("v=DKIM1; k=rsa".to_owned(), KeyRecordError::Malformed),
            ("v=spf1 -all".to_owned(), KeyRecordError::Malformed),
            ("v=DKIM1; p=*".to_owned(), KeyRecordError::Malformed),
            (String::new(), KeyRecordError::Malformed),
            ("v=DKIM1; p=".to_owned(), KeyRecordError::Revoked),
            ("v=DKIM1; p=AAAA".to_owned(), KeyRecordError::NoKey),
            (format!("k=ed25519; p={RSA_1024}"), KeyRecordError::NoKey),
            (format!("k=rsa; p={ED25519_KEY}"), KeyRecordError::NoKey),
            (format!("k=mldsa; p={RSA_1024}"), KeyRecordError::UnknownType),
            (format!("h=sha1; p={RSA_1024}"), KeyRecordError::Hash),
            (format!("s=tlsrpt; p={RSA_1024}"), KeyRecordError::Service),
            (format!("p={RSA_512}"), KeyRecordError::TooShort),
        ] {
            assert_eq!(parse(&record), Err(error), "{record}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_record_is_survived(record in "(v=DKIM1;)?(k=(rsa|ed25519|x);)?(t=[ys:]{0,3};)?p=[A-Za-z0-9+/= ]{0,300}") {
            let _ = Key::parse(record.as_bytes());
        }
    }
}
