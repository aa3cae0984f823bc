//! The dictionary sockets. Commands are answered in the order they came, as clients that send several at once expect.
//!
//! | | lookup | iterate | commit |
//! |---|---|---|---|
//! | found | `O value` | `O key value` each, an empty line | `O id` |
//! | none | `N` | an empty line | `N id` |
//! | unavailable, misconfigured | `F why` | `F why` | `F id why`, `W id why` where the write may have happened |
//!
//! Every answer comes within [`PATIENCE`]: a client that waits blocks its user's mail program (30 s, and then once more).
//! Transactions are collected and carried out at their commit. Refuses to keep more of them than [`MOST_BYTES`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use gatepost::directory::Lookup;
use tokio::time::timeout;

use super::{Conversation, Fault, Work};
use crate::dicts::{self, Change, Place, Refused};
use crate::protocol::dict::{Command, Flags, MAJORS, MAX_LINE, Reply};
use crate::service::DovecotAuth;

/// Which dictionaries stand on a socket.
pub(crate) type Shelf = Place;

/// One connection.
pub(crate) struct Dict {
    service: Arc<DovecotAuth>,
    shelf: Shelf,
    /// `None` before the hello; a name that is not on the shelf is refused command by command, so that Dovecot's log says why.
    dict: Option<Result<&'static dicts::Dict, String>>,
    transactions: HashMap<u32, Transaction>,
    bytes: usize,
}

struct Transaction {
    user: String,
    changes: Vec<Change>,
    bytes: usize,
    /// Why it cannot be carried out.
    refused: Option<&'static str>,
}

/// What was found out.
pub(crate) enum Answer {
    Value(Said<String>),
    Rows(Said<Vec<(String, String)>>, bool),
    /// `None` where it is not known.
    Commit(u32, Option<Said<()>>),
}

type Said<T> = Result<Lookup<T>, Refused>;

impl Dict {
    pub(crate) fn new(service: Arc<DovecotAuth>, shelf: Shelf) -> Self {
        Self { service, shelf, dict: None, transactions: HashMap::new(), bytes: 0 }
    }

    fn change(&mut self, id: u32, change: Change) {
        // A change of a transaction that was never begun is a bug of the client, which its commit will hear of.
        let Some(transaction) = self.transactions.get_mut(&id) else { return };
        let bytes = change.bytes();
        if self.bytes + bytes > MOST_BYTES {
            transaction.refused = Some("the transactions of this connection are too large");
            return;
        }
        self.bytes += bytes;
        transaction.bytes += bytes;
        transaction.changes.push(change);
    }

    fn end(&mut self, id: u32) -> Option<Transaction> {
        let transaction = self.transactions.remove(&id)?;
        self.bytes -= transaction.bytes;
        Some(transaction)
    }

    fn commit(&mut self, dict: &'static dicts::Dict, id: u32, out: &mut Vec<u8>) -> Option<Work<Answer>> {
        let Some(transaction) = self.end(id) else {
            Reply::CommitFailed(id, "no such transaction").render(out);
            return None;
        };
        if let Some(why) = transaction.refused {
            Reply::CommitFailed(id, why).render(out);
            return None;
        }
        let service = Arc::clone(&self.service);
        Some(Box::pin(async move {
            let Transaction { user, changes, .. } = transaction;
            let answer = timeout(PATIENCE, service.change(dict, &changes, &user)).await;
            Answer::Commit(id, answer.ok())
        }))
    }

    fn look_up(&self, dict: &'static dicts::Dict, key: String, user: String) -> Work<Answer> {
        let service = Arc::clone(&self.service);
        Box::pin(async move {
            Answer::Value(in_time(timeout(PATIENCE, service.look_up(dict, &key, &user)).await))
        })
    }

    fn iterate(
        &self,
        dict: &'static dicts::Dict,
        path: String,
        user: String,
        flags: Flags,
        most: Option<usize>,
    ) -> Work<Answer> {
        let service = Arc::clone(&self.service);
        Box::pin(async move {
            let rows = timeout(PATIENCE, service.iterate(dict, &path, &user, flags, most)).await;
            Answer::Rows(in_time(rows), flags.no_value)
        })
    }
}

impl Conversation for Dict {
    const LONGEST: usize = MAX_LINE;
    const AT_ONCE: usize = 1;
    type Outcome = Answer;

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<Answer>>, Fault> {
        let command = Command::parse(line).map_err(|error| Fault::Protocol(error.to_string()))?;
        let dict = match (&self.dict, &command) {
            (None, Command::Hello(hello)) if MAJORS.contains(&hello.major) => {
                let dict = dicts::Dict::named(&hello.dict, self.shelf);
                if let Err(why) = &dict {
                    tracing::warn!("{why}; does dovecot.conf name the right dictionary and socket?");
                }
                self.dict = Some(dict);
                return Ok(None);
            }
            (None, Command::Hello(hello)) => {
                return Err(Fault::Protocol(format!("protocol version {}, expected 3 or 4", hello.major)));
            }
            (None, _) => return Err(Fault::Protocol("out of order: H comes now".to_owned())),
            (Some(_), Command::Hello(_)) => return Err(Fault::Protocol("H twice".to_owned())),
            (Some(Ok(dict)), _) => *dict,
            (Some(Err(why)), Command::Lookup { .. } | Command::Iterate { .. }) => {
                Reply::Failed(why).render(out);
                return Ok(None);
            }
            (Some(Err(why)), Command::Commit(id)) => {
                Reply::CommitFailed(*id, why).render(out);
                return Ok(None);
            }
            (Some(Err(_)), _) => return Ok(None),
        };
        match command {
            Command::Lookup { key, user } => return Ok(Some(self.look_up(dict, key, user))),
            Command::Iterate { flags, rows, path, user } => {
                return Ok(Some(self.iterate(dict, path, user, flags, rows)));
            }
            Command::Commit(id) => return Ok(self.commit(dict, id, out)),
            Command::Begin { id, user } => {
                if self.transactions.len() >= MOST_TRANSACTIONS {
                    return Err(Fault::Protocol(format!("{MOST_TRANSACTIONS} transactions are open")));
                }
                let transaction = Transaction { user, changes: Vec::new(), bytes: 0, refused: None };
                if self.transactions.insert(id, transaction).is_some() {
                    return Err(Fault::Protocol(format!("transaction {id} begun twice")));
                }
            }
            Command::Set { id, key, value } => self.change(id, Change::Set(key, value)),
            Command::Unset { id, key } => self.change(id, Change::Unset(key)),
            Command::Add { id, key, difference } => self.change(id, Change::Add(key, difference)),
            Command::Rollback(id) => drop(self.end(id)),
            Command::Remark | Command::Hello(_) => {}
        }
        Ok(None)
    }

    fn done(&mut self, answer: Answer, out: &mut Vec<u8>) -> Result<(), Fault> {
        match answer {
            Answer::Value(said) => match settle(said) {
                Ok(Some(value)) => Reply::Found(&value).render(out),
                Ok(None) => Reply::NotFound.render(out),
                Err(why) => Reply::Failed(&why).render(out),
            },
            Answer::Rows(said, no_value) => match settle(said) {
                Ok(rows) => {
                    for (key, value) in rows.unwrap_or_default() {
                        Reply::Row(&key, if no_value { "" } else { &value }).render(out);
                    }
                    Reply::End.render(out);
                }
                Err(why) => Reply::Failed(&why).render(out),
            },
            Answer::Commit(id, Some(said)) => match settle(said) {
                Ok(Some(())) => Reply::Committed(id).render(out),
                Ok(None) => Reply::CommittedNothing(id).render(out),
                Err(why) => Reply::CommitFailed(id, &why).render(out),
            },
            Answer::Commit(id, None) => Reply::CommitUncertain(id, TOO_LATE).render(out),
        }
        Ok(())
    }
}

/// Found, none, or why nobody can say.
fn settle<T>(said: Said<T>) -> Result<Option<T>, String> {
    match said {
        Ok(Lookup::Found(value)) => Ok(Some(value)),
        Ok(Lookup::None) => Ok(None),
        Ok(Lookup::Unavailable(why) | Lookup::Misconfigured(why)) => Err(why),
        Err(Refused(why)) => Err(why),
    }
}

fn in_time<T>(answer: Result<Said<T>, tokio::time::error::Elapsed>) -> Said<T> {
    answer.unwrap_or_else(|_| Ok(Lookup::Unavailable(TOO_LATE.to_owned())))
}

/// A lookup of `database.timeout` (2 s), or two of which the second fails at once.
const PATIENCE: Duration = Duration::from_millis(2800);
const TOO_LATE: &str = "no answer from the database in time";
/// Dovecot opens one at a time; a rebuild of the shares has one per key, one after the other.
const MOST_TRANSACTIONS: usize = 64;
/// Keys and values of all open transactions of one connection.
const MOST_BYTES: usize = 1 << 20;
