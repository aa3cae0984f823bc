//! One stored hash: its scheme, by Dovecot's `{SCHEME}` or by its pattern, and the verification itself (blocking).

use std::fmt;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version};

use crate::config::Secret;

/// A hash as the database holds it. Prints nothing of itself.
#[derive(Clone)]
pub struct StoredHash {
    scheme: Scheme,
    encoded: Secret,
}

/// The schemes of stored hashes. Names are Dovecot's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `ARGON2ID` (RFC 9106): PHP's and Nextcloud's default.
    Argon2id,
    /// `ARGON2I` (RFC 9106).
    Argon2i,
    /// `BLF-CRYPT`: bcrypt, `$2a$`, `$2b$`, `$2y$`.
    Bcrypt,
    /// None of these: nobody logs in with it, and the log says so.
    Unknown,
}

/// Why a hash cannot be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The scheme is none that is known here.
    #[error("unknown password scheme; expected argon2id, argon2i or bcrypt")]
    UnknownScheme,
    /// The text is not what its scheme says.
    #[error("malformed {0} hash")]
    Malformed(Scheme),
    /// Its cost is beyond what may be spent.
    #[error("{scheme} hash needs {memory} KiB, more than the hashing memory allows")]
    TooDear {
        /// The scheme.
        scheme: Scheme,
        /// What it needs, in KiB.
        memory: u32,
    },
}

impl StoredHash {
    /// Reads a hash with or without a `{SCHEME}` prefix; never fails: what is not known is [`Scheme::Unknown`].
    pub fn parse(text: String) -> Self {
        let (prefix, rest) = match text.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((prefix, rest)) => (Some(prefix), rest),
            None => (None, text.as_str()),
        };
        let by_pattern = match rest {
            _ if rest.starts_with("$argon2id$") => Scheme::Argon2id,
            _ if rest.starts_with("$argon2i$") => Scheme::Argon2i,
            _ if ["$2a$", "$2b$", "$2y$"].iter().any(|mark| rest.starts_with(mark)) => Scheme::Bcrypt,
            _ => Scheme::Unknown,
        };
        let scheme = match prefix.map(str::to_ascii_uppercase).as_deref() {
            None => by_pattern,
            Some("ARGON2ID") if by_pattern == Scheme::Argon2id => by_pattern,
            Some("ARGON2I") if by_pattern == Scheme::Argon2i => by_pattern,
            Some("BLF-CRYPT" | "CRYPT") if by_pattern == Scheme::Bcrypt => by_pattern,
            Some(_) => Scheme::Unknown,
        };
        Self { scheme, encoded: Secret::new(rest.to_owned()) }
    }

    /// A new argon2id hash, as PHP's `password_hash` makes it by default (m=65536, t=4, p=1): Nextcloud verifies it too.
    ///
    /// # Errors
    /// The system has no random numbers, or no memory.
    pub fn new(password: &Secret) -> Result<Self, argon2::password_hash::Error> {
        use argon2::PasswordHasher;
        let params = Params::new(NEW_MEMORY, NEW_TIME, 1, None)?;
        let mut salt = [0; 16];
        rand::fill(&mut salt);
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_with_salt(password.expose().as_bytes(), &salt)?;
        Ok(Self { scheme: Scheme::Argon2id, encoded: Secret::new(hash.to_string()) })
    }

    /// Its scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The text without prefix, to be written to the database.
    pub fn encoded(&self) -> &Secret {
        &self.encoded
    }

    /// The text with Dovecot's prefix, such as `{ARGON2ID}$argon2id$…`; for Dovecot's own auth, which verifies it then.
    pub fn with_prefix(&self) -> Secret {
        match self.scheme {
            Scheme::Unknown => self.encoded.clone(),
            scheme => Secret::new(format!("{{{scheme}}}{}", self.encoded.expose())),
        }
    }

    /// The memory its verification takes, in KiB.
    pub fn memory(&self) -> u32 {
        match self.scheme {
            Scheme::Argon2id | Scheme::Argon2i => PasswordHash::new(self.encoded.expose())
                .ok()
                .and_then(|hash| Params::try_from(&hash).ok())
                .map_or(SMALL, |params| params.m_cost()),
            Scheme::Bcrypt | Scheme::Unknown => SMALL,
        }
    }

    /// Whether the password is the one; takes as long as the hash costs.
    ///
    /// # Errors
    /// The hash cannot be verified at all, by any password.
    pub fn verify(&self, password: &Secret) -> Result<bool, HashError> {
        let malformed = || HashError::Malformed(self.scheme);
        match self.scheme {
            Scheme::Argon2id | Scheme::Argon2i => {
                // A text that was cut off parses, and would be "wrong" for every password.
                let hash = PasswordHash::new(self.encoded.expose()).ok();
                let hash =
                    hash.filter(|hash| hash.salt.is_some() && hash.hash.is_some()).ok_or_else(malformed)?;
                match Argon2::default().verify_password(password.expose().as_bytes(), &hash) {
                    Ok(()) => Ok(true),
                    Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
                    Err(_) => Err(malformed()),
                }
            }
            // PHP and Dovecot cut at 72 bytes too.
            Scheme::Bcrypt => {
                bcrypt::verify(password.expose(), self.encoded.expose()).map_err(|_| malformed())
            }
            Scheme::Unknown => Err(HashError::UnknownScheme),
        }
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHash({})", self.scheme)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Argon2id => "ARGON2ID",
            Self::Argon2i => "ARGON2I",
            Self::Bcrypt => "BLF-CRYPT",
            Self::Unknown => "unknown",
        })
    }
}

/// KiB; PHP's PASSWORD_ARGON2_DEFAULT_MEMORY_COST.
const NEW_MEMORY: u32 = 65_536;
/// PHP's PASSWORD_ARGON2_DEFAULT_TIME_COST.
const NEW_TIME: u32 = 4;
/// KiB; bcrypt's state and what a failed parse takes.
const SMALL: u32 = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn verify(hash: &str, password: &str) -> Result<bool, HashError> {
        StoredHash::parse(hash.into()).verify(&Secret::new(password.into()))
    }

    #[test]
    fn the_tutorials_hashes_verify() {
        let alice = "$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";
        for hash in [alice.to_owned(), format!("{{ARGON2ID}}{alice}"), format!("{{argon2id}}{alice}")] {
            assert_eq!(verify(&hash, "alice123"), Ok(true), "{hash}");
            assert_eq!(verify(&hash, "alice124"), Ok(false));
            assert_eq!(verify(&hash, ""), Ok(false));
        }
        assert_eq!(StoredHash::parse(alice.into()).memory(), 16);
    }

    #[test]
    fn bcrypt_verifies_in_all_its_spellings() {
        let hash = bcrypt::hash("geheim", 4).unwrap();
        for mark in ["$2a$", "$2b$", "$2y$"] {
            let hash = format!("{mark}{}", &hash[4..]);
            assert_eq!(verify(&hash, "geheim"), Ok(true), "{mark}");
            assert_eq!(verify(&format!("{{BLF-CRYPT}}{hash}"), "geheim"), Ok(true));
            assert_eq!(verify(&hash, "Geheim"), Ok(false));
        }
    }

    #[test]
    fn what_cannot_be_verified_says_so_and_shows_nothing() {
        assert_eq!(verify("plain", "plain"), Err(HashError::UnknownScheme));
        assert_eq!(verify("{PLAIN}plain", "plain"), Err(HashError::UnknownScheme));
        assert_eq!(verify("{SHA512-CRYPT}$argon2id$v=19$", "x"), Err(HashError::UnknownScheme));
        assert_eq!(verify("$argon2id$v=19$m=16", "x"), Err(HashError::Malformed(Scheme::Argon2id)));
        assert_eq!(verify("$2y$10$short", "x"), Err(HashError::Malformed(Scheme::Bcrypt)));
        assert_eq!(format!("{:?}", StoredHash::parse("$2y$10$short".into())), "StoredHash(BLF-CRYPT)");
    }

    #[test]
    fn a_new_hash_is_phps_kind_and_verifies() {
        let password = Secret::new("geheim".into());
        let hash = StoredHash::new(&password).unwrap();
        assert!(hash.encoded().expose().starts_with("$argon2id$v=19$m=65536,t=4,p=1$"));
        assert_eq!(StoredHash::parse(hash.with_prefix().expose().to_owned()).verify(&password), Ok(true));
    }
}
