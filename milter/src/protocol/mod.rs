//! The milter protocol, version 6, between Postfix (or Sendmail) and us: bytes to commands, replies to bytes, nothing else.
//!
//! For `session`. It knows no policy, no configuration and no rule: it says what was sent, whether it may come now, and how an
//! answer is spelled.
//!
//! Sources: Postfix 3.7 and 3.10 as observed (MILTER_README; `src/milter/milter8.c` is the peer), Sendmail's
//! `libmilter` documentation for what Postfix does not send. There is no RFC.
//!
//! ```text
//! frame    = length command data      ; length: u32, big endian, counts command and data
//! command  = one ASCII byte           ; MTA to milter: C H M R T L N B E A Q K D U O
//! reply    = one ASCII byte           ; milter to MTA: c a d r t y p s 4 f, edits h i m b e + 2 - q, and O
//! string   = bytes NUL
//! ```
//!
//! Sizes: Postfix sends header fields of up to 60,000 bytes and body chunks of up to 65,535 ([`MAX_FRAME`] is the bound of what
//! we read); it reads replies of up to 1 GiB (we send at most [`MAX_BODY_CHUNK`] of body in one).
//!
//! One exchange, with `|` between the fields (`D` frames announce macros and are never answered):
//!
//! ```text
//! O|6|1ff|1fffff        ->      <- O|6|1ff|101d00...       negotiation
//! C|mx.test|4|12345|192.0.2.1 -> <- c
//! H|mx.test             ->      <- c
//! M|<a@b.test>          ->      <- c
//! R|<c@d.test>          ->      <- c
//! T                     ->      <- c
//! L|Subject| hello      ->           no reply: negotiated away, as for N and B
//! N                     ->
//! B|text                ->
//! E                     ->      <- h|X-Spam| Yes  <- c     edits are allowed only here
//! Q
//! ```

mod command;
mod frame;
mod macros;
mod negotiation;
mod reply;
mod state;

pub use command::{Arguments, Command, Family, Peer};
pub use frame::{Frames, MAX_FRAME};
pub use macros::{Macros, Stage as MacroStage};
pub use negotiation::{Agreement, Offer, Requests, actions, steps};
pub use reply::{Edit, MAX_BODY_CHUNK, Reply};
pub use state::{Event, State};

/// What the peer did that the protocol does not allow; the connection ends.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// A frame longer than the bound, or of no bytes.
    #[error("frame of {0} bytes; the bound is {MAX_FRAME}")]
    FrameSize(u32),
    /// A command byte that no version of the protocol knows.
    #[error("unknown command {:?}", char::from(*.0))]
    UnknownCommand(u8),
    /// A command whose data does not have its grammar.
    #[error("command {:?}: {what}", char::from(*.command))]
    Malformed {
        /// The command byte.
        command: u8,
        /// What is wrong with its data.
        what: &'static str,
    },
    /// A command that may not come now.
    #[error("command {event:?} does not follow {state:?}")]
    OutOfOrder {
        /// Where the conversation stood.
        state: State,
        /// What came.
        event: Event,
    },
    /// An offer that leaves nothing to agree on.
    #[error("the peer offers protocol version {0}; 2 to 6 are spoken here")]
    Version(u32),
    /// The connection failed, or ended inside a frame.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
