//! DKIM (RFC 6376): the public key of each signing key.

use gatepost::directory::Lookup;
use gatepost::dkim::record;
use gatepost::store::KeyState;
use gatepost::store::key_life::Key;

use super::{Answers, Line, Part, Plan, Report, txt};

pub(super) const PART: Part = Part {
    name: "dkim",
    about: "DKIM (RFC 6376): the keys by which its mail is signed",
    checked: true,
    lines,
    judge,
};

fn lines(plan: &Plan) -> Vec<Line> {
    let there = plan.keys.iter().filter(|key| key.state != KeyState::Removed);
    let mut lines: Vec<Line> = there
        .map(|key| {
            txt(record::name(&key.domain, &key.selector), &record::text(key.algorithm, &key.public_key))
        })
        .collect();
    if lines.is_empty() {
        lines.push(Line::Comment(format!("there is no key yet: gatepost dkim generate {}", plan.domain)));
    }
    lines
}

fn judge(plan: &Plan, answers: &Answers, report: &mut Report) {
    for (key, answer) in plan.keys.iter().zip(&answers.keys) {
        if key.state != KeyState::Removed {
            one(key, answer, report);
        }
    }
}

fn one(key: &Key, answer: &Lookup<gatepost::dkim::Finding>, report: &mut Report) {
    let (domain, selector) = (&key.domain, &key.selector);
    let name = format!("DKIM key {selector} of {domain} ({})", key.state);
    let finding = match answer {
        Lookup::Found(finding) => finding,
        Lookup::None => return,
        Lookup::Unavailable(why) | Lookup::Misconfigured(why) => {
            return report.warn(&format!("{name}: {why}"));
        }
    };
    if finding.is_shown() {
        report.ok(&format!("{name}: DNS shows it"));
        for warning in &finding.warnings {
            report.warn(&format!("{name}: {warning}"));
        }
        return;
    }
    let detail = if finding.detail.is_empty() { "DNS has no record" } else { &finding.detail };
    let advice = format!("`gatepost dkim dns {domain} {selector}`");
    match key.state {
        KeyState::Active => report.fail(&format!("{name}: {detail}: mail is not signed with it; {advice}")),
        KeyState::New | KeyState::Published => {
            report.warn(&format!("{name}: {detail}: it waits for its record; {advice}"))
        }
        // A retired key's record may go after a week; `gatepost dkim check` knows when.
        KeyState::Retired | KeyState::Removed => report.ok(&format!("{name}: its record is gone")),
    }
}
