//! The body hash of a DKIM signature, computed while the body arrives.
//!
//! For `transaction`. Canonicalization is `relaxed` (RFC 6376, 3.4.4), the hash SHA-256; nothing of the body is kept, so a message
//! of any size is signed whole. It expects CRLF line ends, as Postfix sends them, split anywhere between two pieces.
//!
//! ```text
//! "C \r\nD \t E\r\n\r\n\r\n"   ->   "C\r\nD E\r\n"         (RFC 6376, 3.4.5)
//! ```

use aws_lc_rs::digest::{Context, SHA256};

/// A hash under way.
pub struct BodyHash {
    context: Context,
    /// What is not hashed yet, because whether it counts depends on what follows.
    pending: Pending,
    /// The last byte was CR: with LF it ends a line.
    carriage_return: bool,
    scratch: Vec<u8>,
}

/// White space and line ends at the end of what was seen.
#[derive(Default)]
struct Pending {
    /// Line ends; they count only when something follows.
    lines: u64,
    /// White space on the current line; one space when something follows on this line.
    space: bool,
    /// Whether anything was hashed, so that an empty body stays empty.
    content: bool,
}

impl BodyHash {
    /// The hash of a body of which nothing was seen.
    pub fn new() -> Self {
        Self {
            context: Context::new(&SHA256),
            pending: Pending::default(),
            carriage_return: false,
            scratch: Vec::with_capacity(2 * SCRATCH),
        }
    }

    /// Takes the next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        if self.carriage_return && !piece.is_empty() {
            self.carriage_return = false;
            match piece.strip_prefix(b"\n") {
                Some(rest) => {
                    self.pending.end_line();
                    piece = rest;
                }
                None => self.text(b"\r"),
            }
        }
        while let Some(at) = special(piece) {
            if at > 0 {
                self.text(&piece[..at]);
            }
            match (piece[at], piece.get(at + 1)) {
                (b'\r', Some(b'\n')) => {
                    self.pending.end_line();
                    piece = &piece[at + 2..];
                }
                (b'\r', None) => {
                    self.carriage_return = true;
                    piece = &piece[at + 1..];
                }
                (b'\r', Some(_)) => {
                    self.text(b"\r");
                    piece = &piece[at + 1..];
                }
                _ => {
                    self.pending.space = true;
                    piece = &piece[at + 1..];
                }
            }
        }
        if !piece.is_empty() {
            self.text(piece);
        }
        self.flush();
    }

    /// The hash of the whole body.
    pub fn finish(mut self) -> [u8; 32] {
        if self.carriage_return {
            self.text(b"\r");
        }
        if self.pending.content {
            self.scratch.extend_from_slice(b"\r\n");
        }
        self.flush();
        let digest = self.context.finish();
        let mut hash = [0; 32];
        hash.copy_from_slice(digest.as_ref());
        hash
    }

    /// Bytes that count as they are: all that was pending before them counts.
    fn text(&mut self, bytes: &[u8]) {
        for _ in 0..std::mem::take(&mut self.pending.lines) {
            self.scratch.extend_from_slice(b"\r\n");
            if self.scratch.len() >= SCRATCH {
                self.flush();
            }
        }
        // A run may begin with the last space of several.
        if std::mem::take(&mut self.pending.space) && !bytes.starts_with(b" ") {
            self.scratch.push(b' ');
        }
        self.pending.content = true;
        self.scratch.extend_from_slice(bytes);
        if self.scratch.len() >= SCRATCH {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.context.update(&self.scratch);
        self.scratch.clear();
    }
}

impl Default for BodyHash {
    fn default() -> Self {
        Self::new()
    }
}

impl Pending {
    fn end_line(&mut self) {
        self.lines += 1;
        self.space = false;
    }
}

/// The hash is fed in pieces of at least this many bytes: a call for each word would cost more than the hash itself.
const SCRATCH: usize = 16 * 1024;

/// The first byte that does not simply count as it is: CR, TAB, and a space before more white space, a line end, or the end of the
/// piece. A space between two words is one, so that a usual line is one run and not one for each word.
fn special(piece: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + piece[from..].iter().position(|byte| matches!(byte, b' ' | b'\t' | b'\r'))?;
        match (piece[at], piece.get(at + 1)) {
            (b' ', Some(next)) if !matches!(next, b' ' | b'\t' | b'\r') => from = at + 1,
            _ => return Some(at),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use base64::Engine;
    use proptest::prelude::*;

    fn hash(body: &[u8]) -> String {
        let mut hash = BodyHash::new();
        hash.update(body);
        base64::engine::general_purpose::STANDARD.encode(hash.finish())
    }

    fn plain(canonical: &[u8]) -> String {
        let digest = aws_lc_rs::digest::digest(&SHA256, canonical);
        base64::engine::general_purpose::STANDARD.encode(digest)
    }

    #[test]
    fn canonical_forms_of_rfc_6376() {
        for (body, canonical) in [
            (&b""[..], &b""[..]),
            (b"\r\n\r\n", b""),
            (b" \r\n\t\r\n", b""),
            (b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n"),
            (b"C", b"C\r\n"),
            (b"a\r\n\r\nb\r\n", b"a\r\n\r\nb\r\n"),
            // Lines of white space only at the end: the defect of mail-auth before 0.15.
            (b"</html>\r\n    \r\n", b"</html>\r\n"),
            (b"abc\r\n \r\n", b"abc\r\n"),
            // Bytes that only look like line ends.
            (b"a\rb\nc\r", b"a\rb\nc\r\r\n"),
        ] {
            assert_eq!(hash(body), plain(canonical), "{}", body.escape_ascii());
        }
        // The empty body under relaxed canonicalization, as RFC 6376, 3.4.4 prints it.
        assert_eq!(hash(b""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }

    /// The canonical form line by line, as RFC 6376, 3.4.4 words it.
    fn slowly(body: &[u8]) -> Vec<u8> {
        let text: String = body.iter().copied().map(char::from).collect();
        let mut lines: Vec<String> = text
            .split("\r\n")
            .map(|line| {
                let words: Vec<&str> = line.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
                let lead = if line.starts_with([' ', '\t']) && !words.is_empty() { " " } else { "" };
                format!("{lead}{}", words.join(" "))
            })
            .collect();
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        lines.iter().flat_map(|line| line.chars().map(|c| c as u8).chain(*b"\r\n")).collect()
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(
            words in proptest::collection::vec(prop_oneof![
                Just(&b"\r\n"[..]), Just(&b" "[..]), Just(&b"\t"[..]), Just(&b"x"[..]), Just(&b"word"[..]), Just(&b"\xff"[..])
            ], 0..60),
            cut in 1_usize..7,
        ) {
            let body = words.concat();
            let mut pieces = BodyHash::new();
            for piece in body.chunks(cut) {
                pieces.update(piece);
            }
            let expected = aws_lc_rs::digest::digest(&SHA256, &slowly(&body));
            prop_assert_eq!(&pieces.finish()[..], expected.as_ref());
        }
    }
}
