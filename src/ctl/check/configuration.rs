//! Our own file: is it there, is it right, may nobody else write it, and are the secrets that it names secrets.

use gatepost::config::{DAEMON_SECTIONS, DEFAULT_PATH};

use super::facts::HostFacts;
use super::facts::file::{Key, OwnFile, State};
use super::reach::{Want, Who, blocked};
use super::report::Report;

pub(super) fn file(facts: &HostFacts, report: &mut Report) {
    judge(&facts.own, report);
}

fn judge(own: &OwnFile, report: &mut Report) {
    let Some(path) = &own.path else {
        return report
            .warn(&format!("no {DEFAULT_PATH}: built-in defaults; examples/gatepost.toml has every key"));
    };
    report.ok(&format!("configuration {}", path.display()));
    if own.mode.is_some_and(|mode| mode & 0o022 != 0) {
        report.fail(&format!(
            "others may write {} (mode {:04o}); `chmod go-w {0}`",
            path.display(),
            own.mode.unwrap_or_default()
        ));
    }
    for name in &own.without_section {
        report.warn(&format!("[{name}] is not there: gatepost-{name} runs with its defaults"));
    }
    for (daemon, verdict) in &own.daemons {
        match verdict {
            Ok(()) => report.ok(&format!("gatepost-{daemon} takes its section")),
            Err(why) if why.contains(NOT_PASSED) => report.warn(&format!(
                "gatepost-{daemon} gets secrets from systemd, which has not started it: its section was not tried; `systemctl start gatepost-{daemon}`"
            )),
            Err(why) => report.fail(&format!(
                "gatepost-{daemon} does not start with this file: {why}; `gatepost-{daemon} check`"
            )),
        }
    }
    for (section, key, address) in &own.listen {
        if let Err(why) = address {
            report.fail(&format!("[{section}] {key}: {why}; `gatepost-{section} check`"));
        }
    }
}

/// Each secret: there, for its owner and group alone, and readable by the daemon that needs it.
pub(super) fn secrets(facts: &HostFacts, report: &mut Report) {
    for key in &facts.own.secrets {
        secret(key, report);
    }
}

fn secret(key: &Key, report: &mut Report) {
    let path = key.path.display();
    let place = format!("[{}] {}", key.section, key.name);
    match key.state {
        State::Missing => report.fail(&format!("{place}: there is no {path}; write it, or take the key out")),
        State::Hidden => report.warn(&format!("{place}: {path} cannot be looked at; run the check as root")),
        State::Passed => report.warn(&format!(
            "{place}: systemd passes it to the daemon that it starts; it has not, and there is no {path} to make it of"
        )),
        State::There(mode) if mode & 0o007 != 0 => {
            report
                .fail(&format!("{place}: everybody may get at {path} (mode {mode:04o}); `chmod o= {path}`"));
        }
        State::There(mode) if mode & 0o020 != 0 => {
            report.warn(&format!(
                "{place}: the group of {path} may write it (mode {mode:04o}); `chmod g-w {path}`"
            ));
        }
        State::There(_) if key.is_credential => {
            report.ok(&format!("{place}: {path} is a secret, which systemd passes"));
        }
        State::There(_) => {
            let daemon = DAEMON_SECTIONS.iter().find(|name| key.section.split('.').next() == Some(name));
            // Where the units hand secrets over (LoadCredential=), the daemon's own user need not read them.
            match daemon.and_then(|name| user_of(name)).and_then(|who| blocked(&key.path, &who, Want::Read)) {
                Some(why) => report.warn(&format!(
                    "{place}: {why}; the daemon cannot read it, unless its unit has LoadCredential= for it"
                )),
                None => report.ok(&format!("{place}: {path} is a secret")),
            }
        }
    }
}

/// What a daemon says whose configuration names credentials, where there are none (`config::credential`).
const NOT_PASSED: &str = "systemd passed no credentials";

/// The user that a daemon runs as: by the packages' names (Debian Policy, 9.2.1), or those without the underscore.
fn user_of(daemon: &str) -> Option<Who> {
    let short = match daemon {
        "milter" => "milter",
        "dovecot-auth" => "auth",
        _ => "policy",
    };
    Who::with_groups(&format!("_gatepost-{short}")).or_else(|| Who::with_groups(&format!("gatepost-{short}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_file_that_others_may_write_is_no_configuration() {
        let own = OwnFile {
            path: Some("/etc/gatepost/gatepost.toml".into()),
            mode: Some(0o664),
            without_section: vec!["milter"],
            daemons: vec![
                ("milter", Err("credential:secret_a: systemd passed no credentials; …".into())),
                ("postfix-policy", Err("gatepost.toml:3:1: unknown key \"x\"".into())),
            ],
            ..OwnFile::default()
        };
        let mut report = Report::default();
        judge(&own, &mut report);
        assert_eq!(
            report.lines(),
            [
                "ok configuration /etc/gatepost/gatepost.toml",
                "fail others may write /etc/gatepost/gatepost.toml (mode 0664); `chmod go-w /etc/gatepost/gatepost.toml`",
                "warn [milter] is not there: gatepost-milter runs with its defaults",
                "warn gatepost-milter gets secrets from systemd, which has not started it: its section was not tried; `systemctl start gatepost-milter`",
                "fail gatepost-postfix-policy does not start with this file: gatepost.toml:3:1: unknown key \"x\"; `gatepost-postfix-policy check`",
            ]
        );
    }

    #[test]
    fn a_secret_is_for_its_owner_and_group() {
        let said = |state| {
            let key = Key {
                section: "milter".into(),
                name: "database-password-file".into(),
                path: "/nowhere/p".into(),
                state,
                is_credential: false,
            };
            let mut report = Report::default();
            secret(&key, &mut report);
            report.lines().concat()
        };
        assert!(
            said(State::There(0o640))
                .starts_with("ok [milter] database-password-file: /nowhere/p is a secret")
        );
        assert!(said(State::There(0o644)).starts_with(
            "fail [milter] database-password-file: everybody may get at /nowhere/p (mode 0644)"
        ));
        assert!(said(State::There(0o660)).starts_with("warn "));
        assert!(
            said(State::Missing).starts_with("fail [milter] database-password-file: there is no /nowhere/p")
        );
        assert!(said(State::Hidden).contains("run the check as root"));
        assert!(said(State::Passed).starts_with("warn [milter] database-password-file: systemd passes it"));
    }
}
