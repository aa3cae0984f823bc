//! Who logged in from where, and who tried: `gatepost.last_logins`, `known_networks`, `app_password_uses`, `master_logins` and
//! `login_guesses`. Written in batches, well after the logins themselves; how long ago each was is told in seconds, so that only the
//! database's clock counts.

use std::net::IpAddr;
use std::time::Duration;

use super::Store;
use crate::config::Network;
use crate::database::Trouble;
use crate::directory::{Class, Lookup};
use crate::mail::Address;

/// One login that succeeded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastLogin {
    /// Whose, folded.
    pub login: String,
    /// imap, pop3, submission, sieve.
    pub service: String,
    /// How long ago.
    pub ago: Duration,
    /// From where.
    pub address: Option<IpAddr>,
    /// The SASL mechanism.
    pub mechanism: String,
    /// What the program calls itself; empty if it does not say.
    pub client: String,
    /// The app password's label; empty for the main password.
    pub app_password: String,
}

/// One login of a master as somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterLogin {
    /// Who it was.
    pub master: String,
    /// As whom.
    pub login: String,
    /// Where.
    pub service: String,
    /// How long ago.
    pub ago: Duration,
    /// From where.
    pub address: Option<IpAddr>,
}

/// One wrong password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// For which login, as typed but folded; at most 320 characters.
    pub login: String,
    /// From where.
    pub address: Option<IpAddr>,
    /// Its MAC.
    pub guess: u64,
    /// At which service, the last time.
    pub service: String,
    /// Why it was refused, the last time.
    pub result: &'static str,
    /// How often.
    pub times: u64,
    /// How long ago the last time was.
    pub ago: Duration,
}

/// One wrong password that another daemon has heard.
#[derive(Clone, Debug, PartialEq)]
pub struct HeardGuess {
    /// For which login.
    pub login: String,
    /// From where.
    pub address: Option<IpAddr>,
    /// Its MAC, under another key than ours.
    pub guess: u64,
    /// How long ago.
    pub ago: Duration,
    /// When it was written down, in seconds since 1970 by the database's clock.
    pub noted_at: f64,
}

impl Store {
    /// Writes the last logins down.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was written.
    pub async fn note_logins(&self, logins: &[LastLogin]) -> Result<(), Trouble> {
        let each = |part: fn(&LastLogin) -> String| logins.iter().map(part).collect::<Vec<_>>();
        let query = sqlx::query(include_str!("queries/note_logins.sql"))
            .bind(each(|login| login.login.clone()))
            .bind(each(|login| login.service.clone()))
            .bind(logins.iter().map(|login| login.ago.as_secs_f64()).collect::<Vec<_>>())
            .bind(logins.iter().map(|login| text(login.address)).collect::<Vec<_>>())
            .bind(each(|login| login.mechanism.clone()))
            .bind(each(|login| login.client.clone()))
            .bind(each(|login| login.app_password.clone()));
        let database = &self.0.database;
        database.ask(query.execute(database.pool())).await.map(drop)
    }

    /// Writes down where logins log in from: login, network, how long ago.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was written.
    pub async fn note_networks(&self, networks: &[(String, Network, Duration)]) -> Result<(), Trouble> {
        let query = sqlx::query(include_str!("queries/note_networks.sql"))
            .bind(networks.iter().map(|(login, ..)| login.clone()).collect::<Vec<_>>())
            .bind(networks.iter().map(|(_, network, _)| network.to_string()).collect::<Vec<_>>())
            .bind(networks.iter().map(|(.., ago)| ago.as_secs_f64()).collect::<Vec<_>>());
        let database = &self.0.database;
        database.ask(query.execute(database.pool())).await.map(drop)
    }

    /// Writes down when app passwords were used: number, how long ago, from where, at which service.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was written.
    pub async fn note_app_passwords(
        &self,
        uses: &[(i64, Duration, Option<IpAddr>, String)],
    ) -> Result<(), Trouble> {
        let query = sqlx::query(include_str!("queries/note_app_passwords.sql"))
            .bind(uses.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
            .bind(uses.iter().map(|(_, ago, ..)| ago.as_secs_f64()).collect::<Vec<_>>())
            .bind(uses.iter().map(|(_, _, address, _)| text(*address)).collect::<Vec<_>>())
            .bind(uses.iter().map(|(.., service)| service.clone()).collect::<Vec<_>>());
        let database = &self.0.database;
        database.ask(query.execute(database.pool())).await.map(drop)
    }

    /// Writes masters' logins down.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was written.
    pub async fn note_masters(&self, logins: &[MasterLogin]) -> Result<(), Trouble> {
        let each = |part: fn(&MasterLogin) -> String| logins.iter().map(part).collect::<Vec<_>>();
        let query = sqlx::query(include_str!("queries/note_masters.sql"))
            .bind(each(|login| login.master.clone()))
            .bind(each(|login| login.login.clone()))
            .bind(each(|login| login.service.clone()))
            .bind(logins.iter().map(|login| login.ago.as_secs_f64()).collect::<Vec<_>>())
            .bind(logins.iter().map(|login| text(login.address)).collect::<Vec<_>>());
        let database = &self.0.database;
        database.ask(query.execute(database.pool())).await.map(drop)
    }

    /// Writes wrong passwords down and tells the other daemons. `source` is this process'.
    ///
    /// # Errors
    /// [`Trouble`]; nothing was written.
    pub async fn note_guesses(&self, source: u64, guesses: &[Guess]) -> Result<(), Trouble> {
        let each = |part: fn(&Guess) -> String| guesses.iter().map(part).collect::<Vec<_>>();
        let query = sqlx::query(include_str!("queries/note_guesses.sql"))
            .bind(source.cast_signed())
            .bind(each(|guess| guess.login.clone()))
            .bind(each(|guess| text(guess.address).unwrap_or_else(|| NOWHERE.to_owned())))
            .bind(guesses.iter().map(|guess| guess.guess.cast_signed()).collect::<Vec<_>>())
            .bind(each(|guess| guess.service.clone()))
            .bind(each(|guess| guess.result.to_owned()))
            .bind(guesses.iter().map(|guess| guess.times.cast_signed()).collect::<Vec<_>>())
            .bind(guesses.iter().map(|guess| guess.ago.as_secs_f64()).collect::<Vec<_>>());
        let database = &self.0.database;
        database.ask(query.execute(database.pool())).await.map(drop)
    }

    /// Wrong passwords of the last `window` that other processes wrote down after `since` (seconds since 1970); at most 10,000.
    pub async fn guesses(&self, source: u64, since: f64, window: Duration) -> Lookup<Vec<HeardGuess>> {
        type Row = (String, String, i64, f64, f64);
        let query = sqlx::query_as::<_, Row>(include_str!("queries/guesses.sql"))
            .bind(since)
            .bind(window.as_secs_f64())
            .bind(source.cast_signed());
        let database = &self.0.database;
        let rows = database.ask(query.fetch_all(database.pool())).await;
        Lookup::from(rows.map(Some)).map(|rows| {
            let heard = |(login, address, guess, ago, noted_at): Row| HeardGuess {
                login,
                address: address.parse().ok().filter(|address: &IpAddr| !address.is_unspecified()),
                guess: guess.cast_unsigned(),
                ago: Duration::try_from_secs_f64(ago.max(0.0)).unwrap_or_default(),
                noted_at,
            };
            rows.into_iter().map(heard).collect()
        })
    }

    /// Whose wrong passwords are to be forgotten, after the one numbered `last`: number and login, address or network.
    pub async fn unblocks(&self, last: i64) -> Lookup<Vec<(i64, String)>> {
        let query = sqlx::query_as(include_str!("queries/unblocks.sql")).bind(last);
        let database = &self.0.database;
        Lookup::from(database.ask(query.fetch_all(database.pool())).await.map(Some))
    }

    /// Which of these networks a login has logged in from before.
    pub async fn known_networks(&self, login: &str, networks: &[Network]) -> Lookup<Vec<Network>> {
        let query = sqlx::query_as::<_, (String,)>(include_str!("queries/is_known.sql"))
            .bind(login.to_owned())
            .bind(networks.iter().map(Network::to_string).collect::<Vec<_>>());
        let database = &self.0.database;
        let rows = database.ask(query.fetch_all(database.pool())).await;
        Lookup::from(rows.map(Some))
            .map(|rows| rows.iter().filter_map(|(network,)| network.parse().ok()).collect())
    }

    /// Forgets what is old, and lets the app passwords of users that are gone expire. Call it now and then.
    pub async fn forget_logins(&self) -> Lookup<()> {
        let query = sqlx::query(include_str!("queries/forget_logins.sql"));
        let database = &self.0.database;
        match database.ask(query.execute(database.pool())).await {
            Ok(_) => Lookup::from(self.expire_app_passwords().await.map(Some)),
            Err(trouble) => trouble.into(),
        }
    }

    /// Only of whoever is certainly not there: a domain may stand in the database in another form than in a login.
    async fn expire_app_passwords(&self) -> Result<(), Trouble> {
        let database = &self.0.database;
        let mut last = String::new();
        loop {
            let query = sqlx::query_scalar::<_, String>(include_str!("queries/app_passwords_of_nobody.sql"))
                .bind(last)
                .bind(PAGE);
            let logins = database.ask(query.fetch_all(database.pool())).await?;
            let Some(end) = logins.last() else { return Ok(()) };
            last = end.clone();
            let mut gone = Vec::new();
            for login in logins {
                let is_gone = match Address::parse(&login) {
                    Ok(address) => self.0.directory.mailbox(&address).await.is_none(),
                    Err(_) => true,
                };
                gone.extend(is_gone.then_some(login));
            }
            if !gone.is_empty() {
                let query = sqlx::query(include_str!("queries/expire_app_passwords.sql")).bind(gone);
                database.ask(query.execute(database.pool())).await?;
            }
        }
    }

    /// Waits until another daemon may have written wrong passwords down; for one follower.
    pub async fn guesses_changed(&self) {
        self.0.freshness.changed(Class::Guesses).await;
    }
}

fn text(address: Option<IpAddr>) -> Option<String> {
    address.map(|address| address.to_canonical().to_string())
}

/// Logins that are looked at together.
const PAGE: i64 = 500;
/// An address that nobody logs in from.
const NOWHERE: &str = "0.0.0.0";
