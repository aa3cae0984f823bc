//! One message, several recipients, one answer: each recipient is judged as he wants it, and the mildest verdict is the answer to all.
//!
//! For `service` and `ask`. Pure. A message with several recipients has one SMTP reply, one set of headers and one place in the queue; what
//! is done more for some of them is left to the Sieve script of each, which reads `X-Gatepost-For`:
//!
//! | wanted for him | the message is | what he gets |
//! |---|---|---|
//! | refused, greylisted, put on hold, Junk | delivered, because another one wants it | Junk |
//! | dropped | delivered | nothing: Sieve drops it |
//! | inbox | delivered, marked for others | inbox |
//!
//! `X-Gatepost-For` names recipients, so mail of which a copy leaves this host goes without: each gets what all get (see `Actions`).
//!
//! Mailboxes that agree in everything are judged together, so a message to a thousand of them costs what a message to one does.

use std::collections::HashSet;

use gatepost::mail::Address;
use gatepost::spam::{Audience, Match, Named, Seen, Wish};
use gatepost::store::Relation;

use crate::authentication::{DkimResult, SpfResult};
use crate::facts::Facts;
use crate::recipients::Knowledge;
use crate::rules::{Evidence, sender::is_confirmed};
use crate::score::{self, Listed, Thresholds, View};
use crate::verdict::{Hit, Mark, Verdict};

/// The verdict of all, and of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// What is done with the message: the mildest of all verdicts.
    pub verdict: Verdict,
    /// What each would have, the mildest first; never empty.
    pub each: Vec<Each>,
    /// Whether the author's domain is proven (SPF, DKIM or DMARC).
    pub confirmed: bool,
}

/// Mailboxes with one verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct Each {
    /// The mailboxes, each once.
    pub mailboxes: Vec<Address>,
    /// Their verdict.
    pub verdict: Verdict,
    /// Whether they know the author, or their lists let him in: his mail is never delayed.
    pub welcome: bool,
}

/// The symbols that the operator's lists leave in the report. They are no rules: their points are in the rows.
pub const LISTED: [(&str, &str); 5] = [
    ("allow", "LIST_ALLOW"),
    ("deny", "LIST_DENY"),
    ("defer", "LIST_DEFER"),
    ("score", "LIST_SCORE"),
    ("tag", TAGGED),
];

/// The symbol of a tag; its evidence is the word.
const TAGGED: &str = "LIST_TAG";

impl Judgement {
    /// Judges for everybody. `base` is what the configuration says.
    pub fn new(facts: &Facts, knowledge: &Knowledge, base: &View) -> Self {
        let findings = score::find(facts);
        let seen = seen(facts);
        let mut audience = Audience::default();
        if !knowledge.lists.is_empty() {
            knowledge
                .deliveries
                .iter()
                .for_each(|delivery| audience.add(&delivery.recipient, &delivery.mailbox));
        }
        let matches = knowledge.lists.matching(&seen, &audience);
        let mut groups: Vec<(View, Vec<Address>)> = Vec::new();
        for (at, delivery) in knowledge.deliveries.iter().enumerate() {
            let relation = knowledge.relations.get(at);
            let mut view = view(base, knowledge, &matches, &delivery.recipient, &delivery.mailbox, relation);
            // What it thinks for everybody stands in the facts: those of whom it knows nothing more agree in that.
            let own = knowledge.learned.get(at).filter(|own| facts.learned.as_ref() != Some(*own));
            view.learned = own.cloned();
            // Those who differ from most stand at the end; of very many who all differ each is judged alone.
            match groups.iter_mut().take(MAX_COMPARED).find(|(known, _)| *known == view) {
                Some((_, mailboxes)) if mailboxes.contains(&delivery.mailbox) => {}
                Some((_, mailboxes)) => mailboxes.push(delivery.mailbox.clone()),
                None => groups.push((view, vec![delivery.mailbox.clone()])),
            }
        }
        if groups.is_empty() {
            groups.push((base.clone(), Vec::new()));
        }
        let mut each: Vec<Each> = groups
            .into_iter()
            .map(|(view, mailboxes)| {
                let mut verdict = score::weigh(facts, &findings, &view);
                verdict.missing.extend_from_slice(&knowledge.missing);
                let welcome =
                    view.relation.wrote_to || view.relation.answers || view.decided == Some(Listed::Allow);
                Each { mailboxes, verdict, welcome }
            })
            .collect();
        sort(&mut each);
        Self { verdict: each[0].verdict.clone(), each, confirmed: is_confirmed(facts) }
    }

    /// The judgement of nobody: no rule was asked.
    pub fn unjudged(thresholds: Thresholds) -> Self {
        let verdict = Verdict::unjudged(thresholds);
        let each = vec![Each { mailboxes: Vec::new(), verdict: verdict.clone(), welcome: false }];
        Self { verdict, each, confirmed: false }
    }

    /// Changes every verdict alike (what DMARC asks for), and looks anew which is the mildest.
    pub fn change(&mut self, change: impl Fn(&mut Verdict)) {
        self.each.iter_mut().for_each(|each| change(&mut each.verdict));
        sort(&mut self.each);
        self.verdict = self.each[0].verdict.clone();
    }

    /// The words that the lists give the message for all of its recipients.
    pub fn tags(&self) -> Vec<&str> {
        let all = |tag: &&str| self.each.iter().all(|each| tags(&each.verdict).any(|other| other == *tag));
        tags(&self.verdict).filter(all).collect()
    }

    /// `X-Gatepost-For` for the mailboxes that are to get more than all get: a value each, with the blank after the colon.
    pub fn for_each(&self) -> Vec<String> {
        let common = self.verdict.action.mark();
        let mut values = Vec::new();
        let mut told: HashSet<&Address> = HashSet::new();
        for each in &self.each {
            // One copy arrives where two recipients lead to one mailbox, and the milder verdict, which comes first, is that mailbox's.
            let mailboxes: Vec<&Address> =
                each.mailboxes.iter().filter(|mailbox| told.insert(*mailbox)).collect();
            let word = match each.verdict.action.mark() {
                mark if mark <= common => continue,
                Mark::Discard => "discard",
                _ => "junk",
            };
            for mailbox in mailboxes.into_iter().take(MAX_FOR.saturating_sub(values.len())) {
                values.push(format!(
                    " <{mailbox}> {word}; score={:.2}; action={}",
                    each.verdict.score,
                    each.verdict.action.as_str()
                ));
            }
        }
        values
    }
}

fn tags(verdict: &Verdict) -> impl Iterator<Item = &str> {
    verdict.symbols.iter().filter(|hit| hit.symbol == TAGGED).map(|hit| hit.evidence.as_str())
}

/// The mildest first: by what is done, then by points.
fn sort(each: &mut [Each]) {
    each.sort_by(|a, b| {
        let (a, b) = (&a.verdict, &b.verdict);
        (a.action.severity()).cmp(&b.action.severity()).then(a.score.total_cmp(&b.score))
    });
}

/// How one mailbox wants it.
fn view(
    base: &View,
    knowledge: &Knowledge,
    matches: &[Match<'_>],
    recipient: &Address,
    mailbox: &Address,
    relation: Option<&Relation>,
) -> View {
    let mut view = base.clone();
    view.relation = relation.cloned().unwrap_or_default();
    view.unsure = knowledge.doubt.is_some();
    for chosen in knowledge.settings.of(mailbox) {
        let thresholds = &mut view.thresholds;
        for (of, chosen) in [
            (&mut thresholds.greylist, chosen.greylist),
            (&mut thresholds.add_header, chosen.add_header),
            (&mut thresholds.rewrite_subject, chosen.rewrite_subject),
            (&mut thresholds.quarantine, chosen.quarantine),
            (&mut thresholds.reject, chosen.reject),
            (&mut thresholds.discard, chosen.discard),
        ] {
            *of = chosen.map_or(*of, |limit| limit.points());
        }
        if let Some(subject) = &chosen.subject {
            view.subject = subject.clone();
        }
        if let Some(text) = &chosen.reject_text {
            view.reject_text = text.clone();
        }
        if !chosen.weights.is_empty() {
            view.weights = view.weights.with(&chosen.weights);
        }
    }
    let counting: Vec<&Match<'_>> =
        matches.iter().filter(|found| found.counts_for(recipient, mailbox)).collect();
    if let Some(deciding) = Match::deciding(&counting) {
        view.decided = match deciding.wish {
            Wish::Allow => Some(Listed::Allow),
            Wish::Deny => Some(Listed::Deny),
            Wish::Defer => Some(Listed::Defer),
            Wish::Score(_) | Wish::Tag(_) => None,
        };
        view.listed.push(hit(deciding));
    }
    let others = counting.iter().filter(|found| matches!(found.wish, Wish::Score(_) | Wish::Tag(_)));
    view.listed.extend(others.take(MAX_LISTED).map(|found| hit(found)));
    view
}

/// A match in the report.
fn hit(found: &Match<'_>) -> Hit {
    let symbol =
        LISTED.iter().find(|(word, _)| *word == found.wish.word()).map_or(TAGGED, |(_, symbol)| symbol);
    let (weight, text) = match found.wish {
        Wish::Score(points) => (*points, format!("{} ({})", found.what, found.scope)),
        Wish::Tag(tag) => (0.0, tag.clone()),
        _ => (0.0, format!("{} ({})", found.what, found.scope)),
    };
    Hit { symbol, weight, evidence: Evidence::new(text).text }
}

/// What the lists may look at.
fn seen(facts: &Facts) -> Seen<'_> {
    let envelope = &facts.envelope;
    let found = &facts.authentication;
    let spf = found.spf.as_ref().filter(|spf| spf.result == SpfResult::Pass);
    let sender = envelope.sender.as_ref().map(|sender| Named {
        address: sender.to_string(),
        domain: sender.domain().as_str().to_owned(),
        proven: spf.is_some_and(|spf| spf.domain.eq_ignore_ascii_case(sender.domain().as_str())),
    });
    let author = facts.people.author().filter(|author| author.is_address()).map(|author| Named {
        address: author.address.clone(),
        domain: author.domain.clone(),
        proven: is_confirmed(facts),
    });
    let dkim = found.dkim.iter().filter(|dkim| dkim.result == DkimResult::Pass).map(|dkim| &dkim.domain);
    let archived =
        facts.parts.iter().filter_map(|part| part.archive.as_ref()).flat_map(|archive| &archive.names);
    let attachments = facts.parts.iter().filter_map(|part| part.name.as_ref()).chain(archived);
    Seen {
        client: envelope.client_address,
        client_name: envelope.client_name.as_deref().unwrap_or_default().to_lowercase(),
        helo: envelope.helo.as_deref().unwrap_or_default().to_lowercase(),
        sender,
        author,
        verified: spf
            .map(|spf| &spf.domain)
            .into_iter()
            .chain(dkim)
            .map(|domain| domain.to_lowercase())
            .collect(),
        hosts: facts.urls.iter().map(|url| url.host.as_str()).collect(),
        attachments: attachments.take(MAX_NAMES).map(|name| name.to_lowercase()).collect(),
        fields: facts
            .headers
            .fields
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_str()))
            .collect(),
    }
}

/// As many headers of one message as `X-Gatepost-For` may have: every recipient that Postfix takes by default.
const MAX_FOR: usize = 1_000;

/// Views with which a further one is compared before it stands alone.
const MAX_COMPARED: usize = 64;

/// Hits of the lists in one report.
const MAX_LISTED: usize = 32;

/// Names that are held against patterns.
const MAX_NAMES: usize = 1_000;

/// Whether the message may be delayed for that verdict: only where it would be delivered, to somebody who does not know the author.
pub fn may_be_greylisted(each: &Each) -> bool {
    each.verdict.action.delivers() && !each.welcome && each.verdict.score >= each.verdict.thresholds.greylist
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::sync::Arc;

    use gatepost::spam::{Kind, ListRule, Lists, Scope, Settings};

    use super::*;
    use crate::authentication::Authentication;
    use crate::message::{Direction, Envelope, Message};
    use crate::recipients::Delivery;
    use crate::score::Weights;

    const MESSAGE: &[u8] = b"From: Ann <ann@a.test>\nTo: bob@example.com\nSubject: hello\nDate: x\n\nhello\n";

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    /// Everybody's score is 7, whatever the rules say.
    fn judged(settings: &[(&str, &str, &str)], rows: &[(&str, &str, Wish)], mailboxes: &[&str]) -> Judgement {
        let mut known = Settings::default();
        for (scope, name, value) in settings {
            known.add(Scope::parse(scope).unwrap(), name, value).unwrap();
        }
        let mut lists = Lists::default();
        for (value, scope, wish) in rows {
            let rule = ListRule {
                kind: Kind::Domain,
                value: (*value).to_owned(),
                scope: Scope::parse(scope).unwrap(),
                wish: wish.clone(),
                authenticated: false,
                until: None,
            };
            lists.add(rule).unwrap();
        }
        let deliveries = mailboxes
            .iter()
            .map(|mailbox| Delivery { recipient: address(mailbox), mailbox: address(mailbox), leaves: false })
            .collect();
        let knowledge = Knowledge {
            deliveries,
            settings: Arc::new(known),
            lists: Arc::new(lists),
            ..Knowledge::default()
        };
        let none = crate::rules::RULES.iter().map(|rule| (rule.symbol.to_owned(), 0.0)).collect();
        let mut base = View::new(Weights::new(&none), Thresholds::default());
        base.listed.push(Hit { symbol: "SEVEN", weight: 7.0, evidence: String::new() });
        let message = Message::from_eml(MESSAGE);
        let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
        Judgement::new(&facts, &knowledge, &base)
    }

    #[test]
    fn the_mildest_is_done_and_each_hears_of_his_own() {
        let settings = [
            ("bob@example.com", "reject", "5"),
            ("carl@example.com", "discard", "5"),
            ("dora@example.com", "add-header", "off"),
        ];
        for (mailboxes, action, told) in [
            (vec!["alice@example.com"], "add header", vec![]),
            (vec!["bob@example.com"], "reject", vec![]),
            // The sender of a refused message hears of it, that of a dropped one does not.
            (vec!["bob@example.com", "carl@example.com"], "reject", vec!["carl discard"]),
            (vec!["alice@example.com", "bob@example.com"], "add header", vec![]),
            (vec!["alice@example.com", "carl@example.com"], "add header", vec!["carl discard"]),
            (
                vec!["alice@example.com", "bob@example.com", "dora@example.com"],
                "no action",
                vec!["alice junk", "bob junk"],
            ),
        ] {
            let judgement = judged(&settings, &[], &mailboxes);
            assert_eq!(judgement.verdict.action.as_str(), action, "{mailboxes:?}");
            let found: Vec<String> = judgement
                .for_each()
                .iter()
                .map(|value| {
                    value.split(';').next().unwrap().replace([' ', '<'], "").replace("@example.com>", " ")
                })
                .collect();
            assert_eq!(found, told, "{mailboxes:?}");
        }
    }

    #[test]
    fn a_thousand_who_agree_are_judged_once() {
        let mailboxes: Vec<String> = (0..1000).map(|number| format!("u{number}@example.com")).collect();
        let mailboxes: Vec<&str> = mailboxes.iter().map(String::as_str).collect();
        let judgement = judged(&[("u7@example.com", "reject", "5")], &[], &mailboxes);
        assert_eq!(judgement.each.iter().map(|each| each.mailboxes.len()).collect::<Vec<_>>(), [999, 1]);
    }

    /// Alice is written to as herself and as boss, whom everybody may write to; one copy arrives.
    #[test]
    fn who_gets_it_in_two_ways_gets_it_in_the_milder() {
        let mut lists = Lists::default();
        let rule = |kind, value: &str, wish| ListRule {
            kind,
            value: value.to_owned(),
            scope: Scope::All,
            wish,
            authenticated: false,
            until: None,
        };
        lists.add(rule(Kind::Recipient, "boss@example.com", Wish::Allow)).unwrap();
        let delivery = |recipient: &str| Delivery {
            recipient: address(recipient),
            mailbox: address("alice@example.com"),
            leaves: false,
        };
        let knowledge = Knowledge {
            deliveries: vec![delivery("alice@example.com"), delivery("boss@example.com")],
            lists: Arc::new(lists),
            ..Knowledge::default()
        };
        let mut base = View::new(Weights::default(), Thresholds::default());
        base.listed.push(Hit { symbol: "SEVEN", weight: 7.0, evidence: String::new() });
        let message = Message::from_eml(MESSAGE);
        let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
        let judgement = Judgement::new(&facts, &knowledge, &base);
        assert_eq!(judgement.verdict.action.as_str(), "no action");
        assert_eq!(judgement.for_each(), [""; 0]);
    }

    #[test]
    fn lists_points_and_weights_count_for_whom_they_are() {
        let rows = [
            ("a.test", "bob@example.com", Wish::Allow),
            ("a.test", "example.com", Wish::Score(9.0)),
            ("a.test", "*", Wish::Tag("friend".to_owned())),
        ];
        let judgement = judged(&[], &rows, &["bob@example.com", "alice@example.com", "eve@elsewhere.test"]);
        let of = |name: &str| {
            let each = judgement.each.iter().find(|each| each.mailboxes.contains(&address(name))).unwrap();
            (each.verdict.action.as_str(), each.verdict.score, each.welcome)
        };
        assert_eq!(of("bob@example.com"), ("no action", 16.0, true));
        assert_eq!(of("alice@example.com"), ("reject", 16.0, false));
        assert_eq!(of("eve@elsewhere.test"), ("add header", 7.0, false));
        assert_eq!(judgement.tags(), ["friend"]);
        assert!(judgement.verdict.has("LIST_ALLOW") && judgement.verdict.has("LIST_SCORE"));
        let weighted = judged(&[("*", "weight.MISSING_MID", "4.5")], &[], &["bob@example.com"]);
        assert_eq!(weighted.verdict.score, 11.5);
    }
}
