//! The header fields of a message as bytes: where each begins and ends, and which one a signature means by a name.
//!
//! A field's value keeps every byte after the colon, folds as CRLF and white space, without the line end at its end; so
//! `simple` canonicalization (RFC 6376, 3.4.1) sees what was sent.

/// One header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// Every byte before the colon.
    pub name: &'a [u8],
    /// Every byte after the colon.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether this is the field of that name: without case (RFC 5322, 1.2.2), and without the white space that the obsolete
    /// syntax allows before the colon (RFC 5322, 4.5). A name with white space *inside* is another name: `Fr om:` is no From.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.trim_ascii_end().eq_ignore_ascii_case(name)
    }
}

/// The header fields from top to bottom, and the body: what follows the first empty line.
pub fn split(raw: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields: Vec<Field<'_>> = Vec::with_capacity(32);
    let mut rest = raw;
    loop {
        let (line, next) = line(rest);
        if line.is_empty() {
            return (fields, next);
        }
        // The field goes on while lines begin with white space.
        let mut after = next;
        while matches!(after.first(), Some(b' ' | b'\t')) {
            after = self::line(after).1;
        }
        let whole = &rest[..rest.len() - after.len()];
        let whole = whole.strip_suffix(b"\r\n").or_else(|| whole.strip_suffix(b"\n")).unwrap_or(whole);
        // A line without colon is no field; Postfix shows none.
        if let Some(colon) = memchr::memchr(b':', whole) {
            fields.push(Field { name: &whole[..colon], value: &whole[colon + 1..] });
        }
        rest = after;
    }
}

/// The first line without its end, and what follows.
fn line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\n', bytes) {
        Some(at) => (bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]), &bytes[at + 1..]),
        None => (bytes, &bytes[bytes.len()..]),
    }
}

/// Chooses the fields that `h=` names: each further mention of a name means the next field of that name from the bottom upwards
/// (RFC 6376, 5.4.2); a name without a field left means nothing, which is how a signer says "and no other".
pub fn signed<'f, 'a>(fields: &'f [Field<'a>], names: &[String]) -> Vec<&'f Field<'a>> {
    let mut chosen = Vec::with_capacity(names.len());
    let mut above: Vec<(&str, usize)> = Vec::new();
    for name in names {
        let slot = match above.iter().position(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some(slot) => slot,
            None => {
                above.push((name, fields.len()));
                above.len() - 1
            }
        };
        let found = fields[..above[slot].1].iter().rposition(|field| field.is(name.as_bytes()));
        above[slot].1 = found.unwrap_or(0);
        chosen.extend(found.map(|at| &fields[at]));
    }
    chosen
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn splits_fields_and_body() {
        let (fields, body) = split(b"A: x\r\n\ty \r\nFrom : z\r\nB:\r\n\r\nbody\r\n");
        assert_eq!(fields.len(), 3);
        assert_eq!((fields[0].name, fields[0].value), (&b"A"[..], &b" x\r\n\ty "[..]));
        assert!(fields[1].is(b"FROM") && fields[1].name == b"From ");
        assert_eq!(fields[2].value, b"");
        assert_eq!(body, b"body\r\n");
        assert!(!Field { name: b"Fr om", value: b"" }.is(b"From"));
        assert_eq!(split(b"").0, []);
        assert_eq!(split(b"A:b"), (vec![Field { name: b"A", value: b"b" }], &b""[..]));
    }

    #[test]
    fn names_mean_fields_from_the_bottom() {
        let (fields, _) = split(b"To: 1\r\nFrom: f\r\nto : 2\r\n\r\n");
        let values = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
            signed(&fields, &names).iter().map(|field| field.value).collect::<Vec<_>>()
        };
        assert_eq!(values(&["To", "from", "TO", "to"]), [&b" 2"[..], b" f", b" 1"]);
        assert_eq!(values(&["cc", "", "from", "from"]), [&b" f"[..]]);
    }
}
