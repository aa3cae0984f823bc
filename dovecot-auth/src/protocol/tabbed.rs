//! Lines of parameters divided by TAB, as Dovecot's auth and dict protocols have them; for `auth` and `dict`.
//!
//! Escaping (strescape.c of Dovecot 2.3 and 2.4): `\x01` and one character, `0` = NUL, `1` = `\x01`, `t` = TAB, `r` = CR, `n` = LF;
//! any other character after `\x01` stands for itself. So an escaped parameter never has a TAB, CR, LF or NUL in it.
//!
//! Refuses to copy secrets about: what is unescaped is overwritten when it is dropped.

use zeroize::Zeroizing;

/// The parameters of one line, still escaped.
pub fn parameters(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b'\t')
}

/// One parameter as it was before it was escaped.
pub fn unescape(parameter: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(parameter.len()));
    let mut bytes = parameter.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            // An escape at the very end stands for nothing.
            &ESCAPE => plain.extend(bytes.next().map(|byte| match byte {
                b'0' => 0,
                b'1' => ESCAPE,
                b't' => b'\t',
                b'r' => b'\r',
                b'n' => b'\n',
                other => *other,
            })),
            byte => plain.push(*byte),
        }
    }
    plain
}

/// One parameter as text; `None` where it is no UTF-8.
pub fn text(parameter: &[u8]) -> Option<String> {
    if !parameter.contains(&ESCAPE) {
        return std::str::from_utf8(parameter).ok().map(str::to_owned);
    }
    std::str::from_utf8(&unescape(parameter)).ok().map(str::to_owned)
}

/// One parameter as a decimal number, digits only.
pub fn number<N: std::str::FromStr>(parameter: &[u8]) -> Option<N> {
    if parameter.is_empty() || !parameter.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(parameter).ok()?.parse().ok()
}

/// Appends one parameter, escaped.
pub fn escape(plain: &[u8], out: &mut Vec<u8>) {
    for byte in plain {
        let mark = match byte {
            0 => b'0',
            &ESCAPE => b'1',
            b'\t' => b't',
            b'\r' => b'r',
            b'\n' => b'n',
            byte => {
                out.push(*byte);
                continue;
            }
        };
        out.extend([ESCAPE, mark]);
    }
}

/// Appends a TAB and one parameter, escaped.
pub fn push(plain: &[u8], out: &mut Vec<u8>) {
    out.push(b'\t');
    escape(plain, out);
}

const ESCAPE: u8 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn escaped(plain: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        escape(plain, &mut out);
        out
    }

    #[test]
    fn the_five_special_bytes_have_names_and_the_rest_stands_for_itself() {
        assert_eq!(escaped(b"a\0b\x01c\td\re\nf"), b"a\x010b\x011c\x01td\x01re\x01nf");
        assert_eq!(unescape(b"a\x010b\x011c\x01td\x01re\x01nf").as_slice(), b"a\0b\x01c\td\re\nf");
        assert_eq!(unescape(b"\x01x\x01\x01\x01").as_slice(), b"x\x01");
        assert_eq!(parameters(b"AUTH\t1\t\tx").collect::<Vec<_>>(), [&b"AUTH"[..], b"1", b"", b"x"]);
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        assert_eq!(number::<u32>(b"4294967295"), Some(u32::MAX));
        for bad in [&b""[..], b"-1", b"+1", b" 1", b"1 ", b"0x1", b"4294967296", b"1\0"] {
            assert_eq!(number::<u32>(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_escaped_has_no_separator_and_comes_back(plain in proptest::collection::vec(any::<u8>(), 0..100)) {
            let escaped = escaped(&plain);
            prop_assert!(!escaped.iter().any(|byte| b"\0\t\r\n".contains(byte)));
            let plain_again = unescape(&escaped);
            prop_assert_eq!(plain_again.as_slice(), plain);
        }

        #[test]
        fn any_bytes_can_be_unescaped(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(unescape(&bytes).len() <= bytes.len());
        }
    }
}
