//! Dovecot's authentication protocol, version 1.x (doc "Auth Protocol" 1.2 and 1.3; src/lib-auth-client of 2.3.19 to 2.4.4).
//!
//! Two grammars over the same kind of lines: [`client`], spoken by Dovecot's login processes and by Postfix, and [`master`], spoken by the
//! mail processes after a login and by whoever looks users up. Both sides send `VERSION`; only the major number is compared.

pub mod client;
pub mod master;

/// The major version that both sides must have (AUTH_CLIENT_PROTOCOL_MAJOR_VERSION); it never was another.
pub const MAJOR: u32 = 1;
/// The minor version that we announce; peers ignore it.
pub const MINOR: u32 = 2;

/// Why a line is no command. None of these is answered: the peer is no Dovecot or Postfix, and the connection ends, as Dovecot's own
/// server ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// The first word is no command of this grammar.
    #[error("unknown command")]
    Unknown,
    /// A required parameter is missing or no number.
    #[error("{0} is missing or malformed")]
    Parameter(&'static str),
}

/// `VERSION TAB major TAB minor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// Must be [`MAJOR`].
    pub major: u32,
    /// What the peer can besides.
    pub minor: u32,
}

impl Version {
    fn parse<'a>(mut parameters: impl Iterator<Item = &'a [u8]>) -> Result<Self, LineError> {
        use super::tabbed::number;
        let mut next = |name| parameters.next().and_then(number).ok_or(LineError::Parameter(name));
        Ok(Self { major: next("the major version")?, minor: next("the minor version")? })
    }
}
