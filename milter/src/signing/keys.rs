//! Private keys, parsed once.
//!
//! For `signing`. Parsing an RSA key (with its consistency checks) costs as much as a signature; a key is recognised by the
//! SHA-256 of its PEM text, so a rotated key is a new key and no invalidation is needed. Nothing of a key is ever printed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::store::{KeyAlgorithm, SigningKey};
use mail_auth::crypto::{DkimKey, Ed25519Key, RsaKey, Sha256};
use moka::sync::Cache;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// More domains than one host signs for at a time; a parsed RSA-2048 key takes about 3 KiB.
const KEYS: u64 = 1_000;

/// The parsed keys.
pub(super) struct Keys(Cache<[u8; 32], Arc<DkimKey>>);

impl Keys {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEYS))
    }

    /// The key, parsed now or earlier; the error says what is wrong with it, never what is in it.
    pub(super) fn parse(&self, key: &SigningKey) -> Result<Arc<DkimKey>, String> {
        let pem = key.private_key.expose().as_bytes();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, pem).as_ref());
        if let Some(parsed) = self.0.get(&fingerprint) {
            return Ok(parsed);
        }
        let parsed = match key.algorithm {
            KeyAlgorithm::RsaSha256 => {
                let der =
                    PrivateKeyDer::from_pem_slice(pem).map_err(|_| "not a private key in PEM".to_owned())?;
                let key = RsaKey::<Sha256>::from_key_der(der)
                    .map_err(|_| "not an RSA key of 2048 bits or more".to_owned())?;
                DkimKey::from(key)
            }
            KeyAlgorithm::Ed25519Sha256 => {
                let der = PrivatePkcs8KeyDer::from_pem_slice(pem)
                    .map_err(|_| "not a private key in PKCS#8 PEM".to_owned())?;
                let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(der.secret_pkcs8_der())
                    .map_err(|_| "not an Ed25519 key".to_owned())?;
                DkimKey::from(key)
            }
        };
        let parsed = Arc::new(parsed);
        self.0.insert(fingerprint, Arc::clone(&parsed));
        Ok(parsed)
    }
}
