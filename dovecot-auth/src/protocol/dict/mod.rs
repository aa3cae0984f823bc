//! Dovecot's dict protocol, as its `proxy:` driver speaks it: versions 3.x (2.3) and 4.x (2.4). src/lib-dict/dict-client.h.
//!
//! Lines of at most [`MAX_LINE`] bytes from the client; the first character is the command. There is no greeting, and no reply to the
//! hello. Only `L`, `I`, `C` and `D` are answered, in the order they came:
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
//! Keys under `priv/` belong to the user of the command, keys under `shared/` to all.

mod command;
pub mod key;
mod reply;

pub use command::{Command, Flags, Hello, LineError};
pub use reply::Reply;

/// DICT_CLIENT_MAX_LINE_LENGTH of Dovecot: its own server refuses more.
pub const MAX_LINE: usize = 64 * 1024;

/// The major versions that this grammar holds for; Dovecot's own server takes only its own.
pub const MAJORS: std::ops::RangeInclusive<u32> = 3..=4;
