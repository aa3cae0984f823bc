//! Dovecot's dict protocol, as its `proxy:` driver speaks it: versions 3.x (2.3) and 4.x (2.4). src/lib-dict/dict-client.h.
//!
//! Lines of at most [`MAX_LINE`] bytes from the client; the first character is the command. There is no greeting, and no reply to the
//! hello. Only `L`, `I`, `C` and `D` are answered, in the order they came, or numbered:
//!
//! ```text
//! C: H3 TAB 2 TAB 0 TAB TAB acl                                     2.4: H4 TAB 0 TAB 0 TAB TAB acl
//! C: I1 TAB 0 TAB shared/shared-boxes/user/bob@example.com/ TAB bob@example.com
//! S: Oshared/shared-boxes/user/bob@example.com/alice@example.com TAB 1
//! S:                                                                an empty line ends the rows
//! C: B1 TAB alice@example.com
//! C: S1 TAB shared/shared-boxes/user/bob@example.com/alice@example.com TAB 1
//! C: C1
//! S: O1
//! ```
//!
//! `*7` gives the number 7 to the first command that is unanswered and has none; each line of its answer is `+7 TAB …` then, and may come
//! at any time. A line without a number answers the first unanswered command, whether it has one or not. Since 3.1.
//!
//! Keys under `priv/` belong to the user of the command, keys under `shared/` to all.

mod command;
pub mod key;
mod reply;

pub use command::{Command, Flags, Hello, LineError};
pub use reply::{Reply, number};

/// DICT_CLIENT_MAX_LINE_LENGTH of Dovecot: its own server refuses more.
pub const MAX_LINE: usize = 64 * 1024;

/// Whether a client of that version takes numbered answers (DICT_CLIENT_PROTOCOL_UNORDERED_MIN_VERSION).
pub fn takes_numbers(hello: &Hello) -> bool {
    hello.major > 3 || hello.minor >= 1
}

/// The major versions that this grammar holds for; Dovecot's own server takes only its own.
pub const MAJORS: std::ops::RangeInclusive<u32> = 3..=4;
