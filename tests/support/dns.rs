//! A name server on the loopback device that knows a few lines: what DNS says is the one thing here that is not real.
//!
//! ```text
//! example.org            TXT   v=spf1 ip4:192.0.2.0/24 -all
//! 1.2.0.192.in-addr.arpa PTR   mx.example.org
//! www.example.org        CNAME example.org
//! broken.test            TXT   SERVFAIL
//! silent.test            TXT   DROP
//! mute.test              ANY   DROP
//! ```
//!
//! Bytes by hand (RFC 1035, 4.1): one question, answers with a pointer to its name; a name or type that is not there gets a SOA
//! record, so that the negative answer may be kept (RFC 2308). What is longer than 1232 bytes is cut off over UDP and whole over TCP.
//! A validating resolver ([`Dns::serve_validated`]) sets the AD bit where it was asked to (RFC 6840, 5.7). What no server should
//! ever send is sent by [`Dns::scripted`].

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The server; it ends with the process.
pub(crate) struct Dns {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Line>>>,
    asked: Arc<Mutex<Vec<String>>>,
    tcp: Arc<Mutex<usize>>,
}

/// A record, or what becomes of a question for it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    /// In lower case, without a dot at its end.
    pub(crate) name: String,
    pub(crate) kind: u16,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Data(Vec<u8>),
    /// No answer. For kind [`ANY`]: to no question that has no line of its own.
    Drop,
    ServFail,
}

/// A query came, over TCP or not: the packets to send back.
type Script = dyn Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync;

pub(crate) const CNAME: u16 = 5;
pub(crate) const ANY: u16 = 255;

/// What an answer may have over UDP.
const UDP_SIZE: usize = 1232;

impl Dns {
    pub(crate) fn serve(zone: &str) -> Self {
        Self::serve_lines(zone.lines().filter_map(line).collect(), false)
    }

    /// The same, as a resolver that has validated everything.
    pub(crate) fn serve_validated(zone: &str) -> Self {
        Self::serve_lines(zone.lines().filter_map(line).collect(), true)
    }

    /// Serves another zone from now on.
    pub(crate) fn change(&self, zone: &str) {
        *self.lines.lock().unwrap() = zone.lines().filter_map(line).collect();
    }

    pub(crate) fn serve_lines(lines: Vec<Line>, validated: bool) -> Self {
        let lines = Arc::new(Mutex::new(lines));
        let served = Arc::clone(&lines);
        let server = Self::scripted(move |query, tcp| {
            let Some((name, kind, end)) = question(query) else { return Vec::new() };
            let Some(mut out) = answer(&served.lock().unwrap(), &query[..end], &name, kind) else {
                return Vec::new();
            };
            if validated && query[3] & AD != 0 {
                out[3] |= AD;
            }
            if !tcp && out.len() > UDP_SIZE {
                out = message(&query[..end], TC, 0, &[], &[]);
            }
            vec![out]
        });
        Self { lines, ..server }
    }

    pub(crate) fn scripted(script: impl Fn(&[u8], bool) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let script: Arc<Script> = Arc::new(script);
        // The same port for both.
        let (socket, listener) = loop {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(listener) = TcpListener::bind(socket.local_addr().unwrap()) {
                break (socket, listener);
            }
        };
        let address = socket.local_addr().unwrap();
        let (asked, tcp) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(0)));
        let (log, udp_script) = (Arc::clone(&asked), Arc::clone(&script));
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                note(&log, &packet[..length]);
                for answer in udp_script(&packet[..length], false) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        let (log, connections) = (Arc::clone(&asked), Arc::clone(&tcp));
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                *connections.lock().unwrap() += 1;
                stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                let mut length = [0; 2];
                while stream.read_exact(&mut length).is_ok() {
                    let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
                    if stream.read_exact(&mut packet).is_err() {
                        break;
                    }
                    note(&log, &packet);
                    for answer in script(&packet, true) {
                        let length = (answer.len() as u16).to_be_bytes();
                        let _ = stream.write_all(&[&length, answer.as_slice()].concat());
                    }
                }
            }
        });
        Self { address, lines: Arc::default(), asked, tcp }
    }

    /// Table `[dns]` for this server. Where every question has its answer it may be late, on a busy machine; where none is to be
    /// waited for it is given up soon.
    pub(crate) fn toml(&self) -> String {
        let lines = self.lines.lock().unwrap();
        let is_whole = !lines.is_empty() && !lines.iter().any(|line| matches!(line.value, Value::Drop));
        let timeout = if is_whole { "5s" } else { "500ms" };
        format!("[dns]\nservers = [\"{}\"]\ntimeout = \"{timeout}\"\n", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often that name was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.split(' ').next() == Some(name)).count()
    }

    /// Every name that was asked for, in order, with the number of its type.
    pub(crate) fn questions(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    /// How many TCP connections there were.
    pub(crate) fn connections(&self) -> usize {
        *self.tcp.lock().unwrap()
    }
}

fn note(log: &Mutex<Vec<String>>, packet: &[u8]) {
    if let Some((name, kind, _)) = question(packet) {
        log.lock().unwrap().push(format!("{name} {kind}"));
    }
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.trim().splitn(3, char::is_whitespace);
    let name = words.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?.to_lowercase();
    let rest = text.trim()[name.len()..].trim_start();
    let (kind, value) = rest.split_once(char::is_whitespace).unwrap();
    Some(Line { name, kind: number(kind), value: parsed(kind, value.trim()) })
}

pub(crate) fn number(kind: &str) -> u16 {
    match kind {
        "A" => 1,
        "CNAME" => CNAME,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        "SRV" => 33,
        "CAA" => 257,
        "SPF" => 99,
        "ANY" => ANY,
        other => panic!("type {other} is not served"),
    }
}

fn parsed(kind: &str, value: &str) -> Value {
    match value {
        "DROP" => Value::Drop,
        "SERVFAIL" => Value::ServFail,
        _ => Value::Data(data(kind, value)),
    }
}

/// The question's name, its type, and where it ends.
pub(crate) fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
    let mut at = 12;
    let mut labels: Vec<String> = Vec::new();
    loop {
        let length = usize::from(*packet.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(packet.get(at..at + length)?).to_lowercase());
        at += length;
    }
    let kind = u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]);
    Some((labels.join("."), kind, at + 4))
}

fn answer(lines: &[Line], asked: &[u8], name: &str, kind: u16) -> Option<Vec<u8>> {
    let mut answers: Vec<Vec<u8>> = Vec::new();
    let (mut owner, mut pointer) = (name.to_owned(), vec![0xc0, 12]);
    // A resolver follows aliases, and gives up on a loop.
    for _ in 0..=MAX_ALIASES {
        let known: Vec<&Line> = lines.iter().filter(|line| line.name == owner).collect();
        let found: Vec<&Line> = known.iter().copied().filter(|line| line.kind == kind).collect();
        if found.iter().any(|line| matches!(line.value, Value::Drop)) {
            return None;
        }
        if found.iter().any(|line| matches!(line.value, Value::ServFail)) {
            return Some(message(asked, 0, 2, &[], &[]));
        }
        let alias = known.iter().find(|line| line.kind == CNAME && kind != CNAME);
        if let (true, Some(Line { value: Value::Data(target), .. })) = (found.is_empty(), alias) {
            answers.push(record(&pointer, CNAME, target));
            (owner, pointer) = (text(target), target.clone());
            continue;
        }
        if found.is_empty() && known.iter().any(|line| line.kind == ANY) {
            return None;
        }
        if found.is_empty() {
            let below = lines.iter().any(|line| line.name.ends_with(&format!(".{owner}")));
            let code = if known.is_empty() && !below { 3 } else { 0 };
            let mut data = [encoded("ns.test"), encoded("root.test")].concat();
            data.extend([1_u32, 3600, 600, 86400, 300].iter().flat_map(|number| number.to_be_bytes()));
            return Some(message(asked, 0, code, &answers, &[record(&[0], 6, &data)]));
        }
        for line in found {
            if let Value::Data(data) = &line.value {
                answers.push(record(&pointer, kind, data));
            }
        }
        return Some(message(asked, 0, 0, &answers, &[]));
    }
    Some(message(asked, 0, 2, &[], &[]))
}

const MAX_ALIASES: usize = 8;

/// The bit "authentic data" of the fourth byte, and "truncated" of the third.
pub(crate) const AD: u8 = 0x20;
pub(crate) const TC: u8 = 0x02;

/// A response: recursion desired and available; the question of `asked`, answers, authorities.
pub(crate) fn message(
    asked: &[u8],
    bits: u8,
    code: u8,
    answers: &[Vec<u8>],
    authorities: &[Vec<u8>],
) -> Vec<u8> {
    let mut out = asked[..2].to_vec();
    out.extend_from_slice(&[0x81 | bits, 0x80 | code]);
    for count in [1, answers.len(), authorities.len(), 0] {
        out.extend_from_slice(&(count as u16).to_be_bytes());
    }
    out.extend_from_slice(&asked[12..]);
    out.extend(answers.concat());
    out.extend(authorities.concat());
    out
}

/// Name, type, class IN, a TTL of five minutes, data.
pub(crate) fn record(name: &[u8], kind: u16, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [name, &kind.to_be_bytes(), &[0, 1, 0, 0, 1, 44], &length, data].concat()
}

pub(crate) fn data(kind: &str, value: &str) -> Vec<u8> {
    match kind {
        "A" => value.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
        "AAAA" => value.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        "PTR" | "CNAME" => encoded(value),
        "MX" => {
            let (preference, host) = value.split_once(' ').unwrap();
            [preference.parse::<u16>().unwrap().to_be_bytes().to_vec(), encoded(host)].concat()
        }
        // RFC 2782: priority, weight, port, host.
        "SRV" => {
            let words: Vec<&str> = value.split(' ').collect();
            let numbers = words[..3].iter().flat_map(|word| word.parse::<u16>().unwrap().to_be_bytes());
            numbers.chain(encoded(words[3])).collect()
        }
        // RFC 8659, 4.1: flags, the length of the tag, tag, value.
        "CAA" => {
            let (tag, value) = value.split_once(' ').unwrap();
            [&[0, tag.len() as u8], tag.as_bytes(), value.as_bytes()].concat()
        }
        _ => strings(&[value.as_bytes().to_vec()]),
    }
}

/// Strings of at most 255 bytes, joined by the reader.
pub(crate) fn strings(texts: &[Vec<u8>]) -> Vec<u8> {
    texts
        .iter()
        .flat_map(|text| text.chunks(255))
        .flat_map(|text| [&[text.len() as u8], text].concat())
        .collect()
}

pub(crate) fn encoded(name: &str) -> Vec<u8> {
    let labels = name.trim_end_matches('.').split('.').filter(|label| !label.is_empty());
    let mut out: Vec<u8> =
        labels.flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}

/// The name of [`encoded`], in lower case.
fn text(encoded: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = encoded;
    while let Some((&length, after)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, after) = after.split_at(usize::from(length));
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
    labels.join(".")
}
