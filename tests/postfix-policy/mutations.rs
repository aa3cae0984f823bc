//! Requests with bytes changed, lost, doubled and swapped, the same ones in every run: each connection gets well-formed answers or its end,
//! and the next peer never notices.
//!
//! The reader of answers here is a plain one of its own: digits, colon, content, comma.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::instance::{Instance, Setup, soon};

/// xorshift64*: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % bound
    }
}

fn netstring(content: &[u8]) -> Vec<u8> {
    [content.len().to_string().as_bytes(), b":", content, b","].concat()
}

/// Sound requests, of which the mutants are made.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = [
        "aliases boss@example.com",
        "mailboxes Alice+x@Example.com",
        "senders \"a b\"@example.com",
        "domains b\u{fc}cher.example",
        "recipients nobody@example.com",
        "transport *",
        "sender-access <>",
        "client-access 2001:db8::1",
        "srs-reverse SRS0=AbCd=XY=foreign.test=bob@example.com",
        "nosuchmap x",
        "aliases ",
    ]
    .map(|text| netstring(text.as_bytes()))
    .to_vec();
    seeds.push(netstring(&[b"aliases ".as_slice(), &b"k".repeat(100_000)].concat()));
    seeds.push(netstring(&[b"aliases ".as_slice(), &[0xff, 0xfe, 0, 0x80]].concat()));
    seeds.push([netstring(b"aliases boss@example.com"), netstring(b"domains example.com")].concat());
    seeds
}

fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Most often where the grammar is: in the length and around it.
        let within = if numbers.below(2) == 0 { bytes.len().min(12) } else { bytes.len() };
        let at = numbers.below(within);
        match numbers.below(7) {
            0 => bytes[at] = numbers.below(256) as u8,
            1 => bytes[at] ^= 1 << numbers.below(8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, b"0123456789:, -+\n\0"[numbers.below(17)]),
            4 => bytes.truncate(at),
            5 => bytes.swap(at, 0),
            _ => {
                let copy = bytes[at..bytes.len().min(at + 40)].to_vec();
                bytes.extend(copy);
            }
        }
    }
}

/// The answers in what came back; anything else than whole ones, one behind the other, fails.
fn answers(mut bytes: &[u8]) -> Vec<String> {
    let mut answers = Vec::new();
    while !bytes.is_empty() {
        let colon = bytes.iter().position(|byte| *byte == b':').unwrap();
        let length: usize = std::str::from_utf8(&bytes[..colon]).unwrap().parse().unwrap();
        let content = &bytes[colon + 1..colon + 1 + length];
        assert_eq!(bytes[colon + 1 + length], b',');
        answers.push(String::from_utf8(content.to_vec()).unwrap());
        bytes = &bytes[colon + 2 + length..];
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_broken_connections_get_sound_answers_or_their_end() {
    let instance = Instance::start(&Setup { schema: true, ..Setup::default() }).await;
    let mut good = instance.connect("socketmap").await;
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let seeds = seeds();
    let mut answered = 0;
    for number in 0..10_000 {
        let mut bytes = seeds[numbers.below(seeds.len())].clone();
        if bytes.len() > 1000 && number % 10 != 0 {
            bytes.truncate(500);
        }
        mutate(&mut bytes, &mut numbers);
        let mut peer = instance.connect("socketmap").await;
        let step = if bytes.len() > 1000 { 4096 } else { [1, 16, 4096][number % 3] };
        for chunk in bytes.chunks(step) {
            // The daemon may have seen enough and closed.
            if peer.write_all(chunk).await.is_err() {
                break;
            }
        }
        let _ = peer.shutdown().await;
        let mut back = Vec::new();
        // Closed with bytes unread is a reset; what came before it counts all the same.
        let _ = soon("the end", peer.read_to_end(&mut back)).await;
        for answer in answers(&back) {
            let word = answer.split(' ').next().unwrap();
            assert!(
                ["OK", "NOTFOUND", "PERM", "TEMP"].contains(&word),
                "{answer:?} to {}",
                bytes.escape_ascii()
            );
            answered += 1;
        }
        if number % 100 == 0 {
            good.write_all(b"24:aliases boss@example.com,").await.unwrap();
            let mut answer = [0; 24];
            soon("an answer", good.read_exact(&mut answer)).await.unwrap();
            assert_eq!(&answer, b"20:OK alice@example.com,");
        }
    }
    assert!(
        answered > 1000,
        "only {answered} mutants were requests: the mutations are too wild to test anything"
    );
    assert_eq!(instance.stop().await, 0);
}
