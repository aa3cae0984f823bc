//! What Django keeps in `auth_user.password` (docs "Password management in Django"): `argon2$` before a PHC string,
//! `pbkdf2_sha256$600000$salt$base64`, `scrypt$16384$salt$8$5$base64` (RFC 7914), `bcrypt$$2b$12$…`, and `bcrypt_sha256$$2b$12$…`, which hashes the
//! hexadecimal SHA-256. Its unsalted forms are not known here.

use std::num::NonZeroU32;

use argon2::Algorithm;
use aws_lc_rs::digest;
use aws_lc_rs::pbkdf2::{self as kdf, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::super::encoding::base64;
use super::super::scheme::{Cost, Form, Scheme};
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

pub(in super::super) const DJANGO_SCRYPT: Scheme = Scheme {
    name: "DJANGO-SCRYPT",
    summary: "scrypt as Django writes it (scrypt$)",
    pattern: |text| text.starts_with("scrypt$"),
    cost: |hash| Some(read_scrypt(text(hash)?)?.cost()),
    verify: |hash, password, _| read_scrypt(text(hash)?)?.verify(password),
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

/// The parts of `scrypt$N$salt$r$p$base64`.
struct Scrypt<'a> {
    n: u32,
    r: u32,
    p: u32,
    salt: &'a str,
    expected: Vec<u8>,
}

fn read_scrypt(hash: &str) -> Option<Scrypt<'_>> {
    let mut fields = hash.strip_prefix("scrypt$")?.split('$');
    let n = number(fields.next()?)?;
    let salt = fields.next()?;
    let (r, p) = (number(fields.next()?)?, number(fields.next()?)?);
    let expected = base64(fields.next()?)?;
    let good = fields.next().is_none() && !salt.is_empty() && expected.len() == SCRYPT_LENGTH;
    // Far beyond what anybody waits for, and below what could overflow.
    let bounded =
        n.is_power_of_two() && n > 1 && n <= 1 << 24 && (1..=256).contains(&r) && (1..=64).contains(&p);
    (good && bounded).then_some(Scrypt { n, r, p, salt, expected })
}

impl Scrypt<'_> {
    /// 128 bytes for each of N times r blocks, about half a microsecond for each, p times.
    fn cost(&self) -> Cost {
        let blocks = u64::from(self.n) * u64::from(self.r);
        let memory = u32::try_from(blocks / 8).unwrap_or(u32::MAX);
        Cost { memory: memory.max(8), micros: blocks * u64::from(self.p) / 2 }
    }

    fn verify(&self, password: &[u8]) -> Option<bool> {
        let params = scrypt::Params::new(u8::try_from(self.n.ilog2()).ok()?, self.r, self.p).ok()?;
        let mut found = Zeroizing::new([0; SCRYPT_LENGTH]);
        scrypt::scrypt(password, self.salt.as_bytes(), &params, found.as_mut_slice()).ok()?;
        Some(bool::from(found.as_slice().ct_eq(&self.expected)))
    }
}

/// Bytes (ScryptPasswordHasher asks hashlib for 64).
const SCRYPT_LENGTH: usize = 64;

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
