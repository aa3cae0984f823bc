//! The rules: at least one message that hits each, and one that nearly hits and must not, in the data files of `rules/`
//! ([`rule_cases`](crate::rule_cases)).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use gatepost_milter::authentication::Authentication;
use gatepost_milter::facts::Facts;
use gatepost_milter::message::{Direction, Envelope, Message};
use gatepost_milter::report::{self, ReportContext};
use gatepost_milter::rules::RULES;
use gatepost_milter::score::{Thresholds, Weights, judge};
use gatepost_milter::verdict::{Action, Verdict};
use proptest::prelude::*;

use crate::rule_cases::{Case, cases};

fn shown(verdict: &Verdict) -> String {
    verdict
        .symbols
        .iter()
        .map(|hit| format!("{}({})[{}]", hit.symbol, hit.weight, hit.evidence))
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn each_case_hits_what_it_says_and_nothing_that_it_excludes() {
    let mut wrong = Vec::new();
    for case in cases() {
        let verdict = case.judge();
        for symbol in &case.symbols {
            if verdict.has(symbol) != case.hits {
                let should = if case.hits { "misses" } else { "hits" };
                wrong.push(format!("{}: {should} {symbol}; found: {}", case.place, shown(&verdict)));
            }
        }
        check_report(&verdict);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_case_that_hits_and_one_that_nearly_does() {
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.symbol).collect();
    let mut seen: BTreeMap<(String, bool), usize> = BTreeMap::new();
    for case in cases() {
        for symbol in &case.symbols {
            assert!(known.contains(symbol.as_str()), "{}: no rule {symbol}", case.place);
            *seen.entry((symbol.clone(), case.hits)).or_default() += 1;
        }
    }
    let lacking = |hits: bool| -> Vec<&str> {
        known.iter().copied().filter(|symbol| !seen.contains_key(&((*symbol).to_owned(), hits))).collect()
    };
    assert!(
        lacking(true).is_empty() && lacking(false).is_empty(),
        "no hit: {:?}; no miss: {:?}",
        lacking(true),
        lacking(false)
    );
}

/// A message that nearly hits a rule is one that hits it but for one thing: one field, one fact or some words are others.
#[test]
fn what_nearly_hits_is_near() {
    let cases = cases();
    let of = |symbol: &str, hits: bool| -> Vec<&Case> {
        cases
            .iter()
            .filter(|case| case.hits == hits && case.symbols.iter().any(|own| own == symbol))
            .collect()
    };
    let far: Vec<&str> = RULES
        .iter()
        .map(|rule| rule.symbol)
        .filter(|symbol| {
            let hits = of(symbol, true);
            !of(symbol, false).iter().any(|miss| hits.iter().any(|hit| hit.is_near(miss)))
        })
        .collect();
    assert!(far.is_empty(), "no case of these is one that hits but for one thing, and misses: {far:?}");
}

/// The tests above ask the table of rules for what there is. What is written as a rule and left out of the table would never be asked for.
#[test]
fn every_rule_that_is_written_is_in_the_table() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let known: BTreeSet<&str> = RULES.iter().map(|rule| rule.symbol).collect();
    let mut written = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let rules = text.split("symbol: \"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        written.extend(rules);
    }
    assert!(written.len() > 200, "{}", written.len());
    let left_out: Vec<&String> = written.iter().filter(|symbol| !known.contains(symbol.as_str())).collect();
    assert!(left_out.is_empty(), "in no table: {left_out:?}");
}

#[test]
fn an_ordinary_letter_is_nobodys_business() {
    let letter = Case::read("letter".to_owned(), "miss GTUBE", &[]);
    let verdict = letter.judge();
    assert_eq!(shown(&verdict), "MIME_GOOD(-0.1)[text/plain]");
    assert_eq!(verdict.action, Action::NoAction);
}

/// What holds of every report, whatever the mail.
fn check_report(verdict: &Verdict) {
    let context = ReportContext { host: "mx.example.com".to_owned(), queue_id: Some("4XqT1z".to_owned()) };
    for (name, value) in report::headers(verdict, &context) {
        assert!(report::OWN_HEADERS.contains(&name));
        assert!(value.len() < 17_000);
        for (number, line) in value.split('\n').enumerate() {
            assert!(line.len() < 998, "{name}: {line}");
            assert!(
                line.bytes().all(|byte| byte == b'\t' || byte == b' ' || byte.is_ascii_graphic()),
                "{name}: {line:?}"
            );
            // A line that begins otherwise would end the header.
            assert!(line.starts_with(if number == 0 { ' ' } else { '\t' }), "{name}: {line:?}");
        }
    }
    let sum: f64 = verdict.symbols.iter().map(|hit| hit.weight).sum();
    assert!((sum - verdict.score).abs() < 0.005);
    assert!(!report::summary(verdict).contains('\n'));
}

fn judge_bytes(raw: &[u8]) -> Verdict {
    let facts = Facts::gather(
        &Message::from_eml(raw),
        &Envelope::new(Direction::Inbound),
        &Authentication::not_asked(),
    );
    judge(&facts, &Weights::default(), &Thresholds::default())
}

#[test]
fn gtube_is_refused_in_every_disguise() {
    let pattern = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X";
    let base64 =
        "WEpTKkM0SkRCUUFETjEuTlNCTjMqMklETkVOKkdUVUJFLVNUQU5EQVJELUFOVEktVUJFLVRFU1QtRU1BSUwqQy4zNFg=";
    let bodies = [
        format!("\n{pattern}\n"),
        format!("Content-Type: text/html\n\n<p>{pattern}</p>\n"),
        format!("Content-Transfer-Encoding: base64\n\n{base64}\n"),
        format!(
            "Content-Transfer-Encoding: quoted-printable\n\n{}=\n{}\n",
            &pattern[..30],
            pattern[30..].replace('*', "=2A")
        ),
        format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n\nhello\n--b\n\n{pattern}\n--b--\n"),
        format!("Content-Type: message/rfc822\n\nSubject: inner\n\n{pattern}\n"),
        format!("Content-Type: application/octet-stream\n\n{pattern}\n"),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let verdict = judge_bytes(format!("From: a@example.com\nSubject: test\n{body}").as_bytes());
        let refused = matches!(&verdict.action, Action::Reject(reply) if reply.to_string() == "554 5.7.1 Gtube pattern");
        // A file that is no text is not read.
        assert_eq!(refused, number < 6, "{body}: {}", shown(&verdict));
    }
    let almost =
        judge_bytes(format!("From: a@example.com\n\n{}\n", pattern.replace("34X", "35X")).as_bytes());
    assert!(!almost.has("GTUBE") && !matches!(almost.action, Action::Reject(_)));
}

#[test]
fn a_clumsy_phishing_mail_is_marked_and_a_brazen_one_refused() {
    let clumsy = "From: Support <support@example.net>\nTo: bob@example.com\nSubject: Your mailbox is almost full\n\
        Date: Sat, 21 Nov 2026 10:00:00 +0000\nMessage-ID: <4711@example.net>\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n\
        <p>Dear user, your mailbox is full. <a href='http://www.example.org/x'>https://www.iana.org/</a></p>\n";
    let verdict = judge_bytes(clumsy.as_bytes());
    assert_eq!(verdict.action, Action::AddHeader, "{} {}", verdict.score, shown(&verdict));

    let brazen = "From: PayPal Service <service@example.net>\nReply-To: <a1b2c3@gmail.com>\nSubject: VERIFY YOUR ACCOUNT WITHIN 24 HOURS\n\
        MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n\n\
        <p>Dear customer, your account has been suspended. Verify your account, confirm your identity and update your billing\n\
        information. <a href='http://203.0.113.7/www.paypal.com/login'>https://www.paypal.com/</a>\n\
        <form action='http://203.0.113.7/p'><input name=a><input name=b><input type=password></form>\n\
        --b\nContent-Type: application/octet-stream; name=\"form.pdf.exe\"\nContent-Disposition: attachment\n\nMZxx\n--b--\n";
    let verdict = judge_bytes(brazen.as_bytes());
    assert!(
        matches!(&verdict.action, Action::Reject(reply) if reply.to_string() == "554 5.7.1 Spam message rejected"),
        "{}",
        shown(&verdict)
    );
}

/// What a stranger can make big, and the fact that is missing then.
#[test]
fn whatever_is_made_big_is_bounded_and_said() {
    let header = "From: a@example.com\nSubject: big\nMIME-Version: 1.0\n";
    let nested: String =
        (0..500).map(|n| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n")).collect();
    let many_parts = "--b\nContent-Type: text/plain\n\nx\n".repeat(10_000);
    let many_urls: String = (0..100_000).map(|n| format!("http://h{n}.example.com/\n")).collect();
    let cases: Vec<(String, &str)> = vec![
        (format!("{header}Content-Type: multipart/mixed; boundary=b\n\n{many_parts}--b--\n"), "parts"),
        (format!("{header}{nested}\n"), "parts"),
        (format!("{header}\n{many_urls}"), "urls"),
        (format!("{header}\n{}", "words and words and more words\n".repeat(200_000)), "text"),
        (format!("{header}{}\n\nx", "X-Field: y\n".repeat(5_000).trim_end()), "headers"),
        (
            format!("{header}Content-Type: text/html\n\n{}", "<div style='color:#fff'>x</b>".repeat(100_000)),
            "",
        ),
        (format!("{header}Content-Type: text/html\n\n{}", "<a href=http://example.com/".repeat(50_000)), ""),
        (format!("{header}To: {}\n\nx", "a@example.com, ".repeat(20_000)), ""),
        (format!("{header}Subject: {}\n\nx", "=?utf-8?q?a?= ".repeat(10_000)), ""),
        (format!("{header}\n{}", "::::http:////".repeat(100_000)), ""),
        (format!("{header}\n{}", "www.".repeat(300_000)), ""),
    ];
    for (raw, missing) in cases {
        let verdict = judge_bytes(raw.as_bytes());
        assert!(missing.is_empty() || verdict.missing.contains(&missing), "{missing}: {:?}", verdict.missing);
        check_report(&verdict);
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(raw in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        check_report(&judge_bytes(&raw));
    }

    #[test]
    fn no_characters_make_it_panic(header in "[A-Z][a-z]{1,5}(-[A-Z][a-z]{1,5})?: \\PC{0,60}\n", body in "\\PC{0,400}") {
        check_report(&judge_bytes(format!("Content-Type: text/html\nSubject: {body}\nFrom: {body}\n{header}\n{body}").as_bytes()));
    }

    #[test]
    fn no_damage_to_real_messages_makes_it_panic(which in any::<prop::sample::Index>(), cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0usize..40), 1..12)) {
        let cases = cases();
        let case = which.get(&cases);
        let mut raw = case.message.to_rfc5322();
        for (at, byte, length) in cuts {
            let at = at.index(raw.len());
            match byte % 3 {
                0 => raw[at] = byte,
                1 => { raw.drain(at..(at + length).min(raw.len())); }
                _ => { let piece = raw[at..(at + length).min(raw.len())].to_vec(); raw.splice(at..at, piece); }
            }
            if raw.is_empty() { break; }
        }
        let facts = Facts::gather(&Message::from_eml(&raw), &case.envelope, &case.authentication);
        check_report(&judge(&facts, &Weights::default(), &Thresholds::default()));
    }
}
