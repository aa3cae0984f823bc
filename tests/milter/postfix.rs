//! A real, private Postfix with our milter, the servers that it passes mail on to, and a client of it. Every login is right.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::daemon::Daemon;
use crate::ports::free_port;
use crate::private_postfix::{self, PrivatePostfix};

/// A message that arrived: the address it was for, and its bytes.
type Arrived = (String, Vec<u8>);

/// The next server on the way.
pub(crate) struct Server {
    pub(crate) port: u16,
    arrived: Arc<Mutex<Vec<Arrived>>>,
}

impl Server {
    pub(crate) fn start(eight_bit: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let place = Arc::clone(&arrived);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let place = Arc::clone(&place);
                // A client that leaves early is Postfix's affair.
                std::thread::spawn(move || serve(stream, eight_bit, &place).ok());
            }
        });
        Self { port, arrived }
    }

    pub(crate) fn wait_for(&self, number: usize, postfix: &Postfix) -> Vec<Arrived> {
        let end = Instant::now() + Duration::from_secs(180);
        loop {
            let arrived = self.arrived.lock().unwrap();
            if arrived.len() >= number {
                return arrived.clone();
            }
            assert!(Instant::now() < end, "{} of {number} arrived:\n{}", arrived.len(), postfix.log());
            drop(arrived);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn serve(stream: TcpStream, eight_bit: bool, place: &Mutex<Vec<Arrived>>) -> std::io::Result<()> {
    let mut out = stream.try_clone()?;
    let mut lines = BufReader::new(stream);
    let mut recipient = String::new();
    out.write_all(b"220 next.test ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match verb.as_str() {
            "EHLO" | "LHLO" if eight_bit => out.write_all(b"250-next.test\r\n250 8BITMIME\r\n")?,
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let message = data(&mut lines)?;
                place.lock().unwrap().push((recipient.clone(), message));
                out.write_all(b"250 taken\r\n")?;
            }
            "QUIT" => return out.write_all(b"221 bye\r\n"),
            _ => {
                if verb == "RCPT" {
                    recipient = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                }
                out.write_all(b"250 next.test\r\n")?;
            }
        }
    }
}

fn data(lines: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    loop {
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line)?;
        match line.as_slice() {
            b".\r\n" | b"" => return Ok(message),
            [b'.', rest @ ..] => message.extend_from_slice(rest),
            line => message.extend_from_slice(line),
        }
    }
}

/// A Postfix of its own, in a directory of its own.
pub(crate) struct Postfix {
    process: PrivatePostfix,
    pub(crate) port: u16,
    /// A second port, whose `Received:` fields are hidden as the README tells.
    pub(crate) hidden: u16,
}

impl Postfix {
    pub(crate) fn start(daemon: &Daemon, seven: &Server, eight: &Server) -> Self {
        open(daemon);
        Self::start_with(&main_cf(&daemon.socket(), seven.port, eight.port))
    }

    /// One with more lines in its main.cf. A milter's socket must be [`open`].
    pub(crate) fn start_with(main_cf: &str) -> Self {
        let [port, hidden] = [(); 2].map(|()| free_port());
        let process =
            PrivatePostfix::start(|_| main_cf.to_owned(), &master_cf(port, hidden), Command::new("postfix"));
        let postfix = Self { process, port, hidden };
        let end = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "Postfix does not listen:\n{}", postfix.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        postfix
    }

    pub(crate) fn log(&self) -> String {
        self.process.log()
    }

    /// A session of a client that has greeted.
    pub(crate) fn greet(&self, port: u16) -> Client<'_> {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Client { stream: BufReader::new(stream), postfix: self };
        client.expect("220");
        client.say("EHLO client.test", "250");
        client
    }

    /// A session of a client that is logged in as alice, on one of the two ports.
    pub(crate) fn login(&self, port: u16) -> Client<'_> {
        let mut client = self.greet(port);
        // NUL alice@example.com NUL x
        client.say("AUTH PLAIN AGFsaWNlQGV4YW1wbGUuY29tAHg=", "235");
        client
    }
}

pub(crate) struct Client<'a> {
    stream: BufReader<TcpStream>,
    postfix: &'a Postfix,
}

impl Client<'_> {
    pub(crate) fn say(&mut self, line: &str, answer: &str) {
        self.stream.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        self.expect(answer);
    }

    fn expect(&mut self, answer: &str) {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                assert!(line.starts_with(answer), "{line:?}, expected {answer}\n{}", self.postfix.log());
                return;
            }
        }
    }

    pub(crate) fn send(&mut self, recipients: &[&str], message: &[u8]) {
        self.send_from("alice@example.com", recipients, message);
    }

    pub(crate) fn send_from(&mut self, sender: &str, recipients: &[&str], message: &[u8]) {
        self.say(&format!("MAIL FROM:<{sender}> BODY=8BITMIME"), "250");
        for recipient in recipients {
            self.say(&format!("RCPT TO:<{recipient}>"), "250");
        }
        self.say("DATA", "354");
        let mut stuffed = Vec::with_capacity(message.len());
        for line in message.split_inclusive(|byte| *byte == b'\n') {
            if line.starts_with(b".") {
                stuffed.push(b'.');
            }
            stuffed.extend_from_slice(line);
        }
        if !stuffed.ends_with(b"\r\n") {
            stuffed.extend_from_slice(b"\r\n");
        }
        self.stream.get_mut().write_all(&stuffed).unwrap();
        self.say(".", "250");
    }
}

/// Lets Postfix, which is another user, reach a daemon's socket.
pub(crate) fn open(daemon: &Daemon) {
    private_postfix::open(daemon.directory(), 0o755);
    private_postfix::open(&daemon.socket(), 0o666);
}

fn main_cf(milter: &Path, seven: u16, eight: u16) -> String {
    let milter = milter.display();
    format!(
        "transport_maps = inline:{{ {{ seven.test = smtp:[127.0.0.1]:{seven} }}, {{ eight.test = smtp:[127.0.0.1]:{eight} }} }}
virtual_mailbox_domains = example.com
virtual_mailbox_maps = static:any
virtual_transport = lmtp:inet:127.0.0.1:{eight}
smtp_destination_recipient_limit = 1
smtpd_sasl_auth_enable = yes
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtpd_relay_restrictions = permit_sasl_authenticated, reject
smtpd_milters = unix:{milter}
milter_default_action = tempfail
message_size_limit = 52428800
"
    )
}

/// The second port has the lines of the README, "Privacy": what hides the first hop on Postfix 3.7.
fn master_cf(port: u16, hidden: u16) -> String {
    format!(
        "127.0.0.1:{port} inet n - n - - smtpd
127.0.0.1:{hidden} inet n - n - - smtpd
  -o cleanup_service_name=submission-cleanup
submission-cleanup unix n - n - 0 cleanup
  -o {{ header_checks = regexp:{{ {{/^Received: .* with (ESMTP|UTF8SMTP)S?A id / IGNORE}} }} }}
"
    )
}
