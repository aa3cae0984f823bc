//! A digest of the password alone: the same for everybody who has the same password, and guessed by looking it up. All weak.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256 as SHA_256, SHA512 as SHA_512, digest};
use md5::{Digest, Md5};

use super::super::scheme::{Cost, Form, Scheme};
use super::same;

pub(in super::super) const SHA512: Scheme = Scheme {
    name: "SHA512",
    aliases: &[],
    summary: "SHA-512 without salt",
    weak: true,
    dovecot: true,
    form: Form::Bytes(64),
    pattern: |_| false,
    cost: |hash| cost(hash, 64),
    verify: |hash, password, _| compare(hash, 64, digest(&SHA_512, password).as_ref()),
};

pub(in super::super) const SHA256: Scheme = Scheme {
    name: "SHA256",
    summary: "SHA-256 without salt",
    form: Form::Bytes(32),
    cost: |hash| cost(hash, 32),
    verify: |hash, password, _| compare(hash, 32, digest(&SHA_256, password).as_ref()),
    ..SHA512
};

pub(in super::super) const SHA: Scheme = Scheme {
    name: "SHA",
    aliases: &["SHA1"],
    summary: "SHA-1 without salt",
    form: Form::Bytes(20),
    cost: |hash| cost(hash, 20),
    verify: |hash, password, _| compare(hash, 20, digest(&SHA1_FOR_LEGACY_USE_ONLY, password).as_ref()),
    ..SHA512
};

pub(in super::super) const PLAIN_MD5: Scheme = Scheme {
    name: "PLAIN-MD5",
    aliases: &["LDAP-MD5"],
    summary: "MD5 without salt",
    form: Form::Bytes(16),
    cost: |hash| cost(hash, 16),
    verify: |hash, password, _| compare(hash, 16, &Md5::digest(password)),
    ..SHA512
};

fn cost(hash: &[u8], length: usize) -> Option<Cost> {
    (hash.len() == length).then_some(Cost::time(1))
}

fn compare(hash: &[u8], length: usize, found: &[u8]) -> Option<bool> {
    cost(hash, length).map(|_| same(hash, found))
}
