//! Where Dovecot's Sieve says what a message is: the far end of Pigeonhole's `pipe`, without a process for each message.
//!
//! With `sieve_pipe_socket_dir`, `pipe :copy "learn" ["spam"]` connects to a unix socket and writes (seen on Dovecot 2.3.19 and 2.4.1):
//!
//! ```text
//! VERSION⇥script⇥4⇥0
//! env_USER=ann@example.com        one line for each variable
//! -                               or `noreply`
//! spam                            one line for each argument
//!                                 an empty line
//! the message, and the end of the stream in this direction
//! ```
//! and reads `+` LF, or `-` LF. The user's MOVE waits for the answer, so a lesson is queued and answered at once. Bounds: [`MAX_HEAD`] before
//! the message, of the message its start; the rest is read and dropped, up to [`MAX_MESSAGE`], all within [`DEADLINE`].

use std::time::Duration;

use gatepost::mail::Address;
use gatepost::net::{Drain, Stream};
use gatepost::training::{MAX_BODY, MAX_HEADER};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tracing::{debug, warn};

use super::writer::{Desk, said};

/// Answers one connection, which brings one message.
pub async fn serve(mut stream: Stream, label: &str, drain: Drain, desk: Desk) {
    let work = async {
        let heard = hear(&mut stream).await;
        let answer: &[u8] = match heard {
            Ok(Heard { spam, owner, message }) => match desk.say(said(spam, owner, &message)) {
                Ok(()) => b"+\n",
                Err(_) => {
                    warn!("a word on a message is refused: too many wait for the database");
                    b"-\n"
                }
            },
            Err(why) => {
                debug!(peer = label, "a word on a message is not understood: {why}");
                b"-\n"
            }
        };
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    };
    // A connection is one short exchange: a drain lets it end, but does not wait for a slow peer.
    let patience = async {
        drain.started().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        _ = tokio::time::timeout(DEADLINE, work) => {}
        () = patience => {}
    }
}

/// What came in.
#[derive(Debug, PartialEq, Eq)]
struct Heard {
    spam: bool,
    owner: Address,
    message: Vec<u8>,
}

async fn hear(stream: &mut (impl AsyncRead + Unpin)) -> Result<Heard, String> {
    let mut reader = BufReader::new(stream);
    let mut head = (&mut reader).take(MAX_HEAD);
    let version = line(&mut head).await?;
    if version.strip_prefix("VERSION\tscript\t").is_none_or(|rest| !rest.starts_with("4\t")) {
        return Err(format!("expected VERSION, script, 4, got {version:?}"));
    }
    let mut user = None;
    loop {
        let line = line(&mut head).await?;
        if matches!(line.as_str(), "-" | "noreply") {
            break;
        }
        if let Some(value) = line.strip_prefix("env_USER=") {
            user = Some(value.to_owned());
        }
    }
    let mut arguments = Vec::new();
    loop {
        match line(&mut head).await? {
            line if line.is_empty() => break,
            line => arguments.push(line),
        }
    }
    let spam = match arguments.first().map(String::as_str) {
        Some("spam") => true,
        Some("ham") => false,
        other => return Err(format!("expected the argument spam or ham, got {other:?}")),
    };
    let owner = arguments.get(1).cloned().or(user).ok_or("no user")?;
    let owner = Address::parse(&owner).map_err(|error| format!("user {owner:?}: {error}"))?;
    let mut message = Vec::new();
    let kept = (MAX_HEADER + MAX_BODY) as u64;
    (&mut reader).take(kept).read_to_end(&mut message).await.map_err(|error| error.to_string())?;
    let mut rest = reader.take(MAX_MESSAGE);
    tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.map_err(|error| error.to_string())?;
    if message.is_empty() {
        return Err("no message".to_owned());
    }
    Ok(Heard { spam, owner, message })
}

/// One line without its end.
async fn line(head: &mut (impl AsyncBufReadExt + Unpin)) -> Result<String, String> {
    let mut line = String::new();
    head.read_line(&mut line).await.map_err(|error| error.to_string())?;
    match line.strip_suffix('\n') {
        Some(line) => Ok(line.strip_suffix('\r').unwrap_or(line).to_owned()),
        None => Err(format!("the head ends early, or is longer than {MAX_HEAD} bytes")),
    }
}

/// Environment and arguments: some hundred bytes in fact.
const MAX_HEAD: u64 = 16 * 1024;
/// More than any mail server lets through.
const MAX_MESSAGE: u64 = 256 << 20;
/// Dovecot waits as long as its `sieve_pipe_exec_timeout`, 10 s.
const DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const HEAD: &str =
        "VERSION\tscript\t4\t0\nenv_USER=ann@example.com\nenv_HOME=/var/vmail/ann\nenv_HOST=mx\n-\n";

    async fn heard(text: &str) -> Result<Heard, String> {
        hear(&mut text.as_bytes()).await
    }

    #[tokio::test]
    async fn hears_what_pigeonhole_writes() {
        let ann = Address::parse("ann@example.com").unwrap();
        let message = b"Subject: x\r\n\r\nbody\r\n".to_vec();
        let text = format!("{HEAD}spam\n\nSubject: x\r\n\r\nbody\r\n");
        assert_eq!(
            heard(&text).await,
            Ok(Heard { spam: true, owner: ann.clone(), message: message.clone() })
        );
        let text = text
            .replace("env_USER=ann@example.com\n", "")
            .replace("-\nspam\n", "noreply\nham\nann@example.com\n");
        assert_eq!(heard(&text).await, Ok(Heard { spam: false, owner: ann, message }));
    }

    #[tokio::test]
    async fn refuses_what_is_cut_endless_or_unknown() {
        for (text, why) in [
            ("", "ends early"),
            ("HELO\n", "expected VERSION"),
            ("VERSION\tscript\t9\t0\n", "expected VERSION"),
            (HEAD, "ends early"),
            (&format!("{HEAD}maybe\n\nx\r\n"), "expected the argument"),
            (&format!("{HEAD}spam\n\n"), "no message"),
            (&format!("{}spam\n\nx\r\n", HEAD.replace("ann@example.com", "not an address")), "user"),
            (&format!("VERSION\tscript\t4\t0\n{}", "env_X=y\n".repeat(10_000)), "longer than"),
        ] {
            let error = heard(text).await.unwrap_err();
            assert!(error.contains(why), "{text:.60}: {error}");
        }
    }

    #[tokio::test]
    async fn of_a_huge_message_the_start_is_kept() {
        let text = format!("{HEAD}spam\n\nSubject: x\r\n\r\n{}", "z".repeat(3 << 20));
        assert_eq!(heard(&text).await.unwrap().message.len(), MAX_HEADER + MAX_BODY);
    }
}
