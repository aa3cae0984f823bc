//! What the MTA says: one frame into one [`Command`].
//!
//! For `session`. Every byte of a peer's text is kept as it came: 8-bit, NUL where the grammar has no NUL, upper case. It
//! refuses an unknown command byte and data without its grammar, and it forgives what the field is known to vary in: missing
//! NUL at the end of the last string, `IPv6:` before an address (Sendmail) or not (Postfix), a client address that is none.
//!
//! ```text
//! C  hostname NUL family [port:u16 address NUL]     family: '4' '6' 'L' (unix socket path) 'U' (unknown, nothing follows)
//! H  string                                         M, R  string *string       address, then ESMTP parameters
//! L  name NUL value NUL                             B, E, U  bytes             E may carry the last piece of the body
//! D  command *(name NUL value NUL)                  O  version:u32 actions:u32 steps:u32
//! T, N, A, Q, K   nothing
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::{Buf, Bytes};

use super::{Event, Offer, ProtocolError};

/// One command of the MTA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `O`: version and everything the MTA could do.
    Negotiate(Offer),
    /// `C`: an SMTP client connected.
    Connect {
        /// The client's host name, `[address]` when unknown, `localhost` for mail that did not come over SMTP.
        hostname: Bytes,
        /// Where it connected from.
        peer: Peer,
    },
    /// `H`: HELO or EHLO; again after STARTTLS.
    Helo(Bytes),
    /// `M`: MAIL FROM.
    Mail(Arguments),
    /// `R`: RCPT TO.
    Rcpt(Arguments),
    /// `T`: DATA.
    Data,
    /// `L`: one header field, value with its leading space when [`super::steps::HEADER_LEADING_SPACE`] was agreed.
    Header {
        /// The field name.
        name: Bytes,
        /// The value, folds as `"\n"`.
        value: Bytes,
    },
    /// `N`: the header block is complete.
    EndOfHeaders,
    /// `B`: a piece of the body, split anywhere.
    Body(Bytes),
    /// `E`: the message is complete; with the last piece of the body, mostly empty.
    EndOfBody(Bytes),
    /// `A`: forget this message, keep the connection.
    Abort,
    /// `Q`: close.
    Quit,
    /// `K`: the SMTP client left, another one follows on this connection.
    QuitNewConnection,
    /// `U`: an SMTP command that the MTA does not know.
    Unknown(Bytes),
    /// `D`: the values of macros for the command that follows.
    Macros {
        /// The command byte they belong to.
        command: u8,
        /// Names without or with braces, and values, as sent.
        pairs: Vec<(Bytes, Bytes)>,
    },
}

/// The strings of MAIL and RCPT: the address as typed, then parameters such as `SIZE=1000`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arguments {
    /// The address with or without brackets, as typed.
    pub address: Bytes,
    /// The ESMTP parameters as typed.
    pub parameters: Vec<Bytes>,
}

/// The family byte of `C`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `4`
    Ipv4,
    /// `6`
    Ipv6,
    /// `L`
    Unix,
    /// `U`
    Unknown,
}

/// Where the SMTP client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Which kind of address the MTA has.
    pub family: Family,
    /// The address; none for the families without one and for text that is no address.
    pub address: Option<IpAddr>,
    /// The client's port; 0 for mail that did not come over SMTP.
    pub port: u16,
}

impl Command {
    /// Reads one frame (command byte and data, without the length).
    pub fn parse(mut frame: Bytes) -> Result<Self, ProtocolError> {
        if frame.is_empty() {
            return Err(ProtocolError::FrameSize(0));
        }
        let command = frame.get_u8();
        let malformed = |what| ProtocolError::Malformed { command, what };
        let nothing = |parsed: Self| match frame.is_empty() {
            true => Ok(parsed),
            false => Err(malformed("no data is expected")),
        };
        match command {
            b'O' => Offer::parse(&frame)
                .map(Self::Negotiate)
                .ok_or(malformed("three 32-bit numbers are expected")),
            b'C' => parse_connect(frame).ok_or(malformed("host name, family, port and address are expected")),
            b'H' => Ok(Self::Helo(take_string(&mut frame))),
            b'M' => Ok(Self::Mail(Arguments::parse(frame))),
            b'R' => Ok(Self::Rcpt(Arguments::parse(frame))),
            b'T' => nothing(Self::Data),
            b'L' => parse_header(frame).ok_or(malformed("name and value are expected")),
            b'N' => nothing(Self::EndOfHeaders),
            b'B' => Ok(Self::Body(frame)),
            b'E' => Ok(Self::EndOfBody(frame)),
            b'A' => nothing(Self::Abort),
            b'Q' => nothing(Self::Quit),
            b'K' => nothing(Self::QuitNewConnection),
            b'U' => Ok(Self::Unknown(take_string(&mut frame))),
            b'D' => parse_macros(frame).ok_or(malformed("a command and pairs of strings are expected")),
            other => Err(ProtocolError::UnknownCommand(other)),
        }
    }

    /// The kind of this command, for the order of commands.
    pub fn event(&self) -> Event {
        match self {
            Self::Negotiate(_) => Event::Negotiate,
            Self::Connect { .. } => Event::Connect,
            Self::Helo(_) => Event::Helo,
            Self::Mail(_) => Event::Mail,
            Self::Rcpt(_) => Event::Rcpt,
            Self::Data => Event::Data,
            Self::Header { .. } => Event::Header,
            Self::EndOfHeaders => Event::EndOfHeaders,
            Self::Body(_) => Event::Body,
            Self::EndOfBody(_) => Event::EndOfBody,
            Self::Abort => Event::Abort,
            Self::Quit => Event::Quit,
            Self::QuitNewConnection => Event::QuitNewConnection,
            Self::Unknown(_) => Event::Unknown,
            Self::Macros { .. } => Event::Macros,
        }
    }
}

impl Arguments {
    fn parse(mut data: Bytes) -> Self {
        let address = take_string(&mut data);
        let mut parameters = Vec::new();
        while !data.is_empty() && parameters.len() < MAX_STRINGS {
            parameters.push(take_string(&mut data));
        }
        Self { address, parameters }
    }
}

/// More parameters or macros than any MTA sends with one command (Postfix knows about 40 macros); the rest of a frame made of
/// NULs is not worth an allocation each.
const MAX_STRINGS: usize = 256;

/// The bytes up to the next NUL or the end; the NUL is taken too.
fn take_string(data: &mut Bytes) -> Bytes {
    match data.iter().position(|&byte| byte == 0) {
        Some(at) => {
            let string = data.split_to(at);
            data.advance(1);
            string
        }
        None => data.split_to(data.len()),
    }
}

fn parse_connect(mut data: Bytes) -> Option<Command> {
    let hostname = take_string(&mut data);
    let family = match data.try_get_u8().ok()? {
        b'4' => Family::Ipv4,
        b'6' => Family::Ipv6,
        b'L' => Family::Unix,
        b'U' => Family::Unknown,
        _ => return None,
    };
    let mut peer = Peer { family, address: None, port: 0 };
    if family != Family::Unknown {
        peer.port = data.try_get_u16().ok()?;
        let text = take_string(&mut data);
        peer.address = parse_address(family, &text);
    }
    Some(Command::Connect { hostname, peer })
}

/// An address that does not parse is an address we do not know, not an error: the MTA accepted the client, mail must flow.
fn parse_address(family: Family, text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    match family {
        Family::Ipv4 => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Family::Ipv6 => {
            let bare = match text.get(..5) {
                Some(prefix) if prefix.eq_ignore_ascii_case("IPv6:") => &text[5..],
                _ => text,
            };
            bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        }
        Family::Unix | Family::Unknown => None,
    }
}

fn parse_header(mut data: Bytes) -> Option<Command> {
    if !data.contains(&0) {
        return None;
    }
    let name = take_string(&mut data);
    // Only the NUL at the very end belongs to the protocol: a value with a NUL inside is kept whole.
    let value = match data.last() {
        Some(0) => data.slice(..data.len() - 1),
        _ => data,
    };
    Some(Command::Header { name, value })
}

fn parse_macros(mut data: Bytes) -> Option<Command> {
    let command = data.try_get_u8().ok()?;
    let mut pairs = Vec::new();
    while !data.is_empty() && pairs.len() < MAX_STRINGS {
        let name = take_string(&mut data);
        // Sendmail pads with a lone NUL after the last pair; a name without value is no macro.
        if data.is_empty() {
            break;
        }
        let value = take_string(&mut data);
        pairs.push((name, value));
    }
    Some(Command::Macros { command, pairs })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parse(frame: &'static [u8]) -> Command {
        Command::parse(Bytes::from_static(frame)).unwrap()
    }

    fn peer(frame: &'static [u8]) -> Peer {
        match parse(frame) {
            Command::Connect { peer, .. } => peer,
            other => panic!("{other:?} is no connect"),
        }
    }

    #[test]
    fn connect_in_every_family() {
        let v4 = peer(b"Cmx.test\x004\x30\x39192.0.2.7\0");
        assert_eq!((v4.family, v4.port, v4.address), (Family::Ipv4, 12345, "192.0.2.7".parse().ok()));
        let postfix = peer(b"Cmx.test\x006\0\x012001:db8::1\0");
        let sendmail = peer(b"Cmx.test\x006\0\x01IPv6:2001:db8::1\0");
        assert_eq!(postfix, sendmail);
        assert_eq!(postfix.address, "2001:db8::1".parse().ok());
        let unix = peer(b"Clocalhost\0L\0\0/var/run/client\0");
        assert_eq!((unix.family, unix.address), (Family::Unix, None));
        assert_eq!(peer(b"Cunknown\0U").family, Family::Unknown);
        assert_eq!(peer(b"Cx\x004\0\x19not an address\0").address, None);
    }

    #[test]
    fn mail_keeps_address_and_parameters_as_typed() {
        let expected = Arguments {
            address: Bytes::from_static(b"<A@B.test>"),
            parameters: vec![Bytes::from_static(b"SIZE=10"), Bytes::from_static(b"BODY=8BITMIME")],
        };
        assert_eq!(parse(b"M<A@B.test>\0SIZE=10\0BODY=8BITMIME\0"), Command::Mail(expected));
        // Without the last NUL, and the null sender of mail that did not come over SMTP.
        let empty = Arguments { address: Bytes::new(), parameters: Vec::new() };
        assert_eq!(parse(b"M"), Command::Mail(empty.clone()));
        assert_eq!(parse(b"M\0"), Command::Mail(empty));
    }

    #[test]
    fn headers_keep_every_byte() {
        assert_eq!(
            parse(b"LSubject\0 \xff\xfe\n\tmore\0"),
            Command::Header {
                name: Bytes::from_static(b"Subject"),
                value: Bytes::from_static(b" \xff\xfe\n\tmore")
            }
        );
        assert_eq!(
            parse(b"LX\0a\0b\0"),
            Command::Header { name: Bytes::from_static(b"X"), value: Bytes::from_static(b"a\0b") }
        );
        assert_eq!(parse(b"LX\0\0"), Command::Header { name: Bytes::from_static(b"X"), value: Bytes::new() });
    }

    #[test]
    fn macros_in_pairs() {
        let pairs = vec![
            (Bytes::from_static(b"i"), Bytes::from_static(b"4bQ")),
            (Bytes::from_static(b"{auth_authen}"), Bytes::new()),
        ];
        assert_eq!(
            parse(b"DMi\x004bQ\0{auth_authen}\0\0"),
            Command::Macros { command: b'M', pairs: pairs.clone() }
        );
        assert_eq!(parse(b"DMi\x004bQ\0{auth_authen}\0\0\0"), Command::Macros { command: b'M', pairs });
        assert_eq!(parse(b"DN"), Command::Macros { command: b'N', pairs: Vec::new() });
    }

    #[test]
    fn body_may_come_with_its_end() {
        assert_eq!(parse(b"Elast\0bytes"), Command::EndOfBody(Bytes::from_static(b"last\0bytes")));
        assert_eq!(parse(b"E"), Command::EndOfBody(Bytes::new()));
    }

    #[test]
    fn refuses_what_has_no_grammar() {
        for frame in [
            &b"X"[..],
            b"",
            b"D",
            b"Chost",
            b"Chost\0",
            b"Chost\x009\0\0x\0",
            b"Chost\x004\0",
            b"Lname",
            b"Tx",
            b"O\0\0\0\x06",
        ] {
            assert!(Command::parse(Bytes::from_static(frame)).is_err(), "{frame:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_the_bytes_there_is_a_command_or_an_error(
            letter in proptest::sample::select(&b"OCHMRTLNBEAQKUDXo"[..]),
            data in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        ) {
            let frame = [&[letter], data.as_slice()].concat();
            if let Ok(command) = Command::parse(Bytes::from(frame)) {
                // Every command has its place in the order.
                let _ = command.event();
            }
        }
    }
}
