//! Tag lists (RFC 6376, 3.2): `a=rsa-sha256; d=example.org; …`, as signatures and key records are written.
//!
//! ```text
//! tag-list  = tag-spec *( ";" tag-spec ) [ ";" ]
//! tag-spec  = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
//! tag-name  = ALPHA *(ALPHA / DIGIT / "_")
//! tag-value = [ tval *( 1*(WSP / FWS) tval ) ]          ; tval: printable but ";"; UTF-8 too (RFC 8616, 3)
//! ```
//!
//! Refuses what the grammar refuses: an empty tag between two semicolons, a tag given twice, a control character. Names are compared
//! with case, values are handed out as they stand, without the white space around them.

/// More tags than any standard defines, so that finding a duplicate stays cheap.
pub const MAX_TAGS: usize = 64;

/// The tags of one list, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags<'a>(Vec<(&'a str, &'a str)>);

/// Why a text is no tag list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A part without `=`, or with a name that is none.
    #[error("not a list of tags")]
    Malformed,
    /// The same name twice (RFC 6376, 3.2).
    #[error("a tag is given twice")]
    Twice,
    /// More than [`MAX_TAGS`].
    #[error("too many tags")]
    TooMany,
    /// Bytes that are neither printable ASCII nor UTF-8.
    #[error("bytes that no tag may hold")]
    Bytes,
}

impl<'a> Tags<'a> {
    /// Parses a list.
    ///
    /// # Errors
    /// The text is not a list by the grammar above.
    pub fn parse(text: &'a [u8]) -> Result<Self, TagError> {
        let text = std::str::from_utf8(text).map_err(|_| TagError::Bytes)?;
        let mut tags: Vec<(&str, &str)> = Vec::new();
        let mut specs = text.split(';').peekable();
        while let Some(spec) = specs.next() {
            if specs.peek().is_none() && spec.trim_matches(is_space).is_empty() && !tags.is_empty() {
                break;
            }
            let (name, value) = spec.split_once('=').ok_or(TagError::Malformed)?;
            let (name, value) = (name.trim_matches(is_space), value.trim_matches(is_space));
            let is_name = name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !is_name {
                return Err(TagError::Malformed);
            }
            if value.chars().any(|character| character.is_control() && !is_space(character)) {
                return Err(TagError::Bytes);
            }
            if tags.iter().any(|(known, _)| *known == name) {
                return Err(TagError::Twice);
            }
            if tags.len() == MAX_TAGS {
                return Err(TagError::TooMany);
            }
            tags.push((name, value));
        }
        Ok(Self(tags))
    }

    /// The value of that tag.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    /// The name of the first tag.
    pub fn first(&self) -> Option<&'a str> {
        self.0.first().map(|(name, _)| *name)
    }
}

/// White space of a folded value: `FWS` of RFC 6376, 2.8.
pub(super) fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\r' | '\n')
}

/// The parts of a colon-separated list, without the white space around them (`h=`, `q=`, `s=`, `t=`).
pub(super) fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(':').map(|part| part.trim_matches(is_space))
}

/// Base64 with white space anywhere (RFC 6376, 2.10); none when it is none.
pub(crate) fn base64(value: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    use base64::alphabet::STANDARD;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_padding_mode(DecodePaddingMode::Indifferent)
            .with_decode_allow_trailing_bits(true),
    );
    let bytes: Vec<u8> = value.bytes().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).collect();
    LENIENT.decode(bytes).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn lists_as_the_grammar_has_them() {
        let tags = Tags::parse(b" v=1; a =\r\n\t rsa-sha256 ;h=from : to;t=;\r\n b=AA BB;").unwrap();
        assert_eq!(tags.get("v"), Some("1"));
        assert_eq!(tags.get("a"), Some("rsa-sha256"));
        assert_eq!(tags.get("t"), Some(""));
        assert_eq!(tags.get("b"), Some("AA BB"));
        assert_eq!((tags.get("V"), tags.first()), (None, Some("v")));
        assert_eq!(list(tags.get("h").unwrap()).collect::<Vec<_>>(), ["from", "to"]);
        // A value may hold an equals sign; only the first one counts.
        assert_eq!(Tags::parse(b"b=A==").unwrap().get("b"), Some("A=="));
        assert_eq!(Tags::parse("d=müller.test".as_bytes()).unwrap().get("d"), Some("müller.test"));
    }

    #[test]
    fn what_is_no_list() {
        for (text, error) in [
            (&b""[..], TagError::Malformed),
            (b";", TagError::Malformed),
            (b"a=1;;b=2", TagError::Malformed),
            (b"a=1; ==; b=2", TagError::Malformed),
            (b"a=1; b", TagError::Malformed),
            (b"1a=1", TagError::Malformed),
            (b"a b=1", TagError::Malformed),
            (b"a=1; a=1", TagError::Twice),
            (b"a=\x001", TagError::Bytes),
            (b"a=\xff", TagError::Bytes),
        ] {
            assert_eq!(Tags::parse(text), Err(error), "{}", text.escape_ascii());
        }
        let many: String = (0..=MAX_TAGS).map(|number| format!("t{number}=1;")).collect();
        assert_eq!(Tags::parse(many.as_bytes()), Err(TagError::TooMany));
    }

    #[test]
    fn base64_with_folds_and_without_padding() {
        assert_eq!(base64(" AQ\r\n\tID ").unwrap(), [1, 2, 3]);
        assert_eq!(base64("AQI=").unwrap(), base64("AQI").unwrap());
        assert_eq!(base64("A*"), None);
    }
}
