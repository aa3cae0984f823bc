//! Asks a socketmap over many connections, and says how fast it answered. For `tests/benchmarks/socketmap`, which compiles it alone:
//! `load SOCKET MAP KEYS CONNECTIONS SECONDS [RATE]`.
//!
//! A MAP `proxy:TABLE` asks Postfix's proxymap for that table instead, in its own words (attributes as `name\0value\0`, an empty name at the end).
//!
//! Without RATE a thread for each connection asks as fast as it is answered. With it one thread asks so many keys a second over all connections in
//! turn, at set times, and measures each answer from the time its question was due: at full speed latency says only how many wait for
//! their turn, and many sleeping threads measure their own waking up. That thread hardly sleeps, so it needs a core of its own.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, socket, map, keys, connections, seconds, rest @ ..] = &arguments[..] else {
        panic!("load SOCKET MAP KEYS CONNECTIONS SECONDS [RATE]")
    };
    let keys = std::fs::read_to_string(keys).unwrap();
    let request = |key: &str| match map.strip_prefix("proxy:") {
        Some(table) => {
            format!("request\0lookup\0table\0{table}\0flags\0{FLAGS}\0key\0{key}\0\0").into_bytes()
        }
        None => format!("{}:{map} {key},", map.len() + 1 + key.len()).into_bytes(),
    };
    let requests: Vec<Vec<u8>> = keys.lines().map(request).collect();
    let connect = |_| {
        let mut stream = UnixStream::connect(socket).unwrap();
        if map.starts_with("proxy:") {
            let mut hello = [0; 256];
            let length = stream.read(&mut hello).unwrap();
            assert!(
                hello[..length].starts_with(b"protocol\0proxymap"),
                "{:?}",
                String::from_utf8_lossy(&hello[..length])
            );
        }
        stream
    };
    let connections: Vec<UnixStream> = (0..connections.parse().unwrap()).map(connect).collect();
    let seconds: f64 = seconds.parse().unwrap();
    let mut took = match rest.first() {
        Some(rate) => at_rate(connections, &requests, seconds, rate.parse().unwrap()),
        None => at_full_speed(connections, requests, seconds),
    };
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize] / 1000;
    println!("{} {:.0} {} {} {}", took.len(), took.len() as f64 / seconds, at(0.5), at(0.99), at(0.999));
}

fn at_full_speed(connections: Vec<UnixStream>, requests: Vec<Vec<u8>>, seconds: f64) -> Vec<u64> {
    let (requests, count) = (Arc::new(requests), connections.len());
    let barrier = Arc::new(Barrier::new(count));
    let ask = |(number, mut stream): (usize, UnixStream)| {
        let (requests, barrier) = (Arc::clone(&requests), Arc::clone(&barrier));
        let work = move || {
            let (mut answer, mut took) = ([0; 4096], Vec::new());
            barrier.wait();
            let begun = Instant::now();
            let mut at = number * requests.len() / count;
            while begun.elapsed().as_secs_f64() < seconds {
                let asked = Instant::now();
                stream.write_all(&requests[at % requests.len()]).unwrap();
                let length = stream.read(&mut answer).unwrap();
                took.push(asked.elapsed().as_nanos() as u64);
                check(&answer[..length]);
                at += 1;
            }
            took
        };
        std::thread::Builder::new().stack_size(64 * 1024).spawn(work).unwrap()
    };
    let threads: Vec<_> = connections.into_iter().enumerate().map(ask).collect();
    threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
}

fn at_rate(mut connections: Vec<UnixStream>, requests: &[Vec<u8>], seconds: f64, rate: f64) -> Vec<u64> {
    for stream in &connections {
        stream.set_nonblocking(true).unwrap();
    }
    let pause = Duration::from_secs_f64(1.0 / rate);
    // Which connections wait for an answer, and since when it is due.
    let mut waiting: Vec<(usize, Instant)> = Vec::new();
    let (mut took, mut answer, mut asked) = (Vec::new(), [0; 4096], 0);
    let begun = Instant::now();
    let mut due = begun;
    // One who never slept would be held up by the kernel for 50 ms of each second (sched_rt_runtime_us), at the priority that this wants.
    let nap = Duration::from_micros(20);
    while begun.elapsed().as_secs_f64() < seconds || !waiting.is_empty() {
        let left = due.saturating_duration_since(Instant::now());
        if waiting.is_empty() && left > nap * 2 {
            std::thread::sleep(left - nap);
        }
        let number = asked % connections.len();
        let free = waiting.iter().all(|(busy, _)| *busy != number);
        if due.elapsed() > Duration::ZERO && free && begun.elapsed().as_secs_f64() < seconds {
            connections[number].write_all(&requests[asked % requests.len()]).unwrap();
            waiting.push((number, due));
            asked += 1;
            due += pause;
        }
        waiting.retain(|(number, due)| match connections[*number].read(&mut answer) {
            Ok(length) => {
                took.push(due.elapsed().as_nanos() as u64);
                check(&answer[..length]);
                false
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => true,
            Err(error) => panic!("{error}"),
        });
    }
    took
}

/// What smtpd passes for its tables: DICT_FLAG_LOCK and DICT_FLAG_FOLD_FIX.
const FLAGS: u32 = (1 << 6) | (1 << 14);

fn check(text: &[u8]) {
    let socketmap = text.ends_with(b",") && text.windows(4).any(|w| w == b":OK " || w == b":NOT");
    // PROXY_STAT_OK: there is nothing but known keys.
    let proxymap = text.starts_with(b"status\x000\0value\0") && text.ends_with(b"\0\0");
    assert!(socketmap || proxymap, "{:?}", String::from_utf8_lossy(text));
}
