//! Peers that are slow, many, or greedy; and the end of the daemon under them.

use std::process::Command;

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;

#[test]
fn peers_that_stop_inside_a_frame_hinder_nobody() {
    let daemon = Daemon::start(UNREACHABLE, "");
    let mut stuck = Vec::new();
    for number in 0..200 {
        let mut peer = daemon.connect();
        // Some before they say anything, some inside a length, some inside the data of the longest frame that is allowed.
        match number % 4 {
            0 => {}
            1 => assert!(peer.send_raw(b"\0\0")),
            2 => assert!(peer.send_raw(b"\0\x10\0\0O")),
            _ => {
                peer.begin();
                assert!(peer.send_raw(b"\0\0\xff\xffLSubject\0"));
            }
        }
        stuck.push(peer);
    }
    let mut peer = daemon.connect().in_pieces(1);
    peer.begin();
    peer.message(&[("From", " sender@client.test"), ("Subject", " hello")], b"hello\r\n");
    assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));
    assert!(resident_high_water(daemon.id()) < 200 << 20, "200 promises of 1 MiB must not be memory");
}

#[test]
fn memory_is_bounded_whatever_is_sent_at_once() {
    // 16 messages of 24 MiB with signatures to verify: 384 MiB, of which 32 may be kept.
    let limits = "[milter.limits]\nrules-body = \"256KiB\"\nmessage = \"64MiB\"\nmemory = \"32MiB\"\n";
    let daemon = Daemon::start(UNREACHABLE, limits);
    let before = resident_high_water(daemon.id());
    let mut peers: Vec<_> = (0..16).map(|_| daemon.connect()).collect();
    for peer in &mut peers {
        peer.begin();
        let signature = " v=1; a=rsa-sha256; c=relaxed/relaxed; d=client.test; s=s; h=from; bh=AAAA; b=AAAA";
        peer.message(&[("From", " sender@client.test"), ("DKIM-Signature", signature)], b"");
    }
    let piece = [b"B".as_slice(), &b"0123456789abcdefghijklmnopqrstuvwxyz\r\n".repeat(1700)].concat();
    for _ in 0..(24 << 20) / (piece.len() - 1) {
        for peer in &mut peers {
            assert!(peer.send(&piece));
        }
    }
    for peer in &mut peers {
        assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));
    }
    let grown = resident_high_water(daemon.id()) - before;
    assert!(grown < 128 << 20, "the daemon grew by {} MiB", grown >> 20);
    assert!(daemon.log().contains("action="), "the messages were judged");
}

#[test]
fn a_header_block_without_end_is_no_memory_without_end() {
    let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), "");
    let before = resident_high_water(daemon.id());
    let mut peer = daemon.connect();
    peer.begin();
    let field = format!("LX-Filler\0 {}\0", "x".repeat(1000));
    for _ in 0..50_000 {
        assert!(peer.send(field.as_bytes()));
    }
    peer.message(&[("From", " sender@client.test")], b"hello\r\n");
    let last = peer.end_of_message().pop().unwrap();
    assert!(last.starts_with(b"y552 5.3.4 "), "{}", String::from_utf8_lossy(&last));
    let grown = resident_high_water(daemon.id()) - before;
    assert!(grown < 64 << 20, "50 MB of header fields made the daemon grow by {} MiB", grown >> 20);
}

#[test]
fn the_end_waits_for_the_message_under_way() {
    let mut daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), "");
    let mut busy = daemon.connect();
    busy.begin();
    busy.message(&[("From", " sender@client.test")], b"hello\r\n");
    let mut idle = daemon.connect();
    idle.negotiate();
    idle.greet();
    daemon.terminate();
    // The idle session is closed in the end; the message is decided, however long its client takes.
    assert_eq!(idle.receive(), None);
    assert!(busy.send(b"Bmore\r\n"));
    assert_eq!(busy.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));
    assert_eq!(busy.receive(), None);
    assert!(daemon.wait().success());
}

#[test]
fn a_session_may_finish_its_next_message_while_the_daemon_ends() {
    let mut daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), "");
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    daemon.terminate();
    peer.ask(b"M<sender@client.test>\0", b"c");
    peer.ask(b"R<alice@example.com>\0", b"c");
    peer.ask(b"T", b"c");
    peer.message(&[("From", " sender@client.test")], b"hello\r\n");
    assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));
    drop(peer);
    assert!(daemon.wait().success());
}

#[test]
fn a_thousand_signatures_cost_no_more_than_ten() {
    let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), "");
    let mut peer = daemon.connect();
    peer.begin();
    let signature = " v=1; a=rsa-sha256; c=relaxed/relaxed; d=client.test; s=s; h=from; \
                     bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA";
    let headers: Vec<(&str, &str)> = std::iter::once(("From", " sender@client.test"))
        .chain((0..1000).map(|_| ("DKIM-Signature", signature)))
        .collect();
    peer.message(&headers, b"");
    let frames = peer.end_of_message();
    let results = String::from_utf8_lossy(&frames[0]).into_owned();
    assert!(results.matches("dkim=temperror").count() <= 10, "{results}");
    assert!(results.contains("too many signatures"), "{results}");
    assert!(results.len() < 8000, "{} bytes of results", results.len());
}

/// The most memory that the process ever had (`VmHWM` in proc(5)), in bytes.
fn resident_high_water(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn a_bad_configuration_is_refused_with_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatepost.toml");
    std::fs::write(&file, "[milter]\nreject = 20\n[milter.weights]\nGTUB = 1.0\n").unwrap();
    let run = Command::new(crate::daemon::BINARY).arg("--config").arg(&file).arg("run").output().unwrap();
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(78), "{said}");
    assert!(said.contains("gatepost.toml:4:1:") && said.contains("did you mean GTUBE?"), "{said}");
}
