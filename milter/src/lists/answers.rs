//! What the answer of a list means: which symbols its addresses stand for. Pure.

use std::net::Ipv4Addr;

/// From one number to another, both included.
pub type Range = (u8, u8);

/// How a list says what it knows.
#[derive(Debug, Clone, Copy)]
pub enum Codes {
    /// Each address is one finding: ranges for its third and fourth octet, and the symbol.
    Values(&'static [(Range, Range, &'static str)]),
    /// The fourth octet of 127.x.x.x is a sum of findings, each a bit; those between are reserved.
    Bits(&'static [(u8, &'static str)]),
}

impl Codes {
    /// The symbols that an address stands for. An address that means nothing known means nothing.
    pub fn meaning(self, answer: Ipv4Addr) -> Vec<&'static str> {
        let [127, second, third, fourth] = answer.octets() else { return Vec::new() };
        let within = |(from, to): Range, number: u8| (from..=to).contains(&number);
        match self {
            Self::Values(_) if second != 0 => Vec::new(),
            Self::Values(values) => values
                .iter()
                .filter(|(thirds, fourths, _)| within(*thirds, third) && within(*fourths, fourth))
                .map(|(.., symbol)| *symbol)
                .collect(),
            Self::Bits(bits) => {
                bits.iter().filter(|(bit, _)| fourth & bit != 0).map(|(_, symbol)| *symbol).collect()
            }
        }
    }

    /// Every symbol that is possible.
    pub fn symbols(self) -> Vec<&'static str> {
        match self {
            Self::Values(values) => values.iter().map(|(.., symbol)| *symbol).collect(),
            Self::Bits(bits) => bits.iter().map(|(_, symbol)| *symbol).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::lists::presets::{DNSWL, SPAMHAUS_ZEN, SURBL};

    #[test]
    fn codes_are_read_as_their_lists_publish_them() {
        let meaning = |codes: Codes, answer: &str| codes.meaning(answer.parse().unwrap());
        let zen = SPAMHAUS_ZEN.about[0].1;
        assert_eq!(meaning(zen, "127.0.0.2"), ["RBL_SPAMHAUS_SBL"]);
        assert_eq!(meaning(zen, "127.0.0.6"), ["RBL_SPAMHAUS_XBL"]);
        assert_eq!(meaning(zen, "127.0.0.8"), [""; 0]);
        assert_eq!(meaning(zen, "127.0.0.30"), ["RBL_SPAMHAUS_BCL"]);
        assert_eq!(meaning(DNSWL.about[0].1, "127.0.15.3"), ["RCVD_IN_DNSWL_HI"]);
        assert_eq!(meaning(SURBL.about[0].1, "127.0.0.72"), ["PH_SURBL_MULTI", "ABUSE_SURBL"]);
        assert_eq!(meaning(SURBL.about[0].1, "127.0.1.8"), ["PH_SURBL_MULTI"], "octets between are reserved");
        for answer in ["203.0.113.8", "127.0.0.0", "127.0.0.4"] {
            assert_eq!(meaning(SURBL.about[0].1, answer), [""; 0], "{answer}");
        }
        for answer in ["127.1.0.2", "127.0.1.2", "10.0.0.2"] {
            assert_eq!(meaning(zen, answer), [""; 0], "{answer}");
        }
    }
}
