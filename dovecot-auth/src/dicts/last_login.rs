//! `last_login`: when each user was last there, for Dovecot's last_login plugin.
//!
//! ```text
//! shared/last-login/alice@example.com[/imap]      1767000000     `last_login_key`, seconds since 1970 or as last_login_precision says
//! shared/last-login/alice@example.com/ip          192.0.2.7      2.4 `last_login_dict_fields`
//! ```
//!
//! The key is Dovecot's setting, so any key is taken that has the user's name as one of its components. Unlike our own record of
//! logins this one knows of whatever loads the plugin: in our examples deliveries too, for Dovecot 2.3 also doveadm. Refuses keys of other users.

use super::{Dict, Place, Refused, kept};
use crate::protocol::dict::key;

/// The dictionary.
pub(super) const LAST_LOGIN: Dict = Dict {
    name: NAME,
    summary: "when each user was last there, for the last_login plugin",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(kept::look_up(sources, NAME, permit, key, user)),
    iterate: |sources, path, user| Box::pin(kept::iterate(sources, NAME, permit, path, user)),
    change: |sources, changes, writer| Box::pin(kept::change(sources, NAME, permit, changes, writer)),
};

const NAME: &str = "last_login";

fn permit(text: &str, user: &str) -> Result<(), Refused> {
    let components = key::components(text);
    if components.first().is_some_and(|first| first == "shared")
        && components.iter().skip(1).any(|component| component.eq_ignore_ascii_case(user))
    {
        return Ok(());
    }
    Err(Refused(format!("no key of {user}: last_login_key must hold the user, as in last-login/%u/%s")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_user_has_its_own_keys() {
        for key in ["shared/last-login/a@b.test", "shared/last-login/A@b.test/imap", "shared/x/ip/a@b.test"] {
            assert_eq!(permit(key, "a@b.test"), Ok(()), "{key}");
        }
        for key in
            ["shared/last-login/c@b.test", "priv/last-login/a@b.test", "shared/xa@b.test", "a@b.test", ""]
        {
            assert!(permit(key, "a@b.test").is_err(), "{key}");
        }
    }
}
