//! Lines of a header field that are too long for SMTP, folded where folding changes nothing.
//!
//! For `mending` and `signature`. smtp(8) breaks every line beyond 998 bytes (RFC 5321, 4.5.3.1.6) with CRLF and a space, in the
//! middle of a word if need be, after the milter has signed. Here such a line is folded before: where white space stands
//! already, so that unfolding gives the same bytes back (RFC 5322, 2.2.3), outside of quoted strings if possible; and where none
//! stands in time, at a place of the field's grammar where white space may be added: after the comma between two addresses,
//! between two message ids, after the semicolon before a parameter.
//!
//! It never cuts a word, never leaves a line of white space only, and does not look at lines that are short enough.

use crate::message::Header;

/// The longest line that smtp(8) leaves alone (`smtp_line_length_limit`), without its line end.
pub(super) const LIMIT: usize = 998;

/// How long our own lines become: what later hops add (a space, a changed name) still fits.
const TARGET: usize = 900;

/// Whether smtp(8) leaves the field as it is.
pub(super) fn survives(header: &Header) -> bool {
    let mut room = header.name.len() + 1;
    header.value.split(|byte| *byte == b'\n').all(|line| room_of(&mut room) + line.len() <= LIMIT)
}

/// The first line has the name in front.
fn room_of(room: &mut usize) -> usize {
    std::mem::take(room)
}

/// The value folded, none when it needs no folding. What cannot be folded stays as long as it is.
pub(super) fn folded(header: &Header) -> Option<Vec<u8>> {
    if survives(header) {
        return None;
    }
    let grammar = Grammar::of(header);
    let mut out = Vec::with_capacity(header.value.len() + header.value.len() / 256 + 8);
    let mut taken = header.name.len() + 1;
    for (number, line) in header.value.split(|byte| *byte == b'\n').enumerate() {
        if number > 0 {
            out.push(b'\n');
        }
        fold_line(line, std::mem::take(&mut taken), grammar, &mut out);
    }
    (out != header.value).then_some(out)
}

/// Where white space may be added.
#[derive(Clone, Copy)]
enum Grammar {
    /// After a comma between addresses.
    Addresses,
    /// Between `>` and `<`.
    MessageIds,
    /// After a semicolon.
    Parameters,
    /// Nowhere.
    Unstructured,
}

impl Grammar {
    fn of(header: &Header) -> Self {
        let one_of = |names: &[&str]| names.iter().any(|name| header.is(name));
        if one_of(&["From", "Sender", "Reply-To", "To", "Cc"]) {
            Self::Addresses
        } else if one_of(&["References", "In-Reply-To", "Message-ID"]) {
            Self::MessageIds
        } else if one_of(&["Content-Type", "Content-Disposition"]) {
            Self::Parameters
        } else {
            Self::Unstructured
        }
    }

    /// Whether a space may stand between these two bytes, outside of quotes, comments and brackets.
    fn divides(self, before: u8, after: u8) -> bool {
        match self {
            Self::Addresses => before == b',',
            Self::MessageIds => before == b'>' && after == b'<',
            Self::Parameters => before == b';',
            Self::Unstructured => false,
        }
    }
}

/// A place to fold: before the byte at `at`; `added` where a space must be put there.
#[derive(Clone, Copy)]
struct Place {
    at: usize,
    added: bool,
}

/// Folds one line; `taken` is what stands in front of it on the first.
fn fold_line(line: &[u8], taken: usize, grammar: Grammar, out: &mut Vec<u8>) {
    if taken + line.len() <= LIMIT {
        out.extend_from_slice(line);
        return;
    }
    let mut start = 0;
    let mut used = taken;
    // The last place so far on the current line, the better kinds first: outside of quotes, inside of quotes, where a space is to
    // be added, right after the name.
    let mut places: [Option<Place>; 4] = [None; 4];
    let mut reading = Reading::default();
    let content_end = line.trim_ascii_end().len();
    for at in 0..content_end {
        let byte = line[at];
        let quoted = reading.is_quoted();
        let blank = |byte: u8| matches!(byte, b' ' | b'\t');
        // Before white space that a word follows, and after at least one byte that is none.
        let here = if blank(byte) && at > start && !blank(line[at - 1]) {
            Some((usize::from(quoted), Place { at, added: false }))
        } else if blank(byte) && at == 0 && taken > 0 {
            Some((3, Place { at, added: false }))
        } else if at > start && !quoted && !blank(byte) && grammar.divides(line[at - 1], byte) {
            Some((2, Place { at, added: true }))
        } else {
            None
        };
        if let Some((rank, place)) = here {
            // The line up to here must go out before it is too long; a place is kept while a later one may be better. Nothing
            // but the name on the first line is the last resort.
            let length = used + (place.at - start);
            if length > TARGET
                && let Some(best) = places.iter().flatten().next().copied()
                && (best.at > start || length > LIMIT)
            {
                cut(line, &mut start, best, out);
                used = usize::from(best.added);
                places = places.map(|place| place.filter(|place| place.at > best.at));
            }
            places[rank] = Some(place);
        }
        reading.next(byte);
    }
    if used + (line.len() - start) > LIMIT
        && let Some(best) = places.iter().flatten().next().copied()
    {
        cut(line, &mut start, best, out);
    }
    out.extend_from_slice(&line[start..]);
}

fn cut(line: &[u8], start: &mut usize, place: Place, out: &mut Vec<u8>) {
    out.extend_from_slice(&line[*start..place.at]);
    out.extend_from_slice(if place.added { b"\n " } else { b"\n" });
    *start = place.at;
}

/// Where in a structured field a byte stands: quoted string, comment or angle brackets.
#[derive(Default)]
struct Reading {
    string: bool,
    escaped: bool,
    comments: u32,
}

impl Reading {
    fn is_quoted(&self) -> bool {
        self.string || self.comments > 0
    }

    fn next(&mut self, byte: u8) {
        if std::mem::take(&mut self.escaped) {
            return;
        }
        match byte {
            b'\\' if self.is_quoted() => self.escaped = true,
            b'"' if self.comments == 0 => self.string = !self.string,
            b'(' if !self.string => self.comments = self.comments.saturating_add(1),
            b')' if !self.string => self.comments = self.comments.saturating_sub(1),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn fold(name: &str, value: &str) -> Option<String> {
        folded(&Header::new(name, value)).map(|value| String::from_utf8(value).unwrap())
    }

    fn longest(name: &str, value: &str) -> usize {
        format!("{name}:{value}").split('\n').map(str::len).max().unwrap()
    }

    #[test]
    fn short_fields_are_left_alone() {
        assert_eq!(fold("Subject", " short"), None);
        assert_eq!(fold("Subject", &format!(" {}", "x".repeat(998 - 9))), None);
        assert_eq!(fold("References", &" <a@b.test>\n\t".repeat(500)), None);
    }

    #[test]
    fn folds_at_white_space_and_nothing_changes() {
        for value in [
            " word".repeat(1000),
            " <reference@example.com>".repeat(300),
            format!(" {} b", "a ".repeat(3000)),
        ] {
            for name in ["Subject", "References", "X"] {
                let folded = fold(name, &value).unwrap();
                assert!(longest(name, &folded) <= TARGET + 1, "{}", longest(name, &folded));
                assert_eq!(folded.replace('\n', ""), value);
                assert!(folded.split('\n').skip(1).all(|line| line.starts_with(' ') && line.trim() != ""));
            }
        }
    }

    #[test]
    fn a_word_of_the_whole_line_goes_to_a_line_of_its_own() {
        let word = "x".repeat(990);
        assert_eq!(fold("X-Long-Name", &format!(" {word}")), Some(format!("\n {word}")));
        assert_eq!(fold("X", &format!(" {word} {word} y")), Some(format!(" {word}\n {word} y")));
    }

    #[test]
    fn what_cannot_be_folded_stays() {
        let word = format!(" {}", "x".repeat(1200));
        assert_eq!(fold("X-Y", &format!("{word} y")), Some(format!("\n{word}\n y")));
        assert!(!survives(&Header::new("X-Y", word.clone())));
        let blanks = format!(" x{}", " ".repeat(1200));
        assert_eq!(fold("X", &blanks).unwrap().replace('\n', ""), blanks);
    }

    #[test]
    fn prefers_places_outside_of_quotes() {
        let value = format!(" {} \"{}\" <a@b.test>", "name".repeat(100), "in quotes ".repeat(85));
        let folded = fold("From", &value).unwrap();
        assert!(folded.split('\n').any(|line| line.starts_with(" \"in quotes")), "{folded}");
        // Where there is no other way, a quoted string is folded where white space stands in it: the same string (RFC 5322, 3.2.4).
        let value = format!(" \"{}\" <a@b.test>", "in quotes ".repeat(150));
        assert_eq!(fold("From", &value).unwrap().replace('\n', ""), value);
    }

    #[test]
    fn adds_white_space_only_where_the_grammar_lets_it() {
        let many = format!(" \"a,b\" <a@b.test>{}", ",c@d.test".repeat(300));
        let folded = fold("To", &many).unwrap();
        assert!(longest("To", &folded) <= TARGET + 2);
        let bare = |text: &str| text.replace(['\n', ' '], "");
        assert_eq!(bare(&folded), bare(&many));
        assert!(folded.contains("\"a,b\""));
        assert!(!survives(&Header::new("Subject", many.replace(' ', ""))));
        assert_eq!(fold("Subject", &many.replace(' ', "")), None);

        let ids = format!(" {}", "<a@b.test>".repeat(300));
        let folded = fold("References", &ids).unwrap();
        assert!(
            folded.split('\n').all(|line| line.trim().starts_with('<') && line.ends_with('>')),
            "{folded}"
        );
        let parameters = format!(" text/plain{}", ";a=b".repeat(400));
        assert!(fold("Content-Type", &parameters).unwrap().split('\n').all(|line| line.len() < LIMIT));
    }

    proptest! {
        #[test]
        fn unfolding_gives_the_same_words(
            pieces in proptest::collection::vec(prop_oneof![
                Just(" ".to_owned()), Just("\t".to_owned()), Just("\n ".to_owned()), Just("\"".to_owned()), Just("(".to_owned()),
                Just("word".repeat(30)), Just("x".repeat(1100)), Just("\\".to_owned()), Just(",".to_owned()), Just("<a@b>".to_owned()),
            ], 0..80),
            name in prop_oneof![Just("Subject"), Just("To"), Just("References")],
        ) {
            let value = pieces.concat();
            let header = Header::new(name, value.as_bytes());
            let Some(folded) = folded(&header) else { return Ok(()) };
            let folded = String::from_utf8(folded).unwrap();
            // Nothing but folds, and spaces after them, was added.
            let bare = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(bare(&folded), bare(&value));
            if name == "Subject" {
                prop_assert_eq!(folded.replace('\n', ""), value.replace('\n', ""));
            }
            // Every line that is new is a continuation with something in it.
            for line in folded.split('\n').skip(1) {
                let was_there = value.contains(&format!("\n{}", line));
                prop_assert!(line.starts_with([' ', '\t']) || was_there);
            }
        }
    }
}
