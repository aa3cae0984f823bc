//! The parts of DKIM (RFC 6376, 8301, 8463) that are arithmetic: tag lists, canonical forms, key records, one signature's check.
//!
//! For `authentication`, which asks DNS and says what came out, and for `arc`, whose signatures are DKIM's with other tags
//! (RFC 8617, 4.1). Everything here is pure: bytes in, an answer out. It asks nobody, knows no policy, and never panics on what a
//! stranger wrote; every loop is bounded by the size of the message or by a constant that stands beside it.
//!
//! Written here and not taken from a library, because a verifier must be stricter than a parser: a tag given twice, a number that is
//! none, an `x=` that cannot be read each decide whether a forged message passes (RFC 6376, 3.2: "the entire tag-list MUST be
//! considered invalid").

pub mod canonical;
pub mod der;
pub mod fields;
pub mod key;
pub mod signature;
pub mod tags;

pub use canonical::{BodyDigest, Canonicalization, Parts};
pub use fields::Field;
pub use key::{Key, KeyRecordError};
pub use signature::{Algorithm, Kind, Signature, SignatureError};
pub use tags::{TagError, Tags};
