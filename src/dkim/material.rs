//! Private keys: made, parsed from the forms in which other programs keep them, and named by their public half.
//!
//! Taken: PKCS#8 and PKCS#1 in PEM (`openssl genpkey`, `openssl genrsa`, `rspamadm dkim_keygen`, `opendkim-genkey`), the same as bare
//! base64 of the DER, and Ed25519 keys as base64 of the 32-octet seed or of seed and public key (Rspamd, OpenDKIM, dkimpy). Refused:
//! passphrases, RSA keys under 2048 bits (RFC 8301, 3.2, and no library of ours signs with them).

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use crate::config::Secret;
use crate::store::KeyAlgorithm;

/// The kinds of keys that can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, 2048 bits: understood by every receiver.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits: its record is too long for some name servers and receivers.
    Rsa4096,
    /// Ed25519 (RFC 8463): short, not understood everywhere; beside an RSA key.
    Ed25519,
}

/// A private key with its public half. Prints nothing of itself.
pub struct KeyMaterial {
    algorithm: KeyAlgorithm,
    /// PKCS#8 in PEM.
    private: Secret,
    /// Base64 of `p=`: SubjectPublicKeyInfo for RSA (RFC 6376, 3.6.1), the bare 32 octets for Ed25519 (RFC 8463, 4.2).
    public: String,
}

impl KeyKind {
    /// The kind that takes the place of a key at a rotation: the same, or the next usual size.
    pub fn of(algorithm: KeyAlgorithm, public: &str) -> Self {
        match (algorithm, bits(algorithm, public)) {
            (KeyAlgorithm::Ed25519Sha256, _) => Self::Ed25519,
            (KeyAlgorithm::RsaSha256, 0..=2048) => Self::Rsa2048,
            (KeyAlgorithm::RsaSha256, 2049..=3072) => Self::Rsa3072,
            (KeyAlgorithm::RsaSha256, _) => Self::Rsa4096,
        }
    }

    /// The algorithm of its signatures.
    pub fn algorithm(self) -> KeyAlgorithm {
        match self {
            Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096 => KeyAlgorithm::RsaSha256,
            Self::Ed25519 => KeyAlgorithm::Ed25519Sha256,
        }
    }
}

/// The size of a public key in bits (256 for Ed25519); 0 if the text is no key. For RSA from the length of its encoding, exact for
/// the sizes in use with the usual exponent 65537.
pub fn bits(algorithm: KeyAlgorithm, public: &str) -> usize {
    let Ok(der) = STANDARD.decode(public) else { return 0 };
    match algorithm {
        KeyAlgorithm::Ed25519Sha256 if der.len() == 32 => 256,
        KeyAlgorithm::Ed25519Sha256 => 0,
        // What is around the modulus takes 34 (RSA-1024) to 38 octets; sizes are multiples of 64 bits.
        KeyAlgorithm::RsaSha256 => der.len().saturating_sub(38).div_ceil(8) * 64,
    }
}

impl KeyMaterial {
    /// Makes a key.
    ///
    /// # Errors
    /// The random numbers or the memory of the machine fail.
    pub fn generate(kind: KeyKind) -> Result<Self, String> {
        let failed = |_| "cannot make a key".to_owned();
        match kind {
            KeyKind::Rsa2048 => Self::of_rsa(&RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            KeyKind::Rsa3072 => Self::of_rsa(&RsaKeyPair::generate(KeySize::Rsa3072).map_err(failed)?),
            KeyKind::Rsa4096 => Self::of_rsa(&RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?),
            KeyKind::Ed25519 => Self::of_ed25519(&Ed25519KeyPair::generate().map_err(failed)?),
        }
    }

    /// Reads a key in any of the forms above.
    ///
    /// # Errors
    /// What is wrong and what was expected; never anything of the key.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEXT {
            return Err(format!("longer than {MAX_TEXT} octets: no private key"));
        }
        if !text.contains("-----BEGIN") {
            return Self::from_base64(text);
        }
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err("it has a passphrase; take it off with `openssl pkey -in FILE -out NEW`".to_owned());
        }
        if text.contains("BEGIN PUBLIC KEY") || text.contains("BEGIN RSA PUBLIC KEY") {
            return Err("a public key; expected the private one".to_owned());
        }
        let der = PrivateKeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| "not a private key in PEM; expected -----BEGIN PRIVATE KEY----- or -----BEGIN RSA PRIVATE KEY-----".to_owned())?;
        match &der {
            PrivateKeyDer::Pkcs1(der) => Self::from_der(der.secret_pkcs1_der()),
            PrivateKeyDer::Pkcs8(der) => Self::from_der(der.secret_pkcs8_der()),
            _ => Err(KINDS.to_owned()),
        }
    }

    /// Bare base64: an Ed25519 seed, seed and public key, or DER.
    fn from_base64(text: &str) -> Result<Self, String> {
        let joined: Zeroizing<String> = Zeroizing::new(text.split_whitespace().collect());
        let bytes = Zeroizing::new(
            STANDARD
                .decode(joined.as_bytes())
                .map_err(|_| "neither PEM nor base64; expected a private key".to_owned())?,
        );
        let rejected = |_| "not an Ed25519 key: seed and public key do not belong together".to_owned();
        match bytes.len() {
            SEED => {
                Self::of_ed25519(&Ed25519KeyPair::from_seed_unchecked(&bytes).map_err(|_| KINDS.to_owned())?)
            }
            SEED_AND_PUBLIC => Self::of_ed25519(
                &Ed25519KeyPair::from_seed_and_public_key(&bytes[..SEED], &bytes[SEED..])
                    .map_err(rejected)?,
            ),
            _ => Self::from_der(&bytes),
        }
    }

    fn from_der(der: &[u8]) -> Result<Self, String> {
        if let Ok(key) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            return Self::of_ed25519(&key);
        }
        match RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            Ok(key) => Self::of_rsa(&key),
            Err(_) => Err(KINDS.to_owned()),
        }
    }

    fn of_rsa(key: &RsaKeyPair) -> Result<Self, String> {
        let failed = |_| "cannot encode the key".to_owned();
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(failed)?;
        let public: PublicKeyX509Der<'_> = key.public_key().as_der().map_err(failed)?;
        Ok(Self {
            algorithm: KeyAlgorithm::RsaSha256,
            private: pem(private.as_ref()),
            public: STANDARD.encode(public.as_ref()),
        })
    }

    fn of_ed25519(key: &Ed25519KeyPair) -> Result<Self, String> {
        let private: Pkcs8V1Der<'_> = key.as_der().map_err(|_| "cannot encode the key".to_owned())?;
        Ok(Self {
            algorithm: KeyAlgorithm::Ed25519Sha256,
            private: pem(private.as_ref()),
            public: STANDARD.encode(key.public_key().as_ref()),
        })
    }

    /// Its algorithm.
    pub fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// The private half, PKCS#8 in PEM.
    pub fn private_pem(&self) -> &Secret {
        &self.private
    }

    /// The public half: the base64 of `p=`.
    pub fn public(&self) -> &str {
        &self.public
    }
}

impl fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyMaterial({} {})", self.algorithm, self.public)
    }
}

/// PKCS#8 in PEM (RFC 7468 §10).
fn pem(der: &[u8]) -> Secret {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    // As long as it becomes: growing would leave copies of the key behind.
    let mut text = String::with_capacity(encoded.len() + encoded.len() / 64 + 64);
    text.push_str("-----BEGIN PRIVATE KEY-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text.push_str("-----END PRIVATE KEY-----\n");
    Secret::new(text)
}

const KINDS: &str = "neither an RSA key of 2048 to 8192 bits nor an Ed25519 key";
/// An RSA-8192 key in PEM has 6.4 KiB.
const MAX_TEXT: usize = 16 * 1024;
/// RFC 8032, 5.1.5.
const SEED: usize = 32;
/// libsodium's secret key, which Rspamd keeps.
const SEED_AND_PUBLIC: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// The key of RFC 8463, A.2, as seed and as public key.
    const SEED_OF_RFC_8463: &str = "nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A=";
    const PUBLIC_OF_RFC_8463: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    #[test]
    fn what_was_made_is_read_again() {
        for (kind, size) in [
            (KeyKind::Rsa2048, 2048),
            (KeyKind::Rsa3072, 3072),
            (KeyKind::Rsa4096, 4096),
            (KeyKind::Ed25519, 256),
        ] {
            let key = KeyMaterial::generate(kind).unwrap();
            let again = KeyMaterial::parse(key.private_pem().expose()).unwrap();
            assert_eq!((again.algorithm(), again.public()), (kind.algorithm(), key.public()));
            assert_eq!(bits(key.algorithm(), key.public()), size);
            assert_eq!(KeyKind::of(key.algorithm(), key.public()), kind);
            assert!(key.private_pem().expose().starts_with("-----BEGIN PRIVATE KEY-----\nM"));
            assert!(!format!("{key:?}").contains(key.private_pem().expose().lines().nth(1).unwrap()));
        }
        assert_eq!(bits(KeyAlgorithm::RsaSha256, "!"), 0);
    }

    #[test]
    fn ed25519_as_seed_as_seed_and_public_key_and_as_der() {
        let seed = STANDARD.decode(SEED_OF_RFC_8463).unwrap();
        let public = STANDARD.decode(PUBLIC_OF_RFC_8463).unwrap();
        let both = STANDARD.encode([&seed[..], &public[..]].concat());
        let key = KeyMaterial::parse(SEED_OF_RFC_8463).unwrap();
        assert_eq!(key.public(), PUBLIC_OF_RFC_8463);
        let der: String = key.private_pem().expose().lines().filter(|line| !line.starts_with('-')).collect();
        for text in [format!(" {both}\n"), der] {
            assert_eq!(KeyMaterial::parse(&text).unwrap().public(), PUBLIC_OF_RFC_8463, "{text}");
        }
        let wrong = STANDARD.encode([&seed[..], &seed[..]].concat());
        assert!(KeyMaterial::parse(&wrong).unwrap_err().contains("do not belong together"));
    }

    #[test]
    fn what_is_no_key_says_why_and_nothing_of_itself() {
        for (text, why) in [
            ("", "neither an RSA key"),
            ("hello world", "neither PEM nor base64"),
            ("aGVsbG8=", "neither an RSA key of 2048"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "neither an RSA key"),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "not a private key in PEM"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "passphrase",
            ),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "expected the private one"),
            ("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "neither an RSA key"),
            (&"A".repeat(100_000), "longer than"),
        ] {
            let error = KeyMaterial::parse(text).unwrap_err();
            assert!(error.contains(why), "{text:.60}: {error}");
            assert!(!error.contains("AAAA"), "{error}");
        }
    }
}
