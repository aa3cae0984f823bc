//! A private Postfix that asks the daemon of this process. Every login is right.

use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::instance::{Instance, soon, until};
use crate::ports::free_port;
use crate::private_postfix::{self, PrivatePostfix};

/// A Postfix of its own, in a directory of its own.
pub struct Postfix {
    process: PrivatePostfix,
    port: u16,
}

impl Postfix {
    /// Starts it beside an instance whose sockets it asks.
    pub async fn start(instance: &Instance) -> Self {
        Self::start_with(instance, "", "").await
    }

    /// The same with more lines in its main.cf, where a later line counts, and its master.cf.
    pub async fn start_with(instance: &Instance, main: &str, master: &str) -> Self {
        Self::start_on(instance, free_port(), main, master).await
    }

    /// The same on a port that is known before.
    pub async fn start_on(instance: &Instance, port: u16, main: &str, master: &str) -> Self {
        Self::start_as(instance.directory(), port, main, master, Command::new("postfix")).await
    }

    /// The same beside a daemon of another process, whose sockets `socketmap` and `policy` are in this directory.
    pub async fn start_beside(sockets: &Path, main: &str, master: &str) -> Self {
        Self::start_as(sockets, free_port(), main, master, Command::new("postfix")).await
    }

    /// The same in a mount namespace where this is `/etc/resolv.conf`.
    pub async fn start_resolving(instance: &Instance, main: &str, master: &str, resolv_conf: &Path) -> Self {
        let mut postfix = Command::new("unshare");
        postfix
            .args(["--mount", "sh", "-c", "mount --bind \"$0\" /etc/resolv.conf && exec postfix \"$@\""])
            .arg(resolv_conf);
        Self::start_as(instance.directory(), free_port(), main, master, postfix).await
    }

    async fn start_as(sockets: &Path, port: u16, main: &str, master: &str, command: Command) -> Self {
        private_postfix::open(sockets, 0o755);
        for endpoint in ["socketmap", "policy"] {
            private_postfix::open(&sockets.join(endpoint), 0o666);
        }
        let main = main_cf(sockets) + main;
        let master = format!("127.0.0.1:{port} inet n - n - - smtpd\n{master}");
        let process = PrivatePostfix::start(|_| main, &master, command);
        let postfix = Self { process, port };
        until("Postfix listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        postfix
    }

    /// One SMTP session: what is sent, and how the answer must begin. The first answer is the greeting.
    pub async fn session(&self, lines: &[(&str, &str)]) {
        let mut stream = BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await.unwrap());
        for (number, (send, expected)) in [("", "220 ")].iter().chain(lines).enumerate() {
            if number > 0 {
                stream.write_all(format!("{send}\r\n").as_bytes()).await.unwrap();
            }
            let answer = loop {
                let mut line = String::new();
                soon("an SMTP answer", stream.read_line(&mut line)).await.unwrap();
                if line.as_bytes().get(3) != Some(&b'-') {
                    break line;
                }
            };
            assert!(
                answer.starts_with(expected),
                "{send}: got {answer:?}, expected {expected}\n{}",
                self.log()
            );
        }
    }

    /// A message that waits in the queue, as `postcat` shows it, if one holds this text.
    pub fn queued(&self, text: &str) -> Option<String> {
        let find = Command::new("find")
            .arg(self.process.folder().join("queue"))
            .args(["-path", "*/[dhai]*/*", "-type", "f"])
            .output();
        let files = String::from_utf8(find.unwrap().stdout).unwrap();
        files.lines().find_map(|file| {
            let shown =
                Command::new("postcat").arg("-c").arg(self.process.folder()).arg(file).output().unwrap();
            Some(String::from_utf8_lossy(&shown.stdout).into_owned()).filter(|shown| shown.contains(text))
        })
    }

    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Its port for mail.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits for a delivery that the log tells of.
    pub async fn delivered(&self, to: &str) {
        until(&format!("{to} in the log:\n{}", self.log()), async || {
            self.log().lines().any(|line| line.contains(to) && line.contains("status=sent"))
        })
        .await;
    }

    pub async fn stop(self) {
        private_postfix::run(Command::new("postfix").arg("-c").arg(self.process.folder()).arg("stop"));
    }
}

fn main_cf(sockets: &Path) -> String {
    let (socketmap, policy) = (socketmap_in(sockets), sockets.join("policy"));
    let policy = policy.display();
    format!(
        "recipient_delimiter = +
virtual_alias_domains =
virtual_mailbox_domains = {socketmap}:domains
virtual_mailbox_maps = {socketmap}:mailboxes
virtual_alias_maps = {socketmap}:aliases
smtpd_sender_login_maps = {socketmap}:senders
virtual_transport = discard:
default_transport = discard:
smtpd_sasl_auth_enable = yes
smtpd_peername_lookup = no
smtpd_sender_restrictions = reject_sender_login_mismatch
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_data_restrictions = check_policy_service unix:{policy}
"
    )
}

pub fn socketmap(instance: &Instance) -> String {
    socketmap_in(instance.directory())
}

fn socketmap_in(sockets: &Path) -> String {
    format!("socketmap:unix:{}", sockets.join("socketmap").display())
}

/// `\0alice@example.com\0x` and `\0bob@example.com\0x`.
pub const ALICE: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHg=";
