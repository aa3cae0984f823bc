//! gatepost-postfix-policy against a real PostgreSQL: run by `tests/run`, or `tests/with-postgres cargo test --workspace`.
//!
//! The peers here do not use our codec: conversations are bytes written by hand (`conversations/*.txt`), and the other peer is
//! Postfix's own `postmap`.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, unreachable_pub)]

#[macro_use]
#[path = "../support/conversations.rs"]
mod conversations;
mod country;
mod crowd;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/dns.rs"]
mod dns;
mod dnsbl;
mod engine;
mod failures;
mod hostile;
mod hung;
mod instance;
mod mutations;
mod operator;
mod policy_mutations;
#[path = "../support/ports.rs"]
mod ports;
mod postfix;
mod postfix_maps;
mod postfix_sessions;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/postgres.rs"]
mod postgres;
mod postmap;
#[path = "../support/private_postfix.rs"]
mod private_postfix;
mod replay;
mod restarts;
mod srs;
mod tls;
#[allow(dead_code, reason = "each test binary uses its part of it")]
#[path = "../support/waiting.rs"]
mod waiting;
