//! The real Dovecot and its dictionaries: shares, quotas, METADATA, last logins; and a Dovecot that keeps its own auth process.

use std::time::Duration;

use crate::dovecot::{Dovecot, Release, release};
use crate::dovecot_sessions::rcpt;
use crate::instance::{plain, until};

const SHARES: &str = "SELECT shared_mailbox || ' ' || shared_to FROM view_shared_mailboxes ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn a_mailbox_is_shared_seen_and_taken_back() {
    let dovecot = Dovecot::start(release().configuration()).await;
    dovecot.sql("DELETE FROM shared_mailboxes").await;
    assert!(rcpt(&dovecot, "bob@example.com").await.starts_with("250"));
    let mut bob = dovecot.imap_as("bob@example.com", "bob123").await;
    assert!(bob.command("CREATE Plans").await.contains(" OK "));
    let letter = "Subject: the plan\r\n\r\nnothing\r\n";
    let answer = bob.command_with(&format!("APPEND Plans {{{}}}", letter.len()), &[letter]).await;
    assert!(answer.contains(" OK "), "{answer}");
    let mut alice = dovecot.imap_as("alice@example.com", "alice123").await;
    assert!(!alice.command("LIST \"\" \"*\"").await.contains("Plans"));

    let answer = bob.command("SETACL Plans alice@example.com lr").await;
    assert!(answer.contains(" OK "), "{answer}\n{}", dovecot.log());
    until("the share is in the table", async || {
        dovecot.sql(SHARES).await == "bob@example.com alice@example.com"
    })
    .await;
    let mut alice = dovecot.imap_as("alice@example.com", "alice123").await;
    let answer = alice.command("LIST \"\" \"*\"").await;
    assert!(answer.contains("shared/bob@example.com/Plans"), "{answer}\n{}", dovecot.log());
    let answer = alice.command("SELECT shared/bob@example.com/Plans").await;
    assert!(answer.contains("* 1 EXISTS"), "{answer}\n{}", dovecot.log());
    assert!(alice.command("FETCH 1 BODY.PEEK[TEXT]").await.contains("nothing"));
    // Only what was shared, and only to whom.
    assert!(alice.command("SELECT shared/bob@example.com/INBOX").await.contains(" NO "));
    let mut carl = dovecot.imap_as("carl@123qwe.com", "carl123").await;
    assert!(!carl.command("LIST \"\" \"*\"").await.contains("Plans"));

    // A second one, so that the next change sets and unsets both.
    assert!(bob.command("SETACL Plans carl@123qwe.com lr").await.contains(" OK "));
    let both = "bob@example.com alice@example.com\nbob@example.com carl@123qwe.com";
    until("both are there", async || dovecot.sql(SHARES).await == both).await;
    let answer = bob.command("DELETEACL Plans alice@example.com").await;
    assert!(answer.contains(" OK "), "{answer}");
    until("one is gone", async || dovecot.sql(SHARES).await == "bob@example.com carl@123qwe.com").await;
    let mut alice = dovecot.imap_as("alice@example.com", "alice123").await;
    assert!(!alice.command("LIST \"\" \"*\"").await.contains("Plans"));
    let log = dovecot.log();
    assert!(!log.contains("Error: "), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doveadm_acl_and_dict_speak_to_our_dictionary() {
    let dovecot = Dovecot::start(release().configuration()).await;
    assert!(rcpt(&dovecot, "bob@example.com").await.starts_with("250"));
    dovecot.sql("DELETE FROM shared_mailboxes").await;
    let (ok, text) = dovecot
        .tool(&["acl", "set", "-u", "bob@example.com", "INBOX", "user=carl@123qwe.com", "lookup", "read"])
        .await;
    assert!(ok, "{text}\n{}", dovecot.log());
    assert_eq!(dovecot.sql(SHARES).await, "bob@example.com carl@123qwe.com");
    // Lost, and made again from the files.
    dovecot.sql("DELETE FROM shared_mailboxes").await;
    let (ok, text) = dovecot.tool(&["acl", "recalc", "-u", "bob@example.com"]).await;
    assert!(ok, "{text}\n{}", dovecot.log());
    assert_eq!(dovecot.sql(SHARES).await, "bob@example.com carl@123qwe.com");
    // Made again and again while it is there: the row is never away.
    dovecot.sql("CREATE TABLE gone (n int); CREATE RULE gone AS ON DELETE TO shared_mailboxes DO ALSO INSERT INTO gone VALUES (1)").await;
    for _ in 0..3 {
        let (ok, text) = dovecot.tool(&["acl", "recalc", "-u", "bob@example.com"]).await;
        assert!(ok, "{text}\n{}", dovecot.log());
    }
    // Longer than a share that is taken back stays.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(dovecot.sql(SHARES).await, "bob@example.com carl@123qwe.com");
    assert_eq!(dovecot.sql("SELECT count(*) FROM gone").await, "0");
    let (ok, text) =
        dovecot.tool(&["acl", "delete", "-u", "bob@example.com", "INBOX", "user=carl@123qwe.com"]).await;
    assert!(ok, "{text}");
    until("the share is gone", async || dovecot.sql(SHARES).await.is_empty()).await;

    // 2.4 names a place of its configuration instead of a dictionary.
    let uri = match release() {
        Release::V2_3 => format!("proxy:{}:acl", dovecot.gatepost.socket("dict").display()),
        Release::V2_4 => "acl_sharing_map".to_owned(),
    };
    let key = "shared/shared-boxes/user/carl@123qwe.com/alice@example.com";
    let as_alice = |verb: &str| ["dict", verb, "-u", "alice@example.com"].map(str::to_owned).to_vec();
    let dict = async |verb: &str, rest: &[&str]| {
        let arguments: Vec<String> =
            as_alice(verb).into_iter().chain(rest.iter().map(|&word| word.to_owned())).collect();
        dovecot.tool(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    };
    let (ok, text) = dict("set", &[&uri, key, "1"]).await;
    assert!(ok, "{text}");
    let (ok, text) = dict("set", &[&uri, key, "1"]).await;
    assert!(ok, "{text}");
    let (ok, text) = dict("get", &[&uri, key]).await;
    assert_eq!((ok, text.trim()), (true, "1"));
    assert_eq!(dovecot.sql(SHARES).await, "alice@example.com carl@123qwe.com");
    let (ok, text) = dict("iter", &["-R", &uri, "shared/shared-boxes/"]).await;
    assert!(ok && text.contains(key), "{text}");
    let (ok, text) = dict("iter", &["-R", "-V", &uri, "shared/shared-boxes/"]).await;
    assert!(ok && text.contains(key), "{text}");
    let (ok, text) = dict("iter", &["-1", &uri, key]).await;
    assert!(ok && text.contains("1"), "{text}");
    assert!(dict("unset", &[&uri, key]).await.0);
    assert!(dict("unset", &[&uri, key]).await.0);
    assert!(!dict("get", &[&uri, key]).await.0);
    let (ok, text) =
        dict("set", &[&uri, "shared/shared-boxes/user/alice@example.com/bob@example.com", "1"]).await;
    assert!(!ok && text.contains("must not change the shares of bob@example.com"), "{text}");
    let (ok, text) = dict("inc", &[&uri, key, "1"]).await;
    assert!(!ok && text.contains("is no number"), "{text}");
    dovecot.gatepost.database.take_away().await;
    let (ok, text) = dict("set", &[&uri, key, "1"]).await;
    assert!(!ok, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn quota_metadata_and_last_login_are_kept() {
    let dovecot = Dovecot::start(release().configuration()).await;
    dovecot.sql("INSERT INTO gatepost.quota_limits (scope, bytes) VALUES ('*', 1048576), ('alice@example.com', 20480)").await;
    let mut alice = dovecot.imap_as("alice@example.com", "alice123").await;
    let answer = alice.command("GETQUOTAROOT INBOX").await;
    assert!(answer.contains("(STORAGE 0 20)"), "{answer}\n{}", dovecot.log());
    let mut bob = dovecot.imap_as("bob@example.com", "bob123").await;
    let answer = bob.command("GETQUOTAROOT INBOX").await;
    assert!(answer.contains("(STORAGE 0 1024)"), "{answer}\n{}", dovecot.log());
    let letter = "Subject: small\r\n\r\nhello\r\n";
    let answer = alice.command_with(&format!("APPEND INBOX {{{}}}", letter.len()), &[letter]).await;
    assert!(answer.contains(" OK "), "{answer}");
    let large = format!("Subject: large\r\n\r\n{}\r\n", "x".repeat(70).repeat(400));
    let answer = alice.command_with(&format!("APPEND INBOX {{{}}}", large.len()), &[&large]).await;
    assert!(answer.contains("[OVERQUOTA]"), "{answer}");
    // What the policy daemon reads before it takes mail.
    until("the policy daemon can know", async || {
        let row = "SELECT messages, bytes > 0 AND bytes < 1000 FROM gatepost.quota WHERE login = 'alice@example.com'";
        dovecot.sql(row).await == "1|t"
    })
    .await;
    let (ok, text) = dovecot.tool(&["-f", "tab", "quota", "get", "-u", "alice@example.com"]).await;
    assert!(ok && text.contains("STORAGE\t1\t20\t"), "{text}");

    for (mailbox, entry) in [("INBOX", "/private/comment"), ("INBOX", "/shared/comment")] {
        let answer = alice.command(&format!("SETMETADATA {mailbox} ({entry} \"said of {entry}\")")).await;
        assert!(answer.contains(" OK "), "{answer}\n{}", dovecot.log());
        let answer = alice.command(&format!("GETMETADATA {mailbox} {entry}")).await;
        assert!(answer.contains(&format!("said of {entry}")), "{answer}");
    }
    let answer = alice.command("SETMETADATA INBOX (/private/comment NIL)").await;
    assert!(answer.contains(" OK "), "{answer}");
    let owners = "SELECT count(*) FILTER (WHERE owner = ''), count(*) FROM gatepost.dict_values WHERE dict = 'metadata'";
    assert_eq!(dovecot.sql(owners).await, "1|1");
    let known = "SELECT count(*) FROM gatepost.dict_values WHERE dict = 'last_login' AND key = 'shared/last-login/alice@example.com/imap' AND value ~ '^[0-9]{10}$'";
    assert_eq!(dovecot.sql(known).await, "1");

    // To everybody, and to a group.
    assert!(rcpt(&dovecot, "bob@example.com").await.starts_with("250"));
    dovecot
        .sql("DELETE FROM shared_mailboxes; INSERT INTO gatepost.groups VALUES ('staff', 'carl@123qwe.com')")
        .await;
    for folder in ["All", "Staff"] {
        assert!(bob.command(&format!("CREATE {folder}")).await.contains(" OK "));
    }
    assert!(bob.command("SETACL All anyone lr").await.contains(" OK "));
    assert!(bob.command("SETACL Staff $staff lr").await.contains(" OK "));
    until("both are known", async || {
        let shares = dovecot
            .sql("SELECT kind, name FROM gatepost.wide_shares WHERE owner = 'bob@example.com' ORDER BY 1")
            .await;
        shares == "anyone|\ngroup|staff"
    })
    .await;
    let mut alice = dovecot.imap_as("alice@example.com", "alice123").await;
    let mut carl = dovecot.imap_as("carl@123qwe.com", "carl123").await;
    let (of_alice, of_carl) = (alice.command("LIST \"\" \"*\"").await, carl.command("LIST \"\" \"*\"").await);
    let log = dovecot.log();
    assert!(
        of_alice.contains("shared/bob@example.com/All") && !of_alice.contains("Staff"),
        "{of_alice}\n{log}"
    );
    assert!(
        of_carl.contains("bob@example.com/All") && of_carl.contains("bob@example.com/Staff"),
        "{of_carl}\n{log}"
    );
    assert!(!log.contains("Error: "), "{log}");
}

/// A Dovecot that keeps its own auth process: 2.3 reads hashes from our dictionary, 2.4 by SQL; both ask for advice. As `examples/` have it.
#[tokio::test(flavor = "multi_thread")]
async fn dovecots_own_auth_reads_hashes_and_asks_for_advice() {
    let release = release();
    let configuration = release.configuration().replace(".conf", "-own-auth.conf");
    let dovecot = Dovecot::start_with(&configuration, "[dovecot-auth.guessing]\nuser = 10").await;
    drop(dovecot.imap_as("alice@example.com", "alice123").await);
    for user in ["alice@example.com", "nobody@example.com"] {
        let answer = dovecot.imap().await.command(&format!("LOGIN {user} wrong")).await;
        assert!(answer.contains("[AUTHENTICATIONFAILED]"), "{answer}\n{}", dovecot.log());
    }
    assert!(dovecot.processes().iter().any(|name| name == "auth"));
    let (ok, text) = dovecot.tool(&["user", "bob@example.com"]).await;
    assert!(ok && text.contains("mail/example.com/bob"), "{text}\n{}", dovecot.log());
    let (ok, text) = dovecot.tool(&["user", "*"]).await;
    assert!(ok && text.contains("carl@123qwe.com"), "{text}\n{}", dovecot.log());
    let test = async |remote: &str, password: &str| {
        let remote = format!("rip={remote}");
        dovecot
            .tool(&["auth", "test", "-x", "service=imap", "-x", &remote, "bob@example.com", password])
            .await
    };
    let (ok, text) = test("192.0.2.8", "bob123").await;
    assert!(ok, "{text}\n{}", dovecot.log());
    // Dovecot tells how a login ended when it has answered it.
    let known =
        "SELECT count(*) FROM gatepost.last_logins WHERE login = 'bob@example.com' AND mechanism = 'policy'";
    until("where bob logs in is known", async || dovecot.gatepost.database.sql(known).await == "1").await;
    // Of the 12 bits that Dovecot sends of each, none are those of bob's password.
    for guess in 0..10 {
        let (ok, text) = test("192.0.2.7", &format!("wrong{guess}")).await;
        assert!(!ok, "{text}");
    }
    until("who guesses is turned away", async || !test("192.0.2.7", "bob123").await.0).await;
    // It is one guard for all: Postfix is told the same of him from there, and the other hosts hear of it.
    let mut postfix = dovecot.gatepost.lines("postfix").await;
    postfix.handshake(1).await;
    let attempt = |id, rip| {
        format!("AUTH\t{id}\tPLAIN\tservice=smtp\trip={rip}\tresp={}", plain("bob@example.com", "bob123"))
    };
    postfix.say(&[&attempt(1, "192.0.2.7")]).await;
    assert!(postfix.is_closed().await);
    until("the guesses are written down", async || {
        let guesses = "SELECT count(*) FROM gatepost.login_guesses WHERE login = 'bob@example.com' AND address = '192.0.2.7'";
        dovecot.gatepost.database.sql(guesses).await == "10"
    })
    .await;
    // From where he has logged in before, strangers are no hindrance.
    let (ok, text) = test("192.0.2.8", "bob123").await;
    assert!(ok, "{text}\n{}", dovecot.log());
    dovecot.gatepost.database.take_away().await;
    let answer = dovecot.imap().await.command("LOGIN carl@123qwe.com carl123").await;
    assert!(answer.contains("[UNAVAILABLE]"), "{answer}\n{}", dovecot.log());
}
