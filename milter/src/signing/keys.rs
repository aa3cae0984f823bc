//! Private keys, parsed once.
//!
//! For `signing`. Parsing an RSA key (with its consistency checks) costs as much as a signature; a key is recognised by the
//! SHA-256 of its PEM text, so a rotated key is a new key and no invalidation is needed. Nothing of a key is ever printed.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use gatepost::store::SigningKey;
use moka::sync::Cache;

use super::private::PrivateKey;

/// More domains than one host signs for at a time; a parsed RSA-2048 key takes about 3 KiB.
const KEYS: u64 = 1_000;

/// The parsed keys.
pub(super) struct Keys(Cache<[u8; 32], Arc<PrivateKey>>);

impl Keys {
    pub(super) fn new() -> Self {
        Self(Cache::new(KEYS))
    }

    /// The key, parsed now or earlier; the error says what is wrong with it, never what is in it.
    pub(super) fn parse(&self, key: &SigningKey) -> Result<Arc<PrivateKey>, String> {
        let pem = key.private_key.expose().as_bytes();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, pem).as_ref());
        if let Some(parsed) = self.0.get(&fingerprint) {
            return Ok(parsed);
        }
        let parsed = Arc::new(PrivateKey::from_pem(key.algorithm, pem)?);
        self.0.insert(fingerprint, Arc::clone(&parsed));
        Ok(parsed)
    }
}
