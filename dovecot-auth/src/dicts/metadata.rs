//! `metadata`: annotations of mailboxes and of the server (RFC 5464), for 2.3 `mail_attribute_dict` and 2.4 `mail_attribute`.
//!
//! ```text
//! priv/<mailbox GUID, 32 hex digits>/<entry>      /private entries: each user's own
//! shared/<mailbox GUID>/<entry>                   /shared entries: for all who may see the mailbox, which Dovecot checks
//! ```
//!
//! Entries of the server stand under the GUID of the user's INBOX. Refuses keys without a GUID.

use super::{Dict, Place, Refused, kept};

/// The dictionary.
pub(super) const METADATA: Dict = Dict {
    name: NAME,
    summary: "annotations of mailboxes and of the server (IMAP METADATA)",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(kept::look_up(sources, NAME, permit, key, user)),
    iterate: |sources, path, user| Box::pin(kept::iterate(sources, NAME, permit, path, user)),
    change: |sources, changes, writer| Box::pin(kept::change(sources, NAME, permit, changes, writer)),
};

const NAME: &str = "metadata";

fn permit(key: &str, _user: &str) -> Result<(), Refused> {
    let guid = key.split('/').nth(1).unwrap_or_default();
    if guid.len() == 32 && guid.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(Refused("no key of this dictionary: a mailbox GUID follows priv/ or shared/".to_owned()))
}
