//! Listening for changes: `LISTEN gatepost`, one connection per daemon.
//!
//! Our triggers (schema `gatepost`) announce each change as `TABLE KEY`, such as `users alice@example.com`, or `TABLE *` for many.
//! Contact counts as made only when all triggers are there; after any gap everything is asked anew. A read replica cannot LISTEN
//! (PostgreSQL §26.4.1): the short TTL serves there.

use std::time::Duration;

use sqlx::Executor;
use sqlx::postgres::PgListener;

use super::{Class, Directory};

pub(super) async fn watch(directory: Directory) {
    // Where the one before ended without a word, what it missed is not known.
    directory.contact_lost();
    let mut pause = FIRST_PAUSE;
    let mut last_reason = String::new();
    loop {
        let reason = follow(&directory).await;
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
    let servers = directory.0.database.pool().servers();
    let turn = servers.chosen().await?.turn;
    tokio::select! {
        reason = try_listen(directory) => reason,
        // What is asked there is not announced here, and the former one may live on.
        () = servers.moved_from(turn) => Ok("another database server is asked".into()),
    }
}

async fn try_listen(directory: &Directory) -> Result<String, sqlx::Error> {
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
    loop {
        let Ok(received) = tokio::time::timeout(HEARTBEAT, listener.try_recv()).await else {
            // Asked of this very connection: a host that has died closes none, and others may by now lead to another host of its name.
            let beat = tokio::time::timeout(directory.0.database.timeout(), listener.execute("SELECT 1"));
            match beat.await {
                Ok(answer) => answer?,
                Err(_) => return Ok("the database does not answer".into()),
            };
            continue;
        };
        let Some(notification) = received? else { return Ok("the connection was lost".into()) };
        let (table, key) = notification.payload().split_once(' ').unwrap_or((notification.payload(), "*"));
        match Class::of_table(table) {
            Some(class) => directory.changed(class, key),
            None if table == "schema" => return Ok("the schema has changed".into()),
            None => tracing::debug!(table, "announcement of another table"),
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
