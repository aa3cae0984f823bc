//! Mail that fails DMARC, while what is excepted changes or cannot be looked up. Each single exception is a dialogue in
//! `conversations/dmarc-*.txt`.

use std::io::{Read, Write};
use std::net::TcpStream;

use gatepost::store::schema;

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};
use crate::dns::Dns;
use crate::postgres::Database;
use crate::signatures::Key;
use crate::verification::{judged, python, sign};

const ZONE: &str = "client.test TXT v=spf1 ip4:192.0.2.1 -all\n_dmarc.bank.test TXT v=DMARC1; p=reject\nbank.test A 203.0.113.1\n\
                    _dmarc.shop.test TXT v=DMARC1; p=quarantine\nshop.test A 203.0.113.2\n";

const ENFORCE: &str = "[milter.dmarc]\nenforce = true\n[milter.learning]\nenabled = false\n";

async fn world(milter: &str) -> (Database, Daemon) {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, &[]).await.unwrap();
    let dns = Dns::serve(ZONE);
    let rest = format!("{}{ENFORCE}{}", dns.toml(), database.toml());
    let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}{milter}"), &rest);
    daemon.wait_for_log("changes are announced by the database");
    (database, daemon)
}

/// Sends a message from that domain; the final reply, and the names of the fields that were added before it.
fn sent(daemon: &Daemon, from: &str) -> (String, Vec<String>) {
    let mut peer: Peer = daemon.connect();
    peer.begin();
    peer.message(&[("From", &format!(" info@{from}")), ("Subject", " hello")], b"hello\r\n");
    let mut frames = peer.end_of_message();
    let reply = String::from_utf8(frames.pop().unwrap()).unwrap();
    let names = frames.iter().map(|frame| {
        let name = frame.get(5..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    });
    (reply.trim_end_matches('\0').to_owned(), names.collect())
}

/// Sends until the reply begins like that; a change is announced at once, but in its own time.
async fn becomes(daemon: &Daemon, from: &str, begin: &str) -> Vec<String> {
    for _ in 0..300 {
        let (reply, names) = sent(daemon, from);
        if reply.starts_with(begin) {
            return names;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("never {begin:?}:\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_excepted_counts_as_soon_as_it_is_announced() {
    let (database, daemon) = world("").await;
    assert!(sent(&daemon, "bank.test").0.starts_with("y550 5.7.26 "));
    for (insert, delete) in [
        (
            "INSERT INTO gatepost.dmarc_overrides (domain, policy) VALUES ('bank.test', 'none')",
            "DELETE FROM gatepost.dmarc_overrides",
        ),
        (
            "INSERT INTO gatepost.forwarders (kind, value) VALUES ('spf', 'client.test')",
            "UPDATE gatepost.forwarders SET recipient_domain = 'elsewhere.test'",
        ),
        (
            "INSERT INTO gatepost.forwarders (kind, value) VALUES ('network', '192.0.2.0/24')",
            "TRUNCATE gatepost.forwarders",
        ),
    ] {
        database.sql(insert).await;
        becomes(&daemon, "bank.test", "c").await;
        database.sql(delete).await;
        becomes(&daemon, "bank.test", "y550 5.7.26 ").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_what_was_known_counts() {
    let (database, daemon) = world("").await;
    database
        .sql("INSERT INTO gatepost.dmarc_overrides (domain, policy) VALUES ('bank.test', 'quarantine')")
        .await;
    assert_eq!(becomes(&daemon, "bank.test", "c").await, ["X-Spam", "Authentication-Results"]);
    database.take_away().await;
    for _ in 0..3 {
        // The lists were read a moment ago: what they say is still true (`database.stale-limit`).
        let (reply, names) = sent(&daemon, "bank.test");
        assert_eq!((reply.as_str(), names.len()), ("c", 2), "{}", daemon.log());
    }
    database.give_back().await;
    database.sql("DELETE FROM gatepost.dmarc_overrides").await;
    becomes(&daemon, "bank.test", "y550 5.7.26 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_never_known_is_no_refusal_and_the_operator_hears_of_it_once() {
    let (database, daemon) = world("").await;
    database.take_away().await;
    for _ in 0..3 {
        let (reply, names) = sent(&daemon, "bank.test");
        assert!(reply.starts_with("y451 4.7.1 ") && names.is_empty(), "{reply}");
    }
    assert_eq!(sent(&daemon, "shop.test").1, ["X-Spam", "Authentication-Results"]);
    assert_eq!(sent(&daemon, "nobody.test"), ("c".into(), vec!["Authentication-Results".into()]));
    let log = daemon.log();
    assert!(log.matches("exceptions from DMARC cannot be looked up now").count() >= 1, "{log}");
    assert!(log.contains("action=\"soft reject\"") && log.contains("dmarc=\"tempfail\""), "{log}");
    database.give_back().await;
    becomes(&daemon, "bank.test", "y550 5.7.26 ").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_not_as_expected_refuse_nothing() {
    let (database, daemon) = world("").await;
    database.sql("ALTER TABLE gatepost.forwarders RENAME COLUMN value TO worth").await;
    let (reply, _) = sent(&daemon, "bank.test");
    assert!(reply.starts_with("y451 4.7.1 "), "{reply}");
    let log = daemon.log();
    assert!(log.contains("ERROR") && log.contains("exceptions from DMARC cannot be looked up: "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_metrics_say_what_was_done_and_why() {
    let port = crate::ports::free_port();
    let (database, daemon) = world(&format!("metrics = \"inet:127.0.0.1:{port}\"\n")).await;
    sent(&daemon, "bank.test");
    sent(&daemon, "shop.test");
    sent(&daemon, "nobody.test");
    database.sql("INSERT INTO gatepost.forwarders (kind, value) VALUES ('network', '192.0.2.1/32')").await;
    becomes(&daemon, "shop.test", "c").await;
    becomes(&daemon, "bank.test", "c").await;
    let mut http = TcpStream::connect(("127.0.0.1", port)).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    http.read_to_string(&mut metrics).unwrap();
    for line in [
        "gatepost_milter_dmarc_total{result=\"fail\",disposition=\"reject\",reason=\"\"}",
        "gatepost_milter_dmarc_total{result=\"fail\",disposition=\"quarantine\",reason=\"\"}",
        "gatepost_milter_dmarc_total{result=\"fail\",disposition=\"none\",reason=\"trusted_forwarder\"} ",
        "gatepost_milter_dmarc_total{result=\"none\",disposition=\"none\",reason=\"\"} 1",
        "gatepost_milter_dmarc_observations_dropped_total 0",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    let log = daemon.log();
    for said in [
        "dmarc=\"reject\" dmarc_why=\"asked reject, done reject\"",
        "dmarc=\"quarantine\" dmarc_why=\"asked quarantine, done quarantine\"",
        "dmarc=\"none\" dmarc_why=\"asked reject, done none, trusted_forwarder (network 192.0.2.1/32)\"",
    ] {
        assert!(log.contains(said), "{said} is not in\n{log}");
    }
    // Where nothing fails nothing is said.
    let nobody = log.lines().filter(|line| line.contains("decided") && !line.contains("dmarc=")).count();
    assert_eq!(nobody, 1, "{log}");
}

/// A daemon over a zone and a database with our schema and a row; `rest` are further tables.
async fn world_of(zone: &str, rest: &str, rows: &str) -> Daemon {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, &[]).await.unwrap();
    database.sql(rows).await;
    let dns = Dns::serve(&format!("{ZONE}{zone}"));
    let rest = format!("{}{ENFORCE}{rest}{}", dns.toml(), database.toml());
    Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &rest)
}

const MESSAGE: &str =
    "From: info@bank.test\r\nMessage-ID: <1@bank.test>\r\nSubject: hello\r\nX-Odd: x\r\n\r\nhello\r\n";

/// Sends a message in RFC 5322 form; what was added, and the final reply.
fn send(daemon: &Daemon, message: &str) -> (String, String) {
    let mut frames = judged(daemon, message.as_bytes());
    let reply = String::from_utf8(frames.pop().unwrap()).unwrap();
    (frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect(), reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_that_signs_is_known_by_its_signature() {
    let key = Key::rsa();
    let zone = format!(
        "s._domainkey.list.test TXT {0}\ns._domainkey.other.test TXT {0}\nbroken._domainkey.list.test TXT SERVFAIL\n",
        key.record
    );
    let rows = "INSERT INTO gatepost.forwarders (kind, value) VALUES ('dkim', 'list.test')";
    let daemon = world_of(&zone, "", rows).await;
    for (options, changed, expected) in [
        ("domain=b'list.test'", false, "c"),
        ("domain=b'list.test'", true, "y550 5.7.26 "),
        ("domain=b'other.test'", false, "y550 5.7.26 "),
        // The key cannot be had now: it may be the list.
        ("domain=b'list.test', selector=b'broken'", false, "y451 4.7.1 "),
    ] {
        let signed = sign(MESSAGE, &key, options);
        let signed = if changed { signed.replace("Subject: hello", "Subject: hullo") } else { signed };
        let (_, reply) = send(&daemon, &signed);
        assert!(reply.starts_with(expected), "{options}, changed {changed}: {reply}\n{}", daemon.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_sealer_is_believed_and_nobody_else() {
    let key = Key::rsa();
    let zone = format!(
        "s._domainkey.list.test TXT {0}\ns._domainkey.other.test TXT {0}\nbroken._domainkey.list.test TXT SERVFAIL\n",
        key.record
    );
    let daemon = world_of(&zone, "[milter.arc]\ntrusted-sealers = [\"list.test\"]\n", "SELECT 1").await;
    let pass = "dmarc=pass header.from=bank.test";
    for (sealers, selector, recorded, changed, expected) in [
        (&["list.test"][..], "s", pass, false, "c"),
        (&["list.test"], "s", "dkim=pass header.d=bank.test", false, "c"),
        (&["list.test", "list.test"], "s", pass, false, "c"),
        // Nobody trusts that one, whatever he says he saw.
        (&["other.test"], "s", pass, false, "y550 5.7.26 "),
        // A stranger's seal below: the list passes on honestly what it did not see itself.
        (&["other.test", "list.test"], "s", pass, false, "y550 5.7.26 "),
        // A stranger's seal on top: what he changed before he sealed nobody knows.
        (&["list.test", "other.test"], "s", pass, false, "y550 5.7.26 "),
        (&["list.test"], "s", "dmarc=fail header.from=bank.test", false, "y550 5.7.26 "),
        (&["list.test"], "s", "dmarc=pass header.from=other.test", false, "y550 5.7.26 "),
        (&["list.test"], "s", "dmarc=pass", false, "y550 5.7.26 "),
        (&["list.test"], "s", pass, true, "y550 5.7.26 "),
        (&["list.test"], "broken", pass, false, "y451 4.7.1 "),
    ] {
        let mut message = MESSAGE.to_owned();
        for (number, sealer) in sealers.iter().enumerate() {
            // Only the first one saw it come from its author.
            let saw = if number == 0 { recorded } else { "arc=pass; dmarc=fail header.from=bank.test" };
            message = seal(&message, &key, sealer, selector, saw);
        }
        if changed {
            message = message.replace("Subject: hello", "Subject: hullo");
        }
        let (added, reply) = send(&daemon, &message);
        let case = format!("{sealers:?} {selector} {recorded} {changed}");
        assert!(reply.starts_with(expected), "{case}: {reply}\n{}", daemon.log());
        assert_eq!(added.contains("dmarc=fail (p=reject dis=none)"), expected == "c", "{case}: {added}");
    }
    assert!(daemon.log().contains("local_policy (arc=pass as[1].d=list.test)"), "{}", daemon.log());
}

/// Seals with dkimpy, which records what the sealer has seen.
fn seal(message: &str, key: &Key, sealer: &str, selector: &str, results: &str) -> String {
    let program = format!(
        "import sys, dkim\n\
         message = sys.stdin.buffer.read()\n\
         seen = b'Authentication-Results: {sealer}; {results}\\r\\n'\n\
         fields = dkim.arc_sign(seen + message, b'{selector}', b'{sealer}', {}, b'{sealer}', include_headers=[b'from', b'subject', b'message-id'])\n\
         sys.stdout.buffer.write(b''.join(fields) + message)\n",
        key.for_dkimpy()
    );
    python(&program, message)
}
