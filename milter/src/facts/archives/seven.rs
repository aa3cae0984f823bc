//! 7z files, whose directory is compressed itself: read by the library `sevenz-rust2`, within its memory limit.
//!
//! Nothing but the directory is unpacked. A directory that is encrypted too (`7z -mhe`) shows no names; that is known.

use std::io::Cursor;

use sevenz_rust2::{Archive as Directory, Error, Password};

use super::{Archive, Work};

const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";

/// Dictionary and directory, each: names of 1,000 members are 100 KiB.
const MAX_MEMORY_KIB: usize = 4 << 10;

pub(super) fn is_seven(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Reads a 7z file as far as it can be read.
pub(super) fn read(bytes: &[u8], work: &mut Work) -> Archive {
    let mut archive = Archive::default();
    // Without a start header the library would search a MiB for a directory, and try each byte that could begin one.
    if bytes.get(8..32).is_none_or(|start| start.iter().all(|byte| *byte == 0)) {
        archive.incomplete = true;
        return archive;
    }
    match Directory::read_with_memory_limit(&mut Cursor::new(bytes), &Password::empty(), MAX_MEMORY_KIB) {
        Ok(directory) => {
            for (at, file) in directory.files.iter().enumerate() {
                let slash = if file.is_directory { "/" } else { "" };
                if !archive.add(&format!("{}{slash}", file.name), work) {
                    break;
                }
                archive.encrypted |= directory.is_file_encrypted(at);
            }
        }
        Err(error) => {
            let method =
                matches!(&error, Error::UnsupportedCompressionMethod(method) if method.contains("AES"));
            archive.encrypted =
                method || matches!(error, Error::PasswordRequired | Error::MaybeBadPassword(_));
            archive.incomplete = true;
        }
    }
    archive
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::facts::archives::tests::decoded;

    /// 7-Zip's own: two files, plain; with `-p`; with `-p -mhe=on`.
    const PLAIN: &str = include_str!("../../../../tests/milter/archives/plain.7z.b64");
    const LOCKED: &str = include_str!("../../../../tests/milter/archives/locked.7z.b64");
    const HIDDEN: &str = include_str!("../../../../tests/milter/archives/hidden.7z.b64");

    #[test]
    fn what_seven_zip_writes_is_listed() {
        let plain = read(&decoded(PLAIN), &mut Work::default());
        assert_eq!(
            (plain.names, plain.encrypted, plain.incomplete),
            (vec!["notes.txt".into(), "run.exe".into()], false, false)
        );
        let locked = read(&decoded(LOCKED), &mut Work::default());
        assert_eq!((locked.names.len(), locked.encrypted), (2, true));
        let hidden = read(&decoded(HIDDEN), &mut Work::default());
        assert_eq!((hidden.names.len(), hidden.encrypted, hidden.incomplete), (0, true, true));
    }

    #[test]
    fn damage_makes_nothing_worse() {
        let whole = decoded(PLAIN);
        for at in 0..whole.len() {
            let _ = read(&whole[..at], &mut Work::default());
            let mut bent = whole.clone();
            bent[at] ^= 0xff;
            let _ = read(&bent, &mut Work::default());
        }
        let mut headless = whole;
        headless[8..32].fill(0);
        assert!(read(&headless, &mut Work::default()).incomplete);
    }
}
