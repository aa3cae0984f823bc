//! Text in the language of pages: man(7) and groff_char(7).

/// The first word as a sentence begins, if it is a plain one.
pub(super) fn capitalized(text: &str) -> String {
    let word = text.split(' ').next().unwrap_or_default();
    let is_plain = word.trim_end_matches([',', ':']).chars().all(|c| c.is_ascii_lowercase());
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if is_plain => first.to_ascii_uppercase().to_string() + chars.as_str(),
        _ => text.to_owned(),
    }
}

/// Paragraphs within an entry, each a sentence.
pub(super) fn paragraphs(text: &str) -> String {
    text.split("\n\n").map(sentence).collect::<Vec<_>>().join(".PP\n")
}

/// A text of one paragraph: escaped, ended by a full stop, in lines of a length that can be read; nothing for nothing.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim().replace('\n', " ");
    if text.is_empty() {
        return String::new();
    }
    let dot = if text.ends_with(['.', ':', '?', '!']) { "" } else { "." };
    let (mut out, mut line) = (String::new(), String::new());
    for word in marked(&(text + dot)).split(' ') {
        // A word that no line can be filled with may be broken (groff(7), \:).
        let broken = if word.len() > LONG {
            word.replace('=', "=\\:").replace("].", "].\\:")
        } else {
            word.to_owned()
        };
        let word = broken.as_str();
        if !line.is_empty() && line.len() + word.len() > WIDTH {
            out.push_str(&format!("{}\n", guarded(&line)));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    format!("{out}{}\n", guarded(&line))
}

/// None of man(7)'s requests.
pub(super) fn guarded(line: &str) -> String {
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line.to_owned(),
    }
}

/// Escaped, and bold what stands between backticks.
fn marked(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escaped(text);
    }
    let part = |(number, part): (usize, &&str)| match number % 2 {
        0 => escaped(part),
        _ => format!("\\fB{}\\fR", escaped(part)),
    };
    parts.iter().enumerate().map(part).collect()
}

/// groff_char(7): backslashes, hyphens that may be typed again, and whatever is not ASCII, so that a page is the same in every locale.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '"' => out.push_str("\\(dq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            '…' => out.push_str("..."),
            c if c.is_ascii() => out.push(c),
            c => out.push_str(&format!("\\[u{:04X}]", u32::from(c))),
        }
    }
    out
}

/// Bytes of a word from which on it may be broken.
const LONG: usize = 40;

/// Bytes of a line in what is made.
const WIDTH: usize = 140;
