//! Exceptions that the operator keeps in SQL: policies of his own for some author domains, and hosts that forward.
//!
//! For the store, which reads them, for the tool, which writes them, and for the milter, which holds mail against them. Rows are
//! parsed here and nowhere else.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use super::Policy;
use crate::config::Network;
use crate::mail::Domain;

/// The policies that the operator has set (`gatepost.dmarc_overrides`): for an author domain and everything below it; the nearest
/// wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(HashMap<Box<str>, Option<Policy>>);

impl Overrides {
    /// From pairs of a domain and a policy; none is the word `default`: what the record says.
    pub fn new(rows: impl IntoIterator<Item = (Domain, Option<Policy>)>) -> Self {
        Self(rows.into_iter().map(|(domain, policy)| (domain.as_str().into(), policy)).collect())
    }

    /// What the operator has set for this author domain, if anything.
    pub fn policy(&self, author: &str) -> Option<Policy> {
        let mut name = author;
        loop {
            if let Some(policy) = self.0.get(name) {
                return *policy;
            }
            name = name.split_once('.')?.1;
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// One host, or many, that forwards mail of others to us (`gatepost.forwarders`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarder {
    /// How it is known.
    pub by: KnownBy,
    /// The hosted domain for whose mail this counts; none: for all.
    pub recipients: Option<Domain>,
}

/// How a forwarder is known: always by something that it cannot make up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KnownBy {
    /// By its address.
    Network(Network),
    /// By SPF: MAIL FROM (or HELO) passed for this domain or one below it.
    Spf(Domain),
    /// By DKIM: a signature of this domain, or of one below it, holds.
    Dkim(Domain),
    /// By name: its address and its name confirm each other, and the name is this one or below it.
    Name(Domain),
}

/// The kinds of [`KnownBy`], as SQL and the tool spell them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwarderKind {
    /// [`KnownBy::Network`].
    Network,
    /// [`KnownBy::Spf`].
    Spf,
    /// [`KnownBy::Dkim`].
    Dkim,
    /// [`KnownBy::Name`].
    Name,
}

impl KnownBy {
    /// Parses the value of a kind.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn parse(kind: ForwarderKind, value: &str) -> Result<Self, String> {
        let domain = || Domain::parse(value).map_err(|reason| format!("\"{value}\" is no domain: {reason}"));
        Ok(match kind {
            ForwarderKind::Network => Self::Network(value.parse()?),
            ForwarderKind::Spf => Self::Spf(domain()?),
            ForwarderKind::Dkim => Self::Dkim(domain()?),
            ForwarderKind::Name => Self::Name(domain()?),
        })
    }

    /// Its kind.
    pub fn kind(&self) -> ForwarderKind {
        match self {
            Self::Network(_) => ForwarderKind::Network,
            Self::Spf(_) => ForwarderKind::Spf,
            Self::Dkim(_) => ForwarderKind::Dkim,
            Self::Name(_) => ForwarderKind::Name,
        }
    }

    /// Its value as SQL holds it.
    pub fn value(&self) -> String {
        match self {
            Self::Network(network) => network.to_string(),
            Self::Spf(domain) | Self::Dkim(domain) | Self::Name(domain) => domain.to_string(),
        }
    }
}

impl fmt::Display for KnownBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().as_str(), self.value())
    }
}

impl ForwarderKind {
    /// The word in SQL and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Spf => "spf",
            Self::Dkim => "dkim",
            Self::Name => "name",
        }
    }
}

impl FromStr for ForwarderKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Network, Self::Spf, Self::Dkim, Self::Name]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind \"{text}\", expected network, spf, dkim or name"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_nearest_override_counts() {
        let domain = |text| Domain::parse(text).unwrap();
        let overrides = Overrides::new([
            (domain("bank.test"), Some(Policy::None)),
            (domain("news.bank.test"), None),
            (domain("strict.news.bank.test"), Some(Policy::Reject)),
        ]);
        for (author, expected) in [
            ("bank.test", Some(Policy::None)),
            ("a.b.bank.test", Some(Policy::None)),
            ("news.bank.test", None),
            ("x.news.bank.test", None),
            ("strict.news.bank.test", Some(Policy::Reject)),
            ("notbank.test", None),
            ("test", None),
            ("", None),
        ] {
            assert_eq!(overrides.policy(author), expected, "{author}");
        }
    }

    #[test]
    fn a_forwarder_is_parsed_by_its_kind() {
        let parse = |kind: &str, value: &str| {
            kind.parse().and_then(|kind| KnownBy::parse(kind, value)).map(|by| by.to_string())
        };
        assert_eq!(parse("network", "192.0.2.77/24").as_deref(), Ok("network 192.0.2.0/24"));
        assert_eq!(parse("network", "2001:db8::1").as_deref(), Ok("network 2001:db8::1/128"));
        assert_eq!(parse("spf", "Bücher.Example.").as_deref(), Ok("spf xn--bcher-kva.example"));
        assert!(parse("network", "example.org").unwrap_err().contains("is no network"));
        assert!(parse("network", "192.0.2.0/33").unwrap_err().contains("is no network"));
        assert!(parse("dkim", "a b").unwrap_err().contains("is no domain"));
        assert!(parse("helo", "a.test").unwrap_err().contains("expected network, spf, dkim or name"));
    }
}
