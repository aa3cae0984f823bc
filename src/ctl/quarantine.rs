//! `gatepost quarantine`: mail that the milter had Postfix put on hold.
//!
//! The message stays where Postfix keeps it, in its queue `hold`, on the host that received it: there it is on disk before the client hears
//! 250, survives everything that the queue survives, and is delivered as it came. What it is and why it is there says a row of
//! `gatepost.quarantine`, which the milter writes. Neither is trusted to know all: what is on hold without a row is listed too, and a row
//! without a message is cleared away on its host.
//!
//! Only root may release, show and delete what is in the queue (`postsuper`, `postcat`), and only the database's owner reads the rows. Run as
//! root: the database is asked as `postgres` then, unless the configuration or `--role` names somebody.

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use gatepost::telemetry::printable;
use serde::Deserialize;
use sqlx::PgConnection;

use super::connection::{Settings, explain, require_schema};
use super::terminal;

/// Verbs of the noun.
#[derive(Subcommand)]
pub(super) enum Verb {
    /// List what is on hold, on every host that shares the database
    List {
        #[command(flatten)]
        postfix: Postfix,
        #[command(flatten)]
        show: terminal::Show,
    },
    /// Show a message that is on hold on this host
    Show(One),
    /// Let messages of this host go to their recipients, into the inbox
    Release(Several),
    /// Delete messages of this host for good
    Delete {
        #[command(flatten)]
        which: Several,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which Postfix.
#[derive(Args)]
pub(super) struct Postfix {
    /// The configuration directory of Postfix, if not its default
    #[arg(long = "postfix", value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// One message.
#[derive(Args)]
pub(super) struct One {
    /// Its queue id
    queue_id: QueueId,
    #[command(flatten)]
    postfix: Postfix,
}

/// Some messages.
#[derive(Args)]
pub(super) struct Several {
    /// Their queue ids
    #[arg(required = true)]
    queue_ids: Vec<QueueId>,
    #[command(flatten)]
    postfix: Postfix,
}

/// A queue id of Postfix, short or long (postconf(5), enable_long_queue_ids).
#[derive(Clone, Debug)]
pub(super) struct QueueId(String);

impl std::str::FromStr for QueueId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_id = (5..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        match is_id {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "\"{}\" is no queue id of Postfix, expected 5 to 64 letters and digits; `gatepost quarantine list`",
                text.escape_debug()
            )),
        }
    }
}

/// A line of `postqueue -j` (postqueue(1), "JSON OBJECT FORMAT"), as far as it is looked at.
#[derive(Deserialize)]
struct Queued {
    queue_name: String,
    queue_id: String,
    sender: String,
    recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
struct Recipient {
    address: String,
}

/// Runs a verb.
pub(super) async fn run(verb: Verb, settings: &Settings) -> anyhow::Result<()> {
    let mut connection = settings.connect().await?;
    require_schema(&mut connection).await?;
    match verb {
        Verb::List { postfix, show } => list(&postfix, &mut connection, show).await,
        Verb::Show(One { queue_id: QueueId(queue_id), postfix }) => {
            postfix.holds(&queue_id)?;
            let shown = postfix.run("postcat", &["-q", "-h", "-b", &queue_id])?;
            std::io::stdout().write_all(&shown.stdout).context("standard output")
        }
        Verb::Release(Several { queue_ids, postfix }) => {
            for QueueId(queue_id) in queue_ids {
                postfix.holds(&queue_id)?;
                postfix.run("postsuper", &["-H", &queue_id])?;
                // Otherwise the next run of the queue delivers it, some minutes later.
                postfix.run("postqueue", &["-i", &queue_id])?;
                forget(&postfix, &mut connection, &queue_id).await?;
                println!("{queue_id} released");
            }
            Ok(())
        }
        Verb::Delete { which: Several { queue_ids, postfix }, yes } => {
            let queue_ids: Vec<String> = queue_ids.into_iter().map(|QueueId(id)| id).collect();
            for queue_id in &queue_ids {
                postfix.holds(queue_id)?;
            }
            terminal::confirm(&format!("Delete {} for good?", queue_ids.join(", ")), yes)?;
            for queue_id in queue_ids {
                postfix.holds(&queue_id)?;
                postfix.run("postsuper", &["-d", &queue_id, "hold"])?;
                forget(&postfix, &mut connection, &queue_id).await?;
                println!("{queue_id} deleted");
            }
            Ok(())
        }
    }
}

impl Postfix {
    /// What is in the queue of this host, by queue id: whether it is on hold, and from whom to whom.
    fn queue(&self) -> anyhow::Result<HashMap<String, Queued>> {
        let output = self.run("postqueue", &["-j"])?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut queue = HashMap::new();
        for line in text.lines().take(MAX_QUEUE) {
            let queued: Queued =
                serde_json::from_str(line).context("postqueue -j said what it never says")?;
            queue.insert(queued.queue_id.clone(), queued);
        }
        Ok(queue)
    }

    /// That a message is on hold here.
    fn holds(&self, queue_id: &str) -> anyhow::Result<()> {
        match self.queue()?.get(queue_id) {
            Some(queued) if queued.queue_name == HOLD => Ok(()),
            Some(queued) => bail!("{queue_id} is not on hold but in queue {}", queued.queue_name),
            None => bail!(
                "{queue_id} is not in the queue of this host; `gatepost quarantine list` shows which host has it"
            ),
        }
    }

    /// Runs one of Postfix's programs to its end.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Output> {
        let mut command = Command::new(program);
        if let Some(directory) = &self.directory {
            command.arg("-c").arg(directory);
        }
        let output = command.args(arguments).stdin(Stdio::null()).output().with_context(|| {
            format!("cannot run {program}; is Postfix on this host, and its programs in PATH?")
        })?;
        if !output.status.success() {
            let said = printable(&output.stderr, 500);
            let advice = if nix::unistd::geteuid().is_root() { "" } else { "; run it as root" };
            bail!("{program}: {}{advice}", said.trim());
        }
        Ok(output)
    }

    /// Postfix's name of this host, which the milter writes beside each queue id.
    fn host(&self) -> anyhow::Result<String> {
        let output = self.run("postconf", &["-h", "myhostname"])?;
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

type Row = (String, String, String, String, Vec<String>, String, f64, bool);

/// Rows of every host, and what is on hold here without one; rows of this host whose message is gone are cleared away.
async fn list(postfix: &Postfix, connection: &mut PgConnection, show: terminal::Show) -> anyhow::Result<()> {
    // Rows first: what is put on hold after the queue was looked at must not look as if it had left it.
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT host, queue_id, to_char(held_at, 'YYYY-MM-DD HH24:MI'), sender, recipients, subject, score, held_at > now() - $1::interval
         FROM gatepost.quarantine ORDER BY held_at",
    )
    .bind(ON_ITS_WAY)
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    // Where there is no Postfix, the rows are all there is to see.
    let here = match (postfix.host(), postfix.queue()) {
        (Ok(host), Ok(queue)) => Some((host, queue)),
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("gatepost: only what the database knows: {error:#}");
            None
        }
    };
    let mut table: Vec<[String; 7]> = Vec::new();
    let mut known: Vec<String> = Vec::new();
    for (host, queue_id, held_at, sender, recipients, subject, score, is_young) in rows {
        if let Some((this, queue)) = &here
            && *this == host
        {
            if queue.get(&queue_id).is_none_or(|queued| queued.queue_name != HOLD) {
                if !is_young {
                    forget(postfix, connection, &queue_id).await?;
                }
                continue;
            }
            known.push(queue_id.clone());
        }
        let sender = if sender.is_empty() { "<>".to_owned() } else { sender };
        table.push([
            queue_id,
            host,
            held_at,
            format!("{score:.2}"),
            shown(&sender),
            shown(&recipients.join(" ")),
            shown(&subject),
        ]);
    }
    if let Some((this, queue)) = here {
        for queued in queue.into_values().filter(|queued| queued.queue_name == HOLD) {
            if !known.contains(&queued.queue_id) {
                let recipients: Vec<&str> =
                    queued.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
                let nothing = "(not by the milter, or not written down)".to_owned();
                table.push([
                    queued.queue_id,
                    this.clone(),
                    String::new(),
                    String::new(),
                    shown(&queued.sender),
                    shown(&recipients.join(" ")),
                    nothing,
                ]);
            }
        }
    }
    show.table(["QUEUE ID", "HOST", "HELD", "SCORE", "FROM", "TO", "SUBJECT"], &table);
    Ok(())
}

/// A stranger's text on a terminal: printable, and not too long.
fn shown(text: &str) -> String {
    printable(text.as_bytes(), 80)
}

async fn forget(postfix: &Postfix, connection: &mut PgConnection, queue_id: &str) -> anyhow::Result<()> {
    sqlx::query("DELETE FROM gatepost.quarantine WHERE host = $1 AND queue_id = $2")
        .bind(postfix.host()?)
        .bind(queue_id)
        .execute(connection)
        .await
        .map_err(explain)?;
    Ok(())
}

/// The milter writes its row before Postfix has put the message where it is looked for.
const ON_ITS_WAY: &str = "5 minutes";
/// Postfix's name of the queue.
const HOLD: &str = "hold";

/// Messages that are looked at; a queue longer than this is another trouble.
const MAX_QUEUE: usize = 1_000_000;
