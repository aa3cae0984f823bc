//! The question to DNS: does it show this key?

use super::record::{self, Finding};
use crate::directory::Lookup;
use crate::dns::Resolver;
use crate::mail::Domain;
use crate::store::KeyAlgorithm;

/// Asks for the key's TXT record and compares. [`Lookup::Unavailable`] where DNS cannot say; never [`Lookup::None`]: a record that is
/// not there is a [`Finding`].
pub async fn look(
    resolver: &Resolver,
    domain: &Domain,
    selector: &str,
    algorithm: KeyAlgorithm,
    public: &str,
) -> Lookup<Finding> {
    match resolver.txt(&record::name(domain, selector)).await {
        Lookup::Found(records) => Lookup::Found(record::compare(&records, algorithm, public)),
        Lookup::None => Lookup::Found(Finding::missing()),
        Lookup::Unavailable(why) => Lookup::Unavailable(why),
        Lookup::Misconfigured(why) => Lookup::Misconfigured(why),
    }
}
