//! PBKDF2 as Dovecot writes it (password-scheme-pbkdf2.c): `$1$salt$rounds$hex`, HMAC-SHA-1, the salt as it stands.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{Algorithm, PBKDF2_HMAC_SHA1, verify as compare};

use super::super::encoding::hex;
use super::super::scheme::{Cost, Form, Scheme};
use super::{number, text};

pub(in super::super) const PBKDF2: Scheme = Scheme {
    name: "PBKDF2",
    aliases: &[],
    summary: "PBKDF2 by HMAC-SHA-1, as Dovecot writes it",
    weak: false,
    dovecot: true,
    form: Form::Text,
    // `$1$` is crypt(3)'s MD5 where no prefix says otherwise.
    pattern: |_| false,
    cost: |hash| Some(cost(read(text(hash)?)?.1)),
    verify: |hash, password, _| {
        let (salt, rounds, expected) = read(text(hash)?)?;
        Some(matches(PBKDF2_HMAC_SHA1, rounds, salt.as_bytes(), password, &expected))
    },
};

fn read(hash: &str) -> Option<(&str, NonZeroU32, Vec<u8>)> {
    let mut fields = hash.strip_prefix("$1$")?.split('$');
    let (salt, rounds, expected) = (fields.next()?, fields.next()?, hex(fields.next()?)?);
    let good = fields.next().is_none() && !salt.is_empty() && expected.len() == 20;
    let rounds = NonZeroU32::new(number(rounds)?)?;
    good.then_some((salt, rounds, expected))
}

/// About one microsecond a round, for whichever SHA.
pub(super) fn cost(rounds: NonZeroU32) -> Cost {
    Cost::time(rounds.get().into())
}

pub(super) fn matches(
    algorithm: Algorithm,
    rounds: NonZeroU32,
    salt: &[u8],
    password: &[u8],
    expected: &[u8],
) -> bool {
    compare(algorithm, rounds, salt, password, expected).is_ok()
}
