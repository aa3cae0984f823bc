//! One accepted connection, tcp or unix, and who is at its other end.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_util::either::Either;

/// A connection. Reads and writes as either kind of socket does.
#[derive(Debug)]
pub struct Stream {
    socket: Either<TcpStream, UnixStream>,
    peer: Peer,
}

/// Who is at the other end, for logs (`Display`) and for decisions (credentials).
#[derive(Clone, Debug)]
pub struct Peer {
    /// `192.0.2.1:4711`, or `uid 102 pid 4711` over a unix socket.
    pub label: String,
    /// Who connected over a unix socket, by `SO_PEERCRED`; `None` over tcp.
    pub credentials: Option<Credentials>,
}

/// The peer's process as the kernel knew it when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The process, where the kernel knows it in our namespace.
    pub pid: Option<i32>,
}

impl Stream {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl From<TcpStream> for Stream {
    /// Nagle's algorithm is switched off: every protocol here sends whole answers and waits.
    fn from(socket: TcpStream) -> Self {
        if let Err(reason) = socket.set_nodelay(true) {
            tracing::debug!(%reason, "TCP_NODELAY not set");
        }
        let label = socket.peer_addr().map_or_else(|_| "unknown".to_owned(), |address| address.to_string());
        Self { socket: Either::Left(socket), peer: Peer { label, credentials: None } }
    }
}

impl From<UnixStream> for Stream {
    fn from(socket: UnixStream) -> Self {
        let credentials =
            socket.peer_cred().ok().map(|c| Credentials { uid: c.uid(), gid: c.gid(), pid: c.pid() });
        let label = match credentials {
            Some(Credentials { uid, pid: Some(pid), .. }) => format!("uid {uid} pid {pid}"),
            Some(Credentials { uid, .. }) => format!("uid {uid}"),
            None => "unknown".to_owned(),
        };
        Self { socket: Either::Right(socket), peer: Peer { label, credentials } }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
