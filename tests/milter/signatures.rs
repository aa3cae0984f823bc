//! Keys, mail that our milter signs with them, and dkimpy, which verifies it on the bytes that Postfix would deliver.

use std::io::Write;
use std::process::{Command, Stdio};

use gatepost::store::schema;

use crate::conversations::UNREACHABLE;
use crate::daemon::{Daemon, Peer};
use crate::postgres::Database;

/// A private key in PEM and the content of its DNS record, by openssl.
pub(crate) struct Key {
    pub(crate) pem: String,
    pub(crate) record: String,
}

/// Who sends.
pub(crate) enum Sender {
    Login(&'static str),
    Local,
}

/// What became of a message.
pub(crate) enum Outcome {
    /// The bytes as Postfix delivers them.
    Taken(Vec<u8>),
    /// The SMTP reply.
    Refused(String),
}

pub(crate) fn complete() -> Vec<(&'static str, &'static str)> {
    vec![
        ("From", " Alice <alice@example.com>"),
        ("To", " bob@remote.test"),
        ("Subject", " tomorrow"),
        ("Date", " Sat, 21 Nov 2026 09:00:00 +0000"),
        ("Message-ID", " <1@example.com>"),
        ("MIME-Version", " 1.0"),
        ("Content-Type", " text/plain; charset=utf-8"),
        ("Content-Transfer-Encoding", " 8bit"),
    ]
}

/// A database with our schema, and a daemon on it.
pub(crate) async fn world() -> (Database, Daemon) {
    world_with("").await
}

/// The same with further tables in its configuration.
pub(crate) async fn world_with(tables: &str) -> (Database, Daemon) {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, &[]).await.unwrap();
    let daemon = Daemon::start(UNREACHABLE, &format!("{}{tables}\n", database.toml()));
    (database, daemon)
}

/// An active key that DNS showed before it went away: the daemon's name server here does not exist, so that the last known answer
/// counts. What DNS says is the matter of `key_watch`.
pub(crate) async fn activate(database: &Database, domain: &str, selector: &str, algorithm: &str, key: &Key) {
    database
        .sql(&format!(
            "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, activated_at, dns, dns_at) \
             VALUES ('{domain}', '{selector}', '{algorithm}', '{}', '{}', 'active', now(), now(), 'shown', now())",
            key.pem,
            key.record.split("p=").nth(1).unwrap_or("x")
        ))
        .await;
}

/// Sends a message as Postfix would show it and applies the edits as Postfix applies them.
pub(crate) fn send(daemon: &Daemon, sender: &Sender, headers: &[(&str, &str)], body: &[u8]) -> Outcome {
    let mut peer = daemon.connect();
    peer.negotiate();
    match sender {
        Sender::Login(login) => {
            peer.greet();
            assert!(peer.send(format!("DM{{auth_authen}}\0{login}\0").as_bytes()));
        }
        Sender::Local => {
            assert!(peer.send(b"DCj\0mx.example.com\0{daemon_port}\x000\0"));
            peer.ask(b"Clocalhost\x004\0\x00127.0.0.1\0", b"c");
            peer.ask(b"Hlocalhost\0", b"c");
        }
    }
    envelope(&mut peer);
    peer.message(headers, body);
    let frames = peer.end_of_message();
    let (last, edits) = frames.split_last().unwrap();
    if last[0] == b'y' {
        return Outcome::Refused(String::from_utf8_lossy(&last[1..last.len() - 1]).into_owned());
    }
    let mut message = Delivered {
        fields: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        body: body.to_vec(),
        replaced: false,
    };
    for edit in edits {
        message.apply(edit);
    }
    Outcome::Taken(message.bytes())
}

fn envelope(peer: &mut Peer) {
    peer.ask(b"M<alice@example.com>\0", b"c");
    peer.ask(b"R<bob@remote.test>\0", b"c");
    peer.ask(b"T", b"c");
}

/// A message to which edits are applied as Postfix applies them.
pub(crate) struct Delivered {
    pub(crate) fields: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    pub(crate) replaced: bool,
}

impl Delivered {
    pub(crate) fn apply(&mut self, edit: &[u8]) {
        let strings = |from: usize| {
            let mut strings = edit[from..].split(|byte| *byte == 0);
            let name = String::from_utf8(strings.next().unwrap().to_vec()).unwrap();
            (name, strings.next().unwrap().to_vec())
        };
        match edit[0] {
            b'h' => self.fields.push(strings(1)),
            b'i' => {
                assert_eq!(edit[1..5], [0; 4], "inserted at the top");
                self.fields.insert(0, strings(5));
            }
            b'm' => {
                let number = u32::from_be_bytes(edit[1..5].try_into().unwrap()) as usize;
                let (name, value) = strings(5);
                let of_name = |field: &(String, Vec<u8>)| field.0.eq_ignore_ascii_case(&name);
                let at = self.fields.iter().enumerate().filter(|(_, field)| of_name(field)).nth(number - 1);
                let at = at.unwrap_or_else(|| panic!("no {name} {number}")).0;
                if value.is_empty() {
                    self.fields.remove(at);
                } else {
                    self.fields[at] = (name, value);
                }
            }
            b'b' => {
                if !std::mem::replace(&mut self.replaced, true) {
                    self.body.clear();
                }
                self.body.extend_from_slice(&edit[1..]);
            }
            other => panic!("edit {:?}", char::from(other)),
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        crate::generator::write_fields(&self.fields, &mut bytes);
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

pub(crate) fn taken(name: &str, outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Taken(delivered) => delivered,
        Outcome::Refused(reply) => panic!("{name}: {reply}"),
    }
}

pub(crate) fn verified(name: &str, message: &[u8], keys: &[(&str, &Key)]) {
    assert!(
        verifies(message, keys),
        "{name} does not verify:\n{}",
        String::from_utf8_lossy(&message[..message.len().min(4000)])
    );
}

/// Whether every signature holds, in the judgement of dkimpy; no signature is no.
pub(crate) fn verifies(message: &[u8], keys: &[(&str, &Key)]) -> bool {
    unverified(&[message.to_vec()], keys).is_empty()
}

/// The messages of which a signature does not hold, or which have none, by number.
pub(crate) fn unverified(messages: &[Vec<u8>], keys: &[(&str, &Key)]) -> Vec<usize> {
    const PROGRAM: &str = "import sys, dkim\n\
        records = dict(zip(sys.argv[1::2], [r.encode() for r in sys.argv[2::2]]))\n\
        dns = lambda name, timeout=5: records.get(name.decode() if isinstance(name, bytes) else name)\n\
        def holds(message, i):\n\
        \x20   try: return dkim.DKIM(message).verify(idx=i, dnsfunc=dns)\n\
        \x20   except dkim.DKIMException: return False\n\
        number = 0\n\
        while size := sys.stdin.buffer.readline():\n\
        \x20   message = sys.stdin.buffer.read(int(size))\n\
        \x20   fields = dkim.DKIM(message).headers\n\
        \x20   signatures = sum(1 for name, value in fields if name.lower() == b'dkim-signature')\n\
        \x20   if not signatures or not all(holds(message, i) for i in range(signatures)):\n\
        \x20       print(number)\n\
        \x20   number += 1\n\
        print('seen', number)\n";
    let mut child = Command::new("/usr/bin/python3")
        .arg("-c")
        .arg(PROGRAM)
        .args(keys.iter().flat_map(|(name, key)| [(*name).to_owned(), key.record.clone()]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let given = messages.to_vec();
    let writer = std::thread::spawn(move || {
        for message in given {
            // A verifier that has ended is seen below.
            let written = writeln!(input, "{}", message.len()).and_then(|()| input.write_all(&message));
            if written.is_err() {
                return;
            }
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let trouble = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.ends_with(&format!("seen {}\n", messages.len())), "dkimpy: {said}{trouble}");
    said.lines().filter_map(|line| line.parse().ok()).collect()
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::rsa_of(2048)
    }

    pub(crate) fn rsa_of(bits: u32) -> Self {
        let pem =
            openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")], b"");
        let public = openssl(&["pkey", "-pubout", "-outform", "DER"], &pem);
        Self::of(&pem, &format!("v=DKIM1; k=rsa; p={}", base64(&public)))
    }

    pub(crate) fn ed25519() -> Self {
        let pem = openssl(&["genpkey", "-algorithm", "ed25519"], b"");
        let public = openssl(&["pkey", "-pubout", "-outform", "DER"], &pem);
        // RFC 8463, 4: the bare key, the last 32 bytes of the structure.
        Self::of(&pem, &format!("v=DKIM1; k=ed25519; p={}", base64(&public[public.len() - 32..])))
    }

    /// The key as a Python expression that dkimpy takes: PEM for RSA, the seed in base64 for Ed25519.
    pub(crate) fn for_dkimpy(&self) -> String {
        if self.record.contains("k=ed25519") {
            let der = openssl(&["pkey", "-outform", "DER"], self.pem.as_bytes());
            return format!("b'{}'", base64(&der[der.len() - 32..]));
        }
        let pem = openssl(&["rsa", "-traditional"], self.pem.as_bytes());
        format!("b'''{}'''", String::from_utf8_lossy(&pem))
    }

    fn of(pem: &[u8], record: &str) -> Self {
        Self { pem: String::from_utf8_lossy(pem).into_owned(), record: record.to_owned() }
    }
}

pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
