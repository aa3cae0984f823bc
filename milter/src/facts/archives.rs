//! What is in an attached zip file: the names of its members, and whether they are encrypted.
//!
//! For `parts` and the rules of the group `mime`. It reads the central directory (APPNOTE.TXT 6.3.10, 4.3.12) and inflates nothing, so no
//! bomb can go off; a member that is itself an archive is known by its name only. RAR, 7z and the rest are recognised as archives
//! by `kinds`, their members are not listed.
//!
//! Grammar, little endian: end record `PK\5\6` … entries (u16 at 10) … directory size (u32 at 12), offset (u32 at 16); each entry
//! `PK\1\2` … flags (u16 at 8), method (u16 at 10), sizes (u32 at 20, 24), lengths of name, extra field and comment (u16 at 28, 30, 32), name
//! at 46.

/// More members than any honest mail has.
pub const MAX_MEMBERS: usize = 1_000;

/// A member's name is cut there.
const MAX_NAME: usize = 512;

/// The comment at the end of a zip file is at most so long (its length is a u16), plus the end record itself.
const MAX_TAIL: usize = 65_535 + END_SIZE;
const END_SIZE: usize = 22;
const ENTRY_SIZE: usize = 46;

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// The members' names.
    pub names: Vec<String>,
    /// Whether at least one member is encrypted (general purpose bit 0).
    pub encrypted: bool,
    /// Whether there are more members than were read, or the directory is damaged.
    pub incomplete: bool,
}

impl Archive {
    /// Reads the directory of a zip file; `None` when there is none to be found.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let tail = bytes.len().saturating_sub(MAX_TAIL);
        let end = tail + rfind(&bytes[tail..], b"PK\x05\x06")?;
        let record = bytes.get(end..end + END_SIZE)?;
        let count = usize::from(u16_at(record, 10)?);
        let size = u32_at(record, 12)? as usize;
        // Something may stand before the archive (self-extracting ones); the directory ends where the end record begins.
        let start = end.checked_sub(size)?;
        let mut directory = bytes.get(start..end)?;
        let mut archive = Self { incomplete: count > MAX_MEMBERS, ..Self::default() };
        for _ in 0..count.min(MAX_MEMBERS) {
            let Some(length) = archive.entry(directory) else {
                archive.incomplete = true;
                break;
            };
            directory = &directory[length..];
        }
        Some(archive)
    }

    /// Adds the first entry of a directory and says how long it is.
    fn entry(&mut self, directory: &[u8]) -> Option<usize> {
        let head = directory.get(..ENTRY_SIZE).filter(|head| head.starts_with(b"PK\x01\x02"))?;
        let flags = u16_at(head, 8)?;
        let name = usize::from(u16_at(head, 28)?);
        let length = ENTRY_SIZE + name + usize::from(u16_at(head, 30)?) + usize::from(u16_at(head, 32)?);
        let text = directory.get(ENTRY_SIZE..ENTRY_SIZE + name)?;
        directory.get(..length)?;
        self.encrypted |= flags & 1 != 0;
        self.names.push(String::from_utf8_lossy(&text[..name.min(MAX_NAME)]).into_owned());
        Some(length)
    }

    /// The members that are files: directories end in a slash.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| !name.ends_with('/'))
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
        let archive = Archive::read(&zip(&[("dir/", 0), ("dir/a.exe", 1)])).unwrap();
        assert_eq!(archive.files().collect::<Vec<_>>(), ["dir/a.exe"]);
        assert!(archive.encrypted && !archive.incomplete);
    }

    #[test]
    fn damaged_archives_are_read_as_far_as_they_go() {
        let whole = zip(&[("a", 0), ("b", 0)]);
        for cut in 0..whole.len() {
            let _ = Archive::read(&whole[..cut]);
            let _ = Archive::read(&whole[cut..]);
        }
        let mut lying = whole;
        let count = lying.len() - END_SIZE + 10;
        lying[count] = 200;
        let archive = Archive::read(&lying).unwrap();
        assert_eq!((archive.names.len(), archive.incomplete), (2, true));
    }
}
