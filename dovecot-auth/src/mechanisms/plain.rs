//! PLAIN (RFC 4616): one message, `authzid NUL authcid NUL password`, as the initial response or after an empty challenge.

use gatepost::config::Secret;

use super::{Claim, Exchange, Mechanism, Needs, Step, clean};

/// The mechanism.
pub(super) const PLAIN: Mechanism = Mechanism {
    name: "PLAIN",
    flags: &["plaintext"],
    summary: "login and password in one message (RFC 4616)",
    needs: Needs::Nothing,
    begin: |_| Box::new(Plain),
};

#[derive(Debug)]
struct Plain;

impl Exchange for Plain {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let Some(message) = response else { return Step::Challenge(b"".as_slice().into()) };
        let parts: Vec<&[u8]> = message.split(|byte| *byte == 0).collect();
        let [authorization, login, password] = parts[..] else {
            return Step::Malformed("not two NULs");
        };
        match (clean(authorization), clean(login), clean(password)) {
            (Some(authorization), Some(login), Some(password)) if !login.is_empty() => Step::Claim(Claim {
                authorization: authorization.to_owned(),
                login: login.to_owned(),
                password: Secret::new(password.to_owned()),
            }),
            (_, Some(""), _) => Step::Malformed("no login"),
            _ => Step::Malformed("control characters, or no UTF-8"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn step(message: &[u8]) -> Step {
        Plain.step(Some(message))
    }

    #[test]
    fn one_message_makes_a_claim() {
        assert!(matches!(Plain.step(None), Step::Challenge(challenge) if challenge.is_empty()));
        let Step::Claim(claim) = step(b"\0alice@example.com\0alice 123") else { panic!() };
        assert_eq!(
            (claim.authorization.as_str(), claim.login.as_str(), claim.password.expose()),
            ("", "alice@example.com", "alice 123")
        );
        let Step::Claim(claim) = step("bob\0älice\0".as_bytes()) else { panic!() };
        assert_eq!(
            (claim.authorization.as_str(), claim.login.as_str(), claim.password.expose()),
            ("bob", "älice", "")
        );
    }

    #[test]
    fn nuls_and_control_characters_out_of_place_are_refused() {
        for bad in [
            &b""[..],
            b"alice",
            b"\0",
            b"\0\0",
            b"\0\0secret",
            b"\0alice",
            b"\0alice\0secret\0",
            b"\0alice\0sec\0ret",
            b"\0alice\0sec\tret",
            b"\0alice\0secret\r\n",
            b"\0al\x01ice\0secret",
            b"a\nb\0alice\0secret",
            b"\0alice\0\xff\xfe",
            b"\0alice\0\x7f",
        ] {
            assert!(matches!(step(bad), Step::Malformed(_)), "{bad:?}");
        }
    }
}
