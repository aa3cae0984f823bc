//! Conversations on the wire, from data files, in writes of 1, 16 and 4096 bytes.
//!
//! ```text
//! # text             a comment
//! config LINE        a line of the configuration, behind `[dovecot-auth]`
//! schema             schema gatepost is installed, with triggers
//! nowhere            the database is one that is not there
//! sql STATEMENT      as the owner of the database, before the next line
//! connect KIND NAME  a new connection to `login`, `postfix`, `master`, `userdb`, `dict` or `dict-auth`; its name if not the kind
//! on NAME            the next lines are about that connection
//! > LINE             sent, LF added
//! >> BYTES           sent, nothing added
//! < LINE             received, exactly
//! <* LINE            received, in any order with its neighbours of the same kind
//! hang-up            we close our sending side
//! eof                received: the end of the connection
//! ```
//!
//! `\t`, `\n`, `\r`, `\0`, `\\` and `\xHH` are escapes. `{name}` stands for digits or hexadecimal digits that are the same wherever the name
//! stands; `{pid}` is the process of the test. At the end no connection may have anything more to say.

use std::collections::HashMap;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::conversations::{hang_up_and_drain, send, unescape};
use crate::instance::{Instance, NOWHERE, install, soon};
use crate::postgres::Database;

conversations! {
    admission
    cancelled_logins
    cve_2025_30189
    cve_2026_24031
    cve_2026_27855
    cve_2026_33603
    cve_2026_42008
    dict_acl
    dict_acl_2_4
    dict_auth
    guessing
    dict_values
    dict_wide_shares
    lines_out_of_order
    login_login
    login_plain
    login_then_request
    malformed_logins
    masters
    refused_logins
    several_at_once
    unavailable
    userdb
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/dovecot-auth/conversations"))
}

struct Peer(BufReader<UnixStream>);

async fn replay(name: &str, step: usize) {
    let text = std::fs::read_to_string(folder().join(format!("{}.txt", name.replace('_', "-")))).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let settings: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("config ")).collect();
    let database = Database::create().await;
    if lines.contains(&"schema") {
        install(&database).await;
    }
    let section = if lines.contains(&"nowhere") { NOWHERE.to_owned() } else { database.toml() };
    let instance = Instance::on(database, &section, &settings.join("\n")).await;
    let mut known = HashMap::from([("pid".to_owned(), std::process::id().to_string())]);
    let mut peers: HashMap<String, Peer> = HashMap::new();
    let mut current = String::new();
    let mut numbered = lines.iter().enumerate().peekable();
    while let Some((number, line)) = numbered.next() {
        let place = format!("{name}.txt:{} in writes of {step}: {line}", number + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" | "config" | "nowhere" | "schema" => continue,
            "sql" => {
                instance.database.sql(rest).await;
                // Without triggers a found answer counts for a second.
                instance.parts.directory.flush();
                continue;
            }
            "connect" => {
                let (kind, called) = rest.split_once(' ').unwrap_or((rest, rest));
                if let Some(old) = peers.remove(called) {
                    hang_up_and_drain(old.0, &place).await;
                }
                current = called.to_owned();
                peers.insert(current.clone(), Peer(BufReader::new(instance.connect(kind).await)));
                continue;
            }
            "on" => {
                current = rest.to_owned();
                continue;
            }
            _ => {}
        }
        let peer = peers.get_mut(&current).unwrap_or_else(|| panic!("{place}: connect first"));
        match word {
            ">" => {
                let mut bytes = unescape(&fill(rest, &known, &place));
                bytes.push(b'\n');
                send(&mut peer.0, &bytes, step, &place).await;
            }
            ">>" => send(&mut peer.0, &unescape(&fill(rest, &known, &place)), step, &place).await,
            "<" => {
                let got = receive(peer, &place).await;
                assert!(is_like(rest, &got, &mut known), "{place}: got {}", got.escape_ascii());
            }
            "<*" => {
                let mut expected = vec![rest];
                while let Some((_, line)) = numbered.next_if(|(_, line)| line.starts_with("<* ")) {
                    expected.push(&line["<* ".len()..]);
                }
                while !expected.is_empty() {
                    let got = receive(peer, &place).await;
                    let found = expected.iter().position(|line| is_like(line, &got, &mut known));
                    let found = found.unwrap_or_else(|| panic!("{place}: got {}", got.escape_ascii()));
                    expected.remove(found);
                }
            }
            "hang-up" => peer.0.get_mut().shutdown().await.unwrap(),
            "eof" => {
                let end = soon(&place, peer.0.read(&mut [0])).await.unwrap_or(0);
                assert_eq!(end, 0, "{place}: there is more to come");
            }
            _ => panic!("{place}: unknown directive"),
        }
    }
    for (called, peer) in peers {
        hang_up_and_drain(peer.0, &format!("{name}, {called}")).await;
    }
    assert_eq!(instance.stop().await, 0, "{name}: connections had to be cut");
}

/// Every line that some conversation sends, and to which listener.
pub fn lines_sent() -> Vec<(String, Vec<u8>)> {
    let mut sent = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files {
        let mut kind = String::new();
        for line in std::fs::read_to_string(file).unwrap().lines() {
            if let Some(rest) = line.strip_prefix("connect ") {
                kind = rest.split(' ').next().unwrap_or_default().to_owned();
            } else if let Some(line) = line.strip_prefix("> ") {
                sent.push((kind.clone(), unescape(line)));
            }
        }
    }
    sent
}

async fn receive(peer: &mut Peer, place: &str) -> Vec<u8> {
    let mut line = Vec::new();
    soon(place, peer.0.read_until(b'\n', &mut line)).await.unwrap();
    assert_eq!(line.pop(), Some(b'\n'), "{place}: the connection ended");
    line
}

/// A line with every `{name}` replaced by what it stands for.
fn fill(line: &str, known: &HashMap<String, String>, place: &str) -> String {
    let mut filled = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').unwrap_or_else(|| panic!("{place}: no }}"));
        let value = known.get(name).unwrap_or_else(|| panic!("{place}: {{{name}}} was not received yet"));
        filled += before;
        filled += value;
        rest = after;
    }
    filled + rest
}

/// Whether what was received is the line, and what its names stand for from now on.
fn is_like(line: &str, got: &[u8], known: &mut HashMap<String, String>) -> bool {
    let mut learned = HashMap::new();
    let (mut rest, mut got) = (line, got);
    loop {
        let (literal, after) =
            rest.split_once('{').map_or((rest, None), |(literal, after)| (literal, Some(after)));
        let Some(left) = got.strip_prefix(unescape(literal).as_slice()) else { return false };
        let Some((name, after)) = after.and_then(|after| after.split_once('}')) else {
            known.extend(learned);
            return left.is_empty();
        };
        let digits = left.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = String::from_utf8_lossy(&left[..digits]).into_owned();
        match known.get(name).or_else(|| learned.get(name)) {
            Some(expected) if *expected != value => return false,
            _ if digits == 0 => return false,
            _ => learned.insert(name.to_owned(), value),
        };
        (rest, got) = (after, &left[digits..]);
    }
}
