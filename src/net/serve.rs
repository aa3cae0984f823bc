//! The one accept loop. Every listener of every daemon is served here, so permits, accept errors and draining are the same
//! everywhere.
//!
//! A connection gets a permit before it is accepted: beyond `limits.connections`, peers wait in the backlog, where Postfix and
//! Dovecot wait patiently, instead of being refused. One task per connection, joined at the end.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{ListenError, Listener, PassedSockets, Stream};
use crate::config::ListenAddress;

/// What a daemon serves under one name: where it listens and what it does with a connection.
pub struct Endpoint {
    name: &'static str,
    listen: Vec<ListenAddress>,
    handler: Handler,
    settled: Option<Settled>,
}

/// Waits until an endpoint may stop accepting.
type Settled = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

type Handler = Arc<dyn Fn(Stream, Drain) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

impl Endpoint {
    /// An endpoint; `handler` owns one connection until it returns.
    pub fn new<F, S>(name: &'static str, listen: Vec<ListenAddress>, handler: F) -> Self
    where
        F: Fn(Stream, Drain) -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        Self {
            name,
            listen,
            handler: Arc::new(move |stream, drain| Box::pin(handler(stream, drain))),
            settled: None,
        }
    }

    /// Lets this endpoint serve on after draining has started, until `settled` is done but no longer than [`MAX_LINGER`]: for
    /// questions about what other endpoints of this process have just answered, which no other process could answer.
    #[must_use]
    pub fn lingering<F, S>(mut self, settled: F) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        self.settled = Some(Arc::new(move || Box::pin(settled())));
        self
    }

    /// Its name, for logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where it listens.
    pub fn listen(&self) -> &[ListenAddress] {
        &self.listen
    }
}

/// Tells a connection that the daemon is about to end: finish what is under way, then close at the next frame boundary.
#[derive(Clone, Debug, Default)]
pub struct Drain(CancellationToken);

impl Drain {
    /// Waits until draining starts.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Whether draining has started.
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Starts draining.
    pub fn start(&self) {
        self.0.cancel();
    }
}

/// One listener and what it is for.
struct Bound {
    listener: Listener,
    name: &'static str,
    handler: Handler,
    settled: Option<Settled>,
}

/// All listeners of one process, bound, and the connections they accepted.
pub struct Server {
    listeners: Vec<Bound>,
    permits: Arc<Semaphore>,
    connections: TaskTracker,
    drain: Drain,
}

impl Server {
    /// Binds every address of every endpoint; at most `connections` connections will be open at once.
    ///
    /// # Errors
    /// The first address that cannot be had.
    pub async fn bind(
        endpoints: Vec<Endpoint>,
        connections: usize,
        passed: &mut PassedSockets,
    ) -> Result<Self, ListenError> {
        let mut listeners = Vec::new();
        for Endpoint { name, listen, handler, settled } in endpoints {
            for address in &listen {
                for listener in Listener::bind(address, passed).await? {
                    listeners.push(Bound {
                        listener,
                        name,
                        handler: Arc::clone(&handler),
                        settled: settled.clone(),
                    });
                }
            }
        }
        let permits = Arc::new(Semaphore::new(connections.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { listeners, permits, connections: TaskTracker::new(), drain: Drain::default() })
    }

    /// The tcp ports in use, in the order of the addresses; for addresses with port 0.
    pub fn ports(&self) -> Vec<u16> {
        self.listeners.iter().filter_map(|bound| bound.listener.port()).collect()
    }

    /// The handle that starts draining.
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// Accepts until draining starts, then waits up to `deadline` for the open connections to end. Returns how many were cut.
    pub async fn run(self, deadline: Duration) -> usize {
        let loops = TaskTracker::new();
        for Bound { listener, name, handler, settled } in self.listeners {
            let (permits, connections, all) =
                (Arc::clone(&self.permits), self.connections.clone(), self.drain.clone());
            let own = settled.as_ref().map(|_| Drain::default());
            let drain = own.clone().unwrap_or_else(|| all.clone());
            loops.spawn(async move {
                let end = async {
                    all.started().await;
                    if let Some(settled) = settled {
                        let _ = tokio::time::timeout(MAX_LINGER, settled()).await;
                    }
                };
                tokio::select! {
                    () = end => {}
                    () = accept(&listener, name, &handler, &permits, &connections, &drain) => {}
                }
                if let Some(own) = own {
                    all.started().await;
                    own.start();
                }
            });
        }
        loops.close();
        self.drain.started().await;
        loops.wait().await;
        self.connections.close();
        if tokio::time::timeout(deadline, self.connections.wait()).await.is_err() {
            let cut = self.connections.len();
            tracing::warn!(cut, "connections cut: still busy at the end of limits.drain");
            return cut;
        }
        0
    }
}

async fn accept(
    listener: &Listener,
    name: &'static str,
    handler: &Handler,
    permits: &Arc<Semaphore>,
    connections: &TaskTracker,
    drain: &Drain,
) {
    tracing::info!(endpoint = name, address = %listener.address(), "listening");
    let mut complained = false;
    loop {
        let permit = match Arc::clone(permits).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                if !std::mem::replace(&mut complained, true) {
                    tracing::warn!(endpoint = name, "limits.connections reached; further peers wait");
                }
                // The semaphore is never closed.
                let Ok(permit) = Arc::clone(permits).acquire_owned().await else { return };
                permit
            }
        };
        match listener.accept().await {
            Ok(stream) => {
                let session = handler(stream, drain.clone());
                connections.spawn(async move {
                    session.await;
                    drop(permit);
                });
            }
            Err(error) => match sort(&error) {
                AcceptError::Peer => {
                    tracing::debug!(endpoint = name, %error, "a peer left before it was accepted")
                }
                AcceptError::Resources => {
                    tracing::warn!(endpoint = name, %error, "cannot accept now; raise LimitNOFILE or lower limits.connections");
                    tokio::time::sleep(RESOURCE_PAUSE).await;
                }
                AcceptError::Listener => {
                    tracing::error!(endpoint = name, address = %listener.address(), %error, "the listener is broken; restart the daemon");
                    return;
                }
            },
        }
    }
}

/// Whose fault a failed accept(2) is; see its manual page, "Error handling".
#[derive(Debug, PartialEq, Eq)]
enum AcceptError {
    /// The connection died before it was taken: go on at once.
    Peer,
    /// The process or the system is out of something: pause, go on.
    Resources,
    /// The listening socket itself is of no use any more.
    Listener,
}

fn sort(error: &io::Error) -> AcceptError {
    use nix::errno::Errno;
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => AcceptError::Resources,
        Some(Errno::EBADF | Errno::EINVAL | Errno::ENOTSOCK | Errno::EOPNOTSUPP | Errno::EFAULT) => {
            AcceptError::Listener
        }
        _ => AcceptError::Peer,
    }
}

/// Short against `limits.drain`, long against what a mail process needs to ask about its login.
const MAX_LINGER: Duration = Duration::from_secs(3);
/// Long enough not to spin, short against Postfix's connect timeout of 30 s.
const RESOURCE_PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use nix::errno::Errno;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[test]
    fn accept_errors_are_sorted_by_whose_fault_they_are() {
        let of = |errno: Errno| sort(&io::Error::from_raw_os_error(errno as i32));
        assert_eq!(of(Errno::ECONNABORTED), AcceptError::Peer);
        assert_eq!(of(Errno::EMFILE), AcceptError::Resources);
        assert_eq!(of(Errno::EBADF), AcceptError::Listener);
    }

    #[tokio::test]
    async fn a_drain_lets_the_command_under_way_finish_and_accepts_no_more() {
        let listen = vec!["inet:127.0.0.1:0".parse_address()];
        let echo = Endpoint::new("echo", listen, |mut stream, drain| async move {
            let mut byte = [0];
            loop {
                tokio::select! {
                    () = drain.started() => return,
                    read = stream.read_exact(&mut byte) => if read.is_err() { return },
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.write_all(&byte).await.unwrap();
            }
        });
        let server = Server::bind(vec![echo], 2, &mut PassedSockets::default()).await.unwrap();
        let (port, drain) = (server.ports()[0], server.drain());
        let running = tokio::spawn(server.run(Duration::from_secs(5)));
        let mut client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        client.write_all(b"x").await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drain.start();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"x");
        assert_eq!(running.await.unwrap(), 0);
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }

    #[tokio::test]
    async fn a_lingering_endpoint_serves_until_it_is_settled() {
        let settled = Arc::new(tokio::sync::Notify::new());
        let wait = Arc::clone(&settled);
        let hello = Endpoint::new(
            "hello",
            vec!["inet:127.0.0.1:0".parse_address()],
            |mut stream, drain| async move {
                stream.write_all(if drain.is_started() { b"late" } else { b"here" }).await.unwrap();
            },
        )
        .lingering(move || {
            let wait = Arc::clone(&wait);
            async move { wait.notified().await }
        });
        let server = Server::bind(vec![hello], 2, &mut PassedSockets::default()).await.unwrap();
        let (port, drain) = (server.ports()[0], server.drain());
        let running = tokio::spawn(server.run(Duration::from_secs(5)));
        drain.start();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut answer = Vec::new();
        tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .unwrap()
            .read_to_end(&mut answer)
            .await
            .unwrap();
        assert_eq!(answer, b"here");
        settled.notify_one();
        assert_eq!(running.await.unwrap(), 0);
        assert!(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_that_never_ends_is_cut_at_the_deadline() {
        let listen = vec!["inet:127.0.0.1:0".parse_address()];
        let stuck = Endpoint::new("stuck", listen, |_stream, _drain| std::future::pending());
        let server = Server::bind(vec![stuck], 2, &mut PassedSockets::default()).await.unwrap();
        let (port, drain) = (server.ports()[0], server.drain());
        let running = tokio::spawn(server.run(Duration::from_millis(50)));
        let _client = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        drain.start();
        assert_eq!(running.await.unwrap(), 1);
    }

    trait ParseAddress {
        fn parse_address(self) -> ListenAddress;
    }

    impl ParseAddress for &str {
        fn parse_address(self) -> ListenAddress {
            ListenAddress::Tcp(self.trim_start_matches("inet:").parse().unwrap())
        }
    }
}
