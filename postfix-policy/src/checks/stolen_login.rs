//! `stolen-login`: notices that somebody else sends with a login, by what is usual for it.
//!
//! Belongs into `smtpd_data_restrictions` of the submission services; judges in DATA and END-OF-MESSAGE, once per message, and learns from every
//! message: recipients on an average day, networks and countries from which the login sends. In the state RCPT it counts what fails: recipients
//! of a login in hosted domains that do not exist, and bounces (the null sender) that come back to its mailbox.
//!
//! Signs of theft: many networks or countries within an hour that are new to the login; many recipients that fail; many times
//! what is usual, above a floor that a person's busy day stays below. A login is watched from its second day on; before, only failed
//! recipients count. What follows is the operator's choice: defer, hold, or lock the login in `gatepost.login_locks`, which the auth daemon
//! and `rate-limit` respect until `gatepost limits reset LOGIN`. The postmaster is told by mail once a day and login, by one of all hosts.

use std::net::SocketAddr;
use std::time::Duration;

use gatepost::config::Network;
use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::store::{Habits, Sending};
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::rate_limit::sending;
use super::recipient::behind;
use super::{CannotSay, Check, Circumstances, Opinion};
use crate::config::Mode;
use crate::protocol::policy::{Action, Request, State};

/// The check.
pub(super) const STOLEN_LOGIN: Check = Check {
    name: "stolen-login",
    restrictions: "smtpd_data_restrictions",
    summary: "notices by what is usual for a login that somebody else uses it: defers, holds or locks, and tells the postmaster",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.stolen-login]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Signs {
    /// How many new networks (/24, /64) within an hour are a sign; 0 none.
    pub networks: u64,
    /// How many new countries within an hour are a sign, where `country.database` is given; 0 none.
    pub countries: u64,
    /// How many failed recipients within an hour are a sign; 0 none.
    pub failed: u64,
    /// How many times the recipients of an average day are a sign; 0 none.
    pub times: f64,
    /// Below so many recipients a day nothing is unusual.
    pub floor: u64,
    /// What follows: `defer` (450), `hold` (into Postfix's hold queue) or `lock` (450, and the login is locked).
    pub action: Reaction,
    /// Who is told by mail; nobody if not given.
    pub postmaster: Option<String>,
    /// The Postfix that takes that mail.
    pub smtp: SocketAddr,
    /// How long one mail about a login is enough.
    pub tell_again: Seconds,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            networks: 8,
            countries: 3,
            failed: 50,
            times: 10.0,
            floor: 200,
            action: Reaction::Defer,
            postmaster: None,
            smtp: SocketAddr::from(([127, 0, 0, 1], 25)),
            tell_again: Seconds::new(86_400),
        }
    }
}

/// What follows from the signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// Refused for now; it passes when the signs have gone.
    Defer,
    /// Accepted into the hold queue, for the postmaster to look at.
    Hold,
    /// Refused for now, and so is everything of this login until it is unlocked.
    Lock,
}

impl Signs {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if let Some(postmaster) = &self.postmaster
            && let Err(error) = Address::parse(postmaster)
        {
            return Err(format!("stolen-login.postmaster = \"{postmaster}\": {error}"));
        }
        if !self.times.is_finite() || self.times < 0.0 {
            return Err(format!("stolen-login.times = {} is no factor, expected 0 or more", self.times));
        }
        Ok(())
    }

    /// The signs of theft in what is known of a login, for the operator.
    fn read(&self, habits: &Habits) -> Vec<String> {
        let mut signs = Vec::new();
        if self.failed > 0 && habits.failed >= self.failed {
            signs.push(format!("{} failed recipients within an hour", habits.failed));
        }
        // What is usual takes a day to learn.
        if habits.days < 1.0 {
            return signs;
        }
        if self.networks > 0 && habits.new_networks >= self.networks {
            signs.push(format!("{} new networks within an hour", habits.new_networks));
        }
        if self.countries > 0 && habits.new_countries >= self.countries {
            signs.push(format!("{} new countries within an hour", habits.new_countries));
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of mails")]
        let today = habits.today as f64;
        if self.times > 0.0 && habits.today > self.floor && today > self.times * habits.average.max(1.0) {
            signs.push(format!("{} recipients today, {:.0} on an average day", habits.today, habits.average));
        }
        signs
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(async move {
        match request.state {
            State::Rcpt => {
                note_failures(circumstances, request).await;
                Lookup::None
            }
            _ => watch(circumstances, request).await,
        }
    })
}

async fn watch(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let Circumstances { sources, config, memory, mode } = circumstances;
    let signs = &config.stolen_login;
    let Some((login, recipients)) = sending(memory, request) else { return Lookup::None };
    let client = request.client_address;
    let message = Sending { login: &login, client, instance: &request.instance, recipients };
    let network = client.map(|client| Network::neighbourhood(client).to_string());
    let country = client.and_then(|client| sources.places.country(&config.country, client).found());
    let habits = match sources.store.note_sending(message, network, country).await.settled() {
        Ok(Some(habits)) => habits,
        Ok(None) => return Lookup::None,
        Err(failure) => return failure,
    };
    if memory.cleared_habits.is_due()
        && let Lookup::Unavailable(why) | Lookup::Misconfigured(why) = sources.store.forget_habits().await
    {
        tracing::warn!(%why, "old habits not cleared away");
    }
    let found = signs.read(&habits);
    if found.is_empty() {
        return Lookup::None;
    }
    let reason = found.join(", ");
    tracing::warn!(
        queue_id = %printable(request.queue_id.as_bytes(), 40), %login, %reason, client = ?client, action = ?signs.action, ?mode,
        "somebody else may be using this login"
    );
    if signs.action == Reaction::Lock && mode != Mode::LogOnly {
        match sources.store.lock_login(&login, &reason).await.settled::<()>() {
            Ok(_) => {}
            Err(Lookup::Unavailable(why) | Lookup::Misconfigured(why)) => {
                tracing::error!(%login, %why, "the login could not be locked")
            }
            Err(_) => {}
        }
    }
    tell(circumstances, &login, &reason, client.map(|client| client.to_string()));
    let text = "Unusual sending from this login; ask your postmaster";
    Lookup::Found(match signs.action {
        Reaction::Hold => Action::Hold(SmtpReply::new(250, "2.0.0", format!("{login}: {reason}"))),
        Reaction::Defer | Reaction::Lock => Action::DeferIfPermit(SmtpReply::new(450, "4.7.1", text)),
    })
}

/// Failures are counted aside; the recipient's own fate is other checks' affair.
async fn note_failures(circumstances: Circumstances<'_>, request: &Request) {
    let sources = circumstances.sources;
    let Ok(recipient) = Address::parse(&request.recipient) else { return };
    if !sources.directory.hosts(recipient.domain()).await.is_found() {
        return;
    }
    let failed = match (request.login.is_empty(), behind(circumstances, &request.recipient).await) {
        // A recipient that is not here.
        (false, Lookup::None) => Address::parse(&request.login).ok(),
        // A bounce that comes back to whoever sent.
        (true, Lookup::Found(mailboxes)) if request.sender.is_empty() => mailboxes.into_iter().next(),
        _ => None,
    };
    if let Some(login) = failed
        && let Lookup::Unavailable(why) | Lookup::Misconfigured(why) = sources.store.note_failed(&login).await
    {
        tracing::debug!(%why, "a failed recipient was not counted");
    }
}

/// Tells the postmaster, in a task of its own: no mail waits for another.
fn tell(circumstances: Circumstances<'_>, login: &Address, reason: &str, client: Option<String>) {
    let signs = &circumstances.config.stolen_login;
    let Some(postmaster) = signs.postmaster.as_deref().and_then(|address| Address::parse(address).ok())
    else {
        return;
    };
    let (store, mailer) = (circumstances.sources.store.clone(), circumstances.sources.mailer.clone());
    let (server, span, action) = (signs.smtp, signs.tell_again.0, signs.action);
    let trial = circumstances.mode == Mode::LogOnly;
    let (key, reason) = (login.to_string(), reason.to_owned());
    tokio::spawn(async move {
        match store.claim_notice(NOTICE, &key, span).await {
            Lookup::Found(()) => {}
            Lookup::None => return,
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                tracing::warn!(login = %key, %why, "the postmaster could not be told");
                return;
            }
        }
        let what = match (trial, action) {
            (true, _) => "Nothing was done: the check runs in mode log-only.".to_owned(),
            (false, Reaction::Defer) => "Its mail is deferred while this goes on.".to_owned(),
            (false, Reaction::Hold) => {
                "Its mail waits in Postfix's hold queue (postqueue -p, postsuper -H).".to_owned()
            }
            (false, Reaction::Lock) => {
                format!("The login is locked. Change its password, then: gatepost limits reset {key}")
            }
        };
        let client = client.unwrap_or_else(|| "an unknown address".to_owned());
        let text = format!(
            "Somebody else may be sending mail with the login {key}:\n\n  {reason}\n  last from {client}\n\n{what}\n\nWhat is known: gatepost limits show {key}\n"
        );
        if let Err(error) =
            mailer.send(server, &postmaster, &format!("Unusual sending from {key}"), &text).await
        {
            tracing::warn!(login = %key, %error, %server, "the postmaster could not be told");
            if let Lookup::Unavailable(why) | Lookup::Misconfigured(why) =
                store.release_notice(NOTICE, &key).await
            {
                tracing::warn!(login = %key, %why, "the postmaster is not told again for a while");
            }
            // Not at once with the next message.
            tokio::time::sleep(Duration::from_secs(1)).await;
        } else {
            tracing::info!(login = %key, %postmaster, "the postmaster was told");
        }
    });
}

/// The kind of these notices in the table.
const NOTICE: &str = "stolen-login";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_read_from_the_second_day_on() {
        let signs = Signs::default();
        let usual =
            Habits { days: 30.0, today: 40, average: 30.0, failed: 3, new_networks: 1, new_countries: 1 };
        assert!(signs.read(&usual).is_empty());
        for (habits, sign) in [
            (Habits { new_networks: 8, ..usual }, "8 new networks within an hour"),
            (Habits { new_countries: 3, ..usual }, "3 new countries within an hour"),
            (Habits { failed: 50, ..usual }, "50 failed recipients within an hour"),
            (Habits { today: 301, ..usual }, "301 recipients today, 30 on an average day"),
            (Habits { today: 201, average: 0.0, ..usual }, "201 recipients today, 0 on an average day"),
        ] {
            assert_eq!(signs.read(&habits), [sign]);
        }
        assert!(signs.read(&Habits { today: 200, average: 0.0, ..usual }).is_empty(), "the floor");
        let first =
            Habits { days: 0.5, today: 5000, average: 0.0, failed: 0, new_networks: 100, new_countries: 9 };
        assert!(signs.read(&first).is_empty());
        assert_eq!(signs.read(&Habits { failed: 60, ..first }).len(), 1);
        let off = Signs { networks: 0, countries: 0, failed: 0, times: 0.0, ..signs };
        assert!(off.read(&Habits { days: 9.0, failed: 999, ..first }).is_empty());
    }
}
