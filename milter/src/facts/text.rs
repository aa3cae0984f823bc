//! What a reader of the whole message reads: plain text, and the visible text of HTML.
//!
//! For the rules of the group `text`. Text is decoded once, up to [`MAX_DECODED`] bytes for all parts together; words and phrases are
//! counted in the first [`MAX_VISIBLE`] bytes of each kind.

use std::borrow::Cow;
use std::collections::HashSet;

use aws_lc_rs::digest::{SHA256, digest};
use mail_parser::{DecodeProblems, MessagePart};

use super::hosts::contains_word;
use super::html::Html;
use super::phrases::{self, Phrase, Theme, Words};
use super::scripts;
use super::urls::Finder;

/// Text decoded, all parts together; the session keeps about as much of a body.
pub const MAX_DECODED: usize = 4 << 20;
/// Plain text kept, and visible text of HTML kept, for words and phrases.
pub const MAX_VISIBLE: usize = 256 << 10;
/// Words looked at, for each of the two.
const MAX_WORDS: usize = 50_000;
/// In honest mail about one phrase of a theme comes up in so many words.
const WORDS_OF_CHANCE: usize = 400;
/// Lines of one part that are looked at one by one.
const MAX_LINES: usize = 20_000;

/// What a reader reads.
#[derive(Debug, Clone, Default)]
pub struct Text {
    /// The plain text parts.
    pub plain: String,
    /// Words in the plain text.
    pub plain_words: usize,
    /// Words in the visible text of the HTML.
    pub html_words: usize,
    /// Lines of plain text that are not empty.
    pub lines: usize,
    /// Lines of plain text that quote another message.
    pub quoted_lines: usize,
    /// The longest row of empty lines in plain text, with text before and after it.
    pub blank_lines: usize,
    /// Words of plain text that are no URLs.
    pub plain_words_besides_urls: usize,
    /// The phrases found, each once.
    pub phrases: Vec<Phrase>,
    /// The test pattern, if it is there.
    pub gtube: Option<Gtube>,
    /// A bitcoin address with a right checksum.
    pub bitcoin: Option<String>,
    /// Words that mix scripts which look alike.
    pub mixed_words: usize,
    /// Characters without width.
    pub invisible: usize,
    /// Letters and digits in the styles of mathematics.
    pub styled: usize,
    /// Letters of the Latin alphabet, and how many of them are capitals.
    pub letters: usize,
    /// See `letters`.
    pub capitals: usize,
    /// Words of the themes that are spelled in single letters: `V I A G R A`.
    pub gapped: usize,
    /// What the decoder complained about.
    pub problems: Problems,
    /// How many percent of the words of the plain text and of the HTML are not in the other, where both are given.
    pub differ: Option<u8>,
    decoded: usize,
    has_plain: bool,
}

/// The test patterns (spamassassin.apache.org/gtube, and Rspamd's variant).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gtube {
    /// The one that every filter knows: reject.
    Reject,
    /// Rspamd's for `add header`.
    AddHeader,
}

/// Trouble in decoding text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Problems {
    /// Base64 or quoted-printable with characters that do not belong there.
    pub transfer: bool,
    /// A charset nobody knows.
    pub unknown_charset: bool,
    /// Bytes that the charset does not have.
    pub charset: bool,
}

impl Text {
    /// Reads a plain text part; says whether it has characters beyond ASCII.
    pub(super) fn plain(&mut self, part: &MessagePart<'_>, finder: &mut Finder) -> bool {
        let Some(text) = self.decode(part) else { return false };
        self.has_plain = true;
        finder.text(&text);
        self.count_lines(&text);
        let room = MAX_VISIBLE.saturating_sub(self.plain.len());
        self.plain.push_str(&text[..text.floor_char_boundary(room)]);
        self.plain.push('\n');
        !text.is_ascii()
    }

    fn count_lines(&mut self, text: &str) {
        let has_urls = contains(text, "://");
        let mut blank = None;
        for line in lines(text).take(MAX_LINES) {
            let line = line.trim();
            if line.is_empty() {
                blank = blank.map(|row| row + 1);
                continue;
            }
            self.blank_lines = self.blank_lines.max(blank.unwrap_or(0));
            blank = Some(0);
            self.lines += 1;
            self.quoted_lines += usize::from(line.starts_with('>'));
            self.plain_words_besides_urls += if line.is_ascii() && !(has_urls && contains(line, "://")) {
                ascii_words(line)
            } else {
                let of_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80;
                let word = |word: &&str| !word.contains("://") && word.bytes().any(of_word);
                line.split_whitespace().filter(word).count()
            };
        }
    }

    /// Reads an HTML part; says whether it has characters beyond ASCII.
    pub(super) fn html(&mut self, part: &MessagePart<'_>, html: &mut Html, finder: &mut Finder) -> bool {
        let Some(text) = self.decode(part) else { return false };
        html.read(&text, finder);
        !text.is_ascii()
    }

    /// Counts words and phrases when all text is known.
    pub(super) fn finish(&mut self, html: &mut Html, finder: &mut Finder, missing: &mut Vec<&'static str>) {
        if self.decoded >= MAX_DECODED {
            missing.push("text");
        }
        finder.text(&html.visible);
        let plain = Words::of(&self.plain, MAX_WORDS);
        let shown = Words::of(&html.visible, MAX_WORDS);
        self.plain_words = plain.len();
        self.html_words = shown.len();
        if self.has_plain && html.present {
            self.differ = difference(&plain, &shown);
        }
        for words in [&plain, &shown] {
            words.phrases(&mut self.phrases);
            self.gapped += gapped(words);
        }
        self.drop_contained();
        for text in [&self.plain, &html.visible] {
            self.mixed_words += scripts::mixed_words(text);
            if !text.is_ascii() {
                for c in text.chars() {
                    self.invisible += usize::from(scripts::is_invisible(c));
                    self.styled += usize::from(scripts::plain(c).is_some());
                }
            }
            self.letters += count(text, |byte| byte.is_ascii_alphabetic());
            self.capitals += count(text, |byte| byte.is_ascii_uppercase());
            if self.bitcoin.is_none() {
                self.bitcoin = long_words(text).find(|word| is_bitcoin(word)).map(str::to_owned);
            }
        }
    }

    /// Drops phrases that are a part of another one that was found: `mortgage` of `mortgage rates`.
    fn drop_contained(&mut self) {
        let all = self.phrases.clone();
        self.phrases.retain(|phrase| {
            !all.iter().any(|other| {
                other.theme == phrase.theme
                    && other.text.len() > phrase.text.len()
                    && contains_word(other.text, phrase.text)
            })
        });
    }

    /// How many different phrases of a theme there are, less those that a text of that length has by chance.
    pub fn count(&self, theme: Theme) -> usize {
        let found = self.phrases.iter().filter(|phrase| phrase.theme == theme).count();
        found.saturating_sub(self.words() / WORDS_OF_CHANCE)
    }

    /// How many different phrases of a theme occur, however long the text.
    pub fn phrases_of(&self, theme: Theme) -> usize {
        self.phrases.iter().filter(|phrase| phrase.theme == theme).count()
    }

    /// The first phrases of a theme, for evidence.
    pub fn examples(&self, theme: Theme) -> String {
        let texts: Vec<_> = self
            .phrases
            .iter()
            .filter(|phrase| phrase.theme == theme)
            .map(|phrase| phrase.text)
            .take(4)
            .collect();
        texts.join(", ")
    }

    /// Words in all.
    pub fn words(&self) -> usize {
        self.plain_words.max(self.html_words)
    }

    fn decode<'m>(&mut self, part: &MessagePart<'m>) -> Option<Cow<'m, str>> {
        let room = MAX_DECODED.saturating_sub(self.decoded);
        if room == 0 {
            return None;
        }
        let text = if part.raw_body().len() <= room {
            let (text, problems) = part.text_checked()?;
            self.problems.transfer |= problems.contains(DecodeProblems::MALFORMED_TRANSFER_ENCODING);
            self.problems.unknown_charset |= problems.contains(DecodeProblems::UNKNOWN_CHARSET);
            self.problems.charset |= problems.contains(DecodeProblems::MALFORMED_CHARSET);
            text
        } else {
            part.text_prefix_bytes(room)?
        };
        self.decoded = self.decoded.saturating_add(text.len().max(part.raw_body().len().min(room)));
        if self.gtube.is_none() && contains(&text, GTUBE_TAIL) {
            self.gtube = if contains(&text, GTUBE_REJECT) {
                Some(Gtube::Reject)
            } else {
                contains(&text, GTUBE_ADD_HEADER).then_some(Gtube::AddHeader)
            };
        }
        Some(text)
    }
}

/// `str::lines` but for the CR that may end a line, found many bytes at a time.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text).filter(|text| !text.is_empty());
    std::iter::from_fn(move || {
        let here = rest?;
        let (line, after) = match memchr::memchr(b'\n', here.as_bytes()) {
            Some(end) => (&here[..end], &here[end + 1..]),
            None => (here, ""),
        };
        rest = Some(after).filter(|after| !after.is_empty());
        Some(line)
    })
}

/// `String::from_utf8_lossy`, which looks at each byte of what is valid, as nearly all is.
pub(super) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

/// `str::contains`, many bytes at a time: the standard library's search looks at each byte.
fn contains(text: &str, needle: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), needle.as_bytes()).is_some()
}

/// How many bytes are so: in pieces whose number of bytes fits into one, which the compiler counts many at a time.
fn count(text: &str, is: impl Fn(u8) -> bool) -> usize {
    let piece = |piece: &[u8]| piece.iter().fold(0u8, |sum, &byte| sum.wrapping_add(u8::from(is(byte))));
    text.as_bytes().chunks(255).map(|bytes| usize::from(piece(bytes))).sum()
}

/// How many pieces between white space (the ASCII part of Unicode's, U+000B included) have a letter or digit.
fn ascii_words(line: &str) -> usize {
    let (mut words, mut counted) = (0, false);
    for byte in line.bytes() {
        if matches!(byte, b'\t'..=b'\r' | b' ') {
            counted = false;
        } else if !counted && byte.is_ascii_alphanumeric() {
            counted = true;
            words += 1;
        }
    }
    words
}

/// The runs of ASCII letters and digits with at least [`SHORTEST_ADDRESS`] of them. Each has one at every such distance, so only those
/// places are looked at, and what is around those that fit.
fn long_words(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let outside = |byte: &u8| !byte.is_ascii_alphanumeric();
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let place = from + SHORTEST_ADDRESS - 1;
            if outside(bytes.get(place)?) {
                from = place + 1;
                continue;
            }
            let start = bytes[from..place].iter().rposition(outside).map_or(from, |at| from + at + 1);
            let end = bytes[place..].iter().position(outside).map_or(bytes.len(), |at| place + at);
            // The end is no letter, so the next run begins behind it.
            from = end + 1;
            if end - start >= SHORTEST_ADDRESS {
                return text.get(start..end);
            }
        }
    })
}

/// The shortest bitcoin address in base58; those in bech32 are longer.
const SHORTEST_ADDRESS: usize = 26;

/// How many percent of the different words are not in both; `None` where there is too little to compare.
fn difference(plain: &Words, shown: &Words) -> Option<u8> {
    const ENOUGH: usize = 20;
    /// At most so many words, so that chosen ones, which fall into one place of the table, cost little.
    fn set(words: &Words) -> HashSet<&str, phrases::Hashing> {
        let mut set = HashSet::with_capacity_and_hasher(words.len().min(MOST), phrases::Hashing::default());
        set.extend(words.iter().filter(|word| word.len() > 2).take(MOST));
        set
    }
    const MOST: usize = 5_000;
    let (plain, shown) = (set(plain), set(shown));
    if plain.len() < ENOUGH || shown.len() < ENOUGH {
        return None;
    }
    let (small, large) = if plain.len() < shown.len() { (&plain, &shown) } else { (&shown, &plain) };
    let common = small.iter().filter(|word| large.contains(*word)).count();
    u8::try_from(100 - 100 * common / small.len()).ok()
}

/// How many words of the themes are spelled in single letters. Other rows of letters are tables, enumerations and code.
fn gapped(words: &Words) -> usize {
    let (mut row, mut found) = (String::new(), 0);
    for word in words.iter().chain([""]) {
        if word.len() == 1 && word.bytes().all(|byte| byte.is_ascii_lowercase()) && row.len() < 64 {
            row.push_str(word);
            continue;
        }
        if row.len() >= 4 {
            found += usize::from(phrases::begins_phrase(&row));
        }
        row.clear();
    }
    found
}

/// Whether a word is a bitcoin address: base58 with a right checksum, or bech32's shape (BIP 173).
fn is_bitcoin(word: &str) -> bool {
    if let Some(rest) = word.strip_prefix("bc1").or_else(|| word.strip_prefix("BC1")) {
        return matches!(rest.len(), 39 | 59)
            && rest.bytes().all(|byte| BECH32.contains(&byte.to_ascii_lowercase()));
    }
    if !(SHORTEST_ADDRESS..=35).contains(&word.len()) || !word.starts_with(['1', '3']) {
        return false;
    }
    let mut number = [0u8; 25];
    for byte in word.bytes() {
        let Some(mut carry) = BASE58.iter().position(|&digit| digit == byte) else { return false };
        for place in number.iter_mut().rev() {
            carry += usize::from(*place) * 58;
            *place = (carry & 0xFF) as u8;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (payload, checksum) = number.split_at(21);
    let twice = digest(&SHA256, digest(&SHA256, payload).as_ref());
    twice.as_ref().starts_with(checksum)
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// What the patterns have in common, so that text is searched once.
const GTUBE_TAIL: &str = "JS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// The Generic Test for Unsolicited Bulk Email.
pub const GTUBE_REJECT: &str = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
/// Rspamd's variant of it (`src/libmime/message.c`).
pub const GTUBE_ADD_HEADER: &str = "YJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn bitcoin_addresses_have_a_checksum() {
        // The address of the genesis block, and BIP 173's example.
        assert!(is_bitcoin("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"));
        assert!(is_bitcoin("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"));
        assert!(!is_bitcoin("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"));
        assert!(!is_bitcoin("1234567890123456789012345678901234"));
        assert!(!is_bitcoin("bc1short"));
    }

    #[test]
    fn bytes_are_counted_beyond_one_piece() {
        let text = "aB-".repeat(1_000);
        assert_eq!(count(&text, |byte| byte.is_ascii_alphabetic()), 2_000);
        assert_eq!(count(&text, |byte| byte.is_ascii_uppercase()), 1_000);
        assert_eq!(count(&"x".repeat(510), |_| true), 510);
    }

    proptest::proptest! {
        #[test]
        fn lines_are_those_of_the_standard_library(text in "[a\u{e4}\r\n]{0,20}") {
            let trimmed = |line: &str| line.trim_end_matches('\r').to_owned();
            let expected: Vec<_> = text.lines().map(trimmed).collect();
            proptest::prop_assert_eq!(lines(&text).map(trimmed).collect::<Vec<_>>(), expected);
        }

        #[test]
        fn long_words_are_those_that_a_walk_finds(text in "([a-c0-9]{0,30}|[ .\u{e4}\n]){0,12}") {
            let walked: Vec<&str> = text
                .split(|c: char| !c.is_ascii_alphanumeric())
                .filter(|word| word.len() >= SHORTEST_ADDRESS)
                .collect();
            proptest::prop_assert_eq!(long_words(&text).collect::<Vec<_>>(), walked);
        }

        #[test]
        fn words_of_ascii_are_those_between_white_space(line in "[ -~\t\u{b}\u{c}\r\u{1c}]{0,60}") {
            let word = |word: &&str| word.bytes().any(|byte| byte.is_ascii_alphanumeric());
            proptest::prop_assert_eq!(ascii_words(&line), line.split_whitespace().filter(word).count());
        }
    }

    #[test]
    fn the_pattern_has_its_68_bytes() {
        assert_eq!(GTUBE_REJECT.len(), 68);
        assert!(GTUBE_REJECT.ends_with(GTUBE_TAIL) && GTUBE_ADD_HEADER.ends_with(GTUBE_TAIL));
    }

    #[test]
    fn letters_with_gaps_are_words() {
        assert_eq!(gapped(&Words::of("buy V I A G R A now, a b c d e f and m o r t g a g e", 100)), 2);
    }
}
