//! A private key that can sign: parsed once, used by many threads.
//!
//! For `keys`, which keeps them, and `signature`. `rsa-sha256` (RFC 6376, 3.3.1) with keys of 2048 bits and more (RFC 8301, 3.2),
//! `ed25519-sha256` (RFC 8463, 3). It refuses to show anything of a key, also in its errors.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use gatepost::store::KeyAlgorithm;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A private key.
pub struct PrivateKey(Kind);

enum Kind {
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// The library would not sign; with a key that was accepted this does not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the private key does not sign")]
pub struct SignatureFailed;

/// Keys below are not believed by receivers (RFC 8301, 3.2).
const MIN_RSA_BYTES: usize = 2048 / 8;

impl PrivateKey {
    /// Reads PEM: PKCS#8, for RSA also PKCS#1.
    ///
    /// # Errors
    /// What is wrong with the text, in words that hold nothing of it.
    pub fn from_pem(algorithm: KeyAlgorithm, pem: &[u8]) -> Result<Self, &'static str> {
        match algorithm {
            KeyAlgorithm::RsaSha256 => {
                let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| "not a private key in PEM")?;
                let key = match &der {
                    PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                    PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                    _ => return Err("not an RSA key"),
                };
                let key = key.map_err(|_| "not an RSA key of 2048 bits or more")?;
                if key.public_modulus_len() < MIN_RSA_BYTES {
                    return Err("not an RSA key of 2048 bits or more");
                }
                Ok(Self(Kind::Rsa(key)))
            }
            KeyAlgorithm::Ed25519Sha256 => {
                let der =
                    PrivatePkcs8KeyDer::from_pem_slice(pem).map_err(|_| "not a private key in PKCS#8 PEM")?;
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
                    .map_err(|_| "not an Ed25519 key")?;
                Ok(Self(Kind::Ed25519(key)))
            }
        }
    }

    /// The value of the tag `a=`.
    pub fn algorithm(&self) -> KeyAlgorithm {
        match self.0 {
            Kind::Rsa(_) => KeyAlgorithm::RsaSha256,
            Kind::Ed25519(_) => KeyAlgorithm::Ed25519Sha256,
        }
    }

    /// The signature over the SHA-256 of `data`: PKCS#1 v1.5, or PureEdDSA over the 32 bytes of the hash (RFC 8463, 3).
    ///
    /// # Errors
    /// [`SignatureFailed`].
    pub fn sign(&self, data: &[u8]) -> Result<Vec<u8>, SignatureFailed> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| SignatureFailed)?;
                Ok(signature)
            }
            Kind::Ed25519(key) => Ok(key.sign(digest(&SHA256, data).as_ref()).as_ref().to_vec()),
        }
    }

    /// The key as RFC 8463, A.2 prints it.
    #[cfg(test)]
    pub(super) fn ed25519_from_seed(seed: &[u8], public: &[u8]) -> Option<Self> {
        Ed25519KeyPair::from_seed_and_public_key(seed, public).ok().map(|key| Self(Kind::Ed25519(key)))
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({})", self.algorithm())
    }
}
