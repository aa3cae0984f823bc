//! Signature fields (RFC 6376, 3.5; RFC 8617, 4.1.2): which tags they must have, what each may say, what it is that was signed.
//!
//! A field that breaks a rule here is not verified: what it says cannot be meant. Times are seconds since 1970.

use super::canonical::{Canonicalization, Parts};
use super::fields::{self, Field};
use super::tags::{self, TagError, Tags};

/// The algorithms that count (RFC 8301, 3.1; RFC 8463, 3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// `rsa-sha256`.
    RsaSha256,
    /// `ed25519-sha256`.
    Ed25519Sha256,
}

/// Whose signature it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `DKIM-Signature`: needs `v=1` and signs From; `i=` is an identity.
    Dkim,
    /// `ARC-Message-Signature`: has no `v=`, and `i=` is a number that `arc` reads.
    Arc,
}

/// A signature field, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `b=`.
    pub signature: Vec<u8>,
    /// `bh=`.
    pub body_hash: Vec<u8>,
    /// First half of `c=`.
    pub header_form: Canonicalization,
    /// Second half of `c=`.
    pub body_form: Canonicalization,
    /// `d=`, lower case, A-labels.
    pub domain: String,
    /// `s=`, lower case.
    pub selector: String,
    /// `h=`.
    pub signed: Vec<String>,
    /// `i=` of DKIM; empty when absent.
    pub identity: String,
    /// `l=`.
    pub length: Option<u64>,
    /// `t=`.
    pub time: Option<u64>,
    /// `x=`.
    pub expires: Option<u64>,
}

/// Why a signature field is not verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not a tag list.
    #[error("{0}")]
    Tags(#[from] TagError),
    /// A tag that must be there is not.
    #[error("tag {0}= is missing")]
    Missing(&'static str),
    /// A tag says what it cannot say.
    #[error("tag {0}= is malformed")]
    Invalid(&'static str),
    /// `v=` is not 1.
    #[error("unknown version")]
    Version,
    /// `a=` is `rsa-sha1` (RFC 8301, 3.1).
    #[error("rsa-sha1 is not accepted (RFC 8301)")]
    RsaSha1,
    /// `a=` is unknown.
    #[error("unknown algorithm")]
    Algorithm,
    /// `q=` names no way to get the key that we know.
    #[error("unknown way to get the key")]
    Query,
    /// `h=` does not name From (RFC 6376, 6.1.1).
    #[error("From is not signed")]
    FromNotSigned,
    /// The domain of `i=` is not `d=` or below it (RFC 6376, 3.5).
    #[error("the identity is not of the signing domain")]
    Identity,
    /// More names in `h=` than [`MAX_SIGNED_FIELDS`].
    #[error("too many signed fields")]
    TooManyFields,
    /// `x=` has passed.
    #[error("the signature has expired")]
    Expired,
    /// `t=` is in the future.
    #[error("the signature is from the future")]
    Future,
}

/// More fields than any mailer signs (RFC 6376, 5.4.1 suggests about 20); each costs a walk over the header.
pub const MAX_SIGNED_FIELDS: usize = 200;

/// How far clocks may differ, in seconds (RFC 6376, 3.5 leaves it to the verifier).
pub const CLOCK_SKEW: u64 = 300;

impl Algorithm {
    /// Its word in `a=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    /// Reads `a=`.
    ///
    /// # Errors
    /// It is `rsa-sha1`, or unknown.
    pub fn parse(word: &str) -> Result<Self, SignatureError> {
        match word {
            "rsa-sha256" => Ok(Self::RsaSha256),
            "ed25519-sha256" => Ok(Self::Ed25519Sha256),
            "rsa-sha1" => Err(SignatureError::RsaSha1),
            _ => Err(SignatureError::Algorithm),
        }
    }
}

impl Signature {
    /// Reads a field's tags.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(tags: &Tags<'_>, kind: Kind) -> Result<Self, SignatureError> {
        let needed = |name| tags.get(name).ok_or(SignatureError::Missing(name));
        if kind == Kind::Dkim && needed("v")? != "1" {
            return Err(SignatureError::Version);
        }
        let algorithm = Algorithm::parse(needed("a")?)?;
        let signature = binary("b", needed("b")?)?;
        let body_hash = binary("bh", needed("bh")?)?;
        let (header_form, body_form) = forms(tags.get("c"))?;
        let domain = domain("d", needed("d")?)?;
        let selector = self::domain("s", needed("s")?)?;
        let signed: Vec<String> =
            tags::list(needed("h")?).take(MAX_SIGNED_FIELDS + 1).map(str::to_ascii_lowercase).collect();
        if signed.len() > MAX_SIGNED_FIELDS {
            return Err(SignatureError::TooManyFields);
        }
        let identity = match (kind, tags.get("i")) {
            (Kind::Dkim, Some(identity)) => under(identity, &domain)?,
            _ => String::new(),
        };
        // q= (3.5): other ways than DNS may be named, but DNS must be among them.
        if tags.get("q").is_some_and(|ways| !tags::list(ways).any(|way| way == "dns/txt")) {
            return Err(SignatureError::Query);
        }
        let length = number("l", tags.get("l"), MAX_LENGTH_DIGITS)?;
        let time = number("t", tags.get("t"), MAX_TIME_DIGITS)?;
        let expires = number("x", tags.get("x"), MAX_TIME_DIGITS)?;
        if time.zip(expires).is_some_and(|(time, expires)| expires <= time) {
            return Err(SignatureError::Invalid("x"));
        }
        if kind == Kind::Dkim && !signed.iter().any(|name| name == "from") {
            return Err(SignatureError::FromNotSigned);
        }
        Ok(Self {
            algorithm,
            signature,
            body_hash,
            header_form,
            body_form,
            domain,
            selector,
            signed,
            identity,
            length,
            time,
            expires,
        })
    }

    /// Whether the signature is of now.
    ///
    /// # Errors
    /// It has expired, or was made in the future; give or take [`CLOCK_SKEW`].
    pub fn is_of(&self, now: u64) -> Result<(), SignatureError> {
        if self.expires.is_some_and(|expires| expires.saturating_add(CLOCK_SKEW) < now) {
            return Err(SignatureError::Expired);
        }
        if self.time.is_some_and(|time| time > now.saturating_add(CLOCK_SKEW)) {
            return Err(SignatureError::Future);
        }
        Ok(())
    }

    /// Where the key is (RFC 6376, 3.6.2.1).
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// What was signed: the canonical fields that `h=` names, then the signature's own.
    pub fn signed_bytes(&self, parts: &Parts<'_>, own: &Field<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(2048);
        for field in fields::signed(&parts.fields, &self.signed) {
            self.header_form.header(field, &mut out);
        }
        self.header_form.signature_header(own, &mut out);
        out
    }

    /// Whether the identity is of exactly the signing domain, as a key with `t=s` demands.
    pub fn is_identity_exact(&self) -> bool {
        self.identity.is_empty()
            || self
                .identity
                .rsplit_once('@')
                .is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(&self.domain))
    }
}

/// `1*12DIGIT` (RFC 6376, 3.5).
const MAX_TIME_DIGITS: usize = 12;

/// `1*76DIGIT` (RFC 6376, 3.5), of which none that fits no memory means anything.
const MAX_LENGTH_DIGITS: usize = 76;

fn binary(name: &'static str, value: &str) -> Result<Vec<u8>, SignatureError> {
    tags::base64(value).filter(|bytes| !bytes.is_empty()).ok_or(SignatureError::Invalid(name))
}

pub(crate) fn number(
    name: &'static str,
    value: Option<&str>,
    digits: usize,
) -> Result<Option<u64>, SignatureError> {
    let Some(value) = value else { return Ok(None) };
    let is_number = (1..=digits).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(SignatureError::Invalid(name));
    }
    Ok(Some(value.parse().unwrap_or(u64::MAX)))
}

/// `c=header/body`; `simple` where it is not said.
fn forms(value: Option<&str>) -> Result<(Canonicalization, Canonicalization), SignatureError> {
    let Some(value) = value else { return Ok((Canonicalization::Simple, Canonicalization::Simple)) };
    let form = |word: &str| match word {
        "simple" => Ok(Canonicalization::Simple),
        "relaxed" => Ok(Canonicalization::Relaxed),
        _ => Err(SignatureError::Invalid("c")),
    };
    match value.split_once('/') {
        Some((header, body)) => Ok((form(header)?, form(body)?)),
        None => Ok((form(value)?, Canonicalization::Simple)),
    }
}

/// A domain name or selector: labels of letters, digits, `-` and `_` (RFC 6376, 3.1 and 3.5); U-labels become A-labels (RFC 8616, 3).
pub(crate) fn domain(name: &'static str, value: &str) -> Result<String, SignatureError> {
    let invalid = || SignatureError::Invalid(name);
    let ascii = if value.is_ascii() {
        value.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(value).map_err(|_| invalid())?
    };
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if ascii.len() > 253 || !ascii.split('.').all(is_label) {
        return Err(invalid());
    }
    Ok(ascii)
}

/// `i=`: an address, maybe without local part, whose domain is the signing domain or below it; quoted-printable of DKIM's kind
/// (RFC 6376, 2.11) in the local part is left as it is, for nobody compares it.
fn under(identity: &str, domain: &str) -> Result<String, SignatureError> {
    let (local, own) = identity.rsplit_once('@').ok_or(SignatureError::Invalid("i"))?;
    let own = self::domain("i", own)?;
    let is_under = own.strip_suffix(domain).is_some_and(|left| left.is_empty() || left.ends_with('.'));
    if !is_under {
        return Err(SignatureError::Identity);
    }
    Ok(format!("{local}@{own}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const GOOD: &str = "v=1; a=rsa-sha256; d=example.org; s=sel; h=from:to; bh=AAAA; b=AAAA";

    fn parse(text: &str) -> Result<Signature, SignatureError> {
        Signature::parse(&Tags::parse(text.as_bytes())?, Kind::Dkim)
    }

    #[test]
    fn what_a_signature_may_say() {
        let plain = parse(GOOD).unwrap();
        assert_eq!(
            (plain.header_form, plain.body_form),
            (Canonicalization::Simple, Canonicalization::Simple)
        );
        assert_eq!(plain.key_name(), "sel._domainkey.example.org");
        assert!(plain.is_of(0).is_ok() && plain.is_identity_exact());
        let all = parse(&format!(
            "{GOOD}; c=relaxed; i=joe@News.Example.org; l=10; t=1000; x=2000; q=dns/txt; z=From:x"
        ))
        .unwrap();
        assert_eq!((all.header_form, all.body_form), (Canonicalization::Relaxed, Canonicalization::Simple));
        assert_eq!(all.identity, "joe@news.example.org");
        assert!(!all.is_identity_exact());
        assert_eq!(all.length, Some(10));
        assert!(all.is_of(2300).is_ok() && all.is_of(700).is_ok());
        assert_eq!(all.is_of(2301), Err(SignatureError::Expired));
        assert_eq!(all.is_of(699), Err(SignatureError::Future));
        assert_eq!(parse(&GOOD.replace("example.org", "Müller.test")).unwrap().domain, "xn--mller-kva.test");
    }

    #[test]
    fn what_it_may_not() {
        use SignatureError::*;
        for (from, to, error) in [
            ("v=1; ", "", Missing("v")),
            ("v=1", "v=2", Version),
            ("v=1", "v=1 1", Version),
            ("a=rsa-sha256; ", "", Missing("a")),
            ("rsa-sha256", "rsa-sha1", RsaSha1),
            ("rsa-sha256", "RSA-SHA256", Algorithm),
            ("d=example.org; ", "", Missing("d")),
            ("example.org", "", Invalid("d")),
            ("example.org", "example..org", Invalid("d")),
            ("example.org", "exam ple.org", Invalid("d")),
            ("s=sel; ", "", Missing("s")),
            ("s=sel", "s=", Invalid("s")),
            ("h=from:to; ", "", Missing("h")),
            ("h=from:to", "h=to", FromNotSigned),
            ("h=from:to", "h=fr om:to", FromNotSigned),
            ("bh=AAAA; ", "", Missing("bh")),
            ("bh=AAAA", "bh=", Invalid("bh")),
            ("; b=AAAA", "", Missing("b")),
            ("; b=AAAA", "; b=A", Invalid("b")),
            ("; b=AAAA", "; b=AAAA; b=AAAA", Tags(TagError::Twice)),
            ("; b=AAAA", "; b=AAAA; x=12h", Invalid("x")),
            ("; b=AAAA", "; b=AAAA; x=", Invalid("x")),
            ("; b=AAAA", "; b=AAAA; t=20; x=20", Invalid("x")),
            ("; b=AAAA", "; b=AAAA; t=1 2", Invalid("t")),
            ("; b=AAAA", "; b=AAAA; t=1234567890123", Invalid("t")),
            ("; b=AAAA", "; b=AAAA; l=-1", Invalid("l")),
            ("; b=AAAA", "; b=AAAA; c=nofws", Invalid("c")),
            ("; b=AAAA", "; b=AAAA; q=http", Query),
            ("; b=AAAA", "; b=AAAA; i=example.org", Invalid("i")),
            ("; b=AAAA", "; b=AAAA; i=@example.net", Identity),
            ("; b=AAAA", "; b=AAAA; i=@badexample.org", Identity),
        ] {
            let text = GOOD.replace(from, to);
            assert_ne!(text, GOOD);
            assert_eq!(parse(&text), Err(error), "{text}");
        }
        let many = GOOD.replace("from:to", &"from:".repeat(MAX_SIGNED_FIELDS + 1));
        assert_eq!(parse(&many), Err(TooManyFields));
    }
}
