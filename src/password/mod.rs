//! Stored password hashes and their verification, on a pool bounded by threads and by memory.
//!
//! A hash costs up to a second and 64 MiB; nothing else in a daemon does. So hashing never runs on the threads that serve
//! connections, never takes more than its share, is fair between those who ask, and says "busy" rather than queue without end. Refuses to
//! know users: which hash belongs to whom is the directory's knowledge.
//!
//! In reading order: [`StoredHash`] (one hash), [`Scheme`] and `schemes/` (what hashes there are), [`ScramVerifier`], [`Hasher`] (who may
//! verify when), `queue` (whose turn it is), `threads`, `verified` (what was right a moment ago), `stack` (what hashing leaves behind).

mod encoding;
mod hash;
mod hasher;
mod queue;
mod scheme;
mod schemes;
mod scram;
mod stack;
mod threads;
mod verified;
mod workspace;

pub use hash::{HashError, StoredHash};
pub use hasher::{Hasher, HasherLimits, Verification};
pub use scheme::{Cost, SCHEMES, Scheme};
pub use scram::{ScramHash, ScramVerifier};
