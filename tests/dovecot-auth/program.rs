//! The program itself: its verbs, its exit codes, its life with signals.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::instance::{NOWHERE, configuration, plain, soon, until};
use crate::postgres::Database;

/// Runs the program and gives it a line on stdin.
async fn run(config: &Path, arguments: &[&str], input: &'static str) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost-dovecot-auth"));
    command.arg("--config").arg(config).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output: Output = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        let mut child = command.spawn().unwrap();
        // A program that does not read it may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn write(directory: &Path, database: &str, settings: &str) -> std::path::PathBuf {
    let path = directory.join("gatepost.toml");
    std::fs::write(&path, configuration(directory, database, settings)).unwrap();
    path
}

#[tokio::test]
async fn ask_answers_as_the_wire_does() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let config = write(directory.path(), &database.toml(), "");
    let share = "shared/shared-boxes/user/bob@example.com/alice@example.com";
    let alice = "USER\t1\talice@example.com\tuid=5000\tgid=5001\thome=/var/vmail/example.com/alice\n";
    for (arguments, input, code, expected) in [
        (&["ask", "user", "Alice@example.com"][..], "", 0, alice.to_owned()),
        (&["ask", "user", "nobody@example.com"], "", 1, "NOTFOUND\t1\n".into()),
        (&["ask", "login", "alice@example.com"], "alice123\n", 0, "accepted: alice@example.com\n".into()),
        (&["ask", "login", "alice@example.com"], "alice124\n", 1, "refused: wrong-password\n".into()),
        (&["ask", "login", "nobody@example.com"], "x\n", 1, "refused: unknown-user\n".into()),
        (&["ask", "dict", "acl", share, "bob@example.com"], "", 0, "O1\n".into()),
        (&["ask", "dict", "acl", share, "carl@123qwe.com"], "", 1, "N\n".into()),
        (&["ask", "dict", "acl", "shared/shared-boxes/", "bob@example.com"], "", 0, format!("O{share}\t1\n")),
        (&["ask", "dict", "acl", share], "", 1, "F\"\" is no user\n".into()),
        (&["ask", "dict", "auth", "shared/userdb/x@example.com"], "", 1, "N\n".into()),
    ] {
        let (status, text) = run(&config, arguments, input).await;
        assert_eq!((status, text), (code, expected), "{arguments:?}");
    }
    let (status, text) = run(&config, &["ask", "dict", "alc", share], "").await;
    assert!(
        status == 70 && text.contains("no dictionary \"alc\", expected one of acl, last_login, quota_clone, metadata, key_value, auth"),
        "{status} {text}"
    );
    // A password in the arguments is a mistake that is not carried out.
    let (status, text) = run(&config, &["ask", "login", "alice@example.com", "alice123"], "").await;
    assert!(status == 64 && !text.contains("accepted"), "{status} {text}");
}

#[tokio::test]
async fn ask_says_when_nobody_can_know() {
    let directory = tempfile::tempdir().unwrap();
    let config = write(directory.path(), NOWHERE, "");
    for arguments in [
        &["ask", "user", "alice@example.com"][..],
        &["ask", "login", "alice@example.com"],
        &["ask", "dict", "acl", "shared/shared-boxes/", "alice@example.com"],
    ] {
        let (status, text) = run(&config, arguments, "alice123\n").await;
        assert_eq!(status, 75, "{arguments:?}: {text}");
    }
}

#[tokio::test]
async fn list_and_check_tell_what_is_there() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let config = write(directory.path(), &database.toml(), "");
    let (status, text) = run(&config, &["list"], "").await;
    assert_eq!(status, 0);
    for word in ["PLAIN", "LOGIN", "acl", "auth", "mechanism", "dict"] {
        assert!(text.split_whitespace().any(|known| known == word), "{word}: {text}");
    }
    let (status, text) = run(&config, &["check"], "").await;
    assert!(status == 0 && text.contains("is good") && text.contains("hashing_memory"), "{text}");
    for (settings, sentence) in [
        (
            "uid = \"no-such-user\"",
            "gatepost.toml: [dovecot-auth]: uid: no such user \"no-such-user\"; create it, or name another",
        ),
        (
            "home = \"/m/{locl}\"",
            "home: unknown {locl}, expected one of {user} {local} {domain}; did you mean {local}?",
        ),
        ("failure-delay = \"10s\"", "failure-delay = \"10s\" is too long"),
        ("hashing-queu = 5", "did you mean \"hashing-queue\"?"),
    ] {
        let config = write(directory.path(), &database.toml(), settings);
        let (status, text) = run(&config, &["check"], "").await;
        assert!(status == 78 && text.contains(sentence), "{settings}: {status} {text}");
    }
}

/// Every key of the section, as the error about an unknown one names them, is in the manual and in the example.
#[tokio::test]
async fn every_key_is_in_the_manual_and_in_the_example() {
    let directory = tempfile::tempdir().unwrap();
    let config = write(directory.path(), NOWHERE, "no-such-key = 1");
    let (status, text) = run(&config, &["check"], "").await;
    assert_eq!(status, 78, "{text}");
    let keys: Vec<&str> =
        text.split('"').filter(|word| word.len() > 2 && !word.contains([' ', ','])).collect();
    let keys: Vec<&str> = keys.into_iter().filter(|key| *key != "no-such-key").collect();
    assert!(keys.len() >= 16, "{keys:?}");
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let manual = std::fs::read_to_string(format!("{root}/packaging/man/gatepost-dovecot-auth.8")).unwrap();
    let example = std::fs::read_to_string(format!("{root}/examples/gatepost.toml")).unwrap();
    let (_, section) = example.split_once("[dovecot-auth]").unwrap();
    for key in keys {
        assert!(manual.contains(&key.replace('-', "\\-")), "{key} is not in the manual");
        let there = section.lines().any(|line| {
            let line = line.trim_start_matches(['#', ' ']);
            line.starts_with(&format!("{key} =")) || line == format!("[dovecot-auth.{key}]")
        });
        assert!(there, "{key} is not in examples/gatepost.toml");
    }
}

/// A whole login over the program's sockets: the login socket's answer, then what the master socket tells.
async fn log_in(directory: &Path) -> Option<(String, String)> {
    log_in_as(directory, "alice@example.com").await
}

async fn log_in_as(directory: &Path, name: &str) -> Option<(String, String)> {
    let mut login = BufReader::new(UnixStream::connect(directory.join("login")).await.ok()?);
    let auth = format!("AUTH\t1\tPLAIN\tservice=imap\tresp={}", plain(name, "alice123"));
    login.write_all(format!("VERSION\t1\t2\nCPID\t7\n{auth}\n").as_bytes()).await.ok()?;
    let (mut cookie, mut line) = (String::new(), String::new());
    while !line.starts_with("OK\t") && !line.starts_with("FAIL\t") {
        line.clear();
        if soon("a line", login.read_line(&mut line)).await.ok()? == 0 {
            return None;
        }
        if let Some(given) = line.strip_prefix("COOKIE\t") {
            cookie = given.trim_end().to_owned();
        }
    }
    let mut master = BufReader::new(UnixStream::connect(directory.join("master")).await.ok()?);
    let pid = std::process::id();
    let request = format!("VERSION\t1\t1\nREQUEST\t1\t7\t1\t{cookie}\tsession_pid={pid}\n");
    master.write_all(request.as_bytes()).await.ok()?;
    let mut user = String::new();
    while !user.starts_with("USER\t") && !user.starts_with("FAIL\t") {
        user.clear();
        if soon("a line", master.read_line(&mut user)).await.ok()? == 0 {
            return None;
        }
    }
    Some((line.trim_end().to_owned(), user.trim_end().to_owned()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_runs_reloads_and_ends() {
    let (directory, database) = (tempfile::tempdir().unwrap(), Database::create().await);
    let here = directory.path();
    let config = write(here, &database.toml(), "");
    let log = here.join("log");
    let mut child = Command::new(env!("CARGO_BIN_EXE_gatepost-dovecot-auth"))
        .arg("--config")
        .arg(&config)
        .arg("run")
        .stdin(Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let signal = |signal| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    };
    until("it serves", async || log_in(here).await.is_some()).await;
    let (answer, user) = log_in(here).await.unwrap();
    assert_eq!(answer, "OK\t1\tuser=alice@example.com");
    assert_eq!(user, "USER\t1\talice@example.com\tuid=5000\tgid=5001\thome=/var/vmail/example.com/alice");
    let (answer, _) = log_in_as(here, "x@example.com service=imap rip=192.0.2.66").await.unwrap();
    assert!(answer.starts_with("FAIL\t1\t"), "{answer}");
    // What can change, changes.
    write(here, &database.toml(), "home = \"/srv/{user}\"");
    signal(nix::sys::signal::Signal::SIGHUP);
    until("the new home counts", async || {
        log_in(here).await.is_some_and(|(_, user)| user.ends_with("home=/srv/alice@example.com"))
    })
    .await;
    // What is wrong, or needs a restart, changes nothing.
    for (settings, sentence) in [
        ("home = \"/m/{x\"", "the old one stays"),
        ("home = \"/m/{user}\"\nhashing-queue = 5", "hashing-queue cannot change while running"),
    ] {
        write(here, &database.toml(), settings);
        signal(nix::sys::signal::Signal::SIGHUP);
        until(sentence, async || std::fs::read_to_string(&log).unwrap().contains(sentence)).await;
        assert!(log_in(here).await.unwrap().1.ends_with("home=/srv/alice@example.com"));
    }
    signal(nix::sys::signal::Signal::SIGTERM);
    let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(!here.join("login").exists(), "a socket was left behind");
    let log = std::fs::read_to_string(&log).unwrap();
    let line = log.lines().find(|line| line.contains("login accepted")).unwrap();
    for part in ["login=alice@example.com", "service=imap", "mechanism=PLAIN", "result=ok"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    // A name cannot be mistaken for the fields behind it.
    assert!(
        log.contains("login=x@example.com\\x20service=imap\\x20rip=192.0.2.66 service=imap rip= "),
        "{log}"
    );
    assert!(!log.contains("alice123"), "a password in the log");
    assert!(!log.contains(&plain("alice@example.com", "alice123")), "a password in the log");
}
