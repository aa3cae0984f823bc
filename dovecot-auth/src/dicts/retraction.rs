//! Shares that are taken back, a moment later.
//!
//! Dovecot rebuilds a user's shares by unsetting and setting again each one that is there, in transactions of their own (dovecot 2.3 and 2.4,
//! acl-lookup-dict.c): done at once, a share would be gone for whoever looks in between. So an unset share is removed only after [`GRACE`],
//! unless it is set again; its owner sees it gone at once, everybody else when it is.
//!
//! The daemon that ends carries out what it has promised. One that is killed in that second leaves a share in the table that is no longer
//! one: a name in a list, as the rights are in the `dovecot-acl` files; the owner's next change removes it. Two hosts do not know of each other's
//! promises: a share taken back on one and given again on the other within a second can be lost until the owner's next change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatepost::directory::{Directory, Lookup};
use gatepost::mail::Address;
use gatepost::store::{SharedTo, Store};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// One share: whose, and to whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Who shares.
    pub from: Address,
    /// To whom.
    pub to: Receiver,
}

/// To whom something is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Receiver {
    /// One user.
    User(Address),
    /// Everybody, or a group.
    Wide(SharedTo),
}

/// The shares that are to be removed.
#[derive(Debug, Default)]
pub struct Retractions {
    due: Mutex<HashMap<Share, Instant>>,
    changed: Notify,
    /// Held while one is removed, so that who sets it again comes after.
    turn: tokio::sync::Mutex<()>,
}

impl Retractions {
    /// Will remove a share. False if there are too many already: then it is to be removed at once.
    pub fn promise(&self, share: Share) -> bool {
        let mut due = self.due();
        if due.len() >= MOST && !due.contains_key(&share) {
            return false;
        }
        due.insert(share, Instant::now() + GRACE);
        drop(due);
        self.changed.notify_one();
        true
    }

    /// The share is set again; returns when it can be.
    pub async fn recall(&self, share: &Share) {
        if self.due().remove(share).is_some() {
            // It may be under way at this moment.
            drop(self.turn.lock().await);
        }
    }

    /// Whether a share is about to be removed.
    pub fn is_promised(&self, share: &Share) -> bool {
        self.due().contains_key(share)
    }

    /// Removes what is due, for as long as the daemon runs.
    pub async fn run(&self, directory: &Directory, store: &Store) {
        loop {
            let next = self.due().values().min().copied();
            tokio::select! {
                () = self.changed.notified() => continue,
                () = sleep_until(next.unwrap_or_else(|| Instant::now() + IDLE)) => {}
            }
            self.carry_out(directory, store, Instant::now()).await;
        }
    }

    /// Removes all at once: the daemon ends.
    pub async fn finish(&self, directory: &Directory, store: &Store) {
        self.carry_out(directory, store, Instant::now() + GRACE + RETRY).await;
        let left = self.due().len();
        if left > 0 {
            tracing::warn!(
                left,
                "shares that were taken back are still listed; `doveadm acl recalc -A` removes them"
            );
        }
    }

    async fn carry_out(&self, directory: &Directory, store: &Store, until: Instant) {
        let due: Vec<Share> =
            self.due().iter().filter(|(_, at)| **at <= until).map(|(share, _)| share.clone()).collect();
        for share in due {
            let _turn = self.turn.lock().await;
            // Set again meanwhile.
            if !self.is_promised(&share) {
                continue;
            }
            match remove(directory, store, &share).await {
                Lookup::Found(()) | Lookup::None => drop(self.due().remove(&share)),
                Lookup::Unavailable(why) => {
                    tracing::debug!(%why, "a share is removed later");
                    if let Some(at) = self.due().get_mut(&share) {
                        *at = Instant::now() + RETRY;
                    }
                    // The others would hear the same.
                    return;
                }
                Lookup::Misconfigured(why) => {
                    tracing::error!(from = %share.from, %why, "a share that was taken back cannot be removed");
                    self.due().remove(&share);
                }
            }
        }
    }

    fn due(&self) -> MutexGuard<'_, HashMap<Share, Instant>> {
        self.due.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes a share now.
pub(super) async fn remove(directory: &Directory, store: &Store, share: &Share) -> Lookup<()> {
    match &share.to {
        Receiver::User(to) => directory.unshare(&share.from, to).await,
        Receiver::Wide(to) => store.unshare_widely(&share.from, to).await,
    }
}

/// Between unset and set Dovecot waits for one answer, which takes some milliseconds; a database that is slow may take more.
const GRACE: Duration = Duration::from_secs(1);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// Waiting for nothing.
const IDLE: Duration = Duration::from_secs(3600);
/// A bound of memory: beyond, shares are removed at once.
const MOST: usize = 10_000;
