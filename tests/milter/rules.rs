//! The rules: at least one message that hits each, and one that nearly hits and must not, in the data files of `rules/`.
//!
//! A data file is a row of cases. Each one changes a plain letter that no rule minds:
//!
//! ```text
//! # A comment.
//! = hit MISSING_DATE MISSING_MID     the case's kind, and the symbols that must (or must not) hit
//! @helo mail.example.net             what the SMTP dialogue and DNS said; see `Case::fact`
//! -Date                              this field is removed
//! Subject: something else            this one is replaced, or added at the end
//! +Received: from …                  this one is added at the top
//!                                    an empty line, if the body is replaced as well
//! The body, up to the next case.
//! ```
//!
//! `\xNN` is that byte, `{{N|text}}` is the text N times; both everywhere. Empty lines before the next case belong to neither; an empty body
//! is written `{{0|x}}`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::path::Path;

use gatepost::mail::Address;
use gatepost::store::Relation;
use gatepost_milter::authentication::{
    Authentication, DkimOutcome, DkimResult, DmarcOutcome, DmarcPolicy, DmarcResult, IprevOutcome,
    IprevResult, SpfOutcome, SpfResult, SpfScope,
};
use gatepost_milter::facts::{Facts, Learned};
use gatepost_milter::lists::plan::{Limits, plan, plan_signers};
use gatepost_milter::lists::presets::LISTS;
use gatepost_milter::message::{Direction, Envelope, Message};
use gatepost_milter::report::{self, ReportContext};
use gatepost_milter::rules::RULES;
use gatepost_milter::score::{Thresholds, View, Weights, find, judge, weigh};
use gatepost_milter::verdict::{Action, Verdict};
use proptest::prelude::*;

/// What every case begins with: an ordinary letter.
const LETTER: &str = "\
Received: from mail.sender-of-letters.com (mail.sender-of-letters.com [192.0.2.10])
 by mx.example.com (Postfix) with ESMTPS id 4XqT1z5Fhdz9wrR; Sat, 21 Nov 2026 10:00:05 +0000
Date: Sat, 21 Nov 2026 10:00:00 +0000
From: Ann Author <ann@sender-of-letters.com>
To: Bob Reader <bob@example.com>
Subject: Lunch on Thursday
Message-ID: <20261121100000.4711@sender-of-letters.com>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

Dear Bob,

shall we meet on Thursday at noon, where we met the last time? The soup
there was very good, and I have not seen you for far too long. Bring the
photographs of the mountains with you, and the book that I lent you.

Yours, Ann
";

/// As many words of one thing may differ between a message that hits and one that nearly does.
const FEW_WORDS: usize = 8;

/// One message and what is expected of it.
struct Case {
    place: String,
    hits: bool,
    symbols: Vec<String>,
    /// What it changes: fields, facts, `body`, each with the lines that say so.
    changes: BTreeMap<String, Vec<String>>,
    message: Message,
    envelope: Envelope,
    authentication: Authentication,
    learned: Option<Learned>,
    relation: Relation,
    /// What DNS says of names.
    dns: Vec<(String, Ipv4Addr)>,
    infection: Option<String>,
}

impl Case {
    fn read(place: String, head: &str, lines: &[&str]) -> Self {
        let mut words = head.split_whitespace();
        let hits = match words.next() {
            Some("hit") => true,
            Some("miss") => false,
            other => panic!("{place}: expected hit or miss, found {other:?}"),
        };
        let symbols: Vec<String> = words.map(str::to_owned).collect();
        assert!(!symbols.is_empty(), "{place}: no symbol");
        let used = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        let lines = &lines[..used];
        let mut case = Self {
            place,
            hits,
            symbols,
            changes: BTreeMap::new(),
            message: Message::from_eml(LETTER.as_bytes()),
            envelope: Envelope::new(Direction::Inbound),
            authentication: Authentication::not_asked(),
            learned: None,
            relation: Relation::default(),
            dns: Vec::new(),
            infection: None,
        };
        let end = lines.iter().position(|line| line.is_empty()).unwrap_or(lines.len());
        let mut fields: Vec<String> = Vec::new();
        for line in &lines[..end] {
            if line.starts_with([' ', '\t']) {
                let field =
                    fields.last_mut().unwrap_or_else(|| panic!("{}: a fold without a field", case.place));
                field.push('\n');
                field.push_str(line);
            } else if let Some(fact) = line.strip_prefix('@') {
                case.changes_with(format!("@{}", fact.split_whitespace().next().unwrap_or_default()), fact);
                case.fact(fact);
            } else {
                fields.push((*line).to_owned());
            }
        }
        for field in fields {
            let name = field.trim_start_matches(['+', '-']).split(':').next().unwrap_or_default();
            case.changes_with(name.to_ascii_lowercase(), &field);
            case.field(&field);
        }
        if end < lines.len() {
            let text = lines[end + 1..].join("\n");
            case.changes_with("body".to_owned(), &text);
            let body = unescape(&text);
            case.message.body = Message::from_eml(&[b"\n", body.as_slice()].concat()).body;
            case.message.body_size = case.message.body.len() as u64;
        }
        case
    }

    fn changes_with(&mut self, what: String, line: &str) {
        self.changes.entry(what).or_default().push(line.to_owned());
    }

    /// Whether the other is the same message but for one thing, of which few words differ. Both change something of the letter, and the same:
    /// what hits by one change is not near to the letter as it is.
    fn is_near(&self, other: &Self) -> bool {
        let shared = self.changes.keys().any(|what| other.changes.contains_key(what));
        let all: BTreeSet<&String> = self.changes.keys().chain(other.changes.keys()).collect();
        let mut differing =
            all.into_iter().filter(|what| self.changes.get(*what) != other.changes.get(*what));
        let (Some(what), None) = (differing.next(), differing.next()) else { return false };
        let words = |case: &Self| -> Vec<String> {
            let lines = case.changes.get(what).into_iter().flatten();
            lines.flat_map(|line| line.split_whitespace()).map(str::to_owned).collect()
        };
        let (mut own, mut theirs) = (words(self), words(other));
        own.retain(|word| match theirs.iter().position(|known| known == word) {
            Some(at) => {
                theirs.swap_remove(at);
                false
            }
            None => true,
        });
        shared && own.len() + theirs.len() <= FEW_WORDS
    }

    fn field(&mut self, line: &str) {
        let headers = &mut self.message.headers;
        if let Some(name) = line.strip_prefix('-') {
            let before = headers.len();
            headers.retain(|header| !header.is(name));
            assert!(headers.len() < before, "{}: there is no {name} to remove", self.place);
            return;
        }
        let raw = unescape(line.strip_prefix('+').unwrap_or(line));
        let mut parsed = Message::from_eml(&raw).headers;
        assert_eq!(parsed.len(), 1, "{}: {line} is no field", self.place);
        let header = parsed.remove(0);
        let known = headers.iter().position(|old| old.name.eq_ignore_ascii_case(&header.name));
        match known {
            _ if line.starts_with('+') => headers.insert(0, header),
            Some(at) => headers[at] = header,
            None => headers.push(header),
        }
    }

    /// What the SMTP dialogue and DNS said.
    fn fact(&mut self, text: &str) {
        let words: Vec<&str> = text.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let address = |text: &str| Address::parse(text).unwrap();
        let asked = &mut self.authentication;
        match word(0) {
            "client" => self.envelope.client_address = Some(word(1).parse().unwrap()),
            "name" => self.envelope.client_name = Some(word(1).to_owned()),
            "helo" => self.envelope.helo = Some(word(1).to_owned()),
            "sender" => self.envelope.sender = Some(address(word(1))),
            "recipient" => self.envelope.recipients.push(address(word(1))),
            "queue" => self.envelope.queue_id = Some(word(1).to_owned()),
            "submitted" => self.envelope.direction = Direction::Submitted,
            "learned" => {
                self.learned = Some(Learned {
                    probability: word(1).parse().unwrap(),
                    list_post: word(2) == "list-post",
                    evidence: "pills".to_owned(),
                });
            }
            "dns" => {
                self.dns
                    .extend(words[2..].iter().map(|address| (word(1).to_owned(), address.parse().unwrap())));
            }
            "infected" => self.infection = Some(word(1).to_owned()),
            "asked" => asked.missing.clear(),
            "wrote-to" => self.relation.wrote_to = true,
            "answers" => self.relation.answers = true,
            "namesake" => self.relation.namesake = Some(word(1).to_owned()),
            "colleague" => self.relation.colleague = Some(word(1).to_owned()),
            "spf" => {
                asked.missing.retain(|fact| *fact != "spf");
                let result = match word(1) {
                    "pass" => SpfResult::Pass,
                    "fail" => SpfResult::Fail,
                    "softfail" => SpfResult::SoftFail,
                    "neutral" => SpfResult::Neutral,
                    "none" => SpfResult::None,
                    "temperror" => SpfResult::TempError,
                    "permerror" => SpfResult::PermError,
                    other => panic!("{}: spf {other}", self.place),
                };
                asked.spf = Some(SpfOutcome::new(result, word(2), SpfScope::MailFrom));
            }
            "dkim" => {
                asked.missing.retain(|fact| *fact != "dkim");
                let result = match word(1) {
                    "pass" => DkimResult::Pass,
                    "fail" => DkimResult::Fail,
                    "neutral" => DkimResult::Neutral,
                    "temperror" => DkimResult::TempError,
                    "permerror" => DkimResult::PermError,
                    "none" => return,
                    other => panic!("{}: dkim {other}", self.place),
                };
                asked.dkim.push(DkimOutcome {
                    result,
                    domain: word(2).to_owned(),
                    selector: "s1".to_owned(),
                    algorithm: "rsa-sha256",
                    identity: String::new(),
                    signature: "AbCdEfGh".to_owned(),
                    reason: String::new(),
                });
            }
            "dmarc" => {
                asked.missing.retain(|fact| *fact != "dmarc");
                let result = match word(1) {
                    "pass" => DmarcResult::Pass,
                    "fail" => DmarcResult::Fail,
                    "none" => DmarcResult::None,
                    "temperror" => DmarcResult::TempError,
                    "permerror" => DmarcResult::PermError,
                    other => panic!("{}: dmarc {other}", self.place),
                };
                let policy = match word(2) {
                    "quarantine" => DmarcPolicy::Quarantine,
                    "reject" => DmarcPolicy::Reject,
                    _ => DmarcPolicy::None,
                };
                asked.dmarc = Some(DmarcOutcome::new(result, policy, "sender-of-letters.com"));
            }
            "iprev" => {
                asked.missing.retain(|fact| *fact != "iprev");
                let result = match word(1) {
                    "pass" => IprevResult::Pass,
                    "fail" => IprevResult::Fail,
                    "temperror" => IprevResult::TempError,
                    "permerror" => IprevResult::PermError,
                    other => panic!("{}: iprev {other}", self.place),
                };
                let name = words.get(2).map(|name| (*name).to_owned());
                asked.iprev = Some(IprevOutcome { result, name });
            }
            other => panic!("{}: unknown fact {other}", self.place),
        }
    }

    fn judge(&self) -> Verdict {
        let mut facts = Facts::gather(&self.message, &self.envelope, &self.authentication)
            .with_learned(self.learned.clone());
        let passed = self.authentication.dkim.iter().filter(|dkim| dkim.result == DkimResult::Pass);
        let passed: Vec<&str> = passed.map(|dkim| dkim.domain.as_str()).collect();
        let mut questions = plan(&facts, LISTS, Limits { names: 20 });
        questions.extend(plan_signers(&passed, LISTS));
        for question in questions {
            let list = LISTS[question.list];
            let name = format!("{}.{}", question.name, list.zone);
            let answers = self.dns.iter().filter(|(known, _)| *known == name);
            facts.listed.add(list, &question, &answers.map(|(_, address)| *address).collect::<Vec<_>>());
        }
        facts.infection = self.infection.clone();
        let view =
            View { relation: self.relation.clone(), ..View::new(Weights::default(), Thresholds::default()) };
        weigh(&facts, &find(&facts), &view)
    }
}

/// `\xNN` and `{{N|text}}`.
fn unescape(text: &str) -> Vec<u8> {
    let mut repeated = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        let (inner, tail) = after.split_once("}}").unwrap_or_else(|| panic!("{{{{ without }}}} in {text}"));
        let (count, piece) = inner.split_once('|').unwrap_or_else(|| panic!("no | in {inner}"));
        repeated.push_str(before);
        repeated.push_str(&piece.repeat(count.parse().unwrap()));
        rest = tail;
    }
    repeated.push_str(rest);
    let mut out = Vec::new();
    let mut rest = repeated.as_str();
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        out.push(
            u8::from_str_radix(&after[..2], 16).unwrap_or_else(|_| panic!("\\x{} is no byte", &after[..2])),
        );
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/milter/rules");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut open: Option<(String, String, Vec<&str>)> = None;
        for (number, line) in text.lines().enumerate() {
            if let Some(head) = line.strip_prefix("= ") {
                cases.extend(open.take().map(|(place, head, lines)| Case::read(place, &head, &lines)));
                open = Some((format!("{name}:{}", number + 1), head.to_owned(), Vec::new()));
            } else if line.starts_with("# ") {
            } else if let Some((_, _, lines)) = &mut open {
                lines.push(line);
            } else {
                assert!(line.is_empty(), "{name}:{}: a line before the first case", number + 1);
            }
        }
        cases.extend(open.take().map(|(place, head, lines)| Case::read(place, &head, &lines)));
    }
    cases
}

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
