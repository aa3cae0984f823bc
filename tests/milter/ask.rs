//! `gatepost-milter ask`: a file judged with no daemon, no database and no configuration.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::daemon::BINARY;
use crate::dns::Dns;

const PLAIN: &str = "From: Bob <bob@remote.test>\nTo: alice@example.com\nSubject: tomorrow\n\
                     Date: Sat, 21 Nov 2026 09:00:00 +0000\nMessage-ID: <1@remote.test>\n\nsee you at ten\n";

struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ask(arguments: &[&str], message: &str) -> Answer {
    let mut child = Command::new(BINARY)
        .arg("ask")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A usage error ends the program before it reads.
    let _ = child.stdin.take().unwrap().write_all(message.as_bytes());
    let output = child.wait_with_output().unwrap();
    Answer {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn the_first_example_of_the_readme() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("message.eml");
    std::fs::write(&file, PLAIN).unwrap();
    let answer = ask(&["--offline", file.to_str().unwrap()], "");
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out.starts_with("verdict  no action\nscore    "), "{}", answer.out);
    assert!(answer.out.contains("\nmissing  spf, dkim, dmarc, iprev"), "{}", answer.out);
}

#[test]
fn standard_input_and_gtube() {
    let text = format!("{PLAIN}XJS*C4JDBQADN1.NSBN3*2IDNEN*{}\n", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
    let answer = ask(&["--offline", "-"], &text);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    assert!(answer.out.starts_with("verdict  reject: 554 5.7.1 "), "{}", answer.out);
    assert!(answer.out.contains("GTUBE"), "{}", answer.out);
}

#[test]
fn with_an_envelope_and_dns() {
    let dns = Dns::serve(
        "remote.test TXT v=spf1 ip4:192.0.2.0/24 -all\nmx.remote.test TXT v=spf1 a -all\nmx.remote.test A 192.0.2.7\n\
         _dmarc.remote.test TXT v=DMARC1; p=reject\n7.2.0.192.in-addr.arpa PTR mx.remote.test\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatepost.toml");
    std::fs::write(&file, format!("[milter]\nauthserv-id = \"mx.example.com\"\n{}", dns.toml())).unwrap();
    let config = file.to_str().unwrap();
    let envelope = [
        "--ip",
        "192.0.2.7",
        "--helo",
        "mx.remote.test",
        "--from",
        "bob@remote.test",
        "--to",
        "alice@example.com",
    ];
    let mut arguments = vec!["--config", config];
    arguments.extend(envelope);
    arguments.push("-");
    let answer = ask(&arguments, PLAIN);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    for line in [
        "spf=pass smtp.mailfrom=remote.test;",
        "dmarc=pass (p=reject) header.from=remote.test;",
        "iprev=pass (mx.remote.test) policy.iprev=192.0.2.7\n",
    ] {
        assert!(answer.out.contains(line), "{line} is not in\n{}", answer.out);
    }
    assert!(!answer.out.contains("missing"), "{}", answer.out);

    // Somebody else in his name: what DMARC does stands in the verdict, as on the wire.
    let mut forged = arguments.clone();
    forged[3] = "203.0.113.9";
    let answer = ask(&forged, PLAIN);
    assert!(
        answer.out.starts_with("verdict  reject: 550 5.7.26 Rejected per DMARC policy for remote.test (p=reject in _dmarc.remote.test): "),
        "{}",
        answer.out
    );
    assert!(
        answer.out.contains("DMARC_DISPOSITION") && answer.out.contains("asked reject, done reject"),
        "{}",
        answer.out
    );

    // Without the client's address, SPF is not known, so DMARC cannot be known to fail.
    let answer = ask(&["--config", config, "-"], PLAIN);
    assert!(answer.out.contains("missing  spf, iprev, dmarc"), "{}", answer.out);
    assert!(!answer.out.contains("dmarc="), "{}", answer.out);
}

#[test]
fn mistakes_are_said_in_a_sentence() {
    for (arguments, code, sentence) in [
        (&["no-such-file.eml"][..], 70, "no-such-file.eml: No such file"),
        (&["--offline", "--ip", "localhost", "-"], 64, "invalid value 'localhost' for '--ip <ADDRESS>'"),
        (&["--offline", "--from", "bob", "-"], 64, "no \"@\""),
        (&["--config", "/nonexistent/gatepost.toml", "-"], 78, "/nonexistent/gatepost.toml"),
        (&[], 64, "<MESSAGE>"),
    ] {
        let answer = ask(arguments, PLAIN);
        assert_eq!(answer.code, Some(code), "{arguments:?}: {}", answer.err);
        assert!(answer.err.contains(sentence), "{arguments:?}: {}", answer.err);
    }
}

#[test]
fn whatever_the_bytes_there_is_an_answer() {
    for text in ["", "\n", "no header at all", "From:\n\n\0\0\0", ": :\r\r\n\n", "Subject: =?\n =?=?\n\n--\n"]
    {
        let answer = ask(&["--offline", "-"], text);
        assert_eq!(answer.code, Some(0), "{text:?}: {}", answer.err);
        assert!(answer.out.starts_with("verdict  "), "{text:?}: {}", answer.out);
    }
}
