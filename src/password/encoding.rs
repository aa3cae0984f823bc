//! How the bytes of a hash are written: Dovecot's `{SCHEME.b64}` and `{SCHEME.hex}`, and what each scheme has without.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::scheme::Form;

/// An encoding that a prefix names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `.b64`, `.base64`
    Base64,
    /// `.hex`
    Hex,
}

impl Encoding {
    /// By the name behind the dot, in any case.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "b64" | "base64" => Some(Self::Base64),
            "hex" => Some(Self::Hex),
            _ => None,
        }
    }
}

/// The bytes of a hash; `None` where the text is not in its encoding.
pub(super) fn decode(text: &str, form: Form, encoding: Option<Encoding>) -> Option<Zeroizing<Vec<u8>>> {
    let bytes = match (encoding, form) {
        (Some(Encoding::Base64), _) | (None, Form::Salted) => base64(text)?,
        (Some(Encoding::Hex), _) => hex(text)?,
        (None, Form::Text) => text.as_bytes().to_vec(),
        (None, Form::Bytes(length)) if text.len() == 2 * length => hex(text)?,
        (None, Form::Bytes(_)) => base64(text)?,
    };
    Some(Zeroizing::new(bytes))
}

/// Base64 with or without padding.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    LENIENT.decode(text).ok()
}

/// Hexadecimal digits in any case.
pub(super) fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn bytes_are_read_as_they_are_written() {
        let read = |text, form, encoding| decode(text, form, encoding).map(|bytes| bytes.to_vec());
        assert_eq!(read("$6$x", Form::Text, None).unwrap(), b"$6$x");
        assert_eq!(read("6869", Form::Bytes(2), None).unwrap(), b"hi");
        assert_eq!(read("aGk=", Form::Bytes(2), Encoding::named("B64")).unwrap(), b"hi");
        assert_eq!(read("aGkx", Form::Bytes(3), None).unwrap(), b"hi1");
        assert_eq!(read("6869", Form::Text, Encoding::named("HEX")).unwrap(), b"hi");
        assert_eq!(read("aGk", Form::Salted, None).unwrap(), b"hi");
        for (text, form) in [("686", Form::Bytes(2)), ("xy==z", Form::Salted), ("äöü", Form::Bytes(3))] {
            assert_eq!(read(text, form, None), None, "{text}");
        }
        assert_eq!(read("686", Form::Text, Some(Encoding::Hex)), None);
        assert_eq!(read("+1", Form::Text, Some(Encoding::Hex)), None);
        assert_eq!(Encoding::named("rot13"), None);
    }
}
