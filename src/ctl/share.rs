//! `gatepost share`: the tutorial's table `shared_mailboxes`. Dovecot's ACL plugin writes it as users share folders; this is for
//! looking and for mending. Rights themselves stand in the mailbox (`doveadm acl`).

use anyhow::bail;
use clap::Subcommand;
use gatepost::mail::Address;
use sqlx::PgConnection;

use super::connection::{explain, violates};
use super::{terminal, user};

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Record that a mailbox is shared to a user
    Add {
        /// Whose mailbox
        from: Address,
        /// Who sees it
        to: Address,
    },
    /// Remove that record
    Remove {
        /// Whose mailbox
        from: Address,
        /// Who saw it
        to: Address,
    },
    /// List shares
    List(terminal::Show),
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    match verb {
        Verb::Add { from, to } => {
            if from == to {
                bail!("a mailbox needs not be shared to its owner");
            }
            let (from_local, from_domain) = user::require(connection, &from).await?;
            let (to_local, to_domain) = user::require(connection, &to).await?;
            let insert = sqlx::query("INSERT INTO public.shared_mailboxes VALUES ($1, $2, $3, $4)")
                .bind(from_local)
                .bind(from_domain)
                .bind(to_local)
                .bind(to_domain);
            match insert.execute(connection).await {
                Ok(_) => println!(
                    "{from} is shared to {to}; give rights with `doveadm acl set -u {from} MAILBOX user={to} lookup read`"
                ),
                Err(error) if violates(&error, "23505") => println!("{from} was shared to {to} already"),
                Err(error) => return Err(explain(error)),
            }
        }
        Verb::Remove { from, to } => {
            let (Some((from_local, from_domain)), Some((to_local, to_domain))) =
                (user::stored(connection, &from).await?, user::stored(connection, &to).await?)
            else {
                bail!("{from} or {to} is no mailbox, so nothing is shared; `gatepost share list`");
            };
            let done = sqlx::query(
                "DELETE FROM public.shared_mailboxes WHERE shared_mailbox_local = $1 AND shared_mailbox_domain = $2
                 AND shared_to_local = $3 AND shared_to_domain = $4",
            )
            .bind(from_local)
            .bind(from_domain)
            .bind(to_local)
            .bind(to_domain)
            .execute(connection)
            .await
            .map_err(explain)?;
            if done.rows_affected() == 0 {
                bail!("{from} is not shared to {to}; `gatepost share list`");
            }
            println!("{from} is no longer shared to {to}");
        }
        Verb::List(show) => {
            let rows: Vec<(String, String)> = sqlx::query_as(
                "SELECT shared_mailbox, shared_to FROM public.view_shared_mailboxes ORDER BY 1, 2",
            )
            .fetch_all(connection)
            .await
            .map_err(explain)?;
            let rows: Vec<_> = rows.into_iter().map(|(from, to)| [from, to]).collect();
            show.table(["MAILBOX", "SHARED TO"], &rows);
        }
    }
    Ok(())
}
