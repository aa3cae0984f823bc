//! `gatepost dmarc forwarder`: `gatepost.forwarders`, hosts whose mail is not refused although it fails DMARC.

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use gatepost::dmarc::{ForwarderKind, KnownBy};
use gatepost::mail::Domain;
use sqlx::PgConnection;

use super::remark;
use crate::ctl::connection::{explain, violates};
use crate::ctl::{domain, terminal};

#[derive(Subcommand)]
pub(in crate::ctl) enum Verb {
    /// Let mail that such a host forwards arrive although it fails DMARC
    Add {
        #[command(flatten)]
        which: Which,
        /// Why, for those who come after you
        #[arg(long, value_parser = remark, default_value = "")]
        comment: String,
    },
    /// Take it back
    Remove {
        #[command(flatten)]
        which: Which,
    },
    /// List them
    List(terminal::Show),
}

/// One row.
#[derive(Args)]
pub(in crate::ctl) struct Which {
    /// How it is known: network (its address), spf (the sender's domain passes SPF), dkim (a domain's signature holds), name (its
    /// verified host name)
    kind: ForwarderKind,
    /// The network, such as 192.0.2.0/24, or the domain, which stands for those below it too
    value: String,
    /// Only for mail to this hosted domain
    #[arg(long = "for", value_name = "DOMAIN")]
    recipients: Option<Domain>,
}

impl Which {
    fn known_by(&self) -> anyhow::Result<KnownBy> {
        KnownBy::parse(self.kind, &self.value).map_err(|reason| anyhow!(reason))
    }

    fn recipients(&self) -> String {
        self.recipients.as_ref().map_or(ALL, Domain::as_str).to_owned()
    }

    /// The row in words.
    fn sentence(&self, by: &KnownBy) -> String {
        match &self.recipients {
            Some(domain) => format!("{by}, for mail to {domain}"),
            None => by.to_string(),
        }
    }
}

/// For all hosted domains.
const ALL: &str = "*";

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Add { which, comment } => {
            let by = which.known_by()?;
            if matches!(&by, KnownBy::Network(network) if network.is_everything()) {
                bail!(
                    "{by} is everybody; to refuse nothing for DMARC set `enforce = false` in [milter.dmarc]"
                );
            }
            if let Some(recipients) = &which.recipients {
                domain::require(connection, recipients).await?;
            }
            sqlx::query("INSERT INTO gatepost.forwarders (kind, value, recipient_domain, comment) VALUES ($1, $2, $3, $4)")
                .bind(by.kind().as_str())
                .bind(by.value())
                .bind(which.recipients())
                .bind(comment)
                .execute(connection)
                .await
                .map_err(|error| {
                    if violates(&error, "23505") {
                        anyhow!("{} is there already; `gatepost dmarc forwarder list`", which.sentence(&by))
                    } else {
                        explain(error)
                    }
                })?;
            println!("forwarder added: {}", which.sentence(&by));
        }
        Verb::Remove { which } => {
            let by = which.known_by()?;
            let done = sqlx::query(
                "DELETE FROM gatepost.forwarders WHERE kind = $1 AND value = $2 AND recipient_domain = $3",
            )
            .bind(by.kind().as_str())
            .bind(by.value())
            .bind(which.recipients())
            .execute(connection)
            .await
            .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("there is no forwarder {}; `gatepost dmarc forwarder list`", which.sentence(&by));
            }
            println!("forwarder removed: {}", which.sentence(&by));
        }
        Verb::List(show) => {
            let rows: Vec<(String, String, String, time::OffsetDateTime, String)> = sqlx::query_as(
                "SELECT kind, value, recipient_domain, created_at, comment FROM gatepost.forwarders ORDER BY kind, value, recipient_domain",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(kind, value, recipients, added, comment)| {
                    [kind, value, recipients, added.date().to_string(), comment]
                })
                .collect();
            show.table(["KIND", "VALUE", "FOR", "ADDED", "COMMENT"], &rows);
        }
    }
    Ok(())
}
