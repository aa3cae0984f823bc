//! What a message is besides its words: whether it came by a mailing list, and whether it answers something.
//!
//! For [`Calibration`](super::calibration) and the rules. The views judge alike whatever the message is, but what their word is worth differs. A
//! list writes most of the header, so the header of a stranger's spam looks like that of all that the list sends; and the mail that is hardest
//! to tell from spam, which shops and banks send to those who asked for it, does not come by lists.

use crate::facts::headers::is_by_list_program;
use crate::message::Message;

/// What kind of mail a message is, by its header alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    /// Neither from a list nor an answer.
    #[default]
    Other,
    /// From a mailing list, and answers nothing.
    ListPost,
    /// From a mailing list, and refers to an earlier message.
    ListReply,
    /// Refers to an earlier message, not from a list.
    Reply,
}

impl Kind {
    /// All of them, in the order of their numbers.
    pub(super) const ALL: [Self; 4] = [Self::Other, Self::ListPost, Self::ListReply, Self::Reply];

    /// The kind of a message.
    pub fn of(message: &Message) -> Self {
        let has = |name: &str| message.headers.iter().any(|field| field.is(name));
        let refers = |name: &str| {
            let field = message.headers.iter().find(|field| field.is(name));
            field.is_some_and(|field| field.value.contains(&b'@'))
        };
        // One-click unsubscription (RFC 8058) is bulk senders' own.
        let list = is_by_list_program(has) && !has("list-unsubscribe-post");
        match (list, refers("in-reply-to") || refers("references")) {
            (false, false) => Self::Other,
            (true, false) => Self::ListPost,
            (true, true) => Self::ListReply,
            (false, true) => Self::Reply,
        }
    }
}

/// How much more often messages of each kind are spam than the views say: log-odds, learned along.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Offsets {
    /// By [`Kind::ALL`].
    pub(super) log_odds: [f64; 4],
    /// Samples of each kind.
    pub(super) samples: [u64; 4],
}

impl Offsets {
    /// How fast an offset follows at first, and after how many samples of its kind more slowly. Tried: 0.02 to 0.3.
    const RATE: f64 = 0.1;
    const SETTLED: f64 = 1_000.0;
    /// The most that a kind may say.
    const MOST: f64 = 4.0;

    /// What a message's kind adds to its log-odds.
    pub(super) fn of(&self, kind: Kind) -> f64 {
        self.log_odds.get(kind as usize).copied().unwrap_or_default()
    }

    /// Follows a sample of which `error` is its label, 1 for spam, less the probability that was given to it.
    pub(super) fn learn(&mut self, kind: Kind, error: f64) {
        let at = kind as usize;
        if let (Some(offset), Some(samples)) = (self.log_odds.get_mut(at), self.samples.get_mut(at)) {
            *samples += 1;
            let rate = Self::RATE / (1.0 + *samples as f64 / Self::SETTLED).sqrt();
            *offset = (*offset + rate * error).clamp(-Self::MOST, Self::MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learning::Label;

    fn kind(header: &str) -> Kind {
        Kind::of(&Message::from_eml(format!("{header}Subject: x\n\nbody\n").as_bytes()))
    }

    #[test]
    fn a_list_leaves_two_marks_and_an_answer_names_a_message() {
        let list = "List-Id: <talk.example.org>\nList-Post: <mailto:talk@example.org>\n";
        let answer = "References: <1@example.org>\n";
        assert_eq!(kind(""), Kind::Other);
        assert_eq!(kind(list), Kind::ListPost);
        assert_eq!(kind(&format!("{list}{answer}")), Kind::ListReply);
        assert_eq!(kind(answer), Kind::Reply);
        assert_eq!(kind("In-Reply-To: Your message of Monday\n"), Kind::Other, "names no message");
    }

    #[test]
    fn a_newsletter_is_no_list() {
        assert_eq!(
            kind("List-Id: <news.example.org>\nList-Unsubscribe: <https://example.org/u>\n"),
            Kind::Other
        );
        let one_click = "List-Id: <n.example.org>\nList-Help: <https://example.org>\n\
                         List-Unsubscribe-Post: List-Unsubscribe=One-Click\n";
        assert_eq!(kind(one_click), Kind::Other);
    }

    #[test]
    fn every_kind_has_its_own_offset() {
        let mut offsets = Offsets::default();
        for (number, known) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(known as usize, number);
        }
        offsets.learn(Kind::ListPost, Label::Spam.target().into());
        assert!(offsets.of(Kind::ListPost) > 0.0);
        assert_eq!(offsets.of(Kind::ListReply), 0.0);
    }
}
