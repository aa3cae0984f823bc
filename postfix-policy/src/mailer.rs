//! A short mail to the postmaster through the Postfix beside us, by SMTP.
//!
//! For `stolen-login`. One message at a time per call, every answer bounded in length and time, the null sender so that it never comes back.
//! Refuses to queue: what Postfix does not take now is the caller's to try again.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use gatepost::mail::Address;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Where and as whom. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Mailer {
    host: String,
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub enum MailerError {
    /// The connection failed, or took too long.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Postfix said no.
    #[error("to {command} Postfix answered {answer:?}")]
    Refused {
        /// What was said.
        command: &'static str,
        /// What it answered.
        answer: String,
    },
}

impl Mailer {
    /// A mailer of the host of that name.
    pub fn new(host: &str) -> Self {
        Self { host: host.to_owned() }
    }

    /// Sends one mail of plain text; lines are cut where they end, and nothing in `subject` and `text` gets out of its place.
    ///
    /// # Errors
    /// [`MailerError`]; never later than 30 seconds.
    pub async fn send(
        &self,
        server: SocketAddr,
        to: &Address,
        subject: &str,
        text: &str,
    ) -> Result<(), MailerError> {
        match timeout(DEADLINE, self.converse(server, to, subject, text)).await {
            Ok(done) => done,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    async fn converse(
        &self,
        server: SocketAddr,
        to: &Address,
        subject: &str,
        text: &str,
    ) -> Result<(), MailerError> {
        let mut stream = BufReader::new(TcpStream::connect(server).await?);
        answer(&mut stream, "connect", '2').await?;
        for (name, command, expected) in [
            ("EHLO", format!("EHLO {}", self.host), '2'),
            ("MAIL", "MAIL FROM:<>".to_owned(), '2'),
            ("RCPT", format!("RCPT TO:<{to}>"), '2'),
            ("DATA", "DATA".to_owned(), '3'),
        ] {
            stream.write_all(format!("{command}\r\n").as_bytes()).await?;
            answer(&mut stream, name, expected).await?;
        }
        stream.write_all(message(&self.host, to, subject, text).as_bytes()).await?;
        answer(&mut stream, "the message", '2').await?;
        // It is taken; whether the farewell is heard does not matter.
        let _ = stream.write_all(b"QUIT\r\n").await;
        Ok(())
    }
}

/// Header, body and the dot; Postfix adds Date and Message-Id.
fn message(host: &str, to: &Address, subject: &str, text: &str) -> String {
    let plain = |line: &str| -> String {
        line.chars().take(900).map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
    };
    let mut out = format!(
        "From: Gatepost <postmaster@{host}>\r\nTo: <{to}>\r\nSubject: {}\r\nAuto-Submitted: auto-generated\r\n\
         MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n",
        plain(subject)
    );
    for line in text.lines().map(plain) {
        // RFC 5321, 4.5.2: a dot at the beginning is doubled.
        if line.starts_with('.') {
            out.push('.');
        }
        out.push_str(&line);
        out.push_str("\r\n");
    }
    out.push_str(".\r\n");
    out
}

async fn answer(
    stream: &mut BufReader<TcpStream>,
    command: &'static str,
    expected: char,
) -> Result<(), MailerError> {
    for _ in 0..MAX_LINES {
        let mut line = Vec::new();
        stream.take(MAX_LINE).read_until(b'\n', &mut line).await?;
        let line = gatepost::telemetry::printable(line.trim_ascii_end(), 200);
        match line.as_bytes().get(3) {
            Some(b'-') => {}
            _ if line.starts_with(expected) => return Ok(()),
            _ => return Err(MailerError::Refused { command, answer: line }),
        }
    }
    Err(MailerError::Refused { command, answer: "lines without end".to_owned() })
}

/// Postfix answers MAIL and RCPT after its own questions to us, which end after some seconds each.
const DEADLINE: Duration = Duration::from_secs(30);
/// RFC 5321, 4.5.3.1.5, generously.
const MAX_LINE: u64 = 2048;
/// Postfix's EHLO has about ten lines.
const MAX_LINES: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        let to = Address::parse("postmaster@example.com").unwrap();
        let mail = message("mx.test", &to, "odd\r\nBcc: x@y", "one\n.\n..two\nthr\u{fc}\r\n");
        let (head, body) = mail.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Subject: odd??Bcc: x@y\r\n"), "{head}");
        assert_eq!(body, "one\r\n..\r\n...two\r\nthr?\r\n.\r\n");
    }
}
