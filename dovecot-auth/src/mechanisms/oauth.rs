//! OAUTHBEARER (RFC 7628) and XOAUTH2 (Google's, before it): a token that somebody else has given out, in one message.
//!
//! ```text
//! OAUTHBEARER  n,a=alice@example.com,^Ahost=mail.example.com^Aport=993^Aauth=Bearer TOKEN^A^A
//! XOAUTH2      user=alice@example.com^Aauth=Bearer TOKEN^A^A
//! ```
//!
//! A token that is not good is answered by a challenge with JSON (RFC 7628, 3.2.2), which the client acknowledges before it hears that it
//! may not in. Whether a token is good is not known here.

use gatepost::config::Secret;

use super::{Answer, Exchange, Mechanism, Needs, Proved, Question, Step};
use crate::verdict::Refusal;

/// The mechanism.
pub(super) const OAUTHBEARER: Mechanism = Mechanism {
    name: "OAUTHBEARER",
    flags: &["plaintext"],
    summary: "an OAuth 2.0 token (RFC 7628)",
    needs: Needs::Tokens,
    begin: |_| Box::new(Bearer { form: Form::Oauthbearer, stage: Stage::Begun }),
};

/// The mechanism.
pub(super) const XOAUTH2: Mechanism = Mechanism {
    name: "XOAUTH2",
    summary: "an OAuth 2.0 token, as Google and Outlook send it",
    begin: |_| Box::new(Bearer { form: Form::Xoauth2, stage: Stage::Begun }),
    ..OAUTHBEARER
};

#[derive(Debug)]
struct Bearer {
    form: Form,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Oauthbearer,
    Xoauth2,
}

#[derive(Debug)]
enum Stage {
    Begun,
    /// The name that came with the token.
    Asked(String),
    /// The client was told, and is to acknowledge.
    Told(String, Refusal),
    Over,
}

impl Exchange for Bearer {
    fn step(&mut self, response: Option<&[u8]>) -> Step {
        match (std::mem::replace(&mut self.stage, Stage::Over), response) {
            (Stage::Begun, None) => {
                self.stage = Stage::Begun;
                Step::Challenge(b"".as_slice().into())
            }
            (Stage::Begun, Some(message)) => match read(self.form, message) {
                Ok((login, token)) => {
                    self.stage = Stage::Asked(login.clone());
                    Step::Ask(Question::Token(token, login))
                }
                Err(why) => Step::Malformed(why),
            },
            // ^A, by RFC 7628; clients also send nothing.
            (Stage::Told(login, refusal), _) => Step::Disproved(login, refusal),
            (Stage::Asked(_) | Stage::Over, _) => Step::Malformed("a message too many"),
        }
    }

    fn told(&mut self, answer: Answer) -> Step {
        match (std::mem::replace(&mut self.stage, Stage::Over), answer) {
            (Stage::Asked(named), Answer::Owner(login)) => {
                // The name is whom the client wants to be: it must be the token's own.
                Step::Proved(Proved { authorization: named, login, last: None })
            }
            (Stage::Asked(named), Answer::BadToken(refusal, json)) => {
                self.stage = Stage::Told(named, refusal);
                Step::Challenge(json.into_bytes().into())
            }
            _ => Step::Malformed("nothing was asked"),
        }
    }
}

/// The name, which may be empty, and the token.
fn read(form: Form, message: &[u8]) -> Result<(String, Secret), &'static str> {
    let text = std::str::from_utf8(message).map_err(|_| "no UTF-8")?;
    let text = text.strip_suffix("\x01\x01").ok_or("no end")?;
    let (mut login, fields) = match form {
        Form::Xoauth2 => (String::new(), text),
        Form::Oauthbearer => {
            let (header, fields) = text.split_once('\x01').ok_or("no fields")?;
            (name_in(header)?, fields)
        }
    };
    let mut token = None;
    for field in fields.split('\x01') {
        let (key, value) = field.split_once('=').ok_or("a field without a value")?;
        match key {
            "auth" if token.is_none() => token = Some(bearer(value)?),
            "auth" => return Err("two tokens"),
            "user" if form == Form::Xoauth2 => login = value.to_owned(),
            // host, port and whatever else (RFC 7628, 3.1)
            _ => {}
        }
    }
    if login.chars().any(char::is_control) {
        return Err("control characters in the name");
    }
    Ok((login, token.ok_or("no token")?))
}

/// `n,a=NAME,` or `n,,` (RFC 5801, 4).
fn name_in(header: &str) -> Result<String, &'static str> {
    let behalf = header.strip_prefix("n,").or_else(|| header.strip_prefix("y,")).ok_or("no GS2 header")?;
    let behalf = behalf.strip_suffix(',').ok_or("no GS2 header")?;
    match behalf.strip_prefix("a=") {
        Some(name) if !name.contains(',') => Ok(name.replace("=2C", ",").replace("=3D", "=")),
        None if behalf.is_empty() => Ok(String::new()),
        _ => Err("no GS2 header"),
    }
}

/// `Bearer TOKEN`, in RFC 6750's characters.
fn bearer(value: &str) -> Result<Secret, &'static str> {
    let (scheme, token) = value.split_once(' ').ok_or("no token")?;
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err("another kind of token than Bearer");
    }
    if token.is_empty() || !token.bytes().all(is_token) {
        return Err("characters that no token has");
    }
    Ok(Secret::new(token.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_forms_are_read() {
        for (form, message, name) in [
            (Form::Oauthbearer, "n,a=a@b,\x01host=h\x01port=993\x01auth=Bearer abc.d-e_f~+/=\x01\x01", "a@b"),
            (Form::Oauthbearer, "n,,\x01auth=bearer abc.d-e_f~+/=\x01\x01", ""),
            (Form::Oauthbearer, "y,a=a=2Cx=3D@b,\x01auth=Bearer abc.d-e_f~+/=\x01\x01", "a,x=@b"),
            (Form::Xoauth2, "user=a@b\x01auth=Bearer abc.d-e_f~+/=\x01\x01", "a@b"),
            (Form::Xoauth2, "auth=Bearer abc.d-e_f~+/=\x01\x01", ""),
        ] {
            let (login, token) = read(form, message.as_bytes()).unwrap();
            assert_eq!((login.as_str(), token.expose()), (name, "abc.d-e_f~+/="), "{message}");
        }
    }

    #[test]
    fn messages_that_are_none_say_why() {
        for (message, why) in [
            ("", "no end"),
            ("\x01\x01", "no fields"),
            ("n,a=a@b,\x01auth=Bearer x\x01", "no end"),
            ("n,a=a@b,\x01host=x\x01\x01", "no token"),
            ("a=a@b,\x01auth=Bearer x\x01\x01", "no GS2 header"),
            ("p=x,,\x01auth=Bearer x\x01\x01", "no GS2 header"),
            ("n,a=a,b,\x01auth=Bearer x\x01\x01", "no GS2 header"),
            ("n,,\x01auth=Basic x\x01\x01", "another kind of token than Bearer"),
            ("n,,\x01auth=Bearer \x01\x01", "characters that no token has"),
            ("n,,\x01auth=Bearer a b\x01\x01", "characters that no token has"),
            ("n,,\x01auth=Bearer a\x01auth=Bearer b\x01\x01", "two tokens"),
            ("n,,\x01auth\x01\x01", "a field without a value"),
            ("n,a=a\tb,\x01auth=Bearer x\x01\x01", "control characters in the name"),
        ] {
            assert_eq!(read(Form::Oauthbearer, message.as_bytes()).err(), Some(why), "{message:?}");
        }
    }

    #[test]
    fn a_bad_token_is_told_and_acknowledged() {
        let mut exchange = (OAUTHBEARER.begin)(&super::super::Channel::default());
        assert!(matches!(exchange.step(None), Step::Challenge(_)));
        assert!(matches!(exchange.step(Some(b"n,a=a@b,\x01auth=Bearer x\x01\x01")), Step::Ask(_)));
        let step = exchange.told(Answer::BadToken(Refusal::BadToken, "{}".into()));
        assert!(matches!(step, Step::Challenge(json) if *json == *b"{}"));
        assert!(
            matches!(exchange.step(Some(b"\x01")), Step::Disproved(login, Refusal::BadToken) if login == "a@b")
        );
        assert!(matches!(exchange.step(Some(b"\x01")), Step::Malformed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = read(Form::Oauthbearer, &bytes);
            let _ = read(Form::Xoauth2, &bytes);
            let _ = read(Form::Oauthbearer, &[b"n,a=", &bytes[..], b"\x01auth=Bearer x\x01\x01"].concat());
        }
    }
}
