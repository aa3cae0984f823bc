//! Asks a socketmap over many connections, and says how fast it answered. For `tests/benchmarks/socketmap`, which compiles it alone:
//! `load SOCKET MAP KEYS CONNECTIONS SECONDS [RATE]`. Without RATE each connection asks as fast as it is answered; with it all together ask
//! so many keys a second, which is how latency is measured: at full speed it says how many wait for their turn.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, socket, map, keys, connections, seconds, rest @ ..] = &arguments[..] else {
        panic!("load SOCKET MAP KEYS CONNECTIONS SECONDS [RATE]")
    };
    let keys: Vec<String> = std::fs::read_to_string(keys).unwrap().lines().map(str::to_owned).collect();
    let (connections, seconds): (usize, f64) = (connections.parse().unwrap(), seconds.parse().unwrap());
    let rate: Option<f64> = rest.first().map(|rate| rate.parse().unwrap());
    let pause = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
    let requests: Arc<Vec<Vec<u8>>> = Arc::new(
        keys.iter().map(|key| format!("{}:{map} {key},", map.len() + 1 + key.len()).into_bytes()).collect(),
    );
    let barrier = Arc::new(Barrier::new(connections));
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let (requests, barrier, socket) = (Arc::clone(&requests), Arc::clone(&barrier), socket.clone());
            std::thread::Builder::new()
                .stack_size(64 * 1024)
                .spawn(move || {
                    let mut stream = UnixStream::connect(socket).unwrap();
                    let mut answer = [0; 4096];
                    let mut took = Vec::new();
                    barrier.wait();
                    let begun = Instant::now();
                    let mut at = number * requests.len() / connections.max(1);
                    // Spread, so that the connections do not all ask at the same instant.
                    let mut next = begun + pause.map_or(Duration::ZERO, |pause| pause.mul_f64(number as f64 / connections as f64));
                    while begun.elapsed().as_secs_f64() < seconds {
                        if let Some(pause) = pause {
                            std::thread::sleep(next.saturating_duration_since(Instant::now()));
                            next += pause;
                        }
                        let asked = Instant::now();
                        stream.write_all(&requests[at % requests.len()]).unwrap();
                        let length = stream.read(&mut answer).unwrap();
                        took.push(asked.elapsed().as_nanos() as u64);
                        let text = &answer[..length];
                        assert!(text.ends_with(b",") && text.windows(4).any(|w| w == b":OK " || w == b":NOT"), "{:?}", String::from_utf8_lossy(text));
                        at += 1;
                    }
                    took
                })
                .unwrap()
        })
        .collect();
    let mut all: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    all.sort_unstable();
    let at = |share: f64| all[((all.len() - 1) as f64 * share) as usize] / 1000;
    println!("{} {:.0} {} {} {}", all.len(), all.len() as f64 / seconds, at(0.5), at(0.99), at(0.999));
}
