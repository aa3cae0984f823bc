//! Group `mime`: the structure of the message. Attachments have a file of their own.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::parts::{Disposition, Part, Transfer};

/// The group's table.
pub const RULES: &[Rule] = &[
    MIME_GOOD,
    MIME_HTML_ONLY,
    MIME_MA_MISSING_TEXT,
    MIME_MA_MISSING_HTML,
    MIME_BASE64_TEXT,
    MIME_BASE64_TEXT_BOGUS,
    CTYPE_MIXED_BOGUS,
    CTYPE_MISSING_DISPOSITION,
    BROKEN_CONTENT_TYPE,
    MIME_HEADER_CTYPE_ONLY,
    CT_EXTRA_SEMI,
    R_BAD_CTE_7BIT,
    R_MISSING_CHARSET,
    MIME_UNKNOWN_CHARSET,
    MIME_DAMAGED,
    R_PARTS_DIFFER,
    R_PLAIN_IS_URLS,
];

/// An ordinary type.
pub const MIME_GOOD: Rule = Rule {
    symbol: "MIME_GOOD",
    group: Group::Mime,
    weight: -0.1,
    summary: "the message has an ordinary content type",
    why: "the types that mail programs write",
    check: Check::Facts(|facts| {
        let root = facts.parts.first().filter(|root| root.typed)?;
        let good = [
            "multipart/mixed",
            "multipart/alternative",
            "multipart/related",
            "multipart/signed",
            "multipart/encrypted",
            "text/plain",
            "multipart/report",
        ];
        good.contains(&root.content_type.as_str()).then(|| Evidence::new(&root.content_type))
    }),
};

/// Only HTML.
pub const MIME_HTML_ONLY: Rule = Rule {
    symbol: "MIME_HTML_ONLY",
    group: Group::Mime,
    weight: 0.3,
    summary: "the message is HTML only",
    why: "RFC 2046, 5.1.4: programs of people send a plain version too",
    check: Check::Facts(|facts| {
        let texts =
            || facts.parts.iter().filter(|part| part.is_text && part.disposition != Disposition::Attachment);
        when(texts().next().is_some() && texts().all(|part| part.content_type == "text/html"))
    }),
};

/// An alternative without plain text.
pub const MIME_MA_MISSING_TEXT: Rule = Rule {
    symbol: "MIME_MA_MISSING_TEXT",
    group: Group::Mime,
    weight: 2.4,
    summary: "multipart/alternative without a plain text",
    why: "RFC 2046, 5.1.4: the plainest version comes first; there is no alternative here",
    check: Check::Facts(|facts| {
        when(alternatives(facts).any(|(_, has)| !has("text/plain") && has("text/html")))
    }),
};

/// An alternative without HTML.
pub const MIME_MA_MISSING_HTML: Rule = Rule {
    symbol: "MIME_MA_MISSING_HTML",
    group: Group::Mime,
    weight: 1.0,
    summary: "multipart/alternative with nothing but plain text",
    why: "RFC 2046, 5.1.4: there is no alternative here",
    check: Check::Facts(|facts| {
        when(alternatives(facts).any(|(part, has)| has("text/plain") && part.children == 1))
    }),
};

/// Text in base64.
pub const MIME_BASE64_TEXT: Rule = Rule {
    symbol: "MIME_BASE64_TEXT",
    group: Group::Mime,
    weight: 0.3,
    summary: "a text in base64",
    why: "RFC 2045, 6.8 is for binaries; usual for languages beyond Latin",
    check: Check::Facts(|facts| when(texts(facts).any(|part| part.encoding == Transfer::Base64))),
};

/// ASCII in base64.
pub const MIME_BASE64_TEXT_BOGUS: Rule = Rule {
    symbol: "MIME_BASE64_TEXT_BOGUS",
    group: Group::Mime,
    weight: 0.6,
    summary: "a text in base64 that is plain ASCII",
    why: "RFC 2045, 6.8: there was nothing to encode; it hides words from simple filters",
    check: Check::Facts(|facts| {
        when(
            texts(facts)
                .any(|part| part.encoding == Transfer::Base64 && !part.international && part.size > 32),
        )
    }),
};

/// A mixed message with one part.
pub const CTYPE_MIXED_BOGUS: Rule = Rule {
    symbol: "CTYPE_MIXED_BOGUS",
    group: Group::Mime,
    weight: 1.0,
    summary: "multipart/mixed with nothing but one text in it",
    why: "RFC 2046, 5.1.3: for several parts; mailing lists that remove attachments do it, and are left out",
    check: Check::Facts(|facts| {
        let root = facts.parts.first()?;
        let child = facts.parts.get(1)?;
        let single =
            root.content_type == "multipart/mixed" && root.children == 1 && child.is_text && !child.is_file();
        when(single && !crate::facts::headers::is_list(&facts.headers))
    }),
};

/// A binary that does not say how it wants to be shown.
pub const CTYPE_MISSING_DISPOSITION: Rule = Rule {
    symbol: "CTYPE_MISSING_DISPOSITION",
    group: Group::Mime,
    weight: 2.0,
    summary: "an unnamed binary part without Content-Disposition",
    why: "RFC 2183, 2: programs of people say attachment or inline, and a name (Rspamd: 4)",
    check: Check::Facts(|facts| {
        let part = facts.parts.iter().find(|part| {
            part.content_type == "application/octet-stream"
                && part.disposition == Disposition::None
                && part.name.is_none()
                && part.depth > 0
        })?;
        let signed = facts.parts.first().is_some_and(|root| {
            matches!(root.content_type.as_str(), "multipart/encrypted" | "multipart/signed")
        });
        (!signed).then(|| Evidence::new(&part.content_type))
    }),
};

/// A Content-Type nobody can read.
pub const BROKEN_CONTENT_TYPE: Rule = Rule {
    symbol: "BROKEN_CONTENT_TYPE",
    group: Group::Mime,
    weight: 1.5,
    summary: "a Content-Type that is none, or has no subtype",
    why: "RFC 2045, 5.1: type/subtype; who writes his mail by hand gets it wrong, or means to",
    check: Check::Facts(|facts| {
        facts
            .parts
            .iter()
            .find(|part| part.unreadable || part.typed && part.content_type.ends_with('/'))
            .map(|part| Evidence::new(&part.content_type))
    }),
};

/// Nothing of MIME but the type.
pub const MIME_HEADER_CTYPE_ONLY: Rule = Rule {
    symbol: "MIME_HEADER_CTYPE_ONLY",
    group: Group::Mime,
    weight: 2.0,
    summary: "HTML or several parts, but neither MIME-Version nor Content-Transfer-Encoding",
    why: "RFC 2045, 4: who makes MIME says so; scripts that write Content-Type by hand forget the rest",
    check: Check::Facts(|facts| {
        let root = facts.parts.first().filter(|root| root.typed && root.content_type != "text/plain")?;
        let bare = !facts.headers.has("mime-version") && !facts.headers.has("content-transfer-encoding");
        bare.then(|| Evidence::new(&root.content_type))
    }),
};

/// A semicolon and nothing behind it.
pub const CT_EXTRA_SEMI: Rule = Rule {
    symbol: "CT_EXTRA_SEMI",
    group: Group::Mime,
    weight: 1.2,
    summary: "Content-Type ends with a semicolon",
    why: "RFC 2045, 5.1: a parameter follows; a template whose parameter was left out",
    check: Check::Facts(|facts| {
        let value = facts.headers.value("content-type");
        value.ends_with(';').then(|| Evidence::new(value))
    }),
};

/// 8-bit text that claims to be 7-bit.
pub const R_BAD_CTE_7BIT: Rule = Rule {
    symbol: "R_BAD_CTE_7BIT",
    group: Group::Mime,
    weight: 0.4,
    summary: "a text has bytes beyond ASCII, but is declared 7bit or nothing",
    why: "RFC 2045, 6.2; old but honest programs do it as well (Rspamd: 3.5, if declared)",
    check: Check::Facts(|facts| when(texts(facts).any(|part| part.eight_bit))),
};

/// Text beyond ASCII without a charset.
pub const R_MISSING_CHARSET: Rule = Rule {
    symbol: "R_MISSING_CHARSET",
    group: Group::Mime,
    weight: 0.5,
    summary: "a text beyond ASCII does not name its charset",
    why: "RFC 2046, 4.1.2: without one it is US-ASCII",
    check: Check::Facts(|facts| when(texts(facts).any(|part| part.international && part.charset.is_none()))),
};

/// A charset nobody knows.
pub const MIME_UNKNOWN_CHARSET: Rule = Rule {
    symbol: "MIME_UNKNOWN_CHARSET",
    group: Group::Mime,
    weight: 1.1,
    summary: "a text in a charset that does not exist",
    why: "RFC 2978: charsets are registered; a template whose placeholder was not filled in",
    check: Check::Facts(|facts| when(facts.text.problems.unknown_charset)),
};

/// A damaged structure.
pub const MIME_DAMAGED: Rule = Rule {
    symbol: "MIME_DAMAGED",
    group: Group::Mime,
    weight: 0.5,
    summary: "a multipart without its end",
    why: "RFC 2046, 5.1.1: closed by a last boundary; cut on the way, or made by hand",
    check: Check::Facts(|facts| {
        when(facts.parts.iter().any(|part| part.damaged) && !facts.missing.contains(&"body"))
    }),
};

/// Plain text and HTML say different things.
pub const R_PARTS_DIFFER: Rule = Rule {
    symbol: "R_PARTS_DIFFER",
    group: Group::Mime,
    weight: 0.8,
    summary: "plain text and HTML say different things",
    why: "RFC 2046, 5.1.4: versions of the same; here one is for the reader, the other for the filter",
    check: Check::Facts(|facts| {
        let differ = facts.text.differ.filter(|&differ| differ > 50)?;
        Some(Evidence::new(format_args!("{differ}%")).times(f64::from(differ - 50) / 50.0))
    }),
};

/// The plain version is nothing but links.
pub const R_PLAIN_IS_URLS: Rule = Rule {
    symbol: "R_PLAIN_IS_URLS",
    group: Group::Mime,
    weight: 2.8,
    summary: "the plain text is nothing but links, the HTML has all the words",
    why: "RFC 2046, 5.1.4: versions of the same; bulk mailers fill in the links and forget the text",
    check: Check::Facts(|facts| {
        let (plain, shown) = (facts.text.plain_words_besides_urls, facts.text.html_words);
        let links = facts.text.plain.contains("://");
        (links && plain <= 8 && shown >= 30)
            .then(|| Evidence::new(format_args!("{plain} words against {shown}")))
    }),
};

fn texts(facts: &Facts) -> impl Iterator<Item = &Part> {
    facts.parts.iter().filter(|part| part.is_text && part.disposition != Disposition::Attachment)
}

/// Every multipart/alternative, with the question whether it has a part of that type at any depth.
fn alternatives(facts: &Facts) -> impl Iterator<Item = (&Part, impl Fn(&str) -> bool)> {
    facts.parts.iter().enumerate().filter(|(_, part)| part.content_type == "multipart/alternative").map(
        |(at, part)| {
            let inside: Vec<&str> = facts
                .parts
                .iter()
                .skip(at + 1)
                .take_while(move |below| below.depth > part.depth)
                .map(|below| below.content_type.as_str())
                .collect();
            (part, move |content_type: &str| inside.contains(&content_type))
        },
    )
}
