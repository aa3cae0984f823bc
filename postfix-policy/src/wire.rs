//! One connection as a stream of frames: bytes in through a decoder, answers out, and who closes when.
//!
//! For `session`, both protocols. Refuses to close a connection that is idle between two frames: Postfix keeps them open for as long as
//! it likes (its socketmap client was seen to reuse one after 13 s, its policy client keeps one for 300 s) and may answer a
//! mail with 451 when it finds one closed. A peer that stops *inside* a frame, or takes no answer, gets [`PATIENCE`].
//!
//! Memory: an idle connection holds [`IDLE_BUFFER`] bytes; a frame under way at most the decoder's bound.

use std::io;
use std::time::Duration;

use bytes::BytesMut;
use gatepost::net::Drain;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::codec::Decoder;

/// How long one frame, or one answer, may take to pass: as long as Postfix's own socketmap and policy clients wait
/// (`smtpd_policy_service_timeout` and dict_sockmap.c, 100 s). Our own questions to the database end after 2 s by default.
pub(crate) const PATIENCE: Duration = Duration::from_secs(100);

/// A connection.
pub(crate) struct Wire<S> {
    stream: S,
    input: BytesMut,
    output: BytesMut,
    patience: Duration,
    /// When the frame that is under way must be whole.
    deadline: Option<Instant>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError<E> {
    /// The bytes are no frame; what they began with.
    #[error("{reason}; it began with \"{begin}\"")]
    Malformed {
        /// The decoder's reason.
        reason: E,
        /// The first bytes, printable.
        begin: String,
    },
    /// The peer closed in the middle of a frame.
    #[error("the peer closed in the middle of a request")]
    Truncated,
    /// The peer did not finish a frame, or take an answer, in time.
    #[error("the peer did not {0} within {PATIENCE:?}")]
    Slow(&'static str),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// A connection whose peer has `patience` for each frame and each answer.
    pub(crate) fn new(stream: S, patience: Duration) -> Self {
        Self { stream, input: BytesMut::new(), output: BytesMut::new(), patience, deadline: None }
    }

    /// Where answers are appended; they are sent before the next wait.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.output
    }

    /// The next whole frame; `None` when the peer closed between two, or draining has begun and nothing has come.
    pub(crate) async fn next<D: Decoder>(
        &mut self,
        decoder: &mut D,
        drain: &Drain,
    ) -> Result<Option<D::Item>, WireError<D::Error>> {
        loop {
            if let Some(frame) = self.decode(decoder)? {
                self.deadline = None;
                if self.output.len() >= OUTPUT_AT_ONCE {
                    self.flush().await?;
                }
                return Ok(Some(frame));
            }
            self.flush().await?;
            let read = if self.input.is_empty() {
                self.deadline = None;
                if self.input.capacity() > KEPT_BUFFER {
                    self.input = BytesMut::new();
                }
                self.input.reserve(IDLE_BUFFER);
                // Reading comes first, so that a request which is already here is answered before a drain closes.
                tokio::select! {
                    biased;
                    read = self.stream.read_buf(&mut self.input) => read?,
                    () = drain.started() => return Ok(None),
                }
            } else {
                let deadline = *self.deadline.get_or_insert_with(|| Instant::now() + self.patience);
                self.input.reserve(READ_BUFFER);
                let read = timeout_at(deadline, self.stream.read_buf(&mut self.input)).await;
                read.map_err(|_| WireError::Slow("finish a request"))??
            };
            match (read, self.input.is_empty()) {
                (0, true) => return Ok(None),
                (0, false) => return Err(WireError::Truncated),
                _ => {}
            }
        }
    }

    /// Sends what is left, and says goodbye.
    pub(crate) async fn close(mut self) {
        let farewell = async {
            self.stream.write_all(&self.output).await?;
            self.stream.shutdown().await
        };
        // The peer may be gone or slow; nothing depends on it any more.
        let _ = timeout(self.patience, farewell).await;
    }

    fn decode<D: Decoder>(&mut self, decoder: &mut D) -> Result<Option<D::Item>, WireError<D::Error>> {
        if self.input.is_empty() {
            return Ok(None);
        }
        let begin = |input: &[u8]| gatepost::telemetry::printable(input, BEGIN_SHOWN);
        decoder
            .decode(&mut self.input)
            .map_err(|reason| WireError::Malformed { reason, begin: begin(&self.input) })
    }

    async fn flush<E>(&mut self) -> Result<(), WireError<E>> {
        if self.output.is_empty() {
            return Ok(());
        }
        let sent = timeout(self.patience, self.stream.write_all(&self.output)).await;
        sent.map_err(|_| WireError::Slow("take an answer"))??;
        self.output.clear();
        if self.output.capacity() > KEPT_BUFFER {
            self.output = BytesMut::new();
        }
        Ok(())
    }
}

/// What an idle connection reads into: longer than nearly every socketmap request.
const IDLE_BUFFER: usize = 512;
/// What a frame that has begun reads into, at once.
const READ_BUFFER: usize = 4096;
/// A larger buffer is given back when the connection becomes idle; a policy request of Postfix (1 KiB) stays below.
const KEPT_BUFFER: usize = 8192;
/// A peer that sends many requests at once gets the answers in pieces of this size.
const OUTPUT_AT_ONCE: usize = 16 * 1024;
/// How much of a bad frame the log shows.
const BEGIN_SHOWN: usize = 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use gatepost::net::frames::Netstrings;
    use tokio::io::duplex;

    use super::*;

    fn wire(patience: Duration) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (ours, theirs) = duplex(64);
        (Wire::new(ours, patience), theirs)
    }

    #[tokio::test]
    async fn frames_come_one_by_one_and_the_end_between_two_is_no_error() {
        let (mut wire, mut peer) = wire(PATIENCE);
        peer.write_all(b"1:a,1:b,").await.unwrap();
        drop(peer);
        let (mut netstrings, drain) = (Netstrings::new(10), Drain::default());
        assert_eq!(wire.next(&mut netstrings, &drain).await.unwrap().unwrap(), &b"a"[..]);
        assert_eq!(wire.next(&mut netstrings, &drain).await.unwrap().unwrap(), &b"b"[..]);
        assert!(wire.next(&mut netstrings, &drain).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_end_inside_a_frame_and_a_bad_one_are_told_apart() {
        let (mut truncated, mut peer) = wire(PATIENCE);
        peer.write_all(b"5:he").await.unwrap();
        drop(peer);
        let error = truncated.next(&mut Netstrings::new(10), &Drain::default()).await.unwrap_err();
        assert!(matches!(error, WireError::Truncated), "{error}");
        let (mut malformed, mut peer) = wire(PATIENCE);
        peer.write_all(b"request=x\n").await.unwrap();
        let error =
            malformed.next(&mut Netstrings::new(10), &Drain::default()).await.unwrap_err().to_string();
        assert!(error.contains("begins with its length") && error.contains("request=x"), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_stops_inside_a_frame_is_not_waited_for_for_ever() {
        let (mut wire, mut peer) = wire(Duration::from_millis(20));
        peer.write_all(b"5:he").await.unwrap();
        let error = wire.next(&mut Netstrings::new(10), &Drain::default()).await.unwrap_err();
        assert!(matches!(error, WireError::Slow("finish a request")), "{error}");
    }

    #[tokio::test]
    async fn a_peer_that_takes_no_answer_is_not_waited_for_for_ever() {
        let (mut wire, _peer) = wire(Duration::from_millis(20));
        wire.output().extend_from_slice(&[b'x'; 1000]);
        let error = wire.next(&mut Netstrings::new(10), &Drain::default()).await.unwrap_err();
        assert!(matches!(error, WireError::Slow("take an answer")), "{error}");
    }

    #[tokio::test]
    async fn an_idle_peer_is_not_closed_and_a_drain_closes_it() {
        let (mut wire, mut peer) = wire(Duration::from_millis(5));
        let drain = Drain::default();
        let other = drain.clone();
        let later = tokio::spawn(async move {
            // Several times the patience.
            tokio::time::sleep(Duration::from_millis(50)).await;
            peer.write_all(b"1:a,").await.unwrap();
            tokio::time::sleep(Duration::from_millis(50)).await;
            other.start();
            peer
        });
        let mut netstrings = Netstrings::new(10);
        assert_eq!(wire.next(&mut netstrings, &drain).await.unwrap().unwrap(), &b"a"[..]);
        assert!(wire.next(&mut netstrings, &drain).await.unwrap().is_none());
        later.await.unwrap();
    }

    #[tokio::test]
    async fn a_drain_lets_a_request_that_has_begun_be_finished() {
        let (mut wire, mut peer) = wire(PATIENCE);
        peer.write_all(b"1:").await.unwrap();
        let drain = Drain::default();
        drain.start();
        let later = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            peer.write_all(b"a,").await.unwrap();
            peer
        });
        assert_eq!(wire.next(&mut Netstrings::new(10), &drain).await.unwrap().unwrap(), &b"a"[..]);
        later.await.unwrap();
    }
}
