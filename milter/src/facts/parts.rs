//! The MIME parts: what each claims to be and what it is.
//!
//! For the rules of the group `mime`; on the way the text of each text part goes to `text` and `html`. Attachments are decoded only
//! to look at their first bytes, and archives (up to `MAX_ARCHIVE`) to list them.

use mail_parser::{Encoding, MessagePart, PartFlags, PartKind};

use super::archives::{self, Archive, Work};
use super::headers::is_unreadable;
use super::html::Html;
use super::kinds::{self, Kind};
use super::mailboxes::cut;
use super::text::Text;
use super::urls::Finder;

/// Parts read; real mail has fewer than 50, digests some hundreds.
pub const MAX_PARTS: usize = 1_000;
/// Nested multiparts and messages.
pub const MAX_DEPTH: usize = 32;
/// Archives up to this size, encoded, are listed.
const MAX_ARCHIVE: usize = 16 << 20;
/// All archives together.
const MAX_ARCHIVES: usize = 32 << 20;
/// A file name is cut there.
const MAX_NAME: usize = 512;
/// The encoded bytes that are decoded to see the first bytes of an attachment: a multiple of base64's quantum and line.
const HEAD: usize = 4_096;

/// One part.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// The content type, `type/subtype` in lower case; `text/plain` where none is given (RFC 2045, 5.2), empty where it is unreadable.
    pub content_type: String,
    /// Whether there is a Content-Type field.
    pub typed: bool,
    /// Whether that field is there and unreadable.
    pub unreadable: bool,
    /// The `charset` parameter in lower case.
    pub charset: Option<String>,
    /// The `boundary` parameter.
    pub boundary: Option<String>,
    /// How it wants to be shown.
    pub disposition: Disposition,
    /// The file name.
    pub name: Option<String>,
    /// The extension of that name, in lower case.
    pub extension: Option<String>,
    /// The transfer encoding.
    pub encoding: Transfer,
    /// How many multiparts and messages it is in.
    pub depth: usize,
    /// The part that contains it.
    pub parent: Option<usize>,
    /// How many parts it contains directly.
    pub children: usize,
    /// Its encoded size in bytes.
    pub size: usize,
    /// What the first bytes say; only of parts that are no text.
    pub kind: Kind,
    /// What is in it, if it is an archive that can be listed.
    pub archive: Option<Archive>,
    /// Whether it is read as text.
    pub is_text: bool,
    /// Whether it is offered as an attachment.
    pub is_attachment: bool,
    /// Whether the body has bytes beyond ASCII although the encoding excludes them.
    pub eight_bit: bool,
    /// Whether its text has characters beyond ASCII.
    pub international: bool,
    /// Whether its multipart structure is damaged.
    pub damaged: bool,
}

/// `Content-Disposition` (RFC 2183).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Disposition {
    /// None.
    #[default]
    None,
    /// To be shown in place.
    Inline,
    /// To be saved.
    Attachment,
}

/// `Content-Transfer-Encoding` (RFC 2045, 6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transfer {
    /// None given, which means `7bit`.
    #[default]
    None,
    /// `7bit`.
    SevenBit,
    /// `8bit` or `binary`.
    EightBit,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// Something else.
    Unknown,
}

impl Part {
    /// The main type: `text` of `text/plain`.
    pub fn main_type(&self) -> &str {
        self.content_type.split('/').next().unwrap_or_default()
    }

    /// Whether it is a multipart.
    pub fn is_multipart(&self) -> bool {
        self.main_type() == "multipart"
    }

    /// Whether it is a file for the reader: attached or named, and no text of the message itself.
    pub fn is_file(&self) -> bool {
        !self.is_multipart() && (self.is_attachment || self.name.is_some())
    }
}

/// Reads all parts, and the text in them.
pub(super) fn read(
    parsed: &mail_parser::Message<'_>,
    text: &mut Text,
    html: &mut Html,
    finder: &mut Finder,
    missing: &mut Vec<&'static str>,
) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut room = Room { encoded: MAX_ARCHIVES, work: Work::default() };
    let limits = PartFlags::LIMIT_REACHED | PartFlags::NESTING_LIMIT;
    if parsed.parts().any(|part| part.flags().intersects(limits)) {
        missing.push("parts");
    }
    for source in parsed.parts().take(MAX_PARTS) {
        let mut part = one(&source, &parts, &mut room, missing);
        if let Some(parent) = part.parent.and_then(|parent| parts.get_mut(parent)) {
            parent.children += 1;
        }
        let shown = part.is_text && (part.disposition != Disposition::Attachment || part.depth == 0);
        if shown {
            part.international = match source.kind() {
                PartKind::Html => text.html(&source, html, finder),
                _ => text.plain(&source, finder),
            };
        }
        parts.push(part);
    }
    parts
}

fn one(source: &MessagePart<'_>, known: &[Part], room: &mut Room, missing: &mut Vec<&'static str>) -> Part {
    let content_type = source.content_type();
    let unreadable = is_unreadable(source);
    let parameter = |name| content_type.as_ref().and_then(|content| content.attribute(name));
    let parent = source
        .parent()
        .or_else(|| source.message().container())
        .and_then(|parent| usize::try_from(parent.id()).ok())
        .filter(|&parent| parent < known.len());
    let disposition = match source.content_disposition() {
        Some(value) if value.is_attachment() => Disposition::Attachment,
        Some(_) => Disposition::Inline,
        None => Disposition::None,
    };
    let name = source.attachment_name().map(|name| cut(name, MAX_NAME).to_owned());
    let raw = source.raw_body();
    let mut part = Part {
        content_type: match &content_type {
            Some(content) => {
                cut(&format!("{}/{}", content.ctype(), content.subtype().unwrap_or_default()), 256)
                    .to_ascii_lowercase()
            }
            None if unreadable => String::new(),
            None => "text/plain".to_owned(),
        },
        typed: content_type.is_some(),
        unreadable,
        charset: parameter("charset").map(|charset| cut(charset, 64).to_ascii_lowercase()),
        boundary: parameter("boundary").map(|boundary| cut(boundary, 256).to_owned()),
        disposition,
        extension: name.as_deref().and_then(kinds::extension),
        name,
        encoding: transfer(source),
        depth: parent.and_then(|parent| known.get(parent)).map_or(0, |parent| parent.depth + 1),
        parent,
        size: raw.len(),
        is_text: source.is_text(),
        is_attachment: source.is_attachment() && !source.is_multipart(),
        damaged: source.flags().intersects(PartFlags::MISSING_DELIMITER | PartFlags::UNTERMINATED),
        ..Part::default()
    };
    let leaf = !source.is_multipart() && !source.is_message();
    if leaf && matches!(part.encoding, Transfer::None | Transfer::SevenBit) {
        part.eight_bit = !raw.is_ascii();
    }
    if leaf && (!part.is_text || part.is_file()) {
        look_inside(source, raw, &mut part, room, missing);
    }
    part
}

/// What may still be spent on the archives of a message.
struct Room {
    encoded: usize,
    work: Work,
}

fn look_inside(
    source: &MessagePart<'_>,
    raw: &[u8],
    part: &mut Part,
    room: &mut Room,
    missing: &mut Vec<&'static str>,
) {
    let head = source.encoding().decode(&raw[..raw.len().min(HEAD)]);
    part.kind = Kind::of(&head);
    if !archives::is_listed(&head) {
        return;
    }
    if raw.len() > MAX_ARCHIVE || raw.len() > room.encoded {
        missing.push("archives");
        return;
    }
    room.encoded -= raw.len();
    part.archive = Archive::read(&source.decoded(), &mut room.work);
    let incomplete = |archive: &Archive| archive.walk().iter().any(|archive| archive.incomplete);
    if part.archive.as_ref().is_none_or(incomplete) && !missing.contains(&"archives") {
        missing.push("archives");
    }
}

fn transfer(source: &MessagePart<'_>) -> Transfer {
    match source.encoding() {
        Encoding::Base64 => Transfer::Base64,
        Encoding::QuotedPrintable => Transfer::QuotedPrintable,
        Encoding::None => {
            let text = source.content_transfer_encoding().unwrap_or_default();
            match text.split(['(', ';', ' ']).next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "" => Transfer::None,
                "7bit" => Transfer::SevenBit,
                "8bit" | "binary" => Transfer::EightBit,
                _ => Transfer::Unknown,
            }
        }
    }
}
