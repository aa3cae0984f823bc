//! What a dict client sends. A letter, then parameters divided by TAB, each escaped.
//!
//! ```text
//! H<major> TAB <minor> TAB <value type> TAB <user, obsolete> TAB <dictionary>
//! L<key> TAB <user>                                   look up
//! I<flags> TAB <max rows, 0 = all> TAB <path> TAB <user>   iterate
//! B<id> TAB <user> [TAB <expire seconds>]             begin a transaction
//! S<id> TAB <key> TAB <value>                         set
//! U<id> TAB <key>                                     unset
//! A<id> TAB <key> TAB <signed difference>             add
//! T<id> TAB <seconds> TAB <nanoseconds>               timestamp of the writes (only Cassandra's users)
//! V<id> TAB yes|no                                    hide values in logs (4.x)
//! C<id>   D<id>   R<id>                               commit, commit without waiting, roll back
//! ```
//!
//! The user stands in `L`, `I` and `B` since Dovecot 2.3.17; before, the field is missing, and such a client gets no answer about users.

use crate::protocol::tabbed::{number, parameters, text};

/// One line of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Which dictionary this connection is about; comes first.
    Hello(Hello),
    /// The value of a key.
    Lookup {
        /// The key.
        key: String,
        /// Who asks.
        user: String,
    },
    /// The keys below a path.
    Iterate {
        /// How.
        flags: Flags,
        /// At most so many rows; `None` for all.
        rows: Option<usize>,
        /// The path, mostly with `/` at its end.
        path: String,
        /// Who asks.
        user: String,
    },
    /// A transaction begins.
    Begin {
        /// Its number on this connection.
        id: u32,
        /// Who writes.
        user: String,
        /// For how many seconds its values count; for ever if `None`.
        expires: Option<u32>,
    },
    /// A key gets a value.
    Set {
        /// The transaction.
        id: u32,
        /// The key.
        key: String,
        /// The value; `None` if it is no UTF-8.
        value: Option<String>,
    },
    /// A key goes.
    Unset {
        /// The transaction.
        id: u32,
        /// The key.
        key: String,
    },
    /// A number is added to a key's value.
    Add {
        /// The transaction.
        id: u32,
        /// The key.
        key: String,
        /// What is added.
        difference: i64,
    },
    /// `T` or `V`: nothing depends on it here.
    Remark,
    /// The transaction is to be carried out; answered.
    Commit(u32),
    /// The same from a client that does not wait; answered all the same, with a mark.
    CommitAsync(u32),
    /// The transaction is forgotten.
    Rollback(u32),
}

/// `H`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The protocol's major version.
    pub major: u32,
    /// The protocol's minor version.
    pub minor: u32,
    /// The dictionary's name.
    pub dict: String,
}

/// How to iterate (enum dict_iterate_flags of dict.h).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Below the direct children too.
    pub recurse: bool,
    /// In the order of keys.
    pub sort_by_key: bool,
    /// In the order of values.
    pub sort_by_value: bool,
    /// Keys without their values.
    pub no_value: bool,
    /// The path itself is the one key.
    pub exact_key: bool,
}

/// Why a line is no command; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The first character is no command.
    #[error("unknown command")]
    Unknown,
    /// A parameter is missing or malformed.
    #[error("{0} is missing or malformed")]
    Parameter(&'static str),
}

impl Command {
    /// Reads one line, LF taken off.
    ///
    /// # Errors
    /// [`LineError`]: the peer does not speak this protocol.
    pub fn parse(line: &[u8]) -> Result<Self, LineError> {
        let (letter, rest) = line.split_first().ok_or(LineError::Unknown)?;
        let mut parameters = Parameters(parameters(rest));
        let id = "the transaction's id";
        match letter {
            b'H' => {
                let major = parameters.number("the major version")?;
                let minor = parameters.number("the minor version")?;
                // Value type and user: Dovecot always sends 0 and nothing.
                parameters.optional()?;
                parameters.optional()?;
                Ok(Self::Hello(Hello { major, minor, dict: parameters.text("the dictionary's name")? }))
            }
            b'L' => Ok(Self::Lookup { key: parameters.text("the key")?, user: parameters.optional()? }),
            b'I' => {
                let flags = Flags::from_bits(parameters.number("the flags")?);
                let rows = parameters.number::<usize>("the number of rows")?;
                let rows = (rows > 0).then_some(rows);
                Ok(Self::Iterate {
                    flags,
                    rows,
                    path: parameters.text("the path")?,
                    user: parameters.optional()?,
                })
            }
            b'B' => {
                let (id, user) = (parameters.number(id)?, parameters.optional()?);
                let expires = match parameters.0.next() {
                    Some(seconds) => number(seconds).ok_or(LineError::Parameter("the expiry"))?,
                    None => 0,
                };
                Ok(Self::Begin { id, user, expires: (expires > 0).then_some(expires) })
            }
            b'S' => Ok(Self::Set {
                id: parameters.number(id)?,
                key: parameters.text("the key")?,
                value: text(parameters.0.next().ok_or(LineError::Parameter("the value"))?),
            }),
            b'U' => Ok(Self::Unset { id: parameters.number(id)?, key: parameters.text("the key")? }),
            b'A' => {
                let (id, key) = (parameters.number(id)?, parameters.text("the key")?);
                let difference = parameters.text("the difference")?;
                let difference = difference.parse().map_err(|_| LineError::Parameter("the difference"))?;
                Ok(Self::Add { id, key, difference })
            }
            b'T' | b'V' => parameters.number::<u32>(id).map(|_| Self::Remark),
            b'C' => parameters.number(id).map(Self::Commit),
            b'D' => parameters.number(id).map(Self::CommitAsync),
            b'R' => parameters.number(id).map(Self::Rollback),
            _ => Err(LineError::Unknown),
        }
    }
}

impl Flags {
    fn from_bits(bits: u32) -> Self {
        let has = |bit| bits & bit != 0;
        Self {
            recurse: has(1),
            sort_by_key: has(2),
            sort_by_value: has(4),
            no_value: has(8),
            exact_key: has(16),
            // 32 is "asynchronous": of no meaning to a server.
        }
    }
}

struct Parameters<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Parameters<I> {
    fn text(&mut self, name: &'static str) -> Result<String, LineError> {
        self.0.next().and_then(text).ok_or(LineError::Parameter(name))
    }

    fn number<N: std::str::FromStr>(&mut self, name: &'static str) -> Result<N, LineError> {
        self.0.next().and_then(number).ok_or(LineError::Parameter(name))
    }

    /// A parameter that older clients do not send.
    fn optional(&mut self) -> Result<String, LineError> {
        self.0.next().map_or(Some(String::new()), text).ok_or(LineError::Parameter("a name in UTF-8"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_commands_of_both_versions_are_read() {
        let hello = |major, minor| Ok(Command::Hello(Hello { major, minor, dict: "acl".into() }));
        assert_eq!(Command::parse(b"H3\t2\t0\t\tacl"), hello(3, 2));
        assert_eq!(Command::parse(b"H4\t0\t0\t\tacl"), hello(4, 0));
        assert_eq!(
            Command::parse(b"Lshared/passdb/a@b\ta@b"),
            Ok(Command::Lookup { key: "shared/passdb/a@b".into(), user: "a@b".into() })
        );
        assert_eq!(
            Command::parse(b"Lpriv/x"),
            Ok(Command::Lookup { key: "priv/x".into(), user: String::new() })
        );
        assert_eq!(
            Command::parse(b"I9\t5\tshared/x/\ta@b"),
            Ok(Command::Iterate {
                flags: Flags { recurse: true, no_value: true, ..Flags::default() },
                rows: Some(5),
                path: "shared/x/".into(),
                user: "a@b".into()
            })
        );
        let begin = |expires| Ok(Command::Begin { id: 2, user: "a@b".into(), expires });
        assert_eq!(Command::parse(b"B2\ta@b"), begin(None));
        assert_eq!(Command::parse(b"B2\ta@b\t0"), begin(None));
        assert_eq!(Command::parse(b"B2\ta@b\t60"), begin(Some(60)));
        assert_eq!(
            Command::parse(b"S2\tshared/k\tline\x01none\x01ttwo"),
            Ok(Command::Set { id: 2, key: "shared/k".into(), value: Some("line\none\ttwo".into()) })
        );
        assert_eq!(Command::parse(b"S2\tk\t\xff"), Ok(Command::Set { id: 2, key: "k".into(), value: None }));
        assert_eq!(Command::parse(b"U2\tshared/k"), Ok(Command::Unset { id: 2, key: "shared/k".into() }));
        assert_eq!(
            Command::parse(b"A2\tpriv/n\t-3"),
            Ok(Command::Add { id: 2, key: "priv/n".into(), difference: -3 })
        );
        assert_eq!(Command::parse(b"T2\t1\t2"), Ok(Command::Remark));
        assert_eq!(Command::parse(b"V2\tyes"), Ok(Command::Remark));
        assert_eq!(Command::parse(b"C2"), Ok(Command::Commit(2)));
        assert_eq!(Command::parse(b"D2"), Ok(Command::CommitAsync(2)));
        assert_eq!(Command::parse(b"R2"), Ok(Command::Rollback(2)));
    }

    #[test]
    fn lines_that_are_no_command_say_why() {
        for (line, error) in [
            (&b""[..], LineError::Unknown),
            (b"X1", LineError::Unknown),
            (b"h3\t2\t0\t\tacl", LineError::Unknown),
            (b"H3", LineError::Parameter("the minor version")),
            (b"H3\t2\t0\t", LineError::Parameter("the dictionary's name")),
            (b"Hx\t2\t0\t\tacl", LineError::Parameter("the major version")),
            (b"I\t0\tx", LineError::Parameter("the flags")),
            (b"I1\t0", LineError::Parameter("the path")),
            (b"B\ta", LineError::Parameter("the transaction's id")),
            (b"B1\ta\tx", LineError::Parameter("the expiry")),
            (b"S1\tk", LineError::Parameter("the value")),
            (b"S1\t\xff\tv", LineError::Parameter("the key")),
            (b"A1\tk\tmany", LineError::Parameter("the difference")),
            (b"C", LineError::Parameter("the transaction's id")),
            (b"C1x", LineError::Parameter("the transaction's id")),
        ] {
            assert_eq!(Command::parse(line).unwrap_err(), error, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_a_command_or_an_error(line in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::parse(&line);
        }
    }
}
