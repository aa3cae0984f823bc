//! What goes with a login's hash: the spellings under which its row stands, and forgetting what was known of it.

use super::{Class, Directory, Lookup};
use crate::mail::Address;

impl Directory {
    /// The spellings of domain and local part under which a mailbox may stand in the database; [`Lookup::None`] where its domain is not
    /// hosted.
    pub(crate) async fn spellings(&self, address: &Address) -> Lookup<(Vec<String>, Vec<String>)> {
        Lookup::from(self.spelled(address).await).map(|spelled| (spelled.domains, spelled.locals))
    }

    /// Forgets one login's hash, which this process has just changed.
    pub(crate) fn forget_credentials(&self, address: &Address) {
        self.0.credentials.forget(Class::Users, address);
    }
}
