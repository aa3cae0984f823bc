//! Private keys encrypted at rest: AES-256-GCM with the key of `[dkim] key-file`.
//!
//! ```text
//! gatepost-dkim:1:aes-256-gcm:7d1a03c8:BASE64(nonce 12 | ciphertext | tag 16)
//!               |  algorithm  which key
//!               version of this form
//! ```
//!
//! The associated data are domain and selector, so that a row's key cannot be put into another row. "Which key" is the beginning of a
//! hash of the key, to tell "the wrong key file" from "damaged". The key file's first line encrypts; further lines are former keys,
//! which decrypt, so that a key file can be changed without a moment in which nobody can sign. What this is good for: dumps, backups
//! and replicas of the database, and roles that may read too much. It is no help against who is root on the mail server.

use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::config::{self, ConfigError, Secret};
use crate::mail::Domain;

/// The keys of the key file; none where none is configured.
pub struct Vault {
    file: Option<PathBuf>,
    keys: Vec<Key>,
}

struct Key {
    id: String,
    aead: RandomizedNonceKey,
}

/// Why a private key cannot be had. Names the culprit; says nothing of any key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It is encrypted, and no key file is configured.
    #[error("it is encrypted, and no key file is configured; set `key-file` in section [dkim]")]
    NoKeyFile,
    /// None of the key file's keys encrypted it.
    #[error("it is encrypted with key {id}, which is not in {file}; add that key as a further line")]
    WrongKeyFile {
        /// Which key.
        id: String,
        /// The key file.
        file: String,
    },
    /// The text is damaged, or belongs to another domain or selector.
    #[error("its encrypted text is damaged, or was made for another domain or selector")]
    Damaged,
    /// A newer version of Gatepost wrote it.
    #[error("it is encrypted in a form that this version does not know; upgrade the packages")]
    UnknownForm,
}

impl Vault {
    /// Reads the key file, if one is configured.
    ///
    /// # Errors
    /// The file cannot be read, lets everybody read it, or holds no key.
    pub fn open(config: &config::Dkim) -> Result<Self, ConfigError> {
        config.key_file.as_deref().map_or_else(|| Ok(Self { file: None, keys: Vec::new() }), Self::read)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let bad = |line: usize, message: &str| ConfigError::Bad {
            path: path.to_owned(),
            line,
            column: 1,
            message: format!(
                "{message}; expected 32 random bytes in base64, as `openssl rand -base64 32` makes them"
            ),
        };
        let mut keys = Vec::new();
        for (number, line) in (1..).zip(config::read_secret_lines(path, KEY_FILE_ADVICE)?) {
            let text = line.expose().trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let bytes =
                Zeroizing::new(STANDARD.decode(text).map_err(|_| bad(number, "not a key: no base64"))?);
            if bytes.len() != AES_256_GCM.key_len() {
                return Err(bad(number, &format!("not a key: {} bytes", bytes.len())));
            }
            let aead = RandomizedNonceKey::new(&AES_256_GCM, &bytes)
                .map_err(|_| bad(number, "not a key for AES-256-GCM"))?;
            keys.push(Key { id: id_of(&bytes), aead });
        }
        if keys.is_empty() {
            return Err(bad(1, "no key"));
        }
        Ok(Self { file: Some(path.to_owned()), keys })
    }

    /// Whether a key file is configured: private keys are then to be encrypted.
    pub fn encrypts(&self) -> bool {
        !self.keys.is_empty()
    }

    /// The text for column `private_key`: encrypted where a key file is configured, else the PEM as it is.
    ///
    /// # Errors
    /// The random numbers of the machine fail.
    pub fn seal(&self, domain: &Domain, selector: &str, pem: &Secret) -> Result<Secret, String> {
        let Some(key) = self.keys.first() else { return Ok(pem.clone()) };
        let mut bytes = Zeroizing::new(pem.expose().as_bytes().to_vec());
        let (nonce, tag) = key
            .aead
            .seal_in_place_separate_tag(Aad::from(associated(domain, selector)), &mut bytes)
            .map_err(|_| "cannot encrypt the key".to_owned())?;
        let all = [nonce.as_ref().as_slice(), &bytes, tag.as_ref()].concat();
        Ok(Secret::new(format!("{PREFIX}{FORM}{}:{}", key.id, STANDARD.encode(all))))
    }

    /// The PEM of what stands in column `private_key`.
    ///
    /// # Errors
    /// See [`VaultError`].
    pub fn open_key(&self, domain: &Domain, selector: &str, stored: &Secret) -> Result<Secret, VaultError> {
        let Some(text) = stored.expose().strip_prefix(PREFIX) else { return Ok(stored.clone()) };
        let (id, sealed) = text
            .strip_prefix(FORM)
            .ok_or(VaultError::UnknownForm)?
            .split_once(':')
            .ok_or(VaultError::Damaged)?;
        let file = self.file.as_ref().ok_or(VaultError::NoKeyFile)?;
        let key = self.keys.iter().find(|key| key.id == id).ok_or_else(|| VaultError::WrongKeyFile {
            id: crate::telemetry::printable(id.as_bytes(), 16),
            file: file.display().to_string(),
        })?;
        let mut bytes = Zeroizing::new(STANDARD.decode(sealed).map_err(|_| VaultError::Damaged)?);
        let (nonce, sealed) = bytes.split_at_mut_checked(NONCE).ok_or(VaultError::Damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Damaged)?;
        let opened = key
            .aead
            .open_in_place(nonce, Aad::from(associated(domain, selector)), sealed)
            .map_err(|_| VaultError::Damaged)?;
        let pem = std::str::from_utf8(opened).map_err(|_| VaultError::Damaged)?;
        Ok(Secret::new(pem.to_owned()))
    }

    /// Whether a stored key is as this vault would store it now: encrypted by the first key, or plain where there is none.
    pub fn is_current(&self, stored: &Secret) -> bool {
        match self.keys.first() {
            Some(key) => stored.expose().starts_with(&format!("{PREFIX}{FORM}{}:", key.id)),
            None => !is_encrypted(stored),
        }
    }
}

/// Whether what stands in column `private_key` is encrypted.
pub fn is_encrypted(stored: &Secret) -> bool {
    stored.expose().starts_with(PREFIX)
}

/// Domains and selectors have no NUL, so that no two pairs give the same bytes.
fn associated(domain: &Domain, selector: &str) -> Vec<u8> {
    format!("gatepost-dkim\0{domain}\0{selector}").into_bytes()
}

fn id_of(key: &[u8]) -> String {
    let hashed = Zeroizing::new([b"gatepost-dkim key\0", key].concat());
    digest(&SHA256, &hashed).as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

const PREFIX: &str = "gatepost-dkim:";
const FORM: &str = "1:aes-256-gcm:";
/// NIST SP 800-38D, 8.2: 96 bits.
const NONCE: usize = 12;
const KEY_FILE_ADVICE: &str = "make it with `openssl rand -base64 32`, owned by who runs the tool (postgres) and the milter's group, mode 0640";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const TWO: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    fn vault(text: &str) -> Result<Vault, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dkim.key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        Vault::open(&config::Dkim { key_file: Some(path), ..Default::default() })
    }

    fn example() -> (Domain, Secret) {
        (Domain::parse("example.com").unwrap(), Secret::new("-----BEGIN PRIVATE KEY-----\n".into()))
    }

    #[test]
    fn what_is_sealed_opens_in_its_own_row_only() {
        let (domain, pem) = example();
        let vault = vault(ONE).unwrap();
        let sealed = vault.seal(&domain, "s1", &pem).unwrap();
        assert!(sealed.expose().starts_with("gatepost-dkim:1:aes-256-gcm:") && is_encrypted(&sealed));
        assert!(!sealed.expose().contains("BEGIN") && vault.is_current(&sealed));
        assert_eq!(vault.open_key(&domain, "s1", &sealed).unwrap().expose(), pem.expose());
        assert_ne!(sealed.expose(), vault.seal(&domain, "s1", &pem).unwrap().expose(), "a nonce used twice");
        let other = Domain::parse("example.net").unwrap();
        assert_eq!(vault.open_key(&domain, "s2", &sealed).unwrap_err(), VaultError::Damaged);
        assert_eq!(vault.open_key(&other, "s1", &sealed).unwrap_err(), VaultError::Damaged);
        // A plain key stays readable.
        assert_eq!(vault.open_key(&domain, "s1", &pem).unwrap().expose(), pem.expose());
        assert!(!vault.is_current(&pem));
    }

    #[test]
    fn a_key_file_is_changed_by_a_line_above() {
        let (domain, pem) = example();
        let old = vault(ONE).unwrap().seal(&domain, "s", &pem).unwrap();
        let both = vault(&format!("# new\n{TWO}\n\n{ONE}\n")).unwrap();
        assert_eq!(both.open_key(&domain, "s", &old).unwrap().expose(), pem.expose());
        assert!(!both.is_current(&old));
        let new = both.seal(&domain, "s", &pem).unwrap();
        assert!(both.is_current(&new));
        assert_eq!(vault(TWO).unwrap().open_key(&domain, "s", &new).unwrap().expose(), pem.expose());
        let error = vault(TWO).unwrap().open_key(&domain, "s", &old).unwrap_err();
        assert!(matches!(error, VaultError::WrongKeyFile { .. }), "{error}");
    }

    #[test]
    fn what_cannot_be_opened_names_the_culprit() {
        let (domain, pem) = example();
        let none = Vault::open(&config::Dkim::default()).unwrap();
        assert_eq!(none.seal(&domain, "s", &pem).unwrap().expose(), pem.expose());
        let vault = vault(ONE).unwrap();
        let sealed = vault.seal(&domain, "s", &pem).unwrap();
        assert_eq!(none.open_key(&domain, "s", &sealed).unwrap_err(), VaultError::NoKeyFile);
        let text = sealed.expose();
        let last = text.len() - 3;
        for (broken, error) in [
            (format!("{}A{}", &text[..last], &text[last + 1..]), VaultError::Damaged),
            (text[..text.len() - 8].to_owned(), VaultError::Damaged),
            (text[..text.len() - 5].to_owned(), VaultError::Damaged),
            (text.rsplit_once(':').unwrap().0.to_owned() + ":", VaultError::Damaged),
            (text.rsplit_once(':').unwrap().0.to_owned(), VaultError::Damaged),
            ("gatepost-dkim:2:x:y:z".to_owned(), VaultError::UnknownForm),
        ] {
            if broken != text {
                assert_eq!(
                    vault.open_key(&domain, "s", &Secret::new(broken.clone())).unwrap_err(),
                    error,
                    "{broken}"
                );
            }
        }
    }

    #[test]
    fn what_is_no_key_file_says_where() {
        for (text, why) in [
            ("", ":1:1: no key"),
            ("# nothing\n\n", ":1:1: no key"),
            ("short\n", ":1:1: not a key: no base64"),
            (&format!("{ONE}\nAAAA\n")[..], ":2:1: not a key: 3 bytes"),
        ] {
            let error = vault(text).err().unwrap().to_string();
            assert!(error.contains(why) && error.contains("openssl rand"), "{text:?}: {error}");
        }
        let missing = config::Dkim { key_file: Some("/nonexistent/dkim.key".into()), ..Default::default() };
        assert!(Vault::open(&missing).err().unwrap().to_string().contains("/nonexistent/dkim.key"));
    }
}
