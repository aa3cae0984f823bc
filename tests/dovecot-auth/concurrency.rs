//! What goes on at the same time: slow hashes, quick ones, lookups, bounds, and the end of the daemon in the middle of it.

use std::time::Instant;

use crate::instance::{HASHED_WITHIN, Held, Instance, install, plain, until};
use crate::postgres::Database;

/// bcrypt at a cost that takes a good part of a second: long beside everything else here, and short enough for several of them, on a machine
/// that has other things to do, within the 8 s that a login is given. Nobody knows its password.
const SLOW: &str = "$2y$13$abcdefghijklmnopqrstuuWm9TDQ3V5lTPiDcEYGCNFv2V9x8lJ0a";

/// What the slow hash ends with. Hashing gives way to everything else: a machine that is busy beyond measure does not come to it within
/// [`HASHED_WITHIN`], and that it then says "try later" is no fault.
fn assert_refused(line: &str, id: u32, asked: Instant) {
    let refused = format!("FAIL\t{id}\tuser=slow@example.com");
    let is_late = asked.elapsed() >= HASHED_WITHIN;
    assert!(line == refused || is_late && line == format!("{refused}\tcode=temp_fail"), "{line}");
}

/// One test at a time burns all the cores.
static BURNING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn with_slow_user(settings: &str) -> (Instance, tokio::sync::MutexGuard<'static, ()>) {
    let alone = BURNING.lock().await;
    let instance = Instance::start(settings).await;
    let insert =
        format!("INSERT INTO users (local, domain, password_hash) VALUES ('slow', 'example.com', '{SLOW}')");
    instance.database.sql(&insert).await;
    (instance, alone)
}

fn auth(id: u32, login: &str, password: &str) -> String {
    format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp={}", plain(login, password))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_hash_holds_up_neither_other_logins_of_its_connection_nor_lookups() {
    let (instance, _alone) = with_slow_user("[limits]\nthreads = 2").await;
    let (mut login, mut userdb, mut dict) =
        (instance.lines("login").await, instance.lines("userdb").await, instance.lines("dict").await);
    login.handshake(1).await;
    let asked = Instant::now();
    login.say(&[&auth(1, "slow@example.com", "x"), &auth(2, "alice@example.com", "alice123")]).await;
    assert_eq!(login.hear().await, "OK\t2\tuser=alice@example.com");
    // Both threads are busy now; lookups are answered, and malformed logins too.
    login.say(&[&auth(3, "slow@example.com", "y"), "AUTH\t4\tPLAIN\tservice=imap\tresp=%"]).await;
    assert_eq!(login.hear().await, "FAIL\t4\tcode=invalid_base64");
    userdb.say(&["VERSION\t1\t0", "USER\t1\tbob@example.com", "PASS\t2\tcarl@123qwe.com"]).await;
    for expected in ["VERSION\t1\t2", "SPID\t"] {
        assert!(userdb.hear().await.starts_with(expected));
    }
    let mut answers = [userdb.hear().await, userdb.hear().await];
    answers.sort();
    assert!(
        answers[0].starts_with("PASS\t2\tuser=carl@123qwe.com") && answers[1].starts_with("USER\t1\tbob@"),
        "{answers:?}"
    );
    dict.say(&["H3\t2\t0\t\tacl", "I1\t0\tshared/shared-boxes/user/bob@example.com/\tbob@example.com"]).await;
    assert!(dict.hear().await.starts_with("Oshared/"));
    let mut slow = [login.hear().await, login.hear().await];
    slow.sort();
    slow.iter().zip([1, 3]).for_each(|(line, id)| assert_refused(line, id, asked));
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_told_to_try_later_and_never_that_it_is_wrong() {
    let (instance, _alone) = with_slow_user("hashing-queue = 1\n[limits]\nthreads = 1").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    let lines: Vec<String> = (1..=6).map(|id| auth(id, "slow@example.com", "x")).collect();
    let asked = Instant::now();
    login.say(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (mut later, mut wrong) = (0, 0);
    for _ in 1..=6 {
        let line = login.hear().await;
        if line.ends_with("\tcode=temp_fail") {
            later += 1
        } else {
            wrong += 1
        }
        assert!(line.starts_with("FAIL\t") && line.contains("user=slow@example.com"), "{line}");
    }
    let is_late = asked.elapsed() >= HASHED_WITHIN;
    assert!(later >= 3 && (wrong >= 1 || is_late), "{later} later, {wrong} wrong");
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"unavailable\"}"), later);
    // Postfix hears it by the close.
    login.say(&lines[..3].iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(login.hear().await.ends_with("code=temp_fail"));
    let mut postfix = instance.lines("postfix").await;
    postfix.handshake(2).await;
    postfix.say(&[&auth(1, "slow@example.com", "x")]).await;
    assert!(postfix.is_closed().await);
    // Whose hash costs next to nothing waits for nobody.
    login.say(&[&auth(9, "alice@example.com", "alice123")]).await;
    while login.hear().await != "OK\t9\tuser=alice@example.com" {}
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_login_gets_no_answer_even_while_it_is_judged() {
    let (instance, _alone) = with_slow_user("[limits]\nthreads = 2").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    let asked = Instant::now();
    login.say(&[&auth(1, "slow@example.com", "x"), "CANCEL\t1", &auth(2, "slow@example.com", "x")]).await;
    assert_refused(&login.hear().await, 2, asked);
    login.say(&[&auth(1, "alice@example.com", "alice123")]).await;
    assert_eq!(login.hear().await, "OK\t1\tuser=alice@example.com");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_logins_at_once_on_one_connection_are_all_answered_once() {
    let (instance, _alone) = with_slow_user("hashing-queue = 2000\n[limits]\nthreads = 2").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    let lines: Vec<String> = (1..=1000)
        .map(|id| auth(id, "alice@example.com", if id % 2 == 0 { "alice123" } else { "wrong" }))
        .collect();
    login.say(&lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let mut answered = std::collections::BTreeSet::new();
    for _ in 1..=1000 {
        let line = login.hear().await;
        let mut words = line.split('\t');
        let (word, id): (&str, u32) = (words.next().unwrap(), words.next().unwrap().parse().unwrap());
        assert_eq!(word, if id % 2 == 0 { "OK" } else { "FAIL" }, "{line}");
        assert!(!line.contains("code="), "{line}");
        assert!(answered.insert(id), "{id} was answered twice");
    }
    assert_eq!(instance.service.logins().len(), 500);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_daemon_answers_what_is_under_way() {
    let (instance, _alone) = with_slow_user("[limits]\nthreads = 2").await;
    let (mut busy, mut half, mut idle, mut postfix, mut userdb) = (
        instance.lines("login").await,
        instance.lines("login").await,
        instance.lines("login").await,
        instance.lines("postfix").await,
        instance.lines("userdb").await,
    );
    for (cpid, peer) in [(1, &mut busy), (2, &mut half), (3, &mut idle), (4, &mut postfix)] {
        peer.handshake(cpid).await;
    }
    userdb.say(&["VERSION\t1\t0"]).await;
    userdb.hear().await;
    userdb.hear().await;
    half.say(&["AUTH\t1\tLOGIN\tservice=imap"]).await;
    postfix.say(&["AUTH\t1\tLOGIN\tservice=smtp"]).await;
    assert!(half.hear().await.starts_with("CONT\t1\t") && postfix.hear().await.starts_with("CONT\t1\t"));
    let asked = Instant::now();
    busy.say(&[&auth(1, "slow@example.com", "x")]).await;
    // It is under way once the next line of its connection is answered.
    busy.say(&["AUTH\t2\tPLAIN\tservice=imap\tresp=%"]).await;
    assert!(busy.hear().await.starts_with("FAIL\t2\t"));
    instance.drain();
    assert!(idle.is_closed().await && userdb.is_closed().await);
    // In the middle of a mechanism: try again; Postfix hears that by the close.
    assert_eq!(half.hear().await, "FAIL\t1\tcode=temp_fail");
    assert!(half.is_closed().await && postfix.is_closed().await);
    assert_refused(&busy.hear().await, 1, asked);
    assert!(busy.is_closed().await);
    assert_eq!(instance.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_waits_and_nothing_else_waits_for_it() {
    // Far longer than the rest of the test takes, so that order tells.
    let instance = Instance::start("failure-delay = \"2s\"").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    login.say(&[&auth(1, "alice@example.com", "wrong"), &auth(2, "alice@example.com", "alice123")]).await;
    assert_eq!(login.hear().await, "OK\t2\tuser=alice@example.com");
    login.say(&[&auth(3, "bob@example.com", "bob123")]).await;
    assert_eq!(login.hear().await, "OK\t3\tuser=bob@example.com");
    assert_eq!(login.hear().await, "FAIL\t1\tuser=alice@example.com");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_closed_its_side_still_gets_its_answer() {
    let (instance, _alone) = with_slow_user("[limits]\nthreads = 2").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    login.say(&[&auth(1, "slow@example.com", "x")]).await;
    login.hang_up().await;
    assert_eq!(login.hear().await, "FAIL\t1\tuser=slow@example.com");
    assert!(login.is_closed().await);
    instance.stop().await;
}

/// A login that was accepted a moment before the end is known to no other process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_accepted_login_is_still_handed_over_at_the_end() {
    let instance = Instance::start("").await;
    let mut login = instance.lines("login").await;
    let cookie = login.handshake(7).await;
    login.say(&[&auth(1, "alice@example.com", "alice123")]).await;
    assert_eq!(login.hear().await, "OK\t1\tuser=alice@example.com");
    instance.drain();
    assert!(login.is_closed().await);
    let mut master = instance.lines("master").await;
    let request = format!("REQUEST\t1\t7\t1\t{cookie}\tsession_pid={}", std::process::id());
    master.say(&["VERSION\t1\t1", &request]).await;
    master.hear().await;
    master.hear().await;
    assert!(master.hear().await.starts_with("USER\t1\talice@example.com\t"));
    assert_eq!(instance.stop().await, 0);
}

/// Two lookups that both wait are numbered; a commit lets nothing pass; an old client gets one answer after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_a_dictionary_are_numbered_where_there_are_several() {
    let database = Database::create().await;
    install(&database).await;
    let section = format!("{}timeout = \"20s\"\n", database.toml());
    let instance = Instance::on(database, &section, "").await;
    instance.database.sql("INSERT INTO gatepost.dict_values (dict, key, value, writer) VALUES ('key_value', 'shared/a', '1', ''), ('key_value', 'shared/b', '2', '')").await;
    let held = Held::lock(&instance.database, "gatepost.dict_values").await;
    let (mut dict, mut old) = (instance.lines("dict").await, instance.lines("dict").await);
    let two = ["Lshared/a\tbob@example.com", "I1\t0\tshared/\tbob@example.com"];
    dict.say(&["H3\t2\t0\t\tkey_value", two[0], two[1]]).await;
    old.say(&["H3\t0\t0\t\tkey_value", two[0], two[1]]).await;
    assert_eq!([dict.hear().await, dict.hear().await], ["*1", "*2"]);
    held.release().await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(dict.hear().await);
    }
    answers.sort();
    assert_eq!(answers, ["+1\tO1", "+2\t", "+2\tOshared/a\t1", "+2\tOshared/b\t2"]);
    let in_order = ["O1", "Oshared/a\t1", "Oshared/b\t2", ""];
    for expected in in_order {
        assert_eq!(old.hear().await, expected);
    }
    // What is behind a commit sees what it wrote, and is not begun before.
    let held = Held::lock(&instance.database, "gatepost.dict_values").await;
    dict.say(&["B1\tbob@example.com", "S1\tshared/a\t3", "C1", two[0], "C9"]).await;
    held.release().await;
    assert_eq!(dict.hear().await, "O1");
    let mut rest = vec![dict.hear().await];
    if rest[0] == "O3" {
        assert_eq!(dict.hear().await, "F9\tno such transaction");
    } else {
        while rest.len() < 4 {
            rest.push(dict.hear().await);
        }
        rest.sort();
        assert_eq!(rest, ["*4", "*5", "+4\tO3", "+5\tF9\tno such transaction"]);
    }
    instance.stop().await;
}

/// Dovecot rebuilds shares by taking back and giving again: no row goes meanwhile, and one that is taken back goes in the end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_is_taken_back_and_given_again_never_goes() {
    let instance = Instance::start("").await;
    instance.database.sql("CREATE TABLE gone (n int); CREATE RULE gone AS ON DELETE TO shared_mailboxes DO ALSO INSERT INTO gone VALUES (1)").await;
    let mut alice = instance.lines("dict").await;
    alice.say(&["H3\t2\t0\t\tacl"]).await;
    let key = "shared/shared-boxes/user/bob@example.com/alice@example.com";
    for id in 1..=20 {
        let (take, give) = (2 * id, 2 * id + 1);
        alice
            .say(&[&format!("B{take}\talice@example.com"), &format!("U{take}\t{key}"), &format!("C{take}")])
            .await;
        assert_eq!(alice.hear().await, format!("O{take}"));
        alice
            .say(&[
                &format!("B{give}\talice@example.com"),
                &format!("S{give}\t{key}\t1"),
                &format!("C{give}"),
            ])
            .await;
        assert_eq!(alice.hear().await, format!("O{give}"));
    }
    // Longer than a promise waits.
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(instance.database.sql("SELECT count(*) FROM gone").await, "0");
    assert_eq!(instance.database.sql("SELECT count(*) FROM shared_mailboxes").await, "1");
    alice.say(&["B100\talice@example.com", &format!("U100\t{key}"), "C100"]).await;
    assert_eq!(alice.hear().await, "O100");
    until("it goes", async || instance.database.sql("SELECT count(*) FROM shared_mailboxes").await == "0")
        .await;
    // The daemon that ends does what it has promised.
    instance
        .database
        .sql("INSERT INTO shared_mailboxes VALUES ('alice', 'example.com', 'bob', 'example.com')")
        .await;
    alice.say(&["B101\talice@example.com", &format!("U101\t{key}"), "C101"]).await;
    assert_eq!(alice.hear().await, "O101");
    let database = instance.database.clone();
    instance.stop().await;
    assert_eq!(database.sql("SELECT count(*) FROM shared_mailboxes").await, "0");
}
