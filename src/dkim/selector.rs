//! Names for new keys: the day they are made on, as the tutorial does it (`20260120`).
//!
//! An Ed25519 key beside an RSA key of the same day is `20260120-ed25519`; further ones of one day end in a letter.

use crate::store::KeyAlgorithm;

/// A selector that none of `taken` is, for a key made on `day` (as `20260120`). Names of removed keys stay taken: mail that was
/// signed under them is still about.
pub fn free(day: &str, algorithm: KeyAlgorithm, taken: &[String]) -> Option<String> {
    let first = match algorithm {
        KeyAlgorithm::RsaSha256 => day.to_owned(),
        KeyAlgorithm::Ed25519Sha256 => format!("{day}-ed25519"),
    };
    let more = ('b'..='z').map(|letter| format!("{first}{letter}"));
    // DNS knows no upper and lower case.
    let is_free = |name: &String| !taken.iter().any(|other| other.eq_ignore_ascii_case(name));
    std::iter::once(first.clone()).chain(more).find(is_free)
}

/// Whether a text can be a selector: labels of letters, digits, hyphens and underscores inside (RFC 6376, 3.1), 63 characters at most.
pub fn is_valid(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let outer = |c: char| c.is_ascii_alphanumeric();
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && text.starts_with(outer)
        && text.ends_with(outer)
        && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_then_letters() {
        let mut taken = Vec::new();
        for expected in ["20260120", "20260120b", "20260120c"] {
            let name = free("20260120", KeyAlgorithm::RsaSha256, &taken).unwrap_or_default();
            assert_eq!(name, expected);
            taken.push(name);
        }
        assert_eq!(
            free("20260120", KeyAlgorithm::Ed25519Sha256, &taken).as_deref(),
            Some("20260120-ed25519")
        );
        let all: Vec<String> = ('b'..='z').map(|c| format!("X{c}")).chain(["x".to_owned()]).collect();
        assert_eq!(free("x", KeyAlgorithm::RsaSha256, &all), None);
    }

    #[test]
    fn selectors() {
        for good in ["20260120", "a", "s1.mail", "my_key-2"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "a/b", "-a", "a.", "a..b", "ä", "a b", &"a".repeat(64)] {
            assert!(!is_valid(bad), "{bad}");
        }
    }
}
