//! The two protocols of Postfix that are spoken here: bytes to requests, answers to bytes, nothing else.
//!
//! For `session`. Knows no database, no configuration and no policy.

pub mod policy;
pub mod socketmap;
