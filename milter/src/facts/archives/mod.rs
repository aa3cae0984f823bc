//! What is in an attached archive: the names of its members, whether they are encrypted, and what is in archives inside it.
//!
//! For `parts` and the rules of the group `mime`. Three formats are read, each in its file: [`zip`], [`rar`], [`seven`]. Of all of them only
//! the directory is read; nothing is unpacked but an archive inside a zip file, because malware hides there. All bounds are for one message:
//! [`MAX_DEPTH`] levels, [`MAX_INFLATED`] bytes unpacked, [`MAX_MEMBERS`] names. Reaching one is recorded ([`Archive::incomplete`]).

mod rar;
mod seven;
mod zip;

use super::kinds;

/// More members than any honest mail has; of one archive.
pub const MAX_MEMBERS: usize = 1_000;
/// Archives in archives in archives. Each further level is known by its name alone.
pub const MAX_DEPTH: usize = 3;
/// What all archives of a message are unpacked to.
pub const MAX_INFLATED: usize = 16 << 20;
/// The members of all archives of a message.
const MAX_ALL: usize = 5_000;
/// A member's name is cut there.
const MAX_NAME: usize = 512;

/// What an archive holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Archive {
    /// The members' names.
    pub names: Vec<String>,
    /// Whether at least one member is encrypted.
    pub encrypted: bool,
    /// Whether there is more than was read, or the directory is damaged.
    pub incomplete: bool,
    /// The archives among the members, as far as they were read.
    pub inner: Vec<Archive>,
}

/// What may still be spent on the archives of a message.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    members: usize,
    inflated: usize,
}

impl Default for Work {
    fn default() -> Self {
        Self { members: MAX_ALL, inflated: MAX_INFLATED }
    }
}

/// Whether a file that begins like this is an archive whose members can be listed.
pub fn is_listed(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04")
        || head.starts_with(b"PK\x05\x06")
        || rar::is_rar(head)
        || seven::is_seven(head)
}

impl Archive {
    /// Reads the directory of an archive; `None` when there is none to be found.
    pub fn read(bytes: &[u8], work: &mut Work) -> Option<Self> {
        Self::at(bytes, 1, work)
    }

    fn at(bytes: &[u8], depth: usize, work: &mut Work) -> Option<Self> {
        if rar::is_rar(bytes) {
            rar::read(bytes, work)
        } else if seven::is_seven(bytes) {
            Some(seven::read(bytes, work))
        } else {
            zip::read(bytes, depth, work)
        }
    }

    /// The members that are files: directories end in a slash.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(|name| !name.ends_with('/'))
    }

    /// This archive and all inside it.
    pub fn walk(&self) -> Vec<&Archive> {
        let mut all = vec![self];
        let mut at = 0;
        while let Some(archive) = all.get(at) {
            all.extend(&archive.inner);
            at += 1;
        }
        all
    }

    /// Adds a member, if there is room.
    fn add(&mut self, name: &str, work: &mut Work) -> bool {
        if self.names.len() >= MAX_MEMBERS || work.members == 0 {
            self.incomplete = true;
            return false;
        }
        work.members -= 1;
        self.names.push(name[..name.floor_char_boundary(MAX_NAME)].to_owned());
        true
    }
}

/// Whether a member of that name is an archive that could be listed.
fn may_be_listed(name: &str) -> bool {
    kinds::extension(name)
        .is_some_and(|extension| matches!(extension.as_str(), "zip" | "zipx" | "rar" | "7z"))
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    /// A file that is kept as text.
    pub(crate) fn decoded(text: &str) -> Vec<u8> {
        STANDARD.decode(text.replace(['\n', '\r'], "")).unwrap()
    }
}
