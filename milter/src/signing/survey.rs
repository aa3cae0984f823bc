//! What a body holds that smtp(8) would change, seen while it arrives: lines that are too long, and 8-bit bytes.
//!
//! For `transaction`, which keeps no second look at a body that needs none, and `mending`, which is called only where there is something.

use super::folding::LIMIT;

/// What was seen of a body so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Survey {
    /// The length of the line under way.
    line: usize,
    longest: usize,
    size: u64,
    /// How many bytes have their highest bit set.
    eight_bit: u64,
    labelled: bool,
}

impl Survey {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.size += piece.len() as u64;
        if !piece.is_ascii() {
            self.eight_bit += piece.iter().filter(|byte| !byte.is_ascii()).count() as u64;
        }
        for line in piece.split_inclusive(|byte| *byte == b'\n') {
            if self.line == 0 && matches!(line[0], b'C' | b'c') {
                self.labelled |= may_label(line);
            }
            self.line += line.len();
            if line.ends_with(b"\n") {
                // Without CR and LF; CR may have come with the piece before.
                self.longest = self.longest.max(self.line.saturating_sub(2));
                self.line = 0;
            }
        }
    }

    /// Whether a line is longer than smtp(8) leaves it.
    pub fn has_long_lines(&self) -> bool {
        self.longest.max(self.line) > LIMIT
    }

    /// Whether there is a byte beyond ASCII.
    pub fn is_eight_bit(&self) -> bool {
        self.eight_bit > 0
    }

    /// Whether the body may have a part that says of itself that it is 8-bit or binary; a "no" is certain.
    pub fn may_be_labelled(&self) -> bool {
        self.labelled
    }

    /// The most bytes that the body takes when everything in it is encoded that must be, and each seventh byte besides.
    pub(super) fn encoded_size(&self) -> u64 {
        self.size + 2 * self.eight_bit + self.size / 3
    }
}

/// Whether the line, or what a piece has of it, may be a `Content-Transfer-Encoding` of 8-bit or binary content.
fn may_label(line: &[u8]) -> bool {
    const NAME: &[u8] = b"content-transfer-encoding";
    let shared = line.len().min(NAME.len());
    if !line[..shared].eq_ignore_ascii_case(&NAME[..shared]) {
        return false;
    }
    let harmless = |encoding: &[u8]| {
        [&b"7bit"[..], b"quoted-printable", b"base64"]
            .iter()
            .any(|known| encoding.eq_ignore_ascii_case(known))
    };
    // Cut, or folded, or with a comment: looked at later, with all of it there.
    let value = line[shared..].trim_ascii_start().strip_prefix(b":").map(<[u8]>::trim_ascii);
    !(line.ends_with(b"\n") && value.is_some_and(harmless))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn pieces_do_not_matter() {
        let long = format!("short\r\n{}\r\n", "x".repeat(999));
        let limit = format!("short\r\n{}\r\nx", "x".repeat(998));
        let no_end = "x".repeat(999);
        for (text, long) in
            [(long.as_str(), true), (limit.as_str(), false), (no_end.as_str(), true), ("", false)]
        {
            for size in [1, 7, 5000] {
                let mut survey = Survey::default();
                for piece in text.as_bytes().chunks(size) {
                    survey.update(piece);
                }
                assert_eq!(survey.has_long_lines(), long, "{} bytes in pieces of {size}", text.len());
                assert!(!survey.is_eight_bit());
            }
        }
        for (text, labelled) in [
            ("--b\r\nContent-Transfer-Encoding: base64\r\n\r\nContent\r\n", false),
            ("x\r\nCONTENT-transfer-encoding :7bit\r\n", false),
            ("content-transfer-encoding:\r\n 8bit\r\n", true),
            ("x\r\nContent-Transfer-Encoding: 8bit\r\n", true),
            ("x: Content-Transfer-Encoding: 8bit\r\n", false),
        ] {
            let mut survey = Survey::default();
            survey.update(text.as_bytes());
            assert_eq!(survey.may_be_labelled(), labelled, "{text}");
            let mut pieces = Survey::default();
            text.as_bytes().chunks(3).for_each(|piece| pieces.update(piece));
            assert!(pieces.may_be_labelled() || !labelled, "{text} in pieces");
        }
        let mut survey = Survey::default();
        survey.update("\u{fc}".as_bytes());
        assert!(survey.is_eight_bit());
    }
}
