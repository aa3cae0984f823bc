//! The sockets: where our daemons listen, and whether those who ask them get there.

use std::io::ErrorKind;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use gatepost::config::ListenAddress;

use super::dovecot::Dovecot;
use super::file::{OwnFile, units};
use super::postfix::Postfix;
use crate::ctl::check::reach::{Want, Who, blocked, gid_of};

/// One way to a socket.
#[derive(Clone, Debug)]
pub(in crate::ctl::check) struct Socket {
    /// Who goes it, such as `Postfix (smtpd_milters)`.
    pub(in crate::ctl::check) way: String,
    pub(in crate::ctl::check) place: String,
    /// What modes keep the asking user from; none where nothing does, or nobody in particular asks.
    pub(in crate::ctl::check) blocked: Option<String>,
    pub(in crate::ctl::check) answer: Answer,
    /// The one whose daemon has to run.
    pub(in crate::ctl::check) daemon: Option<&'static str>,
}

/// What came of a connection of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ctl::check) enum Answer {
    Yes,
    Missing,
    /// A socket to which nobody listens.
    Nobody,
    /// We may not try.
    NotTried,
    Other(String),
}

pub(super) fn gather(own: &OwnFile, postfix: Option<&Postfix>, dovecot: Option<&Dovecot>) -> Vec<Socket> {
    let mut found = Vec::new();
    let units = units();
    for (daemon, _, address) in &own.listen {
        let places: Vec<ListenAddress> = match address {
            Ok(ListenAddress::Systemd(name)) => {
                units.get(name).into_iter().flatten().map(ListenAddress::unix).collect()
            }
            Ok(address) => vec![address.clone()],
            Err(_) => continue,
        };
        for place in places {
            let (way, place, answer) =
                (format!("gatepost-{daemon}"), place.to_string(), try_listener(&place));
            found.push(Socket { way, place, blocked: None, answer, daemon: Some(daemon) });
        }
    }
    if let Some(postfix) = postfix {
        let user = postfix.value("mail_owner").unwrap_or("postfix");
        let who = Who::alone(user);
        for (parameter, path) in postfix.sockets() {
            found.push(way(format!("Postfix ({parameter})"), &path, who.as_ref()));
        }
    }
    if let Some(dovecot) = dovecot {
        let login = dovecot.value("default_login_user").unwrap_or("dovenull");
        let (login, mail) = (Who::alone(login), mail_user(&own.mail_user));
        for (setting, path) in dovecot.sockets() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let who = match name {
                _ if setting.contains("-login") || setting == "login_socket_path" => login.as_ref(),
                // Opened by root before a process drops to the mail user.
                "auth-master" => None,
                _ => mail.as_ref(),
            };
            found.push(way(format!("Dovecot ({setting})"), &path, who));
        }
    }
    found
}

fn mail_user((uid, gid): &(String, String)) -> Option<Who> {
    match (Who::alone(uid), uid.parse(), gid_of(gid)) {
        (Some(who), ..) => Some(who),
        (None, Ok(uid), Some(gid)) => Some(Who::numbered(uid, gid)),
        _ => None,
    }
}

fn way(way: String, path: &Path, who: Option<&Who>) -> Socket {
    let blocked = who.and_then(|who| blocked(path, who, Want::Connect));
    Socket {
        way,
        place: path.display().to_string(),
        blocked,
        answer: try_unix(path),
        daemon: daemon_of(path),
    }
}

/// By the names that our units give their sockets.
fn daemon_of(path: &Path) -> Option<&'static str> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".sock").unwrap_or(name);
    match name {
        "milter" | "learn" => Some("milter"),
        "socketmap" => Some("postfix-policy"),
        name if name.starts_with("policy") => Some("postfix-policy"),
        name if name.starts_with("auth") || name.starts_with("dict") || name == "sasl" => {
            Some("dovecot-auth")
        }
        _ => None,
    }
}

fn try_listener(address: &ListenAddress) -> Answer {
    match address {
        ListenAddress::Tcp(to) => answer(TcpStream::connect_timeout(to, PATIENCE).map(drop)),
        ListenAddress::Unix(path, _) => try_unix(path),
        ListenAddress::Systemd(_) => Answer::NotTried,
    }
}

/// Connects and says nothing: our daemons take a silent peer that goes for what it is.
fn try_unix(path: &Path) -> Answer {
    answer(UnixStream::connect(path).map(drop))
}

fn answer(tried: std::io::Result<()>) -> Answer {
    match tried {
        Ok(()) => Answer::Yes,
        Err(reason) => match reason.kind() {
            ErrorKind::NotFound => Answer::Missing,
            ErrorKind::ConnectionRefused => Answer::Nobody,
            ErrorKind::PermissionDenied => Answer::NotTried,
            _ => Answer::Other(reason.to_string()),
        },
    }
}

/// A daemon on this host answers at once, or is overloaded.
const PATIENCE: Duration = Duration::from_secs(2);
