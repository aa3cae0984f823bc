//! The milter as its peers meet it: the real binary on a socket, hand-written bytes, someone else's programs at the other end.
//!
//! - [`conversations`]: dialogues as data files, replayed in pieces of 1, 16 and 4096 bytes.
//! - [`pairs`]: every command in every state.
//! - [`peers`]: slow peers, memory, the end of the daemon.
//! - [`rules`]: a message that hits each rule, and one that nearly does.
//! - [`running`]: TCP, metrics, reload.
//! - [`miltertest`]: scripts for Debian's `miltertest`.
//! - [`signing`]: signatures, verified by dkimpy (needs PostgreSQL: `tests/with-postgres`).
//! - [`spf`]: the RFC 7208 test suite.
//! - [`verification`]: signatures of strangers, made by dkimpy.
//! - [`ask`]: the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ask;
mod conversations;
mod daemon;
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
