//! LOGIN (draft-murchison-sasl-login-00, never a standard; Outlook speaks it): the login, then the password, each after a challenge.
//!
//! The challenges are those that every server sends; clients ignore them, but some wait for exactly these.

use gatepost::config::Secret;

use super::{Claim, Exchange, Mechanism, Step, clean};

/// The mechanism.
pub(super) const LOGIN: Mechanism = Mechanism {
    name: "LOGIN",
    flags: &["plaintext"],
    summary: "login and password in two messages (for Outlook)",
    begin: || Box::new(Login::Begun),
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
            (Self::Begun, None | Some(b"")) => Step::Challenge(b"Username:"),
            (Self::Begun | Self::NameAsked, Some(login)) => match clean(login) {
                Some("") => Step::Malformed("no login"),
                Some(login) => {
                    *self = Self::PasswordAsked(login.to_owned());
                    Step::Challenge(b"Password:")
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

    #[test]
    fn two_messages_make_a_claim() {
        for initial in [None, Some(&b""[..])] {
            let mut exchange = (LOGIN.begin)();
            assert!(matches!(exchange.step(initial), Step::Challenge(b"Username:")));
            assert!(matches!(exchange.step(Some(b"alice@example.com")), Step::Challenge(b"Password:")));
            let Step::Claim(claim) = exchange.step(Some(b"alice123")) else { panic!() };
            assert_eq!((claim.login.as_str(), claim.password.expose()), ("alice@example.com", "alice123"));
        }
        let mut exchange = (LOGIN.begin)();
        assert!(matches!(exchange.step(Some(b"alice@example.com")), Step::Challenge(b"Password:")));
        assert!(matches!(exchange.step(Some(b"")), Step::Claim(_)));
    }

    #[test]
    fn control_characters_and_an_empty_login_are_refused() {
        let mut exchange = (LOGIN.begin)();
        let _ = exchange.step(None);
        assert!(matches!(exchange.step(Some(b"")), Step::Malformed("no login")));
        for bad in [&b"a\0b"[..], b"a\tb", b"\xff", b"a\r\n"] {
            assert!(matches!((LOGIN.begin)().step(Some(bad)), Step::Malformed(_)), "{bad:?}");
            let mut exchange = (LOGIN.begin)();
            let _ = exchange.step(Some(b"alice"));
            assert!(matches!(exchange.step(Some(bad)), Step::Malformed(_)), "{bad:?}");
        }
    }
}
