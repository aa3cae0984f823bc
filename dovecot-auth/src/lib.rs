//! gatepost-dovecot-auth: every login of Dovecot and Postfix, and Dovecot's user lookups and dictionaries, answered from the database
//! `mail_server`. Dovecot's own auth process is not needed.
//!
//! The modules in reading order: [`config`], [`service`] (one question to its answer), [`protocol`] (bytes), `session` (one connection
//! of each kind), [`mechanisms`] and [`verdict`] (is this login who it claims to be), [`admission`] (may it in), [`guard`] with
//! [`guesses`] and `journal` (how often was it wrong; who logged in when), [`logins`] (until the mail process asks), [`userdb`],
//! [`dicts`], [`hearsay`] (logins that Dovecot's own auth process decides), [`ask`], `metrics`.
//!
//! The only daemon that reads password hashes. Refuses to read mail, to change accounts, and to say why a login was refused.

pub mod admission;
pub mod ask;
pub mod config;
pub mod dicts;
pub mod guard;
pub mod guesses;
pub mod hearsay;
mod journal;
pub mod logins;
pub mod mechanisms;
mod metrics;
pub mod protocol;
pub mod service;
mod session;
pub mod userdb;
pub mod verdict;

pub use service::DovecotAuth;
