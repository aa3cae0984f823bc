//! The history: messages on the wire become rows in SQL, with every reason; a database that is away costs no mail and, within bounds, no row.

use gatepost::store::schema;

use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::postgres::Database;
use crate::waiting::until_rows;

async fn database() -> Database {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, false, &[]).await.unwrap();
    database
}

fn start(database: &Database, dns: &Dns, keys: &str) -> Daemon {
    Daemon::start("", &format!("[milter.history]\n{keys}\n{}\n{}", database.toml(), dns.toml()))
}

/// One message from outside to these recipients; its reply.
fn message(daemon: &Daemon, recipients: &[&str], fields: &[(&str, &str)], body: &[u8]) -> u8 {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    assert!(peer.send(b"DMi\x004XqHist\0"));
    peer.ask(b"M<sender@client.test>\0", b"c");
    for recipient in recipients {
        peer.ask(format!("R<{recipient}>\0").as_bytes(), b"c");
    }
    peer.ask(b"T", b"c");
    peer.message(fields, body);
    peer.end_of_message().pop().unwrap()[0]
}

const FIELDS: [(&str, &str); 3] = [
    ("From", " =?utf-8?q?J=C3=B6rg?= <sender@client.test>"),
    ("Subject", " =?utf-8?q?Gr=C3=BC=C3=9Fe?="),
    ("Message-ID", " <one@client.test>"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_decision_is_a_row_for_each_recipient() {
    let (database, dns) = (database().await, Dns::serve("client.test TXT v=spf1 ip4:192.0.2.1 -all\n"));
    let daemon = start(&database, &dns, "");
    assert_eq!(message(&daemon, &["alice@example.com", "bob@example.com"], &FIELDS, b"hello\r\n"), b'c');
    let gtube =
        [&b"XJS*C4JDBQADN1.NSBN3*2IDNEN*"[..], b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"].concat();
    assert_eq!(message(&daemon, &["alice@example.com"], &FIELDS, &gtube), b'y');
    until_rows(
        "three rows",
        &database,
        "SELECT recipient, action, sender, header_from, subject, message_id, queue_id, host(client), direction, reply
         FROM gatepost.history ORDER BY at, recipient",
        "alice@example.com|no action|sender@client.test|J\u{f6}rg <sender@client.test>|Gr\u{fc}\u{df}e|one@client.test|4XqHist|192.0.2.1|inbound|\n\
         bob@example.com|no action|sender@client.test|J\u{f6}rg <sender@client.test>|Gr\u{fc}\u{df}e|one@client.test|4XqHist|192.0.2.1|inbound|\n\
         alice@example.com|reject|sender@client.test|J\u{f6}rg <sender@client.test>|Gr\u{fc}\u{df}e|one@client.test|4XqHist|192.0.2.1|inbound|554 5.7.1 Gtube pattern",
    )
    .await;
    // Every reason, as the log and the headers have them: the points are the score.
    let sums = database
        .sql(
            "SELECT abs(score - (SELECT sum((symbol ->> 'points')::numeric) FROM jsonb_array_elements(symbols) AS symbol)) < 0.005,
                    symbols @> '[{\"symbol\": \"MISSING_DATE\"}]', authentication LIKE '%spf=pass%', add_header, reject
             FROM gatepost.history WHERE recipient = 'bob@example.com'",
        )
        .await;
    assert_eq!(sums, "t|t|t|6|15");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_recorded_that_is_not_wanted() {
    let (database, dns) = (database().await, Dns::serve(""));
    let daemon = start(&database, &dns, "record = false");
    message(&daemon, &["alice@example.com"], &FIELDS, b"hello\r\n");
    // A second daemon on the same database records; by then the first would have.
    let other = start(&database, &dns, "subject = false");
    message(&other, &["bob@example.com"], &FIELDS, b"hello\r\n");
    until_rows(
        "one row",
        &database,
        "SELECT recipient, subject IS NULL FROM gatepost.history",
        "bob@example.com|t",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_while_the_database_was_away_is_written_when_it_is_back() {
    let (database, dns) = (database().await, Dns::serve(""));
    let daemon = start(&database, &dns, "");
    database.take_away().await;
    for _ in 0..3 {
        assert_eq!(message(&daemon, &["alice@example.com"], &FIELDS, b"hello\r\n"), b'c');
    }
    daemon.wait_for_log("cannot write the history now");
    database.give_back().await;
    until_rows("three rows", &database, "SELECT count(*) FROM gatepost.history", "3").await;
    assert_eq!(daemon.log().matches("cannot write the history now").count(), 1, "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_on_the_list_at_the_end_is_written() {
    let (database, dns) = (database().await, Dns::serve(""));
    let mut daemon = start(&database, &dns, "");
    for _ in 0..5 {
        message(&daemon, &["alice@example.com"], &FIELDS, b"hello\r\n");
    }
    daemon.terminate();
    assert!(daemon.wait().success());
    assert_eq!(database.sql("SELECT count(*) FROM gatepost.history_messages").await, "5");
}

/// `milter.authserv-id` may be that of several hosts; queue ids are each host's own, and `gatepost quarantine` asks Postfix who it is.
#[tokio::test(flavor = "multi_thread")]
async fn rows_bear_postfixs_name_of_the_host() {
    let (database, dns) = (database().await, Dns::serve(""));
    let daemon = Daemon::start(
        "authserv-id = \"example.com\"",
        &format!(
            "[milter.actions]\ngreylist = \"off\"\nquarantine = 0.1\n{}\n{}",
            database.toml(),
            dns.toml()
        ),
    );
    assert_eq!(message(&daemon, &["alice@example.com"], &FIELDS, b"hello\r\n"), b'c');
    until_rows("held", &database, "SELECT host, queue_id FROM gatepost.quarantine", "mx.example.com|4XqHist")
        .await;
    until_rows(
        "recorded",
        &database,
        "SELECT host, authentication LIKE 'example.com;%' FROM gatepost.history_messages",
        "mx.example.com|t",
    )
    .await;
}
