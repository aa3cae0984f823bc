//! Root as the database's owner.
//!
//! On a stock server `peer` in pg_hba.conf lets the system user `postgres` be the role `postgres`, and nobody else. Whoever runs the
//! tool as root, because it must look at files and sockets too, would be no role at all. PostgreSQL asks the kernel whose the connection
//! is (unix(7), SO_PEERCRED), and that is the effective user at the moment of connecting; so for that moment root steps down.

use gatepost::config::Database;
use nix::unistd::{Uid, User, seteuid};

/// As long as it lives, the process acts as `postgres`, or whom it was made for; then as root again.
pub(super) struct Owner(());

impl Owner {
    /// The role to connect as, if we should step down: we are root, the database is behind a unix socket, nobody named a role, and
    /// there is such a user.
    pub(super) fn role(database: &Database) -> Option<&'static str> {
        let wanted = Uid::current().is_root() && database.host.are_local() && database.user.is_none();
        (wanted && user().is_some()).then_some(NAME)
    }

    /// Steps down; nothing happens where that was done already.
    pub(super) fn assume() -> Option<Self> {
        Self::user(user()?.uid)
    }

    /// The same for any system user, to see what PostgreSQL lets it be.
    pub(super) fn user(uid: Uid) -> Option<Self> {
        if !Uid::effective().is_root() {
            return None;
        }
        seteuid(uid).ok()?;
        Some(Self(()))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        // The real user is root still, so the kernel lets us back (seteuid(2)).
        let _ = seteuid(Uid::from_raw(0));
    }
}

fn user() -> Option<User> {
    User::from_name(NAME).ok()?
}

/// The system user and the role of Debian's packages.
const NAME: &str = "postgres";
