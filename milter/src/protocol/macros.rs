//! The macros: what the MTA tells around a command, kept as long as it is true.
//!
//! For `session`. A macro holds for a connection, for a HELO, or for one message; the values of one stage never outlive it, or
//! the login of one message would be taken for the login of the next.
//!
//! Names come as `i` or `{auth_authen}`; they are stored and asked for without braces.

use std::collections::HashMap;

use bytes::Bytes;

/// The stage that a macro list is asked for (the number is the protocol's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `C`
    Connect,
    /// `H`
    Helo,
    /// `M`
    Mail,
    /// `R`
    Rcpt,
    /// `T`
    Data,
    /// `E`
    EndOfMessage,
    /// `N`
    EndOfHeaders,
}

impl Stage {
    /// The number in the negotiation (Sendmail's `SMFIM_*`).
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Connect => 0,
            Self::Helo => 1,
            Self::Mail => 2,
            Self::Rcpt => 3,
            Self::Data => 4,
            Self::EndOfMessage => 5,
            Self::EndOfHeaders => 6,
        }
    }
}

/// The macro values of one connection.
#[derive(Debug, Default)]
pub struct Macros {
    connection: HashMap<Bytes, Bytes>,
    helo: HashMap<Bytes, Bytes>,
    message: HashMap<Bytes, Bytes>,
    recipient: HashMap<Bytes, Bytes>,
}

impl Macros {
    /// Takes the pairs that were announced for a command.
    pub fn announce(&mut self, command: u8, pairs: Vec<(Bytes, Bytes)>) {
        let scope = match command {
            b'C' => &mut self.connection,
            b'H' => &mut self.helo,
            b'R' => &mut self.recipient,
            _ => &mut self.message,
        };
        if matches!(command, b'C' | b'H' | b'R') {
            scope.clear();
        }
        for (name, value) in pairs {
            if scope.len() < MAX_MACROS {
                scope.insert(bare(&name), value);
            }
        }
        // The queue id of a message is first told with its second recipient: it outlives that recipient.
        if command == b'R'
            && let Some(queue_id) = self.recipient.get(&b"i"[..]).cloned()
        {
            self.message.insert(Bytes::from_static(b"i"), queue_id);
        }
    }

    /// A value, from the narrowest scope that has it; an empty value counts as none.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        [&self.recipient, &self.message, &self.helo, &self.connection]
            .into_iter()
            .find_map(|scope| scope.get(name.as_bytes()))
            .filter(|value| !value.is_empty())
    }

    /// A value as text, if it is UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The recipient was answered: its macros end.
    pub fn end_recipient(&mut self) {
        self.recipient.clear();
    }

    /// The message ended: its macros end.
    pub fn end_message(&mut self) {
        self.recipient.clear();
        self.message.clear();
    }

    /// The SMTP client left: nothing holds any more.
    pub fn end_connection(&mut self) {
        *self = Self::default();
    }
}

/// More names in one scope than any MTA has (Postfix knows about 40); what comes beyond is dropped.
const MAX_MACROS: usize = 256;

fn bare(name: &Bytes) -> Bytes {
    match name.strip_prefix(b"{").and_then(|inner| inner.strip_suffix(b"}")) {
        Some(inner) => name.slice_ref(inner),
        None => name.clone(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn pairs(list: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        list.iter().map(|(name, value)| (Bytes::from(*name), Bytes::from(*value))).collect()
    }

    #[test]
    fn the_login_of_one_message_is_not_the_login_of_the_next() {
        let mut macros = Macros::default();
        macros.announce(b'C', pairs(&[("j", "mx.test"), ("{client_addr}", "192.0.2.1")]));
        macros.announce(b'M', pairs(&[("{auth_authen}", "alice@example.com")]));
        assert_eq!(macros.text("auth_authen"), Some("alice@example.com"));
        macros.end_message();
        assert_eq!(macros.text("auth_authen"), None);
        assert_eq!(macros.text("j"), Some("mx.test"));
    }

    #[test]
    fn the_queue_id_comes_with_the_second_recipient_and_stays() {
        let mut macros = Macros::default();
        macros.announce(b'R', pairs(&[("{rcpt_mailer}", "lmtp")]));
        macros.end_recipient();
        macros.announce(b'R', pairs(&[("i", "4bQ1"), ("{rcpt_mailer}", "error")]));
        macros.end_recipient();
        assert_eq!(macros.text("rcpt_mailer"), None);
        assert_eq!(macros.text("i"), Some("4bQ1"));
    }

    #[test]
    fn tls_of_the_second_helo_replaces_the_first() {
        let mut macros = Macros::default();
        macros.announce(b'H', pairs(&[]));
        assert_eq!(macros.get("tls_version"), None);
        macros.announce(b'H', pairs(&[("{tls_version}", "TLSv1.3")]));
        assert_eq!(macros.text("tls_version"), Some("TLSv1.3"));
        macros.announce(b'H', pairs(&[("{tls_version}", "")]));
        assert_eq!(macros.get("tls_version"), None);
    }

    #[test]
    fn eight_bit_values_are_kept_but_are_no_text() {
        let mut macros = Macros::default();
        macros.announce(b'M', vec![(Bytes::from_static(b"x"), Bytes::from_static(b"\xff"))]);
        assert!(macros.get("x").is_some());
        assert_eq!(macros.text("x"), None);
    }
}
