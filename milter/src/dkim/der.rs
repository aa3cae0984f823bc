//! As much of DER (X.690) as it takes to see how long an RSA key is.
//!
//! A `p=` holds a SubjectPublicKeyInfo, as everybody publishes it, or a bare RSAPublicKey, as RFC 6376, 3.6.1 words it. The library
//! takes both and does not tell the length of the modulus; RFC 8301, 3.2 makes it decisive.

/// The length of the modulus in bits; none when this is no RSA key.
pub fn rsa_bits(der: &[u8]) -> Option<u32> {
    let (outer, _) = element(der, SEQUENCE)?;
    // RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }
    if let Some((modulus, _)) = element(outer, INTEGER) {
        return Some(bits(modulus));
    }
    // SubjectPublicKeyInfo ::= SEQUENCE { algorithm SEQUENCE, subjectPublicKey BIT STRING }
    let (_, rest) = element(outer, SEQUENCE)?;
    let (string, _) = element(rest, BIT_STRING)?;
    // The first byte counts the unused bits of the last one: none.
    let (key, _) = element(string.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, _) = element(key, INTEGER)?;
    Some(bits(modulus))
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The content of the element of that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        // No key is longer than 16 MiB.
        _ => return None,
    };
    rest.split_at_checked(length)
}

fn bits(integer: &[u8]) -> u32 {
    let first = integer.iter().position(|&byte| byte != 0).unwrap_or(integer.len());
    let digits = &integer[first..];
    let unused = digits.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(digits.len()).unwrap_or(u32::MAX / 8).saturating_mul(8).saturating_sub(unused)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn counts_the_bits_of_a_modulus() {
        assert_eq!(rsa_bits(&[0x30, 7, 2, 2, 0x7f, 0xff, 2, 1, 3]), Some(15));
        assert_eq!(rsa_bits(&[0x30, 8, 2, 3, 0, 0x80, 0, 2, 1, 3]), Some(16));
        let spki = [0x30, 14, 0x30, 2, 5, 0, 3, 8, 0, 0x30, 5, 2, 1, 0xff, 2, 0];
        assert_eq!(rsa_bits(&spki), Some(8));
        for broken in [&b""[..], &[0x30], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 5, 2, 9, 1, 1, 1], &[0x31, 0]] {
            assert_eq!(rsa_bits(broken), None, "{broken:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80)) {
            let _ = rsa_bits(&bytes);
        }
    }
}
