//! SCRAM, with a client that is not ours (`scram.py`): over the sockets, and through a stock Dovecot.

use std::process::Command;

use crate::dovecot::{Dovecot, release};
use crate::instance::{Instance, plain, until};

/// What the client prints.
async fn client(arguments: &[&str]) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/dovecot-auth/scram.py");
    let mut command = Command::new("/usr/bin/python3");
    command.arg("-B").arg(script).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

const BOTH: &str = "mechanisms = [\"PLAIN\", \"SCRAM-SHA-256\", \"SCRAM-SHA-1\"]\nscram-verifiers = true";

/// A login by password, after which there is something to prove it with.
async fn make_verifiers(instance: &Instance, login: &str, password: &str) {
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    lines.say(&[&format!("AUTH\t1\tPLAIN\tservice=imap\tresp={}", plain(login, password))]).await;
    assert_eq!(lines.hear().await, format!("OK\t1\tuser={login}"));
    let count = format!(
        "SELECT count(*) FROM gatepost.scram_verifiers AS kept, users_fqda AS present WHERE login = '{login}' AND fqda = login AND sha256(convert_to(password_hash, 'UTF8')) = hash_mark"
    );
    until("the verifiers are made", async || instance.database.sql(&count).await == "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_is_proved_once_it_was_given() {
    let instance = Instance::with_schema(BOTH).await;
    let path = instance.socket("login").display().to_string();
    let postfix = instance.socket("postfix").display().to_string();
    let prove = async |path: &str, mechanism: &str, login: &str, password: &str, parameters: &[&str]| {
        client(&[&["socket", path, mechanism, login, password], parameters].concat()).await
    };
    until("SCRAM is offered", async || {
        prove(&path, "SCRAM-SHA-256", "alice@example.com", "alice123", &[]).await.starts_with("offered")
    })
    .await;
    // Nothing to prove it with yet.
    let before = prove(&path, "SCRAM-SHA-256", "alice@example.com", "alice123", &["service=imap"]).await;
    assert!(before.ends_with("FAIL 1 user=alice@example.com\n"), "{before}");
    make_verifiers(&instance, "alice@example.com", "alice123").await;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        for (path, parameters, own_message) in [
            (&path, &["service=imap"][..], true),
            (&path, &["protocol=imap", "final-resp-ok"], false),
            (&postfix, &["service=smtp", "nologin"], true),
        ] {
            let told = prove(path, mechanism, "ALICE@example.com", "alice123", parameters).await;
            let own = if own_message { "in a message of its own\n" } else { "" };
            assert!(told.ends_with(&format!("server proved\n{own}OK 1 user=alice@example.com\n")), "{told}");
            let told = prove(path, mechanism, "alice@example.com", "alice124", parameters).await;
            assert!(told.ends_with("FAIL 1 user=alice@example.com\n") && !told.contains("proved"), "{told}");
        }
    }
    // Nobody, somebody without a password, and somebody whose password is wrong hear the same, each time.
    instance.database.sql("INSERT INTO users (local, domain) VALUES ('nopass', 'example.com')").await;
    for login in ["nobody@example.com", "nopass@example.com", "nobody", "bob@example.com"] {
        let one = prove(&path, "SCRAM-SHA-256", login, "x", &[]).await;
        let two = prove(&path, "SCRAM-SHA-256", login, "x", &[]).await;
        assert_eq!(one, two);
        assert!(
            one.contains("iterations 10000\n") && one.ends_with(&format!("FAIL 1 user={login}\n")),
            "{one}"
        );
    }
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_dies_with_its_hash_and_a_hash_may_be_one_itself() {
    let instance = Instance::with_schema(BOTH).await;
    let path = instance.socket("login").display().to_string();
    make_verifiers(&instance, "bob@example.com", "bob123").await;
    let prove = async |login: &str, password: &str| {
        client(&["socket", &path, "SCRAM-SHA-256", login, password]).await.lines().last().unwrap().to_owned()
    };
    assert_eq!(prove("bob@example.com", "bob123").await, "OK 1 user=bob@example.com");
    // carl's hash in the place of bob's: bob's old password is nothing any more, at once, and the new one is not known yet.
    instance
        .database
        .sql("UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE local = 'carl') WHERE local = 'bob'")
        .await;
    until("the old password is dead", async || prove("bob@example.com", "bob123").await.starts_with("FAIL"))
        .await;
    make_verifiers(&instance, "bob@example.com", "carl123").await;
    assert_eq!(prove("bob@example.com", "carl123").await, "OK 1 user=bob@example.com");
    let hash =
        Command::new("doveadm").args(["-O", "pw", "-s", "SCRAM-SHA-256", "-p", "dora123"]).output().unwrap();
    let hash = String::from_utf8(hash.stdout).unwrap();
    let add = format!(
        "INSERT INTO users (local, domain, password_hash) VALUES ('dora', 'example.com', '{}')",
        hash.trim()
    );
    instance.database.sql(&add).await;
    assert_eq!(prove("dora@example.com", "dora123").await, "OK 1 user=dora@example.com");
    assert_eq!(prove("dora@example.com", "dora124").await, "FAIL 1 user=dora@example.com");
    // While nobody can be asked, nobody is wrong.
    instance.database.take_away().await;
    assert_eq!(prove("bob@example.com", "carl123").await, "FAIL 1 user=bob@example.com code=temp_fail");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_our_schema_scram_is_not_offered() {
    let instance = Instance::start(BOTH).await;
    let mut lines = instance.lines("login").await;
    lines.say(&["VERSION\t1\t2", "CPID\t1"]).await;
    let mut offered = Vec::new();
    loop {
        match lines.hear().await.as_str() {
            "DONE" => break,
            line => offered.extend(line.strip_prefix("MECH\t").map(str::to_owned)),
        }
    }
    assert_eq!(offered, ["PLAIN\tplaintext"]);
    lines.say(&["AUTH\t1\tSCRAM-SHA-256\tservice=imap\tresp=biwsbj1hQGIscj1hYmM="]).await;
    assert_eq!(lines.hear().await, "FAIL\t1");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exchange_that_goes_wrong_is_a_failure_and_the_connection_stays() {
    let instance = Instance::with_schema(BOTH).await;
    until("SCRAM is offered", async || {
        let mut lines = instance.lines("login").await;
        lines.handshake(1).await;
        lines.say(&["AUTH\t1\tSCRAM-SHA-1\tservice=imap"]).await;
        lines.hear().await == "CONT\t1\t"
    })
    .await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    // n,,n=alice@example.com,r=abc
    let first = "biwsbj1hbGljZUBleGFtcGxlLmNvbSxyPWFiYw==";
    for (id, wrong) in (1..).zip(["", "=", "biws", "Yz1iaXdzLHI9YWJjLHA9QUFBQQ==", "AA==", "\t"]) {
        lines.say(&[&format!("AUTH\t{id}\tSCRAM-SHA-1\tservice=imap\tresp={first}")]).await;
        assert!(lines.hear().await.starts_with(&format!("CONT\t{id}\t")));
        lines.say(&[&format!("CONT\t{id}\t{wrong}")]).await;
        let answer = lines.hear().await;
        assert!(answer.starts_with(&format!("FAIL\t{id}")), "{wrong}: {answer}");
    }
    for (id, wrong) in (10..).zip(["", "=", "biws", "cD10bHMtdW5pcXVlLCxuPWEscj1i"]) {
        lines.say(&[&format!("AUTH\t{id}\tSCRAM-SHA-1\tservice=imap\tresp={wrong}")]).await;
        assert_eq!(lines.hear().await, format!("FAIL\t{id}"), "{wrong}");
    }
    // Cancelled in the middle; the number may be used again.
    lines.say(&[&format!("AUTH\t20\tSCRAM-SHA-1\tservice=imap\tresp={first}")]).await;
    assert!(lines.hear().await.starts_with("CONT\t20\t"));
    lines
        .say(&[
            "CANCEL\t20",
            &format!("AUTH\t20\tPLAIN\tservice=imap\tresp={}", plain("alice@example.com", "alice123")),
        ])
        .await;
    assert_eq!(lines.hear().await, "OK\t20\tuser=alice@example.com");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_dovecot_logs_in_by_scram() {
    let dovecot = Dovecot::start_with(release().configuration(), BOTH).await;
    {
        let owner = gatepost::database::Database::new(&dovecot.gatepost.database.config(), "test").unwrap();
        let mut connection = owner.pool().acquire().await.unwrap();
        gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    }
    let port = dovecot.port().to_string();
    make_verifiers(&dovecot.gatepost, "alice@example.com", "alice123").await;
    let prove = async |mechanism: &str, password: &str| {
        client(&["imap", &port, mechanism, "alice@example.com", password]).await
    };
    until("SCRAM is offered", async || prove("SCRAM-SHA-256", "alice123").await.starts_with("offered")).await;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-1"] {
        let told = prove(mechanism, "alice123").await;
        assert!(
            told.contains("server proved") && told.contains("a OK ") && told.contains("Logged in"),
            "{told}\n{}",
            dovecot.log()
        );
        let told = prove(mechanism, "alice124").await;
        assert!(told.contains("a NO [AUTHENTICATIONFAILED]"), "{told}");
    }
}
