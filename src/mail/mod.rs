//! The words of mail as types, for every part of Gatepost: parsed once at the edge, never raw strings inside.
//!
//! Refuses to know any protocol: angle brackets, ESMTP arguments and escapes belong to whoever speaks them.

mod address;
mod domain;
pub mod quoting;
mod reply;

pub use address::{Address, written};
pub use domain::Domain;
pub use reply::SmtpReply;

/// Why a text is no address or no domain. Holds no copy of the text: whoever reports it knows it, and may cut it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there, or nothing on one side of the `@`.
    #[error("empty address, local part or domain")]
    Empty,
    /// No `@`.
    #[error("no \"@\"; expected local@domain")]
    NoDomain,
    /// The local part is longer than 64 octets (RFC 5321 §4.5.3.1.1).
    #[error("local part longer than 64 octets")]
    LongLocalPart,
    /// The domain is longer than 253 octets, or one of its labels longer than 63 (RFC 1035 §2.3.4).
    #[error("domain longer than 253 octets, or a label longer than 63")]
    LongDomain,
    /// Control characters, white space or unbalanced quotes in the local part.
    #[error("local part with control characters, white space or unbalanced quotes")]
    BadLocalPart,
    /// The domain is no host name and no internationalised one (RFC 5890).
    #[error("not a domain name")]
    BadDomain,
}
