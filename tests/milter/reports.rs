//! DMARC aggregate reports (RFC 9990): messages on the wire become rows in SQL, rows become a mail that a Postfix takes, once. The
//! SMTP server is this test, line by line; DNS and the calendar are the only things that are not real.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatepost::dmarc::report::{Alignedness, Disposition};
use gatepost::dmarc::{read, unpack};
use gatepost::store::schema;

use crate::daemon::{Daemon, Peer};
use crate::dns::Dns;
use crate::postgres::Database;
use crate::signatures::Key;
use crate::waiting::until_rows;

const ZONE: &str = "client.test TXT v=spf1 ip4:192.0.2.1 -all\n\
    _dmarc.client.test TXT v=DMARC1; p=reject; sp=quarantine; fo=1; rua=mailto:agg@client.test!10m\n\
    _dmarc.mute.test TXT v=DMARC1; p=none\n\
    _dmarc.asks.test TXT v=DMARC1; p=none; rua=mailto:asks@third.test,mailto:agg@client.test\n\
    asks.test._report._dmarc.third.test TXT v=DMARC1\n";

async fn database() -> Database {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    schema::install(&mut connection, true, &[]).await.unwrap();
    database
}

fn start(database: &Database, dns: &Dns, reports: &str) -> Daemon {
    Daemon::start(
        "",
        &format!("[milter.reports]\nflush = \"200ms\"\n{reports}\n{}\n{}", database.toml(), dns.toml()),
    )
}

const FROM: &str = "from = \"dmarc-reports@example.com\"\norganization = \"Example\"\nextra-contact = \"https://example.com/dmarc\"";

/// One message from outside with that From domain, to these recipients.
fn message(daemon: &Daemon, sender: &str, from: &str, recipients: &[&str]) -> u8 {
    let mut peer = daemon.connect();
    peer.negotiate();
    peer.greet();
    peer.ask(format!("M<{sender}>\0").as_bytes(), b"c");
    for recipient in recipients {
        peer.ask(format!("R<{recipient}>\0").as_bytes(), b"c");
    }
    peer.ask(b"T", b"c");
    peer.message(&[("From", &format!(" x@{from}")), ("Subject", " hello")], b"hello\r\n");
    peer.end_of_message().pop().unwrap()[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_in_is_counted() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let daemon = start(&database, &dns, FROM);
    for _ in 0..3 {
        assert_eq!(message(&daemon, "a@client.test", "client.test", &["alice@example.com"]), b'c');
    }
    message(&daemon, "", "client.test", &["alice@example.com"]);
    // Refused by DMARC; counted all the same.
    assert_eq!(
        message(&daemon, "a@other.test", "client.test", &["alice@example.com", "bob@example.com"]),
        b'y'
    );
    // Nobody asked, or there is no record; and what is written to our own reports is in none.
    message(&daemon, "a@client.test", "mute.test", &["alice@example.com"]);
    message(&daemon, "a@client.test", "norecord.test", &["alice@example.com"]);
    message(&daemon, "a@client.test", "client.test", &["dmarc-reports@example.com"]);
    message(&daemon, "a@asks.test", "asks.test", &["dmarc-reports@example.com", "alice@example.com"]);
    until_rows(
        "rows",
        &database,
        "SELECT domain, host(source), header_from, envelope_from, disposition, dkim_aligned, spf_aligned, spf_domain, spf_result, messages
         FROM gatepost.dmarc_rows ORDER BY domain, messages, disposition",
        "asks.test|192.0.2.1|asks.test|asks.test|none|f|f|asks.test|none|1\n\
         client.test|192.0.2.1|client.test||none|f|t|client.test|pass|1\n\
         client.test|192.0.2.1|client.test|other.test|reject|f|f|other.test|none|1\n\
         client.test|192.0.2.1|client.test|client.test|none|f|t|client.test|pass|3",
    )
    .await;
}

/// What is to come again counts when it has come.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_greylisted_counts_once() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let greylist = "[milter.actions]\ngreylist = 0.1\ngreylist-delay = \"1s\"";
    let mut daemon = start(&database, &dns, &format!("{FROM}\n{greylist}"));
    let send = || message(&daemon, "a@other.test", "asks.test", &["alice@example.com"]);
    assert_eq!(send(), b'y');
    assert!(daemon.log().contains("action=\"soft reject\""), "{}", daemon.log());
    while send() == b'y' {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    daemon.terminate();
    assert!(daemon.wait().success());
    until_rows("one", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_collected_until_there_is_a_sender() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let daemon = start(&database, &dns, "");
    message(&daemon, "a@client.test", "client.test", &["alice@example.com"]);
    // A second daemon on the same database counts; by then the first would have.
    let other = start(&database, &dns, FROM);
    message(&other, "a@client.test", "client.test", &["alice@example.com"]);
    until_rows("one", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "1").await;
    // What is counted and not written is written at the end.
    let mut third = Daemon::start(
        "",
        &format!("[milter.reports]\nflush = \"10m\"\n{FROM}\n{}\n{}", database.toml(), dns.toml()),
    );
    message(&third, "a@client.test", "client.test", &["alice@example.com"]);
    third.terminate();
    assert!(third.wait().success());
    until_rows("two", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_wait_for_the_database() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let daemon = start(&database, &dns, FROM);
    message(&daemon, "a@client.test", "client.test", &["alice@example.com"]);
    until_rows("one", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "1").await;
    database.take_away().await;
    for _ in 0..5 {
        assert_eq!(message(&daemon, "a@client.test", "client.test", &["alice@example.com"]), b'c');
    }
    daemon.wait_for_log("cannot count for DMARC reports now");
    database.give_back().await;
    until_rows("all", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "6").await;
}

/// What a mail server does with a mail.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Take,
    /// 450 for every recipient.
    Later,
    /// 550 for the recipient of that domain.
    Refuse(&'static str),
    /// Never answers DATA.
    HangBefore,
    /// Never answers the last line.
    HangAfter,
    /// Closes instead of answering the last line.
    Close,
}

/// A mail as it was taken.
struct Taken {
    sender: String,
    recipients: Vec<String>,
    content: String,
    /// What the milter made of it: the frames of its answer.
    edits: Vec<Vec<u8>>,
}

/// Postfix's part: an SMTP server that shows each mail to the milter, as the client's address and port came in.
struct Mta {
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    seen: Arc<Mutex<Vec<String>>>,
    milter: Arc<Mutex<Option<PathBuf>>>,
}

impl Mta {
    fn serve(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mta = Self {
            port: listener.local_addr().unwrap().port(),
            taken: Arc::default(),
            seen: Arc::default(),
            milter: Arc::default(),
        };
        let (taken, seen, milter) = (Arc::clone(&mta.taken), Arc::clone(&mta.seen), Arc::clone(&mta.milter));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (taken, seen, milter) = (Arc::clone(&taken), Arc::clone(&seen), Arc::clone(&milter));
                std::thread::spawn(move || {
                    let socket = milter.lock().unwrap().clone();
                    let _ = session(stream.unwrap(), manner, socket.as_deref(), &taken, &seen);
                });
            }
        });
        mta
    }

    fn reports(&self) -> String {
        format!("smtp = \"127.0.0.1:{}\"\n{FROM}", self.port)
    }

    fn wait_for(&self, line: &str) {
        let end = Instant::now() + Duration::from_secs(60);
        while !self.seen.lock().unwrap().iter().any(|seen| seen == line) {
            assert!(Instant::now() < end, "never {line}: {:?}", self.seen.lock().unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn session(
    mut stream: TcpStream,
    manner: Manner,
    milter: Option<&Path>,
    taken: &Mutex<Vec<Taken>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let client = stream.peer_addr()?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let (mut sender, mut recipients) = (String::new(), Vec::new());
    let hang = || loop {
        std::thread::sleep(Duration::from_secs(1));
    };
    stream.write_all(b"220-mx.example.com\r\n220 ESMTP\r\n")?;
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        seen.lock().unwrap().push(line.split_whitespace().next().unwrap_or_default().to_owned());
        let answer: &str = match line.split([' ', ':']).next().unwrap_or_default() {
            "EHLO" => "250-mx.example.com\r\n250-PIPELINING\r\n250 SIZE 1000000",
            "MAIL" => {
                sender = line;
                "250 2.1.0 Ok"
            }
            "RCPT" if manner == Manner::Later => "450 4.3.2 Not now",
            "RCPT" => match manner {
                Manner::Refuse(domain) if line.contains(domain) => "550 5.1.1 Unknown",
                _ => {
                    recipients.push(line);
                    "250 2.1.5 Ok"
                }
            },
            "DATA" if manner == Manner::HangBefore => hang(),
            "DATA" => {
                stream.write_all(b"354 End data with <CR><LF>.<CR><LF>\r\n")?;
                let mut content = String::new();
                loop {
                    let mut line = String::new();
                    if lines.read_line(&mut line)? == 0 {
                        seen.lock().unwrap().push("cut off".to_owned());
                        return Ok(());
                    }
                    if line == ".\r\n" {
                        break;
                    }
                    content.push_str(line.strip_prefix('.').unwrap_or(&line));
                }
                seen.lock().unwrap().push("the end".to_owned());
                match manner {
                    Manner::HangAfter => {
                        hang();
                    }
                    Manner::Close => return Ok(()),
                    _ => {}
                }
                let edits =
                    milter.map(|socket| judged(socket, client, &sender, &content)).unwrap_or_default();
                taken.lock().unwrap().push(Taken {
                    sender: std::mem::take(&mut sender),
                    recipients: std::mem::take(&mut recipients),
                    content,
                    edits,
                });
                "250 2.0.0 Ok: queued as 4XyZ"
            }
            "QUIT" => {
                stream.write_all(b"221 2.0.0 Bye\r\n")?;
                return Ok(());
            }
            other => panic!("unexpected command {other}"),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes())?;
    }
}

/// Shows a mail to the milter as Postfix does.
fn judged(socket: &Path, client: std::net::SocketAddr, sender: &str, content: &str) -> Vec<Vec<u8>> {
    let mut peer = Peer::new(UnixStream::connect(socket).unwrap());
    peer.negotiate();
    assert!(peer.send(b"DCj\0mx.example.com\0{daemon_port}\x0025\0"));
    let mut connect = b"Clocalhost\x004".to_vec();
    connect.extend_from_slice(&client.port().to_be_bytes());
    connect.extend_from_slice(format!("{}\0", client.ip()).as_bytes());
    peer.ask(&connect, b"c");
    peer.ask(b"Hmx.example.com\0", b"c");
    let sender = &sender[sender.find('<').unwrap()..];
    peer.ask(format!("M{sender}\0").as_bytes(), b"c");
    peer.ask(b"R<agg@client.test>\0", b"c");
    peer.ask(b"T", b"c");
    let (head, body) = content.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", "\n ").replace("\r\n\t", "\n\t");
    let fields: Vec<(&str, &str)> = head.lines().fold(Vec::new(), |mut fields: Vec<(&str, &str)>, line| {
        if let Some((name, value)) = line.split_once(':').filter(|_| !line.starts_with([' ', '\t'])) {
            fields.push((name, value));
        }
        fields
    });
    peer.message(&fields, body.as_bytes());
    peer.end_of_message()
}

/// What was seen yesterday, without waiting for it.
async fn yesterday(database: &Database) {
    database.sql("UPDATE gatepost.dmarc_reports SET day = day - 1, due_at = now()").await;
}

async fn collected(daemon: &Daemon, database: &Database) {
    for _ in 0..2 {
        message(daemon, "a@client.test", "client.test", &["alice@example.com"]);
    }
    message(daemon, "a@asks.test", "asks.test", &["alice@example.com"]);
    until_rows("collected", database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "3").await;
    yesterday(database).await;
}

const STATES: &str = "SELECT domain, state FROM gatepost.dmarc_reports ORDER BY domain";

#[tokio::test(flavor = "multi_thread")]
async fn a_days_reports_go_out_signed_and_once() {
    let (database, mta) = (database().await, Mta::serve(Manner::Take));
    let key = Key::rsa();
    let dns = Dns::serve(&format!("{ZONE}k1._domainkey.example.com TXT {}\n", key.record));
    crate::signatures::activate(&database, "example.com", "k1", "rsa-sha256", &key).await;
    let one = start(&database, &dns, &mta.reports());
    let two = start(&database, &dns, &mta.reports());
    // Each daemon is asked about its own connections; whichever sends is asked, and the other knows nothing of it.
    *mta.milter.lock().unwrap() = Some(one.socket());
    collected(&one, &database).await;
    until_rows("sent", &database, STATES, "asks.test|sent\nclient.test|sent").await;
    drop(two);
    let details = database.sql("SELECT detail FROM gatepost.dmarc_reports WHERE domain = 'asks.test'").await;
    let taken = mta.taken.lock().unwrap();
    assert_eq!(taken.len(), 2);
    let of: BTreeMap<&str, &Taken> = taken
        .iter()
        .map(|mail| (if mail.content.contains("Report Domain: asks.test") { "asks" } else { "client" }, mail))
        .collect();
    for mail in &*taken {
        assert_eq!(mail.sender, "MAIL FROM:<dmarc-reports@example.com>");
        assert!(mail.content.contains("\r\nAuto-Submitted: auto-generated\r\n"));
    }
    // Outside of asks.test and authorised; agg@client.test has no record for asks.test.
    assert_eq!(of["asks"].recipients, ["RCPT TO:<asks@third.test>"]);
    assert_eq!(of["client"].recipients, ["RCPT TO:<agg@client.test>"]);
    let found = unpack::unpack(of["client"].content.as_bytes()).unwrap();
    let report = read::xml(&found[0].xml).unwrap();
    assert_eq!(report.metadata.organization, "Example");
    assert_eq!(report.metadata.end - report.metadata.begin, 86_399);
    assert_eq!(
        (report.policy.p, report.policy.sp),
        (Some(Disposition::Reject), Some(Disposition::Quarantine))
    );
    let record = &report.records[0];
    assert_eq!((record.count, record.disposition), (2, Disposition::Pass));
    assert_eq!((record.dkim, record.spf), (Alignedness::Fail, Alignedness::Pass));
    let lint = Command::new("xmllint")
        .args([
            "--noout",
            "--nonet",
            "--schema",
            concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/rfc9990.xsd"),
            "-",
        ])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut lint = lint.expect("xmllint is installed (package libxml2-utils)");
    lint.stdin.take().unwrap().write_all(&found[0].xml).unwrap();
    let said = lint.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert!(
        details.contains("to asks@third.test: 250 2.0.0 Ok: queued as 4XyZ")
            && details.contains("asks.test._report._dmarc.client.test has no TXT record"),
        "{details}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_milter_knows_its_own_mail_by_the_connection() {
    let (database, mta) = (database().await, Mta::serve(Manner::Take));
    let key = Key::rsa();
    let dns = Dns::serve(&format!("{ZONE}k1._domainkey.example.com TXT {}\n", key.record));
    crate::signatures::activate(&database, "example.com", "k1", "rsa-sha256", &key).await;
    let daemon = start(&database, &dns, &mta.reports());
    *mta.milter.lock().unwrap() = Some(daemon.socket());
    collected(&daemon, &database).await;
    until_rows("sent", &database, STATES, "asks.test|sent\nclient.test|sent").await;
    let has = |edits: &[Vec<u8>], name: &str| {
        edits.iter().any(|edit| edit.windows(name.len()).any(|at| at == name.as_bytes()))
    };
    let taken = mta.taken.lock().unwrap();
    for mail in &*taken {
        assert!(has(&mail.edits, "DKIM-Signature"), "{:?}", mail.edits);
        assert!(!has(&mail.edits, "Authentication-Results"));
    }
    // The same mail from any other client of this host is a stranger's.
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let edits = judged(&daemon.socket(), stranger, &taken[0].sender, &taken[0].content);
    assert!(!has(&edits, "DKIM-Signature"), "{edits:?}");
    assert!(has(&edits, "Authentication-Results"), "{edits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_mail_server_says_decides() {
    for (manner, expected, detail) in [
        (Manner::Later, "asks.test|collected\nclient.test|collected", "450 4.3.2 Not now"),
        (Manner::Refuse("client.test"), "asks.test|sent\nclient.test|failed", "550 5.1.1 Unknown"),
        (Manner::Close, "asks.test|unknown\nclient.test|unknown", "no answer from"),
    ] {
        let (database, dns, mta) = (database().await, Dns::serve(ZONE), Mta::serve(manner));
        let daemon = start(&database, &dns, &mta.reports());
        collected(&daemon, &database).await;
        let query = format!("{STATES}, tries");
        if manner == Manner::Later {
            until_rows("tried", &database, "SELECT min(tries) FROM gatepost.dmarc_reports", "1").await;
            until_rows(
                "released",
                &database,
                "SELECT count(*) FROM gatepost.dmarc_reports WHERE due_at > now() + interval '50 minutes'",
                "2",
            )
            .await;
        }
        until_rows("ended", &database, &query, expected).await;
        let details = database.sql("SELECT detail FROM gatepost.dmarc_reports").await;
        assert!(details.contains(detail), "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_end_another_host_sends_it() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let (hangs, takes) = (Mta::serve(Manner::HangBefore), Mta::serve(Manner::Take));
    let daemon = start(&database, &dns, &hangs.reports());
    message(&daemon, "a@client.test", "client.test", &["alice@example.com"]);
    until_rows("collected", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "1").await;
    yesterday(&database).await;
    hangs.wait_for("DATA");
    // Dropped is killed, with SIGKILL.
    drop(daemon);
    assert_eq!(database.sql(STATES).await, "client.test|claimed");
    database.sql("UPDATE gatepost.dmarc_reports SET changed_at = changed_at - interval '16 minutes'").await;
    let _daemon = start(&database, &dns, &takes.reports());
    until_rows("sent", &database, STATES, "client.test|sent").await;
    assert_eq!(takes.taken.lock().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_the_end_nobody_sends_it_again() {
    let (database, dns) = (database().await, Dns::serve(ZONE));
    let (hangs, takes) = (Mta::serve(Manner::HangAfter), Mta::serve(Manner::Take));
    let daemon = start(&database, &dns, &hangs.reports());
    message(&daemon, "a@client.test", "client.test", &["alice@example.com"]);
    until_rows("collected", &database, "SELECT sum(messages) FROM gatepost.dmarc_rows", "1").await;
    yesterday(&database).await;
    hangs.wait_for("the end");
    drop(daemon);
    assert_eq!(database.sql(STATES).await, "client.test|sending");
    database.sql("UPDATE gatepost.dmarc_reports SET changed_at = changed_at - interval '16 minutes'").await;
    let daemon = start(&database, &dns, &takes.reports());
    until_rows("doubted", &database, STATES, "client.test|unknown").await;
    daemon.wait_for_log("It is not sent again");
    assert_eq!(takes.taken.lock().unwrap().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_dns_a_report_waits_and_nobody_unasked_gets_one() {
    let (database, mta) = (database().await, Mta::serve(Manner::Take));
    let before = Dns::serve(ZONE);
    let daemon = start(&database, &before, FROM);
    collected(&daemon, &database).await;
    drop(daemon);
    database.sql("UPDATE gatepost.dmarc_reports SET due_at = now(), state = 'collected'").await;
    // Since then one has withdrawn its wish, and the other's server fails.
    let now = Dns::serve("_dmarc.client.test TXT SERVFAIL\n_dmarc.asks.test TXT v=DMARC1; p=none\n");
    let _daemon = start(&database, &now, &mta.reports());
    until_rows("ended", &database, STATES, "asks.test|unwanted\nclient.test|collected").await;
    until_rows(
        "released",
        &database,
        "SELECT domain FROM gatepost.dmarc_reports WHERE detail LIKE 'DNS does not answer%'",
        "client.test",
    )
    .await;
    assert_eq!(mta.taken.lock().unwrap().len(), 0);
}
