//! Secrets that systemd passes (`LoadCredential=`, systemd.exec(5)): `credential:NAME` where the configuration names a file of secrets.
//!
//! systemd reads the file as root and shows the daemon a copy in `$CREDENTIALS_DIRECTORY`, so that nobody else need be able to read it.

use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::ConfigError;

/// The file that `path` stands for: itself, or a credential in `directory`, which is `$CREDENTIALS_DIRECTORY`.
///
/// # Errors
/// [`ConfigError::Unreadable`] where no credentials were passed, or the name is none.
pub(super) fn resolve(path: &Path, directory: Option<OsString>) -> Result<Cow<'_, Path>, ConfigError> {
    let Some(name) = path.to_str().and_then(|text| text.strip_prefix(PREFIX)) else {
        return Ok(Cow::Borrowed(path));
    };
    let unreadable = |reason: &str, advice| ConfigError::Unreadable {
        path: path.to_owned(),
        reason: io::Error::other(reason.to_owned()),
        advice,
    };
    // A name is one part of a path, and no way out of the directory.
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(unreadable(
            "this is no name",
            "name the credential as its unit does, \"credential:NAME\"",
        ));
    }
    let directory = directory.filter(|value| !value.is_empty()).ok_or_else(|| {
        unreadable(
            "systemd passed no credentials",
            "this is for a daemon that systemd starts; for `check` and `ask` by hand use `systemd-run --pipe -p LoadCredential=…`, or name a file",
        )
    })?;
    Ok(Cow::Owned(PathBuf::from(directory).join(name)))
}

const PREFIX: &str = "credential:";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn resolved(path: &str, directory: Option<&str>) -> Result<PathBuf, String> {
        resolve(Path::new(path), directory.map(OsString::from))
            .map(Cow::into_owned)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_credential_lies_where_systemd_puts_it() {
        let directory = Some("/run/credentials/gatepost-milter.service");
        assert_eq!(
            resolved("credential:secret_password", directory).unwrap(),
            Path::new("/run/credentials/gatepost-milter.service/secret_password")
        );
        assert_eq!(resolved("/etc/gatepost/x", directory).unwrap(), Path::new("/etc/gatepost/x"));
        assert_eq!(resolved("/etc/gatepost/x", None).unwrap(), Path::new("/etc/gatepost/x"));
    }

    #[test]
    fn what_is_not_passed_says_what_to_do() {
        for directory in [None, Some("")] {
            let error = resolved("credential:a", directory).unwrap_err();
            assert!(error.starts_with("credential:a: systemd passed no credentials; "), "{error}");
        }
        for bad in ["credential:", "credential:../a", "credential:a/b", "credential:/etc/shadow"] {
            assert!(
                resolved(bad, Some("/run/credentials/x")).unwrap_err().contains("this is no name"),
                "{bad}"
            );
        }
    }
}
