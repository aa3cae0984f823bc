//! What a SCRAM server stores, used as a hash of its own: `4096,salt,StoredKey,ServerKey` (Dovecot's form; RFC 5802, 3).

use super::super::scheme::{Cost, Form, Scheme};
use super::super::scram::{ScramHash, ScramVerifier};
use super::text;

pub(in super::super) const SCRAM_SHA_256: Scheme = Scheme {
    name: "SCRAM-SHA-256",
    aliases: &[],
    summary: "verifier of SCRAM-SHA-256 (RFC 7677): the login can use that mechanism too",
    weak: false,
    dovecot: true,
    form: Form::Text,
    pattern: |_| false,
    cost: |hash| cost(text(hash)?, ScramHash::Sha256),
    verify: |hash, password, _| verify(text(hash)?, ScramHash::Sha256, password),
};

pub(in super::super) const SCRAM_SHA_1: Scheme = Scheme {
    name: "SCRAM-SHA-1",
    summary: "verifier of SCRAM-SHA-1 (RFC 5802): the login can use that mechanism too",
    cost: |hash| cost(text(hash)?, ScramHash::Sha1),
    verify: |hash, password, _| verify(text(hash)?, ScramHash::Sha1, password),
    ..SCRAM_SHA_256
};

fn cost(hash: &str, kind: ScramHash) -> Option<Cost> {
    Some(Cost::time(ScramVerifier::parse(kind, hash)?.iterations().get().into()))
}

fn verify(hash: &str, kind: ScramHash, password: &[u8]) -> Option<bool> {
    let verifier = ScramVerifier::parse(kind, hash)?;
    Some(verifier.is_of(std::str::from_utf8(password).ok()?))
}
