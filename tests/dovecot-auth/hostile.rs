//! Peers that are no Dovecot and no Postfix: floods, endless lines, idle crowds. Each loses its own connection at the most; the next peer
//! is served as if nothing had been.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::instance::{CONNECTIONS, Instance, plain, soon};

/// Every listener, what opens a conversation there, how long its lines may be, and what begins one.
const LISTENERS: [(&str, &str, usize, &str); 6] = [
    ("login", "VERSION\t1\t2\nCPID\t1\n", 16384, "AUTH\t1\tPLAIN\tservice=imap\tresp="),
    ("postfix", "VERSION\t1\t0\nCPID\t1\n", 16384, "AUTH\t1\tPLAIN\tservice=smtp\tresp="),
    ("master", "VERSION\t1\t0\n", 8192, "REQUEST\t1\t1\t1\t"),
    ("userdb", "VERSION\t1\t0\n", 8192, "USER\t1\t"),
    ("dict", "H3\t2\t0\t\tacl\n", 65536, "Lshared/"),
    ("dict-auth", "H3\t2\t0\t\tauth\n", 65536, "Lshared/"),
];

async fn is_served(instance: &Instance) {
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    login
        .say(&[&format!("AUTH\t1\tPLAIN\tservice=imap\tresp={}", plain("alice@example.com", "alice123"))])
        .await;
    assert_eq!(login.hear().await, "OK\t1\tuser=alice@example.com");
    let mut userdb = instance.lines("userdb").await;
    userdb.say(&["VERSION\t1\t0", "USER\t1\talice@example.com"]).await;
    userdb.hear().await;
    userdb.hear().await;
    assert!(userdb.hear().await.starts_with("USER\t1\talice@example.com\t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_beyond_the_bound_ends_its_connection_and_the_longest_one_is_answered() {
    let instance = Instance::start("").await;
    for (listener, opening, bound, begin) in LISTENERS {
        for (length, survives) in [(bound, true), (bound + 1, false), (1 << 20, false)] {
            let mut stream = instance.connect(listener).await;
            let line = format!("{opening}{begin}{}\n", "x".repeat(length - begin.len()));
            // The other side may close before it has all.
            let _ = stream.write_all(line.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = soon(listener, stream.read_to_end(&mut answer)).await;
            let answer = String::from_utf8(answer).unwrap();
            let last = answer.lines().last().unwrap_or_default();
            let answered = ["FAIL\t1", "NOTFOUND\t1", "N", "F"].iter().any(|word| last.starts_with(word));
            assert_eq!(answered, survives, "{listener}, a line of {length} bytes: {last}");
        }
    }
    is_served(&instance).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn noise_ends_its_connection() {
    let instance = Instance::start("").await;
    for (listener, opening, ..) in LISTENERS {
        for noise in [
            &b"\0\0\0\0\n"[..],
            b"\n\n\n\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"EHLO x\r\n",
            b"\xff\xfe\xfd\n",
            b"\x01\n",
            b"VERSION\n",
            b"AUTH\n",
            b"USER\n",
            b"L\n",
            b"\t\t\t\n",
        ] {
            // "L" looks up the empty key in a dictionary, which is not there.
            if listener.starts_with("dict") && noise == b"L\n" {
                continue;
            }
            for opening in ["", opening] {
                let mut stream = instance.connect(listener).await;
                let _ = stream.write_all(&[opening.as_bytes(), noise].concat()).await;
                let mut answer = Vec::new();
                let _ = soon(listener, stream.read_to_end(&mut answer)).await;
                let answer = String::from_utf8(answer).unwrap();
                assert!(
                    !answer.contains("OK\t") && !answer.contains("USER\t"),
                    "{listener}: {}: {answer}",
                    noise.escape_ascii()
                );
            }
        }
    }
    is_served(&instance).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_that_says_nothing_keeps_nobody_out_while_there_is_room() {
    let instance = Instance::start("").await;
    let mut crowd = Vec::new();
    for number in 0..CONNECTIONS - 10 {
        let mut stream = instance.connect(LISTENERS[number % LISTENERS.len()].0).await;
        // Half of them in the middle of a line.
        if number % 2 == 0 {
            stream.write_all(b"VER").await.unwrap();
        }
        crowd.push(stream);
    }
    is_served(&instance).await;
    drop(crowd);
    is_served(&instance).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_that_never_go_on_are_bounded() {
    let instance = Instance::start("").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    let mut later = 0;
    for id in 1..=1100 {
        login.say(&[&format!("AUTH\t{id}\tLOGIN\tservice=imap")]).await;
        let line = login.hear().await;
        if line == format!("FAIL\t{id}\tcode=temp_fail") {
            later += 1;
        } else {
            assert_eq!(line, format!("CONT\t{id}\tVXNlcm5hbWU6"));
        }
    }
    assert_eq!(later, 1100 - 1024);
    // Whoever is there already can go on, and makes room.
    login.say(&["CANCEL\t1", "AUTH\t2000\tLOGIN\tservice=imap"]).await;
    assert_eq!(login.hear().await, "CONT\t2000\tVXNlcm5hbWU6");
    is_served(&instance).await;
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_are_bounded_in_number_and_size() {
    let instance = Instance::start("").await;
    let mut dict = instance.lines("dict").await;
    dict.say(&["H3\t2\t0\t\tacl"]).await;
    for id in 1..=64 {
        dict.say(&[&format!("B{id}\talice@example.com")]).await;
    }
    dict.say(&["C1"]).await;
    assert_eq!(dict.hear().await, "O1");
    dict.say(&["B1\talice@example.com", "B65\talice@example.com"]).await;
    assert!(dict.is_closed().await);
    let mut dict = instance.lines("dict").await;
    dict.say(&["H3\t2\t0\t\tacl", "B1\talice@example.com"]).await;
    let value = "x".repeat(60_000);
    for _ in 0..20 {
        dict.say(&[&format!("S1\tshared/shared-boxes/user/bob@example.com/alice@example.com\t{value}")])
            .await;
    }
    dict.say(&["C1", "B2\talice@example.com", "C2"]).await;
    assert_eq!(dict.hear().await, "F1\tthe transactions of this connection are too large");
    assert_eq!(dict.hear().await, "O2");
    instance.stop().await;
}

/// The names of users go into queries and paths, never as part of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_code_are_names_of_nobody() {
    let instance = Instance::start("").await;
    let mut login = instance.lines("login").await;
    login.handshake(1).await;
    for (id, name) in [
        "' OR '1'='1",
        "alice@example.com' OR 'a'='a",
        "alice@example.com'; DROP TABLE shared_mailboxes; --",
        "x' UNION SELECT '$argon2id$'@example.com",
        "%@example.com",
        "alice@%",
        "_____@example.com",
        "../../etc/passwd@example.com",
        "${jndi:ldap://x}@example.com",
        "alice@example.com\\",
    ]
    .into_iter()
    .enumerate()
    {
        login.say(&[&format!("AUTH\t{id}\tPLAIN\tservice=imap\tresp={}", plain(name, "alice123"))]).await;
        let line = login.hear().await;
        assert!(line.starts_with(&format!("FAIL\t{id}\tuser=")) && !line.contains("code="), "{name}: {line}");
    }
    assert_eq!(instance.database.sql("SELECT count(*) FROM shared_mailboxes").await, "1");
    instance.stop().await;
}

/// Lines that were good once, bent in a few places, on every listener; the same ones each time. Each conversation ends, and the next
/// peer is served as if nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bent_lines_end_their_own_connection_at_the_most() {
    let instance = Instance::with_schema("failure-delay = \"0s\"").await;
    let corpus = crate::replay::lines_sent();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..600 {
        let (listener, opening, ..) = LISTENERS[random.below(LISTENERS.len())];
        let mut bytes = if random.below(4) > 0 { opening.as_bytes().to_vec() } else { Vec::new() };
        for _ in 0..=random.below(6) {
            let (_, line) = &corpus[random.below(corpus.len())];
            let of_this = corpus.iter().filter(|(kind, _)| kind == listener).collect::<Vec<_>>();
            let line = if of_this.is_empty() || random.below(8) == 0 {
                line
            } else {
                &of_this[random.below(of_this.len())].1
            };
            bytes.extend(random.bend(line));
            bytes.push(b'\n');
        }
        let mut stream = instance.connect(listener).await;
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let what = format!("round {round}, {listener}: {}", bytes.escape_ascii());
        let _ = soon(&what, stream.read_to_end(&mut answer)).await;
        assert!(answer.is_empty() || answer.ends_with(b"\n"), "{what}: half an answer");
        if round % 100 == 99 {
            is_served(&instance).await;
        }
    }
    assert_eq!(instance.stop().await, 0);
}

/// Numbers that are the same each time (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn bend(&mut self, line: &[u8]) -> Vec<u8> {
        let mut bent = line.to_vec();
        for _ in 0..self.below(4) {
            let at = self.below(bent.len() + 1);
            match self.below(6) {
                0 => bent.truncate(at),
                1 => bent.insert(at, b"\t\x01\n\r\0=/\\\xff"[self.below(9)]),
                2 if at < bent.len() => bent[at] = u8::try_from(self.below(256)).unwrap(),
                3 if at < bent.len() => drop(bent.remove(at)),
                4 => bent.extend_from_within(at..),
                _ => bent.splice(at..at, *b"99999999999").for_each(drop),
            }
        }
        bent
    }
}
