//! The milter as its peers meet it: the real binary on a socket, hand-written bytes, someone else's programs at the other end.
//!
//! - [`conversations`]: dialogues as data files, replayed in pieces of 1, 16 and 4096 bytes (needs PostgreSQL).
//! - [`pairs`]: every command in every state.
//! - [`peers`]: slow peers, memory, the end of the daemon.
//! - [`reports`]: DMARC aggregate reports, collected and sent (needs PostgreSQL).
//! - [`rules`]: a message that hits each rule, and one that nearly does.
//! - [`running`]: TCP, metrics, reload.
//! - [`dmarc`]: RFC 9989, section by section.
//! - [`miltertest`]: scripts for Debian's `miltertest`.
//! - [`hostile_dns`]: what strangers may put into DNS, and a DNS that is away.
//! - [`arc`]: chains of seals: the suite of the draft's authors, dkimpy's, and ours.
//! - [`passing`]: mail that we pass on and seal, behind the next server (needs root and PostgreSQL).
//! - [`hop`]: a private Postfix that passes signed mail on to two servers (needs root and PostgreSQL); [`generator`] writes the mail.
//! - [`outgoing`]: what is removed, mended and signed, seen on the wire; OpenDKIM verifies it.
//! - [`signing`]: signatures, verified by dkimpy (needs PostgreSQL: `tests/with-postgres`).
//! - [`key_watch`]: signing keys and what DNS says of them, over all their life.
//! - [`learning`]: people teach, the milters learn; [`teaching`]: whom the model believes, and what else teaches it (need PostgreSQL).
//! - [`spf`]: the RFC 7208 test suite.
//! - [`theirs`]: the example messages of the RFCs, and what OpenDKIM signs.
//! - [`verification`]: signatures of strangers, made by dkimpy.
//! - [`enforcement`]: DMARC enforced, while exceptions come, go, or cannot be looked up (needs PostgreSQL).
//! - [`ask`], [`evaluate`]: the command line.
//! - [`history`]: what was decided, in SQL (needs PostgreSQL).
//! - [`operators_lists`]: allow, deny, defer, score and tag, in every kind and scope.
//! - [`lists`]: lists in DNS; [`antivirus`]: Debian's clamd, and sockets that are none.
//! - [`bounds`]: what one message may cost; [`deadline`]: how long it may wait (needs PostgreSQL).
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod antivirus;
mod arc;
mod ask;
mod bounds;
mod conversations;
mod daemon;
mod deadline;
mod dmarc;
mod enforcement;
mod evaluate;
mod generator;
mod history;
mod hop;
mod hostile_dns;
mod key_watch;
mod learning;
mod lists;
mod miltertest;
mod operators_lists;
mod outgoing;
mod pairs;
mod passing;
mod peers;
#[path = "../support/ports.rs"]
mod ports;
mod postfix;
mod reports;
mod rule_cases;
mod rules;
mod running;
mod signatures;
mod signing;
mod spf;
mod teaching;
mod theirs;
mod verification;

#[allow(dead_code)]
#[path = "../support/dns.rs"]
mod dns;

#[allow(unreachable_pub, dead_code)]
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/private_postfix.rs"]
mod private_postfix;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/waiting.rs"]
mod waiting;
