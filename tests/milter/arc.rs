//! ARC chains on the wire: the validation suite of the draft's authors (ValiMail's `arc_test_suite`), and what no suite asks.

use std::path::PathBuf;

use gatepost_milter::arc::seal::Sealed;
use gatepost_milter::arc::{Sealer, Validation, seal};
use gatepost_milter::dkim::{Algorithm, Canonicalization, Parts};
use gatepost_milter::message::{Header, Message};
use yaml_rust2::{Yaml, YamlLoader};

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::postgres::Database;
use crate::signatures::{Delivered, Key, activate, openssl};
use crate::verification::{results, show};

/// The documents of a suite; none, loudly, where the suite is not there.
pub(crate) fn suite(name: &str) -> Option<Vec<Yaml>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/suites/arc").join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(YamlLoader::load_from_str(&unique(&text)).unwrap()),
        Err(error) => {
            eprintln!("NOT RUN: {}: {error}", path.display());
            None
        }
    }
}

/// YAML allows no key twice, the validation suite has some (`as_fields_b_head_case`): each further one gets a number.
fn unique(text: &str) -> String {
    let mut seen: Vec<&str> = Vec::new();
    let lines = text.lines().map(|line| {
        let name = line.strip_prefix("  ").and_then(|line| line.strip_suffix(':'));
        let Some(name) = name.filter(|name| !name.starts_with(' ')) else { return line.to_owned() };
        seen.push(name);
        match seen.iter().filter(|known| **known == name).count() {
            1 => line.to_owned(),
            count => format!("  {name} {count}:"),
        }
    });
    lines.map(|line| line + "\n").collect()
}

/// The zone of a document: its records, in one string each.
pub(crate) fn zone(document: &Yaml) -> String {
    let records = document["txt-records"].as_hash().unwrap();
    let line = |(name, text): (&Yaml, &Yaml)| {
        format!("{} TXT {}\n", name.as_str().unwrap(), text.as_str().unwrap().replace('\n', ""))
    };
    records.iter().map(line).collect()
}

pub(crate) fn crlf(text: &str) -> Vec<u8> {
    text.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()
}

/// The word of `arc=`; nothing is written about a chain that is not there.
fn word(results: &str) -> String {
    match results.split_once("arc=") {
        Some((_, rest)) => rest.split([' ', ';', '\0']).next().unwrap().to_owned(),
        None => "none".to_owned(),
    }
}

/// Cases for which the suite has no expectation (`cv: ''`): the newest or an older seal says `cv=fail`. RFC 8617, 5.2, step 2: "If
/// the Chain Validation Status of the highest instance value ARC Set is "fail", then the Chain Validation Status is "fail" and the
/// algorithm stops here"; for an older one step 3: "each ARC Set with instance value > 1 … cv=pass".
const UNSAID: [&str; 3] = ["cv_fail_i1_as_cv_fail", "cv_fail_i2_as2_fail", "cv_fail_i2_as1_fail"];

/// Where the suite follows a draft and not the RFC. Its signer took `relaxed/relaxed` for an absent `c=`; RFC 8617, 4.1.2: "The AMS
/// header field has the same syntax and semantics as the DKIM-Signature field", with three differences of which `c=` is none; so it
/// is `simple/simple` (RFC 6376, 3.5), and that signature does not hold.
const OUTDATED: [(&str, &str); 1] = [("ams_fields_c_na", "fail")];

#[test]
fn the_validation_suite() {
    let Some(documents) = suite("arc-draft-validation-tests.yml") else { return };
    let mut counted = (0, 0);
    let mut wrong = Vec::new();
    for document in &documents {
        let dns = Dns::serve(&zone(document));
        let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &dns.toml());
        for (name, case) in document["tests"].as_hash().unwrap() {
            let name = name.as_str().unwrap();
            let outdated = OUTDATED.iter().find(|(outdated, _)| *outdated == name);
            let expected = match case["cv"].as_str().unwrap() {
                _ if outdated.is_some() => outdated.unwrap().1.to_owned(),
                "" if UNSAID.contains(&name) => "fail".to_owned(),
                "" => panic!("{name} says nothing"),
                said => said.to_lowercase(),
            };
            let found = results(&daemon, &crlf(case["message"].as_str().unwrap()));
            counted.0 += 1;
            if word(&found) == expected {
                counted.1 += 1;
            } else {
                wrong.push(format!("{name}: expected {expected}: {found}"));
            }
        }
    }
    eprintln!("ARC validation suite: {} of {} cases", counted.1, counted.0);
    assert_eq!(wrong, [""; 0], "{} of {}", counted.1, counted.0);
    // 171 names, four of which stand for two cases.
    assert_eq!(counted, (175, 175));
}

/// Signs with openssl, as the suite's key is shorter than what we would sign with.
fn sign(key: &std::path::Path, bytes: &[u8]) -> Vec<u8> {
    openssl(&["dgst", "-sha256", "-sign", key.to_str().unwrap()], bytes)
}

/// The results of this hop as the suite has them: in one `Authentication-Results` of our id or in several, which are joined. Ours come
/// from the verifier, so the joining is the test's.
fn joined_results(message: &Message, id: &str) -> String {
    let ours = message.values("Authentication-Results").filter_map(|value| {
        let text = String::from_utf8(value.to_vec()).unwrap();
        text.trim_start().strip_prefix(id).map(|rest| rest.trim_end().to_owned())
    });
    format!(" {id}{}", ours.collect::<String>())
}

/// A value without white space: the suite shows folds in `b=` that were not there when its seals were made.
fn flat(value: &str) -> String {
    value.split_whitespace().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_suite() {
    let Some(documents) = suite("arc-draft-sign-tests.yml") else { return };
    let mut counted = (0, 0);
    let mut wrong = Vec::new();
    for document in &documents {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key.pem");
        std::fs::write(&key, document["privatekey"].as_str().unwrap()).unwrap();
        let dns = Dns::serve(&zone(document));
        let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &dns.toml());
        for (name, case) in document["tests"].as_hash().unwrap() {
            let name = name.as_str().unwrap();
            let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
            let message = Message::from_eml(text("message").as_bytes());
            let raw = message.to_rfc5322();
            let parts = Parts::of(&raw);
            let validation = match word(&results(&daemon, &raw)).as_str() {
                "none" => Validation::None,
                "pass" => Validation::Pass,
                "fail" => Validation::Fail,
                other => panic!("{name}: {other}"),
            };
            let sign = |bytes: &[u8]| Ok(sign(&key, bytes));
            let sealer = Sealer {
                domain: document["domain"].as_str().unwrap(),
                selector: document["sel"].as_str().unwrap(),
                algorithm: Algorithm::RsaSha256,
                sign: &sign,
            };
            let names = text("sig-headers");
            let sealed = Sealed {
                parts: &parts,
                body_hash: Canonicalization::Relaxed.body(parts.body, None).hash,
                validation,
                results: &joined_results(&message, &text("srv-id")),
                fields: &names.split(':').collect::<Vec<_>>(),
                now: case["t"].as_i64().unwrap() as u64,
            };
            let made = seal(&sealer, &sealed).unwrap();
            let made = made.map_or([String::new(), String::new(), String::new()], |set| {
                set.0.map(|(_, value)| flat(&value))
            });
            let expected = ["AAR", "AMS", "AS"].map(|field| flat(&text(field)));
            counted.0 += 1;
            if made == expected {
                counted.1 += 1;
            } else {
                wrong.push(format!("{name}:\n{made:#?}\nexpected\n{expected:#?}"));
            }
        }
    }
    eprintln!("ARC signing suite: {} of {} cases", counted.1, counted.0);
    assert!(wrong.is_empty(), "{} of {}\n{}", counted.1, counted.0, wrong.join("\n"));
    assert_eq!(counted, (17, 17));
}

const ZONE: &str = "client.test TXT v=spf1 -all\n_dmarc.client.test TXT v=DMARC1; p=none\n";

const MESSAGE: &str = "From: Sender <sender@client.test>\r\nTo: news@example.com\r\nSubject: to be passed on\r\n\
                       Date: Sat, 21 Nov 2026 09:00:00 +0000\r\nMessage-ID: <1@client.test>\r\n\r\n\
                       Hello  all. \r\n\r\n \r\n";

/// Aliases with several and outside destinations, patterns, a catch-all, a domain's other name, and one that leads to itself.
const ALIASES: &str = "
    INSERT INTO public.domains VALUES ('caught.test');
    INSERT INTO gatepost.hosted_domains (domain, kind, target) VALUES ('other.test', 'alias', 'example.com');
    INSERT INTO gatepost.aliases (local, domain, destination) VALUES
        ('team', 'example.com', 'alice@example.com'), ('team', 'example.com', 'bob@example.com'),
        ('friends', 'example.com', 'friend@elsewhere.test'),
        ('both', 'example.com', 'alice@example.com'), ('both', 'example.com', 'friend@elsewhere.test'),
        ('chain', 'example.com', 'friends@example.com'),
        ('alice+list', 'example.com', 'list@elsewhere.test'),
        ('loop', 'example.com', 'loop@example.com');
    INSERT INTO gatepost.alias_patterns (domain, kind, pattern, destination) VALUES
        ('example.com', 'regex', 'project-[0-9]+', 'projects@elsewhere.test'),
        ('example.com', 'wildcard', 'support-*', 'bob@example.com'),
        ('caught.test', 'catch-all', '', 'friend@elsewhere.test');
";

/// Mail for `recipient` as Postfix delivers it, with our edits.
fn passed_on(daemon: &Daemon, recipient: &str, mailer: &str, message: &[u8]) -> Vec<u8> {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    peer.ask(b"M<sender@client.test>\0", b"c");
    assert!(peer.send(format!("DR{{rcpt_mailer}}\0{mailer}\0").as_bytes()));
    peer.ask(format!("R<{recipient}>\0").as_bytes(), b"c");
    peer.ask(b"T", b"c");
    show(&mut peer, message);
    let frames = peer.end_of_message();
    assert_eq!(frames.last().map(Vec::as_slice), Some(&b"c"[..]));
    let shown = Message::from_eml(message);
    let text = |header: &Header| (String::from_utf8(header.name.clone()).unwrap(), header.value.clone());
    let mut delivered = Delivered {
        fields: shown.headers.iter().map(text).collect(),
        body: shown.body.clone(),
        replaced: false,
    };
    for edit in &frames[..frames.len() - 1] {
        delivered.apply(edit);
    }
    delivered.bytes()
}

/// What dkimpy says of the chain.
pub(crate) fn arc_verify(message: &[u8], name: &str, key: &Key) -> String {
    const PROGRAM: &str = "import sys, dkim\n\
        dns = lambda name, timeout=5: sys.argv[2].encode() if (name if isinstance(name, str) else name.decode()).rstrip('.') == sys.argv[1] else None\n\
        print(dkim.arc_verify(sys.stdin.buffer.read(), dnsfunc=dns)[::2])\n";
    let mut child = std::process::Command::new("/usr/bin/python3")
        .args(["-c", PROGRAM, name, &key.record])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), message).unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_we_pass_on_is_sealed_and_dkimpy_agrees() {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    database.sql(ALIASES).await;
    let key = Key::rsa();
    activate(&database, "example.com", "arc", "rsa-sha256", &key).await;
    let dns = Dns::serve(&format!("{ZONE}arc._domainkey.example.com TXT {}\n", key.record));
    let settings = "[milter.arc]\nseal = \"leaving\"\nseal-domain = \"example.com\"\ntrusted-sealers = [\"example.com\"]\n";
    let daemon = Daemon::start(
        &format!("explain = false\n{UNREACHABLE}"),
        &format!("{}{}{settings}", database.toml(), dns.toml()),
    );
    // What stays is not sealed: a mailbox, an alias of one.
    for recipient in ["alice@example.com", "boss@example.com"] {
        let delivered = passed_on(&daemon, recipient, "lmtp", MESSAGE.as_bytes());
        assert!(!String::from_utf8_lossy(&delivered).contains("ARC-Seal"), "{recipient}");
    }
    // What goes on is: to a list that is no mailbox here, by the transport.
    let name = "arc._domainkey.example.com";
    for (recipient, mailer) in [("news@example.com", "lmtp"), ("somebody@relayed.test", "smtp")] {
        let first = passed_on(&daemon, recipient, mailer, MESSAGE.as_bytes());
        let text = String::from_utf8_lossy(&first).into_owned();
        assert!(text.starts_with("ARC-Seal:") && text.contains("cv=none"), "the seal is on top:\n{text}");
        assert!(text.contains("\r\nARC-Authentication-Results: i=1; mx.example.com;"), "{text}");
        let said = arc_verify(&first, name, &key);
        assert!(said.contains("b'pass'"), "{said}\n{text}");
        // A second hop continues the chain.
        let second = passed_on(&daemon, recipient, mailer, &first);
        let text = String::from_utf8_lossy(&second).into_owned();
        assert!(text.contains("i=2; s=arc") && text.contains("cv=pass"), "{text}");
        assert!(text.contains("arc=pass (i=1 example.com) header.oldest-pass=0"), "{text}");
        let said = arc_verify(&second, name, &key);
        assert!(said.contains("b'pass'"), "{said}\n{text}");
        // A chain that was broken is marked once (RFC 8617, 5.1.2), and then left alone.
        let broken = text.replace("Hello  all", "Hello  you").into_bytes();
        let marked = passed_on(&daemon, recipient, mailer, &broken);
        let text = String::from_utf8_lossy(&marked).into_owned();
        assert!(text.contains("i=3; s=arc") && text.contains("cv=fail"), "{text}");
        let said = arc_verify(&marked, name, &key);
        assert!(said.contains("ARC-Seal[3] reported failure"), "{said}");
        let again = passed_on(&daemon, recipient, mailer, &marked);
        assert!(!String::from_utf8_lossy(&again).contains("i=4"), "{}", String::from_utf8_lossy(&again));
    }
    // Where aliases of ours lead decides, not what Postfix delivers their domain with; one way out is enough.
    let aliases = [
        ("team@example.com", false),
        ("friends@example.com", true),
        ("both@example.com", true),
        ("chain@example.com", true),
        ("project-7@example.com", true),
        ("support-7@example.com", false),
        ("friends@other.test", true),
        ("team@other.test", false),
        ("alice+list@example.com", true),
        ("alice+none@example.com", false),
        ("anybody@caught.test", true),
        ("loop@example.com", false),
    ];
    for (recipient, leaves) in aliases {
        let delivered = passed_on(&daemon, recipient, "lmtp", MESSAGE.as_bytes());
        assert_eq!(String::from_utf8_lossy(&delivered).contains("ARC-Seal"), leaves, "{recipient}");
    }
    // Without the database mail goes on as it came.
    database.take_away().await;
    let delivered = passed_on(&daemon, "unknown@elsewhere.test", "smtp", MESSAGE.as_bytes());
    assert!(String::from_utf8_lossy(&delivered).contains("Subject: to be passed on"));
}

/// What is sealed is what leaves: the subject as it was rewritten.
#[tokio::test(flavor = "multi_thread")]
async fn a_seal_holds_over_a_subject_of_ours() {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    let key = Key::rsa();
    activate(&database, "example.com", "arc", "rsa-sha256", &key).await;
    let dns = Dns::serve(&format!("{ZONE}arc._domainkey.example.com TXT {}\n", key.record));
    let settings = "[milter.arc]\nseal = \"all\"\nseal-domain = \"example.com\"\n\
        [milter.actions]\ngreylist = \"off\"\nrewrite-subject = 0.1\n";
    let daemon = Daemon::start(
        &format!("explain = false\n{UNREACHABLE}"),
        &format!("{}{}{settings}", database.toml(), dns.toml()),
    );
    let folded = "From: a@client.test\r\nSubject: one\r\n two\r\n\r\nhello\r\n";
    let none = "From: a@client.test\r\n\r\nhello\r\n";
    for message in [folded, none] {
        let delivered = passed_on(&daemon, "alice@example.com", "lmtp", message.as_bytes());
        let text = String::from_utf8_lossy(&delivered).into_owned();
        assert!(text.contains("\r\nSubject: ***SPAM*** ") && text.contains("ARC-Seal"), "{text}");
        let said = arc_verify(&delivered, "arc._domainkey.example.com", &key);
        assert!(said.contains("b'pass'"), "{said}\n{text}");
    }
}

#[test]
fn chains_of_any_length_cost_little_and_end_clearly() {
    let dns =
        Dns::serve("s._domainkey.loop.test CNAME s._domainkey.loop.test\nslow._domainkey.a.test TXT DROP\n");
    let daemon = Daemon::start(&format!("explain = false\n{UNREACHABLE}"), &dns.toml());
    let set = |instance: usize, validation: &str, key: &str| {
        format!(
            "ARC-Seal: i={instance}; a=rsa-sha256; cv={validation}; d={key}; s=s; b=AAAA\r\n\
             ARC-Message-Signature: i={instance}; a=rsa-sha256; d={key}; s=s; h=from; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; c=relaxed/relaxed; b=AAAA\r\n\
             ARC-Authentication-Results: i={instance}; a.test; dmarc=pass\r\n"
        )
    };
    let chain = |length: usize, key: &str| -> String {
        (1..=length).rev().map(|at| set(at, if at == 1 { "none" } else { "pass" }, key)).collect()
    };
    for (name, header, said) in [
        ("1,000 sets", set(1, "none", "a.test").repeat(1000), "arc=fail"),
        ("50 sets", chain(50, "a.test"), "arc=fail (i=50 message signature: no such key)"),
        (
            "a gap",
            format!("{}{}", set(3, "pass", "a.test"), set(1, "none", "a.test")),
            "arc=fail (a set is not complete)",
        ),
        ("one set twice", set(1, "none", "a.test").repeat(2), "arc=fail (a set has a field twice)"),
        ("endless aliases", chain(2, "loop.test"), "arc="),
        (
            "a seal of 60 KB",
            set(1, "none", "a.test")
                .replace("b=AAAA\r\nARC-M", &format!("b={}\r\nARC-M", "A".repeat(60_000))),
            "arc=fail",
        ),
        (
            "DNS away",
            set(1, "none", "a.test").replace("s=s", "s=slow"),
            "arc=temperror (i=1 message signature: no answer from DNS)",
        ),
    ] {
        let message = format!("{header}From: a@a.test\r\n\r\n");
        let found = results(&daemon, message.as_bytes());
        assert!(found.contains(said), "{name}: {found}");
        assert!(!found.contains("arc=pass") && found.len() < 2000, "{name}: {found}");
    }
}
