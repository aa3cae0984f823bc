//! Postfix's own client, `postmap -q`, against the running program: exit codes, long keys, restarts, and what the log says.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::instance::{Setup, configuration, until};
use crate::postgres::Database;

/// The program, as systemd would run it.
struct Program {
    child: Child,
    directory: tempfile::TempDir,
}

impl Program {
    async fn start(database: &str, setup: &Setup) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!("{}\n[log]\nlevel = \"info\"\n", configuration(directory.path(), database, setup));
        std::fs::write(directory.path().join("gatepost.toml"), text).unwrap();
        let child = Self::spawn(directory.path());
        let program = Self { child, directory };
        program.ready().await;
        program
    }

    fn spawn(directory: &Path) -> Child {
        let log = std::fs::File::options().create(true).append(true).open(directory.join("log")).unwrap();
        command(directory).arg("run").stderr(log).spawn().unwrap()
    }

    async fn ready(&self) {
        until("the sockets are there", async || {
            ["socketmap", "policy"].iter().all(|name| UnixStream::connect(self.path(name)).is_ok())
        })
        .await;
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap()
    }

    async fn log_has(&self, text: &str) {
        until(&format!("the log says {text}"), async || self.log().contains(text)).await;
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    async fn terminate(&mut self) {
        self.signal("TERM");
        until("the program ends", async || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    async fn query(&self, map: &str, key: &str) -> Output {
        let table = format!("socketmap:unix:{}:{map}", self.path("socketmap").display());
        tokio::process::Command::new("postmap").args(["-q", key, &table]).output().await.unwrap()
    }

    /// Value and exit code.
    async fn answer(&self, map: &str, key: &str) -> (String, i32) {
        let output = self.query(map, key).await;
        (String::from_utf8(output.stdout).unwrap().trim_end().to_owned(), output.status.code().unwrap())
    }

    fn ask(&self, arguments: &[&str]) -> (String, i32) {
        let output = command(self.directory.path()).arg("ask").args(arguments).output().unwrap();
        (String::from_utf8(output.stdout).unwrap().trim_end().to_owned(), output.status.code().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepost-postfix-policy"));
    command
        .arg("--config")
        .arg(directory.join("gatepost.toml"))
        .env_remove("JOURNAL_STREAM")
        .env_remove("NOTIFY_SOCKET");
    command
}

#[tokio::test]
async fn postmap_and_ask_hear_the_same() {
    let database = Database::create().await;
    let mut program = Program::start(&database.toml(), &Setup::default()).await;
    for (map, key, value) in [
        ("domains", "example.com", Some("example.com")),
        ("domains", "foreign.test", None),
        ("mailboxes", "Alice+News@Example.com", Some("alice@example.com")),
        ("mailboxes", "nobody@example.com", None),
        ("aliases", "Boss+News@Example.com", Some("alice+News@example.com")),
        ("aliases", "orders@example.com", Some("carl@123qwe.com")),
        ("aliases", "alice@example.com", None),
        ("senders", "boss@example.com", Some("alice@example.com")),
        ("senders", "@example.com", None),
    ] {
        let expected = value.map_or((String::new(), 1), |value| (value.to_owned(), 0));
        assert_eq!(program.answer(map, key).await, expected, "{map} {key}");
        let expected = value.map_or(("NOTFOUND".to_owned(), 1), |value| (format!("OK {value}"), 0));
        assert_eq!(program.ask(&[map, key]), expected, "{map} {key}");
    }
    // A name that main.cf has wrong is an error, not "no such key".
    let output = program.query("alias", "boss@example.com").await;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success()
            && error
                .contains("expected one of domains, relay-domains, mailboxes, aliases, recipients, senders"),
        "{error}"
    );
    assert_eq!(program.ask(&["alias", "boss@example.com"]).1, 78);
    assert_eq!(
        program.ask(&["policy", "protocol_state=DATA", "sasl_username=alice@example.com"]),
        ("action=DUNNO".into(), 0)
    );
    assert_eq!(program.ask(&["policy", "protocol_state"]).1, 70);
    let (explained, code) = program.ask(&["aliases", "Boss+x@example.com", "--explain"]);
    assert_eq!(code, 0);
    assert_eq!(
        explained,
        "  boss+x@example.com: no mailbox\n  boss+x@example.com: no alias\n  boss@example.com: no mailbox\n  \
         boss@example.com: an alias, leads to alice@example.com\n  alice+x@example.com: no mailbox\n  \
         alice+x@example.com: no alias\n  alice@example.com: a mailbox\nOK alice+x@example.com"
    );
    program.log_has("no map alias").await;
    program.terminate().await;
}

/// `postmap -q -` keeps one connection and asks each line; a key of 100,000 bytes is one of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_over_one_connection_and_a_giant_among_them() {
    let database = Database::create().await;
    let mut program = Program::start(&database.toml(), &Setup::default()).await;
    let mut keys = String::new();
    for number in 0..2000 {
        keys.push_str(&format!("boss+{number}@example.com\nnobody{number}@example.com\n"));
    }
    keys.push_str(&format!(
        "{}\n{}@example.com\nboss+last@example.com\n",
        "k".repeat(100_000),
        "l".repeat(30_000)
    ));
    let table = format!("socketmap:unix:{}:aliases", program.path("socketmap").display());
    let output = tokio::task::spawn_blocking(move || {
        let mut postmap = Command::new("postmap")
            .args(["-q", "-", &table])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = postmap.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(keys.as_bytes()).unwrap());
        let mut output = String::new();
        postmap.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        writer.join().unwrap();
        (output, postmap.wait().unwrap().success())
    });
    let (output, success) = output.await.unwrap();
    assert!(success);
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines.len(), 2001);
    assert_eq!(
        (lines[7], lines[2000]),
        ("boss+7@example.com\talice+7@example.com", "boss+last@example.com\talice+last@example.com")
    );
    program.terminate().await;
}

#[tokio::test]
async fn without_a_database_postmap_sees_an_error_and_never_not_found() {
    let program = Program::start("[database]\nhost = \"/nonexistent\"\n", &Setup::default()).await;
    for map in ["domains", "mailboxes", "aliases", "senders"] {
        let key = if map == "domains" { "example.com" } else { "alice@example.com" };
        let output = program.query(map, key).await;
        let error = String::from_utf8_lossy(&output.stderr);
        // Exit code 1 as for "not found", but said to be an error; Postfix's daemons make it 451 4.3.0.
        assert!(
            error.contains("socketmap server temporary error") && output.stdout.is_empty(),
            "{map}: {error}"
        );
        assert_eq!(program.ask(&[map, key]).1, 75);
    }
}

#[tokio::test]
async fn the_log_says_once_what_the_operator_must_know() {
    let database = Database::create().await;
    database.sql("ALTER TABLE aliases RENAME TO aliases_away").await;
    let mut program = Program::start(&database.toml(), &Setup::default()).await;
    for _ in 0..3 {
        let error =
            String::from_utf8_lossy(&program.query("aliases", "boss@example.com").await.stderr).into_owned();
        assert!(error.contains("socketmap server permanent error") && error.contains("aliases"), "{error}");
    }
    for bad in ["request=smtpd_access_policy\n\n", "24:aliases boss@example.com;"] {
        let mut peer = UnixStream::connect(program.path("socketmap")).unwrap();
        peer.write_all(bad.as_bytes()).unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0);
    }
    for _ in 0..3 {
        let mut peer = UnixStream::connect(program.path("policy")).unwrap();
        peer.write_all(
            b"request=smtpd_access_policy\nprotocol_state=DATA\nsasl_username=alice@example.com\n\n",
        )
        .unwrap();
        let mut action = [0; 14];
        peer.read_exact(&mut action).unwrap();
        assert_eq!(&action, b"action=DUNNO\n\n");
    }
    database.sql("ALTER TABLE aliases_away RENAME TO aliases").await;
    assert_eq!(program.answer("aliases", "boss@example.com").await.0, "alice@example.com");
    program.terminate().await;
    let log = program.log();
    let times = |text: &str| log.matches(text).count();
    assert_eq!(times("map cannot answer map=\"aliases\""), 1, "{log}");
    assert_eq!(times("map answers again map=\"aliases\""), 1, "{log}");
    assert_eq!(
        times(
            "check is off check=\"rate-limit\" why=schema gatepost is not installed; run `gatepost schema install`"
        ),
        1,
        "{log}"
    );
    assert_eq!(
        times("it began with \"request=smtpd_access_policy\\n\\n\"; does main.cf name the right socket?"),
        1,
        "{log}"
    );
    assert_eq!(times("a netstring ends with a comma"), 1, "{log}");
}

/// A restart between two lookups costs nothing as long as the socket is there again.
#[tokio::test]
async fn a_restart_is_not_noticed_by_the_next_lookup_and_a_reload_by_none() {
    let database = Database::create().await;
    let mut program = Program::start(&database.toml(), &Setup::default()).await;
    let mut held = UnixStream::connect(program.path("socketmap")).unwrap();
    let ask = |held: &mut UnixStream| {
        held.write_all(b"24:aliases boss@example.com,").unwrap();
        let mut answer = [0; 24];
        held.read_exact(&mut answer).map(|()| answer)
    };
    held.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(&ask(&mut held).unwrap(), b"20:OK alice@example.com,");

    let file = program.path("gatepost.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, format!("{text}[postfix-policy.rate-limit]\nmessages = 7\n")).unwrap();
    program.signal("HUP");
    program.log_has("configuration reloaded").await;
    std::fs::write(&file, text.replace("/policy", "/policy2")).unwrap();
    program.signal("HUP");
    program.log_has("[postfix-policy]: policy.listen cannot change while running; restart the daemon").await;
    std::fs::write(&file, format!("{text}[postfix-policy.rate-limits]\n")).unwrap();
    program.signal("HUP");
    program.log_has("did you mean \"rate-limit\"?").await;
    assert_eq!(&ask(&mut held).unwrap(), b"20:OK alice@example.com,");

    std::fs::write(&file, text).unwrap();
    program.terminate().await;
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
    program.child = Program::spawn(program.directory.path());
    program.ready().await;
    assert_eq!(program.answer("aliases", "boss@example.com").await, ("alice@example.com".into(), 0));
}

#[test]
fn list_prints_every_map_and_check_with_its_parameter() {
    let output = Command::new(env!("CARGO_BIN_EXE_gatepost-postfix-policy")).arg("list").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for (name, parameter) in [
        ("domains", "virtual_mailbox_domains"),
        ("mailboxes", "virtual_mailbox_maps"),
        ("aliases", "virtual_alias_maps"),
        ("senders", "smtpd_sender_login_maps"),
        ("rate-limit", "smtpd_data_restrictions"),
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name) && line.contains(parameter)),
            "{name}: {text}"
        );
    }
}
