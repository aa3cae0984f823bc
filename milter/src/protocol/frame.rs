//! Frames of the milter protocol: a length, then so many bytes.
//!
//! For `Framed` in the session. It refuses a frame of no bytes and one longer than [`MAX_FRAME`] before reading it, so that a
//! peer cannot make us reserve what it does not send.
//!
//! ```text
//! 00 00 00 0d  43 'localhost' 00 'U' ...      13 bytes follow: command C and its data
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

use super::ProtocolError;

/// The longest frame that is read: 1 MiB. Postfix sends at most 65,536 bytes of body and about 60,100 of header; only macro lists
/// and `RCPT` with many arguments could be longer, none is known to be.
pub const MAX_FRAME: u32 = 1 << 20;

const LENGTH_BYTES: usize = 4;

/// A full piece of body, with its command byte.
const USUAL_FRAME: usize = 65_536;

/// The framing of both directions; decodes command and data together, encodes what already is a whole frame's content.
#[derive(Debug, Default, Clone, Copy)]
pub struct Frames;

impl Decoder for Frames {
    type Item = Bytes;
    type Error = ProtocolError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, ProtocolError> {
        let Some(length) = buffer.first_chunk::<LENGTH_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))
        else {
            return Ok(None);
        };
        if length == 0 || length > MAX_FRAME {
            return Err(ProtocolError::FrameSize(length));
        }
        let whole = LENGTH_BYTES + length as usize;
        if buffer.len() < whole {
            // Room for what usually comes; a longer frame grows the buffer as it arrives, not as it is announced.
            buffer.reserve((whole - buffer.len()).min(USUAL_FRAME));
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Ok(Some(buffer.split_to(length as usize).freeze()))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, ProtocolError> {
        match self.decode(buffer)? {
            Some(frame) => Ok(Some(frame)),
            None if buffer.is_empty() => Ok(None),
            None => Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
        }
    }
}

impl Encoder<&[u8]> for Frames {
    type Error = ProtocolError;

    fn encode(&mut self, content: &[u8], buffer: &mut BytesMut) -> Result<(), ProtocolError> {
        let length = u32::try_from(content.len()).map_err(|_| ProtocolError::FrameSize(u32::MAX))?;
        buffer.reserve(LENGTH_BYTES + content.len());
        buffer.put_u32(length);
        buffer.put_slice(content);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn decodes_byte_by_byte() {
        let wire = b"\0\0\0\x02Hx\0\0\0\x01Q";
        let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
        for &byte in wire {
            buffer.put_u8(byte);
            while let Some(frame) = Frames.decode(&mut buffer).unwrap() {
                frames.push(frame);
            }
        }
        assert_eq!(frames, [Bytes::from_static(b"Hx"), Bytes::from_static(b"Q")]);
        assert!(Frames.decode_eof(&mut buffer).unwrap().is_none());
    }

    #[test]
    fn refuses_empty_and_over_long_frames_unread() {
        for length in [0, MAX_FRAME + 1, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            let error = Frames.decode(&mut buffer).unwrap_err();
            assert!(matches!(error, ProtocolError::FrameSize(named) if named == length));
            assert!(buffer.capacity() < 4096, "nothing is reserved for a frame that is refused");
        }
    }

    #[test]
    fn a_long_frame_is_not_reserved_before_it_comes() {
        let mut buffer = BytesMut::from(&MAX_FRAME.to_be_bytes()[..]);
        assert!(Frames.decode(&mut buffer).unwrap().is_none());
        assert!(buffer.capacity() < 4 * USUAL_FRAME);
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error() {
        let mut buffer = BytesMut::from(&b"\0\0\0\x05He"[..]);
        assert!(matches!(Frames.decode_eof(&mut buffer), Err(ProtocolError::Io(_))));
    }

    #[test]
    fn encodes_length_and_content() {
        let mut buffer = BytesMut::new();
        Frames.encode(b"c", &mut buffer).unwrap();
        assert_eq!(&buffer[..], b"\0\0\0\x01c");
    }
}
