//! crypt(3) by MD5: `$1$salt$hash` (Poul-Henning Kamp, FreeBSD 1994). Weak since its author said so in 2012.

use md5::{Digest, Md5};

use super::super::scheme::{Cost, Form, Scheme};
use super::{same, text};

pub(in super::super) const MD5_CRYPT: Scheme = Scheme {
    name: "MD5-CRYPT",
    aliases: &["MD5"],
    summary: "crypt(3) by MD5 ($1$)",
    weak: true,
    dovecot: true,
    form: Form::Text,
    pattern: |text| text.starts_with("$1$"),
    cost: |hash| read(text(hash)?).map(|_| Cost::time(400)),
    verify: |hash, password, _| {
        let (salt, expected) = read(text(hash)?)?;
        Some(same(&encode(&hash_of(password, salt.as_bytes())), expected.as_bytes()))
    },
};

fn read(hash: &str) -> Option<(&str, &str)> {
    let (salt, expected) = hash.strip_prefix("$1$")?.split_once('$')?;
    (salt.len() <= 8 && expected.len() == 22).then_some((salt, expected))
}

fn hash_of(password: &[u8], salt: &[u8]) -> [u8; 16] {
    let inner: [u8; 16] =
        Md5::new().chain_update(password).chain_update(salt).chain_update(password).finalize().into();
    let mut first = Md5::new().chain_update(password).chain_update(b"$1$").chain_update(salt);
    for chunk in password.chunks(16) {
        first.update(&inner[..chunk.len()]);
    }
    // One byte for each bit of the length: a NUL, or the password's first (by mistake, and so for ever).
    let mut length = password.len();
    while length > 0 {
        first.update(if length & 1 == 1 { &[0][..] } else { &password[..1] });
        length >>= 1;
    }
    let mut state: [u8; 16] = first.finalize().into();
    for round in 0..1000 {
        let mut next = Md5::new();
        next.update(if round % 2 == 1 { password } else { &state });
        if round % 3 != 0 {
            next.update(salt);
        }
        if round % 7 != 0 {
            next.update(password);
        }
        next.update(if round % 2 == 1 { &state[..] } else { password });
        state = next.finalize().into();
    }
    state
}

/// Its own order of bytes, in crypt(3)'s digits, the low ones first.
fn encode(hash: &[u8; 16]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut out = Vec::with_capacity(22);
    let mut push = |mut value: u32, digits| {
        for _ in 0..digits {
            out.push(DIGITS[(value & 63) as usize]);
            value >>= 6;
        }
    };
    for (a, b, c) in [(0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5)] {
        push(u32::from(hash[a]) << 16 | u32::from(hash[b]) << 8 | u32::from(hash[c]), 4);
    }
    push(hash[11].into(), 2);
    out
}
