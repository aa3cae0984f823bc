//! The milter as its peers meet it: the real binary on a socket, hand-written bytes, someone else's programs at the other end.
//!
//! - [`conversations`]: dialogues as data files, replayed in pieces of 1, 16 and 4096 bytes.
//! - [`pairs`]: every command in every state.
//! - [`peers`]: slow peers, memory, the end of the daemon.
//! - [`rules`]: a message that hits each rule, and one that nearly does.
//! - [`running`]: TCP, metrics, reload.
//! - [`miltertest`]: scripts for Debian's `miltertest`.
//! - [`hop`]: a private Postfix that passes signed mail on to two servers (needs root and PostgreSQL); [`generator`] writes the mail.
//! - [`outgoing`]: what is removed, mended and signed, seen on the wire; OpenDKIM verifies it.
//! - [`signing`]: signatures, verified by dkimpy (needs PostgreSQL: `tests/with-postgres`).
//! - [`key_watch`]: signing keys and what DNS says of them, over all their life.
//! - [`verification`]: signatures of strangers, made by dkimpy.
//! - [`ask`]: the command line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod ask;
mod conversations;
mod daemon;
mod dns;
mod generator;
mod hop;
mod key_watch;
mod miltertest;
mod outgoing;
mod pairs;
mod peers;
mod rules;
mod running;
mod signing;
mod verification;

#[allow(unreachable_pub, dead_code)]
#[path = "../support/postgres.rs"]
mod postgres;
