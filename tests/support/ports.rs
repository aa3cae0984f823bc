//! Ports for servers of others, which must be told one before they bind it.
//!
//! Below those that the kernel gives to clients (32768 and up, `ip_local_port_range`), and below those of `tests/stack`: nobody else takes
//! one between the question and the answer. No port is given twice by one process.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{TcpListener, UdpSocket};
use std::sync::Mutex;

static GIVEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

/// A port of the loopback device that nobody uses, for TCP and UDP.
pub(crate) fn free_port() -> u16 {
    let mut given = GIVEN.lock().unwrap();
    loop {
        let port = 10_000 + (RandomState::new().build_hasher().finish() % 10_000) as u16;
        let is_free =
            TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok();
        if is_free && !given.contains(&port) {
            given.push(port);
            return port;
        }
    }
}
