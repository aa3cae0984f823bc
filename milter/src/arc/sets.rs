//! The ARC sets of a message (RFC 8617, 4): found, numbered, and checked for everything that needs no key.
//!
//! Refuses a chain with a gap, a field twice, a field whose instance cannot be read, more than 50 sets, a seal that signs fields of its
//! own choice (`h=`), and a message signature that covers a seal (4.1.2).

use crate::dkim::signature::{domain, number};
use crate::dkim::{Algorithm, Canonicalization, Field, Kind, Parts, Signature, SignatureError, Tags, tags};

/// The longest chain (RFC 8617, 4.2.1).
pub const MAX_SETS: usize = 50;

/// The names of the three fields.
pub const SEAL: &str = "ARC-Seal";
/// See [`SEAL`].
pub const MESSAGE_SIGNATURE: &str = "ARC-Message-Signature";
/// See [`SEAL`].
pub const RESULTS: &str = "ARC-Authentication-Results";

/// What the sealer found of the chain below (RFC 8617, 4.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Validation {
    /// There was none.
    None,
    /// It did not hold.
    Fail,
    /// It held.
    Pass,
}

/// An `ARC-Seal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// `a=`.
    pub algorithm: Algorithm,
    /// `b=`.
    pub signature: Vec<u8>,
    /// `cv=`.
    pub validation: Validation,
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
}

/// One set.
#[derive(Debug, Clone)]
pub struct Set<'f, 'a> {
    /// `ARC-Authentication-Results`.
    pub results: &'f Field<'a>,
    /// `ARC-Message-Signature`.
    pub message: &'f Field<'a>,
    /// The signature in it; a broken one matters only if it is asked for.
    pub message_signature: Result<Signature, ChainError>,
    /// `ARC-Seal`.
    pub seal_field: &'f Field<'a>,
    /// What is in it.
    pub seal: Seal,
}

/// The sets of a message, oldest first: the set at index n has instance n + 1.
#[derive(Debug, Clone)]
pub struct Chain<'f, 'a>(pub Vec<Set<'f, 'a>>);

/// What is wrong with a chain, whatever its keys say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An instance that cannot be read, or is not 1 to 50.
    #[error("an instance is malformed")]
    Instance,
    /// A set lacks a field.
    #[error("a set is not complete")]
    Incomplete,
    /// A set has a field twice.
    #[error("a set has a field twice")]
    Twice,
    /// More than [`MAX_SETS`].
    #[error("more than 50 sets")]
    TooLong,
    /// A seal or message signature that breaks a rule.
    #[error("{0}")]
    Signature(#[from] SignatureError),
    /// `cv=` is not what it must be at that place.
    #[error("a seal's cv= is not as it must be")]
    Validation,
    /// The newest seal says that the chain below had failed already.
    #[error("the chain was sealed as failed")]
    SealedAsFailed,
    /// A seal with `h=` (RFC 8617, 4.1.3).
    #[error("a seal has a tag h=")]
    SealNamesFields,
    /// A message signature that names `ARC-Seal` (RFC 8617, 4.1.2).
    #[error("a message signature covers a seal")]
    CoversSeal,
}

impl Validation {
    /// The word of `cv=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Fail => "fail",
            Self::Pass => "pass",
        }
    }
}

/// Whether a message has any ARC field.
pub fn is_chained(parts: &Parts<'_>) -> bool {
    arc_fields(parts).next().is_some()
}

/// The highest instance that any ARC field names, as far as it can be read: where a failed chain is marked (RFC 8617, 5.1.2).
pub fn highest_instance(parts: &Parts<'_>) -> usize {
    arc_fields(parts).filter_map(|(kind, field)| instance(kind, field).ok()).max().unwrap_or(0)
}

/// Whether the newest seal says `cv=fail`: such a chain gets no further set.
pub fn is_sealed_as_failed(parts: &Parts<'_>) -> bool {
    let seals = parts.fields.iter().filter(|field| field.is(SEAL.as_bytes()));
    seals
        .filter_map(|field| Some((instance(Part::Seal, field).ok()?, Seal::parse(field).ok()?)))
        .max_by_key(|(instance, _)| *instance)
        .is_some_and(|(_, seal)| seal.validation == Validation::Fail)
}

impl<'f, 'a> Chain<'f, 'a> {
    /// The chain of a message; empty when it has no ARC field.
    ///
    /// # Errors
    /// Steps 1 to 3 of RFC 8617, 5.2.
    pub fn of(parts: &'f Parts<'a>) -> Result<Self, ChainError> {
        let mut found: Vec<[Option<&'f Field<'a>>; 3]> = Vec::new();
        for (number, (part, field)) in arc_fields(parts).enumerate() {
            if number >= 3 * MAX_SETS {
                return Err(ChainError::TooLong);
            }
            let instance = instance(part, field)?;
            if found.len() < instance {
                found.resize(instance, [None; 3]);
            }
            let slot = &mut found[instance - 1][part as usize];
            if slot.replace(field).is_some() {
                return Err(ChainError::Twice);
            }
        }
        let mut sets = Vec::with_capacity(found.len());
        for set in found {
            let [Some(results), Some(message), Some(seal_field)] = set else {
                return Err(ChainError::Incomplete);
            };
            let seal = Seal::parse(seal_field)?;
            let message_signature = message_signature(message);
            sets.push(Set { results, message, message_signature, seal_field, seal });
        }
        // Step 2 before step 3: a chain that was marked as failed says why itself.
        if sets.last().is_some_and(|set| set.seal.validation == Validation::Fail) {
            return Err(ChainError::SealedAsFailed);
        }
        for (at, set) in sets.iter().enumerate() {
            let expected = if at == 0 { Validation::None } else { Validation::Pass };
            if set.seal.validation != expected {
                return Err(ChainError::Validation);
            }
        }
        Ok(Self(sets))
    }

    /// What each seal signs, oldest first (RFC 8617, 5.1.1): all fields of the sets up to its own in the order results, message
    /// signature, seal; its own seal with an empty `b=` and no line end.
    pub fn sealed_bytes(&self) -> Vec<Vec<u8>> {
        let mut before = Vec::new();
        let mut sealed = Vec::with_capacity(self.0.len());
        for set in &self.0 {
            Canonicalization::Relaxed.header(set.results, &mut before);
            Canonicalization::Relaxed.header(set.message, &mut before);
            let mut own = before.clone();
            Canonicalization::Relaxed.signature_header(set.seal_field, &mut own);
            sealed.push(own);
            Canonicalization::Relaxed.header(set.seal_field, &mut before);
        }
        sealed
    }
}

impl Seal {
    fn parse(field: &Field<'_>) -> Result<Self, ChainError> {
        let tags = Tags::parse(field.value).map_err(SignatureError::from)?;
        let needed = |name| tags.get(name).ok_or(SignatureError::Missing(name));
        if tags.get("h").is_some() {
            return Err(ChainError::SealNamesFields);
        }
        let validation = match needed("cv")? {
            "none" => Validation::None,
            "fail" => Validation::Fail,
            "pass" => Validation::Pass,
            _ => return Err(ChainError::Validation),
        };
        let signature = tags::base64(needed("b")?).filter(|bytes| !bytes.is_empty());
        number("t", tags.get("t"), 12)?;
        Ok(Self {
            algorithm: Algorithm::parse(needed("a")?)?,
            signature: signature.ok_or(SignatureError::Invalid("b"))?,
            validation,
            domain: domain("d", needed("d")?)?,
            selector: domain("s", needed("s")?)?,
        })
    }

    /// Where the key is.
    pub fn key_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }
}

fn message_signature(field: &Field<'_>) -> Result<Signature, ChainError> {
    let tags = Tags::parse(field.value).map_err(SignatureError::from)?;
    let signature = Signature::parse(&tags, Kind::Arc)?;
    if signature.signed.iter().any(|name| name.eq_ignore_ascii_case(SEAL)) {
        return Err(ChainError::CoversSeal);
    }
    Ok(signature)
}

/// Which of the three; the number is its place in the order of sealing.
#[derive(Clone, Copy)]
enum Part {
    Results = 0,
    Message = 1,
    Seal = 2,
}

fn arc_fields<'f, 'a>(parts: &'f Parts<'a>) -> impl Iterator<Item = (Part, &'f Field<'a>)> {
    parts.fields.iter().filter_map(|field| {
        let is_arc = field.name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"ARC-"));
        let names = [(Part::Results, RESULTS), (Part::Message, MESSAGE_SIGNATURE), (Part::Seal, SEAL)];
        let part = names.into_iter().find(|(_, name)| is_arc && field.is(name.as_bytes()));
        part.map(|(part, _)| (part, field))
    })
}

/// The instance of a field, 1 to 50.
fn instance(part: Part, field: &Field<'_>) -> Result<usize, ChainError> {
    let text = match part {
        Part::Results => super::recorded::instance(field.value),
        Part::Message | Part::Seal => {
            let tags = Tags::parse(field.value).map_err(SignatureError::from)?;
            tags.get("i").map(str::to_owned)
        }
    };
    let instance = number("i", text.as_deref(), 2).map_err(|_| ChainError::Instance)?;
    instance
        .and_then(|instance| usize::try_from(instance).ok())
        .filter(|instance| (1..=MAX_SETS).contains(instance))
        .ok_or(ChainError::Instance)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn set(instance: usize, validation: &str) -> String {
        format!(
            "ARC-Seal: i={instance}; a=rsa-sha256; cv={validation}; d=a.test; s=s; b=AAAA\r\n\
             ARC-Message-Signature: i={instance}; a=rsa-sha256; d=a.test; s=s; h=from; bh=AAAA; b=AAAA\r\n\
             ARC-Authentication-Results: i={instance}; a.test; dmarc=pass\r\n"
        )
    }

    fn chain(header: &str) -> Result<usize, ChainError> {
        let raw = format!("{header}From: a@a.test\r\n\r\nbody\r\n");
        Chain::of(&Parts::of(raw.as_bytes())).map(|chain| chain.0.len())
    }

    #[test]
    fn chains_that_are_whole() {
        assert_eq!(chain(""), Ok(0));
        assert_eq!(chain(&set(1, "none")), Ok(1));
        // In whatever order the fields stand.
        assert_eq!(chain(&format!("{}{}", set(1, "none"), set(2, "pass"))), Ok(2));
        let long: String =
            (1..=MAX_SETS).rev().map(|at| set(at, if at == 1 { "none" } else { "pass" })).collect();
        assert_eq!(chain(&long), Ok(MAX_SETS));
    }

    #[test]
    fn chains_that_are_not() {
        let (one, two) = (set(1, "none"), set(2, "pass"));
        for (header, error) in [
            (two.clone(), ChainError::Incomplete),
            (set(1, "pass"), ChainError::Validation),
            (format!("{}{one}", set(2, "none")), ChainError::Validation),
            (format!("{}{one}", set(2, "fail")), ChainError::SealedAsFailed),
            (format!("{}{two}{one}", set(4, "pass")), ChainError::Incomplete),
            (format!("{one}{one}"), ChainError::Twice),
            (set(0, "none"), ChainError::Instance),
            (set(51, "pass"), ChainError::Instance),
            (one.replace("cv=none", "cv=none; h=from"), ChainError::SealNamesFields),
            (one.replace("i=1; a.test", "a.test; i=1"), ChainError::Instance),
            (one.replace("i=1; a=rsa-sha256; cv", "a=rsa-sha256; cv"), ChainError::Instance),
            ((1..=1000).map(|at| set(at % 50 + 1, "pass")).collect(), ChainError::TooLong),
            (set(1, "none").repeat(1000), ChainError::Twice),
        ] {
            assert_eq!(chain(&header), Err(error), "{}", &header[..header.len().min(600)]);
        }
    }

    #[test]
    fn where_a_failed_chain_ends() {
        let raw = format!("{}{}\r\n", set(3, "fail"), set(1, "none"));
        let parts = Parts::of(raw.as_bytes());
        assert!(is_chained(&parts) && is_sealed_as_failed(&parts));
        assert_eq!(highest_instance(&parts), 3);
        assert!(!is_sealed_as_failed(&Parts::of(set(1, "none").as_bytes())));
    }
}
