//! Zip files (APPNOTE.TXT 6.3.10): the central directory, and archives inside.
//!
//! The directory (4.3.12) is all that is read, so no bomb can go off, except of members that are named as archives: those are unpacked, at
//! most as far as [`Work`] allows.
//!
//! Grammar, little endian: end record `PK\5\6` … entries (u16 at 10) … directory size (u32 at 12), offset (u32 at 16); each entry
//! `PK\1\2` … flags (u16 at 8), method (u16 at 10), sizes (u32 at 20, 24), lengths of name, extra field and comment (u16 at 28, 30, 32),
//! offset of the local header (u32 at 42), name at 46. A local header `PK\3\4` has the lengths of name and extra field (u16 at 26, 28), and
//! the data behind them.

use std::io::Read;

use flate2::read::DeflateDecoder;

use super::{Archive, MAX_DEPTH, MAX_MEMBERS, Work, may_be_listed};

/// The comment at the end of a zip file is at most so long (its length is a u16), plus the end record itself.
const MAX_TAIL: usize = 65_535 + END_SIZE;
const END_SIZE: usize = 22;
const ENTRY_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;

/// Reads a zip file; `None` when there is no end record.
pub(super) fn read(bytes: &[u8], depth: usize, work: &mut Work) -> Option<Archive> {
    let tail = bytes.len().saturating_sub(MAX_TAIL);
    let end = tail + rfind(&bytes[tail..], b"PK\x05\x06")?;
    let record = bytes.get(end..end + END_SIZE)?;
    let count = usize::from(u16_at(record, 10)?);
    let size = u32_at(record, 12)? as usize;
    // Something may stand before the archive (self-extracting ones); the directory ends where the end record begins, and what stands
    // before it moves every offset.
    let start = end.checked_sub(size)?;
    let shift = start.saturating_sub(u32_at(record, 16)? as usize);
    let mut directory = bytes.get(start..end)?;
    let mut archive = Archive { incomplete: count > MAX_MEMBERS, ..Archive::default() };
    for _ in 0..count.min(MAX_MEMBERS) {
        let Some((entry, length)) = Entry::read(directory) else {
            archive.incomplete = true;
            break;
        };
        archive.encrypted |= entry.encrypted;
        if !archive.add(&entry.name, work) {
            break;
        }
        if may_be_listed(&entry.name) && !entry.encrypted {
            match entry
                .unpack(bytes, shift, depth, work)
                .and_then(|inside| Archive::at(&inside, depth + 1, work))
            {
                Some(inner) => archive.inner.push(inner),
                None => archive.incomplete = true,
            }
        }
        directory = &directory[length..];
    }
    Some(archive)
}

struct Entry {
    name: String,
    encrypted: bool,
    method: u16,
    packed: usize,
    local: usize,
}

impl Entry {
    /// The first entry of a directory, and how long it is.
    fn read(directory: &[u8]) -> Option<(Self, usize)> {
        let head = directory.get(..ENTRY_SIZE).filter(|head| head.starts_with(b"PK\x01\x02"))?;
        let name = usize::from(u16_at(head, 28)?);
        let length = ENTRY_SIZE + name + usize::from(u16_at(head, 30)?) + usize::from(u16_at(head, 32)?);
        let text = directory.get(ENTRY_SIZE..ENTRY_SIZE + name)?;
        directory.get(..length)?;
        let entry = Self {
            name: String::from_utf8_lossy(text).into_owned(),
            encrypted: u16_at(head, 8)? & 1 != 0,
            method: u16_at(head, 10)?,
            packed: u32_at(head, 20)? as usize,
            local: u32_at(head, 42)? as usize,
        };
        Some((entry, length))
    }

    /// The member itself; none where that goes too deep or too far, or by a method other than the usual two.
    fn unpack(&self, bytes: &[u8], shift: usize, depth: usize, work: &mut Work) -> Option<Vec<u8>> {
        if depth >= MAX_DEPTH {
            return None;
        }
        let local = bytes.get(self.local.checked_add(shift)?..)?;
        let head = local.get(..LOCAL_SIZE).filter(|head| head.starts_with(b"PK\x03\x04"))?;
        let start = LOCAL_SIZE + usize::from(u16_at(head, 26)?) + usize::from(u16_at(head, 28)?);
        let packed = local.get(start..start.checked_add(self.packed)?)?;
        let room = work.inflated;
        let mut out = Vec::new();
        match self.method {
            0 if packed.len() <= room => out.extend_from_slice(packed),
            8 => {
                let read = DeflateDecoder::new(packed).take(room as u64 + 1).read_to_end(&mut out);
                work.inflated = room.saturating_sub(out.len());
                read.ok().filter(|_| out.len() <= room)?;
                return Some(out);
            }
            _ => return None,
        }
        work.inflated -= out.len();
        Some(out)
    }
}

fn rfind(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).rposition(|window| window == needle)
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

    /// The directory of a zip file as APPNOTE draws it, written by hand.
    fn zip(members: &[(&str, u16)]) -> Vec<u8> {
        let mut out = b"PK\x03\x04".to_vec();
        let start = out.len();
        for (name, flags) in members {
            let mut entry = vec![0; ENTRY_SIZE];
            entry[..4].copy_from_slice(b"PK\x01\x02");
            entry[8..10].copy_from_slice(&flags.to_le_bytes());
            entry[28..30].copy_from_slice(&(name.len() as u16).to_le_bytes());
            out.extend(entry);
            out.extend(name.as_bytes());
        }
        let size = (out.len() - start) as u32;
        let mut end = vec![0; END_SIZE];
        end[..4].copy_from_slice(b"PK\x05\x06");
        end[10..12].copy_from_slice(&(members.len() as u16).to_le_bytes());
        end[12..16].copy_from_slice(&size.to_le_bytes());
        out.extend(end);
        out
    }

    #[test]
    fn members_are_listed() {
        let archive = Archive::read(&zip(&[("dir/", 0), ("dir/a.exe", 1)]), &mut Work::default()).unwrap();
        assert_eq!(archive.files().collect::<Vec<_>>(), ["dir/a.exe"]);
        assert!(archive.encrypted && !archive.incomplete);
    }

    #[test]
    fn damaged_archives_are_read_as_far_as_they_go() {
        let whole = zip(&[("a", 0), ("b", 0)]);
        for cut in 0..whole.len() {
            let _ = Archive::read(&whole[..cut], &mut Work::default());
            let _ = Archive::read(&whole[cut..], &mut Work::default());
        }
        let mut lying = whole;
        let count = lying.len() - END_SIZE + 10;
        lying[count] = 200;
        let archive = Archive::read(&lying, &mut Work::default()).unwrap();
        assert_eq!((archive.names.len(), archive.incomplete), (2, true));
    }

    /// Info-ZIP's `zip`: a.zip holds b.zip, which holds c.zip, which holds d.zip, which holds run.exe.
    const NESTED: &str = include_str!("../../../../tests/milter/archives/nested.zip.b64");

    #[test]
    fn archives_inside_are_read_as_deep_as_is_allowed() {
        let bytes = crate::facts::archives::tests::decoded(NESTED);
        let archive = Archive::read(&bytes, &mut Work::default()).unwrap();
        let names: Vec<Vec<&str>> = archive.walk().iter().map(|archive| archive.files().collect()).collect();
        assert_eq!(names, [vec!["b.zip"], vec!["c.zip"], vec!["d.zip"]]);
        assert!(archive.walk().iter().any(|archive| archive.incomplete), "what was not read is said");
        // A bomb goes off within its room.
        let mut work = Work { inflated: 100, ..Work::default() };
        let archive = Archive::read(&bytes, &mut work).unwrap();
        assert!(archive.inner.is_empty() && archive.incomplete);
    }
}
