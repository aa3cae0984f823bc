//! May a user get at a file? Judged as the kernel does it, by owner, group and mode of every directory on the way (path_resolution(7)).
//!
//! Postfix's and Dovecot's processes drop to one uid and that user's primary group alone (Postfix: `set_ugid`), so being a member of a
//! socket's group by /etc/group does not help them; systemd gives our daemons all groups of their user. ACLs (acl(5)) and AppArmor are
//! not looked at: what they change is seen where the connection itself can be tried.

use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Group, User, getgrouplist};

/// A user with the groups that a process of his has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) name: String,
    uid: u32,
    gids: Vec<u32>,
}

/// What is asked of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// To read it.
    Read,
    /// To connect to it, which takes the right to write (unix(7)).
    Connect,
}

/// What the kernel compares.
#[derive(Clone, Copy, Debug)]
struct Rights {
    uid: u32,
    gid: u32,
    mode: u32,
}

impl Who {
    /// The user with his primary group alone.
    pub(super) fn alone(name: &str) -> Option<Self> {
        let user = find(name)?;
        Some(Self { name: user.name, uid: user.uid.as_raw(), gids: vec![user.gid.as_raw()] })
    }

    /// The user with all his groups.
    pub(super) fn with_groups(name: &str) -> Option<Self> {
        let user = find(name)?;
        let c_name = CString::new(user.name.as_str()).ok()?;
        let gids = getgrouplist(&c_name, user.gid).ok()?.into_iter().map(|gid| gid.as_raw()).collect();
        Some(Self { name: user.name, uid: user.uid.as_raw(), gids })
    }

    /// By numbers, for a system user that has no name of his own.
    pub(super) fn numbered(uid: u32, gid: u32) -> Self {
        Self { name: uid.to_string(), uid, gids: vec![gid] }
    }

    fn has(&self, rights: Rights, bit: u32) -> bool {
        // Root passes, but for a program that nobody may execute; there is none here.
        let shift = match self.uid {
            0 => return true,
            uid if uid == rights.uid => 6,
            _ if self.gids.contains(&rights.gid) => 3,
            _ => 0,
        };
        (rights.mode >> shift) & bit != 0
    }
}

/// By name or number.
fn find(name: &str) -> Option<User> {
    match name.parse::<u32>() {
        Ok(uid) => User::from_uid(uid.into()).ok()?,
        Err(_) => User::from_name(name).ok()?,
    }
}

/// The number of a group, by name or number.
pub(super) fn gid_of(name: &str) -> Option<u32> {
    match name.parse() {
        Ok(gid) => Some(gid),
        Err(_) => Some(Group::from_name(name).ok()??.gid.as_raw()),
    }
}

/// What stands in the way of `who`, with what to do; `None` if nothing does, or if the file is not there.
pub(super) fn blocked(path: &Path, who: &Who, want: Want) -> Option<String> {
    let path = resolved(path);
    let mut steps: Vec<&Path> = path.ancestors().skip(1).collect();
    steps.reverse();
    for directory in steps {
        let rights = rights(directory)?;
        if !who.has(rights, SEARCH) {
            return Some(format!(
                "{} may not enter {} (mode {:04o}, owner {}, group {}); give it `chmod o+x`, or a group that {} is in",
                who.name,
                directory.display(),
                rights.mode & 0o7777,
                rights.uid,
                rights.gid,
                who.name
            ));
        }
    }
    let rights = rights(&path)?;
    let (bit, verb) = match want {
        Want::Read => (READ, "read"),
        Want::Connect => (WRITE, "connect to"),
    };
    (!who.has(rights, bit)).then(|| {
        format!(
            "{} may not {verb} {} (mode {:04o}, owner {}, group {})",
            who.name,
            path.display(),
            rights.mode & 0o7777,
            rights.uid,
            rights.gid
        )
    })
}

/// Without symbolic links such as /var/run; as it is where it cannot be looked at.
fn resolved(path: &Path) -> PathBuf {
    let parent = path.parent().and_then(|parent| parent.canonicalize().ok());
    match (parent, path.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => path.to_owned(),
    }
}

fn rights(path: &Path) -> Option<Rights> {
    let meta = std::fs::metadata(path).ok()?;
    Some(Rights { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() })
}

const READ: u32 = 4;
const WRITE: u32 = 2;
const SEARCH: u32 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn who(uid: u32, gids: &[u32]) -> Who {
        Who { name: "postfix".into(), uid, gids: gids.to_vec() }
    }

    #[test]
    fn the_first_class_that_fits_decides_alone() {
        let socket = |mode| Rights { uid: 100, gid: 200, mode };
        assert!(who(100, &[1]).has(socket(0o600), WRITE));
        assert!(who(7, &[200]).has(socket(0o660), WRITE));
        assert!(!who(7, &[201]).has(socket(0o660), WRITE));
        assert!(who(7, &[201]).has(socket(0o666), WRITE));
        // An owner without the right does not get it by his group.
        assert!(!who(100, &[200]).has(socket(0o066), WRITE));
        assert!(who(0, &[0]).has(socket(0o000), WRITE));
    }

    #[test]
    fn a_directory_that_cannot_be_entered_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("gatepost");
        std::fs::create_dir(&inner).unwrap();
        let socket = inner.join("milter.sock");
        std::fs::write(&socket, "").unwrap();
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(directory.path(), 0o755);
        mode(&socket, 0o666);
        // Nobody has this number.
        let stranger = who(64_999, &[64_999]);
        mode(&inner, 0o750);
        let why = blocked(&socket, &stranger, Want::Connect).unwrap();
        assert!(why.contains("may not enter") && why.contains("gatepost (mode 0750"), "{why}");
        mode(&inner, 0o751);
        assert_eq!(blocked(&socket, &stranger, Want::Connect), None);
        mode(&socket, 0o660);
        let why = blocked(&socket, &stranger, Want::Connect).unwrap();
        assert!(why.contains("may not connect to") && why.contains("milter.sock (mode 0660"), "{why}");
        assert_eq!(blocked(&inner.join("nothing"), &stranger, Want::Read), None);
    }
}
