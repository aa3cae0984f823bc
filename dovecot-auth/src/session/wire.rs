//! One connection as lines in and bytes out.
//!
//! For `session`. Passwords pass here: whatever held a line is overwritten before it is given up. An idle connection is never closed
//! (login and mail processes keep theirs for as long as their client stays); a peer that stops inside a line, or takes no answer, gets
//! [`PATIENCE`]. Memory: [`SMALLEST`] bytes when idle, at most twice the longest line else.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use zeroize::{Zeroize, Zeroizing};

/// How long a line that has begun, or an answer, may take to pass. Every peer here is a process of this machine that writes whole
/// lines; Dovecot and Postfix themselves give up after 10 to 60 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A line, LF taken off.
pub(crate) type Line = Zeroizing<Vec<u8>>;

/// A connection.
pub(crate) struct Wire<S> {
    stream: S,
    input: Input,
    output: Vec<u8>,
    patience: Duration,
    /// When the line that is under way must be whole.
    deadline: Option<Instant>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// More bytes than any line of the protocol has.
    #[error("a line of more than {0} bytes")]
    TooLong(usize),
    /// The peer closed in the middle of a line.
    #[error("the peer closed in the middle of a line")]
    Truncated,
    /// The peer did not finish a line, or take an answer, in time.
    #[error("the peer did not {0} in time")]
    Slow(&'static str),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection whose lines have at most `longest` bytes.
    pub(crate) fn new(stream: S, longest: usize, patience: Duration) -> Self {
        Self { stream, input: Input::new(longest), output: Vec::new(), patience, deadline: None }
    }

    /// Where answers are appended; sent by [`Wire::flush`].
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The next line, if it is here already.
    pub(crate) fn buffered(&mut self) -> Result<Option<Line>, WireError> {
        let line = self.input.line()?;
        if line.is_some() {
            // What is left over is the beginning of another.
            self.deadline = (!self.input.is_empty()).then(|| Instant::now() + self.patience);
        }
        Ok(line)
    }

    /// Whether no line has begun.
    pub(crate) fn is_between_lines(&self) -> bool {
        self.input.is_empty()
    }

    /// Waits for the next line; `None` when the peer closed between two. May be dropped and called again without loss.
    pub(crate) async fn next(&mut self) -> Result<Option<Line>, WireError> {
        loop {
            if let Some(line) = self.buffered()? {
                return Ok(Some(line));
            }
            let space = self.input.space();
            let read = if let Some(deadline) = self.deadline {
                let read = timeout_at(deadline, self.stream.read(space)).await;
                read.map_err(|_| WireError::Slow("finish a line"))??
            } else {
                self.stream.read(space).await?
            };
            if read == 0 {
                return if self.input.is_empty() { Ok(None) } else { Err(WireError::Truncated) };
            }
            self.input.filled(read);
            self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
        }
    }

    /// Sends what was appended; the peer may take so long to read it.
    pub(crate) async fn flush(&mut self, patience: Duration) -> Result<(), WireError> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = timeout(patience, self.stream.write_all(&self.output)).await;
        sent.map_err(|_| WireError::Slow("take an answer"))??;
        // What was written, not all of what there is room for: that is a byte at a time.
        self.output.as_mut_slice().zeroize();
        self.output.clear();
        if self.output.capacity() > KEPT_OUTPUT {
            self.output = Vec::new();
        }
        Ok(())
    }

    /// Sends what is left, and says goodbye.
    pub(crate) async fn close(mut self) {
        // The peer may be gone or slow; nothing depends on it any more.
        let _ = self.flush(self.patience).await;
        let _ = timeout(self.patience, self.stream.shutdown()).await;
    }
}

/// Bytes that have been read and not yet become lines. `bytes[start..end]` is in use, `bytes[start..searched]` has no LF.
struct Input {
    bytes: Zeroizing<Vec<u8>>,
    start: usize,
    searched: usize,
    end: usize,
    longest: usize,
}

impl Input {
    fn new(longest: usize) -> Self {
        Self { bytes: Zeroizing::new(vec![0; SMALLEST]), start: 0, searched: 0, end: 0, longest }
    }

    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    fn line(&mut self) -> Result<Option<Line>, WireError> {
        let found = self.bytes[self.searched..self.end].iter().position(|byte| *byte == b'\n');
        let length = found.map_or(self.end, |at| self.searched + at) - self.start;
        if length > self.longest {
            return Err(WireError::TooLong(self.longest));
        }
        if found.is_none() {
            self.searched = self.end;
            return Ok(None);
        }
        let next = self.start + length + 1;
        let line = Zeroizing::new(self.bytes[self.start..next - 1].to_vec());
        self.bytes[self.start..next].zeroize();
        (self.start, self.searched) = (next, next);
        if self.is_empty() {
            (self.start, self.searched, self.end) = (0, 0, 0);
            if self.bytes.len() > SMALLEST {
                self.bytes = Zeroizing::new(vec![0; SMALLEST]);
            }
        }
        Ok(Some(line))
    }

    /// Where the next bytes go; never empty, because a line beyond the bound is refused before.
    fn space(&mut self) -> &mut [u8] {
        if self.end == self.bytes.len() {
            let used = self.end - self.start;
            let size = (used * 2).clamp(SMALLEST, self.longest * 2 + 2);
            // A new buffer, so that the old one is overwritten: a Vec that grows leaves its bytes behind.
            let mut larger = Zeroizing::new(vec![0; size]);
            larger[..used].copy_from_slice(&self.bytes[self.start..self.end]);
            (self.searched, self.start, self.end) = (self.searched - self.start, 0, used);
            self.bytes = larger;
        }
        let end = self.end;
        &mut self.bytes[end..]
    }

    fn filled(&mut self, count: usize) {
        self.end += count;
    }
}

/// What an idle connection reads into: nearly every line of a login is shorter.
const SMALLEST: usize = 512;
/// A larger buffer for answers is given back.
const KEPT_OUTPUT: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    fn wire(longest: usize, patience: Duration) -> (Wire<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Wire::new(ours, longest, patience), theirs)
    }

    async fn all(input: Vec<u8>, longest: usize, step: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let (mut wire, mut peer) = wire(longest, PATIENCE);
        let sender = tokio::spawn(async move {
            for piece in input.chunks(step) {
                if peer.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
        let mut lines = Vec::new();
        let end = loop {
            match wire.next().await {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break None,
                Err(error) => break Some(error.to_string()),
            }
        };
        drop(wire);
        sender.await.unwrap();
        (lines, end)
    }

    #[tokio::test]
    async fn lines_come_whole_however_they_are_sent() {
        for step in [1, 16, 4096] {
            let (lines, end) = all(b"one\n\ntwo\tx\n".to_vec(), 100, step).await;
            assert_eq!((lines, end), (vec![b"one".to_vec(), vec![], b"two\tx".to_vec()], None));
            let long = [vec![b'x'; 5000], vec![b'\n'], vec![b'y'; 5000], vec![b'\n']].concat();
            let (lines, end) = all(long, 5000, step).await;
            assert_eq!((lines.len(), lines[0].len(), lines[1][0], end), (2, 5000, b'y', None));
        }
    }

    #[tokio::test]
    async fn a_line_too_long_and_half_a_line_are_told_apart() {
        for step in [1, 16, 4096] {
            let (lines, end) = all([&b"one\n"[..], &[b'x'; 2000]].concat(), 1999, step).await;
            assert_eq!((lines.len(), end.as_deref()), (1, Some("a line of more than 1999 bytes")));
            let (_, end) = all([&[b'x'; 2000][..], b"\n"].concat(), 1999, step).await;
            assert_eq!(end.as_deref(), Some("a line of more than 1999 bytes"));
            let (_, end) = all(b"one\nhalf".to_vec(), 1999, step).await;
            assert_eq!(end.as_deref(), Some("the peer closed in the middle of a line"));
        }
    }

    #[tokio::test]
    async fn a_slow_peer_is_not_waited_for_for_ever_and_an_idle_one_is() {
        let (mut slow, mut peer) = wire(100, Duration::from_millis(20));
        peer.write_all(b"half").await.unwrap();
        assert_eq!(slow.next().await.unwrap_err().to_string(), "the peer did not finish a line in time");
        let (mut slow, mut peer) = wire(100, Duration::from_millis(20));
        peer.write_all(b"line\nhalf").await.unwrap();
        assert_eq!(slow.next().await.unwrap().unwrap().as_slice(), b"line");
        assert_eq!(slow.next().await.unwrap_err().to_string(), "the peer did not finish a line in time");
        let (mut idle, mut peer) = wire(100, Duration::from_millis(5));
        let later = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(50)).await;
            peer.write_all(b"line\n").await.unwrap();
            peer
        });
        assert_eq!(idle.next().await.unwrap().unwrap().as_slice(), b"line");
        idle.output().extend([b'x'; 1000]);
        assert_eq!(
            idle.flush(Duration::from_millis(5)).await.unwrap_err().to_string(),
            "the peer did not take an answer in time"
        );
        later.await.unwrap();
    }

    #[tokio::test]
    async fn nothing_is_lost_when_waiting_is_given_up() {
        let (mut wire, mut peer) = wire(100, PATIENCE);
        for piece in [&b"on"[..], b"e\ntw", b"o\n"] {
            assert!(timeout(Duration::from_millis(5), wire.next()).await.is_err());
            peer.write_all(piece).await.unwrap();
            if piece == b"e\ntw" {
                assert_eq!(wire.next().await.unwrap().unwrap().as_slice(), b"one");
            }
        }
        assert_eq!(wire.next().await.unwrap().unwrap().as_slice(), b"two");
    }
}
