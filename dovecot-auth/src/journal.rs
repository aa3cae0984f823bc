//! What is to be written down about logins, until it is: last logins, networks, app passwords, masters, wrong passwords.
//!
//! Off the login path: a login puts a line here and goes on. One task writes batches; while the database is away they wait here, each
//! login and service once. Guesses are written within [`BATCH`], because other hosts wait for them; who logged in when is written at once too
//! while little happens, and then every [`PAUSE`] at the most: web mail that logs in at every click is one line for many clicks. Refuses to grow without bound: beyond [`MOST`] of a kind new ones are left out, and the log says so once.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use gatepost::config::Network;
use gatepost::database::Trouble;
use gatepost::store::Store;
use gatepost::store::logins::{Guess, LastLogin, MasterLogin};
use tokio::sync::Notify;

use crate::guard::{Entrance, WITHOUT_TABLES};

/// The journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// What marks our guesses among those of others.
    source: u64,
    pending: Mutex<Pending>,
    wake: Notify,
    said: Mutex<Option<String>>,
}

#[derive(Debug, Default)]
struct Pending {
    /// By login, the last at each service.
    logins: HashMap<String, Vec<(Instant, LastLogin)>>,
    networks: HashMap<(String, Network), Instant>,
    app_passwords: HashMap<i64, (Instant, Option<IpAddr>, String)>,
    masters: Vec<(Instant, MasterLogin)>,
    guesses: HashMap<(String, Option<IpAddr>, u64), (Instant, Guess)>,
    full: bool,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    All,
    /// The database is away: it waits.
    Later,
    /// There are no tables, or no right to them: it is lost, and the operator told once.
    Never,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Self {
            source: rand::random(),
            pending: Mutex::default(),
            wake: Notify::new(),
            said: Mutex::default(),
        }
    }

    pub(crate) fn source(&self) -> u64 {
        self.source
    }

    /// A login succeeded, from these networks of its own.
    pub(crate) fn login(
        &self,
        login: &str,
        entrance: &Entrance<'_>,
        networks: impl Iterator<Item = Network>,
    ) {
        let now = Instant::now();
        self.note(|pending| {
            for network in networks {
                put(&mut pending.networks, &mut pending.full, (login.to_owned(), network), now);
            }
            if let Some((id, _)) = entrance.app_password {
                let used = (now, entrance.address, entrance.service.word().to_owned());
                put(&mut pending.app_passwords, &mut pending.full, *id, used);
            }
            match pending.logins.get_mut(login) {
                Some(known) => note_last(known, now, login, entrance),
                None => {
                    let mut first = Vec::with_capacity(1);
                    note_last(&mut first, now, login, entrance);
                    put(&mut pending.logins, &mut pending.full, login.to_owned(), first);
                }
            }
        });
    }

    /// A master logged in as somebody else.
    pub(crate) fn master(&self, login: MasterLogin) {
        self.note(|pending| {
            if pending.masters.len() < MOST {
                pending.masters.push((Instant::now(), login));
            } else {
                pending.full = true;
            }
        });
    }

    /// A password was wrong.
    pub(crate) fn guess(&self, guess: Guess) {
        self.note(|pending| {
            let key = (guess.login.clone(), guess.address, guess.guess);
            match pending.guesses.get_mut(&key) {
                Some((at, known)) => {
                    *at = Instant::now();
                    known.times += guess.times;
                }
                None => put(&mut pending.guesses, &mut pending.full, key, (Instant::now(), guess)),
            }
        });
    }

    /// How many lines wait.
    pub(crate) fn waiting(&self) -> usize {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.logins.len() + pending.masters.len() + pending.guesses.len()
    }

    /// Writes for as long as the process lives.
    pub(crate) async fn keep(&self, store: &Store) {
        let mut due = tokio::time::Instant::now();
        loop {
            tokio::select! {
                () = self.wake.notified() => tokio::time::sleep(BATCH).await,
                () = tokio::time::sleep_until(due), if self.holds_logins() => {}
            }
            // A crowd that logs in again and again is to be one line for each, not one for each time there is no room.
            let all = tokio::time::Instant::now() >= due || self.waiting() > MOST * 3 / 4;
            loop {
                match self.write_some(store, all).await {
                    Written::All => break,
                    Written::Later => tokio::time::sleep(RETRY).await,
                    Written::Never => {
                        tokio::time::sleep(WITHOUT_TABLES).await;
                        break;
                    }
                }
            }
            if all {
                due = tokio::time::Instant::now() + PAUSE;
            }
        }
    }

    /// Writes what is there, as far as it can be.
    pub(crate) async fn write(&self, store: &Store) -> Written {
        self.write_some(store, true).await
    }

    /// The same, without who logged in when unless it is to be `all`.
    async fn write_some(&self, store: &Store, all: bool) -> Written {
        let mut taken = Taken { journal: self, pending: self.take(all) };
        if taken.pending.full {
            tracing::warn!(
                "more logins than can be written down; the last ones of some users will be missing"
            );
        }
        let written = self.write_all(store, &mut taken.pending).await;
        match written {
            Ok(()) => Written::All,
            Err(Trouble::Away(_)) => Written::Later,
            Err(trouble) => {
                taken.pending = Pending::default();
                let why = trouble.to_string();
                let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.as_deref() != Some(&why) {
                    tracing::warn!(%why, "logins are not written down");
                    *said = Some(why);
                }
                Written::Never
            }
        }
    }

    fn take(&self, all: bool) -> Pending {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        if all {
            return std::mem::take(&mut *pending);
        }
        let (masters, guesses) = (std::mem::take(&mut pending.masters), std::mem::take(&mut pending.guesses));
        Pending { masters, guesses, full: std::mem::take(&mut pending.full), ..Pending::default() }
    }

    fn holds_logins(&self) -> bool {
        let pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        !(pending.logins.is_empty() && pending.networks.is_empty() && pending.app_passwords.is_empty())
    }

    /// Takes out of `pending` what is written, and not before: the writer may be told to end at any moment.
    async fn write_all(&self, store: &Store, pending: &mut Pending) -> Result<(), Trouble> {
        // The wrong passwords first: other hosts wait for them.
        let guesses =
            values(&pending.guesses, |at, guess: &Guess| Guess { ago: at.elapsed(), ..guess.clone() });
        if !guesses.is_empty() {
            store.note_guesses(self.source, &guesses).await?;
            pending.guesses.clear();
        }
        let masters: Vec<MasterLogin> = pending
            .masters
            .iter()
            .map(|(at, login)| MasterLogin { ago: at.elapsed(), ..login.clone() })
            .collect();
        if !masters.is_empty() {
            store.note_masters(&masters).await?;
            pending.masters.clear();
        }
        let last = |(at, login): &(Instant, LastLogin)| LastLogin { ago: at.elapsed(), ..login.clone() };
        while !pending.logins.is_empty() {
            let some: Vec<String> = pending.logins.keys().take(AT_ONCE).cloned().collect();
            let rows: Vec<LastLogin> =
                some.iter().filter_map(|login| pending.logins.get(login)).flatten().map(last).collect();
            store.note_logins(&rows).await?;
            some.iter().for_each(|login| drop(pending.logins.remove(login)));
        }
        while !pending.networks.is_empty() {
            let row = |((login, network), at): (&(String, Network), &Instant)| {
                (login.clone(), *network, at.elapsed())
            };
            let rows: Vec<_> = pending.networks.iter().take(AT_ONCE).map(row).collect();
            store.note_networks(&rows).await?;
            for (login, network, _) in rows {
                pending.networks.remove(&(login, network));
            }
        }
        let uses: Vec<(i64, Duration, Option<IpAddr>, String)> = pending
            .app_passwords
            .iter()
            .map(|(id, (at, address, service))| (*id, at.elapsed(), *address, service.clone()))
            .collect();
        if !uses.is_empty() {
            store.note_app_passwords(&uses).await?;
            pending.app_passwords.clear();
        }
        Ok(())
    }

    fn note(&self, change: impl FnOnce(&mut Pending)) {
        change(&mut self.pending.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// What came meanwhile is newer and stays.
    fn put_back(&self, old: Pending) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let Pending { logins, networks, app_passwords, masters, guesses, .. } = old;
        let mut full = false;
        for (login, services) in logins {
            let room = pending.logins.len() < MOST;
            match pending.logins.get_mut(&login) {
                Some(known) => {
                    let newer: Vec<String> = known.iter().map(|(_, last)| last.service.clone()).collect();
                    known.extend(services.into_iter().filter(|(_, last)| !newer.contains(&last.service)));
                }
                None if room => drop(pending.logins.insert(login, services)),
                None => {}
            }
        }
        restore(&mut pending.networks, networks);
        restore(&mut pending.app_passwords, app_passwords);
        for (key, (at, guess)) in guesses {
            match pending.guesses.get_mut(&key) {
                Some((_, known)) => known.times += guess.times,
                None => put(&mut pending.guesses, &mut full, key, (at, guess)),
            }
        }
        pending.masters.splice(0..0, masters);
        pending.masters.truncate(MOST);
        pending.full |= full;
    }
}

/// What is being written. What is not written when this goes, be it that the writer is told to end, waits again.
struct Taken<'a> {
    journal: &'a Journal,
    pending: Pending,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.journal.put_back(std::mem::take(&mut self.pending));
    }
}

/// Web mail that logs in at every click changes what is there, and takes no memory for it.
fn note_last(known: &mut Vec<(Instant, LastLogin)>, now: Instant, login: &str, entrance: &Entrance<'_>) {
    let service = entrance.service.word();
    let place = known.iter().position(|(_, last)| last.service == service).unwrap_or_else(|| {
        let (login, service) = (login.to_owned(), service.to_owned());
        known.push((now, LastLogin { login, service, ..LastLogin::default() }));
        known.len() - 1
    });
    let (at, last) = &mut known[place];
    (*at, last.address) = (now, entrance.address);
    let label = entrance.app_password.map(|(_, label)| label.as_str()).unwrap_or_default();
    for (text, now) in [
        (&mut last.mechanism, entrance.mechanism),
        (&mut last.client, entrance.client),
        (&mut last.app_password, label),
    ] {
        text.clear();
        text.extend(now.chars().filter(|c| !c.is_control()).take(SHOWN));
    }
}

fn put<K: Hash + Eq, V>(map: &mut HashMap<K, V>, full: &mut bool, key: K, value: V) {
    if map.len() < MOST || map.contains_key(&key) {
        map.insert(key, value);
    } else {
        *full = true;
    }
}

fn restore<K: Hash + Eq, V>(map: &mut HashMap<K, V>, old: HashMap<K, V>) {
    for (key, value) in old {
        if map.len() < MOST {
            map.entry(key).or_insert(value);
        }
    }
}

fn values<K, V, T>(map: &HashMap<K, (Instant, V)>, make: impl Fn(&Instant, &V) -> T) -> Vec<T> {
    map.values().map(|(at, value)| make(at, value)).collect()
}

/// So long a batch is collected: the other hosts hear of a guess well within a second.
const BATCH: Duration = Duration::from_millis(300);
/// Between two batches of who logged in when.
const PAUSE: Duration = Duration::from_secs(10);
/// Before a batch that could not be written is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// How many characters of a peer's text are written down.
const SHOWN: usize = 200;
/// Lines of one kind that wait; some 300 bytes each.
const MOST: usize = 50_000;
/// Rows of one statement: what is written takes memory twice over.
const AT_ONCE: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::mail::Address;

    use super::*;
    use crate::admission::Service;

    fn guess(login: &str, guess: u64) -> Guess {
        let (login, service, ago) = (login.to_owned(), "imap".to_owned(), Duration::ZERO);
        Guess { login, address: None, guess, service, result: "wrong-password", times: 1, ago }
    }

    #[test]
    fn the_same_guess_is_one_line_and_lines_are_bounded() {
        let journal = Journal::new();
        (0..5).for_each(|_| journal.guess(guess("alice", 1)));
        assert_eq!(journal.waiting(), 1);
        assert_eq!(journal.pending.lock().unwrap().guesses.values().next().unwrap().1.times, 5);
        (0..MOST as u64 + 10).for_each(|number| journal.guess(guess("bob", number)));
        assert_eq!(journal.waiting(), MOST);
        assert!(journal.pending.lock().unwrap().full);
    }

    fn entrance<'a>(login: &'a Address, service: Service, client: &'a str) -> Entrance<'a> {
        let (mechanism, address) = ("PLAIN", "192.0.2.1".parse().ok());
        Entrance { login, service, address, mechanism, client, app_password: None, master: None }
    }

    #[test]
    fn a_login_is_one_line_for_each_service_and_the_last_one_counts() {
        let journal = Journal::new();
        let alice = Address::parse("alice@example.com").unwrap();
        let note = |service, client: &str| {
            journal.login("alice", &entrance(&alice, service, client), std::iter::empty());
        };
        let clients = |pending: &Pending| {
            let lines = pending.logins["alice"].iter();
            lines.map(|(_, last)| format!("{} {}", last.service, last.client)).collect::<Vec<_>>()
        };
        note(Service::Imap, "first\r\n");
        note(Service::Pop3, "old");
        note(Service::Imap, &"x".repeat(300));
        assert_eq!(
            clients(&journal.pending.lock().unwrap()),
            [format!("imap {}", "x".repeat(200)), "pop3 old".to_owned()]
        );
        // What could not be written is older than what came meanwhile.
        let old = std::mem::take(&mut *journal.pending.lock().unwrap());
        note(Service::Pop3, "new");
        journal.put_back(old);
        let pending = journal.pending.lock().unwrap();
        assert_eq!(clients(&pending), ["pop3 new".to_owned(), format!("imap {}", "x".repeat(200))]);
        assert!(
            pending.logins["alice"]
                .iter()
                .all(|(_, last)| last.mechanism == "PLAIN" && last.address.is_some())
        );
    }

    #[test]
    fn guesses_do_not_wait_for_logins() {
        let journal = Journal::new();
        let alice = Address::parse("alice@example.com").unwrap();
        journal.guess(guess("alice", 1));
        journal.login("alice", &entrance(&alice, Service::Imap, "a"), std::iter::empty());
        let taken = journal.take(false);
        assert_eq!((taken.guesses.len(), taken.logins.len()), (1, 0));
        assert!(journal.holds_logins());
        let taken = journal.take(true);
        assert_eq!((taken.guesses.len(), taken.logins.len()), (0, 1));
        assert!(!journal.holds_logins());
    }

    #[tokio::test]
    async fn what_is_being_written_when_the_daemon_ends_is_not_lost() {
        let (store, _silent) = crate::silent::store::<crate::config::Settings>();
        let journal = Journal::new();
        let alice = Address::parse("alice@example.com").unwrap();
        let network = "192.0.2.0/24".parse().unwrap();
        journal.guess(guess("alice", 1));
        journal.login("alice", &entrance(&alice, Service::Imap, "a"), std::iter::once(network));
        {
            let mut writing = std::pin::pin!(journal.write(&store));
            assert!(futures_util::poll!(writing.as_mut()).is_pending());
            assert_eq!(journal.waiting(), 0);
        }
        let pending = journal.pending.lock().unwrap();
        assert_eq!((pending.guesses.len(), pending.logins.len(), pending.networks.len()), (1, 1, 1));
    }

    #[test]
    fn what_could_not_be_written_waits_behind_what_is_newer() {
        let journal = Journal::new();
        journal.guess(guess("alice", 1));
        let old = std::mem::take(&mut *journal.pending.lock().unwrap());
        journal.guess(guess("alice", 1));
        journal.guess(guess("alice", 2));
        journal.put_back(old);
        let pending = journal.pending.lock().unwrap();
        assert_eq!(pending.guesses.values().map(|(_, guess)| guess.times).sum::<u64>(), 3);
    }
}
