//! `gatepost dmarc`: what is excepted from DMARC, and the aggregate reports; one file for each thing that is kept or done.

mod forwarder;
mod policy;
pub(super) mod read;
mod reports;
mod send;

use clap::Subcommand;
use sqlx::PgConnection;

use super::connection::{Settings, require_schema};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// What becomes of mail that fails, by the domain in From: set, clear, list
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Hosts that forward mail of others to us: add, remove, list
    #[command(subcommand)]
    Forwarder(forwarder::Verb),
    /// What is collected for aggregate reports, by day and domain, and what became of each
    Reports(reports::Reports),
    /// Send aggregate reports now, or show what would be sent
    Send(send::Send),
    /// Read reports that others sent to us, and sum them by source and result
    Read(read::Read),
}

pub(super) async fn run(
    verb: Verb,
    settings: &Settings,
    connection: &mut PgConnection,
) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Policy(verb) => policy::run(verb, connection).await,
        Verb::Forwarder(verb) => forwarder::run(verb, connection).await,
        Verb::Reports(reports) => reports::run(reports, connection).await,
        Verb::Send(send) => send::run(send, settings, connection).await,
        // Needs no database; done before one is connected to.
        Verb::Read(_) => Ok(()),
    }
}

/// A day on the command line.
fn day(text: &str) -> Result<time::Date, String> {
    time::Date::parse(text, time::macros::format_description!("[year]-[month]-[day]"))
        .map_err(|_| format!("bad day \"{text}\", expected one such as 2026-11-24"))
}

/// A remark of the operator, as the tables take it: printable, at most 256 characters.
fn remark(text: &str) -> Result<String, String> {
    if text.chars().count() > MAX_REMARK || text.chars().any(char::is_control) {
        return Err(format!("a comment is one line of at most {MAX_REMARK} characters"));
    }
    Ok(text.to_owned())
}

/// As the tables' own check.
const MAX_REMARK: usize = 256;
