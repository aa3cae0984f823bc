//! clamd's command INSTREAM, one message for each connection (clamd(8), "COMMANDS"; `clamd/session.c`).
//!
//! ```text
//! C: zINSTREAM\0
//! C: <u32 length> <that many bytes> … <u32 0>          big endian
//! S: stream: OK\0
//! S: stream: Win.Test.EICAR_HDB-1 FOUND\0
//! S: INSTREAM size limit exceeded. ERROR\0             beyond StreamMaxLength; then it closes, whatever is still on its way
//! ```
//!
//! The answer is read while the message is still being sent, because clamd may give it at any time and close. It is at most [`MAX_REPLY`]
//! bytes; whatever is no answer of clamd is a fault, never "clean".

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Scan;

/// Names of signatures have fewer than 100 bytes.
const MAX_REPLY: u64 = 1_024;

/// One chunk. clamd takes any length up to StreamMaxLength, and reads through a buffer of 64 KiB.
const CHUNK: usize = 256 * 1024;

/// Hands the pieces to clamd, one after the other, and reads what it says.
pub(super) async fn instream(stream: impl AsyncRead + AsyncWrite, pieces: &[&[u8]]) -> Scan {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let mut reply = Vec::new();
    let send = send(&mut writing, pieces);
    let mut limited = (&mut reading).take(MAX_REPLY);
    let receive = limited.read_to_end(&mut reply);
    tokio::pin!(send, receive);
    let received = tokio::select! {
        received = &mut receive => received.map(|_| Ok(())),
        sent = &mut send => receive.await.map(|_| sent),
    };
    match (understand(&reply), received) {
        (Some(scan), _) => scan,
        (None, Err(error) | Ok(Err(error))) if reply.is_empty() => {
            Scan::Unavailable(format!("clamd closed the connection: {error}"))
        }
        _ if reply.is_empty() => Scan::Unavailable("clamd closed the connection and said nothing".to_owned()),
        _ => Scan::Unavailable(format!("clamd said: {}", printable(&reply))),
    }
}

async fn send(writing: &mut (impl AsyncWrite + Unpin), pieces: &[&[u8]]) -> io::Result<()> {
    writing.write_all(b"zINSTREAM\0").await?;
    for chunk in pieces.iter().flat_map(|piece| piece.chunks(CHUNK)) {
        // A chunk is never longer than CHUNK.
        writing.write_u32(u32::try_from(chunk.len()).unwrap_or_default()).await?;
        writing.write_all(chunk).await?;
    }
    writing.write_u32(0).await?;
    writing.flush().await
}

/// What clamd says; none for anything else.
fn understand(reply: &[u8]) -> Option<Scan> {
    let text = std::str::from_utf8(reply.strip_suffix(b"\0")?).ok()?;
    if text == "stream: OK" {
        return Some(Scan::Clean);
    }
    if text.starts_with("INSTREAM size limit exceeded") {
        return Some(Scan::TooBig);
    }
    let name = text.strip_prefix("stream: ")?.strip_suffix(" FOUND")?;
    (!name.is_empty()).then(|| Scan::Infected(printable(name.as_bytes())))
}

fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches(['\0', '\n']).chars().take(128);
    text.map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    /// A clamd that reads so many bytes, says something and closes.
    async fn scan(pieces: &[&[u8]], reads: usize, says: &'static [u8]) -> (Scan, Vec<u8>) {
        let (ours, mut theirs) = tokio::io::duplex(64);
        let clamd = tokio::spawn(async move {
            let mut read = vec![0; reads];
            let mut at = 0;
            while at < reads {
                match theirs.read(&mut read[at..]).await {
                    Ok(0) | Err(_) => break,
                    Ok(bytes) => at += bytes,
                }
            }
            let _ = theirs.write_all(says).await;
            read
        });
        let found = instream(ours, pieces).await;
        (found, clamd.await.unwrap())
    }

    #[tokio::test]
    async fn a_message_goes_in_chunks_and_an_answer_comes_back() {
        let wire = b"zINSTREAM\0\0\0\0\x03abc\0\0\0\x02de\0\0\0\0";
        let (found, read) = scan(&[b"abc", b"", b"de"], wire.len(), b"stream: OK\0").await;
        assert_eq!((found, read.as_slice()), (Scan::Clean, &wire[..]));
        let (found, _) = scan(&[b"abc"], 21, b"stream: Win.Test.EICAR_HDB-1 FOUND\0").await;
        assert_eq!(found, Scan::Infected("Win.Test.EICAR_HDB-1".to_owned()));
    }

    #[tokio::test]
    async fn an_answer_before_the_end_counts() {
        let big = vec![b'x'; 1_000_000];
        let (found, _) = scan(&[&big], 100, b"INSTREAM size limit exceeded. ERROR\0").await;
        assert_eq!(found, Scan::TooBig);
    }

    #[tokio::test]
    async fn nothing_else_is_clean() {
        for says in [
            &b""[..],
            b"stream: OK",
            b"OK\0",
            b"stream: OKAY\0",
            b"stream:  FOUND\0",
            b"stream: Can't allocate memory ERROR\0",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[b'x'; 5_000],
        ] {
            let (found, _) = scan(&[b"abc"], 21, says).await;
            assert!(matches!(found, Scan::Unavailable(_)), "{}: {found:?}", says.escape_ascii());
        }
        let (found, _) = scan(&[b"abc"], 21, b"stream: a\r\nX-Evil: \xc3\xa9 FOUND\0").await;
        assert_eq!(found, Scan::Infected("a??X-Evil: ?".to_owned()));
    }
}
