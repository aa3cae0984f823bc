//! A stock Dovecot as the peer, 2.3 or 2.4, whichever is installed: imap-login, imap, pop3, managesieve, lmtp and doveadm of a private
//! instance on loopback ports, without any auth process of its own. What is asserted is what a mail program, Postfix or the operator sees.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::instance::{Instance, soon, until};
use crate::ports::free_port;

/// A running Dovecot, with our daemon behind it.
pub struct Dovecot {
    pub gatepost: Instance,
    directory: tempfile::TempDir,
    pub ports: [u16; 5],
    process: Child,
}

impl Dovecot {
    /// Dovecot in the configuration of that file.
    pub async fn start(configuration: &str) -> Self {
        Self::start_with(configuration, "").await
    }

    /// The same, with more keys of `[dovecot-auth]`.
    pub async fn start_with(configuration: &str, more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        std::fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (uid, gid, users) = owners(dir);
        let mail = dir.join("mail");
        let (ports, sink) = ([(); 5].map(|()| free_port()), sink().await);
        let settings = format!(
            "listen-auth-policy = [\"inet:127.0.0.1:{}\"]\nuid = \"{uid}\"\ngid = \"{gid}\"\nhome = \"{}/{{domain}}/{{local}}\"\nshare-to-anyone = \"everybody\"\n{more}\n{FIELDS}",
            ports[4],
            mail.display()
        );
        let gatepost = Instance::with_schema(&settings).await;
        let examples = folder().join("../../../examples");
        let (own_auth, dict) =
            (examples.join(format!("dovecot-{configuration}")), examples.join("dovecot-2.3-own-auth.dict"));
        for (from, to) in [(folder().join(configuration), "dovecot.conf"), (dict, "dict.conf")] {
            let text = std::fs::read_to_string(from).unwrap();
            let own_auth = std::fs::read_to_string(&own_auth).unwrap_or_default();
            let filled = [
                ("@OWN_AUTH@", own_auth),
                // What is another's on a real host.
                ("/etc/dovecot/gatepost-auth.dict", dir.join("dict.conf").display().to_string()),
                ("/run/gatepost/dict-auth", gatepost.socket("dict-auth").display().to_string()),
                ("/run/postgresql", gatepost.database.socket().display().to_string()),
                ("user = mail_user", "user = postgres".to_owned()),
                ("dbname = mail_server", format!("dbname = {}", gatepost.database.name())),
                (
                    "5000 AS uid, 5000 AS gid, '/var/vmail/'",
                    format!("{uid} AS uid, {gid} AS gid, '{}/'", mail.display()),
                ),
                ("127.0.0.1:4001", format!("127.0.0.1:{}", ports[4])),
                ("@DIR@", dir.display().to_string()),
                ("@SOCKETS@", gatepost.directory().display().to_string()),
                ("@USERS@", users.clone()),
                ("@IMAP@", ports[0].to_string()),
                ("@POP3@", ports[1].to_string()),
                ("@SIEVE@", ports[2].to_string()),
                ("@SUBMISSION@", ports[3].to_string()),
                ("@SINK@", sink.to_string()),
            ]
            .into_iter()
            .fold(text, |text, (mark, value)| text.replace(mark, &value));
            std::fs::write(dir.join(to), filled).unwrap();
        }
        // managesieve has no option for it: it looks into its working directory.
        std::os::unix::fs::symlink(gatepost.socket("master"), dir.join("auth-master")).unwrap();
        let process = Command::new("dovecot")
            .args(["-F", "-c"])
            .arg(dir.join("dovecot.conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("dovecot is installed");
        let mut dovecot = Self { gatepost, directory, ports, process };
        until("dovecot listens", async || {
            if let Some(status) = dovecot.process.try_wait().unwrap() {
                panic!("dovecot ended: {status}\n{}", dovecot.log());
            }
            TcpStream::connect(("127.0.0.1", dovecot.ports[0])).await.is_ok()
        })
        .await;
        dovecot
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where its IMAP is.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// An IMAP connection, its greeting read.
    pub async fn imap(&self) -> Talk<TcpStream> {
        let mut talk = Talk::new(TcpStream::connect(("127.0.0.1", self.ports[0])).await.unwrap());
        let greeting = talk.hear().await;
        assert!(greeting.starts_with("* OK ") && greeting.contains("AUTH=PLAIN"), "{greeting}");
        talk
    }

    /// An IMAP connection of a user.
    pub async fn imap_as(&self, user: &str, password: &str) -> Talk<TcpStream> {
        let mut imap = self.imap().await;
        let answer = imap.command(&format!("LOGIN {user} {password}")).await;
        assert!(answer.contains(" OK "), "{answer}\n{}", self.log());
        imap
    }

    pub async fn tool(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("doveadm");
        command.arg("-c").arg(self.path("dovecot.conf")).args(arguments).stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub async fn sql(&self, statements: &str) -> String {
        let answer = self.gatepost.database.sql(statements).await;
        self.gatepost.parts.directory.flush();
        answer
    }

    /// The names of all processes that Dovecot has started.
    pub fn processes(&self) -> Vec<String> {
        let parent = self.process.id().to_string();
        let all = std::fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
            .filter(|stat| stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)) == Some(&parent))
            .filter_map(|stat| Some(stat.split_once('(')?.1.split_once(')')?.0.to_owned()))
            .collect()
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        for _ in 0..100 {
            if self.process.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A conversation in lines that end with CRLF.
pub struct Talk<S> {
    stream: BufReader<S>,
    tag: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream), tag: 0 }
    }

    pub async fn hear(&mut self) -> String {
        let mut line = String::new();
        soon("a line", self.stream.read_line(&mut line)).await.unwrap();
        line.trim_end().to_owned()
    }

    pub async fn say(&mut self, line: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).await.unwrap();
    }

    /// One line said, one heard.
    pub async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.hear().await
    }

    /// An IMAP command: everything up to its tagged answer. What the server asks for on the way (`+`) is answered with `more`.
    pub async fn command_with(&mut self, command: &str, more: &[&str]) -> String {
        self.tag += 1;
        let tag = format!("t{} ", self.tag);
        self.say(&format!("{tag}{command}")).await;
        let (mut all, mut more) = (String::new(), more.iter());
        loop {
            let line = self.hear().await;
            assert!(!line.is_empty() || !all.is_empty(), "the connection ended after {command}");
            all.push_str(&line);
            all.push('\n');
            if line.starts_with(&tag) {
                return all;
            }
            if line.starts_with('+') {
                self.say(more.next().unwrap_or_else(|| panic!("{command} asks for more: {line}"))).await;
            }
        }
    }

    pub async fn command(&mut self, command: &str) -> String {
        self.command_with(command, &[]).await
    }
}

/// The kinds of Dovecot that differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Release {
    V2_3,
    V2_4,
}

impl Release {
    pub fn configuration(self) -> &'static str {
        match self {
            Self::V2_3 => "2.3.conf",
            Self::V2_4 => "2.4.conf",
        }
    }
}

/// Which Dovecot is installed.
pub fn release() -> Release {
    let output = Command::new("dovecot").arg("--version").output().expect("dovecot is installed");
    match String::from_utf8_lossy(&output.stdout).as_ref() {
        version if version.starts_with("2.3.") => Release::V2_3,
        version if version.starts_with("2.4.") => Release::V2_4,
        version => panic!("this test knows no Dovecot {version}"),
    }
}

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/dovecot-auth/dovecot"))
}

/// uid and gid of the mail, whose directory is made, and Dovecot's settings of its own users. Started by root, Dovecot becomes its usual
/// users; started by anybody else, all is that user's.
fn owners(dir: &Path) -> (u32, u32, String) {
    let (own, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    std::fs::create_dir(dir.join("mail")).unwrap();
    if own.is_root() {
        let (uid, gid) = (5000, 5001);
        nix::unistd::chown(&dir.join("mail"), Some(uid.into()), Some(gid.into())).unwrap();
        return (uid, gid, String::new());
    }
    let user = nix::unistd::User::from_uid(own).unwrap().expect("a user with a name").name;
    let group_name = nix::unistd::Group::from_gid(group).unwrap().expect("a group with a name").name;
    let users = format!(
        "default_internal_user = {user}\ndefault_login_user = {user}\ndefault_internal_group = {group_name}"
    );
    (own.as_raw(), group.as_raw(), users)
}

/// For both versions; each ignores the other's.
const FIELDS: &str = r#"[dovecot-auth.fields]
quota_rule = "*:bytes={quota}"
"quota/User quota/quota_storage_size" = "{quota}B"
acl_groups = "{groups}"
"#;

/// An SMTP server that says yes: submission passes on what it gets. Its port.
async fn sink() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut talk = Talk::new(stream);
                talk.say("220 sink").await;
                loop {
                    let mut line = String::new();
                    match talk.stream.read_line(&mut line).await {
                        Ok(1..) => {
                            let _ = talk.stream.get_mut().write_all(b"250 yes\r\n").await;
                        }
                        _ => return,
                    }
                }
            });
        }
    });
    port
}
