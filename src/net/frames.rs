//! Bounded framing for [`tokio_util::codec::Framed`]: lines and netstrings. (Length-prefixed frames: the milter's own.)
//!
//! A decoder never holds more than its bound and what one read brought; a frame beyond the bound ends the connection.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// Why a peer's bytes are no frame.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Longer than allowed.
    #[error("frame longer than {limit} bytes")]
    TooLong {
        /// The bound.
        limit: usize,
    },
    /// Not of the expected form; the text says of which.
    #[error("malformed frame: {0}")]
    Malformed(&'static str),
    /// The connection ended inside a frame.
    #[error("connection ended inside a frame")]
    Truncated,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Lines that end with LF; the LF is taken off, a CR before it is kept. Encodes bytes as they are.
#[derive(Clone, Debug)]
pub struct Lines {
    limit: usize,
    searched: usize,
}

impl Lines {
    /// Lines of at most `limit` bytes, LF not counted.
    pub fn new(limit: usize) -> Self {
        Self { limit, searched: 0 }
    }
}

impl Decoder for Lines {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let start = self.searched.min(buffer.len());
        match buffer[start..].iter().position(|byte| *byte == b'\n').map(|at| at + start) {
            Some(length) if length > self.limit => Err(FrameError::TooLong { limit: self.limit }),
            Some(length) => {
                self.searched = 0;
                let line = buffer.split_to(length).freeze();
                buffer.advance(1);
                Ok(Some(line))
            }
            None if buffer.len() > self.limit => Err(FrameError::TooLong { limit: self.limit }),
            None => {
                self.searched = buffer.len();
                Ok(None)
            }
        }
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(buffer)? {
            None if !buffer.is_empty() => Err(FrameError::Truncated),
            line => Ok(line),
        }
    }
}

impl Encoder<&[u8]> for Lines {
    type Error = FrameError;

    fn encode(&mut self, bytes: &[u8], buffer: &mut BytesMut) -> Result<(), FrameError> {
        buffer.extend_from_slice(bytes);
        Ok(())
    }
}

/// Netstrings (<https://cr.yp.to/proto/netstrings.txt>): `5:hello,`.
#[derive(Clone, Debug)]
pub struct Netstrings {
    limit: usize,
}

impl Netstrings {
    /// Netstrings of at most `limit` bytes of content.
    pub fn new(limit: usize) -> Self {
        Self { limit }
    }
}

impl Decoder for Netstrings {
    type Item = Bytes;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let digits = buffer.iter().take(MAX_DIGITS + 1).take_while(|byte| byte.is_ascii_digit()).count();
        if digits > MAX_DIGITS {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        if digits == buffer.len() {
            return Ok(None);
        }
        if digits == 0 || (digits > 1 && buffer[0] == b'0') || buffer[digits] != b':' {
            return Err(FrameError::Malformed("a netstring begins with its length and a colon"));
        }
        let length = buffer[..digits].iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
        if length > self.limit {
            return Err(FrameError::TooLong { limit: self.limit });
        }
        let end = digits + 1 + length;
        if buffer.len() <= end {
            buffer.reserve(end + 1 - buffer.len());
            return Ok(None);
        }
        if buffer[end] != b',' {
            return Err(FrameError::Malformed("a netstring ends with a comma"));
        }
        buffer.advance(digits + 1);
        let content = buffer.split_to(length).freeze();
        buffer.advance(1);
        Ok(Some(content))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        match self.decode(buffer)? {
            None if !buffer.is_empty() => Err(FrameError::Truncated),
            content => Ok(content),
        }
    }
}

impl Encoder<&[u8]> for Netstrings {
    type Error = FrameError;

    fn encode(&mut self, content: &[u8], buffer: &mut BytesMut) -> Result<(), FrameError> {
        buffer.extend_from_slice(content.len().to_string().as_bytes());
        buffer.put_u8(b':');
        buffer.extend_from_slice(content);
        buffer.put_u8(b',');
        Ok(())
    }
}

/// Nine digits are a length below 1 GB, above every bound used here, and never overflow.
const MAX_DIGITS: usize = 9;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use proptest::prelude::*;

    use super::*;

    fn decode_all<D: Decoder<Item = Bytes, Error = FrameError>>(
        mut decoder: D,
        input: &[u8],
        step: usize,
    ) -> (Vec<Bytes>, Option<String>) {
        let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
        for chunk in input.chunks(step) {
            buffer.extend_from_slice(chunk);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error.to_string())),
                }
            }
        }
        match decoder.decode_eof(&mut buffer) {
            Ok(frame) => frames.extend(frame),
            Err(error) => return (frames, Some(error.to_string())),
        }
        (frames, None)
    }

    #[test]
    fn lines_come_out_whole_however_they_arrive() {
        for step in [1, 3, 4096] {
            let (lines, error) = decode_all(Lines::new(8), b"one\r\n\nthree\n", step);
            assert_eq!(lines, [&b"one\r"[..], b"", b"three"]);
            assert_eq!(error, None);
            let (lines, error) = decode_all(Lines::new(8), b"one\n123456789\n", step);
            assert_eq!((lines.len(), error.as_deref()), (1, Some("frame longer than 8 bytes")));
            assert_eq!(
                decode_all(Lines::new(8), b"half", step).1.as_deref(),
                Some("connection ended inside a frame")
            );
        }
    }

    #[test]
    fn netstrings_come_out_whole_and_bad_ones_say_why() {
        for step in [1, 3, 4096] {
            let (strings, error) = decode_all(Netstrings::new(10), b"5:hello,0:,1:,,", step);
            assert_eq!(strings, [&b"hello"[..], b"", b","]);
            assert_eq!(error, None);
            for (bad, reason) in [
                (&b":,"[..], "begins with its length"),
                (b"x:,", "begins with its length"),
                (b"05:hello,", "begins with its length"),
                (b"5 :hello,", "begins with its length"),
                (b"-5:hello,", "begins with its length"),
                (b"5:hellos,", "ends with a comma"),
                (b"11:hello world,", "longer than 10"),
                (b"9999999999:", "longer than 10"),
                (b"5:hel", "ended inside"),
                (b"5", "ended inside"),
            ] {
                let error = decode_all(Netstrings::new(10), bad, step).1.unwrap();
                assert!(error.contains(reason), "{bad:?}: {error}");
            }
        }
    }

    proptest! {
        #[test]
        fn no_bytes_break_a_decoder(input in proptest::collection::vec(any::<u8>(), 0..200), step in 1usize..40) {
            let _ = decode_all(Lines::new(16), &input, step);
            let _ = decode_all(Netstrings::new(16), &input, step);
        }

        #[test]
        fn what_is_encoded_is_decoded(content in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut buffer = BytesMut::new();
            Netstrings::new(200).encode(&content, &mut buffer).unwrap();
            prop_assert_eq!(decode_all(Netstrings::new(200), &buffer, 7).0, [content]);
        }
    }
}
