//! A stock Dovecot as the peer, 2.3 or 2.4, whichever is installed: imap-login, imap, pop3, managesieve, lmtp and doveadm of a private
//! instance on loopback ports, without any auth process of its own. What is asserted is what a mail program, Postfix or the operator sees.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::instance::{Instance, plain, soon, until};
use crate::ports::free_port;

/// A running Dovecot, with our daemon behind it.
pub struct Dovecot {
    pub gatepost: Instance,
    directory: tempfile::TempDir,
    ports: [u16; 5],
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
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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

#[tokio::test(flavor = "multi_thread")]
async fn imap_lets_in_whom_it_should_and_nobody_else() {
    let dovecot = Dovecot::start(release().configuration()).await;
    dovecot.sql("INSERT INTO users (local, domain) VALUES ('nopass', 'example.com')").await;
    // Every way to say it.
    let initial = plain("alice@example.com", "alice123");
    let login = ["YWxpY2VAZXhhbXBsZS5jb20=", "YWxpY2UxMjM="];
    for (command, more) in [
        ("LOGIN alice@example.com alice123", &[][..]),
        ("LOGIN ALICE@Example.com alice123", &[]),
        (&format!("AUTHENTICATE PLAIN {initial}"), &[]),
        ("AUTHENTICATE PLAIN", &[initial.as_str()]),
        ("AUTHENTICATE LOGIN", &login),
    ] {
        let mut imap = dovecot.imap().await;
        let answer = imap.command_with(command, more).await;
        assert!(
            answer.contains(" OK ") && answer.contains("Logged in"),
            "{command}: {answer}\n{}",
            dovecot.log()
        );
        assert!(imap.command("SELECT INBOX").await.contains("0 EXISTS"), "{}", dovecot.log());
    }
    // The canonical name is the user's name, so there is one home.
    assert!(dovecot.path("mail/example.com/alice/Maildir").is_dir());
    assert_eq!(std::fs::read_dir(dovecot.path("mail/example.com")).unwrap().count(), 1);
    let mut answers = Vec::new();
    for (user, password) in [
        ("alice@example.com", "wrong"),
        ("nobody@example.com", "alice123"),
        ("nopass@example.com", "alice123"),
        ("boss@example.com", "alice123"),
        ("alice", "alice123"),
        ("alice@example.com", "\"\""),
    ] {
        let answer = dovecot.imap().await.command(&format!("LOGIN {user} {password}")).await;
        assert!(answer.contains(" NO [AUTHENTICATIONFAILED] Authentication failed."), "{user}: {answer}");
        answers.push(answer);
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "refusals differ: {answers:?}");
    // Wrong, and then right, on one connection.
    let mut imap = dovecot.imap().await;
    assert!(imap.command("LOGIN bob@example.com no").await.contains(" NO "));
    assert!(imap.command("LOGIN bob@example.com bob123").await.contains(" OK "));
    let processes = dovecot.processes();
    assert!(
        processes.iter().any(|name| name == "imap") || processes.iter().any(|name| name == "imap-login"),
        "{processes:?}"
    );
    assert!(!processes.iter().any(|name| name == "auth"), "Dovecot has an auth process: {processes:?}");
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"ok\"}"), 6);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"wrong-password\"}"), 3);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"no-password\"}"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_never_a_wrong_password() {
    let dovecot = Dovecot::start(release().configuration()).await;
    drop(dovecot.imap_as("alice@example.com", "alice123").await);
    dovecot.gatepost.database.take_away().await;
    // bob was never seen; alice's hash is still known, and counts.
    for (user, password) in
        [("bob@example.com", "bob123"), ("bob@example.com", "wrong"), ("nobody@example.com", "x")]
    {
        let answer = dovecot.imap().await.command(&format!("LOGIN {user} {password}")).await;
        assert!(answer.contains(" NO [UNAVAILABLE] "), "{user}: {answer}");
    }
    drop(dovecot.imap_as("alice@example.com", "alice123").await);
    let answer = dovecot.imap().await.command("LOGIN alice@example.com wrong").await;
    assert!(answer.contains("[AUTHENTICATIONFAILED]"), "{answer}");
    dovecot.gatepost.database.give_back().await;
    until("bob may in", async || {
        dovecot.imap().await.command("LOGIN bob@example.com bob123").await.contains(" OK ")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pop3_managesieve_and_submission_log_in_too() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let mut pop3 = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[1])).await.unwrap());
    assert!(pop3.hear().await.starts_with("+OK"));
    assert!(pop3.ask("USER bob@example.com").await.starts_with("+OK"));
    assert!(pop3.ask("PASS wrong").await.starts_with("-ERR [AUTH] Authentication failed."));
    assert!(pop3.ask("USER bob@example.com").await.starts_with("+OK"));
    let answer = pop3.ask("PASS bob123").await;
    assert!(answer.starts_with("+OK Logged in."), "{answer}\n{}", dovecot.log());
    assert_eq!(pop3.ask("STAT").await, "+OK 0 0");

    let mut sieve = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[2])).await.unwrap());
    while !sieve.hear().await.starts_with("OK") {}
    let wrong = plain("carl@123qwe.com", "wrong");
    assert!(sieve.ask(&format!("AUTHENTICATE \"PLAIN\" \"{wrong}\"")).await.starts_with("NO"));
    let right = plain("carl@123qwe.com", "carl123");
    let answer = sieve.ask(&format!("AUTHENTICATE \"PLAIN\" \"{right}\"")).await;
    assert!(answer.starts_with("OK"), "{answer}\n{}", dovecot.log());
    assert!(sieve.ask("LISTSCRIPTS").await.starts_with("OK"));

    let mut submission = Talk::new(TcpStream::connect(("127.0.0.1", dovecot.ports[3])).await.unwrap());
    assert!(submission.hear().await.starts_with("220"));
    submission.say("EHLO test").await;
    while !submission.hear().await.starts_with("250 ") {}
    let wrong = plain("bob@example.com", "wrong");
    assert!(submission.ask(&format!("AUTH PLAIN {wrong}")).await.starts_with("535"));
    let right = plain("bob@example.com", "bob123");
    let answer = submission.ask(&format!("AUTH PLAIN {right}")).await;
    assert!(answer.starts_with("235"), "{answer}\n{}", dovecot.log());
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"submission\",result=\"ok\"}"), 1);
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"sieve\",result=\"ok\"}"), 1);
}

/// One login process serves all clients over one connection, its requests in the middle of each other (Dovecot's "high-performance mode").
#[tokio::test(flavor = "multi_thread")]
async fn one_login_process_for_all_is_answered_in_any_order() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let configuration = std::fs::read_to_string(dovecot.path("dovecot.conf")).unwrap();
    let many_clients = match release() {
        Release::V2_3 => "service_count = 0",
        Release::V2_4 => "restart_request_count = unlimited",
    };
    let one = format!("service imap-login {{\n  {many_clients}\n  process_limit = 1\n  client_limit = 1000");
    std::fs::write(dovecot.path("dovecot.conf"), configuration.replace("service imap-login {", &one))
        .unwrap();
    let (ok, text) = dovecot.tool(&["reload"]).await;
    assert!(ok, "{text}");
    let mut waiting = Vec::new();
    for number in 0..30 {
        let mut imap = dovecot.imap().await;
        let (password, expected) =
            if number % 3 == 0 { ("wrong", "[AUTHENTICATIONFAILED]") } else { ("bob123", "Logged in") };
        waiting.push(tokio::spawn(async move {
            let answer = imap.command(&format!("LOGIN bob@example.com {password}")).await;
            assert!(answer.contains(expected), "{number}: {answer}");
            imap
        }));
    }
    let mut open = Vec::new();
    for talk in waiting {
        open.push(talk.await.unwrap());
    }
    let login_processes = dovecot.processes().iter().filter(|name| *name == "imap-login").count();
    assert_eq!(login_processes, 1, "{:?}", dovecot.processes());
    for imap in open.iter_mut().skip(1).step_by(3) {
        assert!(imap.command("SELECT INBOX").await.contains(" OK "));
    }
    assert_eq!(dovecot.gatepost.metric("logins_total{service=\"imap\",result=\"ok\"}"), 20);
}

/// What Postfix hears at RCPT.
pub async fn rcpt(dovecot: &Dovecot, recipient: &str) -> String {
    let mut lmtp = Talk::new(UnixStream::connect(dovecot.path("run/lmtp")).await.unwrap());
    assert!(lmtp.hear().await.starts_with("220"));
    lmtp.say("LHLO test").await;
    while !lmtp.hear().await.starts_with("250 ") {}
    assert!(lmtp.ask("MAIL FROM:<x@elsewhere.test>").await.starts_with("250"));
    let answer = lmtp.ask(&format!("RCPT TO:<{recipient}>")).await;
    if answer.starts_with("250") {
        assert!(lmtp.ask("DATA").await.starts_with("354"));
        lmtp.say("Subject: hello\r\n\r\nhello\r\n.").await;
        let saved = lmtp.hear().await;
        assert!(saved.starts_with("250"), "{saved}\n{}", dovecot.log());
    }
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn lmtp_delivers_refuses_and_defers() {
    let dovecot = Dovecot::start(release().configuration()).await;
    assert!(rcpt(&dovecot, "alice@example.com").await.starts_with("250 2.1.5"), "{}", dovecot.log());
    assert!(rcpt(&dovecot, "Alice+news@Example.com").await.starts_with("250 2.1.5"), "{}", dovecot.log());
    let answer = rcpt(&dovecot, "nobody@example.com").await;
    assert!(answer.starts_with("550 5.1.1"), "{answer}");
    let answer = dovecot.imap_as("alice@example.com", "alice123").await.command("SELECT INBOX").await;
    assert!(answer.contains("* 2 EXISTS"), "{answer}");
    until("all mailboxes are in memory", async || dovecot.gatepost.parts.directory.kept().is_some()).await;
    dovecot.gatepost.database.take_away().await;
    let mut answer = String::new();
    until("nobody is unknown any more", async || {
        answer = rcpt(&dovecot, "nobody@example.com").await;
        !answer.starts_with("550 5.1.1")
    })
    .await;
    assert!(answer.starts_with("451 4.3.0"), "{answer}");
    // Nobody has asked for bob yet.
    for recipient in ["alice@example.com", "bob@example.com"] {
        assert!(rcpt(&dovecot, recipient).await.starts_with("250 2.1.5"), "{recipient}: {}", dovecot.log());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn doveadm_asks_and_is_answered() {
    let dovecot = Dovecot::start(release().configuration()).await;
    let (ok, text) = dovecot.tool(&["user", "Alice@Example.com"]).await;
    let home = dovecot.path("mail/example.com/alice").display().to_string();
    assert!(ok && text.contains("uid\t") && text.contains(&format!("home\t{home}")), "{text}");
    let (ok, text) = dovecot.tool(&["user", "nobody@example.com"]).await;
    assert!(!ok && text.contains("doesn't exist"), "{text}");
    let (ok, text) = dovecot.tool(&["user", "*"]).await;
    assert_eq!((ok, text.as_str()), (true, "carl@123qwe.com\nalice@example.com\nbob@example.com\n"));
    let (ok, text) = dovecot.tool(&["user", "*@123qwe.com"]).await;
    assert_eq!((ok, text.as_str()), (true, "carl@123qwe.com\n"));
    let login = dovecot.gatepost.socket("login").display().to_string();
    for (password, expected) in [("alice123", true), ("wrong", false)] {
        let (ok, text) = dovecot.tool(&["auth", "test", "-a", &login, "alice@example.com", password]).await;
        assert_eq!(ok, expected, "{text}");
        assert!(text.contains(if expected { "auth succeeded" } else { "auth failed" }), "{text}");
    }
    // The same and what a mail process asks afterwards.
    let master = dovecot.gatepost.socket("master").display().to_string();
    let log_in = async |password: &str| {
        let sockets = ["auth", "login", "-a", &login, "-m", &master];
        dovecot.tool(&[&sockets[..], &["alice@example.com", password]].concat()).await
    };
    let (ok, text) = log_in("alice123").await;
    assert!(ok && text.contains("auth succeeded") && text.contains(&format!("home={home}")), "{text}");
    let (ok, text) = log_in("wrong").await;
    assert!(!ok && text.contains("auth failed"), "{text}");
    let userdb = dovecot.gatepost.socket("userdb").display().to_string();
    let (ok, text) = dovecot.tool(&["auth", "lookup", "-a", &userdb, "ALICE@example.com"]).await;
    assert!(ok && text.contains("alice@example.com"), "{text}");
    assert!(!text.contains("argon2"), "{text}");
    let (ok, _) = dovecot.tool(&["auth", "lookup", "-a", &userdb, "nobody@example.com"]).await;
    assert!(!ok);
    let (ok, text) = dovecot.tool(&["auth", "cache", "flush", "-a", &userdb]).await;
    assert!(ok && text.contains("cache entries flushed"), "{text}");
    let (ok, text) = dovecot.tool(&["mailbox", "list", "-A"]).await;
    assert!(ok && text.matches("INBOX").count() == 3, "{text}\n{}", dovecot.log());
    dovecot.gatepost.database.take_away().await;
    until("nobody is unknown any more", async || {
        let (ok, text) = dovecot.tool(&["user", "dora@example.com"]).await;
        !ok && !text.contains("doesn't exist")
    })
    .await;
    let (ok, text) = dovecot.tool(&["user", "*"]).await;
    assert!(!ok, "an incomplete list counts as whole: {text}");
}
