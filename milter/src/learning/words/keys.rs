//! What the features of the view `words` are, in words: keys that can be written down and made features again.
//!
//! For a list of words ([`lexicon`](crate::learning::lexicon)) and for whoever makes one (`evaluate::words`).

use std::borrow::Cow;

use super::{Context, Found, Shape, Source, Words, begin, class, divided, end, hash, pair, with};
use crate::learning::features::feature;

/// What a feature of the view `words` is, so that it can be written down and made a feature again ([`of_key`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The feature.
    pub feature: u32,
    /// What it is.
    pub text: String,
    /// Whether its word begins with no capital.
    pub lower: bool,
}

impl Words {
    /// Every feature that has a key ([`of_key`]), with it, in the order of the message; `source` as for [`Words::texts`].
    pub(in crate::learning) fn keys<'a>(
        &self,
        source: impl Fn(Source) -> Option<(&'a [u8], Cow<'a, [u8]>)>,
    ) -> Vec<Key> {
        let mut keys = Vec::with_capacity(self.found.len());
        let ends = self.sources.iter().skip(1).map(|(first, _)| *first).chain([self.found.len()]);
        for ((first, from), end) in self.sources.iter().zip(ends) {
            let (Some((name, text)), Some(found)) = (source(*from), self.found.get(*first..end)) else {
                continue;
            };
            keys.extend(found.iter().filter_map(|found| found.key(*from, name, &text)));
        }
        keys
    }
}

impl Found {
    /// The key of a feature: what it is, so that it can be written down and made a feature again. None where it has none.
    fn key(&self, source: Source, name: &[u8], text: &[u8]) -> Option<Key> {
        let (start, length) = ((self.place >> 9) as usize, (self.place >> 3 & 63) as usize);
        let shape = Shape::ALL.into_iter().find(|shape| *shape as u32 == self.place & 7)?;
        let (name, text) = match source {
            Source::Tag(..) => divided(text, memchr::memchr(b'>', text).unwrap_or(text.len())),
            _ => (name, text),
        };
        let name = String::from_utf8(name.to_ascii_lowercase()).ok()?;
        let prefix = match source {
            Source::Field(_) => format!("{name}:"),
            Source::Kind(_) => "mime:".to_owned(),
            Source::Name(_) => "file:".to_owned(),
            Source::Tag(..) => format!("<{name}> "),
            Source::Visible(_) => String::new(),
        };
        let word = text.get(start..start + length)?;
        let key = match shape {
            Shape::Word => format!("{prefix}{}", folded(word)?),
            Shape::Pair => {
                let rest = text.get(..start)?;
                let rest = rest.get(..rest.iter().rposition(|&byte| class(byte).low != 0)? + 1)?;
                let first = rest.iter().rposition(|&byte| class(byte).low == 0).map_or(0, |at| at + 1);
                format!("{prefix}{} {}", folded(rest.get(first..)?)?, folded(word)?)
            }
            Shape::Spelled => format!("{prefix}{}", std::str::from_utf8(word).ok()?),
            Shape::Name if matches!(source, Source::Tag(..)) => format!("<{name}>"),
            Shape::Name => prefix,
            Shape::Spelling | Shape::Order => return None,
        };
        let lower = word.first().is_some_and(|byte| !byte.is_ascii_uppercase());
        (of_key(&key) == Some(self.feature)).then_some(Key { feature: self.feature, text: key, lower })
    }
}

/// The feature that a key stands for; none of what is no key.
///
/// ```text
/// free, click here     a word of the body, and a pair
/// FREE                 the same word in capitals
/// subject:free         a word of a header field
/// x-mailer:            the field
/// <a> href, <a>        a word of a tag, and the tag
/// mime:image/png       a part's type
/// file:exe             a word of a part's file name
/// ```
pub(in crate::learning) fn of_key(key: &str) -> Option<u32> {
    let (context, words) = match key.strip_prefix('<') {
        Some(rest) => {
            let (name, words) = rest.split_once('>')?;
            let context = end(name.bytes().fold(begin(31), with));
            if words.is_empty() {
                return Some(feature(context));
            }
            (context, words.strip_prefix(' ').filter(|words| !words.is_empty())?)
        }
        None => match key.split_once(':') {
            Some(("", _)) => return None,
            Some((name, "")) => return Some(feature(hash(2, name.as_bytes()))),
            Some(("mime", words)) => (Context::MIME.0, words),
            Some(("file", words)) => (Context::FILE.0, words),
            Some((name, words)) => (Context::field(name.as_bytes()).0, words),
            None if key.is_empty() => return None,
            None => (Context::BODY.0, key),
        },
    };
    let low = |word: &str| end(word.bytes().fold(begin(context), with));
    Some(feature(match words.split_once(' ') {
        Some((before, word)) => pair(low(before), low(word)),
        None if words.bytes().any(|byte| byte.is_ascii_uppercase()) => hash(context ^ 5, words.as_bytes()),
        None => low(words),
    }))
}

/// A word as it is hashed.
fn folded(word: &[u8]) -> Option<String> {
    String::from_utf8(word.iter().map(|&byte| class(byte).low).collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_its_feature_again() {
        let text = b"FREE money, click <A HREF=x CLASS=big>here</A> at pills.example.com";
        let source = |source| match source {
            Source::Tag(_, at) => Some((b"".as_slice(), Cow::Borrowed(&text[at..]))),
            _ => Some((b"Subject".as_slice(), Cow::Borrowed(text.as_slice()))),
        };
        let mut words = Words::default();
        let mut order = Context::ORDER;
        words.name(0, b"Subject", b"subject", &mut order);
        words.text(Context::field(b"subject"), text, 100);
        words.source(Source::Visible(0), Context::BODY, text, 100);
        words.source(Source::Kind(0), Context::MIME, text, 100);
        words.source(Source::Name(0), Context::FILE, text, 100);
        words.tags(0, text);
        let keys = words.keys(source);
        for key in &keys {
            assert_eq!(of_key(&key.text), Some(key.feature), "{}", key.text);
        }
        let has = |text: &str| keys.iter().any(|key| key.text == text);
        let expected = [
            "free",
            "FREE",
            "free money",
            "subject:",
            "subject:free",
            "subject:FREE",
            "mime:click",
            "file:money click",
            "<a>",
            "<a> class",
            "<a> class big",
        ];
        assert_eq!(expected.into_iter().find(|text| !has(text)), None);
        // Spellings of names, the order of fields, and the pieces of addresses have none.
        for text in ["pills", "spelling Subject"] {
            assert!(!has(text), "{text}");
        }
        let lower = |text: &str| keys.iter().find(|key| key.text == text).map(|key| key.lower);
        assert_eq!((lower("free"), lower("money")), (Some(false), Some(true)));
        assert_eq!([of_key(""), of_key(":x"), of_key("<a> "), of_key("<a")], [None; 4]);
    }
}
