//! One stored hash: its scheme, by Dovecot's `{SCHEME}` or by its pattern, and the verification itself (blocking).

use std::fmt;
use std::sync::{Arc, OnceLock};

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::Zeroizing;

use super::encoding::{self, Encoding};
use super::scheme::{Cost, Form, Scheme};
use super::stack::wiped;
use super::workspace::Workspace;
use crate::config::Secret;

/// A hash as the database holds it. Prints nothing of itself. Cheap to clone: every login holds its own several times.
#[derive(Clone)]
pub struct StoredHash(Arc<Parts>);

struct Parts {
    scheme: Option<&'static Scheme>,
    encoding: Option<Encoding>,
    /// As it stands in the database.
    text: Secret,
    /// Where the hash begins, behind the prefix.
    start: usize,
    /// Read off once, for each login asks.
    cost: OnceLock<Result<Cost, HashError>>,
}

/// Why a hash cannot be verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashError {
    /// The scheme is none that is known here.
    #[error("unknown password scheme; `gatepost-dovecot-auth list` shows those that are known")]
    UnknownScheme,
    /// The text is not what its scheme says.
    #[error("malformed {0} hash")]
    Malformed(&'static Scheme),
    /// Its memory is beyond what may be spent.
    #[error("{scheme} hash needs {memory} KiB, more than the hashing memory allows")]
    TooDear {
        /// The scheme.
        scheme: &'static Scheme,
        /// What it needs, in KiB.
        memory: u32,
    },
    /// Its time is beyond what may be spent on any login.
    #[error("{scheme} hash would take about {seconds} s, more than a login may")]
    TooLong {
        /// The scheme.
        scheme: &'static Scheme,
        /// What it would take, roughly.
        seconds: u64,
    },
    /// The scheme protects too little to be used without being asked for.
    #[error("{0} hash, which is weak: nobody logs in with it unless `weak-schemes` names it")]
    NotAllowed(&'static Scheme),
    /// No memory for it.
    #[error("no memory for a {0} hash")]
    NoMemory(&'static Scheme),
}

impl StoredHash {
    /// Reads a hash with or without a `{SCHEME}` prefix (`{SCHEME.b64}`, `{SCHEME.hex}`); never fails: what is not known has no scheme.
    pub fn parse(text: String) -> Self {
        let prefix = text.strip_prefix('{').and_then(|rest| rest.split_once('}')).map(|(prefix, _)| prefix);
        let start = prefix.map_or(0, |prefix| prefix.len() + 2);
        let rest = &text[start..];
        let (scheme, encoding) = match prefix {
            None => (Scheme::of(rest), None),
            Some(prefix) => {
                let (name, suffix) =
                    prefix.split_once('.').map_or((prefix, None), |(name, suffix)| (name, Some(suffix)));
                let encoding = suffix.map(Encoding::named);
                let scheme = match name {
                    // Whatever crypt(3) can: by the pattern.
                    _ if name.eq_ignore_ascii_case("CRYPT") => crypt_scheme(rest, encoding.flatten()),
                    // Dovecot 2.4's name for each kind of it.
                    _ if name.eq_ignore_ascii_case("ARGON2") => crypt_scheme(rest, encoding.flatten())
                        .filter(|scheme| scheme.name.starts_with("ARGON2")),
                    _ => Scheme::named(name),
                };
                (scheme.filter(|_| encoding != Some(None)), encoding.flatten())
            }
        };
        Self(Arc::new(Parts { scheme, encoding, text: Secret::new(text), start, cost: OnceLock::new() }))
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
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let hash = wiped(|| argon2.hash_password_with_salt(password.expose().as_bytes(), &salt))?;
        Ok(Self::parse(hash.to_string()))
    }

    /// Its scheme; `None` where it is none that is known.
    pub fn scheme(&self) -> Option<&'static Scheme> {
        self.0.scheme
    }

    /// The text without prefix.
    pub fn encoded(&self) -> &str {
        &self.0.text.expose()[self.0.start..]
    }

    /// The whole text as it stands in the database.
    pub fn text(&self) -> &Secret {
        &self.0.text
    }

    /// The text with Dovecot's prefix, such as `{ARGON2ID}$argon2id$…`; for Dovecot's own auth, which verifies it then.
    pub fn with_prefix(&self) -> Secret {
        match self.0.scheme {
            Some(scheme) if self.0.start == 0 && scheme.dovecot => {
                Secret::new(format!("{{{scheme}}}{}", self.encoded()))
            }
            _ => self.0.text.clone(),
        }
    }

    /// What a verification takes.
    ///
    /// # Errors
    /// It cannot be verified, by any password.
    pub fn cost(&self) -> Result<Cost, HashError> {
        self.0.cost.get_or_init(|| self.read_cost()).clone()
    }

    fn read_cost(&self) -> Result<Cost, HashError> {
        let scheme = self.0.scheme.ok_or(HashError::UnknownScheme)?;
        let cost = (scheme.cost)(&self.bytes(scheme)?).ok_or(HashError::Malformed(scheme))?;
        if cost.micros > MOST_MICROS {
            return Err(HashError::TooLong { scheme, seconds: cost.micros / 1_000_000 });
        }
        Ok(cost)
    }

    /// Whether a login should get a new hash: another scheme than that of new ones, or one that costs less than half.
    pub fn is_outdated(&self) -> bool {
        let new = u64::from(NEW_MEMORY) * u64::from(NEW_TIME);
        let argon2id = self.0.scheme == Scheme::named("ARGON2ID");
        !argon2id || self.cost().is_ok_and(|cost| cost.micros < new / 2)
    }

    /// Whether the password is the one; takes as long as the hash costs.
    ///
    /// # Errors
    /// The hash cannot be verified at all, by any password.
    pub fn verify(&self, password: &Secret) -> Result<bool, HashError> {
        self.verify_in(password, &mut Workspace::default())
    }

    /// The same in memory that is there already.
    pub(super) fn verify_in(&self, password: &Secret, workspace: &mut Workspace) -> Result<bool, HashError> {
        let cost = self.cost()?;
        let scheme = self.0.scheme.ok_or(HashError::UnknownScheme)?;
        let bytes = self.bytes(scheme)?;
        let answer = wiped(|| (scheme.verify)(&bytes, password.expose().as_bytes(), workspace));
        // What costs much and is well formed failed for want of memory alone.
        answer.ok_or(if cost.memory > 1024 {
            HashError::NoMemory(scheme)
        } else {
            HashError::Malformed(scheme)
        })
    }

    fn bytes(&self, scheme: &'static Scheme) -> Result<Zeroizing<Vec<u8>>, HashError> {
        encoding::decode(self.encoded(), scheme.form, self.0.encoding).ok_or(HashError::Malformed(scheme))
    }
}

/// What crypt(3) made, which may be encoded besides (`{CRYPT.b64}`): by the pattern of what it was.
fn crypt_scheme(text: &str, encoding: Option<Encoding>) -> Option<&'static Scheme> {
    let bytes = encoding::decode(text, Form::Text, encoding)?;
    Scheme::of(std::str::from_utf8(&bytes).ok()?)
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredHash({})", self.0.scheme.map_or("unknown", |scheme| scheme.name))
    }
}

/// KiB; PHP's PASSWORD_ARGON2_DEFAULT_MEMORY_COST.
const NEW_MEMORY: u32 = 65_536;
/// PHP's PASSWORD_ARGON2_DEFAULT_TIME_COST.
const NEW_TIME: u32 = 4;
/// A login is decided within 8 s, of which it may wait for 6 s; bcrypt's cost 15, or argon2 with 1 GiB in 3 passes.
const MOST_MICROS: u64 = 3_500_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::password::SCHEMES;

    fn verify(hash: &str, password: &str) -> Result<bool, HashError> {
        StoredHash::parse(hash.into()).verify(&Secret::new(password.into()))
    }

    fn scheme(name: &str) -> &'static Scheme {
        Scheme::named(name).unwrap()
    }

    /// One of each, made by others: doveadm 2.3.19, crypt(3) of libxcrypt 4.4, Python's hashlib in Django's form. The password is
    /// `secret`.
    const SECRETS: &[&str] = &[
        "{ARGON2I}$argon2i$v=19$m=32768,t=4,p=1$9SsLj0yfSy5jA5qTJPRgLw$sR30ZHx4EqLDT7nmyihudTMF+0SKRw34kNyTwf7loUk",
        "{ARGON2}$argon2i$v=19$m=32768,t=4,p=1$9SsLj0yfSy5jA5qTJPRgLw$sR30ZHx4EqLDT7nmyihudTMF+0SKRw34kNyTwf7loUk",
        "{BLF-CRYPT}$2y$05$GEgxh4vME4qOur/mXpB1nun/QM5U9QSUw/TgUkNAfGaXTlu9l.fEa",
        "{CRYPT}$2y$05$C1EwSoje4r2kIUIk4eygDOZd25qxXAQupAwsZREXphVA/iXSeRZE6",
        "$2y$05$C1EwSoje4r2kIUIk4eygDOZd25qxXAQupAwsZREXphVA/iXSeRZE6",
        "$6$XQ5rlpZsshxiU30z$vjL6NIngzCdlrRhCrySmXj7jmkWKdFVCpaYB778SvySXOezY690eGf.vJIQ1B4rDTszDhd3YX/lN3FO6j5IYE.",
        "{SHA256-CRYPT}$5$.DvJ.6aMOfgP5.rU$EWQBgfd/0ksAItBVUihOL94Wgjo7kHvVdfBYLq4nbuC",
        "{PBKDF2}$1$hi9fXAkDmuyC/bnN$5000$4ae56ddd5f7928253e3c08c83fd84ae7d4f1dd53",
        "{SCRAM-SHA-256}4096,ILtN4G3Qh0EelJMvP5csOQ==,cdUjZBUj5zGvtQQ2ulR1PWVS85L1lpuT957VKUcxuic=,T9R2jwomwX3IjIleOWkRd51F05EUhcOIFxk82dKiWuE=",
        "{SCRAM-SHA-1}4096,xltUUOWLQh5TZbNFegCcBw==,FA9Y3vGBNy7GAN2Q7d2YN/fDAH8=,j+JgrDhF2/whtYuNgdMP1ut2hWQ=",
        "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$GmcwIgvdUC9qLWcKCi6gklUa1dM3ziD43YxYNURLKy0",
        "{CRYPT}$y$j9T$abcdefgh$IUWJt2doU4Kf6E/JP1UkAT3S5O3Q7SSA8SJirXIlEu9",
        "$6$rounds=1000$abc$MqEcPZUYRGGcOeq7PhMpfjfu/F0HrVEI0OlZBijWvO8mSG77iNUDP5MqFceKpJTBc8iITVtNyLiNTRNCxv6oh0",
        "pbkdf2_sha256$1000$seasalt$+hs9qSCcGyNSGDNojIEbomuX9WI/mzTF5yfwAXqyKOo=",
        "pbkdf2_sha1$1000$seasalt$479Zup/w5R6ptaWDmRzkiSxBZWQ=",
        "scrypt$1024$seasalt$8$5$eP3qakKcj/drdptxG9JolEyXUxd5Sgns+9BJZJfFmJklwyvOB1aMAQ216EfxS0THOl6Uld+/Bj3AFhhCU4tf3g==",
        "scrypt$16384$seasalt$8$1$+Ig/9swbx1F6Sfo2NOhQw0GEr0mHxu6IIpZFL5X2W363MVPJFlLZQMScfpypTVVNreS5J7KLAR6CQKmXmEvIHA==",
        "bcrypt_sha256$$2b$05$abcdefghijklmnopqrstuu6ySUy0zWYVXIQ.LN/DOPaf42SgydiW.",
        "{SSHA}VdgoQYSo9Jn2SGZBwNb71ISgs6vbqCl1",
        "{ssha}VdgoQYSo9Jn2SGZBwNb71ISgs6vbqCl1",
        "{SSHA256}J10Z5KTZNrXvMiGiflvkyClrR0cdgg58CTqnwijzUsjPl/9I",
        "{SSHA512}60n6MlLAZStpSFAw85jZuvcXkuNva5SRjbxY1pdi7J0nnvCNO4wI0tw3At6hrsPLojaZY+XvGB8LUlDgCA6ksImgmQ4=",
        "{SMD5}9oQg4PspLNgiSZi2by1Re0Tm8Bg=",
        "{MD5-CRYPT}$1$S4AIDbMx$U.EkycNXDTeYpx3NrNMwP0",
        "{MD5}$1$9IEQI6CE$9LzGidRk.PgFhevp3eqnd/",
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SHA1}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "{SHA.hex}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
        "{SHA}e5e9fa1ba31ecd1ae84f75caaa474f3a663f05f4",
        "{SHA256}K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=",
        "{SHA512}vSsar3708Jvp9Szi2NWZZ02Bqp1qRCFpbcTZPdBhnWgs5WtNZKnvCXdhztmeD2cmW192CF5bDufKRpayrW/isg==",
        "{PLAIN-MD5}5ebe2294ecd0e0f08eab7690d2a6ee69",
        "{LDAP-MD5}Xr4ilOzQ4PCOq3aQ0qbuaQ==",
        "{PLAIN}secret",
        "{CLEARTEXT}secret",
        "{PLAIN.b64}c2VjcmV0",
    ];

    #[test]
    fn hashes_that_others_made_verify() {
        for hash in SECRETS {
            assert_eq!(verify(hash, "secret"), Ok(true), "{hash}");
            for wrong in ["Secret", "secret ", "", "secre"] {
                assert_eq!(verify(hash, wrong), Ok(false), "{hash} {wrong}");
            }
        }
    }

    #[test]
    fn a_hash_that_was_cut_off_or_lengthened_is_malformed_and_never_just_wrong() {
        for hash in SECRETS.iter().filter(|hash| !hash.starts_with("{PLAIN}") && !hash.starts_with("{CLEAR"))
        {
            let salted = hash.starts_with("{SSHA") || hash.starts_with("{ssha") || hash.starts_with("{SMD5");
            for bad in [&hash[..hash.len() - 3], &format!("{hash}$x"), &format!("{hash}\u{fc}")] {
                let answer = verify(bad, "secret");
                // A shorter salt is a salt.
                let expected =
                    matches!(answer, Err(HashError::Malformed(_))) || (salted && answer == Ok(false));
                assert!(expected, "{bad}: {answer:?}");
            }
        }
    }

    #[test]
    fn the_tutorials_hashes_verify() {
        let alice = "$argon2id$v=19$m=16,t=2,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";
        for hash in [
            alice.to_owned(),
            format!("{{ARGON2ID}}{alice}"),
            format!("{{argon2id}}{alice}"),
            format!("argon2{alice}"),
        ] {
            assert_eq!(verify(&hash, "alice123"), Ok(true), "{hash}");
            assert_eq!(verify(&hash, "alice124"), Ok(false));
            assert_eq!(verify(&hash, ""), Ok(false));
        }
        assert_eq!(StoredHash::parse(alice.into()).cost().unwrap(), Cost { memory: 16, micros: 32 });
    }

    #[test]
    fn bcrypt_verifies_in_all_its_spellings() {
        let hash = bcrypt::hash("geheim", 4).unwrap();
        for mark in ["$2a$", "$2b$", "$2y$"] {
            let hash = format!("{mark}{}", &hash[4..]);
            for spelled in [hash.clone(), format!("{{BLF-CRYPT}}{hash}"), format!("bcrypt${hash}")] {
                assert_eq!(verify(&spelled, "geheim"), Ok(true), "{spelled}");
                assert_eq!(verify(&spelled, "Geheim"), Ok(false));
            }
        }
    }

    #[test]
    fn what_cannot_be_verified_says_so_and_shows_nothing() {
        for unknown in ["plain", "", "{LANMAN}x", "{SHA512.rot13}x", "{CRYPT}aWYJc8LdbaSHM", "{}x", "{SHA512"]
        {
            assert_eq!(verify(unknown, "plain"), Err(HashError::UnknownScheme), "{unknown}");
        }
        assert_eq!(
            verify("{SHA512-CRYPT}$argon2id$v=19$", "x"),
            Err(HashError::Malformed(scheme("SHA512-CRYPT")))
        );
        assert_eq!(verify("$argon2id$v=19$m=16", "x"), Err(HashError::Malformed(scheme("ARGON2ID"))));
        assert_eq!(verify("$2y$10$short", "x"), Err(HashError::Malformed(scheme("BLF-CRYPT"))));
        assert_eq!(format!("{:?}", StoredHash::parse("$2y$10$short".into())), "StoredHash(BLF-CRYPT)");
    }

    #[test]
    fn absurd_costs_are_refused_before_anything_is_spent() {
        let salt = "QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg";
        let rest = "abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a";
        let tail = "x".repeat(86);
        for hash in [
            format!("$argon2id$v=19$m=4194304,t=4000,p=1${salt}"),
            format!("$argon2id$v=19$m=65536,t=4294967295,p=1${salt}"),
            format!("$2y$31${rest}"),
            format!("$6$rounds=999999999$salt${tail}"),
            "{PBKDF2}$1$salt$4294967295$4ae56ddd5f7928253e3c08c83fd84ae7d4f1dd53".to_owned(),
            "pbkdf2_sha256$4294967295$salt$K7gNU3sdo+OL0wNhqoVWhr3g6s1xYv72ol/pe/Unols=".to_owned(),
            "{SCRAM-SHA-1}4294967295,xltUUOWLQh5TZbNFegCcBw==,FA9Y3vGBNy7GAN2Q7d2YN/fDAH8=,j+JgrDhF2/whtYuNgdMP1ut2hWQ=".to_owned(),
            format!("$y$jzT$salt${}", "x".repeat(43)),
            format!("scrypt$33554432$salt$8$1${}==", "A".repeat(86)),
            format!("scrypt$16777216$salt$256$64${}==", "A".repeat(86)),
            format!("scrypt$16384$salt$8$4294967295${}==", "A".repeat(86)),
        ] {
            let begun = StoredHash::parse(hash.clone()).cost();
            assert!(
                matches!(begun, Err(HashError::TooLong { .. } | HashError::Malformed(_)) | Ok(Cost { memory: u32::MAX, .. })),
                "{hash}: {begun:?}"
            );
        }
    }

    #[test]
    fn dovecot_2_4_has_one_name_for_every_argon2() {
        // By doveadm 2.4.1.
        let hash = "{ARGON2}$argon2id$v=19$m=65536,t=3,p=1$/MCmuITX5RElXq8LnTJ7Zw$GXDk+SziVZ6uTa/HigoIxviE+lQKiLvKt3TFjA22HPQ";
        assert_eq!((verify(hash, "secret"), verify(hash, "other")), (Ok(true), Ok(false)));
        for other in ["$2y$05$GEgxh4vME4qOur/mXpB1nun/QM5U9QSUw/TgUkNAfGaXTlu9l.fEa", "secret", ""] {
            assert!(StoredHash::parse(format!("{{ARGON2}}{other}")).scheme().is_none(), "{other}");
        }
    }

    #[test]
    fn a_new_hash_is_phps_kind_and_verifies() {
        let password = Secret::new("geheim".into());
        let hash = StoredHash::new(&password).unwrap();
        assert!(hash.encoded().starts_with("$argon2id$v=19$m=65536,t=4,p=1$") && !hash.is_outdated());
        assert_eq!(StoredHash::parse(hash.with_prefix().expose().to_owned()).verify(&password), Ok(true));
        assert!(SECRETS.iter().all(|hash| StoredHash::parse((*hash).into()).is_outdated()));
    }

    proptest! {
        #[test]
        fn any_text_is_a_hash_or_an_error(text in "\\PC{0,80}", scheme in 0..SCHEMES.len()) {
            let _ = StoredHash::parse(text.clone()).cost();
            let _ = StoredHash::parse(format!("{{{}}}{text}", SCHEMES[scheme].name)).cost();
        }

        #[test]
        fn a_mutated_hash_never_panics_and_never_matches_another_password(
            which in 0..SECRETS.len(), at in any::<prop::sample::Index>(), byte in 0x20u8..0x7f
        ) {
            let mut bytes = SECRETS[which].as_bytes().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let hash = StoredHash::parse(String::from_utf8(bytes).unwrap());
            // Costs that are not absurd may still be more than a test should spend.
            if hash.cost().is_ok_and(|cost| cost.micros < 200_000 && cost.memory < 65_536) {
                prop_assert_ne!(hash.verify(&Secret::new("another".into())), Ok(true));
            }
        }
    }
}
