//! Words of strangers inside structured header fields: as they are where the grammar lets them, quoted where not, never able to end the
//! string, the comment, the line or the field.
//!
//! For whoever writes trace fields (`Authentication-Results`, `Received-SPF`). It cuts and cleans; it never refuses.
//!
//! ```text
//! value          example.org          atom or token: letters, digits, some signs
//! quoted-string  "a \"b\" c"          RFC 5322, 3.2.4: a backslash before `"` and `\`
//! comment        (what you like)      RFC 5322, 3.2.2; here without parentheses and backslashes inside
//! ```

/// A token (RFC 2045, 5.1, which is what RFC 8601, 2.2 calls a `value`) as it is, anything else as a quoted string of at most `limit`
/// characters.
pub fn token(text: &str, limit: usize) -> String {
    let may_stand = |byte: u8| byte.is_ascii_graphic() && !br#"()<>@,;:\"/[]?="#.contains(&byte);
    let is_token = !text.is_empty() && text.len() <= limit && text.bytes().all(may_stand);
    if is_token { text.to_owned() } else { quoted(text, limit) }
}

/// A dot-atom (RFC 5322, 3.2.3) as it is, anything else as a quoted string of at most `limit` characters.
pub fn dot_atom(text: &str, limit: usize) -> String {
    let is_atom = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte))
    };
    let is_dot_atom = text.len() <= limit && text.split('.').all(is_atom);
    if is_dot_atom { text.to_owned() } else { quoted(text, limit) }
}

/// The inside of a comment, at most `limit` characters: what would end the comment or the line is left out.
pub fn comment(text: &str, limit: usize) -> String {
    text.chars()
        .filter(|character| !character.is_control() && !matches!(character, '(' | ')' | '\\'))
        .take(limit)
        .collect()
}

fn quoted(text: &str, limit: usize) -> String {
    let mut out = String::from("\"");
    for character in text.chars().filter(|character| !character.is_control()).take(limit) {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_grammar_allows_stays_as_it_is() {
        for (text, as_token, as_atom) in [
            ("example.org", "example.org", "example.org"),
            ("a@example.org", "\"a@example.org\"", "\"a@example.org\""),
            ("ab/+cd==", "\"ab/+cd==\"", "ab/+cd=="),
            ("a..b", "a..b", "\"a..b\""),
            ("2001:db8::1", "\"2001:db8::1\"", "\"2001:db8::1\""),
            ("", "\"\"", "\"\""),
            ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\"", "\"a \\\"b\\\" \\\\c\""),
            ("x\r\nEvil: 1", "\"xEvil: 1\"", "\"xEvil: 1\""),
        ] {
            assert_eq!(token(text, 100), as_token, "{text:?}");
            assert_eq!(dot_atom(text, 100), as_atom, "{text:?}");
        }
        assert_eq!(token("abcdef", 3), "\"abc\"");
    }

    #[test]
    fn a_comment_cannot_be_ended_from_inside() {
        assert_eq!(comment("a) (b\\\r\n\tc", 100), "a bc");
        assert_eq!(comment("abcdef", 3), "abc");
    }
}
