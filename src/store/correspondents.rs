//! Whom our logins write to, what they wrote, how bad the mail of networks was, and what was put on hold: asked for each message, written
//! in batches.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::Store;
use crate::database::Trouble;
use crate::directory::{Answer, Lookup};
use crate::mail::Address;

/// How one mailbox stands to the author of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relation {
    /// It has written to his address.
    pub wrote_to: bool,
    /// The message answers one of its own.
    pub answers: bool,
    /// It knows somebody of the same name under this other address.
    pub namesake: Option<String>,
    /// This user of its own domain bears that name. Not asked here: whoever knows the directory adds it.
    pub colleague: Option<String>,
}

/// The author of a message, and what it answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Author {
    /// His address in lower case.
    pub address: String,
    /// His name, folded ([`crate::spam::folded_name`]); may be empty.
    pub name: String,
    /// The Message-IDs in In-Reply-To and References, with their brackets.
    pub answers: Vec<String>,
}

/// What is asked of one message.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    mailboxes: Vec<String>,
    author: Author,
}

/// What is to be written down.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Correspondence {
    /// Mailbox, correspondent, his folded name or nothing, messages; each pair once.
    pub correspondents: Vec<(String, String, String, i64)>,
    /// Message-ID, mailbox.
    pub sent: Vec<(String, String)>,
    /// Network, mean score, messages; each network once.
    pub scores: Vec<(String, f64, i64)>,
    /// What was put on hold.
    pub held: Vec<Held>,
}

/// A message that was put on hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    /// Postfix's `myhostname`.
    pub host: String,
    /// Its queue id there.
    pub queue_id: String,
    /// The envelope's sender; empty for the null sender.
    pub sender: String,
    /// The envelope's recipients.
    pub recipients: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The score.
    pub score: f64,
    /// The weightiest symbols.
    pub why: String,
}

impl Store {
    /// How each of these mailboxes stands to the author, in their order. Messages that come at the same time are asked about in one statement.
    pub async fn relations(&self, mailboxes: &[Address], author: &Author) -> Lookup<Vec<Relation>> {
        let mailboxes = mailboxes.iter().map(ToString::to_string).collect();
        let question = Standing { mailboxes, author: author.clone() };
        // One to many is a statement of its own, and makes nobody else wait.
        let answer = match question.mailboxes.len() <= FEW {
            true => {
                let load = |questions| -> BoxFuture<'_, _> { Box::pin(self.standings(questions)) };
                self.0.relations_gathered.ask(question, load).await
            }
            false => {
                let answers = self.standings(vec![question]).await;
                answers.and_then(|answers| answers.into_iter().next().unwrap_or(Ok(None)))
            }
        };
        Lookup::from(answer)
    }

    async fn standings(&self, questions: Vec<Standing>) -> Result<Vec<Answer<Vec<Relation>>>, Trouble> {
        let (mut numbers, mut mailboxes) = (Vec::new(), Vec::new());
        let (mut answering, mut answered) = (Vec::new(), Vec::new());
        for (number, question) in (1i32..).zip(&questions) {
            numbers.extend(question.mailboxes.iter().map(|_| number));
            mailboxes.extend(question.mailboxes.iter().map(String::as_str));
            answering.extend(question.author.answers.iter().map(|_| number));
            answered.extend(question.author.answers.iter().map(String::as_str));
        }
        let authors = questions.iter().map(|question| &question.author);
        let (addresses, names): (Vec<&str>, Vec<&str>) =
            authors.map(|author| (author.address.as_str(), author.name.as_str())).unzip();
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i32, String, bool, bool, Option<String>)>(include_str!(
            "queries/relations.sql"
        ))
        .bind(numbers)
        .bind(mailboxes)
        .bind(addresses)
        .bind(names)
        .bind(answering)
        .bind(answered);
        let rows = database.ask(query.fetch_all(database.pool())).await?;
        let known: HashMap<(i32, &str), Relation> = rows
            .iter()
            .map(|(number, mailbox, wrote_to, answers, namesake)| {
                let (wrote_to, answers, namesake) = (*wrote_to, *answers, namesake.clone());
                let relation = Relation { wrote_to, answers, namesake, colleague: None };
                ((*number, mailbox.as_str()), relation)
            })
            .collect();
        let of = |(number, question): (i32, &Standing)| {
            let one = |mailbox: &String| known.get(&(number, mailbox.as_str())).cloned().unwrap_or_default();
            Ok(Some(question.mailboxes.iter().map(one).collect()))
        };
        Ok((1..).zip(&questions).map(of).collect())
    }

    /// Writes it down, all or nothing.
    pub async fn remember_correspondence(&self, what: &Correspondence) -> Lookup<()> {
        let database = &self.0.database;
        let question = async {
            let mut connection = database.pool().acquire().await?;
            let mut transaction = sqlx::Connection::begin(&mut *connection).await?;
            if !what.correspondents.is_empty() {
                let (mut mailboxes, mut addresses, mut names, mut counts) =
                    (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                for (mailbox, address, name, count) in &what.correspondents {
                    mailboxes.push(mailbox.as_str());
                    addresses.push(address.as_str());
                    names.push(name.as_str());
                    counts.push(*count);
                }
                sqlx::query(include_str!("queries/remember_correspondents.sql"))
                    .bind(mailboxes)
                    .bind(addresses)
                    .bind(names)
                    .bind(counts)
                    .execute(&mut *transaction)
                    .await?;
            }
            if !what.sent.is_empty() {
                let (ids, mailboxes): (Vec<&str>, Vec<&str>) =
                    what.sent.iter().map(|(id, mailbox)| (id.as_str(), mailbox.as_str())).unzip();
                sqlx::query(include_str!("queries/remember_sent.sql"))
                    .bind(ids)
                    .bind(mailboxes)
                    .execute(&mut *transaction)
                    .await?;
            }
            if !what.scores.is_empty() {
                let networks: Vec<&str> = what.scores.iter().map(|row| row.0.as_str()).collect();
                sqlx::query(include_str!("queries/remember_scores.sql"))
                    .bind(networks)
                    .bind(what.scores.iter().map(|row| row.1).collect::<Vec<_>>())
                    .bind(what.scores.iter().map(|row| row.2).collect::<Vec<_>>())
                    .execute(&mut *transaction)
                    .await?;
            }
            for held in &what.held {
                sqlx::query(include_str!("queries/remember_quarantine.sql"))
                    .bind(&held.host)
                    .bind(&held.queue_id)
                    .bind(&held.sender)
                    .bind(&held.recipients)
                    .bind(&held.subject)
                    .bind(held.score)
                    .bind(&held.why)
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await
        };
        Lookup::from(database.ask(question).await.map(Some))
    }

    /// Forgets Message-IDs older than `keep`, and scores of networks not heard of for a month; returns how many rows went, some thousands
    /// at the most.
    pub async fn forget_correspondence(&self, keep: Duration) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/forget_correspondence.sql"))
            .bind(keep.as_secs_f64())
            .bind(AT_ONCE);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(rows,)| rows.unsigned_abs())
    }
}

/// Mailboxes of a message that is asked about together with others.
const FEW: usize = 16;

/// Some tenths of a second's work, far below the deadline of a question.
const AT_ONCE: i64 = 20_000;
