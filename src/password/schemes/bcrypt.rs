//! bcrypt: `$2y$10$` and 53 characters; `$2a$` and `$2b$` are the same for passwords without NUL. PHP's `PASSWORD_BCRYPT`.

use super::super::scheme::{Cost, Form, Scheme};
use super::{number, text};

pub(in super::super) const BLF_CRYPT: Scheme = Scheme {
    name: "BLF-CRYPT",
    aliases: &["BCRYPT"],
    summary: "bcrypt ($2a$, $2b$, $2y$)",
    weak: false,
    dovecot: true,
    form: Form::Text,
    pattern: |text| MARKS.iter().any(|mark| text.starts_with(mark)),
    cost: |hash| cost(text(hash)?),
    verify: |hash, password, _| verify(text(hash)?, password),
};

/// `$2x$` is the one with the defect of crypt_blowfish 1.0.
const MARKS: [&str; 3] = ["$2a$", "$2b$", "$2y$"];
/// `$2y$10$`, 22 characters of salt and 31 of hash.
const LENGTH: usize = 60;

pub(super) fn cost(hash: &str) -> Option<Cost> {
    let good = hash.len() == LENGTH
        && MARKS.iter().any(|mark| hash.starts_with(mark))
        && hash.as_bytes()[6] == b'$'
        && hash[7..].bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'/');
    let rounds = hash.get(4..6).filter(|_| good)?;
    let rounds =
        number(rounds.strip_prefix('0').unwrap_or(rounds)).filter(|rounds| (4..=31).contains(rounds))?;
    Some(Cost::time(90 << rounds))
}

pub(super) fn verify(hash: &str, password: &[u8]) -> Option<bool> {
    cost(hash)?;
    // PHP and Dovecot cut at 72 bytes too.
    ::bcrypt::verify(password, hash).ok()
}
