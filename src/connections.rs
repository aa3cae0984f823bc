//! The connections of [`crate::database`] as questions use them: one that has answered waits here for the next question.
//!
//! sqlx's pool asks every connection that comes back whether it is well, which is a second round trip for each question. So what has
//! answered does not go back to the pool, unless nobody has needed it for [`IDLE`]; what has failed, or was left in the middle of an answer, does, and
//! the pool looks at it. Where it was the connection that failed and not the question, because the server ended the session or because its role
//! was dropped (and perhaps made anew), the question is put once more, on another. Refuses to bound how many questions there are: the permits of `database` do.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgArguments, PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo};
use sqlx::{Connection, Either, Error, Execute, Executor, Postgres, SqlStr};
use tokio::sync::Notify;

use crate::servers::Servers;

/// Where questions go: `query.fetch_one(connections)`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Connections {
    servers: Arc<Servers>,
    /// The one used last is at the end.
    warm: Arc<Mutex<Vec<Warm>>>,
    /// Tells one who waits for the pool that there is a warm one.
    kept: Arc<Notify>,
    doubt: RoleDoubt,
}

/// When a session was last told that its role may not do something: those that are older may have a role that is not there any more. A role
/// that is made anew is another, and a session keeps the one that it began with.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoleDoubt(Arc<Mutex<Option<Instant>>>);

impl RoleDoubt {
    /// Doubts every session of now; whether that is news.
    fn raise(&self) -> bool {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = since.is_none_or(|since| since.elapsed() > DOUBT_AGAIN);
        if is_news {
            *since = Some(Instant::now());
        }
        is_news
    }

    /// Whether a session of that age is in doubt.
    pub(crate) fn concerns(&self, age: Duration) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| age >= since.elapsed())
    }
}

/// Whether the role of a session is still there; it has no name otherwise ("invalid role OID", 42704).
pub(crate) async fn has_role(connection: &mut PgConnection) -> bool {
    connection.execute("SELECT session_user").await.is_ok()
}

/// A question in the form in which it can be put twice.
type Question = (SqlStr, Option<PgArguments>);

fn question<'q>(mut query: impl Execute<'q, Postgres>) -> Result<Question, Error> {
    let arguments = query.take_arguments().map_err(Error::Encode)?;
    Ok((query.sql(), arguments))
}

#[derive(Debug)]
struct Warm {
    connection: Taken,
    used: Instant,
}

/// A connection, and which server it is to ([`crate::servers::Chosen::turn`]).
#[derive(Debug)]
struct Taken {
    connection: PoolConnection<Postgres>,
    turn: u64,
}

impl Connections {
    /// `doubt` is what the pool of `servers` looks at before it gives a connection away.
    pub(crate) fn new(servers: Servers, doubt: RoleDoubt) -> Self {
        Self { servers: Arc::new(servers), warm: Arc::default(), kept: Arc::default(), doubt }
    }

    /// A question was refused for want of rights: every connection shows that its role is still there before it is used again.
    pub(crate) fn doubt_role(&self) {
        if self.doubt.raise() {
            self.warm().clear();
        }
    }

    pub(crate) fn servers(&self) -> &Servers {
        &self.servers
    }

    /// A connection for several statements; it goes back to the pool when it is dropped.
    ///
    /// # Errors
    /// As sqlx's pool: none is to be had.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, Error> {
        self.take().await.map(|taken| taken.connection)
    }

    async fn take(&self) -> Result<Taken, Error> {
        loop {
            let chosen = self.servers.chosen().await?;
            let warm = self.warm().pop();
            let Some(Warm { connection: mut taken, used }) = warm else {
                let (pool, turn) = (&chosen.pool, chosen.turn);
                // A connection that is being made is waited for, whatever comes back meanwhile: one that is given up half-made still stands
                // in the server's queue, and a few hundred of these fill it (EAGAIN on a unix socket).
                let new = if pool.num_idle() > 0 || pool.size() < pool.options().get_max_connections() {
                    pool.acquire().await
                } else {
                    tokio::select! {
                        new = pool.acquire() => new,
                        () = self.kept.notified() => continue,
                    }
                };
                match new {
                    Ok(connection) => return Ok(Taken { connection, turn }),
                    // Another server was chosen meanwhile.
                    Err(Error::PoolClosed) if self.servers.current().turn != turn => continue,
                    Err(error) => {
                        self.servers.doubt();
                        return Err(error);
                    }
                }
            };
            // To a former server: it goes back to a pool that is closed, and ends there.
            if taken.turn != chosen.turn {
                continue;
            }
            // One that was used a moment ago lives; if not, its question fails as it would have in the middle.
            if used.elapsed() <= TRUSTED || taken.connection.ping().await.is_ok() {
                return Ok(taken);
            }
        }
    }

    /// Keeps a connection that has answered.
    fn keep(&self, connection: Taken) {
        let mut warm = self.warm();
        warm.push(Warm { connection, used: Instant::now() });
        // Back to the pool, whose own limits of age then count.
        let idle = warm.iter().take_while(|warm| warm.used.elapsed() > IDLE).count();
        warm.drain(..idle);
        drop(warm);
        self.kept.notify_one();
    }

    /// Whether it was the connection that failed, so that another may answer. Whatever was begun is undone then: the session has ended, or may do
    /// nothing.
    async fn is_spent(&self, taken: &mut Taken, error: &Error) -> bool {
        let is_over = match error {
            // Closed at the other end before it was sent. What was lost later may have been done.
            Error::Io(error) => error.kind() == io::ErrorKind::BrokenPipe,
            Error::Database(error) => match error.code().as_deref() {
                Some("42501" | "42704") => return !has_role(&mut taken.connection).await,
                code => matches!(code, Some("57P01" | "57P02")),
            },
            _ => false,
        };
        if is_over {
            self.servers.doubt();
        }
        is_over
    }

    /// Ends a connection that is of no use any more; the others are most likely no better.
    fn discard(&self, mut taken: Taken) {
        self.doubt.raise();
        taken.connection.close_on_drop();
        self.warm().clear();
    }

    /// What became of a question decides about its connection.
    fn settle<T>(&self, connection: Taken, answer: Result<T, Error>) -> Result<T, Error> {
        match &answer {
            Ok(_) => self.keep(connection),
            // The others are most likely as dead.
            Err(Error::Io(_) | Error::Tls(_) | Error::Protocol(_)) => {
                self.warm().clear();
                self.servers.doubt();
            }
            Err(Error::Database(error)) => match error.code().as_deref() {
                // It is being stopped, has crashed, or is not yet up.
                Some("57P01" | "57P02" | "57P03") => self.servers.doubt(),
                // It writes no more: it has become a standby.
                Some("25006") if self.servers.must_be_writable() => self.servers.doubt(),
                _ => {}
            },
            Err(_) => {}
        }
        answer
    }

    fn warm(&self) -> MutexGuard<'_, Vec<Warm>> {
        self.warm.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'p> Executor<'p> for &'_ Connections {
    type Database = Postgres;

    /// Takes the whole answer in before it gives the first row away. Long lists are read over connections of their own (`directory`).
    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let this = self.clone();
        let answer = async move {
            let question = question(query)?;
            let mut taken = this.take().await?;
            let mut answer: Result<Vec<_>, Error> =
                taken.connection.fetch_many(question.clone()).try_collect().await;
            if let Err(error) = &answer
                && this.is_spent(&mut taken, error).await
            {
                this.discard(taken);
                taken = this.take().await?;
                answer = taken.connection.fetch_many(question).try_collect().await;
            }
            this.settle(taken, answer).map(|steps| stream::iter(steps.into_iter().map(Ok)))
        };
        stream::once(answer).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let this = self.clone();
        Box::pin(async move {
            let question = question(query)?;
            let mut taken = this.take().await?;
            let mut answer = taken.connection.fetch_optional(question.clone()).await;
            if let Err(error) = &answer
                && this.is_spent(&mut taken, error).await
            {
                this.discard(taken);
                taken = this.take().await?;
                answer = taken.connection.fetch_optional(question).await;
            }
            this.settle(taken, answer)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let this = self.clone();
        Box::pin(async move {
            let mut taken = this.take().await?;
            let answer = taken.connection.prepare_with(sql, parameters).await;
            this.settle(taken, answer)
        })
    }
}

/// For how long a connection is believed to live after it was used.
pub(crate) const TRUSTED: Duration = Duration::from_secs(1);
/// A role that lacks a right for good is not to cost a round trip with every question.
const DOUBT_AGAIN: Duration = Duration::from_secs(1);
/// A connection that nobody has needed for so long is given back.
const IDLE: Duration = Duration::from_secs(60);
