//! The real daemon in a directory of its own, and a peer that speaks bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_gatepost-milter");

/// A running daemon; killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Starts a daemon. `milter` are keys of `[milter]`, `rest` further tables; `listen` and a name server that does not exist are
    /// given unless `rest` has a table `[dns]`.
    pub(crate) fn start(milter: &str, rest: &str) -> Self {
        Self::listening("", milter, rest)
    }

    /// A daemon that listens elsewhere too.
    pub(crate) fn listening(elsewhere: &str, milter: &str, rest: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("gatepost-milter.").tempdir().unwrap();
        let dns = if rest.contains("[dns]") { "" } else { NO_DNS };
        let deadline = if milter.contains("deadline = ") { "" } else { "deadline = \"4s\"" };
        // The peers of the tests do not come again; the greylist has tests of its own.
        let actions =
            if rest.contains("[milter.actions]") { "" } else { "[milter.actions]\ngreylist = \"off\"" };
        let config = format!(
            "[milter]\nlisten = [\"unix:{}\", {elsewhere}]\n{milter}\n{deadline}\n{actions}\n{dns}\n{rest}\n[log]\ntarget = \"stderr\"\n",
            directory.path().join("milter.sock").display()
        );
        let config = if rest.contains("[database]") {
            config
        } else {
            format!("{config}{}", no_database(directory.path()))
        };
        let file = directory.path().join("gatepost.toml");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(directory.path().join("log")).unwrap();
        let child = Command::new(BINARY)
            .arg("--config")
            .arg(&file)
            .arg("run")
            .stderr(log)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut daemon = Self { child, directory };
        daemon.wait_for_socket();
        daemon
    }

    fn wait_for_socket(&mut self) {
        let end = Instant::now() + Duration::from_secs(30);
        while UnixStream::connect(self.socket()).is_err() {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            assert!(Instant::now() < end, "the daemon does not listen:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("milter.sock")
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Rewrites the configuration: lines of these keys go, the given ones come.
    pub(crate) fn reconfigure(&self, keys: &[&str], lines: &str) {
        let file = self.directory.path().join("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let given: Vec<&str> = lines.lines().filter_map(|line| line.split_whitespace().next()).collect();
        let kept = text.lines().filter(|line| {
            let key = line.split_whitespace().next().unwrap_or_default();
            !keys.contains(&key) && !given.contains(&key)
        });
        let text = kept.collect::<Vec<_>>().join("\n").replacen("[milter]", &format!("[milter]\n{lines}"), 1);
        std::fs::write(&file, text).unwrap();
    }

    pub(crate) fn wait_for_log(&self, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "the log never says {text:?}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn connect(&self) -> Peer {
        Peer::new(UnixStream::connect(self.socket()).unwrap())
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn terminate(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// Waits for the end of a daemon that was told to end.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of the daemon:\n{}", self.log());
        }
    }
}

/// A server that refuses every packet at once: the discard port of the loopback device.
const NO_DNS: &str = "[dns]\nservers = [\"127.0.0.1:9\"]\ntimeout = \"50ms\"";

fn no_database(directory: &Path) -> String {
    format!("[database]\nhost = \"{}\"\n", directory.join("no-postgresql").display())
}

/// The MTA's end of a connection: frames by hand, none of our codec.
pub(crate) struct Peer {
    stream: Box<dyn Socket>,
    piece: usize,
}

trait Socket: Read + Write + Send {}

impl<T: Read + Write + Send> Socket for T {}

/// A peer that waits in vain is a failed test, not a hanging one.
const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

impl Peer {
    pub(crate) fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(PATIENCE).unwrap();
        Self { stream: Box::new(stream), piece: usize::MAX }
    }

    pub(crate) fn tcp(stream: TcpStream) -> Self {
        stream.set_read_timeout(PATIENCE).unwrap();
        Self { stream: Box::new(stream), piece: usize::MAX }
    }

    /// Writes in pieces of that many bytes.
    pub(crate) fn in_pieces(mut self, piece: usize) -> Self {
        self.piece = piece;
        self
    }

    /// Sends a frame; false when the other side has closed.
    pub(crate) fn send(&mut self, content: &[u8]) -> bool {
        let mut bytes = (content.len() as u32).to_be_bytes().to_vec();
        bytes.extend_from_slice(content);
        self.send_raw(&bytes)
    }

    /// Sends bytes as they are; false when the other side has closed.
    pub(crate) fn send_raw(&mut self, bytes: &[u8]) -> bool {
        bytes.chunks(self.piece.max(1)).all(|piece| self.stream.write_all(piece).is_ok())
    }

    /// The next frame without its length; none at the end.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        let mut read = 0;
        while read < 4 {
            match self.stream.read(&mut length[read..]) {
                Ok(0) if read == 0 => return None,
                Ok(0) => panic!("the connection ended inside a length"),
                Ok(bytes) => read += bytes,
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("{error}"),
            }
        }
        let mut content = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut content).unwrap();
        Some(content)
    }

    /// Sends a frame and expects a one-letter reply.
    pub(crate) fn ask(&mut self, content: &[u8], reply: &[u8]) {
        assert!(self.send(content), "closed before {}", content.escape_ascii());
        let found = self.receive();
        assert_eq!(
            found.as_deref().map(|found| found.escape_ascii().to_string()),
            Some(reply.escape_ascii().to_string()),
            "reply to {}",
            content.escape_ascii()
        );
    }

    /// Postfix's side of a session up to DATA, for a client without a login.
    pub(crate) fn begin(&mut self) {
        self.negotiate();
        self.greet();
        self.ask(b"M<sender@client.test>\0", b"c");
        self.ask(b"R<alice@example.com>\0", b"c");
        self.ask(b"T", b"c");
    }

    pub(crate) fn negotiate(&mut self) {
        assert!(self.send(b"O\0\0\0\x06\0\0\x01\xff\0\x1f\x0f\xff"));
        assert_eq!(self.receive().unwrap()[0], b'O');
    }

    pub(crate) fn greet(&mut self) {
        assert!(self.send(b"DCj\0mx.example.com\0{daemon_port}\x0025\0"));
        self.ask(b"Cclient.test\x004\x30\x39192.0.2.1\0", b"c");
        self.ask(b"Hclient.test\0", b"c");
    }

    /// Header fields (value with its leading space), the end of headers, a body.
    pub(crate) fn message(&mut self, headers: &[(&str, &str)], body: &[u8]) {
        for (name, value) in headers {
            assert!(self.send(format!("L{name}\0{value}\0").as_bytes()));
        }
        assert!(self.send(b"N"));
        for piece in body.chunks(65_535) {
            assert!(self.send(&[b"B", piece].concat()));
        }
    }

    /// Ends the message; the edits, and the final reply last.
    pub(crate) fn end_of_message(&mut self) -> Vec<Vec<u8>> {
        assert!(self.send(b"E"));
        let mut frames = Vec::new();
        loop {
            let frame = self.receive().expect("a final reply");
            let last = matches!(frame[0], b'c' | b'a' | b'd' | b'r' | b't' | b'y');
            if frame[0] != b'p' {
                frames.push(frame);
            }
            if last {
                return frames;
            }
        }
    }
}
