//! A report handed to Postfix: SMTP (RFC 5321) to an address of this host, one mail, then goodbye.
//!
//! Not sendmail(1): its postdrop is set-group-id, which a sandboxed daemon (`NoNewPrivileges=`) cannot use. Postfix sees a client of
//! `mynetworks`, and shows the mail to the milter, which must sign it like local mail. It knows it again by the connection: [`Ours`]
//! holds our end of every connection we have open, and no other client can come from the same address and port at that time. So
//! nothing is trusted that anybody can write into a mail, and no client of the loopback network is trusted but us.
//!
//! Bounds: a reply has at most [`MAX_LINE`] bytes a line and [`MAX_LINES`] lines; every step has its deadline.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gatepost::mail::Address;
use gatepost::telemetry::printable;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Our ends of the connections to Postfix that are open now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Ours(Arc<Mutex<HashSet<SocketAddr>>>);

/// What became of a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Postfix has taken it for these recipients; the reply has the queue id. Others were refused, and why.
    Taken {
        /// The last reply.
        reply: String,
        /// Recipients that were refused for good.
        refused: Vec<String>,
    },
    /// Certainly not taken; later it may be.
    Later(String),
    /// Refused for good.
    Refused(String),
    /// Given up by us before the end: not taken.
    GivenUp,
    /// The connection ended between our last line and the answer.
    Unknown(String),
}

impl Ours {
    /// Whether a client of Postfix is this process.
    pub fn contains(&self, client: SocketAddr) -> bool {
        self.lock().contains(&client)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of [`Ours`], until it is dropped.
struct Known<'a>(&'a Ours, SocketAddr);

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
    }
}

/// A mail for Postfix.
pub(super) struct Mail<'a> {
    pub(super) helo: &'a str,
    pub(super) from: &'a Address,
    pub(super) to: &'a [Address],
    /// Lines end in CRLF.
    pub(super) content: &'a [u8],
}

/// Hands a mail over. `may_end` is asked when everything but the last line has been sent: only if it says yes does Postfix take the
/// mail.
pub(super) async fn deliver(
    server: SocketAddr,
    ours: &Ours,
    mail: &Mail<'_>,
    may_end: impl AsyncFnOnce() -> bool,
) -> Delivery {
    match attempt(server, ours, mail, may_end).await {
        Ok(delivery) => delivery,
        Err(Failure::Temporary(why)) => Delivery::Later(why),
        Err(Failure::Permanent(why)) => Delivery::Refused(why),
    }
}

enum Failure {
    Temporary(String),
    Permanent(String),
}

async fn attempt(
    server: SocketAddr,
    ours: &Ours,
    mail: &Mail<'_>,
    may_end: impl AsyncFnOnce() -> bool,
) -> Result<Delivery, Failure> {
    let lost = |what: std::io::Error| Failure::Temporary(format!("connection to {server}: {what}"));
    let stream = within(STEP, TcpStream::connect(server)).await.map_err(lost)?;
    let own = stream.local_addr().map_err(lost)?;
    let own = SocketAddr::new(own.ip().to_canonical(), own.port());
    ours.lock().insert(own);
    let _known = Known(ours, own);
    let mut peer = Peer(BufReader::new(stream));

    peer.expect(2).await?;
    // RFC 5321, 4.1.1.1: a server without extensions says no; nothing of ours needs one.
    if peer.ask(&format!("EHLO {}", mail.helo)).await.map_err(lost)?.class() != 2 {
        peer.command(&format!("HELO {}", mail.helo), 2).await?;
    }
    peer.command(&format!("MAIL FROM:<{}>", mail.from), 2).await?;
    let (mut taken, mut refused, mut later) = (false, Vec::new(), None);
    for recipient in mail.to {
        let reply = peer.ask(&format!("RCPT TO:<{recipient}>")).await.map_err(lost)?;
        match reply.class() {
            2 => taken = true,
            5 => refused.push(format!("{recipient}: {}", reply.shown())),
            _ => later = Some(format!("{recipient}: {}", reply.shown())),
        }
    }
    // With one recipient put off, all wait: a second mail to the others would be the report twice.
    if let Some(later) = later {
        return Err(Failure::Temporary(later));
    }
    if !taken {
        return Err(Failure::Permanent(refused.join("; ")));
    }
    peer.command("DATA", 3).await?;
    within(END, peer.0.write_all(&stuffed(mail.content))).await.map_err(lost)?;
    within(STEP, peer.0.flush()).await.map_err(lost)?;
    if !may_end().await {
        // Without the last line there is no mail (RFC 5321, 4.1.1.4).
        return Ok(Delivery::GivenUp);
    }
    let reply = async {
        within(STEP, peer.0.write_all(b".\r\n")).await?;
        within(STEP, peer.0.flush()).await?;
        within(END, peer.reply()).await
    };
    let reply = match reply.await {
        Ok(reply) => reply,
        Err(what) => return Ok(Delivery::Unknown(format!("no answer from {server}: {what}"))),
    };
    let _ = timeout(STEP, peer.ask("QUIT")).await;
    match reply.class() {
        2 => Ok(Delivery::Taken { reply: reply.shown(), refused }),
        5 => Err(Failure::Permanent(reply.shown())),
        _ => Err(Failure::Temporary(reply.shown())),
    }
}

/// RFC 5321, 4.5.2.
fn stuffed(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + content.len() / 64 + 2);
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out
}

async fn within<T>(limit: Duration, step: impl Future<Output = std::io::Result<T>>) -> std::io::Result<T> {
    timeout(limit, step).await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

struct Peer(BufReader<TcpStream>);

/// A reply's three digits, and its text.
struct SmtpReply {
    code: [u8; 3],
    text: String,
}

impl SmtpReply {
    /// 2 done, 3 go on, 4 later, 5 never.
    fn class(&self) -> u8 {
        self.code[0].wrapping_sub(b'0')
    }

    fn shown(&self) -> String {
        format!("{} {}", String::from_utf8_lossy(&self.code), self.text)
    }
}

impl Peer {
    async fn command(&mut self, line: &str, class: u8) -> Result<SmtpReply, Failure> {
        let lost = |what: std::io::Error| Failure::Temporary(format!("connection to Postfix: {what}"));
        within(STEP, self.0.write_all(format!("{line}\r\n").as_bytes())).await.map_err(lost)?;
        self.expect(class).await
    }

    async fn expect(&mut self, class: u8) -> Result<SmtpReply, Failure> {
        let lost = |what: std::io::Error| Failure::Temporary(format!("connection to Postfix: {what}"));
        let reply = within(STEP, self.reply()).await.map_err(lost)?;
        match reply.class() {
            found if found == class => Ok(reply),
            5 => Err(Failure::Permanent(reply.shown())),
            _ => Err(Failure::Temporary(reply.shown())),
        }
    }

    async fn ask(&mut self, line: &str) -> std::io::Result<SmtpReply> {
        within(STEP, self.0.write_all(format!("{line}\r\n").as_bytes())).await?;
        within(STEP, self.reply()).await
    }

    /// RFC 5321, 4.2.1: lines `250-…`, the last one `250 …`.
    async fn reply(&mut self) -> std::io::Result<SmtpReply> {
        let bad = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        for _ in 0..MAX_LINES {
            let mut line = Vec::new();
            (&mut self.0).take(MAX_LINE).read_until(b'\n', &mut line).await?;
            if line.is_empty() {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            if line.last() != Some(&b'\n') {
                return Err(bad("a line of the reply is too long or cut off"));
            }
            let line = line.trim_ascii_end();
            let Some((code, rest)) = line.split_first_chunk::<3>() else { return Err(bad("no SMTP reply")) };
            if !code.iter().all(u8::is_ascii_digit) {
                return Err(bad("no SMTP reply"));
            }
            match rest.split_first() {
                Some((b'-', _)) => {}
                Some((b' ', text)) => return Ok(SmtpReply { code: *code, text: printable(text, 200) }),
                None => return Ok(SmtpReply { code: *code, text: String::new() }),
                Some(_) => return Err(bad("no SMTP reply")),
            }
        }
        Err(bad("the reply has too many lines"))
    }
}

/// One step. Postfix on the same host answers in milliseconds, unless it asks DNS or policy services.
const STEP: Duration = Duration::from_secs(60);

/// Content and final reply: as long as Postfix lets its milters judge a message (`milter_content_timeout`, 300 s).
const END: Duration = Duration::from_secs(300);

/// RFC 5321, 4.5.3.1.5, allows 512; some servers write more.
const MAX_LINE: u64 = 2048;

/// EHLO has a line for each extension.
const MAX_LINES: usize = 100;
