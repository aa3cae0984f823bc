//! One address, or every address of a domain: what a right, a copy or a transport is given for.

use std::fmt;
use std::str::FromStr;

use crate::mail::{Address, AddressError, Domain};

/// `alice@example.com`, or `@example.com` for all of a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One address.
    Address(Address),
    /// Every address of a domain (of exactly this one, not of its subdomains).
    Domain(Domain),
}

impl Scope {
    /// The domain it is in.
    pub fn domain(&self) -> &Domain {
        match self {
            Self::Address(address) => address.domain(),
            Self::Domain(domain) => domain,
        }
    }
}

impl FromStr for Scope {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        match text.strip_prefix('@') {
            Some(domain) => Domain::parse(domain).map(Self::Domain),
            None => Address::parse(text).map(Self::Address),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Domain(domain) => write!(f, "@{domain}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_scope_is_written_as_it_is_read() {
        for text in ["alice@example.com", "@example.com", "@xn--bcher-kva.example"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        assert_eq!("@Bücher.example".parse::<Scope>().unwrap().to_string(), "@xn--bcher-kva.example");
        for bad in ["", "@", "alice", "alice@", "@a b"] {
            assert!(bad.parse::<Scope>().is_err(), "{bad}");
        }
    }
}
