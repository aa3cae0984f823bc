//! Conversations on the wire, from data files, in writes of 1, 16 and 4096 bytes.
//!
//! ```text
//! # text          a comment
//! schema          schema gatepost is installed, with triggers
//! config LINE     a line of the configuration, behind `[postfix-policy]`
//! checks LIST     the checks of the policy endpoint
//! dns RECORD      a line of the zone of a name server that is the daemon's only one
//! sql STATEMENT   as the owner of the database, before the next line
//! connect NAME    a new connection to `socketmap` or `policy`; the old one is closed, and must have nothing more to say
//! > BYTES         sent; \n, \r, \0, \\ and \xHH are escapes, and nothing is added
//! < BYTES         received, exactly
//! <~ TEXT         received: up to an empty line, and it begins with TEXT
//! <? TEXT         received: one netstring whose content begins with TEXT
//! repeat N BYTES  sent N times over
//! hang-up         we close our sending side
//! eof             received: the end of the connection
//! ```

use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::conversations::{hang_up_and_drain, send, unescape};
use crate::dns::Dns;
use crate::instance::{Instance, Setup, soon};

conversations! {
    access_and_copies
    address_engine
    aliases
    allow_deny
    bad_netstrings
    bad_policy_requests
    bad_socketmap_requests
    dnsbl
    domains
    greylist
    greylist_suspicious
    helo
    keys_that_are_no_address
    mailboxes
    misconfigured_maps
    odd_rows
    policy_without_schema
    rate_limit
    rate_limit_log_only
    rate_limit_more
    rate_limit_reject
    recipient
    sender_login
    sender_login_shared
    relay_and_transport
    send_as
    senders
    spf
    spf_strict
    states
    stolen_login
    stolen_login_lock
    the_requests_of_postfix
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/postfix-policy/conversations"))
}

async fn replay(name: &str, step: usize) {
    let text = std::fs::read_to_string(folder().join(format!("{}.txt", name.replace('_', "-")))).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let settings: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("config ")).collect();
    let zone: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("dns ")).collect();
    let mut settings = settings.join("\n");
    if !zone.is_empty() {
        settings.push_str(&format!("\n{}", Dns::serve(&zone.join("\n")).toml()));
    }
    let setup = Setup {
        settings,
        checks: lines.iter().find_map(|line| line.strip_prefix("checks ")).map(str::to_owned),
        schema: lines.contains(&"schema"),
    };
    let instance = Instance::start(&setup).await;
    let mut stream: Option<UnixStream> = None;
    for (number, line) in lines.iter().enumerate() {
        let place = format!("{name}.txt:{} in writes of {step}: {line}", number + 1);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let "connect" = word {
            if let Some(old) = stream.take() {
                hang_up_and_drain(old, &place).await;
            }
            stream = Some(instance.connect(rest).await);
            continue;
        }
        match word {
            "" | "#" | "schema" | "config" | "checks" | "dns" => continue,
            "sql" => {
                instance.database.sql(rest).await;
                // Without triggers a found answer counts for a second, with them until it is announced.
                instance.parts.directory.flush();
                instance.service.forget();
                continue;
            }
            _ => {}
        }
        let peer = stream.as_mut().unwrap_or_else(|| panic!("{place}: connect first"));
        match word {
            ">" => send(peer, &unescape(rest), step, &place).await,
            "repeat" => {
                let (times, bytes) = rest.split_once(' ').unwrap();
                send(peer, &unescape(bytes).repeat(times.parse().unwrap()), step.max(16), &place).await;
            }
            "<" => {
                let expected = unescape(rest);
                let mut got = vec![0; expected.len()];
                soon(&place, peer.read_exact(&mut got))
                    .await
                    .unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_eq!(got.escape_ascii().to_string(), expected.escape_ascii().to_string(), "{place}");
            }
            "<~" => {
                let mut got = Vec::new();
                while !got.ends_with(b"\n\n") {
                    got.push(
                        soon(&place, peer.read_u8()).await.unwrap_or_else(|error| panic!("{place}: {error}")),
                    );
                }
                let got = got.escape_ascii().to_string();
                assert!(got.starts_with(&unescape(rest).escape_ascii().to_string()), "{place}: {got}");
            }
            "<?" => {
                let content = soon(&place, read_netstring(peer)).await;
                assert!(content.starts_with(rest), "{place}: got {content}");
            }
            "hang-up" => peer.shutdown().await.unwrap(),
            "eof" => assert_eq!(soon(&place, peer.read(&mut [0])).await.unwrap_or(0), 0, "{place}"),
            _ => panic!("{place}: unknown directive"),
        }
    }
    if let Some(last) = stream {
        hang_up_and_drain(last, name).await;
    }
    assert_eq!(instance.stop().await, 0, "{name}: connections had to be cut");
}

async fn read_netstring(stream: &mut UnixStream) -> String {
    let mut length = String::new();
    loop {
        match stream.read_u8().await.unwrap() {
            b':' => break,
            digit => length.push(char::from(digit)),
        }
    }
    let mut content = vec![0; length.parse().unwrap_or_else(|_| panic!("length {length:?}"))];
    stream.read_exact(&mut content).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b',');
    String::from_utf8(content).unwrap()
}
