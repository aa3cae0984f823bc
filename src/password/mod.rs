//! Stored password hashes and their verification, on a pool bounded by threads and by memory.
//!
//! A hash costs up to a second and 64 MiB; nothing else in a daemon does. So hashing never runs on the threads that serve
//! connections, never takes more than its share, and says "busy" rather than queue without end. Refuses to know users.

mod hash;
mod hasher;

pub use hash::{HashError, Scheme, StoredHash};
pub use hasher::{Hasher, HasherLimits, Verification};
