//! What kind of domain one of ours is, and where mail of it is sent on to.
//!
//! A domain of the tutorial's table `domains` is local unless `gatepost.hosted_domains` says otherwise; a relay or backup domain stands
//! in that table alone, so that the tutorial's own tools do not take it for one with mailboxes.

use std::fmt;
use std::str::FromStr;

use crate::mail::Domain;

/// A hosted domain's kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosted {
    /// Its mailboxes are here.
    Local,
    /// Its mail is accepted and sent on to one place.
    Relay {
        /// Where to.
        next_hop: NextHop,
        /// Whom it is accepted for.
        recipients: Recipients,
    },
    /// Its mail is accepted and kept for its own servers while these are away (a backup MX).
    Backup {
        /// Where to, instead of the domain's MX hosts.
        next_hop: Option<NextHop>,
        /// Whom it is accepted for.
        recipients: Recipients,
    },
    /// Another name of a domain: `x@this` leads to `x@that`.
    Alias(Domain),
}

/// For whom a relay or backup domain takes mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipients {
    /// Anybody: its own server knows, and answers.
    Any,
    /// Those with an alias here; a plain recipient is an alias that leads to itself.
    Listed,
}

impl Hosted {
    /// The word for it, as in the table's column `kind`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Relay { .. } => "relay",
            Self::Backup { .. } => "backup",
            Self::Alias(_) => "alias",
        }
    }

    /// Whether its mail is delivered here, under this name or another: a `virtual_mailbox_domains` of Postfix.
    pub fn is_delivered_here(&self) -> bool {
        matches!(self, Self::Local | Self::Alias(_))
    }
}

/// A next hop as Postfix writes it: `mail.example.net`, `[mail.example.net]`, `[192.0.2.1]:2525`; brackets switch MX lookups off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHop(String);

impl FromStr for NextHop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("bad next hop \"{}\", expected HOST, [HOST] or either with :PORT", text.escape_debug())
        };
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(bad)?;
                (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(bad)?) })
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let address = host.strip_prefix("IPv6:").or_else(|| host.strip_prefix("ipv6:")).unwrap_or(host);
        let known = Domain::parse(host).is_ok()
            || (text.starts_with('[') && address.parse::<std::net::IpAddr>().is_ok());
        let numbered = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if known && numbered { Ok(Self(text.to_owned())) } else { Err(bad()) }
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A value of Postfix's `transport(5)`: `transport:nexthop`, either side possibly empty, never both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport(String);

impl Transport {
    /// The relay transport, to a next hop.
    pub fn relay(next_hop: &NextHop) -> Self {
        Self(format!("relay:{next_hop}"))
    }
}

impl FromStr for Transport {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let good = text.split_once(':').is_some_and(|(name, next_hop)| {
            name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
                && next_hop.chars().all(|c| !c.is_whitespace() && !c.is_control() && c != ',')
                && text != ":"
        });
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "bad transport \"{}\", expected TRANSPORT:NEXTHOP, such as smtp:[mail.example.net]:587",
                text.escape_debug()
            ))
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn next_hops_and_transports_are_those_of_postfix() {
        for good in [
            "mail.example.net",
            "[mail.example.net]",
            "[192.0.2.1]:2525",
            "[IPv6:2001:db8::1]",
            "[2001:db8::1]:25",
            "a.example:587",
        ] {
            assert_eq!(good.parse::<NextHop>().unwrap().to_string(), good);
        }
        for bad in ["", "[a", "[a]x", "a:0", "a:b", "a b", "2001:db8::1", "a:99999", "[]"] {
            assert!(bad.parse::<NextHop>().unwrap_err().contains("expected HOST"), "{bad}");
        }
        for good in ["smtp:[mail.example.net]:587", "discard:", ":example.net", "lmtp:unix:private/x"] {
            assert_eq!(good.parse::<Transport>().unwrap().to_string(), good);
        }
        for bad in ["", ":", "smtp", "sm tp:x", "smtp:a b", "smtp:a\nb", "smtp:a,b"] {
            assert!(bad.parse::<Transport>().is_err(), "{bad:?}");
        }
    }
}
