//! What a scheme of stored hashes is, and the table of all that are known. A scheme is one file in `schemes/` with one const, and one
//! line in [`SCHEMES`].
//!
//! Names are Dovecot's (doc "Password Schemes"), also for those that Dovecot does not have. Refuses to guess: a hash without a prefix is
//! known by its pattern alone, and patterns do not overlap (a test holds them to it).

use super::schemes::{
    argon2, bcrypt, digest, django, md5_crypt, pbkdf2, plain, salted, scram, sha_crypt, yescrypt,
};
use super::workspace::Workspace;

/// One scheme.
pub struct Scheme {
    /// Its name, upper case, as Dovecot has it before a hash in braces.
    pub name: &'static str,
    /// Other names of the same.
    pub aliases: &'static [&'static str],
    /// What it is, in one line.
    pub summary: &'static str,
    /// Whether it protects so little that nobody logs in with it unless the configuration names it.
    pub weak: bool,
    /// Whether Dovecot knows it by this name.
    pub dovecot: bool,
    /// How the hash is written behind the prefix, where no encoding is named.
    pub(super) form: Form,
    /// Whether a text without a prefix is one of these.
    pub(super) pattern: fn(&str) -> bool,
    /// What a verification costs; `None` for what is no such hash.
    pub(super) cost: fn(&[u8]) -> Option<Cost>,
    /// Whether the password belongs to the hash; `None` for what is no such hash.
    pub(super) verify: fn(&[u8], &[u8], &mut Workspace) -> Option<bool>,
}

/// How a hash is written where no encoding is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Text,
    /// Base64; or hexadecimal, if the text has twice as many characters as the hash has bytes.
    Bytes(usize),
    /// Base64 of a hash and a salt of any length.
    Salted,
}

/// What a verification takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory: u32,
    /// Time in microseconds on an ordinary core, within a factor of two or so.
    pub micros: u64,
}

impl Cost {
    /// Of something that takes next to no memory.
    pub(super) const fn time(micros: u64) -> Self {
        Self { memory: SMALL, micros }
    }

    /// Whether it is not worth handing to another thread.
    pub fn is_light(self) -> bool {
        self.micros <= LIGHT && self.memory <= 1024
    }
}

/// Every scheme.
pub static SCHEMES: &[&Scheme] = &[
    &argon2::ARGON2ID,
    &argon2::ARGON2I,
    &argon2::ARGON2D,
    &bcrypt::BLF_CRYPT,
    &yescrypt::YESCRYPT,
    &sha_crypt::SHA512_CRYPT,
    &sha_crypt::SHA256_CRYPT,
    &pbkdf2::PBKDF2,
    &scram::SCRAM_SHA_256,
    &scram::SCRAM_SHA_1,
    &django::DJANGO_ARGON2,
    &django::DJANGO_PBKDF2,
    &django::DJANGO_SCRYPT,
    &django::DJANGO_BCRYPT,
    &django::DJANGO_BCRYPT_SHA256,
    &salted::SSHA512,
    &salted::SSHA256,
    &salted::SSHA,
    &salted::SMD5,
    &md5_crypt::MD5_CRYPT,
    &digest::SHA512,
    &digest::SHA256,
    &digest::SHA,
    &digest::PLAIN_MD5,
    &plain::PLAIN,
];

impl Scheme {
    /// The scheme of that name, in any case.
    pub fn named(name: &str) -> Option<&'static Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        SCHEMES.iter().copied().find(|scheme| is(scheme.name) || scheme.aliases.iter().any(|alias| is(alias)))
    }

    /// The scheme of a hash that has no prefix.
    pub fn of(text: &str) -> Option<&'static Self> {
        SCHEMES.iter().copied().find(|scheme| (scheme.pattern)(text))
    }
}

impl std::fmt::Debug for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl std::fmt::Display for Scheme {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Scheme {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Scheme {}

/// KiB; what a verification without appreciable memory is counted as.
pub(super) const SMALL: u32 = 8;
/// Microseconds: about what the change of threads costs twice.
const LIGHT: u64 = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        let mut names = Vec::new();
        for scheme in SCHEMES {
            for name in std::iter::once(&scheme.name).chain(scheme.aliases) {
                assert_eq!(Scheme::named(&name.to_ascii_lowercase()), Some(*scheme), "{name}");
                names.push(*name);
            }
        }
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert_eq!(Scheme::named("LANMAN"), None);
    }

    #[test]
    fn a_hash_without_prefix_is_of_one_scheme_at_the_most() {
        for text in [
            "$argon2id$v=19$",
            "$argon2i$",
            "$argon2d$",
            "$2y$10$",
            "$2a$",
            "$2b$",
            "$y$j9T$",
            "$5$",
            "$6$",
            "$1$",
            "argon2$argon2id$",
            "pbkdf2_sha256$1$",
            "pbkdf2_sha1$",
            "scrypt$16384$",
            "bcrypt$$2b$",
            "bcrypt_sha256$$2b$",
        ] {
            assert_eq!(SCHEMES.iter().filter(|scheme| (scheme.pattern)(text)).count(), 1, "{text}");
        }
        for text in ["", "secret", "$7$", "$gy$", "{SSHA}x", "$$", "aWYJc8LdbaSHM"] {
            assert_eq!(Scheme::of(text), None, "{text}");
        }
    }
}
