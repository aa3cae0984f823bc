//! People teach, the milters learn: over the socket that Dovecot's Sieve writes to, by the tool's way into the log, on one host and on two.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use gatepost::store::schema;

use crate::daemon::{Daemon, Peer};
use crate::postgres::Database;
pub(crate) use crate::waiting::until;

pub(crate) const SPAM: &str =
    "Buy cheap pills from our certified pharmacy, no prescription is needed, order now and save a lot.\r\n";
pub(crate) const HAM: &str = "Here are the minutes of our meeting, please look at the open points before we meet again on Thursday.\r\n";

pub(crate) async fn database() -> Database {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, &[]).await.unwrap();
    database
}

/// A milter that learns, its checkpoint in a directory that outlives it.
fn milter(database: &Database, state: &Path) -> Daemon {
    milter_with(database, state, "", "")
}

/// The same with keys of `[milter.learning]`, and tables.
pub(crate) fn milter_with(database: &Database, state: &Path, keys: &str, rest: &str) -> Daemon {
    let learning = format!(
        "[milter.learning]\n{keys}\nlisten = [\"unix:{}\"]\ncheckpoint = \"{}\"\n",
        state.join("learn.sock").display(),
        state.join("model").display()
    );
    Daemon::start("", &format!("{learning}{}{rest}", database.toml()))
}

/// What Pigeonhole writes (dovecot 2.3.19, `pipe` with `sieve_pipe_socket_dir`), and the answer.
pub(crate) fn say(state: &Path, label: &str, user: &str, message: &str) -> String {
    let mut socket = UnixStream::connect(state.join("learn.sock")).unwrap();
    let head =
        format!("VERSION\tscript\t4\t0\nenv_USER={user}\nenv_HOME=/var/vmail\nenv_HOST=mx\n-\n{label}\n\n");
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(message.as_bytes()).unwrap();
    socket.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn letter(number: usize, body: &str) -> String {
    format!(
        "From: Ann <ann{number}@sender.test>\r\nSubject: number {number}\r\nMessage-ID: <{number}@sender.test>\r\n\r\n{body}"
    )
}

/// The position that a checkpoint has (its form stands in `learning/checkpoint.rs`).
pub(crate) fn position(state: &Path) -> i64 {
    let bytes = std::fs::read(state.join("model")).unwrap_or_default();
    bytes.get(27..35).map_or(0, |position| i64::from_le_bytes(position.try_into().unwrap()))
}

/// Lets a milter that has ended read on, until its checkpoint has the whole log.
pub(crate) async fn read_on(database: &Database, state: &Path) {
    let last: i64 =
        database.sql("SELECT max(position) FROM gatepost.training_log").await.trim().parse().unwrap();
    for pause in 1..20 {
        if position(state) == last {
            return;
        }
        let mut daemon = milter(database, state);
        daemon.wait_for_log("changes are announced by the database");
        tokio::time::sleep(Duration::from_millis(500 * pause)).await;
        daemon.terminate();
        daemon.wait();
    }
    panic!("it never reads up to {last}, only to {}", position(state));
}

/// A message as Postfix shows it; the edits of the milter as `name: value`.
fn judge(daemon: &Daemon, body: &str) -> Vec<String> {
    let mut peer: Peer = daemon.connect();
    peer.begin();
    peer.message(
        &[("From", " Ann <ann@sender.test>"), ("Subject", " number 1"), ("Message-ID", " <x@sender.test>")],
        body.as_bytes(),
    );
    let edits = peer.end_of_message();
    let text = |frame: &Vec<u8>| {
        let mut parts =
            frame.get(5..)?.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        Some(format!("{}:{}", parts.next()?, parts.next()?))
    };
    edits.iter().filter_map(text).collect()
}

pub(crate) async fn logged(database: &Database) -> String {
    database.sql("SELECT string_agg(label || ' ' || coalesce(owner, '-'), ', ' ORDER BY position) FROM gatepost.training_log").await.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_move_is_learned_within_seconds_and_said_in_the_report() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    let before = judge(&daemon, SPAM);
    assert!(!before.iter().any(|edit| edit.contains("BAYES")), "{before:?}");
    for number in 0..60 {
        assert_eq!(say(state.path(), "spam", "bob@example.com", &letter(number, SPAM)), "+\n");
        assert_eq!(say(state.path(), "ham", "bob@example.com", &letter(1_000 + number, HAM)), "+\n");
    }
    for (body, symbols) in
        [(SPAM, ["BAYES_SPAM_80(", "BAYES_SPAM_9"]), (HAM, ["BAYES_HAM_80(", "BAYES_HAM_9"])]
    {
        until("the report says so", async || {
            judge(&daemon, body).iter().any(|edit| {
                edit.starts_with("X-Spamd-Result:") && symbols.iter().any(|symbol| edit.contains(symbol))
            })
        })
        .await;
    }
    let spam = judge(&daemon, SPAM).join("\n");
    assert!(
        spam.contains("%: ") && (spam.contains("pills") || spam.contains("pharmacy")),
        "evidence: {spam}"
    );
}

/// Nobody will say anything of mail that was refused: a stranger cannot fill the database with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_kept() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    let test = ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"].concat();
    for body in [test.as_str(), HAM] {
        let mut peer = daemon.connect();
        peer.begin();
        peer.message(&[("From", " ann@sender.test"), ("Subject", " hello")], body.as_bytes());
        let last = peer.end_of_message().pop().unwrap()[0];
        assert_eq!(last, if body == HAM { b'c' } else { b'y' });
    }
    // What is under way is written at the end.
    daemon.terminate();
    assert!(daemon.wait().success());
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.judged_messages").await.trim(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_learned_is_what_was_judged_not_what_the_mailbox_has() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    let edits = judge(&daemon, SPAM);
    let key = edits.iter().find_map(|edit| edit.strip_prefix("X-Gatepost-Id: ")).expect("a key").to_owned();
    until("it is kept", async || {
        database.sql("SELECT count(*) FROM gatepost.judged_messages").await.trim() == "1"
    })
    .await;
    // As Postfix and Dovecot deliver it: fields on top, the milter's and their own.
    let delivered = format!(
        "Return-Path: <ann@sender.test>\r\nDelivered-To: bob@example.com\r\nReceived: from mx by mx with LMTP\r\n{}\r\nReceived: from client by mx\r\n\
         From: Ann <ann@sender.test>\r\nSubject: [SPAM] number 1\r\nMessage-ID: <x@sender.test>\r\n\r\n{SPAM}",
        edits.join("\r\n").replace('\n', "\r\n").replace("\r\r", "\r")
    );
    assert_eq!(say(state.path(), "spam", "bob@example.com", &delivered), "+\n");
    until("it is learned", async || logged(&database).await == "spam bob@example.com").await;
    let same = "SELECT encode(l.message, 'hex') || ' ' || (l.sample = j.sample)::text FROM gatepost.training_log AS l JOIN gatepost.judged_messages AS j USING (message)";
    assert_eq!(database.sql(same).await.trim(), format!("{key} true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_word_twice_is_one_and_the_opposite_is_a_correction() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    let mail = letter(1, SPAM);
    for label in ["spam", "spam", "ham", "ham", "spam"] {
        assert_eq!(say(state.path(), label, "Bob@Example.com", &mail), "+\n");
    }
    say(state.path(), "ham", "eve@example.com", &mail);
    until("all are heard", async || logged(&database).await.contains("eve")).await;
    assert_eq!(
        logged(&database).await,
        "spam bob@example.com, ham bob@example.com, spam bob@example.com, ham eve@example.com"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_database_is_away_nor_at_the_end_of_the_daemon() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    database.take_away().await;
    for number in 0..20 {
        assert_eq!(
            say(state.path(), "spam", "bob@example.com", &letter(number, SPAM)),
            "+\n",
            "answered at once"
        );
    }
    daemon.wait_for_log("words on messages wait");
    database.give_back().await;
    until("all are written", async || logged(&database).await.matches("spam").count() == 20).await;
    for number in 100..120 {
        assert_eq!(say(state.path(), "ham", "bob@example.com", &letter(number, HAM)), "+\n");
    }
    daemon.terminate();
    daemon.wait();
    assert_eq!(logged(&database).await.matches("ham").count(), 20, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_taught_at_once_have_the_same_model_to_the_last_bit() {
    let database = database().await;
    let (one, two, three) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut daemons = [milter(&database, one.path()), milter(&database, two.path())];
    daemons.iter().for_each(|daemon| daemon.wait_for_log("the model is made spam="));
    let teach = |state: std::path::PathBuf, user: &'static str, from: usize| {
        std::thread::spawn(move || {
            for number in from..from + 40 {
                let (label, body) = if number % 2 == 0 { ("spam", SPAM) } else { ("ham", HAM) };
                assert_eq!(say(&state, label, user, &letter(number, body)), "+\n");
            }
        })
    };
    let threads =
        [teach(one.path().into(), "bob@example.com", 0), teach(two.path().into(), "eve@example.com", 1_000)];
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    until("all are written", async || logged(&database).await.matches(',').count() == 79).await;
    // Most is read by now; ending writes the checkpoint.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for daemon in &mut daemons {
        daemon.terminate();
        daemon.wait();
    }
    read_on(&database, one.path()).await;
    read_on(&database, two.path()).await;
    let model = |state: &Path| std::fs::read(state.join("model")).unwrap();
    assert!(model(one.path()) == model(two.path()), "the checkpoints differ");
    // And so has a host that comes later and reads the log from its start.
    let mut late = milter(&database, three.path());
    late.wait_for_log("the model is made spam=");
    late.terminate();
    late.wait();
    read_on(&database, three.path()).await;
    assert!(model(one.path()) == model(three.path()), "the late one differs");
    let rows = database.sql("SELECT count(*) || ' ' || sum(words) FROM gatepost.models").await;
    assert_eq!(rows.trim(), "1 2000", "one host, one row, and the words that ship");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_checkpoint_and_a_new_epoch_make_the_model_anew() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    say(state.path(), "spam", "bob@example.com", &letter(1, SPAM));
    say(state.path(), "ham", "bob@example.com", &letter(2, HAM));
    until("both are written", async || logged(&database).await.contains("ham")).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    daemon.terminate();
    daemon.wait();
    drop(daemon);
    read_on(&database, state.path()).await;
    let path = state.path().join("model");
    let good = std::fs::read(&path).unwrap();

    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model's checkpoint was read");
    daemon.terminate();
    daemon.wait();
    drop(daemon);

    let mut damaged = good.clone();
    damaged[5_000] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("damaged; the model is made anew from the training log");
    daemon.wait_for_log("the model is made spam=");
    daemon.terminate();
    daemon.wait();
    read_on(&database, state.path()).await;
    assert!(std::fs::read(&path).unwrap() == good, "the same model, from the log");
    drop(daemon);

    let daemon = milter(&database, state.path());
    daemon.wait_for_log("the model's checkpoint was read");
    database.sql("DELETE FROM gatepost.training_log WHERE label = 'ham'; UPDATE gatepost.training_epoch SET epoch = epoch + 1; NOTIFY gatepost, 'training_log *'").await;
    daemon.wait_for_log("the training log has changed behind us; the model is made anew");
    daemon.wait_for_log("spam=1 ham=0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_began_with_words_is_made_anew_where_it_is_to_begin_with_nothing() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=0 ham=0");
    say(state.path(), "spam", "bob@example.com", &letter(1, SPAM));
    say(state.path(), "ham", "bob@example.com", &letter(2, HAM));
    until("both are written", async || logged(&database).await.contains("ham")).await;
    daemon.terminate();
    daemon.wait();
    drop(daemon);
    read_on(&database, state.path()).await;
    let with_words = std::fs::read(state.path().join("model")).unwrap();

    let mut daemon = milter_with(&database, state.path(), "start = \"nothing\"", "");
    daemon.wait_for_log(
        "made with another list of words, or another learning.start; the model is made anew from the training log",
    );
    daemon.wait_for_log("the model is made spam=1 ham=1");
    daemon.wait_for_log("words=0");
    daemon.terminate();
    daemon.wait();
    assert!(
        std::fs::read(state.path().join("model")).unwrap() != with_words,
        "another model of the same log"
    );
    drop(daemon);

    // And back: the same model, to the last bit.
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("made with another list of words");
    daemon.wait_for_log("the model is made spam=1 ham=1");
    daemon.terminate();
    daemon.wait();
    assert!(std::fs::read(state.path().join("model")).unwrap() == with_words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_makes_the_same_model_from_the_log_byte_for_byte() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    for number in 0..10 {
        say(state.path(), "spam", "bob@example.com", &letter(number, SPAM));
        say(state.path(), "ham", "eve@example.com", &letter(100 + number, HAM));
    }
    // A correction, which is a row of its own.
    say(state.path(), "ham", "bob@example.com", &letter(3, SPAM));
    until("all are written", async || logged(&database).await.matches(',').count() == 20).await;
    daemon.terminate();
    daemon.wait();
    drop(daemon);
    read_on(&database, state.path()).await;
    let before = std::fs::read(state.path().join("model")).unwrap();
    // What `gatepost model rebuild` does.
    database
        .sql("UPDATE gatepost.training_epoch SET epoch = epoch + 1; NOTIFY gatepost, 'training_log *'")
        .await;
    let mut daemon = milter(&database, state.path());
    daemon.wait_for_log("the training log has changed behind us; the model is made anew");
    daemon.wait_for_log("the model is made spam=9 ham=11");
    daemon.terminate();
    daemon.wait();
    let after = std::fs::read(state.path().join("model")).unwrap();
    // Magic and form, the epoch, everything else, a digest (`learning/checkpoint.rs`).
    assert_eq!(after.len(), before.len());
    assert_ne!(after[19..27], before[19..27], "another epoch");
    let rest = 27..before.len() - 32;
    assert!(after[rest.clone()] == before[rest], "and the same in all else");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_that_is_none_is_left_out_and_said() {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let daemon = milter(&database, state.path());
    daemon.wait_for_log("the model is made spam=");
    database
        .sql("SELECT gatepost.teach('spam', NULL, 'tool', decode(repeat('ab', 16), 'hex'), '\\x0901')")
        .await;
    daemon.wait_for_log("a sample of the training log is skipped: unknown form 9");
    say(state.path(), "spam", "bob@example.com", &letter(1, SPAM));
    until("learning goes on", async || logged(&database).await.contains("bob")).await;
}
