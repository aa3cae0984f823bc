//! Signatures over a real hop: our milter in a real Postfix that passes mail on to two servers, of which one offers 8BITMIME and one does not.
//! What arrives there is verified by dkimpy.

use mail_parser::MessageParser;

use crate::daemon::Daemon;
use crate::generator::{Generator, write_fields};
use crate::postfix::{Postfix, Server};
use crate::signatures::{Key, activate, unverified, world_with};

/// A message of fields and body lines.
fn letter(fields: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("From: Alice <alice@example.com>\nTo: friend@seven.test\n{fields}\n").replace('\n', "\r\n");
    [head.as_bytes(), body].concat()
}

struct Scene {
    keys: Vec<(&'static str, Key)>,
    daemon: Daemon,
    seven: Server,
    eight: Server,
}

async fn scene(milter: &str) -> Scene {
    let (database, daemon) = world_with(milter).await;
    let keys =
        vec![("rsa._domainkey.example.com.", Key::rsa()), ("ed._domainkey.example.com.", Key::ed25519())];
    activate(&database, "example.com", "rsa", "rsa-sha256", &keys[0].1).await;
    activate(&database, "example.com", "ed", "ed25519-sha256", &keys[1].1).await;
    Scene { keys, daemon, seven: Server::start(false), eight: Server::start(true) }
}

impl Scene {
    fn keys(&self) -> Vec<(&str, &Key)> {
        self.keys.iter().map(|(name, key)| (*name, key)).collect()
    }
}

/// The text of every part, decoded, however it was encoded; of attached messages too.
fn contents(message: &[u8]) -> Vec<Vec<u8>> {
    MessageParser::default()
        .parse(message)
        .unwrap()
        .parts()
        .filter(|part| !part.is_multipart() && !part.is_message())
        .map(|part| part.decoded().into_owned())
        .collect()
}

const HIGH: &str = "gr\u{fc}\u{df}e aus m\u{fc}nchen \r\n";

/// Without the encoding, what Postfix does for a server without 8BITMIME breaks the signature: that it can break is seen first.
#[tokio::test(flavor = "multi_thread")]
async fn a_signature_breaks_on_the_way_to_a_server_without_8bitmime_unless_the_text_is_encoded() {
    for (setting, survives) in [("keep", false), ("encode", true)] {
        let scene = scene(&format!("[milter.signing]\neight-bit = \"{setting}\"")).await;
        let postfix = Postfix::start(&scene.daemon, &scene.seven, &scene.eight);
        let plain =
            "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n";
        postfix
            .login(postfix.port)
            .send(&["friend@seven.test", "friend@eight.test"], &letter(plain, HIGH.as_bytes()));
        let (_, seven) = scene.seven.wait_for(1, &postfix).remove(0);
        let (_, eight) = scene.eight.wait_for(1, &postfix).remove(0);
        assert!(seven.is_ascii(), "Postfix sends 8-bit text to nobody who does not take it");
        assert_eq!(unverified(std::slice::from_ref(&seven), &scene.keys()).is_empty(), survives, "{setting}");
        assert!(unverified(&[eight], &scene.keys()).is_empty(), "{setting}");
        assert_eq!(contents(&seven), [HIGH.as_bytes()], "{setting}");
    }
}

/// The cases that users report, one by one; every signature holds at both servers.
#[tokio::test(flavor = "multi_thread")]
async fn what_postfix_would_break_survives() {
    let scene = scene("").await;
    let postfix = Postfix::start(&scene.daemon, &scene.seven, &scene.eight);
    let references =
        format!("References: {}\n", "<0123456789abcdef@mail.example.com> ".repeat(60).trim_end());
    let no_blank = format!("Cc: {}\n", vec!["someone@example.net"; 100].join(","));
    let long_line = format!("{}\r\n", "word ".repeat(500));
    let one_word = format!("{}\r\n", "x".repeat(5000));
    let mixed = format!(
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{HIGH}\r\n--b\r\n\
         Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: inner\r\n\r\n{HIGH}\r\n--b\r\n\
         Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\nAAAA\r\n--b--\r\n"
    );
    let multipart =
        "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n";
    let eight = "MIME-Version: 1.0\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n";
    let signed = "MIME-Version: 1.0\nContent-Type: multipart/signed; boundary=b; protocol=\"application/pgp-signature\"; micalg=pgp-sha256\n";
    let signature = "--b\r\nContent-Type: text/plain\r\n\r\nsigned text \r\n\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\n\
                     -----BEGIN PGP SIGNATURE-----\r\n\r\niQ==\r\n-----END PGP SIGNATURE-----\r\n--b--\r\n";
    let mut client = postfix.login(postfix.port);
    let letters = [
        letter(&references, b"long references\r\n"),
        letter(&no_blank, b"addresses without blanks\r\n"),
        letter(&format!("Subject: {}\n", "x".repeat(1500)), b"a subject that cannot be folded\r\n"),
        letter("", long_line.as_bytes()),
        letter("", one_word.as_bytes()),
        letter("", HIGH.as_bytes()),
        letter(eight, b"labelled 8bit, and is none\r\n"),
        letter(eight, HIGH.as_bytes()),
        letter(multipart, mixed.as_bytes()),
        letter(signed, signature.as_bytes()),
        letter("", &[&b"bare\rreturn\r\n"[..], HIGH.as_bytes()].concat()),
        b"Subject: without an author\r\n\r\nx\r\n".to_vec(),
        letter("", b""),
    ];
    for message in &letters {
        client.send(&["friend@seven.test", "friend@eight.test"], message);
    }
    for server in [&scene.seven, &scene.eight] {
        let arrived = server.wait_for(letters.len(), &postfix);
        let arrived: Vec<Vec<u8>> = arrived.into_iter().map(|(_, message)| message).collect();
        let bad = unverified(&arrived, &scene.keys());
        assert!(
            bad.is_empty(),
            "{} of {}:\n{}",
            bad.len(),
            letters.len(),
            String::from_utf8_lossy(&arrived[bad[0]])
        );
        let find = |text: &str| {
            let found = arrived.iter().find(|message| String::from_utf8_lossy(message).contains(text));
            String::from_utf8_lossy(found.unwrap_or_else(|| panic!("{text} did not arrive"))).into_owned()
        };
        assert!(find("long references").contains("@mail.example.com>\r\n <0123456789abcdef@"));
        assert!(find("Subject: without an author").contains("From: alice@example.com\r\n"));
        assert!(find("signed text").ends_with(signature), "a signed part is another one now");
        let attached = find("Subject: inner");
        assert!(attached.contains("Content-Transfer-Encoding: 7bit\r\n"), "{attached}");
        assert_eq!(contents(attached.as_bytes())[0].trim_ascii_end(), HIGH.trim_end().as_bytes());
    }
    assert!(scene.daemon.log().contains("not signed, because its line cannot be folded: Subject"));
}

/// Mail that stays on this host keeps its 8-bit text; what goes out is encoded.
#[tokio::test(flavor = "multi_thread")]
async fn mail_between_our_own_users_is_not_encoded() {
    let scene = scene("").await;
    let postfix = Postfix::start(&scene.daemon, &scene.seven, &scene.eight);
    let mut client = postfix.login(postfix.port);
    client.send(&["bob@example.com"], &letter("Subject: here\n", HIGH.as_bytes()));
    let (_, message) = scene.eight.wait_for(1, &postfix).remove(0);
    assert!(String::from_utf8_lossy(&message).contains(HIGH), "{}", String::from_utf8_lossy(&message));
    assert!(unverified(&[message], &scene.keys()).is_empty());
    // One recipient elsewhere is enough.
    client.send(&["bob@example.com", "friend@seven.test"], &letter("Subject: both\n", HIGH.as_bytes()));
    let (_, message) = scene.eight.wait_for(2, &postfix).remove(1);
    assert!(message.is_ascii(), "{}", String::from_utf8_lossy(&message));
}

/// What the sender's devices and his first hop say about him does not leave.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_tells_about_the_senders_devices() {
    let scene = scene("").await;
    let postfix = Postfix::start(&scene.daemon, &scene.seven, &scene.eight);
    let fields = "User-Agent: Mail/1\nReceived: from laptop (10.1.2.3) by phone\nX-Mailer: m\nX-Originating-IP: 10.1.2.3\n\
                  Mime-Version: 1.0 (Mac OS X Mail 16.0)\nX-Mailer: n\n";
    for port in [postfix.port, postfix.hidden] {
        postfix.login(port).send(&["friend@eight.test"], &letter(fields, b"x\r\n"));
    }
    let arrived: Vec<Vec<u8>> =
        scene.eight.wait_for(2, &postfix).into_iter().map(|(_, message)| message).collect();
    assert!(unverified(&arrived, &scene.keys()).is_empty());
    let mut received = Vec::new();
    for message in &arrived {
        let text = String::from_utf8_lossy(message).into_owned();
        for gone in ["User-Agent", "X-Mailer", "X-Originating-IP", "10.1.2.3", "Mac OS X"] {
            assert!(!text.contains(gone), "{gone}: {text}");
        }
        assert!(text.contains("MIME-Version: 1.0\r\n"), "{text}");
        received.push(text.matches("Received: ").count());
    }
    received.sort_unstable();
    // Postfix's own on the one port; on the other it is hidden.
    assert_eq!(received, [0, 1]);
}

/// Whatever is sent: what arrives at either server verifies, and says what was sent.
#[tokio::test(flavor = "multi_thread")]
async fn every_generated_message_verifies_after_a_real_hop() {
    const MESSAGES: usize = 200;
    let scene = scene("").await;
    let postfix = Postfix::start(&scene.daemon, &scene.seven, &scene.eight);
    let mut client = postfix.login(postfix.port);
    let mut generator = Generator::new(8);
    let mut sent = Vec::new();
    for number in 0..MESSAGES {
        let (mut fields, body) = generator.message("alice@example.com");
        fields.push(("X-Number".to_owned(), format!(" {number}").into_bytes()));
        let mut message = Vec::new();
        write_fields(&fields, &mut message);
        message.extend_from_slice(&body);
        client.send(&["friend@seven.test", "friend@eight.test"], &message);
        sent.push(message);
    }
    for (server, seven) in [(&scene.seven, true), (&scene.eight, false)] {
        let arrived: Vec<Vec<u8>> =
            server.wait_for(MESSAGES, &postfix).into_iter().map(|(_, message)| message).collect();
        assert_eq!(arrived.len(), MESSAGES);
        let bad = unverified(&arrived, &scene.keys());
        assert!(
            bad.is_empty(),
            "{} of {MESSAGES}, server without 8BITMIME: {seven}:\n{}",
            bad.len(),
            arrived[bad[0]].escape_ascii().to_string().replace("\\r\\n", "\n")
        );
        for message in &arrived {
            let text = String::from_utf8_lossy(message);
            let number = text.split("X-Number: ").nth(1).and_then(|rest| rest.split("\r\n").next()).unwrap();
            let before: &[u8] = &sent[number.parse::<usize>().unwrap()];
            assert_eq!(said(message), said(before), "message {number}");
        }
    }
}

/// What every part says, after what Postfix makes of it on its way to us: a bare CR becomes a blank (`cleanup_replace_stray_cr_lf`).
fn said(message: &[u8]) -> Vec<String> {
    let mut clean = message.to_vec();
    for at in 0..clean.len() {
        if clean[at] == b'\r' && clean.get(at + 1) != Some(&b'\n') {
            clean[at] = b' ';
        }
    }
    // The last line end may be Postfix's.
    contents(&clean).iter().map(|content| content.trim_ascii_end().escape_ascii().to_string()).collect()
}
