//! Dialogues on the wire: each file of `conversations/` is one, replayed in pieces of 1, 16 and 4096 bytes.
//!
//! ```text
//! # A line of comment. The lines before the first step set the scene:
//! milter: explain = false                          a key of [milter]; thresholds that are not given are out of reach
//! dns: example.org TXT v=spf1 -all                 a line for the name server (without one, DNS is dead)
//! rest: [milter.limits]                            further tables
//! sql: INSERT INTO gatepost.forwarders …           a statement on a database of its own, with our schema (without one, it is away)
//! DMARC is enforced only where [milter.dmarc] is given: the other dialogues are not about it
//!
//! use greeted                                      the steps of greeted.part first
//! C: M<a@b.test>\0SIZE=1000\0                      the MTA sends a frame (the length is added)
//! C+ \0\0\0\x05                                    ... bytes as they are
//! C.                                               ... closes
//! S: y554 5.7.1 *\0                                the milter must answer with this frame; * stands for anything
//! S.                                               the milter must close, with nothing said before
//! ```
//!
//! Bytes: `\0`, `\n`, `\r`, `\t`, `\\`, `\*`, `\xNN`. That a command is not answered is shown by the next answer being the next one's.

use std::path::{Path, PathBuf};

use crate::daemon::{Daemon, Peer};
use crate::dns::Dns;
use crate::postgres::Database;

/// The dialogues are about the protocol; what a rule is worth may change without them.
pub(crate) const UNREACHABLE: &str = "reject = 900\nadd-header = 800\n";

#[derive(Debug)]
enum Step {
    Send(Vec<u8>),
    SendRaw(Vec<u8>),
    Close,
    Expect(Vec<Token>),
    ExpectEnd,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Byte(u8),
    Anything,
}

#[derive(Debug, Default)]
struct Conversation {
    milter: String,
    dns: String,
    rest: String,
    sql: Vec<String>,
    steps: Vec<(usize, Step)>,
}

#[test]
fn every_conversation_in_pieces_of_every_size() {
    let mut names: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort();
    assert!(names.len() >= 20, "only {} conversations found", names.len());
    for path in names {
        let conversation = Conversation::read(&path);
        let dns = Dns::serve(&conversation.dns);
        let dns_table = if conversation.dns.is_empty() { String::new() } else { dns.toml() };
        let mut milter = conversation.milter.clone();
        if !milter.contains("reject =") {
            milter.push_str(UNREACHABLE);
        }
        let mut rest = format!("{dns_table}{}", conversation.rest);
        if !rest.contains("[milter.dmarc]") {
            rest.push_str("[milter.dmarc]\nenforce = false\n");
        }
        if !conversation.sql.is_empty() {
            rest.push_str(&database(&conversation.sql).toml());
        }
        let daemon = Daemon::start(&milter, &rest);
        for piece in [1, 16, 4096] {
            conversation
                .replay(daemon.connect().in_pieces(piece), &format!("{}, pieces of {piece}", path.display()));
        }
    }
}

impl Conversation {
    fn read(path: &Path) -> Self {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut conversation = Self::default();
        for (number, line) in text.lines().enumerate() {
            let number = number + 1;
            let place = || format!("{}:{number}", path.display());
            let mut step = |step| conversation.steps.push((number, step));
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            } else if let Some(name) = line.strip_prefix("use ") {
                conversation.steps.extend(Self::read(&directory().join(format!("{name}.part"))).steps);
            } else if let Some(key) = line.strip_prefix("milter: ") {
                conversation.milter.push_str(&format!("{key}\n"));
            } else if let Some(entry) = line.strip_prefix("dns: ") {
                conversation.dns.push_str(&format!("{entry}\n"));
            } else if let Some(table) = line.strip_prefix("rest: ") {
                conversation.rest.push_str(&format!("{table}\n"));
            } else if let Some(statement) = line.strip_prefix("sql: ") {
                conversation.sql.push(statement.to_owned());
            } else if let Some(bytes) = line.strip_prefix("C: ") {
                step(Step::Send(bytes_of(bytes, &place())));
            } else if let Some(bytes) = line.strip_prefix("C+ ") {
                step(Step::SendRaw(bytes_of(bytes, &place())));
            } else if line == "C." {
                step(Step::Close);
            } else if let Some(pattern) = line.strip_prefix("S: ") {
                step(Step::Expect(tokens(pattern, &place())));
            } else if line == "S." {
                step(Step::ExpectEnd);
            } else {
                panic!("{}: what is {line:?}?", place());
            }
        }
        conversation
    }

    fn replay(&self, peer: Peer, name: &str) {
        let mut peer = Some(peer);
        for (line, step) in &self.steps {
            let Some(open) = &mut peer else { panic!("{name}: line {line} after the end") };
            match step {
                Step::Send(bytes) => assert!(open.send(bytes), "{name}: line {line}: the milter has closed"),
                // Whether the last bytes before a refusal still get through is a matter of timing.
                Step::SendRaw(bytes) => {
                    open.send_raw(bytes);
                }
                Step::Close => peer = None,
                Step::Expect(pattern) => {
                    let Some(frame) = open.receive() else {
                        panic!("{name}: line {line}: the milter has closed")
                    };
                    assert!(
                        matches(pattern, &frame),
                        "{name}: line {line}: expected {} but got {}",
                        shown(pattern),
                        frame.escape_ascii()
                    );
                }
                Step::ExpectEnd => {
                    let frame = open.receive();
                    assert!(frame.is_none(), "{name}: line {line}: the milter goes on: {frame:?}");
                    peer = None;
                }
            }
        }
    }
}

/// A database with our schema and the rows of a dialogue.
fn database(statements: &[String]) -> Database {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = Database::create().await;
        let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
        let mut connection = connection.pool().acquire().await.unwrap();
        gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
        for statement in statements {
            database.sql(statement).await;
        }
        database
    })
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/milter/conversations")
}

fn bytes_of(text: &str, place: &str) -> Vec<u8> {
    let byte = |token| match token {
        Token::Byte(byte) => byte,
        Token::Anything => b'*',
    };
    tokens(text, place).into_iter().map(byte).collect()
}

fn tokens(text: &str, place: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        tokens.push(match byte {
            b'*' => Token::Anything,
            b'\\' => Token::Byte(match bytes.next() {
                Some(b'0') => 0,
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                Some(b'x') => {
                    let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                    u8::from_str_radix(&digits, 16).unwrap_or_else(|_| panic!("{place}: \\x{digits}"))
                }
                Some(other @ (b'\\' | b'*')) => other,
                other => panic!("{place}: \\{other:?}"),
            }),
            other => Token::Byte(other),
        });
    }
    tokens
}

fn matches(pattern: &[Token], bytes: &[u8]) -> bool {
    match pattern {
        [] => bytes.is_empty(),
        [Token::Byte(byte), rest @ ..] => bytes.first() == Some(byte) && matches(rest, &bytes[1..]),
        [Token::Anything, rest @ ..] => (0..=bytes.len()).any(|skip| matches(rest, &bytes[skip..])),
    }
}

fn shown(pattern: &[Token]) -> String {
    let shown = pattern.iter().map(|token| match token {
        Token::Byte(byte) => byte.escape_ascii().to_string(),
        Token::Anything => "*".to_owned(),
    });
    shown.collect()
}
