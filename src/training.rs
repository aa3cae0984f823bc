//! A message as the training log keeps it: its start, compressed.
//!
//! For the milter, which packs what it judges and unpacks what it learns, and for `gatepost learn`. What is judged and what is learned
//! later are the same bytes, so the model never sees what a mailbox added. A sample is bounded on the way in and on the way out;
//! the bytes in a table are not trusted.

use std::io::{Read, Write};

use aws_lc_rs::digest;
use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::store::training::MessageKey;

/// Bytes of a header that are kept, at the end of a line. The model looks at less.
pub const MAX_HEADER: usize = 64 * 1024;
/// Bytes of a body that are kept. The model looks at no more.
pub const MAX_BODY: usize = 64 * 1024;

/// What of a message from a mailbox is looked at: a header of twice the size and the body.
const MAX_RAW: usize = 2 * MAX_HEADER + MAX_BODY;

/// Fields that a delivery puts on top.
const DELIVERY: [&str; 3] = ["Return-Path", "Delivered-To", "X-Original-To"];

/// The header in which a judged message carries its key.
pub const KEY_HEADER: &str = "X-Gatepost-Id";

/// Why a sample is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSample {
    /// Written by a newer program, or no sample at all.
    #[error("unknown form {0}, expected {FORM}")]
    Form(u8),
    /// Empty, cut, or too long when unpacked.
    #[error("empty, damaged or longer than a sample can be")]
    Damaged,
}

/// Packs a message, as RFC 5322 bytes: header, empty line, body; what goes beyond the bounds is left out.
pub fn pack(message: &[u8]) -> Vec<u8> {
    Packer::default().pack(message)
}

/// Packs one message after the other: its tables, a quarter of a mebibyte, are made once, with the first.
#[derive(Debug, Default)]
pub struct Packer(Option<DeflateEncoder<Vec<u8>>>);

impl Packer {
    /// As [`pack`].
    pub fn pack(&mut self, message: &[u8]) -> Vec<u8> {
        let (header, body) = bounds(message);
        let encoder = self.0.get_or_insert_with(|| DeflateEncoder::new(vec![FORM], Compression::fast()));
        // Writing to memory does not fail.
        for piece in [header, b"\r\n", body] {
            let _ = encoder.write_all(piece);
        }
        encoder.reset(vec![FORM]).unwrap_or_default()
    }
}

/// The message again, as far as it was kept.
///
/// # Errors
/// The bytes are no sample.
pub fn unpack(sample: &[u8]) -> Result<Vec<u8>, BadSample> {
    match sample.split_first() {
        Some((&FORM, packed)) => {
            let mut message = Vec::new();
            let most = (MAX_HEADER + MAX_BODY + 4) as u64;
            let read = DeflateDecoder::new(packed).take(most + 1).read_to_end(&mut message);
            match read {
                Ok(length) if length as u64 <= most => Ok(message),
                _ => Err(BadSample::Damaged),
            }
        }
        Some((&form, _)) => Err(BadSample::Form(form)),
        None => Err(BadSample::Damaged),
    }
}

/// The key of a message that carries none: the same for the same bytes.
pub fn key_of(message: &[u8]) -> MessageKey {
    let hash = digest::digest(&digest::SHA256, &cut(message));
    let mut key = [0; 16];
    key.iter_mut().zip(hash.as_ref()).for_each(|(to, &from)| *to = from);
    MessageKey::new(key)
}

/// The key that a judged message carries. The first one counts: the milter puts it on top, and takes foreign ones away.
pub fn carried_key(message: &[u8]) -> Option<MessageKey> {
    let (header, _) = split(message);
    header.split(|&byte| byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(KEY_HEADER.len())?;
        let value = name.eq_ignore_ascii_case(KEY_HEADER.as_bytes()).then(|| value.strip_prefix(b":"))??;
        MessageKey::parse(std::str::from_utf8(value).ok()?)
    })
}

/// A message from a mailbox as a milter would have seen it: without what was put on top on its way into the mailbox, and with CRLF at the
/// end of lines.
///
/// Of a message that this server has judged that is everything above our key and the first `Received` below it, which is Postfix's own
/// for this hop. Any other that has `Delivered-To`, `X-Original-To` or `Return-Path` on top, as Dovecot and Postfix add them, lost the
/// fields down to its first `Received` that does not say `with LMTP` (RFC 5321, 4.4). Everything else is as it was.
pub fn as_judged(message: &[u8]) -> Vec<u8> {
    let message = with_crlf(message);
    let (header, body) = split(&message);
    let fields = fields(header);
    let is = |field: &[u8], name: &str| {
        field.split_at_checked(name.len()).is_some_and(|(start, rest)| {
            start.eq_ignore_ascii_case(name.as_bytes()) && rest.trim_ascii_start().starts_with(b":")
        })
    };
    let hop = |from: usize| {
        let passed = fields.iter().skip(from).position(|field| is(field, "Received") && !is_lmtp(field));
        passed.map(|at| from + at)
    };
    let key = fields.iter().position(|field| is(field, KEY_HEADER) && carried_key(field).is_some());
    let is_delivered = fields.first().is_some_and(|field| DELIVERY.iter().any(|name| is(field, name)));
    // Below the key: our other fields, and then Postfix's own hop. Above the first hop of a delivered message there is only delivery.
    let mut kept: Vec<&[u8]> = match (key, is_delivered) {
        (Some(key), _) => match hop(key) {
            Some(hop) => [&fields[key..hop], &fields[hop + 1..]].concat(),
            None => fields[key..].to_vec(),
        },
        (None, true) => hop(0).map_or_else(|| fields.clone(), |hop| fields[hop + 1..].to_vec()),
        (None, false) => fields.clone(),
    };
    kept.extend([b"\r\n".as_slice(), body]);
    kept.concat()
}

/// The fields of a header block, each with its folds and line ends.
fn fields(header: &[u8]) -> Vec<&[u8]> {
    let (mut fields, mut start, mut at) = (Vec::new(), 0, 0);
    while at < header.len() {
        let end = memchr::memchr(b'\n', &header[at..]).map_or(header.len(), |end| at + end + 1);
        if !matches!(header.get(end), Some(b' ' | b'\t')) {
            fields.push(&header[start..end]);
            start = end;
        }
        at = end;
    }
    fields
}

/// Whether a `Received` was written by a delivery agent: Dovecot says `with LMTP` or `with LMTPS` (RFC 3848 has the former).
fn is_lmtp(field: &[u8]) -> bool {
    memchr::memmem::find(field, b"with LMTP").is_some()
}

/// As much of a message as a sample can have, its line ends CRLF.
fn with_crlf(message: &[u8]) -> Vec<u8> {
    let most = &message[..message.len().min(MAX_RAW)];
    let mut out = Vec::with_capacity(most.len() + most.len() / 32);
    for line in most.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(text) => {
                out.extend_from_slice(text.strip_suffix(b"\r").unwrap_or(text));
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

/// The part of a message that is kept, unpacked.
pub fn cut(message: &[u8]) -> Vec<u8> {
    let (header, body) = bounds(message);
    [header, b"\r\n", body].concat()
}

/// The same, without a copy where nothing must be left out.
pub fn kept(mut message: Vec<u8>) -> Vec<u8> {
    let (header, body) = bounds(&message);
    if header.len() + b"\r\n".len() + body.len() < message.len() {
        return cut(&message);
    }
    // It grew as it came.
    message.shrink_to_fit();
    message
}

/// What of header and body is kept.
fn bounds(message: &[u8]) -> (&[u8], &[u8]) {
    let (header, body) = split(message);
    let header = match header.len() > MAX_HEADER {
        true => {
            let start = &header[..MAX_HEADER];
            &start[..start.iter().rposition(|&byte| byte == b'\n').map_or(MAX_HEADER, |at| at + 1)]
        }
        false => header,
    };
    (header, &body[..body.len().min(MAX_BODY)])
}

/// Header with its last line end, and body; a message without an empty line is all header.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0;
    while let Some(rest) = message.get(at..).filter(|rest| !rest.is_empty()) {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        if matches!(&rest[..end], b"\r\n" | b"\n") {
            return (&message[..at], &rest[end..]);
        }
        at += end;
    }
    (message, &[])
}

/// The first byte of every sample.
const FORM: u8 = 1;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const MESSAGE: &[u8] = b"From: a@b.test\r\nSubject: x\r\n\r\nbody\r\n";

    #[test]
    fn a_short_message_comes_back_as_it_was() {
        assert_eq!(unpack(&pack(MESSAGE)).unwrap(), MESSAGE);
        assert_eq!(unpack(&pack(b"")).unwrap(), b"\r\n");
    }

    #[test]
    fn a_long_one_comes_back_as_its_start() {
        let long = [&b"X: y\r\n".repeat(20_000)[..], b"\r\n", &b"z".repeat(1 << 20)].concat();
        let back = unpack(&pack(&long)).unwrap();
        assert!(back.len() <= MAX_HEADER + MAX_BODY + 2);
        assert!(back.ends_with(b"zzz") && back.starts_with(b"X: y\r\n"));
        assert!(split(&back).0.ends_with(b"X: y\r\n"), "no field is cut");
    }

    #[test]
    fn one_packer_packs_each_as_if_it_were_the_only_one() {
        let mut packer = Packer::default();
        let long = [&b"X: y\r\n".repeat(20_000)[..], b"\r\n", &b"z".repeat(1 << 20)].concat();
        for message in [MESSAGE, &long, b"", MESSAGE] {
            assert_eq!(packer.pack(message), pack(message));
            assert_eq!(unpack(&packer.pack(message)).unwrap(), cut(message));
            assert_eq!(packer.pack(&kept(message.to_vec())), pack(message));
        }
    }

    #[test]
    fn what_is_no_sample_is_refused_and_a_bomb_costs_little() {
        assert_eq!(unpack(b""), Err(BadSample::Damaged));
        assert_eq!(unpack(&[9, 1, 2]), Err(BadSample::Form(9)));
        assert_eq!(unpack(&[FORM, 0xff, 0xff]), Err(BadSample::Damaged));
        let mut bomb = DeflateEncoder::new(vec![FORM], Compression::best());
        bomb.write_all(&vec![0; 64 << 20]).unwrap();
        assert_eq!(unpack(&bomb.finish().unwrap()), Err(BadSample::Damaged));
    }

    #[test]
    fn a_message_from_a_mailbox_is_as_it_was_judged() {
        let sent = "Received: from far by near;\r\n\tSat\r\nFrom: a@b.test\r\nSubject: x\r\n\r\nbody\r\n";
        let key = MessageKey::new([7; 16]);
        let lmtp = "Received: from mx by mx\r\n\twith LMTP id 1 for <bob@example.com>\r\n";
        let own = "Received: from near (near [192.0.2.1])\r\n\tby mx (Postfix) with ESMTPS id 2\r\n";
        let judged = format!("X-Gatepost-Id: {key}\r\nX-Spamd-Result: default: False\r\n");
        let top = "Return-Path: <a@b.test>\r\nDelivered-To: bob@example.com\r\n";
        // What our own fields are the model does not see (the milter's `learning::features`).
        for (stored, expected) in [
            (
                format!("{top}{lmtp}Authentication-Results: mx; spf=pass\r\n{judged}{own}{sent}"),
                format!("{judged}{sent}"),
            ),
            (format!("{top}{lmtp}{own}{sent}"), sent.to_owned()),
            (format!("{top}{own}{sent}"), sent.to_owned()),
            (sent.to_owned(), sent.to_owned()),
            (
                format!("{judged}{sent}").replace("Received: ", "X-Received: "),
                format!("{judged}{sent}").replace("Received: ", "X-Received: "),
            ),
            (format!("{top}From: a@b.test\r\n\r\nx"), format!("{top}From: a@b.test\r\n\r\nx")),
            (String::new(), "\r\n".to_owned()),
        ] {
            for stored in [stored.clone(), stored.replace("\r\n", "\n")] {
                assert_eq!(String::from_utf8(as_judged(stored.as_bytes())).unwrap(), expected, "{stored}");
            }
        }
        assert!(as_judged(&b"x\n".repeat(50 << 20)).len() <= 2 * MAX_RAW);
    }

    #[test]
    fn a_message_is_known_by_its_key_or_by_its_bytes() {
        let key = MessageKey::new([7; 16]);
        let marked = format!(
            "Received: here\r\nx-gatepost-id: {key}\r\nSubject: x\r\n\r\nX-Gatepost-Id: {}\r\n",
            MessageKey::new([8; 16])
        );
        assert_eq!(carried_key(marked.as_bytes()), Some(key));
        assert_eq!(carried_key(MESSAGE), None);
        assert_eq!(carried_key(b"X-Gatepost-Id: rubbish\r\n\r\n"), None);
        assert_eq!(key_of(MESSAGE), key_of(MESSAGE));
        assert_ne!(key_of(MESSAGE), key_of(b"From: a@b.test\r\nSubject: x\r\n\r\nother\r\n"));
    }
}
