//! What one message may cost, whatever a stranger puts into it: the counted work, and the memory.
//!
//! Time is no assertion (machines differ); `report_costs` prints the figures of this machine.

use std::time::Duration;

use gatepost::mail::Address;
use gatepost_milter::authentication::Authentication;
use gatepost_milter::facts::{Facts, archives, parts, text, urls};
use gatepost_milter::lists::plan::{Limits, plan};
use gatepost_milter::lists::presets::LISTS;
use gatepost_milter::message::{Direction, Envelope, Message};
use gatepost_milter::score::{Thresholds, Weights, judge};

use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;

const HEAD: &str = "From: a@example.com\nTo: b@example.com\nSubject: big\nMIME-Version: 1.0\n";

/// What a session keeps of a body for the rules.
const RULES_BODY: usize = 4 << 20;

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len() * 4 / 3 + bytes.len() / 38 + 8);
    for (at, chunk) in bytes.chunks(3).enumerate() {
        let bits =
            chunk.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = char::from(DIGITS[(bits >> (18 - 6 * place) & 63) as usize]);
            out.push(if place <= chunk.len() { digit } else { '=' });
        }
        if at % 19 == 18 {
            out.push('\n');
        }
    }
    out
}

/// A zip file of stored members.
fn zip(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let offset = out.len() as u32;
        let sizes = [(data.len() as u32).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
        let lengths = [(name.len() as u16).to_le_bytes(), [0, 0]].concat();
        out.extend(
            [&b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0"[..], &sizes, &lengths, name.as_bytes(), data]
                .concat(),
        );
        directory.extend(
            [
                &b"PK\x01\x02\x14\0\x14\0\0\0\0\0\0\0\0\0\0\0\0\0"[..],
                &sizes,
                &lengths,
                &[0; 12],
                &offset.to_le_bytes(),
                name.as_bytes(),
            ]
            .concat(),
        );
    }
    let (start, size, count) = (out.len() as u32, directory.len() as u32, members.len() as u16);
    out.extend(directory);
    out.extend(
        [
            &b"PK\x05\x06\0\0\0\0"[..],
            &count.to_le_bytes(),
            &count.to_le_bytes(),
            &size.to_le_bytes(),
            &start.to_le_bytes(),
            &[0, 0],
        ]
        .concat(),
    );
    out
}

fn attached(name: &str, bytes: &[u8]) -> String {
    format!(
        "{HEAD}Content-Type: application/zip; name={name}\nContent-Transfer-Encoding: base64\n\n{}\n",
        base64(bytes)
    )
}

/// Everything that somebody might make big, by name.
fn monsters() -> Vec<(&'static str, String)> {
    let words = "words and words and more words, http://example.com/ and so on to the end of it\n";
    let nested_parts: String =
        (0..5_000).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    let nested_messages = "Content-Type: message/rfc822\n\n".repeat(5_000);
    let part = |kind: &str| format!("--b\nContent-Type: {kind}\n\nx\n").repeat(10_000);
    let urls: String =
        (0..100_000).map(|n| format!("http://h{n}.example{n}.com/?u=http%3a%2f%2fx{n}.com\n")).collect();
    let links: String =
        (0..100_000).map(|n| format!("<a href='http://h{n}.com/'>http://g{n}.com/</a>")).collect();
    let mut inner = zip(&[("run.exe".to_owned(), b"MZ".to_vec())]);
    for level in 0..50 {
        inner = zip(&[(format!("{level}.zip"), inner)]);
    }
    let many: Vec<(String, Vec<u8>)> =
        (0..1_000).map(|n| (format!("{n}.zip"), zip(&vec![("x".to_owned(), Vec::new()); 100]))).collect();
    let zips = format!(
        "{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n",
        format!(
            "--b\nContent-Type: application/zip\nContent-Transfer-Encoding: base64\n\n{}\n",
            base64(&zip(&many))
        )
        .repeat(15)
    );
    vec![
        ("a 50 MiB message", format!("{HEAD}\n{}", words.repeat((50 << 20) / words.len()))),
        (
            "10,000 MIME parts",
            format!("{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", part("text/plain")),
        ),
        (
            "10,000 HTML parts",
            format!("{HEAD}Content-Type: multipart/mixed; boundary=b\n\n{}--b--\n", part("text/html")),
        ),
        ("nested multiparts", format!("{HEAD}{nested_parts}\n")),
        ("nested messages", format!("{HEAD}{nested_messages}\n")),
        ("100,000 URLs", format!("{HEAD}\n{urls}")),
        ("100,000 links", format!("{HEAD}Content-Type: text/html\n\n{links}")),
        ("disguised URLs", format!("{HEAD}\n{}", "a[.]b hxxp".repeat(400_000))),
        ("1,000 recipients", format!("{HEAD}To: {}\n\nx", "Somebody <a@example.com>,\n ".repeat(1_000))),
        (
            "a 60,000-byte header",
            format!(
                "{HEAD}X-Long: {}\nSubject: {}\n\nx",
                "a b=;\"(".repeat(8_570),
                "=?utf-8?b?YQ==?= ".repeat(3_500)
            ),
        ),
        (
            "4,000 header fields",
            format!(
                "{HEAD}{}\nx",
                "Received: from a (b [192.0.2.1]) by c with ESMTP; Sat, 21 Nov 2026 10:00:00 +0000\n"
                    .repeat(4_000)
            ),
        ),
        (
            "nested HTML",
            format!(
                "{HEAD}Content-Type: text/html\n\n{}",
                "<div><font color=white><b style='color:red'>x".repeat(80_000)
            ),
        ),
        (
            "attributes",
            format!("{HEAD}Content-Type: text/html\n\n<a {}>", "href=http://a.com x='y' ".repeat(170_000)),
        ),
        ("comments", format!("{HEAD}Content-Type: text/html\n\n{}", "a<!-- x --><!".repeat(300_000))),
        ("entities", format!("{HEAD}Content-Type: text/html\n\n{}", "&amp;&#x41;&nosuch;&".repeat(200_000))),
        ("nested archives", attached("a.zip", &inner)),
        ("archives full of archives", zips),
        ("one word", format!("{HEAD}\n{}", "a".repeat(RULES_BODY))),
        (
            "invisible characters",
            format!(
                "{HEAD}Content-Type: text/plain; charset=utf-8\n\n{}",
                "\u{200b}\u{430}a ".repeat(700_000)
            ),
        ),
        (
            "quoted-printable",
            format!("{HEAD}Content-Transfer-Encoding: quoted-printable\n\n{}", "=41=\n".repeat(800_000)),
        ),
    ]
}

/// Behind what is looked at anything could stand: our own results, the author that people see.
#[test]
fn a_header_block_beyond_the_bounds_is_refused() {
    let daemon = Daemon::start(UNREACHABLE, "[milter.dmarc]\nenforce = false\n");
    let forged = ("Authentication-Results", " mx.example.com; dkim=pass header.d=bank.example");
    let long = format!(" {}", "x".repeat(50_000));
    for (fields, refused) in [
        (vec![("X-Field", " x"); 3_900], false),
        (vec![("X-Field", " x"); 4_000], true),
        (vec![("X-Field", long.as_str()); 19], false),
        (vec![("X-Field", long.as_str()); 22], true),
    ] {
        let mut peer = daemon.connect();
        peer.begin();
        peer.message(&[fields.as_slice(), &[("From", " a@client.test"), forged]].concat(), b"hello\r\n");
        let frames = peer.end_of_message();
        let last = String::from_utf8_lossy(frames.last().unwrap()).into_owned();
        match refused {
            true => assert!(last.starts_with("y552 5.3.4 The header block is too long"), "{last}"),
            false => {
                assert_eq!(last, "c");
                let removed = b"m\0\0\0\x01Authentication-Results\0\0";
                assert!(frames.iter().any(|frame| frame == removed));
            }
        }
    }
}

fn cut(raw: &str) -> Message {
    let mut message = Message::from_eml(raw.as_bytes());
    message.body.truncate(RULES_BODY);
    message
}

fn envelope() -> Envelope {
    let mut envelope = Envelope::new(Direction::Inbound);
    envelope.recipients = (0..1_000).map(|n| Address::parse(&format!("u{n}@example.com")).unwrap()).collect();
    envelope.client_address = "203.0.113.5".parse().ok();
    envelope
}

#[test]
fn the_counted_work_of_every_monster_is_bounded() {
    for (name, raw) in monsters() {
        let facts = Facts::gather(&cut(&raw), &envelope(), &Authentication::not_asked());
        assert!(facts.parts.len() <= parts::MAX_PARTS, "{name}");
        assert!(facts.parts.iter().all(|part| part.depth <= parts::MAX_DEPTH + 1), "{name}");
        assert!(facts.urls.len() <= urls::MAX_URLS, "{name}");
        assert!(
            facts.html.visible.len() <= text::MAX_VISIBLE + 64 * 1024,
            "{name}: {}",
            facts.html.visible.len()
        );
        assert!(facts.text.plain.len() <= text::MAX_VISIBLE + parts::MAX_PARTS, "{name}");
        let members: usize = facts
            .parts
            .iter()
            .flat_map(|part| part.archive.iter().flat_map(|archive| archive.walk()))
            .map(|archive| archive.names.len())
            .sum();
        assert!(members <= 5 * archives::MAX_MEMBERS, "{name}: {members}");
        let questions = plan(&facts, LISTS, Limits { names: 20 }).len();
        assert!(questions <= 4 * 20 + 50, "{name}: {questions}");
        let verdict = judge(&facts, &Weights::default(), &Thresholds::default());
        assert!(verdict.symbols.len() < 300, "{name}");
    }
}

/// The real daemon, one for each message: its own processor time, and the peak of its memory beyond what it has at rest.
#[test]
#[ignore = "prints figures of this machine: cargo test … report_costs -- --ignored --nocapture"]
fn report_costs() {
    for (name, raw) in monsters() {
        let message = Message::from_eml(raw.as_bytes());
        let daemon = Daemon::start(UNREACHABLE, "[milter.dmarc]\nenforce = false\n");
        let (memory, time) = (memory(daemon.id()), processor_time(daemon.id()));
        let mut peer = daemon.connect();
        peer.begin();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let fields: Vec<(String, String)> =
            message.headers.iter().map(|header| (text(&header.name), text(&header.value))).collect();
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (&**name, &**value)).collect();
        peer.message(&fields, &message.body);
        peer.end_of_message();
        println!(
            "{name:<28} {:>6} KiB {:>6} ms of CPU, {:>4} MiB more than at rest",
            raw.len() / 1024,
            (processor_time(daemon.id()) - time).as_millis(),
            self::memory(daemon.id()) - memory,
        );
    }
}

/// User and system time (proc(5): fields 14 and 15 of stat, in hundredths of a second).
fn processor_time(process: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .unwrap()
        .1
        .split(' ')
        .skip(11)
        .take(2)
        .map(|field| field.parse().unwrap())
        .collect();
    Duration::from_millis(10 * fields.iter().sum::<u64>())
}

/// The peak, in MiB.
fn memory(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}
