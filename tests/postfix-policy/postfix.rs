//! A private Postfix that asks the daemon of this process. Needs root, because Postfix does.
//!
//! The login server beside it is twenty lines that say yes to everybody: whether a password is right is another daemon's affair.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::instance::{Instance, soon, until};
use crate::ports::free_port;

/// A Postfix of its own, in a directory of its own.
pub struct Postfix {
    directory: tempfile::TempDir,
    port: u16,
    logins: JoinHandle<()>,
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

    async fn start_as(sockets: &Path, port: u16, main: &str, master: &str, mut command: Command) -> Self {
        assert!(nix_is_root(), "this test starts a private Postfix, which only root can: run it as root");
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path();
        // Postfix's processes run as user postfix; they must get through these directories.
        for open in [folder, sockets] {
            std::fs::set_permissions(open, PermissionsExt::from_mode(0o755)).unwrap();
        }
        for (name, owner) in [("queue", "root"), ("data", "postfix"), ("log", "root")] {
            std::fs::create_dir(folder.join(name)).unwrap();
            run(Command::new("chown").arg(owner).arg(folder.join(name)));
        }
        for endpoint in ["socketmap", "policy"] {
            std::fs::set_permissions(sockets.join(endpoint), PermissionsExt::from_mode(0o666)).unwrap();
        }
        let logins = UnixListener::bind(folder.join("auth")).unwrap();
        std::fs::set_permissions(folder.join("auth"), PermissionsExt::from_mode(0o666)).unwrap();
        std::fs::write(folder.join("main.cf"), format!("{}{main}", main_cf(folder, sockets))).unwrap();
        std::fs::write(folder.join("master.cf"), format!("{}{master}", master_cf(port))).unwrap();
        run(command.arg("-c").arg(folder).arg("start"));
        let postfix = Self { directory, port, logins: tokio::spawn(say_yes(logins)) };
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
            .arg(self.directory.path().join("queue"))
            .args(["-path", "*/[dhai]*/*", "-type", "f"])
            .output();
        let files = String::from_utf8(find.unwrap().stdout).unwrap();
        files.lines().find_map(|file| {
            let shown =
                Command::new("postcat").arg("-c").arg(self.directory.path()).arg(file).output().unwrap();
            Some(String::from_utf8_lossy(&shown.stdout).into_owned()).filter(|shown| shown.contains(text))
        })
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log/mail.log")).unwrap_or_default()
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
        run(Command::new("postfix").arg("-c").arg(self.directory.path()).arg("stop"));
        self.logins.abort();
    }
}

impl Drop for Postfix {
    /// Also where a test failed: nothing may stay behind.
    fn drop(&mut self) {
        // postlogd may wait for itself when its queue is full, and then `postfix abort`, which logs, waits too: not for ever.
        let abort = ["-s", "KILL", "10", "postfix", "-c"];
        let _ = Command::new("timeout").args(abort).arg(self.directory.path()).arg("abort").output();
        if let Ok(master) = std::fs::read_to_string(self.directory.path().join("queue/pid/master.pid")) {
            let _ = Command::new("pkill").args(["-KILL", "-P", master.trim()]).output();
            let _ = Command::new("kill").args(["-KILL", master.trim()]).output();
        }
    }
}

fn nix_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn main_cf(folder: &Path, sockets: &Path) -> String {
    let (folder, socketmap, policy) = (folder.display(), socketmap_in(sockets), sockets.join("policy"));
    let policy = policy.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/log/mail.log
maillog_file_prefixes = {folder}
myhostname = mx.example.com
mydestination =
mynetworks = 127.0.0.9/32
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
local_recipient_maps =
alias_maps =
alias_database =
recipient_delimiter = +
virtual_alias_domains =
virtual_mailbox_domains = {socketmap}:domains
virtual_mailbox_maps = {socketmap}:mailboxes
virtual_alias_maps = {socketmap}:aliases
smtpd_sender_login_maps = {socketmap}:senders
virtual_transport = discard:
default_transport = discard:
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
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

fn master_cf(port: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"
    )
}

/// Dovecot's auth protocol as far as Postfix needs it: every PLAIN login is right.
async fn say_yes(listener: UnixListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(say_yes_to(stream));
    }
}

async fn say_yes_to(mut stream: UnixStream) {
    stream
        .write_all(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
        .await
        .unwrap();
    let mut lines = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let mut fields = line.trim_end().split('\t');
        if fields.next() == Some("AUTH") {
            let number = fields.next().unwrap();
            let response = fields.find_map(|field| field.strip_prefix("resp=")).unwrap();
            let login = login_of(response).await;
            lines.write_all(format!("OK\t{number}\tuser={login}\n").as_bytes()).await.unwrap();
        }
    }
}

/// The login in a PLAIN response (RFC 4616): the text between the two NULs.
async fn login_of(response: &str) -> String {
    let mut decode = tokio::process::Command::new("base64")
        .arg("-d")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    decode.stdin.take().unwrap().write_all(response.as_bytes()).await.unwrap();
    let mut plain = Vec::new();
    decode.stdout.take().unwrap().read_to_end(&mut plain).await.unwrap();
    decode.wait().await.unwrap();
    String::from_utf8(plain.split(|byte| *byte == 0).nth(1).unwrap().to_vec()).unwrap()
}

/// `\0alice@example.com\0x` and `\0bob@example.com\0x`.
pub const ALICE: &str = "AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHg=";
