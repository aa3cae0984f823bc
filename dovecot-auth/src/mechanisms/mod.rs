//! The SASL mechanisms: how a login and its proof get here. A mechanism is one file with one const, and one line in [`MECHANISMS`].
//!
//! A mechanism reads, challenges and calculates: it does no I/O. What it must know of the world it asks for ([`Question`]) and is told
//! ([`Answer`]); what it ends with is a password to be judged ([`Claim`]), or what its own proof has shown ([`Proved`], or the contrary), which
//! `verdict` and `proofs` weigh the same way for all.

mod external;
mod login;
mod oauth;
mod plain;
mod scram;

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use gatepost::config::Secret;
use gatepost::password::{ScramHash, ScramVerifier};
use zeroize::Zeroizing;

use crate::verdict::Refusal;

/// One mechanism.
#[derive(Debug)]
pub struct Mechanism {
    /// Its registered name.
    pub name: &'static str,
    /// What the handshake says of it, so that clients offer it or not: `plaintext` only over TLS, `private` to nobody.
    pub flags: &'static [&'static str],
    /// What it is, in one line.
    pub summary: &'static str,
    /// What must be there besides for it to be offered.
    pub needs: Needs,
    /// Starts an exchange.
    pub begin: fn(&Channel) -> Box<dyn Exchange>,
}

/// Every mechanism there is, in the order of the handshake.
pub static MECHANISMS: &[Mechanism] = &[
    plain::PLAIN,
    login::LOGIN,
    scram::SCRAM_SHA_256,
    scram::SCRAM_SHA_1,
    oauth::OAUTHBEARER,
    oauth::XOAUTH2,
    external::EXTERNAL,
];

/// What a mechanism cannot do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The table of verifiers, in schema `gatepost`.
    Verifiers,
    /// Somebody who says whether a token is good: `[dovecot-auth.oauth]`.
    Tokens,
    /// A peer that tells of client certificates: Dovecot does, Postfix does not.
    Certificates,
}

/// What the connection of whoever logs in says about it.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// The name in its certificate, where Dovecot has found that valid.
    pub certificate: Option<String>,
}

/// One login under way.
pub trait Exchange: Send + std::fmt::Debug {
    /// Goes on with what the client sent, base64 taken off; `None` where it began without an initial response.
    fn step(&mut self, response: Option<&[u8]>) -> Step;

    /// Goes on with the answer to its question.
    fn told(&mut self, _answer: Answer) -> Step {
        Step::Malformed("nothing was asked")
    }
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// The client is to answer this.
    Challenge(Cow<'static, [u8]>),
    /// The mechanism must know this.
    Ask(Question),
    /// The client has said all, and its password is to be judged.
    Claim(Claim),
    /// The client has proved who it is.
    Proved(Proved),
    /// The client has not: the login as it was named, and why.
    Disproved(String, Refusal),
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

/// Somebody has proved to be a login.
#[derive(Debug)]
pub struct Proved {
    /// On whose behalf; empty for the login itself.
    pub authorization: String,
    /// The login as named.
    pub login: String,
    /// What the client is to be told at the end, so that it knows who we are.
    pub last: Option<Vec<u8>>,
}

/// What a mechanism must know.
#[derive(Debug)]
pub enum Question {
    /// What is kept of this login's password.
    Verifier(ScramHash, String),
    /// Whose token this is; the name that came with it, if one did.
    Token(Secret, String),
}

/// What a mechanism is told.
#[derive(Debug)]
pub enum Answer {
    /// The verifier of that login; or one that no proof fits, and why.
    Verifier(ScramVerifier, Option<Refusal>),
    /// The token is good, and this login's.
    Owner(String),
    /// The token is not good; the JSON that tells the client so (RFC 7628, 3.2.2).
    BadToken(Refusal, String),
}

impl Question {
    /// The login that it is about, as far as is known.
    pub fn login(&self) -> &str {
        match self {
            Self::Verifier(_, login) | Self::Token(_, login) => login,
        }
    }
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
    fn names_are_found_in_any_case() {
        for mechanism in MECHANISMS {
            let lower = mechanism.name.to_ascii_lowercase();
            assert_eq!(Mechanism::named(&lower).unwrap().name, mechanism.name);
        }
        assert!(Mechanism::named("CRAM-MD5").is_none());
    }
}
