//! Forwarded mail through a real Postfix: whose sender is rewritten, and where a bounce goes. And PostSRSd itself as the peer that reads
//! our addresses and writes its own, where it is installed.

use std::process::{Child, Command, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::instance::{Instance, Setup, soon, until};
use crate::ports::free_port;
use crate::postfix::{ALICE, Postfix, socketmap};

/// One mail that left.
#[derive(Debug)]
struct Mail {
    from: String,
    to: Vec<String>,
    text: String,
}

/// The world outside: takes every mail.
async fn outside(listener: TcpListener, taken: UnboundedSender<Mail>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(take(stream, taken.clone()));
    }
}

async fn take(stream: TcpStream, taken: UnboundedSender<Mail>) {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 outside.test ESMTP\r\n").await.unwrap();
    let (mut from, mut to) = (String::new(), Vec::new());
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let argument =
            || line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap().0.to_owned();
        let answer = match line[..4].to_ascii_uppercase().as_str() {
            "MAIL" => {
                from = argument();
                "250 ok\r\n"
            }
            "RCPT" => {
                to.push(argument());
                "250 ok\r\n"
            }
            "DATA" => {
                stream.write_all(b"354 go on\r\n").await.unwrap();
                let mut text = String::new();
                while !text.ends_with("\r\n.\r\n") {
                    stream.read_line(&mut text).await.unwrap();
                }
                taken.send(Mail { from: from.clone(), to: std::mem::take(&mut to), text }).unwrap();
                "250 ok\r\n"
            }
            "QUIT" => return,
            _ => "250 ok\r\n",
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
    }
}

struct Scene {
    instance: Instance,
    postfix: Postfix,
    mails: UnboundedReceiver<Mail>,
    _folder: tempfile::TempDir,
}

/// The lines of the manual page, over the lines of the other scenes.
async fn scene() -> Scene {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secret");
    std::fs::write(&secrets, "a new secret\nan old secret\n").unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let again = free_port();
    let settings = format!(
        "[postfix-policy.srs]\ndomain = \"example.com\"\nsecrets-file = \"{}\"\nroute = \"srs:[127.0.0.1]:{again}\"\n",
        secrets.display()
    );
    let instance = Instance::start(&Setup { settings, schema: true, ..Setup::default() }).await;
    instance
        .database
        .sql(
            "INSERT INTO gatepost.aliases VALUES ('fwd', 'example.com', 'alice@example.com'), ('fwd', 'example.com', 'far@foreign.test')",
        )
        .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (taken, mails) = unbounded_channel();
    tokio::spawn(outside(listener, taken));
    let map = socketmap(&instance);
    let main = format!(
        "default_transport = smtp
relayhost = [127.0.0.1]:{port}
sender_dependent_default_transport_maps = {map}:srs-route
recipient_canonical_maps = {map}:srs-reverse
recipient_canonical_classes = envelope_recipient
"
    );
    let master = format!(
        "srs unix - - n - - smtp
  -o smtp_tls_security_level=none -o smtp_send_xforward_command=yes
127.0.0.1:{again} inet n - n - - smtpd
  -o cleanup_service_name=srs-cleanup -o smtpd_milters= -o smtpd_tls_security_level=none
  -o mynetworks=127.0.0.0/8 -o smtpd_authorized_xforward_hosts=127.0.0.0/8
  -o smtpd_client_restrictions= -o smtpd_helo_restrictions= -o smtpd_sender_restrictions=
  -o smtpd_relay_restrictions=permit_mynetworks,reject -o smtpd_recipient_restrictions=
  -o smtpd_data_restrictions= -o smtpd_end_of_data_restrictions=
  -o receive_override_options=no_header_body_checks,no_unknown_recipient_checks
srs-cleanup unix n - n - 0 cleanup
  -o sender_canonical_maps={map}:srs-forward
  -o sender_canonical_classes=envelope_sender
  -o recipient_canonical_maps= -o virtual_alias_maps=
  -o sender_bcc_maps= -o recipient_bcc_maps= -o always_bcc=
"
    );
    let postfix = Postfix::start_with(&instance, &main, &master).await;
    Scene { instance, postfix, mails, _folder: folder }
}

impl Scene {
    async fn send(&self, hello: &[(&str, &str)], from: &str, to: &str, answer: &str) {
        let (from, to) = (format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"));
        let mut lines = [hello, &[(from.as_str(), "250 "), (to.as_str(), answer)]].concat();
        if answer.starts_with('2') {
            lines.extend([
                ("DATA", "354 "),
                ("From: Friend <friend@origin.test>\r\nSubject: x\r\n\r\nx\r\n.", "250 "),
            ]);
        }
        self.postfix.session(&lines).await;
    }

    async fn left(&mut self) -> Mail {
        let log = self.postfix.log();
        soon(&format!("a mail that leaves:\n{log}"), self.mails.recv()).await.unwrap()
    }
}

const HELLO: &[(&str, &str)] = &[("EHLO client.test", "250 ")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_an_outside_sender_of_mail_that_leaves_is_rewritten_and_its_bounce_comes_back() {
    let mut scene = scene().await;

    scene.send(HELLO, "friend@origin.test", "fwd@example.com", "250 ").await;
    let forwarded = scene.left().await;
    assert_eq!(forwarded.to, ["far@foreign.test"]);
    assert!(
        forwarded.from.starts_with("SRS0=") && forwarded.from.ends_with("=origin.test=friend@example.com"),
        "{forwarded:?}"
    );
    assert!(forwarded.text.contains("From: Friend <friend@origin.test>\r\n"), "{}", forwarded.text);
    // The copy that stays has its own sender: no SRS in the queue file that alice's mail was in.
    scene.postfix.delivered("to=<alice@example.com>").await;
    let log = scene.postfix.log();
    let line = log.lines().find(|line| line.contains("to=<alice@example.com>")).unwrap();
    let id = line.split("]: ").nth(1).unwrap().split(':').next().unwrap();
    assert!(log.contains(&format!("{id}: from=<friend@origin.test>")), "{log}");

    // The bounce, as the outside server sends it; folded by a careless one.
    for back in [forwarded.from.clone(), forwarded.from.to_lowercase()] {
        scene.send(HELLO, "", &back, "250 ").await;
        let bounce = scene.left().await;
        assert_eq!((bounce.from.as_str(), bounce.to), ("", vec!["friend@origin.test".to_owned()]));
    }
    // A forged one is an unknown user, and opens no relay.
    let forged = forwarded.from.replace("=origin.test=friend", "=origin.test=victim");
    scene.send(HELLO, "", &forged, "550 5.1.1 ").await;

    // What another forwarder rewrote is guarded, and comes back to him.
    let theirs = "SRS0=AbCd=XY=origin.test=friend@first.test";
    scene.send(HELLO, theirs, "fwd@example.com", "250 ").await;
    let guarded = scene.left().await;
    assert!(
        guarded.from.starts_with("SRS1=")
            && guarded.from.ends_with("=first.test==AbCd=XY=origin.test=friend@example.com"),
        "{guarded:?}"
    );
    scene.send(HELLO, "", &guarded.from, "250 ").await;
    assert_eq!(scene.left().await.to, [theirs]);

    // Our own senders, and bounces, leave as they are.
    let login = [HELLO, &[(ALICE, "235 ")]].concat();
    scene.send(&login, "alice@example.com", "far@foreign.test", "250 ").await;
    assert_eq!(scene.left().await.from, "alice@example.com");
    scene.send(HELLO, "", "fwd@example.com", "250 ").await;
    assert_eq!(scene.left().await.from, "");

    scene.postfix.stop().await;
    scene.instance.stop().await;
}

/// PostSRSd's two tcp tables.
struct PostSrsd {
    child: Child,
    ports: [u16; 2],
}

impl PostSrsd {
    /// `None`, loudly, where it is not installed.
    async fn start(secrets: &std::path::Path) -> Option<Self> {
        let program = ["/usr/sbin/postsrsd", "/usr/bin/postsrsd"]
            .into_iter()
            .find(|path| std::path::Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("NOT RUN: PostSRSd is not installed (package postsrsd)");
            return None;
        };
        let ports = [free_port(), free_port()];
        let child = Command::new(program)
            .args(["-4", "-dexample.com", "-l127.0.0.1", &format!("-s{}", secrets.display())])
            .args([format!("-f{}", ports[0]), format!("-r{}", ports[1])])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("PostSRSd listens", async || TcpStream::connect(("127.0.0.1", ports[1])).await.is_ok()).await;
        Some(Self { child, ports })
    }

    /// What it says for a key: `get KEY` is answered by a code and a text (tcp_table(5)).
    async fn answer(&self, table: usize, key: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[table])).await.unwrap();
        stream.write_all(format!("get {key}\n").as_bytes()).await.unwrap();
        let mut answer = vec![0; 1000];
        let length = soon("an answer of PostSRSd", stream.read(&mut answer)).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).trim_end().to_owned();
        answer.strip_prefix("200 ").map(str::to_owned)
    }
}

impl Drop for PostSrsd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postsrsd_reads_our_addresses_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("postsrsd.secret");
    std::fs::write(&secrets, "tHe sEcReT/of+both\nand an older one\n").unwrap();
    std::fs::set_permissions(&secrets, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let Some(peer) = PostSrsd::start(&secrets).await else { return };
    let settings =
        format!("[postfix-policy.srs]\ndomain = \"example.com\"\nsecrets-file = \"{}\"\n", secrets.display());
    let instance = Instance::start(&Setup { settings, ..Setup::default() }).await;
    let ours = async |map: &str, key: &str| {
        let reply = instance.service.look_up(format!("{map} {key}").as_bytes()).await.text();
        reply.strip_prefix("OK ").map(str::to_owned)
    };
    for sender in [
        "bob@foreign.test",
        "Bob.Big@Foreign.Test",
        "a+b=c-d@sub.foreign.test",
        "SRS0=AbCd=XY=origin.test=bob@first.test",
        "SRS0+AbCd=XY=origin.test=bob@first.test",
        "SRS1=AbCd=first.test==EfGh=XY=origin.test=bob@second.test",
        "x@a-very-long-name-of-a-host.in-a-long-domain.of-the-world.test",
    ] {
        let (mine, theirs) =
            (ours("srs-forward", sender).await.unwrap(), peer.answer(0, sender).await.unwrap());
        // The domain's case is the sender's in PostSRSd, folded here; nothing else differs.
        assert_eq!(mine.to_lowercase(), theirs.to_lowercase(), "{sender}");
        let (read_by_peer, read_by_us) = (peer.answer(1, &mine).await, ours("srs-reverse", &theirs).await);
        assert!(read_by_peer.is_some(), "{mine}");
        assert_eq!(read_by_peer.map(|a| a.to_lowercase()), read_by_us.map(|a| a.to_lowercase()), "{mine}");
        let folded = theirs.to_lowercase();
        assert!(ours("srs-reverse", &folded).await.is_some(), "{folded}");
    }
    for forged in
        ["SRS0=AAAA=AA=foreign.test=bob@example.com", "SRS1=AAAA=first.test==AbCd=XY=o.test=bob@example.com"]
    {
        assert_eq!(
            (ours("srs-reverse", forged).await, peer.answer(1, forged).await),
            (None, None),
            "{forged}"
        );
    }
    instance.stop().await;
}
