//! One connection of each kind of listener: a line in, work that may take its time, a line out.
//!
//! All kinds share the loop here. Lines are read while earlier requests are still being worked on, up to a bound per connection; work
//! runs inside the connection's own task (the hashing itself on the hasher's threads), so nothing is spawned per line and everything
//! ends with the connection. Draining: what is under way is answered, then the connection is closed at a line's end.

mod client;
mod dict;
mod master;
pub(crate) mod policy;
mod userdb;
mod wire;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use gatepost::net::{Drain, Stream};
use gatepost::telemetry::printable;
use tokio::time::Instant;

pub(crate) use client::{Client, Kind};
pub(crate) use dict::{Dict, Shelf};
pub(crate) use master::Master;
pub(crate) use userdb::Users;

use wire::{Line, PATIENCE, Wire, WireError};

/// What one kind of peer and we say to each other.
pub(crate) trait Conversation: Send {
    /// The longest line that the peer sends.
    const LONGEST: usize;
    /// How many requests of one connection are worked on at once; further lines wait unread. 1 keeps the answers in order.
    const AT_ONCE: usize;
    /// How many of them at this moment.
    fn room(&self) -> usize {
        Self::AT_ONCE
    }
    /// What the work behind a line ends with.
    type Outcome: Send + 'static;

    /// What is said at once.
    fn greet(&mut self, _out: &mut Vec<u8>) {}

    /// Takes one line in: answers it, or says what work is to be done first.
    ///
    /// # Errors
    /// Why the connection ends.
    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<Self::Outcome>>, Fault>;

    /// Answers a line whose work is done, or says what of it is to be done next; what is in `out` by then is sent before.
    ///
    /// # Errors
    /// Why the connection ends.
    fn done(
        &mut self,
        outcome: Self::Outcome,
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<Self::Outcome>>, Fault>;

    /// How long the peer may take to read what is sent.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// What is said before a connection is closed because the daemon ends.
    fn farewell(&mut self, _out: &mut Vec<u8>) {}
}

/// Work behind a line.
pub(crate) type Work<T> = BoxFuture<'static, T>;

/// Work that ends with `panicked` where it panics: a client waits for its answer, and many others wait on the same connection.
pub(crate) fn work<T: Send + 'static>(
    doing: impl Future<Output = T> + Send + 'static,
    panicked: impl FnOnce() -> T + Send + 'static,
) -> Work<T> {
    Box::pin(async move {
        // The message of the panic is in the log already.
        AssertUnwindSafe(doing).catch_unwind().await.unwrap_or_else(|_| panicked())
    })
}

/// What is said then, to the log and the peer.
pub(crate) const PANICKED: &str = "a bug of gatepost-dovecot-auth: it panicked, see its log";

/// Why a connection is closed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// The peer does not speak this protocol: the operator has most likely named the wrong socket somewhere.
    #[error("{0}")]
    Protocol(String),
    /// The peer speaks it, and may not.
    #[error("{0}")]
    Forbidden(String),
    /// Closing is the answer.
    #[error("closed as an answer")]
    Answer,
    /// The connection itself.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Serves one connection until the peer closes it, breaks the protocol, or the daemon ends.
pub(crate) async fn serve<C: Conversation>(stream: Stream, drain: Drain, mut conversation: C) {
    let mut wire = Wire::new(stream, C::LONGEST, PATIENCE);
    let mut shown = String::new();
    let outcome = converse(&mut wire, &drain, &mut conversation, &mut shown).await;
    match &outcome {
        Ok(()) => {}
        Err(Fault::Protocol(why)) => {
            tracing::warn!(line = %shown, "connection closed: {why}; does the peer's configuration name the right socket?");
        }
        Err(Fault::Forbidden(why)) => tracing::warn!("connection closed: {why}"),
        Err(Fault::Answer) => tracing::debug!("connection closed as an answer"),
        Err(Fault::Wire(error @ WireError::TooLong(_))) => tracing::warn!("connection closed: {error}"),
        Err(Fault::Wire(error)) => tracing::debug!("connection closed: {error}"),
    }
    wire.close().await;
}

async fn converse<C: Conversation>(
    wire: &mut Wire<Stream>,
    drain: &Drain,
    conversation: &mut C,
    shown: &mut String,
) -> Result<(), Fault> {
    let mut under_way = FuturesUnordered::new();
    let mut draining_since: Option<Instant> = None;
    conversation.greet(wire.output());
    loop {
        // What can be done without waiting comes first, so that many small answers go out together.
        while wire.output().len() < OUTPUT_AT_ONCE
            && let Some(Some(outcome)) = under_way.next().now_or_never()
        {
            under_way.extend(conversation.done(outcome, wire.output())?);
        }
        while under_way.len() < conversation.room()
            && wire.output().len() < OUTPUT_AT_ONCE
            && let Some(line) = wire.buffered()?
        {
            take(conversation, &line, wire.output(), &mut under_way, shown)?;
        }
        wire.flush(conversation.patience()).await?;
        let (busy, may_read, draining) =
            (!under_way.is_empty(), under_way.len() < conversation.room(), drain.is_started());
        let may_end = draining && !busy && wire.is_between_lines();
        let since = draining.then(|| *draining_since.get_or_insert_with(Instant::now));
        // A peer that is never silent, such as lmtp under a stream of mail, is closed between two lines all the same.
        let quiet =
            if since.is_some_and(|since| since.elapsed() > LONGEST_QUIET) { Duration::ZERO } else { QUIET };
        tokio::select! {
            biased;
            // An empty set is always "done"; it is looked at only while there is something in it.
            Some(outcome) = under_way.next(), if busy => {
                under_way.extend(conversation.done(outcome, wire.output())?);
            }
            // A line that is here already is answered even while draining.
            line = wire.next(), if may_read => match line? {
                Some(line) => take(conversation, &line, wire.output(), &mut under_way, shown)?,
                None => {
                    // The peer may have closed its sending side only; it is owed the answers.
                    while let Some(outcome) = under_way.next().await {
                        under_way.extend(conversation.done(outcome, wire.output())?);
                        wire.flush(conversation.patience()).await?;
                    }
                    return Ok(());
                }
            },
            // Not at once: a request that the peer has just written would be lost, and Dovecot 2.3 calls that a wrong password.
            () = tokio::time::sleep(quiet), if may_end => {
                conversation.farewell(wire.output());
                return Ok(());
            }
            () = drain.started(), if !draining => {}
        }
    }
}

fn take<C: Conversation>(
    conversation: &mut C,
    line: &Line,
    out: &mut Vec<u8>,
    under_way: &mut FuturesUnordered<Work<C::Outcome>>,
    shown: &mut String,
) -> Result<(), Fault> {
    match conversation.line(line, out) {
        Ok(Some(mut work)) => {
            // What is known already needs no place among what is waited for.
            match (&mut work).now_or_never() {
                Some(outcome) => under_way.extend(conversation.done(outcome, out)?),
                None => under_way.push(work),
            }
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(fault) => {
            // Only the first word: what follows may be somebody's password.
            let word = line.split(|byte| *byte == b'\t').next().unwrap_or_default();
            *shown = printable(word, WORD_SHOWN);
            Err(fault)
        }
    }
}

/// How long a connection must have been silent to be closed because the daemon ends. A line that is in the kernel already is seen within
/// that time, however busy the machine is.
const QUIET: Duration = Duration::from_millis(150);
/// How long silence is waited for.
const LONGEST_QUIET: Duration = Duration::from_secs(2);
/// A peer that sends many requests at once gets its answers in pieces of about this size.
const OUTPUT_AT_ONCE: usize = 64 * 1024;
/// The longest command word has 11 characters.
const WORD_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_answer_like_another() {
        assert_eq!(work(async { 7 }, || 0).await, 7);
        let never = |is_broken: bool| async move {
            tokio::task::yield_now().await;
            assert!(!is_broken, "as a bug might");
            7
        };
        assert_eq!(work(never(true), || 0).await, 0);
        // As it is asked where the answer may be there already.
        assert_eq!(work(async { panic!("as a bug might") }, || 0).now_or_never(), Some(0));
    }
}
