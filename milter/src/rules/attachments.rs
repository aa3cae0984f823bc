//! Group `mime`: what is attached: files that run, that hide, that are not what they say.

use super::{Check, Evidence, Group, Rule};
use crate::facts::Facts;
use crate::facts::kinds::{self, Danger, Kind};
use crate::facts::parts::{Disposition, Part};
use crate::facts::scripts;

/// The table of these.
pub const RULES: &[Rule] = &[
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
];

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
    weight: 5.3,
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

fn files(facts: &Facts) -> impl Iterator<Item = &Part> {
    facts.parts.iter().filter(|part| part.is_file() && part.main_type() != "message")
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
