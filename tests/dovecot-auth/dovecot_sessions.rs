//! What mail programs, Postfix and the operator see of a stock Dovecot without any auth process of its own.

use std::time::Instant;

use tokio::net::{TcpStream, UnixStream};

use crate::dovecot::{Dovecot, Release, Talk, release};
use crate::instance::{HASHED_WITHIN, plain, until};

#[tokio::test(flavor = "multi_thread")]
async fn imap_lets_in_whom_it_should_and_nobody_else() {
    let dovecot = Dovecot::start(release().configuration()).await;
    dovecot.sql("INSERT INTO users (local, domain) VALUES ('nopass', 'example.com')").await;
    // Every way to say it.
    let initial = plain("alice@example.com", "alice123");
    let login = ["YWxpY2VAZXhhbXBsZS5jb20=", "YWxpY2UxMjM="];
    for (command, more) in [
        ("LOGIN alice@example.com alice123", &[][..]),
        ("LOGIN ALICE@Example.com alice123", &[]),
        (&format!("AUTHENTICATE PLAIN {initial}"), &[]),
        ("AUTHENTICATE PLAIN", &[initial.as_str()]),
        ("AUTHENTICATE LOGIN", &login),
    ] {
        let mut imap = dovecot.imap().await;
        let answer = imap.command_with(command, more).await;
        assert!(
            answer.contains(" OK ") && answer.contains("Logged in"),
            "{command}: {answer}\n{}",
            dovecot.log()
        );
        assert!(imap.command("SELECT INBOX").await.contains("0 EXISTS"), "{}", dovecot.log());
    }
    // The canonical name is the user's name, so there is one home.
    assert!(dovecot.path("mail/example.com/alice/Maildir").is_dir());
    assert_eq!(std::fs::read_dir(dovecot.path("mail/example.com")).unwrap().count(), 1);
    let mut answers = Vec::new();
    for (user, password) in [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", "alice123"),
        ("nopass@example.com", "alice123"),
        ("boss@example.com", "alice123"),
        ("alice", "alice123"),
        ("alice@example.com", "\"\""),
    ] {
        let answer = dovecot.imap().await.command(&format!("LOGIN {user} {password}")).await;
        assert!(answer.contains(" NO [AUTHENTICATIONFAILED] Authentication failed."), "{user}: {answer}");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "refusals differ: {answers:?}");
    // Wrong, and then right, on one connection.
    let mut imap = dovecot.imap().await;
    assert!(imap.command("LOGIN bob@example.com no").await.contains(" NO "));
    assert!(imap.command("LOGIN bob@example.com bob123").await.contains(" OK "));
    let processes = dovecot.processes();
    assert!(
        processes.iter().any(|name| name == "imap") || processes.iter().any(|name| name == "imap-login"),
        "{processes:?}"
    );
    assert!(!processes.iter().any(|name| name == "auth"), "Dovecot has an auth process: {processes:?}");
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"ok\"}"), 6);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"wrong-password\"}"), 3);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"no-password\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_never_a_wrong_password() {
    let dovecot = Dovecot::start(release().configuration()).await;
    drop(dovecot.imap_as("alice@example.com", "alice123").await);
    dovecot.gatepost.database.take_away().await;
    // bob was never seen; alice's hash is still known, and counts.
    for (user, password) in
        [("bob@example.com", "bob123"), ("bob@example.com", "wrong"), ("nobody@example.com", "x")]
    {
        let answer = dovecot.imap().await.command(&format!("LOGIN {user} {password}")).await;
        assert!(answer.contains(" NO [UNAVAILABLE] "), "{user}: {answer}");
    }
    drop(dovecot.imap_as("alice@example.com", "alice123").await);
    let answer = dovecot.imap().await.command("LOGIN alice@example.com wrong").await;
    assert!(answer.contains("[AUTHENTICATIONFAILED]"), "{answer}");
    dovecot.gatepost.database.give_back().await;
    until("bob may in", async || {
        dovecot.imap().await.command("LOGIN bob@example.com bob123").await.contains(" OK ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pop3_managesieve_and_submission_log_in_too() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let mut pop3 = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[1])).await.unwrap());
    assert!(pop3.hear().await.starts_with("+OK"));
    assert!(pop3.ask("USER bob@example.com").await.starts_with("+OK"));
    assert!(pop3.ask("PASS wrong").await.starts_with("-ERR [AUTH] Authentication failed."));
    assert!(pop3.ask("USER bob@example.com").await.starts_with("+OK"));
    let answer = pop3.ask("PASS bob123").await;
    assert!(answer.starts_with("+OK Logged in."), "{answer}\n{}", dovecot.log());
    assert_eq!(pop3.ask("STAT").await, "+OK 0 0");

    let mut sieve = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[2])).await.unwrap());
    while !sieve.hear().await.starts_with("OK") {}
    let wrong = plain("carl@123qwe.com", "wrong");
    assert!(sieve.ask(&format!("AUTHENTICATE \"PLAIN\" \"{wrong}\"")).await.starts_with("NO"));
    let right = plain("carl@123qwe.com", "carl123");
    let answer = sieve.ask(&format!("AUTHENTICATE \"PLAIN\" \"{right}\"")).await;
    assert!(answer.starts_with("OK"), "{answer}\n{}", dovecot.log());
    assert!(sieve.ask("LISTSCRIPTS").await.starts_with("OK"));

    let mut submission = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[3])).await.unwrap());
    assert!(submission.hear().await.starts_with("220"));
    submission.say("EHLO test").await;
    while !submission.hear().await.starts_with("250 ") {}
    let wrong = plain("bob@example.com", "wrong");
    assert!(submission.ask(&format!("AUTH PLAIN {wrong}")).await.starts_with("535"));
    let right = plain("bob@example.com", "bob123");
    let answer = submission.ask(&format!("AUTH PLAIN {right}")).await;
    assert!(answer.starts_with("235"), "{answer}\n{}", dovecot.log());
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"submission\",result=\"ok\"}"), 1);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"sieve\",result=\"ok\"}"), 1);
}

/// One login process serves all clients over one connection, its requests in the middle of each other (Dovecot's "high-performance mode").
#[tokio::test(flavor = "multi_thread")]
async fn one_login_process_for_all_is_answered_in_any_order() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let configuration = std::fs::read_to_string(dovecot.path("dovecot.conf")).unwrap();
    let many_clients = match release() {
        Release::V2_3 => "service_count = 0",
        Release::V2_4 => "restart_request_count = unlimited",
    };
    let one = format!("service imap-login {{\n  {many_clients}\n  process_limit = 1\n  client_limit = 1000");
    std::fs::write(dovecot.path("dovecot.conf"), configuration.replace("service imap-login {", &one))
        .unwrap();
    let (ok, text) = dovecot.tool(&["reload"]).await;
    assert!(ok, "{text}");
    let mut waiting = Vec::new();
    for number in 0..30 {
        let mut imap = dovecot.imap().await;
        let (password, expected) =
            if number % 3 == 0 { ("wrong", "[AUTHENTICATIONFAILED]") } else { ("bob123", "Logged in") };
        waiting.push(tokio::spawn(async move {
            let asked = Instant::now();
            let answer = imap.command(&format!("LOGIN bob@example.com {password}")).await;
            let is_late = asked.elapsed() >= HASHED_WITHIN && answer.contains("[UNAVAILABLE]");
            assert!(answer.contains(expected) || is_late, "{number}: {answer}");
            (imap, !is_late && expected == "Logged in")
        }));
    }
    let mut open = Vec::new();
    for talk in waiting {
        let (imap, logged_in) = talk.await.unwrap();
        if logged_in {
            open.push(imap);
        }
    }
    let login_processes = dovecot.processes().iter().filter(|name| *name == "imap-login").count();
    assert_eq!(login_processes, 1, "{:?}", dovecot.processes());
    assert!(!open.is_empty());
    for imap in &mut open {
        assert!(imap.command("SELECT INBOX").await.contains(" OK "));
    }
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"ok\"}"), open.len() as u64);
}

/// What Postfix hears at RCPT.
pub async fn rcpt(dovecot: &Dovecot, recipient: &str) -> String {
    let mut lmtp = Talk::new(UnixStream::connect(dovecot.path("run/lmtp")).await.unwrap());
    assert!(lmtp.hear().await.starts_with("220"));
    lmtp.say("LHLO test").await;
    while !lmtp.hear().await.starts_with("250 ") {}
    assert!(lmtp.ask("MAIL FROM:<x@elsewhere.test>").await.starts_with("250"));
    let answer = lmtp.ask(&format!("RCPT TO:<{recipient}>")).await;
    if answer.starts_with("250") {
        assert!(lmtp.ask("DATA").await.starts_with("354"));
        lmtp.say("Subject: hello\r\n\r\nhello\r\n.").await;
        let saved = lmtp.hear().await;
        assert!(saved.starts_with("250"), "{saved}\n{}", dovecot.log());
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_delivers_refuses_and_defers() {
    let dovecot = Dovecot::start(release().configuration()).await;
    assert!(rcpt(&dovecot, "alice@example.com").await.starts_with("250 2.1.5"), "{}", dovecot.log());
    assert!(rcpt(&dovecot, "Alice+news@Example.com").await.starts_with("250 2.1.5"), "{}", dovecot.log());
    let answer = rcpt(&dovecot, "nobody@example.com").await;
    assert!(answer.starts_with("550 5.1.1"), "{answer}");
    let answer = dovecot.imap_as("alice@example.com", "alice123").await.command("SELECT INBOX").await;
    assert!(answer.contains("* 2 EXISTS"), "{answer}");
    until("all mailboxes are in memory", async || dovecot.gatepost.parts.directory.kept().is_some()).await;
    dovecot.gatepost.database.take_away().await;
    let mut answer = String::new();
    until("nobody is unknown any more", async || {
        answer = rcpt(&dovecot, "nobody@example.com").await;
        !answer.starts_with("550 5.1.1")
    })
    .await;
    assert!(answer.starts_with("451 4.3.0"), "{answer}");
    // Nobody has asked for bob yet.
    for recipient in ["alice@example.com", "bob@example.com"] {
        assert!(rcpt(&dovecot, recipient).await.starts_with("250 2.1.5"), "{recipient}: {}", dovecot.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doveadm_asks_and_is_answered() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let (ok, text) = dovecot.tool(&["user", "Alice@Example.com"]).await;
    let home = dovecot.path("mail/example.com/alice").display().to_string();
    assert!(ok && text.contains("uid\t") && text.contains(&format!("home\t{home}")), "{text}");
    let (ok, text) = dovecot.tool(&["user", "nobody@example.com"]).await;
    assert!(!ok && text.contains("doesn't exist"), "{text}");
    let (ok, text) = dovecot.tool(&["user", "*"]).await;
    assert_eq!((ok, text.as_str()), (true, "carl@123qwe.com\nalice@example.com\nbob@example.com\n"));
    let (ok, text) = dovecot.tool(&["user", "*@123qwe.com"]).await;
    assert_eq!((ok, text.as_str()), (true, "carl@123qwe.com\n"));
    let login = dovecot.gatepost.socket("login").display().to_string();
    for (password, expected) in [("alice123", true), ("wrong", false)] {
        let (ok, text) = dovecot.tool(&["auth", "test", "-a", &login, "alice@example.com", password]).await;
        assert_eq!(ok, expected, "{text}");
        assert!(text.contains(if expected { "auth succeeded" } else { "auth failed" }), "{text}");
    }
    // The same and what a mail process asks afterwards.
    let master = dovecot.gatepost.socket("master").display().to_string();
    let log_in = async |password: &str| {
        let sockets = ["auth", "login", "-a", &login, "-m", &master];
        dovecot.tool(&[&sockets[..], &["alice@example.com", password]].concat()).await
    };
    let (ok, text) = log_in("alice123").await;
    assert!(ok && text.contains("auth succeeded") && text.contains(&format!("home={home}")), "{text}");
    let (ok, text) = log_in("wrong").await;
    assert!(!ok && text.contains("auth failed"), "{text}");
    let userdb = dovecot.gatepost.socket("userdb").display().to_string();
    let (ok, text) = dovecot.tool(&["auth", "lookup", "-a", &userdb, "ALICE@example.com"]).await;
    assert!(ok && text.contains("alice@example.com"), "{text}");
    assert!(!text.contains("argon2"), "{text}");
    let (ok, _) = dovecot.tool(&["auth", "lookup", "-a", &userdb, "nobody@example.com"]).await;
    assert!(!ok);
    let (ok, text) = dovecot.tool(&["auth", "cache", "flush", "-a", &userdb]).await;
    assert!(ok && text.contains("cache entries flushed"), "{text}");
    let (ok, text) = dovecot.tool(&["mailbox", "list", "-A"]).await;
    assert!(ok && text.matches("INBOX").count() == 3, "{text}\n{}", dovecot.log());
    dovecot.gatepost.database.take_away().await;
    until("nobody is unknown any more", async || {
        let (ok, text) = dovecot.tool(&["user", "dora@example.com"]).await;
        !ok && !text.contains("doesn't exist")
    })
    .await;
    let (ok, text) = dovecot.tool(&["user", "*"]).await;
    assert!(!ok, "an incomplete list counts as whole: {text}");
}
