//! `gatepost-milter ask`: a file judged with no daemon, no database and no configuration.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::daemon::BINARY;
use crate::dns::Dns;
use crate::postgres::Database;

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

#[tokio::test(flavor = "multi_thread")]
async fn with_an_envelope_and_dns() {
    let database = Database::create().await;
    let dns = Dns::serve(
        "remote.test TXT v=spf1 ip4:192.0.2.0/24 -all\nmx.remote.test TXT v=spf1 a -all\nmx.remote.test A 192.0.2.7\n\
         _dmarc.remote.test TXT v=DMARC1; p=reject\n7.2.0.192.in-addr.arpa PTR mx.remote.test\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatepost.toml");
    std::fs::write(
        &file,
        format!("[milter]\nauthserv-id = \"mx.example.com\"\n{}{}", dns.toml(), database.toml()),
    )
    .unwrap();
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

/// What is set in SQL counts as on the wire, for the recipients that are named.
#[tokio::test(flavor = "multi_thread")]
async fn by_the_settings_and_lists_of_its_recipients() {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    database
        .sql(
            "INSERT INTO gatepost.settings (scope, name, value) VALUES
                 ('bob@example.com', 'weight.R_SPF_FAIL', '8'), ('bob@example.com', 'reject', '5'), ('carl@123qwe.com', 'reject-text', 'Not here');
             INSERT INTO gatepost.access_rules (kind, value, scope, action, points) VALUES
                 ('domain', 'remote.test', 'carl@123qwe.com', 'deny', NULL), ('domain', 'remote.test', '*', 'score', 1.5)",
        )
        .await;
    let dns = Dns::serve(
        "remote.test TXT v=spf1 -all\n7.2.0.192.in-addr.arpa PTR mx.remote.test\nmx.remote.test A 192.0.2.7\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gatepost.toml");
    std::fs::write(&file, format!("{}{}", dns.toml(), database.toml())).unwrap();
    let from = ["--config", file.to_str().unwrap(), "--ip", "192.0.2.7", "--from", "bob@remote.test"];
    let judged = |more: &[&str]| {
        let answer = ask(&[&from[..], more, &["--json", "-"]].concat(), PLAIN);
        assert_eq!(answer.code, Some(0), "{}", answer.err);
        serde_json::from_str::<serde_json::Value>(&answer.out).unwrap()
    };
    // orders@ is carl.
    let all = judged(&["--to", "alice@example.com", "--as", "bob@example.com", "--to", "orders@example.com"]);
    assert_eq!(all["action"], "no action", "{all}");
    let of = |mailbox: &str| {
        let each = all["recipients"].as_array().unwrap().iter().find(|each| each["mailbox"] == mailbox);
        each.unwrap_or_else(|| panic!("no {mailbox} in {all}"))["action"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        [of("alice@example.com"), of("bob@example.com"), of("carl@123qwe.com")],
        ["no action", "reject", "reject"]
    );
    let listed = all["symbols"].as_array().unwrap().iter().find(|hit| hit["symbol"] == "LIST_SCORE").unwrap();
    assert_eq!(listed["points"], 1.5, "{all}");

    let carl = judged(&["--to", "carl@123qwe.com"]);
    assert_eq!(carl["reply"], "554 5.7.1 Access denied by a rule of this site; ask its postmaster");
    let bob = judged(&["--to", "bob@example.com"]);
    assert_eq!(bob["action"], "reject");
    assert!(bob["score"].as_f64().unwrap() >= 9.0, "{bob}");

    // Without a network nothing of that is known, and nothing is asked.
    let offline = judged(&["--offline", "--to", "bob@example.com"]);
    assert_eq!(
        (offline["action"].as_str(), offline["missing"][0].as_str()),
        (Some("no action"), Some("spf"))
    );
    let text =
        ask(&[&from[..], &["--to", "alice@example.com", "--to", "bob@example.com", "-"]].concat(), PLAIN);
    assert!(text.out.contains("\nfor      alice@example.com: no action, "), "{}", text.out);
    assert!(text.out.contains("\nfor      bob@example.com: reject, "), "{}", text.out);

    database.take_away().await;
    let answer = ask(&[&from[..], &["--to", "bob@example.com", "-"]].concat(), PLAIN);
    assert!(answer.err.contains("settings and lists cannot be read"), "{}", answer.err);
    assert!(answer.out.contains("missing  ") && answer.out.contains("settings, lists"), "{}", answer.out);
}

/// The object that scripts read: every name, and nothing but one object.
#[test]
fn as_one_json_object() {
    let text = format!("{PLAIN}XJS*C4JDBQADN1.NSBN3*2IDNEN*{}\n", "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X");
    let answer = ask(&["--offline", "--json", "-"], &text);
    assert_eq!(answer.code, Some(0), "{}", answer.err);
    let object: serde_json::Value = serde_json::from_str(&answer.out).unwrap();
    let names: Vec<&str> = object.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "action",
            "add_header",
            "authentication_results",
            "missing",
            "recipients",
            "reject",
            "reply",
            "score",
            "symbols"
        ]
    );
    assert_eq!(
        (object["action"].as_str(), object["reply"].as_str()),
        (Some("reject"), Some("554 5.7.1 Gtube pattern"))
    );
    assert_eq!((object["add_header"].as_f64(), object["reject"].as_f64()), (Some(6.0), Some(15.0)));
    assert_eq!(object["missing"], serde_json::json!(["spf", "dkim", "dmarc", "iprev"]));
    let symbols = object["symbols"].as_array().unwrap();
    let gtube = symbols.iter().find(|hit| hit["symbol"] == "GTUBE").unwrap();
    assert_eq!(gtube["group"], "text");
    assert!(
        gtube["summary"].as_str().is_some_and(|summary| !summary.is_empty()) && gtube["evidence"].is_string()
    );
    let sum: f64 = symbols.iter().map(|hit| hit["points"].as_f64().unwrap()).sum();
    assert!((sum - object["score"].as_f64().unwrap()).abs() < 0.005, "{object}");
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
