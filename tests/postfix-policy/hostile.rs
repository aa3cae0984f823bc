//! Peers that are slow, greedy or gone: they cost what they hold, and nobody else waits.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::instance::{CONNECTIONS, Instance, Setup, soon};

const QUESTION: &[u8] = b"24:aliases boss@example.com,";
const ANSWER: &[u8] = b"20:OK alice@example.com,";

async fn question_is_answered(instance: &Instance) {
    let mut peer = instance.connect("socketmap").await;
    peer.write_all(QUESTION).await.unwrap();
    let mut answer = vec![0; ANSWER.len()];
    soon("an answer", peer.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, ANSWER);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_stop_in_the_middle_of_a_request_delay_nobody() {
    let instance = Instance::start(&Setup::default()).await;
    let mut stuck = Vec::new();
    for (endpoint, half) in [
        ("socketmap", &b"24:aliases boss@exa"[..]),
        ("policy", b"request=smtpd_access_policy\nsender="),
        ("socketmap", b"24"),
        ("policy", b"r"),
    ] {
        for _ in 0..100 {
            let mut peer = instance.connect(endpoint).await;
            peer.write_all(half).await.unwrap();
            stuck.push(peer);
        }
    }
    question_is_answered(&instance).await;
    // They are not given up either: what was begun can be finished.
    let peer = &mut stuck[0];
    peer.write_all(b"mple.com,").await.unwrap();
    let mut answer = vec![0; ANSWER.len()];
    soon("an answer", peer.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, ANSWER);
    drop(stuck);
    assert_eq!(instance.stop().await, 0);
}

/// A peer that asks without end and reads nothing is stopped by its own full socket.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_reads_no_answer_delays_nobody_and_can_still_read_them() {
    let instance = Arc::new(Instance::start(&Setup::default()).await);
    let (mut reader, mut writer) = instance.connect("socketmap").await.into_split();
    const QUESTIONS: usize = 100_000;
    let writing = tokio::spawn(async move {
        for _ in 0..QUESTIONS / 100 {
            writer.write_all(&QUESTION.repeat(100)).await.unwrap();
        }
        writer
    });
    for _ in 0..20 {
        question_is_answered(&instance).await;
    }
    assert!(!writing.is_finished(), "the daemon took {QUESTIONS} questions whose answers nobody read");
    let mut answer = vec![0; ANSWER.len()];
    for number in 0..QUESTIONS {
        soon("an answer", reader.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer, ANSWER, "answer {number}");
    }
    drop((writing.await.unwrap(), reader));
    let instance = Arc::into_inner(instance).unwrap();
    assert_eq!(instance.stop().await, 0);
}

/// Postfix's processes keep their connections for as long as they live; the end of the daemon must not wait for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_closes_idle_connections_and_answers_what_is_under_way() {
    let instance = Instance::start(&Setup::default()).await;
    let mut idle: Vec<UnixStream> = Vec::new();
    for number in 0..200 {
        let mut peer = instance.connect(if number % 2 == 0 { "socketmap" } else { "policy" }).await;
        if number % 4 == 0 {
            peer.write_all(QUESTION).await.unwrap();
            soon("an answer", peer.read_exact(&mut [0; ANSWER.len()])).await.unwrap();
        }
        idle.push(peer);
    }
    let mut under_way = instance.connect("socketmap").await;
    under_way.write_all(&QUESTION[..10]).await.unwrap();
    // One answer on another connection: by then the ten bytes have been read.
    question_is_answered(&instance).await;
    instance.drain();
    for mut peer in idle {
        assert_eq!(soon("the end", peer.read(&mut [0])).await.unwrap(), 0);
    }
    under_way.write_all(&QUESTION[10..]).await.unwrap();
    let mut answer = Vec::new();
    soon("the end", under_way.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, ANSWER);
    let socket = instance.socket("socketmap");
    assert_eq!(instance.stop().await, 0);
    assert!(UnixStream::connect(socket).await.is_err());
}

/// Beyond `limits.connections` peers wait in the backlog; they are served when others leave.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_peers_than_connections_wait_their_turn() {
    let instance = Instance::start(&Setup::default()).await;
    let mut peers = Vec::new();
    for _ in 0..CONNECTIONS + 20 {
        let mut peer = instance.connect("socketmap").await;
        peer.write_all(QUESTION).await.unwrap();
        peers.push(peer);
    }
    let mut last = peers.pop().unwrap();
    assert!(
        tokio::time::timeout(std::time::Duration::from_millis(100), last.readable()).await.is_err(),
        "served beyond the limit"
    );
    drop(peers);
    let mut answer = vec![0; ANSWER.len()];
    soon("an answer", last.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, ANSWER);
    drop(last);
    assert_eq!(instance.stop().await, 0);
}

/// Ten thousand connections, each in the middle of a request; some of them are finished when told to.
const PEERS: &str = r#"
import resource, socket, sys
path, count = sys.argv[1], int(sys.argv[2])
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
if hard < count + 50:
    sys.exit("NOT RUN")
resource.setrlimit(resource.RLIMIT_NOFILE, (count + 50, hard))
peers = []
for _ in range(count):
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(path)
    peer.sendall(b"request=smtpd_access_policy\nsender=")
    peers.append(peer)
print("ready", flush=True)
sys.stdin.readline()
for peer in peers[::97]:
    peer.settimeout(60)
    peer.sendall(b"s@foreign.test\n\n")
    answer = peer.recv(100)
    if answer != b"action=DUNNO\n\n":
        sys.exit(f"got {answer!r}")
print("done", flush=True)
"#;

/// Ten thousand peers that stop in the middle of a request cost what they hold, and one more is served at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_policy_connections_are_borne() {
    const COUNT: usize = 10_000;
    let allowed = std::fs::read_to_string("/proc/self/limits").unwrap();
    let allowed = allowed.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let soft: usize = allowed.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX);
    if soft < COUNT + 2000 {
        eprintln!(
            "NOT RUN: ten_thousand_policy_connections_are_borne: this process may open {soft} files only"
        );
        return;
    }
    let instance = Instance::start_with(&Setup::default(), COUNT + 100).await;
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").trim().parse::<usize>().unwrap()
    };
    let before = memory();
    let mut peers = tokio::process::Command::new("python3")
        .args(["-c", PEERS])
        .arg(instance.socket("policy"))
        .arg(COUNT.to_string())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(peers.stdout.take().unwrap()).lines();
    let line = soon("ten thousand connections", said.next_line()).await.unwrap();
    assert_eq!(line.as_deref(), Some("ready"));
    question_is_answered(&instance).await;
    // Other tests run in this process too; a connection takes some kilobytes.
    let grown = memory().saturating_sub(before);
    assert!(grown < COUNT * 20, "{grown} kB for {COUNT} connections");
    peers.stdin.take().unwrap().write_all(b"go on\n").await.unwrap();
    let line = soon("answers", said.next_line()).await.unwrap();
    assert_eq!(line.as_deref(), Some("done"));
    assert!(soon("their end", peers.wait()).await.unwrap().success());
    assert_eq!(instance.stop().await, 0);
}
