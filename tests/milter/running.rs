//! A daemon that runs: over TCP as the tutorial has it, its metrics, and a new configuration without a restart.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};
use crate::ports::free_port;

const GTUBE: [&str; 2] = ["XJS*C4JDBQADN1.NSBN3*2IDNEN*", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"];

/// A connection to the daemon, which may listen there a moment after its unix socket.
fn connected(port: u16) -> TcpStream {
    for _ in 0..3000 {
        if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)) {
            return stream;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("nobody listens on port {port}");
}

/// One message from outside; the final reply.
fn judged(peer: &mut Peer, body: &str) -> Vec<u8> {
    peer.begin();
    peer.message(&[("From", " sender@client.test"), ("Subject", " hello")], body.as_bytes());
    peer.end_of_message().pop().unwrap()
}

#[test]
fn over_tcp_as_over_a_unix_socket() {
    let port = free_port();
    let daemon = Daemon::listening(&format!("\"inet:127.0.0.1:{port}\""), UNREACHABLE, "");
    let mut peer = Peer::tcp(connected(port)).in_pieces(1);
    assert_eq!(judged(&mut peer, "hello\r\n"), b"c");
    assert!(daemon.log().contains("peer=\"127.0.0.1:"), "{}", daemon.log());
}

#[test]
fn metrics_count_what_was_decided() {
    let port = free_port();
    let daemon = Daemon::start(&format!("metrics = \"inet:127.0.0.1:{port}\"\n{UNREACHABLE}"), "");
    assert_eq!(judged(&mut daemon.connect(), "hello\r\n"), b"c");
    assert_eq!(judged(&mut daemon.connect(), &GTUBE.concat())[0], b'y');
    let mut http = TcpStream::connect(("127.0.0.1", port)).unwrap();
    http.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    http.read_to_string(&mut text).unwrap();
    for line in [
        "gatepost_milter_messages_total{direction=\"inbound\",action=\"no action\"} 1",
        "gatepost_milter_messages_total{direction=\"inbound\",action=\"reject\"} 1",
        "gatepost_milter_decision_seconds_count 2",
        "gatepost_milter_dns_failures_total",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// With `rules = false` nothing is judged, and what was verified is still written down.
#[test]
fn authentication_alone() {
    let daemon = Daemon::start(&format!("rules = false\n{UNREACHABLE}"), "");
    let mut peer = daemon.connect();
    peer.begin();
    peer.message(&[("From", " sender@client.test"), ("Subject", " hello")], GTUBE.concat().as_bytes());
    let frames = peer.end_of_message();
    assert_eq!(frames.last().map(Vec::as_slice), Some(&b"c"[..]));
    let edits: Vec<String> = frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
    assert!(edits.iter().any(|edit| edit.contains("Authentication-Results\0 ")), "{edits:?}");
    assert!(!edits.iter().any(|edit| edit.contains("X-Spam")), "{edits:?}");
    assert!(daemon.log().contains("action=\"not judged\""), "{}", daemon.log());
}

#[test]
fn a_new_configuration_counts_at_once_and_a_bad_one_never() {
    let daemon = Daemon::start("reject = 900\nadd-header = 800\nexplain = false", "");
    // Without a database nobody knows whether the sender is allowed: he is to come again.
    let spam = |reply: &[u8]| reply.starts_with(b"y451 4.7.1 Message cannot be judged now");
    assert!(!spam(&judged(&mut daemon.connect(), "hello\r\n")));
    for (change, expected, said) in [
        ("reject = 0.2\nadd-header = 0.1", true, "configuration reloaded"),
        ("reject = 900\nadd-header = 800\nno-such-key = 1", true, "unknown key"),
        (
            "reject = 800\nadd-header = 700\nlisten = [\"unix:/nonexistent/socket\"]",
            false,
            "milter.listen has changed",
        ),
    ] {
        daemon.reconfigure(&["reject", "add-header", "no-such-key"], change);
        assert!(Command::new("kill").args(["-HUP", &daemon.id().to_string()]).status().unwrap().success());
        // The signal is obeyed in its own time; the log says when.
        daemon.wait_for_log(said);
        assert_eq!(spam(&judged(&mut daemon.connect(), "hello\r\n")), expected, "{change}");
    }
}

#[test]
fn check_and_list_tell_what_would_run() {
    let daemon = Daemon::start("", "");
    let file = daemon.directory().join("gatepost.toml");
    let check = Command::new(crate::daemon::BINARY).arg("--config").arg(&file).arg("check").output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    assert!(check.status.success(), "{said}");
    assert!(
        said.contains("is good") && said.contains("milter.sock") && said.contains("add_header: 6.0"),
        "{said}"
    );
    let list = Command::new(crate::daemon::BINARY).arg("list").output().unwrap();
    let said = String::from_utf8_lossy(&list.stdout).into_owned();
    assert!(list.status.success() && said.lines().count() >= 25, "{said}");
    assert!(said.lines().any(|line| line.starts_with("GTUBE ")), "{said}");
}

#[test]
fn every_key_is_in_the_man_page_and_in_the_example() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("packaging/man/gatepost-milter.8")).unwrap();
    let example = std::fs::read_to_string(root.join("examples/gatepost.toml")).unwrap();
    // The fields of the section as the compiler knows them; deeper ones belong to types of the library.
    let section = format!("{:#?}", gatepost_milter::config::Milter::default());
    let keys: Vec<String> = section
        .lines()
        .filter(|line| line.len() - line.trim_start().len() <= 8)
        .filter_map(|line| line.trim().split_once(": "))
        .map(|(field, _)| field.replace('_', "-"))
        .collect();
    assert!(
        keys.contains(&"on-unavailable".to_owned()) && keys.contains(&"rules-body".to_owned()),
        "{section}"
    );
    for key in keys {
        assert!(page.contains(&key), "{key} is not in the man page");
        assert!(
            example.lines().any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} ="))
                || line == format!("[milter.{key}]")),
            "{key} is not in examples/gatepost.toml"
        );
    }
}
