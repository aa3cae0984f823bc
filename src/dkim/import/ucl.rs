//! The part of UCL in which Rspamd's module files are written (libucl's README): `key = value;`, `key: value`, `key { … }`, arrays,
//! strings with and without quotation marks, `#` and `/* */` comments. Macros (`.include`) are skipped and named; heredocs are refused.

use std::path::Path;

use super::{ImportError, at, cut};

/// A value; numbers, times and booleans stay text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Array(Vec<Value>),
    Object(Object),
}

/// An object; of several entries with one key, the last counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) entries: Vec<Member>,
    /// Lines with macros, which were not followed.
    pub(super) macros: Vec<usize>,
}

/// One entry of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) line: usize,
}

impl Object {
    pub(super) fn get(&self, key: &str) -> Option<&Member> {
        self.entries.iter().rev().find(|member| member.key == key)
    }
}

impl Value {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Parses a file's text.
pub(super) fn parse(text: &str, path: &Path) -> Result<Object, ImportError> {
    let mut parser = Parser { rest: text, line: 1, path };
    parser.object(0)
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
    path: &'a Path,
}

impl<'a> Parser<'a> {
    fn wrong<T>(&self, message: impl Into<String>) -> Result<T, ImportError> {
        Err(ImportError { origin: at(self.path, self.line), message: message.into() })
    }

    /// Takes so many bytes, counting lines.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    /// Skips white space, comments and dividers.
    fn skip(&mut self, dividers: &[char]) -> Result<(), ImportError> {
        loop {
            let blank = self.rest.len()
                - self.rest.trim_start_matches(|c: char| c.is_whitespace() || dividers.contains(&c)).len();
            self.take(blank);
            if self.rest.starts_with('#') {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                match self.rest.find("*/") {
                    Some(end) => self.take(end + 2),
                    None => return self.wrong("a comment /* without its end */"),
                };
            } else {
                return Ok(());
            }
        }
    }

    /// The entries up to `}`, or to the end of the file at the top.
    fn object(&mut self, depth: usize) -> Result<Object, ImportError> {
        if depth > MAX_DEPTH {
            return self.wrong(format!("more than {MAX_DEPTH} sections inside each other"));
        }
        let mut object = Object::default();
        loop {
            self.skip(&[';', ','])?;
            if self.rest.is_empty() {
                return if depth == 0 {
                    Ok(object)
                } else {
                    self.wrong("the end of the file inside a section; expected \"}\"")
                };
            }
            if self.rest.starts_with('}') {
                if depth == 0 {
                    return self.wrong("\"}\" without its \"{\"");
                }
                self.take(1);
                return Ok(object);
            }
            if self.rest.starts_with('.') {
                object.macros.push(self.line);
                self.take(self.rest.find(['\n', ';']).unwrap_or(self.rest.len()));
                continue;
            }
            // At the top, a file may be one object in braces.
            if depth == 0 && self.rest.starts_with('{') {
                self.take(1);
                let inner = self.object(1)?;
                object.entries.extend(inner.entries);
                object.macros.extend(inner.macros);
                continue;
            }
            let line = self.line;
            let key = self.word(&['=', ':', '{', ';', '}', '['])?;
            self.blank();
            if self.rest.starts_with(['=', ':']) {
                self.take(1);
            } else if !self.rest.starts_with(['{', '[', '"']) {
                // `domain "example.com" { … }` and `domain example.com { … }` are the same as nested sections.
                let end = self.rest.find(['{', ';', '\n']).filter(|end| self.rest[*end..].starts_with('{'));
                if end.is_none() {
                    return self.wrong(format!("\"{}\" has no value; expected \"key = value;\"", cut(&key)));
                }
            }
            let value = self.value(depth)?;
            object.entries.push(Member { key, value, line });
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, ImportError> {
        self.blank();
        if self.rest.starts_with('{') {
            self.take(1);
            return self.object(depth + 1).map(Value::Object);
        }
        if self.rest.starts_with('[') {
            self.take(1);
            return self.array(depth + 1);
        }
        if self.rest.starts_with("<<") {
            return self.wrong("texts of several lines (<<EOD) are not understood here");
        }
        let line = self.line;
        let text = self.word(&[';', ',', '\n', '}', ']', '{'])?;
        self.blank();
        if self.rest.starts_with('{') {
            // The named section.
            self.take(1);
            let value = self.object(depth + 1).map(Value::Object)?;
            let entries = vec![Member { key: text, value, line }];
            return Ok(Value::Object(Object { entries, macros: Vec::new() }));
        }
        Ok(Value::Text(text))
    }

    fn array(&mut self, depth: usize) -> Result<Value, ImportError> {
        if depth > MAX_DEPTH {
            return self.wrong(format!("more than {MAX_DEPTH} sections inside each other"));
        }
        let mut values = Vec::new();
        loop {
            self.skip(&[',', ';'])?;
            if self.rest.is_empty() {
                return self.wrong("the end of the file inside an array; expected \"]\"");
            }
            if self.rest.starts_with(']') {
                self.take(1);
                return Ok(Value::Array(values));
            }
            let before = self.rest.len();
            values.push(self.value(depth)?);
            if self.rest.len() == before {
                return self.wrong(format!("\"{}\" does not belong into an array", cut(&self.rest[..1])));
            }
        }
    }

    /// Blanks on this line.
    fn blank(&mut self) {
        let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r']).len();
        self.take(blank);
    }

    /// A text in quotation marks, or up to white space or one of `ends`.
    fn word(&mut self, ends: &[char]) -> Result<String, ImportError> {
        if self.rest.starts_with(['"', '\'']) {
            return self.quoted();
        }
        let inside_value = ends.contains(&'\n');
        let end = self
            .rest
            .find(|c: char| ends.contains(&c) || c == '\n' || (c.is_whitespace() && !inside_value))
            .unwrap_or(self.rest.len());
        let word = self.take(end);
        let word = word.split_once(" #").map_or(word, |(before, _)| before).trim();
        if word.is_empty() && !inside_value {
            let next: String = self.rest.chars().take(1).collect();
            return self.wrong(format!("\"{}\" where a key was expected", cut(&next)));
        }
        Ok(word.to_owned())
    }

    fn quoted(&mut self) -> Result<String, ImportError> {
        let mark = self.rest.chars().next().unwrap_or('"');
        let mut text = String::new();
        let mut escaped = false;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                'n' if escaped => text.push('\n'),
                't' if escaped => text.push('\t'),
                _ if escaped => text.push(c),
                '\\' if mark == '"' => {
                    escaped = true;
                    continue;
                }
                '\n' => break,
                _ if c == mark => {
                    self.take(at + 1);
                    return Ok(text);
                }
                _ => text.push(c),
            }
            escaped = false;
        }
        self.wrong("a quotation mark without its end on the same line")
    }
}

/// Rspamd's own files have three levels.
const MAX_DEPTH: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parsed(text: &str) -> Result<Object, String> {
        parse(text, Path::new("x.conf")).map_err(|error| error.to_string())
    }

    #[test]
    fn what_module_files_hold() {
        let object = parsed(
            "# comment\npath = \"/var/lib/$domain.$selector.key\";\nselector: dkim\n/* more\n */ use_esld = true; # end\n\
             .include \"x.inc\"\ndomain {\n  example.com {\n    path: /a/b.key\n    selectors [\n { path: \"p\"; selector: 's' },\n ]\n  }\n}\n\
             list = [\"a b\", c];\ndomain example.net { selector = x }\n",
        )
        .unwrap();
        assert_eq!(object.get("path").unwrap().value.text(), Some("/var/lib/$domain.$selector.key"));
        assert_eq!(object.get("selector").unwrap().value.text(), Some("dkim"));
        assert_eq!(object.get("use_esld").unwrap().value.text(), Some("true"));
        assert_eq!(object.macros, [6]);
        let Value::Object(domains) = &object.entries.iter().find(|one| one.key == "domain").unwrap().value
        else {
            panic!()
        };
        let Value::Object(example) = &domains.get("example.com").unwrap().value else { panic!() };
        assert_eq!(
            (example.get("path").unwrap().value.text(), example.get("path").unwrap().line),
            (Some("/a/b.key"), 9)
        );
        let Value::Array(selectors) = &example.get("selectors").unwrap().value else { panic!() };
        assert!(
            matches!(&selectors[..], [Value::Object(one)] if one.get("selector").unwrap().value.text() == Some("s"))
        );
        let Value::Array(list) = &object.get("list").unwrap().value else { panic!() };
        assert_eq!(list[..], [Value::Text("a b".into()), Value::Text("c".into())]);
        let Value::Object(named) = &object.get("domain").unwrap().value else { panic!() };
        assert!(named.get("example.net").is_some());
    }

    #[test]
    fn what_is_not_understood_says_where() {
        for (text, why) in [
            ("a = 1\n}\n", "x.conf:2: \"}\" without"),
            ("a {\nb = 1\n", "x.conf:3: the end of the file inside a section"),
            ("a = [\n1,\n", "x.conf:3: the end of the file inside an array"),
            ("a = \"x\nb = 1", "x.conf:1: a quotation mark without its end"),
            ("\n\nselector\n", "x.conf:3: \"selector\" has no value"),
            ("= 1", "x.conf:1: \"=\" where a key was expected"),
            ("/* x", "x.conf:1: a comment"),
            ("a = <<EOD\nx\nEOD\n", "x.conf:1: texts of several lines"),
            (&"a {".repeat(100), "sections inside each other"),
            (&format!("a = {}", "[".repeat(100)), "sections inside each other"),
            ("a = [ } ]", "does not belong into an array"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.contains(why), "{text:.40}: {error}");
        }
    }
}
