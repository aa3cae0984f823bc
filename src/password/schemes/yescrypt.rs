//! yescrypt: `$y$j9T$salt$hash`, Debian's default for system passwords (crypt(5) of libxcrypt). `$gy$` and `$7$` are not known here.

use yescrypt::{Mode, Params, PasswordVerifier, Yescrypt};

use super::super::scheme::{Cost, Form, Scheme};
use super::text;

/// Dovecot verifies it as `{CRYPT}`; the name of its own is ours.
pub(in super::super) const YESCRYPT: Scheme = Scheme {
    name: "YESCRYPT",
    aliases: &[],
    summary: "yescrypt ($y$), Debian's system passwords",
    weak: false,
    dovecot: false,
    form: Form::Text,
    pattern: |text| text.starts_with("$y$"),
    cost: |hash| cost(text(hash)?),
    verify: |hash, password, _| verify(text(hash)?, password),
};

fn cost(hash: &str) -> Option<Cost> {
    let mut fields = hash.strip_prefix("$y$")?.split('$');
    let params: Params = fields.next()?.parse().ok()?;
    let (salt, expected) = (fields.next()?, fields.next()?);
    // 32 bytes in 43 characters, and at most 64 bytes of salt.
    if fields.next().is_some() || expected.len() != 43 || salt.len() > 86 {
        return None;
    }
    // What crypt(3) makes has no further parameters; whatever they would cost is not counted here.
    if params.n() > 1 << 32 || params.r() > 1 << 20 || params.p() != 1 {
        return Some(TOO_DEAR);
    }
    if Params::new(Mode::default(), params.n(), params.r(), params.p()).ok()? != params {
        return None;
    }
    let blocks = params.n().checked_mul(params.r().into())?;
    let memory = u32::try_from(blocks / 8).unwrap_or(u32::MAX);
    Some(Cost { memory: memory.max(8), micros: blocks / 2 })
}

fn verify(hash: &str, password: &[u8]) -> Option<bool> {
    cost(hash)?;
    match Yescrypt::default().verify_password(password, hash) {
        Ok(()) => Some(true),
        Err(yescrypt::password_hash::Error::PasswordInvalid) => Some(false),
        Err(_) => None,
    }
}

const TOO_DEAR: Cost = Cost { memory: u32::MAX, micros: u64::MAX };
