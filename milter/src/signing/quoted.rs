//! Quoted-printable (RFC 2045, 6.7), written.
//!
//! For `mending`. Byte-transparent: decoding gives the same bytes, whatever character set they are in. White space at the ends of
//! lines is encoded, no line is longer than [`COLUMNS`], and nothing is written that a mail program, a boundary (RFC 2046, 5.1.1)
//! or a mailbox file could take for something else: a lone dot, `From ` at the beginning of a line, `--` after a soft line break.
//!
//! It expects CRLF line ends; a CR or LF of its own is data, and encoded.

/// The longest line (RFC 2045, 6.7, rule 5).
const COLUMNS: usize = 76;

/// What the text is before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Text: `=` is a character of it.
    Plain,
    /// Quoted-printable already, but with lines too long or with 8-bit bytes: `=` stays what it is.
    Quoted,
}

/// Appends the text encoded.
pub(super) fn encode(text: &[u8], source: Source, out: &mut Vec<u8>) {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.windows(2).position(|pair| pair == b"\r\n");
        let line = &rest[..end.unwrap_or(rest.len())];
        encode_line(line, source, out);
        match end {
            Some(end) => {
                out.extend_from_slice(b"\r\n");
                rest = &rest[end + 2..];
            }
            None => return,
        }
    }
}

fn encode_line(line: &[u8], source: Source, out: &mut Vec<u8>) {
    let mut writer = Line { out, column: 0 };
    let mut at = 0;
    while at < line.len() {
        let (byte, rest) = (line[at], &line[at + 1..]);
        let fresh = writer.column == 0;
        let last = rest.is_empty();
        match byte {
            b'=' if source == Source::Quoted => {
                let hex = rest.len() >= 2 && rest[..2].iter().all(u8::is_ascii_hexdigit);
                let token = if hex { &line[at..at + 3] } else { &line[at..=at] };
                // A soft line break of the text itself takes the last column, as ours would.
                writer.put(token, last);
                at += token.len();
                continue;
            }
            b' ' | b'\t' if !last || source == Source::Quoted => writer.put(&[byte], last),
            b'.' if fresh && last => writer.escape(byte, last),
            b'F' if fresh && rest.starts_with(b"rom ") => writer.escape(byte, last),
            // Only a line that began so already may begin with "--".
            b'-' if (fresh && at > 0) || writer.would_wrap(1, last) => writer.escape(byte, last),
            b'F' | b'.' if writer.would_wrap(1, last) => writer.escape(byte, last),
            b'!'..=b'<' | b'>'..=b'~' => writer.put(&[byte], last),
            _ => writer.escape(byte, last),
        }
        at += 1;
    }
}

struct Line<'a> {
    out: &'a mut Vec<u8>,
    column: usize,
}

impl Line<'_> {
    /// Whether so many bytes need a new line first: the last column belongs to the soft line break, unless the line ends here.
    fn would_wrap(&self, length: usize, last: bool) -> bool {
        self.column + length > COLUMNS - usize::from(!last)
    }

    fn put(&mut self, token: &[u8], last: bool) {
        if self.would_wrap(token.len(), last) {
            self.out.extend_from_slice(b"=\r\n");
            self.column = 0;
        }
        self.out.extend_from_slice(token);
        self.column += token.len();
    }

    fn escape(&mut self, byte: u8, last: bool) {
        const HEX: [u8; 16] = *b"0123456789ABCDEF";
        self.put(&[b'=', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]], last);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    fn encoded(text: &[u8], source: Source) -> String {
        let mut out = Vec::new();
        encode(text, source, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn examples() {
        for (text, expected) in [
            (&b"plain = text\r\n"[..], "plain =3D text\r\n"),
            ("\u{fc}ber\r\n".as_bytes(), "=C3=BCber\r\n"),
            (b"blank at the end \r\ntab\t\r\n \r\n", "blank at the end=20\r\ntab=09\r\n=20\r\n"),
            (b".\r\n..\r\nFrom x\r\n", "=2E\r\n..\r\n=46rom x\r\n"),
            (b"no end ", "no end=20"),
            (b"a\rb\nc\0", "a=0Db=0Ac=00"),
            (b"", ""),
            (b"\r\n\r\n", "\r\n\r\n"),
            (b"--looks like\r\n", "--looks like\r\n"),
        ] {
            assert_eq!(encoded(text, Source::Plain), expected);
        }
    }

    #[test]
    fn lines_of_76_and_what_they_begin_with() {
        let exactly = format!("{}\r\n", "x".repeat(76));
        assert_eq!(encoded(exactly.as_bytes(), Source::Plain), exactly);
        let one_more = encoded(format!("{}\r\n", "x".repeat(77)).as_bytes(), Source::Plain);
        assert_eq!(one_more, format!("{}=\r\nxx\r\n", "x".repeat(75)));
        for (begins, escaped) in [("--b", "=2D"), ("From x", "=46"), (".", "=2E")] {
            let text = format!("{}{begins} and more\r\n", "x".repeat(75));
            let lines = encoded(text.as_bytes(), Source::Plain);
            assert!(lines.split("\r\n").nth(1).unwrap().starts_with(escaped), "{lines}");
        }
    }

    #[test]
    fn what_is_encoded_already_is_not_encoded_again() {
        let text = format!("a=3D{}=\r\nsoft =FC\u{ff}= x\r\n", "=C3=BC".repeat(200));
        let bytes: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let lines = encoded(&bytes, Source::Quoted);
        assert!(lines.split("\r\n").all(|line| line.len() <= COLUMNS), "{lines}");
        assert!(lines.contains("soft =FC=FF= x"));
        assert_eq!(lines.matches("=C3").count(), 200);
        assert_eq!(decoded(lines.as_bytes()), decoded(&bytes));
    }

    /// Decoding by the rules of RFC 2045, and lenient where it is.
    fn decoded(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < text.len() {
            let hex = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
            match text[at] {
                b'=' if text[at + 1..].starts_with(b"\r\n") => at += 3,
                b'=' => match (hex(at + 1), hex(at + 2)) {
                    (Some(high), Some(low)) => {
                        out.push((high * 16 + low) as u8);
                        at += 3;
                    }
                    _ => {
                        out.push(b'=');
                        at += 1;
                    }
                },
                byte => {
                    out.push(byte);
                    at += 1;
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn decoding_gives_the_same_bytes(
            pieces in proptest::collection::vec(prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..90),
                Just(b"\r\n".to_vec()), Just(b" ".to_vec()), Just(b"--".to_vec()), Just(b"From ".to_vec()), Just(b".".to_vec()), Just(b"=".to_vec()),
            ], 0..20)
        ) {
            let text = pieces.concat();
            let lines = encoded(&text, Source::Plain);
            prop_assert_eq!(decoded(lines.as_bytes()), text);
            for line in lines.split("\r\n") {
                prop_assert!(line.len() <= COLUMNS && line.is_ascii() && !line.ends_with([' ', '\t']));
            }
        }
    }
}
