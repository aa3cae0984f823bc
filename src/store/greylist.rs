//! Who has tried to send what to whom: `gatepost.greylist` and its automatic allow-list, shared by all hosts.
//!
//! A decision is one call of one function of the database. Decisions that are wanted at the same time go there together, in one round trip over
//! one connection ([`Greylist`]): while one batch is under way the next one gathers, so a busy server asks less often, never later.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{mpsc, oneshot};

use super::Store;
use crate::database::{Database, Trouble};
use crate::directory::Lookup;

/// One attempt. Every text is folded and bounded by the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Who sends: a verified domain, or a network.
    pub client: String,
    /// The sender as far as it stays the same from one attempt to the next.
    pub sender: String,
    /// The recipient.
    pub recipient: String,
    /// The sender's whole address, to look for among the recipient's correspondents.
    pub correspondent: String,
    /// The recipient's whole address, without its extension.
    pub mailbox: String,
    /// The client's network, to look for among the scores that the milter keeps.
    pub network: String,
    /// Whether something speaks against the client; if not, only its score may.
    pub suspected: bool,
}

/// How long is waited, and for whom.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Patience {
    /// How long after the first attempt another one passes.
    pub delay: Duration,
    /// How long after the first attempt it may come.
    pub window: Duration,
    /// How long what has passed is remembered after it was last seen.
    pub expiry: Duration,
    /// After how many passes a client is let through at once; 0 never.
    pub passes: u32,
    /// From which score of its network on a client is suspect.
    pub score: f64,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Greylisted {
    /// The client is on the automatic allow-list.
    KnownClient,
    /// The recipient has written to this sender.
    Correspondent,
    /// Nothing speaks against the client.
    Unsuspected,
    /// It came back in time.
    Passed {
        /// How long after the first attempt.
        after: Duration,
        /// For the first time.
        first: bool,
    },
    /// Too early.
    Wait {
        /// For how long still.
        left: Duration,
        /// It is the first attempt.
        new: bool,
    },
}

/// The way to the greylist for everybody in this process. Cheap to clone; its task ends with the last clone.
#[derive(Clone)]
pub struct Greylist(mpsc::Sender<Question>);

struct Question {
    attempt: Attempt,
    patience: Patience,
    answer: oneshot::Sender<Result<Greylisted, Trouble>>,
}

type Row = (String, f64, f64, i32);

impl Greylist {
    /// Notes one attempt, and says whether it passes.
    pub async fn ask(&self, attempt: Attempt, patience: Patience) -> Lookup<Greylisted> {
        let (answer, answered) = oneshot::channel();
        // Full: as many wait as the database can answer in its time; more would only wait in vain.
        if self.0.try_send(Question { attempt, patience, answer }).is_err() {
            return Lookup::Unavailable("too many decisions wait for the database".to_owned());
        }
        match answered.await {
            Ok(answer) => Lookup::from(answer.map(Some)),
            Err(_) => Lookup::Unavailable("the greylist's task has ended".to_owned()),
        }
    }
}

impl Store {
    /// Starts the task that asks for everybody; to be called within the runtime.
    pub fn greylist(&self) -> Greylist {
        let (sender, mut questions) = mpsc::channel(MOST_WAITING);
        let database = self.0.database.clone();
        tokio::spawn(async move {
            // A panic is a bug of ours, and costs the batch that it came in; whoever asks next is to have an answer.
            while AssertUnwindSafe(serve(&database, &mut questions)).catch_unwind().await.is_err() {
                tracing::error!("the greylist's task panicked, which is a bug of ours; it goes on");
            }
        });
        Greylist(sender)
    }

    /// Forgets what nobody came back for, what has not been seen for `expiry`, and the oldest attempts beyond `entries`; returns how many
    /// rows went, at most some thousands at once. Call it now and then.
    pub async fn forget_greylist(&self, patience: &Patience, entries: u64) -> Lookup<u64> {
        let database = &self.0.database;
        let query = sqlx::query_as::<_, (i64,)>(include_str!("queries/forget_greylist.sql"))
            .bind(patience.window.as_secs_f64())
            .bind(patience.expiry.as_secs_f64())
            .bind(i64::try_from(entries).unwrap_or(i64::MAX))
            .bind(AT_ONCE);
        let answer = database.ask(query.fetch_one(database.pool())).await;
        Lookup::from(answer.map(Some)).map(|(rows,)| rows.unsigned_abs())
    }
}

/// The sender without what changes from one attempt to the next: BATV and SRS tags, numbers, an extension. For [`Attempt::sender`].
pub fn steady_sender(sender: &str, delimiters: &str) -> String {
    let sender = sender.to_lowercase();
    let Some((local, domain)) = sender.rsplit_once('@') else { return sender };
    let mut local = local;
    // BATV: prvs=TAG=local (draft-levine-smtp-batv).
    if let Some((_, rest)) = local.strip_prefix("prvs=").and_then(|rest| rest.split_once('=')) {
        local = rest;
    }
    // SRS: SRS0=HASH=TIME=domain=local; the hash and the time change each day.
    let bare;
    if let Some(rest) = local.strip_prefix("srs0").or_else(|| local.strip_prefix("srs1"))
        && rest.starts_with(['=', '-', '+'])
    {
        bare = format!("srs={}", rest.rsplitn(3, '=').take(2).collect::<Vec<_>>().join("="));
        local = &bare;
    }
    // VERP puts the recipient or a number behind a delimiter; both stay the same for one message only.
    let base = match local.find(|c| delimiters.contains(c)) {
        Some(at) if at > 0 => &local[..at],
        _ => local,
    };
    let mut steady = String::with_capacity(base.len() + domain.len() + 1);
    let mut in_number = false;
    for c in base.chars() {
        if c.is_ascii_digit() {
            if !in_number {
                steady.push('#');
            }
            in_number = true;
        } else {
            steady.push(c);
            in_number = false;
        }
    }
    format!("{steady}@{domain}")
}

async fn serve(database: &Database, questions: &mut mpsc::Receiver<Question>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(question) = questions.recv().await {
        batch.push(question);
        // Whoever is about to ask comes along too: the other connections have their turn first.
        tokio::task::yield_now().await;
        // What came while the last batch was under way goes along.
        while batch.len() < BATCH
            && let Ok(question) = questions.try_recv()
        {
            batch.push(question);
        }
        // All of one patience: another one comes only with another configuration.
        while let Some(patience) = batch.first().map(|question: &Question| question.patience) {
            let (mut now, later): (Vec<_>, Vec<_>) =
                batch.drain(..).partition(|question| question.patience == patience);
            batch = later;
            // In one order on every host, so that no two wait for each other's rows.
            now.sort_by(|a, b| a.attempt.order().cmp(&b.attempt.order()));
            let decisions = decide(database, &now, &patience).await;
            for (place, question) in now.into_iter().enumerate() {
                let answer = match &decisions {
                    Ok(decisions) => decisions
                        .get(place)
                        .copied()
                        .ok_or_else(|| Trouble::Away("an answer is missing".to_owned())),
                    Err(trouble) => Err(trouble.clone()),
                };
                // Whoever asked may have gone.
                let _ = question.answer.send(answer);
            }
        }
    }
}

/// One batch, one round trip.
async fn decide(
    database: &Database,
    batch: &[Question],
    patience: &Patience,
) -> Result<Vec<Greylisted>, Trouble> {
    let texts = |of: fn(&Attempt) -> &String| -> Vec<String> {
        batch.iter().map(|question| of(&question.attempt).clone()).collect()
    };
    let query = sqlx::query_as::<_, Row>(include_str!("queries/greylist.sql"))
        .bind(texts(|attempt| &attempt.client))
        .bind(texts(|attempt| &attempt.sender))
        .bind(texts(|attempt| &attempt.recipient))
        .bind(texts(|attempt| &attempt.correspondent))
        .bind(texts(|attempt| &attempt.mailbox))
        .bind(texts(|attempt| &attempt.network))
        .bind(batch.iter().map(|question| question.attempt.suspected).collect::<Vec<_>>())
        .bind(patience.delay.as_secs_f64())
        .bind(patience.window.as_secs_f64())
        .bind(patience.expiry.as_secs_f64())
        // "Never" is more passes than a row can count.
        .bind(match patience.passes {
            0 => i32::MAX,
            passes => i32::try_from(passes).unwrap_or(i32::MAX),
        })
        .bind(patience.score);
    Ok(database.ask(query.fetch_all(database.pool())).await?.into_iter().map(Greylisted::from).collect())
}

impl From<Row> for Greylisted {
    fn from((verdict, age, wait, passes): Row) -> Self {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        match verdict.as_str() {
            "known-client" => Self::KnownClient,
            "correspondent" => Self::Correspondent,
            "unsuspected" => Self::Unsuspected,
            "passed" => Self::Passed { after: seconds(age), first: passes == 1 },
            verdict => Self::Wait { left: seconds(wait), new: verdict == "new" },
        }
    }
}

impl Attempt {
    fn order(&self) -> [&str; 3] {
        [&self.client, &self.sender, &self.recipient]
    }
}

/// So many decisions go in one statement at the most; they take about 2 ms there.
const BATCH: usize = 64;
/// So many wait at the most: the database decides about 20,000 a second on one core, and a question may take 2 s.
const MOST_WAITING: usize = 4096;
/// Some tenths of a second's work, far below the deadline of a question.
const AT_ONCE: i64 = 20_000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_sender_stays_the_same_from_one_attempt_to_the_next() {
        for (sender, steady) in [
            ("Alice@Example.org", "alice@example.org"),
            ("prvs=4713ab12cd=alice@example.org", "alice@example.org"),
            ("bounce-12345-678@news.test", "bounce-#-#@news.test"),
            ("list+bob=example.com@lists.test", "list@lists.test"),
            ("SRS0=aB3d=7X=origin.test=user@fwd.test", "srs=user=origin.test@fwd.test"),
            ("+x@example.org", "+x@example.org"),
            ("", ""),
            ("MAILER-DAEMON", "mailer-daemon"),
        ] {
            assert_eq!(steady_sender(sender, "+"), steady, "{sender}");
        }
        assert_eq!(
            steady_sender("SRS0=aB3d=7X=origin.test=user@fwd.test", "+"),
            steady_sender("SRS0=Zz9q=8Y=origin.test=user@fwd.test", "+")
        );
    }
}
