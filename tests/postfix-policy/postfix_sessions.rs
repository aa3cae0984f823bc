//! Scenes of real SMTP sessions.

use crate::instance::{Instance, Setup, until};
use crate::ports::free_port;
use crate::postfix::{ALICE, Postfix};

const BOB: &str = "AUTH PLAIN AGJvYkBleGFtcGxlLmNvbQB4";

/// Two messages and two recipients an hour for each login.
fn limits() -> Setup {
    let settings = "[postfix-policy.rate-limit]\nmessages = 2\nrecipients = 3".to_owned();
    Setup { settings, schema: true, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scenes_of_real_sessions() {
    let instance = Instance::start(&limits()).await;
    let postfix = Postfix::start(&instance).await;

    // Mail from outside: mailbox, alias, alias into another domain, extensions in any spelling; unknown and foreign refused.
    postfix
        .session(&[
            ("EHLO client.test", "250 "),
            ("MAIL FROM:<Somebody@foreign.test>", "250 "),
            ("RCPT TO:<ALICE@Example.com>", "250 "),
            ("RCPT TO:<boss+News@example.com>", "250 "),
            ("RCPT TO:<orders@example.com>", "250 "),
            ("RCPT TO:<bob+x@example.com>", "250 "),
            ("RCPT TO:<nobody@example.com>", "550 5.1.1 "),
            ("RCPT TO:<nobody+x@example.com>", "550 5.1.1 "),
            ("RCPT TO:<carl@example.com>", "550 5.1.1 "),
            ("RCPT TO:<alice@elsewhere.test>", "554 5.7.1 "),
            ("RCPT TO:<@example.com>", "5"),
            ("DATA", "354 "),
            ("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 "),
            ("QUIT", "221 "),
        ])
        .await;
    postfix.delivered("to=<ALICE@Example.com>").await;
    postfix.delivered("to=<alice+News@example.com>, orig_to=<boss+News@example.com>").await;
    postfix.delivered("to=<carl@123qwe.com>, orig_to=<orders@example.com>").await;
    postfix.delivered("to=<bob+x@example.com>").await;

    // Who is logged in sends as what he owns, and as nothing else; without a login nobody sends as alice.
    postfix
        .session(&[
            ("EHLO client.test", "250 "),
            (ALICE, "235 "),
            ("MAIL FROM:<alice@example.com>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "250 "),
            ("RSET", "250 "),
            ("MAIL FROM:<Boss+tag@Example.com>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "250 "),
            ("RSET", "250 "),
            ("MAIL FROM:<bob@example.com>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "553 5.7.1 "),
            ("RSET", "250 "),
            ("MAIL FROM:<nobody@example.com>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "553 5.7.1 "),
            ("RSET", "250 "),
            ("MAIL FROM:<alice@foreign.test>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "553 5.7.1 "),
            ("QUIT", "221 "),
        ])
        .await;
    postfix
        .session(&[
            ("EHLO client.test", "250 "),
            ("MAIL FROM:<alice@example.com>", "250 "),
            ("RCPT TO:<bob@example.com>", "553 5.7.1 "),
            ("QUIT", "221 "),
        ])
        .await;

    // The limit: two messages pass, the third is deferred at DATA; another login still may, but not to four at once.
    let one = [("MAIL FROM:<alice@example.com>", "250 "), ("RCPT TO:<friend@foreign.test>", "250 ")];
    let sent = [("DATA", "354 "), ("Subject: x\r\n\r\nx\r\n.", "250 2.0.0 ")];
    let refused = [("DATA", "450 4.7.1 "), ("RSET", "250 ")];
    let hello = [("EHLO client.test", "250 "), (ALICE, "235 ")];
    postfix.session(&[&hello[..], &one, &sent, &one, &sent, &one, &refused, &one, &refused].concat()).await;
    let four = ["a", "b", "c", "d"].map(|name| format!("RCPT TO:<{name}@foreign.test>"));
    let mut bob = vec![("EHLO client.test", "250 "), (BOB, "235 "), ("MAIL FROM:<bob@example.com>", "250 ")];
    bob.extend(four.iter().map(|line| (line.as_str(), "250 ")));
    bob.extend([(
        "DATA",
        "450 4.7.1 <DATA>: Data command rejected: Sending limit reached: 3 recipients in 1h",
    )]);
    postfix.session(&bob).await;
    assert_eq!(instance.metric("requests_total{check=\"rate-limit\",action=\"defer\"}"), 3);
    assert_eq!(
        instance.database.sql("SELECT login, sum(recipients) FROM gatepost.sent GROUP BY 1").await,
        "alice@example.com|2"
    );

    // A new account can receive at once, a deleted one no more.
    let fresh = |answer| {
        [
            ("EHLO client.test", "250 "),
            ("MAIL FROM:<s@foreign.test>", "250 "),
            ("RCPT TO:<dora@example.com>", answer),
        ]
    };
    postfix.session(&fresh("550 5.1.1 ")).await;
    instance.database.sql("INSERT INTO users (local, domain) VALUES ('dora', 'example.com')").await;
    until("dora is announced", async || {
        instance.service.look_up(b"mailboxes dora@example.com").await.text().starts_with("OK")
    })
    .await;
    postfix.session(&fresh("250 ")).await;
    instance.database.sql("DELETE FROM users WHERE local = 'dora'").await;
    until("her end is announced", async || {
        instance.service.look_up(b"mailboxes dora@example.com").await.text().starts_with("NOTFOUND")
    })
    .await;
    postfix.session(&fresh("550 5.1.1 ")).await;

    postfix.stop().await;
    instance.stop().await;
}

/// While the database is away, who is known receives, everything else is deferred, and nothing is refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_5xx_while_the_database_is_away() {
    let instance = Instance::start(&limits()).await;
    let postfix = Postfix::start(&instance).await;
    let to = |recipient, answer| {
        [("EHLO client.test", "250 "), ("MAIL FROM:<s@foreign.test>", "250 "), (recipient, answer)]
    };
    postfix.session(&to("RCPT TO:<alice@example.com>", "250 ")).await;
    postfix.session(&to("RCPT TO:<nobody@example.com>", "550 5.1.1 ")).await;
    until("all addresses are in memory", async || instance.parts.directory.kept().is_some()).await;
    instance.database.take_away().await;
    until("the loss is noticed", async || {
        instance.service.look_up(b"mailboxes nobody@example.com").await.text().starts_with("TEMP")
    })
    .await;
    for (recipient, answer) in [
        ("RCPT TO:<nobody@example.com>", "451 4.3.0 "),
        ("RCPT TO:<bob@example.com>", "250 "),
        ("RCPT TO:<boss+x@example.com>", "250 "),
    ] {
        postfix.session(&to(recipient, answer)).await;
    }
    postfix
        .session(&[
            ("EHLO client.test", "250 "),
            (ALICE, "235 "),
            ("MAIL FROM:<alice@example.com>", "250 "),
            ("RCPT TO:<friend@foreign.test>", "250 "),
            ("DATA", "450 4.3.0 "),
        ])
        .await;
    instance.database.give_back().await;
    until("it answers again", async || {
        instance.service.look_up(b"mailboxes nobody@example.com").await.text().starts_with("NOTFOUND")
    })
    .await;
    postfix.session(&to("RCPT TO:<bob@example.com>", "250 ")).await;
    postfix.session(&to("RCPT TO:<nobody@example.com>", "550 5.1.1 ")).await;
    postfix.stop().await;
    instance.stop().await;
}

/// What the fake DNS knows in the sessions below.
const ZONE: &str = "2.0.0.127.bl.test A 127.0.0.2
10.2.0.192.bl.test A 127.0.0.2
fail.test TXT v=spf1 -all
pool.test TXT v=spf1 ip4:203.0.112.0/20 -all
";

/// Every check asked by real SMTP sessions; the client's address and name come by XCLIENT.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_check_decides_in_real_sessions() {
    let (port, dns) = (free_port(), crate::dns::Dns::serve(ZONE));
    let settings = format!(
        "hostname = \"mx.example.com\"\n[postfix-policy.dnsbl]\nlists = [\"bl.test*3\"]\n[postfix-policy.greylist]\nwhen = \"always\"\n\
         [postfix-policy.stolen-login]\nnetworks = 1\naction = \"hold\"\npostmaster = \"postmaster@example.com\"\nsmtp = \"127.0.0.1:{port}\"\n{}",
        dns.toml()
    );
    let checks = "[\"allow-deny\", \"sender-login\", \"recipient\", \"helo\", \"dnsbl\", \"spf\", \"greylist\", \"rate-limit\", \"stolen-login\"]";
    let instance = Instance::start(&Setup { settings, checks: Some(checks.into()), schema: true }).await;
    let policy = format!("check_policy_service unix:{}", instance.socket("policy").display());
    let more = format!(
        "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_sender_restrictions =\nsmtpd_recipient_restrictions = {policy}\n\
         defer_transports = discard\nsmtpd_delay_reject = yes\n"
    );
    let postfix = Postfix::start_on(&instance, port, &more, "").await;
    // Who comes from where, names itself how, sends as whom to whom, and what he hears.
    let say = async |client: &str, name: &str, helo: &str, from: &str, to: &str, answer: &str| {
        let (xclient, ehlo) =
            (format!("XCLIENT ADDR={client} NAME={name} REVERSE_NAME={name}"), format!("EHLO {helo}"));
        let (from, to) = (format!("MAIL FROM:<{from}>"), format!("RCPT TO:<{to}>"));
        postfix
            .session(&[
                ("EHLO proxy.test", "250 "),
                (&xclient, "220 "),
                (&ehlo, "250 "),
                (&from, "250 "),
                (&to, answer),
                ("QUIT", "221 "),
            ])
            .await;
    };
    let alice = "alice@example.com";
    say("192.0.2.10", "mx.foreign.test", "mx.foreign.test", "s@foreign.test", alice, "554 5.7.1 <alice@example.com>: Recipient address rejected: Client host 192.0.2.10 is listed by bl.test").await;
    say(
        "192.0.2.7",
        "mx.foreign.test",
        "friend",
        "s@foreign.test",
        alice,
        "550 5.7.1 <alice@example.com>: Recipient address rejected: Helo command rejected: friend is no",
    )
    .await;
    say("192.0.2.7", "mx.foreign.test", "mx.foreign.test", "s@fail.test", alice, "550 5.7.23 ").await;
    say(
        "192.0.2.7",
        "mx.foreign.test",
        "mx.foreign.test",
        "s@foreign.test",
        "nobody@example.com",
        "550 5.1.1 ",
    )
    .await;
    instance.database.sql("INSERT INTO gatepost.quota VALUES ('bob@example.com', 100, 1, 100)").await;
    say("192.0.2.7", "mx.foreign.test", "mx.foreign.test", "s@foreign.test", "secretary@example.com", "452 4.2.2 <secretary@example.com>: Recipient address rejected: The mailbox of secretary@example.com is full").await;
    instance.database.sql("DELETE FROM gatepost.quota").await;
    instance.database.sql("INSERT INTO gatepost.access_rules (kind, value, action) VALUES ('network', '198.51.100.0/24', 'deny')").await;
    instance.service.forget();
    say("198.51.100.9", "mx.foreign.test", "mx.foreign.test", "s@foreign.test", alice, "554 5.7.1 ").await;
    // The relay stays closed, whatever a check says.
    say(
        "192.0.2.7",
        "mx.foreign.test",
        "mx.foreign.test",
        "s@foreign.test",
        "x@elsewhere.test",
        "554 5.7.1 <x@elsewhere.test>: Relay access denied",
    )
    .await;

    // Greylisting: later, then through, from another server of the same pool; each header stands there once.
    say("203.0.113.1", "unknown", "mx.pool.test", "news@pool.test", alice, "450 4.2.0 <alice@example.com>: Recipient address rejected: Greylisted, please try again in 300 seconds").await;
    say("203.0.113.2", "unknown", "mx.pool.test", "news@pool.test", "bob@example.com", "450 4.2.0 ").await;
    instance.database.sql("UPDATE gatepost.greylist SET first_seen = now() - interval '301 seconds'").await;
    instance.service.forget();
    postfix
        .session(&[
            ("EHLO proxy.test", "250 "),
            ("XCLIENT ADDR=203.0.114.9 NAME=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE]", "220 "),
            ("EHLO mx.pool.test", "250 "),
            ("MAIL FROM:<news@pool.test>", "250 "),
            ("RCPT TO:<alice@example.com>", "250 "),
            ("RCPT TO:<bob@example.com>", "250 "),
            ("DATA", "354 "),
            ("Subject: greylisted\r\n\r\nx\r\n.", "250 2.0.0 "),
            ("QUIT", "221 "),
        ])
        .await;
    let mut mail = String::new();
    until("the mail is in the queue", async || {
        mail = postfix.queued("Subject: greylisted").unwrap_or_default();
        !mail.is_empty()
    })
    .await;
    assert_eq!(mail.matches("Received-SPF: pass").count(), 1, "{mail}");
    let greylisted: Vec<&str> =
        mail.lines().filter_map(|line| line.strip_prefix("X-Greylist: delayed ")).collect();
    let [greylisted] = greylisted[..] else { panic!("{mail}") };
    let (seconds, by) = greylisted.split_once(' ').unwrap();
    assert!((301..400).contains(&seconds.parse().unwrap()), "{greylisted}");
    assert!(by.starts_with("seconds by gatepost at mx.example.com"), "{greylisted}");

    // A login sends as its own; what is unusual for it waits in the hold queue, and the postmaster hears of it once.
    let send = |client: &str, from: &str, answer: &str, data: &str| {
        [
            ("EHLO proxy.test".to_owned(), "250 ".to_owned()),
            (format!("XCLIENT ADDR={client} NAME=[UNAVAILABLE]"), "220 ".into()),
            ("EHLO home.test".into(), "250 ".into()),
            (ALICE.into(), "235 ".into()),
            (format!("MAIL FROM:<{from}>"), "250 ".into()),
            ("RCPT TO:<friend@foreign.test>".into(), answer.to_owned()),
            ("DATA".into(), data.into()),
            if data.starts_with('3') {
                (format!("Subject: from {client}\r\n\r\nx\r\n."), "250 2.0.0 ".into())
            } else {
                ("QUIT".into(), "221 ".into())
            },
        ]
    };
    let play = async |lines: [(String, String); 8]| {
        let lines: Vec<(&str, &str)> =
            lines.iter().map(|(send, expected)| (send.as_str(), expected.as_str())).collect();
        postfix.session(&lines).await;
    };
    play(send("192.0.2.50", "bob@example.com", "553 5.7.1 <friend@foreign.test>: Recipient address rejected: Sender address rejected: not owned by user alice@example.com", "5")).await;
    play(send("192.0.2.50", alice, "250 ", "354 ")).await;
    instance
        .database
        .sql(
            "UPDATE gatepost.login_habits SET since = since - interval '3 days';
              UPDATE gatepost.login_places SET first_seen = first_seen - interval '3 days'",
        )
        .await;
    for client in ["198.18.0.7", "198.18.1.7"] {
        play(send(client, alice, "250 ", "354 ")).await;
        until("it is held", async || {
            postfix
                .log()
                .lines()
                .any(|line| line.contains(": hold: ") && line.contains("new networks within an hour"))
        })
        .await;
    }
    let mut told = String::new();
    until("the postmaster is told", async || {
        // A file may move from queue to queue while it is looked at.
        told = postfix.queued("Subject: Unusual sending from alice@example.com").unwrap_or_default();
        !told.is_empty()
    })
    .await;
    assert!(
        told.contains("1 new networks within an hour")
            && told.contains("gatepost limits show alice@example.com"),
        "{told}"
    );
    // The log tells of it a moment after the queue has it.
    let notices = || postfix.log().matches("orig_to=<postmaster@example.com>").count();
    until("the notice is in the log", async || notices() > 0).await;
    assert_eq!(notices(), 1, "{}", postfix.log());
    postfix.stop().await;
    instance.stop().await;
}

/// While the database is away: who would only be helped by a check passes it, everything else is deferred, nothing is refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_check_refuses_for_good_while_the_database_is_away() {
    let dns = crate::dns::Dns::serve("x.test TXT x");
    let checks = "[\"allow-deny\", \"recipient\", \"helo\", \"spf\", \"greylist\"]";
    let settings = format!("[postfix-policy.greylist]\nwhen = \"always\"\n{}", dns.toml());
    let instance = Instance::start(&Setup { settings, checks: Some(checks.into()), schema: true }).await;
    let policy = format!("check_policy_service unix:{}", instance.socket("policy").display());
    let more = format!(
        "smtpd_authorized_xclient_hosts = 127.0.0.1\nsmtpd_sender_restrictions =\nsmtpd_recipient_restrictions = {policy}\n"
    );
    let postfix = Postfix::start_with(&instance, &more, "").await;
    let session = |to: &'static str, answer: &'static str| {
        [
            ("EHLO proxy.test", "250 "),
            ("XCLIENT ADDR=192.0.2.7 NAME=mx.foreign.test", "220 "),
            ("EHLO mx.foreign.test", "250 "),
            ("MAIL FROM:<s@foreign.test>", "250 "),
            (to, answer),
        ]
    };
    postfix.session(&session("RCPT TO:<alice@example.com>", "450 4.2.0 ")).await;
    instance.database.take_away().await;
    until("the loss is noticed", async || {
        instance.service.look_up(b"mailboxes nobody@example.com").await.text().starts_with("TEMP")
    })
    .await;
    for to in ["RCPT TO:<alice@example.com>", "RCPT TO:<nobody@example.com>", "RCPT TO:<boss@example.com>"] {
        postfix.session(&session(to, "45")).await;
    }
    instance.database.give_back().await;
    let text = "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=192.0.2.7\nclient_name=mx.foreign.test\n\
        helo_name=mx.foreign.test\nsender=s@foreign.test\nrecipient=alice@example.com\ninstance=again.1\n";
    let question = gatepost_postfix_policy::protocol::policy::Request::parse(text.as_bytes()).unwrap();
    until("every check answers again", async || {
        instance.service.judge(0, &question).await.text().starts_with("DEFER_IF_PERMIT 4.2.0")
            && instance.service.look_up(b"mailboxes nobody@example.com").await.text().starts_with("NOTFOUND")
    })
    .await;
    postfix.session(&session("RCPT TO:<alice@example.com>", "450 4.2.0 ")).await;
    postfix.session(&session("RCPT TO:<nobody@example.com>", "550 5.1.1 ")).await;
    instance.database.sql("UPDATE gatepost.greylist SET first_seen = now() - interval '301 seconds'").await;
    instance.service.forget();
    postfix.session(&session("RCPT TO:<alice@example.com>", "250 ")).await;
    postfix.stop().await;
    instance.stop().await;
}
