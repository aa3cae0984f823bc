//! The antivirus: ClamAV's clamd, asked about each whole message while DNS is asked about its sender.
//!
//! For `gathering` (mail from outside) and `service` (mail of our logins). [`clamd`] speaks the protocol. clamd unpacks MIME, archives and
//! documents itself, so it gets the message as it is. What is longer than `milter.antivirus.message` is not scanned, and the report says so;
//! what cannot be scanned now because clamd is away is passed, marked or put off, as the operator says.

mod clamd;

use gatepost::config::{ByteSize, ListenAddress};
use gatepost::mail::SmtpReply;
use serde::Deserialize;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout_at};

/// The words of the refusal. The name of the signature goes to the log and the report, not to whoever tries out what passes.
pub const INFECTED: &str = "Message contains a virus";

/// The header that says that a message was not scanned; as clamav-milter names it.
pub const HEADER: &str = "X-Virus-Status";

/// `[milter.antivirus]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Settings {
    /// Where clamd listens: `LocalSocket` or `TCPSocket` of its configuration. Not set: no antivirus.
    pub clamd: Option<ListenAddress>,
    /// What becomes of mail while clamd does not answer.
    pub on_unavailable: OnUnscanned,
    /// The longest message that is scanned: clamd's `StreamMaxLength`, which refuses longer ones.
    pub message: ByteSize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { clamd: None, on_unavailable: OnUnscanned::Tempfail, message: ByteSize(25 << 20) }
    }
}

impl Settings {
    /// What is wrong with it.
    ///
    /// # Errors
    /// An address that nobody can connect to.
    pub fn validate(&self) -> Result<(), String> {
        match &self.clamd {
            Some(ListenAddress::Systemd(_)) => {
                Err("`antivirus.clamd` is where clamd listens, expected \"unix:/PATH\" or \"inet:IP:PORT\""
                    .to_owned())
            }
            Some(_) if self.message.0 == 0 => Err("`antivirus.message` must be more than 0B".to_owned()),
            _ => Ok(()),
        }
    }
}

/// `milter.antivirus.on-unavailable`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnUnscanned {
    /// 451 4.7.1: it comes again.
    Tempfail,
    /// It passes with `X-Virus-Status: Unchecked`.
    Header,
    /// It passes.
    Continue,
}

/// What the antivirus says of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// Nothing was found.
    Clean,
    /// This signature was found.
    Infected(String),
    /// It is longer than what is scanned.
    TooBig,
    /// It cannot be scanned now; why.
    Unavailable(String),
}

/// A message to be scanned.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// Its bytes, in pieces.
    pub pieces: &'a [&'a [u8]],
    /// Its size; larger than the pieces together if they are not all of it.
    pub size: u64,
    /// Whether the pieces are the whole message.
    pub complete: bool,
}

/// The antivirus.
#[derive(Debug, Clone)]
pub struct Antivirus {
    clamd: ListenAddress,
    /// What becomes of mail while clamd does not answer.
    pub on_unavailable: OnUnscanned,
    longest: u64,
}

impl Antivirus {
    /// None where none is configured.
    pub fn new(settings: &Settings) -> Option<Self> {
        let clamd = settings.clamd.clone()?;
        Some(Self { clamd, on_unavailable: settings.on_unavailable, longest: settings.message.0 })
    }

    /// Asks clamd; until `end`, and not about more than it takes.
    pub async fn scan(&self, sample: Sample<'_>, end: Instant) -> Scan {
        if sample.size > self.longest {
            return Scan::TooBig;
        }
        if !sample.complete {
            return Scan::Unavailable(
                "there was no memory to keep the message (milter.limits.memory)".to_owned(),
            );
        }
        let scanning = async {
            let unreachable =
                |error: std::io::Error| Scan::Unavailable(format!("clamd at {}: {error}", self.clamd));
            match &self.clamd {
                ListenAddress::Unix(path, _) => match UnixStream::connect(path).await {
                    Ok(stream) => clamd::instream(stream, sample.pieces).await,
                    Err(error) => unreachable(error),
                },
                ListenAddress::Tcp(address) => match TcpStream::connect(address).await {
                    Ok(stream) => clamd::instream(stream, sample.pieces).await,
                    Err(error) => unreachable(error),
                },
                // Refused by `Settings::validate`.
                ListenAddress::Systemd(_) => Scan::Unavailable("clamd has no address".to_owned()),
            }
        };
        let late =
            || Scan::Unavailable(format!("clamd at {} did not answer within milter.deadline", self.clamd));
        timeout_at(end, scanning).await.unwrap_or_else(|_| late())
    }
}

/// The reply to an infected message.
pub fn infected() -> SmtpReply {
    SmtpReply::new(554, "5.7.1", INFECTED)
}

/// The reply to a message that cannot be scanned now.
pub fn unscanned() -> SmtpReply {
    SmtpReply::new(451, "4.7.1", "Message cannot be scanned for viruses now, please try again later")
}
