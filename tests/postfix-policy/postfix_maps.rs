//! Every map asked by a real Postfix: aliases of all kinds, relay and backup domains, transports, access rules with their clients' addresses
//! (XCLIENT), copies.

use crate::instance::{Instance, Setup, until};
use crate::postfix::{ALICE, Postfix, socketmap};

const ROWS: &str = "
    INSERT INTO gatepost.aliases VALUES
        ('team', 'example.com', 'alice@example.com'), ('team', 'example.com', 'bob@example.com'), ('team', 'example.com', 'far@foreign.test'),
        ('l1', 'example.com', 'l2@example.com'), ('l2', 'example.com', 'l1@example.com'), ('l3', 'example.com', 'l1@example.com'),
        ('l3', 'example.com', 'bob@example.com'), ('gone', 'example.com', 'ghost@example.com'), ('known', 'relay.test', 'known@relay.test');
    INSERT INTO gatepost.alias_patterns (domain, kind, pattern, destination) VALUES
        ('example.com', 'wildcard', 'sales-*', 'bob@example.com'), ('old.test', 'catch-all', '', 'carl@123qwe.com');
    INSERT INTO gatepost.hosted_domains (domain, kind, next_hop, recipients, target) VALUES
        ('relay.test', 'relay', '[127.0.0.1]:9', 'listed', NULL), ('backup.test', 'backup', NULL, 'any', NULL), ('old.test', 'alias', NULL, 'any', 'example.com');
    INSERT INTO gatepost.transports VALUES ('@slow.test', 'slow:');
    INSERT INTO gatepost.access VALUES ('sender', 'spam.test', 'reject', 'no mail, FILTER x:y'), ('sender', 'good@spam.test', 'ok', NULL),
        ('recipient', 'bob@example.com', 'defer', 'on holiday'), ('client', '192.0.2.0/24', 'reject', NULL), ('client', '192.0.2.7', 'ok', NULL),
        ('helo', 'liar.test', 'reject', 'you lie');
    INSERT INTO gatepost.send_as VALUES ('info@example.com', 'alice@example.com');
    INSERT INTO gatepost.bcc VALUES ('sender', 'watched@foreign.test', 'carl@123qwe.com'), ('recipient', 'alice@example.com', 'archive@archive.test');";

async fn scene() -> (Instance, Postfix) {
    let instance = Instance::start(&Setup { schema: true, ..Setup::default() }).await;
    instance.database.sql(ROWS).await;
    until("all addresses are in memory", async || {
        instance.parts.directory.kept().is_some()
            && instance.service.look_up(b"relay-domains relay.test").await.text() == "OK relay.test"
    })
    .await;
    let map = socketmap(&instance);
    let main = format!(
        "relay_domains = {map}:relay-domains
relay_recipient_maps = {map}:recipients
relay_transport = discard:
transport_maps = {map}:transport
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_client_restrictions = check_client_access {map}:client-access
smtpd_helo_restrictions = check_helo_access {map}:helo-access
smtpd_sender_restrictions = check_sender_access {map}:sender-access, reject_sender_login_mismatch
smtpd_recipient_restrictions = check_recipient_access {map}:recipient-access
sender_bcc_maps = {map}:sender-bcc
recipient_bcc_maps = {map}:recipient-bcc
smtpd_data_restrictions =
"
    );
    // `relay` and `slow` only need to be there; what goes by them is seen in the log.
    let master = "relay unix - - n - - discard\nslow unix - - n - - discard\n";
    let postfix = Postfix::start_with(&instance, &main, master).await;
    (instance, postfix)
}

const HELLO: (&str, &str) = ("EHLO client.test", "250 ");
const DATA: [(&str, &str); 2] = [("DATA", "354 "), ("Subject: x\r\n\r\nx\r\n.", "250 ")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_map_is_asked_by_postfix_and_understood() {
    let (instance, postfix) = scene().await;

    // Whom mail is taken for, and where it goes.
    let mut lines = vec![HELLO, ("MAIL FROM:<s@foreign.test>", "250 ")];
    lines.extend([
        ("RCPT TO:<sales-berlin@example.com>", "250 "),
        ("RCPT TO:<ALICE@old.test>", "250 "),
        ("RCPT TO:<nobody@old.test>", "250 "),
        ("RCPT TO:<known+x@relay.test>", "250 "),
        ("RCPT TO:<unknown@relay.test>", "550 5.1.1 "),
        ("RCPT TO:<anybody@backup.test>", "250 "),
        ("RCPT TO:<l3@example.com>", "250 "),
        // A loop and a dangling target are for the operator to put right; the other recipients do not suffer.
        ("RCPT TO:<l1@example.com>", "451 4.3.5 "),
        ("RCPT TO:<gone@example.com>", "451 4.3.5 "),
        ("RCPT TO:<nobody@example.com>", "550 5.1.1 "),
        ("RCPT TO:<x@slow.test>", "554 5.7.1 "),
    ]);
    lines.extend(DATA);
    postfix.session(&lines).await;
    for delivered in [
        "to=<bob@example.com>, orig_to=<sales-berlin@example.com>",
        "to=<ALICE@example.com>, orig_to=<ALICE@old.test>",
        "to=<carl@123qwe.com>, orig_to=<nobody@old.test>",
        "to=<anybody@backup.test>, relay=none",
    ] {
        postfix.delivered(delivered).await;
    }
    // discard(8) logs the next hop that it was given.
    until("relayed to its next hop", async || {
        postfix.log().lines().any(|line| {
            line.contains("to=<known+x@relay.test>") && line.contains("status=sent ([127.0.0.1]:9)")
        })
    })
    .await;

    // Several destinations, one of them outside, from one who is logged in; the right to send as another; the copy of a recipient.
    let mut lines = vec![HELLO, (ALICE, "235 "), ("MAIL FROM:<info@example.com>", "250 ")];
    lines.extend([("RCPT TO:<team+x@example.com>", "250 "), ("RCPT TO:<y@slow.test>", "250 ")]);
    lines.extend(DATA);
    postfix.session(&lines).await;
    for delivered in [
        "to=<alice+x@example.com>, orig_to=<team+x@example.com>",
        "to=<bob+x@example.com>, orig_to=<team+x@example.com>",
        "to=<far+x@foreign.test>, orig_to=<team+x@example.com>",
    ] {
        postfix.delivered(delivered).await;
    }
    until("the slow way", async || {
        postfix.log().contains("postfix/slow") || postfix.log().contains("to=<y@slow.test>")
    })
    .await;

    // Access rules: by sender, recipient, HELO name and the client's address.
    postfix
        .session(&[
            HELLO,
            ("MAIL FROM:<x@sub.spam.test>", "250 "),
            (
                "RCPT TO:<alice@example.com>",
                "554 5.7.1 <x@sub.spam.test>: Sender address rejected: no mail, FILTER x:y",
            ),
            ("RSET", "250 "),
            ("MAIL FROM:<good+a@spam.test>", "250 "),
            ("RCPT TO:<alice@example.com>", "250 "),
            (
                "RCPT TO:<bob@example.com>",
                "450 4.7.1 <bob@example.com>: Recipient address rejected: on holiday",
            ),
        ])
        .await;
    postfix
        .session(&[
            ("EHLO mail.liar.test", "250 "),
            ("MAIL FROM:<s@foreign.test>", "250 "),
            ("RCPT TO:<alice@example.com>", "554 5.7.1 <mail.liar.test>: Helo command rejected: you lie"),
        ])
        .await;
    for (address, answer) in [("192.0.2.8", "554 5.7.1 "), ("192.0.2.7", "250 "), ("192.0.3.8", "250 ")] {
        let client = format!("XCLIENT ADDR={address} NAME=[UNAVAILABLE]");
        postfix
            .session(&[
                HELLO,
                (&client, "220 "),
                HELLO,
                ("MAIL FROM:<s@foreign.test>", "250 "),
                ("RCPT TO:<alice@example.com>", answer),
            ])
            .await;
    }

    // Copies of what a sender sends and a recipient gets.
    let mut lines =
        vec![HELLO, ("MAIL FROM:<watched@foreign.test>", "250 "), ("RCPT TO:<alice@example.com>", "250 ")];
    lines.extend(DATA);
    postfix.session(&lines).await;
    postfix.delivered("to=<carl@123qwe.com>").await;
    postfix.delivered("to=<archive@archive.test>").await;

    postfix.stop().await;
    instance.stop().await;
}
