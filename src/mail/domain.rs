//! A mail domain in its one canonical form, for keys, queries and comparison.
//!
//! Refuses address literals (`[192.0.2.1]`): no hosted domain is one, and a map's key that is one is simply not found.

use std::fmt;
use std::sync::Arc;

use super::AddressError;

/// A domain name: A-labels (RFC 5890), lower case, at most 253 octets, without a trailing dot. `Bücher.Example` is held as
/// `xn--bcher-kva.example`; Postfix asks in either form, as the client typed it. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(Arc<str>);

impl Domain {
    /// Parses and folds a domain, in U-labels or A-labels.
    ///
    /// # Errors
    /// [`AddressError::Empty`], [`AddressError::LongDomain`] or [`AddressError::BadDomain`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        // U-labels are at most 4 octets a character; anything longer cannot become 253 octets of A-labels.
        if text.len() > 4 * MAX_DOMAIN {
            return Err(AddressError::LongDomain);
        }
        let folded = if text.is_ascii()
            && !text.as_bytes().windows(4).any(|bytes| bytes.eq_ignore_ascii_case(b"xn--"))
        {
            text.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(text).map_err(|_| AddressError::BadDomain)?
        };
        if folded.len() > MAX_DOMAIN || folded.split('.').any(|label| label.len() > MAX_LABEL) {
            return Err(AddressError::LongDomain);
        }
        if !folded.split('.').all(is_label) {
            return Err(AddressError::BadDomain);
        }
        Ok(Self(folded.into()))
    }

    /// The canonical form: A-labels, lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same domain in U-labels; equal to [`Domain::as_str`] where there is nothing international in it.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }

    /// Every spelling in which a database may hold this domain and an index finds it: A-labels and, if different, U-labels.
    pub fn spellings(&self) -> Vec<String> {
        let unicode = self.to_unicode();
        if unicode == *self.0 { vec![unicode] } else { vec![self.0.to_string(), unicode] }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Domain {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// Letters, digits, `-` and `_` (underscores are no host names, but sender domains in the wild have them), not empty.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// RFC 1035 §2.3.4, less the root's dot and length octet; the tutorial's `domain_part` has the same bound.
const MAX_DOMAIN: usize = 253;
/// RFC 1035 §2.3.4.
const MAX_LABEL: usize = 63;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn one_domain_has_one_form_however_it_is_typed() {
        for typed in ["bücher.example", "BÜCHER.Example", "xn--bcher-kva.example", "XN--BCHER-KVA.EXAMPLE."]
        {
            assert_eq!(Domain::parse(typed).unwrap().as_str(), "xn--bcher-kva.example", "{typed}");
        }
        assert_eq!(Domain::parse("bücher.example").unwrap().to_unicode(), "bücher.example");
        assert_eq!(Domain::parse("Example.COM").unwrap().spellings(), ["example.com"]);
        assert_eq!(
            Domain::parse("bücher.example").unwrap().spellings(),
            ["xn--bcher-kva.example", "bücher.example"]
        );
    }

    #[test]
    fn what_is_no_domain_is_refused_with_its_reason() {
        assert_eq!(Domain::parse(""), Err(AddressError::Empty));
        assert_eq!(Domain::parse("."), Err(AddressError::Empty));
        for bad in ["a..b", ".a", "a b.example", "[192.0.2.1]", "a\0.example", "exa/mple.com", "a@b"] {
            assert_eq!(Domain::parse(bad), Err(AddressError::BadDomain), "{bad:?}");
        }
        assert_eq!(Domain::parse(&"a".repeat(64)), Err(AddressError::LongDomain));
        assert_eq!(Domain::parse(&"a.".repeat(127)).unwrap().as_str().len(), 253);
        assert_eq!(Domain::parse(&"a.".repeat(128)), Err(AddressError::LongDomain));
        assert_eq!(Domain::parse(&"ü".repeat(100_000)), Err(AddressError::LongDomain));
    }
}
