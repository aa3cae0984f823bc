//! Mail of ours on the wire: what is removed, mended and signed, seen in the edits; and verified by OpenDKIM and dkimpy after them.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, Peer};
use crate::dns::Dns;
use crate::generator::Generator;
use crate::postgres::Database;
use crate::signatures::{Delivered, Key, activate, unverified, world_with};

/// What became of a message: its edits by their letters, and the message after them.
struct Outcome {
    edits: String,
    message: Delivered,
}

impl Outcome {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.message.bytes()).into_owned()
    }

    fn is_signed(&self) -> bool {
        self.message.fields.iter().any(|(name, _)| name == "DKIM-Signature")
    }

    /// The domain that signed.
    fn signer(&self) -> Option<String> {
        let (_, value) = self.message.fields.iter().find(|(name, _)| name == "DKIM-Signature")?;
        let value = String::from_utf8_lossy(value).into_owned();
        value.split("d=").nth(1)?.split(';').next().map(str::to_owned)
    }
}

/// A session of that login up to the end of DATA; `offer` is the actions that the MTA offers.
fn begin(daemon: &Daemon, login: &str, offer: u32) -> Peer {
    let mut peer = daemon.connect();
    let mut negotiate = b"O\0\0\0\x06".to_vec();
    negotiate.extend_from_slice(&offer.to_be_bytes());
    negotiate.extend_from_slice(b"\0\x1f\x0f\xff");
    assert!(peer.send(&negotiate));
    assert_eq!(peer.receive().unwrap()[0], b'O');
    peer.greet();
    assert!(peer.send(format!("DM{{auth_authen}}\0{login}\0").as_bytes()));
    peer.ask(format!("M<{login}>\0").as_bytes(), b"c");
    peer.ask(b"R<friend@remote.test>\0", b"c");
    peer.ask(b"T", b"c");
    peer
}

const ALL: u32 = 0x1ff;
const NO_BODY: u32 = ALL & !2;

fn send(peer: &mut Peer, fields: &[(String, Vec<u8>)], body: &[u8]) -> Outcome {
    for (name, value) in fields {
        assert!(peer.send(&[b"L", name.as_bytes(), b"\0", value, b"\0"].concat()));
    }
    assert!(peer.send(b"N"));
    for piece in body.chunks(65_535) {
        assert!(peer.send(&[b"B", piece].concat()));
    }
    let frames = peer.end_of_message();
    let (last, edits) = frames.split_last().unwrap();
    assert_eq!(last, b"c", "{}", last.escape_ascii());
    let mut message = Delivered { fields: fields.to_vec(), body: body.to_vec(), replaced: false };
    edits.iter().for_each(|edit| message.apply(edit));
    Outcome { edits: edits.iter().map(|edit| char::from(edit[0])).collect(), message }
}

fn fields(text: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
    text.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect()
}

fn from(author: &str) -> Vec<(String, Vec<u8>)> {
    fields(&[
        ("From", &format!(" {author}")),
        ("Date", " Sat, 21 Nov 2026 09:00:00 +0000"),
        ("Message-ID", " <1@example.com>"),
    ])
}

async fn keyed(tables: &str) -> (Database, Daemon, [Key; 2]) {
    let keys = [Key::rsa(), Key::ed25519()];
    let (database, daemon) = with_keys(tables, &keys).await;
    (database, daemon, keys)
}

async fn with_keys(tables: &str, keys: &[Key; 2]) -> (Database, Daemon) {
    let (database, daemon) = world_with(tables).await;
    activate(&database, "example.com", "rsa", "rsa-sha256", &keys[0]).await;
    activate(&database, "example.com", "ed", "ed25519-sha256", &keys[1]).await;
    (database, daemon)
}

/// Their lines for the name server: only keys that DNS shows sign.
fn zone(keys: &[Key; 2]) -> String {
    named(keys)
        .iter()
        .map(|(name, key)| format!("{} TXT {}\n", name.trim_end_matches('.'), key.record))
        .collect()
}

fn named(keys: &[Key; 2]) -> [(&'static str, &Key); 2] {
    [("rsa._domainkey.example.com.", &keys[0]), ("ed._domainkey.example.com.", &keys[1])]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_body_is_replaced_once_and_only_where_it_must_be() {
    let (_database, daemon, keys) = keyed("").await;
    let high = "gr\u{fc}\u{df}e\r\n".as_bytes();
    let long = [b"x".repeat(70_000), b"\r\n".to_vec()].concat();
    for (name, body, offer, replaced) in [
        ("plain", &b"plain\r\n"[..], ALL, false),
        ("8-bit", high, ALL, true),
        ("a long line", &long, ALL, true),
        ("an MTA that takes no body", high, NO_BODY, false),
        ("empty", b"", ALL, false),
    ] {
        let outcome = send(&mut begin(&daemon, "alice@example.com", offer), &from("alice@example.com"), body);
        assert_eq!(outcome.message.replaced, replaced, "{name}: {}", outcome.edits);
        // The pieces of the body stand together, or Postfix defers the message.
        let pieces = outcome.edits.matches('b').count();
        assert!(outcome.edits.contains(&"b".repeat(pieces)), "{name}: {}", outcome.edits);
        assert!(
            !replaced || outcome.text().contains("Content-Transfer-Encoding: quoted-printable\r\n"),
            "{name}"
        );
        assert!(unverified(&[outcome.message.bytes()], &named(&keys)).is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_is_not_touched_but_for_privacy() {
    let (_database, daemon, _keys) = keyed("").await;
    let mut header = from("bob@example.com");
    header.push(("X-Mailer".to_owned(), b" m".to_vec()));
    header.push(("X-Long".to_owned(), " word".repeat(400).into_bytes()));
    let outcome =
        send(&mut begin(&daemon, "alice@example.com", ALL), &header, "gr\u{fc}\u{df}e\r\n".as_bytes());
    assert_eq!((outcome.edits.as_str(), outcome.is_signed()), ("m", false));
    assert!(!outcome.text().contains("X-Mailer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_bounds_is_signed_as_it_is() {
    let limits = "[milter.limits]\nrules-body = \"64KiB\"\nmessage = \"1MiB\"\nmemory = \"4MiB\"\n";
    let (_database, daemon, keys) = keyed(limits).await;
    let line = "gr\u{fc}\u{df}e \r\n".as_bytes();
    // Just below one MiB is encoded; far beyond is not, and says so.
    for (size, replaced) in [(900 << 10, true), (3 << 20, false)] {
        let body = line.repeat(size / line.len());
        let outcome = send(&mut begin(&daemon, "alice@example.com", ALL), &from("alice@example.com"), &body);
        assert_eq!(outcome.message.replaced, replaced, "{size} bytes");
        assert!(unverified(&[outcome.message.bytes()], &named(&keys)).is_empty(), "{size} bytes");
    }
    assert!(
        daemon.log().contains("signature may not survive: too long to be re-encoded"),
        "{}",
        daemon.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_mime_is_signed_and_nothing_is_lost() {
    let (_database, daemon, keys) = keyed("").await;
    let deep: String = (0..1000)
        .map(|depth| format!("--b{depth}\r\nContent-Type: multipart/mixed; boundary=b{}\r\n\r\n", depth + 1))
        .collect();
    let high = "gr\u{fc}\u{df}e\r\n";
    for (name, content_type, body) in [
        ("no end", " multipart/mixed; boundary=b0", format!("--b0\r\n\r\n{high}")),
        ("no boundary", " multipart/mixed", format!("--b0\r\n\r\n{high}")),
        ("no parts", " multipart/mixed; boundary=b0", high.to_owned()),
        ("a thousand deep", " multipart/mixed; boundary=b0", format!("{deep}--b1000\r\n\r\n{high}")),
        (
            "a header without end",
            " multipart/mixed; boundary=b0",
            "--b0\r\nContent-Type: text/plain\r\n".to_owned(),
        ),
        ("many parts", " multipart/mixed; boundary=b0", format!("--b0\r\n\r\n{high}").repeat(20_000)),
        ("rubbish", " ;;;=\"", high.to_owned()),
    ] {
        let mut header = from("alice@example.com");
        header.push(("Content-Type".to_owned(), content_type.as_bytes().to_vec()));
        let outcome = send(&mut begin(&daemon, "alice@example.com", ALL), &header, body.as_bytes());
        assert!(outcome.is_signed(), "{name}");
        assert!(unverified(&[outcome.message.bytes()], &named(&keys)).is_empty(), "{name}");
        // Decoded, it says what it said.
        let said = String::from_utf8_lossy(&outcome.message.body)
            .replace("=C3=BC", "\u{fc}")
            .replace("=C3=9F", "\u{df}");
        assert_eq!(
            said.matches("gr\u{fc}\u{df}e").count(),
            body.matches("gr\u{fc}\u{df}e").count(),
            "{name}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_block_that_is_too_long_passes_unsigned() {
    let (_database, daemon, _keys) = keyed("").await;
    let mut header = from("alice@example.com");
    header.extend((0..5_000).map(|_| ("X-Filler".to_owned(), b" x".to_vec())));
    let outcome = send(&mut begin(&daemon, "alice@example.com", ALL), &header, b"x\r\n");
    assert!(!outcome.is_signed() && outcome.message.fields.len() == header.len());
    assert!(daemon.log().contains("header block too long to be signed"));
}

/// Own, alias, and shared to the login; with `shared = false` not the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_signs_as_those_who_share_a_mailbox_to_it() {
    for (setting, signs) in [("", true), ("[milter.signing]\nshared = false\n", false)] {
        let (_database, daemon, _keys) = keyed(setting).await;
        // alice shares hers to bob, not the other way round.
        for (login, author, expected) in [
            ("bob@example.com", "alice@example.com", signs),
            ("bob@example.com", "boss@example.com", signs),
            ("bob@example.com", "alice+tag@example.com", signs),
            ("bob@example.com", "secretary@example.com", true),
            ("alice@example.com", "bob@example.com", false),
            ("carl@123qwe.com", "alice@example.com", false),
        ] {
            let outcome = send(&mut begin(&daemon, login, ALL), &from(author), b"x\r\n");
            assert_eq!(outcome.is_signed(), expected, "{login} as {author}, {setting}");
        }
    }
}

/// A hosted subdomain without a key: the parent signs where its signature is aligned.
#[tokio::test(flavor = "multi_thread")]
async fn a_parent_signs_for_a_subdomain_that_dmarc_aligns() {
    let keys = [Key::rsa(), Key::ed25519()];
    let records = "_dmarc.example.com TXT v=DMARC1; p=reject\n_dmarc.strict.example.com TXT v=DMARC1; p=reject; adkim=s\n\
         _dmarc.own.example.com TXT v=DMARC1; p=none; psd=n\n_dmarc.away.example.com TXT SERVFAIL\n";
    let dns = Dns::serve(&format!("{}{records}", zone(&keys)));
    let (database, daemon) = with_keys(&dns.toml(), &keys).await;
    for domain in ["relaxed", "strict", "own", "away", "a.b"] {
        let domain = format!("{domain}.example.com");
        database
            .sql(&format!(
                "INSERT INTO domains VALUES ('{domain}'); INSERT INTO users (local, domain) VALUES ('u', '{domain}')"
            ))
            .await;
    }
    let signer = |domain: &str| {
        let author = format!("u@{domain}.example.com");
        let outcome = send(&mut begin(&daemon, &author, ALL), &from(&author), b"x\r\n");
        if outcome.is_signed() {
            assert!(unverified(&[outcome.message.bytes()], &named(&keys)).is_empty(), "{domain}");
        }
        outcome.signer()
    };
    let end = Instant::now() + Duration::from_secs(30);
    while signer("relaxed").is_none() {
        assert!(Instant::now() < end, "the new domains were not announced:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let parent = Some("example.com".to_owned());
    assert_eq!(signer("relaxed"), parent);
    assert_eq!(signer("a.b"), parent);
    assert_eq!(signer("strict"), None);
    assert_eq!(signer("own"), None);
    // DNS away and nothing known: a signature that is not aligned does no harm.
    assert_eq!(signer("away"), parent);
    assert!(daemon.log().contains("DMARC wants a key of the domain's own"));
}

/// For any message of the generator: what leaves after our edits verifies by dkimpy, and mail-auth agrees (`hop` shows the same after a
/// real Postfix).
#[tokio::test(flavor = "multi_thread")]
async fn every_generated_message_verifies_after_our_edits() {
    let keys = [Key::rsa(), Key::ed25519()];
    let zone: String =
        named(&keys).iter().map(|(name, key)| format!("{name} TXT {}\n", key.record)).collect();
    let dns = Dns::serve(&zone.replace(". TXT", " TXT"));
    let (_database, daemon) = with_keys(&dns.toml(), &keys).await;
    let mut messages = Vec::new();
    for seed in 0..150 {
        let (header, mut body) = Generator::new(seed).message("alice@example.com");
        // As Postfix shows it (`cleanup_replace_stray_cr_lf`).
        for at in 0..body.len() {
            if body[at] == b'\r' && body.get(at + 1) != Some(&b'\n') {
                body[at] = b' ';
            }
        }
        let outcome = send(&mut begin(&daemon, "alice@example.com", ALL), &header, &body);
        assert!(outcome.is_signed(), "seed {seed}");
        let bytes = outcome.message.bytes();
        let lines = bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        assert!(lines.into_iter().all(|line| line.len() <= 998), "seed {seed}: a line that smtp(8) breaks");
        let mut stranger = daemon.connect();
        stranger.begin();
        for (name, value) in &outcome.message.fields {
            assert!(stranger.send(&[b"L", name.as_bytes(), b"\0", value, b"\0"].concat()));
        }
        stranger.message(&[], &outcome.message.body);
        let frames = stranger.end_of_message();
        let edits = String::from_utf8_lossy(&frames.concat()).into_owned();
        assert_eq!(edits.matches("dkim=pass").count(), 2, "seed {seed}: {edits}");
        messages.push(bytes);
    }
    let bad = unverified(&messages, &named(&keys));
    assert!(bad.is_empty(), "seeds {bad:?}");
}

/// Somebody else's reading of the protocol: the script says what must happen.
#[tokio::test(flavor = "multi_thread")]
async fn miltertest_sees_a_message_signed() {
    let (_database, daemon, _keys) = keyed("").await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/milter/signing.lua");
    let run = Command::new("miltertest")
        .arg("-D")
        .arg(format!("socket=unix:{}", daemon.socket().display()))
        .arg("-s")
        .arg(script)
        .output()
        .expect("miltertest is installed (Debian package miltertest)");
    let said = [run.stdout, run.stderr].concat();
    assert!(run.status.success(), "{}: {}", run.status, String::from_utf8_lossy(&said));
}

/// OpenDKIM as a verifying milter believes what we sign: both algorithms, folded, encoded.
#[tokio::test(flavor = "multi_thread")]
async fn opendkim_verifies_what_we_sign() {
    let (_database, daemon, keys) = keyed("").await;
    let mut long = from("alice@example.com");
    long.push(("References".to_owned(), " <0123456789abcdef@example.com>".repeat(60).into_bytes()));
    let cases = [
        ("plain", from("alice@example.com"), b"plain \r\n\r\n\r\n".to_vec()),
        ("folded", long, b"x\r\n".to_vec()),
        ("encoded", from("alice@example.com"), "gr\u{fc}\u{df}e \r\n".as_bytes().to_vec()),
        ("no author", fields(&[("Subject", " x")]), b"x\r\n".to_vec()),
    ];
    let mut messages: Vec<(String, Delivered, bool)> = Vec::new();
    for (name, header, body) in cases {
        let outcome = send(&mut begin(&daemon, "alice@example.com", ALL), &header, &body);
        messages.push((name.to_owned(), outcome.message, true));
    }
    let outcome =
        send(&mut begin(&daemon, "alice@example.com", ALL), &from("alice@example.com"), b"plain\r\n");
    messages.push((
        "another body".to_owned(),
        Delivered { body: b"other\r\n".to_vec(), ..outcome.message },
        false,
    ));

    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("opendkim.sock");
    let records: String = named(&keys)
        .iter()
        .map(|(name, key)| format!("{} {}\n", name.trim_end_matches('.'), key.record))
        .collect();
    std::fs::write(directory.path().join("keys"), records).unwrap();
    let config = format!(
        "Mode v\nSocket local:{}\nTestPublicKeys {}\nAlwaysAddARHeader yes\nAuthservID verifier.test\nSyslog no\nBackground no\nRequireSafeKeys no\n",
        socket.display(),
        directory.path().join("keys").display()
    );
    std::fs::write(directory.path().join("opendkim.conf"), config).unwrap();
    let mut opendkim = Command::new("opendkim")
        .args(["-f", "-x"])
        .arg(directory.path().join("opendkim.conf"))
        .stderr(Stdio::piped())
        .spawn()
        .expect("opendkim is installed (Debian package opendkim)");
    let end = Instant::now() + Duration::from_secs(30);
    while !socket.exists() {
        assert!(opendkim.try_wait().unwrap().is_none() && Instant::now() < end, "opendkim does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mut wrong = Vec::new();
    for (name, message, good) in &messages {
        let said = opendkim_says(&socket, message);
        if said.matches("dkim=pass").count() != if *good { 2 } else { 0 } {
            wrong.push(format!("{name}: {said}"));
        }
    }
    opendkim.kill().unwrap();
    let _ = opendkim.wait();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The edits of OpenDKIM for a message as it was delivered, as text. (miltertest overruns a buffer of its own with headers of 1 KiB.)
fn opendkim_says(socket: &Path, message: &Delivered) -> String {
    let mut peer = Peer::new(UnixStream::connect(socket).unwrap());
    peer.negotiate();
    peer.ask(b"Cmx.test\x004\x30\x39192.0.2.1\0", b"c");
    peer.ask(b"Hmx.test\0", b"c");
    peer.ask(b"M<alice@example.com>\0", b"c");
    peer.ask(b"R<friend@remote.test>\0", b"c");
    for (name, value) in &message.fields {
        // It does not ask for the leading space.
        let value = value.strip_prefix(b" ").unwrap_or(value);
        peer.ask(&[b"L", name.as_bytes(), b"\0", value, b"\0"].concat(), b"c");
    }
    peer.ask(b"N", b"c");
    if !message.body.is_empty() {
        peer.ask(&[b"B", message.body.as_slice()].concat(), b"c");
    }
    String::from_utf8_lossy(&peer.end_of_message().concat()).into_owned()
}
