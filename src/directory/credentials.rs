//! What goes with a login's hash: the spellings under which its row stands, and forgetting what was known of it.

use super::{Class, Directory, Lookup};
use crate::database::Trouble;
use crate::mail::Address;
use crate::password::StoredHash;

impl Directory {
    /// The spellings of domain and local part under which a mailbox may stand in the database; [`Lookup::None`] where its domain is not
    /// hosted.
    pub(crate) async fn spellings(&self, address: &Address) -> Lookup<(Vec<String>, Vec<String>)> {
        Lookup::from(self.spelled(address).await).map(|spelled| (spelled.domains, spelled.locals))
    }

    /// The hashes of several logins as they stand in the database at this moment; `None` of those that never log in or are not there.
    pub(crate) async fn present_hashes(
        &self,
        addresses: &[Address],
    ) -> Result<Vec<Option<StoredHash>>, Trouble> {
        let (mut hosted, mut keys) = (Vec::with_capacity(addresses.len()), Vec::new());
        for address in addresses {
            let spelled = self.spelled(address).await?;
            hosted.push(spelled.is_some());
            keys.extend(spelled);
        }
        let mut hashes = self.hash_rows(keys).await?.into_iter();
        let mut present = Vec::with_capacity(addresses.len());
        for hosted in hosted {
            let hash = if hosted { hashes.next().transpose()?.flatten() } else { None };
            present.push(hash.flatten());
        }
        Ok(present)
    }

    /// Forgets one login's hash, which this process has just changed.
    pub(crate) fn forget_credentials(&self, address: &Address) {
        self.0.credentials.forget(Class::Users, address);
    }
}
