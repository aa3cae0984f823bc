//! A new ARC set on top of a message (RFC 8617, 5.1).
//!
//! Tags stand in alphabetical order and base64 is folded at 72 columns, so that equal input gives equal bytes: the signing suite of the
//! draft's authors compares them.
//!
//! ```text
//! chain below      what is added                                                          RFC 8617
//! none, pass       i = highest + 1, cv=none or cv=pass; the seal covers the whole chain   5.1, 5.1.1
//! fail             once, cv=fail; the seal covers the new set alone                       5.1.2
//! marked cv=fail   nothing more                                                           5.1
//! ```

use std::fmt::Write;

use super::sets::{self, Chain, MESSAGE_SIGNATURE, RESULTS, SEAL, Validation};
use crate::dkim::{Algorithm, Canonicalization, Field, Parts, fields};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Who seals.
pub struct Sealer<'k> {
    /// `d=`.
    pub domain: &'k str,
    /// `s=`.
    pub selector: &'k str,
    /// What `sign` makes.
    pub algorithm: Algorithm,
    /// Signs bytes with the key of that name.
    pub sign: &'k dyn Fn(&[u8]) -> Result<Vec<u8>, String>,
}

/// What is sealed.
pub struct Sealed<'m> {
    /// The message as it leaves, without the new set.
    pub parts: &'m Parts<'m>,
    /// SHA-256 of its relaxed body.
    pub body_hash: [u8; 32],
    /// What the validation of its chain said.
    pub validation: Validation,
    /// The results of this hop: authserv-id and results, as in `Authentication-Results`.
    pub results: &'m str,
    /// The fields to sign, in the order of `h=`; those that the message has not are left out.
    pub fields: &'m [&'m str],
    /// Seconds since 1970.
    pub now: u64,
}

/// The new fields: their values with the leading space, folds as `"\n\t"`; in the order in which they are inserted on top, so the
/// seal comes to stand first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSet(pub [(&'static str, String); 3]);

/// Makes a set; none when the chain is finished (marked as failed, or 50 sets long).
///
/// # Errors
/// The key cannot sign.
pub fn seal(sealer: &Sealer<'_>, sealed: &Sealed<'_>) -> Result<Option<NewSet>, String> {
    let instance = sets::highest_instance(sealed.parts) + 1;
    if instance > sets::MAX_SETS || sets::is_sealed_as_failed(sealed.parts) {
        return Ok(None);
    }
    let results = format!(" i={instance};{}", sealed.results);
    let message = message_signature(sealer, sealed, instance)?;

    let mut bytes = Vec::with_capacity(4096);
    if sealed.validation == Validation::Pass
        && let Ok(chain) = Chain::of(sealed.parts)
    {
        for set in &chain.0 {
            for field in [set.results, set.message, set.seal_field] {
                Canonicalization::Relaxed.header(field, &mut bytes);
            }
        }
    }
    relaxed(RESULTS, &results, &mut bytes);
    relaxed(MESSAGE_SIGNATURE, &message, &mut bytes);
    let Sealer { domain, selector, .. } = sealer;
    let (before, after) = (
        format!(" a={};\n\t", sealer.algorithm.as_str()),
        format!(
            ";\n\tcv={}; d={domain}; i={instance}; s={selector};\n\tt={}",
            sealed.validation.as_str(),
            sealed.now
        ),
    );
    let seal = signed(sealer, SEAL, &before, &after, bytes)?;
    Ok(Some(NewSet([(RESULTS, results), (MESSAGE_SIGNATURE, message), (SEAL, seal)])))
}

fn message_signature(sealer: &Sealer<'_>, sealed: &Sealed<'_>, instance: usize) -> Result<String, String> {
    let mut names: Vec<String> = Vec::new();
    for name in sealed.fields {
        let count = sealed.parts.fields.iter().filter(|field| field.is(name.as_bytes())).count();
        names.extend(std::iter::repeat_n((*name).to_owned(), count.min(MAX_OF_A_NAME)));
    }
    let mut bytes = Vec::with_capacity(2048);
    for field in fields::signed(&sealed.parts.fields, &names) {
        Canonicalization::Relaxed.header(field, &mut bytes);
    }
    let Sealer { domain, selector, .. } = sealer;
    let mut after =
        format!(";\n\tbh={}; c=relaxed/relaxed;\n\td={domain};\n\th=", STANDARD.encode(sealed.body_hash));
    let mut column = 2;
    for (number, name) in names.iter().enumerate() {
        let colon = if number > 0 { ":" } else { "" };
        // White space around the colons of h= does not count (RFC 6376, 3.5), but it is signed.
        if column + name.len() + 1 > COLUMNS && number > 0 {
            let _ = write!(after, "{colon}\n\t{name}");
            column = name.len();
        } else {
            let _ = write!(after, "{colon}{name}");
            column += name.len() + 1;
        }
    }
    let _ = write!(after, ";\n\ti={instance}; s={selector}; t={}", sealed.now);
    signed(sealer, MESSAGE_SIGNATURE, &format!(" a={};\n\t", sealer.algorithm.as_str()), &after, bytes)
}

/// A value with its `b=`, which signs `bytes` and the value itself with nothing in `b=`.
fn signed(
    sealer: &Sealer<'_>,
    name: &str,
    before: &str,
    after: &str,
    mut bytes: Vec<u8>,
) -> Result<String, String> {
    let unsigned = format!("{before}b={after}");
    relaxed_without_end(name, &unsigned, &mut bytes);
    let signature = STANDARD.encode((sealer.sign)(&bytes)?);
    let mut folded = String::with_capacity(signature.len() + 16);
    let mut column = 2;
    for character in signature.chars() {
        if column == COLUMNS {
            folded.push_str("\n\t");
            column = 0;
        }
        folded.push(character);
        column += 1;
    }
    Ok(format!("{before}b={folded}{after}"))
}

/// Where base64 is folded (RFC 5322, 2.1.1 wants lines under 78).
const COLUMNS: usize = 72;

/// More fields of one name than a message has; beyond it the header is noise.
const MAX_OF_A_NAME: usize = 10;

fn relaxed(name: &str, value: &str, out: &mut Vec<u8>) {
    Canonicalization::Relaxed.header(&Field { name: name.as_bytes(), value: value.as_bytes() }, out);
}

fn relaxed_without_end(name: &str, value: &str, out: &mut Vec<u8>) {
    // The value has an empty b= already: emptying it changes nothing.
    Canonicalization::Relaxed
        .signature_header(&Field { name: name.as_bytes(), value: value.as_bytes() }, out);
}
