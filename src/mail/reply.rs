//! An SMTP reply as this side dictates it: one line, printable, with its enhanced status code.

use std::fmt;

/// A reply such as `554 5.7.1 Spam message rejected` (RFC 5321 §4.2, RFC 3463). Rendered by [`fmt::Display`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmtpReply {
    code: u16,
    enhanced: &'static str,
    text: String,
}

impl SmtpReply {
    /// A reply of a three-digit code, an enhanced status code such as `5.7.1`, and a text. Whatever is not printable ASCII in the
    /// text becomes `?`, and it is cut so that the line stays within 512 octets (RFC 5321 §4.5.3.1.5).
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<String>) -> Self {
        let text = text
            .into()
            .chars()
            .take(MAX_TEXT)
            .map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' })
            .collect();
        Self { code, enhanced, text }
    }

    /// The three-digit code.
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced status code, such as `5.7.1`.
    pub fn enhanced(&self) -> &'static str {
        self.enhanced
    }

    /// The text behind the codes.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the client may try again: a 4xx.
    pub fn is_temporary(&self) -> bool {
        (400..500).contains(&self.code)
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.code, self.enhanced, self.text)
    }
}

/// 512 octets less code, enhanced code, blanks, CRLF, and what Postfix puts before the text of a policy's reply.
const MAX_TEXT: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_one_printable_line() {
        let reply = SmtpReply::new(451, "4.7.1", "later\r\n250 ok ü");
        assert_eq!(reply.to_string(), "451 4.7.1 later??250 ok ?");
        assert!(reply.is_temporary());
        assert!(SmtpReply::new(554, "5.7.1", "x".repeat(10_000)).to_string().len() < 512);
    }
}
