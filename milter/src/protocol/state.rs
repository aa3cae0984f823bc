//! The order of commands: one pure function, from where the conversation stands and what came to where it stands now.
//!
//! For `session`. It refuses what libmilter silently ignores: a command out of order means that the two sides disagree about the
//! message, and a wrong answer there could be one message's verdict on another.
//!
//! ```text
//! Start -O-> Ready -C-> Connected -H-> Greeted -M-> Mail -R-> Rcpt -T-> Data -L-> Headers -N-> Body -B-> Body -E-> Greeted
//!            ^                    ^                                                             |
//!            +-K from anywhere    +-- A from anywhere between messages or inside one -----------+      Q: the end, from anywhere
//! ```
//!
//! Liberties that peers take: HELO again (after STARTTLS), MAIL without HELO, RCPT refused by the MTA and not shown (DATA after
//! MAIL), no `T` (version 2 and 3), no header at all, no body at all, ABORT when there is nothing to abort (Postfix, after each
//! message), unknown SMTP commands between the others, macros at any time.

/// Where the conversation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing was said.
    Start,
    /// Agreed; no SMTP client yet.
    Ready,
    /// An SMTP client is there.
    Connected,
    /// It said HELO, or a message is over: the next one may begin.
    Greeted,
    /// A message began with its sender.
    Mail,
    /// It has recipients.
    Rcpt,
    /// DATA was accepted.
    Data,
    /// Header fields are coming.
    Headers,
    /// The header block is complete; the body is coming.
    Body,
    /// Over.
    Closed,
}

/// The kinds of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Event {
    /// `O`
    Negotiate,
    /// `C`
    Connect,
    /// `H`
    Helo,
    /// `M`
    Mail,
    /// `R`
    Rcpt,
    /// `T`
    Data,
    /// `L`
    Header,
    /// `N`
    EndOfHeaders,
    /// `B`
    Body,
    /// `E`
    EndOfBody,
    /// `A`
    Abort,
    /// `Q`
    Quit,
    /// `K`
    QuitNewConnection,
    /// `U`
    Unknown,
    /// `D`
    Macros,
}

impl State {
    /// Where the conversation stands after that command; none when it may not come now.
    pub fn after(self, event: Event) -> Option<Self> {
        use Event as E;
        use State as S;
        match (self, event) {
            (S::Closed, _) => None,
            (_, E::Quit) => Some(S::Closed),
            (S::Start, E::Negotiate) => Some(S::Ready),
            (S::Start, _) | (_, E::Negotiate) => None,
            // Macros belong to the command that follows; whether that one may come is judged when it comes.
            (state, E::Macros) => Some(state),
            (_, E::QuitNewConnection) => Some(S::Ready),
            (S::Ready, E::Connect) => Some(S::Connected),
            // Postfix aborts after each message and before it quits, also where nothing was begun.
            (S::Ready | S::Connected | S::Greeted, E::Abort) => Some(self),
            (S::Mail | S::Rcpt | S::Data | S::Headers | S::Body, E::Abort) => Some(S::Greeted),
            (S::Connected | S::Greeted, E::Helo) => Some(S::Greeted),
            (S::Connected | S::Greeted, E::Mail) => Some(S::Mail),
            (S::Mail | S::Rcpt, E::Rcpt) => Some(S::Rcpt),
            (S::Mail | S::Rcpt, E::Data) => Some(S::Data),
            (S::Connected | S::Greeted | S::Mail | S::Rcpt, E::Unknown) => Some(self),
            // Without `T` (protocol 2 and 3), the first header or the end of headers opens the message.
            (S::Rcpt | S::Data | S::Headers, E::Header) => Some(S::Headers),
            (S::Rcpt | S::Data | S::Headers, E::EndOfHeaders) => Some(S::Body),
            (S::Body, E::Body) => Some(S::Body),
            (S::Body, E::EndOfBody) => Some(S::Greeted),
            _ => None,
        }
    }

    /// Whether no message is under way, so that closing here loses nothing.
    pub fn is_between_messages(self) -> bool {
        matches!(self, Self::Start | Self::Ready | Self::Connected | Self::Greeted | Self::Closed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::{Event as E, State as S};

    const STATES: [S; 10] = [
        S::Start,
        S::Ready,
        S::Connected,
        S::Greeted,
        S::Mail,
        S::Rcpt,
        S::Data,
        S::Headers,
        S::Body,
        S::Closed,
    ];

    /// One row for each event, one column for each state in the order above: the state after it, `.` for refused.
    /// S start, r ready, c connected, g greeted, m mail, R rcpt, d data, h headers, b body, e ended
    const TABLE: [(E, &str); 15] = [
        (E::Negotiate, "r........."),
        (E::Connect, ".c........"),
        (E::Helo, "..gg......"),
        (E::Mail, "..mm......"),
        (E::Rcpt, "....RR...."),
        (E::Data, "....dd...."),
        (E::Header, ".....hhh.."),
        (E::EndOfHeaders, ".....bbb.."),
        (E::Body, "........b."),
        (E::EndOfBody, "........g."),
        (E::Abort, ".rcgggggg."),
        (E::Quit, "eeeeeeeee."),
        (E::QuitNewConnection, ".rrrrrrrr."),
        (E::Unknown, "..cgmR...."),
        (E::Macros, ".rcgmRdhb."),
    ];

    fn letter(state: Option<S>) -> char {
        match state {
            None => '.',
            Some(S::Start) => 'S',
            Some(S::Ready) => 'r',
            Some(S::Connected) => 'c',
            Some(S::Greeted) => 'g',
            Some(S::Mail) => 'm',
            Some(S::Rcpt) => 'R',
            Some(S::Data) => 'd',
            Some(S::Headers) => 'h',
            Some(S::Body) => 'b',
            Some(S::Closed) => 'e',
        }
    }

    #[test]
    fn every_pair_of_state_and_command() {
        for (event, row) in TABLE {
            let found: String = STATES.iter().map(|state| letter(state.after(event))).collect();
            assert_eq!(found, row, "{event:?}");
        }
    }

    #[test]
    fn closing_is_free_only_between_messages() {
        let free: String =
            STATES.iter().map(|state| if state.is_between_messages() { '1' } else { '0' }).collect();
        assert_eq!(free, "1111000001");
    }
}
