//! `gatepost dmarc`: what is excepted from DMARC, one file for each thing that is kept.

mod forwarder;
mod policy;

use clap::Subcommand;
use sqlx::PgConnection;

use super::connection::require_schema;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// What becomes of mail that fails, by the domain in From: set, clear, list
    #[command(subcommand)]
    Policy(policy::Verb),
    /// Hosts that forward mail of others to us: add, remove, list
    #[command(subcommand)]
    Forwarder(forwarder::Verb),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Policy(verb) => policy::run(verb, connection).await,
        Verb::Forwarder(verb) => forwarder::run(verb, connection).await,
    }
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
