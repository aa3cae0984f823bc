//! crypt(3) by SHA-2 (Drepper, "Unix crypt using SHA-256 and SHA-512"): `$6$salt$hash`, `$6$rounds=50000$salt$hash`, `$5$…`.

use sha_crypt::{PasswordVerifier, ShaCrypt};

use super::super::scheme::{Cost, Form, Scheme};
use super::{number, text};

pub(in super::super) const SHA512_CRYPT: Scheme = Scheme {
    name: "SHA512-CRYPT",
    aliases: &[],
    summary: "crypt(3) by SHA-512 ($6$)",
    weak: false,
    dovecot: true,
    form: Form::Text,
    pattern: |text| text.starts_with("$6$"),
    cost: |hash| cost(text(hash)?, "$6$", 86),
    verify: |hash, password, _| verify(text(hash)?, "$6$", 86, password),
};

pub(in super::super) const SHA256_CRYPT: Scheme = Scheme {
    name: "SHA256-CRYPT",
    summary: "crypt(3) by SHA-256 ($5$)",
    pattern: |text| text.starts_with("$5$"),
    cost: |hash| cost(text(hash)?, "$5$", 43),
    verify: |hash, password, _| verify(text(hash)?, "$5$", 43, password),
    ..SHA512_CRYPT
};

/// 5000 rounds are the default, and fewer than 1000 are none.
fn cost(hash: &str, mark: &str, length: usize) -> Option<Cost> {
    let mut fields = hash.strip_prefix(mark)?.split('$');
    let mut salt = fields.next()?;
    let mut rounds = 5000;
    if let Some(given) = salt.strip_prefix("rounds=") {
        rounds = number(given).filter(|rounds| (1000..=999_999_999).contains(rounds))?;
        salt = fields.next()?;
    }
    let hashed = fields.next()?;
    let good = fields.next().is_none() && salt.len() <= 16 && hashed.len() == length;
    good.then(|| Cost::time(u64::from(rounds) * 7 / 10))
}

fn verify(hash: &str, mark: &str, length: usize, password: &[u8]) -> Option<bool> {
    cost(hash, mark, length)?;
    match ShaCrypt::default().verify_password(password, hash) {
        Ok(()) => Some(true),
        Err(sha_crypt::password_hash::Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}
