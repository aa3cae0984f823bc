//! Postfix's policy delegation protocol, server side: a request as a type, an action as text.
//!
//! For `session` and `checks`. Refuses to judge: it says what was asked, and spells what was decided.
//!
//! Source: `SMTPD_POLICY_README` and Postfix's `src/smtpd/smtpd_check.c`; behaviour as observed with Postfix 3.7 and 3.10.
//!
//! ```text
//! request = 1*(name "=" value LF) LF       any order; unknown names are ignored (3.10 and 3.12 added some)
//! reply   = "action=" text LF LF           never empty: Postfix takes an empty action as a permit
//! ```
//!
//! Sizes: [`MAX_REQUEST`] bytes, [`MAX_ATTRIBUTES`] attributes, [`MAX_LINE`] bytes each. A request is decoded whole, so that a peer that stops
//! in the middle of one costs its bytes and nothing else.
//!
//! One exchange (Postfix 3.7 sends 30 attributes):
//!
//! ```text
//! request=smtpd_access_policy
//! protocol_state=DATA
//! recipient_count=2
//! instance=1a2b.5f3c.0
//! sasl_username=alice@example.com
//!
//! action=DUNNO
//!
//! ```

use std::net::IpAddr;

use bytes::BytesMut;
use gatepost::mail::SmtpReply;
use tokio_util::codec::Decoder;

/// The longest request that is read: ten times what Postfix has been seen to send.
pub const MAX_REQUEST: usize = 64 * 1024;
/// The longest attribute: Postfix cuts its own lines at `line_length_limit`, 2,048 bytes by default.
pub const MAX_LINE: usize = 8 * 1024;
/// The most attributes: Postfix 3.12 sends 33.
pub const MAX_ATTRIBUTES: usize = 128;

/// Where the SMTP conversation stands (`protocol_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// `CONNECT`.
    Connect,
    /// `EHLO` and `HELO`.
    Helo,
    /// `MAIL`.
    Mail,
    /// `RCPT`; with `smtpd_delay_reject` (the default) the client, helo and sender lists are asked here too.
    Rcpt,
    /// `DATA`: all recipients are known, nothing of the content.
    Data,
    /// `END-OF-MESSAGE`: as `DATA`, and the size is the real one.
    EndOfMessage,
    /// `VRFY`, `ETRN`, and what later versions may add.
    #[default]
    Other,
}

/// One question. Attributes that Postfix left empty are empty here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `protocol_state`.
    pub state: State,
    /// `client_address`; `None` where it is no IP address.
    pub client_address: Option<IpAddr>,
    /// `client_name`: the client's name, confirmed by asking for its addresses; empty where there is none (Postfix says `unknown`).
    pub client_name: String,
    /// `reverse_client_name`: the same, not confirmed.
    pub reverse_client_name: String,
    /// `helo_name` as said.
    pub helo_name: String,
    /// `sender` as typed, without brackets; empty is the null sender.
    pub sender: String,
    /// `recipient` as typed; empty at DATA and END-OF-MESSAGE with more than one recipient.
    pub recipient: String,
    /// `recipient_count`; 0 before DATA.
    pub recipient_count: u32,
    /// `queue_id`; empty at the first RCPT.
    pub queue_id: String,
    /// `instance`: the same for all requests about one message.
    pub instance: String,
    /// `size` in bytes: what MAIL declared, and the real one at END-OF-MESSAGE.
    pub size: u64,
    /// `sasl_username`: the login; empty where there is none.
    pub login: String,
}

/// Why bytes are no request; the connection ends.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// More bytes than [`MAX_REQUEST`].
    #[error("request longer than {MAX_REQUEST} bytes")]
    TooLong,
    /// A line longer than [`MAX_LINE`].
    #[error("attribute longer than {MAX_LINE} bytes")]
    LongLine,
    /// More lines than [`MAX_ATTRIBUTES`].
    #[error("more than {MAX_ATTRIBUTES} attributes")]
    TooMany,
    /// A line without a name and an equals sign.
    #[error("line {0} of the request is no attribute; expected \"name=value\"")]
    NoAttribute(usize),
    /// An attribute that may come once came twice.
    #[error("attribute {0} given twice")]
    Twice(&'static str),
    /// Another kind of request, or none.
    #[error("no \"request=smtpd_access_policy\"")]
    NotPolicy,
    /// The connection failed.
    #[error("{0}")]
    Io(String),
}

impl From<std::io::Error> for RequestError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error.to_string())
    }
}

/// The framing of requests: takes nothing from the buffer before a request is whole.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    /// Where the line begins that is not yet known to be whole.
    line: usize,
    lines: usize,
}

impl Decoder for Requests {
    type Item = Request;
    type Error = RequestError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Request>, RequestError> {
        loop {
            let rest = buffer.get(self.line..).unwrap_or_default();
            // At most MAX_LINE bytes are searched anew when more of a line comes.
            let Some(length) = rest.iter().take(MAX_LINE + 1).position(|byte| *byte == b'\n') else {
                return if rest.len() > MAX_LINE { Err(RequestError::LongLine) } else { Ok(None) };
            };
            let end = self.line + length + 1;
            if end > MAX_REQUEST {
                return Err(RequestError::TooLong);
            }
            if length == 0 {
                *self = Self::default();
                return Request::parse(&buffer.split_to(end)).map(Some);
            }
            // Told at once: who speaks another protocol may never send an empty line.
            if !rest[..length].iter().skip(1).any(|byte| *byte == b'=') || rest[0] == b'=' {
                return Err(RequestError::NoAttribute(self.lines + 1));
            }
            (self.line, self.lines) = (end, self.lines + 1);
            if self.lines > MAX_ATTRIBUTES {
                return Err(RequestError::TooMany);
            }
        }
    }
}

impl Request {
    /// Parses the lines of one request, the empty one at its end included or not.
    ///
    /// # Errors
    /// A [`RequestError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RequestError> {
        let mut values: [Option<String>; NAMES.len()] = Default::default();
        let mut is_policy = false;
        for (number, line) in
            bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let equals = line.iter().position(|byte| *byte == b'=').filter(|at| *at > 0);
            let (name, value) = line.split_at(equals.ok_or(RequestError::NoAttribute(number + 1))?);
            let value = &value[1..];
            if name == b"request" {
                is_policy = value == b"smtpd_access_policy";
            } else if let Some(at) = NAMES.iter().position(|known| known.as_bytes() == name) {
                // A helo name or an address may hold bytes of any charset; they are for comparison and logs only.
                if values[at].replace(String::from_utf8_lossy(value).into_owned()).is_some() {
                    return Err(RequestError::Twice(NAMES[at]));
                }
            }
        }
        if !is_policy {
            return Err(RequestError::NotPolicy);
        }
        let [
            state,
            client_address,
            client_name,
            reverse_client_name,
            helo_name,
            sender,
            recipient,
            recipient_count,
            queue_id,
            instance,
            size,
            login,
        ] = values.map(Option::unwrap_or_default);
        let known = |name: String| if name == "unknown" { String::new() } else { name };
        Ok(Self {
            state: State::parse(&state),
            client_address: client_address.parse().ok(),
            client_name: known(client_name),
            reverse_client_name: known(reverse_client_name),
            helo_name,
            sender,
            recipient,
            recipient_count: recipient_count.parse().unwrap_or_default(),
            queue_id,
            instance,
            size: size.parse().unwrap_or_default(),
            login,
        })
    }
}

impl State {
    fn parse(text: &str) -> Self {
        match text {
            "CONNECT" => Self::Connect,
            "EHLO" | "HELO" => Self::Helo,
            "MAIL" => Self::Mail,
            "RCPT" => Self::Rcpt,
            "DATA" => Self::Data,
            "END-OF-MESSAGE" => Self::EndOfMessage,
            _ => Self::Other,
        }
    }
}

/// What Postfix is to do. The texts are [`SmtpReply`]'s and [`Header`]'s: one line of printable ASCII, whatever they were made of.
///
/// There is no `OK` among them: before `reject_unauth_destination` it would make an open relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// No opinion; the next restriction decides.
    Dunno,
    /// As [`Action::Dunno`] for Postfix, but the checks that follow on the same endpoint are not asked: this client or sender is known to be good.
    Pass,
    /// The message gets this header at its top; the next restriction decides.
    Prepend(Header),
    /// The message is accepted, and waits in the hold queue for the postmaster. The text is for the log.
    Hold(SmtpReply),
    /// Refuse for now, unless another restriction refuses for good. The code is Postfix's (`access_map_defer_code`, 450), enhanced
    /// code and text are the reply's.
    DeferIfPermit(SmtpReply),
    /// Answer the client with this reply.
    Refuse(SmtpReply),
}

/// A header for [`Action::Prepend`]: `Name: value` in one line of printable ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    name: &'static str,
    value: String,
}

impl Header {
    /// A header. Whatever is not printable ASCII in the value becomes `?`, and it is cut at [`MAX_HEADER`] characters.
    pub fn new(name: &'static str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref().chars().take(MAX_HEADER);
        let value = value.map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
        Self { name, value }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// The longest value of a header that is prepended; with its name it stays below the 998 octets of a line (RFC 5322, 2.1.1) and below
/// what Postfix reads as one attribute (`line_length_limit`, 2,048).
pub const MAX_HEADER: usize = 900;

impl Action {
    /// Every word of [`Action::word`].
    pub const WORDS: [&str; 6] = ["dunno", "pass", "prepend", "hold", "defer", "reject"];

    /// The action's word, for logs and metrics.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Dunno => "dunno",
            Self::Pass => "pass",
            Self::Prepend(_) => "prepend",
            Self::Hold(_) => "hold",
            Self::DeferIfPermit(_) => "defer",
            Self::Refuse(reply) if reply.is_temporary() => "defer",
            Self::Refuse(_) => "reject",
        }
    }

    /// The same, where nothing may be refused for good: a 5xx becomes a deferral with the same text.
    pub fn softened(self) -> Self {
        match self {
            Self::Refuse(reply) if !reply.is_temporary() => {
                Self::DeferIfPermit(SmtpReply::new(450, temporary(reply.enhanced()), reply.text()))
            }
            other => other,
        }
    }

    /// The words of the action, without `action=`.
    pub fn text(&self) -> String {
        match self {
            Self::Dunno | Self::Pass => "DUNNO".to_owned(),
            Self::Prepend(Header { name, value }) => format!("PREPEND {name}: {value}"),
            Self::Hold(reply) => format!("HOLD {}", reply.text()),
            Self::DeferIfPermit(reply) => format!("DEFER_IF_PERMIT {} {}", reply.enhanced(), reply.text()),
            Self::Refuse(reply) => reply.to_string(),
        }
    }

    /// Appends the action as it goes over the wire.
    pub fn render(&self, output: &mut BytesMut) {
        output.extend_from_slice(format!("action={}\n\n", self.text()).as_bytes());
    }
}

/// The temporary sister of an enhanced status code (RFC 3463, 2): the class changes, subject and detail stay.
fn temporary(enhanced: &'static str) -> &'static str {
    match enhanced {
        "5.1.1" => "4.1.1",
        "5.1.8" => "4.1.8",
        "5.2.2" => "4.2.2",
        "5.7.1" => "4.7.1",
        "5.7.23" => "4.7.23",
        "5.7.24" => "4.7.24",
        "5.7.25" => "4.7.25",
        _ => "4.7.0",
    }
}

/// The attributes that are kept, in the order of [`Request`]'s fields.
const NAMES: [&str; 12] = [
    "protocol_state",
    "client_address",
    "client_name",
    "reverse_client_name",
    "helo_name",
    "sender",
    "recipient",
    "recipient_count",
    "queue_id",
    "instance",
    "size",
    "sasl_username",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn decode_all(input: &[u8], step: usize) -> (Vec<Request>, Option<RequestError>) {
        let (mut decoder, mut buffer, mut requests) = (Requests::default(), BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buffer.extend_from_slice(chunk);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    }

    const MINIMAL: &str = "request=smtpd_access_policy\nprotocol_state=DATA\nrecipient_count=2\nsasl_username=alice@example.com\n\n";

    #[test]
    fn a_request_comes_out_whole_however_it_arrives() {
        let expected = Request {
            state: State::Data,
            recipient_count: 2,
            login: "alice@example.com".into(),
            ..Request::default()
        };
        for step in [1, 16, 4096] {
            let twice = MINIMAL.repeat(2);
            assert_eq!(decode_all(twice.as_bytes(), step), (vec![expected.clone(), expected.clone()], None));
        }
    }

    #[test]
    fn unknown_attributes_and_bytes_of_any_charset_are_no_error() {
        let request = Request::parse(
            b"tls_sni=x\nrequest=smtpd_access_policy\nsender=b\xfc@x=y\nsize=huge\nprotocol_state=LATER\n\n",
        )
        .unwrap();
        assert_eq!(
            (request.sender.as_str(), request.size, request.state),
            ("b\u{fffd}@x=y", 0, State::Other)
        );
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (bad, error) in [
            ("\n", RequestError::NotPolicy),
            ("request=\n\n", RequestError::NotPolicy),
            ("request=smtpd_access_policy\nsize\n\n", RequestError::NoAttribute(2)),
            ("=x\n\n", RequestError::NoAttribute(1)),
            ("request=smtpd_access_policy\nsize=1\nsize=1\n\n", RequestError::Twice("size")),
        ] {
            assert_eq!(decode_all(bad.as_bytes(), 1), (vec![], Some(error)), "{bad:?}");
        }
        assert_eq!(decode_all(&vec![b'a'; MAX_LINE + 1], 64).1, Some(RequestError::LongLine));
        assert_eq!(
            decode_all("a=b\n".repeat(MAX_ATTRIBUTES + 1).as_bytes(), 64).1,
            Some(RequestError::TooMany)
        );
        let long = format!("a={}\n", "b".repeat(MAX_LINE - 2)).repeat(9);
        assert_eq!(decode_all(long.as_bytes(), 4096).1, Some(RequestError::TooLong));
    }

    #[test]
    fn an_action_is_one_printable_line_and_never_empty() {
        for (action, text) in [
            (Action::Dunno, "action=DUNNO\n\n"),
            (
                Action::DeferIfPermit(SmtpReply::new(450, "4.7.1", "later")),
                "action=DEFER_IF_PERMIT 4.7.1 later\n\n",
            ),
            (
                Action::Refuse(SmtpReply::new(554, "5.7.1", "no\n\naction=OK")),
                "action=554 5.7.1 no??action=OK\n\n",
            ),
            (Action::Pass, "action=DUNNO\n\n"),
            (Action::Hold(SmtpReply::new(250, "2.0.0", "odd\r\nOK")), "action=HOLD odd??OK\n\n"),
            (
                Action::Prepend(Header::new("Received-SPF", "pass\nBcc: x@y\n\u{fc}")),
                "action=PREPEND Received-SPF: pass?Bcc: x@y??\n\n",
            ),
        ] {
            let mut output = BytesMut::new();
            action.render(&mut output);
            assert_eq!(output, text.as_bytes());
        }
    }

    #[test]
    fn a_softened_action_never_refuses_for_good() {
        let refusal = |code, enhanced| Action::Refuse(SmtpReply::new(code, enhanced, "no"));
        assert_eq!(refusal(554, "5.7.1").softened().text(), "DEFER_IF_PERMIT 4.7.1 no");
        assert_eq!(refusal(550, "5.9.9").softened().text(), "DEFER_IF_PERMIT 4.7.0 no");
        assert_eq!(refusal(452, "4.2.2").softened().text(), "452 4.2.2 no");
        assert_eq!(Action::Dunno.softened(), Action::Dunno);
    }

    #[test]
    fn a_header_stays_within_a_line() {
        let text = Action::Prepend(Header::new("Received-SPF", "x".repeat(5000))).text();
        assert!(text.len() < 998, "{}", text.len());
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_decoder(input in proptest::collection::vec(any::<u8>(), 0..400), step in 1usize..40) {
            let _ = decode_all(&input, step);
        }

        #[test]
        fn how_a_request_is_cut_changes_nothing(values in proptest::collection::vec("[^\n\0]{0,30}", NAMES.len()), step in 1usize..60) {
            let mut text = "request=smtpd_access_policy\n".to_owned();
            for (name, value) in NAMES.iter().zip(&values) {
                text.push_str(&format!("{name}={value}\n"));
            }
            text.push('\n');
            let whole = Request::parse(text.as_bytes()).unwrap();
            prop_assert_eq!(&whole.sender, &values[5]);
            prop_assert_eq!(decode_all(text.as_bytes(), step), (vec![whole], None));
        }
    }
}
