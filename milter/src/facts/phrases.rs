//! Phrases by which unwanted mail of a theme is known, and the words of a text in the form in which they are compared.
//!
//! For `text`. A phrase proves nothing; several different ones of one theme do, and how many is the rule's business. Every phrase is
//! one that honest mail rarely has; the table grows by measurement on labelled mail, never by copying somebody's message.
//!
//! Words are runs of letters and digits in lower case; a number is `#`, a currency sign `$`, `%` is itself, all else is a gap.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use super::themes::THEMES;

/// What a phrase is typical of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Theme {
    /// Somebody's millions need your help to leave the country.
    AdvanceFee,
    /// You have won.
    Lottery,
    /// Pay, or your secrets come out.
    Extortion,
    /// Confirm your account, or lose it.
    Credentials,
    /// Pills.
    Pharmacy,
    /// Loans, mortgages, credit, debt.
    Loans,
    /// Get rich at home.
    Money,
    /// Shares that are about to rise.
    Stocks,
    /// Sex.
    Adult,
    /// Copies, cheap software, diplomas, anything sold to strangers.
    Goods,
    /// What bulk mail says about itself.
    Bulk,
    /// Addresses and visitors for sale.
    Marketing,
    /// A parcel, an invoice, a voice message that waits.
    Pretext,
    /// A stranger's company introduces itself.
    Solicitation,
    /// Asks who you are and where you live.
    Details,
    /// Wants you to click.
    Click,
    /// Greets nobody in particular.
    Greeting,
    /// What a web site's form sends to whoever filled it in, or is said to have.
    Form,
}

/// The words of a text, as phrases are compared with them.
#[derive(Debug, Default)]
pub struct Words {
    /// All words behind each other.
    text: String,
    /// Where each one ends.
    ends: Vec<usize>,
}

impl Words {
    /// Divides a text into words, at most `limit` of them.
    pub fn of(text: &str, limit: usize) -> Self {
        let mut words = Cutter {
            text: Vec::with_capacity(text.len()),
            ends: Vec::with_capacity(text.len() / 6),
            start: 0,
            digits: true,
        };
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            // Most of a text is letters and digits.
            let folded = FOLDED[usize::from(byte)];
            if folded != 0 {
                words.text.push(folded);
                words.digits &= folded <= b'9';
                at += 1;
                continue;
            }
            let c = if byte.is_ascii() { char::from(byte) } else { text[at..].chars().next().unwrap_or(' ') };
            at += c.len_utf8();
            match c {
                // Apostrophes and characters without width are no gaps; separators inside numbers neither.
                '\'' | '\u{2019}' => {}
                ',' | '.' if words.digits && words.text.len() > words.start => {}
                _ if !c.is_ascii() && super::scripts::is_invisible(c) => {}
                _ if !c.is_ascii() && c.is_alphanumeric() => {
                    let c = super::scripts::plain(c).unwrap_or(c);
                    for lower in c.to_lowercase() {
                        words.text.extend_from_slice(lower.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                    words.digits = false;
                }
                _ => {
                    words.close();
                    match c {
                        '$' | '€' | '£' => words.sign(b'$'),
                        '%' => words.sign(b'%'),
                        _ => {}
                    }
                    if words.ends.len() >= limit {
                        break;
                    }
                }
            }
        }
        words.finish(limit)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The word at that place.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }

    /// All words in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The phrases that occur, each once.
    pub fn phrases(&self, found: &mut Vec<Phrase>) {
        let (index, bytes) = (&*INDEX, self.text.as_bytes());
        let mut start = 0;
        for (at, &end) in self.ends.iter().enumerate() {
            let begin = std::mem::replace(&mut start, end);
            // Most words begin no phrase, and are looked at no further.
            if !bytes.get(begin..end).is_some_and(|word| index.may_know(word)) {
                continue;
            }
            let (word, rest) = (&self.text[begin..end], &self.text[begin..]);
            for known in index.get(word).into_iter().flatten() {
                // The letter behind the first word, then all: they rule out nearly all.
                if known.next.is_none_or(|next| rest.as_bytes().get(word.len()) == Some(&next))
                    && rest.starts_with(&*known.letters)
                    && known
                        .ends
                        .iter()
                        .enumerate()
                        .all(|(word, end)| self.ends.get(at + word) == Some(&(begin + end)))
                    && !found.contains(&known.phrase)
                {
                    found.push(known.phrase);
                }
            }
        }
    }
}

/// Letters and digits of ASCII as they stand in words, 0 for every other byte.
const FOLDED: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Words while they are cut out of a text.
struct Cutter {
    /// What [`Words::text`] will be: whole characters.
    text: Vec<u8>,
    ends: Vec<usize>,
    /// Where the word under way begins.
    start: usize,
    /// Whether it has digits alone so far.
    digits: bool,
}

impl Cutter {
    /// Ends the word under way, if there is one.
    fn close(&mut self) {
        if self.text.len() > self.start {
            if self.digits {
                self.text.truncate(self.start);
                self.text.push(b'#');
            }
            self.start = self.text.len();
            self.ends.push(self.start);
        }
        self.digits = true;
    }

    /// A word of one sign.
    fn sign(&mut self, sign: u8) {
        self.text.push(sign);
        self.digits = false;
        self.close();
    }

    fn finish(mut self, limit: usize) -> Words {
        if self.ends.len() < limit {
            self.close();
        }
        Words { text: String::from_utf8(self.text).unwrap_or_default(), ends: self.ends }
    }
}

/// A phrase and its theme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Phrase {
    /// The theme.
    pub theme: Theme,
    /// Its words, one blank between them.
    pub text: &'static str,
}

/// Whether a phrase begins with that word.
pub(super) fn begins_phrase(word: &str) -> bool {
    INDEX.get(word).is_some()
}

/// A phrase in the form in which it is searched for.
struct Known {
    phrase: Phrase,
    /// Its words behind each other, as [`Words`] has them.
    letters: Box<str>,
    /// The letter behind its first word, if it has more.
    next: Option<u8>,
    /// Where each one ends.
    ends: Box<[usize]>,
}

impl Known {
    fn new(phrase: Phrase) -> Self {
        let mut letters = String::with_capacity(phrase.text.len());
        let mut ends = Vec::new();
        for word in phrase.text.split(' ') {
            letters.push_str(word);
            ends.push(letters.len());
        }
        let next = ends.first().and_then(|&end| letters.as_bytes().get(end)).copied();
        Self { phrase, letters: letters.into(), next, ends: ends.into() }
    }
}

/// The phrases by their first word: the table of `themes` in the order in which it is searched.
static INDEX: LazyLock<Index> = LazyLock::new(|| {
    let mut index = Index { shapes: vec![0; SHAPES / 64].into(), phrases: HashMap::default() };
    for (theme, texts) in THEMES {
        for text in texts.split(", ") {
            let first = text.split(' ').next().unwrap_or_default();
            let shape = shape(first.as_bytes());
            if let Some(known) = index.shapes.get_mut(shape / 64) {
                *known |= 1 << (shape % 64);
            }
            index.phrases.entry(first).or_default().push(Known::new(Phrase { theme: *theme, text }));
        }
    }
    index
});

struct Index {
    /// The shapes that first words have, a bit each: most words of a text have none of them, and are looked up no further.
    shapes: Box<[u64]>,
    phrases: HashMap<&'static str, Vec<Known>, Hashing>,
}

impl Index {
    /// Whether a phrase may begin with that word.
    fn may_know(&self, word: &[u8]) -> bool {
        let shape = shape(word);
        self.shapes.get(shape / 64).is_some_and(|known| known >> (shape % 64) & 1 == 1)
    }

    fn get(&self, word: &str) -> Option<&Vec<Known>> {
        if self.may_know(word.as_bytes()) { self.phrases.get(word) } else { None }
    }
}

/// The first three letters of a word, and whether it is a long one: below [`SHAPES`].
fn shape(word: &[u8]) -> usize {
    let letter = |at: usize| word.get(at).map_or(0, |byte| usize::from(*byte & 31));
    letter(0) << 11 | letter(1) << 6 | letter(2) << 1 | usize::from(word.len() > 6)
}

/// Five bits of three letters and one of length: 8 KiB, which stay in the processor's nearest memory.
const SHAPES: usize = 1 << 16;

/// How short words are hashed.
pub(super) type Hashing = BuildHasherDefault<Fnv>;

/// FNV-1a (RFC 9923): for words of a few bytes several times as fast as the standard library's, which resists chosen keys. Here the keys
/// are ours; a stranger chooses only what is looked up.
#[derive(Clone, Copy)]
pub(super) struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn words_are_what_phrases_are_made_of() {
        let words = Words::of("It's US$1,000.00 -- 50% OFF!  na\u{ef}ve v\u{200b}ia", 100);
        assert_eq!(
            words.iter().collect::<Vec<_>>(),
            ["its", "us", "$", "#", "#", "%", "off", "na\u{ef}ve", "via"]
        );
        assert_eq!(Words::of("a b c d", 2).len(), 2);
        assert!(Words::of("... --", 9).is_empty());
    }

    #[test]
    fn words_end_where_phrases_do() {
        let found = |text: &str| {
            let mut found = Vec::new();
            Words::of(text, 100).phrases(&mut found);
            // A phrase may stand under several themes.
            let mut texts: Vec<_> = found.iter().map(|phrase| phrase.text).collect();
            texts.dedup();
            texts
        };
        assert_eq!(found("we have dear userland here"), Vec::<&str>::new());
        assert_eq!(found("we have dear paypal"), ["dear paypal"]);
        assert_eq!(found("a dear"), Vec::<&str>::new());
    }

    #[test]
    fn every_phrase_of_the_table_is_written_in_words() {
        for (theme, texts) in THEMES {
            for text in texts.split(", ") {
                let words = Words::of(text.replace('#', "1").as_str(), 100);
                let spelled = words.iter().collect::<Vec<_>>().join(" ");
                assert_eq!(spelled, text, "{theme:?}");
            }
        }
    }

    #[test]
    fn a_phrase_is_found_once() {
        let mut found = Vec::new();
        Words::of("The MORTGAGE rates: mortgage, 30 % APR", 100).phrases(&mut found);
        let texts: Vec<_> = found.iter().map(|phrase| phrase.text).collect();
        assert_eq!(texts, ["mortgage", "mortgage rates", "% apr"]);
    }
}
