//! The milter as its peers meet it: the real binary on a socket, hand-written bytes, someone else's programs at the other end.
//!
//! - [`conversations`]: dialogues as data files, replayed in pieces of 1, 16 and 4096 bytes (needs PostgreSQL).
//! - [`pairs`]: every command in every state.
//! - [`peers`]: slow peers, memory, the end of the daemon.
//! - [`rules`]: a message that hits each rule, and one that nearly does.
//! - [`running`]: TCP, metrics, reload.
//! - [`dmarc`]: RFC 9989, section by section.
//! - [`miltertest`]: scripts for Debian's `miltertest`.
//! - [`arc`]: chains of seals: the suite of the draft's authors, dkimpy's, and ours.
//! - [`signing`]: signatures, verified by dkimpy (needs PostgreSQL: `tests/with-postgres`).
//! - [`spf`]: the RFC 7208 test suite.
//! - [`verification`]: signatures of strangers, made by dkimpy.
//! - [`enforcement`]: DMARC enforced, while exceptions come, go, or cannot be looked up (needs PostgreSQL).
//! - [`ask`]: the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod arc;
mod ask;
mod conversations;
mod daemon;
mod dmarc;
mod enforcement;
mod miltertest;
mod pairs;
mod peers;
mod rules;
mod running;
mod signing;
mod spf;
mod verification;

#[allow(dead_code)]
#[path = "../support/dns.rs"]
mod dns;

#[allow(unreachable_pub, dead_code)]
#[path = "../support/postgres.rs"]
mod postgres;
