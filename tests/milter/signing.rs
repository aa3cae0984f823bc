//! Signatures on our own mail: made by the real daemon with keys from a real database, verified by dkimpy on the bytes that
//! Postfix would deliver.

use crate::daemon::Daemon;
use crate::postgres::Database;
use crate::signatures::{Key, Outcome, Sender, activate, complete, send, taken, verified, verifies, world};

#[tokio::test(flavor = "multi_thread")]
async fn signatures_verify_as_delivered() {
    let (database, daemon) = world().await;
    let (rsa, ed) = (Key::rsa(), Key::ed25519());
    activate(&database, "example.com", "20261121", "rsa-sha256", &rsa).await;
    activate(&database, "123qwe.com", "ed", "ed25519-sha256", &ed).await;
    let keys = [("20261121._domainkey.example.com.", &rsa), ("ed._domainkey.123qwe.com.", &ed)];
    let long = format!(
        " {}",
        "<reference-of-eighty-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@example.com>\n\t"
            .repeat(30)
            .trim_end()
    );
    let binary: Vec<u8> =
        (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let binary: Vec<u8> =
        binary.into_iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b'x' } else { byte }).collect();
    for (name, sender, headers, body) in [
        (
            "plain",
            Sender::Login("alice@example.com"),
            vec![("From", " Alice <alice@example.com>"), ("To", " bob@remote.test")],
            &b"hello\r\n"[..],
        ),
        ("complete", Sender::Login("alice@example.com"), complete(), b"hello\r\n\r\nbye\r\n"),
        (
            "alias",
            Sender::Login("alice@example.com"),
            vec![("From", " boss@example.com"), ("Subject", " as the boss")],
            b"x\r\n",
        ),
        (
            "extension",
            Sender::Login("alice@example.com"),
            vec![("From", " alice+news@example.com")],
            b"x\r\n",
        ),
        (
            "alias across domains",
            Sender::Login("carl@123qwe.com"),
            vec![("From", " orders@example.com")],
            b"x\r\n",
        ),
        (
            "upper case",
            Sender::Login("ALICE@Example.COM"),
            vec![("from", " ALICE@EXAMPLE.com"), ("SUBJECT", "\t odd  \n\t case ")],
            b"x\r\n",
        ),
        ("ed25519", Sender::Login("carl@123qwe.com"), vec![("From", " carl@123qwe.com")], b"x\r\n"),
        ("local", Sender::Local, vec![("From", " root@example.com")], b"cron says\r\n"),
        ("empty body", Sender::Login("alice@example.com"), vec![("From", " alice@example.com")], b""),
        (
            "blank lines at the end",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b"</html>\r\n    \r\n\t\r\n\r\n",
        ),
        (
            "only blank lines",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b" \r\n\r\n",
        ),
        (
            "white space in lines",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b" a \t b \r\n\tc\t\r\n",
        ),
        (
            "long references",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com"), ("References", long.as_str())],
            b"x\r\n",
        ),
        (
            "8-bit",
            Sender::Login("alice@example.com"),
            vec![("From", " \u{e4} <alice@example.com>"), ("Subject", " \u{20ac}")],
            "\u{fc}ber\r\n".as_bytes(),
        ),
        (
            "several of one name",
            Sender::Login("alice@example.com"),
            vec![("To", " a@b.test"), ("From", " alice@example.com"), ("To", " c@d.test")],
            b"x\r\n",
        ),
        (
            "a long line of anything",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            &[&binary[..], b"\r\n"].concat(),
        ),
    ] {
        let delivered = taken(name, send(&daemon, &sender, &headers, body));
        verified(name, &delivered, &keys);
    }
    assert!(daemon.log().contains("action=\"sign\""), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_active_key_signs_and_the_signature_covers_what_matters() {
    let (database, daemon) = world().await;
    let (rsa, ed) = (Key::rsa(), Key::ed25519());
    activate(&database, "example.com", "rsa", "rsa-sha256", &rsa).await;
    activate(&database, "example.com", "ed", "ed25519-sha256", &ed).await;
    let outcome = send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"hello\r\n");
    let delivered = taken("dual", outcome);
    let keys = [("rsa._domainkey.example.com.", &rsa), ("ed._domainkey.example.com.", &ed)];
    let text = String::from_utf8_lossy(&delivered).into_owned();
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    verified("dual", &delivered, &keys);

    let broken = [
        ("body", text.replace("hello", "hullo")),
        ("subject", text.replace("Subject: tomorrow", "Subject: today")),
        ("date", text.replace("09:00:00", "09:00:01")),
        ("a second From", text.replace("Subject: tomorrow", "From: evil@example.net\r\nSubject: tomorrow")),
        ("a second Subject", text.replace("Subject: tomorrow", "Subject: tomorrow\r\nSubject: today")),
        ("a second To", text.replace("Subject: tomorrow", "To: evil@example.net\r\nSubject: tomorrow")),
        ("a Cc", text.replace("Subject: tomorrow", "Cc: evil@example.net\r\nSubject: tomorrow")),
    ];
    for (name, broken) in broken {
        assert_ne!(broken, text);
        assert!(!verifies(broken.as_bytes(), &keys), "{name}: still verifies");
    }
    // What Postfix or the next host changes must not matter.
    let harmless = [
        ("Received", format!("Received: from x by y\r\n{text}")),
        ("Return-Path", format!("Return-Path: <alice@example.com>\r\n{text}")),
        ("folding", text.replace("Subject: tomorrow", "Subject:\r\n\ttomorrow")),
        ("blank lines", format!("{text}\r\n\r\n")),
    ];
    for (name, harmless) in harmless {
        assert_ne!(harmless, text);
        assert!(verifies(harmless.as_bytes(), &keys), "{name}: no longer verifies");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_that_is_not_the_senders_own() {
    let (database, daemon) = world().await;
    activate(&database, "example.com", "s", "rsa-sha256", &Key::rsa()).await;
    for (name, sender, headers) in [
        ("another's address", Sender::Login("alice@example.com"), vec![("From", " bob@example.com")]),
        ("nobody's address", Sender::Login("alice@example.com"), vec![("From", " nobody@example.com")]),
        ("a domain of others", Sender::Login("alice@example.com"), vec![("From", " alice@remote.test")]),
        ("a domain without key", Sender::Login("carl@123qwe.com"), vec![("From", " carl@123qwe.com")]),
        (
            "two authors",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com, bob@example.com")],
        ),
        (
            "two From fields",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com"), ("From", " alice@example.com")],
        ),
        ("no address", Sender::Login("alice@example.com"), vec![("From", " Alice")]),
        ("a login that is no address", Sender::Login("alice"), vec![("From", " alice@example.com")]),
        ("local, a domain of others", Sender::Local, vec![("From", " root@remote.test")]),
    ] {
        let delivered = taken(name, send(&daemon, &sender, &headers, b"x\r\n"));
        assert!(!String::from_utf8_lossy(&delivered).contains("DKIM-Signature"), "{name} was signed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_keys_sign_and_a_change_counts_at_once() {
    let (database, daemon) = world().await;
    let (first, second) = (Key::rsa(), Key::rsa());
    activate(&database, "example.com", "first", "rsa-sha256", &first).await;
    activate(&database, "example.com", "second", "rsa-sha256", &second).await;
    let sender = Sender::Login("alice@example.com");
    // Keys that are not active yet never sign.
    database
        .sql(
            "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, dns, dns_at)
             SELECT domain, next, algorithm, private_key, 'y', next, now(), 'missing', now()
             FROM gatepost.dkim_keys, unnest('{new,published}'::text[]) AS next WHERE selector = 'second'",
        )
        .await;
    for (state, signs) in [("retired", false), ("active", true), ("retired", false), ("removed", false)] {
        database
            .sql(&format!("UPDATE gatepost.dkim_keys SET state = '{state}' WHERE selector = 'second'"))
            .await;
        // Announced by the schema's trigger; until the daemon has heard of it, the old answer counts.
        let mut delivered = String::new();
        for _ in 0..600 {
            let bytes = taken(state, send(&daemon, &sender, &complete(), b"x\r\n"));
            delivered = String::from_utf8_lossy(&bytes).into_owned();
            if delivered.contains("s=second") == signs {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(delivered.contains("s=second"), signs, "{state}: {delivered}");
        assert!(delivered.contains("s=first"), "{state}: {delivered}");
        assert!(!delivered.contains("s=new") && !delivered.contains("s=published"), "{state}: {delivered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_delays_our_mail_and_nothing_else() {
    let (database, daemon) = world().await;
    let key = Key::rsa();
    activate(&database, "example.com", "s", "rsa-sha256", &key).await;
    let sender = Sender::Login("alice@example.com");
    database.take_away().await;
    match send(&daemon, &sender, &complete(), b"x\r\n") {
        Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
        Outcome::Taken(_) => panic!("taken unsigned"),
    }
    // Mail from outside needs nothing of the database.
    let mut peer = daemon.connect();
    peer.begin();
    peer.message(&[("From", " sender@client.test")], b"hello\r\n");
    assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));

    database.give_back().await;
    for _ in 0..600 {
        if let Outcome::Taken(delivered) = send(&daemon, &sender, &complete(), b"x\r\n") {
            verified("given back", &delivered, &[("s._domainkey.example.com.", &key)]);
            // What was found once is still known when the database goes again.
            database.take_away().await;
            let delivered = taken("from the cache", send(&daemon, &sender, &complete(), b"x\r\n"));
            verified("from the cache", &delivered, &[("s._domainkey.example.com.", &key)]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the daemon did not find the database again:\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_our_schema_signing_is_off_and_says_so() {
    let database = Database::create().await;
    let daemon = Daemon::start("", &database.toml());
    for _ in 0..2 {
        let delivered =
            taken("no schema", send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"x\r\n"));
        assert!(!String::from_utf8_lossy(&delivered).contains("DKIM-Signature"));
    }
    let log = daemon.log();
    assert_eq!(
        log.matches("signing is off: schema gatepost is not installed; run `gatepost schema install`")
            .count(),
        1,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_the_operators_to_mend() {
    let (database, daemon) = world().await;
    let broken = Key {
        pem: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
        record: String::new(),
    };
    activate(&database, "example.com", "broken", "rsa-sha256", &broken).await;
    match send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"x\r\n") {
        Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
        Outcome::Taken(_) => panic!("taken unsigned"),
    }
    assert!(daemon.log().contains("no key of example.com can be used"), "{}", daemon.log());
    assert!(!daemon.log().contains("AAAA"), "a private key in the log");
}
