//! One budget for each message: what does not answer by then is named as missing, and the message is judged by what is there.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatepost::store::schema;

use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::postgres::Database;

/// Somebody who holds tables; lets go of them when dropped.
struct Holder {
    psql: Child,
    database: Database,
}

impl Holder {
    async fn of(database: &Database, tables: &str) -> Self {
        let lock = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(120)");
        let psql = Command::new("psql")
            .args(["-X", "-q", "-U", "postgres", "-h"])
            .arg(database.socket())
            .args([database.name(), "-c", &lock])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND database = \
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        let wanted = tables.split(',').count();
        while database.sql(held).await.parse::<usize>().unwrap() < wanted {
            assert!(Instant::now() < end, "the tables are not held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { psql, database: database.clone() }
    }

    async fn release(mut self) {
        let ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
            WHERE datname = current_database() AND query LIKE '%pg_sleep(120)%' AND pid <> pg_backend_pid()";
        self.database.sql(ours).await;
        let _ = self.psql.wait();
    }
}

/// A database that answers, but not to these questions: somebody holds the tables. `database.timeout` is no help, each question has its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lets_wait_keeps_no_message_beyond_the_deadline() {
    let (database, dns) =
        (Database::create().await, Dns::serve("client.test TXT v=spf1 ip4:192.0.2.1 -all\n"));
    let pool = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut owner = pool.pool().acquire().await.unwrap();
    schema::install(&mut owner, false, &[]).await.unwrap();
    let patient = database.toml().replace("[database]", "[database]\ntimeout = \"600s\"");
    let daemon = Daemon::start(
        "deadline = \"2s\"\n",
        &format!("[milter.lists]\nenabled = false\n{patient}{}", dns.toml()),
    );
    let holder = Holder::of(
        &database,
        "gatepost.settings, gatepost.access_rules, gatepost.correspondents, gatepost.sent_messages",
    )
    .await;

    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    assert!(peer.send(b"DMi\x004XqLate\0"));
    peer.ask(b"M<sender@client.test>\0", b"c");
    for recipient in ["alice@example.com", "bob@example.com", "boss@example.com"] {
        peer.ask(format!("R<{recipient}>\0").as_bytes(), b"c");
    }
    peer.ask(b"T", b"c");
    peer.message(&[("From", " sender@client.test"), ("Subject", " hello")], b"hello\r\n");
    let frames: Vec<String> =
        peer.end_of_message().iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
    assert_eq!(frames.last().map(String::as_str), Some("c"), "{frames:?}");
    let result = frames.iter().find(|frame| frame.contains("X-Spamd-Result\0")).unwrap();
    let missing = result
        .split("FACTS_MISSING(0.00)[")
        .nth(1)
        .unwrap_or_else(|| panic!("nothing is missing in {result}"));
    let missing: Vec<&str> = missing.split(']').next().unwrap().split(',').collect();
    for fact in ["settings", "lists", "correspondents"] {
        assert!(missing.contains(&fact), "{missing:?}");
    }
    assert!(result.contains("R_SPF_ALLOW("), "what is there counts: {result}");
    assert!(daemon.log().contains("did not answer within milter.deadline"), "{}", daemon.log());
    holder.release().await;
}

/// What is asked when the rest is known: whether a failure of DMARC is excepted. That is not known, and the client is to come again.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_afterwards_keeps_no_message_either() {
    let (database, dns) = (
        Database::create().await,
        Dns::serve("client.test TXT v=spf1 -all\n_dmarc.client.test TXT v=DMARC1; p=reject\n"),
    );
    let pool = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut owner = pool.pool().acquire().await.unwrap();
    schema::install(&mut owner, false, &[]).await.unwrap();
    let patient = database.toml().replace("[database]", "[database]\ntimeout = \"600s\"");
    let daemon = Daemon::start(
        "deadline = \"2s\"\n",
        &format!("[milter.lists]\nenabled = false\n{patient}{}", dns.toml()),
    );
    let holder = Holder::of(&database, "gatepost.dmarc_overrides, gatepost.forwarders").await;

    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    assert!(peer.send(b"DMi\x004XqLate\0"));
    peer.ask(b"M<sender@client.test>\0", b"c");
    peer.ask(b"R<alice@example.com>\0", b"c");
    peer.ask(b"T", b"c");
    peer.message(&[("From", " sender@client.test"), ("Subject", " hello")], b"hello\r\n");
    let frames = peer.end_of_message();
    let last = String::from_utf8_lossy(frames.last().unwrap()).into_owned();
    assert!(last.starts_with("y451 4.7.1 "), "{last}");
    assert!(daemon.log().contains("did not answer within milter.deadline"), "{}", daemon.log());
    holder.release().await;
}
