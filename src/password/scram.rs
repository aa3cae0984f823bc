//! What a server keeps of a password for SCRAM (RFC 5802, 3; RFC 7677), and the calculations with it. The messages are the mechanism's.
//!
//! ```text
//! SaltedPassword = PBKDF2(SASLprep(password), salt, iterations)
//! StoredKey      = H(HMAC(SaltedPassword, "Client Key"))
//! ServerKey      = HMAC(SaltedPassword, "Server Key")
//! ```
//!
//! Whoever has StoredKey can guess passwords at the price of the iterations, far cheaper than argon2; that is the price of the mechanism.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA1, PBKDF2_HMAC_SHA256};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::encoding;

/// The hash function of the mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1
    Sha1,
    /// SCRAM-SHA-256
    Sha256,
}

/// What is kept for one login and one hash function. Prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramVerifier {
    kind: ScramHash,
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: Zeroizing<Vec<u8>>,
    server_key: Zeroizing<Vec<u8>>,
}

impl ScramHash {
    /// Both, the better one first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha1];

    /// The mechanism's name, which is the scheme's too.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SCRAM-SHA-1",
            Self::Sha256 => "SCRAM-SHA-256",
        }
    }

    /// The length of its hashes in bytes.
    pub fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn pbkdf2(self) -> pbkdf2::Algorithm {
        match self {
            Self::Sha1 => PBKDF2_HMAC_SHA1,
            Self::Sha256 => PBKDF2_HMAC_SHA256,
        }
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        digest::digest(algorithm, bytes).as_ref().to_vec()
    }

    fn mac(self, key: &[u8], message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), message).as_ref().to_vec()
    }
}

impl ScramVerifier {
    /// Makes one of a password, with a new salt; takes [`NEW_ITERATIONS`]. `None` for a password that SASLprep (RFC 4013) forbids, which no
    /// client could send either.
    pub fn new(kind: ScramHash, password: &str) -> Option<Self> {
        let prepared = prepared(password)?;
        let mut salt = [0; 16];
        rand::fill(&mut salt);
        Some(Self::derive(kind, &prepared, salt.to_vec(), NEW_ITERATIONS))
    }

    /// Reads Dovecot's form, `iterations,salt,StoredKey,ServerKey`.
    pub fn parse(kind: ScramHash, text: &str) -> Option<Self> {
        let mut fields = text.split(',');
        let iterations = NonZeroU32::new(super::schemes::number(fields.next()?)?)?;
        let salt = encoding::base64(fields.next()?)?;
        let mut key = || encoding::base64(fields.next()?).map(Zeroizing::new);
        let (stored_key, server_key) = (key()?, key()?);
        let good = fields.next().is_none()
            && !salt.is_empty()
            && [&stored_key, &server_key].iter().all(|key| key.len() == kind.length());
        good.then_some(Self { kind, iterations, salt, stored_key, server_key })
    }

    /// Dovecot's form.
    pub fn render(&self) -> Zeroizing<String> {
        let [salt, stored, server] = [&self.salt, &self.stored_key, &self.server_key]
            .map(|bytes| Zeroizing::new(STANDARD.encode(bytes.as_slice())));
        Zeroizing::new(format!("{},{},{},{}", self.iterations, *salt, *stored, *server))
    }

    /// What PostgreSQL keeps of a role's password (pg_authid.rolpassword), to be given to `ALTER ROLE … PASSWORD` instead of it: the statement may be
    /// logged. As PostgreSQL does, a password that SASLprep forbids is taken as it is.
    pub fn for_postgresql(password: &str) -> Zeroizing<String> {
        let prepared = prepared(password).unwrap_or_else(|| Zeroizing::new(password.to_owned()));
        let mut salt = [0; 16];
        rand::fill(&mut salt);
        let verifier = Self::derive(ScramHash::Sha256, &prepared, salt.to_vec(), POSTGRESQL_ITERATIONS);
        let [salt, stored, server] = [&verifier.salt, &verifier.stored_key, &verifier.server_key]
            .map(|bytes| Zeroizing::new(STANDARD.encode(bytes.as_slice())));
        Zeroizing::new(format!("SCRAM-SHA-256${POSTGRESQL_ITERATIONS}:{}${}:{}", *salt, *stored, *server))
    }

    /// What somebody who is not there is asked for: the salt is the same each time, by a secret of this installation, and looks like any
    /// other; no proof is right.
    pub fn of_nobody(kind: ScramHash, secret: &[u8], login: &str) -> Self {
        let message = [kind.name().as_bytes(), b"\0", login.as_bytes()].concat();
        let salt = ScramHash::Sha256.mac(secret, &message)[..16].to_vec();
        let key = || {
            let mut key = Zeroizing::new(vec![0; kind.length()]);
            rand::fill(key.as_mut_slice());
            key
        };
        Self { kind, iterations: NEW_ITERATIONS, salt, stored_key: key(), server_key: key() }
    }

    /// What the client is to iterate with.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// How often.
    pub fn iterations(&self) -> NonZeroU32 {
        self.iterations
    }

    /// Whether it was made of this password. The iterations' time.
    pub fn is_of(&self, password: &str) -> bool {
        let is = |password: &str| {
            let other = Self::derive(self.kind, password, self.salt.clone(), self.iterations);
            super::schemes::same(&other.stored_key, &self.stored_key)
        };
        // Dovecot's tool does not prepare.
        let prepared = prepared(password);
        let prepared = prepared.as_ref().map(|prepared| prepared.as_str());
        prepared.is_some_and(is) || (prepared != Some(password) && is(password))
    }

    /// Whether a client's proof shows that it knows the password (RFC 5802, 3): H(proof XOR ClientSignature) is StoredKey.
    pub fn is_proved(&self, message: &[u8], proof: &[u8]) -> bool {
        if proof.len() != self.kind.length() {
            return false;
        }
        let signature = self.kind.mac(&self.stored_key, message);
        let client_key: Zeroizing<Vec<u8>> =
            Zeroizing::new(proof.iter().zip(&signature).map(|(one, other)| one ^ other).collect());
        super::schemes::same(&self.kind.hash(&client_key), &self.stored_key)
    }

    /// What proves to the client that we know the verifier.
    pub fn server_signature(&self, message: &[u8]) -> Vec<u8> {
        self.kind.mac(&self.server_key, message)
    }

    fn derive(kind: ScramHash, password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let mut salted = Zeroizing::new(vec![0; kind.length()]);
        pbkdf2::derive(kind.pbkdf2(), iterations, &salt, password.as_bytes(), &mut salted);
        let client_key = Zeroizing::new(kind.mac(&salted, b"Client Key"));
        let stored_key = Zeroizing::new(kind.hash(&client_key));
        let server_key = Zeroizing::new(kind.mac(&salted, b"Server Key"));
        Self { kind, iterations, salt, stored_key, server_key }
    }
}

/// A password by SASLprep (RFC 4013); none for what that forbids.
fn prepared(password: &str) -> Option<Zeroizing<String>> {
    Some(Zeroizing::new(stringprep::saslprep(password).ok()?.into_owned()))
}

impl std::fmt::Debug for ScramVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ScramVerifier({})", self.kind.name())
    }
}

/// More than the least of RFC 7677 (4096), and still nothing that a telephone notices.
const NEW_ITERATIONS: NonZeroU32 = match NonZeroU32::new(10_000) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

/// PostgreSQL's own number (scram_iterations).
const POSTGRESQL_ITERATIONS: NonZeroU32 = match NonZeroU32::new(4096) {
    Some(iterations) => iterations,
    None => NonZeroU32::MIN,
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// RFC 5802, 5, and RFC 7677, 3: user `user`, password `pencil`.
    const EXAMPLES: [(ScramHash, &str, &str, &str, &str); 2] = [
        (
            ScramHash::Sha1,
            "QSXCR+Q6sek8bf92",
            "n=user,r=fyko+d2lbbFgONRv9qkxdawL,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096,c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j",
            "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        ),
        (
            ScramHash::Sha256,
            "W22ZaJ0SNY7soEsUEjb6gQ==",
            "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        ),
    ];

    #[test]
    fn the_examples_of_the_rfcs_come_out() {
        for (kind, salt, message, proof, signature) in EXAMPLES {
            let bytes = |text| encoding::base64(text).unwrap();
            let rounds = NonZeroU32::new(4096).unwrap();
            let verifier = ScramVerifier::derive(kind, "pencil", bytes(salt), rounds);
            assert!(verifier.is_proved(message.as_bytes(), &bytes(proof)));
            assert_eq!(verifier.server_signature(message.as_bytes()), bytes(signature));
            let mut wrong = bytes(proof);
            wrong[0] ^= 1;
            assert!(!verifier.is_proved(message.as_bytes(), &wrong));
            assert!(!verifier.is_proved(message.as_bytes(), &wrong[1..]));
            assert!(!verifier.is_proved(message.as_bytes(), b""));
            assert_eq!(ScramVerifier::parse(kind, &verifier.render()), Some(verifier));
        }
    }

    #[test]
    fn a_verifier_is_of_its_password_however_that_is_composed() {
        for kind in ScramHash::ALL {
            let verifier = ScramVerifier::new(kind, "pa\u{df}wo\u{308}rt").unwrap();
            assert!(verifier.is_of("pa\u{df}w\u{f6}rt") && !verifier.is_of("passwort"));
            assert!(ScramVerifier::new(kind, "a\u{7}").is_none());
        }
    }

    #[test]
    fn nobody_has_the_same_salt_each_time_and_no_right_proof() {
        let one = ScramVerifier::of_nobody(ScramHash::Sha256, b"secret", "a@b");
        let two = ScramVerifier::of_nobody(ScramHash::Sha256, b"secret", "a@b");
        assert_eq!((one.salt(), one.iterations()), (two.salt(), two.iterations()));
        assert_ne!(one.stored_key, two.stored_key);
        for (secret, login) in [(&b"other"[..], "a@b"), (b"secret", "b@b")] {
            assert_ne!(ScramVerifier::of_nobody(ScramHash::Sha256, secret, login).salt(), one.salt());
        }
        assert_ne!(ScramVerifier::of_nobody(ScramHash::Sha1, b"secret", "a@b").salt(), one.salt());
    }

    #[test]
    fn what_is_no_verifier_is_refused() {
        let good = ScramVerifier::new(ScramHash::Sha1, "x").unwrap().render();
        assert!(ScramVerifier::parse(ScramHash::Sha256, &good).is_none());
        for bad in ["", "4096", "0,QUI=,QUI=,QUI=", "-1,a,b,c", "4096,,,", "99999999999,QUI=,QUI=,QUI="] {
            assert!(ScramVerifier::parse(ScramHash::Sha1, bad).is_none(), "{bad}");
        }
        assert!(ScramVerifier::parse(ScramHash::Sha1, &format!("{},x", *good)).is_none());
    }
}
