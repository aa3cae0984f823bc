//! Yesterday's reports, sent: claimed, built, authorised, handed to Postfix, noted. How each goes out once is told in
//! `gatepost::store::reports`.
//!
//! DNS or Postfix away: the report waits an hour, until the second day after its own is over. The database away: nothing happens.

use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatepost::directory::Lookup;
use gatepost::dmarc::destinations::{self, Asked, Destination, Judged, Verdict};
use gatepost::dmarc::pack::{self, Packed};
use gatepost::dmarc::report::Report;
use gatepost::dmarc::{compose, write};
use gatepost::mail::Address;
use gatepost::store::Store;
use gatepost::store::reports::{Claim, End};
use time::OffsetDateTime;
use tracing::{debug, error, info, warn};

use super::Current;
use super::collector::name;
use super::submission::{Delivery, Mail, Ours, deliver};

/// Sends; one for the process.
pub struct Sender {
    store: Store,
    ours: Ours,
    host: String,
}

/// A fate that needs no delivery, or what came of one.
enum Fate {
    End(End, String),
    /// Certainly not sent.
    Release(String),
    /// The claim does not count any more, or the database cannot say so.
    Lost(String),
}

/// How often the database is asked for due reports.
const LOOK: Duration = Duration::from_secs(10);

/// How long a report waits for DNS or Postfix.
const PAUSE: Duration = Duration::from_secs(3600);

/// How often old reports are forgotten, and how often the same trouble is said again.
const HOUR: Duration = Duration::from_secs(3600);

impl Sender {
    /// Sends what this host has seen, and what the others have.
    pub fn new(store: Store, ours: Ours) -> Self {
        let host = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        Self {
            store,
            ours,
            host: host.filter(|host| !host.is_empty()).unwrap_or_else(|| "localhost".to_owned()),
        }
    }

    pub(super) async fn run(&self, current: &ArcSwap<Current>) {
        let (mut complained, mut forgotten) = (None::<Instant>, None::<Instant>);
        loop {
            // Hosts that started together need not ask together.
            let jitter = Duration::from_millis(u64::from(rand::random::<u16>()) % 2_000);
            tokio::time::sleep(LOOK + jitter).await;
            let current = current.load_full();
            let Some(from) = current.settings.from.clone() else { continue };
            match self.round(&current, &from).await {
                Ok(()) => complained = None,
                Err(why) if complained.is_none_or(|when| when.elapsed() > HOUR) => {
                    complained = Some(Instant::now());
                    warn!("cannot send DMARC reports now: {why}");
                }
                Err(why) => debug!("cannot send DMARC reports now: {why}"),
            }
            if forgotten.is_none_or(|when| when.elapsed() > HOUR) {
                forgotten = Some(Instant::now());
                if let Lookup::Found(gone @ 1..) = self.store.forget_reports(current.settings.keep.0).await {
                    debug!(gone, "old DMARC reports forgotten");
                }
            }
        }
    }

    /// Everything that is due now. The error is the database's.
    async fn round(&self, current: &Current, from: &Address) -> Result<(), String> {
        for (day, domain, host) in found(self.store.doubt_reports().await)?.unwrap_or_default() {
            warn!(
                %day, domain, host,
                "a DMARC report was being sent when its host ended; perhaps it left: the mail log tells. It is not sent again"
            );
        }
        loop {
            let Some(claim) = found(self.store.claim_report(&name(), &self.host).await)? else {
                return Ok(());
            };
            if claim.tries == 1 {
                self.warn_if_unsigned(from).await;
            }
            let fate = self.send(current, from, &claim).await;
            self.note(&claim, fate).await?;
        }
    }

    async fn send(&self, current: &Current, from: &Address, claim: &Claim) -> Fate {
        let judged = match destinations::ask(&current.resolver, &claim.domain).await {
            Asked::For(judged) => judged,
            Asked::NotWanted(why) => return Fate::End(End::Unwanted, why),
            Asked::Later(why) => return Fate::Release(why),
        };
        let destinations: Vec<Destination> = judged.iter().flat_map(Judged::destinations).cloned().collect();
        let mut notes: Vec<String> = judged.iter().filter_map(refusal).collect();
        if destinations.is_empty() {
            return Fate::End(End::Unwanted, notes.join("; "));
        }
        let settings = &current.settings;
        let seen = match self.store.seen(claim.day, &claim.domain, settings.records).await {
            Lookup::Found(seen) => seen,
            Lookup::None => return Fate::Lost("it is gone".to_owned()),
            Lookup::Unavailable(why) => return Fate::Release(why),
            Lookup::Misconfigured(why) => return Fate::End(End::Failed, why),
        };
        let Some(report) = compose::compose(&seen, settings, from) else {
            return Fate::End(End::Unwanted, "nothing was seen".to_owned());
        };
        let organization = settings.organization(from);
        let packed = match packed(report, organization, from.clone(), destinations.clone()).await {
            Ok(packed) => packed,
            Err(why) => return Fate::End(End::Failed, why),
        };
        let size = packed.mail.len() as u64;
        let mut to: Vec<Address> = Vec::new();
        for destination in destinations {
            if destination.limit.is_some_and(|limit| size > limit) {
                notes.push(format!("{}: takes no mail of {size} bytes", destination.address));
            } else if !to.contains(&destination.address) {
                to.push(destination.address);
            }
        }
        if to.is_empty() {
            return Fate::End(End::Failed, notes.join("; "));
        }
        let mail = Mail { helo: &self.host, from, to: &to, content: &packed.mail };
        let mut asked = Ok(());
        let may_end = async || {
            asked = match self.store.begin_sending(claim).await {
                Lookup::Found(()) => Ok(()),
                Lookup::None => Err("another host has taken it over".to_owned()),
                Lookup::Unavailable(why) | Lookup::Misconfigured(why) => Err(why),
            };
            asked.is_ok()
        };
        let delivery = deliver(settings.smtp, &self.ours, &mail, may_end).await;
        match delivery {
            Delivery::Taken { reply, refused } => {
                notes.extend(refused);
                let to: Vec<String> = to.iter().map(Address::to_string).collect();
                notes.insert(0, format!("to {}: {reply}", to.join(", ")));
                Fate::End(End::Sent, notes.join("; "))
            }
            Delivery::Later(why) => Fate::Release(why),
            Delivery::Refused(why) => Fate::End(End::Failed, why),
            Delivery::GivenUp => Fate::Lost(asked.err().unwrap_or_default()),
            Delivery::Unknown(why) => Fate::End(End::Unknown, why),
        }
    }

    async fn note(&self, claim: &Claim, fate: Fate) -> Result<(), String> {
        let (day, domain) = (claim.day, claim.domain.as_str());
        match fate {
            Fate::End(end, detail) => {
                let detail: String = detail.chars().take(MAX_DETAIL).collect();
                match end {
                    End::Sent => info!(%day, domain, "DMARC report sent {detail}"),
                    End::Unwanted => info!(%day, domain, "DMARC report not sent: {detail}"),
                    End::Failed => warn!(%day, domain, "DMARC report cannot be sent: {detail}"),
                    End::Unknown => {
                        warn!(%day, domain, "DMARC report perhaps sent, the mail log tells; it is not sent again: {detail}");
                    }
                }
                // The mail is out: this must be written down, or the report ends as unknown. The database may just be restarting.
                for _ in 0..NOTES {
                    match found(self.store.end_report(claim, end, &detail).await) {
                        Ok(_) => return Ok(()),
                        Err(why) => {
                            debug!("cannot note that yet: {why}");
                            tokio::time::sleep(NOTE_PAUSE).await;
                        }
                    }
                }
                error!(%day, domain, "what became of this DMARC report could not be noted: {}", end.as_str());
                Ok(())
            }
            Fate::Release(why) => {
                let why: String = why.chars().take(MAX_DETAIL).collect();
                // Hosts that failed together need not try together.
                let pause = PAUSE + Duration::from_secs(u64::from(rand::random::<u16>()) % 600);
                match found(self.store.release_report(claim, pause, &why).await)? {
                    Some(true) => info!(%day, domain, "DMARC report waits: {why}"),
                    Some(false) => warn!(%day, domain, "DMARC report given up, it is too old now: {why}"),
                    None => debug!(%day, domain, "DMARC report was taken over by another host"),
                }
                Ok(())
            }
            Fate::Lost(why) => {
                info!(%day, domain, "DMARC report not sent by this host: {why}");
                Ok(())
            }
        }
    }

    async fn warn_if_unsigned(&self, from: &Address) {
        if let Lookup::Found(keys) = self.store.signing_keys(from.domain()).await
            && keys.is_empty()
        {
            warn!(
                "DMARC reports from {from} go out unsigned: {} has no active DKIM key (`gatepost dkim generate {0}`)",
                from.domain()
            );
        }
    }
}

/// Building, compressing: some 100 ms of a core for the largest report.
async fn packed(
    report: Report,
    organization: String,
    from: Address,
    to: Vec<Destination>,
) -> Result<Packed, String> {
    let build = move || {
        let address = from.to_string();
        let sender =
            pack::Sender { organization: &organization, address: &address, domain: from.domain().as_str() };
        let to: Vec<String> = to.iter().map(|destination| destination.address.to_string()).collect();
        let now = OffsetDateTime::now_utc().unix_timestamp();
        pack::pack(&report, &write::xml(&report), &sender, &to, now)
    };
    match tokio::task::spawn_blocking(build).await {
        Ok(packed) => packed.map_err(|error| error.to_string()),
        Err(panicked) => Err(format!("internal error: {panicked}")),
    }
}

fn refusal(judged: &Judged) -> Option<String> {
    match &judged.verdict {
        Verdict::Refused(why) => Some(format!("{}: {why}", judged.asked.address)),
        Verdict::Inside | Verdict::Authorized(_) => None,
    }
}

fn found<T>(answer: Lookup<T>) -> Result<Option<T>, String> {
    match answer {
        Lookup::Found(found) => Ok(Some(found)),
        Lookup::None => Ok(None),
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => Err(why),
    }
}

/// Some sentences.
const MAX_DETAIL: usize = 1000;
/// A restart of PostgreSQL takes seconds, a failover a minute.
const NOTES: u32 = 30;
const NOTE_PAUSE: Duration = Duration::from_secs(4);
