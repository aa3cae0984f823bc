//! The auth-master grammar: mail processes ask who has just logged in, and who a user is.
//!
//! Lines of at most [`MAX_LINE`] bytes. After the handshake requests by id, answered in any order:
//!
//! ```text
//! S: VERSION TAB 1 TAB 2
//! S: SPID TAB 815                            as on the login sockets, or the client says "Auth server restarted"
//! C: VERSION TAB 1 TAB 1
//! C: REQUEST TAB 1 TAB 4711 TAB 7 TAB 0123456789abcdef0123456789abcdef TAB session_pid=4712
//!            id    CPID     AUTH id  cookie of that connection
//! C: USER TAB 2 TAB alice@example.com TAB service=lmtp
//! S: USER TAB 2 TAB alice@example.com TAB uid=5000 TAB gid=5000 TAB home=/var/vmail/example.com/alice
//!    NOTFOUND TAB 2  |  FAIL TAB 2 [TAB reason=...]
//! C: PASS TAB 3 TAB alice@example.com TAB service=doveadm
//! S: PASS TAB 3 TAB user=alice@example.com   | NOTFOUND | FAIL
//! C: LIST TAB 4 TAB user=* TAB service=doveadm
//! S: LIST TAB 4 TAB alice@example.com        one line per user, then
//!    DONE TAB 4 TAB                          or DONE TAB 4 TAB fail
//! C: CACHE-FLUSH TAB 5
//! S: OK TAB 5 TAB 17
//! ```

use super::{LineError, MAJOR, MINOR, Version};
use crate::protocol::tabbed::{number, parameters, push, text};

/// AUTH_MASTER_MAX_LINE_LENGTH of Dovecot.
pub const MAX_LINE: usize = 8192;

/// One line of a mail process, of lmtp, or of doveadm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The protocol's version; comes first.
    Version(Version),
    /// Who has just logged in there?
    Request {
        /// The request.
        id: u32,
        /// The login process.
        cpid: u32,
        /// The id of its AUTH.
        auth_id: u32,
        /// The cookie of its connection, as sent.
        cookie: Vec<u8>,
        /// The process that asks, by its own word.
        session_pid: Option<i32>,
    },
    /// Who is this user?
    User(u32, String),
    /// May this user log in at all?
    Pass(u32, String),
    /// Which users are there, by a pattern with `*` and `?`?
    List(u32, String),
    /// Forget what is cached.
    CacheFlush(u32),
}

impl Command {
    /// Reads one line, LF taken off. Unknown optional parameters are ignored.
    ///
    /// # Errors
    /// [`LineError`]: the peer does not speak this protocol.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let mut parameters = parameters(line);
        let word = parameters.next().unwrap_or_default();
        if word == b"VERSION" {
            return Version::parse(parameters).map(Self::Version);
        }
        if ![&b"REQUEST"[..], b"USER", b"PASS", b"LIST", b"CACHE-FLUSH"].contains(&word) {
            return Err(LineError::Unknown);
        }
        let mut next_number = |name| parameters.next().and_then(number).ok_or(LineError::Parameter(name));
        let id = next_number("the id")?;
        match word {
            b"REQUEST" => {
                let (cpid, auth_id) = (next_number("the login process")?, next_number("the login's id")?);
                let cookie = parameters.next().ok_or(LineError::Parameter("the cookie"))?.to_vec();
                let session_pid = match option(parameters, b"session_pid=") {
                    Some(pid) => Some(number(pid).ok_or(LineError::Parameter("session_pid"))?),
                    None => None,
                };
                Ok(Self::Request { id, cpid, auth_id, cookie, session_pid })
            }
            b"LIST" => {
                let mask = option(parameters, b"user=").map_or(Some("*".to_owned()), text);
                Ok(Self::List(id, mask.ok_or(LineError::Parameter("the pattern"))?))
            }
            b"CACHE-FLUSH" => Ok(Self::CacheFlush(id)),
            _ => {
                // A name that is no text is the name of nobody.
                let user = parameters.next().ok_or(LineError::Parameter("the user"))?;
                let user = text(user).unwrap_or_default();
                Ok(if word == b"USER" { Self::User(id, user) } else { Self::Pass(id, user) })
            }
        }
    }
}

fn option<'a>(mut parameters: impl Iterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    parameters.find_map(|parameter| parameter.strip_prefix(name))
}

/// Whether a name matches a pattern: `*` for any characters, `?` for one.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where the last `*` was, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// One line of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The protocol's version.
    Version,
    /// Our process.
    Spid(u32),
    /// A user and what belongs to it.
    User(u32, &'a str, &'a [(String, String)]),
    /// A login and its canonical name.
    Pass(u32, &'a str),
    /// There certainly is no such user.
    NotFound(u32),
    /// Nobody can say now.
    Fail(u32, &'a str),
    /// One user of the list.
    List(u32, &'a str),
    /// The end of the list: whether it is whole.
    Done(u32, bool),
    /// How many answers were forgotten.
    Flushed(u32, u64),
}

impl Reply<'_> {
    /// Appends the line, LF included.
    pub fn render(&self, out: &mut Vec<u8>) {
        let (word, id) = match self {
            Self::Version => ("VERSION", MAJOR),
            Self::Spid(pid) => ("SPID", *pid),
            Self::User(id, ..) => ("USER", *id),
            Self::Pass(id, _) => ("PASS", *id),
            Self::NotFound(id) => ("NOTFOUND", *id),
            Self::Fail(id, _) => ("FAIL", *id),
            Self::List(id, _) => ("LIST", *id),
            Self::Done(id, _) => ("DONE", *id),
            Self::Flushed(id, _) => ("OK", *id),
        };
        out.extend_from_slice(word.as_bytes());
        let mut add = |parameter: &str| push(parameter.as_bytes(), out);
        add(&id.to_string());
        match self {
            Self::Version => add(&MINOR.to_string()),
            Self::Spid(_) | Self::NotFound(_) => {}
            Self::User(_, user, fields) => {
                add(user);
                fields.iter().for_each(|(name, value)| add(&format!("{name}={value}")));
            }
            Self::Pass(_, user) => add(&format!("user={user}")),
            Self::Fail(_, "") => {}
            Self::Fail(_, reason) => add(&format!("reason={reason}")),
            Self::List(_, user) => add(user),
            Self::Done(_, whole) => add(if *whole { "" } else { "fail" }),
            Self::Flushed(_, count) => add(&count.to_string()),
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_commands_of_both_dovecots_are_read() {
        assert_eq!(
            Command::parse(b"REQUEST\t1\t4711\t7\t0123\tsession_pid=12\trequest_auth_token"),
            Ok(Command::Request {
                id: 1,
                cpid: 4711,
                auth_id: 7,
                cookie: b"0123".to_vec(),
                session_pid: Some(12)
            })
        );
        assert_eq!(Command::parse(b"USER\t2\ta@b\tprotocol=lmtp\tlip=x"), Ok(Command::User(2, "a@b".into())));
        assert_eq!(Command::parse(b"PASS\t2\ta\x01tb\tdebug"), Ok(Command::Pass(2, "a\tb".into())));
        assert_eq!(Command::parse(b"USER\t2\t\xff"), Ok(Command::User(2, String::new())));
        assert_eq!(Command::parse(b"LIST\t2\tservice=doveadm"), Ok(Command::List(2, "*".into())));
        assert_eq!(Command::parse(b"LIST\t2\tuser=*@b\tservice=doveadm"), Ok(Command::List(2, "*@b".into())));
        assert_eq!(Command::parse(b"CACHE-FLUSH\t9\ta@b"), Ok(Command::CacheFlush(9)));
    }

    #[test]
    fn lines_that_are_no_command_say_why() {
        for (line, error) in [
            (&b""[..], LineError::Unknown),
            (b"user\t1\ta", LineError::Unknown),
            (b"AUTH\t1\tPLAIN", LineError::Unknown),
            (b"USER", LineError::Parameter("the id")),
            (b"USER\t-1\ta", LineError::Parameter("the id")),
            (b"USER\t1", LineError::Parameter("the user")),
            (b"REQUEST\t1\t2\t3", LineError::Parameter("the cookie")),
            (b"REQUEST\t1\t2", LineError::Parameter("the login's id")),
            (b"REQUEST\t1\t2\t3\tc\tsession_pid=x", LineError::Parameter("session_pid")),
            (b"LIST\t1\tuser=\xff", LineError::Parameter("the pattern")),
        ] {
            assert_eq!(Command::parse(line).unwrap_err(), error, "{line:?}");
        }
    }

    #[test]
    fn replies_are_lines_with_everything_escaped() {
        let line = |reply: Reply<'_>| {
            let mut out = Vec::new();
            reply.render(&mut out);
            String::from_utf8(out).unwrap()
        };
        let fields = [("uid".to_owned(), "5000".to_owned()), ("x".to_owned(), "a\tb".to_owned())];
        assert_eq!(line(Reply::User(1, "a@b", &fields)), "USER\t1\ta@b\tuid=5000\tx=a\x01tb\n");
        assert_eq!(line(Reply::Version), "VERSION\t1\t2\n");
        assert_eq!(line(Reply::Done(4, true)), "DONE\t4\t\n");
        assert_eq!(line(Reply::Done(4, false)), "DONE\t4\tfail\n");
        assert_eq!(line(Reply::Fail(4, "")), "FAIL\t4\n");
        assert_eq!(line(Reply::Flushed(4, 17)), "OK\t4\t17\n");
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        for (pattern, name) in [
            ("*", ""),
            ("*", "a@b"),
            ("*@b", "a@b"),
            ("a*c*e", "abcde"),
            ("?@b", "a@b"),
            ("a@b", "a@b"),
            ("**", "x"),
            ("*a*b", "aab"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("", "a"), ("*@c", "a@b"), ("?", ""), ("?", "ab"), ("a*", "b"), ("A@b", "a@b")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }
    }
}
