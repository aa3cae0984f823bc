//! ARC (RFC 8617) as arithmetic: the sets of a chain, what a seal covers, what a hop recorded, and a new set on top.
//!
//! For `authentication`, which validates chains, and `service`, which seals mail that leaves again. Pure, as [`crate::dkim`] is.
//!
//! ```text
//! ARC-Seal: i=2; a=rsa-sha256; cv=pass; d=…; s=…; t=…; b=…                  (AS: signs all ARC fields up to its own)
//! ARC-Message-Signature: i=2; a=rsa-sha256; c=…; d=…; s=…; h=…; bh=…; b=…   (AMS: signs the message, as DKIM does)
//! ARC-Authentication-Results: i=2; lists.example.org; dmarc=pass …          (AAR: what this hop found)
//! ```

pub mod recorded;
pub mod seal;
pub mod sets;

pub use seal::{Sealer, seal};
pub use sets::{Chain, ChainError, Seal, Set, Validation};
