//! gatepost-postfix-policy: what Postfix asks about addresses (socketmap) and about clients (policy delegation), answered from the
//! database `mail_server`.
//!
//! The modules in reading order: [`config`], [`service`] (one question to its answer), [`protocol`] (bytes), `session` and `wire` (one
//! connection), [`maps`] over [`addresses`], [`srs`] and [`tls`], [`checks`] with [`sender_policy`], [`places`] and [`mailer`], [`ask`], `recent`,
//! `metrics`, `notice`.
//!
//! Refuses to read mail, and to know password hashes or keys: its role in the database may do neither.

pub mod addresses;
pub mod ask;
pub mod checks;
pub mod config;
pub mod mailer;
pub mod maps;
mod metrics;
mod notice;
pub mod places;
pub mod protocol;
mod recent;
pub mod sender_policy;
pub mod service;
mod session;
pub mod srs;
pub mod tls;
mod wire;

pub use service::PostfixPolicy;
