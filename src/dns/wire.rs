//! The two packets that nearly every question to a list in DNS comes to: the question, and "not there" (RFC 1035, 4.1; RFC 2308, 2).
//!
//! For `datagram`. A message is worth some ten questions, of which nearly all have no answer; hickory's general form of a packet, with every
//! record in memory of its own, is a tenth of what judging it costs. Whatever else a packet says is for hickory to read.
//!
//! ```text
//! header  id flags QD=1 AN NS AR              12 bytes
//! question name type class                    labels, a zero byte, 4 bytes
//! record  name type class TTL length data     a name is labels and a zero byte, or labels and a pointer of 2 bytes
//! ```

use hickory_resolver::proto::rr::{Name, RecordType};

/// RFC 1035, 4.1.1.
pub(super) const HEADER: usize = 12;

/// The bytes of a reply that we announce to take (EDNS, RFC 6891, 6.2.3): they pass every network unfragmented (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// A question. `id` is filled in by whoever sends it. `wants_ad` asks for the AD bit (RFC 6840, 5.7), `mixes_case` for random capitals.
pub(super) fn question(name: &Name, kind: RecordType, wants_ad: bool, mixes_case: bool) -> Vec<u8> {
    let mut packet = Vec::with_capacity(HEADER + 256 + 4 + OPT.len());
    let ad = if wants_ad { AD } else { 0 };
    packet.extend_from_slice(&[0, 0, RD, ad, 0, 1, 0, 0, 0, 0, 0, 1]);
    for label in name.iter() {
        // A label has at most 63 bytes: `Name` sees to that.
        packet.push(u8::try_from(label.len()).unwrap_or_default());
        packet.extend_from_slice(label);
    }
    if mixes_case {
        capitals(packet.get_mut(HEADER..).unwrap_or_default());
    }
    packet.push(0);
    packet.extend_from_slice(&u16::from(kind).to_be_bytes());
    packet.extend_from_slice(&IN.to_be_bytes());
    packet.extend_from_slice(&OPT);
    packet
}

/// Turns letters around at random; lengths of labels are below 64 and no letters.
fn capitals(labels: &mut [u8]) {
    for piece in labels.chunks_mut(64) {
        let random: u64 = rand::random();
        for (at, byte) in piece.iter_mut().enumerate() {
            if byte.is_ascii_alphabetic() && (random >> at) & 1 == 1 {
                *byte ^= 0x20;
            }
        }
    }
}

/// Where the question of a packet of ours ends: labels, the root, type and class.
pub(super) fn end_of_question(packet: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at + 4);
        }
    }
}

/// What a reply says that holds no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotThere {
    /// Whether the name exists, without records of that type.
    pub(super) exists: bool,
    /// How long that holds, in seconds; none where no SOA record says so.
    pub(super) ttl: Option<u32>,
}

/// Reads a reply, whose question ends at `end`, that is whole and says "not there" and nothing else; none for any other.
pub(super) fn not_there(packet: &[u8], end: usize) -> Option<NotThere> {
    let (flags, code) = (*packet.get(2)?, *packet.get(3)?);
    let is_reply = flags & QR != 0 && flags & (OPCODE | TC) == 0;
    let exists = match code & RCODE {
        NOERROR => true,
        NXDOMAIN => false,
        _ => return None,
    };
    let [questions, answers, authorities, others] = [4, 6, 8, 10].map(|at| number(packet, at));
    if !is_reply || questions? != 1 || answers? != 0 {
        return None;
    }
    let (authorities, others) = (authorities?, others?);
    let (mut at, mut ttl) = (end, None);
    for record in 0..u32::from(authorities) + u32::from(others) {
        let fields = after_name(packet, at)?;
        let (kind, time) = (number(packet, fields)?, long_number(packet, fields + 4)?);
        let data = fields + 10;
        let next = data + usize::from(number(packet, fields + 8)?);
        // All of it must be there.
        packet.get(..next)?;
        match kind {
            SOA if record < u32::from(authorities) && ttl.is_none() => {
                // Two names, and the last of five numbers.
                let numbers = after_name(packet, after_name(packet, data)?)?;
                if numbers + 20 != next {
                    return None;
                }
                ttl = Some(time.min(long_number(packet, numbers + 16)?));
            }
            // The upper bits of the code stand there (RFC 6891, 6.1.3).
            OPT_TYPE if time >> 24 != 0 => return None,
            _ => {}
        }
        at = next;
    }
    Some(NotThere { exists, ttl })
}

/// What follows the name that begins there.
fn after_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            length @ 1..=63 => at += 1 + usize::from(length),
            POINTER.. => return Some(at + 2),
            // Reserved.
            _ => return None,
        }
    }
}

fn number(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

fn long_number(packet: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*packet.get(at..)?.first_chunk()?))
}

/// The third and the fourth byte of the header.
const QR: u8 = 0x80;
const OPCODE: u8 = 0x78;
pub(super) const TC: u8 = 0x02;
const RD: u8 = 0x01;
const AD: u8 = 0x20;
pub(super) const RCODE: u8 = 0x0f;
pub(super) const NOERROR: u8 = 0;
pub(super) const NXDOMAIN: u8 = 3;

const IN: u16 = 1;
const SOA: u16 = 6;
const OPT_TYPE: u16 = 41;
/// The first byte of a pointer to a name that stands elsewhere.
const POINTER: u8 = 0xc0;

/// The record of EDNS: root, type, payload, no flags, no data.
const OPT: [u8; 11] = {
    let [high, low] = PAYLOAD.to_be_bytes();
    [0, 0, OPT_TYPE as u8, high, low, 0, 0, 0, 0, 0, 0]
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::str::FromStr;

    use hickory_resolver::proto::op::{
        DnsRequest, DnsRequestOptions, DnsResponse, Edns, Message, MessageType, OpCode, Query, ResponseCode,
    };
    use hickory_resolver::proto::rr::rdata::SOA as SoaData;
    use hickory_resolver::proto::rr::{RData, Record};

    use super::*;

    fn name(text: &str) -> Name {
        Name::from_str(text).unwrap()
    }

    #[test]
    fn a_question_is_the_one_that_hickory_writes() {
        for (text, kind) in [
            ("7.2.0.192.zen.example.", RecordType::A),
            ("_dmarc.example.org.", RecordType::TXT),
            (".", RecordType::MX),
        ] {
            for wants_ad in [false, true] {
                let query = Query::query(name(text), kind);
                let mut request = DnsRequest::from_query(query, DnsRequestOptions::default());
                request.metadata.authentic_data = wants_ad;
                let mut expected = request.to_vec().unwrap();
                expected[..2].fill(0);
                let ours = question(&name(text), kind, wants_ad, false);
                assert_eq!(ours, expected, "{text}");
                let mixed = question(&name(text), kind, wants_ad, true);
                assert!(mixed.eq_ignore_ascii_case(&ours) && mixed.len() == ours.len());
                assert_eq!(end_of_question(&ours), Some(ours.len() - OPT.len()));
            }
        }
    }

    /// A reply as a server writes it, names compressed.
    fn reply(code: ResponseCode, soas: &[(u32, u32)], change: impl Fn(&mut Message)) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.metadata.response_code = code;
        message.queries.push(Query::query(name("a.list.example."), RecordType::A));
        for (ttl, minimum) in soas {
            let soa = SoaData::new(name("ns.list.example."), name("root.example."), 1, 2, 3, 4, *minimum);
            message.authorities.push(Record::from_rdata(name("list.example."), *ttl, RData::SOA(soa)));
        }
        message.edns = Some(Edns::new());
        change(&mut message);
        message.to_vec().unwrap()
    }

    fn read(packet: &[u8]) -> Option<NotThere> {
        not_there(packet, end_of_question(packet)?)
    }

    #[test]
    fn not_there_is_read_as_hickory_reads_it() {
        for (code, soas) in [
            (ResponseCode::NXDomain, &[(300, 60)][..]),
            (ResponseCode::NXDomain, &[(30, 60), (5, 5)]),
            (ResponseCode::NoError, &[(300, 600)]),
            (ResponseCode::NoError, &[]),
        ] {
            let packet = reply(code, soas, |_| {});
            let theirs = DnsResponse::from_buffer(packet.clone()).unwrap();
            let expected = NotThere { exists: code == ResponseCode::NoError, ttl: theirs.negative_ttl() };
            assert_eq!(read(&packet), Some(expected), "{code} {soas:?}");
        }
    }

    #[test]
    fn whatever_else_is_said_is_for_hickory() {
        let soa = &[(300, 60)][..];
        let whole = reply(ResponseCode::NXDomain, soa, |_| {});
        for cut in 0..whole.len() {
            assert_eq!(read(&whole[..cut]), None, "cut at {cut}");
        }
        assert_eq!(read(&reply(ResponseCode::ServFail, soa, |_| {})), None);
        assert_eq!(read(&reply(ResponseCode::NXDomain, soa, |reply| reply.metadata.truncation = true)), None);
        let query = |reply: &mut Message| reply.metadata.message_type = MessageType::Query;
        assert_eq!(read(&reply(ResponseCode::NXDomain, soa, query)), None);
        let address = RData::A("127.0.0.2".parse().unwrap());
        let found = |reply: &mut Message| {
            reply.answers.push(Record::from_rdata(name("a.list.example."), 60, address.clone()));
        };
        assert_eq!(read(&reply(ResponseCode::NoError, &[], found)), None);
        // BADVERS is 16: its lower four bits say that all is well.
        let mut bad_version = reply(ResponseCode::NoError, &[], |_| {});
        let at = bad_version.len() - 6;
        bad_version[at] = 1;
        assert_eq!(read(&bad_version), None);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_odd(mut tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200), ns in 0u8..4) {
            let mut packet = reply(ResponseCode::NXDomain, &[(300, 60)], |_| {});
            let end = end_of_question(&packet).unwrap();
            packet.truncate(end);
            packet[9] = ns;
            packet.append(&mut tail);
            let _ = not_there(&packet, end);
        }
    }
}
