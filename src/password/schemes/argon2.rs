//! Argon2 (RFC 9106) as a PHC string: `$argon2id$v=19$m=65536,t=4,p=1$salt$hash`. PHP's and Nextcloud's default, Dovecot's best.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, Version};

use super::super::scheme::{Cost, Form, Scheme};
use super::super::workspace::Workspace;
use super::{same, text};

pub(in super::super) const ARGON2ID: Scheme = Scheme {
    name: "ARGON2ID",
    aliases: &[],
    summary: "argon2id (RFC 9106); what new passwords get",
    weak: false,
    dovecot: true,
    form: Form::Text,
    pattern: |text| text.starts_with("$argon2id$"),
    cost: |hash| Some(read(hash, Algorithm::Argon2id)?.cost()),
    verify: |hash, password, workspace| read(hash, Algorithm::Argon2id)?.verify(password, workspace),
};

pub(in super::super) const ARGON2I: Scheme = Scheme {
    name: "ARGON2I",
    aliases: &[],
    summary: "argon2i (RFC 9106)",
    pattern: |text| text.starts_with("$argon2i$"),
    cost: |hash| Some(read(hash, Algorithm::Argon2i)?.cost()),
    verify: |hash, password, workspace| read(hash, Algorithm::Argon2i)?.verify(password, workspace),
    ..ARGON2ID
};

/// Dovecot has no name for it.
pub(in super::super) const ARGON2D: Scheme = Scheme {
    name: "ARGON2D",
    aliases: &[],
    summary: "argon2d (RFC 9106)",
    dovecot: false,
    pattern: |text| text.starts_with("$argon2d$"),
    cost: |hash| Some(read(hash, Algorithm::Argon2d)?.cost()),
    verify: |hash, password, workspace| read(hash, Algorithm::Argon2d)?.verify(password, workspace),
    ..ARGON2ID
};

/// A hash, read.
pub(super) struct Read {
    context: Argon2<'static>,
    memory: u32,
    passes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// A text that was cut off parses as a PHC string, and would be "wrong" for every password: all of it must be there. Hashes have 16, 24, 32 …
/// bytes, whoever makes them.
pub(super) fn read(hash: &[u8], algorithm: Algorithm) -> Option<Read> {
    let phc = PasswordHash::new(text(hash)?).ok()?;
    if Algorithm::try_from(phc.algorithm.as_str()).ok()? != algorithm {
        return None;
    }
    let params = Params::try_from(&phc).ok()?;
    // Without v= it is version 0x10 (RFC 9106's predecessor, PHC string format).
    let version = phc.version.map_or(Ok(Version::V0x10), Version::try_from).ok()?;
    let (memory, passes) = (params.m_cost(), params.t_cost());
    let expected =
        Some(phc.hash?.as_ref().to_vec()).filter(|hash| hash.len() >= 16 && hash.len() % 8 == 0)?;
    Some(Read {
        context: Argon2::new(algorithm, version, params),
        memory,
        passes,
        salt: phc.salt?.as_ref().to_vec(),
        hash: expected,
    })
}

impl Read {
    /// A KiB takes about a microsecond in each pass.
    pub(super) fn cost(&self) -> Cost {
        Cost { memory: self.memory.max(8), micros: u64::from(self.memory) * u64::from(self.passes) }
    }

    pub(super) fn verify(&self, password: &[u8], workspace: &mut Workspace) -> Option<bool> {
        let count = self.context.params().block_count();
        let mut found = vec![0; self.hash.len()];
        let blocks = workspace.blocks(count)?;
        self.context.hash_password_into_with_memory(password, &self.salt, &mut found, blocks).ok()?;
        workspace.wipe(count);
        Some(same(&found, &self.hash))
    }
}
