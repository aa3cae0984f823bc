//! The operator's lists: every kind of row, in every scope, with every action, held against one real message to two recipients; each with a
//! row that nearly matches. What stands in SQL, and how it gets there, is tested beside the store (`tests/library/spam.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use gatepost::mail::Address;
use gatepost::spam::{Kind, ListRule, Lists, Scope, Wish};
use gatepost_milter::authentication::{
    Authentication, DkimOutcome, DkimResult, SpfOutcome, SpfResult, SpfScope,
};
use gatepost_milter::facts::Facts;
use gatepost_milter::judgement::Judgement;
use gatepost_milter::message::{Direction, Envelope, Message};
use gatepost_milter::recipients::{Delivery, Knowledge};
use gatepost_milter::rules::RULES;
use gatepost_milter::score::{Thresholds, View, Weights};
use gatepost_milter::verdict::Hit;

const EML: &str = "From: Ann <ann@sender-of-letters.com>\nTo: alice@example.com\nSubject: Cheap watches\n\
    Date: Sat, 21 Nov 2026 10:00:00 +0000\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n\
    --b\n\nSee http://www.shop-of-letters.com/now\n--b\nContent-Type: application/octet-stream\n\
    Content-Disposition: attachment; filename=Invoice.pdf.exe\n\nMZ\n--b--\n";

const ALICE: &str = "alice@example.com";
const BOB: &str = "bob@example.org";

/// Each kind: a value that matches the message, and one that nearly does.
const KINDS: [(Kind, &str, &str); 9] = [
    (Kind::Address, "ann@sender-of-letters.com", "anna@sender-of-letters.com"),
    (Kind::Domain, "sender-of-letters.com", "ender-of-letters.com"),
    (Kind::Network, "203.0.113.0/25", "203.0.113.128/25"),
    (Kind::Helo, "mx.letters.test", "letters.test"),
    (Kind::Recipient, ALICE, "alicia@example.com"),
    (Kind::Verified, "sender-of-letters.com", "other-letters.com"),
    (Kind::Url, "shop-of-letters.com", "hop-of-letters.com"),
    (Kind::Attachment, "*.exe", "*.pdf"),
    (Kind::Header, "Subject: ^cheap\\s", "Subject: ^watches"),
];

/// Each scope, and whether it covers alice and bob.
const SCOPES: [(&str, bool, bool); 5] = [
    ("*", true, true),
    ("example.com", true, false),
    (ALICE, true, false),
    (BOB, false, true),
    ("carl@example.com", false, false),
];

/// Each action, and what becomes of a message that would get seven points: action and score.
fn wishes() -> Vec<(Wish, &'static str, f64)> {
    vec![
        (Wish::Allow, "no action", 7.0),
        (Wish::Deny, "reject", 7.0),
        (Wish::Defer, "soft reject", 7.0),
        (Wish::Score(9.0), "reject", 16.0),
        (Wish::Score(-3.0), "no action", 4.0),
        (Wish::Tag("letters".to_owned()), "add header", 7.0),
    ]
}

/// The message, proven or only claimed to be Ann's.
fn facts(proven: bool) -> Facts {
    let mut envelope = Envelope::new(Direction::Inbound);
    envelope.client_address = "203.0.113.7".parse().ok();
    envelope.helo = Some("MX.letters.test".to_owned());
    envelope.sender = Address::parse("bounces@sender-of-letters.com").ok();
    let mut found = Authentication::not_asked();
    if proven {
        found.spf = Some(SpfOutcome::new(SpfResult::Pass, "sender-of-letters.com", SpfScope::MailFrom));
        found.dkim.push(DkimOutcome {
            result: DkimResult::Pass,
            domain: "sender-of-letters.com".to_owned(),
            selector: "s1".to_owned(),
            algorithm: "rsa-sha256",
            identity: String::new(),
            signature: "AbCdEfGh".to_owned(),
            reason: String::new(),
        });
    }
    Facts::gather(&Message::from_eml(EML.as_bytes()), &envelope, &found)
}

/// What becomes of it for alice and for bob, by one row.
fn judged(facts: &Facts, rule: ListRule) -> Judgement {
    let mut lists = Lists::default();
    lists.add(rule).unwrap();
    judged_by(facts, lists)
}

fn judged_by(facts: &Facts, lists: Lists) -> Judgement {
    let delivery = |mailbox: &str| {
        let mailbox = Address::parse(mailbox).unwrap();
        Delivery { recipient: mailbox.clone(), mailbox, leaves: false }
    };
    let deliveries = vec![delivery(ALICE), delivery(BOB)];
    let knowledge = Knowledge { deliveries, lists: Arc::new(lists), ..Knowledge::default() };
    let nothing: BTreeMap<String, f64> = RULES.iter().map(|rule| (rule.symbol.to_owned(), 0.0)).collect();
    let mut base = View::new(Weights::new(&nothing), Thresholds::default());
    base.listed.push(Hit { symbol: "SEVEN", weight: 7.0, evidence: String::new() });
    Judgement::new(facts, &knowledge, &base)
}

fn of(judgement: &Judgement, mailbox: &str) -> (&'static str, f64, bool) {
    let mailbox = Address::parse(mailbox).unwrap();
    let each = judgement.each.iter().find(|each| each.mailboxes.contains(&mailbox)).unwrap();
    (each.verdict.action.as_str(), each.verdict.score, each.verdict.has("LIST_TAG"))
}

fn rule(kind: Kind, value: &str, scope: &str, wish: Wish, authenticated: bool) -> ListRule {
    let scope = Scope::parse(scope).unwrap();
    ListRule { kind, value: value.to_owned(), scope, wish, authenticated, until: None }
}

/// What other mailboxes have said of the same sender, or of their own addresses, takes nobody's row away.
#[test]
fn the_rows_of_many_leave_room_for_those_of_one() {
    let facts = facts(true);
    for (kind, own) in [(Kind::Recipient, false), (Kind::Address, true)] {
        let mut lists = Lists::default();
        for number in 0..2_000 {
            let other = format!("user{number}@example.com");
            let (value, scope) = if own { (KINDS[0].1, other.as_str()) } else { (other.as_str(), "*") };
            lists.add(rule(kind, value, scope, Wish::Deny, true)).unwrap();
        }
        let (value, scope) = if own { (KINDS[0].1, ALICE) } else { (ALICE, "*") };
        lists.add(rule(kind, value, scope, Wish::Allow, true)).unwrap();
        lists.add(rule(Kind::Attachment, "*.exe", BOB, Wish::Allow, true)).unwrap();
        let judgement = judged_by(&facts, lists);
        assert_eq!(of(&judgement, ALICE).0, "no action", "{kind:?}");
        assert_eq!(of(&judgement, BOB).0, "no action", "{kind:?}");
    }
}

const UNTOUCHED: (&str, f64, bool) = ("add header", 7.0, false);

#[test]
fn every_kind_scope_and_action_counts_for_whom_it_is_and_for_nobody_else() {
    let facts = facts(true);
    let mut seen = 0;
    for (kind, value, near) in KINDS {
        for (scope, covers_alice, covers_bob) in SCOPES {
            for (wish, action, score) in wishes() {
                let what = format!("{kind:?} {value} for {scope}: {}", wish.word());
                let touched = (action, score, matches!(wish, Wish::Tag(_)));
                let judgement = judged(&facts, rule(kind, value, scope, wish.clone(), true));
                // A row about a recipient is about him, whatever its scope.
                let expected = |covered: bool, mailbox: &str| match covered
                    && (kind != Kind::Recipient || mailbox == value)
                {
                    true => touched,
                    false => UNTOUCHED,
                };
                assert_eq!(of(&judgement, ALICE), expected(covers_alice, ALICE), "alice, {what}");
                assert_eq!(of(&judgement, BOB), expected(covers_bob, BOB), "bob, {what}");
                let missed = judged(&facts, rule(kind, near, scope, wish, true));
                assert_eq!((of(&missed, ALICE), of(&missed, BOB)), (UNTOUCHED, UNTOUCHED), "near, {what}");
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 9 * 5 * 6);
}

/// Who only claims to be somebody is let in where the row says so, and nowhere else; everything but *allow* needs no proof.
#[test]
fn to_let_in_needs_proof_unless_the_row_says_otherwise() {
    let claimed = facts(false);
    for (kind, value, _) in KINDS {
        // What the network itself shows, and for whom it came, is no claim. Without a signature no domain is verified.
        let itself = matches!(kind, Kind::Network | Kind::Recipient);
        let seen = kind != Kind::Verified;
        for (wish, action, score) in wishes() {
            for authenticated in [true, false] {
                let opens = seen && (itself || !authenticated || wish != Wish::Allow);
                let expected = if opens { (action, score, matches!(wish, Wish::Tag(_))) } else { UNTOUCHED };
                let judgement = judged(&claimed, rule(kind, value, ALICE, wish.clone(), authenticated));
                assert_eq!(
                    of(&judgement, ALICE),
                    expected,
                    "{kind:?}, {}, authenticated = {authenticated}",
                    wish.word()
                );
            }
        }
    }
}
