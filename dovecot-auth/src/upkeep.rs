//! What a password that was right lets be renewed: a hash that costs too little (`rehash`), and what SCRAM needs of it (`scram-verifiers`).
//!
//! Done after the login was answered, one at a time, on the hasher's threads behind everybody who waits. What does not fit into the queue, or
//! fails, is done at the next login. A password that is changed in the same moment wins: a hash is replaced only where it still stands as it
//! was verified, and a verifier counts only beside the hash it was made with.

use std::time::Duration;

use gatepost::config::Secret;
use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::password::{ScramHash, ScramVerifier, StoredHash};
use gatepost::store::hash_mark;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval_at};

use crate::mechanisms::Needs;
use crate::service::DovecotAuth;

/// The queue.
pub(crate) struct Upkeep {
    sender: mpsc::Sender<Work>,
    /// Held by whoever looks after them.
    receiver: Mutex<mpsc::Receiver<Work>>,
    /// Hashes, by their marks, that were looked after not long ago.
    done: moka::sync::Cache<[u8; 32], ()>,
}

/// A password that was right, and the hash it belongs to.
struct Work {
    login: Address,
    hash: StoredHash,
    password: Secret,
}

impl Default for Upkeep {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let done = moka::sync::Cache::builder().max_capacity(DONE).time_to_live(AGAIN).build();
        Self { sender, receiver: Mutex::new(receiver), done }
    }
}

impl Upkeep {
    /// To be looked after, unless it was already, or too much is waiting.
    pub(crate) fn renew(&self, login: &Address, hash: StoredHash, password: Secret) {
        let mark = hash_mark(&hash);
        if !self.done.contains_key(&mark)
            && self.sender.try_send(Work { login: login.clone(), hash, password }).is_ok()
        {
            self.done.insert(mark, ());
        }
    }
}

impl DovecotAuth {
    /// Whether there is anything to be done with a password that was right.
    pub(crate) fn renews(&self) -> bool {
        let live = self.live.load();
        live.settings.rehash || live.settings.scram_verifiers
    }

    /// Looks after passwords, verifiers and the secret of SCRAM until the process ends.
    pub(crate) async fn keep_up(&self) {
        let mut receiver = self.upkeep.receiver.lock().await;
        let mut readiness = tokio::time::interval(READINESS);
        let mut sweep = interval_at(Instant::now() + FIRST_SWEEP, SWEEP);
        loop {
            tokio::select! {
                work = receiver.recv() => match work {
                    Some(work) => self.look_after(work).await,
                    None => return,
                },
                _ = readiness.tick() => self.look_at_scram().await,
                _ = sweep.tick(), if self.secrets.is_known() => match self.store.forget_scram_verifiers(&self.directory).await {
                    Lookup::Found(count) => tracing::debug!(count, "verifiers of former passwords forgotten"),
                    Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                        tracing::warn!(%why, "verifiers of former passwords cannot be forgotten; they count no more all the same");
                    }
                    Lookup::None => {}
                },
            }
        }
    }

    async fn look_at_scram(&self) {
        let is_wanted =
            self.live.load().settings.offered().any(|mechanism| mechanism.needs == Needs::Verifiers);
        if is_wanted && !self.secrets.is_known() {
            match self.learn_secret().await {
                Lookup::Misconfigured(why) => self.complain("scram", &why),
                _ => self.content("scram"),
            }
        }
    }

    async fn look_after(&self, Work { login, hash, password }: Work) {
        let mark = hash_mark(&hash);
        // An app password is not what SCRAM or a new hash is about.
        let is_main = match self.directory.credentials(&login).await {
            Lookup::Found(credentials) => {
                credentials.hash.is_some_and(|main| main.text().expose() == hash.text().expose())
            }
            _ => false,
        };
        if !is_main {
            return;
        }
        let live = self.live.load_full();
        let settings = &live.settings;
        let is_verifier =
            hash.scheme().is_some_and(|scheme| ScramHash::ALL.iter().any(|kind| kind.name() == scheme.name));
        let mut present = hash;
        if settings.rehash && present.is_outdated() && (!is_verifier || settings.scram_verifiers) {
            match self.rehash(&login, &present, &password).await {
                Some(new) => present = new,
                None => return self.upkeep.done.invalidate(&mark),
            }
        }
        if settings.scram_verifiers && !self.make_verifiers(&login, &present, &password).await {
            self.upkeep.done.invalidate(&mark);
        }
    }

    /// The hash that stands there now; `None` where nobody knows.
    async fn rehash(&self, login: &Address, old: &StoredHash, password: &Secret) -> Option<StoredHash> {
        let given = password.clone();
        let new = self.hasher.work(NEW_HASH, move || StoredHash::new(&given)).await?;
        let new = new.inspect_err(|error| tracing::warn!(%error, "no new hash could be made")).ok()?;
        match self.store.rehash(&self.directory, login, old, &new).await {
            Lookup::Found(()) => {
                self.content("rehash");
                let from = old.scheme().map_or("unknown", |scheme| scheme.name);
                tracing::info!(%login, from, "password hash renewed");
                Some(new)
            }
            Lookup::None => {
                tracing::debug!(%login, "password changed meanwhile; its hash stays");
                None
            }
            Lookup::Misconfigured(why) => {
                self.complain("rehash", &why);
                // Not to be tried again at every login; verifiers can be made all the same.
                Some(old.clone())
            }
            Lookup::Unavailable(why) => {
                tracing::debug!(%login, %why, "password hash not renewed");
                None
            }
        }
    }

    /// Whether all is there now, or cannot be.
    async fn make_verifiers(&self, login: &Address, hash: &StoredHash, password: &Secret) -> bool {
        let there = match self.store.scram_mechanisms(login, hash).await {
            Lookup::Found(there) => there,
            Lookup::Misconfigured(why) => {
                self.complain("scram-verifiers", &why);
                return true;
            }
            _ => return false,
        };
        for kind in self.kinds_wanted().into_iter().filter(|kind| !there.contains(kind)) {
            let given = password.clone();
            let Some(made) = self.hasher.work(SMALL, move || ScramVerifier::new(kind, given.expose())).await
            else {
                return false;
            };
            // A password that SASLprep forbids has none.
            let Some(verifier) = made else { continue };
            match self.store.keep_scram_verifier(login, kind, &verifier, hash).await {
                Lookup::Misconfigured(why) => self.complain("scram-verifiers", &why),
                Lookup::Unavailable(_) => return false,
                _ => {
                    self.content("scram-verifiers");
                    tracing::debug!(%login, mechanism = kind.name(), "verifier made");
                }
            }
        }
        true
    }

    /// What is offered; the better one while nothing is.
    fn kinds_wanted(&self) -> Vec<ScramHash> {
        let live = self.live.load();
        let is_offered =
            |kind: &ScramHash| live.settings.offered().any(|mechanism| mechanism.name == kind.name());
        let kinds: Vec<ScramHash> = ScramHash::ALL.into_iter().filter(is_offered).collect();
        if kinds.is_empty() { vec![ScramHash::Sha256] } else { kinds }
    }
}

/// How many passwords wait, in memory that is wiped after.
const QUEUE: usize = 64;
/// How many hashes are known to be looked after.
const DONE: u64 = 100_000;
/// After which time they are looked at again: somebody may have emptied the table.
const AGAIN: Duration = Duration::from_secs(3600);
/// How soon a schema that was installed meanwhile is noticed.
const READINESS: Duration = Duration::from_secs(2);
/// When verifiers of former passwords are first forgotten, and then.
const FIRST_SWEEP: Duration = Duration::from_secs(600);
const SWEEP: Duration = Duration::from_secs(86_400);
/// KiB that a new hash takes.
const NEW_HASH: u32 = 65_536;
/// KiB that a verifier takes.
const SMALL: u32 = 8;
