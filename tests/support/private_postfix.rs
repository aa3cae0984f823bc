//! A real Postfix in a directory of its own; the tests say what it is for. Needs root, because Postfix does.
//!
//! The login server beside it says yes to everybody: whether a password is right is another daemon's affair.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

/// One that runs; it ends with this value.
pub(crate) struct PrivatePostfix {
    directory: tempfile::TempDir,
}

impl PrivatePostfix {
    /// Starts one by that command, `postfix` or what runs it elsewhere. What `main` makes for the directory stands behind [`main_cf`], where a
    /// later line counts, and `master`, which listens, before the services that every Postfix has.
    pub(crate) fn start(main: impl FnOnce(&Path) -> String, master: &str, mut command: Command) -> Self {
        let id = Command::new("id").arg("-u").output().unwrap();
        assert_eq!(
            id.stdout, b"0\n",
            "this test starts a private Postfix, which only root can: run it as root"
        );
        let directory = tempfile::Builder::new().prefix("gatepost-postfix.").tempdir().unwrap();
        let folder = directory.path();
        // Postfix's processes run as user postfix; they must get through.
        open(folder, 0o755);
        for (name, owner) in [("queue", "root"), ("data", "postfix"), ("log", "root")] {
            std::fs::create_dir(folder.join(name)).unwrap();
            run(Command::new("chown").arg(owner).arg(folder.join(name)));
        }
        let logins = UnixListener::bind(folder.join("auth")).unwrap();
        open(&folder.join("auth"), 0o666);
        std::thread::spawn(move || {
            for stream in logins.incoming().map_while(Result::ok) {
                // A client that leaves early is Postfix's affair.
                std::thread::spawn(move || say_yes(stream).ok());
            }
        });
        std::fs::write(folder.join("main.cf"), main_cf(folder) + &main(folder)).unwrap();
        std::fs::write(folder.join("master.cf"), format!("{master}{MASTER_CF}")).unwrap();
        run(command.arg("-c").arg(folder).arg("start"));
        Self { directory }
    }

    /// Where its files are.
    pub(crate) fn folder(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder().join("log/mail.log")).unwrap_or_default()
    }
}

impl Drop for PrivatePostfix {
    /// Also where a test failed: nothing may stay behind.
    fn drop(&mut self) {
        // postlogd may wait for itself when its queue is full, and then `postfix abort`, which logs, waits too: not for ever.
        let abort = ["-s", "KILL", "10", "postfix", "-c"];
        let _ = Command::new("timeout").args(abort).arg(self.folder()).arg("abort").output();
        if let Ok(master) = std::fs::read_to_string(self.folder().join("queue/pid/master.pid")) {
            let _ = Command::new("pkill").args(["-KILL", "-P", master.trim()]).output();
            let _ = Command::new("kill").args(["-KILL", master.trim()]).output();
        }
    }
}

/// Lets Postfix, which is another user, reach a file, socket or directory.
pub(crate) fn open(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What any of them has: directories of its own, loopback alone, no local mail, our login server.
fn main_cf(folder: &Path) -> String {
    let folder = folder.display();
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
smtpd_sasl_type = dovecot
smtpd_sasl_path = {folder}/auth
"
    )
}

const MASTER_CF: &str = "\
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
";

/// Dovecot's auth protocol as far as Postfix needs it: every PLAIN login is right.
fn say_yes(mut stream: UnixStream) -> std::io::Result<()> {
    stream.write_all(b"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")?;
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut fields = line.trim_end().split('\t');
        if fields.next() == Some("AUTH") {
            let number = fields.next().unwrap_or_default();
            let response = fields.find_map(|field| field.strip_prefix("resp=")).unwrap_or_default();
            let login = login_of(response)?;
            stream.write_all(format!("OK\t{number}\tuser={login}\n").as_bytes())?;
        }
    }
}

/// The login in a PLAIN response (RFC 4616): the text between the two NULs.
fn login_of(response: &str) -> std::io::Result<String> {
    let mut decode = Command::new("base64").arg("-d").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    decode.stdin.take().unwrap().write_all(response.as_bytes())?;
    let plain = decode.wait_with_output()?.stdout;
    Ok(String::from_utf8_lossy(plain.split(|byte| *byte == 0).nth(1).unwrap_or_default()).into_owned())
}
