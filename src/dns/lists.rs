//! Lists in DNS (RFC 5782): how they are asked, how they say that they will not answer, and whether one is to be believed.
//!
//! For whoever asks lists: the policy daemon's check `dnsbl` and the milter's facts. It knows no list and no weight.

use std::net::{IpAddr, Ipv4Addr};

use super::Resolver;
use crate::directory::Lookup;

/// The name to ask for (RFC 5782, 2.1 and 2.4): octets or nibbles backwards, before the zone.
pub fn reversed(address: IpAddr, zone: &str) -> String {
    match address {
        IpAddr::V4(four) => {
            let [a, b, c, d] = four.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(six) => {
            let nibbles = six.octets().into_iter().rev().flat_map(|octet| [octet & 15, octet >> 4]);
            let mut name: String = nibbles.map(|nibble| format!("{nibble:x}.")).collect();
            name.push_str(zone);
            name
        }
    }
}

/// 127.255.255.0 to 127.255.255.255: an error of whoever asks, not a listing
/// (spamhaus.org, "Error return codes": typing error, public resolver, excessive queries; others follow).
pub fn is_refusal(answer: Ipv4Addr) -> bool {
    answer.octets()[..3] == [127, 255, 255]
}

/// RFC 5782, 2.3: a listing is an address in 127.0.0.0/8; anything else is a parked domain or a resolver that sells advertisements.
pub fn is_listing(answer: Ipv4Addr) -> bool {
    answer.octets()[0] == 127
}

/// What a trial showed of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It holds what it must and nothing that it must not, as far as it was asked.
    Well,
    /// It says that it does not answer this resolver.
    Refuses,
    /// It holds what no list may hold, so it lists everything.
    ListsEverything,
    /// It lacks the entry that it must hold.
    LacksEntry,
    /// It does not answer.
    Silent,
}

/// Tries a list (RFC 5782, 5): `listed` is a name that stands on it, where one is known; `unlisted` one that may stand on none.
/// `refuses` tells answers that are refusals.
pub async fn try_list(
    resolver: &Resolver,
    listed: Option<&str>,
    unlisted: &str,
    refuses: impl Fn(Ipv4Addr) -> bool,
) -> Condition {
    let ask = async |name: &str| resolver.ipv4(name).await.map(|answer| answer.records);
    let entry = async {
        match listed {
            Some(name) => Some(ask(name).await),
            None => None,
        }
    };
    let (entry, nothing) = tokio::join!(entry, ask(unlisted));
    let refused = |answers: &Lookup<Vec<Ipv4Addr>>| matches!(answers, Lookup::Found(found) if found.iter().any(|answer| refuses(*answer)));
    if refused(&nothing) || entry.as_ref().is_some_and(refused) {
        return Condition::Refuses;
    }
    match (entry, nothing) {
        (_, Lookup::Found(_)) => Condition::ListsEverything,
        (Some(Lookup::None), _) => Condition::LacksEntry,
        (Some(Lookup::Found(_)) | None, Lookup::None) => Condition::Well,
        _ => Condition::Silent,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn addresses_are_asked_for_backwards() {
        assert_eq!(reversed("192.0.2.7".parse().unwrap(), "a.test"), "7.2.0.192.a.test");
        assert_eq!(
            reversed("2001:db8::1".parse().unwrap(), "a.test"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.a.test"
        );
    }

    #[test]
    fn an_error_code_is_no_listing() {
        assert!(is_refusal(Ipv4Addr::new(127, 255, 255, 254)));
        assert!(!is_refusal(Ipv4Addr::new(127, 0, 0, 2)));
        assert!(is_listing(Ipv4Addr::new(127, 0, 0, 2)) && !is_listing(Ipv4Addr::new(203, 0, 113, 1)));
    }
}
