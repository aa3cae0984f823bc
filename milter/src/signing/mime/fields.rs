//! What the header block of a part says about its content: `Content-Type` and `Content-Transfer-Encoding` (RFC 2045).
//!
//! For the walk over the parts. It reads loosely what mail programs write loosely (boundaries without their quotes), and says where
//! two readers would read different things.

use super::Encoding;

/// What a header block says about its content.
#[derive(Default)]
pub(super) struct HeaderBlock {
    pub(super) content_type: Option<Vec<u8>>,
    encoding: Option<Vec<u8>>,
    /// A field is there twice: who reads the first and who reads the last see different parts.
    pub(super) ambiguous: bool,
}

pub(super) const ENCODING: &[u8] = b"Content-Transfer-Encoding";

impl HeaderBlock {
    pub(super) fn take(&mut self, name: &[u8], value: &[u8]) {
        let name = name.trim_ascii_end();
        let place = if name.eq_ignore_ascii_case(b"Content-Type") {
            &mut self.content_type
        } else if name.eq_ignore_ascii_case(ENCODING) {
            &mut self.encoding
        } else {
            return;
        };
        self.ambiguous |= place.replace(value.to_vec()).is_some();
    }

    pub(super) fn encoding(&self) -> Encoding {
        let Some(value) = &self.encoding else { return Encoding::Unsaid };
        let mut scanner = Scanner(value);
        let word = scanner.token().to_ascii_lowercase();
        match word.as_slice() {
            b"7bit" => Encoding::SevenBit,
            b"8bit" => Encoding::EightBit,
            b"quoted-printable" => Encoding::QuotedPrintable,
            b"binary" => Encoding::Binary,
            _ => Encoding::Other,
        }
    }
}

/// `Content-Type` as far as it matters here.
pub(super) struct ContentType {
    /// `type/subtype`, lower case.
    pub(super) name: String,
    pub(super) boundary: Option<Vec<u8>>,
}

impl ContentType {
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let mut scanner = Scanner(value);
        let kind = scanner.token().to_ascii_lowercase();
        let subtype = if scanner.eat(b'/') { scanner.token().to_ascii_lowercase() } else { return None };
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        let name = format!("{}/{}", String::from_utf8_lossy(&kind), String::from_utf8_lossy(&subtype));
        let mut boundary = None;
        while scanner.eat(b';') {
            let attribute = scanner.token();
            if attribute.is_empty() || !scanner.eat(b'=') {
                continue;
            }
            let value = scanner.value();
            if attribute.eq_ignore_ascii_case(b"boundary") && boundary.is_none() && !value.is_empty() {
                boundary = Some(value);
            }
        }
        Some(Self { name, boundary })
    }

    pub(super) fn kind(&self) -> &str {
        self.name.split_once('/').map_or("", |(kind, _)| kind)
    }

    /// RFC 1847, RFC 8551, RFC 3156.
    pub(super) fn is_sealed(&self) -> bool {
        matches!(
            self.name.as_str(),
            "multipart/signed"
                | "multipart/encrypted"
                | "application/pkcs7-mime"
                | "application/x-pkcs7-mime"
                | "application/pkcs7-signature"
                | "application/x-pkcs7-signature"
                | "application/pgp-encrypted"
                | "application/pgp-signature"
        )
    }
}

/// Reads the tokens of a structured field (RFC 2045, 5.1); white space and comments between them are skipped.
struct Scanner<'a>(&'a [u8]);

impl<'a> Scanner<'a> {
    fn skip(&mut self) {
        let mut depth = 0_usize;
        while let [byte, rest @ ..] = self.0 {
            match byte {
                b'\\' if depth > 0 => {
                    self.0 = rest.get(1..).unwrap_or_default();
                    continue;
                }
                b'(' => depth += 1,
                b')' if depth > 0 => depth -= 1,
                b' ' | b'\t' | b'\r' | b'\n' => {}
                _ if depth > 0 => {}
                _ => return,
            }
            self.0 = rest;
        }
    }

    fn token(&mut self) -> &'a [u8] {
        self.skip();
        let special = |byte: &u8| byte.is_ascii_whitespace() || b"()<>@,;:\\\"/[]?=".contains(byte);
        let end = self.0.iter().position(special).unwrap_or(self.0.len());
        let (token, rest) = self.0.split_at(end);
        self.0 = rest;
        token
    }

    /// A token, loosely (boundaries are written without their quotes at times), or a quoted string without its quotes.
    fn value(&mut self) -> Vec<u8> {
        self.skip();
        let Some(quoted) = self.0.strip_prefix(b"\"") else {
            let end = self.0.iter().position(|byte| byte.is_ascii_whitespace() || *byte == b';');
            let (value, rest) = self.0.split_at(end.unwrap_or(self.0.len()));
            self.0 = rest;
            return value.to_vec();
        };
        let mut value = Vec::new();
        let mut bytes = quoted.iter().copied().enumerate();
        let mut end = quoted.len();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'"' => {
                    end = at + 1;
                    break;
                }
                b'\\' => value.extend(bytes.next().map(|(_, byte)| byte)),
                b'\r' | b'\n' => {}
                other => value.push(other),
            }
        }
        self.0 = &quoted[end..];
        value
    }

    /// Whether the next byte is that one, which is then taken.
    fn eat(&mut self, byte: u8) -> bool {
        self.skip();
        match self.0 {
            [first, rest @ ..] if *first == byte => {
                self.0 = rest;
                true
            }
            // What is no parameter is skipped up to the next one.
            [_, ..] if byte == b';' => match self.0.iter().position(|byte| *byte == b';') {
                Some(at) => {
                    self.0 = &self.0[at + 1..];
                    true
                }
                None => false,
            },
            _ => false,
        }
    }
}
