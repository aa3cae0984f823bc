//! Every command in every state, on the wire: what may come is served, what may not closes the connection without a word.

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};

/// How to get into each state (Postfix's way), and which commands are served there; all others must close the connection.
const STATES: [(&str, &[Step], &str); 8] = [
    ("start", &[], "O"),
    ("ready", &[Step::Negotiate], "CAQKD"),
    ("connected", &[Step::Negotiate, Step::Connect], "HMAQKUD"),
    ("greeted", &[Step::Negotiate, Step::Connect, Step::Ask(HELO)], "HMAQKUD"),
    ("mail", &[Step::Negotiate, Step::Connect, Step::Ask(HELO), Step::Ask(MAIL)], "RTAQKUD"),
    (
        "rcpt",
        &[Step::Negotiate, Step::Connect, Step::Ask(HELO), Step::Ask(MAIL), Step::Ask(RCPT)],
        "RTLNAQKUD",
    ),
    (
        "headers",
        &[
            Step::Negotiate,
            Step::Connect,
            Step::Ask(MAIL),
            Step::Ask(RCPT),
            Step::Ask(b"T"),
            Step::Tell(HEADER),
        ],
        "LNAQKD",
    ),
    (
        "body",
        &[
            Step::Negotiate,
            Step::Connect,
            Step::Ask(MAIL),
            Step::Ask(RCPT),
            Step::Ask(b"T"),
            Step::Tell(b"N"),
        ],
        "BEAQKD",
    ),
];

/// Each command with data that has its grammar.
const COMMANDS: [&[u8]; 15] = [
    OFFER,
    CONNECT,
    HELO,
    MAIL,
    RCPT,
    b"T",
    HEADER,
    b"N",
    b"Btext\r\n",
    b"E",
    b"A",
    b"Q",
    b"K",
    b"UXYZZY\0",
    b"DMi\x001\0",
];

const OFFER: &[u8] = b"O\0\0\0\x06\0\0\x01\xff\0\x1f\x0f\xff";
const CONNECT: &[u8] = b"Cclient.test\x004\x30\x39192.0.2.1\0";
const HELO: &[u8] = b"Hclient.test\0";
const MAIL: &[u8] = b"M<sender@client.test>\0";
const RCPT: &[u8] = b"R<alice@example.com>\0";
const HEADER: &[u8] = b"LFrom\0 sender@client.test\0";

enum Step {
    Negotiate,
    Connect,
    Ask(&'static [u8]),
    Tell(&'static [u8]),
}

#[test]
fn every_command_in_every_state() {
    let daemon = Daemon::start(UNREACHABLE, "");
    for (state, way, served) in STATES {
        for command in COMMANDS {
            let mut peer = daemon.connect();
            go(&mut peer, way);
            let letter = char::from(command[0]);
            let name = format!("{letter} in state {state}");
            assert!(peer.send(command), "{name}");
            if served.contains(letter) || letter == 'Q' {
                serve(&mut peer, letter, &name);
            } else {
                assert_eq!(peer.receive(), None, "{name} must close the connection");
            }
        }
    }
}

fn go(peer: &mut Peer, way: &[Step]) {
    for step in way {
        match step {
            Step::Negotiate => peer.negotiate(),
            Step::Connect => peer.ask(CONNECT, b"c"),
            Step::Ask(command) => peer.ask(command, b"c"),
            Step::Tell(command) => assert!(peer.send(command)),
        }
    }
}

/// The answer that this command gets when it is served, and that the connection lives on.
fn serve(peer: &mut Peer, letter: char, name: &str) {
    match letter {
        'Q' => return assert_eq!(peer.receive(), None, "{name}"),
        'O' => assert_eq!(peer.receive().map(|frame| frame[0]), Some(b'O'), "{name}"),
        'E' => {
            // The edits of a message from outside, then its reply.
            while peer.receive().unwrap_or_else(|| panic!("{name}")) != b"c" {}
        }
        'C' | 'H' | 'M' | 'R' | 'T' | 'U' => {
            assert_eq!(peer.receive().as_deref(), Some(&b"c"[..]), "{name}");
        }
        // Not answered: shown by the answer to what follows.
        _ => {}
    }
    assert!(peer.send(b"K"), "{name}");
    peer.ask(CONNECT, b"c");
}
