//! Private keys, parsed once.
//!
//! For `signing`. Parsing an RSA key (with its consistency checks) costs as much as a signature; a key is recognised by the
//! SHA-256 of its row, so a rotated key is a new key and no invalidation is needed. Keys stay encrypted everywhere but here.
//! Nothing of a key is ever printed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use gatepost::dkim::Vault;
use gatepost::store::SigningKey;
use moka::sync::Cache;

use super::private::PrivateKey;

/// More domains than one host signs for at a time; a parsed RSA-2048 key takes about 3 KiB.
const KEYS: u64 = 1_000;

/// The parsed keys.
pub(super) struct Keys {
    parsed: Cache<[u8; 32], Arc<PrivateKey>>,
    vault: ArcSwap<Vault>,
}

impl Keys {
    pub(super) fn new(vault: Vault) -> Self {
        Self { parsed: Cache::new(KEYS), vault: ArcSwap::from_pointee(vault) }
    }

    /// Takes over a new key file; keys that were parsed before stay.
    pub(super) fn reload(&self, vault: Vault) {
        self.vault.store(Arc::new(vault));
    }

    /// The key, parsed now or earlier; the error says what is wrong with it, never what is in it.
    pub(super) fn parse(&self, key: &SigningKey) -> Result<Arc<PrivateKey>, String> {
        let fingerprint = fingerprint(key);
        if let Some(parsed) = self.parsed.get(&fingerprint) {
            return Ok(parsed);
        }
        let opened = self.vault.load().open_key(&key.domain, &key.selector, &key.private_key);
        let opened = opened.map_err(|error| error.to_string())?;
        let parsed = Arc::new(PrivateKey::from_pem(key.algorithm, opened.expose().as_bytes())?);
        self.parsed.insert(fingerprint, Arc::clone(&parsed));
        Ok(parsed)
    }
}

/// Of the whole row, so that an encrypted key that was put into another row is not taken for the one that was opened before. A NUL
/// stands in none of the texts.
fn fingerprint(key: &SigningKey) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let algorithm = key.algorithm.to_string();
    for text in [key.domain.as_str(), &key.selector, &algorithm, key.private_key.expose()] {
        context.update(text.as_bytes());
        context.update(b"\0");
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}
