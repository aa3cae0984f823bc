//! The spam verdict and DMARC together: the stricter of the two is done.
//!
//! For `service` and `ask`. DMARC has no points of its own here (its rules have theirs); what it did and why stands in the report as a
//! symbol without points, and so in the log and in every header that explains a verdict.

use super::{Action, Enforcement};
use crate::rules::Evidence;
use crate::verdict::{self, Hit, Verdict};

/// The symbol in the report. It is no rule: it has no points, and `[milter.weights]` does not know it.
pub const SYMBOL: &str = "DMARC_DISPOSITION";

/// Makes a verdict of the rules one of the rules and DMARC. Where both refuse, DMARC's reply stands: it names a cause that the sender
/// can mend. Where one refuses and the other would have the message come again, it is refused: nothing that may still be found out
/// would make it welcome.
pub fn combine(verdict: &mut Verdict, enforcement: &Enforcement) {
    let note = enforcement.note();
    if !note.is_empty() {
        verdict.symbols.push(Hit { symbol: SYMBOL, weight: 0.0, evidence: Evidence::new(note).text });
    }
    let stricter = match (&enforcement.action, &verdict.action) {
        (Action::Refuse(reply), _) => verdict::Action::Reject(reply.clone()),
        // What the rules would put on hold or mark waits until it is known.
        (Action::TryLater { reply, .. }, rules)
            if rules.delivers() || *rules == verdict::Action::Quarantine =>
        {
            verdict::Action::Defer(reply.clone())
        }
        (Action::Quarantine, verdict::Action::NoAction) => verdict::Action::AddHeader,
        _ => return,
    };
    verdict.action = stricter;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::dmarc::Policy;
    use gatepost::mail::SmtpReply;

    use super::*;
    use crate::score::Thresholds;

    #[test]
    fn the_stricter_of_the_two_is_done() {
        let spam = || verdict::Action::Reject(SmtpReply::new(554, "5.7.1", "spam"));
        let forged = SmtpReply::new(550, "5.7.26", "DMARC");
        let later = SmtpReply::new(451, "4.7.1", "later");
        let refuse = || Action::Refuse(forged.clone());
        let try_later =
            || Action::TryLater { reply: later.clone(), why: String::new(), misconfigured: false };
        for (rules, dmarc, expected) in [
            (verdict::Action::NoAction, Action::Nothing, verdict::Action::NoAction),
            (verdict::Action::NoAction, Action::Quarantine, verdict::Action::AddHeader),
            (verdict::Action::NoAction, refuse(), verdict::Action::Reject(forged.clone())),
            (verdict::Action::NoAction, try_later(), verdict::Action::Defer(later.clone())),
            (verdict::Action::AddHeader, Action::Nothing, verdict::Action::AddHeader),
            (verdict::Action::AddHeader, Action::Quarantine, verdict::Action::AddHeader),
            (verdict::Action::AddHeader, refuse(), verdict::Action::Reject(forged.clone())),
            (verdict::Action::AddHeader, try_later(), verdict::Action::Defer(later.clone())),
            (spam(), Action::Nothing, spam()),
            (spam(), Action::Quarantine, spam()),
            (spam(), refuse(), verdict::Action::Reject(forged.clone())),
            (spam(), try_later(), spam()),
        ] {
            let mut verdict = Verdict {
                action: rules,
                score: 0.0,
                thresholds: Thresholds::default(),
                symbols: Vec::new(),
                missing: Vec::new(),
            };
            let enforcement = Enforcement {
                action: dmarc,
                asked: Policy::Reject,
                reasons: Vec::new(),
                intended: Policy::Reject,
            };
            combine(&mut verdict, &enforcement);
            assert_eq!(verdict.action, expected, "{enforcement:?}");
            assert!(verdict.has(SYMBOL));
        }
    }
}
