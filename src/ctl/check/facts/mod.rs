//! What is looked at before anything is judged, one file for each place: our own file, Postfix, Dovecot, the sockets, certificates, the
//! tutorial's tables. Each reads and changes nothing, and says so where it could not look.

pub(super) mod certificates;
pub(super) mod dovecot;
pub(super) mod file;
pub(in crate::ctl) mod postfix;
pub(super) mod sockets;
pub(super) mod tables;

use std::path::Path;
use std::process::{Command, Stdio};

use super::Check;
use crate::ctl::connection::Settings;
use certificates::Certificate;
use dovecot::Dovecot;
use file::OwnFile;
use postfix::Postfix;
use sockets::Socket;

/// What stands on this host.
pub(in crate::ctl) struct HostFacts {
    pub(super) own: OwnFile,
    pub(super) postfix: Result<Postfix, String>,
    pub(super) dovecot: Result<Dovecot, String>,
    pub(super) sockets: Vec<Socket>,
    pub(super) certificates: Vec<Certificate>,
    /// The characters of `[database] extension-delimiters`.
    pub(super) delimiters: String,
}

impl HostFacts {
    pub(super) fn gather(settings: &Settings, check: &Check) -> Self {
        let own = OwnFile::gather(settings);
        let postfix = Postfix::gather(check.postfix.as_deref());
        let dovecot = Dovecot::gather(check.dovecot.as_deref());
        let sockets = sockets::gather(&own, postfix.as_ref().ok(), dovecot.as_ref().ok());
        let certificates = certificates::gather(postfix.as_ref().ok(), dovecot.as_ref().ok());
        let delimiters = settings.config.database.extension_delimiters.clone();
        Self { own, postfix, dovecot, sockets, certificates, delimiters }
    }

    /// The name that Postfix greets with, if there is a Postfix that says so.
    pub(super) fn helo(&self) -> Option<&str> {
        let postfix = self.postfix.as_ref().ok()?;
        postfix.value("smtp_helo_name").or_else(|| postfix.value("myhostname"))
    }
}

/// What a program says on stdout, or why it says nothing.
fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    output_with(program, arguments, None)
}

/// The same, with the credentials that systemd has passed to a daemon.
fn output_with(program: &str, arguments: &[&str], credentials: Option<&Path>) -> Result<String, String> {
    // They stand in sbin, which is not in every user's path.
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let done = Command::new(program)
        .args(arguments)
        .env("PATH", path)
        .env("LC_ALL", "C")
        .envs(credentials.map(|directory| ("CREDENTIALS_DIRECTORY", directory)))
        .stdin(Stdio::null())
        .output()
        .map_err(|reason| match reason.kind() {
            std::io::ErrorKind::NotFound => format!("{program} is not installed"),
            _ => format!("{program} cannot be run: {reason}"),
        })?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        return Err(format!("{program}: {last}"));
    }
    Ok(String::from_utf8_lossy(&done.stdout).into_owned())
}
