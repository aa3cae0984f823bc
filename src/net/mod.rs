//! Sockets for all daemons: listeners, the one accept loop, bounded frames.
//!
//! Refuses to know any protocol. Every listener has a large backlog, every read a bound, and nothing is spawned per line.

pub mod frames;
mod listen;
mod serve;
mod stream;

pub use listen::{ListenError, Listener, PassedSockets};
pub use serve::{Drain, Endpoint, Server};
pub use stream::{Credentials, Peer, Stream};
