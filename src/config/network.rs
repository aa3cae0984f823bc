//! A range of IP addresses in its one form, for lists of clients.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::Deserialize;

/// An address with a prefix length, such as `192.0.2.0/24`; a bare address is the network of itself alone. Bits behind the prefix
/// are dropped, and an IPv4 address in IPv6 form (`::ffff:192.0.2.1`) is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    /// The network of `prefix` bits around an address; `prefix` is cut at the address's width.
    pub fn around(address: IpAddr, prefix: u8) -> Self {
        match address.to_canonical() {
            IpAddr::V4(four) => {
                let prefix = prefix.min(32);
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
                Self { address: Ipv4Addr::from(u32::from(four) & mask).into(), prefix }
            }
            IpAddr::V6(six) => {
                let prefix = prefix.min(128);
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
                Self { address: Ipv6Addr::from(u128::from(six) & mask).into(), prefix }
            }
        }
    }

    /// The /24 or /64 of an address: what one customer of a provider usually has at the least, and what a sender's pool shares.
    pub fn neighbourhood(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self::around(address, if address.is_ipv4() { 24 } else { 64 })
    }

    /// Whether that address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.to_canonical().is_ipv4() == self.address.is_ipv4()
            && Self::around(address, self.prefix) == *self
    }

    /// Whether it holds every address of its family.
    pub fn is_everything(&self) -> bool {
        self.prefix == 0
    }

    /// How many bits are fixed; the more, the narrower.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no network; expected an address and a prefix length, as 192.0.2.0/24");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(wrong)?,
            None => width,
        };
        // The prefix of an IPv4 address in IPv6 form counts the 96 bits in front of it.
        let mapped = matches!(address, IpAddr::V6(six) if six.to_ipv4_mapped().is_some());
        let prefix = if mapped { prefix.checked_sub(96).ok_or_else(wrong)? } else { prefix };
        Ok(Self::around(address, prefix))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        for (network, address, inside) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.77/24", "192.0.2.1", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::1", "::2", false),
            ("::/0", "192.0.2.1", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db9::1", true),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), inside, "{address} in {network}");
        }
    }

    #[test]
    fn neighbours_share_a_network() {
        let of = |address: &str| Network::neighbourhood(address.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("::ffff:192.0.2.77"), "192.0.2.0/24");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_network_has_one_spelling() {
        for (text, spelled) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("2001:DB8:0::1/33", "2001:db8::/33"),
            ("::/0", "::/0"),
            ("::ffff:192.0.2.7/120", "192.0.2.0/24"),
        ] {
            assert_eq!(text.parse::<Network>().unwrap().to_string(), spelled);
        }
        for wrong in [
            "",
            "192.0.2",
            "192.0.2.0/",
            "192.0.2.0/33",
            "::/129",
            "::ffff:192.0.2.0/95",
            "192.0.2/24",
            "example.org",
            "192.0.2.0/-1",
            "1.2.3.4/",
        ] {
            assert!(wrong.parse::<Network>().unwrap_err().contains("is no network"), "{wrong}");
        }
    }
}
