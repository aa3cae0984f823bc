//! `greylist`: who sends to somebody for the first time is asked to come again in a few minutes, which most spam programs never do.
//!
//! Belongs into `smtpd_recipient_restrictions` behind `reject_unauth_destination`; judges in the state RCPT, the null sender too. Never delays
//! what is ours (logged in, or from `trusted-networks`), what an access rule lets through (`gatepost greylist allow`, `gatepost allow`), and
//! whom the recipient has written to, where `gatepost.correspondents` is kept.
//!
//! What is remembered is who sends, from which sender, to which recipient. *Who* is the sender's domain where that is proven: by SPF
//! `pass`, or by a client whose confirmed name belongs to the same organisation. So a pool of a hundred servers is one client. Else it is the
//! network, /24 or /64. The sender is taken without what changes from one attempt to the next (BATV and SRS tags, numbers, extension).
//! The state is in PostgreSQL, the same for all hosts, and a decision costs one round trip; one that was made within the last minute or two
//! costs none ([`Lately`]). While the database is away mail passes: greylisting is a help against spam, and no protection.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use gatepost::config::Network;
use gatepost::config::Seconds;
use gatepost::directory::Lookup;
use gatepost::mail::{Address, SmtpReply};
use gatepost::spf::SpfResult;
use gatepost::store::access::{Access, Known};
use gatepost::store::{Attempt, Greylisted, Patience, steady_sender};
use gatepost::telemetry::printable;
use serde::Deserialize;

use super::{CannotSay, Check, Circumstances, Opinion, dnsbl, helo};
use crate::protocol::policy::{Action, Header, Request, State};
use crate::recent::Recent;

/// The check.
pub(super) const GREYLIST: Check = Check {
    name: "greylist",
    restrictions: "smtpd_recipient_restrictions",
    summary: "a first mail from a stranger is to come again in a few minutes",
    cannot_say: CannotSay::Pass,
    judge,
};

/// `[postfix-policy.greylist]`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Whom to greylist: `always` everybody, `suspicious` only a client that something speaks against.
    pub when: When,
    /// How long after the first attempt another one passes.
    pub delay: Seconds,
    /// How long after the first attempt it may come; later it is a first one again.
    pub retry_window: Seconds,
    /// How long what has passed is remembered after it was last seen.
    pub expiry: Seconds,
    /// After how many passes, at most one counted an hour, a client is let through at once; 0 never.
    pub allow_after: u32,
    /// What proves a sender's domain: `spf`, `name`. Without any, only networks are remembered.
    pub verify: Vec<Proof>,
    /// With `suspicious`: from which weight of the check `dnsbl`'s lists on a client is suspect.
    pub dnsbl_weight: i32,
    /// With `suspicious`: from which score of the client's network on, where the milter keeps them.
    pub score: f64,
    /// How many attempts are remembered; beyond it the oldest are forgotten.
    pub entries: u64,
    /// Whether a mail that was delayed says so in a header `X-Greylist`.
    pub header: bool,
}

impl Default for Settings {
    /// postgrey's times.
    fn default() -> Self {
        Self {
            when: When::Suspicious,
            delay: Seconds::new(300),
            retry_window: Seconds::new(2 * 86_400),
            expiry: Seconds::new(35 * 86_400),
            allow_after: 5,
            verify: vec![Proof::Spf, Proof::Name],
            dnsbl_weight: 1,
            score: 4.0,
            entries: 1_000_000,
            header: true,
        }
    }
}

/// Whom to greylist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// Everybody.
    Always,
    /// A client without a confirmed name or with a generic one, on block lists, with an SPF `fail` or `softfail`, or with a bad record.
    Suspicious,
}

/// What proves that a client belongs to the sender's domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Proof {
    /// SPF `pass`.
    Spf,
    /// The client's confirmed name.
    Name,
}

impl Settings {
    /// What the types alone cannot say.
    ///
    /// # Errors
    /// The sentence.
    pub fn validate(&self) -> Result<(), String> {
        if self.delay.0 >= self.retry_window.0 {
            return Err(format!(
                "greylist.delay = \"{}\" is not shorter than greylist.retry-window = \"{}\"; nothing would ever pass",
                self.delay, self.retry_window
            ));
        }
        if self.expiry.0 < self.retry_window.0 {
            return Err(format!(
                "greylist.expiry = \"{}\" is shorter than greylist.retry-window = \"{}\"",
                self.expiry, self.retry_window
            ));
        }
        Ok(())
    }

    fn patience(&self) -> Patience {
        Patience {
            delay: self.delay.0,
            window: self.retry_window.0,
            expiry: self.expiry.0,
            passes: self.allow_after,
            score: self.score,
        }
    }
}

fn judge<'a>(circumstances: Circumstances<'a>, request: &'a Request) -> Opinion<'a> {
    Box::pin(decide(circumstances, request))
}

async fn decide(circumstances: Circumstances<'_>, request: &Request) -> Lookup<Action> {
    let Circumstances { sources, config, memory, .. } = circumstances;
    let settings = &config.greylist;
    let Some(client) = request.client_address.map(|client| client.to_canonical()) else {
        return Lookup::None;
    };
    if request.state != State::Rcpt || circumstances.is_ours(request) {
        return Lookup::None;
    }
    let sender = Address::parse(&request.sender).ok();
    let Ok(recipient) = Address::parse(&request.recipient) else { return Lookup::None };
    let delimiters = sources.directory.extension_delimiters();
    let mailbox = recipient.strip_extension(delimiters).map_or_else(|| recipient.clone(), |(base, _)| base);
    let known = Known {
        client: Some(client),
        client_name: &request.client_name,
        helo: "",
        sender: sender.as_ref(),
        recipient: Some(&mailbox),
        login: "",
    };
    match sources.store.access_rules().await.settled::<()>() {
        Ok(rules) => {
            if let Some((_, what)) =
                rules.as_ref().and_then(|rules| rules.matching(&known, &[Access::NoGreylist, Access::Allow]))
            {
                tracing::debug!(%what, "not greylisted: an access rule");
                return Lookup::None;
            }
        }
        // Whoever cannot read this list can do nothing else either.
        Err(Lookup::Misconfigured(why)) => return Lookup::Misconfigured(why),
        Err(_) => {}
    }
    let spf = match settings.verify.contains(&Proof::Spf) && !request.sender.is_empty() {
        true => {
            let deadline = config.spf.deadline.0;
            let policy = &sources.sender_policy;
            Some(policy.mail_from(client, &request.helo_name, &request.sender, deadline).await)
        }
        false => None,
    };
    let result = spf.as_ref().map(|outcome| outcome.result);
    let named = settings.verify.contains(&Proof::Name).then_some(request.client_name.as_str());
    let suspected = settings.when == When::Always
        || request.client_name.is_empty()
        || helo::is_generic(&request.client_name, client)
        || matches!(result, Some(SpfResult::Fail | SpfResult::SoftFail))
        || (!config.dnsbl.lists.is_empty()
            && dnsbl::weigh(circumstances, client).await.weight >= settings.dnsbl_weight);
    let attempt = Attempt {
        client: cut(who(client, named, sender.as_ref(), result), MAX_KEY),
        sender: cut(steady_sender(&request.sender, delimiters), MAX_KEY),
        recipient: cut(mailbox.to_string(), MAX_KEY),
        correspondent: sender.as_ref().map(Address::to_string).unwrap_or_default(),
        mailbox: mailbox.to_string(),
        network: Network::neighbourhood(client).to_string(),
        suspected,
    };
    let patience = settings.patience();
    if memory.cleared_greylist.is_due() {
        clear_away(circumstances, &patience);
    }
    let outcome = match memory.greylist.outcome(&attempt) {
        Some(outcome) => outcome,
        None => match sources.greylist.ask(attempt.clone(), patience).await.settled() {
            Ok(Some(outcome)) => {
                memory.greylist.remember(&attempt, outcome);
                outcome
            }
            Ok(None) => return Lookup::None,
            Err(failure) => return failure,
        },
    };
    tracing::info!(
        queue_id = %printable(request.queue_id.as_bytes(), 40), client = %attempt.client, sender = %printable(attempt.sender.as_bytes(), 320),
        recipient = %printable(attempt.recipient.as_bytes(), 320), outcome = ?outcome, "greylist"
    );
    match outcome {
        Greylisted::Wait { left, .. } => {
            let seconds = left.as_secs_f64().ceil();
            let text = format!("Greylisted, please try again in {seconds} seconds");
            Lookup::Found(Action::DeferIfPermit(SmtpReply::new(450, "4.2.0", text)))
        }
        Greylisted::Passed { after, first: true } if settings.header => {
            let value = format!(
                "delayed {} seconds by gatepost at {}",
                after.as_secs(),
                sources.sender_policy.host()
            );
            Lookup::Found(Action::Prepend(Header::new("X-Greylist", value)))
        }
        Greylisted::Passed { .. }
        | Greylisted::KnownClient
        | Greylisted::Correspondent
        | Greylisted::Unsuspected => Lookup::None,
    }
}

/// What was decided lately. An attempt that is too early stays so until its time has come, and who has passed passes again: neither needs
/// the database. What the tool changes there counts at last when this is forgotten.
#[derive(Debug)]
pub struct Lately {
    /// By client, sender and recipient.
    attempts: Recent<[String; 3], Fate>,
    /// On the automatic allow-list.
    clients: Recent<String, ()>,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug)]
enum Fate {
    WaitsUntil(Instant),
    Passed,
}

impl Default for Lately {
    fn default() -> Self {
        Self { attempts: Recent::new(REMEMBERED, MEMORY), clients: Recent::new(REMEMBERED, MEMORY) }
    }
}

impl Lately {
    fn outcome(&self, attempt: &Attempt) -> Option<Greylisted> {
        if self.clients.get(&attempt.client).is_some() {
            return Some(Greylisted::KnownClient);
        }
        match self.attempts.get(&key(attempt))? {
            Fate::Passed => Some(Greylisted::Passed { after: Duration::ZERO, first: false }),
            // When its time has come, the first pass is the database's to note.
            Fate::WaitsUntil(ready) => {
                let left = ready.checked_duration_since(Instant::now())?;
                Some(Greylisted::Wait { left, new: false })
            }
        }
    }

    fn remember(&self, attempt: &Attempt, outcome: Greylisted) {
        match outcome {
            Greylisted::KnownClient => self.clients.insert(attempt.client.clone(), ()),
            Greylisted::Wait { left, .. } => {
                self.attempts.insert(key(attempt), Fate::WaitsUntil(Instant::now() + left));
            }
            Greylisted::Passed { .. } => self.attempts.insert(key(attempt), Fate::Passed),
            Greylisted::Correspondent | Greylisted::Unsuspected => {}
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&self) {
        self.attempts.clear();
        self.clients.clear();
    }
}

fn key(attempt: &Attempt) -> [String; 3] {
    [attempt.client.clone(), attempt.sender.clone(), attempt.recipient.clone()]
}

/// Who sends, as far as it is proven.
fn who(client: IpAddr, name: Option<&str>, sender: Option<&Address>, spf: Option<SpfResult>) -> String {
    if let Some(sender) = sender {
        let domain = sender.domain().as_str();
        if spf == Some(SpfResult::Pass) {
            return format!("spf:{}", organisation(domain));
        }
        let name = name.unwrap_or_default().trim_end_matches('.').to_lowercase();
        // A provider's generic name under its own domain proves the domain as well, but of its customer, not of itself.
        if !name.is_empty() && organisation(&name) == organisation(domain) && !helo::is_generic(&name, client)
        {
            return format!("name:{}", organisation(domain));
        }
    }
    Network::neighbourhood(client).to_string()
}

/// The domain that was registered (Public Suffix List); the name itself where there is none.
fn organisation(name: &str) -> &str {
    psl::domain_str(name).unwrap_or(name)
}

fn cut(text: String, limit: usize) -> String {
    // NUL cannot be stored; no address that is accepted has one.
    text.chars().filter(|c| *c != '\0').take(limit).collect()
}

/// In its own task: a scan is nothing that a client should wait for.
fn clear_away(circumstances: Circumstances<'_>, patience: &Patience) {
    let (store, patience) = (circumstances.sources.store.clone(), *patience);
    let entries = circumstances.config.greylist.entries;
    tokio::spawn(async move {
        loop {
            match store.forget_greylist(&patience, entries).await {
                Lookup::Found(0) | Lookup::None => return,
                Lookup::Found(rows) => tracing::debug!(rows, "old attempts cleared away"),
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
                    tracing::warn!(%why, "old attempts not cleared away");
                    return;
                }
            }
            tokio::time::sleep(BREATH).await;
        }
    });
}

/// Columns of the table are bounded (006_policy.sql).
const MAX_KEY: usize = 290;
/// How many decisions are remembered, twice at the most: some 200 bytes each.
const REMEMBERED: usize = 20_000;
/// For how long at the least; twice at the most. Long enough for the recipients of one message and for a program that tries every few seconds.
const MEMORY: Duration = Duration::from_secs(60);
/// Between two sweeps of some thousand rows each.
const BREATH: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_proven_domain_is_one_client_and_anything_else_is_a_network() {
        let sender = Address::parse("news@mail.example.co.uk").unwrap();
        let ask = |client: &str, name, spf| who(client.parse().unwrap(), name, Some(&sender), spf);
        assert_eq!(ask("192.0.2.7", None, Some(SpfResult::Pass)), "spf:example.co.uk");
        assert_eq!(
            ask("192.0.2.7", Some("mx7.out.example.co.uk"), Some(SpfResult::None)),
            "name:example.co.uk"
        );
        assert_eq!(ask("192.0.2.7", Some("192-0-2-7.dyn.example.co.uk"), None), "192.0.2.0/24");
        assert_eq!(ask("192.0.2.7", Some("mx.other.co.uk"), Some(SpfResult::Fail)), "192.0.2.0/24");
        assert_eq!(ask("2001:db8::7", Some("co.uk"), None), "2001:db8::/64");
        assert_eq!(who("192.0.2.7".parse().unwrap(), Some("a.test"), None, None), "192.0.2.0/24");
    }

    #[test]
    fn times_that_would_never_let_anything_pass_are_refused() {
        let bad = Settings { delay: Seconds::new(86_400 * 3), ..Settings::default() };
        assert!(bad.validate().unwrap_err().contains("nothing would ever pass"));
        assert_eq!(Settings::default().validate(), Ok(()));
    }
}
