//! A name server on the loopback device that knows a few lines: what DNS says is the one thing here that is not real.
//!
//! ```text
//! example.org            TXT   v=spf1 ip4:192.0.2.0/24 -all
//! 1.2.0.192.in-addr.arpa PTR   mx.example.org
//! broken.test            TXT   SERVFAIL
//! silent.test            TXT   DROP
//! ```
//!
//! Bytes by hand (RFC 1035, 4.1): one question, answers with a pointer to its name; a name or type that is not there gets a SOA
//! record, so that the negative answer may be kept (RFC 2308).

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};

/// The server; it ends with the process.
pub(crate) struct Dns {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Line>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

struct Line {
    name: String,
    kind: u16,
    value: String,
}

impl Dns {
    pub(crate) fn serve(zone: &str) -> Self {
        let lines = Arc::new(Mutex::new(zone.lines().filter_map(line).collect::<Vec<_>>()));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let served = Arc::clone(&lines);
        std::thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((length, peer)) = socket.recv_from(&mut packet) {
                let Some((name, kind, end)) = question(&packet[..length]) else { continue };
                log.lock().unwrap().push(format!("{name} {kind}"));
                if let Some(answer) = answer(&served.lock().unwrap(), &packet[..end], &name, kind) {
                    let _ = socket.send_to(&answer, peer);
                }
            }
        });
        Self { address, lines, asked }
    }

    /// Serves another zone from now on.
    pub(crate) fn change(&self, zone: &str) {
        *self.lines.lock().unwrap() = zone.lines().filter_map(line).collect();
    }

    /// Table `[dns]` for this server.
    pub(crate) fn toml(&self) -> String {
        format!("[dns]\nservers = [\"{}\"]\ntimeout = \"500ms\"\n", self.address)
    }

    /// How often that name was asked for.
    pub(crate) fn asked(&self, name: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|asked| asked.split(' ').next() == Some(name)).count()
    }
}

fn line(text: &str) -> Option<Line> {
    let mut words = text.trim().splitn(3, char::is_whitespace);
    let name = words.next().filter(|name| !name.is_empty() && !name.starts_with('#'))?.to_lowercase();
    let rest = text.trim()[name.len()..].trim_start();
    let (kind, value) = rest.split_once(char::is_whitespace).unwrap();
    let kind = match kind {
        "A" => 1,
        "PTR" => 12,
        "MX" => 15,
        "TXT" => 16,
        "AAAA" => 28,
        other => panic!("type {other} is not served"),
    };
    Some(Line { name, kind, value: value.trim().to_owned() })
}

/// The question's name, its type, and where it ends.
fn question(packet: &[u8]) -> Option<(String, u16, usize)> {
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
    let known: Vec<&Line> = lines.iter().filter(|line| line.name == name).collect();
    let found: Vec<&&Line> = known.iter().filter(|line| line.kind == kind).collect();
    if found.iter().any(|line| line.value == "DROP") {
        return None;
    }
    let failed = found.iter().any(|line| line.value == "SERVFAIL");
    let below = lines.iter().any(|line| line.name.ends_with(&format!(".{name}")));
    let code = match (failed, known.is_empty() && !below) {
        (true, _) => 2,
        (_, true) => 3,
        _ => 0,
    };
    let answers = if failed { 0 } else { found.len() as u16 };
    let soa = u16::from(answers == 0 && !failed);
    let mut out = asked[..2].to_vec();
    // Response, recursion desired and available; one question.
    out.extend_from_slice(&[0x81, 0x80 | code]);
    for count in [1, answers, soa, 0] {
        out.extend_from_slice(&count.to_be_bytes());
    }
    out.extend_from_slice(&asked[12..]);
    for line in found.iter().take(usize::from(answers)) {
        record(&mut out, &[0xc0, 12], line.kind, &data(line));
    }
    if soa == 1 {
        let mut data = [encoded("ns.test"), encoded("root.test")].concat();
        data.extend([1_u32, 3600, 600, 86400, 300].iter().flat_map(|number| number.to_be_bytes()));
        record(&mut out, &[0], 6, &data);
    }
    Some(out)
}

/// Name, type, class IN, a TTL of five minutes, data.
fn record(out: &mut Vec<u8>, name: &[u8], kind: u16, data: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(&kind.to_be_bytes());
    out.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
    out.extend_from_slice(&(data.len() as u16).to_be_bytes());
    out.extend_from_slice(data);
}

fn data(line: &Line) -> Vec<u8> {
    match line.kind {
        1 => line.value.parse::<std::net::Ipv4Addr>().unwrap().octets().to_vec(),
        28 => line.value.parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec(),
        12 => encoded(&line.value),
        15 => {
            let (preference, host) = line.value.split_once(' ').unwrap();
            [preference.parse::<u16>().unwrap().to_be_bytes().to_vec(), encoded(host)].concat()
        }
        // Strings of at most 255 bytes, joined by the reader.
        _ => {
            line.value.as_bytes().chunks(255).flat_map(|text| [&[text.len() as u8], text].concat()).collect()
        }
    }
}

fn encoded(name: &str) -> Vec<u8> {
    let mut out: Vec<u8> =
        name.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat()).collect();
    out.push(0);
    out
}
