//! Requests that nobody would send: a good one changed at random, by a generator with a fixed seed, so that every run asks the same.
//!
//! Whatever comes, the answer is one line of printable ASCII and an empty one, or the end of the connection; and the next client is served.

use bytes::BytesMut;
use gatepost_postfix_policy::protocol::policy::Requests;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::codec::Decoder;

use crate::dns::Dns;
use crate::instance::{Instance, Setup, soon};

/// What Postfix 3.10 sends.
const GOOD: &str = "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=192.0.2.7\nclient_name=mx.foreign.test\n\
client_port=40000\nreverse_client_name=mx.foreign.test\nserver_address=192.0.2.1\nserver_port=25\nhelo_name=mx.foreign.test\nsender=s@pass.test\n\
recipient=alice@example.com\nrecipient_count=0\nqueue_id=\ninstance=1a2b.5f3c.0\nsize=1000\netrn_domain=\nstress=\nsasl_method=\nsasl_username=\n\
sasl_sender=\nccert_subject=\nencryption_protocol=TLSv1.3\npolicy_context=\ncompatibility_level=3.6\nmail_version=3.10.13\n\n";

/// Text that has hurt somebody before.
const PIECES: [&[u8]; 20] = [
    b"\n",
    b"\n\n",
    b"=",
    b"\0",
    b"\r\n",
    b"\xff\xfe",
    b"action=OK\n\n",
    b"%s%n",
    b"' OR 1=1 --",
    b"\\",
    b"\"",
    b"<>",
    b"@",
    b"::1",
    b"protocol_state=DATA\n",
    b"sasl_username=alice@example.com\n",
    b"recipient_count=-1\n",
    b"size=99999999999999999999\n",
    b"\xe2\x80\xae",
    b"[IPv6:",
];

/// xorshift64 (Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn mutated(&mut self) -> Vec<u8> {
        let mut bytes = GOOD.as_bytes().to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 => bytes[at] = self.below(256) as u8,
                1 => drop(bytes.remove(at)),
                2 => bytes.truncate(at + 1),
                3 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..at, piece.iter().copied());
                }
                4 => {
                    let again =
                        bytes[at..(at + 1 + self.below(200)).min(bytes.len())].repeat(1 + self.below(60));
                    bytes.splice(at..at, again);
                }
                _ => {
                    // A value of one attribute is replaced.
                    let piece = PIECES[self.below(PIECES.len())].repeat(1 + self.below(300));
                    if let Some(equals) = bytes[at..].iter().position(|byte| *byte == b'=') {
                        bytes.splice(at + equals + 1..at + equals + 1, piece);
                    }
                }
            }
        }
        bytes
    }
}

#[test]
fn no_mutation_breaks_the_decoder_and_its_cut_changes_nothing() {
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let decode = |bytes: &[u8], step: usize| {
        let (mut decoder, mut buffer, mut requests) = (Requests::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                match decoder.decode(&mut buffer) {
                    Ok(Some(request)) => requests.push(request),
                    Ok(None) => break,
                    Err(error) => return (requests, Some(error)),
                }
            }
        }
        (requests, None)
    };
    for _ in 0..500 {
        let bytes = chance.mutated();
        let whole = decode(&bytes, usize::MAX);
        for step in [1, 16, 4096] {
            assert_eq!(decode(&bytes, step), whole, "{}", bytes.escape_ascii());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_mutation_is_answered_in_one_line_or_not_at_all() {
    let dns = Dns::serve("pass.test TXT v=spf1 ip4:192.0.2.0/24 -all\nmx.foreign.test A 192.0.2.7");
    let checks = "[\"allow-deny\", \"sender-login\", \"recipient\", \"country\", \"helo\", \"dnsbl\", \"spf\", \"greylist\", \"rate-limit\", \"stolen-login\"]";
    let settings = format!(
        "[postfix-policy.greylist]\nwhen = \"always\"\n[postfix-policy.dnsbl]\nlists = [\"bl.test\"]\n[postfix-policy.helo]\nunresolvable = \"defer\"\n{}",
        dns.toml()
    );
    let instance = Instance::start(&Setup { settings, checks: Some(checks.into()), schema: true }).await;
    let mut chance = Chance(0x2545_f491_4f6c_dd1d);
    for number in 0..400 {
        let bytes = chance.mutated();
        let place = format!("mutation {number}: {}", bytes.escape_ascii());
        let mut peer = instance.connect("policy").await;
        let step = [1, 16, 4096][number % 3];
        for piece in bytes.chunks(step) {
            if peer.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = peer.shutdown().await;
        let mut answer = Vec::new();
        let _ = soon(&place, peer.read_to_end(&mut answer)).await;
        let text = String::from_utf8(answer).unwrap_or_else(|_| panic!("{place}: not ASCII"));
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_once("\n\n").unwrap_or_else(|| panic!("{place}: cut off: {rest}"));
            let action = line.strip_prefix("action=").unwrap_or_else(|| panic!("{place}: {line}"));
            assert!(
                !action.is_empty() && action.bytes().all(|b| b == b' ' || b.is_ascii_graphic()),
                "{place}: {line:?}"
            );
            assert!(action.len() < 1000, "{place}: {line}");
            let word = action.split(' ').next().unwrap();
            let known = matches!(word, "DUNNO" | "PREPEND" | "HOLD" | "DEFER_IF_PERMIT")
                || (word.len() == 3 && word.starts_with(['4', '5']));
            assert!(known, "{place}: {line}");
            rest = after;
        }
    }
    // The next one is served as ever.
    let mut peer = instance.connect("policy").await;
    peer.write_all(b"request=smtpd_access_policy\nprotocol_state=VRFY\n\n").await.unwrap();
    let mut answer = [0; 14];
    soon("an answer", peer.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"action=DUNNO\n\n");
    instance.stop().await;
}
