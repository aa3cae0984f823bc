//! gatepost-dovecot-auth: every login of Dovecot and Postfix, and Dovecot's user lookups and dictionaries, answered from the database
//! `mail_server`. Dovecot's own auth process is not needed.
//!
//! The modules in reading order: [`config`], [`service`], [`protocol`] (bytes), `session` (one connection of each kind), `peers` (whose it may
//! be), [`questions`] and [`attempt`] (one question, one login to its answer), [`mechanisms`], [`verdict`], `proofs` and [`oauth`] (is this login who it claims to be), [`admission`] (may it in), `upkeep`
//! (what a good password lets be renewed), [`guard`] with [`guesses`] and `journal` (how often was it wrong; who logged in when), [`logins`]
//! (until the mail process asks), [`userdb`], [`dicts`], [`ask`], `metrics`.
//!
//! The only daemon that reads password hashes. Refuses to read mail, to change accounts but for better hashes (`upkeep`, if it is asked to),
//! and to say why a login was refused.

pub mod admission;
pub mod ask;
pub mod attempt;
pub mod config;
pub mod dicts;
pub mod guard;
pub mod guesses;
mod journal;
pub mod logins;
pub mod mechanisms;
mod metrics;
pub mod oauth;
pub mod peers;
mod proofs;
pub mod protocol;
pub mod questions;
pub mod service;
mod session;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
#[path = "../../tests/support/silent.rs"]
mod silent;
mod upkeep;
pub mod userdb;
pub mod verdict;

pub use service::DovecotAuth;
