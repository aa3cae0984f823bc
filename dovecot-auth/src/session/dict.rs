//! The dictionary sockets. Lookups and iterations of one connection are worked on beside each other, and their answers numbered as soon
//! as there are two; a commit lets nothing pass it. An old client, which takes no numbers, gets one answer after the other.
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

use super::{Conversation, Fault, PANICKED, Work, work};
use crate::dicts::{self, Change, Place, Refused, Writer};
use crate::protocol::dict::{Command, Flags, MAJORS, MAX_LINE, Reply, number, takes_numbers};
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
    /// Whether the client takes numbered answers.
    numbers: bool,
    /// The commands that are worked on, in the order they came, and whether each has been numbered.
    under_way: Vec<(u32, bool)>,
    /// The last command's number.
    last: u32,
    /// A commit is under way.
    committing: bool,
}

struct Transaction {
    writer: Writer,
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
    Commit(Commit, Option<Said<()>>),
}

/// Which transaction, and whether the client waits for it.
#[derive(Clone, Copy)]
pub(crate) struct Commit {
    id: u32,
    waits: bool,
}

/// The number of a command, and what was found out.
type Outcome = (u32, Answer);

type Said<T> = Result<Lookup<T>, Refused>;

impl Dict {
    pub(crate) fn new(service: Arc<DovecotAuth>, shelf: Shelf) -> Self {
        Self {
            service,
            shelf,
            dict: None,
            transactions: HashMap::new(),
            bytes: 0,
            numbers: false,
            under_way: Vec::new(),
            last: 0,
            committing: false,
        }
    }

    /// A command is worked on; returns its number, which it is told if another is worked on as well: an answer without a number is the
    /// first command's.
    fn begin(&mut self, out: &mut Vec<u8>) -> u32 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.under_way.push((self.last, false));
        if self.under_way.len() > 1 {
            for (command, numbered) in &mut self.under_way {
                if !std::mem::replace(numbered, true) {
                    number(*command, out);
                }
            }
        }
        self.last
    }

    /// A command is answered now; returns the number to answer under.
    fn end(&mut self, command: u32) -> Option<u32> {
        let place = self.under_way.iter().position(|(known, _)| *known == command)?;
        let (_, numbered) = self.under_way.remove(place);
        numbered.then_some(command)
    }

    /// A command that needs no work.
    fn at_once(&mut self, reply: &Reply<'_>, out: &mut Vec<u8>) {
        let command = self.begin(out);
        reply.render_for(self.end(command), out);
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

    fn take(&mut self, id: u32) -> Option<Transaction> {
        let transaction = self.transactions.remove(&id)?;
        self.bytes -= transaction.bytes;
        Some(transaction)
    }

    fn commit(
        &mut self,
        dict: Result<&'static dicts::Dict, String>,
        commit: Commit,
        out: &mut Vec<u8>,
    ) -> Option<Work<Outcome>> {
        let transaction = self.take(commit.id);
        let failed = |why: &str, this: &mut Self, out: &mut Vec<u8>| {
            let reply = Reply::CommitFailed(commit.id, why);
            let marked = Reply::Async(&reply);
            this.at_once(if commit.waits { &reply } else { &marked }, out);
            None
        };
        let dict = match dict {
            Ok(dict) => dict,
            Err(why) => return failed(&why, self, out),
        };
        let Some(Transaction { writer, changes, refused, .. }) = transaction else {
            return failed("no such transaction", self, out);
        };
        if let Some(why) = refused {
            return failed(why, self, out);
        }
        let service = Arc::clone(&self.service);
        let command = self.begin(out);
        self.committing = true;
        let doing = async move {
            let answer = timeout(PATIENCE, service.change(dict, &changes, &writer)).await;
            (command, Answer::Commit(commit, answer.ok()))
        };
        // Nobody knows how far it came.
        Some(work(doing, move || (command, Answer::Commit(commit, None))))
    }

    fn look_up(
        &mut self,
        dict: &'static dicts::Dict,
        key: String,
        user: String,
        out: &mut Vec<u8>,
    ) -> Work<Outcome> {
        let (service, command) = (Arc::clone(&self.service), self.begin(out));
        let doing = async move {
            let value = timeout(PATIENCE, service.look_up(dict, &key, &user)).await;
            (command, Answer::Value(in_time(value)))
        };
        work(doing, move || (command, Answer::Value(panicked())))
    }

    fn iterate(
        &mut self,
        dict: &'static dicts::Dict,
        (path, user): (String, String),
        flags: Flags,
        most: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Work<Outcome> {
        let (service, command) = (Arc::clone(&self.service), self.begin(out));
        let (no_value, doing) = (flags.no_value, async move {
            let rows = timeout(PATIENCE, service.iterate(dict, &path, &user, flags, most)).await;
            (command, Answer::Rows(in_time(rows), flags.no_value))
        });
        work(doing, move || (command, Answer::Rows(panicked(), no_value)))
    }
}

impl Conversation for Dict {
    const LONGEST: usize = MAX_LINE;
    /// Each is one question to the database at the most.
    const AT_ONCE: usize = 32;
    type Outcome = Outcome;

    fn room(&self) -> usize {
        if self.committing || !self.numbers { 1 } else { Self::AT_ONCE }
    }

    fn line(&mut self, line: &[u8], out: &mut Vec<u8>) -> Result<Option<Work<Outcome>>, Fault> {
        let command = Command::parse(line).map_err(|error| Fault::Protocol(error.to_string()))?;
        let dict = match (&self.dict, &command) {
            (None, Command::Hello(hello)) if MAJORS.contains(&hello.major) => {
                let dict = dicts::Dict::named(&hello.dict, self.shelf);
                if let Err(why) = &dict {
                    tracing::warn!("{why}; does dovecot.conf name the right dictionary and socket?");
                }
                (self.dict, self.numbers) = (Some(dict), takes_numbers(hello));
                return Ok(None);
            }
            (None, Command::Hello(hello)) => {
                return Err(Fault::Protocol(format!("protocol version {}, expected 3 or 4", hello.major)));
            }
            (None, _) => return Err(Fault::Protocol("out of order: H comes now".to_owned())),
            (Some(_), Command::Hello(_)) => return Err(Fault::Protocol("H twice".to_owned())),
            (Some(dict), _) => dict.clone(),
        };
        match command {
            Command::Lookup { key, user } => match dict {
                Ok(dict) => return Ok(Some(self.look_up(dict, key, user, out))),
                Err(why) => self.at_once(&Reply::Failed(&why), out),
            },
            Command::Iterate { flags, rows, path, user } => match dict {
                Ok(dict) => return Ok(Some(self.iterate(dict, (path, user), flags, rows, out))),
                Err(why) => self.at_once(&Reply::Failed(&why), out),
            },
            Command::Commit(id) => return Ok(self.commit(dict, Commit { id, waits: true }, out)),
            Command::CommitAsync(id) => return Ok(self.commit(dict, Commit { id, waits: false }, out)),
            Command::Begin { id, user, expires } => {
                if self.transactions.len() >= MOST_TRANSACTIONS {
                    return Err(Fault::Protocol(format!("{MOST_TRANSACTIONS} transactions are open")));
                }
                let writer = Writer { user, expires };
                let transaction = Transaction { writer, changes: Vec::new(), bytes: 0, refused: None };
                if self.transactions.insert(id, transaction).is_some() {
                    return Err(Fault::Protocol(format!("transaction {id} begun twice")));
                }
            }
            Command::Set { id, key, value: Some(value) } => self.change(id, Change::Set(key, value)),
            Command::Set { id, value: None, .. } => {
                if let Some(transaction) = self.transactions.get_mut(&id) {
                    transaction.refused = Some("a value is no UTF-8 text");
                }
            }
            Command::Unset { id, key } => self.change(id, Change::Unset(key)),
            Command::Add { id, key, difference } => self.change(id, Change::Add(key, difference)),
            Command::Rollback(id) => drop(self.take(id)),
            Command::Remark | Command::Hello(_) => {}
        }
        Ok(None)
    }

    fn done(
        &mut self,
        (command, answer): Outcome,
        out: &mut Vec<u8>,
    ) -> Result<Option<Work<Outcome>>, Fault> {
        let number = self.end(command);
        match answer {
            Answer::Value(said) => match settle(said) {
                Ok(Some(value)) => Reply::Found(&value).render_for(number, out),
                Ok(None) => Reply::NotFound.render_for(number, out),
                Err(why) => Reply::Failed(&why).render_for(number, out),
            },
            Answer::Rows(said, no_value) => match settle(said) {
                Ok(rows) => {
                    for (key, value) in rows.unwrap_or_default() {
                        Reply::Row(&key, if no_value { "" } else { &value }).render_for(number, out);
                    }
                    Reply::End.render_for(number, out);
                }
                Err(why) => Reply::Failed(&why).render_for(number, out),
            },
            Answer::Commit(Commit { id, waits }, said) => {
                self.committing = false;
                let settled = said.map(settle);
                let reply = match &settled {
                    Some(Ok(Some(()))) => Reply::Committed(id),
                    Some(Ok(None)) => Reply::CommittedNothing(id),
                    Some(Err(why)) => Reply::CommitFailed(id, why),
                    None => Reply::CommitUncertain(id, TOO_LATE),
                };
                if waits {
                    reply.render_for(number, out)
                } else {
                    Reply::Async(&reply).render_for(number, out)
                }
            }
        }
        Ok(None)
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

fn panicked<T>() -> Said<T> {
    Ok(Lookup::Unavailable(PANICKED.to_owned()))
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
