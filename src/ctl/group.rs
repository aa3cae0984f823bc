//! `gatepost group`: groups of users, to whom mailboxes can be shared (IMAP SETACL with `$group` or `group=`).

use anyhow::bail;
use clap::Subcommand;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, require_schema};
use super::{terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Add a user to a group; the first makes it
    Add {
        /// The group: small letters, digits, dot, dash, underscore
        #[arg(value_parser = group)]
        group: String,
        /// Who
        user: Address,
    },
    /// Remove a user from a group; the last ends it
    Remove {
        /// The group
        #[arg(value_parser = group)]
        group: String,
        /// Who
        user: Address,
    },
    /// List groups and members
    List(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Add { group, user } => {
            user::require(connection, &user).await?;
            sqlx::query("INSERT INTO gatepost.groups (name, member) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(&group)
                .bind(user.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            println!("{user} is in group {group}");
        }
        Verb::Remove { group, user } => {
            let done = sqlx::query("DELETE FROM gatepost.groups WHERE name = $1 AND member = $2")
                .bind(&group)
                .bind(user.to_string())
                .execute(connection)
                .await
                .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{user} is not in group {group}; `gatepost group list`");
            }
            println!("{user} is in group {group} no longer");
        }
        Verb::List(show) => {
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT name, member FROM gatepost.groups ORDER BY 1, 2")
                    .fetch_all(connection)
                    .await
                    .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(group, member)| [group, member]).collect();
            show.table(["GROUP", "MEMBER"], &rows);
        }
    }
    Ok(())
}

/// As the table has it.
fn group(text: &str) -> Result<String, String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && text.len() <= 64 && text.chars().all(good) {
        return Ok(text.to_owned());
    }
    Err("a group has at most 64 small letters, digits, \".\", \"-\" and \"_\", and begins with one of the first two".to_owned())
}
