//! Text cut into words: the view `words` of [`features`](super::features).
//!
//! A word is a run of letters, digits, bytes beyond ASCII and `- . ' $ @ _ /`, in lower case, each digit as `0`: prices, numbers and
//! identifiers differ in every message, their shape does not. Each word counts together with its context (which header field, the body, which tag),
//! alone and as a pair with the word before; parts of names and addresses (`mail.example.com`) also count alone. Text without spaces, such
//! as Chinese, has no words here; the 5-grams see it.

mod keys;

use std::borrow::Cow;

use super::features::feature;

pub use keys::Key;
pub(super) use keys::of_key;

/// Words longer than this are encoded data.
const MAX_WORD: usize = 60;
/// Tags read of an HTML part, and the bytes read of one.
const MAX_TAGS: usize = 1_000;
const MAX_TAG: usize = 300;
const MAX_TAG_WORDS: usize = 30;

/// What a word belongs to: the start value of its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context(u64);

impl Context {
    /// The body's visible text.
    pub(super) const BODY: Self = Self(20);
    /// The content type of a MIME part.
    pub(super) const MIME: Self = Self(11);
    /// The file name of a MIME part.
    pub(super) const FILE: Self = Self(12);
    /// The start of the hash over the order of all field names.
    pub(super) const ORDER: u64 = 7;
    /// A header value: each field is a context of its own.
    pub(super) fn field(name: &[u8]) -> Self {
        Self(hash(1, name))
    }
}

/// Where a text stands that words were cut from. Numbers count the header fields, and the MIME parts that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A header field, its name and its value.
    Field(usize),
    /// The content type of a part.
    Kind(usize),
    /// The file name of a part.
    Name(usize),
    /// A tag in the markup of a part, from that byte on.
    Tag(usize, usize),
    /// What a reader sees of a part.
    Visible(usize),
}

/// One feature, and where it stands in its source: nobody asks for the text of most, so it is made for those alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    feature: u32,
    /// The start in the source (23 bits), the length (6), the shape (3): sources have less than 2^16 bytes, words less than 2^6.
    place: u32,
}

/// How the text of a feature reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
enum Shape {
    /// In lower case, digits as `0`.
    Word,
    /// The same, behind the word before it.
    Pair,
    /// As it is written.
    Spelled,
    /// The name of a field, or of a tag.
    Name,
    /// The spelling of a field's name.
    Spelling,
    /// All field names up to this one.
    Order,
}

impl Shape {
    const ALL: [Self; 6] = [Self::Word, Self::Pair, Self::Spelled, Self::Name, Self::Spelling, Self::Order];
}

/// The features found, in the order of the message, some of them more than once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Words {
    found: Vec<Found>,
    /// The sources, each with the number of features before it.
    sources: Vec<(usize, Source)>,
}

impl Words {
    /// The features, in the order of the message.
    pub(super) fn features(&self) -> impl ExactSizeIterator<Item = u32> {
        self.found.iter().map(|found| found.feature)
    }

    /// The texts of these features, which are sorted, each as it stands first in the message; `source` gives a source's text, and of a
    /// field its name besides.
    pub(super) fn texts<'a>(
        &self,
        wanted: &[u32],
        source: impl Fn(Source) -> Option<(&'a [u8], Cow<'a, [u8]>)>,
    ) -> Vec<(u32, String)> {
        // Of thousands some are wanted: this rules out nearly all.
        let mut mask = [0u64; 16];
        let bit = |feature: u32| (feature as usize / 64 % 16, 1u64 << (feature % 64));
        for (at, bit) in wanted.iter().map(|&feature| bit(feature)) {
            mask[at] |= bit;
        }
        let mut texts: Vec<(u32, String)> = Vec::new();
        for (number, found) in self.found.iter().enumerate() {
            let (at, bit) = bit(found.feature);
            if mask[at] & bit == 0
                || wanted.binary_search(&found.feature).is_err()
                || texts.iter().any(|(known, _)| *known == found.feature)
            {
                continue;
            }
            let before = self.sources.partition_point(|(first, _)| *first <= number);
            let from = before.checked_sub(1).and_then(|at| self.sources.get(at));
            let text = from.and_then(|(_, from)| {
                let (name, text) = source(*from)?;
                found.text(*from, name, &text)
            });
            texts.extend(text.map(|text| (found.feature, text)));
        }
        texts
    }

    /// What comes is of that source.
    fn begin(&mut self, source: Source) {
        self.sources.push((self.found.len(), source));
    }

    /// The name of a header field: alone, in its spelling, and with all names before it. What comes is of this field.
    pub(super) fn name(&mut self, number: usize, spelled: &[u8], name: &[u8], order: &mut u64) {
        self.begin(Source::Field(number));
        *order = hash(*order, name);
        self.put(hash(2, name), 0, 0, Shape::Name);
        self.put(hash(3, spelled), 0, 0, Shape::Spelling);
        self.put(*order, 0, 0, Shape::Order);
    }

    /// The words of a source in its context, at most `limit` of them.
    pub(super) fn source(&mut self, source: Source, context: Context, text: &[u8], limit: usize) {
        self.begin(source);
        self.text(context, text, limit);
    }

    /// The words of a text in its context, at most `limit` of them.
    pub(super) fn text(&mut self, context: Context, text: &[u8], limit: usize) {
        let Context(context) = context;
        let start = begin(context);
        let mut before: Option<u64> = None;
        let (mut at, mut words) = (0, 0);
        while words < limit {
            at += text.iter().skip(at).take_while(|&&byte| class(byte).low == 0).count();
            let (first, mut this, mut kinds) = (at, start, 0);
            while let Some(&byte) = text.get(at) {
                let class = class(byte);
                if class.low == 0 {
                    break;
                }
                this = with(this, class.low);
                kinds |= class.kind;
                at += 1;
            }
            let Some(word) = text.get(first..at).filter(|word| !word.is_empty()) else { return };
            if word.len() > MAX_WORD {
                continue;
            }
            words += 1;
            let this = end(this);
            self.put(this, first, word.len(), Shape::Word);
            if let Some(before) = before {
                self.put(pair(before, this), first, word.len(), Shape::Pair);
            }
            if kinds & PARTED != 0 {
                let mut from = first;
                for piece in word.split(|byte| matches!(byte, b'.' | b'@' | b'/')) {
                    if !piece.is_empty() {
                        let piece_hash =
                            piece.iter().fold(begin(context ^ 99), |hash, &byte| with(hash, class(byte).low));
                        self.put(end(piece_hash), from, piece.len(), Shape::Word);
                    }
                    from += piece.len() + 1;
                }
            }
            if word.len() > 2 && kinds & (UPPER | LOWER) == UPPER {
                self.put(hash(context ^ 5, word), first, word.len(), Shape::Spelled);
            }
            before = Some(this);
        }
    }

    /// The tags of an HTML text and the words of their attributes.
    pub(super) fn tags(&mut self, part: usize, html: &[u8]) {
        let mut rest = html;
        for _ in 0..MAX_TAGS {
            let Some(open) = memchr::memchr(b'<', rest) else { return };
            let tag = rest.get(open + 1..).unwrap_or_default();
            let end_at = memchr::memchr(b'>', tag).unwrap_or(tag.len());
            let (name, attributes) = divided(tag, end_at);
            self.begin(Source::Tag(part, html.len() - tag.len()));
            let context =
                end(name.iter().fold(begin(31), |hash, byte| with(hash, byte.to_ascii_lowercase())));
            self.put(context, 0, 0, Shape::Name);
            if !name.starts_with(b"/") {
                self.text(Context(context), attributes, MAX_TAG_WORDS);
            }
            rest = tag.get(end_at..).unwrap_or_default();
        }
    }

    fn put(&mut self, hash: u64, start: usize, length: usize, shape: Shape) {
        let place = ((start as u32) << 9) | ((length as u32) << 3) | shape as u32;
        self.found.push(Found { feature: feature(hash), place });
    }
}

impl Found {
    /// The text of a feature; none where the source has changed since.
    fn text(&self, source: Source, name: &[u8], text: &[u8]) -> Option<String> {
        let (start, length) = ((self.place >> 9) as usize, (self.place >> 3 & 63) as usize);
        let shape = Shape::ALL.into_iter().find(|shape| *shape as u32 == self.place & 7)?;
        let (name, text) = match source {
            Source::Tag(..) => divided(text, memchr::memchr(b'>', text).unwrap_or(text.len())),
            _ => (name, text),
        };
        let lower = printable(&name.to_ascii_lowercase());
        let prefix = match source {
            Source::Field(_) => format!("{lower}:"),
            Source::Kind(_) => "mime:".to_owned(),
            Source::Name(_) => "file:".to_owned(),
            Source::Tag(..) => format!("<{lower}> "),
            Source::Visible(_) => String::new(),
        };
        let word = text.get(start..start + length)?;
        let folded: Vec<u8> = word.iter().map(|&byte| class(byte).low).collect();
        Some(match (shape, source) {
            (Shape::Word, _) => format!("{prefix}{}", printable(&folded)),
            (Shape::Pair, _) => format!("{prefix}\u{2026} {}", printable(&folded)),
            (Shape::Spelled, _) => format!("{prefix}{}", printable(word)),
            (Shape::Name, Source::Tag(..)) => format!("<{lower}>"),
            (Shape::Name, _) => format!("field {lower}"),
            (Shape::Spelling, _) => format!("spelling {}", printable(name)),
            (Shape::Order, _) => format!("order up to {lower}"),
        })
    }
}

fn pair(before: u64, this: u64) -> u64 {
    this.wrapping_mul(31).wrapping_add(before.rotate_left(7))
}

/// The name and the attributes of a tag, from behind its `<`; it ends there.
fn divided(tag: &[u8], end: usize) -> (&[u8], &[u8]) {
    let inner = tag.get(..end.min(MAX_TAG)).unwrap_or_default();
    inner.split_at(inner.iter().position(u8::is_ascii_whitespace).unwrap_or(inner.len()))
}

/// A number for a mailbox owner.
pub(super) fn owner(address: &str) -> u64 {
    hash(40, address.as_bytes())
}

/// What a byte is to words.
#[derive(Debug, Clone, Copy)]
struct Class {
    /// The byte in lower case, a digit as `0`; zero where it belongs to no word.
    low: u8,
    kind: u8,
}

/// It divides a word into pieces.
const PARTED: u8 = 1;
const UPPER: u8 = 2;
const LOWER: u8 = 4;

fn class(byte: u8) -> Class {
    CLASSES[usize::from(byte)]
}

/// Every byte looked at once, in a table: words are cut, folded and hashed in one walk.
static CLASSES: [Class; 256] = {
    let mut classes = [Class { low: 0, kind: 0 }; 256];
    let mut at = 0;
    while at < 256 {
        let byte = at as u8;
        let is_word = byte.is_ascii_alphanumeric()
            || byte >= 128
            || matches!(byte, b'-' | b'.' | b'\'' | b'$' | b'@' | b'_' | b'/');
        if is_word {
            let low = if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
            let kind = match byte {
                b'.' | b'@' => PARTED,
                b'A'..=b'Z' => UPPER,
                b'a'..=b'z' => LOWER,
                _ => 0,
            };
            classes[at] = Class { low, kind };
        }
        at += 1;
    }
    classes
};

/// FNV-1a over 64 bits from a start value of ours, its upper bits mixed into the lower ones.
fn hash(start: u64, text: &[u8]) -> u64 {
    end(text.iter().fold(begin(start), |hash, &byte| with(hash, byte)))
}

fn begin(start: u64) -> u64 {
    0xcbf2_9ce4_8422_2325 ^ start.wrapping_mul(0x0000_0100_0000_01b3)
}

fn with(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

fn end(hash: u64) -> u64 {
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Text for people: printable ASCII, cut.
fn printable(text: &[u8]) -> String {
    text.iter().take(40).map(|&byte| if byte.is_ascii_graphic() { char::from(byte) } else { '?' }).collect()
}

/// An HTML text without tags, styles and scripts, white space drawn together; character references stay as they are.
///
/// Not a browser's view, and cheap: what it mistakes, it mistakes in every message alike. `facts` knows exactly what is hidden.
pub(super) fn visible(html: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'<' {
            // A word goes in at once.
            let word = rest.iter().take_while(|byte| !byte.is_ascii_whitespace() && **byte != b'<').count();
            if word > 0 {
                let (word, after) = rest.split_at(word);
                out.extend_from_slice(word);
                rest = after;
                continue;
            }
            if out.last().is_some_and(|&last| last != b' ') {
                out.push(b' ');
            }
            rest = after;
            continue;
        }
        if [b"style".as_slice(), b"script"].iter().any(|name| starts(after, name)) {
            // To the end tag; without one, nothing more is shown.
            let end = memchr::memmem::find_iter(after, b"</").find(|&at| starts(&after[at + 2..], b"s"));
            rest = end.and_then(|at| after.get(at..)).unwrap_or_default();
        }
        let Some(end) = memchr::memchr(b'>', rest) else { break };
        rest = rest.get(end + 1..).unwrap_or_default();
        if out.last().is_some_and(|&last| last != b' ') {
            out.push(b' ');
        }
    }
    out
}

fn starts(text: &[u8], name: &[u8]) -> bool {
    text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every text that the work finds, in order.
    fn all(text: &[u8], work: impl Fn(&mut Words)) -> Vec<String> {
        let mut words = Words::default();
        work(&mut words);
        let mut wanted: Vec<u32> = words.features().collect();
        wanted.sort_unstable();
        let source = |source| match source {
            Source::Tag(_, at) => Some((b"".as_slice(), Cow::Borrowed(&text[at..]))),
            _ => Some((b"".as_slice(), Cow::Borrowed(text))),
        };
        words.texts(&wanted, source).into_iter().map(|(_, text)| text).collect()
    }

    fn texts(source: Source, context: Context, text: &str) -> Vec<String> {
        all(text.as_bytes(), |words| words.source(source, context, text.as_bytes(), 100))
    }

    #[test]
    fn words_count_alone_in_pairs_and_in_pieces() {
        assert_eq!(texts(Source::Visible(0), Context::BODY, "Only $99!"), ["only", "$00", "\u{2026} $00"]);
        assert_eq!(
            texts(Source::Name(0), Context::FILE, "invoice.exe"),
            ["file:invoice.exe", "file:invoice", "file:exe"]
        );
        assert_eq!(texts(Source::Visible(0), Context::BODY, "FREE"), ["free", "FREE"]);
    }

    #[test]
    fn the_same_word_elsewhere_is_another() {
        let one = |context| {
            let mut words = Words::default();
            words.source(Source::Visible(0), context, b"viagra", 1);
            words.features().collect::<Vec<_>>()
        };
        assert_ne!(one(Context::BODY), one(Context::FILE));
        assert_ne!(one(Context::field(b"subject")), one(Context::field(b"from")));
    }

    #[test]
    fn visible_text_has_no_markup_and_ends_with_a_broken_tag() {
        let shown = |html: &str| String::from_utf8(visible(html.as_bytes())).unwrap_or_default();
        assert_eq!(shown("<p>Buy <b>now</b>\n\n here</p>"), "Buy now here ");
        assert_eq!(shown("<style>p { color: red }</style>a<SCRIPT>x</SCRIPT>b"), "a b");
        assert_eq!(shown("a<style>never closed"), "a");
        assert_eq!(shown("a <b"), "a ");
    }

    #[test]
    fn tags_count_with_their_attributes() {
        let html = b"<A HREF=\"https://x.test\">y</A><img";
        let texts = all(html, |words| words.tags(0, html));
        assert!(texts.contains(&"<a>".to_owned()) && texts.contains(&"<a> href".to_owned()));
        assert!(texts.contains(&"</a>".to_owned()) && texts.contains(&"<img>".to_owned()));
    }
}
