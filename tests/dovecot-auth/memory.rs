//! User lookups from memory: who has a mailbox, and of whom anything is written down. Tables that nobody can read for a while show what is
//! answered from memory; whatever is announced counts at once, and nothing that memory cannot know is made up.

use crate::instance::{Held, Instance, install, plain, until};
use crate::postgres::Database;

const FIELDS: &str = "[dovecot-auth.fields]\nacl_groups = \"{groups}\"\nquota_rule = \"*:bytes={quota}\"\n";

/// A daemon that has read everything.
async fn remembering(settings: &str) -> Instance {
    let instance = Instance::with_schema(settings).await;
    until("all mailboxes are in memory", async || is_in_force(&instance)).await;
    instance
}

fn is_in_force(instance: &Instance) -> bool {
    let directory = &instance.parts.directory;
    directory.kept().is_some() && directory.kept_notes().is_some()
}

/// The last line of an answer to USER.
async fn user(instance: &Instance, name: &str) -> String {
    let mut lines = instance.lines("userdb").await;
    lines.say(&["VERSION\t1\t0", &format!("USER\t1\t{name}\tservice=lmtp")]).await;
    lines.hear().await;
    lines.hear().await;
    lines.hear().await
}

async fn log_in(instance: &Instance, login: &str, password: &str) -> String {
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    lines.say(&[&format!("AUTH\t1\tPLAIN\tservice=imap\tresp={}", plain(login, password))]).await;
    lines.hear().await
}

fn found(name: &str, more: &str) -> String {
    let (local, domain) = name.split_once('@').unwrap();
    format!("USER\t1\t{name}\tuid=5000\tgid=5001\thome=/var/vmail/{domain}/{local}{more}")
}

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.com";
const CARL: &str = "carl@123qwe.com";
const UNKNOWN: &str = "NOTFOUND\t1";
const LATER: &str = "FAIL\t1\t";

/// Changes something, and waits until the daemon says what follows from it.
async fn after(instance: &Instance, statement: &str, name: &str, expected: &str) {
    instance.database.sql(statement).await;
    let mut heard = String::new();
    until(&format!("{statement}: {name}: {expected}"), async || {
        heard = user(instance, name).await;
        heard == expected
    })
    .await;
}

#[tokio::test]
async fn users_are_told_while_nobody_can_read_their_tables() {
    let instance = remembering(FIELDS).await;
    assert_eq!(instance.metric("addresses"), 3);
    assert_eq!(instance.metric("addresses_bytes"), 3 * 16);
    let held = Held::lock(&instance.database, "public.users, gatepost.user_fields, gatepost.quota").await;
    assert_eq!(user(&instance, ALICE).await, found(ALICE, ""));
    assert_eq!(user(&instance, "CARL@123QWE.com").await, found(CARL, ""));
    for nobody in ["nobody@example.com", "boss@example.com", "alice@elsewhere.test"] {
        assert_eq!(user(&instance, nobody).await, UNKNOWN, "{nobody}");
    }
    held.release().await;
    // What a login may is asked of nobody either, where nothing is written down; its hash always is.
    let held = Held::lock(&instance.database, "gatepost.login_rules, gatepost.app_passwords").await;
    assert_eq!(log_in(&instance, BOB, "bob123").await, "OK\t1\tuser=bob@example.com");
    held.release().await;
    instance.stop().await;
}

#[tokio::test]
async fn a_mailbox_counts_as_soon_as_its_change_is_announced() {
    let instance = remembering("").await;
    let dora = "dora@example.com";
    assert_eq!(user(&instance, dora).await, UNKNOWN);
    let nextcloud = "SET ROLE mail_admin; INSERT INTO users (local, domain) VALUES ('dora', 'example.com')";
    after(&instance, nextcloud, dora, &found(dora, "")).await;
    // In another spelling too: the mailbox is there until both rows are gone.
    after(
        &instance,
        "INSERT INTO users (local, domain) VALUES ('Dora', 'example.com')",
        dora,
        &found(dora, ""),
    )
    .await;
    instance.database.sql("DELETE FROM users WHERE local = 'dora'").await;
    until("memory says so", async || instance.metric("addresses") == 4).await;
    assert_eq!(user(&instance, dora).await, found(dora, ""));
    after(&instance, "DELETE FROM users WHERE local = 'Dora'", dora, UNKNOWN).await;
    let many =
        "INSERT INTO users (local, domain) SELECT 'u' || n, 'example.com' FROM generate_series(1, 6000) AS n";
    after(&instance, many, "u6000@example.com", &found("u6000@example.com", "")).await;
    until("memory has them", async || instance.metric("addresses") == 6003).await;
    after(&instance, "DELETE FROM users WHERE local LIKE 'u%'", "u1@example.com", UNKNOWN).await;
    until("memory has them no more", async || instance.metric("addresses") == 3).await;
    assert_eq!(user(&instance, ALICE).await, found(ALICE, ""));
    instance.stop().await;
}

#[tokio::test]
async fn what_is_written_down_of_users_counts_as_soon_as_it_is_announced() {
    let instance = remembering(FIELDS).await;
    let told = |name: &str, quota: u32, groups: &str| {
        let quota = if quota == 0 { String::new() } else { format!("\tquota_rule=*:bytes={quota}") };
        found(name, &format!("{groups}{quota}"))
    };
    let bob = |quota, groups| told(BOB, quota, groups);
    assert_eq!(user(&instance, BOB).await, bob(0, ""));
    after(&instance, "INSERT INTO gatepost.quota_limits VALUES ('*', 1)", BOB, &bob(1, "")).await;
    assert_eq!(user(&instance, CARL).await, told(CARL, 1, ""));
    after(&instance, "INSERT INTO gatepost.quota_limits VALUES ('@example.com', 2)", BOB, &bob(2, "")).await;
    // What is nobody's own is one answer for all of a domain, and for all.
    until("memory knows of whom", async || is_in_force(&instance)).await;
    assert_eq!((user(&instance, BOB).await, user(&instance, CARL).await), (bob(2, ""), told(CARL, 1, "")));
    let held = Held::lock(&instance.database, "gatepost.quota_limits").await;
    assert_eq!(user(&instance, ALICE).await, told(ALICE, 2, ""));
    assert_eq!(user(&instance, CARL).await, told(CARL, 1, ""));
    held.release().await;
    after(&instance, "INSERT INTO gatepost.quota_limits VALUES ('bob@example.com', 3)", BOB, &bob(3, ""))
        .await;
    // Dovecot says how full a mailbox is, which changes nothing, and then somebody gives it a limit.
    let full = "INSERT INTO gatepost.quota (login, bytes) VALUES ('bob@example.com', 77)";
    after(&instance, full, BOB, &bob(3, "")).await;
    let limit = "UPDATE gatepost.quota SET limit_bytes = 4 WHERE login = 'bob@example.com'";
    after(&instance, limit, BOB, &bob(4, "")).await;
    after(&instance, "UPDATE gatepost.quota SET limit_bytes = 5", BOB, &bob(5, "")).await;
    after(&instance, "DELETE FROM gatepost.quota", BOB, &bob(3, "")).await;
    let row = "INSERT INTO gatepost.quota (login, limit_bytes) VALUES ('carl@123qwe.com', 6)";
    after(&instance, row, CARL, &told(CARL, 6, "")).await;
    after(&instance, "TRUNCATE gatepost.quota", CARL, &told(CARL, 1, "")).await;
    let group = "INSERT INTO gatepost.groups VALUES ('sales', 'bob@example.com')";
    after(&instance, group, BOB, &bob(3, "\tacl_groups=sales")).await;
    let field = "INSERT INTO gatepost.user_fields VALUES ('bob@example.com', 'mail', 'maildir:/x')";
    after(&instance, field, BOB, &format!("{}\tmail=maildir:/x", bob(3, "\tacl_groups=sales"))).await;
    let gone =
        "DELETE FROM gatepost.user_fields; DELETE FROM gatepost.groups; DELETE FROM gatepost.quota_limits";
    after(&instance, gone, BOB, &bob(0, "")).await;
    assert_eq!(user(&instance, ALICE).await, told(ALICE, 0, ""));
    instance.stop().await;
}

#[tokio::test]
async fn a_lock_counts_as_soon_as_it_is_announced() {
    let instance = remembering("").await;
    assert_eq!(log_in(&instance, ALICE, "alice123").await, "OK\t1\tuser=alice@example.com");
    let no = "FAIL\t1\tuser=alice@example.com";
    let locked = "FAIL\t1\tuser=alice@example.com\tcode=user_disabled\treason=This account is locked. Please ask your postmaster.";
    for (statement, expected) in [
        ("INSERT INTO gatepost.login_locks (login, reason) VALUES ('alice@example.com', 'x')", locked),
        ("DELETE FROM gatepost.login_locks", "OK\t1\tuser=alice@example.com"),
        ("INSERT INTO gatepost.login_rules (scope, services) VALUES ('@example.com', '{pop3}')", no),
        ("DELETE FROM gatepost.login_rules", "OK\t1\tuser=alice@example.com"),
    ] {
        instance.database.sql(statement).await;
        let mut heard = String::new();
        until(&format!("{statement}: {expected}"), async || {
            heard = log_in(&instance, ALICE, "alice123").await;
            heard == expected
        })
        .await;
    }
    assert_eq!(log_in(&instance, CARL, "carl123").await, "OK\t1\tuser=carl@123qwe.com");
    instance.stop().await;
}

#[tokio::test]
async fn while_the_database_is_away_found_stays_found_and_unknown_is_temporary() {
    let instance = remembering(FIELDS).await;
    after(
        &instance,
        "INSERT INTO gatepost.quota_limits VALUES ('@123qwe.com', 7)",
        CARL,
        &found(CARL, "\tquota_rule=*:bytes=7"),
    )
    .await;
    until("that is known in memory", async || is_in_force(&instance)).await;
    assert_eq!(user(&instance, CARL).await, found(CARL, "\tquota_rule=*:bytes=7"));
    instance.database.take_away().await;
    until("the loss is noticed", async || user(&instance, "nobody@example.com").await.starts_with(LATER))
        .await;
    // Nobody has asked for alice and bob before.
    for name in [ALICE, BOB] {
        assert_eq!(user(&instance, name).await, found(name, ""));
    }
    assert_eq!(user(&instance, CARL).await, found(CARL, "\tquota_rule=*:bytes=7"));
    assert_eq!(instance.metric("addresses"), 0);
    instance.database.give_back().await;
    until("it answers again", async || user(&instance, "nobody@example.com").await == UNKNOWN).await;
    // What changes from now on is heard of, and what changed meanwhile was read.
    until("all is in memory again", async || is_in_force(&instance)).await;
    after(&instance, "DELETE FROM users WHERE local = 'bob'", BOB, UNKNOWN).await;
    assert_eq!(user(&instance, ALICE).await, found(ALICE, ""));
    instance.stop().await;
}

/// Somebody holds the table, or the server is cut off: once a question finds that out, nobody is unknown, and whoever is known still is.
#[tokio::test]
async fn nobody_is_unknown_once_a_question_was_not_answered() {
    let instance = remembering("").await;
    let held = Held::lock(&instance.database, "public.users").await;
    assert_eq!(user(&instance, "nobody@example.com").await, UNKNOWN);
    assert!(log_in(&instance, ALICE, "alice123").await.ends_with("code=temp_fail"));
    assert!(user(&instance, "nobody@example.com").await.starts_with(LATER));
    assert_eq!(user(&instance, BOB).await, found(BOB, ""));
    held.release().await;
    until("it is answered again", async || user(&instance, "nobody@example.com").await == UNKNOWN).await;
    instance.stop().await;
}

/// A trigger that is switched off announces nothing: what it hides counts when memory is read again, at the latest after
/// `database.cache-ttl-notified`, or when somebody says so.
#[tokio::test]
async fn what_was_never_announced_counts_when_all_is_read_again() {
    let instance = remembering("").await;
    let hidden = "ALTER TABLE users DISABLE TRIGGER USER; INSERT INTO users (local, domain) VALUES ('dora', 'example.com');
        ALTER TABLE users ENABLE TRIGGER USER";
    instance.database.sql(hidden).await;
    assert_eq!(user(&instance, "dora@example.com").await, UNKNOWN);
    let mut lines = instance.lines("userdb").await;
    lines.say(&["VERSION\t1\t0", "CACHE-FLUSH\t1"]).await;
    until("the cache is flushed", async || lines.hear().await.starts_with("OK\t1")).await;
    assert_eq!(user(&instance, "dora@example.com").await, found("dora@example.com", ""));
    until("memory has it", async || instance.metric("addresses") == 4).await;
    instance.stop().await;
}

/// Without announcements nothing is kept, and each answer is the database's.
#[tokio::test]
async fn without_triggers_everything_is_asked() {
    for schema in [false, true] {
        let database = Database::create().await;
        if schema {
            database.install(false).await;
        }
        let section = database.toml();
        let instance = Instance::on(database, &section, FIELDS).await;
        assert_eq!(user(&instance, ALICE).await, found(ALICE, ""));
        assert_eq!(user(&instance, "dora@example.com").await, UNKNOWN);
        instance.database.sql("INSERT INTO users (local, domain) VALUES ('dora', 'example.com')").await;
        assert_eq!(user(&instance, "dora@example.com").await, found("dora@example.com", ""));
        assert_eq!((instance.metric("addresses"), is_in_force(&instance)), (0, false));
        instance.stop().await;
    }
}

/// Where one table cannot be followed, or too much is written down, it is not known of whom nothing is: then everybody is asked about.
#[tokio::test]
async fn what_cannot_be_known_is_asked() {
    for statement in [
        "DROP TRIGGER gatepost_announce_update ON gatepost.quota",
        "ALTER TABLE gatepost.groups DISABLE TRIGGER gatepost_announce_delete",
        "INSERT INTO gatepost.user_fields SELECT 'u' || n || '@x.test', 'a', 'b' FROM generate_series(1, 100001) AS n",
    ] {
        let database = Database::create().await;
        install(&database).await;
        database.sql(statement).await;
        let section = database.toml();
        let instance = Instance::on(database, &section, FIELDS).await;
        until("all that can be is in memory", async || is_in_force(&instance)).await;
        assert_eq!(instance.parts.directory.kept_notes(), Some((0, 0)), "{statement}");
        let held = Held::lock(&instance.database, "gatepost.user_fields").await;
        assert!(user(&instance, ALICE).await.starts_with(LATER), "{statement}");
        held.release().await;
        until("it is answered", async || user(&instance, ALICE).await == found(ALICE, "")).await;
        instance.stop().await;
    }
}

/// A role that may not read what is written down is told so at each question, as it was without memory.
#[tokio::test]
async fn a_role_that_may_not_read_what_is_written_down_tells_nobody_nothing() {
    let database = Database::create().await;
    install(&database).await;
    database.sql("REVOKE SELECT ON gatepost.user_fields, gatepost.login_locks FROM mail_user").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "mail_user").unwrap();
    std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let settings =
        format!("database-user = \"mail_user\"\ndatabase-password-file = \"{}\"\n{FIELDS}", file.display());
    let section = database.toml();
    let instance = Instance::on(database, &section, &settings).await;
    until("the mailboxes are in memory", async || is_in_force(&instance)).await;
    assert!(user(&instance, ALICE).await.starts_with(LATER));
    assert_eq!(user(&instance, "nobody@example.com").await, UNKNOWN);
    assert!(log_in(&instance, ALICE, "alice123").await.ends_with("code=temp_fail"));
    assert_eq!(instance.metric("lookups_total{question=\"user\",result=\"misconfigured\"}"), 1);
    instance.database.sql("GRANT SELECT ON gatepost.user_fields, gatepost.login_locks TO mail_user").await;
    assert_eq!(user(&instance, ALICE).await, found(ALICE, ""));
    assert_eq!(log_in(&instance, ALICE, "alice123").await, "OK\t1\tuser=alice@example.com");
    instance.stop().await;
}
