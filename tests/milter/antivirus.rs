//! The antivirus: Debian's clamd with a signature database of our own (the EICAR test file), and sockets that are no good clamd.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};

/// The test file that every antivirus knows (eicar.org), in two pieces so that none stumbles over this one.
const EICAR: [&str; 2] = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"];

/// A clamd of our own; killed when dropped.
struct Clamd {
    child: Child,
    directory: tempfile::TempDir,
}

impl Clamd {
    fn start(settings: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("gatepost-clamd.").tempdir().unwrap();
        let place = |name: &str| directory.path().join(name).display().to_string();
        std::fs::create_dir(place("db")).unwrap();
        // Anywhere in a file of any type: name, type, offset, the bytes in hexadecimal (ClamAV, "Extended signature format").
        let bytes: String = EICAR.concat().bytes().map(|byte| format!("{byte:02x}")).collect();
        std::fs::write(place("db/test.ndb"), format!("Gatepost.Test.EICAR:0:*:{bytes}\n")).unwrap();
        let config = format!(
            "DatabaseDirectory {}\nLocalSocket {}\nForeground yes\nExtendedDetectionInfo no\nLogFile {}\n{settings}\n",
            place("db"),
            place("clamd.sock"),
            place("log")
        );
        std::fs::write(place("clamd.conf"), config).unwrap();
        let child = Command::new("clamd")
            .args(["--config-file", &place("clamd.conf")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("clamd: tests/install-packages");
        let mut clamd = Self { child, directory };
        let end = Instant::now() + Duration::from_secs(60);
        while std::os::unix::net::UnixStream::connect(clamd.socket()).is_err() {
            let log = || std::fs::read_to_string(clamd.directory.path().join("log")).unwrap_or_default();
            if let Some(status) = clamd.child.try_wait().unwrap() {
                panic!("clamd ended with {status}: {}", log());
            }
            assert!(Instant::now() < end, "clamd does not listen: {}", log());
            std::thread::sleep(Duration::from_millis(20));
        }
        clamd
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("clamd.sock")
    }
}

impl Drop for Clamd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn daemon(socket: &Path, milter: &str, keys: &str) -> Daemon {
    let antivirus = format!("[milter.antivirus]\nclamd = \"unix:{}\"\n{keys}\n", socket.display());
    let enforce = "[milter.dmarc]\nenforce = false\n";
    Daemon::start(&format!("{UNREACHABLE}{milter}"), &format!("{antivirus}{enforce}"))
}

/// A message from outside; the frames that answer it.
fn answer(peer: &mut Peer, headers: &[(&str, &str)], body: &[u8]) -> Vec<String> {
    peer.begin();
    let from = [("From", " sender@client.test"), ("Subject", " hello")];
    peer.message(&[&from, headers].concat(), body);
    peer.end_of_message().iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect()
}

fn base64(text: &str) -> String {
    use std::fmt::Write;
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * at) & 63) as usize]);
            let _ = write!(out, "{}", if at <= chunk.len() { digit } else { '=' });
        }
    }
    out
}

/// EICAR as people send it: attached.
fn attached() -> (Vec<(&'static str, &'static str)>, Vec<u8>) {
    let headers = vec![("MIME-Version", " 1.0"), ("Content-Type", " multipart/mixed; boundary=b")];
    let body = format!(
        "--b\r\n\r\nsee the file\r\n--b\r\nContent-Type: application/octet-stream; name=a.dat\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.dat\r\n\r\n{}\r\n--b--\r\n",
        base64(&EICAR.concat())
    );
    (headers, body.into_bytes())
}

const REFUSED: &str = "y554 5.7.1 Message contains a virus\0";

#[test]
fn an_infected_message_is_refused_and_a_clean_one_passes() {
    let clamd = Clamd::start("");
    let daemon = daemon(&clamd.socket(), "", "");
    let (headers, body) = attached();
    let infected = answer(&mut daemon.connect(), &headers, &body);
    assert_eq!(infected, [REFUSED]);
    // ClamAV marks what is not in its official database.
    assert!(
        daemon.log().contains("infected: Gatepost.Test.EICAR.UNOFFICIAL")
            && daemon.log().contains("action=\"reject\""),
        "{}",
        daemon.log()
    );
    let clean = answer(&mut daemon.connect(), &[], b"hello\r\n");
    assert_eq!(clean.last().map(String::as_str), Some("c"));
    // Beyond what the rules see: the whole message is scanned, with no signature that has it kept.
    let mut long = "words and words and more\r\n".repeat(200_000).into_bytes();
    long.extend_from_slice(EICAR.concat().as_bytes());
    assert_eq!(answer(&mut daemon.connect(), &[], &long), [REFUSED]);
}

/// A session of alice, logged in, as far as her message.
fn logged_in(daemon: &Daemon) -> Peer {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    assert!(peer.send(b"DM{auth_authen}\0alice@example.com\0{auth_type}\0PLAIN\0"));
    peer.ask(b"M<alice@example.com>\0", b"c");
    peer.ask(b"R<bob@client.test>\0", b"c");
    peer.ask(b"T", b"c");
    peer
}

#[test]
fn mail_of_our_own_logins_is_scanned_too() {
    let clamd = Clamd::start("");
    let daemon = daemon(&clamd.socket(), "on-unavailable = \"unsigned\"\n", "");
    let mut peer = logged_in(&daemon);
    let (headers, body) = attached();
    peer.message(&[&[("From", " alice@example.com")], headers.as_slice()].concat(), &body);
    let frames = peer.end_of_message();
    assert_eq!(String::from_utf8_lossy(&frames[0]), REFUSED);
    assert!(daemon.log().contains("infected: Gatepost.Test.EICAR"), "{}", daemon.log());
}

#[test]
fn without_rules_the_antivirus_still_decides() {
    let clamd = Clamd::start("");
    let daemon = daemon(&clamd.socket(), "rules = false\n", "");
    let (headers, body) = attached();
    assert_eq!(answer(&mut daemon.connect(), &headers, &body), [REFUSED]);
}

/// clamd's own bound is smaller than ours, and ours than the message: both pass, unscanned, and the report says so.
#[test]
fn what_is_too_big_passes_and_is_said() {
    let clamd = Clamd::start("StreamMaxLength 1M");
    let big = "words and words and more\r\n".repeat(100_000).into_bytes();
    for keys in ["", "message = \"1MiB\""] {
        let daemon = daemon(&clamd.socket(), "", &format!("on-unavailable = \"header\"\n{keys}"));
        let frames = answer(&mut daemon.connect(), &[("X-Virus-Status", " Clean")], &big);
        assert_eq!(frames.last().map(String::as_str), Some("c"));
        let has = |text: &str| frames.iter().any(|frame| frame.contains(text));
        assert!(has("X-Virus-Status\0 Unchecked (too big)\0"), "{frames:?}");
        assert!(has("m\0\0\0\u{1}X-Virus-Status\0\0"), "a stranger's word goes: {frames:?}");
        assert!(frames.iter().any(|frame| frame.contains("FACTS_MISSING") && frame.contains("antivirus")));
    }
}

/// What the antivirus takes is kept for it, whatever else is kept less of: a signed message beyond `limits.message`, a message of ours whose
/// header block is too long to be signed. That it is not all there would not be any different tomorrow.
#[test]
fn what_can_be_scanned_is_not_put_off_for_ever() {
    let clamd = Clamd::start("");
    let daemon = daemon(&clamd.socket(), "", "[milter.limits]\nrules-body = \"1MiB\"\nmessage = \"1MiB\"");
    let big = "words and words and more\r\n".repeat(100_000);
    let signature = ("DKIM-Signature", " v=1; a=rsa-sha256; d=client.test; s=s; h=from; bh=AAAA; b=AAAA");
    let frames = answer(&mut daemon.connect(), &[signature], big.as_bytes());
    assert_eq!(frames.last().map(String::as_str), Some("c"), "{}", daemon.log());
    let infected = format!("{big}{}\r\n", EICAR.concat());
    assert_eq!(answer(&mut daemon.connect(), &[signature], infected.as_bytes()), [REFUSED]);
    let mut peer = logged_in(&daemon);
    peer.message(&[("X-Field", " x"); 5_000], b"hello\r\n");
    let frames = peer.end_of_message();
    assert_eq!(frames.last().map(Vec::as_slice), Some(&b"c"[..]), "{}", daemon.log());
}

#[test]
fn clamd_away_is_what_the_operator_says() {
    let nobody = Path::new("/nonexistent/clamd.sock");
    for (keys, last) in [
        ("", "y451 4.7.1 Message cannot be scanned for viruses now, please try again later\0"),
        ("on-unavailable = \"header\"", "c"),
        ("on-unavailable = \"continue\"", "c"),
    ] {
        let daemon = daemon(nobody, "", keys);
        let frames = answer(&mut daemon.connect(), &[], b"hello\r\n");
        assert_eq!(frames.last().map(String::as_str), Some(last), "{keys}");
        let marked =
            frames.iter().any(|frame| frame.contains("X-Virus-Status\0 Unchecked (scanner unavailable)\0"));
        assert_eq!(marked, keys.contains("header"), "{frames:?}");
        assert!(daemon.log().contains("cannot scan for viruses now: clamd at unix:/nonexistent/clamd.sock"));
    }
}

/// Two outages at once are each said once, and not with every message in turn.
#[test]
fn the_log_of_two_outages_is_short() {
    let daemon = daemon(Path::new("/nonexistent/clamd.sock"), "", "on-unavailable = \"continue\"");
    for _ in 0..8 {
        assert_eq!(answer(&mut daemon.connect(), &[], b"hello\r\n").last().map(String::as_str), Some("c"));
    }
    let log = daemon.log();
    let said = |what: &str| log.lines().filter(|line| line.contains(" WARN ") && line.contains(what)).count();
    assert_eq!(said("cannot scan for viruses now"), 1, "{log}");
    // Whoever tries the database hears another reason than those who do not.
    assert!((1..4).contains(&said("settings and lists cannot be read now")), "{log}");
}

/// A socket that is no clamd, one that says nothing, one that closes: never clean, never a refusal.
#[test]
fn whatever_is_no_answer_is_an_absence() {
    for (says, reads) in [(&b"stream: OK"[..], true), (b"nonsense\0", true), (b"", true), (b"", false)] {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("clamd.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut bytes = [0; 4096];
                if reads {
                    let _ = stream.read(&mut bytes);
                }
                let _ = stream.write_all(says);
            }
        });
        let daemon = daemon(&socket, "", "");
        let frames = answer(&mut daemon.connect(), &[], b"hello\r\n");
        assert!(frames[0].starts_with("y451 4.7.1 "), "{}: {frames:?}", says.escape_ascii());
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("clamd.sock");
    let _silent = UnixListener::bind(&socket).unwrap();
    let daemon = daemon(&socket, "deadline = \"300ms\"\n", "");
    let frames = answer(&mut daemon.connect(), &[], b"hello\r\n");
    assert!(frames[0].starts_with("y451 4.7.1 "), "{frames:?}");
    assert!(daemon.log().contains("did not answer within milter.deadline"), "{}", daemon.log());
}
