//! Against guessing: a growing delay, then "try later", and the state of it shared by all hosts.
//!
//! Before a password is looked at, its attempt is counted ([`crate::guesses`]); beyond a limit it is not looked at any more, which
//! says nothing about it; app passwords, which nobody guesses, still are. Where the login has logged in before, only guesses from there count: strangers cannot lock anybody out of
//! his own place. What was wrong is written down ([`crate::journal`]) and heard by the other hosts within a second (NOTIFY), or within
//! [`MERGE`] where nothing announces. While the database is away, each host counts alone.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::config::{Network, Seconds, Secret};
use gatepost::directory::Lookup;
use gatepost::mail::Address;
use gatepost::store::Store;
use gatepost::store::logins::{Guess, MasterLogin};
use gatepost::telemetry::printable;
use serde::Deserialize;

use crate::admission::Service;
use crate::guesses::{Attempt, Guesses, Known, Limits, Shares, places};
use crate::journal::Journal;
use crate::verdict::Refusal;

/// `[dovecot-auth.guessing]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Guessing {
    /// After how many different wrong passwords within `window` a login is told to try later; 0 never. The same wrong password again counts
    /// once; where the login has logged in before, only guesses from there count.
    pub user: u32,
    /// The same for all logins together from one address.
    pub address: u32,
    /// The same from one network (/24, /64).
    pub network: u32,
    /// How long a wrong password counts.
    pub window: Seconds,
    /// Networks whose addresses and networks are never counted, such as those of a web mailer; their logins still are.
    pub trusted_networks: Vec<Network>,
}

impl Default for Guessing {
    fn default() -> Self {
        let loopback = [([127, 0, 0, 0].into(), 8), (std::net::Ipv6Addr::LOCALHOST.into(), 128)];
        Self {
            user: 20,
            address: 30,
            network: 100,
            window: Seconds::new(3600),
            trusted_networks: loopback.map(|(address, prefix)| Network::around(address, prefix)).to_vec(),
        }
    }
}

impl Guessing {
    fn limits(&self) -> Limits {
        Limits { user: self.user, address: self.address, network: self.network, window: self.window.0 }
    }

    fn trusts(&self, address: Option<IpAddr>) -> bool {
        address.is_some_and(|address| self.trusted_networks.iter().any(|network| network.contains(address)))
    }

    /// What the types alone cannot say.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.window.0 < SHORTEST_WINDOW || self.window.0 > LONGEST_WINDOW {
            return Err(format!("guessing.window = \"{}\" is out of range, expected 1m to 7d", self.window));
        }
        Ok(())
    }
}

/// How far a reading came.
enum Merged {
    All,
    More,
    Nothing,
}

/// The guard of one process.
pub(crate) struct Guard {
    store: Store,
    guesses: Guesses,
    journal: Journal,
    /// How far the tables were read: `noted_at`, and the last unblock.
    read: Mutex<(f64, i64)>,
}

/// One attempt under way. One that nobody waits for to the end counts as wrong: hanging up saves no guess.
pub(crate) struct Trial<'a> {
    guesses: &'a Guesses,
    settled: bool,
    attempt: Attempt,
    login: String,
    address: Option<IpAddr>,
    guess: u64,
    /// How close the limits are; above 1.0 the password is not to be looked at.
    share: f64,
}

/// How a login got in.
pub(crate) struct Entrance<'a> {
    pub(crate) login: &'a Address,
    pub(crate) service: Service,
    pub(crate) address: Option<IpAddr>,
    pub(crate) mechanism: &'a str,
    pub(crate) client: &'a str,
    pub(crate) app_password: Option<&'a (i64, String)>,
    pub(crate) master: Option<&'a Address>,
}

impl Guard {
    pub(crate) fn new(store: &Store) -> Self {
        Self {
            store: store.clone(),
            guesses: Guesses::default(),
            journal: Journal::new(),
            read: Mutex::default(),
        }
    }

    /// The number that stands for a login and a password. What has no password that could be told from another (SCRAM's proofs differ
    /// each time) is a new guess each time: a random number.
    pub(crate) fn guess(&self, login: &str, password: &Secret) -> u64 {
        self.guesses.guess(login, password)
    }

    /// Counts an attempt of that login (folded, or as typed).
    pub(crate) async fn begin(
        &self,
        settings: &Guessing,
        login: &str,
        address: Option<IpAddr>,
        guess: u64,
    ) -> Trial<'_> {
        let (trusted, limits, begun) = (settings.trusts(address), settings.limits(), Instant::now());
        loop {
            // Before it is counted, so that nothing that is settled then is missed.
            let others = self.guesses.settled();
            let attempt = self.guesses.attempt(login, address, trusted, guess, limits);
            // From here on it is settled whatever happens: whoever asks may go while the database is asked.
            let mut trial = Trial {
                guesses: &self.guesses,
                settled: false,
                attempt,
                login: login.to_owned(),
                address,
                guess,
                share: 0.0,
            };
            let known = self.known(login, address, &attempt).await;
            trial.share = nearest(known, &attempt.shares);
            // Many who come at once, from behind one address, say, are no guesses until they are wrong: whoever comes last waits for them.
            if trial.share <= 1.0 || nearest(known, &attempt.certain) > 1.0 {
                return trial;
            }
            trial.settled = true;
            self.guesses.withdraw(&attempt);
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() || Box::pin(tokio::time::timeout(left, others)).await.is_err() {
                trial.attempt = self.guesses.attempt(login, address, trusted, guess, limits);
                trial.settled = false;
                return trial;
            }
        }
    }

    /// Whether the login has logged in from there before; the database is asked only if it matters. `None` where nobody can say.
    async fn known(&self, login: &str, address: Option<IpAddr>, attempt: &Attempt) -> Option<Known> {
        let Some(places) = address.map(places) else { return Some(Known::default()) };
        let here = attempt.known();
        let known_here = Known { address: here[0] == Some(true), network: here[1] == Some(true) };
        if attempt.share() <= 1.0 || here.iter().all(Option::is_some) || known_here.address {
            return Some(known_here);
        }
        // Boxed, for it is seldom asked and takes room in every login's future.
        match Box::pin(self.store.known_networks(login, &places)).await {
            Lookup::Found(known) => {
                let answers = places
                    .map(|place| (place, known.contains(&place) || known_here.network && place == places[1]));
                self.guesses.note_known(login, &mut answers.to_vec());
                let [address, network] = answers.map(|(_, is_known)| is_known);
                Some(Known { address, network })
            }
            Lookup::Unavailable(_) => (known_here.network).then_some(known_here),
            // Without the tables only what was seen here is known.
            Lookup::None | Lookup::Misconfigured(_) => {
                let unknown = places.into_iter().zip(here).filter(|(_, known)| known.is_none());
                self.guesses.note_known(login, &mut unknown.map(|(place, _)| (place, false)).collect());
                Some(known_here)
            }
        }
    }

    /// The password was not looked at.
    pub(crate) fn give_up(&self, trial: &mut Trial<'_>) {
        trial.settled = true;
        self.guesses.take_back(&trial.attempt);
    }

    /// The password was wrong, or that is what the client is told.
    pub(crate) fn was_wrong(&self, trial: &mut Trial<'_>, service: &str, refusal: Refusal) {
        trial.settled = true;
        self.guesses.confirm(&trial.attempt);
        let login = trial.login.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
        self.journal.guess(Guess {
            login,
            address: trial.address,
            guess: trial.guess,
            service: printable(service.as_bytes(), SERVICE_SHOWN),
            result: refusal.word(),
            times: 1,
            ago: Duration::ZERO,
        });
    }

    /// The password was right.
    pub(crate) fn was_right(&self, trial: &mut Trial<'_>) {
        trial.settled = true;
        self.guesses.was_right(&trial.attempt);
    }

    /// A login got in: that is written down.
    pub(crate) fn entered(&self, entrance: &Entrance<'_>) {
        let Entrance { login, service, address, master, .. } = *entrance;
        if let Some(master) = master {
            let service = service.word().to_owned();
            let (master, login, ago) = (master.to_string(), login.to_string(), Duration::ZERO);
            self.journal.master(MasterLogin { master, login, service, ago, address });
            return;
        }
        let login = login.to_string();
        let mut networks: Vec<(Network, bool)> =
            address.map(places).into_iter().flatten().map(|place| (place, true)).collect();
        networks.dedup();
        // As often as the table wants to hear it.
        self.guesses.note_known(&login, &mut networks);
        self.journal.login(&login, entrance, networks.into_iter().map(|(network, _)| network));
    }

    /// How long after its beginning a wrong attempt is answered: from `base` on, growing to [`LONGEST_DELAY`] as the nearest limit comes
    /// near. `base` of 0 is none at all.
    pub(crate) fn delay(trial: &Trial<'_>, base: Duration) -> Duration {
        if base.is_zero() {
            return base;
        }
        base + LONGEST_DELAY.saturating_sub(base).mul_f64(trial.share.clamp(0.0, 1.0))
    }

    /// How many guesses are remembered, and how many lines wait to be written.
    pub(crate) fn figures(&self) -> (usize, usize) {
        (self.guesses.len(), self.journal.waiting())
    }

    /// Writes and reads for as long as the process lives.
    pub(crate) async fn keep(&self, settings: impl Fn() -> Guessing) {
        let merging = async {
            loop {
                match self.merge(&settings()).await {
                    Merged::More => {}
                    Merged::All => {
                        let _ = tokio::time::timeout(MERGE, self.store.guesses_changed()).await;
                    }
                    // No tables, or no right to them: not the database's log, too, is to be filled.
                    Merged::Nothing => tokio::time::sleep(WITHOUT_TABLES).await,
                }
            }
        };
        let forgetting = async {
            loop {
                tokio::time::sleep(FORGET).await;
                if let Lookup::Misconfigured(why) = self.store.forget_logins().await {
                    tracing::debug!(%why, "old logins are not forgotten");
                }
            }
        };
        tokio::join!(self.journal.keep(&self.store), merging, forgetting);
    }

    /// Writes down what must not be lost.
    pub(crate) async fn finish(&self) {
        self.journal.write(&self.store).await;
    }

    /// Hears what other hosts heard.
    async fn merge(&self, settings: &Guessing) -> Merged {
        let (since, last) = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        // First what is to be forgotten: what came after it counts again.
        let unblocks = match self.store.unblocks(last).await {
            Lookup::Found(unblocks) => unblocks,
            Lookup::Misconfigured(_) => return Merged::Nothing,
            Lookup::None | Lookup::Unavailable(_) => return Merged::All,
        };
        for (_, key) in &unblocks {
            let count = self.guesses.forget(key);
            tracing::info!(%key, count, "wrong passwords forgotten");
        }
        let last = unblocks.last().map_or(last, |(id, _)| *id);
        // A transaction that began earlier may be seen later.
        let from = (since - OVERLAP.as_secs_f64()).max(0.0);
        let heard = self.store.guesses(self.journal.source(), from, settings.window.0).await.found();
        let heard = heard.unwrap_or_default();
        for guess in &heard {
            let trusted = settings.trusts(guess.address);
            self.guesses.heard(&guess.login, guess.address, trusted, guess.guess, guess.ago);
        }
        let newest = heard.iter().map(|guess| guess.noted_at).fold(since, f64::max);
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = (newest, last);
        if heard.len() >= FULL && newest > since { Merged::More } else { Merged::All }
    }
}

/// The limit that counts, of those that an attempt comes close to.
fn nearest(known: Option<Known>, shares: &Shares) -> f64 {
    match known {
        Some(Known { address: true, .. }) => shares.own_address,
        Some(Known { network: true, .. }) => shares.own_network,
        Some(_) => shares.user.max(shares.place),
        // Nobody is locked out by strangers because nobody can say who is one; a whole place that guesses still is.
        None => shares.place.max(shares.own_network),
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        match (self.settled, std::thread::panicking()) {
            (true, _) => {}
            (false, false) => self.guesses.confirm(&self.attempt),
            // A bug of ours is nobody's guess.
            (false, true) => self.guesses.take_back(&self.attempt),
        }
    }
}

impl Trial<'_> {
    /// Whether this password was not tried for this login before.
    pub(crate) fn is_new(&self) -> bool {
        self.attempt.is_new()
    }

    /// Whether there were too many wrong passwords to look at another.
    pub(crate) fn is_too_much(&self) -> bool {
        self.share > 1.0
    }
}

/// Of the 8 s that a login may take (`verdict`), of the 10 s that Postfix waits.
const LONGEST_DELAY: Duration = Duration::from_secs(7);
/// How long an attempt waits for others that are under way; hashing has the rest of the 8 s.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often the tables are read where nothing announces that they changed.
const MERGE: Duration = Duration::from_secs(5);
/// How long nothing is read or written where there are no tables.
pub(crate) const WITHOUT_TABLES: Duration = Duration::from_secs(60);
/// How often old rows are looked for.
const FORGET: Duration = Duration::from_secs(3600);
/// Longer than a batch takes to be committed.
const OVERLAP: Duration = Duration::from_secs(5);
/// As many as `guesses.sql` gives at once.
const FULL: usize = 10_000;
const SHORTEST_WINDOW: Duration = Duration::from_secs(60);
const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 86_400);
/// How many characters of a peer's text are written down.
const SHOWN: usize = 320;
const SERVICE_SHOWN: usize = 32;

#[cfg(test)]
mod tests;
