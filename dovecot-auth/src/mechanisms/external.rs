//! EXTERNAL (RFC 4422, appendix A): the client's TLS certificate says who it is. One message: on whose behalf, or empty.
//!
//! Dovecot verifies the certificate (`ssl_verify_client_cert`, `auth_ssl_username_from_cert`) and names it in `cert_username`; without
//! `valid-client-cert` beside it the name proves nothing. Postfix tells of no certificates. The name must be the login's full address.

use super::{Channel, Exchange, Mechanism, Needs, Proved, Step, clean};
use crate::verdict::Refusal;

/// The mechanism.
pub(super) const EXTERNAL: Mechanism = Mechanism {
    name: "EXTERNAL",
    flags: &[],
    summary: "the TLS certificate's name (RFC 4422); Dovecot only",
    needs: Needs::Certificates,
    begin: |channel: &Channel| Box::new(External(channel.certificate.clone())),
};

#[derive(Debug)]
struct External(Option<String>);

impl Exchange for External {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        let Some(message) = response else { return Step::Challenge(b"".as_slice().into()) };
        match (clean(message), self.0.take().filter(|name| !name.is_empty())) {
            (None, _) => Step::Malformed("control characters, or no UTF-8"),
            (Some(authorization), None) => Step::Disproved(authorization.to_owned(), Refusal::NoCertificate),
            (Some(authorization), Some(login)) => {
                Step::Proved(Proved { authorization: authorization.to_owned(), login, last: None })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn step(certificate: Option<&str>, message: &[u8]) -> Step {
        let channel = Channel { certificate: certificate.map(str::to_owned) };
        let mut exchange = (EXTERNAL.begin)(&channel);
        assert!(matches!(exchange.step(None), Step::Challenge(challenge) if challenge.is_empty()));
        exchange.step(Some(message))
    }

    #[test]
    fn the_certificate_is_the_login_and_nothing_else_is() {
        for behalf in ["", "alice@example.com", "bob@example.com"] {
            let Step::Proved(proved) = step(Some("alice@example.com"), behalf.as_bytes()) else { panic!() };
            assert_eq!((proved.login.as_str(), proved.authorization.as_str()), ("alice@example.com", behalf));
        }
        for none in [None, Some("")] {
            assert!(
                matches!(step(none, b"alice@example.com"), Step::Disproved(login, Refusal::NoCertificate) if login == "alice@example.com")
            );
        }
        for bad in [&b"a\0b"[..], b"\xff", b"\r\n"] {
            assert!(matches!(step(Some("alice@example.com"), bad), Step::Malformed(_)), "{bad:?}");
        }
    }
}
