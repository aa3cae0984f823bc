//! gatepost-dovecot-auth against a real PostgreSQL: run by `tests/run`, or `tests/with-postgres cargo test --workspace`.
//!
//! The peers here do not use our codec: conversations are bytes written by hand (`conversations/*.txt`), and the other peers are
//! Dovecot's own processes and tools.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[macro_use]
#[path = "../support/conversations.rs"]
mod conversations;
mod accounts;
mod certificates;
mod concurrency;
mod dovecot;
mod dovecot_dicts;
mod dovecot_sessions;
mod failures;
mod hostile;
mod instance;
mod memory;
mod oauth;
mod passwords;
mod peers;
#[path = "../support/ports.rs"]
mod ports;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/postgres.rs"]
mod postgres;
mod program;
mod replay;
mod scram;
mod secrets;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/waiting.rs"]
mod waiting;
