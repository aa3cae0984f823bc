//! Questions over UDP (RFC 1035, 4.2.1) through a socket that is kept: one send and one receive each.
//!
//! For `question`, which goes on with hickory, a socket for each question and TCP where this has no answer: no reply in time, a truncated one,
//! anything but "here" and "not there", or one that does not repeat the question. A message with many links asks lists in DNS about a hundred
//! names; a socket for each of them is most of the processor time that judging it takes.
//!
//! Whoever is not the name server must not be able to answer in its place (RFC 5452): the socket is connected, so the kernel takes packets of
//! that address alone; its port is one that the kernel chose, and is left after [`USES`] questions or [`AGE`]; the id is random and in use
//! once; the question must be repeated, and towards servers that are not on this host's loopback device it has random capitals that must be
//! repeated too. A reply that lacks only these is none: the question goes to hickory.
//!
//! Bounds: [`WAITING`] questions under way on a socket, [`LONGEST`] bytes of a reply. After [`SILENT`] questions in a row without a reply, hickory is
//! asked alone for [`REST`], because it knows other servers too.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hickory_resolver::config::{NameServerConfig, ProtocolConfig};
use hickory_resolver::proto::op::DnsResponse;
use hickory_resolver::proto::rr::{Name, RecordType};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::wire::{HEADER, NOERROR, NXDOMAIN, NotThere, RCODE, TC, end_of_question, not_there, question};

/// Questions after which another port is taken.
const USES: u32 = 512;
/// How long a port is kept.
const AGE: Duration = Duration::from_secs(30);
/// Questions under way on one socket; far below the 65,536 ids, so that a free one is found at once.
const WAITING: usize = 4_096;
/// We announce 1232 bytes (`wire`).
const LONGEST: usize = 4_096;
/// Questions in a row without a reply after which the server is taken for silent.
const SILENT: u32 = 3;
/// How long a silent server, or one that does not repeat capitals, is not asked this way.
const REST: Duration = Duration::from_secs(30);
/// Replies that are read before other tasks have their turn.
const TURN: usize = 64;

/// One name server, asked by datagrams.
pub(super) struct Datagrams {
    server: SocketAddr,
    mixes_case: bool,
    socket: Mutex<Option<Arc<Socket>>>,
    silent: AtomicU32,
    rest: Mutex<Option<Instant>>,
}

/// A socket, its reader, and who waits for what.
struct Socket {
    io: Arc<UdpSocket>,
    shared: Arc<Shared>,
    reader: AbortHandle,
    uses: AtomicU32,
    opened: Instant,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<HashMap<u16, Waiting>>,
    /// Whether the reader has ended, with its runtime or by an error.
    ended: AtomicBool,
}

struct Waiting {
    /// The question as it was sent: name, type, class.
    question: Box<[u8]>,
    reply: oneshot::Sender<Reply>,
}

enum Reply {
    /// "Not there", in a packet that repeats id and question.
    NotThere(NotThere),
    /// Any other such packet.
    Packet(Vec<u8>),
    /// One that does so but for the capitals.
    OtherCase,
}

/// What a server said.
pub(super) enum Answer {
    /// There is no such thing, and nothing more.
    NotThere(NotThere),
    /// All else that answers a question.
    Response(DnsResponse),
}

impl Datagrams {
    /// The first of the servers that is asked over UDP.
    pub(super) fn to_first(servers: &[NameServerConfig]) -> Option<Self> {
        let first = servers.first()?;
        let udp = first.connections.iter().find(|connection| connection.protocol == ProtocolConfig::Udp)?;
        let loopback = first.ip.to_canonical().is_loopback();
        Some(Self::new(SocketAddr::new(first.ip, udp.port), !loopback))
    }

    fn new(server: SocketAddr, mixes_case: bool) -> Self {
        let (socket, rest) = (Mutex::new(None), Mutex::new(None));
        Self { server, mixes_case, socket, silent: AtomicU32::new(0), rest }
    }

    /// The reply, where it says "here" or "not there" within that time. `wants_ad` asks for the AD bit (RFC 6840, 5.7).
    pub(super) async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        wants_ad: bool,
        patience: Duration,
    ) -> Option<Answer> {
        let socket = self.socket().ok()?;
        let mut packet = question(name, kind, wants_ad, self.mixes_case);
        let asked = packet.get(HEADER..end_of_question(&packet)?)?.into();
        let (mine, reply) = Mine::new(&socket.shared, asked)?;
        packet.get_mut(..2)?.copy_from_slice(&mine.id.to_be_bytes());
        if socket.io.send(&packet).await.is_err() {
            socket.shared.ended.store(true, Ordering::Relaxed);
            return None;
        }
        match tokio::time::timeout(patience, reply).await {
            Ok(Ok(Reply::NotThere(said))) => {
                self.silent.store(0, Ordering::Relaxed);
                Some(Answer::NotThere(said))
            }
            Ok(Ok(Reply::Packet(packet))) => {
                self.silent.store(0, Ordering::Relaxed);
                understood(packet).map(Answer::Response)
            }
            Ok(Ok(Reply::OtherCase)) => {
                self.begin_rest();
                None
            }
            // The socket had an error, such as a port where nobody listens.
            Ok(Err(_)) => None,
            Err(_) => {
                if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SILENT {
                    self.begin_rest();
                }
                None
            }
        }
    }

    /// Whether the server is not asked this way now.
    pub(super) fn rests(&self) -> bool {
        let rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        rest.is_some_and(|end| Instant::now() < end)
    }

    fn begin_rest(&self) {
        self.silent.store(0, Ordering::Relaxed);
        *self.rest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + REST);
    }

    /// The socket of now; the one before lives until its last question is answered.
    fn socket(&self) -> io::Result<Arc<Socket>> {
        let mut place = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = place.as_ref().filter(|socket| socket.is_good()) {
            return Ok(Arc::clone(socket));
        }
        let socket = Arc::new(Socket::open(self.server)?);
        *place = Some(Arc::clone(&socket));
        Ok(socket)
    }
}

impl Socket {
    fn open(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        let io = Arc::new(UdpSocket::from_std(socket)?);
        let shared = Arc::new(Shared::default());
        let reader = tokio::spawn(read(Arc::clone(&io), Arc::clone(&shared))).abort_handle();
        Ok(Self { io, shared, reader, uses: AtomicU32::new(0), opened: Instant::now() })
    }

    fn is_good(&self) -> bool {
        self.uses.fetch_add(1, Ordering::Relaxed) < USES
            && !self.shared.ended.load(Ordering::Relaxed)
            && self.opened.elapsed() < AGE
            && self.shared.lock().len() < WAITING
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u16, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a packet to who waits for it; what nobody waits for is nobody's.
    fn take(&self, packet: &[u8]) {
        let Some(&[first, second]) = packet.first_chunk() else { return };
        let id = u16::from_be_bytes([first, second]);
        let mut waiting = self.lock();
        let Entry::Occupied(entry) = waiting.entry(id) else { return };
        let question = &entry.get().question;
        let Some(repeated) = packet.get(HEADER..HEADER + question.len()) else { return };
        let same_case = **question == *repeated;
        if !same_case && !question.eq_ignore_ascii_case(repeated) {
            return;
        }
        let end = HEADER + question.len();
        let asker = entry.remove().reply;
        drop(waiting);
        let reply = match not_there(packet, end) {
            _ if !same_case => Reply::OtherCase,
            Some(said) => Reply::NotThere(said),
            None => Reply::Packet(packet.to_vec()),
        };
        // Whoever has stopped waiting has taken itself out.
        let _ = asker.send(reply);
    }
}

/// A question under way; taken out when nobody waits any more.
struct Mine<'a> {
    id: u16,
    shared: &'a Shared,
}

impl<'a> Mine<'a> {
    fn new(shared: &'a Shared, question: Box<[u8]>) -> Option<(Self, oneshot::Receiver<Reply>)> {
        let (reply, receiver) = oneshot::channel();
        let mut waiting = shared.lock();
        for _ in 0..TRIES {
            let id = rand::random();
            if let Entry::Vacant(place) = waiting.entry(id) {
                place.insert(Waiting { question, reply });
                return Some((Self { id, shared }, receiver));
            }
        }
        None
    }
}

impl Drop for Mine<'_> {
    fn drop(&mut self) {
        // The receiver is gone before this is. One that is not belongs to whoever drew the same id after this question was answered.
        if let Entry::Occupied(entry) = self.shared.lock().entry(self.id)
            && entry.get().reply.is_closed()
        {
            entry.remove();
        }
    }
}

/// At most one id in sixteen is in use.
const TRIES: usize = 8;

/// Reads until an error, or until the socket is left.
async fn read(io: Arc<UdpSocket>, shared: Arc<Shared>) {
    /// Says so whatever ends the task: its runtime may.
    struct End(Arc<Shared>);
    impl Drop for End {
        fn drop(&mut self) {
            self.0.ended.store(true, Ordering::Relaxed);
            // Those who wait go on at once.
            self.0.lock().clear();
        }
    }
    let _end = End(Arc::clone(&shared));
    let mut buffer = [0; LONGEST];
    // An error alone, such as a port where nobody listens, does not make a socket readable.
    while let Ok(ready) = io.ready(Interest::READABLE | Interest::ERROR).await {
        if ready.is_error() {
            return;
        }
        for _ in 0..TURN {
            match io.try_recv(&mut buffer) {
                // A full buffer may be a cut packet.
                Ok(length) if length == LONGEST => {}
                Ok(length) => shared.take(&buffer[..length]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return,
            }
        }
        tokio::task::yield_now().await;
    }
}

/// A reply that says "here" or "not there", and is not truncated.
fn understood(packet: Vec<u8>) -> Option<DnsResponse> {
    let (truncated, code) = (packet.get(2)? & TC != 0, packet.get(3)? & RCODE);
    match (truncated, code) {
        (false, NOERROR | NXDOMAIN) => DnsResponse::from_buffer(packet).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn an_id_that_another_question_has_drawn_meanwhile_stays_his() {
        let (shared, question) = (Shared::default(), Box::<[u8]>::from(&b"\x01a\x04test\0\0\x01\0\x01"[..]));
        let (first, reply) = Mine::new(&shared, question.clone()).unwrap();
        // Answered, and not yet awake.
        shared.lock().remove(&first.id).unwrap().reply.send(Reply::OtherCase).ok().unwrap();
        let (mine, theirs) = oneshot::channel();
        shared.lock().insert(first.id, Waiting { question, reply: mine });
        drop(reply);
        let id = first.id;
        drop(first);
        assert!(shared.lock().contains_key(&id));
        drop((theirs, Mine { id, shared: &shared }));
        assert!(shared.lock().is_empty());
    }

    /// A server that answers NXDOMAIN to each packet after `change` had it.
    async fn serve(change: impl Fn(&mut Vec<u8>) + Send + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 512];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                let mut packet = buffer[..length].to_vec();
                let end = end_of_question(&packet).unwrap();
                packet.truncate(end);
                packet[2] |= 0x80;
                packet[3] = NXDOMAIN;
                packet[6..12].fill(0);
                change(&mut packet);
                socket.send_to(&packet, from).await.unwrap();
            }
        });
        address
    }

    async fn asked(datagrams: &Datagrams, name: &str, patience: Duration) -> bool {
        let name = Name::from_ascii(name).unwrap();
        datagrams.ask(&name, RecordType::A, false, patience).await.is_some()
    }

    #[tokio::test]
    async fn many_at_once_on_few_sockets() {
        let datagrams = Datagrams::new(serve(|_| {}).await, true);
        let names: Vec<String> = (0..2_000).map(|number| format!("n{number}.example.test.")).collect();
        for some in names.chunks(200) {
            let all = some.iter().map(|name| asked(&datagrams, name, PATIENCE));
            assert!(futures_util::future::join_all(all).await.into_iter().all(|answered| answered));
        }
        let socket = datagrams.socket().unwrap();
        assert!(socket.shared.lock().is_empty(), "nobody waits");
        assert!(socket.uses.load(Ordering::Relaxed) <= USES);
    }

    #[tokio::test]
    async fn a_reply_to_another_question_is_none() {
        let other_id: fn(&mut Vec<u8>) = |packet| packet[0] ^= 1;
        for change in [other_id, |packet| packet[13] ^= 1] {
            let datagrams = Datagrams::new(serve(change).await, false);
            assert!(!asked(&datagrams, "example.test.", Duration::from_millis(50)).await);
            assert!(datagrams.socket().unwrap().shared.lock().is_empty());
        }
    }

    #[tokio::test]
    async fn capitals_must_be_repeated_where_they_protect() {
        let lower = |packet: &mut Vec<u8>| packet[HEADER..].make_ascii_lowercase();
        let server = serve(lower).await;
        // Long enough that its capitals are never all small by chance.
        let name = format!("{}.test.", "abcdefghijklmnopqrstuvwxyz".repeat(2));
        assert!(asked(&Datagrams::new(server, false), &name, PATIENCE).await);
        let datagrams = Datagrams::new(server, true);
        assert!(!asked(&datagrams, &name, PATIENCE).await);
        assert!(datagrams.rests(), "hickory is asked from now on");
    }

    #[tokio::test]
    async fn truncated_and_failed_replies_are_for_hickory() {
        let truncated = |packet: &mut Vec<u8>| packet[2] |= 0x02;
        let failed = |packet: &mut Vec<u8>| packet[3] = 2;
        assert!(!asked(&Datagrams::new(serve(truncated).await, false), "example.test.", PATIENCE).await);
        assert!(!asked(&Datagrams::new(serve(failed).await, false), "example.test.", PATIENCE).await);
    }

    #[tokio::test]
    async fn a_silent_server_rests_and_a_closed_port_costs_no_wait() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let datagrams = Datagrams::new(silent.local_addr().unwrap(), false);
        for _ in 0..SILENT {
            assert!(!datagrams.rests());
            assert!(!asked(&datagrams, "example.test.", Duration::from_millis(5)).await);
        }
        assert!(datagrams.rests());
        let closed = silent.local_addr().unwrap();
        drop(silent);
        assert!(!asked(&Datagrams::new(closed, false), "example.test.", Duration::from_secs(3600)).await);
    }
}
