//! A mail address in its one canonical form, for keys, queries and comparison.
//!
//! The local part is folded to lower case as Postfix folds it for virtual lookups (RFC 5321 §2.4 leaves that to the final
//! destination, and this is it). Whoever must keep the sender's spelling keeps the bytes as well.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::{AddressError, Domain};

/// An address `local@domain`, folded: `Bob+Ext@Example.test` is held as `bob+ext@example.test`. Quoted local parts are held
/// without their quotes, as the database has them. Cheap to clone: it is the key of most that is remembered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    local: Arc<str>,
    domain: Domain,
}

impl Address {
    /// Parses and folds an address without angle brackets; the last `@` divides.
    ///
    /// # Errors
    /// The [`AddressError`] that says which side is wrong, and how.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        Self::new(&unquote(local)?, Domain::parse(domain)?)
    }

    /// The same, with the local part as typed: without its quotes, not folded.
    ///
    /// # Errors
    /// As [`Address::parse`].
    pub fn parse_typed(text: &str) -> Result<(Self, Box<str>), AddressError> {
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoDomain)?;
        let typed: Box<str> = unquote(local)?.into();
        Ok((Self::new(&typed, Domain::parse(domain)?)?, typed))
    }

    /// The address as it stands in a list of addresses: the local part quoted where it must be (RFC 5321 §4.1.2, RFC 6531 §3.3), so that
    /// no name in the database can be read as two.
    pub fn written(&self) -> String {
        written(&self.local, &self.domain)
    }

    /// An address of a local part without quotes and a domain.
    ///
    /// # Errors
    /// [`AddressError::Empty`], [`AddressError::LongLocalPart`] or [`AddressError::BadLocalPart`].
    pub fn new(local: &str, domain: Domain) -> Result<Self, AddressError> {
        if local.is_empty() {
            return Err(AddressError::Empty);
        }
        let is_folded = local.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
        let local = if is_folded { Cow::Borrowed(local) } else { Cow::Owned(local.to_lowercase()) };
        if local.len() > MAX_LOCAL_PART {
            return Err(AddressError::LongLocalPart);
        }
        if local.chars().any(char::is_control) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(Self { local: local.into(), domain })
    }

    /// The folded local part, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Divides `alice+news@example.com` into `alice@example.com` and `+news`, at the first of `delimiters` (Postfix's
    /// `recipient_delimiter`: any character of that set). `None` where there is no extension or nothing before it, and for the
    /// names that Postfix leaves whole (`split_addr.c`).
    pub fn strip_extension(&self, delimiters: &str) -> Option<(Self, String)> {
        let list = delimiters.contains('-')
            && (self.local.starts_with("owner-") || self.local.ends_with("-request"));
        if list || matches!(&*self.local, "postmaster" | "mailer-daemon" | "double-bounce") {
            return None;
        }
        let at = self.local.find(|c| delimiters.contains(c)).filter(|at| *at > 0)?;
        let (base, extension) = self.local.split_at(at);
        Some((Self { local: base.into(), domain: self.domain.clone() }, extension.to_owned()))
    }

    /// The address with an extension (delimiter included) appended to its local part; `None` where that grows too long.
    pub fn with_extension(&self, extension: &str) -> Option<Self> {
        Self::new(&format!("{}{extension}", self.local), self.domain.clone()).ok()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        Self::parse(text)
    }
}

/// An unfolded local part and a domain, as [`Address::written`] has it.
pub fn written(local: &str, domain: &Domain) -> String {
    if local.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext)) {
        return format!("{local}@{domain}");
    }
    let escaped = local.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"@{domain}")
}

fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

/// The content of a quoted-string (RFC 5321 §4.1.2), or the text itself where it is none.
fn unquote(local: &str) -> Result<Cow<'_, str>, AddressError> {
    let Some(quoted) = local.strip_prefix('"') else {
        let bad = local.contains(['"', ' ', '\t', '<', '>', '(', ')', ',', ';', ':', '\\', '@']);
        return if bad { Err(AddressError::BadLocalPart) } else { Ok(local.into()) };
    };
    let mut content = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' if characters.as_str().is_empty() => return Ok(content.into()),
            '"' => return Err(AddressError::BadLocalPart),
            '\\' => content.push(characters.next().ok_or(AddressError::BadLocalPart)?),
            _ => content.push(c),
        }
    }
    Err(AddressError::BadLocalPart)
}

/// RFC 5321 §4.5.3.1.1; the tutorial's `local_part` has the same bound.
const MAX_LOCAL_PART: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn an_address_folds_both_sides() {
        assert_eq!(address("Bob+Ext@Example.test").to_string(), "bob+ext@example.test");
        assert_eq!(address("ALICE@BÜCHER.example"), address("alice@xn--bcher-kva.example"));
        assert_eq!(address("\"A B\"@example.com").local(), "a b");
        assert_eq!(address("\"a\\\"b\"@example.com").local(), "a\"b");
    }

    #[test]
    fn an_extension_begins_at_the_first_delimiter() {
        let stripped = |text: &str, delimiters| {
            address(text).strip_extension(delimiters).map(|(a, e)| (a.to_string(), e))
        };
        assert_eq!(
            stripped("alice+news@example.com", "+"),
            Some(("alice@example.com".into(), "+news".into()))
        );
        assert_eq!(stripped("alice+a+b@example.com", "+"), Some(("alice@example.com".into(), "+a+b".into())));
        assert_eq!(
            stripped("alice-a+b@example.com", "+-"),
            Some(("alice@example.com".into(), "-a+b".into()))
        );
        assert_eq!(stripped("alice@example.com", "+"), None);
        assert_eq!(stripped("+alice@example.com", "+"), None);
        assert_eq!(stripped("alice+news@example.com", ""), None);
        assert_eq!(stripped("mailer-daemon@example.com", "-"), None);
        assert_eq!(stripped("owner-list@example.com", "+-"), None);
        assert_eq!(
            stripped("owner-list+x@example.com", "+"),
            Some(("owner-list@example.com".into(), "+x".into()))
        );
        assert_eq!(address("boss@example.com").with_extension("+x"), Some(address("boss+x@example.com")));
        assert_eq!(address("boss@example.com").with_extension(&"+".repeat(64)), None);
    }

    #[test]
    fn what_is_no_address_is_refused_with_its_reason() {
        assert_eq!(Address::parse("alice"), Err(AddressError::NoDomain));
        assert_eq!(Address::parse("@example.com"), Err(AddressError::Empty));
        assert_eq!(Address::parse("alice@"), Err(AddressError::Empty));
        assert_eq!(Address::parse(""), Err(AddressError::NoDomain));
        for bad in [
            "a b@example.com",
            "\"a@example.com",
            "\"a\"b@example.com",
            "a@b@example.com",
            "<a@example.com",
            "\"\\\"@example.com",
            "\"a\u{0}\"@example.com",
        ] {
            assert_eq!(Address::parse(bad), Err(AddressError::BadLocalPart), "{bad:?}");
        }
        assert_eq!(
            Address::parse(&format!("{}@example.com", "a".repeat(65))),
            Err(AddressError::LongLocalPart)
        );
        assert_eq!(Address::parse("a@[192.0.2.1]"), Err(AddressError::BadDomain));
    }

    proptest! {
        #[test]
        fn folding_twice_changes_nothing(text in "\\PC{1,80}") {
            if let Ok(first) = Address::parse(&text)
                && !first.local().contains(['"', ' ', '\\', '<', '>', '(', ')', ',', ';', ':', '@'])
            {
                prop_assert_eq!(Address::parse(&first.to_string()), Ok(first));
            }
        }
    }
}
