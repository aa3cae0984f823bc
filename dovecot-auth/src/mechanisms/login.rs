//! LOGIN (draft-murchison-sasl-login-00, never a standard; Outlook speaks it): the login, then the password, each after a challenge.
//!
//! The challenges are those that every server sends; clients ignore them, but some wait for exactly these.

use gatepost::config::Secret;

use super::{Claim, Exchange, Mechanism, Needs, Step, clean};

/// The mechanism.
pub(super) const LOGIN: Mechanism = Mechanism {
    name: "LOGIN",
    flags: &["plaintext"],
    summary: "login and password in two messages (for Outlook)",
    needs: Needs::Nothing,
    begin: |_| Box::new(Login::Begun),
};

#[derive(Debug)]
enum Login {
    Begun,
    NameAsked,
    PasswordAsked(String),
}

impl Exchange for Login {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        match (std::mem::replace(self, Self::NameAsked), response) {
            // An empty initial response is none, as for Dovecot.
            (Self::Begun, None | Some(b"")) => Step::Challenge(b"Username:".as_slice().into()),
            (Self::Begun | Self::NameAsked, Some(login)) => match clean(login) {
                Some("") => Step::Malformed("no login"),
                Some(login) => {
                    *self = Self::PasswordAsked(login.to_owned());
                    Step::Challenge(b"Password:".as_slice().into())
                }
                None => Step::Malformed("control characters in the login, or no UTF-8"),
            },
            (Self::PasswordAsked(login), Some(password)) => match clean(password) {
                Some(password) => Step::Claim(Claim {
                    authorization: String::new(),
                    login,
                    password: Secret::new(password.to_owned()),
                }),
                None => Step::Malformed("control characters in the password, or no UTF-8"),
            },
            (Self::NameAsked | Self::PasswordAsked(_), None) => Step::Malformed("no response"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn begin() -> Box<dyn Exchange> {
        (LOGIN.begin)(&super::super::Channel::default())
    }

    fn is_challenge(step: &Step, text: &[u8]) -> bool {
        matches!(step, Step::Challenge(challenge) if **challenge == *text)
    }

    #[test]
    fn two_messages_make_a_claim() {
        for initial in [None, Some(&b""[..])] {
            let mut exchange = begin();
            assert!(is_challenge(&exchange.step(initial), b"Username:"));
            assert!(is_challenge(&exchange.step(Some(b"alice@example.com")), b"Password:"));
            let Step::Claim(claim) = exchange.step(Some(b"alice123")) else { panic!() };
            assert_eq!((claim.login.as_str(), claim.password.expose()), ("alice@example.com", "alice123"));
        }
        let mut exchange = begin();
        assert!(is_challenge(&exchange.step(Some(b"alice@example.com")), b"Password:"));
        assert!(matches!(exchange.step(Some(b"")), Step::Claim(_)));
    }

    #[test]
    fn control_characters_and_an_empty_login_are_refused() {
        let mut exchange = begin();
        let _ = exchange.step(None);
        assert!(matches!(exchange.step(Some(b"")), Step::Malformed("no login")));
        for bad in [&b"a\0b"[..], b"a\tb", b"\xff", b"a\r\n"] {
            assert!(matches!(begin().step(Some(bad)), Step::Malformed(_)), "{bad:?}");
            let mut exchange = begin();
            let _ = exchange.step(Some(b"alice"));
            assert!(matches!(exchange.step(Some(bad)), Step::Malformed(_)), "{bad:?}");
        }
    }
}
