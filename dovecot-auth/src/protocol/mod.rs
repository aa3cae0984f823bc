//! Bytes to commands and replies to bytes, for both protocols of Dovecot. Pure: no socket, no policy, no directory.
//!
//! Both protocols are lines of parameters divided by TAB, escaped alike ([`tabbed`]).

pub mod auth;
pub mod dict;
pub mod tabbed;
