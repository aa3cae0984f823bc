//! The schemes, each by its file. What they share is only that a hash is bytes, a password is bytes, and comparing takes the same time
//! whatever is compared.

pub(super) mod argon2;
pub(super) mod bcrypt;
pub(super) mod digest;
pub(super) mod django;
pub(super) mod md5_crypt;
pub(super) mod pbkdf2;
pub(super) mod plain;
pub(super) mod salted;
pub(super) mod scram;
pub(super) mod sha_crypt;
pub(super) mod yescrypt;

/// The hash as text, for schemes whose hashes are text.
fn text(hash: &[u8]) -> Option<&str> {
    std::str::from_utf8(hash).ok().filter(|text| text.is_ascii())
}

/// A number without sign, spaces or leading zeros.
pub(super) fn number(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain.then(|| text.parse().ok()).flatten()
}

/// Whether two hashes are the same, in a time that does not tell where they differ.
pub(super) fn same(one: &[u8], other: &[u8]) -> bool {
    subtle::ConstantTimeEq::ct_eq(one, other).into()
}
