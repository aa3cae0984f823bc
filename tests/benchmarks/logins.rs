//! Asks an auth, userdb or dict socket over many connections, and says how fast it answered. For `tests/benchmarks/logins`, which compiles it
//! alone: `logins SOCKET login|userdb|dict PASSWORD FILE CONNECTIONS SECONDS [RATE]`. FILE has one user a line. Without RATE each connection asks
//! as fast as it is answered; with it all together ask so often a second. Prints answers, answers a second, and the microseconds that 50, 99 and
//! 99.9 of a hundred took at the most, and how many were told to try later (not counted before).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, socket, kind, password, users, connections, seconds, rest @ ..] = &arguments[..] else {
        panic!("logins SOCKET login|userdb|dict PASSWORD FILE CONNECTIONS SECONDS [RATE]")
    };
    let users: Vec<String> = std::fs::read_to_string(users).unwrap().lines().map(str::to_owned).collect();
    let (connections, seconds): (usize, f64) = (connections.parse().unwrap(), seconds.parse().unwrap());
    let rate: Option<f64> = rest.first().map(|rate| rate.parse().unwrap());
    let pause = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    // Each line but for its number, which is put in front of the second part.
    let lines: Arc<Vec<(&str, String)>> = Arc::new(
        users
            .iter()
            .enumerate()
            .map(|(number, user)| match kind.as_str() {
                "login" => ("AUTH\t", format!("\tPLAIN\tservice=imap\tsecured\tlip=127.0.0.1\trip=10.{}.{}.{}\tresp={}\n", number >> 16 & 255, number >> 8 & 255, number & 255, base64(format!("\0{user}\0{password}").as_bytes()))),
                "userdb" => ("USER\t", format!("\t{user}\tservice=lmtp\n")),
                _ => ("", format!("Lshared/shared-boxes/user/{user}/owner@example.com\t{user}\n")),
            })
            .collect(),
    );
    let barrier = Arc::new(Barrier::new(connections));
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let (lines, barrier, socket, kind) = (Arc::clone(&lines), Arc::clone(&barrier), socket.clone(), kind.clone());
            std::thread::Builder::new()
                .stack_size(128 * 1024)
                .spawn(move || {
                    let mut stream = UnixStream::connect(socket).unwrap();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    let mut answer = String::new();
                    let hello = match kind.as_str() {
                        "login" => format!("VERSION\t1\t2\nCPID\t{}\n", 100_000 + number + std::process::id() as usize * 1000),
                        "userdb" => "VERSION\t1\t0\n".to_owned(),
                        _ => "H3\t2\t0\t\tacl\n".to_owned(),
                    };
                    stream.write_all(hello.as_bytes()).unwrap();
                    let last = match kind.as_str() {
                        "login" => "DONE",
                        "userdb" => "SPID",
                        _ => "",
                    };
                    while !last.is_empty() && !answer.starts_with(last) {
                        answer.clear();
                        assert!(reader.read_line(&mut answer).unwrap() > 0, "no handshake");
                    }
                    let (mut took, mut later) = (Vec::new(), 0);
                    barrier.wait();
                    let begun = Instant::now();
                    let mut at = number * lines.len() / connections.max(1);
                    let mut id = 0u32;
                    let mut next = begun + pause.map_or(Duration::ZERO, |pause| pause.mul_f64(number as f64 / connections as f64));
                    while begun.elapsed().as_secs_f64() < seconds {
                        let due = next;
                        if let Some(pause) = pause {
                            std::thread::sleep(next.saturating_duration_since(Instant::now()));
                            next += pause;
                        }
                        id += 1;
                        let (word, rest) = &lines[at % lines.len()];
                        let line = if word.is_empty() { rest.clone() } else { format!("{word}{id}{rest}") };
                        // At a rate, the time that a question waits because the one before it was late counts as well.
                        let asked = if pause.is_some() { due } else { Instant::now() };
                        stream.write_all(line.as_bytes()).unwrap();
                        answer.clear();
                        // Dovecot's dict may say first that it answers later (`*1`), and then what (`+1 TAB …`).
                        while answer.is_empty() || answer.starts_with('*') {
                            answer.clear();
                            assert!(reader.read_line(&mut answer).unwrap() > 0, "the connection ended");
                        }
                        if answer.starts_with('+') {
                            answer = answer.split_once('\t').unwrap().1.to_owned();
                        }
                        at += 1;
                        if answer.starts_with("FAIL\t") && (kind == "userdb" || answer.contains("temp")) {
                            later += 1;
                            continue;
                        }
                        took.push(asked.elapsed().as_nanos() as u64);
                        let good = ["OK\t", "USER\t", "O1", "N\n"].iter().any(|good| answer.starts_with(good)) || answer.starts_with("N\t") || answer.starts_with("O\t");
                        assert!(good, "{line}{answer}");
                    }
                    (took, later)
                })
                .unwrap()
        })
        .collect();
    let (mut all, mut later) = (Vec::new(), 0u64);
    for thread in threads {
        let (took, more) = thread.join().unwrap();
        all.extend(took);
        later += more;
    }
    all.sort_unstable();
    if all.is_empty() {
        println!("0 0 0 0 0 {later}");
        return;
    }
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] / 1000;
    println!("{} {:.1} {} {} {} {later}", all.len(), all.len() as f64 / seconds, at(0.5), at(0.99), at(0.999));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let value = chunk.iter().fold(0u32, |value, byte| value << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(value >> (18 - 6 * place) & 63) as usize] as char;
            out.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    out
}
