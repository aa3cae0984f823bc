//! Keys: components divided by `/`. Inside a component `/` is written `\|` and `\` is written `\\` (dict_escape_string of dict.c).

/// The components of a key, as they were before they were escaped. A path with `/` at its end has an empty last component.
pub fn components(key: &str) -> Vec<String> {
    key.split('/').map(unescape).collect()
}

/// One component, as it was before.
pub fn unescape(component: &str) -> String {
    let mut plain = String::with_capacity(component.len());
    let mut characters = component.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('|') => plain.push('/'),
                Some(other) => plain.push(other),
                None => {}
            },
            c => plain.push(c),
        }
    }
    plain
}

/// One component as it stands in a key.
pub fn escape(plain: &str) -> String {
    plain.replace('\\', "\\\\").replace('/', "\\|")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn components_are_divided_and_plain_again() {
        assert_eq!(components("shared/a\\|b/c\\\\d/"), ["shared", "a/b", "c\\d", ""]);
        assert_eq!(components("x\\"), ["x"]);
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_one_component(plain in "\\PC{0,40}") {
            prop_assert_eq!(components(&escape(&plain)), [plain]);
        }
    }
}
