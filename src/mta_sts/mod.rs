//! MTA-STS (RFC 8461): who may take a domain's mail, as the domain says on the web.
//!
//! For the policy daemon's maps `tls`, and for the tool, which looks at what our own domains publish. It refuses to decide what follows
//! from a policy.

mod fetch;
mod policy;

pub use fetch::{Elsewhere, FetchError, Fetcher};
pub use policy::{Mode, MxPattern, PolicyError, StsPolicy, record_id};
