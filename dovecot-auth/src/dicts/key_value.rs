//! `key_value`: whatever a plugin or a Sieve script wants to keep. Keys under `priv/` are each user's own, keys under `shared/` are for all.

use super::{Dict, Place, kept};

/// The dictionary.
pub(super) const KEY_VALUE: Dict = Dict {
    name: NAME,
    summary: "keys and values of any other use: priv/ of each user, shared/ of all",
    place: Place::Mail,
    look_up: |sources, key, user| Box::pin(kept::look_up(sources, NAME, |_, _| Ok(()), key, user)),
    iterate: |sources, path, user| Box::pin(kept::iterate(sources, NAME, |_, _| Ok(()), path, user)),
    change: |sources, changes, writer| Box::pin(kept::change(sources, NAME, |_, _| Ok(()), changes, writer)),
};

const NAME: &str = "key_value";
