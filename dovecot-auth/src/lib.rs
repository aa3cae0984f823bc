//! gatepost-dovecot-auth: every login of Dovecot and Postfix, and Dovecot's user lookups and dictionaries, answered from the database
//! `mail_server`. Dovecot's own auth process is not needed.
//!
//! The modules in reading order: [`config`], [`service`] (one question to its answer), [`protocol`] (bytes), `session` (one connection
//! of each kind), [`mechanisms`], [`verdict`], `proofs` and [`oauth`] (is this login who it claims to be), `upkeep` (what a good password lets be renewed), [`logins`] (until the mail process asks), [`userdb`],
//! [`dicts`], [`ask`], `metrics`.
//!
//! The only daemon that reads password hashes. Refuses to read mail, to write anything but shares and what makes passwords safer (`upkeep`, if it is asked to), and to say why a login was refused.

pub mod ask;
pub mod config;
pub mod dicts;
pub mod logins;
pub mod mechanisms;
mod metrics;
pub mod oauth;
mod proofs;
pub mod protocol;
pub mod service;
mod session;
mod upkeep;
pub mod userdb;
pub mod verdict;

pub use service::DovecotAuth;
