//! OAUTHBEARER, XOAUTH2 and EXTERNAL. The issuer is not ours: `openssl` makes its keys and signs, and a few lines here speak HTTP.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::dovecot::{Dovecot, release};
use crate::instance::{Instance, Lines, until};

/// Who gives tokens out.
struct Issuer {
    directory: tempfile::TempDir,
    jwks: Value,
}

impl Issuer {
    fn new() -> Self {
        gatepost::daemon::install_crypto();
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        openssl(&["genrsa", "-out", key.to_str().unwrap(), "2048"], b"");
        let modulus = openssl(&["rsa", "-in", key.to_str().unwrap(), "-noout", "-modulus"], b"");
        let modulus = String::from_utf8(modulus).unwrap();
        let digits = modulus.trim().strip_prefix("Modulus=").unwrap();
        let n: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let jwks = json!({"keys": [{"kty": "RSA", "use": "sig", "kid": "k1", "n": URL_SAFE_NO_PAD.encode(n), "e": "AQAB"}]});
        Self { directory, jwks }
    }

    fn jwks_file(&self) -> PathBuf {
        let path = self.directory.path().join("jwks.json");
        std::fs::write(&path, self.jwks.to_string()).unwrap();
        path
    }

    /// A token for alice, but for `change`.
    fn token(&self, change: Value) -> String {
        self.token_by("k1", change)
    }

    /// The same, signed by a key that the issuer calls so.
    fn token_by(&self, key_id: &str, change: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": "https://id.example", "aud": ["mail"], "exp": now + 300, "email": "alice@example.com"});
        for (name, value) in change.as_object().unwrap() {
            // Spans stand for times from now on.
            let is_time = matches!(name.as_str(), "exp" | "nbf");
            claims[name] = if is_time { json!(now as i64 + value.as_i64().unwrap()) } else { value.clone() };
        }
        let header = json!({"alg": "RS256", "kid": key_id, "typ": "JWT"});
        let signed = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
        let key = self.directory.path().join("key");
        let signature = openssl(&["dgst", "-sha256", "-sign", key.to_str().unwrap()], signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn settings(&self) -> String {
        format!(
            "{MECHANISMS}\n[dovecot-auth.oauth]\njwks-file = \"{}\"\nissuer = \"https://id.example\"\naudience = \"mail\"\nopenid-configuration = \"https://id.example/.well-known/openid-configuration\"",
            self.jwks_file().display()
        )
    }
}

const MECHANISMS: &str = "mechanisms = [\"PLAIN\", \"OAUTHBEARER\", \"XOAUTH2\", \"EXTERNAL\"]";

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
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

/// Both forms of the message.
fn messages(login: &str, token: &str) -> [(&'static str, String); 2] {
    [
        (
            "OAUTHBEARER",
            STANDARD.encode(format!(
                "n,a={login},\x01host=mail.example.com\x01port=993\x01auth=Bearer {token}\x01\x01"
            )),
        ),
        ("XOAUTH2", STANDARD.encode(format!("user={login}\x01auth=Bearer {token}\x01\x01"))),
    ]
}

/// The last word of a login by token; `told` is what the client is told on the way.
async fn log_in(lines: &mut Lines, mechanism: &str, message: &str) -> (String, Option<Value>) {
    static ID: AtomicU32 = AtomicU32::new(1);
    let id = ID.fetch_add(1, Ordering::Relaxed);
    lines
        .say(&[&format!("AUTH\t{id}\t{mechanism}\tservice=imap\tsecured=tls\trip=192.0.2.1\tresp={message}")])
        .await;
    let mut line = lines.hear().await;
    let mut told = None;
    if let Some(challenge) = line.strip_prefix(&format!("CONT\t{id}\t")) {
        told = Some(serde_json::from_slice(&STANDARD.decode(challenge).unwrap()).unwrap());
        lines.say(&[&format!("CONT\t{id}\tAQ==")]).await;
        line = lines.hear().await;
    }
    (line.replacen(&format!("\t{id}"), "", 1), told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_the_issuer_opens_its_owners_mailbox_and_no_other() {
    let issuer = Issuer::new();
    let instance = Instance::start(&issuer.settings()).await;
    instance.database.sql("INSERT INTO users (local, domain) VALUES ('nopass', 'example.com')").await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let good = issuer.token(json!({}));
    let (signed, _) = good.rsplit_once('.').unwrap();
    for (login, token, expected) in [
        ("alice@example.com", &good, "OK\tuser=alice@example.com"),
        ("ALICE@example.com", &good, "OK\tuser=alice@example.com"),
        ("", &good, "OK\tuser=alice@example.com"),
        // The token is alice's.
        ("bob@example.com", &good, "FAIL\tuser=alice@example.com"),
        (
            "alice@example.com",
            &issuer.token(json!({"email": "nobody@example.com"})),
            "FAIL\tuser=nobody@example.com",
        ),
        (
            "nobody@example.com",
            &issuer.token(json!({"email": "nobody@example.com"})),
            "FAIL\tuser=nobody@example.com",
        ),
        (
            "nopass@example.com",
            &issuer.token(json!({"email": "nopass@example.com"})),
            "FAIL\tuser=nopass@example.com",
        ),
        ("alice@example.com", &issuer.token(json!({"exp": -20})), "OK\tuser=alice@example.com"),
    ] {
        for (mechanism, message) in messages(login, token) {
            let (answer, told) = log_in(&mut lines, mechanism, &message).await;
            assert_eq!((answer.as_str(), told), (expected, None), "{mechanism} {login}");
        }
    }
    for token in [
        issuer.token(json!({"exp": -60})),
        issuer.token(json!({"nbf": 120})),
        issuer.token(json!({"aud": "another"})),
        issuer.token(json!({"iss": "https://evil.example"})),
        issuer.token(json!({"email_verified": false})),
        issuer.token(json!({"email": 5})),
        Issuer::new().token(json!({})),
        format!("{signed}.AAAA"),
        format!("{}.{}.", URL_SAFE_NO_PAD.encode("{\"alg\":\"none\"}"), good.split('.').nth(1).unwrap()),
        "opaque".to_owned(),
    ] {
        for (mechanism, message) in messages("alice@example.com", &token) {
            let (answer, told) = log_in(&mut lines, mechanism, &message).await;
            assert_eq!(answer, "FAIL\tuser=alice@example.com", "{mechanism} {token}");
            let expected = json!({"status": "invalid_token", "openid-configuration": "https://id.example/.well-known/openid-configuration"});
            assert_eq!(told, Some(expected));
        }
    }
    for bad in ["", "=", "biws", "bixhPWEsAQE=", "AQE=", "%"] {
        let (answer, _) = log_in(&mut lines, "OAUTHBEARER", bad).await;
        assert!(answer.starts_with("FAIL"), "{bad}: {answer}");
    }
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"bad-token\"}"), 20);
    instance.stop().await;
}

/// Answers every HTTP request by what `answer` makes of it: status line and body. Its port, and how often it was asked.
async fn http(answer: impl Fn(&str) -> (&'static str, String) + Send + 'static) -> (u16, Arc<AtomicU32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let count = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            // A small body comes with the header, or right behind it.
            while !is_whole(&request) {
                match stream.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(length) => request.extend_from_slice(&buffer[..length]),
                }
            }
            let (status, body) = answer(&String::from_utf8_lossy(&request));
            let reply = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nlocation: http://127.0.0.1/\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    (port, count)
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((header, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = header
        .split("content-length: ")
        .nth(1)
        .and_then(|rest| rest.lines().next()?.parse().ok())
        .unwrap_or(0);
    body.len() >= length
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_once_and_an_issuer_that_is_away_makes_no_token_bad() {
    let issuer = Issuer::new();
    let jwks = issuer.jwks.to_string();
    let (port, count) = http(move |_| ("200 OK", jwks.clone())).await;
    let with_url = |url: String| {
        format!(
            "{MECHANISMS}\n[dovecot-auth.oauth]\njwks-url = \"{url}\"\nissuer = \"https://id.example\"\naudience = \"mail\""
        )
    };
    let instance = Instance::start(&with_url(format!("http://127.0.0.1:{port}/certs"))).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    for _ in 0..3 {
        for (mechanism, message) in messages("alice@example.com", &issuer.token(json!({}))) {
            assert_eq!(log_in(&mut lines, mechanism, &message).await.0, "OK\tuser=alice@example.com");
        }
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
    instance.stop().await;

    let (moved, _) = http(|_| ("302 Found", String::new())).await;
    let (broken, _) = http(|_| ("200 OK", "{\"keys\":[]}".to_owned())).await;
    let (long, _) = http(|_| ("200 OK", " ".repeat(300 << 10))).await;
    for port in [1, moved, broken, long] {
        let instance = Instance::start(&with_url(format!("http://127.0.0.1:{port}/"))).await;
        let mut lines = instance.lines("login").await;
        lines.handshake(1).await;
        for (mechanism, message) in messages("alice@example.com", &issuer.token(json!({}))) {
            let (answer, told) = log_in(&mut lines, mechanism, &message).await;
            assert_eq!((answer.as_str(), told), ("FAIL\tuser=alice@example.com\tcode=temp_fail", None));
        }
        instance.stop().await;
    }
}

/// Whether a key that was not there when the keys were last read is one of the issuer's, only the issuer knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_key_of_an_issuer_that_is_away_makes_no_token_bad() {
    let issuer = Issuer::new();
    let jwks = issuer.jwks.to_string();
    let asked = AtomicU32::new(0);
    let (port, _) = http(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => ("200 OK", jwks.clone()),
        _ => ("503 Service Unavailable", String::new()),
    })
    .await;
    let instance = Instance::start(&format!(
        "{MECHANISMS}\n[dovecot-auth.oauth]\njwks-url = \"http://127.0.0.1:{port}/certs\"\nissuer = \"https://id.example\"\naudience = \"mail\""
    ))
    .await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let (mechanism, old) = &messages("alice@example.com", &issuer.token(json!({})))[0];
    assert_eq!(log_in(&mut lines, mechanism, old).await.0, "OK\tuser=alice@example.com");
    let (mechanism, new) = &messages("alice@example.com", &issuer.token_by("k2", json!({})))[0];
    // The issuer was just asked, and knew no such key; soon it is asked again, and does not answer.
    let away = "FAIL\tuser=alice@example.com\tcode=temp_fail";
    until("nobody can say", async || log_in(&mut lines, mechanism, new).await.0 == away).await;
    // What the last keys say is still said.
    assert_eq!(log_in(&mut lines, mechanism, old).await.0, "OK\tuser=alice@example.com");
    assert_eq!(log_in(&mut lines, mechanism, new).await.0, away);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_asked_decides() {
    gatepost::daemon::install_crypto();
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "s3cret\n").unwrap();
    let (port, _) = http(|request| {
        let is_us = request.to_ascii_lowercase().contains(
            &format!("authorization: basic {}", STANDARD.encode("mail:s3cret")).to_ascii_lowercase(),
        );
        let token =
            request.split("token=").nth(1).and_then(|rest| rest.split('&').next()).unwrap_or_default();
        match (is_us, token) {
            (false, _) => ("401 Unauthorized", String::new()),
            (_, "a%2Bb%2Fc%3D") => (
                "200 OK",
                json!({"active": true, "aud": "mail", "username": "alice@example.com"}).to_string(),
            ),
            (_, "late") => (
                "200 OK",
                json!({"active": true, "aud": "mail", "exp": 5, "username": "alice@example.com"}).to_string(),
            ),
            (_, "elsewhere") => (
                "200 OK",
                json!({"active": true, "aud": "other", "username": "alice@example.com"}).to_string(),
            ),
            (_, "revoked") => ("200 OK", json!({"active": false}).to_string()),
            (_, "odd") => ("200 OK", json!({"active": "true"}).to_string()),
            _ => ("503 Service Unavailable", String::new()),
        }
    })
    .await;
    let settings = |file: &str| {
        format!(
            "{MECHANISMS}\n[dovecot-auth.oauth]\nintrospection-url = \"http://127.0.0.1:{port}/introspect\"\nclient-id = \"mail\"\nclient-secret-file = \"{file}\"\naudience = \"mail\"\nclaim = \"username\""
        )
    };
    let instance = Instance::start(&settings(secret.path().to_str().unwrap())).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    for (token, expected, is_told) in [
        ("a+b/c=", "OK\tuser=alice@example.com", false),
        ("revoked", "FAIL\tuser=alice@example.com", true),
        ("late", "FAIL\tuser=alice@example.com", true),
        ("elsewhere", "FAIL\tuser=alice@example.com", true),
        ("odd", "FAIL\tuser=alice@example.com\tcode=temp_fail", false),
        ("broken", "FAIL\tuser=alice@example.com\tcode=temp_fail", false),
    ] {
        for (mechanism, message) in messages("alice@example.com", token) {
            let (answer, told) = log_in(&mut lines, mechanism, &message).await;
            assert_eq!((answer.as_str(), told.is_some()), (expected, is_told), "{mechanism} {token}");
        }
    }
    instance.stop().await;
    std::fs::write(secret.path(), "another\n").unwrap();
    let instance = Instance::start(&settings(secret.path().to_str().unwrap())).await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    let (mechanism, message) = &messages("alice@example.com", "a+b/c=")[0];
    assert_eq!(
        log_in(&mut lines, mechanism, message).await.0,
        "FAIL\tuser=alice@example.com\tcode=temp_fail"
    );
    assert_eq!(instance.metric("logins_total{service=\"imap\",result=\"misconfigured\"}"), 1);
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_dovecot_has_found_valid_is_a_login() {
    let instance = Instance::start("mechanisms = [\"PLAIN\", \"EXTERNAL\"]").await;
    let mut lines = instance.lines("login").await;
    lines.handshake(1).await;
    for (id, (options, expected)) in (1..).zip([
        ("valid-client-cert\tcert_username=alice@example.com\tresp=", "OK\t{}\tuser=alice@example.com"),
        ("valid-client-cert\tcert_username=alice@example.com\tresp==", "OK\t{}\tuser=alice@example.com"),
        // alice@example.com
        (
            "cert_username=alice@example.com\tvalid-client-cert\tresp=YWxpY2VAZXhhbXBsZS5jb20=",
            "OK\t{}\tuser=alice@example.com",
        ),
        // bob@example.com
        (
            "valid-client-cert\tcert_username=alice@example.com\tresp=Ym9iQGV4YW1wbGUuY29t",
            "FAIL\t{}\tuser=alice@example.com",
        ),
        ("cert_username=alice@example.com\tresp=", "FAIL\t{}"),
        ("resp=YWxpY2VAZXhhbXBsZS5jb20=", "FAIL\t{}\tuser=alice@example.com"),
        ("valid-client-cert\tcert_username=nobody@example.com\tresp=", "FAIL\t{}\tuser=nobody@example.com"),
        ("valid-client-cert\tcert_username=boss@example.com\tresp=", "FAIL\t{}\tuser=boss@example.com"),
        // The client's own words never become the certificate.
        ("resp=AA==\tvalid-client-cert\tcert_username=alice@example.com", "FAIL\t{}\tcode=invalid_base64"),
    ]) {
        lines.say(&[&format!("AUTH\t{id}\tEXTERNAL\tservice=imap\tsecured=tls\t{options}")]).await;
        assert_eq!(lines.hear().await, expected.replace("{}", &id.to_string()), "{options}");
    }
    // Postfix tells of no certificates.
    let mut postfix = instance.lines("postfix").await;
    postfix.handshake(2).await;
    postfix
        .say(&["AUTH\t1\tEXTERNAL\tservice=smtp\tvalid-client-cert\tcert_username=alice@example.com\tresp="])
        .await;
    assert_eq!(postfix.hear().await, "FAIL\t1");
    instance.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_dovecot_logs_in_by_token() {
    let issuer = Issuer::new();
    let dovecot = Dovecot::start_with(release().configuration(), &issuer.settings()).await;
    let messages = messages("alice@example.com", &issuer.token(json!({})));
    let bad = self::messages("alice@example.com", &issuer.token(json!({"exp": -60})));
    for ((mechanism, good), (_, bad)) in messages.iter().zip(&bad) {
        let answer = dovecot.imap().await.command_with(&format!("AUTHENTICATE {mechanism}"), &[good]).await;
        assert!(answer.contains(" OK ") && answer.contains("Logged in"), "{answer}\n{}", dovecot.log());
        let answer =
            dovecot.imap().await.command_with(&format!("AUTHENTICATE {mechanism}"), &[bad, "AQ=="]).await;
        assert!(answer.contains(" NO [AUTHENTICATIONFAILED]"), "{answer}");
        assert!(answer.contains(&STANDARD.encode("{\"openid-configuration\"")[..20]), "{answer}");
    }
}
