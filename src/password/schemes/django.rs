//! What Django keeps in `auth_user.password` (docs "Password management in Django"): `argon2$` before a PHC string,
//! `pbkdf2_sha256$600000$salt$base64`, `bcrypt$$2b$12$…`, and `bcrypt_sha256$$2b$12$…`, which hashes the hexadecimal SHA-256. Its `scrypt$` and its
//! unsalted forms are not known here.

use std::num::NonZeroU32;

use argon2::Algorithm;
use aws_lc_rs::digest;
use aws_lc_rs::pbkdf2::{self as kdf, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256};
use zeroize::Zeroizing;

use super::super::encoding::base64;
use super::super::scheme::{Form, Scheme};
use super::{argon2 as phc, bcrypt, number, pbkdf2, text};

pub(in super::super) const DJANGO_ARGON2: Scheme = Scheme {
    name: "DJANGO-ARGON2",
    aliases: &[],
    summary: "argon2id as Django writes it (argon2$argon2id$)",
    weak: false,
    dovecot: false,
    form: Form::Text,
    pattern: |text| text.starts_with("argon2$argon2id$"),
    cost: |hash| Some(phc::read(hash.strip_prefix(b"argon2")?, Algorithm::Argon2id)?.cost()),
    verify: |hash, password, workspace| {
        phc::read(hash.strip_prefix(b"argon2")?, Algorithm::Argon2id)?.verify(password, workspace)
    },
};

pub(in super::super) const DJANGO_PBKDF2: Scheme = Scheme {
    name: "DJANGO-PBKDF2",
    summary: "PBKDF2 as Django writes it (pbkdf2_sha256$, pbkdf2_sha1$)",
    pattern: |text| text.starts_with("pbkdf2_sha256$") || text.starts_with("pbkdf2_sha1$"),
    cost: |hash| Some(pbkdf2::cost(read_pbkdf2(text(hash)?)?.1)),
    verify: |hash, password, _| {
        let (algorithm, rounds, salt, expected) = read_pbkdf2(text(hash)?)?;
        Some(pbkdf2::matches(algorithm, rounds, salt.as_bytes(), password, &expected))
    },
    ..DJANGO_ARGON2
};

pub(in super::super) const DJANGO_BCRYPT: Scheme = Scheme {
    name: "DJANGO-BCRYPT",
    summary: "bcrypt as Django writes it (bcrypt$)",
    pattern: |text| text.starts_with("bcrypt$"),
    cost: |hash| bcrypt::cost(text(hash)?.strip_prefix("bcrypt$")?),
    verify: |hash, password, _| bcrypt::verify(text(hash)?.strip_prefix("bcrypt$")?, password),
    ..DJANGO_ARGON2
};

pub(in super::super) const DJANGO_BCRYPT_SHA256: Scheme = Scheme {
    name: "DJANGO-BCRYPT-SHA256",
    summary: "bcrypt of SHA-256 as Django writes it (bcrypt_sha256$)",
    pattern: |text| text.starts_with("bcrypt_sha256$"),
    cost: |hash| bcrypt::cost(text(hash)?.strip_prefix("bcrypt_sha256$")?),
    verify: |hash, password, _| {
        let digest = digest::digest(&digest::SHA256, password);
        let digits: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        bcrypt::verify(text(hash)?.strip_prefix("bcrypt_sha256$")?, Zeroizing::new(digits).as_bytes())
    },
    ..DJANGO_ARGON2
};

fn read_pbkdf2(hash: &str) -> Option<(kdf::Algorithm, NonZeroU32, &str, Vec<u8>)> {
    let mut fields = hash.split('$');
    let (algorithm, length) = match fields.next()? {
        "pbkdf2_sha256" => (PBKDF2_HMAC_SHA256, 32),
        "pbkdf2_sha1" => (PBKDF2_HMAC_SHA1, 20),
        _ => return None,
    };
    let rounds = NonZeroU32::new(number(fields.next()?)?)?;
    let (salt, expected) = (fields.next()?, base64(fields.next()?)?);
    let good = fields.next().is_none() && !salt.is_empty() && expected.len() == length;
    good.then_some((algorithm, rounds, salt, expected))
}
