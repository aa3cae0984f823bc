//! From facts to a verdict: every rule is asked once, composites after the others, groups are bounded, points are added.
//!
//! For `service` and `ask`. It is pure: same facts, weights and thresholds, same verdict.

use std::collections::BTreeMap;

use gatepost::mail::SmtpReply;
use gatepost::spam::{ReplyText, SubjectTemplate};
use gatepost::store::Relation;

use crate::facts::{Facts, Learned};
use crate::rules::{Check, Composite, Decision, Evidence, Group, RULES, Rule, learned};
use crate::verdict::{Action, Hit, Verdict};

/// The points of every rule: its own, or what the configuration says.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights(Vec<f64>);

/// From how many points on something is done; infinity for what is never done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// A stranger's first mail is to come again from here on.
    pub greylist: f64,
    /// Marked from here on.
    pub add_header: f64,
    /// Marked in the subject too from here on.
    pub rewrite_subject: f64,
    /// Put on hold from here on.
    pub quarantine: f64,
    /// Refused from here on.
    pub reject: f64,
    /// Dropped from here on.
    pub discard: f64,
}

impl Default for Thresholds {
    /// Rspamd's (`conf/actions.conf`).
    fn default() -> Self {
        let never = f64::INFINITY;
        Self {
            greylist: 4.0,
            add_header: 6.0,
            rewrite_subject: never,
            quarantine: never,
            reject: 15.0,
            discard: never,
        }
    }
}

/// How one recipient, or several who agree in everything, wants mail to be judged.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The points of the rules.
    pub weights: Weights,
    /// From where on what is done.
    pub thresholds: Thresholds,
    /// What is said to whom is refused for his score.
    pub reject_text: ReplyText,
    /// How subjects are rewritten.
    pub subject: SubjectTemplate,
    /// How he stands to the author.
    pub relation: Relation,
    /// What the model thinks for him; none where that is what it thinks for everybody.
    pub learned: Option<Learned>,
    /// What the operator's lists say: hits with points of their own.
    pub listed: Vec<Hit>,
    /// What they decide, whatever the score.
    pub decided: Option<Listed>,
    /// Whether the lists cannot be had now: then nobody is refused for his score, because he may be allowed.
    pub unsure: bool,
}

/// What a list decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// The score counts for nothing.
    Allow,
    /// Refused.
    Deny,
    /// Refused for now.
    Defer,
}

impl View {
    /// The view of somebody of whom nothing is known.
    pub fn new(weights: Weights, thresholds: Thresholds) -> Self {
        Self {
            weights,
            thresholds,
            reject_text: ReplyText::default(),
            subject: SubjectTemplate::default(),
            relation: Relation::default(),
            learned: None,
            listed: Vec::new(),
            decided: None,
            unsure: false,
        }
    }
}

impl Weights {
    /// The rules' own weights, and what is given instead for some symbols. The configuration has refused symbols that no rule has.
    pub fn new(overrides: &BTreeMap<String, f64>) -> Self {
        Self(RULES.iter().map(|rule| overrides.get(rule.symbol).copied().unwrap_or(rule.weight)).collect())
    }

    /// The same with other points for some symbols; `gatepost::spam` has refused those that no rule has.
    #[must_use]
    pub fn with(mut self, overrides: &BTreeMap<String, f64>) -> Self {
        for (symbol, points) in overrides {
            let index = RULES.iter().position(|rule| rule.symbol == symbol);
            if let Some(weight) = index.and_then(|index| self.0.get_mut(index)) {
                *weight = *points;
            }
        }
        self
    }

    fn of(&self, index: usize) -> f64 {
        self.0.get(index).copied().unwrap_or_default()
    }
}

impl Default for Weights {
    fn default() -> Self {
        Self::new(&BTreeMap::new())
    }
}

/// Asks every rule, for somebody of whom nothing is known.
pub fn judge(facts: &Facts, weights: &Weights, thresholds: &Thresholds) -> Verdict {
    weigh(facts, &find(facts), &View::new(weights.clone(), *thresholds))
}

/// What each rule that hit is worth in times its weight, by its place in [`RULES`]: 0 where a composite replaces it. For fitting weights.
pub fn factors(facts: &Facts) -> Vec<(usize, f64)> {
    let view = View::new(Weights(vec![1.0; RULES.len()]), Thresholds::default());
    let place = |found: &Found| RULES.iter().position(|rule| rule.symbol == found.rule.symbol);
    let found = all(facts, &find(facts), &view);
    // What the model thinks is worth something of two weights.
    let rules = found.iter().filter(|found| found.rule.group != Group::Learned);
    let mut factors: Vec<(usize, f64)> =
        rules.filter_map(|found| Some((place(found)?, found.points))).collect();
    if let Some(learned) = &facts.learned {
        let first = RULES.iter().position(|rule| rule.group == Group::Learned).unwrap_or_default();
        factors.extend(learned::shares(learned).into_iter().map(|(at, share)| (first + at, share)));
    }
    factors
}

/// What the rules say that look at the message alone: the same for every recipient.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    hits: Vec<(usize, Evidence)>,
    decision: Option<Decision>,
}

/// Asks the rules that look at the message alone.
pub fn find(facts: &Facts) -> Findings {
    let mut findings = Findings::default();
    for (index, rule) in RULES.iter().enumerate() {
        let evidence = match rule.check {
            Check::Facts(check) => check(facts),
            Check::Decides(check, decides) => {
                let evidence = check(facts);
                if evidence.is_some() && findings.decision.is_none() {
                    findings.decision = Some(decides);
                }
                evidence
            }
            Check::Listed => facts.listed.evidence(rule.symbol).map(Evidence::new),
            Check::Relation(_) | Check::Learned(_) | Check::Composite(_) => None,
        };
        findings.hits.extend(evidence.map(|evidence| (index, evidence)));
    }
    findings
}

/// Judges for one view: rules about its relation to the author, composites, points, and what they come to.
pub fn weigh(facts: &Facts, findings: &Findings, view: &View) -> Verdict {
    let mut found = all(facts, findings, view);
    bound(&mut found);
    let mut symbols: Vec<Hit> = found.into_iter().map(Found::hit).collect();
    symbols.extend(view.listed.iter().cloned());
    let score = round(symbols.iter().map(|hit| hit.weight).sum());
    Verdict {
        action: action(score, findings.decision, view),
        score,
        thresholds: view.thresholds,
        symbols,
        missing: facts.missing.clone(),
    }
}

/// Every rule that hit for one view; the points are not bounded yet.
fn all(facts: &Facts, findings: &Findings, view: &View) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut hits = findings.hits.iter().peekable();
    for (index, rule) in RULES.iter().enumerate() {
        let evidence = match rule.check {
            Check::Facts(_) | Check::Decides(..) | Check::Listed => {
                hits.next_if(|(hit, _)| *hit == index).map(|(_, evidence)| evidence.clone())
            }
            Check::Relation(check) => check(facts, &view.relation),
            Check::Learned(check) => view.learned.as_ref().or(facts.learned.as_ref()).and_then(check),
            Check::Composite(composite) => composed(&composite, &mut found),
        };
        if let Some(evidence) = evidence {
            let points = view.weights.of(index) * evidence.factor;
            found.push(Found { rule, points, evidence });
        }
    }
    found
}

/// A rule that hit, before its points are final.
struct Found {
    rule: &'static Rule,
    points: f64,
    evidence: Evidence,
}

impl Found {
    fn hit(self) -> Hit {
        Hit { symbol: self.rule.symbol, weight: round(self.points), evidence: self.evidence.text }
    }
}

/// Whether a composite holds; if so, the symbols it replaces lose their points, and what remains of them is its evidence.
fn composed(composite: &Composite, found: &mut [Found]) -> Option<Evidence> {
    let has = |symbol: &&str| found.iter().any(|known| known.rule.symbol == *symbol);
    let holds = composite.all.iter().all(has)
        && composite.any.iter().all(|set| set.iter().any(has))
        && !composite.none.iter().any(has);
    if !holds {
        return None;
    }
    let mut seen: Vec<&str> = composite.all.to_vec();
    seen.extend(composite.any.iter().filter_map(|set| set.iter().copied().find(|symbol| has(symbol))));
    let evidence = Evidence::new(seen.join(", "));
    for known in found.iter_mut().filter(|known| composite.replaces.contains(&known.rule.symbol)) {
        known.points = 0.0;
    }
    Some(evidence)
}

/// Keeps each group within its bound: the points that exceed it are taken from the symbols that came last.
fn bound(found: &mut [Found]) {
    let mut sums: BTreeMap<Group, f64> = BTreeMap::new();
    for known in found.iter_mut().filter(|known| known.points > 0.0) {
        let sum = sums.entry(known.rule.group).or_default();
        known.points = known.points.min((known.rule.group.cap() - *sum).max(0.0));
        *sum += known.points;
    }
}

/// What an action is for somebody.
type Made = fn(&View) -> Action;

/// What comes of it. What a rule decides alone (a virus, a test message) no list allows. Of the actions whose points are reached the
/// severest is taken: whoever sets "reject" to 5 means it, wherever the mark is.
fn action(score: f64, decision: Option<Decision>, view: &View) -> Action {
    if let Some(Decision::Reject(text)) = decision {
        return Action::Reject(SmtpReply::new(554, "5.7.1", text));
    }
    match view.decided {
        Some(Listed::Allow) => return Action::NoAction,
        Some(Listed::Deny) => return Action::Reject(SmtpReply::new(554, "5.7.1", DENIED)),
        Some(Listed::Defer) => return Action::Defer(SmtpReply::new(450, "4.7.1", DENIED)),
        None => {}
    }
    let Thresholds { add_header, rewrite_subject, quarantine, reject, discard, .. } = view.thresholds;
    let ladder: [(f64, Made); 5] = [
        (add_header, |_| Action::AddHeader),
        (rewrite_subject, |view| Action::RewriteSubject(view.subject.clone())),
        (quarantine, |_| Action::Quarantine),
        (reject, |view| match view.unsure {
            false => Action::Reject(SmtpReply::new(554, "5.7.1", view.reject_text.as_str())),
            true => Action::Defer(SmtpReply::new(451, "4.7.1", UNSURE)),
        }),
        (discard, |view| match view.unsure {
            false => Action::Discard,
            true => Action::Defer(SmtpReply::new(451, "4.7.1", UNSURE)),
        }),
    ];
    // The ladder goes from mild to severe.
    match (ladder.into_iter().rfind(|(points, _)| score >= *points), decision) {
        (Some((_, made)), _) => made(view),
        (None, Some(Decision::AddHeader)) => Action::AddHeader,
        (None, _) => Action::NoAction,
    }
}

/// Why stands in the log; the client learns only that it is a decision, and whom to ask. The policy daemon's words.
const DENIED: &str = "Access denied by a rule of this site; ask its postmaster";

/// What is said while nobody can say whether the sender is allowed.
const UNSURE: &str = "Message cannot be judged now, please try again later";

/// To hundredths, as reports show them, so that the sum in a report is the score; never −0.
fn round(points: f64) -> f64 {
    (points * 100.0).round() / 100.0 + 0.0
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::authentication::Authentication;
    use crate::message::{Direction, Envelope, Message};

    fn judged(eml: &str, overrides: &[(&str, f64)]) -> Verdict {
        let message = Message::from_eml(eml.as_bytes());
        let facts = Facts::gather(&message, &Envelope::new(Direction::Inbound), &Authentication::not_asked());
        let overrides = overrides.iter().map(|(symbol, weight)| ((*symbol).to_owned(), *weight)).collect();
        judge(&facts, &Weights::new(&overrides), &Thresholds::default())
    }

    #[test]
    fn the_score_is_the_sum_of_what_the_report_shows() {
        let verdict = judged("Subject: x\n\nbody\n", &[]);
        assert_eq!(verdict.score, round(verdict.symbols.iter().map(|hit| hit.weight).sum()));
        assert!(verdict.has("MISSING_DATE") && verdict.has("MISSING_FROM"));
        assert_eq!(verdict.missing, ["spf", "dkim", "dmarc", "iprev"]);
    }

    #[test]
    fn a_weight_can_be_changed_and_thresholds_decide() {
        let quiet: Vec<(&str, f64)> = RULES.iter().map(|rule| (rule.symbol, 0.0)).collect();
        let with = |weight: f64| {
            let mut all = quiet.clone();
            all.push(("MISSING_DATE", weight));
            judged("Subject: x\n\nbody\n", &all)
        };
        assert_eq!(with(5.99).action, Action::NoAction);
        assert_eq!(with(6.0).action, Action::AddHeader);
        assert_eq!(with(-3.0).score, -3.0);
    }

    #[test]
    fn the_severest_action_that_is_reached_is_taken() {
        let thresholds = Thresholds {
            greylist: 4.0,
            add_header: 6.0,
            rewrite_subject: 8.0,
            quarantine: 10.0,
            reject: 15.0,
            discard: 30.0,
        };
        let view = |thresholds| View::new(Weights::default(), thresholds);
        let word = |score, thresholds, decision| action(score, decision, &view(thresholds)).as_str();
        for (score, expected) in [
            (5.9, "no action"),
            (6.0, "add header"),
            (8.0, "rewrite subject"),
            (10.0, "quarantine"),
            (15.0, "reject"),
            (30.0, "discard"),
        ] {
            assert_eq!(word(score, thresholds, None), expected, "{score}");
        }
        let only_junk = Thresholds { reject: f64::INFINITY, ..Thresholds::default() };
        assert_eq!(word(1e6, only_junk, None), "add header");
        let same = Thresholds { quarantine: 15.0, ..Thresholds::default() };
        assert_eq!(word(15.0, same, None), "reject");
        let soon = Thresholds { reject: 5.0, ..Thresholds::default() };
        assert_eq!(word(7.0, soon, None), "reject");
        assert_eq!(word(0.0, thresholds, Some(Decision::AddHeader)), "add header");
        assert_eq!(word(50.0, thresholds, Some(Decision::Reject("virus"))), "reject");
    }

    #[test]
    fn while_the_lists_are_away_nobody_is_refused_for_his_score() {
        let view = View { unsure: true, ..View::new(Weights::default(), Thresholds::default()) };
        assert_eq!(action(15.0, None, &view).as_str(), "soft reject");
        assert_eq!(action(6.0, None, &view).as_str(), "add header");
        assert_eq!(action(15.0, Some(Decision::Reject("virus")), &view).as_str(), "reject");
    }

    #[test]
    fn a_list_overrules_the_score_and_no_rule_that_decides_alone() {
        let mut view = View::new(Weights::default(), Thresholds::default());
        for (listed, score, expected) in [
            (Listed::Allow, 99.0, "no action"),
            (Listed::Deny, -9.0, "reject"),
            (Listed::Defer, -9.0, "soft reject"),
        ] {
            view.decided = Some(listed);
            assert_eq!(action(score, None, &view).as_str(), expected);
        }
        view.decided = Some(Listed::Allow);
        assert_eq!(action(0.0, Some(Decision::Reject("virus")), &view).as_str(), "reject");
    }

    #[test]
    fn no_group_exceeds_its_bound() {
        let verdict = judged("\n\n", &[("MISSING_DATE", 100.0), ("MISSING_MID", 100.0)]);
        let headers: f64 = verdict
            .symbols
            .iter()
            .filter(|hit| crate::rules::find(hit.symbol).unwrap().group == Group::Headers)
            .map(|hit| hit.weight)
            .sum();
        assert_eq!(headers, Group::Headers.cap());
    }
}
