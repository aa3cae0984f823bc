//! The data files of `rules/`: each case is one message, and what is expected of it.
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
use gatepost_milter::score::{Thresholds, View, Weights, find, weigh};
use gatepost_milter::verdict::Verdict;

/// What every case begins with: an ordinary letter.
pub(crate) const LETTER: &str = "\
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
pub(crate) const FEW_WORDS: usize = 8;

/// One message and what is expected of it.
pub(crate) struct Case {
    pub(crate) place: String,
    pub(crate) hits: bool,
    pub(crate) symbols: Vec<String>,
    /// What it changes: fields, facts, `body`, each with the lines that say so.
    changes: BTreeMap<String, Vec<String>>,
    pub(crate) message: Message,
    pub(crate) envelope: Envelope,
    pub(crate) authentication: Authentication,
    learned: Option<Learned>,
    relation: Relation,
    /// What DNS says of names.
    dns: Vec<(String, Ipv4Addr)>,
    infection: Option<String>,
}

impl Case {
    pub(crate) fn read(place: String, head: &str, lines: &[&str]) -> Self {
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
    pub(crate) fn is_near(&self, other: &Self) -> bool {
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

    pub(crate) fn judge(&self) -> Verdict {
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
pub(crate) fn unescape(text: &str) -> Vec<u8> {
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

pub(crate) fn cases() -> Vec<Case> {
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
