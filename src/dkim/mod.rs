//! DKIM signing keys (RFC 6376, RFC 8463) before and beside the signing: what a key is, how it is kept, what DNS says of it, and how
//! keys of other programs are read.
//!
//! - [`material`]: private keys: made, parsed, named by their public half.
//! - [`record`]: the TXT record that goes with a key, and whether the records found in DNS show the key.
//! - [`look`]: the question to DNS.
//! - [`vault`]: private keys encrypted at rest.
//! - [`selector`]: names for new keys.
//! - [`import`]: the setups of Rspamd and OpenDKIM.
//!
//! For the tool and the milter. Refuses to sign: that is the milter's. Nothing of a private key is ever printed.

pub mod import;
pub mod look;
pub mod material;
pub mod record;
pub mod selector;
pub mod vault;

pub use look::look;
pub use material::{KeyKind, KeyMaterial};
pub use record::Finding;
pub use vault::{Vault, VaultError};
