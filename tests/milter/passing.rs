//! Mail that we pass on, through two real Postfixes: the first has our milter and an alias that leads outside, the second is the next
//! server, with nothing of ours. What arrives behind both still has a chain that dkimpy validates. Needs root, because Postfix does.

use crate::arc::arc_verify;
use crate::conversations::UNREACHABLE;
use crate::daemon::Daemon;
use crate::dns::Dns;
use crate::postfix::{Postfix, Server, open};
use crate::postgres::Database;
use crate::signatures::{Key, activate};

const NAME: &str = "arc._domainkey.example.com";

/// What is the same in both.
fn main_cf(own: &str) -> String {
    format!(
        "smtpd_peername_lookup = no
smtp_dns_support_level = disabled
smtpd_relay_restrictions = reject_unauth_destination
{own}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_of_ours_holds_behind_the_next_server() {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    database
        .sql(
            "INSERT INTO gatepost.aliases (local, domain, destination) VALUES
                 ('friends', 'example.com', 'friend@elsewhere.test'), ('friends', 'example.com', 'alice@example.com')",
        )
        .await;
    let key = Key::rsa();
    activate(&database, "example.com", "arc", "rsa-sha256", &key).await;
    let dns = Dns::serve(&format!(
        "client.test TXT v=spf1 -all\n_dmarc.client.test TXT v=DMARC1; p=none\n{NAME} TXT {}\n",
        key.record
    ));
    let sealing = "[milter.arc]\nseal = \"leaving\"\nseal-domain = \"example.com\"\n";
    let daemon = Daemon::start(
        &format!("explain = false\n{UNREACHABLE}"),
        &format!("{}{}{sealing}", database.toml(), dns.toml()),
    );
    open(&daemon);
    let (mailboxes, outside) = (Server::start(true), Server::start(true));
    let second = Postfix::start_with(&main_cf(&format!(
        "myhostname = mx.elsewhere.test\nrelay_domains = elsewhere.test\n\
             relay_transport = smtp:[127.0.0.1]:{}\n",
        outside.port
    )));
    let first = Postfix::start_with(&main_cf(&format!(
        "smtpd_authorized_xclient_hosts = 127.0.0.1\n\
             virtual_mailbox_domains = example.com\nvirtual_mailbox_maps = static:any\nvirtual_transport = lmtp:inet:127.0.0.1:{}\n\
             virtual_alias_maps = inline:{{ {{ friends@example.com = friend@elsewhere.test, alice@example.com }} }}\n\
             transport_maps = inline:{{ elsewhere.test=smtp:[127.0.0.1]:{} }}\n\
             smtpd_milters = unix:{}\nmilter_default_action = tempfail\n",
        mailboxes.port,
        second.port,
        daemon.socket().display()
    )));
    let head = "From: Sender <sender@client.test>\r\nTo: friends@example.com\r\nDate: Sat, 21 Nov 2026 09:00:00 +0000\r\n";
    let plain = format!(
        "{head}Message-ID: <1@client.test>\r\nSubject: for  all\r\n of you\r\n\r\nHello  all. \r\n\r\n \r\n"
    );
    let eight = format!(
        "{head}Message-ID: <2@client.test>\r\nSubject: eight\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 8bit\r\n\r\ngr\u{fc}\u{df}e\r\n.dots\r\n"
    );
    let pass = |number: usize, message: &[u8]| {
        let mut client = first.greet(first.port);
        client.say("XCLIENT ADDR=192.0.2.7 NAME=mx.client.test", "220");
        client.say("EHLO mx.client.test", "250");
        client.send_from("sender@client.test", &["friends@example.com"], message);
        let (recipient, arrived) = outside.wait_for(number, &first).remove(number - 1);
        assert_eq!(recipient, "friend@elsewhere.test", "{}", second.log());
        arrived
    };
    let mut number = 0;
    for message in [&plain, &eight] {
        number += 1;
        let once = pass(number, message.as_bytes());
        let text = String::from_utf8_lossy(&once).into_owned();
        let hops = text.matches("\r\nReceived: ").count() + usize::from(text.starts_with("Received: "));
        assert!(hops == 2 && text.matches("\r\nARC-Seal:").count() == 1, "two servers and one seal:\n{text}");
        let said = arc_verify(&once, NAME, &key);
        assert!(said.contains("b'pass'"), "{said}\n{text}");
        // Around once more: the chain grows, and holds.
        number += 1;
        let twice = pass(number, &once);
        let text = String::from_utf8_lossy(&twice).into_owned();
        assert!(
            text.matches("\r\nARC-Seal:").count() == 2 && text.contains("cv=pass; d=example.com; i=2"),
            "{text}"
        );
        let said = arc_verify(&twice, NAME, &key);
        assert!(said.contains("b'pass'"), "{said}\n{text}");
        // That it can break is seen as well.
        let said = arc_verify(text.replace("friends@", "enemies@").as_bytes(), NAME, &key);
        assert!(!said.contains("b'pass'"), "{said}");
    }
}

/// `RCPT TO:<postmaster>` needs no domain (RFC 5321, 4.5.1): whose mail it is, Postfix says.
#[tokio::test(flavor = "multi_thread")]
async fn the_postmaster_has_settings_too() {
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    database
        .sql("INSERT INTO gatepost.settings (scope, name, value) VALUES ('example.com', 'rewrite-subject', '0.1')")
        .await;
    let dns = Dns::serve("client.test TXT v=spf1 -all\n");
    let daemon = Daemon::start(
        &format!("explain = false\n{UNREACHABLE}"),
        &format!("{}{}", database.toml(), dns.toml()),
    );
    open(&daemon);
    let mailboxes = Server::start(true);
    let postfix = Postfix::start_with(&main_cf(&format!(
        "myorigin = example.com\nsmtpd_authorized_xclient_hosts = 127.0.0.1\nvirtual_mailbox_domains = example.com\n\
             virtual_mailbox_maps = static:any\nvirtual_transport = lmtp:inet:127.0.0.1:{}\n\
             smtpd_milters = unix:{}\nmilter_default_action = tempfail\n",
        mailboxes.port,
        daemon.socket().display()
    )));
    let mut client = postfix.greet(postfix.port);
    client.say("XCLIENT ADDR=192.0.2.7 NAME=mx.client.test", "220");
    client.say("EHLO mx.client.test", "250");
    let message = b"From: Sender <sender@client.test>\r\nSubject: help\r\n\r\nHello.\r\n";
    client.send_from("sender@client.test", &["postmaster"], message);
    let (recipient, arrived) = mailboxes.wait_for(1, &postfix).remove(0);
    assert_eq!(recipient, "postmaster@example.com");
    let text = String::from_utf8_lossy(&arrived);
    assert!(text.contains("Subject: ***SPAM*** help"), "{text}\n{}", daemon.log());
}

/// `X-Gatepost-For` names recipients. The milter does not write it where a copy leaves; where it may, `examples/main.cf` takes it out.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_outside_reads_what_was_decided_for_others() {
    let example =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/main.cf")).unwrap();
    let header_checks = example.lines().find(|line| line.starts_with("smtp_header_checks =")).unwrap();
    let database = Database::create().await;
    let connection = gatepost::database::Database::new(&database.config(), "test").unwrap();
    let mut connection = connection.pool().acquire().await.unwrap();
    gatepost::store::schema::install(&mut connection, true, &[]).await.unwrap();
    database
        .sql(
            "INSERT INTO gatepost.aliases (local, domain, destination) VALUES ('friends', 'example.com', 'friend@elsewhere.test');
             INSERT INTO gatepost.settings (scope, name, value) VALUES ('bob@example.com', 'discard', '0.1')",
        )
        .await;
    let dns = Dns::serve("client.test TXT v=spf1 -all\n");
    let message = b"From: Sender <sender@client.test>\r\nTo: all@example.com\r\nSubject: of no date and no name\r\n\r\nHello all.\r\n";
    for (may_travel, header_checks) in [(false, ""), (true, header_checks)] {
        let actions = format!("[milter.actions]\ngreylist = \"off\"\nrecipients-may-travel = {may_travel}\n");
        let daemon = Daemon::start(
            &format!("explain = false\n{UNREACHABLE}"),
            &format!("{}{}{actions}", database.toml(), dns.toml()),
        );
        open(&daemon);
        let (mailboxes, outside) = (Server::start(true), Server::start(true));
        let postfix = Postfix::start_with(&main_cf(&format!(
            "smtpd_authorized_xclient_hosts = 127.0.0.1\n\
                 virtual_mailbox_domains = example.com\nvirtual_mailbox_maps = static:any\nvirtual_transport = lmtp:inet:127.0.0.1:{}\n\
                 virtual_alias_maps = inline:{{ {{ friends@example.com = friend@elsewhere.test }} }}\n\
                 transport_maps = inline:{{ elsewhere.test=smtp:[127.0.0.1]:{} }}\n{header_checks}\n\
                 smtpd_milters = unix:{}\nmilter_default_action = tempfail\n",
            mailboxes.port,
            outside.port,
            daemon.socket().display()
        )));
        let send = |recipients: &[&str]| {
            let mut client = postfix.greet(postfix.port);
            client.say("XCLIENT ADDR=192.0.2.7 NAME=mx.client.test", "220");
            client.say("EHLO mx.client.test", "250");
            client.send_from("sender@client.test", recipients, message);
        };
        let told = |arrived: &[u8]| {
            String::from_utf8_lossy(arrived).contains("X-Gatepost-For: <bob@example.com> discard")
        };
        let named = |arrived: &[u8]| String::from_utf8_lossy(arrived).contains("bob@example.com");
        send(&["alice@example.com", "bob@example.com"]);
        let here = mailboxes.wait_for(1, &postfix);
        assert!(told(&here[0].1), "{}", String::from_utf8_lossy(&here[0].1));
        send(&["alice@example.com", "bob@example.com", "friends@example.com"]);
        let (recipient, left) = outside.wait_for(1, &postfix).remove(0);
        assert_eq!(recipient, "friend@elsewhere.test");
        assert!(!named(&left), "{}", String::from_utf8_lossy(&left));
        let here = mailboxes.wait_for(2, &postfix);
        assert_eq!(told(&here[1].1), may_travel, "{}", String::from_utf8_lossy(&here[1].1));
    }
}
