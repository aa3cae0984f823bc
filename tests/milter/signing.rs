//! Signatures on our own mail: made by the real daemon with keys from a real database, verified by dkimpy on the bytes that
//! Postfix would deliver.

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

#[tokio::test(flavor = "multi_thread")]
async fn signatures_verify_as_delivered() {
    let (database, daemon) = world().await;
    let (rsa, ed) = (Key::rsa(), Key::ed25519());
    activate(&database, "example.com", "20261121", "rsa-sha256", &rsa).await;
    activate(&database, "123qwe.com", "ed", "ed25519-sha256", &ed).await;
    let keys = [("20261121._domainkey.example.com.", &rsa), ("ed._domainkey.123qwe.com.", &ed)];
    let long = format!(
        " {}",
        "<reference-of-eighty-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx@example.com>\n\t"
            .repeat(30)
            .trim_end()
    );
    let binary: Vec<u8> =
        (0..200_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let binary: Vec<u8> =
        binary.into_iter().map(|byte| if matches!(byte, b'\r' | b'\n') { b'x' } else { byte }).collect();
    for (name, sender, headers, body) in [
        (
            "plain",
            Sender::Login("alice@example.com"),
            vec![("From", " Alice <alice@example.com>"), ("To", " bob@remote.test")],
            &b"hello\r\n"[..],
        ),
        ("complete", Sender::Login("alice@example.com"), complete(), b"hello\r\n\r\nbye\r\n"),
        (
            "alias",
            Sender::Login("alice@example.com"),
            vec![("From", " boss@example.com"), ("Subject", " as the boss")],
            b"x\r\n",
        ),
        (
            "extension",
            Sender::Login("alice@example.com"),
            vec![("From", " alice+news@example.com")],
            b"x\r\n",
        ),
        (
            "alias across domains",
            Sender::Login("carl@123qwe.com"),
            vec![("From", " orders@example.com")],
            b"x\r\n",
        ),
        (
            "upper case",
            Sender::Login("ALICE@Example.COM"),
            vec![("from", " ALICE@EXAMPLE.com"), ("SUBJECT", "\t odd  \n\t case ")],
            b"x\r\n",
        ),
        ("ed25519", Sender::Login("carl@123qwe.com"), vec![("From", " carl@123qwe.com")], b"x\r\n"),
        ("local", Sender::Local, vec![("From", " root@example.com")], b"cron says\r\n"),
        ("empty body", Sender::Login("alice@example.com"), vec![("From", " alice@example.com")], b""),
        (
            "blank lines at the end",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b"</html>\r\n    \r\n\t\r\n\r\n",
        ),
        (
            "only blank lines",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b" \r\n\r\n",
        ),
        (
            "white space in lines",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            b" a \t b \r\n\tc\t\r\n",
        ),
        (
            "long references",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com"), ("References", long.as_str())],
            b"x\r\n",
        ),
        (
            "8-bit",
            Sender::Login("alice@example.com"),
            vec![("From", " \u{e4} <alice@example.com>"), ("Subject", " \u{20ac}")],
            "\u{fc}ber\r\n".as_bytes(),
        ),
        (
            "several of one name",
            Sender::Login("alice@example.com"),
            vec![("To", " a@b.test"), ("From", " alice@example.com"), ("To", " c@d.test")],
            b"x\r\n",
        ),
        (
            "a long line of anything",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com")],
            &[&binary[..], b"\r\n"].concat(),
        ),
    ] {
        let delivered = taken(name, send(&daemon, &sender, &headers, body));
        verified(name, &delivered, &keys);
    }
    assert!(daemon.log().contains("action=\"sign\""), "{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_active_key_signs_and_the_signature_covers_what_matters() {
    let (database, daemon) = world().await;
    let (rsa, ed) = (Key::rsa(), Key::ed25519());
    activate(&database, "example.com", "rsa", "rsa-sha256", &rsa).await;
    activate(&database, "example.com", "ed", "ed25519-sha256", &ed).await;
    let outcome = send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"hello\r\n");
    let delivered = taken("dual", outcome);
    let keys = [("rsa._domainkey.example.com.", &rsa), ("ed._domainkey.example.com.", &ed)];
    let text = String::from_utf8_lossy(&delivered).into_owned();
    assert_eq!(text.matches("DKIM-Signature:").count(), 2, "{text}");
    verified("dual", &delivered, &keys);

    let broken = [
        ("body", text.replace("hello", "hullo")),
        ("subject", text.replace("Subject: tomorrow", "Subject: today")),
        ("date", text.replace("09:00:00", "09:00:01")),
        ("a second From", text.replace("Subject: tomorrow", "From: evil@example.net\r\nSubject: tomorrow")),
        ("a second Subject", text.replace("Subject: tomorrow", "Subject: tomorrow\r\nSubject: today")),
        ("a second To", text.replace("Subject: tomorrow", "To: evil@example.net\r\nSubject: tomorrow")),
        ("a Cc", text.replace("Subject: tomorrow", "Cc: evil@example.net\r\nSubject: tomorrow")),
    ];
    for (name, broken) in broken {
        assert_ne!(broken, text);
        assert!(!verifies(broken.as_bytes(), &keys), "{name}: still verifies");
    }
    // What Postfix or the next host changes must not matter.
    let harmless = [
        ("Received", format!("Received: from x by y\r\n{text}")),
        ("Return-Path", format!("Return-Path: <alice@example.com>\r\n{text}")),
        ("folding", text.replace("Subject: tomorrow", "Subject:\r\n\ttomorrow")),
        ("blank lines", format!("{text}\r\n\r\n")),
    ];
    for (name, harmless) in harmless {
        assert_ne!(harmless, text);
        assert!(verifies(harmless.as_bytes(), &keys), "{name}: no longer verifies");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_signed_that_is_not_the_senders_own() {
    let (database, daemon) = world().await;
    activate(&database, "example.com", "s", "rsa-sha256", &Key::rsa()).await;
    for (name, sender, headers) in [
        ("another's address", Sender::Login("alice@example.com"), vec![("From", " bob@example.com")]),
        ("nobody's address", Sender::Login("alice@example.com"), vec![("From", " nobody@example.com")]),
        ("a domain of others", Sender::Login("alice@example.com"), vec![("From", " alice@remote.test")]),
        ("a domain without key", Sender::Login("carl@123qwe.com"), vec![("From", " carl@123qwe.com")]),
        (
            "two authors",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com, bob@example.com")],
        ),
        (
            "two From fields",
            Sender::Login("alice@example.com"),
            vec![("From", " alice@example.com"), ("From", " alice@example.com")],
        ),
        ("no address", Sender::Login("alice@example.com"), vec![("From", " Alice")]),
        ("a login that is no address", Sender::Login("alice"), vec![("From", " alice@example.com")]),
        ("local, a domain of others", Sender::Local, vec![("From", " root@remote.test")]),
    ] {
        let delivered = taken(name, send(&daemon, &sender, &headers, b"x\r\n"));
        assert!(!String::from_utf8_lossy(&delivered).contains("DKIM-Signature"), "{name} was signed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_active_keys_sign_and_a_change_counts_at_once() {
    let (database, daemon) = world().await;
    let (first, second) = (Key::rsa(), Key::rsa());
    activate(&database, "example.com", "first", "rsa-sha256", &first).await;
    activate(&database, "example.com", "second", "rsa-sha256", &second).await;
    let sender = Sender::Login("alice@example.com");
    // Keys that are not active yet never sign.
    database
        .sql(
            "INSERT INTO gatepost.dkim_keys (domain, selector, algorithm, private_key, public_key, state, published_at, dns, dns_at)
             SELECT domain, next, algorithm, private_key, 'y', next, now(), 'missing', now()
             FROM gatepost.dkim_keys, unnest('{new,published}'::text[]) AS next WHERE selector = 'second'",
        )
        .await;
    for (state, signs) in [("retired", false), ("active", true), ("retired", false), ("removed", false)] {
        database
            .sql(&format!("UPDATE gatepost.dkim_keys SET state = '{state}' WHERE selector = 'second'"))
            .await;
        // Announced by the schema's trigger; until the daemon has heard of it, the old answer counts.
        let mut delivered = String::new();
        for _ in 0..600 {
            let bytes = taken(state, send(&daemon, &sender, &complete(), b"x\r\n"));
            delivered = String::from_utf8_lossy(&bytes).into_owned();
            if delivered.contains("s=second") == signs {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert_eq!(delivered.contains("s=second"), signs, "{state}: {delivered}");
        assert!(delivered.contains("s=first"), "{state}: {delivered}");
        assert!(!delivered.contains("s=new") && !delivered.contains("s=published"), "{state}: {delivered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_delays_our_mail_and_nothing_else() {
    let (database, daemon) = world().await;
    let key = Key::rsa();
    activate(&database, "example.com", "s", "rsa-sha256", &key).await;
    let sender = Sender::Login("alice@example.com");
    database.take_away().await;
    match send(&daemon, &sender, &complete(), b"x\r\n") {
        Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
        Outcome::Taken(_) => panic!("taken unsigned"),
    }
    // Mail from outside needs nothing of the database.
    let mut peer = daemon.connect();
    peer.begin();
    peer.message(&[("From", " sender@client.test")], b"hello\r\n");
    assert_eq!(peer.end_of_message().last().map(Vec::as_slice), Some(&b"c"[..]));

    database.give_back().await;
    for _ in 0..600 {
        if let Outcome::Taken(delivered) = send(&daemon, &sender, &complete(), b"x\r\n") {
            verified("given back", &delivered, &[("s._domainkey.example.com.", &key)]);
            // What was found once is still known when the database goes again.
            database.take_away().await;
            let delivered = taken("from the cache", send(&daemon, &sender, &complete(), b"x\r\n"));
            verified("from the cache", &delivered, &[("s._domainkey.example.com.", &key)]);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the daemon did not find the database again:\n{}", daemon.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_our_schema_signing_is_off_and_says_so() {
    let database = Database::create().await;
    let daemon = Daemon::start("", &database.toml());
    for _ in 0..2 {
        let delivered =
            taken("no schema", send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"x\r\n"));
        assert!(!String::from_utf8_lossy(&delivered).contains("DKIM-Signature"));
    }
    let log = daemon.log();
    assert_eq!(
        log.matches("signing is off: schema gatepost is not installed; run `gatepost schema install`")
            .count(),
        1,
        "{log}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_none_is_the_operators_to_mend() {
    let (database, daemon) = world().await;
    let broken = Key {
        pem: "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into(),
        record: String::new(),
    };
    activate(&database, "example.com", "broken", "rsa-sha256", &broken).await;
    match send(&daemon, &Sender::Login("alice@example.com"), &complete(), b"x\r\n") {
        Outcome::Refused(reply) => assert!(reply.starts_with("451 4.7.1 "), "{reply}"),
        Outcome::Taken(_) => panic!("taken unsigned"),
    }
    assert!(daemon.log().contains("no key of example.com can be used"), "{}", daemon.log());
    assert!(!daemon.log().contains("AAAA"), "a private key in the log");
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
async fn world() -> (Database, Daemon) {
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
