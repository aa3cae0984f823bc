//! Text cut into words: the view `words` of [`features`](super::features).
//!
//! A word is a run of letters, digits, bytes beyond ASCII and `- . ' $ @ _ /`, in lower case, each digit as `0`: prices, numbers and
//! identifiers differ in every message, their shape does not. Each word counts together with its context (which header field, the body, which tag),
//! alone and as a pair with the word before; parts of names and addresses (`mail.example.com`) also count alone. Text without spaces, such
//! as Chinese, has no words here; the 5-grams see it.

use std::collections::HashSet;

/// Words longer than this are encoded data.
const MAX_WORD: usize = 60;
/// Tags read of an HTML part, and the bytes read of one.
const MAX_TAGS: usize = 1_000;
const MAX_TAG: usize = 300;
const MAX_TAG_WORDS: usize = 30;

/// What a word belongs to: the start value of its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context(u64, &'static str);

impl Context {
    /// The body's visible text.
    pub(super) const BODY: Self = Self(20, "");
    /// The content type of a MIME part.
    pub(super) const MIME: Self = Self(11, "mime:");
    /// The file name of a MIME part.
    pub(super) const FILE: Self = Self(12, "file:");
    /// The start of the hash over the order of all field names.
    pub(super) const ORDER: u64 = 7;
    /// A header value: each field is a context of its own.
    pub(super) fn field(name: &[u8]) -> Self {
        Self(hash(1, name), "")
    }
}

/// The hashes found, or the text behind some of them.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) features: Vec<u64>,
    texts: Option<Texts>,
    /// What stands before a word in a text.
    prefix: String,
}

/// Texts looked for, and found.
#[derive(Debug)]
struct Texts {
    wanted: HashSet<u32>,
    feature: fn(u64) -> u32,
    found: Vec<(u32, String)>,
}

impl Words {
    /// Looks for the texts of these features, of which `feature` gives one for each hash.
    pub(super) fn explaining(wanted: &[u32], feature: fn(u64) -> u32) -> Self {
        let texts = Texts { wanted: wanted.iter().copied().collect(), feature, found: Vec::new() };
        Self { texts: Some(texts), ..Self::default() }
    }

    /// The texts that were found, in the order of the message.
    pub(super) fn texts(self) -> Vec<(u32, String)> {
        self.texts.map(|texts| texts.found).unwrap_or_default()
    }

    /// The name of a header field: alone, in its spelling, and with all names before it.
    pub(super) fn name(&mut self, spelled: &[u8], name: &[u8], order: &mut u64) {
        *order = hash(*order, name);
        self.put(hash(2, name), || format!("field {}", printable(name)));
        self.put(hash(3, spelled), || format!("spelling {}", printable(spelled)));
        self.put(*order, || format!("order up to {}", printable(name)));
        if self.texts.is_some() {
            self.prefix = format!("{}:", printable(name));
        }
    }

    /// The words of a text in its context, at most `limit` of them.
    pub(super) fn text(&mut self, context: Context, text: &[u8], limit: usize) {
        let Context(start, shown) = context;
        if self.texts.is_some() && (start == Context::BODY.0 || !shown.is_empty()) {
            shown.clone_into(&mut self.prefix);
        }
        let mut before: Option<u64> = None;
        let mut lower = [0u8; MAX_WORD];
        let words =
            text.split(|&byte| !is_word(byte)).filter(|word| !word.is_empty() && word.len() <= MAX_WORD);
        for word in words.take(limit) {
            let Some(lower) = lower.get_mut(..word.len()) else { continue };
            for (low, &byte) in lower.iter_mut().zip(word) {
                *low = if byte.is_ascii_digit() { b'0' } else { byte.to_ascii_lowercase() };
            }
            let this = hash(start, lower);
            let prefix = std::mem::take(&mut self.prefix);
            self.put(this, || format!("{prefix}{}", printable(lower)));
            if let Some(before) = before {
                let pair = this.wrapping_mul(31).wrapping_add(before.rotate_left(7));
                self.put(pair, || format!("{prefix}\u{2026} {}", printable(lower)));
            }
            if lower.iter().any(|byte| matches!(byte, b'.' | b'@')) {
                let pieces = lower.split(|byte| matches!(byte, b'.' | b'@' | b'/'));
                for piece in pieces.filter(|piece| !piece.is_empty()) {
                    self.put(hash(start ^ 99, piece), || format!("{prefix}{}", printable(piece)));
                }
            }
            if word.len() > 2
                && word.iter().any(u8::is_ascii_uppercase)
                && !word.iter().any(u8::is_ascii_lowercase)
            {
                self.put(hash(start ^ 5, word), || format!("{prefix}{}", printable(word)));
            }
            self.prefix = prefix;
            before = Some(this);
        }
    }

    /// The tags of an HTML text and the words of their attributes.
    pub(super) fn tags(&mut self, html: &[u8]) {
        let mut rest = html;
        for _ in 0..MAX_TAGS {
            let Some(open) = memchr::memchr(b'<', rest) else { return };
            let tag = rest.get(open + 1..).unwrap_or_default();
            let end = memchr::memchr(b'>', tag).unwrap_or(tag.len());
            let inner = tag.get(..end.min(MAX_TAG)).unwrap_or_default();
            let name_end = inner.iter().position(u8::is_ascii_whitespace).unwrap_or(inner.len());
            let (name, attributes) = inner.split_at(name_end);
            let name = name.to_ascii_lowercase();
            let context = hash(31, &name);
            self.put(context, || format!("<{}>", printable(&name)));
            if !name.starts_with(b"/") {
                if self.texts.is_some() {
                    self.prefix = format!("<{}> ", printable(&name));
                }
                self.text(Context(context, ""), attributes, MAX_TAG_WORDS);
            }
            rest = tag.get(end..).unwrap_or_default();
        }
    }

    fn put(&mut self, hash: u64, text: impl FnOnce() -> String) {
        match &mut self.texts {
            None => self.features.push(hash),
            Some(texts) => {
                let feature = (texts.feature)(hash);
                if texts.wanted.remove(&feature) {
                    texts.found.push((feature, text()));
                }
            }
        }
    }
}

/// A number for a mailbox owner.
pub(super) fn owner(address: &str) -> u64 {
    hash(40, address.as_bytes())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || byte >= 128
        || matches!(byte, b'-' | b'.' | b'\'' | b'$' | b'@' | b'_' | b'/')
}

/// FNV-1a over 64 bits from a start value of ours, its upper bits mixed into the lower ones.
fn hash(start: u64, text: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ start.wrapping_mul(0x0000_0100_0000_01b3);
    for &byte in text {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
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
            if !byte.is_ascii_whitespace() {
                out.push(byte);
            } else if out.last().is_some_and(|&last| last != b' ') {
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

    /// Every text that the work puts, in order.
    fn all(work: impl Fn(&mut Words)) -> Vec<String> {
        let mut words = Words::default();
        work(&mut words);
        let wanted: Vec<u32> = words.features.iter().map(|&hash| hash as u32).collect();
        let mut words = Words::explaining(&wanted, |hash| hash as u32);
        work(&mut words);
        words.texts().into_iter().map(|(_, text)| text).collect()
    }

    fn texts(context: Context, text: &str) -> Vec<String> {
        all(|words| words.text(context, text.as_bytes(), 100))
    }

    #[test]
    fn words_count_alone_in_pairs_and_in_pieces() {
        assert_eq!(texts(Context::BODY, "Only $99!"), ["only", "$00", "\u{2026} $00"]);
        assert_eq!(texts(Context::FILE, "invoice.exe"), ["file:invoice.exe", "file:invoice", "file:exe"]);
        assert_eq!(texts(Context::BODY, "FREE"), ["free", "FREE"]);
    }

    #[test]
    fn the_same_word_elsewhere_is_another() {
        let one = |context| {
            let mut words = Words::default();
            words.text(context, b"viagra", 1);
            words.features
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
        let texts = all(|words| words.tags(b"<A HREF=\"https://x.test\">y</A><img"));
        assert!(texts.contains(&"<a>".to_owned()) && texts.contains(&"<a> href".to_owned()));
        assert!(texts.contains(&"</a>".to_owned()) && texts.contains(&"<img>".to_owned()));
    }
}
