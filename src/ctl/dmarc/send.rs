//! `gatepost dmarc send`: has the milters send reports now, or shows what they would send.
//!
//! The tool sends nothing itself: mail of its own would reach Postfix as a stranger's, unsigned. It makes reports due and waits until a
//! milter has sent them; `--dry-run` does all that a milter does, up to the connection to Postfix.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use gatepost::config;
use gatepost::daemon::print_line;
use gatepost::database::Database;
use gatepost::directory::{Directory, Lookup};
use gatepost::dmarc::destinations::{self, Asked, Verdict};
use gatepost::dmarc::settings::{Reports, ReportsOnly};
use gatepost::dmarc::{compose, pack, write};
use gatepost::dns::Resolver;
use gatepost::mail::{Address, Domain};
use gatepost::store::Store;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use tokio::time::Instant;

use crate::ctl::connection::{Settings, explain};
use crate::ctl::terminal;

#[derive(Args)]
pub(in crate::ctl) struct Send {
    /// Show XML, mail and destinations; send nothing and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Only of one day (UTC), as 2026-11-24. Not given: every day that is over; with --dry-run yesterday
    #[arg(long, value_parser = super::day)]
    day: Option<Date>,
    /// Only on one domain
    #[arg(long)]
    domain: Option<Domain>,
    /// Send again what has failed or may have been lost
    #[arg(long, conflicts_with = "dry_run")]
    again: bool,
}

pub(super) async fn run(
    send: Send,
    settings: &Settings,
    connection: &mut PgConnection,
) -> anyhow::Result<()> {
    let reports = match &settings.config.path {
        Some(path) => config::load::<ReportsOnly>(path)?.service.reports,
        None => Reports::default(),
    };
    let Some(from) = reports.from.clone() else {
        bail!("reports are off; set `from` in [milter.reports] of the configuration");
    };
    if send.dry_run {
        show(&send, settings, &reports, &from, connection).await
    } else {
        ask(&send, connection).await
    }
}

/// Makes them due, and waits for what becomes of them.
async fn ask(send: &Send, connection: &mut PgConnection) -> anyhow::Result<()> {
    let due: Vec<(Date, String)> = sqlx::query_as(
        "UPDATE gatepost.dmarc_reports SET due_at = now(), state = 'collected', changed_at = now()
         WHERE day < (now() AT TIME ZONE 'UTC')::date AND ($1::date IS NULL OR day = $1) AND ($2::text IS NULL OR domain = $2)
           AND (state = 'collected' OR $3 AND state IN ('failed', 'unknown'))
         RETURNING day, domain",
    )
    .bind(send.day)
    .bind(send.domain.as_ref().map(|domain| domain.as_str().to_owned()))
    .bind(send.again)
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    if due.is_empty() {
        bail!(
            "there is no such report to send; `gatepost dmarc reports` shows all (a day's report can be sent when the day is over, in UTC)"
        );
    }
    print_line(&format!("{} reports are due now; waiting for a milter", due.len()));
    let end = Instant::now() + PATIENCE;
    let (days, domains): (Vec<Date>, Vec<String>) = due.into_iter().unzip();
    loop {
        let states: Vec<(Date, String, String, String)> = sqlx::query_as(
            "SELECT day, domain, state, detail FROM gatepost.dmarc_reports
             JOIN unnest($1::date[], $2::text[]) AS asked (day, domain) USING (day, domain) ORDER BY day, domain",
        )
        .bind(&days)
        .bind(&domains)
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        let ended = |state: &str| !matches!(state, "collected" | "claimed" | "sending");
        // Given back with a reason: it will be tried again later.
        let waits = |state: &str, detail: &str| state == "collected" && !detail.is_empty();
        let open = states.iter().filter(|(.., state, detail)| !ended(state) && !waits(state, detail)).count();
        if open > 0 && Instant::now() < end {
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        }
        let bad =
            states.iter().filter(|(.., state, _)| !matches!(state.as_str(), "sent" | "unwanted")).count();
        let rows: Vec<_> = states
            .into_iter()
            .map(|(day, domain, state, detail)| [day.to_string(), domain, state, detail])
            .collect();
        terminal::table(["DAY", "DOMAIN", "STATE", "DETAIL"], &rows);
        match (bad, open) {
            (0, _) => return Ok(()),
            (bad, 0) => bail!("{bad} reports were not sent"),
            (_, open) => bail!(
                "{open} reports wait still; is a milter running whose [milter.reports] has `from`, and does its log complain?"
            ),
        }
    }
}

/// What would be sent, and to whom.
async fn show(
    send: &Send,
    settings: &Settings,
    reports: &Reports,
    from: &Address,
    connection: &mut PgConnection,
) -> anyhow::Result<()> {
    let yesterday = OffsetDateTime::now_utc().date().previous_day().context("no yesterday")?;
    let day = send.day.unwrap_or(yesterday);
    let domains: Vec<(String,)> = sqlx::query_as(
        "SELECT domain FROM gatepost.dmarc_reports WHERE day = $1 AND ($2::text IS NULL OR domain = $2) ORDER BY domain",
    )
    .bind(day)
    .bind(send.domain.as_ref().map(|domain| domain.as_str().to_owned()))
    .fetch_all(connection)
    .await
    .map_err(explain)?;
    if domains.is_empty() {
        bail!("nothing was collected for {day}; `gatepost dmarc reports` shows what was");
    }
    let database = &settings.config.database;
    let store = Store::new(&Directory::new(Database::new(database, "gatepost")?, database));
    let resolver = Resolver::new(&settings.config.dns)?;
    for (domain,) in domains {
        let seen = match store.seen(day, &domain, reports.records).await {
            Lookup::Found(seen) => seen,
            Lookup::None => continue,
            Lookup::Unavailable(why) | Lookup::Misconfigured(why) => bail!(why),
        };
        print_line(&format!("== {domain}, {day}"));
        let asked = destinations::ask(&resolver, &domain).await;
        let to = told(&asked);
        let Some(report) = compose::compose(&seen, reports, from) else {
            print_line("   nothing was seen");
            continue;
        };
        let xml = write::xml(&report);
        let organization = reports.organization(from);
        let address = from.to_string();
        let sender =
            pack::Sender { organization: &organization, address: &address, domain: from.domain().as_str() };
        let packed = pack::pack(&report, &xml, &sender, &to, OffsetDateTime::now_utc().unix_timestamp())?;
        print_line(&format!("   mail of {} bytes, {}", packed.mail.len(), packed.file));
        let head = String::from_utf8_lossy(&packed.mail);
        for line in head.split("\r\n\r\n").next().unwrap_or_default().lines() {
            print_line(&format!("   {line}"));
        }
        print_line(xml.trim_end());
    }
    Ok(())
}

/// Prints what DNS says, and returns the addresses.
fn told(asked: &Asked) -> Vec<String> {
    let judged = match asked {
        Asked::For(judged) => judged,
        Asked::NotWanted(why) => {
            print_line(&format!("   not wanted: {why}"));
            return Vec::new();
        }
        Asked::Later(why) => {
            print_line(&format!("   cannot be sent now: {why}"));
            return Vec::new();
        }
    };
    for one in judged {
        let limit = one.asked.limit.map_or_else(String::new, |limit| format!(" (at most {limit} bytes)"));
        let verdict = match &one.verdict {
            Verdict::Inside => "of the same organisation".to_owned(),
            Verdict::Authorized(to) if to.as_slice() == [one.asked.clone()] => {
                "outside, authorised by its own record".to_owned()
            }
            Verdict::Authorized(to) => {
                let to: Vec<String> = to.iter().map(|one| one.address.to_string()).collect();
                format!("outside, authorised; goes to {}", to.join(", "))
            }
            Verdict::Refused(why) => format!("outside, NOT authorised: {why}"),
        };
        print_line(&format!("   {}{limit}: {verdict}", one.asked.address));
    }
    judged.iter().flat_map(|one| one.destinations()).map(|one| one.address.to_string()).collect()
}

/// Milters look every 10 s; a report takes a second.
const PATIENCE: Duration = Duration::from_secs(90);
