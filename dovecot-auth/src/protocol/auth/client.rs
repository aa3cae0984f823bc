//! The auth-client grammar: Dovecot's login processes and Postfix's smtpd ask whether a login may in.
//!
//! Lines of at most [`MAX_LINE`] bytes. The handshake, then requests by id, several at once, answered in any order:
//!
//! ```text
//! S: VERSION TAB 1 TAB 2
//! C: VERSION TAB 1 TAB 2
//! C: CPID TAB 4711                                        the client's process, unique among the connected
//! S: MECH TAB PLAIN TAB plaintext                         one line per mechanism
//! S: SPID TAB 815                                         our process, the same on every socket
//! S: CUID TAB 1                                           this connection
//! S: COOKIE TAB 0123456789abcdef0123456789abcdef          32 hex digits, new for each connection
//! S: DONE
//! C: AUTH TAB 1 TAB PLAIN TAB service=imap TAB secured TAB rip=192.0.2.1 TAB resp=AGFsaWNl...
//! S: OK TAB 1 TAB user=alice@example.com
//!    FAIL TAB 1 TAB user=alice@example.com [TAB code=temp_fail] [TAB code=user_disabled TAB reason=text]
//!    CONT TAB 1 TAB base64                                then C: CONT TAB 1 TAB base64
//! C: CANCEL TAB 1                                         no answer (S: CANCELLED TAB 1 since minor version 4)
//! ```
//!
//! Optional parameters that are not known here are ignored, as the protocol asks. `resp=` is the last parameter if it is there at all.

use zeroize::Zeroizing;

use super::{LineError, MAJOR, MINOR, Version};
use crate::protocol::tabbed::{number, parameters, push, text};

/// AUTH_CLIENT_MAX_LINE_LENGTH of Dovecot; Postfix cuts a client's response at `smtpd_sasl_response_limit`, 12288 bytes.
pub const MAX_LINE: usize = 16384;

/// The minor version from which a cancelled request is confirmed (Dovecot 2.4.4).
pub const CONFIRMS_CANCEL: u32 = 4;

/// One line of a client.
#[derive(Debug)]
pub enum Command {
    /// The protocol's version; comes first.
    Version(Version),
    /// The client's process.
    Cpid(u32),
    /// A login begins.
    Auth(Request),
    /// The answer to our CONT.
    Cont {
        /// The request.
        id: u32,
        /// Base64.
        response: Zeroizing<Vec<u8>>,
    },
    /// The login is given up.
    Cancel(u32),
}

/// `AUTH`, with the parameters of which something is made.
#[derive(Debug, Default)]
pub struct Request {
    /// Its number on this connection.
    pub id: u32,
    /// The mechanism's name as the client gave it.
    pub mechanism: String,
    /// `service=` (Dovecot 2.3, Postfix) or `protocol=` (Dovecot 2.4): imap, pop3, sieve, smtp …
    pub service: String,
    /// `rip=`: the address of whoever logs in.
    pub remote: String,
    /// `client_id=`: what the program calls itself (IMAP ID), where Dovecot keeps it (`imap_id_retain`).
    pub client: String,
    /// `session=`: Dovecot's session, for joining log lines.
    pub session: String,
    /// `nologin`: nobody will ask for this login's user afterwards (Postfix).
    pub nologin: bool,
    /// `resp=`: the initial response in base64; `Some` and empty for `resp=` and `resp==` (Postfix passes `AUTH PLAIN =` on so).
    pub response: Option<Zeroizing<Vec<u8>>>,
}

impl Command {
    /// Reads one line, LF taken off.
    ///
    /// # Errors
    /// [`LineError`]: the peer does not speak this protocol.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let mut parameters = parameters(line);
        let word = parameters.next().unwrap_or_default();
        let mut id = || parameters.next().and_then(number).ok_or(LineError::Parameter("the id"));
        match word {
            b"VERSION" => Ok(Self::Version(Version::parse(parameters)?)),
            b"CPID" => Ok(Self::Cpid(id()?)),
            b"CANCEL" => Ok(Self::Cancel(id()?)),
            b"CONT" => {
                let id = id()?;
                // Everything after the id: base64 has no TAB, so a second parameter is part of what will not decode.
                let response = line.splitn(3, |byte| *byte == b'\t').nth(2);
                let response = response.ok_or(LineError::Parameter("the response"))?;
                Ok(Self::Cont { id, response: Zeroizing::new(response.to_vec()) })
            }
            b"AUTH" => {
                let id = id()?;
                let mechanism = parameters.next().and_then(text).filter(|name| !name.is_empty());
                let mechanism = mechanism.ok_or(LineError::Parameter("the mechanism"))?;
                let mut request = Request { id, mechanism, ..Request::default() };
                request.read_options(line);
                Ok(Self::Auth(request))
            }
            _ => Err(LineError::Unknown),
        }
    }
}

impl Request {
    fn read_options(&mut self, line: &[u8]) {
        // AUTH, id and mechanism have been read.
        let mut at = 0;
        for (place, parameter) in parameters(line).enumerate() {
            let start = at;
            at += parameter.len() + 1;
            if place < 3 {
                continue;
            }
            if let Some(response) = parameter.strip_prefix(b"resp=") {
                // The last parameter: a TAB in it is not base64, and must not become a parameter of its own (CVE-2026-33603).
                let whole = &line[start + b"resp=".len()..];
                let response = if response == b"=" && whole.len() == 1 { &[][..] } else { whole };
                self.response = Some(Zeroizing::new(response.to_vec()));
                return;
            }
            let (name, value) = match parameter.iter().position(|byte| *byte == b'=') {
                Some(at) => (&parameter[..at], &parameter[at + 1..]),
                None => (parameter, &[][..]),
            };
            match name {
                b"service" | b"protocol" => self.service = text(value).unwrap_or_default(),
                b"rip" => self.remote = text(value).unwrap_or_default(),
                b"client_id" => self.client = text(value).unwrap_or_default(),
                b"session" => self.session = text(value).unwrap_or_default(),
                b"nologin" => self.nologin = true,
                _ => {}
            }
        }
    }
}

/// One line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The protocol's version.
    Version,
    /// A mechanism and its flags.
    Mechanism(&'a str, &'a [&'a str]),
    /// Our process.
    Spid(u32),
    /// This connection.
    Cuid(u32),
    /// This connection's secret.
    Cookie(&'a str),
    /// The handshake is over.
    Done,
    /// A challenge, in base64; may be empty.
    Cont(u32, &'a str),
    /// The login may in, by its canonical name.
    Ok(u32, &'a str),
    /// The login may not in.
    Fail(Failure<'a>),
    /// A request was cancelled; for minor version [`CONFIRMS_CANCEL`] and later.
    Cancelled(u32),
}

/// `FAIL`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure<'a> {
    /// The request.
    pub id: u32,
    /// The login, where one was named.
    pub user: Option<&'a str>,
    /// Why, where the client makes a difference; none is "wrong password".
    pub code: Option<Code>,
    /// What the user is told; for [`Code::Disabled`].
    pub reason: Option<&'a str>,
}

/// What `code=` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Try later; IMAP's `[UNAVAILABLE]`.
    Temporary,
    /// The response was not base64.
    InvalidBase64,
    /// The account may not be used; IMAP's `[ALERT]` and the reason.
    Disabled,
}

impl Reply<'_> {
    /// Appends the line, LF included.
    pub fn render(&self, out: &mut Vec<u8>) {
        let word = match self {
            Self::Version => "VERSION",
            Self::Mechanism(..) => "MECH",
            Self::Spid(_) => "SPID",
            Self::Cuid(_) => "CUID",
            Self::Cookie(_) => "COOKIE",
            Self::Done => "DONE",
            Self::Cont(..) => "CONT",
            Self::Ok(..) => "OK",
            Self::Fail(_) => "FAIL",
            Self::Cancelled(_) => "CANCELLED",
        };
        out.extend_from_slice(word.as_bytes());
        let mut add = |parameter: &str| push(parameter.as_bytes(), out);
        match self {
            Self::Version => {
                add(&MAJOR.to_string());
                add(&MINOR.to_string());
            }
            Self::Mechanism(name, flags) => {
                add(name);
                flags.iter().for_each(|flag| add(flag));
            }
            Self::Spid(number) | Self::Cuid(number) | Self::Cancelled(number) => add(&number.to_string()),
            Self::Cookie(cookie) => add(cookie),
            Self::Done => {}
            // An empty challenge keeps its TAB: Postfix fails on a missing field.
            Self::Cont(id, challenge) => {
                add(&id.to_string());
                add(challenge);
            }
            Self::Ok(id, user) => {
                add(&id.to_string());
                add(&format!("user={user}"));
            }
            Self::Fail(Failure { id, user, code, reason }) => {
                add(&id.to_string());
                if let Some(user) = user {
                    add(&format!("user={user}"));
                }
                match code {
                    Some(Code::Temporary) => add("code=temp_fail"),
                    Some(Code::InvalidBase64) => add("code=invalid_base64"),
                    Some(Code::Disabled) => add("code=user_disabled"),
                    None => {}
                }
                if let Some(reason) = reason {
                    add(&format!("reason={reason}"));
                }
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn auth(line: &[u8]) -> Request {
        match Command::parse(line).unwrap() {
            Command::Auth(request) => request,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_requests_of_both_dovecots_and_of_postfix_are_read() {
        let request = auth(b"AUTH\t1\tPLAIN\tservice=imap\tsecured=tls\tsession=ab/c\tlip=127.0.0.1\trip=192.0.2.7\tlport=143\trport=4711\tresp=AGE=");
        assert_eq!((request.id, request.mechanism.as_str(), request.service.as_str()), (1, "PLAIN", "imap"));
        assert_eq!(
            (request.remote.as_str(), request.session.as_str(), request.nologin),
            ("192.0.2.7", "ab/c", false)
        );
        assert_eq!(request.response.unwrap().as_slice(), b"AGE=");
        let request = auth(b"AUTH\t7\tPLAIN\tprotocol=imap\tfinal-resp-ok\trip=::1\tssl_ja3_hash=x");
        assert_eq!((request.service.as_str(), request.response.is_none()), ("imap", true));
        let request = auth(b"AUTH\t1\tLOGIN\tservice=smtp\tnologin\tlip=1.2.3.4\trip=5.6.7.8\tsecured");
        assert!(request.nologin && request.response.is_none());
    }

    #[test]
    fn an_empty_initial_response_is_one() {
        for line in [&b"AUTH\t1\tPLAIN\tresp="[..], b"AUTH\t1\tPLAIN\tresp=="] {
            assert_eq!(auth(line).response.unwrap().as_slice(), b"", "{line:?}");
        }
        assert!(auth(b"AUTH\t1\tPLAIN").response.is_none());
    }

    #[test]
    fn nothing_behind_the_response_becomes_a_parameter() {
        let request = auth(b"AUTH\t1\tPLAIN\tservice=imap\tresp=AGE=\tservice=smtp\tnologin");
        assert_eq!((request.service.as_str(), request.nologin), ("imap", false));
        assert_eq!(request.response.unwrap().as_slice(), b"AGE=\tservice=smtp\tnologin");
        assert_eq!(auth(b"AUTH\t1\tPLAIN\tresp==\tx").response.unwrap().as_slice(), b"=\tx");
    }

    #[test]
    fn lines_that_are_no_command_say_why() {
        for (line, error) in [
            (&b""[..], LineError::Unknown),
            (b"auth\t1\tPLAIN", LineError::Unknown),
            (b"EHLO example.com", LineError::Unknown),
            (b"AUTH", LineError::Parameter("the id")),
            (b"AUTH\tx\tPLAIN", LineError::Parameter("the id")),
            (b"AUTH\t4294967296\tPLAIN", LineError::Parameter("the id")),
            (b"AUTH\t1", LineError::Parameter("the mechanism")),
            (b"AUTH\t1\t", LineError::Parameter("the mechanism")),
            (b"CONT\t1", LineError::Parameter("the response")),
            (b"CPID\t", LineError::Parameter("the id")),
            (b"CANCEL", LineError::Parameter("the id")),
            (b"VERSION\t1", LineError::Parameter("the minor version")),
            (b"VERSION\tx\t1", LineError::Parameter("the major version")),
        ] {
            assert_eq!(Command::parse(line).unwrap_err(), error, "{line:?}");
        }
        assert!(
            matches!(Command::parse(b"CONT\t1\t"), Ok(Command::Cont { id: 1, response }) if response.is_empty())
        );
    }

    #[test]
    fn replies_are_lines_with_everything_escaped() {
        let line = |reply: Reply<'_>| {
            let mut out = Vec::new();
            reply.render(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(line(Reply::Version), "VERSION\t1\t2\n");
        assert_eq!(line(Reply::Mechanism("PLAIN", &["plaintext"])), "MECH\tPLAIN\tplaintext\n");
        assert_eq!(line(Reply::Cont(3, "")), "CONT\t3\t\n");
        assert_eq!(line(Reply::Ok(3, "a@b")), "OK\t3\tuser=a@b\n");
        assert_eq!(line(Reply::Fail(Failure { id: 3, ..Failure::default() })), "FAIL\t3\n");
        let failure =
            Failure { id: 3, user: Some("a\tb\nc"), code: Some(Code::Temporary), ..Failure::default() };
        assert_eq!(line(Reply::Fail(failure)), "FAIL\t3\tuser=a\x01tb\x01nc\tcode=temp_fail\n");
        let failure =
            Failure { id: 3, user: Some("a@b"), code: Some(Code::Disabled), reason: Some("Un\tpaid") };
        assert_eq!(line(Reply::Fail(failure)), "FAIL\t3\tuser=a@b\tcode=user_disabled\treason=Un\x01tpaid\n");
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }

        #[test]
        fn any_option_of_auth_is_read_or_ignored(options in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&[b"AUTH\t1\tPLAIN\t", &options[..]].concat());
        }
    }
}
