//! Ten thousand connections at once on each protocol, to the real program: each is answered, what they cost in memory is bounded, and a newcomer is
//! answered as ever.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

use crate::instance::{Setup, configuration, until};
use crate::postgres::Database;

const WANTED: usize = 10_000;

/// What one idle connection may cost in memory: 2,000 under 20 MiB.
const BYTES_EACH: usize = 20 * 1024 * 1024 / 2000;

const KNOWN: (&[u8], &[u8]) = (b"24:aliases boss@example.com,", b"20:OK alice@example.com,");
const POLICY: (&[u8], &[u8]) = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.7\nsender=s@foreign.test\nrecipient=alice@example.com\n\n",
    b"action=DUNNO\n\n",
);

struct Program(Child);

impl Program {
    fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How many connections the limit of open files lets this process and the program have.
fn possible() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().next().unwrap().parse().unwrap();
    let possible = soft.saturating_sub(300).min(WANTED);
    if possible < WANTED {
        eprintln!(
            "NOT WITH {WANTED} CONNECTIONS: the limit of open files (ulimit -n {soft}) allows {possible}"
        );
    }
    possible
}

fn exchange(peer: &mut UnixStream, (question, answer): (&[u8], &[u8])) {
    peer.write_all(question).unwrap();
    let mut got = vec![0; answer.len()];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(answer));
}

/// Blocking, so that a full backlog is waited for as Postfix waits.
fn crowd(program: &Program, socket: &Path, words: (&[u8], &[u8]), count: usize) {
    let before = program.resident();
    let mut peers: Vec<UnixStream> = (0..count)
        .map(|_| {
            let mut peer = UnixStream::connect(socket).unwrap();
            peer.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
            exchange(&mut peer, words);
            peer
        })
        .collect();
    let cost = program.resident().saturating_sub(before);
    println!(
        "{}: {count} connections cost {} KiB, {} bytes each",
        socket.display(),
        cost / 1024,
        cost / count
    );
    assert!(cost < count * BYTES_EACH, "{cost} bytes for {count} connections");
    // Somebody new, and those who were there first and last.
    let mut newcomer = UnixStream::connect(socket).unwrap();
    newcomer.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    exchange(&mut newcomer, words);
    for place in [0, count - 1] {
        exchange(&mut peers[place], words);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_are_answered_and_cost_little() {
    let database = Database::create().await;
    let directory = tempfile::tempdir().unwrap();
    let count = possible();
    let setup = Setup { checks: Some("[\"helo\"]".into()), ..Setup::default() };
    let section =
        format!("{}[limits]\nconnections = {}\n[log]\ntarget = \"stderr\"\n", database.toml(), count + 10);
    let file = directory.path().join("gatepost.toml");
    std::fs::write(&file, configuration(directory.path(), &section, &setup)).unwrap();
    let log = std::fs::File::create(directory.path().join("log")).unwrap();
    let program = Program(
        Command::new(env!("CARGO_BIN_EXE_gatepost-postfix-policy"))
            .arg("--config")
            .arg(&file)
            .arg("run")
            .stderr(log)
            .spawn()
            .unwrap(),
    );
    let (socketmap, policy) = (directory.path().join("socketmap"), directory.path().join("policy"));
    until("it listens", async || {
        UnixStream::connect(&socketmap).is_ok() && UnixStream::connect(&policy).is_ok()
    })
    .await;
    tokio::task::spawn_blocking(move || {
        crowd(&program, &socketmap, KNOWN, count);
        crowd(&program, &policy, POLICY, count);
    })
    .await
    .unwrap();
    let log = std::fs::read_to_string(directory.path().join("log")).unwrap();
    assert!(!log.contains("ERROR") && !log.contains("cannot accept"), "{log}");
}
