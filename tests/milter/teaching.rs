//! Whom the model believes for whom, what teaches it besides moving mail, and what it does when its log or its disk fails.

use std::path::Path;
use std::process::Command;

use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::learning::{HAM, SPAM, database, letter, logged, milter_with, position, read_on, say, until};
use crate::postgres::Database;

/// The made model, and a daemon that has it.
async fn taught(keys: &str, rest: &str) -> (Database, tempfile::TempDir, Daemon) {
    let (database, state) = (database().await, tempfile::tempdir().unwrap());
    let daemon = milter_with(&database, state.path(), keys, rest);
    daemon.wait_for_log("the model is made spam=");
    (database, state, daemon)
}

/// Mail from outside to these; the edits as `name: value`.
fn inbound(daemon: &Daemon, recipients: &[&str], message_id: &str, body: &str) -> Vec<String> {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    peer.ask(b"M<sender@client.test>\0", b"c");
    for recipient in recipients {
        assert!(peer.send(b"DR{rcpt_mailer}\0lmtp\0"));
        peer.ask(format!("R<{recipient}>\0").as_bytes(), b"c");
    }
    peer.ask(b"T", b"c");
    let id = format!(" <{message_id}>");
    let fields = [
        ("From", " Sender <sender@client.test>"),
        ("To", " alice@example.com"),
        ("Subject", " offer number 1"),
        ("Date", " Sat, 21 Nov 2026 10:00:00 +0000"),
        ("Message-ID", id.as_str()),
    ];
    peer.message(&fields, body.as_bytes());
    let text = |frame: &Vec<u8>| {
        let mut parts =
            frame.get(5..)?.split(|&byte| byte == 0).map(|part| String::from_utf8_lossy(part).into_owned());
        Some(format!("{}:{}", parts.next()?, parts.next()?))
    };
    peer.end_of_message().iter().filter_map(text).collect()
}

/// Mail of a login.
fn submitted(daemon: &Daemon, login: &str, fields: &[(&str, &str)]) {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    assert!(peer.send(format!("DM{{auth_authen}}\0{login}\0").as_bytes()));
    peer.ask(format!("M<{login}>\0").as_bytes(), b"c");
    peer.ask(b"R<sender@client.test>\0", b"c");
    peer.ask(b"T", b"c");
    let from = format!(" {login}");
    peer.message(&[&[("From", from.as_str()), ("Subject", " Re: offer")], fields].concat(), b"yes\r\n");
    assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));
}

fn value<'a>(edits: &'a [String], name: &str) -> Option<&'a str> {
    edits.iter().find_map(|edit| edit.strip_prefix(name)?.strip_prefix(": "))
}

/// A symbol of the model in the report, whichever.
fn opinion(edits: &[String]) -> String {
    let report = value(edits, "X-Spamd-Result").unwrap_or_default();
    let start = report.find("BAYES_").map_or("", |at| &report[at..]);
    start.split('(').next().unwrap_or_default().to_owned()
}

const OFFER: &str = "This week cheap flights and hotels for all members of our travel club, with the newest offers of the season.\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_to_several_is_judged_for_each_who_has_taught() {
    // Few samples are worth few points out of the box.
    let weights = "[milter.weights]\nBAYES_SPAM_95 = 8.0\nBAYES_SPAM_99 = 8.0\n";
    let (_database, state, daemon) = taught("", weights).await;
    for number in 0..40 {
        say(state.path(), "spam", "carl@example.com", &letter(number, SPAM));
        say(state.path(), "ham", "carl@example.com", &letter(1_000 + number, HAM));
        say(state.path(), "spam", "alice@example.com", &letter(2_000 + number, OFFER));
        say(state.path(), "ham", "bob@example.com", &letter(3_000 + number, OFFER));
    }
    until("alice does not want it", async || {
        opinion(&inbound(&daemon, &["alice@example.com"], "1@client.test", OFFER)).starts_with("BAYES_SPAM_9")
    })
    .await;
    let bobs = inbound(&daemon, &["bob@example.com"], "2@client.test", OFFER);
    assert!(opinion(&bobs).starts_with("BAYES_HAM_"), "bob does: {bobs:?}");
    let both = inbound(&daemon, &["bob@example.com", "alice@example.com"], "3@client.test", OFFER);
    assert_eq!(value(&both, "X-Spam"), None, "{both:?}");
    let told: Vec<&String> = both.iter().filter(|edit| edit.starts_with("X-Gatepost-For:")).collect();
    let [told] = told.as_slice() else { panic!("one line for alice: {both:?}") };
    assert!(told.starts_with("X-Gatepost-For: <alice@example.com> junk; score="), "{told}");
    // Who has taught nothing hears what it thinks for everybody, and shares a verdict with all such.
    let strangers = inbound(&daemon, &["boss@elsewhere.test", "x@elsewhere.test"], "4@client.test", SPAM);
    assert!(opinion(&strangers).starts_with("BAYES_SPAM_"), "{strangers:?}");
    assert_eq!(value(&strangers, "X-Gatepost-For"), None);
}

async fn sources(database: &Database) -> String {
    let query = "SELECT string_agg(label || ' ' || owner || ' ' || source, ', ' ORDER BY position) FROM gatepost.training_log";
    database.sql(query).await.trim().to_owned()
}

async fn kept(database: &Database, number: usize) {
    until("it is kept", async || {
        database.sql("SELECT count(*) FROM gatepost.judged_messages").await.trim() == number.to_string()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_answers_is_wanted_if_that_is_switched_on() {
    let (database, state, daemon) = taught("ham-from-replies = true", "").await;
    let first = inbound(&daemon, &["alice@example.com", "carl@example.com"], "one@client.test", OFFER);
    inbound(&daemon, &["alice@example.com"], "two@client.test", OFFER);
    kept(&database, 2).await;
    // Bob did not get it; a program's answer says nothing; an answer to what nobody knows neither.
    submitted(&daemon, "bob@example.com", &[("In-Reply-To", " <one@client.test>")]);
    submitted(
        &daemon,
        "alice@example.com",
        &[("In-Reply-To", " <one@client.test>"), ("Auto-Submitted", " auto-replied")],
    );
    submitted(&daemon, "alice@example.com", &[("In-Reply-To", " <other@client.test>")]);
    submitted(&daemon, "alice@example.com", &[("In-Reply-To", " <one@client.test>")]);
    until("her answer is heard", async || sources(&database).await == "ham alice@example.com reply").await;
    let same = "SELECT encode(message, 'hex') || ' ' || (l.sample = j.sample)::text FROM gatepost.training_log AS l JOIN gatepost.judged_messages AS j USING (message)";
    assert_eq!(database.sql(same).await.trim(), format!("{} true", value(&first, "X-Gatepost-Id").unwrap()));
    // What she said herself stays: she called the second one spam, and answers it to complain.
    let key = database.sql("SELECT encode(message, 'hex') FROM gatepost.judged_messages WHERE message_id = '<two@client.test>'").await;
    say(
        state.path(),
        "spam",
        "alice@example.com",
        &format!("X-Gatepost-Id: {}\r\n{}", key.trim(), letter(1, OFFER)),
    );
    until("she says spam", async || sources(&database).await.ends_with("spam alice@example.com move")).await;
    submitted(&daemon, "alice@example.com", &[("In-Reply-To", " <two@client.test>")]);
    // And the opposite word corrects what the answer said.
    say(
        state.path(),
        "spam",
        "alice@example.com",
        &format!("X-Gatepost-Id: {}\r\n{}", value(&first, "X-Gatepost-Id").unwrap(), letter(1, OFFER)),
    );
    let expected = "ham alice@example.com reply, spam alice@example.com move, spam alice@example.com move";
    until("both are heard", async || sources(&database).await == expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_neither_answers_nor_correspondents_teach() {
    let dns = Dns::serve("client.test TXT v=spf1 ip4:192.0.2.1 -all\n");
    let (database, state, daemon) = taught("", &dns.toml()).await;
    database.sql("INSERT INTO gatepost.correspondents (mailbox, correspondent) VALUES ('alice@example.com', 'sender@client.test')").await;
    say(state.path(), "spam", "bob@example.com", &letter(1, SPAM));
    until("bob is heard", async || logged(&database).await == "spam bob@example.com").await;
    inbound(&daemon, &["alice@example.com"], "one@client.test", OFFER);
    kept(&database, 1).await;
    submitted(&daemon, "alice@example.com", &[("In-Reply-To", " <one@client.test>")]);
    say(state.path(), "spam", "bob@example.com", &letter(2, SPAM));
    until("what was said later is heard", async || logged(&database).await.matches("bob").count() == 2).await;
    assert_eq!(sources(&database).await, "spam bob@example.com move, spam bob@example.com move");
    let named =
        "SELECT count(*) FROM gatepost.judged_messages WHERE message_id IS NOT NULL OR mailboxes <> '{}'";
    assert_eq!(database.sql(named).await.trim(), "0", "nothing is noted that nobody asks for");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_from_correspondents_balances_a_server_that_hears_of_spam_only() {
    let dns = Dns::serve("client.test TXT v=spf1 ip4:192.0.2.1 -all\n");
    let (database, state, daemon) = taught("ham-from-correspondents = true", &dns.toml()).await;
    database.sql("INSERT INTO gatepost.correspondents (mailbox, correspondent) VALUES ('alice@example.com', 'sender@client.test')").await;
    // No spam yet, so ham is not the rarer kind.
    inbound(&daemon, &["alice@example.com"], "zero@client.test", OFFER);
    say(state.path(), "spam", "bob@example.com", &letter(1, SPAM));
    until("it is learned", async || {
        inbound(&daemon, &["alice@example.com", "bob@example.com"], "one@client.test", OFFER);
        sources(&database).await.starts_with("spam bob@example.com move, ham alice@example.com correspondent")
    })
    .await;
    assert!(!sources(&database).await.contains("ham bob"), "he has not written to the sender");
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_a_mailbox_has_written_to_is_known_where_that_is_remembered() {
    let dns = Dns::serve("client.test TXT v=spf1 ip4:192.0.2.1 -all\n");
    for (keys, known) in [("", true), ("[milter.actions]\ncorrespondents = false\n", false)] {
        let (database, _state, daemon) = taught("", &format!("{}{keys}", dns.toml())).await;
        database.sql("INSERT INTO gatepost.correspondents (mailbox, correspondent) VALUES ('alice@example.com', 'sender@client.test')").await;
        let edits = inbound(&daemon, &["alice@example.com"], "one@client.test", OFFER);
        let report = value(&edits, "X-Spamd-Result").unwrap_or_default();
        assert_eq!(report.contains("KNOWN_SENDER("), known, "{keys}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_has_lost_rows_makes_the_model_anew() {
    let (database, state, mut daemon) = taught("", "").await;
    for number in 0..4 {
        say(state.path(), "spam", "bob@example.com", &letter(number, SPAM));
    }
    until("all are written", async || logged(&database).await.matches("bob").count() == 4).await;
    daemon.terminate();
    daemon.wait();
    read_on(&database, state.path()).await;
    // Without a new epoch, as after a database that came back from a backup.
    database.sql("DELETE FROM gatepost.training_log WHERE position = (SELECT min(position) + 1 FROM gatepost.training_log)").await;
    let mut daemon = milter_with(&database, state.path(), "", "");
    daemon.wait_for_log("the training log has 3 rows up to where this model has read 4");
    daemon.wait_for_log("the model is made spam=3 ham=0");
    daemon.terminate();
    daemon.wait();
    // And the next start finds nothing wrong.
    let daemon = milter_with(&database, state.path(), "", "");
    daemon.wait_for_log("the model's checkpoint was read");
    say(state.path(), "spam", "bob@example.com", &letter(9, SPAM));
    until("it is written", async || logged(&database).await.matches("bob").count() == 4).await;
    assert!(!daemon.log().contains("made anew"), "{}", daemon.log());
}

/// A disk of a mebibyte, unmounted when dropped; none without the right to mount.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = ["-t", "tmpfs", "-o", "size=1m", "none"];
        let mounted = Command::new("mount").args(options).arg(folder.path()).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_checkpoint_and_nothing_else() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("NOT RUN: nothing can be mounted here");
        return;
    };
    let database = database().await;
    let state: &Path = disk.0.path();
    let mut daemon = milter_with(&database, state, "", "");
    daemon.wait_for_log("the model is made spam=");
    daemon.wait_for_log("the model's checkpoint cannot be written");
    assert!(daemon.log().contains("No space left on device"), "{}", daemon.log());
    assert_eq!(say(state, "spam", "bob@example.com", &letter(1, SPAM)), "+\n");
    until("it is in the log", async || logged(&database).await == "spam bob@example.com").await;
    daemon.terminate();
    daemon.wait();
    assert_eq!(position(state), 0, "no half of a checkpoint is left");
    assert!(!state.join("model.new").exists());
    let daemon = milter_with(&database, state, "", "");
    daemon.wait_for_log("the model is made spam=1 ham=0");
}
