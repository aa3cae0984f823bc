//! A digest of password and salt, then the salt, in base64: LDAP's `{SSHA}` (RFC 2307 and after), Dovecot's `{SSHA256}` and `{SSHA512}`. Fast to
//! guess, but no two alike; `{SMD5}` is weak besides.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use md5::{Digest, Md5};

use super::super::scheme::{Cost, Form, Scheme};
use super::same;

pub(in super::super) const SSHA512: Scheme = Scheme {
    name: "SSHA512",
    aliases: &[],
    summary: "salted SHA-512",
    weak: false,
    dovecot: true,
    form: Form::Salted,
    pattern: |_| false,
    cost: |hash| cost(hash, 64),
    verify: |hash, password, _| compare(hash, 64, |salt| digest(&SHA512, password, salt)),
};

pub(in super::super) const SSHA256: Scheme = Scheme {
    name: "SSHA256",
    summary: "salted SHA-256",
    cost: |hash| cost(hash, 32),
    verify: |hash, password, _| compare(hash, 32, |salt| digest(&SHA256, password, salt)),
    ..SSHA512
};

pub(in super::super) const SSHA: Scheme = Scheme {
    name: "SSHA",
    summary: "salted SHA-1, of LDAP",
    cost: |hash| cost(hash, 20),
    verify: |hash, password, _| compare(hash, 20, |salt| digest(&SHA1_FOR_LEGACY_USE_ONLY, password, salt)),
    ..SSHA512
};

pub(in super::super) const SMD5: Scheme = Scheme {
    name: "SMD5",
    summary: "salted MD5, of LDAP",
    weak: true,
    cost: |hash| cost(hash, 16),
    verify: |hash, password, _| {
        compare(hash, 16, |salt| Md5::new().chain_update(password).chain_update(salt).finalize().to_vec())
    },
    ..SSHA512
};

fn cost(hash: &[u8], length: usize) -> Option<Cost> {
    (hash.len() > length).then_some(Cost::time(1))
}

fn compare(hash: &[u8], length: usize, digest: impl FnOnce(&[u8]) -> Vec<u8>) -> Option<bool> {
    let (expected, salt) = hash.split_at_checked(length).filter(|(_, salt)| !salt.is_empty())?;
    Some(same(&digest(salt), expected))
}

fn digest(algorithm: &'static aws_lc_rs::digest::Algorithm, password: &[u8], salt: &[u8]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    context.update(password);
    context.update(salt);
    context.finish().as_ref().to_vec()
}
