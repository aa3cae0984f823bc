//! Characters that deceive: scripts mixed in one word, characters nobody sees, characters that turn the line around.
//!
//! For `subject`, `text`, `urls` and `parts`. Knows only the scripts whose letters are confused in practice (Unicode TR 39 has
//! them all): Latin, Greek, Cyrillic.

/// The scripts that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    Greek,
    Cyrillic,
    Other,
}

fn script(c: char) -> Option<Script> {
    let script = match c {
        'a'..='z' | 'A'..='Z' | '\u{C0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' => Script::Latin,
        '\u{370}'..='\u{3FF}' | '\u{1F00}'..='\u{1FFF}' => Script::Greek,
        '\u{400}'..='\u{52F}' => Script::Cyrillic,
        _ if c.is_alphabetic() => Script::Other,
        _ => return None,
    };
    Some(script)
}

/// How many words mix Latin letters with Greek or Cyrillic ones.
pub fn mixed_words(text: &str) -> usize {
    let (mut at, mut mixed) = (0, 0);
    // From one character beyond ASCII to the next: words without one are not looked at.
    while let Some(place) = beyond_ascii(text, at) {
        let rest = &text[place..];
        let end = place + rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        if end == place {
            at = place + rest.chars().next().map_or(1, char::len_utf8);
            continue;
        }
        let before = &text[at..place];
        let start = before.char_indices().rfind(|(_, c)| !c.is_alphabetic());
        let start = start.map_or(at, |(before, c)| at + before + c.len_utf8());
        mixed += usize::from(is_mixed(&text[start..end]));
        at = end;
    }
    mixed
}

/// Where the next character beyond ASCII begins.
fn beyond_ascii(text: &str, from: usize) -> Option<usize> {
    let bytes = text.as_bytes().get(from..)?;
    let chunk = bytes.chunks(CHUNK).position(|chunk| !chunk.is_ascii())? * CHUNK;
    let place = bytes.get(chunk..)?.iter().position(|byte| !byte.is_ascii())?;
    Some(from + chunk + place)
}

/// As many bytes are looked at together.
const CHUNK: usize = 64;

/// Whether one word mixes Latin with Greek or Cyrillic. A single letter of the other script, such as the `µ` of `µm` or the `Δ`
/// of `Δt`, is a sign and no deception.
pub fn is_mixed(word: &str) -> bool {
    let (mut latin, mut other) = (0, 0);
    for c in word.chars() {
        match script(c) {
            Some(Script::Latin) => latin += 1,
            Some(Script::Greek | Script::Cyrillic) => other += 1,
            _ => {}
        }
    }
    latin >= 1 && other >= 1 && latin + other >= 4
}

/// Whether a word has no Latin letter and is read as one that has nothing else: `аррӏе` in Cyrillic (UTS 39, 4.2, whole-script confusables).
/// Words of three letters are too often real ones.
pub fn passes_for_latin(word: &str) -> bool {
    let letters = word.chars().filter(|c| c.is_alphabetic());
    letters.clone().count() >= 4
        && (letters.clone().all(|c| CYRILLIC_TWINS.contains(c))
            || letters.clone().all(|c| GREEK_TWINS.contains(c)))
}

/// Cyrillic letters that look like a c d e h i j l o p q s v w x y.
const CYRILLIC_TWINS: &str = "асԁеһіјӏорԛѕѵԝху";
/// Greek ones that look like a i k n o p u v w x y.
const GREEK_TWINS: &str = "αικηορυνωχγ";

/// Characters without width that are no part of a script's spelling: zero-width space, word joiner, soft hyphen, BOM.
///
/// The joiners U+200C and U+200D are not among them: Persian, Indic scripts and emoji need them.
pub fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}' | '\u{AD}' | '\u{180E}' | '\u{034F}')
}

/// Characters that reverse the order of what follows (Unicode TR 9): overrides, not the marks that mixed text needs.
pub fn reverses(c: char) -> bool {
    matches!(c, '\u{202D}' | '\u{202E}')
}

/// The plain letter or digit of one in a style of mathematics (Unicode's block Mathematical Alphanumeric Symbols: bold, script, sans-serif and
/// so on, each with its capitals and small letters in order).
pub fn plain(c: char) -> Option<char> {
    let place = |first: u32, of: &[u8]| {
        let number = u32::from(c).checked_sub(first)? as usize % of.len();
        of.get(number).copied().map(char::from)
    };
    match c {
        '\u{1D400}'..='\u{1D6A3}' => place(0x1D400, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
        '\u{1D7CE}'..='\u{1D7FF}' => place(0x1D7CE, b"0123456789"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    proptest::proptest! {
        #[test]
        fn words_are_those_between_what_is_no_letter(text in "([a-c ,.\u{b5}]|\u{430}|\u{3b1}|\u{e9}|\u{2014}){0,200}") {
            let mixed = text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_ascii() && is_mixed(word));
            proptest::prop_assert_eq!(mixed_words(&text), mixed.count());
        }
    }

    #[test]
    fn words_that_mix_scripts_are_counted() {
        assert_eq!(mixed_words("p\u{430}yp\u{430}l account"), 1);
        assert_eq!(mixed_words("привет hello жизнь"), 0);
        assert_eq!(mixed_words("5 µm Δt naïve Straße"), 0);
        assert_eq!(mixed_words("plain"), 0);
    }

    #[test]
    fn a_word_of_another_script_may_pass_for_latin() {
        for (word, passes) in [
            ("аррӏе", true),
            ("ѕсоре", true),
            ("apple", false),
            ("привет", false),
            ("оса", false),
            ("аррle", false),
            ("νοννο", true),
            ("", false),
        ] {
            assert_eq!(passes_for_latin(word), passes, "{word}");
        }
    }

    #[test]
    fn styles_of_mathematics_are_letters_all_the_same() {
        let plainly = |text: &str| text.chars().map(|c| plain(c).unwrap_or(c)).collect::<String>();
        assert_eq!(
            plainly("\u{1D400}\u{1D425}\u{1D41E}\u{1D42B}\u{1D42D} \u{1D5EC}\u{1D7EE}\u{1D7F0}!"),
            "Alert Y24!"
        );
    }
}
