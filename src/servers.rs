//! Which of several PostgreSQL servers is asked: the first in the list of `database.host` that answers and fits
//! `database.target-session-attrs`.
//!
//! One is chosen at the start and kept for as long as it answers. When a connection is lost, a question is not answered in time, or
//! the server says that it is read-only though it was to be written to, it is in doubt, and whoever asks next chooses anew, from the
//! first in the list on. One caller chooses, the others wait for it. A change makes a new pool: no connection to the former server is used again, so
//! that a primary that comes back after another has taken its place is not written to. Refuses to balance load and to judge by anything
//! but the server's own word; with one server that may be any, nothing of this happens.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Error};
use tokio::sync::{Mutex, Notify};

use crate::config::SessionAttrs;

/// The servers that there are, and the one that is asked.
#[derive(Debug)]
pub(crate) struct Servers {
    candidates: Vec<Server>,
    needs: SessionAttrs,
    pool_options: PgPoolOptions,
    /// How long one server may take to be chosen.
    share: Duration,
    chosen: ArcSwap<Chosen>,
    doubted: AtomicBool,
    choosing: Mutex<()>,
    /// Tells that another was chosen.
    moved: Notify,
}

/// One server.
pub(crate) struct Server {
    /// As the configuration has it.
    pub(crate) name: String,
    /// With the role's password in it.
    pub(crate) options: PgConnectOptions,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The server that is asked.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Its place in the list.
    place: usize,
    /// How often another was chosen before: connections with a lower number are to a former one.
    pub(crate) turn: u64,
    pub(crate) pool: PgPool,
}

impl Servers {
    /// `candidates` holds at least one server; `timeout` is what a question may take in all.
    pub(crate) fn new(
        candidates: Vec<Server>,
        needs: SessionAttrs,
        pool_options: PgPoolOptions,
        timeout: Duration,
    ) -> Self {
        let pool = pool_options.clone().connect_lazy_with(candidates[0].options.clone());
        // Something is left for the question itself.
        let share = timeout / u32::try_from(candidates.len() + 1).unwrap_or(u32::MAX);
        let doubted = AtomicBool::new(candidates.len() > 1 || needs != SessionAttrs::Any);
        Self {
            candidates,
            needs,
            pool_options,
            share,
            chosen: ArcSwap::from_pointee(Chosen { place: 0, turn: 0, pool }),
            doubted,
            choosing: Mutex::new(()),
            moved: Notify::new(),
        }
    }

    /// The one that is asked; it may be in doubt.
    pub(crate) fn current(&self) -> Arc<Chosen> {
        self.chosen.load_full()
    }

    /// How to connect to the one that is asked.
    pub(crate) fn options(&self) -> &PgConnectOptions {
        &self.candidates[self.chosen.load().place].options
    }

    /// The one that is asked, chosen anew if it is in doubt.
    ///
    /// # Errors
    /// No server answers and fits: an I/O error that says why of each.
    pub(crate) async fn chosen(&self) -> Result<Arc<Chosen>, Error> {
        if !self.doubted.load(Ordering::Acquire) {
            return Ok(self.current());
        }
        let _turn = self.choosing.lock().await;
        if self.doubted.load(Ordering::Acquire) {
            let place = self.choose().await?;
            self.settle(place);
            self.doubted.store(false, Ordering::Release);
        }
        Ok(self.current())
    }

    /// The server has failed: another may have to be asked. Without a choice nothing happens.
    pub(crate) fn doubt(&self) {
        if self.candidates.len() > 1 || self.needs != SessionAttrs::Any {
            self.doubted.store(true, Ordering::Release);
        }
    }

    /// Waits until another than the one of that turn is asked.
    pub(crate) async fn moved_from(&self, turn: u64) {
        loop {
            // Before the look, so that nothing between the two is missed.
            let moved = self.moved.notified();
            if self.current().turn != turn {
                return;
            }
            moved.await;
        }
    }

    /// Whether the server must be one that can be written to.
    pub(crate) fn must_be_writable(&self) -> bool {
        self.needs == SessionAttrs::ReadWrite
    }

    fn settle(&self, place: usize) {
        let former = self.current();
        let server = &self.candidates[place];
        if former.place == place {
            tracing::debug!(host = server.name, "database server kept");
            return;
        }
        tracing::warn!(
            host = server.name,
            former = self.candidates[former.place].name,
            "another database server is asked from now on"
        );
        let pool = self.pool_options.clone().connect_lazy_with(server.options.clone());
        self.chosen.store(Arc::new(Chosen { place, turn: former.turn + 1, pool }));
        self.moved.notify_waiters();
        // Marked as closed at once; its connections end as they come back, and none of them is waited for.
        drop(former.pool.close());
    }

    async fn choose(&self) -> Result<usize, Error> {
        let mut reasons = Vec::new();
        for (place, server) in self.candidates.iter().enumerate() {
            match tokio::time::timeout(self.share, self.try_one(server)).await {
                Ok(Ok(())) => return Ok(place),
                Ok(Err(reason)) => reasons.push(format!("{}: {reason}", server.name)),
                Err(_) => reasons.push(format!("{}: no answer within {:?}", server.name, self.share)),
            }
        }
        Err(Error::Io(std::io::Error::other(reasons.join("; "))))
    }

    /// Whether a server answers and fits, or why not.
    async fn try_one(&self, server: &Server) -> Result<(), String> {
        let mut connection =
            PgConnection::connect_with(&server.options).await.map_err(|error| error.to_string())?;
        let fits = match self.needs {
            SessionAttrs::Any => Ok(()),
            SessionAttrs::ReadWrite => {
                let (read_only,): (String,) = sqlx::query_as(READ_ONLY)
                    .fetch_one(&mut connection)
                    .await
                    .map_err(|error| error.to_string())?;
                if read_only == "off" { Ok(()) } else { Err("it is read-only, a standby".to_owned()) }
            }
        };
        // It is done with, however its end is taken.
        let _ = connection.close().await;
        fits
    }
}

/// `on` on a standby as well as where the role or database is set to it; what libpq asks for `target_session_attrs=read-write`.
const READ_ONLY: &str = "SHOW transaction_read_only";
