//! The history in SQL: written as the milter's role, read by the tool as an admin reads it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gatepost::config::Secret;
use gatepost::directory::{Directory, Lookup};
use gatepost::store::Store;
use gatepost::store::history::{MAX_RECIPIENTS, Recipient, Record, Symbol};
use gatepost::store::schema;

use crate::postgres::Database;
use crate::tool::Tool;

/// A store that connects as the milter does.
async fn store(database: &Database) -> Store {
    let role = "gatepost_milter";
    let mut owner = crate::connect(database, "postgres").await;
    schema::install(&mut owner, false, &[(role, Secret::new(role.to_owned()))]).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), role).unwrap();
    let config = gatepost::config::Database {
        user: Some(role.into()),
        password_file: Some(file.path().to_owned()),
        ..database.config()
    };
    let database = gatepost::database::Database::new(&config, "test").unwrap();
    Store::new(&Directory::new(database, &config))
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn record(number: u32, action: &str, symbols: &[(&str, f64)]) -> Record {
    let symbol = |(symbol, points): &(&str, f64)| Symbol {
        symbol: (*symbol).to_owned(),
        points: *points,
        evidence: "seen".to_owned(),
    };
    Record {
        id: Record::name(SystemTime::now()),
        // Hours between them, so that no test depends on how long it takes itself.
        at: now() - 3_600.0 * f64::from(100 - number),
        host: "mx.example.com".to_owned(),
        queue_id: Some(format!("4Xq{number}")),
        message_id: Some(format!("{number}@client.test")),
        direction: "inbound",
        client: "192.0.2.1".parse().ok(),
        client_name: Some("client.test".to_owned()),
        helo: Some("client.test".to_owned()),
        tls: true,
        sender: "sender@client.test".to_owned(),
        recipients: vec![Recipient { recipient: "alice@example.com".to_owned(), ..Recipient::default() }],
        omitted: 0,
        login: None,
        header_from: Some("Bob <bob@elsewhere.test>".to_owned()),
        subject: Some(format!("Offer {number}")),
        size: 1234,
        authentication: Some("mx.example.com; spf=pass".to_owned()),
        action: action.to_owned(),
        reply: (action == "reject").then(|| "554 5.7.1 Spam message rejected".to_owned()),
        score: Some(symbols.iter().map(|(_, points)| points).sum()),
        add_header: Some(6.0),
        reject: Some(15.0),
        symbols: symbols.iter().map(symbol).collect(),
        missing: vec!["iprev".to_owned()],
        note: None,
        milliseconds: 7,
    }
}

fn records() -> Vec<Record> {
    let mut two = record(2, "add header", &[("PHISHING", 4.0), ("MISSING_DATE", 3.0)]);
    two.recipients.push(Recipient {
        recipient: "carl@123qwe.com".to_owned(),
        action: Some("no action".to_owned()),
        score: Some(3.0),
    });
    let mut four = record(4, "sign", &[]);
    (four.direction, four.score, four.add_header, four.reject) = ("submitted", None, None, None);
    four.sender = String::new();
    vec![record(1, "no action", &[("MISSING_DATE", 3.0)]), two, record(3, "reject", &[("GTUBE", 0.0)]), four]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_milter_writes_and_forgets_and_cannot_read() {
    let database = Database::create().await;
    let store = store(&database).await;
    let mut records = records();
    assert_eq!(store.remember(records.clone()).await, Lookup::Found(()));
    // The answer was lost: it counts once.
    assert_eq!(store.remember(records.clone()).await, Lookup::Found(()));
    assert_eq!(database.sql("SELECT count(*), count(DISTINCT id) FROM gatepost.history").await, "5|4");
    assert_eq!(
        database.sql("SELECT action, score FROM gatepost.history WHERE recipient = 'carl@123qwe.com'").await,
        "no action|3"
    );
    // Whatever a stranger writes is stored, cut and without what SQL cannot hold; no recipient is there twice.
    let mut odd = record(5, "no action", &[]);
    odd.subject = Some(format!("a\0b\u{1b}[2J{}", "x".repeat(5000)));
    odd.helo = Some("\u{0}".to_owned());
    odd.score = Some(f64::NAN);
    odd.milliseconds = u32::MAX;
    odd.recipients = (0..MAX_RECIPIENTS + 5)
        .map(|number| Recipient { recipient: format!("u{}@example.com", number / 2), ..Recipient::default() })
        .collect();
    assert_eq!(store.remember(vec![odd]).await, Lookup::Found(()));
    let found = database
        .sql("SELECT length(subject), left(subject, 5), helo, score, omitted, count(*) FROM gatepost.history WHERE queue_id = '4Xq5' GROUP BY 1, 2, 3, 4, 5")
        .await;
    assert_eq!(found, "998|ab[2J|||5|500");
    for (column, may) in [("at", "t"), ("id", "t"), ("subject", "f"), ("sender", "f"), ("symbols", "f")] {
        let query = format!(
            "SELECT has_column_privilege('gatepost_milter', 'gatepost.history_messages', '{column}', 'SELECT')"
        );
        assert_eq!(database.sql(&query).await, may, "{column}");
    }
    assert_eq!(
        database
            .sql("SELECT has_table_privilege('gatepost_milter', 'gatepost.history_recipients', 'SELECT')")
            .await,
        "f"
    );
    // What is old goes, its recipients with it, a part at a time.
    records.iter_mut().for_each(|record| {
        record.at = now() - 40.0 * 86_400.0;
        record.id = Record::name(SystemTime::now());
    });
    assert_eq!(store.remember(records.clone()).await, Lookup::Found(()));
    let keep = Duration::from_secs(30 * 86_400);
    assert_eq!(store.forget_history(keep, 3).await, Lookup::Found(3));
    assert_eq!(store.forget_history(keep, 3).await, Lookup::Found(1));
    assert_eq!(store.forget_history(keep, 3).await, Lookup::Found(0));
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.history_messages").await, "5");
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.history_recipients").await, "505");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_messages_are_found_by_an_index() {
    let database = Database::create().await;
    store(&database).await;
    let plan = database
        .sql(
            "SET enable_seqscan = off; EXPLAIN DELETE FROM gatepost.history_messages WHERE id IN
             (SELECT id FROM gatepost.history_messages WHERE at < now() - make_interval(secs => 1) ORDER BY at LIMIT 1000)",
        )
        .await;
    assert!(plan.contains("history_messages_at") && plan.contains("history_messages_pkey"), "{plan}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tool_lists_explains_and_counts() {
    let database = Database::create().await;
    let store = store(&database).await;
    assert_eq!(store.remember(records()).await, Lookup::Found(()));
    let tool = Tool::new(&database);

    let ids = |arguments: &str| -> Vec<String> {
        let out = tool.ok(&format!("history --json {arguments}"));
        out.lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["queue_id"]
                    .as_str()
                    .unwrap()
                    .to_owned()
            })
            .collect()
    };
    for (arguments, expected) in [
        ("", &["4Xq1", "4Xq2", "4Xq2", "4Xq3", "4Xq4"][..]),
        ("--recipient Carl@123qwe.com", &["4Xq2"]),
        ("--recipient example.com --limit 2", &["4Xq3", "4Xq4"]),
        ("--recipient ple.com", &[]),
        ("--sender client.test --action reject", &["4Xq3"]),
        ("--sender bob@elsewhere.test --limit 1", &["4Xq4"]),
        ("--sender elsewhere.test --action sign", &["4Xq4"]),
        ("--sender <>", &["4Xq4"]),
        ("--text phishing", &["4Xq2", "4Xq2"]),
        ("--text %", &[]),
        ("--since 97h --action sign", &["4Xq4"]),
        ("--since 10s", &[]),
    ] {
        assert_eq!(ids(arguments), expected, "{arguments}");
    }
    // With `milter.rules = false`, and after a mistake of ours.
    let (code, out, err) = tool.run_with(&["history", "--action", "not judged"]);
    assert_eq!((code, out.as_str()), (0, ""), "{err}");
    let out = tool.ok("history --action reject");
    assert!(
        out.contains("reject        0.00  4Xq3          sender@client.test -> alice@example.com  Offer 3"),
        "{out}"
    );

    let out = tool.ok("why 4Xq2 --recipient alice@example.com");
    for line in [
        "message     4Xq2 <2@client.test>",
        "client      client.test [192.0.2.1], HELO client.test, TLS",
        "result      add header, 7.00 points (marked from 6, refused from 15)",
        "missing     iprev",
        "    4.00  PHISHING      seen",
        "  8.00 more points: reject",
        "  without PHISHING: 3.00 points, no action",
    ] {
        assert!(out.lines().any(|known| known == line), "{line} is not in\n{out}");
    }
    // By Message-ID; each verdict once; something besides points decided.
    assert_eq!(tool.ok("why <2@client.test>").matches("\nresult ").count(), 2);
    assert!(tool.ok("why 4Xq3").contains("something else decided"));
    assert!(tool.refused("why 4Xq99").contains("no message 4Xq99 is in the history"));
    let json: serde_json::Value = serde_json::from_str(&tool.ok("why 1@client.test --json")).unwrap();
    assert_eq!(json["otherwise"][0], "3.00 more points: add header");

    let out = tool.ok("stats --by symbol");
    assert!(
        out.lines().any(|line| line.split_whitespace().eq(["MISSING_DATE", "2", "1", "1", "0", "3.0"])),
        "{out}"
    );
    let out = tool.ok("stats --by action");
    assert!(
        out.lines().any(|line| line.split_whitespace().eq(["submitted", "sign", "1", "1", "-"])),
        "{out}"
    );
    let mut rewritten = record(9, "rewrite subject", &[("MISSING_DATE", 3.0)]);
    rewritten.score = Some(7.0);
    assert_eq!(store.remember(vec![rewritten]).await, Lookup::Found(()));
    let out = tool.ok("stats --by symbol");
    assert!(
        out.lines().any(|line| line.split_whitespace().eq(["MISSING_DATE", "3", "1", "2", "0", "3.0"])),
        "marked in its subject is marked: {out}"
    );
    let marked =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["marked"].as_u64().unwrap();
    assert_eq!(tool.ok("stats --json").lines().map(marked).sum::<u64>(), 2);
    let out = tool.ok("stats --json");
    let day: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
    assert!(day["messages"].as_u64().unwrap() >= 1 && day["mean_ms"] == 7.0, "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_follows_sees_what_comes() {
    let database = Database::create().await;
    let store = store(&database).await;
    let tool = Tool::new(&database);
    assert_eq!(store.remember(vec![record(1, "no action", &[])]).await, Lookup::Found(()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost"))
        .arg("--config")
        .arg(tool.dir().join("gatepost.toml"))
        .args(["history", "--follow", "--limit", "2", "--recipient", "alice@example.com"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || lines.next().unwrap().unwrap();
    assert!(next().contains("4Xq1"));
    // It listens before it looks for the first time, so what comes from now on is announced to it.
    let mut other = record(2, "no action", &[]);
    other.recipients[0].recipient = "bob@example.com".to_owned();
    assert_eq!(store.remember(vec![other, record(3, "reject", &[])]).await, Lookup::Found(()));
    assert!(next().contains("4Xq3"));
    // The limit is of what was there before: of what comes nothing is left out.
    let many = (4..9).map(|number| record(number, "no action", &[])).collect();
    assert_eq!(store.remember(many).await, Lookup::Found(()));
    assert_eq!(store.remember(vec![record(9, "no action", &[])]).await, Lookup::Found(()));
    let id = |line: String| line.split_whitespace().nth(5).unwrap().to_owned();
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "4Xq9") {
        seen.push(id(next()));
    }
    assert_eq!(seen, ["4Xq4", "4Xq5", "4Xq6", "4Xq7", "4Xq8", "4Xq9"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
