//! The failure column where a conversation cannot show it: a database that goes and comes back, a role without rights, hashes that nobody
//! can verify. `conversations/unavailable.txt` has the rest.

use gatepost_dovecot_auth::dicts::{DICTS, Place};

use crate::instance::{Held, Instance, NOWHERE, plain, until};
use crate::postgres::Database;

fn auth(id: u32, login: &str, password: &str) -> String {
    format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp={}", plain(login, password))
}

async fn log_in(instance: &Instance, login: &str, password: &str) -> String {
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    lines.say(&[&auth(1, login, password)]).await;
    lines.hear().await
}

async fn user(instance: &Instance, name: &str) -> String {
    let mut lines = instance.lines("userdb").await;
    lines.say(&["VERSION\t1\t0", &format!("USER\t1\t{name}\tservice=lmtp")]).await;
    lines.hear().await;
    lines.hear().await;
    lines.hear().await
}

async fn dict(instance: &Instance, name: &str, lines: &[&str]) -> String {
    let place = DICTS.iter().find(|dict| dict.name == name).unwrap().place;
    let socket = if place == Place::Auth { "dict-auth" } else { "dict" };
    let mut peer = instance.lines(socket).await;
    peer.say(&[&format!("H3\t2\t0\t\t{name}")]).await;
    peer.say(lines).await;
    peer.hear().await
}

/// A lookup, an iteration and a transaction that each dictionary would answer, if it could.
fn questions(name: &str) -> [(&'static str, &'static [&'static str]); 3] {
    match name {
        "acl" => [
            ("O1", &["Lshared/shared-boxes/user/bob@example.com/alice@example.com\talice@example.com"]),
            (
                "Oshared/shared-boxes/user/bob@example.com/alice@example.com\t1",
                &["I1\t0\tshared/shared-boxes/user/bob@example.com/\tbob@example.com"],
            ),
            (
                "O1",
                &[
                    "B1\talice@example.com",
                    "S1\tshared/shared-boxes/user/bob@example.com/alice@example.com\t1",
                    "C1",
                ],
            ),
        ],
        "last_login" => [
            ("N", &["Lshared/last-login/bob@example.com\tbob@example.com"]),
            ("", &["I1\t0\tshared/last-login/\tbob@example.com"]),
            ("O1", &["B1\tbob@example.com", "S1\tshared/last-login/bob@example.com\t1767000000", "C1"]),
        ],
        "quota_clone" => [
            ("N", &["Lpriv/quota/storage\tbob@example.com"]),
            ("", &["I0\t0\tpriv/quota/\tbob@example.com"]),
            ("O1", &["B1\tbob@example.com", "S1\tpriv/quota/storage\t5", "C1"]),
        ],
        "metadata" => [
            ("N", &["Lpriv/0123456789abcdef0123456789abcdef/comment\tbob@example.com"]),
            ("", &["I1\t0\tpriv/0123456789abcdef0123456789abcdef/\tbob@example.com"]),
            ("O1", &["B1\tbob@example.com", "S1\tpriv/0123456789abcdef0123456789abcdef/comment\tx", "C1"]),
        ],
        "key_value" => [
            ("N", &["Lpriv/x\tbob@example.com"]),
            ("", &["I1\t0\tpriv/\tbob@example.com"]),
            ("O1", &["B1\tbob@example.com", "S1\tpriv/x\ty", "C1"]),
        ],
        "auth" => [
            ("O{\"password\":", &["Lshared/passdb/bob@example.com\tbob@example.com"]),
            ("Oshared/userdb/carl@123qwe.com\t", &["I0\t0\tshared/userdb/\t*"]),
            ("F1\tthis dictionary cannot be written", &["B1\tx", "S1\tshared/x\t1", "C1"]),
        ],
        _ => panic!("give dictionary {name} questions here"),
    }
}

#[tokio::test]
async fn every_dictionary_answers_and_fails_when_there_is_no_database() {
    let (there, nowhere) =
        (Instance::with_schema("").await, Instance::on(Database::create().await, NOWHERE, "").await);
    for known in DICTS {
        for (expected, lines) in questions(known.name) {
            let answer = dict(&there, known.name, lines).await;
            assert!(answer.starts_with(expected), "{}: {lines:?}: {answer}", known.name);
            let answer = dict(&nowhere, known.name, lines).await;
            assert!(answer.starts_with('F'), "{}: {lines:?}: {answer}", known.name);
            // An error is the parameter after the id.
            assert!(!lines.last().unwrap().starts_with('C') || answer.starts_with("F1\t"), "{answer}");
        }
        assert!(
            nowhere.metric(&format!("lookups_total{{question=\"{}\",result=\"unavailable\"}}", known.name))
                > 0
        );
    }
    there.stop().await;
    nowhere.stop().await;
}

#[tokio::test]
async fn the_database_goes_and_comes_back() {
    let instance = Instance::start("").await;
    assert_eq!(log_in(&instance, "alice@example.com", "alice123").await, "OK\t1\tuser=alice@example.com");
    assert!(user(&instance, "alice@example.com").await.starts_with("USER\t1\t"));
    instance.database.take_away().await;
    until("the loss is noticed", async || {
        log_in(&instance, "bob@example.com", "bob123").await.ends_with("code=temp_fail")
    })
    .await;
    // Longer than `database.cache-ttl`: what counts now is the stale limit.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(log_in(&instance, "alice@example.com", "alice123").await, "OK\t1\tuser=alice@example.com");
    assert_eq!(log_in(&instance, "alice@example.com", "wrong").await, "FAIL\t1\tuser=alice@example.com");
    assert_eq!(
        log_in(&instance, "nobody@example.com", "x").await,
        "FAIL\t1\tuser=nobody@example.com\tcode=temp_fail"
    );
    assert!(user(&instance, "alice@example.com").await.starts_with("USER\t1\t"));
    assert!(user(&instance, "nobody@example.com").await.starts_with("FAIL\t1\t"));
    instance.database.give_back().await;
    until("it answers again", async || {
        log_in(&instance, "bob@example.com", "bob123").await == "OK\t1\tuser=bob@example.com"
    })
    .await;
    assert_eq!(log_in(&instance, "nobody@example.com", "x").await, "FAIL\t1\tuser=nobody@example.com");
    assert_eq!(user(&instance, "nobody@example.com").await, "NOTFOUND\t1");
    instance.stop().await;
}

#[tokio::test]
async fn a_role_without_rights_denies_nobody() {
    let database = Database::create().await;
    database.sql("DO $$ BEGIN CREATE ROLE gatepost_test_nobody_auth LOGIN PASSWORD 'nobody'; EXCEPTION WHEN duplicate_object OR unique_violation THEN END $$").await;
    let instance = with_role(database, "gatepost_test_nobody_auth", "nobody").await;
    let answer = log_in(&instance, "alice@example.com", "alice123").await;
    assert_eq!(answer, "FAIL\t1\tuser=alice@example.com\tcode=temp_fail");
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"misconfigured\"}"), 1);
    assert!(user(&instance, "alice@example.com").await.starts_with("FAIL\t1\t"));
    let answer = dict(&instance, "acl", questions("acl")[0].1).await;
    assert!(answer.starts_with("Fpermission denied") || answer.contains("permission denied"), "{answer}");
    let mut postfix = instance.lines("postfix").await;
    postfix.handshake(1).await;
    postfix.say(&[&auth(1, "alice@example.com", "alice123")]).await;
    assert!(postfix.is_closed().await);
    instance.stop().await;
}

/// What the tutorial's role may is enough for all that the tutorial's tables hold; no schema of ours, no triggers.
#[tokio::test]
async fn the_tutorials_role_is_enough() {
    let instance = with_role(Database::create().await, "mail_user", "mail_user").await;
    let of_the_tutorial = |name: &str| ["acl", "auth"].contains(&name);
    assert_eq!(log_in(&instance, "alice@example.com", "alice123").await, "OK\t1\tuser=alice@example.com");
    assert!(user(&instance, "alice@example.com").await.starts_with("USER\t1\t"));
    for known in DICTS {
        for (expected, lines) in questions(known.name) {
            let answer = dict(&instance, known.name, lines).await;
            let as_expected = match of_the_tutorial(known.name) {
                true => answer.starts_with(expected),
                false => answer.starts_with('F') && answer.contains("run `gatepost schema install`"),
            };
            assert!(as_expected, "{}: {lines:?}: {answer}", known.name);
        }
    }
    instance.stop().await;
}

/// A hash that cannot be verified is the operator's to repair: no password is wrong because of it.
#[tokio::test]
async fn a_hash_of_an_unknown_kind_is_no_wrong_password() {
    let instance = Instance::start("hashing-memory = \"8MiB\"").await;
    for (local, hash) in [
        ("plain", "{PLAIN}secret"),
        ("cut", "$argon2id$v=19$m=16"),
        ("dear", "$argon2id$v=19$m=65536,t=1,p=1$QUplUG8wTnc0V0dCczFYcQ$MtOlTfFTDeUb/aVv9nj9Fg"),
    ] {
        let insert = format!(
            "INSERT INTO users (local, domain, password_hash) VALUES ('{local}', 'example.com', '{hash}')"
        );
        instance.database.sql(&insert).await;
        let answer = log_in(&instance, &format!("{local}@example.com"), "secret").await;
        assert_eq!(answer, format!("FAIL\t1\tuser={local}@example.com\tcode=temp_fail"));
    }
    instance.stop().await;
}

#[tokio::test]
async fn what_nextcloud_changes_counts() {
    let instance = Instance::start("").await;
    assert_eq!(log_in(&instance, "erna@example.com", "alice123").await, "FAIL\t1\tuser=erna@example.com");
    // As Nextcloud does, with a hash of PHP's kind: that of alice123.
    instance
        .database
        .sql("SET ROLE mail_admin; INSERT INTO users (local, domain, password_hash) SELECT 'erna', domain, password_hash FROM users WHERE local = 'alice'")
        .await;
    assert_eq!(log_in(&instance, "erna@example.com", "alice123").await, "OK\t1\tuser=erna@example.com");
    instance
        .database
        .sql("SET ROLE mail_admin; UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE local = 'bob') WHERE local = 'erna'")
        .await;
    // Without triggers an answer counts for `database.cache-ttl`, a second.
    until("the new password counts", async || {
        log_in(&instance, "erna@example.com", "bob123").await == "OK\t1\tuser=erna@example.com"
    })
    .await;
    assert_eq!(log_in(&instance, "erna@example.com", "alice123").await, "FAIL\t1\tuser=erna@example.com");
    instance.database.sql("SET ROLE mail_admin; DELETE FROM users WHERE local = 'erna'").await;
    until("the account is gone", async || {
        log_in(&instance, "erna@example.com", "bob123").await == "FAIL\t1\tuser=erna@example.com"
    })
    .await;
    instance.stop().await;
}

async fn with_role(database: Database, role: &str, password: &str) -> Instance {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, password).unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let settings = format!("database-user = \"{role}\"\ndatabase-password-file = \"{}\"\n", file.display());
    let section = database.toml();
    Instance::on(database, &section, &settings).await
}

/// A lookup that PostgreSQL does not answer is answered all the same, soon enough for whoever waits; a write that may have happened says so.
#[tokio::test]
async fn a_database_that_hangs_is_answered_for() {
    let instance = Instance::with_schema("").await;
    let held = Held::lock(&instance.database, "gatepost.dict_values").await;
    let mut peer = instance.lines("dict").await;
    peer.say(&["H3\t2\t0\t\tkey_value", "Lpriv/x\tbob@example.com"]).await;
    assert_eq!(peer.hear().await, "Fno answer within 2s");
    peer.say(&["B1\tbob@example.com", "S1\tpriv/x\ty", "C1"]).await;
    let answer = peer.hear().await;
    assert!(
        answer.starts_with("F1\tno answer within") || answer.starts_with("F1\tthe last try failed"),
        "{answer}"
    );
    held.release().await;
    until("it is answered again", async || {
        peer.say(&["B2\tbob@example.com", "S2\tpriv/x\tz", "C2"]).await;
        peer.hear().await == "O2"
    })
    .await;
    instance.stop().await;
}
