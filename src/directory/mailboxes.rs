//! Who has a mailbox, in memory: 16 bytes each.
//!
//! For the auth daemon, which is asked for a user's mailbox at every delivery and every login, and never for an alias; `kept` fills it and
//! keeps it true. Refuses to say how certain it is, and to list anybody.

use std::time::Duration;

use super::Directory;
use super::copied::{ReadError, Reader, Spellings};
use super::digests::Digests;
use super::kept::{Book, Full, Kept};
use crate::database::Trouble;
use crate::mail::Address;

/// The mailboxes.
#[derive(Debug)]
pub(super) struct Mailboxes(Digests);

impl Mailboxes {
    /// Whether there is a mailbox of this address.
    pub(super) fn has(&self, address: &Address) -> bool {
        self.0.contains([address.local(), "@", address.domain().as_str()])
    }
}

impl Book for Mailboxes {
    type Row = bool;

    fn kept(directory: &Directory) -> &Kept<Self> {
        &directory.0.mailboxes_kept
    }

    async fn read(directory: &Directory, reader: &mut Reader) -> Result<Self, ReadError> {
        let (mut digests, mut spellings) = (Digests::with_room(), Spellings::default());
        reader
            .copy(include_str!("queries/roll_mailboxes.sql"), |columns| {
                spellings.mailbox(columns, |local, domain| {
                    digests.push([local, "@", domain.as_str()]);
                    Ok(())
                })
            })
            .await?;
        digests.settle();
        // The short list too, so that it is exact should contact be lost before anybody asks.
        let _ = directory.domain_list().await;
        Ok(Self(digests))
    }

    async fn row(directory: &Directory, address: &Address) -> Result<bool, Trouble> {
        Ok(directory.mailbox_row(address).await?.is_some())
    }

    fn note(&mut self, address: &Address, there: bool) -> Result<(), Full> {
        self.0.set([address.local(), "@", address.domain().as_str()], there);
        Ok(())
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn announce(mailboxes: usize, bytes: usize, took: Duration) {
        tracing::info!(mailboxes, bytes, ?took, "all mailboxes are in memory");
    }
}
