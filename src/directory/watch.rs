//! Listening for changes: `LISTEN gatepost`, one connection per daemon.
//!
//! Our triggers (schema `gatepost`) announce each change as `TABLE KEY`, such as `users alice@example.com`, or `TABLE *` for many.
//! Contact counts as made only when all triggers are there; after any gap everything is asked anew. A read replica cannot LISTEN
//! (PostgreSQL §26.4.1): the short TTL serves there.

use std::time::Duration;

use sqlx::postgres::PgListener;

use super::{Class, Directory};
use crate::database::Trouble;

pub(super) async fn watch(directory: Directory) {
    // Where the one before ended without a word, what it missed is not known.
    directory.contact_lost();
    let mut pause = FIRST_PAUSE;
    let mut last_reason = String::new();
    loop {
        let reason = tokio::select! {
            reason = follow(&directory) => reason,
            () = silence(&directory) => "the database does not answer".to_owned(),
        };
        if directory.0.freshness.is_notified() {
            directory.contact_lost();
            pause = FIRST_PAUSE;
            tracing::warn!(%reason, "changes are not announced for now; answers count for database.cache-ttl only");
        } else if reason != last_reason {
            tracing::info!(%reason, "changes are not announced; answers count for database.cache-ttl only");
        }
        last_reason = reason;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Follows the announcements until contact is lost; returns why.
async fn follow(directory: &Directory) -> String {
    match try_follow(directory).await {
        Ok(reason) => reason,
        Err(error) => error.to_string(),
    }
}

async fn try_follow(directory: &Directory) -> Result<String, sqlx::Error> {
    // Anew each time: another server may be asked by now.
    let mut listener = PgListener::connect_with(&directory.0.database.listener_pool().await?).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    let (installed,): (i64,) =
        sqlx::query_as(include_str!("queries/triggers.sql")).fetch_one(&mut listener).await?;
    if installed < crate::store::schema::TRIGGERS {
        // Waiting here keeps the connection, so that `gatepost schema install` is heard at once.
        return Ok(match tokio::time::timeout(RECHECK, listener.try_recv()).await {
            Ok(Ok(Some(_))) => "the schema has just changed".into(),
            Ok(Ok(None)) => "the connection was lost".into(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => {
                "the triggers of schema gatepost are not installed (`gatepost schema install --triggers`)"
                    .into()
            }
        });
    }
    directory.0.freshness.contact_made();
    directory.doubt_all();
    tracing::info!("changes are announced by the database");
    while let Some(notification) = listener.try_recv().await? {
        let (table, key) = notification.payload().split_once(' ').unwrap_or((notification.payload(), "*"));
        match Class::of_table(table) {
            Some(class) => directory.changed(class, key),
            None if table == "schema" => return Ok("the schema has changed".into()),
            None => tracing::debug!(table, "announcement of another table"),
        }
    }
    Ok("the connection was lost".into())
}

/// Ends when the database leaves a heartbeat unanswered: a dead host closes no connection.
async fn silence(directory: &Directory) {
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        let database = &directory.0.database;
        let beat = database.ask(sqlx::query("SELECT 1").execute(database.pool())).await;
        if let Err(Trouble::Away(why)) = beat
            && directory.0.freshness.is_notified()
        {
            tracing::debug!(%why, "no heartbeat");
            return;
        }
    }
}

/// What the triggers and the tool speak on.
const CHANNEL: &str = "gatepost";

/// How often a database without our triggers is looked at again.
const RECHECK: Duration = Duration::from_secs(30);
/// Bounds how long a change can be missed when the database's host dies without a word.
const HEARTBEAT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
