//! The SASL mechanisms: how a login and its password get here. A mechanism is one file with one const, and one line in [`MECHANISMS`].
//!
//! A mechanism only reads and challenges: it does no I/O and decides nothing. What it ends with is a [`Claim`], which `verdict` judges the
//! same way for all.

mod login;
mod plain;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gatepost::config::Secret;
use zeroize::Zeroizing;

/// One mechanism.
#[derive(Debug)]
pub struct Mechanism {
    /// Its registered name.
    pub name: &'static str,
    /// What the handshake says of it, so that clients offer it or not: `plaintext` only over TLS, `private` to nobody.
    pub flags: &'static [&'static str],
    /// What it is, in one line.
    pub summary: &'static str,
    /// Starts an exchange.
    pub begin: fn() -> Box<dyn Exchange>,
}

/// Every mechanism there is, in the order of the handshake.
pub static MECHANISMS: &[Mechanism] = &[plain::PLAIN, login::LOGIN];

/// One login under way.
pub trait Exchange: Send + std::fmt::Debug {
    /// Goes on with what the client sent, base64 taken off; `None` where it began without an initial response.
    fn step(&mut self, response: Option<&[u8]>) -> Step;
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// The client is to answer this.
    Challenge(&'static [u8]),
    /// The client has said all.
    Claim(Claim),
    /// The client said something that is no login in this mechanism; the text is for the log.
    Malformed(&'static str),
}

/// Somebody claims to be a login, and gives a password.
#[derive(Debug)]
pub struct Claim {
    /// On whose behalf; empty for the login itself.
    pub authorization: String,
    /// The login as typed.
    pub login: String,
    /// The password.
    pub password: Secret,
}

impl Mechanism {
    /// The mechanism of that name, in any case (RFC 4422 has upper case only; clients differ).
    pub fn named(name: &str) -> Option<&'static Self> {
        MECHANISMS.iter().find(|mechanism| mechanism.name.eq_ignore_ascii_case(name))
    }
}

/// A response as the mechanism sees it; `None` where it is no base64. Padding may be missing, as Dovecot lets it be.
pub fn decode(base64: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    LENIENT.decode(base64).ok().map(Zeroizing::new)
}

/// A challenge as it goes over the wire.
pub fn encode(challenge: &[u8]) -> String {
    LENIENT.encode(challenge)
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A name or password as text. Neither may have control characters: Dovecot refuses them too, and no mail program can type them.
fn clean(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| !text.chars().any(char::is_control))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding_and_nothing_else_is() {
        for (text, bytes) in [(&b"YQ=="[..], &b"a"[..]), (b"YQ", b"a"), (b"", b""), (b"AGE=", b"\0a")] {
            assert_eq!(decode(text).unwrap().as_slice(), bytes);
        }
        for bad in [&b"Y"[..], b"YQ==x", b"Y Q", b"YQ\t", b"=", b"====", b"Y\xffQ=", b"AGE=\tx"] {
            assert!(decode(bad).is_none(), "{bad:?}");
        }
        assert_eq!(encode(b"Username:"), "VXNlcm5hbWU6");
    }

    #[test]
    fn names_are_unique_and_found_in_any_case() {
        for mechanism in MECHANISMS {
            let lower = mechanism.name.to_ascii_lowercase();
            assert_eq!(Mechanism::named(&lower).unwrap().name, mechanism.name);
        }
        assert!(Mechanism::named("CRAM-MD5").is_none());
    }
}
