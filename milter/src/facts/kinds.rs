//! Kinds of files: by their first bytes, by their extension, by the type that the header claims.
//!
//! For `parts`, `archives` and the rules of the group `mime`. Knows what matters for mail: what runs when it is opened, what can hide
//! something else, what people send each other. It looks at first bytes only and is no virus scanner.

/// What the first bytes say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing that is known here.
    #[default]
    Unknown,
    /// A program of Windows, Linux or macOS, or Java bytecode.
    Executable,
    /// A zip file (also the container of OOXML, ODF, JAR).
    Zip,
    /// Another archive or disk image: RAR, 7z, gzip, bzip2, xz, CAB, ACE, ARJ, ISO.
    Archive,
    /// An OLE container: old Office documents, MSI.
    Ole,
    /// A PDF.
    Pdf,
    /// An image: PNG, JPEG, GIF, BMP, TIFF, WebP, icon.
    Image,
    /// RTF.
    Rtf,
    /// HTML.
    Html,
    /// A Windows shortcut.
    Shortcut,
}

impl Kind {
    /// Looks at the first bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
            return *kind;
        }
        let start = bytes.get(..256).unwrap_or(bytes).trim_ascii_start();
        let lower = start.to_ascii_lowercase();
        if lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html") {
            return Self::Html;
        }
        Self::Unknown
    }

    /// The word in evidence.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Executable => "executable",
            Self::Zip => "zip",
            Self::Archive => "archive",
            Self::Ole => "ole",
            Self::Pdf => "pdf",
            Self::Image => "image",
            Self::Rtf => "rtf",
            Self::Html => "html",
            Self::Shortcut => "shortcut",
        }
    }
}

/// How dangerous it is to open a file of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    /// It runs, or installs something.
    Runs,
    /// Nobody sends it to people, but it is not known to run.
    Odd,
}

/// The extension of a file name in lower case, without trailing dots and blanks, which Windows ignores.
pub fn extension(name: &str) -> Option<String> {
    let name = name.trim_end_matches(['.', ' ', '\t']);
    let (stem, extension) = name.rsplit_once('.')?;
    let plain = !stem.is_empty()
        && !extension.is_empty()
        && extension.len() <= 12
        && !extension.contains([' ', '/', '\\']);
    plain.then(|| extension.to_lowercase())
}

/// The extension before the last one: `pdf` of `invoice.pdf.exe`.
pub fn inner_extension(name: &str) -> Option<String> {
    let name = name.trim_end_matches(['.', ' ', '\t']);
    extension(name.rsplit_once('.')?.0)
}

/// What a file of that extension does when it is opened.
pub fn danger(extension: &str) -> Option<Danger> {
    if RUNS.binary_search(&extension).is_ok() {
        Some(Danger::Runs)
    } else if ODD.binary_search(&extension).is_ok() {
        Some(Danger::Odd)
    } else {
        None
    }
}

/// Whether people take a file of that extension for harmless, so that it serves to hide another one.
pub fn is_trusted(extension: &str) -> bool {
    TRUSTED.binary_search(&extension).is_ok()
}

/// Whether it is the extension of an archive or disk image.
pub fn is_archive(extension: &str) -> bool {
    ARCHIVES.binary_search(&extension).is_ok()
}

/// Whether a document of that extension carries macros (the `m` of OOXML says so).
pub fn has_macros(extension: &str) -> bool {
    matches!(
        extension,
        "docm" | "dotm" | "xlsm" | "xltm" | "xlam" | "xlsb" | "pptm" | "potm" | "ppsm" | "ppam" | "sldm"
    )
}

/// Whether a claimed type and first bytes contradict each other. Only claims are judged that nobody makes by accident.
pub fn contradicts(content_type: &str, kind: Kind) -> bool {
    let image = content_type.starts_with("image/") && !content_type.contains("svg");
    let claimed_text = content_type == "text/plain" || content_type == "text/html";
    let audio = content_type.starts_with("audio/") || content_type.starts_with("video/");
    match kind {
        Kind::Executable | Kind::Shortcut => {
            image || claimed_text || audio || content_type == "application/pdf"
        }
        Kind::Zip | Kind::Archive => image || audio || content_type == "application/pdf",
        Kind::Html => image || audio || content_type == "application/pdf",
        Kind::Pdf => image || audio,
        _ => false,
    }
}

/// File signatures, as the formats' own documents give them.
const MAGIC: &[(&[u8], Kind)] = &[
    (b"MZ", Kind::Executable),
    (b"\x7fELF", Kind::Executable),
    (b"\xca\xfe\xba\xbe", Kind::Executable),
    (b"\xcf\xfa\xed\xfe", Kind::Executable),
    (b"\xfe\xed\xfa", Kind::Executable),
    (b"PK\x03\x04", Kind::Zip),
    (b"PK\x05\x06", Kind::Zip),
    (b"Rar!\x1a\x07", Kind::Archive),
    (b"7z\xbc\xaf\x27\x1c", Kind::Archive),
    (b"\x1f\x8b", Kind::Archive),
    (b"BZh", Kind::Archive),
    (b"\xfd7zXZ\x00", Kind::Archive),
    (b"MSCF", Kind::Archive),
    (b"\x60\xea", Kind::Archive),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::Ole),
    (b"%PDF-", Kind::Pdf),
    (b"\x89PNG\r\n\x1a\n", Kind::Image),
    (b"\xff\xd8\xff", Kind::Image),
    (b"GIF8", Kind::Image),
    (b"II*\x00", Kind::Image),
    (b"MM\x00*", Kind::Image),
    (b"{\\rtf", Kind::Rtf),
    (b"L\x00\x00\x00\x01\x14\x02\x00", Kind::Shortcut),
];

/// What Windows, or a program everybody has, runs on a double click; sorted. Microsoft's list of blocked Outlook attachments, level 1.
#[rustfmt::skip]
const RUNS: &[&str] = &[
    "ace", "ade", "app", "appinstaller", "application", "appref-ms", "appx", "asp", "aspx", "bas", "bat",
    "cer", "chm", "cmd", "cnt", "com", "cpl", "crt", "diagcab", "exe", "fxp", "gadget", "grp", "hlp", "hpj",
    "hta", "ins", "isp", "its", "jar", "jnlp", "js", "jse", "ksh", "lib", "library-ms", "lnk", "mad", "maf",
    "mag", "mam", "maq", "mar", "mas", "mat", "mau", "mav", "maw", "mcf", "mda", "mdb", "mde", "mdt", "mdw",
    "mdz", "msc", "msh", "msh1", "msh2", "mshxml", "msi", "msix", "msp", "mst", "ocx", "ops", "pcd", "pif",
    "plg", "prf", "prg", "ps1", "ps1xml", "ps2", "psc1", "pst", "reg", "scf", "scr", "sct", "search-ms",
    "settingcontent-ms", "shb", "shs", "sys", "theme", "vb", "vbe", "vbp", "vbs", "vhd", "vhdx", "vxd",
    "website", "wsb", "wsc", "wsf", "wsh", "xbap", "xll", "xnk",
];

/// Disk images and macro documents: opened by one click more; sorted.
#[rustfmt::skip]
const ODD: &[&str] = &[
    "arj", "cab", "cue", "daa", "docm", "dotm", "img", "iqy", "iso", "lzh", "nrg", "one", "ppam", "ppsm",
    "pptm", "r00", "sldm", "slk", "udf", "url", "uue", "wim", "xlam", "xlsb", "xlsm", "xltm", "xxe", "z",
];

/// What hides another file best; sorted.
#[rustfmt::skip]
const TRUSTED: &[&str] = &[
    "avi", "bmp", "csv", "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "mov", "mp3", "mp4", "mpg",
    "odt", "pdf", "png", "ppt", "pptx", "rtf", "tif", "tiff", "txt", "wav", "webp", "wmv", "xls", "xlsx",
    "xml", "zip",
];

/// Archives and disk images; sorted.
#[rustfmt::skip]
const ARCHIVES: &[&str] = &[
    "7z", "ace", "arj", "bz2", "cab", "gz", "img", "iso", "lzh", "rar", "tar", "tgz", "txz", "xz", "z", "zip",
    "zipx",
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_lists_that_are_searched_are_sorted() {
        for list in [RUNS, ODD, TRUSTED, ARCHIVES] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn extensions_are_read_as_windows_reads_them() {
        assert_eq!(extension("a.PDF").as_deref(), Some("pdf"));
        assert_eq!(extension("invoice.pdf.exe . ").as_deref(), Some("exe"));
        assert_eq!(inner_extension("invoice.pdf.exe").as_deref(), Some("pdf"));
        assert_eq!(inner_extension("invoice.exe"), None);
        assert_eq!(extension(".bashrc"), None);
        assert_eq!(extension("see example. com"), None);
        assert_eq!(danger("exe"), Some(Danger::Runs));
        assert_eq!(danger("pdf"), None);
    }
}
