//! Section `[dkim]`: how signing keys are kept and watched. Read by the tool, which writes them, and by the milter, which signs.

use std::path::PathBuf;

use serde::Deserialize;

use super::Seconds;

/// `[dkim]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Dkim {
    /// The file whose first line encrypts the private keys in the database: 32 random bytes in base64. Further lines are former keys,
    /// which still decrypt. Readable by its owner and group only. None: private keys stand in the database as they are.
    pub key_file: Option<PathBuf>,
    /// How often the milter asks DNS whether it still shows each key. A key that DNS does not show is asked for more often.
    pub check_every: Seconds,
}

impl Default for Dkim {
    fn default() -> Self {
        Self { key_file: None, check_every: Seconds::new(3600) }
    }
}
