//! Signing keys and DNS: a key signs while DNS shows it, and only then. The daemon, the database and the messages are real; DNS is the
//! fake name server, whose zone changes while the daemon runs.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use gatepost::config::Secret;
use gatepost::store::schema;

use crate::daemon::{BINARY, Daemon};
use crate::dns::Dns;
use crate::postgres::Database;
use crate::signatures::{Key, Outcome, Sender, complete, send, taken, verified};

const ALICE: Sender = Sender::Login("alice@example.com");
const NAME: &str = "s._domainkey.example.com";
/// Long enough that nothing in here is asked by the clock alone.
const HOURLY: &str = "[dkim]\ncheck-every = \"1h\"\n";
const OFTEN: &str = "[dkim]\ncheck-every = \"100ms\"\n";

async fn database() -> Database {
    let database = Database::create().await;
    install(&database, &[]).await;
    database
}

async fn install(database: &Database, passwords: &[(&str, Secret)]) {
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, passwords).await.unwrap();
}

/// A key in a state, of which DNS has said nothing yet.
async fn insert(database: &Database, selector: &str, state: &str, key: &Key) {
    let public = key.record.rsplit("p=").next().unwrap();
    let algorithm = if key.record.contains("k=ed25519") { "ed25519-sha256" } else { "rsa-sha256" };
    database
        .sql(&format!(
            "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at) \
             VALUES ('example.com', '{selector}', '{algorithm}', '{}', '{public}', '{state}', now(), now())",
            key.pem
        ))
        .await;
}

fn zone(key: &Key) -> String {
    format!("{NAME} TXT {}\n", key.record)
}

fn signed(daemon: &Daemon) -> bool {
    let delivered = taken("a message", send(daemon, &ALICE, &complete(), b"x\r\n"));
    String::from_utf8_lossy(&delivered).contains("DKIM-Signature:")
}

/// Waits until mail is signed, or is no longer.
async fn until_signed(daemon: &Daemon, expected: bool) {
    for _ in 0..600 {
        if signed(daemon) == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never signed={expected}:\n{}", daemon.log());
}

async fn until_row(database: &Database, expected: &str) {
    let mut row = String::new();
    for _ in 0..600 {
        row = database.sql("SELECT state, dns, dns_detail FROM gatepost.dkim_keys ORDER BY selector").await;
        if row == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never {expected}, but {row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_signs_while_dns_shows_it_and_only_then() {
    let (database, key, other) = (database().await, Key::rsa(), Key::rsa());
    insert(&database, "s", "active", &key).await;
    let dns = Dns::serve("");
    let daemon = Daemon::start("", &format!("{}{}{OFTEN}", dns.toml(), database.toml()));
    // Never seen: unsigned and loud, not delayed and not broken.
    daemon.wait_for_log(
        "DNS does not show this key (no TXT record): mail of example.com is not signed with it",
    );
    assert!(!signed(&daemon));
    assert!(daemon.log().contains("ERROR"), "{}", daemon.log());
    until_row(&database, "active|missing|no TXT record").await;

    dns.change(&zone(&key));
    until_signed(&daemon, true).await;
    daemon.wait_for_log("DNS shows this key: it signs");
    let delivered = taken("shown", send(&daemon, &ALICE, &complete(), b"x\r\n"));
    verified("shown", &delivered, &[("s._domainkey.example.com.", &key)]);
    until_row(&database, "active|shown|").await;

    // Another key under its name, a revoked one, none at all: signatures would be broken.
    for (zone, detail) in [
        (zone(&other), "different|another key stands there"),
        (format!("{NAME} TXT v=DKIM1; k=rsa; p=\n"), "different|the key is revoked (p= is empty)"),
        (String::new(), "missing|no TXT record"),
    ] {
        dns.change(&zone);
        until_signed(&daemon, false).await;
        until_row(&database, &format!("active|{detail}")).await;
        dns.change(&self::zone(&key));
        until_signed(&daemon, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_dns_is_away_its_last_answer_counts_over_a_restart_too() {
    let (database, seen, unseen) = (database().await, Key::rsa(), Key::ed25519());
    insert(&database, "s", "active", &seen).await;
    let dns = Dns::serve(&zone(&seen));
    let toml = format!("{}{}{OFTEN}", dns.toml(), database.toml());
    let daemon = Daemon::start("", &toml);
    until_signed(&daemon, true).await;
    dns.change(&format!("{NAME} TXT SERVFAIL\nu._domainkey.example.com TXT SERVFAIL\n"));
    insert(&database, "u", "active", &unseen).await;
    daemon.wait_for_log("what it last said counts (shown)");
    daemon.wait_for_log("what it last said counts (unknown)");
    for _ in 0..2 {
        let daemon = Daemon::start("", &toml);
        daemon.wait_for_log("what it last said counts (shown)");
        let delivered = taken("away", send(&daemon, &ALICE, &complete(), b"x\r\n"));
        let text = String::from_utf8_lossy(&delivered).into_owned();
        assert!(text.contains("s=s;") && !text.contains("s=u;"), "{text}");
        verified("away", &delivered, &[("s._domainkey.example.com.", &seen)]);
    }
    assert_eq!(
        database.sql("SELECT selector, dns FROM gatepost.dkim_keys ORDER BY 1").await,
        "s|shown\nu|unknown"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_keys_are_heard_and_both_kinds_sign() {
    let (database, rsa, ed) = (database().await, Key::rsa(), Key::ed25519());
    let dns = Dns::serve(&format!("{}e._domainkey.example.com TXT {}\n", zone(&rsa), ed.record));
    let daemon = Daemon::start("", &format!("{}{}{HOURLY}", dns.toml(), database.toml()));
    daemon.wait_for_log("changes are announced by the database");
    insert(&database, "s", "new", &rsa).await;
    // The milter asks, the database's trigger publishes; nobody has let the key sign.
    until_row(&database, "published|shown|").await;
    daemon.wait_for_log("DNS shows this new key: published");
    assert!(!signed(&daemon));
    database.sql("UPDATE gatepost.dkim_keys SET state = 'active'").await;
    until_signed(&daemon, true).await;
    insert(&database, "e", "active", &ed).await;
    for _ in 0..600 {
        let delivered = taken("both", send(&daemon, &ALICE, &complete(), b"x\r\n"));
        if String::from_utf8_lossy(&delivered).matches("DKIM-Signature:").count() == 2 {
            verified(
                "both",
                &delivered,
                &[("s._domainkey.example.com.", &rsa), ("e._domainkey.example.com.", &ed)],
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never signed by both:\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_milters_own_role_may_write_what_dns_says_and_a_replica_needs_no_writing() {
    let (database, key) = (Database::create().await, Key::rsa());
    install(&database, &[("gatepost_milter", Secret::new("gatepost_milter".into()))]).await;
    insert(&database, "s", "active", &key).await;
    let dns = Dns::serve(&zone(&key));
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    std::fs::write(&password, "gatepost_milter\n").unwrap();
    std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    let role =
        format!("database-user = \"gatepost_milter\"\ndatabase-password-file = \"{}\"\n", password.display());
    let toml = format!("{}{}{OFTEN}", dns.toml(), database.toml());
    {
        let daemon = Daemon::start(&role, &toml);
        until_signed(&daemon, true).await;
        until_row(&database, "active|shown|").await;
        assert!(!daemon.log().contains("permission denied"), "{}", daemon.log());
    }
    // As on a replica: every writing is refused with SQLSTATE 25006. What this host sees still counts, both ways.
    database
        .sql(&format!("UPDATE gatepost.dkim_keys SET dns = 'missing', dns_at = now(); ALTER DATABASE {} SET default_transaction_read_only = on", database.name()))
        .await;
    let daemon = Daemon::start(&role, &toml);
    until_signed(&daemon, true).await;
    dns.change("");
    until_signed(&daemon, false).await;
    dns.change(&zone(&key));
    until_signed(&daemon, true).await;
    assert_eq!(database.sql("SELECT dns FROM gatepost.dkim_keys").await, "missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_see_different_dns_do_not_wake_each_other() {
    let (database, key) = (database().await, Key::rsa());
    let (here, there) = (Dns::serve(&zone(&key)), Dns::serve(""));
    let start = |dns: &Dns| Daemon::start("", &format!("{}{}{HOURLY}", dns.toml(), database.toml()));
    let daemons = (start(&here), start(&there));
    for daemon in [&daemons.0, &daemons.1] {
        daemon.wait_for_log("changes are announced by the database");
    }
    insert(&database, "s", "active", &key).await;
    for dns in [&here, &there] {
        for _ in 0..600 {
            if dns.asked(NAME) > 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The writes of both are announced to both; a ping-pong would ask hundreds of times in this second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    for dns in [&here, &there] {
        let asked = dns.asked(NAME);
        assert!((1..=4).contains(&asked), "asked {asked} times");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_saw_first_is_noticed_at_once() {
    let (database, key) = (database().await, Key::rsa());
    insert(&database, "s", "active", &key).await;
    let dns = Dns::serve(&zone(&key));
    let daemon = Daemon::start("", &format!("{}{}{HOURLY}", dns.toml(), database.toml()));
    daemon.wait_for_log("changes are announced by the database");
    until_signed(&daemon, true).await;
    // A host whose resolver alone says otherwise: this one, which sees the key, puts that right.
    until_row(&database, "active|shown|").await;
    database.sql("UPDATE gatepost.dkim_keys SET dns = 'different', dns_detail = 'x', dns_at = now()").await;
    until_row(&database, "active|shown|").await;
    until_signed(&daemon, true).await;
    // As `gatepost dkim check` or another host writes what this one sees too.
    dns.change("");
    database
        .sql("UPDATE gatepost.dkim_keys SET dns = 'missing', dns_detail = 'no TXT record', dns_at = now()")
        .await;
    daemon.wait_for_log("DNS does not show this key (no TXT record)");
    until_signed(&daemon, false).await;
    dns.change(&zone(&key));
    database.sql("UPDATE gatepost.dkim_keys SET dns = 'shown', dns_detail = '', dns_at = now()").await;
    until_signed(&daemon, true).await;
}

/// `[dkim]` with a key file of these lines, in a directory that lives as long as the second.
fn key_file(lines: &str) -> (String, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dkim.key");
    std::fs::write(&file, lines).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    (format!("[dkim]\ncheck-every = \"100ms\"\nkey-file = \"{}\"\n", file.display()), directory)
}

const ONE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
const TWO: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n";

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_key_signs_with_its_key_file_and_delays_mail_without() {
    let (database, key) = (database().await, Key::rsa());
    let dns = Dns::serve(&zone(&key));
    let (dkim, _one) = key_file(ONE);
    let (wrong, _two) = key_file(TWO);
    let domain = gatepost::mail::Domain::parse("example.com").unwrap();
    let config: gatepost::config::Config<gatepost::config::NoSection> =
        gatepost::config::parse(&dkim, "test".as_ref()).unwrap();
    let vault = gatepost::dkim::Vault::open(&config.dkim).unwrap();
    let sealed = vault.seal(&domain, "s", &Secret::new(key.pem.clone())).unwrap();
    insert(&database, "s", "active", &Key { pem: sealed.expose().to_owned(), record: key.record.clone() })
        .await;
    let start = |dkim: &str| Daemon::start("", &format!("{}{}{dkim}", dns.toml(), database.toml()));
    {
        let daemon = start(&dkim);
        until_signed(&daemon, true).await;
        let delivered = taken("encrypted", send(&daemon, &ALICE, &complete(), b"x\r\n"));
        verified("encrypted", &delivered, &[("s._domainkey.example.com.", &key)]);
    }

    for (dkim, why) in [
        (OFTEN.to_owned(), "no key file is configured; set `key-file` in section [dkim]"),
        (wrong, "which is not in "),
    ] {
        let daemon = start(&dkim);
        match send(&daemon, &ALICE, &complete(), b"x\r\n") {
            Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
            Outcome::Taken(_) => panic!("taken unsigned"),
        }
        assert!(daemon.log().contains(why), "{why}:\n{}", daemon.log());
        assert!(!daemon.log().contains(sealed.expose()), "a private key in the log");
    }
    // A row's key that was put into another row.
    database
        .sql("INSERT INTO gatepost.dkim_keys SELECT 'example.com', 'moved', algorithm, private_key, public_key, state, created_at, activated_at, retired_at, published_at, removed_at, 'unknown' FROM gatepost.dkim_keys; UPDATE gatepost.dkim_keys SET state = 'retired' WHERE selector = 's'")
        .await;
    dns.change(&zone(&key).replace("s._", "moved._"));
    let daemon = start(&dkim);
    until_row(&database, "active|shown|\nretired|shown|").await;
    match send(&daemon, &ALICE, &complete(), b"x\r\n") {
        Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
        Outcome::Taken(_) => panic!("a moved key was used"),
    }
    daemon.wait_for_log("made for another domain or selector");
}

#[test]
fn a_key_file_that_cannot_be_read_is_a_matter_of_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (short, _guard) = key_file("c2hvcnQ=\n");
    for (dkim, why) in [
        ("[dkim]\nkey-file = \"/nonexistent/dkim.key\"\n".to_owned(), "/nonexistent/dkim.key: No such file"),
        (short, "dkim.key:1:1: not a key: 5 bytes; expected 32 random bytes in base64"),
        ("[dkim]\ncheck-every = \"0s\"\n".to_owned(), "[dkim]: `check-every` must be more than 0s"),
        ("[dkim]\nkey_file = \"x\"\n".to_owned(), "did you mean \"key-file\"?"),
    ] {
        let file = directory.path().join("gatepost.toml");
        std::fs::write(&file, dkim).unwrap();
        let check = Command::new(BINARY).arg("--config").arg(&file).arg("check").output().unwrap();
        let said = String::from_utf8_lossy(&check.stderr).into_owned();
        assert_eq!(check.status.code(), Some(78), "{said}");
        assert!(said.contains(why), "{why}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_keys_that_sign_and_keys_that_are_withheld() {
    use std::io::{Read, Write};
    let (database, key, gone) = (database().await, Key::rsa(), Key::ed25519());
    insert(&database, "s", "active", &key).await;
    insert(&database, "gone", "active", &gone).await;
    let dns = Dns::serve(&zone(&key));
    let port = crate::ports::free_port();
    let metrics = format!("metrics = \"inet:127.0.0.1:{port}\"");
    let daemon = Daemon::start(&metrics, &format!("{}{}{OFTEN}", dns.toml(), database.toml()));
    until_signed(&daemon, true).await;
    let mut text = String::new();
    for _ in 0..100 {
        let mut http = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        text.clear();
        http.read_to_string(&mut text).unwrap();
        let expected = [
            "gatepost_milter_signing_keys{state=\"signing\"} 1",
            "gatepost_milter_signing_keys{state=\"withheld\"} 1",
            "gatepost_milter_signing_key_checks_total{answer=\"missing\"}",
        ];
        if expected.iter().all(|line| text.contains(line)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{text}");
}
