//! TLSA records (RFC 6698), what DANE for SMTP (RFC 7672) is built on.

use hickory_resolver::proto::rr::{RData, RecordType};

use super::{Answer, Resolver};
use crate::directory::Lookup;

/// One TLSA record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tlsa {
    /// The certificate usage: 2 is DANE-TA, 3 DANE-EE (RFC 7218, 2.1).
    pub usage: u8,
    /// The selector: 0 the whole certificate, 1 its public key (RFC 7218, 2.2).
    pub selector: u8,
    /// How it is matched: 0 as it is, 1 by SHA-256, 2 by SHA-512 (RFC 7218, 2.3).
    pub matching: u8,
    /// The certificate association data.
    pub data: Vec<u8>,
}

impl Tlsa {
    /// Whether SMTP clients can use it (RFC 7672, 3.1): usage DANE-TA or DANE-EE, a selector and a matching type that are known, a
    /// digest of the right length.
    pub fn is_usable(&self) -> bool {
        let length = match self.matching {
            0 => !self.data.is_empty(),
            1 => self.data.len() == 32,
            2 => self.data.len() == 64,
            _ => false,
        };
        matches!(self.usage, 2 | 3) && matches!(self.selector, 0 | 1) && length
    }
}

impl Resolver {
    /// The TLSA records of a name such as `_25._tcp.mx.example.com`.
    pub async fn tlsa(&self, name: &str) -> Lookup<Answer<Tlsa>> {
        self.records(name, RecordType::TLSA, |data| match data {
            RData::TLSA(tlsa) => Some(Tlsa {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }
}
