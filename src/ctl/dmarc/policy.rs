//! `gatepost dmarc policy`: `gatepost.dmarc_overrides`, what becomes of mail that fails DMARC instead of what its domain asks for.

use anyhow::bail;
use clap::{Subcommand, ValueEnum};
use gatepost::mail::Domain;
use sqlx::PgConnection;

use super::remark;
use crate::ctl::connection::explain;
use crate::ctl::terminal;

#[derive(Subcommand)]
pub(in crate::ctl) enum Verb {
    /// Set it, for a domain and all below it; the nearest counts. It changes nothing for mail that passes, or has no record
    Set {
        /// The domain in From
        domain: Domain,
        /// What is done
        #[arg(value_enum)]
        policy: Choice,
        /// Why, for those who come after you
        #[arg(long, value_parser = remark, default_value = "")]
        comment: String,
    },
    /// Set nothing: what the domain's record asks for is done
    Clear {
        /// The domain in From
        domain: Domain,
    },
    /// List what is set
    List {
        /// Only for one domain and those below it
        domain: Option<Domain>,
        #[command(flatten)]
        show: terminal::Show,
    },
}

/// What becomes of mail that fails.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(in crate::ctl) enum Choice {
    /// Nothing: it is taken and judged as any other mail
    None,
    /// It goes to Junk
    Quarantine,
    /// It is refused
    Reject,
    /// What the record says; to except a domain from what is set above it
    Default,
}

impl Choice {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
            Self::Default => "default",
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::None => "is taken, whatever its record asks for",
            Self::Quarantine => "goes to Junk",
            Self::Reject => "is refused",
            Self::Default => "is treated as its record asks for",
        }
    }
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Set { domain, policy, comment } => {
            sqlx::query(
                "INSERT INTO gatepost.dmarc_overrides (domain, policy, comment) VALUES ($1, $2, $3)
                 ON CONFLICT (domain) DO UPDATE SET policy = excluded.policy, comment = excluded.comment, created_at = now()",
            )
            .bind(domain.as_str().to_owned())
            .bind(policy.as_str())
            .bind(comment)
            .execute(connection)
            .await
            .map_err(explain)?;
            println!("mail from {domain} that fails DMARC {}", policy.sentence());
        }
        Verb::Clear { domain } => {
            let done = sqlx::query("DELETE FROM gatepost.dmarc_overrides WHERE domain = $1")
                .bind(domain.as_str().to_owned())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("nothing is set for {domain}; `gatepost dmarc policy list`");
            }
            println!("nothing is set for {domain} any more");
        }
        Verb::List { domain, show } => {
            let rows: Vec<(String, String, time::OffsetDateTime, String)> = sqlx::query_as(
                "SELECT domain, policy, created_at, comment FROM gatepost.dmarc_overrides
                 WHERE $1::text IS NULL OR domain = $1 OR right(domain, length($1) + 1) = '.' || $1 ORDER BY domain",
            )
            .bind(domain.map(|domain| domain.as_str().to_owned()))
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(domain, policy, set, comment)| [domain, policy, set.date().to_string(), comment])
                .collect();
            show.table(["DOMAIN", "POLICY", "SET", "COMMENT"], &rows);
        }
    }
    Ok(())
}
