//! RAR files, versions 1.5 to 4 and 5 to 7: a chain of headers that are not compressed.
//!
//! Own code because no crate with a free licence lists them (`unrar` wraps RARLAB's sources, whose licence forbids more than it allows).
//! From the format's description in RARLAB's `technote.txt`; nothing is unpacked, so RARLAB's compression is not needed.
//!
//! Version 4, little endian: `Rar!\x1a\7\0`, then blocks: CRC u16, type u8, flags u16, header size u16; with flag 0x8000, or of type 0x74, the
//! size of the data behind it u32. A file (0x74) has at 7: packed u32, unpacked u32, system u8, CRC u32, time u32, version u8, method u8, name
//! length u16, attributes u32, with flag 0x100 two u32 of high sizes, the name. Flags of a file: 4 encrypted, 0xE0 all set: a directory; 0x200:
//! the name has a second form behind a zero byte. Flag 0x80 of the main block (0x73): all headers behind it are encrypted.
//!
//! Version 5: `Rar!\x1a\7\1\0`, then blocks: CRC u32, header size, type, flags, with flag 1 the extra area's size, with flag 2 the data's size;
//! all but the CRC are variable numbers, seven bits a byte, the lowest first. A file (type 2): flags (1 directory, 2 time u32, 4 CRC u32), unpacked
//! size, attributes, [time], [CRC], compression, system, name length, name. Type 4: all headers behind it are encrypted. A record of type 1
//! in a file's extra area: it is encrypted.

use super::{Archive, Work};

const MAGIC_4: &[u8] = b"Rar!\x1a\x07\x00";
const MAGIC_5: &[u8] = b"Rar!\x1a\x07\x01\x00";

pub(super) fn is_rar(head: &[u8]) -> bool {
    head.starts_with(MAGIC_4) || head.starts_with(MAGIC_5)
}

/// Reads a RAR file as far as it can be read.
pub(super) fn read(bytes: &[u8], work: &mut Work) -> Option<Archive> {
    let mut archive = Archive::default();
    let whole = match (bytes.strip_prefix(MAGIC_5), bytes.strip_prefix(MAGIC_4)) {
        (Some(blocks), _) => blocks_5(blocks, &mut archive, work),
        (None, Some(blocks)) => blocks_4(blocks, &mut archive, work),
        (None, None) => return None,
    };
    archive.incomplete |= whole.is_none();
    Some(archive)
}

/// Blocks read at most; a file is one, what belongs to it some more.
const MAX_BLOCKS: usize = 4 * super::MAX_MEMBERS;

fn blocks_4(mut rest: &[u8], archive: &mut Archive, work: &mut Work) -> Option<()> {
    for _ in 0..MAX_BLOCKS {
        if rest.is_empty() {
            return Some(());
        }
        let (kind, flags) = (*rest.get(2)?, u16_at(rest, 3)?);
        let size = usize::from(u16_at(rest, 5)?);
        let header = rest.get(..size).filter(|header| header.len() >= 7)?;
        let mut data = 0;
        if kind == 0x74 || flags & 0x8000 != 0 {
            data = u32_at(header, 7)? as usize;
        }
        match kind {
            0x73 if flags & 0x80 != 0 => {
                archive.encrypted = true;
                return None;
            }
            0x74 => {
                archive.encrypted |= flags & 4 != 0;
                let length = usize::from(u16_at(header, 26)?);
                let at = if flags & 0x100 != 0 { 40 } else { 32 };
                if flags & 0x100 != 0 {
                    data = data.checked_add(usize::try_from(u64::from(u32_at(header, 32)?) << 32).ok()?)?;
                }
                let name = header.get(at..at + length)?;
                let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
                let slash = if flags & 0xE0 == 0xE0 { "/" } else { "" };
                if !archive.add(&format!("{}{slash}", String::from_utf8_lossy(name)), work) {
                    return None;
                }
            }
            0x7B => return Some(()),
            _ => {}
        }
        rest = rest.get(size.checked_add(data)?..)?;
    }
    None
}

fn blocks_5(mut rest: &[u8], archive: &mut Archive, work: &mut Work) -> Option<()> {
    for _ in 0..MAX_BLOCKS {
        if rest.is_empty() {
            return Some(());
        }
        let mut numbers = Numbers(rest.get(4..)?);
        let size = numbers.next()?;
        let start = rest.len() - numbers.0.len();
        let end = start.checked_add(size)?;
        let mut header = Numbers(rest.get(start..end)?);
        let (kind, flags) = (header.next()?, header.next()?);
        let extra = if flags & 1 != 0 { header.next()? } else { 0 };
        let data = if flags & 2 != 0 { header.next()? } else { 0 };
        match kind {
            2 => {
                let about = header.next()?;
                let (_unpacked, _attributes) = (header.next()?, header.next()?);
                header.skip(4 * (usize::from(about & 2 != 0) + usize::from(about & 4 != 0)))?;
                let (_compression, _system, length) = (header.next()?, header.next()?, header.next()?);
                let name = String::from_utf8_lossy(header.0.get(..length)?).into_owned();
                let slash = if about & 1 != 0 { "/" } else { "" };
                let area = rest.get(end.checked_sub(extra)?..end)?;
                archive.encrypted |= has_encryption(area);
                if !archive.add(&format!("{name}{slash}"), work) {
                    return None;
                }
            }
            4 => {
                archive.encrypted = true;
                return None;
            }
            5 => return Some(()),
            _ => {}
        }
        rest = rest.get(end.checked_add(data)?..)?;
    }
    None
}

/// Whether a file's extra area has a record of encryption.
fn has_encryption(area: &[u8]) -> bool {
    let mut records = Numbers(area);
    while let Some(size) = records.next() {
        let Some(record) = records.0.get(..size) else { return false };
        if Numbers(record).next() == Some(1) {
            return true;
        }
        records.0 = &records.0[size..];
    }
    false
}

/// Variable numbers.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<usize> {
        let mut number: u64 = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7F).checked_shl(7 * at as u32)?;
            if byte & 0x80 == 0 {
                self.0 = &self.0[at + 1..];
                return usize::try_from(number).ok();
            }
        }
        None
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::facts::archives::tests::decoded;

    /// Written by hand from the description; libarchive's `bsdtar -t` lists the same names.
    const FOUR: &str = include_str!("../../../../tests/milter/archives/four.rar.b64");
    const FIVE: &str = include_str!("../../../../tests/milter/archives/five.rar.b64");

    #[test]
    fn both_versions_are_listed() {
        for text in [FOUR, FIVE] {
            let archive = read(&decoded(text), &mut Work::default()).unwrap();
            assert_eq!(archive.names, ["docs/", "docs/notes.txt", "run.exe"]);
            assert!(!archive.encrypted && !archive.incomplete);
        }
    }

    #[test]
    fn damage_makes_nothing_worse() {
        for whole in [decoded(FOUR), decoded(FIVE)] {
            for at in 8..whole.len() {
                let _ = read(&whole[..at], &mut Work::default());
                for byte in [0, 0x7F, 0x80, 0xFF] {
                    let mut bent = whole.clone();
                    bent[at] = byte;
                    let _ = read(&bent, &mut Work::default());
                }
            }
        }
    }

    #[test]
    fn encrypted_headers_show_no_names_and_say_so() {
        let four = [MAGIC_4, &[0, 0, 0x73, 0x80, 0, 13, 0, 0, 0, 0, 0, 0, 0], &[1, 2, 3]].concat();
        let five = [MAGIC_5, &[0, 0, 0, 0, 2, 4, 0], &[1, 2, 3]].concat();
        for bytes in [four, five] {
            let archive = read(&bytes, &mut Work::default()).unwrap();
            assert!(archive.encrypted && archive.incomplete && archive.names.is_empty());
        }
    }
}
