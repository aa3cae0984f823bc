//! The negotiation: what the MTA offers, what we want of it, what is agreed.
//!
//! For `session`. Whatever is asked for beyond the offer makes Postfix drop the connection ("milter protocol error"), so an
//! [`Agreement`] is always a subset of the offer, and the code that follows looks at the agreement, never at the wish.
//!
//! ```text
//! MTA:    O version:u32 actions:u32 steps:u32
//! milter: O version:u32 actions:u32 steps:u32 *( stage:u32 "macro names separated by spaces" NUL )
//! ```
//!
//! Postfix 3.7 and 3.10 offer version 6, actions 0x1ff, steps 0x1fffff. The macro lists are allowed only when the action
//! [`actions::SET_MACRO_LIST`] is offered; they override `milter_*_macros` of main.cf, so no setting of the admin can take a macro
//! away from us.

use super::macros::Stage;

/// The version we speak. Older MTAs get their own, down to [`OLDEST_VERSION`].
const VERSION: u32 = 6;

/// Version 1 had no negotiation of steps; nothing in use speaks it.
const OLDEST_VERSION: u32 = 2;

/// Bits of the actions word (`SMFIF_*` in Sendmail's words).
pub mod actions {
    /// Add and insert header fields.
    pub const ADD_HEADERS: u32 = 0x001;
    /// Replace the body.
    pub const CHANGE_BODY: u32 = 0x002;
    /// Add recipients.
    pub const ADD_RECIPIENTS: u32 = 0x004;
    /// Remove recipients.
    pub const DELETE_RECIPIENTS: u32 = 0x008;
    /// Change and delete header fields.
    pub const CHANGE_HEADERS: u32 = 0x010;
    /// Put the message on hold.
    pub const QUARANTINE: u32 = 0x020;
    /// Replace the sender.
    pub const CHANGE_FROM: u32 = 0x040;
    /// Add recipients with ESMTP parameters.
    pub const ADD_RECIPIENTS_WITH_PARAMETERS: u32 = 0x080;
    /// Say which macros are wanted.
    pub const SET_MACRO_LIST: u32 = 0x100;
}

/// Bits of the steps word (`SMFIP_*` in Sendmail's words).
pub mod steps {
    /// No `C`.
    pub const NO_CONNECT: u32 = 0x000_001;
    /// No `H`.
    pub const NO_HELO: u32 = 0x000_002;
    /// No `M`.
    pub const NO_MAIL: u32 = 0x000_004;
    /// No `R`.
    pub const NO_RCPT: u32 = 0x000_008;
    /// No `B`.
    pub const NO_BODY: u32 = 0x000_010;
    /// No `L`.
    pub const NO_HEADERS: u32 = 0x000_020;
    /// No `N`.
    pub const NO_END_OF_HEADERS: u32 = 0x000_040;
    /// `L` is not answered.
    pub const NO_REPLY_HEADER: u32 = 0x000_080;
    /// No `U`.
    pub const NO_UNKNOWN: u32 = 0x000_100;
    /// No `T`.
    pub const NO_DATA: u32 = 0x000_200;
    /// The reply `s` is understood.
    pub const SKIP: u32 = 0x000_400;
    /// Recipients that the MTA refused are shown as well.
    pub const SHOW_REJECTED_RCPT: u32 = 0x000_800;
    /// `C` is not answered.
    pub const NO_REPLY_CONNECT: u32 = 0x001_000;
    /// `H` is not answered.
    pub const NO_REPLY_HELO: u32 = 0x002_000;
    /// `M` is not answered.
    pub const NO_REPLY_MAIL: u32 = 0x004_000;
    /// `R` is not answered.
    pub const NO_REPLY_RCPT: u32 = 0x008_000;
    /// `T` is not answered.
    pub const NO_REPLY_DATA: u32 = 0x010_000;
    /// `U` is not answered.
    pub const NO_REPLY_UNKNOWN: u32 = 0x020_000;
    /// `N` is not answered.
    pub const NO_REPLY_END_OF_HEADERS: u32 = 0x040_000;
    /// `B` is not answered.
    pub const NO_REPLY_BODY: u32 = 0x080_000;
    /// Header values keep the white space after the colon, both ways.
    pub const HEADER_LEADING_SPACE: u32 = 0x100_000;
}

/// What the MTA says it can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// The highest version it speaks.
    pub version: u32,
    /// Bits of [`actions`].
    pub actions: u32,
    /// Bits of [`steps`].
    pub steps: u32,
}

/// What we would like, bit by bit, and the macros for each stage.
#[derive(Debug, Clone, Copy)]
pub struct Requests {
    /// Bits of [`actions`].
    pub actions: u32,
    /// Bits of [`steps`].
    pub steps: u32,
    /// Macro names separated by spaces, for each stage where the MTA's default is not enough.
    pub macros: &'static [(Stage, &'static str)],
}

/// What holds for this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    /// The version.
    pub version: u32,
    /// Bits of [`actions`].
    pub actions: u32,
    /// Bits of [`steps`].
    pub steps: u32,
}

impl Offer {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let word =
            |at: usize| data.get(at..at + 4)?.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes));
        Some(Self { version: word(0)?, actions: word(4)?, steps: word(8)? })
    }

    /// The part of our wishes that the MTA offers; none when no common version exists.
    pub fn agree(&self, requests: &Requests) -> Option<Agreement> {
        if self.version < OLDEST_VERSION {
            return None;
        }
        Some(Agreement {
            version: self.version.min(VERSION),
            actions: self.actions & requests.actions,
            steps: self.steps & requests.steps,
        })
    }
}

impl Agreement {
    /// The answer to the offer, as the content of one frame.
    pub fn encode(&self, requests: &Requests) -> Vec<u8> {
        let mut out = vec![b'O'];
        for word in [self.version, self.actions, self.steps] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        if self.may(actions::SET_MACRO_LIST) {
            for (stage, names) in requests.macros {
                out.extend_from_slice(&stage.number().to_be_bytes());
                out.extend_from_slice(names.as_bytes());
                out.push(0);
            }
        }
        out
    }

    /// Whether these actions were agreed.
    pub fn may(&self, actions: u32) -> bool {
        self.actions & actions == actions
    }

    /// Whether these steps were agreed.
    pub fn has(&self, steps: u32) -> bool {
        self.steps & steps == steps
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const REQUESTS: Requests = Requests {
        actions: actions::ADD_HEADERS | actions::SET_MACRO_LIST,
        steps: steps::NO_REPLY_HEADER | steps::HEADER_LEADING_SPACE,
        macros: &[(Stage::Mail, "i {auth_authen}")],
    };

    #[test]
    fn answers_a_subset_with_macro_lists() {
        let offer = Offer { version: 6, actions: 0x1ff, steps: 0x1f_ffff };
        let agreement = offer.agree(&REQUESTS).unwrap();
        assert_eq!(
            agreement.encode(&REQUESTS),
            b"O\0\0\0\x06\0\0\x01\x01\0\x10\0\x80\0\0\0\x02i {auth_authen}\0"
        );
    }

    #[test]
    fn an_old_mta_gets_its_own_version_and_no_lists() {
        let offer = Offer { version: 2, actions: 0x3f, steps: 0x7f };
        let agreement = offer.agree(&REQUESTS).unwrap();
        assert_eq!(agreement, Agreement { version: 2, actions: 1, steps: 0 });
        assert_eq!(agreement.encode(&REQUESTS), b"O\0\0\0\x02\0\0\0\x01\0\0\0\0");
        assert!(!agreement.has(steps::HEADER_LEADING_SPACE));
    }

    #[test]
    fn unknown_bits_and_future_versions_are_left_alone() {
        let offer = Offer { version: 99, actions: u32::MAX, steps: u32::MAX };
        let agreement = offer.agree(&REQUESTS).unwrap();
        let expected = Agreement { version: 6, actions: REQUESTS.actions, steps: REQUESTS.steps };
        assert_eq!(agreement, expected);
        assert_eq!(Offer { version: 1, actions: 0, steps: 0 }.agree(&REQUESTS), None);
    }
}
