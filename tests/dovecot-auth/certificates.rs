//! EXTERNAL with real certificates: OpenSSL's client before the real Dovecot, whose word we take for who the client is.

use std::path::Path;
use std::process::{Command, Stdio};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::dovecot::{Dovecot, Release, release};
use crate::instance::{soon, until};

/// A key and a certificate for that name, by that authority or by itself.
fn certificate(directory: &Path, file: &str, name: &str, authority: Option<&str>) {
    let path = |ending: &str| directory.join(format!("{file}.{ending}")).display().to_string();
    let (key, pem, subject) = (path("key"), path("pem"), format!("/CN={name}"));
    let mut arguments =
        vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    arguments.extend(["-days", "2", "-subj", &subject, "-keyout", &key, "-out", &pem]);
    let by = authority.map(|by| ["pem", "key"].map(|ending| directory.join(format!("{by}.{ending}"))));
    let by = by.map(|by| by.map(|path| path.display().to_string()));
    match &by {
        Some([pem, key]) => {
            arguments.extend(["-CA", pem, "-CAkey", key, "-addext", "basicConstraints=CA:FALSE"])
        }
        None => arguments.extend(["-addext", "keyUsage=keyCertSign,cRLSign"]),
    }
    let output = Command::new("openssl").args(&arguments).output().expect("openssl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
}

/// What Dovecot says to that command of a client with that certificate, or without.
async fn talk(dovecot: &Dovecot, certificate: Option<&str>, command: &str) -> String {
    let mut client = tokio::process::Command::new("openssl");
    client
        .args(["s_client", "-quiet", "-starttls", "imap", "-connect"])
        .arg(format!("127.0.0.1:{}", dovecot.port()));
    if let Some(name) = certificate {
        client.arg("-cert").arg(dovecot.path(&format!("{name}.pem")));
        client.arg("-key").arg(dovecot.path(&format!("{name}.key")));
    }
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl is installed");
    let mut input = client.stdin.take().unwrap();
    input.write_all(format!("a {command}\r\n").as_bytes()).await.unwrap();
    let (mut said, mut output) = (String::new(), client.stdout.take().unwrap());
    while !said.lines().any(|line| line.starts_with("a ")) {
        let mut bytes = [0; 4096];
        let count = soon("Dovecot answers", output.read(&mut bytes)).await.unwrap();
        assert!(count > 0, "the connection ended: {said}\n{}", dovecot.log());
        said.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_logs_in_whom_it_names() {
    let settings = "mechanisms = [\"PLAIN\", \"EXTERNAL\"]";
    let dovecot = Dovecot::start_with(release().configuration(), settings).await;
    let directory = dovecot.path("");
    certificate(&directory, "authority", "our authority", None);
    certificate(&directory, "stranger", "another authority", None);
    certificate(&directory, "server", "mail.example.com", Some("authority"));
    certificate(&directory, "alice", "alice@example.com", Some("authority"));
    certificate(&directory, "nobody", "nobody@example.com", Some("authority"));
    certificate(&directory, "forged", "alice@example.com", Some("stranger"));
    let path = |file: &str| dovecot.path(file).display().to_string();
    let (pem, key, authority) = (path("server.pem"), path("server.key"), path("authority.pem"));
    let tls = match release() {
        Release::V2_3 => format!(
            "ssl = yes\nssl_cert = <{pem}\nssl_key = <{key}\nssl_ca = <{authority}\nssl_require_crl = no\nssl_verify_client_cert = yes"
        ),
        Release::V2_4 => format!(
            "ssl = yes\nssl_server_cert_file = {pem}\nssl_server_key_file = {key}\nssl_server_ca_file = {authority}\nssl_server_require_crl = no\nssl_server_request_client_cert = yes"
        ),
    };
    let configuration = std::fs::read_to_string(dovecot.path("dovecot.conf")).unwrap();
    let tls = format!("{tls}\nauth_ssl_username_from_cert = yes");
    std::fs::write(dovecot.path("dovecot.conf"), configuration.replacen("ssl = no", &tls, 1)).unwrap();
    let (ok, text) = dovecot.tool(&["reload"]).await;
    assert!(ok, "{text}");
    until("Dovecot speaks TLS", async || {
        dovecot.imap().await.command("CAPABILITY").await.contains("STARTTLS")
    })
    .await;

    let external = "AUTHENTICATE EXTERNAL =";
    let answer = talk(&dovecot, Some("alice"), external).await;
    assert!(answer.contains("a OK ") && answer.contains("Logged in"), "{answer}\n{}", dovecot.log());
    // On behalf of somebody else, and with a name that is no user's.
    let behalf = "AUTHENTICATE EXTERNAL Ym9iQGV4YW1wbGUuY29t";
    for (certificate, command) in
        [(Some("alice"), behalf), (Some("nobody"), external), (Some("forged"), external), (None, external)]
    {
        let answer = talk(&dovecot, certificate, command).await;
        assert!(
            answer.contains("a NO [AUTHENTICATIONFAILED]"),
            "{certificate:?}: {answer}\n{}",
            dovecot.log()
        );
    }
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"ok\"}"), 1);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"no-certificate\"}"), 2);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"other-user\"}"), 1);
}
