//! Postfix's socketmap protocol, server side: what a request says, how an answer is spelled.
//!
//! For `session`. Refuses to know any map: it divides a request into name and key, and renders the four kinds of answer.
//!
//! Source: `socketmap_table(5)` and Postfix's `src/global/dict_sockmap.c`; behaviour as observed with Postfix 3.7 and 3.10.
//! Both ways netstrings (<https://cr.yp.to/proto/netstrings.txt>), one request in flight per connection:
//!
//! ```text
//! netstring = length ":" content ","           length: decimal digits, no leading zero
//! request   = name SP key                      the key may hold spaces, and may be empty
//! reply     = "OK " value | "NOTFOUND " | "TEMP " why | "PERM " why
//! ```
//!
//! | reply | Postfix then |
//! |---|---|
//! | `OK` | uses the value; an empty one breaks address maps (451 4.3.5), so [`Value`] has none |
//! | `NOTFOUND` | treats the key as absent |
//! | `TEMP` | answers 451 4.3.0, logs 200 bytes of the reason |
//! | `PERM` | answers 451 4.3.5, logs the reason; it is no bounce either |
//!
//! Sizes: [`MAX_REQUEST`] and [`MAX_KEY`] in; out, Postfix reads at most 100,000 bytes.
//!
//! One exchange: `24:aliases boss@example.com,` is answered by `20:OK alice@example.com,`.

use bytes::BytesMut;
use gatepost::net::frames::Netstrings;
use tokio_util::codec::Encoder;

/// The longest request that is read. Addresses of header fields come as long as `header_size_limit` (102,400 bytes) lets them; up to here
/// they get an answer, beyond it the connection ends.
pub const MAX_REQUEST: usize = 128 * 1024;

/// The longest key that is looked up: `socketmap_max_query_size` of Postfix 3.12, which asks for no longer one.
pub const MAX_KEY: usize = 10_000;

/// One question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The name after the last colon of `socketmap:unix:PATH:NAME`.
    pub map: &'a str,
    /// The key as Postfix has it, unfolded; `None` where it is longer than [`MAX_KEY`] or no UTF-8, so that no map can hold it.
    pub key: Option<&'a str>,
}

/// Why a netstring's content is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No space.
    #[error("no space in the request; expected \"MAP KEY\"")]
    NoKey,
    /// Nothing before the space, or something that is no text.
    #[error("no map's name before the space; expected \"MAP KEY\"")]
    NoName,
}

impl<'a> Request<'a> {
    /// Divides the content of one netstring at its first space.
    ///
    /// # Errors
    /// A [`RequestError`]; the frame was sound, so the connection may go on.
    pub fn parse(content: &'a [u8]) -> Result<Self, RequestError> {
        let space = content.iter().position(|byte| *byte == b' ').ok_or(RequestError::NoKey)?;
        let (name, key) = (&content[..space], &content[space + 1..]);
        let map =
            std::str::from_utf8(name).ok().filter(|name| !name.is_empty()).ok_or(RequestError::NoName)?;
        let key = if key.len() > MAX_KEY { None } else { std::str::from_utf8(key).ok() };
        Ok(Self { map, key })
    }
}

/// A value that Postfix can use: not empty, one line, without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value(String);

impl Value {
    /// `None` where the text is empty, too long or has control characters.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let usable =
            !text.trim().is_empty() && text.len() <= MAX_VALUE && !text.chars().any(char::is_control);
        usable.then_some(Self(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The key is there.
    Found(Value),
    /// The key is not there.
    NotFound,
    /// Nobody knows now; the reason is for Postfix's log.
    Temporary(String),
    /// Nobody will know until the operator acts; the reason is for Postfix's log.
    Permanent(String),
}

impl Reply {
    /// The words of the answer, without the netstring around them.
    pub fn text(&self) -> String {
        match self {
            Self::Found(value) => format!("OK {}", value.0),
            // The space is part of the documented form, though Postfix also takes the word alone.
            Self::NotFound => "NOTFOUND ".to_owned(),
            Self::Temporary(why) => format!("TEMP {}", one_line(why)),
            Self::Permanent(why) => format!("PERM {}", one_line(why)),
        }
    }

    /// Appends the answer as it goes over the wire.
    pub fn render(&self, output: &mut BytesMut) {
        // `Netstrings` bounds only what it decodes; encoding cannot fail.
        let _ = Netstrings::new(MAX_VALUE).encode(self.text().as_bytes(), output);
    }
}

/// A reason as it may stand in Postfix's log.
fn one_line(why: &str) -> String {
    why.chars().take(MAX_REASON).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

/// Postfix reads at most 100,000 bytes of reply (`DICT_SOCKMAP_MAX_REPLY`), status word included.
const MAX_VALUE: usize = 99_000;
/// Postfix logs 200 bytes of a reason.
const MAX_REASON: usize = 200;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_request_is_divided_at_its_first_space() {
        let request = |content: &'static str| Request::parse(content.as_bytes());
        assert_eq!(
            request("aliases boss@example.com"),
            Ok(Request { map: "aliases", key: Some("boss@example.com") })
        );
        assert_eq!(
            request("aliases \"a b\"@example.com"),
            Ok(Request { map: "aliases", key: Some("\"a b\"@example.com") })
        );
        assert_eq!(request("aliases "), Ok(Request { map: "aliases", key: Some("") }));
        assert_eq!(request("aliases"), Err(RequestError::NoKey));
        assert_eq!(request(""), Err(RequestError::NoKey));
        assert_eq!(request(" key"), Err(RequestError::NoName));
        assert_eq!(Request::parse(b"\xff key"), Err(RequestError::NoName));
        assert_eq!(Request::parse(b"aliases b\xfccher"), Ok(Request { map: "aliases", key: None }));
    }

    #[test]
    fn a_key_beyond_the_bound_is_in_no_map() {
        let request = |length| format!("aliases {}", "a".repeat(length)).into_bytes();
        assert!(Request::parse(&request(MAX_KEY)).unwrap().key.is_some());
        assert!(Request::parse(&request(MAX_KEY + 1)).unwrap().key.is_none());
    }

    #[test]
    fn a_value_is_never_empty_and_always_one_line() {
        for bad in ["", " ", "a\nb", "a\0", "\r"] {
            assert_eq!(Value::new(bad), None, "{bad:?}");
        }
        assert_eq!(Value::new("x".repeat(MAX_VALUE + 1)), None);
        assert_eq!(Value::new("bücher@example.com").unwrap().as_str(), "bücher@example.com");
    }

    #[test]
    fn answers_are_spelled_as_documented() {
        let wire = |reply: Reply| {
            let mut output = BytesMut::new();
            reply.render(&mut output);
            String::from_utf8(output.to_vec()).unwrap()
        };
        assert_eq!(wire(Reply::Found(Value::new("alice@example.com").unwrap())), "20:OK alice@example.com,");
        assert_eq!(wire(Reply::NotFound), "9:NOTFOUND ,");
        assert_eq!(wire(Reply::Temporary("away".into())), "9:TEMP away,");
        assert!(!wire(Reply::Permanent("one\ntwo\0".into())).contains(['\n', '\0']));
        assert!(wire(Reply::Temporary("x".repeat(10_000))).len() < 250);
    }
}
