//! Binding: an address of the configuration into a socket that accepts.
//!
//! A unix socket is made under another name, given its owner and mode, and then renamed, so that nobody can connect before its
//! access is right. A socket that another process still serves is never taken away from it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};
use tokio::net::{TcpListener, TcpSocket, UnixListener, UnixSocket};

use super::Stream;
use crate::config::{ListenAddress, UnixAccess};

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: ListenAddress,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    /// With path and inode, if it is ours to remove.
    Unix(UnixListener, Option<(PathBuf, u64)>),
}

/// Why an address cannot be listened on; says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The system said no.
    #[error("cannot listen on {address}: {step}: {reason}")]
    System {
        /// The address.
        address: ListenAddress,
        /// What was being done.
        step: &'static str,
        /// The system's reason.
        reason: io::Error,
    },
    /// Another process answers there.
    #[error(
        "cannot listen on {0}: another process serves that socket; stop it first, or give this daemon another path"
    )]
    InUse(ListenAddress),
    /// No such user or group.
    #[error("cannot listen on {address}: no such {kind} \"{name}\"; create it, or name another")]
    NoSuchName {
        /// The address.
        address: ListenAddress,
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// systemd passed no socket of that name.
    #[error(
        "cannot listen on systemd:{name}: systemd passed {passed}; add FileDescriptorName={name} to the .socket unit"
    )]
    NotPassed {
        /// The name.
        name: String,
        /// What it passed.
        passed: String,
    },
}

/// The sockets that systemd passed to this process (`sd_listen_fds(3)`), by name. Taken from the environment once, at start.
#[derive(Default)]
pub struct PassedSockets {
    sockets: Option<listenfd::ListenFd>,
    names: HashMap<String, Vec<usize>>,
}

impl PassedSockets {
    /// Reads `LISTEN_PID`, `LISTEN_FDS` and `LISTEN_FDNAMES`.
    pub fn from_environment() -> Self {
        let sockets = listenfd::ListenFd::from_env();
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        let given = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut given = given.split(':').filter(|name| !name.is_empty());
        for index in 0..sockets.len() {
            names.entry(given.next().unwrap_or("unknown").to_owned()).or_default().push(index);
        }
        Self { sockets: Some(sockets), names }
    }

    /// Takes the sockets of one name; a `.socket` unit may have several `ListenStream=` lines.
    fn take(&mut self, name: &str) -> Result<Vec<Socket>, ListenError> {
        let not_passed = |names: &HashMap<String, Vec<usize>>| {
            let mut passed: Vec<&str> = names.keys().map(String::as_str).collect();
            passed.sort_unstable();
            let passed = if passed.is_empty() { "none".to_owned() } else { passed.join(", ") };
            ListenError::NotPassed { name: name.to_owned(), passed }
        };
        let (Some(sockets), Some(indexes)) = (&mut self.sockets, self.names.remove(name)) else {
            return Err(not_passed(&self.names));
        };
        indexes
            .into_iter()
            .map(|index| {
                take_one(sockets, index).map_err(|reason| {
                    system(&ListenAddress::Systemd(name.to_owned()), "taking it over", reason)
                })
            })
            .collect()
    }
}

fn take_one(sockets: &mut listenfd::ListenFd, index: usize) -> io::Result<Socket> {
    let gone = || io::Error::other("the socket is gone");
    if let Ok(Some(listener)) = sockets.take_unix_listener(index) {
        listener.set_nonblocking(true)?;
        return Ok(Socket::Unix(UnixListener::from_std(listener)?, None));
    }
    let listener = sockets.take_tcp_listener(index)?.ok_or_else(gone)?;
    listener.set_nonblocking(true)?;
    Ok(Socket::Tcp(TcpListener::from_std(listener)?))
}

impl Listener {
    /// Binds one address of the configuration; a systemd name may stand for several sockets.
    ///
    /// # Errors
    /// A [`ListenError`] that names the address.
    pub async fn bind(address: &ListenAddress, passed: &mut PassedSockets) -> Result<Vec<Self>, ListenError> {
        let sockets = match address {
            ListenAddress::Tcp(to) => {
                vec![Socket::Tcp(bind_tcp(*to).map_err(|reason| system(address, "binding", reason))?)]
            }
            ListenAddress::Unix(path, access) => vec![bind_unix(address, path, access).await?],
            ListenAddress::Systemd(name) => passed.take(name)?,
        };
        Ok(sockets.into_iter().map(|socket| Self { socket, address: address.clone() }).collect())
    }

    /// The address as it was configured.
    pub fn address(&self) -> &ListenAddress {
        &self.address
    }

    /// The tcp port in use, where the configuration said 0.
    pub fn port(&self) -> Option<u16> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok().map(|address| address.port()),
            Socket::Unix(..) => None,
        }
    }

    /// Waits for one connection.
    ///
    /// # Errors
    /// As `accept(2)`.
    pub async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().await.map(|(stream, _)| stream.into()),
            Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| stream.into()),
        }
    }
}

impl Drop for Listener {
    /// Removes the socket's file, if it still is the one that was made here.
    fn drop(&mut self) {
        if let Socket::Unix(_, Some((path, inode))) = &self.socket
            && std::fs::symlink_metadata(path).is_ok_and(|file| file.ino() == *inode)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn bind_unix(address: &ListenAddress, path: &Path, access: &UnixAccess) -> Result<Socket, ListenError> {
    let failed = |step| move |reason| system(address, step, reason);
    if let Ok(file) = std::fs::symlink_metadata(path) {
        if !file.file_type().is_socket() {
            return Err(failed("looking at what is there")(io::Error::other(
                "the path exists and is no socket; move it away",
            )));
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(ListenError::InUse(address.clone()));
        }
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let _ = std::fs::remove_file(&temporary);
    let socket = UnixSocket::new_stream().map_err(failed("making a socket"))?;
    socket
        .bind(&temporary)
        .map_err(failed("binding (does the directory exist, and may this user write there?)"))?;
    let listener = socket.listen(BACKLOG).map_err(failed("listening"))?;
    let settle = || -> Result<u64, ListenError> {
        std::fs::set_permissions(
            &temporary,
            std::fs::Permissions::from_mode(access.mode.unwrap_or(DEFAULT_MODE)),
        )
        .map_err(failed("setting its mode"))?;
        let (owner, group) = (owner_of(address, access)?, group_of(address, access)?);
        if owner.is_some() || group.is_some() {
            nix::unistd::chown(&temporary, owner, group).map_err(|e| {
                failed("setting its owner and group (this needs root, or a .socket unit)")(e.into())
            })?;
        }
        let inode = std::fs::symlink_metadata(&temporary).map_err(failed("looking at it"))?.ino();
        std::fs::rename(&temporary, path).map_err(failed("naming it"))?;
        Ok(inode)
    };
    match settle() {
        Ok(inode) => Ok(Socket::Unix(listener, Some((path.to_owned(), inode)))),
        Err(error) => {
            let _ = std::fs::remove_file(&temporary);
            Err(error)
        }
    }
}

fn owner_of(address: &ListenAddress, access: &UnixAccess) -> Result<Option<Uid>, ListenError> {
    let Some(name) = &access.owner else { return Ok(None) };
    if let Ok(number) = name.parse() {
        return Ok(Some(Uid::from_raw(number)));
    }
    let user = User::from_name(name).ok().flatten();
    user.map(|user| Some(user.uid)).ok_or_else(|| ListenError::NoSuchName {
        address: address.clone(),
        kind: "user",
        name: name.clone(),
    })
}

fn group_of(address: &ListenAddress, access: &UnixAccess) -> Result<Option<Gid>, ListenError> {
    let Some(name) = &access.group else { return Ok(None) };
    if let Ok(number) = name.parse() {
        return Ok(Some(Gid::from_raw(number)));
    }
    let group = Group::from_name(name).ok().flatten();
    group.map(|group| Some(group.gid)).ok_or_else(|| ListenError::NoSuchName {
        address: address.clone(),
        kind: "group",
        name: name.clone(),
    })
}

fn system(address: &ListenAddress, step: &'static str, reason: io::Error) -> ListenError {
    ListenError::System { address: address.clone(), step, reason }
}

/// Login storms and process restarts must not see EAGAIN; the kernel cuts this to net.core.somaxconn (4096 by default).
const BACKLOG: u32 = 4096;
/// Owner and group; Postfix's and Dovecot's processes get in by one of them.
const DEFAULT_MODE: u32 = 0o660;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    async fn bind(address: &ListenAddress) -> Result<Vec<Listener>, ListenError> {
        Listener::bind(address, &mut PassedSockets::default()).await
    }

    #[tokio::test]
    async fn a_unix_socket_has_its_mode_and_goes_with_its_listener() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let access = UnixAccess { mode: Some(0o600), ..UnixAccess::default() };
        let listeners = bind(&ListenAddress::Unix(path.clone(), access)).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let taken = bind(&ListenAddress::unix(&path)).await.unwrap_err().to_string();
        assert!(taken.contains("another process serves that socket"), "{taken}");
        drop(listeners);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        bind(&ListenAddress::unix(&path)).await.unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        assert!(bind(&ListenAddress::unix(&file)).await.unwrap_err().to_string().contains("is no socket"));
        let nobody = UnixAccess { owner: Some("no-such-user".into()), ..UnixAccess::default() };
        let error = bind(&ListenAddress::Unix(dir.path().join("n"), nobody)).await.unwrap_err().to_string();
        assert!(error.contains("no such user \"no-such-user\""), "{error}");
        assert!(std::fs::read_dir(dir.path()).unwrap().count() <= 2, "a temporary socket was left behind");
        let error = bind(&ListenAddress::Systemd("milter".into())).await.unwrap_err().to_string();
        assert!(error.contains("systemd passed none"), "{error}");
    }
}
