//! The public keys that DNS shows, parsed once.
//!
//! For `dkim` and `arc`. The resolver remembers records for as long as their TTL says; here it is remembered what a record *means*,
//! because parsing an RSA key costs about as much as verifying with it. The memory is keyed by the record's text, so it can never be
//! older than DNS.

use std::sync::Arc;

use gatepost::directory::Lookup;
use gatepost::dns::Resolver;
use moka::sync::Cache;

use crate::dkim::{Key, KeyRecordError};

/// Parsed records; one takes about 2 KiB.
const RECORDS: u64 = 10_000;

/// A longer record is no key: 8192 bits in base64 are 1,400 bytes.
const MAX_RECORD: usize = 4_096;

/// How many records of one name are looked at. One is allowed; of several, the verifier may try each (RFC 6376, 6.1.2).
const MAX_RECORDS_OF_A_NAME: usize = 4;

type Parsed = Result<Arc<Key>, KeyRecordError>;

/// The memory.
pub(super) struct Keys(Cache<Box<str>, Parsed>);

/// What DNS shows under a selector's name.
#[derive(Debug, Clone)]
pub(super) enum Shown {
    /// Keys that may be tried.
    Keys(Vec<Arc<Key>>),
    /// A record, but no usable key in it.
    Unusable(KeyRecordError),
    /// No record.
    Nothing,
    /// DNS did not answer.
    Unavailable,
}

impl Keys {
    pub(super) fn new() -> Self {
        Self(Cache::new(RECORDS))
    }

    /// Asks for the keys of a name such as `sel._domainkey.example.org`.
    pub(super) async fn ask(&self, resolver: &Resolver, name: &str) -> Shown {
        let records = match resolver.txt(name).await {
            Lookup::Found(records) => records,
            Lookup::None => return Shown::Nothing,
            Lookup::Unavailable(_) | Lookup::Misconfigured(_) => return Shown::Unavailable,
        };
        let mut keys = Vec::new();
        let mut error = KeyRecordError::Malformed;
        for record in records.iter().take(MAX_RECORDS_OF_A_NAME) {
            match self.parse(record) {
                Ok(key) => keys.push(key),
                Err(why) if why != KeyRecordError::Malformed => error = why,
                Err(_) => {}
            }
        }
        if keys.is_empty() { Shown::Unusable(error) } else { Shown::Keys(keys) }
    }

    fn parse(&self, record: &str) -> Parsed {
        if record.len() > MAX_RECORD {
            return Err(KeyRecordError::Malformed);
        }
        if let Some(known) = self.0.get(record) {
            return known;
        }
        let parsed = Key::parse(record.as_bytes()).map(Arc::new);
        self.0.insert(record.into(), parsed.clone());
        parsed
    }
}
