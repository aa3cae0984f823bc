//! Group `mime`: the structure of the message, and its attachments.

use super::{Check, Evidence, Group, Rule, when};
use crate::facts::Facts;
use crate::facts::kinds::{self, Danger, Kind};
use crate::facts::parts::{Disposition, Part, Transfer};
use crate::facts::scripts;

/// The group's table.
pub const RULES: &[Rule] = &[
    MIME_GOOD,
    MIME_BAD,
    MIME_UNKNOWN,
    MIME_BAD_ATTACHMENT,
    MIME_BAD_EXTENSION,
    MIME_DOUBLE_BAD_EXTENSION,
    MIME_BAD_UNICODE,
    MIME_ENCRYPTED_ARCHIVE,
    EXE_IN_ARCHIVE,
    SINGLE_FILE_ARCHIVE_WITH_EXE,
    MIME_ARCHIVE_IN_ARCHIVE,
    MIME_MACRO_DOCUMENT,
    MIME_HTML_ATTACHMENT,
    MIME_HTML_ONLY,
    MIME_MA_MISSING_TEXT,
    MIME_MA_MISSING_HTML,
    MIME_BASE64_TEXT,
    MIME_BASE64_TEXT_BOGUS,
    CTYPE_MIXED_BOGUS,
    CTYPE_MISSING_DISPOSITION,
    BROKEN_CONTENT_TYPE,
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

/// A type nobody should send.
pub const MIME_BAD: Rule = Rule {
    symbol: "MIME_BAD",
    group: Group::Mime,
    weight: 1.0,
    summary: "a part has a content type that nobody sends to people",
    why: "programs and partial messages, which hide their content from filters (RFC 2046, 5.2.2)",
    check: Check::Facts(|facts| {
        let bad = [
            "message/partial",
            "application/x-msdownload",
            "application/x-msdos-program",
            "application/x-ms-shortcut",
            "application/hta",
        ];
        facts
            .parts
            .iter()
            .find(|part| bad.contains(&part.content_type.as_str()))
            .map(|part| Evidence::new(&part.content_type))
    }),
};

/// No type.
pub const MIME_UNKNOWN: Rule = Rule {
    symbol: "MIME_UNKNOWN",
    group: Group::Mime,
    weight: 0.1,
    summary: "an attachment without a proper content type",
    why: "RFC 2046, 4.5.1: octet-stream is what a program says when it does not know",
    check: Check::Facts(|facts| {
        files(facts).find(|part| !part.typed || part.content_type == "application/octet-stream").map(named)
    }),
};

/// A file that is not what it claims.
pub const MIME_BAD_ATTACHMENT: Rule = Rule {
    symbol: "MIME_BAD_ATTACHMENT",
    group: Group::Mime,
    weight: 4.0,
    summary: "an attachment is something else than it claims",
    why: "a program or archive in the dress of an image, a sound or a document",
    check: Check::Facts(|facts| {
        let part = files(facts).find(|part| disguised(part))?;
        Some(Evidence::new(format_args!(
            "{} is {}",
            part.name.as_deref().unwrap_or(&part.content_type),
            part.kind.as_str()
        )))
    }),
};

/// A file that runs.
pub const MIME_BAD_EXTENSION: Rule = Rule {
    symbol: "MIME_BAD_EXTENSION",
    group: Group::Mime,
    weight: 4.0,
    summary: "an attachment runs when it is opened",
    why: "the extensions that Outlook blocks; half for disk images and macro documents",
    check: Check::Facts(|facts| {
        let (danger, part) =
            files(facts).filter_map(|part| Some((danger(part)?, part))).min_by_key(|(danger, _)| *danger)?;
        Some(named(part).times(if danger == Danger::Runs { 1.0 } else { 0.5 }))
    }),
};

/// A harmless extension before a bad one.
pub const MIME_DOUBLE_BAD_EXTENSION: Rule = Rule {
    symbol: "MIME_DOUBLE_BAD_EXTENSION",
    group: Group::Mime,
    weight: 3.0,
    summary: "an attachment that runs has a harmless extension before the real one",
    why: "invoice.pdf.exe: Windows hides the last extension",
    check: Check::Facts(|facts| {
        let part = files(facts).find(|part| {
            let inner = part.name.as_deref().and_then(kinds::inner_extension);
            danger(part).is_some() && inner.is_some_and(|inner| kinds::is_trusted(&inner))
        })?;
        Some(named(part))
    }),
};

/// Characters that deceive in a file name.
pub const MIME_BAD_UNICODE: Rule = Rule {
    symbol: "MIME_BAD_UNICODE",
    group: Group::Mime,
    weight: 8.0,
    summary: "a file name turns the reading direction around or hides characters",
    why: "Unicode TR 36, 2.1: what reads …exe.pdf is …fdp.exe",
    check: Check::Facts(|facts| {
        let odd = |c: char| scripts::reverses(c) || matches!(c, '\u{200B}' | '\u{2060}' | '\u{FEFF}');
        let member = |part: &Part| {
            let archives = part.archive.iter().flat_map(|archive| archive.walk());
            archives.flat_map(|archive| archive.files()).any(|name| name.contains(odd))
        };
        files(facts)
            .find(|part| part.name.as_deref().is_some_and(|name| name.contains(odd)) || member(part))
            .map(named)
    }),
};

/// An encrypted archive.
pub const MIME_ENCRYPTED_ARCHIVE: Rule = Rule {
    symbol: "MIME_ENCRYPTED_ARCHIVE",
    group: Group::Mime,
    weight: 2.0,
    summary: "an encrypted archive",
    why: "nothing can look inside; the password stands in the text",
    check: Check::Facts(|facts| {
        facts
            .parts
            .iter()
            .find(|part| {
                part.archive.iter().flat_map(|archive| archive.walk()).any(|archive| archive.encrypted)
            })
            .map(named)
    }),
};

/// A program in an archive.
pub const EXE_IN_ARCHIVE: Rule = Rule {
    symbol: "EXE_IN_ARCHIVE",
    group: Group::Mime,
    weight: 1.5,
    summary: "an archive with a program in it, among other files",
    why: "gets a program past filters that look at attachments only",
    check: Check::Facts(|facts| {
        members(facts)
            .find(|(_, count, name)| *count > 1 && runs(name))
            .map(|(_, _, name)| Evidence::new(name))
    }),
};

/// An archive with nothing but a program.
pub const SINGLE_FILE_ARCHIVE_WITH_EXE: Rule = Rule {
    symbol: "SINGLE_FILE_ARCHIVE_WITH_EXE",
    group: Group::Mime,
    weight: 5.0,
    summary: "an archive with nothing but a program in it",
    why: "no software is distributed that way, malware is",
    check: Check::Facts(|facts| {
        members(facts)
            .find(|(_, count, name)| *count == 1 && runs(name))
            .map(|(_, _, name)| Evidence::new(name))
    }),
};

/// An archive in an archive.
pub const MIME_ARCHIVE_IN_ARCHIVE: Rule = Rule {
    symbol: "MIME_ARCHIVE_IN_ARCHIVE",
    group: Group::Mime,
    weight: 3.0,
    summary: "an archive that holds nothing but another archive",
    why: "gets a file past filters that open one level (Rspamd: 5 for any archive in an archive)",
    check: Check::Facts(|facts| {
        members(facts)
            .find(|(_, count, name)| {
                *count == 1 && kinds::extension(name).is_some_and(|extension| kinds::is_archive(&extension))
            })
            .map(|(_, _, name)| Evidence::new(name))
    }),
};

/// A document with macros.
pub const MIME_MACRO_DOCUMENT: Rule = Rule {
    symbol: "MIME_MACRO_DOCUMENT",
    group: Group::Mime,
    weight: 1.5,
    summary: "an office document with macros, by its extension or by what is in it",
    why: "ECMA-376 keeps macros in vbaProject.bin; they run after one click",
    check: Check::Facts(|facts| {
        files(facts)
            .find(|part| {
                let inside = part
                    .archive
                    .iter()
                    .flat_map(|archive| archive.files())
                    .any(|name| name.ends_with("vbaProject.bin"));
                inside || part.extension.as_deref().is_some_and(kinds::has_macros)
            })
            .map(named)
    }),
};

/// An attached page.
pub const MIME_HTML_ATTACHMENT: Rule = Rule {
    symbol: "MIME_HTML_ATTACHMENT",
    group: Group::Mime,
    weight: 2.0,
    summary: "a web page as an attachment",
    why: "a login form that no filter of links sees, opened from the disk",
    check: Check::Facts(|facts| {
        facts
            .parts
            .iter()
            .find(|part| {
                let page = matches!(
                    part.extension.as_deref(),
                    Some("htm" | "html" | "shtml" | "xhtml" | "svg" | "mht")
                );
                page && part.disposition == Disposition::Attachment && part.depth > 0
            })
            .map(named)
    }),
};

/// Only HTML.
pub const MIME_HTML_ONLY: Rule = Rule {
    symbol: "MIME_HTML_ONLY",
    group: Group::Mime,
    weight: 0.2,
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
    weight: 2.0,
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
    weight: 0.1,
    summary: "a text in base64",
    why: "RFC 2045, 6.8 is for binaries; usual for languages beyond Latin",
    check: Check::Facts(|facts| when(texts(facts).any(|part| part.encoding == Transfer::Base64))),
};

/// ASCII in base64.
pub const MIME_BASE64_TEXT_BOGUS: Rule = Rule {
    symbol: "MIME_BASE64_TEXT_BOGUS",
    group: Group::Mime,
    weight: 1.0,
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

/// 8-bit text that claims to be 7-bit.
pub const R_BAD_CTE_7BIT: Rule = Rule {
    symbol: "R_BAD_CTE_7BIT",
    group: Group::Mime,
    weight: 1.0,
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
    weight: 1.0,
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
    weight: 1.0,
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
    weight: 2.5,
    summary: "the plain text is nothing but links, the HTML has all the words",
    why: "RFC 2046, 5.1.4: versions of the same; bulk mailers fill in the links and forget the text",
    check: Check::Facts(|facts| {
        let (plain, shown) = (facts.text.plain_words_besides_urls, facts.text.html_words);
        let links = facts.text.plain.contains("://");
        (links && plain <= 8 && shown >= 30)
            .then(|| Evidence::new(format_args!("{plain} words against {shown}")))
    }),
};

fn files(facts: &Facts) -> impl Iterator<Item = &Part> {
    facts.parts.iter().filter(|part| part.is_file() && part.main_type() != "message")
}

fn texts(facts: &Facts) -> impl Iterator<Item = &Part> {
    facts.parts.iter().filter(|part| part.is_text && part.disposition != Disposition::Attachment)
}

/// Every member of every archive and of those inside it, with the number of files beside it.
fn members(facts: &Facts) -> impl Iterator<Item = (&Part, usize, &str)> {
    let archives = facts.parts.iter().filter_map(|part| Some((part, part.archive.as_ref()?)));
    let all =
        archives.flat_map(|(part, archive)| archive.walk().into_iter().map(move |archive| (part, archive)));
    all.flat_map(|(part, archive)| {
        let count = archive.files().count();
        archive.files().map(move |name| (part, count, name))
    })
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

fn danger(part: &Part) -> Option<Danger> {
    let by_name = part.extension.as_deref().and_then(kinds::danger);
    let runs = matches!(part.kind, Kind::Executable | Kind::Shortcut);
    if runs { Some(Danger::Runs) } else { by_name }
}

fn runs(name: &str) -> bool {
    kinds::extension(name).is_some_and(|extension| kinds::danger(&extension) == Some(Danger::Runs))
}

fn disguised(part: &Part) -> bool {
    let image = matches!(
        part.extension.as_deref(),
        Some("jpg" | "jpeg" | "png" | "gif" | "pdf" | "txt" | "mp3" | "wav")
    );
    let program = matches!(part.kind, Kind::Executable | Kind::Shortcut);
    kinds::contradicts(&part.content_type, part.kind) || image && program
}

fn named(part: &Part) -> Evidence {
    Evidence::new(part.name.as_deref().unwrap_or(&part.content_type))
}
