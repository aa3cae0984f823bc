//! `gatepost model`: the training log, and what the hosts have made of it.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Subcommand;
use gatepost::mail::Address;
use gatepost::store::training::MessageKey;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection};

use super::connection::{explain, require_schema};
use super::terminal;

#[derive(Subcommand)]
pub(super) enum Verb {
    /// Show samples, their balance, how far each host is, and how sure the model can be
    Status(terminal::Show),
    /// Have every host make its model anew from the log
    Rebuild,
    /// Write the log to a file, one JSON object a line
    Export {
        /// The file; - is stdout
        file: PathBuf,
    },
    /// Append what another server exported
    Import {
        /// The file
        file: PathBuf,
    },
    /// Take all samples of one user out of the log
    Forget {
        /// Whose
        user: Address,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(verb: Verb, connection: &mut PgConnection) -> anyhow::Result<()> {
    require_schema(connection).await?;
    match verb {
        Verb::Status(show) => status(connection, show).await,
        Verb::Rebuild => {
            new_epoch(connection).await?;
            println!("every milter makes its model anew; `gatepost model status` shows how far they are");
            Ok(())
        }
        Verb::Export { file } => export(connection, &file).await,
        Verb::Import { file } => import(connection, &file).await,
        Verb::Forget { user, yes } => forget(connection, &user, yes).await,
    }
}

async fn status(connection: &mut PgConnection, show: terminal::Show) -> anyhow::Result<()> {
    type Counts = (i64, i64, i64, i64, Option<String>, i64, i64);
    let (spam, ham, owners, corrections, oldest, last, epoch): Counts = sqlx::query_as(
        "SELECT count(*) FILTER (WHERE label = 'spam'), count(*) FILTER (WHERE label = 'ham'), count(DISTINCT owner),
                count(*) - count(DISTINCT (message, owner)), to_char(min(at), 'YYYY-MM-DD'), coalesce(max(position), 0),
                (SELECT epoch FROM gatepost.training_epoch)
         FROM gatepost.training_log",
    )
    .fetch_one(&mut *connection)
    .await
    .map_err(explain)?;
    let oldest = oldest.unwrap_or_else(|| "none".to_owned());
    if show.is_json() {
        let counts = [spam, ham, corrections, owners, epoch, last].map(|number| number.to_string());
        let [spam, ham, corrections, owners, epoch, last] = counts;
        let heading = ["SPAM", "HAM", "CORRECTIONS", "USERS", "EPOCH", "POSITION", "OLDEST"];
        show.table(heading, &[[spam, ham, corrections, owners, epoch, last, oldest]]);
    } else {
        summary(connection, [spam, ham, corrections, owners, epoch, last], &oldest).await?;
    }
    type Host = (String, String, i64, i64, i32, i64, i64, i64, i64, Vec<u8>);
    let hosts: Vec<Host> = sqlx::query_as(
        "SELECT host, to_char(at, 'YYYY-MM-DD HH24:MI:SS'), epoch, position, words, spam, ham, missed_spam, missed_ham, digest
         FROM gatepost.models ORDER BY host",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let share = |missed: i64, of: i64| match of {
        0 => "-".to_owned(),
        _ => format!("{:.2} %", 100.0 * missed as f64 / of as f64),
    };
    let rows: Vec<[String; 8]> = hosts
        .into_iter()
        .map(|(host, at, epoch, position, words, spam, ham, missed_spam, missed_ham, digest)| {
            let digest: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
            let place = format!("{epoch}/{position}");
            [
                host,
                at,
                place,
                words.to_string(),
                format!("{spam}+{ham}"),
                share(missed_spam, spam),
                share(missed_ham, ham),
                digest,
            ]
        })
        .collect();
    show.table(
        [
            "HOST",
            "WRITTEN",
            "EPOCH/POSITION",
            "WORDS AT FIRST",
            "SPAM+HAM",
            "SPAM MISSED BEFORE LEARNING",
            "HAM WRONG BEFORE LEARNING",
            "MODEL",
        ],
        &rows,
    );
    Ok(())
}

/// What has been taught, and what it takes to be sure.
async fn summary(
    connection: &mut PgConnection,
    [spam, ham, corrections, owners, epoch, last]: [i64; 6],
    oldest: &str,
) -> anyhow::Result<()> {
    println!(
        "samples  {spam} spam, {ham} ham, {corrections} of them corrections; of {owners} users; epoch {epoch}, position {last}"
    );
    println!("oldest   {}", oldest);
    let sources: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT source, label, count(*) FROM gatepost.training_log GROUP BY source, label ORDER BY count(*) DESC, source, label",
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(explain)?;
    let sources: Vec<String> =
        sources.into_iter().map(|(source, label, count)| format!("{count} {label} by {source}")).collect();
    println!("sources  {}", if sources.is_empty() { "none".to_owned() } else { sources.join(", ") });
    println!("balance  {}", balance(spam, ham));
    let rarer = spam.min(ham);
    // As the milter bounds it (`Calibration` of its model).
    let odds = (rarer as f64 + 1.0).powf(1.5);
    let (least, which) = if spam < ham { (spam, "spam") } else { (ham, "ham") };
    match rarer {
        _ if rarer < HANDFUL => println!(
            "sure     of nothing: {least} {which}; nobody hears the model before it has {HANDFUL} of each kind"
        ),
        _ if rarer < CONFIDENT => println!(
            "sure     at most {:.0} %: {least} {which}, and it takes {CONFIDENT} of the rarer kind to say 99 %",
            100.0 * odds / (odds + 1.0)
        ),
        _ => println!("sure     as sure as a message lets it be"),
    }
    Ok(())
}

/// A row of the log as a line of JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    label: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    owner: Option<String>,
    message: String,
    sample: String,
}

async fn export(connection: &mut PgConnection, file: &std::path::Path) -> anyhow::Result<()> {
    let place = file.display().to_string();
    let mut out: Box<dyn Write> = match place.as_str() {
        "-" => Box::new(std::io::stdout().lock()),
        // It is everybody's mail: nobody else reads it.
        _ => {
            let mut only_ours = File::options();
            only_ours.write(true).create(true).truncate(true).mode(0o600);
            Box::new(BufWriter::new(only_ours.open(file).with_context(|| place.clone())?))
        }
    };
    let (mut position, mut count) = (0, 0);
    loop {
        type Row = (i64, String, Option<String>, Vec<u8>, Vec<u8>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT position, label, owner, message, sample FROM gatepost.training_log WHERE position > $1 ORDER BY position LIMIT 500",
        )
        .bind(position)
        .fetch_all(&mut *connection)
        .await
        .map_err(explain)?;
        let Some(last) = rows.last() else { break };
        position = last.0;
        count += rows.len();
        for (_, label, owner, message, sample) in rows {
            let message =
                <[u8; 16]>::try_from(message).map(MessageKey::new).unwrap_or(MessageKey::new([0; 16]));
            let line = Line { label, owner, message: message.to_string(), sample: STANDARD.encode(sample) };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n").with_context(|| place.clone())?;
        }
    }
    out.flush().with_context(|| place)?;
    eprintln!("{count} samples written");
    Ok(())
}

async fn import(connection: &mut PgConnection, file: &std::path::Path) -> anyhow::Result<()> {
    let place = file.display().to_string();
    let reader = BufReader::new(File::open(file).with_context(|| place.clone())?);
    let mut transaction = connection.begin().await.map_err(explain)?;
    let (mut news, mut count) = (0, 0);
    for (number, line) in reader.lines().enumerate() {
        let at = || format!("{place}:{}", number + 1);
        let line: Line = serde_json::from_str(&line.with_context(at)?).with_context(at)?;
        if !matches!(line.label.as_str(), "spam" | "ham") {
            bail!("{}: label {:?}, expected spam or ham; nothing was imported", at(), line.label);
        }
        let Some(message) = MessageKey::parse(&line.message) else {
            bail!(
                "{}: message {:?}, expected 32 hexadecimal digits; nothing was imported",
                at(),
                line.message
            );
        };
        let sample = STANDARD.decode(&line.sample).with_context(at)?;
        gatepost::training::unpack(&sample).with_context(at)?;
        let owner = line.owner.map(|owner| Address::parse(&owner)).transpose().with_context(at)?;
        let (is_news,): (bool,) = sqlx::query_as("SELECT gatepost.teach($1, $2, 'import', $3, $4)")
            .bind(&line.label)
            .bind(owner.map(|owner| owner.to_string().to_lowercase()))
            .bind(message.as_bytes().to_vec())
            .bind(sample)
            .fetch_one(&mut *transaction)
            .await
            .map_err(explain)?;
        news += usize::from(is_news);
        count += 1;
    }
    transaction.commit().await.map_err(explain)?;
    println!("{news} of {count} samples imported, the others were known");
    Ok(())
}

async fn forget(connection: &mut PgConnection, user: &Address, yes: bool) -> anyhow::Result<()> {
    let user = user.to_string().to_lowercase();
    let (count,): (i64,) = sqlx::query_as("SELECT count(*) FROM gatepost.training_log WHERE owner = $1")
        .bind(&user)
        .fetch_one(&mut *connection)
        .await
        .map_err(explain)?;
    if count == 0 {
        bail!("{user} has taught nothing; `gatepost model status`");
    }
    terminal::confirm(
        &format!("Take {count} samples of {user} out of the log? Every model is made anew."),
        yes,
    )?;
    let mut transaction = connection.begin().await.map_err(explain)?;
    sqlx::query("SELECT pg_advisory_xact_lock(7161646871)")
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    sqlx::query("DELETE FROM gatepost.training_log WHERE owner = $1")
        .bind(&user)
        .execute(&mut *transaction)
        .await
        .map_err(explain)?;
    new_epoch(&mut transaction).await?;
    transaction.commit().await.map_err(explain)?;
    println!("{count} samples of {user} are forgotten; the models are made anew");
    Ok(())
}

async fn new_epoch(connection: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query("UPDATE gatepost.training_epoch SET epoch = epoch + 1, since = now()")
        .execute(&mut *connection)
        .await
        .map_err(explain)?;
    sqlx::query("SELECT pg_notify('gatepost', 'training_log *')")
        .execute(connection)
        .await
        .map_err(explain)?;
    Ok(())
}

/// How many of the one kind there are for one of the other, and what to do where it is far from even.
fn balance(spam: i64, ham: i64) -> String {
    let (more, less, rare) = if spam > ham { (spam, ham, "ham") } else { (ham, spam, "spam") };
    let advice = match rare {
        _ if more < 10 * less.max(HANDFUL) => "",
        "ham" => {
            "; ham is rare: `gatepost learn ham` (with --read-for, for what was read and kept), or ham-from-replies and \
             ham-from-correspondents in [milter.learning]"
        }
        _ => "; spam is rare: people move it into Junk, or `gatepost learn spam` for folders that there are",
    };
    match less {
        0 => format!("{spam} to {ham}{advice}"),
        _ => format!(
            "{:.1} {} for each {rare}{advice}",
            more as f64 / less as f64,
            if rare == "ham" { "spam" } else { "ham" }
        ),
    }
}

/// Samples of each kind before the milters hear the model.
const HANDFUL: i64 = 5;
/// Samples of the rarer kind from which on the model may say 99 %.
const CONFIDENT: i64 = 21;
